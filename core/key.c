// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys: check them, hash them, compare them, show them.
 *
 * A struct lm_key is a key that a call looks for; an entry has a key of its own.
 * An entry that is read without its lock may become another key's at any time;
 * the functions here bear that, and their callers find out (lm_match()).
 */
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/string.h>

#include "callback.h"
#include "compat.h"
#include "hash.h"
#include "types.h"

/* Room for a map's name, and for a key as it is shown, of which so many bytes are. */
#define LM_NAME_TEXT	32
#define LM_KEY_TEXT	72
#define LM_KEY_SHOWN	32

static const char *lm_name(const struct lockmap *map)
{
	return map->params.name;
}

/* A caller's hash may be poor: let each of its bits count (MurmurHash3's finalizer). */
static noinline u32 lm_hash_custom(const struct lockmap *map, const void *data, u32 len)
{
	u64 hash = lm_call_hash(map, data, len);

	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash >> 32;
}

static __always_inline u32 lm_hash(const struct lm_key *key)
{
	const struct lockmap *map = key->map;

	if (likely(key->kind <= LM_KEY_U64))
		return lm_hash_mix(lm_hash_word(&map->hash_key, key->num));
	if (unlikely(map->params.hash))
		return lm_hash_custom(map, key->data, key->len);
	return lm_hash_bytes(&map->hash_key, key->data, key->len);
}

static __always_inline bool lm_len_ok(const struct lockmap *map, size_t len)
{
	return likely(len == map->key_len) ||
	       ((map->params.flags & LOCKMAP_VAR_KEY) && len && len < map->key_len);
}

/* A key of 1, 2, 4 or 8 bytes, as a number. */
static __always_inline u64 lm_number(const void *data, u32 len)
{
	switch (len) {
	case sizeof(u8):
		return *(const u8 *)data;
	case sizeof(u16):
		return get_unaligned((const u16 *)data);
	case sizeof(u32):
		return get_unaligned((const u32 *)data);
	default:
		return get_unaligned((const u64 *)data);
	}
}

/* A key without its hash. */
static __always_inline struct lm_key lm_key(struct lockmap *map, enum lm_key_kind kind,
					    const void *data, u32 len)
{
	struct lm_key key = { .map = map, .kind = kind, .data = data, .len = len };

	if (kind == LM_KEY_U64)
		key.num = lm_number(data, sizeof(u64));
	else if (kind == LM_KEY_U32)
		key.num = lm_number(data, sizeof(u32));
	return key;
}

/* The length may have come from user space: the log hears of it once a map. */
static noinline int lm_key_refused(struct lockmap *map, const void *data, size_t len)
{
	if (IS_ERR_OR_NULL(map) || !data || READ_ONCE(map->refused))
		return -EINVAL;
	WRITE_ONCE(map->refused, true);
	pr_notice("%s: a key of %zu byte%s is refused, where keys have %s%u\n", lm_name(map), len,
		  len == 1 ? "" : "s", map->params.flags & LOCKMAP_VAR_KEY ? "1 to " : "",
		  map->key_len);
	return -EINVAL;
}

/* Every call begins here: check what the caller gave, and hash the key once. */
static __always_inline int lm_key_init(struct lm_key *key, struct lockmap *map, const void *data,
				       size_t len)
{
	if (IS_ERR_OR_NULL(map) || unlikely(!data || !lm_len_ok(map, len)))
		return lm_key_refused(map, data, len);
	if (lm_called_back())
		return -EINVAL;
	*key = lm_key(map, map->key_kind, data, len);
	key->hash = lm_hash(key);
	return 0;
}

/* Whether lm_key_u64() may take this key. False also for what lm_key_init() refuses. */
static __always_inline bool lm_key_is_u64(const struct lockmap *map, const void *data, size_t len)
{
	return !IS_ERR_OR_NULL(map) &&
	       likely(data && len == sizeof(u64) && map->key_kind == LM_KEY_U64) &&
	       !lm_called_back();
}

/*
 * A key that is a 64-bit number. The compiler keeps it in registers as long as no
 * caller takes its address or declares it without a value: clearing it on the
 * stack (CONFIG_INIT_STACK_ALL_ZERO) would cost more than the hash.
 */
static __always_inline struct lm_key lm_key_u64(struct lockmap *map, const void *data)
{
	struct lm_key key = lm_key(map, LM_KEY_U64, data, sizeof(u64));

	key.hash = lm_hash(&key);
	return key;
}

/* The key of an entry, which may become another key while the caller reads it. */
static const u8 *lm_entry_key_rcu(const struct lockmap *map, const struct lockmap_entry *entry,
				  u32 *len)
{
	const struct lm_long_key *lk;

	if (map->key_kind != LM_KEY_LONG) {
		*len = min_t(u32, READ_ONCE(entry->len), map->key_len);
		return entry->data + map->key_offset;
	}
	lk = rcu_dereference_raw(*(struct lm_long_key __rcu **)(entry->data + map->key_offset));
	*len = READ_ONCE(lk->len);
	return lk->data;
}

/* Compare two keys of @len bytes that are numbers. */
static __always_inline int lm_cmp_numbers(const void *a, const void *b, u32 len)
{
	u64 x = lm_number(a, len), y = lm_number(b, len);

	return (x > y) - (x < y);
}

/* The order of keys. */
static int lm_cmp(const struct lockmap *map, const void *a, u32 a_len, const void *b, u32 b_len)
{
	if (map->params.cmp)
		return lm_call_cmp(map, a, a_len, b, b_len);
	if (map->is_number)
		return lm_cmp_numbers(a, b, map->key_len);
	return memcmp(a, b, min(a_len, b_len)) ?: (a_len > b_len) - (a_len < b_len);
}

/* As !memcmp(). The first and the last eight bytes cover a key of 8 to 16 bytes. */
static __always_inline bool lm_equal_bytes(const u8 *a, const u8 *b, u32 len)
{
	if (len < 8 || len > 16)
		return !memcmp(a, b, len);
	return get_unaligned((const u64 *)a) == get_unaligned((const u64 *)b) &&
	       get_unaligned((const u64 *)(a + len - 8)) ==
	       get_unaligned((const u64 *)(b + len - 8));
}

static noinline bool lm_same_key_slow(const struct lockmap *map, const void *data, u32 len,
				      const struct lockmap_entry *entry)
{
	const u8 *entry_data;
	u32 entry_len;

	entry_data = lm_entry_key_rcu(map, entry, &entry_len);
	if (map->params.cmp)
		return !lm_call_cmp(map, entry_data, entry_len, data, len);
	return entry_len == len && !memcmp(entry_data, data, len);
}

static __always_inline bool lm_same_key(const struct lm_key *key, const struct lockmap_entry *entry)
{
	const u8 *entry_data = entry->data + key->map->key_offset;

	if (likely(key->kind == LM_KEY_U64))
		return READ_ONCE(*(const u64 *)entry_data) == key->num;
	if (key->kind == LM_KEY_U32)
		return READ_ONCE(*(const u32 *)entry_data) == key->num;
	if (key->kind == LM_KEY_BYTES)
		return READ_ONCE(entry->len) == key->len &&
		       lm_equal_bytes(entry_data, key->data, key->len);
	return lm_same_key_slow(key->map, key->data, key->len, entry);
}

static bool lm_is_text(const u8 *data, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++) {
		if (!isascii(data[i]) || !isprint(data[i]))
			return false;
	}
	return true;
}

/*
 * Write a key for people to read: a number, "text", or hex; a long one is cut off. In text
 * a backslash stands before each quote and each backslash.
 */
static void lm_key_text(char *text, size_t size, const struct lockmap *map, const void *data,
			u32 len)
{
	u32 shown = min_t(u32, len, LM_KEY_SHOWN);
	const char *more = shown < len ? "..." : "";

	if (map->is_number)
		snprintf(text, size, "%#llx", lm_number(data, len));
	else if (lm_is_text(data, len))
		snprintf(text, size, "\"%*pEc\"%s", (int)shown, data, more);
	else
		snprintf(text, size, "%*phN%s", (int)shown, data, more);
}
