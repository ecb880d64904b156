// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Create and destroy maps.
 */
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "types.h"

/* The slab allocator needs a little more than the entry, which is one object. */
#define LM_MAX_VALUE_LEN	(KMALLOC_MAX_SIZE - 2 * PAGE_SIZE - LOCKMAP_MAX_KEY_LEN)
/* lockmap_destroy() goes over the map so often, for the values that release puts in. */
#define LM_RELEASE_ROUNDS	100
/* Longer values are not copied with preemption off. */
#define LM_MAX_PLAIN_VALUE	256

/* All maps. The lock is taken with nothing held. */
static LIST_HEAD(lm_maps);
static DEFINE_MUTEX(lm_maps_lock);
/* Frees the shards of maps. */
static struct workqueue_struct *lm_free_wq;

static const char *lm_params_fault(const struct lockmap_params *p)
{
	if (!p->name || !*p->name)
		return "no name";
	if (!p->key_len || p->key_len > LOCKMAP_MAX_KEY_LEN)
		return "key_len is not 1 to LOCKMAP_MAX_KEY_LEN";
	if (p->value_len > LM_MAX_VALUE_LEN)
		return "value_len is too large";
	if (p->flags & ~LOCKMAP_VAR_KEY)
		return "unknown flags";
	if (!lm_gfp_ok(p->gfp))
		return "gfp has __GFP_ZERO, __GFP_NOFAIL, a zone, or unknown flags";
	if (p->nr_shards > LOCKMAP_MAX_SHARDS)
		return "nr_shards is more than LOCKMAP_MAX_SHARDS";
	return NULL;
}

static void lm_set_layout(struct lockmap *map)
{
	const struct lockmap_params *p = &map->params;
	bool var = p->flags & LOCKMAP_VAR_KEY;
	unsigned int align;

	map->key_len = p->key_len;
	map->is_number = !var && !p->cmp && p->key_len <= sizeof(u64) && is_power_of_2(p->key_len);
	if (var && p->key_len > LM_INLINE_KEY)
		map->key_kind = LM_KEY_LONG;
	else if (p->cmp)
		map->key_kind = LM_KEY_CUSTOM;
	else if (!map->is_number || p->hash || p->key_len < sizeof(u32))
		map->key_kind = LM_KEY_BYTES;
	else
		map->key_kind = p->key_len == sizeof(u64) ? LM_KEY_U64 : LM_KEY_U32;

	/* A key is aligned as a type of its size may need it; bytes need no alignment. */
	if (map->key_kind == LM_KEY_LONG)
		align = sizeof(void *);
	else
		align = var ? 1 : min_t(size_t, p->key_len & -p->key_len, LOCKMAP_VALUE_ALIGN);
	map->key_offset = ALIGN(p->value_len, align);
	map->plain_value = !p->clone && p->value_len <= LM_MAX_PLAIN_VALUE;
}

static int lm_cache_init(struct lockmap *map)
{
	const struct lockmap_params *p = &map->params;
	size_t size = lm_entry_size(map);
	static atomic_t nr;
	char *name;

	/* Several maps may have the same name, caches may not. */
	name = kasprintf(GFP_KERNEL, "lockmap-%s-%d", p->name, atomic_inc_return(&nr));
	if (!name)
		return -ENOMEM;
	map->cache = lm_cache_create(name, size, __alignof__(struct lockmap_entry),
				     offsetof(struct lockmap_entry, data), p->value_len);
	kfree(name);
	return map->cache ? 0 : -ENOMEM;
}

static void lm_free_entry(void *ptr, void *arg)
{
	struct lockmap_entry *entry = ptr;

	atomic64_set(&entry->lock.word, lm_word_dead(0));
	lm_entry_free(entry);
}

static void lm_shard_free(struct work_struct *work)
{
	struct lm_shard *shard = container_of(work, struct lm_shard, free);

	rhashtable_free_and_destroy(&shard->table, lm_free_entry, NULL);
}

/*
 * Free all shards at once: with PREEMPT_RT, and where irq_work has no interrupt of
 * its own, rhashtable waits for a grace period of RCU for each.
 */
static void lm_shards_free(struct lockmap *map)
{
	unsigned int i;

	/* Memory reclaim may wait for the caller, so the caller must not wait for other workers. */
	if (current->flags & (PF_WQ_WORKER | PF_MEMALLOC)) {
		for (i = 0; i < map->nr_shards; i++)
			lm_shard_free(&map->shards[i].free);
		return;
	}
	for (i = 0; i < map->nr_shards; i++)
		queue_work(lm_free_wq, &map->shards[i].free);
	for (i = 0; i < map->nr_shards; i++)
		flush_work(&map->shards[i].free);
}

static int lm_shards_init(struct lockmap *map, unsigned int nr)
{
	struct rhashtable_params params;
	int err;

	params = map->params.hash ? lm_rht_params_custom : lm_rht_params;
	params.nelem_hint = min_t(size_t, map->params.nelem_hint / nr, U16_MAX);
	for (map->nr_shards = 0; map->nr_shards < nr; map->nr_shards++) {
		struct lm_shard *shard = &map->shards[map->nr_shards];

		err = rhashtable_init(&shard->table, &params);
		if (err)
			return err;
		INIT_WORK(&shard->free, lm_shard_free);
	}
	return 0;
}

/* Free a map that is not in use, whole or half made. */
static void lm_map_free(struct lockmap *map)
{
	lm_debugfs_remove(map);
	if (map->shrinker)
		lm_shrinker_destroy(map->shrinker);
	/* A task that has just unlocked a key may still be at a ring. */
	synchronize_rcu();
	lm_shards_free(map);
	lm_rings_free(map);
	kmem_cache_destroy(map->cache);
	free_percpu(map->cpu);
	kfree(map->params.name);
	kvfree(map);
}

/*
 * A map has one name everywhere. Tools split lists of slab caches and of events at
 * spaces, and a name must be fit for a folder.
 */
static char *lm_name_create(const char *name)
{
	char *copy = kstrndup(name, LM_NAME_TEXT - 1, GFP_KERNEL), *c;

	for (c = copy; c && *c; c++) {
		if (!isascii(*c) || !isgraph(*c) || *c == '/' || (c == copy && *c == '.'))
			*c = '_';
	}
	return copy;
}

static int lm_map_init(struct lockmap *map, unsigned int nr_shards)
{
	struct lockmap_params *p = &map->params;
	int err;

	p->name = lm_name_create(p->name);
	if (!p->name)
		return -ENOMEM;
	p->gfp = p->gfp ?: GFP_KERNEL;
	map->shard_shift = 31 - ilog2(nr_shards);
	get_random_bytes(&map->hash_key, sizeof(map->hash_key));
	lm_set_layout(map);
	p->max_idle = p->max_idle ?: lm_idle_default(map);

	map->cpu = alloc_percpu(struct lm_cpu);
	if (!map->cpu)
		return -ENOMEM;
	err = lm_cache_init(map) ?: lm_shards_init(map, nr_shards) ?: lm_rings_init(map);
	if (err)
		return err;
	map->shrinker = lm_shrinker_create(p->name, map, lm_shrink_count, lm_shrink_scan);
	return map->shrinker ? 0 : -ENOMEM;
}

struct lockmap *__lockmap_create(const struct lockmap_params *params, struct lock_class_key *key,
				 const char *site, struct module *owner)
{
	const char *fault = params ? lm_params_fault(params) : "no parameters";
	const char *name = params && params->name ? params->name : "(no name)";
	unsigned int nr_shards;
	struct lockmap *map;
	int err;

	if (fault) {
		pr_err_ratelimited("%*pE: cannot create: %s\n", (int)strnlen(name, LM_NAME_TEXT),
				   name, fault);
		return ERR_PTR(-EINVAL);
	}
	might_sleep();
	nr_shards = roundup_pow_of_two(params->nr_shards ?: 4 * num_possible_cpus());
	map = kvzalloc(struct_size(map, shards, nr_shards), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->params = *params;
	map->owner = owner;
	lm_lockdep_init_map(map, key, site);
	err = lm_map_init(map, nr_shards);
	if (err) {
		lm_map_free(map);
		return ERR_PTR(err);
	}
	lm_debugfs_add(map);
	mutex_lock(&lm_maps_lock);
	list_add(&map->node, &lm_maps);
	mutex_unlock(&lm_maps_lock);
	return map;
}
EXPORT_SYMBOL_GPL(__lockmap_create);

static void lm_forget_callbacks(struct lockmap *map)
{
	/* Readers of its files compare keys. They do not take lm_maps_lock. */
	lm_debugfs_remove(map);
	map->params.clone = NULL;
	map->params.release = NULL;
}

/* How many keys are held by tasks that are gone, which nobody will unlock any more. */
static unsigned int lm_count_abandoned(struct lockmap *map)
{
	struct lockmap_entry *entry;
	struct lm_cursor cursor;
	unsigned int i, nr = 0;
	struct lm_key key;

	for (i = 0; i < map->nr_shards; i++) {
		lm_cursor_init(&cursor, map, LM_LOCKED | LM_SHARED, 0);
		while (lm_cursor_next(map, &map->shards[i], &cursor)) {
			key = lm_cursor_key(map, &cursor);
			rcu_read_lock();
			entry = lm_find(&key);
			nr += entry && lm_owner_is_gone(entry, key.word);
			rcu_read_unlock();
		}
		lm_cursor_free(&cursor);
	}
	return nr;
}

static bool lm_held_at_destroy(struct lockmap *map)
{
	unsigned int held = lm_count_held(map);
	unsigned int gone = held ? lm_count_abandoned(map) : 0;

	return WARN(held, "lockmap: %s: destroyed with %u key%s held, %u by %s gone; leaked\n",
		    lm_name(map), held, held == 1 ? "" : "s", gone,
		    gone == 1 ? "a task that is" : "tasks that are");
}

/* Release up to @left values. Do not wait for keys: release may have locked them. */
static void lm_release_some(struct lockmap *map, size_t left)
{
	struct lm_cursor cursor;
	unsigned int i;

	for (i = 0; i < map->nr_shards; i++) {
		lm_cursor_init(&cursor, map, LM_VALUE, 0);
		for (; left && lm_cursor_next(map, &map->shards[i], &cursor); left--)
			lm_walk_visit(map, &cursor, lm_visit_clear, NULL, &lm_wait_never);
		lm_cursor_free(&cursor);
	}
}

/*
 * Release all values in the caller's context, and not where the tables are freed. release
 * may put in other values. Each round releases as many as there were at its beginning, so
 * that it ends even if release puts one in for each.
 *
 * Return: whether the map may be freed.
 */
static bool lm_release_values(struct lockmap *map)
{
	unsigned int rounds = LM_RELEASE_ROUNDS;
	size_t left;

	while ((left = lockmap_len(map)) && rounds--)
		lm_release_some(map, left);
	return !lm_held_at_destroy(map) &&
	       !WARN(left, "lockmap: %s: destroyed, but release puts in ever more values; leaked\n",
		     lm_name(map));
}

void lockmap_destroy(struct lockmap *map)
{
	if (IS_ERR_OR_NULL(map))
		return;
	might_sleep();
	if (lm_held_at_destroy(map) || (map->params.release && !lm_release_values(map))) {
		mutex_lock(&lm_maps_lock);
		map->leaked = true;
		mutex_unlock(&lm_maps_lock);
		return;
	}
	mutex_lock(&lm_maps_lock);
	list_del(&map->node);
	mutex_unlock(&lm_maps_lock);
	lm_map_free(map);
}
EXPORT_SYMBOL_GPL(lockmap_destroy);

/* A module goes and leaves a map behind; the callbacks of the map go with the module. */
static int lm_module_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct module *mod = data;
	struct lockmap *map;

	if (action != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	mutex_lock(&lm_maps_lock);
	list_for_each_entry(map, &lm_maps, node) {
		if (map->owner != mod)
			continue;
		WARN(!map->leaked, "lockmap: %s: not destroyed by %s, which is gone; leaked\n",
		     map->params.name, mod->name);
		lm_forget_callbacks(map);
		map->owner = NULL;
	}
	mutex_unlock(&lm_maps_lock);
	return NOTIFY_OK;
}

static struct notifier_block lm_module_nb = { .notifier_call = lm_module_notify };

static int __init lm_maps_init(void)
{
	int err;

	lm_free_wq = alloc_workqueue("lockmap", WQ_UNBOUND, 0);
	if (!lm_free_wq)
		return -ENOMEM;
	err = register_module_notifier(&lm_module_nb);
	if (err) {
		destroy_workqueue(lm_free_wq);
		return err;
	}
	return 0;
}

/* Free the maps that were leaked: every module that could use them is gone. */
static void __exit lm_maps_exit(void)
{
	struct lockmap *map, *next;

	unregister_module_notifier(&lm_module_nb);
	list_for_each_entry_safe(map, next, &lm_maps, node) {
		pr_warn("%s: leaked before, freed now\n", map->params.name);
		lm_forget_callbacks(map);
		lm_map_free(map);
	}
	destroy_workqueue(lm_free_wq);
}
