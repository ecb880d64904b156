/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Hash the bytes of a key.
 *
 * Keys may come from strangers, so the hash is keyed with secret random numbers
 * of the map: nobody can choose keys that share a bucket. Nothing in here knows
 * of maps.
 */
#ifndef _LOCKMAP_CORE_HASH_H
#define _LOCKMAP_CORE_HASH_H

#include <linux/compiler.h>
#include <linux/hash.h>
#include <linux/siphash.h>
#include <linux/types.h>

#include "compat.h"

/* Random and secret: the coefficients of lm_hash_words(), and a key for SipHash. */
struct lm_hash_key {
	u64 b[2];
	u64 a[6];
	siphash_key_t sip;
};

static __always_inline lm_u128 lm_hash_coefficient(const u64 *half)
{
	return (lm_u128)half[1] << 32 << 32 | half[0];
}

/*
 * The upper half of b + sum(a[i] * w[i]) modulo 2^128, with random a and b, for
 * one word and for three: a strongly universal hash (Dietzfelbinger, "Universal
 * hashing and k-wise independent random variables via integer arithmetic
 * without primes", 1996). A compiler without 128-bit integers gets SipHash.
 */
static __always_inline u64 lm_hash_word(const struct lm_hash_key *key, u64 x)
{
	if (!LM_HAS_INT128)
		return siphash_1u64(x, &key->sip);
	return (lm_hash_coefficient(key->b) + lm_hash_coefficient(key->a) * x) >> 32 >> 32;
}

static __always_inline u64 lm_hash_words(const struct lm_hash_key *key, u64 x, u64 y, u64 z)
{
	if (!LM_HAS_INT128)
		return siphash_3u64(x, y, z, &key->sip);
	return (lm_hash_coefficient(key->b) + lm_hash_coefficient(key->a) * x +
		lm_hash_coefficient(key->a + 2) * y +
		lm_hash_coefficient(key->a + 4) * z) >> 32 >> 32;
}

/*
 * Multiply-add-shift gives keys in a row (1, 2, 3, or 8, 16, 24) hashes that go
 * up by the same step. In one map of a thousand the step is so near a multiple of
 * a table's size that the keys share a few buckets. Mixing spreads them. It is one
 * to one, so it makes no two hashes equal that were not.
 */
static __always_inline u32 lm_hash_mix(u64 hash)
{
	return (hash ^ hash >> 32) * GOLDEN_RATIO_64 >> 32;
}

/*
 * Keys of up to 16 bytes: multiply-add-shift over two words that hold the key,
 * and its length. Two different keys, whatever they are, get the same hash with a
 * probability of 2^-32 as long as the map's random coefficients are secret.
 * Longer keys: hsiphash, which is SipHash-1-3 where words have 64 bits.
 */
static __always_inline u32 lm_hash_bytes(const struct lm_hash_key *key, const u8 *data, u32 len)
{
	u64 x, y = 0;

	if (len > 16)
		return hsiphash(data, len, (const hsiphash_key_t *)&key->sip);
	/* Of a given length, two words that overlap hold the whole key. */
	if (len >= 8) {
		x = get_unaligned((const u64 *)data);
		y = get_unaligned((const u64 *)(data + len - 8));
	} else if (len >= 4) {
		x = get_unaligned((const u32 *)data);
		y = get_unaligned((const u32 *)(data + len - 4));
	} else {
		x = data[0] | data[len / 2] << 8 | data[len - 1] << 16;
	}
	return lm_hash_mix(lm_hash_words(key, x, y, len));
}

#endif /* _LOCKMAP_CORE_HASH_H */
