/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A lock per object, as kernel subsystems write it: an rhashtable of objects with
 * reference counts, freed after a grace period. A task looks the object up under
 * RCU, takes a reference, locks it, and then checks that it is not dead. Keys have
 * rhashtable's default hash. This is a template over the lock: define
 *
 * RHT(name)	name with the implementation's prefix
 * RHT_LOCK_T	type of the lock
 * rht_lock_init, rht_lock, rht_trylock, rht_unlock
 * rht_lock_shared, rht_unlock_shared	if the lock has a shared mode
 *
 * before including it, as rival_handrolled.h and rival_rwsem.h do.
 */

#define rht_object	RHT(object)
#define rht_map		RHT(map)
#define rht_held	RHT(held)

/**
 * struct rht_object - a key with its lock and its value
 * @node: in the table, unless @dead
 * @refs: one reference of the table, and one of each holder and waiter
 * @has_value: the key has a value; protected by @lock
 * @dead: no longer in the table: look the key up again; protected by @lock
 * @value: the key's value; protected by @lock
 * @lock: the key's lock
 * @rcu: frees the object after a grace period
 * @key: the key; constant
 */
struct rht_object {
	struct rhash_head node;
	refcount_t refs;
	bool has_value;
	bool dead;
	u64 value;
	RHT_LOCK_T lock;
	struct rcu_head rcu;
	u8 key[];
};

struct rht_map {
	struct rhashtable table;
	unsigned int key_len;
};

struct rht_held {
	struct rht_object *object;
};

static __always_inline struct rhashtable_params RHT(params)(unsigned int len)
{
	return (struct rhashtable_params) {
		.head_offset = offsetof(struct rht_object, node),
		.key_offset = offsetof(struct rht_object, key),
		.key_len = len,
		.automatic_shrinking = true,
	};
}

static void *RHT(create)(unsigned int len, unsigned long keys)
{
	struct rhashtable_params params = RHT(params)(len);
	struct rht_map *map = kzalloc(sizeof(*map), GFP_KERNEL);

	if (map && rhashtable_init(&map->table, &params)) {
		kfree(map);
		return NULL;
	}
	return map;
}

static void RHT(free_object)(void *object, void *arg)
{
	kfree(object);
}

static void RHT(destroy)(void *ptr)
{
	struct rht_map *map = ptr;

	rhashtable_free_and_destroy(&map->table, RHT(free_object), NULL);
	kfree(map);
	rcu_barrier();
}

static __always_inline void RHT(put)(struct rht_object *object)
{
	if (refcount_dec_and_test(&object->refs))
		kfree_rcu(object, rcu);
}

static __always_inline struct rht_object *RHT(find)(struct rht_map *map, const u8 *key,
						    unsigned int len)
{
	struct rht_object *object;

	rcu_read_lock();
	object = rhashtable_lookup(&map->table, key, RHT(params)(len));
	if (object && !refcount_inc_not_zero(&object->refs))
		object = NULL;
	rcu_read_unlock();
	return object;
}

/* Insert a locked object for an absent key. Return: 0, -EEXIST, -ENOMEM. */
static __always_inline int RHT(add)(struct rht_map *map, const u8 *key, unsigned int len,
				    struct rht_held *held)
{
	struct rht_object *object = kmalloc(struct_size(object, key, len), GFP_KERNEL);
	int err;

	if (!object)
		return -ENOMEM;
	refcount_set(&object->refs, 2);
	object->has_value = false;
	object->dead = false;
	memcpy(object->key, key, len);
	rht_lock_init(&object->lock);
	rht_lock(&object->lock);
	do {
		err = rhashtable_lookup_insert_fast(&map->table, &object->node, RHT(params)(len));
	} while (err == -EBUSY);
	if (err) {
		rht_unlock(&object->lock);
		kfree(object);
	}
	held->object = object;
	return err;
}

/* Lock an object that was found. If it is dead, drop the reference and return false. */
static __always_inline bool RHT(lock_object)(struct rht_object *object)
{
	rht_lock(&object->lock);
	if (likely(!object->dead))
		return true;
	rht_unlock(&object->lock);
	RHT(put)(object);
	return false;
}

static __always_inline bool RHT(lock)(void *map, const u8 *key, unsigned int len,
				      struct rht_held *held)
{
	int err;

	do {
		err = 0;
		held->object = RHT(find)(map, key, len);
		if (!held->object)
			err = RHT(add)(map, key, len, held);
		else if (unlikely(!RHT(lock_object)(held->object)))
			err = -EAGAIN;
	} while (unlikely(err && err != -ENOMEM));
	return !err;
}

static __always_inline bool RHT(trylock)(void *map, const u8 *key, unsigned int len,
					 struct rht_held *held)
{
	struct rht_object *object = RHT(find)(map, key, len);

	held->object = object;
	if (!object)
		return !RHT(add)(map, key, len, held);
	if (!rht_trylock(&object->lock)) {
		RHT(put)(object);
		return false;
	}
	if (likely(!object->dead))
		return true;
	rht_unlock(&object->lock);
	RHT(put)(object);
	return false;
}

static __always_inline u64 *RHT(value)(struct rht_held *held)
{
	return held->object->has_value ? &held->object->value : NULL;
}

static __always_inline void RHT(unlock)(void *ptr, struct rht_held *held, unsigned int len)
{
	struct rht_object *object = held->object;
	bool drop = !object->has_value;
	struct rht_map *map = ptr;

	if (drop) {
		object->dead = true;
		rhashtable_remove_fast(&map->table, &object->node, RHT(params)(len));
	}
	rht_unlock(&object->lock);
	if (drop)
		RHT(put)(object);
	RHT(put)(object);
}

#ifdef rht_lock_shared
/* A present key; nobody removes it meanwhile. */
static __always_inline bool RHT(lock_shared)(void *map, const u8 *key, unsigned int len,
					     struct rht_held *held)
{
	held->object = RHT(find)(map, key, len);
	if (!held->object)
		return false;
	rht_lock_shared(&held->object->lock);
	return true;
}

static __always_inline void RHT(unlock_shared)(void *map, struct rht_held *held, unsigned int len)
{
	rht_unlock_shared(&held->object->lock);
	RHT(put)(held->object);
}
#endif

/* Holders change the value in place, so a reader has to lock too. */
static __always_inline bool RHT(get)(void *map, const u8 *key, unsigned int len, u64 *value)
{
	struct rht_object *object = RHT(find)(map, key, len);
	bool found;

	if (!object)
		return false;
	rht_lock(&object->lock);
	found = object->has_value;
	*value = object->value;
	rht_unlock(&object->lock);
	RHT(put)(object);
	return found;
}

static __always_inline bool RHT(insert)(void *map, const u8 *key, unsigned int len, u64 value)
{
	struct rht_held held;

	if (!RHT(lock)(map, key, len, &held))
		return false;
	held.object->value = value;
	held.object->has_value = true;
	RHT(unlock)(map, &held, len);
	return true;
}

static __always_inline bool RHT(remove)(void *map, const u8 *key, unsigned int len)
{
	struct rht_held held;

	do {
		held.object = RHT(find)(map, key, len);
		if (!held.object)
			return false;
	} while (!RHT(lock_object)(held.object));
	held.object->has_value = false;
	RHT(unlock)(map, &held, len);
	return true;
}

static __always_inline bool RHT(batch)(void *map, const u8 *keys, unsigned int len, unsigned int n)
{
	struct rht_held held[BENCH_MAX_BATCH];
	const u8 *sorted[BENCH_MAX_BATCH];
	unsigned int i;

	bench_sort(sorted, keys, len, n);
	for (i = 0; i < n; i++) {
		if (!RHT(lock)(map, sorted[i], len, &held[i]))
			break;
		held[i].object->value++;
	}
	n = i;
	while (i--)
		RHT(unlock)(map, &held[i], len);
	return n;
}

#undef rht_object
#undef rht_map
#undef rht_held
#undef RHT
#undef RHT_LOCK_T
#undef rht_lock_init
#undef rht_lock
#undef rht_trylock
#undef rht_unlock
#undef rht_lock_shared
#undef rht_unlock_shared
