/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Call the functions that a map was made with.
 *
 * hash and cmp run in the middle of a lookup, cmp at times with the lock of a bucket held
 * and interrupts off. If they called lockmap, the call could wait for that very lock. With
 * CONFIG_LOCKMAP_DEBUG each CPU knows whose hash or cmp it runs, and a call from
 * there is told and refused.
 */
#ifndef _LOCKMAP_CORE_CALLBACK_H
#define _LOCKMAP_CORE_CALLBACK_H

#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/percpu.h>
#include <linux/preempt.h>

#include "types.h"

/* The map whose hash or cmp runs: in a task, and in a softirq that interrupted it. */
static DEFINE_PER_CPU(struct lockmap *, lm_comparing[2]);

/* Return: what the CPU has to know again afterwards. */
static __always_inline struct lockmap *lm_compare_begin(const struct lockmap *map)
{
	struct lockmap *outer;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return NULL;
	/* Another task that ran meanwhile would be taken for the callback. */
	preempt_disable();
	outer = __this_cpu_read(lm_comparing[!!in_serving_softirq()]);
	__this_cpu_write(lm_comparing[!!in_serving_softirq()], (struct lockmap *)map);
	return outer;
}

static __always_inline void lm_compare_end(struct lockmap *outer)
{
	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return;
	__this_cpu_write(lm_comparing[!!in_serving_softirq()], outer);
	preempt_enable();
}

/* Whether the caller is hash or cmp of a map, which the log hears of once a map. */
static __always_inline bool lm_called_back(void)
{
	struct lockmap *map;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return false;
	map = this_cpu_read(lm_comparing[!!in_serving_softirq()]);
	if (likely(!map))
		return false;
	if (!READ_ONCE(map->called_back)) {
		WRITE_ONCE(map->called_back, true);
		WARN(1, "lockmap: %s: its hash or cmp calls lockmap\n", map->params.name);
	}
	return true;
}

static __always_inline u64 lm_call_hash(const struct lockmap *map, const void *key, size_t len)
{
	struct lockmap *outer = lm_compare_begin(map);
	u64 hash = map->params.hash(key, len, map->hash_key.b[0], map->params.priv);

	lm_compare_end(outer);
	return hash;
}

static __always_inline int lm_call_cmp(const struct lockmap *map, const void *a, size_t a_len,
				       const void *b, size_t b_len)
{
	struct lockmap *outer = lm_compare_begin(map);
	int ret = map->params.cmp(a, a_len, b, b_len, map->params.priv);

	lm_compare_end(outer);
	return ret;
}

static __always_inline void lm_call_clone(const struct lockmap *map, void *dst, const void *src)
{
	map->params.clone(dst, src, map->params.priv);
}

static __always_inline void lm_call_release(const struct lockmap *map, void *value)
{
	map->params.release(value, map->params.priv);
}

#endif /* _LOCKMAP_CORE_CALLBACK_H */
