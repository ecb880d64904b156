// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a holder does with an entry: read its key; read its value, put it in, take
 * it out. And how many values a map has.
 */
#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/percpu.h>
#include <linux/string.h>

#include "callback.h"
#include "compat.h"
#include "types.h"

static void lm_count_values(struct lockmap *map, long more)
{
	/* Any CPU's counter will do; this one is seldom touched by others. */
	atomic_long_add(more, &raw_cpu_ptr(map->cpu)->values);
}

static void lm_copy(void *dst, const void *src, size_t len)
{
	if (likely(len == sizeof(u64)))
		put_unaligned(get_unaligned((const u64 *)src), (u64 *)dst);
	else
		memcpy(dst, src, len);
}

static void lm_set_value(struct lockmap_entry *entry, const void *value)
{
	size_t len = entry->map->params.value_len;

	if (value)
		lm_copy(entry->data, value, len);
	else
		memset(entry->data, 0, len);
}

/* A value leaves the map: to the caller if it asked for it, else to the callback. */
static void lm_drop_value(struct lockmap_entry *entry, void *old)
{
	const struct lockmap_params *params = &entry->map->params;

	if (old)
		lm_copy(old, entry->data, params->value_len);
	else if (params->release)
		lm_call_release(entry->map, entry->data);
}

const void *lockmap_entry_key(const struct lockmap_entry *entry, size_t *len)
{
	const void *key = NULL;
	u32 key_len = 0;

	if (!lm_misused_by_any(entry, "entry_key"))
		key = lm_entry_key_rcu(entry->map, entry, &key_len);
	if (len)
		*len = key_len;
	return key;
}
EXPORT_SYMBOL_GPL(lockmap_entry_key);

void *lockmap_entry_value(struct lockmap_entry *entry)
{
	if (lm_misused(entry, "entry_value"))
		return NULL;
	return entry->has_value ? entry->data : NULL;
}
EXPORT_SYMBOL_GPL(lockmap_entry_value);

bool lockmap_entry_insert(struct lockmap_entry *entry, const void *value, void *old)
{
	bool had_value = entry->has_value;

	if (lm_misused(entry, "entry_insert"))
		return false;
	if (had_value)
		lm_drop_value(entry, old);
	lm_set_value(entry, value);
	if (!had_value) {
		entry->has_value = true;
		lm_count_values(entry->map, 1);
	}
	return had_value;
}
EXPORT_SYMBOL_GPL(lockmap_entry_insert);

bool lockmap_entry_remove(struct lockmap_entry *entry, void *old)
{
	if (lm_misused(entry, "entry_remove") || !entry->has_value)
		return false;
	lm_drop_value(entry, old);
	entry->has_value = false;
	lm_count_values(entry->map, -1);
	return true;
}
EXPORT_SYMBOL_GPL(lockmap_entry_remove);

void *lockmap_entry_get_or_insert(struct lockmap_entry *entry, const void *value)
{
	if (lm_misused(entry, "entry_get_or_insert"))
		return NULL;
	if (!entry->has_value)
		lockmap_entry_insert(entry, value, NULL);
	return entry->data;
}
EXPORT_SYMBOL_GPL(lockmap_entry_get_or_insert);

size_t lockmap_len(struct lockmap *map)
{
	long len = 0;
	int cpu;

	if (IS_ERR_OR_NULL(map))
		return 0;
	for_each_possible_cpu(cpu)
		len += atomic_long_read(&per_cpu_ptr(map->cpu, cpu)->values);
	return max(len, 0L);
}
EXPORT_SYMBOL_GPL(lockmap_len);

bool lockmap_is_empty(struct lockmap *map)
{
	return !lockmap_len(map);
}
EXPORT_SYMBOL_GPL(lockmap_is_empty);
