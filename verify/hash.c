// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Whether the hash spreads keys that are in a row, whatever the map's coefficients:
 * no chain of 16 in a table of rhashtable, which would take that for an attack.
 */
#define VERIFY_THREADS
#include "shim.h"
#include "core/hash.h"

#define MAPS		20000
#define SHARDS		8
#define MOST		2000

/* xorshift64*; the same numbers each time */
static u64 random_u64(void)
{
	static u64 x = 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545F4914F6CDD1Dull;
}

/* Keys as users have them: numbers, objects' addresses, pages, big endian numbers. */
static u64 key_in_row(unsigned int kind, u64 n)
{
	static const u64 step[] = { 1, 8, 48, 4096, 1ull << 32 };

	return kind < 5 ? n * step[kind] : __builtin_bswap64(n);
}

/* A name that ends in a number. */
static u32 hash_name(const struct lm_hash_key *key, u32 n)
{
	u8 name[13] = "file";

	name[10] = n;
	name[11] = n >> 8;
	name[12] = n >> 16;
	return lm_hash_bytes(key, name, sizeof(name));
}

/* The longest chain of a map; its tables are three quarters full at most. */
static unsigned int longest(const struct lm_hash_key *key, unsigned int kind, unsigned int nr)
{
	static u8 chain[SHARDS][4096];
	unsigned int in_shard[SHARDS] = { 0 }, size[SHARDS], i, n, most = 0;
	static u32 hash[MOST];

	for (n = 0; n < nr; n++) {
		if (kind < 6)
			hash[n] = lm_hash_mix(lm_hash_word(key, key_in_row(kind, n)));
		else
			hash[n] = hash_name(key, n);
		in_shard[hash[n] / (1u << 29)]++;
	}
	for (i = 0; i < SHARDS; i++) {
		for (size[i] = 64; size[i] * 3 / 4 < in_shard[i]; )
			size[i] *= 2;
		memset(chain[i], 0, size[i]);
	}
	for (n = 0; n < nr; n++) {
		i = hash[n] / (1u << 29);
		if (++chain[i][hash[n] & (size[i] - 1)] > most)
			most = chain[i][hash[n] & (size[i] - 1)];
	}
	return most;
}

int main(void)
{
	unsigned int map, kind, n, most = 0;
	struct lm_hash_key key;

	for (map = 0; map < MAPS; map++) {
		for (n = 0; n < sizeof(key) / sizeof(u64); n++)
			((u64 *)&key)[n] = random_u64();
		for (kind = 0; kind < 7; kind++) {
			n = longest(&key, kind, map % 8 ? 200 : MOST);
			most = n > most ? n : most;
			if (n >= 16) {
				printf("    then: a chain of %u, of keys of kind %u\n", n, kind);
				return 1;
			}
		}
	}
	printf("hash: the longest chain of %u maps is %u\n", MAPS, most);
	return 0;
}
