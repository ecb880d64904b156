// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * replycache: a UDP server that executes no call twice, and the cache that it needs for that
 *
 * A client that gets no reply sends its call again. The server cannot know whether the
 * request got lost or the reply did. So it keeps the replies that it has sent. When a call
 * comes again it sends the reply again, and does not execute the call again. RPC servers
 * have such a cache for calls that must not be executed twice: nfsd does, for example.
 *
 * A lockmap maps a call (its client, and the number that the client gave it) to its reply:
 *
 *	the key ...			the call ...
 *	has no value			is new
 *	is held exclusively		is in progress
 *	has a value			was executed, and this is its reply
 *
 * answer() is the part to copy. For comparison, naive=1 loads the module with what goes
 * wrong without a lock for each key.
 *
 * All replies are in a list, the least recently used first. prune() removes the oldest of
 * them, which needs no search: lockmap_value_entry() leads from a value to its key.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>

#include "lockmap.h"
#include "protocol.h"
#include "socket.h"

#define MAX_THREADS	16
#define PRUNE_AT_ONCE	8	/* how many replies are looked at under the lock of the list */

static ushort port = DEFAULT_PORT;
module_param(port, ushort, 0444);
MODULE_PARM_DESC(port, "UDP port on 127.0.0.1");
static unsigned int nr_threads = 4;
module_param_named(threads, nr_threads, uint, 0444);
MODULE_PARM_DESC(threads, "Number of threads that execute calls, 1 to 16");
static bool wait;
module_param(wait, bool, 0444);
MODULE_PARM_DESC(wait, "Let a call that comes again wait for the one in progress, do not drop it");
static unsigned int max_replies = 1000;
module_param(max_replies, uint, 0444);
MODULE_PARM_DESC(max_replies, "How many replies are kept however old they are");
static unsigned int keep_ms = 10000;
module_param(keep_ms, uint, 0444);
MODULE_PARM_DESC(keep_ms, "How long a reply is kept after its last use however many there are");
static unsigned int slow_ms = 50;
module_param(slow_ms, uint, 0444);
MODULE_PARM_DESC(slow_ms, "How long one call in eight takes");
static unsigned int lose_percent;
module_param(lose_percent, uint, 0444);
MODULE_PARM_DESC(lose_percent, "How many of the requests, and of the replies, the server loses");
static bool naive;
module_param(naive, bool, 0444);
MODULE_PARM_DESC(naive, "Look up, execute and insert without a lock, which is wrong");

/* In /sys/kernel/debug/replycache */
static atomic_t nr_calls;	/* requests that came */
static atomic_t nr_executed;
static atomic_t nr_replayed;	/* answered with a reply that was kept */
static atomic_t nr_waited;	/* waited for the call in progress */
static atomic_t nr_dropped;	/* came again while the call was in progress */
static atomic_t nr_requests_lost;	/* on purpose */
static atomic_t nr_replies_lost;
static atomic_t nr_pruned;	/* replies removed */

/*
 * The cache
 */

/* A call: two requests with the same key are one call that was sent twice. */
struct call_key {
	__be32 address;
	__be16 port;
	u16 unused;	/* 0 */
	u32 xid;
};

struct cached_reply {
	struct call_reply reply;	/* guarded by the key */
	struct list_head lru;		/* this and the next are guarded by lru_lock */
	unsigned long used;		/* jiffies */
};

DEFINE_LOCKMAP(replies, struct call_key, struct cached_reply);

static struct replies *replies;
static LIST_HEAD(lru);		/* all replies, the least recently used first */
static u32 nr_replies;		/* in that list */
static DEFINE_SPINLOCK(lru_lock);

/* Make a reply the most recently used. The caller holds its key, shared or not. */
static void use_reply(struct cached_reply *cached)
{
	spin_lock(&lru_lock);
	list_move_tail(&cached->lru, &lru);
	cached->used = jiffies;
	spin_unlock(&lru_lock);
}

/* The memory for the value came with the lock: this cannot fail. */
static void keep_reply(struct replies_entry *entry, const struct call_reply *reply)
{
	struct cached_reply *cached = replies_entry_get_or_insert(entry, NULL);

	cached->reply = *reply;
	spin_lock(&lru_lock);
	list_add_tail(&cached->lru, &lru);
	cached->used = jiffies;
	nr_replies++;
	spin_unlock(&lru_lock);
}

/*
 * Remove a reply, unless a thread holds its key to send it. Values do not move, and the
 * value is there: it leaves the map only here, and the list before that, with lru_lock held.
 */
static void forget_reply(struct cached_reply *cached)
{
	struct replies_entry *entry = replies_value_entry(cached);

	if (!replies_entry_trylock(entry))
		return;
	list_del(&cached->lru);
	nr_replies--;
	replies_entry_remove(entry, NULL);
	replies_unlock(entry);
	atomic_inc(&nr_pruned);
}

static bool may_be_forgotten(const struct cached_reply *cached)
{
	return nr_replies > max_replies &&
	       time_after(jiffies, cached->used + msecs_to_jiffies(keep_ms));
}

/* Remove replies that are beyond max_replies and older than keep_ms, the oldest first. */
static void prune(void)
{
	struct cached_reply *cached, *next;
	unsigned int n = 0;

	spin_lock(&lru_lock);
	list_for_each_entry_safe(cached, next, &lru, lru) {
		if (n++ == PRUNE_AT_ONCE || !may_be_forgotten(cached))
			break;
		forget_reply(cached);
	}
	spin_unlock(&lru_lock);
}

/*
 * The server
 */

static atomic64_t counters[NR_COUNTERS];

/* This must not happen twice for one call. It may take a while. */
static void execute(const struct call_request *request, struct call_reply *reply)
{
	if (slow_ms && get_random_u32() % 8 == 0)
		msleep(slow_ms);
	atomic_inc(&nr_executed);
	*reply = (struct call_reply) {
		.xid = request->xid,
		.counter = request->counter,
		.value = atomic64_add_return(request->amount, &counters[request->counter]),
		.tag = request->tag,
	};
}

static struct call_key key_of(const struct call *call)
{
	return (struct call_key) {
		.address = call->client.sin_addr.s_addr,
		.port = call->client.sin_port,
		.xid = call->request.xid,
	};
}

/* Return: that there is no reply to send. */
static bool drop_call(void)
{
	atomic_inc(&nr_dropped);
	return false;
}

/* Share the key of a call. If the call is in progress: wait for it, or return -EBUSY. */
static const struct replies_entry *share_call(const struct call_key *key)
{
	const struct replies_entry *shared = replies_trylock_shared(replies, key);

	if (shared != ERR_PTR(-EBUSY) || !wait)
		return shared;
	atomic_inc(&nr_waited);
	return replies_lock_shared(replies, key);
}

/*
 * Copy the reply of a call that was executed before. The caller shares the key, which
 * gives no right to write the value; but the fields for the list are lru_lock's.
 *
 * Return: whether there is a reply.
 */
static bool replay(const struct replies_entry *shared, struct call_reply *reply)
{
	const struct cached_reply *cached = replies_entry_value_shared(shared);

	if (!cached)
		return false;
	*reply = cached->reply;
	use_reply((struct cached_reply *)cached);
	atomic_inc(&nr_replayed);
	return true;
}

/*
 * A thread that finds no reply executes the call, and holds the key exclusively until the
 * reply is in the cache. A call in progress is dropped: the client will send it again. So
 * is one for whose key there is no memory. If two threads look for the same new call at
 * once, one of them cannot upgrade its lock, or neither can: that call is dropped, too.
 *
 * Return: whether there is a reply to send.
 */
static bool answer(const struct call *call, struct call_reply *reply)
{
	const struct call_key key = key_of(call);
	const struct replies_entry *shared = share_call(&key);
	struct replies_entry *entry;

	if (IS_ERR(shared))
		return drop_call();
	if (replay(shared, reply)) {
		replies_unlock_shared(shared);
		return true;
	}
	entry = replies_try_upgrade(shared);
	if (!entry) {
		replies_unlock_shared(shared);
		return drop_call();
	}
	execute(&call->request, reply);
	keep_reply(entry, reply);
	replies_unlock(entry);
	return true;
}

/* For comparison: this executes a call a second time if it comes again while in progress. */
static bool answer_naive(const struct call *call, struct call_reply *reply)
{
	const struct call_key key = key_of(call);
	struct cached_reply cached = {};

	if (!replies_get(replies, &key, &cached)) {
		*reply = cached.reply;
		atomic_inc(&nr_replayed);
		return true;
	}
	execute(&call->request, reply);
	cached.reply = *reply;
	return replies_insert(replies, &key, &cached, NULL) >= 0;
}

/* Return: whether a datagram is to be lost. */
static bool lose(atomic_t *nr)
{
	if (get_random_u32() % 100 >= lose_percent)
		return false;
	atomic_inc(nr);
	return true;
}

static struct socket *server_socket;
static struct task_struct *threads[MAX_THREADS];
static bool stopping;

static int serve(void *unused)
{
	struct call_reply reply;
	struct call call;

	while (!READ_ONCE(stopping)) {
		if (!receive(server_socket, &call))
			continue;
		atomic_inc(&nr_calls);
		if (lose(&nr_requests_lost))
			continue;
		if ((naive ? answer_naive : answer)(&call, &reply) && !lose(&nr_replies_lost))
			send_reply(server_socket, &call, &reply);
		prune();
	}
	return 0;
}

/* The shutdown wakes threads that wait for a datagram. kthread_stop() waits until they end. */
static void stop_threads(void)
{
	WRITE_ONCE(stopping, true);
	kernel_sock_shutdown(server_socket, SHUT_RDWR);
	for (unsigned int i = 0; i < nr_threads && threads[i]; i++) {
		kthread_stop(threads[i]);
		put_task_struct(threads[i]);
	}
}

static int start_threads(void)
{
	struct task_struct *thread;

	for (unsigned int i = 0; i < nr_threads; i++) {
		thread = kthread_run(serve, NULL, KBUILD_MODNAME "/%u", i);
		if (IS_ERR(thread)) {
			stop_threads();
			return PTR_ERR(thread);
		}
		threads[i] = get_task_struct(thread);
	}
	return 0;
}

static struct dentry *debug_dir;

static void make_counters(void)
{
	debug_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_atomic_t("calls", 0444, debug_dir, &nr_calls);
	debugfs_create_atomic_t("executed", 0444, debug_dir, &nr_executed);
	debugfs_create_atomic_t("replayed", 0444, debug_dir, &nr_replayed);
	debugfs_create_atomic_t("waited", 0444, debug_dir, &nr_waited);
	debugfs_create_atomic_t("dropped", 0444, debug_dir, &nr_dropped);
	debugfs_create_atomic_t("requests_lost", 0444, debug_dir, &nr_requests_lost);
	debugfs_create_atomic_t("replies_lost", 0444, debug_dir, &nr_replies_lost);
	debugfs_create_atomic_t("pruned", 0444, debug_dir, &nr_pruned);
	debugfs_create_u32("replies", 0444, debug_dir, &nr_replies);
}

static int __init replycache_init(void)
{
	int err;

	if (!nr_threads || nr_threads > MAX_THREADS)
		return -EINVAL;
	replies = replies_create(&(struct lockmap_params) { .name = KBUILD_MODNAME });
	if (IS_ERR(replies))
		return PTR_ERR(replies);
	server_socket = open_socket(port);
	err = PTR_ERR_OR_ZERO(server_socket);
	if (err)
		goto no_socket;
	make_counters();
	err = start_threads();
	if (err)
		goto no_threads;
	return 0;

no_threads:
	debugfs_remove(debug_dir);
	sock_release(server_socket);
no_socket:
	replies_destroy(replies);
	return err;
}
module_init(replycache_init);

/* Without threads no key is held, and nobody looks at the list: its replies go with the map. */
static void __exit replycache_exit(void)
{
	stop_threads();
	debugfs_remove(debug_dir);
	sock_release(server_socket);
	replies_destroy(replies);
}
module_exit(replycache_exit);

MODULE_DESCRIPTION("A UDP server with a duplicate request cache: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
