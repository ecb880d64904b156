// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * ratelimit: limit the IPv4 packets per second of each source address
 *
 * Each source has a token bucket, which is a value in a lockmap. Softirq locks the
 * bucket while it decides whether a packet may pass. Packets of different sources
 * never wait for each other, however many CPUs receive them.
 *
 * The limit applies to packets that enter the first network namespace.
 * /sys/kernel/debug/ratelimit shows the buckets and how many packets each passed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/ip.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/seq_file.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "lockmap.h"

#define MAX_RATE	1000000
#define BUSY_TRIES	100

/*
 * Tokens are counted in nanoseconds: a packet costs the time between two packets at
 * the limit, so a bucket fills by the time that has passed.
 */
struct bucket {
	u64 tokens;
	u64 time;	/* when @tokens was right */
	u64 passed, dropped;
};

DEFINE_LOCKMAP(buckets, __be32, struct bucket);

static struct buckets *buckets;
static u64 token, full;
static atomic_t busy;

static unsigned int rate = 1000, burst = 1000, max_sources = 100000;
module_param(rate, uint, 0444);
MODULE_PARM_DESC(rate, "Packets per second from one source");
module_param(burst, uint, 0444);
MODULE_PARM_DESC(burst, "Packets that a source may send at once after a pause");
module_param(max_sources, uint, 0444);
MODULE_PARM_DESC(max_sources, "Number of buckets; packets of further sources are dropped until a bucket is free");

static u64 tokens_at(const struct bucket *bucket, u64 now)
{
	return min(bucket->tokens + (now - bucket->time), full);
}

/*
 * Softirq cannot sleep, so it has only buckets_trylock(). The holder of the key is
 * another packet of this source on another CPU, or a walk over the map, and holds it
 * for some hundred nanoseconds: trying again is worth it. But the holder may be a
 * walk that this softirq has interrupted. It cannot go on before the softirq ends,
 * so limit the number of tries.
 */
static struct buckets_entry *lock_bucket(const __be32 *source)
{
	struct buckets_entry *entry = buckets_trylock(buckets, source);

	for (int i = 0; entry == ERR_PTR(-EBUSY) && i < BUSY_TRIES; i++) {
		cpu_relax();
		entry = buckets_trylock(buckets, source);
	}
	return entry;
}

static bool take_token(struct buckets_entry *entry)
{
	struct bucket *bucket = buckets_entry_value(entry);
	u64 now = ktime_get_ns();	/* read under the lock, so it never goes back */

	if (!bucket) {
		/* Limit the number of values: a sender can invent any number of sources. */
		if (buckets_len(buckets) >= max_sources)
			return false;
		bucket = buckets_entry_get_or_insert(entry, &(struct bucket) {
			.tokens = full, .time = now,
		});
	}
	bucket->tokens = tokens_at(bucket, now);
	bucket->time = now;
	if (bucket->tokens < token) {
		bucket->dropped++;
		return false;
	}
	bucket->tokens -= token;
	bucket->passed++;
	return true;
}

static unsigned int judge(void *unused, struct sk_buff *skb, const struct nf_hook_state *state)
{
	const __be32 source = ip_hdr(skb)->saddr;
	struct buckets_entry *entry;
	bool pass;

	if (state->in->flags & IFF_LOOPBACK)
		return NF_ACCEPT;
	/*
	 * The key is still busy, or there is no memory. Drop the packet, so that the
	 * limit holds in any case. It takes no token, so the source can send another.
	 * A module that must not lose packets accepts it here, and exceeds the limit.
	 */
	entry = lock_bucket(&source);
	if (IS_ERR(entry)) {
		atomic_inc(&busy);
		return NF_DROP;
	}
	pass = take_token(entry);
	buckets_unlock(entry);
	return pass ? NF_ACCEPT : NF_DROP;
}

static const struct nf_hook_ops hook = {
	.hook		= judge,
	.pf		= NFPROTO_IPV4,
	.hooknum	= NF_INET_PRE_ROUTING,
	.priority	= NF_IP_PRI_RAW,
};

static bool not_full(const __be32 *source, struct bucket *bucket, void *unused)
{
	return tokens_at(bucket, ktime_get_ns()) < full;
}

static void sweep(struct work_struct *work);
static DECLARE_DELAYED_WORK(sweeper, sweep);

/* Remove full buckets: a source without a bucket gets a full one anyway. */
static void sweep(struct work_struct *work)
{
	buckets_retain(buckets, not_full, NULL);
	schedule_delayed_work(&sweeper, HZ);
}

static int show_bucket(const __be32 *source, struct bucket *bucket, void *m)
{
	seq_printf(m, "%pI4 %llu %llu\n", source, bucket->passed, bucket->dropped);
	return seq_has_overflowed(m);	/* stop: seq_file calls again with a larger buffer */
}

static int ratelimit_show(struct seq_file *m, void *unused)
{
	int ret;

	seq_printf(m, "# %zu sources: address, packets passed, dropped\n", buckets_len(buckets));
	seq_printf(m, "# %d dropped because the bucket was busy or memory was short\n",
		   atomic_read(&busy));
	ret = buckets_for_each(buckets, show_bucket, m);
	return ret < 0 ? ret : 0;
}
DEFINE_SHOW_ATTRIBUTE(ratelimit);

static struct dentry *debug_file;

static int __init ratelimit_init(void)
{
	int err;

	if (!rate || rate > MAX_RATE || !burst)
		return -EINVAL;
	token = NSEC_PER_SEC / rate;
	full = burst * token;

	buckets = buckets_create(NULL);
	if (IS_ERR(buckets))
		return PTR_ERR(buckets);
	err = nf_register_net_hook(&init_net, &hook);
	if (err) {
		buckets_destroy(buckets);
		return err;
	}
	debug_file = debugfs_create_file(KBUILD_MODNAME, 0400, NULL, NULL, &ratelimit_fops);
	schedule_delayed_work(&sweeper, HZ);
	return 0;
}
module_init(ratelimit_init);

static void __exit ratelimit_exit(void)
{
	nf_unregister_net_hook(&init_net, &hook);
	synchronize_net();	/* wait for packets that are still in judge() */
	debugfs_remove(debug_file);
	cancel_delayed_work_sync(&sweeper);
	buckets_destroy(buckets);
}
module_exit(ratelimit_exit);

MODULE_DESCRIPTION("Limits the packets per second of each source: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
