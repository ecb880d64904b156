// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A rival in user space: oneTBB's concurrent_hash_map, whose accessors lock single
 * keys. Its waiters spin. It has no try-lock, and cannot lock absent keys: this
 * inserts the key to lock it, and erases it to unlock it.
 */
#include <array>
#include <string_view>

#include <oneapi/tbb/concurrent_hash_map.h>

#include "main.h"

template <unsigned int len> using tbb_string = std::array<char, len>;

/* Numbers have TBB's own hash, strings that of the C++ library. */
template <unsigned int len> struct tbb_types {
	using key = tbb_string<len>;
	struct compare {
		static size_t hash(const key &k)
		{
			return std::hash<std::string_view>()(std::string_view(k.data(), len));
		}
		static bool equal(const key &a, const key &b) { return a == b; }
	};
	using map = oneapi::tbb::concurrent_hash_map<key, u64, compare>;
};

template <> struct tbb_types<8> {
	using key = u64;
	using map = oneapi::tbb::concurrent_hash_map<u64, u64>;
};

/* Only the accessor for the map's key length is used. @value is NULL if the key was absent. */
struct tbb_held {
	tbb_types<8>::map::accessor accessor_8;
	tbb_types<16>::map::accessor accessor_16;
	tbb_types<64>::map::accessor accessor_64;
	u64 *value;
};

template <unsigned int len> static inline auto &tbb_accessor(struct tbb_held *held)
{
	if constexpr (len == 8)
		return held->accessor_8;
	else if constexpr (len == 16)
		return held->accessor_16;
	else
		return held->accessor_64;
}

template <unsigned int len> static inline auto *tbb_map(void *map)
{
	return static_cast<typename tbb_types<len>::map *>(map);
}

template <unsigned int len> static inline auto &tbb_key(const u8 *key)
{
	return *reinterpret_cast<const typename tbb_types<len>::key *>(key);
}

template <unsigned int len> static inline bool tbb_get_len(void *map, const u8 *key, u64 *value)
{
	typename tbb_types<len>::map::const_accessor accessor;

	if (!tbb_map<len>(map)->find(accessor, tbb_key<len>(key)))
		return false;
	*value = accessor->second;
	return true;
}

/* Insert the key if it is absent. Other threads that want it then wait. */
template <unsigned int len>
static inline bool tbb_lock_len(void *map, const u8 *key, struct tbb_held *held)
{
	auto &accessor = tbb_accessor<len>(held);
	bool absent = tbb_map<len>(map)->insert(accessor, tbb_key<len>(key));

	held->value = absent ? nullptr : &accessor->second;
	return true;
}

template <unsigned int len> static inline void tbb_unlock_len(void *map, struct tbb_held *held)
{
	auto &accessor = tbb_accessor<len>(held);

	if (held->value)
		accessor.release();
	else
		tbb_map<len>(map)->erase(accessor);
}

template <unsigned int len> static inline bool tbb_insert_len(void *map, const u8 *key, u64 value)
{
	typename tbb_types<len>::map::accessor accessor;

	tbb_map<len>(map)->insert(accessor, tbb_key<len>(key));
	accessor->second = value;
	return true;
}

template <unsigned int len> static inline bool tbb_remove_len(void *map, const u8 *key)
{
	return tbb_map<len>(map)->erase(tbb_key<len>(key));
}

/* Turn the key length, a constant in loops.h, into a template argument. */
#define TBB_LEN(len, function, ...)						\
	((len) == 8 ? function<8>(__VA_ARGS__) :				\
	 (len) == 16 ? function<16>(__VA_ARGS__) : function<64>(__VA_ARGS__))

template <unsigned int len> static void *tbb_create_len()
{
	return new typename tbb_types<len>::map;
}

template <unsigned int len> static void tbb_destroy_len(void *map)
{
	delete tbb_map<len>(map);
}

static unsigned int tbb_len;	/* key length of the existing maps */

static void *tbb_create(unsigned int len, unsigned long keys)
{
	tbb_len = len;
	return TBB_LEN(len, tbb_create_len);
}

static void tbb_destroy(void *map)
{
	TBB_LEN(tbb_len, tbb_destroy_len, map);
}

static __always_inline bool tbb_get(void *map, const u8 *key, unsigned int len, u64 *value)
{
	return TBB_LEN(len, tbb_get_len, map, key, value);
}

static __always_inline bool tbb_lock(void *map, const u8 *key, unsigned int len,
				     struct tbb_held *held)
{
	return TBB_LEN(len, tbb_lock_len, map, key, held);
}

static __always_inline u64 *tbb_value(struct tbb_held *held)
{
	return held->value;
}

static __always_inline void tbb_unlock(void *map, struct tbb_held *held, unsigned int len)
{
	TBB_LEN(len, tbb_unlock_len, map, held);
}

static __always_inline bool tbb_insert(void *map, const u8 *key, unsigned int len, u64 value)
{
	return TBB_LEN(len, tbb_insert_len, map, key, value);
}

static __always_inline bool tbb_remove(void *map, const u8 *key, unsigned int len)
{
	return TBB_LEN(len, tbb_remove_len, map, key);
}

static __always_inline bool tbb_batch(void *map, const u8 *keys, unsigned int len, unsigned int n)
{
	tbb_types<8>::map::accessor accessors[BENCH_MAX_BATCH];
	const u8 *sorted[BENCH_MAX_BATCH];
	unsigned int i;

	bench_sort(sorted, keys, len, n);
	for (i = 0; i < n; i++) {
		tbb_map<8>(map)->insert(accessors[i], tbb_key<8>(sorted[i]));
		accessors[i]->second++;
	}
	return true;	/* destroying the accessors unlocks the keys */
}

#define BENCH_NO_TRYLOCK
#define BENCH_IMPL tbb
#define BENCH_NAME "tbb"
#include "../impl.h"

int main(int argc, char **argv)
{
	return bench_user_main(argc, argv, &tbb_impl);
}
