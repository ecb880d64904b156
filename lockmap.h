/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * lockmap: a hash map in which every key has its own lock
 *
 * This header is the manual; Documentation/design.rst says how it works.
 *
 * A map goes from keys (bytes) to values (bytes). Locking a key gives the
 * caller an entry, through which it can read, change, insert and remove the
 * value. No other task has that key until the entry is unlocked. A key need not
 * be in the map to be locked. Holders of different keys never wait for each
 * other.
 *
 *	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
 *		.name = "inodes", .key_len = sizeof(u64), .value_len = sizeof(struct info),
 *	});
 *
 *	if (IS_ERR(map))
 *		return PTR_ERR(map);
 *
 *	struct lockmap_entry *entry = lockmap_lock_killable(map, &ino, sizeof(ino));
 *	if (IS_ERR(entry))
 *		return PTR_ERR(entry);
 *	struct info *info = lockmap_entry_get_or_insert(entry, NULL);	// zero if new
 *	info->users++;
 *	lockmap_unlock(entry);
 *
 * Many can share a key to read its value: lockmap_lock_shared(). And a key can be
 * waited for without a task: lockmap_lock_async(). What a call does about a key:
 *
 *   the key is held ...     by nobody     shared        exclusively   by the caller
 *                                                                     exclusively
 *   lockmap_lock()          takes it      waits         waits         -EDEADLK
 *   lockmap_lock_timeout()
 *     with a timeout of 0   takes it      -ETIMEDOUT    -ETIMEDOUT    -EDEADLK
 *   lockmap_trylock()       takes it      -EBUSY        -EBUSY        -EBUSY
 *   lockmap_lock_shared()   shares it     shares it;    waits         -EDEADLK
 *                                         waits behind
 *                                         one who waits
 *   lockmap_trylock_shared() shares it    shares it;    -EBUSY        -EBUSY
 *                                         -EBUSY behind
 *                                         one who waits
 *   lockmap_lock_async()    takes it      the request   the request   the request
 *                                         waits         waits         waits
 *   lockmap_lock_present(), as lock() and trylock() if the key has a value, or is
 *   lockmap_trylock_present() held exclusively; else -ENOENT
 *   lockmap_get()           reads         reads; with   waits         -EDEADLK
 *                                         a clone, as
 *                                         lock_shared()
 *   lockmap_tryget()        reads         reads         -EBUSY        -EBUSY
 *   lockmap_insert(),       do it         wait          wait          -EDEADLK
 *   lockmap_remove(),
 *   a walk at this key
 *
 * All who wait for a key get it in the order in which they came, sharers that follow
 * each other together; but until the first of them, once woken, has run, tasks that are
 * running may overtake it. Then it is its turn.
 *
 * Rules
 *
 * - A lock belongs to the task that took it, and that task unlocks it. A lock
 *   that was disowned (lockmap_entry_disown()), taken in softirq or granted to a
 *   request belongs to no task, and any context unlocks it. A task is known by its
 *   pid: do not hold a lock across execve(), which may change the pid.
 * - Not reentrant: a call that would wait for a key which the same task holds
 *   exclusively fails with -EDEADLK. Taking one again that it shares may hang; lockdep
 *   reports that.
 * - If tasks wait for each other's keys in a cycle, the wait of one of them fails
 *   with -EDEADLK, some tens of milliseconds later. A cycle through a key that is
 *   shared, or belongs to no task, is not found.
 * - To hold several keys at once, take them with one lockmap_batch_lock(), or
 *   one by one in ascending order; lockdep checks that order, also for calls that
 *   only read or remove a key. A batch that is locked while keys are held has to be
 *   of larger ones.
 * - No poisoning: the next holder finds the value as the last one left it.
 * - No priority inheritance. For that use struct rt_mutex.
 * - Every function may sleep unless its Context: says otherwise. None may be
 *   called from hard interrupts, from NMI, or with interrupts off.
 * - No call on a map may be in progress when lockmap_destroy() is called: stop
 *   threads, work and timers first. lockmap does not detect such calls.
 * - A call that fails leaves the map as it was. A walk does not: what it has done
 *   before it failed stays done (lockmap_for_each(), lockmap_retain(), lockmap_clear()).
 *
 * The order of keys
 *
 * &lockmap_params.cmp decides if it is given. Else keys of fixed length of 1, 2, 4 and
 * 8 bytes are unsigned numbers of the machine's byte order, whatever their type, and
 * whether or not there is a &lockmap_params.hash: 1 comes before 256, and -1 after 1. A
 * struct of 8 bytes then sorts by its last field first on a little endian machine. All
 * other keys, also those of 8 bytes in a map with %LOCKMAP_VAR_KEY, are compared by
 * memcmp(), then by length. Batches are locked and walked in this order, and "ascending"
 * and "larger" mean it everywhere. So a task that locks 1 and then 256 gets both, beside
 * any batch of the two.
 *
 * Keys are the same if all their bytes are, padding included: clear a struct before
 * its fields are set. With %LOCKMAP_VAR_KEY a string is a key of strlen() bytes;
 * the zero at its end is not stored, so print a key with %.*s. Values are bytes as
 * well. They are aligned to LOCKMAP_VALUE_ALIGN, and may be copied to and from user
 * space in place. As long as a key has a value, its entry, the key and the value stay
 * where they are, whether the key is locked or not: see lockmap_value_entry().
 */
#ifndef _LOCKMAP_H
#define _LOCKMAP_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/lockdep_types.h>
#include <linux/module.h>
#include <linux/types.h>

struct lockmap;
struct lockmap_entry;
struct lockmap_prealloc;

/** define LOCKMAP_MAX_KEY_LEN - The longest key that a map can be made for, in bytes. */
#define LOCKMAP_MAX_KEY_LEN	4096
/** define LOCKMAP_VALUE_ALIGN - The alignment of every value, in bytes. */
#define LOCKMAP_VALUE_ALIGN	8
/** define LOCKMAP_MAX_SHARDS - The most shards that a map can be made with. */
#define LOCKMAP_MAX_SHARDS	65536

/** define LOCKMAP_VAR_KEY - Keys are of any length from 1 to &lockmap_params.key_len. */
#define LOCKMAP_VAR_KEY		BIT(0)

/**
 * struct lockmap_params - what kind of map lockmap_create() makes
 * @name: the name of the map in tracepoints, debugfs, messages, and of its slab cache;
 *	needed, and copied: 31 bytes of it at most. Underscores stand for spaces, slashes,
 *	a dot at the beginning, and all that is not printable ASCII
 * @key_len: bytes of a key, 1 to %LOCKMAP_MAX_KEY_LEN; with %LOCKMAP_VAR_KEY
 *	the longest that will be used
 * @value_len: bytes of a value; 0 for a set (a key is there or not) or for
 *	locks alone; at most %KMALLOC_MAX_SIZE less three pages
 * @flags: 0 or %LOCKMAP_VAR_KEY
 * @gfp: how entries are allocated by calls that may sleep: 0 for %GFP_KERNEL,
 *	or %GFP_NOFS, %GFP_NOIO, ``| __GFP_ACCOUNT``, ... %__GFP_ZERO, %__GFP_NOFAIL
 *	and zones are refused. An idle entry stays charged to the cgroup of the task
 *	that made it, whose limit cannot reclaim it; so @max_idle is low by default
 *	with __GFP_ACCOUNT
 * @nr_shards: tables that the map is spread over, rounded up to a power of
 *	two; 0 for four per possible CPU
 * @nelem_hint: how many keys to make room for at once, of which 65535 count for each
 *	shard; 0 to start small. A map grows and shrinks by itself either way
 * @max_idle: how many keys without a value and without a holder may stay
 *	behind as idle entries, so that locking them again allocates nothing;
 *	0 for as many as fit in a 64th of memory, 64 to 98304; or for 64 with
 *	__GFP_ACCOUNT. No function here tells an idle key from an absent one, and
 *	idle entries are reclaimed when memory gets short
 * @hash: hash of a key; @seed is secret and differs from map to map. Keys that
 *	@cmp calls equal must have the same hash: a @cmp that calls different bytes
 *	equal needs a @hash as well. %NULL for a keyed hash, whose collisions an
 *	attacker cannot find
 * @cmp: order of keys: negative, 0 or positive; 0 means the same key. %NULL for
 *	the order of unsigned numbers if all keys have 1, 2, 4 or 8 bytes, else for
 *	memcmp(), then length. Keys of a map with %LOCKMAP_VAR_KEY are never numbers
 * @clone: how lockmap_get() copies a value out. %NULL for memcpy(), which needs no
 *	lock
 * @release: called with a value that is dropped: replaced or removed by a call
 *	that does not ask for the old value, or destroyed with the map. %NULL for no
 *	call
 * @priv: given to @hash, @cmp, @clone and @release
 * @lock_key: lockdep class of the keys, a static object of the caller's that no
 *	other kind of lock has; %NULL for the class of the place in the code that calls
 *	lockmap_create()
 *
 * What the functions may do:
 *
 * - @hash and @cmp run in the middle of a lookup, in the context of the call, also in
 *   softirq if the map is used there; @cmp runs with interrupts off at times. They must
 *   not sleep, and must not call lockmap, for this map or another: such a call may hang.
 *   With CONFIG_LOCKMAP_DEBUG it is a WARN, once a map, and a call that takes a key, keys
 *   or a walk is refused with -EINVAL.
 *   @cmp must bear bytes that change while it reads them. Its answer is then thrown away.
 * - @clone runs with the key shared, so several may run at once for one value. It may
 *   sleep, and may lock larger keys of the map, as any holder of the key may. It must
 *   not lock the key itself.
 * - @release runs in the context of the call that drops the value, with the key locked,
 *   and may sleep where that call may. It may use larger keys of the map, also insert
 *   values; not the key itself. In lockmap_destroy() as well: what it inserts there is
 *   released, too, up to a hundred times over.
 */
struct lockmap_params {
	const char   *name;
	size_t        key_len;
	size_t        value_len;
	unsigned int  flags;
	gfp_t         gfp;
	unsigned int  nr_shards;
	size_t        nelem_hint;
	unsigned int  max_idle;
	u64  (*hash)(const void *key, size_t len, u64 seed, void *priv);
	int  (*cmp)(const void *a, size_t a_len, const void *b, size_t b_len, void *priv);
	void (*clone)(void *dst, const void *src, void *priv);
	void (*release)(void *value, void *priv);
	void *priv;
	struct lock_class_key *lock_key;
};

/**
 * struct lockmap_key - a key in the array that lockmap_batch_lock() takes
 * @data: the key's bytes
 * @len: their number
 * @shared: share the key; else lock it exclusively. A key that is there both ways is
 *	locked exclusively
 */
struct lockmap_key {
	const void *data;
	size_t len;
	bool shared;
};

/**
 * struct lockmap_batch - keys locked together
 * @map: the map of the keys
 * @nr: number of entries: one for each different key
 * @any_shared: some of them are shared
 *
 * Read only for the caller, and constant from lock to unlock.
 */
struct lockmap_batch {
	struct lockmap *map;
	unsigned int nr;
	bool any_shared;
	/* private: how many there is room for */
	unsigned int max;
	/* private: the entries, in the order of their keys; with bit 0 for a shared one */
	unsigned long slots[];
};

struct lockmap *__lockmap_create(const struct lockmap_params *params, struct lock_class_key *key,
				 const char *site, struct module *owner);

/**
 * lockmap_create() - make an empty map
 * @params: pointer to a struct lockmap_params that says what kind of map; it may be
 *	on the stack
 *
 * If the calling module is removed without having destroyed the map, a WARN says
 * so.
 *
 * lockdep takes the keys of all maps of one call site for one class, named for the
 * calling function, unless &lockmap_params.lock_key says otherwise. A DEFINE_LOCKMAP()
 * is one call site. lockdep reports a task that holds keys of two maps of one class:
 * give each of these maps a lock_key of its own.
 *
 * Context: Process context. May sleep.
 * Return: the map, to be given to lockmap_destroy(); ERR_PTR(-EINVAL) when a
 * parameter is out of range (the log says which), ERR_PTR(-ENOMEM).
 */
#define lockmap_create(params...)							\
({											\
	static struct lock_class_key __lockmap_key;					\
											\
	__lockmap_create(params, &__lockmap_key, __func__, THIS_MODULE);		\
})

/**
 * lockmap_destroy() - drop all values and free the map
 * @map: the map; %NULL and error pointers are ignored
 *
 * No key may be held and no call on the map may be in progress. If a key is
 * held all the same, a WARN tells the map's name, the number of keys held, and how
 * many of them by tasks that have ended; and the map is leaked rather than freed
 * under its users. So is a map of which &lockmap_params.release leaves a key locked, or
 * inserts ever more values. Memory of lockmap_prealloc() has to be used or freed before.
 *
 * Waits for grace periods of RCU: that takes some tens of milliseconds at least, also for
 * an empty map.
 *
 * Context: Process context. May sleep.
 */
void lockmap_destroy(struct lockmap *map);

/**
 * lockmap_lock() - lock a key, waiting until it is free
 * @map: the map
 * @key: the key's bytes; not needed after the return
 * @len: length of the key, in bytes
 *
 * A task that holds the key already is refused at once. A cycle of tasks that wait
 * for each other is noticed after they have slept for a while: within some tens of
 * milliseconds after the last of them went to sleep, one of them is refused, which
 * need not be that last one, and the others go on. A chain of tasks that is no cycle
 * is never refused, however long it is.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: the entry, locked; ERR_PTR(-EINVAL) for a wrong @len or a %NULL,
 * ERR_PTR(-ENOMEM) when the key was new and there was no memory,
 * ERR_PTR(-EDEADLK) when the caller holds the key already, or when its wait is the
 * one that is refused in a cycle of tasks that wait for each other.
 */
struct lockmap_entry * __must_check lockmap_lock(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_interruptible() - lock a key, waiting until it is free or a signal comes
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_lock(), and ERR_PTR(-EINTR).
 */
struct lockmap_entry * __must_check
lockmap_lock_interruptible(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_killable() - lock a key, waiting until it is free or the task is killed
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_lock(), and ERR_PTR(-EINTR).
 */
struct lockmap_entry * __must_check
lockmap_lock_killable(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_timeout() - lock a key, waiting for a limited time
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 * @timeout: how long to wait for the key, in jiffies; %MAX_SCHEDULE_TIMEOUT for ever;
 *	0 not to wait. More than %LONG_MAX counts as 0: that is what
 *	``deadline - jiffies`` is after the deadline
 *
 * A wait that is too short for a cycle to be noticed ends with -ETIMEDOUT.
 *
 * With a @timeout of 0 this call differs from lockmap_trylock(): it may sleep to
 * allocate memory, and says -ETIMEDOUT where that one says -EBUSY.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: as lockmap_lock(), and ERR_PTR(-ETIMEDOUT).
 */
struct lockmap_entry * __must_check
lockmap_lock_timeout(struct lockmap *map, const void *key, size_t len, unsigned long timeout);

/**
 * lockmap_trylock() - lock a key if it is free
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * A lock that was taken in softirq belongs to no task; see
 * lockmap_entry_disown(). A softirq that is refused may have interrupted the
 * holder, which cannot go on before the softirq ends: try again a few times, not
 * until it works.
 *
 * Context: Process context or softirq. Never sleeps: may be called with
 * spinlocks held or bottom halves off.
 * Return: the entry, locked; ERR_PTR(-EBUSY) when the key is held, also when the
 * caller holds it (lockmap_lock_timeout() says -ETIMEDOUT, or -EDEADLK if the caller
 * holds it); ERR_PTR(-EINVAL) for a wrong @len or a %NULL; ERR_PTR(-ENOMEM).
 */
struct lockmap_entry * __must_check
lockmap_trylock(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_prealloc() - allocate the memory that locking a key may need
 * @map: the map
 * @gfp: how to allocate
 *
 * To be kept in reserve: it serves for any key of the map, also for one of
 * &lockmap_params.key_len bytes.
 *
 * Context: As @gfp says.
 * Return: memory for one call of lockmap_lock_prealloc() with this map, or for
 * lockmap_prealloc_free(); ERR_PTR(-EINVAL) for a %NULL or a refused @gfp (see
 * &lockmap_params.gfp); ERR_PTR(-ENOMEM).
 */
struct lockmap_prealloc * __must_check lockmap_prealloc(struct lockmap *map, gfp_t gfp);

/**
 * lockmap_prealloc_free() - give back memory that was not used
 * @pre: from lockmap_prealloc(); %NULL and error pointers are ignored
 *
 * Context: Process context or softirq.
 */
void lockmap_prealloc_free(struct lockmap_prealloc *pre);

/**
 * lockmap_lock_prealloc() - lock a key without asking for memory
 * @map: the map
 * @key: the key's bytes; not needed after the return
 * @len: length of the key, in bytes
 * @pre: the address of a pointer from lockmap_prealloc() with this @map. The pointer is
 *	set to %NULL when the memory was needed, which is when the map had no entry for
 *	the key; else, and on an error, the memory is the caller's still
 *
 * For paths that must not fail for memory: I/O completion in a worker, rollback,
 * writeback. Nor does it wait for memory: while the table behind the map gets none to
 * grow, its chains become longer, until a worker has made it larger. There is one
 * exception. An insertion that makes a table larger than two pages, and gets no memory
 * in one piece, makes a table of single pages. If such a table lacks the page that the
 * key belongs in, and there is none, this waits until the table's worker, which
 * allocates with %GFP_KERNEL, has made another table.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: the entry, locked; ERR_PTR(-EDEADLK) as lockmap_lock(); ERR_PTR(-EINVAL) for a
 * wrong @len or a %NULL, also at @pre, for an error pointer there, or for memory of
 * another map.
 */
struct lockmap_entry * __must_check lockmap_lock_prealloc(struct lockmap *map, const void *key,
							  size_t len,
							  struct lockmap_prealloc **pre);

/**
 * lockmap_lock_present() - lock a key that has a value
 * @map: the map
 * @key: the key's bytes; not needed after the return
 * @len: length of the key, in bytes
 *
 * For a key that has none this returns at once, unless somebody holds it exclusively:
 * that one may be about to put a value in, and is waited for. Allocates nothing, and
 * leaves nothing behind for a key that has no value.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: the entry, locked, with a value; ERR_PTR(-ENOENT) when the key has none; else
 * an error as lockmap_lock() gives it, but never -ENOMEM.
 */
struct lockmap_entry * __must_check lockmap_lock_present(struct lockmap *map, const void *key,
							 size_t len);

/**
 * lockmap_lock_present_killable() - lock a key that has a value, unless the task is killed
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_lock_present(), and ERR_PTR(-EINTR).
 */
struct lockmap_entry * __must_check lockmap_lock_present_killable(struct lockmap *map,
								  const void *key, size_t len);

/**
 * lockmap_trylock_present() - lock a key that has a value, if it is free
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context or softirq, with spinlocks held or not. Never sleeps, and
 * allocates nothing.
 * Return: the entry, locked, with a value; ERR_PTR(-ENOENT) when the key has none;
 * ERR_PTR(-EBUSY) when it has one, or may just get one, and is held, be it by a call that
 * is just making its entry; ERR_PTR(-EINVAL) for a wrong @len or a %NULL.
 */
struct lockmap_entry * __must_check lockmap_trylock_present(struct lockmap *map, const void *key,
							    size_t len);

/**
 * lockmap_value_entry() - the entry of a value
 * @value: the address of a value in a map: from lockmap_entry_value() or its kin
 *
 * As long as a key has a value, its entry, the key and the value stay where they are,
 * whether the key is locked or not. So a caller may keep the address of a value, in a
 * list of its own for example, if it makes sure that nobody removes the value
 * meanwhile: with a count in the value that those who remove respect, say. RCU does not
 * do: once a value is removed, its memory may be another key's value at once.
 *
 * Lock the key to use the value, with lockmap_entry_lock(). Fields that a lock of the
 * caller's protects, atomic ones, and those that do not change while the value is
 * there, may be used without: lockmap writes a value only where the caller puts it in
 * or takes it out. lockmap_get() and lockmap_tryget() copy such fields without their
 * lock: ignore them in a copy.
 *
 * Context: Any. Looks at nothing.
 * Return: the entry, for lockmap_entry_key(), lockmap_entry_lock() and
 * lockmap_entry_trylock(); %NULL for %NULL.
 */
struct lockmap_entry *lockmap_value_entry(const void *value);

/**
 * lockmap_entry_lock() - lock a key again, by its entry
 * @entry: the entry of a key whose value is there, and is not removed before this returns:
 *	see lockmap_value_entry()
 *
 * Looks nothing up, and allocates nothing. A caller that holds no key, and is not in a
 * cycle of tasks, is never refused.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0 when it is locked, for lockmap_unlock(); -EDEADLK as lockmap_lock(); -ENOENT
 * and, once, a WARN when the value is gone: if its memory is another value's by then,
 * that key is locked.
 */
int __must_check lockmap_entry_lock(struct lockmap_entry *entry);

/**
 * lockmap_entry_lock_killable() - lock a key by its entry, unless the task is killed
 * @entry: the entry, as for lockmap_entry_lock()
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_entry_lock(), and -EINTR.
 */
int __must_check lockmap_entry_lock_killable(struct lockmap_entry *entry);

/**
 * lockmap_entry_lock_timeout() - lock a key by its entry, or give up after a while
 * @entry: the entry, as for lockmap_entry_lock()
 * @timeout: how long to wait, in jiffies; 0 not to wait
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: as lockmap_entry_lock(), and -ETIMEDOUT.
 */
int __must_check lockmap_entry_lock_timeout(struct lockmap_entry *entry, unsigned long timeout);

/**
 * lockmap_entry_trylock() - lock a key by its entry, if it is free
 * @entry: the entry, as for lockmap_entry_lock()
 *
 * Context: Process context or softirq, with spinlocks held or not. Never sleeps.
 * Return: true when it is locked, for lockmap_unlock(): for no task, in softirq. False when
 * it is held; or, with a WARN, when the value is gone.
 */
bool __must_check lockmap_entry_trylock(struct lockmap_entry *entry);

/**
 * lockmap_unlock() - unlock a key
 * @entry: the entry; not to be touched afterwards, nor its key and value. %NULL
 *	and error pointers are ignored
 *
 * Called by the task that locked the key; an entry that was disowned, locked in
 * softirq or granted to a request is unlocked by any task or softirq. Never sleeps,
 * but may call the functions of requests (lockmap_lock_async()). With
 * CONFIG_LOCKMAP_DEBUG, an unlock of a key that another task holds, or no task any
 * more, is a WARN and does nothing; without, only the latter is, and once.
 *
 * Context: Process context; for an entry that belongs to no task, softirq too. With
 * spinlocks held or not: none that the function of a request takes.
 */
void lockmap_unlock(struct lockmap_entry *entry);

/**
 * lockmap_lock_shared() - lock a key together with others that only read its value
 * @map: the map
 * @key: the key's bytes; not needed after the return
 * @len: length of the key, in bytes
 *
 * Many hold a key shared, and none exclusively meanwhile; an absent key as well, which
 * nobody can give a value then. A call for a key that somebody waits for joins the row
 * behind it, so that sharers do not keep others out for ever.
 *
 * Holders that share a key are not known by name: a task that asks for a key again
 * which it shares already is not refused, and hangs if somebody waits in between, or
 * if it wants the key exclusively, or walks the map. Cycles through shared keys are
 * not found. lockdep reports both.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: the entry, locked and shared, to be given to lockmap_unlock_shared(); an
 * error as lockmap_lock() gives it; ERR_PTR(-EDEADLK) when the caller holds the key
 * exclusively.
 */
const struct lockmap_entry * __must_check
lockmap_lock_shared(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_shared_interruptible() - share a key, unless a signal comes
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_lock_shared(), and ERR_PTR(-EINTR).
 */
const struct lockmap_entry * __must_check
lockmap_lock_shared_interruptible(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_shared_killable() - share a key, unless the task is killed
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_lock_shared(), and ERR_PTR(-EINTR).
 */
const struct lockmap_entry * __must_check
lockmap_lock_shared_killable(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_lock_shared_timeout() - share a key, or give up after a while
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 * @timeout: how long to wait, as for lockmap_lock_timeout()
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: as lockmap_lock_shared(), and ERR_PTR(-ETIMEDOUT).
 */
const struct lockmap_entry * __must_check
lockmap_lock_shared_timeout(struct lockmap *map, const void *key, size_t len,
			    unsigned long timeout);

/**
 * lockmap_trylock_shared() - share a key if that needs no waiting
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Never sleeps, and allocates as lockmap_trylock() does.
 *
 * Context: Process context or softirq, with spinlocks held or not.
 * Return: as lockmap_lock_shared(); ERR_PTR(-EBUSY) when the key is held exclusively,
 * be it by a call that is just making or dropping its entry; when somebody waits for it;
 * or when 4194303 holders share it.
 */
const struct lockmap_entry * __must_check
lockmap_trylock_shared(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_unlock_shared() - unlock a key that the caller shares
 * @entry: the entry; not to be used any more; %NULL and error pointers are ignored
 *
 * Called by the task that locked the key; an entry that was disowned, or locked in
 * softirq, is unlocked by any task or softirq. Never sleeps. May call the functions of
 * requests (lockmap_lock_async()).
 *
 * Context: Process context; for an entry that belongs to no task, softirq too.
 */
void lockmap_unlock_shared(const struct lockmap_entry *entry);

/**
 * lockmap_entry_disown_shared() - leave the unlock of a shared key to another context
 * @entry: the entry, shared by the caller
 *
 * Holders that share a key are not known by name: this is for lockdep alone.
 *
 * Context: Any that may hold the entry.
 */
void lockmap_entry_disown_shared(const struct lockmap_entry *entry);

/**
 * lockmap_entry_value_shared() - the value of an entry, to be read
 * @entry: the entry, shared by the caller
 *
 * Context: Any that may hold the entry.
 * Return: the value, valid until the unlock; %NULL when the key has none.
 */
const void *lockmap_entry_value_shared(const struct lockmap_entry *entry);

/**
 * lockmap_downgrade() - go on sharing a key that the caller holds exclusively
 * @entry: the entry, locked by the caller; to be used by the pointer that is returned
 *
 * Nobody has the key exclusively in between. Tasks that wait to share it, and are first
 * in the row, come in. Never sleeps.
 *
 * Context: Process context; for an entry that belongs to no task, softirq too.
 * Return: the entry, to be given to lockmap_unlock_shared().
 */
const struct lockmap_entry * __must_check lockmap_downgrade(struct lockmap_entry *entry);

/**
 * lockmap_try_upgrade() - hold a key exclusively that the caller shares, if nobody else does
 * @entry: the entry, shared by the caller
 *
 * Never waits: two holders that wait for each other to unlock would do so for ever.
 * The caller becomes the owner.
 *
 * Context: Process context or softirq.
 * Return: the entry, locked exclusively, to be given to lockmap_unlock(); %NULL when
 * others share the key: then the caller shares it still.
 */
struct lockmap_entry * __must_check lockmap_try_upgrade(const struct lockmap_entry *entry);

/**
 * struct lockmap_request - a lock that is waited for without a task
 * @granted: called once when the key is locked for the request: with the entry, which
 *	belongs to no task. lockmap does not touch the request any more. Runs in the
 *	context of the task or softirq that unlocked, or that gave up its wait for the
 *	key or cancelled its request; with no lock of lockmap held, but with those
 *	locks that this context holds. It must not sleep. It may unlock, trylock,
 *	request other locks, queue work
 *
 * In memory of the caller's, for as long as it is pending.
 */
struct lockmap_request {
	void (*granted)(struct lockmap_request *req, struct lockmap_entry *entry);
	/* private: for lockmap */
	u64 space[9];
};

/**
 * lockmap_lock_async() - lock a key now, or have a function called with it locked
 * @map: the map
 * @key: the key's bytes; not needed after the return
 * @len: length of the key, in bytes
 * @req: the request, with &lockmap_request.granted set, and not pending
 *
 * Requests and tasks that wait for a key get it in the order in which they came. A
 * request is never overtaken: as long as it is first, the key never becomes free.
 * &lockmap_request.granted may run before this returns.
 *
 * The functions of all requests that an unlock grants, and of those that are granted by
 * unlocks in these functions, run before the outermost unlock returns. A long chain of
 * requests keeps the task or softirq that began it busy; it needs no more stack for it.
 * If strangers choose keys and send requests, limit the number that may be pending.
 *
 * Never sleeps, and allocates as lockmap_trylock() does.
 *
 * Context: Process context or softirq, with spinlocks held or not: none that
 * @granted takes.
 * Return: the entry, locked for no task: @granted is never called;
 * ERR_PTR(-EINPROGRESS): it will be, or was, once; ERR_PTR(-EINVAL), or ERR_PTR(-ENOMEM)
 * when the key was new: it is never called.
 */
struct lockmap_entry * __must_check lockmap_lock_async(struct lockmap *map, const void *key,
						       size_t len, struct lockmap_request *req);

/**
 * lockmap_cancel() - take a request back
 * @req: the request, after lockmap_lock_async() has returned. Its memory has to last
 *	until this returns, also if @granted frees it: by a reference, or by a lock
 *	that is held here and taken before it is freed
 *
 * The next in the row may be a request: its function is called, then.
 *
 * Context: Process context or softirq, with spinlocks held or not: none that the
 * function of a request takes.
 * Return: true when it was taken back: &lockmap_request.granted is never called, and the
 * request is the caller's again. False when the function has run, runs, or is about
 * to: free the request there, or wait until it has run. False also for a request that
 * lockmap_lock_async() did not return -EINPROGRESS for, whose function never runs.
 */
bool lockmap_cancel(struct lockmap_request *req);

/**
 * lockmap_entry_disown() - keep a key locked, but for no task
 * @entry: the entry, locked by the caller
 *
 * As I/O code does with page and buffer locks: the context that finishes the work
 * unlocks the entry, another task or a completion in softirq. No task gets
 * -EDEADLK for it any more, and waiters do not spin for it.
 *
 * Context: Any that may hold the entry.
 */
void lockmap_entry_disown(struct lockmap_entry *entry);

/**
 * lockmap_entry_key() - the key of an entry
 * @entry: the entry, locked or shared by the caller; or kept by its value, see
 *	lockmap_value_entry()
 * @len: set to the key's length if not %NULL
 *
 * Context: Any that may hold the entry.
 * Return: the key's bytes, with no zero at their end, valid until the unlock, and as
 * long as the key has a value. %NULL and 0 bytes if CONFIG_LOCKMAP_DEBUG finds that
 * neither the caller nor a value keeps the entry.
 */
const void *lockmap_entry_key(const struct lockmap_entry *entry, size_t *len);

/**
 * lockmap_entry_value() - the value of an entry
 * @entry: the entry, locked by the caller
 *
 * Context: Any that may hold the entry.
 * Return: the value, which the caller may write and which is valid until the
 * unlock or the removal; %NULL when the key has none. In a map with no
 * &lockmap_params.value_len a present key has a pointer to no bytes.
 */
void *lockmap_entry_value(struct lockmap_entry *entry);

/**
 * lockmap_entry_insert() - give a key a value
 * @entry: the entry, locked by the caller
 * @value: the value, copied; %NULL for all zero
 * @old: if not %NULL, where a value that was there is copied to; it then
 *	belongs to the caller. Else it is released. Must not overlap @value, nor
 *	may @value be the value that is in the entry
 *
 * Cannot fail for memory: the entry has room for a value since the key was locked.
 *
 * Context: Any that may hold the entry; &lockmap_params.release is called.
 * Return: true when there was a value before.
 */
bool lockmap_entry_insert(struct lockmap_entry *entry, const void *value, void *old);

/**
 * lockmap_entry_remove() - take a key's value away
 * @entry: the entry, locked by the caller, and locked still afterwards
 * @old: if not %NULL, where the value is copied to; it then belongs to the
 *	caller. Else it is released
 *
 * Context: Any that may hold the entry; &lockmap_params.release is called.
 * Return: true when there was a value.
 */
bool lockmap_entry_remove(struct lockmap_entry *entry, void *old);

/**
 * lockmap_entry_get_or_insert() - the value of an entry, put in if there is none
 * @entry: the entry, locked by the caller
 * @value: the value to put in, copied; %NULL for all zero
 *
 * Cannot fail for memory, as lockmap_entry_insert().
 *
 * Context: Any that may hold the entry.
 * Return: the value, as lockmap_entry_value(). Never %NULL, unless
 * CONFIG_LOCKMAP_DEBUG finds that the caller does not hold the entry.
 */
void *lockmap_entry_get_or_insert(struct lockmap_entry *entry, const void *value);

/**
 * lockmap_get() - copy a key's value out
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 * @value: where to copy the value, undefined after an error; %NULL only to ask
 *
 * Waits while the key is held exclusively. Reading a key that is not writes nothing
 * that other CPUs share, so readers do not slow each other down; with
 * &lockmap_params.clone the key is shared instead, as by lockmap_lock_shared().
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0; -ENOENT when the key has no value; -EINVAL for a wrong @len or a
 * %NULL; -EDEADLK as lockmap_lock().
 */
int lockmap_get(struct lockmap *map, const void *key, size_t len, void *value);

/**
 * lockmap_tryget() - copy a key's value out, if that needs no waiting
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 * @value: where to copy the value, undefined after an error; %NULL only to ask
 *
 * Takes no lock and allocates nothing. In an RCU read side section a value that is a
 * pointer may be followed, to an object that &lockmap_params.release frees with
 * kfree_rcu(); the object may have been removed from the map by then.
 *
 * Context: Process context or softirq, with spinlocks held or not, in RCU read side
 * sections too. Never sleeps.
 * Return: 0; -ENOENT when the key has no value; -EBUSY when the key is held exclusively, be
 * it by a call that is just making its entry, or changed at each of some looks at it;
 * -EOPNOTSUPP when the map has &lockmap_params.clone, unless @value is %NULL; -EINVAL for a
 * wrong @len or a %NULL.
 */
int lockmap_tryget(struct lockmap *map, const void *key, size_t len, void *value);

/**
 * lockmap_contains() - whether a key has a value
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Waits while the key is held exclusively. The holder itself gets the answer at
 * once: as it has left the value so far. So does a task whose wait lockmap_lock()
 * would refuse with -EDEADLK.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: true when it has. False for a wrong @len or a %NULL.
 */
bool lockmap_contains(struct lockmap *map, const void *key, size_t len);

/**
 * lockmap_insert() - give a key a value
 * @map: the map
 * @key: the key's bytes, copied
 * @len: length of the key, in bytes
 * @value: the value, copied; %NULL for all zero
 * @old: as for lockmap_entry_insert()
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0 when the key had no value, 1 when it had; else an error as
 * lockmap_lock() gives it: -EINVAL, -ENOMEM, -EDEADLK.
 */
int lockmap_insert(struct lockmap *map, const void *key, size_t len, const void *value, void *old);

/**
 * lockmap_remove() - take a key's value away
 * @map: the map
 * @key: the key's bytes
 * @len: length of the key, in bytes
 * @old: as for lockmap_entry_remove()
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0; -ENOENT when there was no value; -EINVAL, -EDEADLK as
 * lockmap_lock().
 */
int lockmap_remove(struct lockmap *map, const void *key, size_t len, void *old);

/**
 * lockmap_len() - how many keys have a value
 * @map: the map
 *
 * Adds up a counter of each possible CPU.
 *
 * Context: Any.
 * Return: the number: exact while no task inserts or removes, else close.
 */
size_t lockmap_len(struct lockmap *map);

/**
 * lockmap_is_empty() - whether no key has a value
 * @map: the map
 *
 * Context: Any.
 * Return: as lockmap_len() == 0.
 */
bool lockmap_is_empty(struct lockmap *map);

/**
 * lockmap_for_each() - visit every value
 * @map: the map
 * @fn: called with each value, its key locked and no other (the key is bytes,
 *	with no zero at its end); may write the value and may sleep; non-zero
 *	stops the walk. It holds the key as if by lockmap_lock(): calls that would
 *	wait for this key fail with -EDEADLK, and @fn may wait for other keys of the
 *	map only if they are larger
 * @arg: given to @fn
 *
 * A value that is there from the beginning to the end is visited exactly once, a
 * value that comes or goes meanwhile at most once. The walk waits for keys that are
 * held. The order is unspecified.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0; what @fn stopped with; -EDEADLK, before the first call of @fn,
 * when the caller holds a key of the map exclusively; -EDEADLK as well, with some values
 * visited, when its wait for a key is the one that is refused in a cycle, which
 * takes a key of another map that the caller holds; -EINVAL if @map or @fn is %NULL.
 */
int lockmap_for_each(struct lockmap *map,
		     int (*fn)(const void *key, size_t len, void *value, void *arg), void *arg);

/**
 * lockmap_retain() - remove the values that are not to be kept
 * @map: the map
 * @keep: called as @fn of lockmap_for_each() is; false drops the value
 * @arg: given to @keep
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0, or an error as lockmap_for_each() gives it, when values that were visited
 * before may have been removed.
 */
int lockmap_retain(struct lockmap *map,
		   bool (*keep)(const void *key, size_t len, void *value, void *arg), void *arg);

/**
 * lockmap_clear() - remove all values
 * @map: the map
 *
 * Waits for keys that are held. A value that comes meanwhile may stay.
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: 0, or an error as lockmap_for_each() gives it, when some values may have been
 * removed.
 */
int lockmap_clear(struct lockmap *map);

/**
 * lockmap_batch_lock() - lock many keys without deadlock
 * @map: the map
 * @keys: the keys in any order; the same key may be there more than once
 * @n: number of keys; 0 gives an empty batch
 *
 * The keys are locked in ascending order, so that any number of batches may overlap:
 * all of them, or on an error none. @keys and what it points to are not needed after the
 * return::
 *
 *	const struct lockmap_key keys[] = { { &from, sizeof(from) }, { &to, sizeof(to) } };
 *	struct lockmap_batch *batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: the batch, for lockmap_batch_unlock(); errors as lockmap_lock().
 */
struct lockmap_batch * __must_check
lockmap_batch_lock(struct lockmap *map, const struct lockmap_key *keys, unsigned int n);

/**
 * lockmap_batch_lock_interruptible() - lock many keys, or none when a signal comes
 * @map: the map
 * @keys: the keys
 * @n: number of keys
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_batch_lock(), and ERR_PTR(-EINTR).
 */
struct lockmap_batch * __must_check
lockmap_batch_lock_interruptible(struct lockmap *map, const struct lockmap_key *keys,
				 unsigned int n);

/**
 * lockmap_batch_lock_killable() - lock many keys, or none when the task is killed
 * @map: the map
 * @keys: the keys
 * @n: number of keys
 *
 * Context: Process context. May sleep.
 * Return: as lockmap_batch_lock(), and ERR_PTR(-EINTR).
 */
struct lockmap_batch * __must_check
lockmap_batch_lock_killable(struct lockmap *map, const struct lockmap_key *keys, unsigned int n);

/**
 * lockmap_batch_lock_timeout() - lock many keys, or none when the time is up
 * @map: the map
 * @keys: the keys
 * @n: number of keys
 * @timeout: how long to wait for all of them together, as for lockmap_lock_timeout()
 *
 * Context: Process context. May sleep, uninterruptibly.
 * Return: as lockmap_batch_lock(), and ERR_PTR(-ETIMEDOUT).
 */
struct lockmap_batch * __must_check
lockmap_batch_lock_timeout(struct lockmap *map, const struct lockmap_key *keys, unsigned int n,
			   unsigned long timeout);

/**
 * lockmap_batch_trylock() - lock many keys if all are free
 * @map: the map
 * @keys: the keys
 * @n: number of keys
 *
 * Context: As lockmap_trylock(). Never sleeps.
 * Return: the batch; errors as lockmap_trylock().
 */
struct lockmap_batch * __must_check
lockmap_batch_trylock(struct lockmap *map, const struct lockmap_key *keys, unsigned int n);

/**
 * lockmap_batch_unlock() - unlock all keys of a batch, and free it
 * @batch: the batch; %NULL and error pointers are ignored
 *
 * With CONFIG_LOCKMAP_DEBUG, a call for a batch of which another task holds a key, or
 * no task any more, is a WARN and does nothing.
 *
 * Context: As lockmap_unlock(). Does not sleep for a batch of
 * lockmap_batch_trylock(), but may for other batches, which kvfree() frees.
 */
void lockmap_batch_unlock(struct lockmap_batch *batch);

/**
 * lockmap_batch_entry() - find a key's entry in a batch
 * @batch: the batch
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * The entry is unlocked with the batch, never by itself.
 *
 * Context: Any that may hold the batch.
 * Return: the entry; %NULL when the batch does not have the key, or shares it.
 */
struct lockmap_entry * __must_check
lockmap_batch_entry(struct lockmap_batch *batch, const void *key, size_t len);

/**
 * lockmap_batch_entry_shared() - find an entry of a batch by its key, to be read
 * @batch: the batch
 * @key: the key's bytes
 * @len: length of the key, in bytes
 *
 * Context: Any that may hold the batch.
 * Return: the entry, whether it is shared or not, for lockmap_entry_key() and
 * lockmap_entry_value_shared(); %NULL when the batch does not have the key.
 */
const struct lockmap_entry * __must_check
lockmap_batch_entry_shared(struct lockmap_batch *batch, const void *key, size_t len);

/* The first slot from the @i-th on whose entry is not shared. */
static inline unsigned int __lockmap_batch_skip(const struct lockmap_batch *batch, unsigned int i)
{
	while (batch->any_shared && i < batch->nr && (batch->slots[i] & 1))
		i++;
	return i;
}

/* The entry in a slot of a batch: %NULL if it is shared; or also then. */
#define __lockmap_slot_entry(slot)						\
	((slot) & 1 ? NULL : (struct lockmap_entry *)(slot))
#define __lockmap_slot_shared(slot)						\
	((const struct lockmap_entry *)((slot) & ~1UL))

/**
 * lockmap_batch_for_each() - go through a batch in the order of its keys
 * @batch: the batch
 * @entry: a struct lockmap_entry * that is set to each entry that is locked exclusively
 */
#define lockmap_batch_for_each(batch, entry)					\
	for (unsigned int __lm_i = __lockmap_batch_skip(batch, 0);		\
	     __lm_i < (batch)->nr &&						\
	     ((entry) = (struct lockmap_entry *)(batch)->slots[__lm_i], 1);	\
	     __lm_i = __lockmap_batch_skip(batch, __lm_i + 1))

/**
 * lockmap_batch_for_each_shared() - go through all of a batch, to read it
 * @batch: the batch
 * @entry: a const struct lockmap_entry * that is set to each entry
 */
#define lockmap_batch_for_each_shared(batch, entry)				\
	for (unsigned int __lm_i = 0;						\
	     __lm_i < (batch)->nr &&						\
	     ((entry) = __lockmap_slot_shared((batch)->slots[__lm_i]), 1);	\
	     __lm_i++)

/*
 * Scope guards (linux/cleanup.h). The key is unlocked when the variable goes
 * out of scope; check it with IS_ERR() first, as after the function:
 *
 *	CLASS(lockmap_lock_killable, entry)(map, &key, sizeof(key));
 *	if (IS_ERR(entry))
 *		return PTR_ERR(entry);
 *
 *	struct lockmap_entry *entry __free(lockmap_unlock) = lockmap_trylock(map, &key, len);
 *
 * and CLASS(lockmap_batch_lock, batch)(map, keys, n) for a batch. There are classes
 * for lockmap_lock(), _interruptible() and _killable(), lockmap_trylock(), those that
 * lock only what is present, those that share a key, and the same for batches.
 * __free() serves the rest. The functions of DEFINE_LOCKMAP() have classes as well:
 * CLASS(inodes_lock, entry)(map, &ino). Take the entry out with no_free_ptr() before
 * it is unlocked early, returned or disowned.
 */
DEFINE_FREE(lockmap_destroy, struct lockmap *, lockmap_destroy(_T))
DEFINE_FREE(lockmap_prealloc_free, struct lockmap_prealloc *, lockmap_prealloc_free(_T))
DEFINE_FREE(lockmap_unlock, struct lockmap_entry *, lockmap_unlock(_T))
DEFINE_FREE(lockmap_unlock_shared, const struct lockmap_entry *, lockmap_unlock_shared(_T))
DEFINE_FREE(lockmap_batch_unlock, struct lockmap_batch *, lockmap_batch_unlock(_T))

#define __LOCKMAP_ENTRY_CLASS(func)							\
DEFINE_CLASS(func, struct lockmap_entry *, lockmap_unlock(_T), func(map, key, len),	\
	     struct lockmap *map, const void *key, size_t len)
#define __LOCKMAP_SHARED_CLASS(func)							\
DEFINE_CLASS(func, const struct lockmap_entry *, lockmap_unlock_shared(_T), func(map, key, len), \
	     struct lockmap *map, const void *key, size_t len)
#define __LOCKMAP_BATCH_CLASS(func)							\
DEFINE_CLASS(func, struct lockmap_batch *, lockmap_batch_unlock(_T), func(map, keys, n), \
	     struct lockmap *map, const struct lockmap_key *keys, unsigned int n)

__LOCKMAP_ENTRY_CLASS(lockmap_lock);
__LOCKMAP_ENTRY_CLASS(lockmap_lock_interruptible);
__LOCKMAP_ENTRY_CLASS(lockmap_lock_killable);
__LOCKMAP_ENTRY_CLASS(lockmap_trylock);
__LOCKMAP_ENTRY_CLASS(lockmap_lock_present);
__LOCKMAP_ENTRY_CLASS(lockmap_lock_present_killable);
__LOCKMAP_ENTRY_CLASS(lockmap_trylock_present);
__LOCKMAP_SHARED_CLASS(lockmap_lock_shared);
__LOCKMAP_SHARED_CLASS(lockmap_lock_shared_interruptible);
__LOCKMAP_SHARED_CLASS(lockmap_lock_shared_killable);
__LOCKMAP_SHARED_CLASS(lockmap_trylock_shared);
__LOCKMAP_BATCH_CLASS(lockmap_batch_lock);
__LOCKMAP_BATCH_CLASS(lockmap_batch_lock_interruptible);
__LOCKMAP_BATCH_CLASS(lockmap_batch_lock_killable);
__LOCKMAP_BATCH_CLASS(lockmap_batch_trylock);

#include "lockmap_typed.h"

#endif /* _LOCKMAP_H */
