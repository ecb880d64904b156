// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * ratelimit: so many IPv4 packets a second from each source, and no more
 *
 * Every source address has a token bucket, which is in a lockmap and is locked
 * while a packet is judged, in softirq. Packets of different sources never wait
 * for each other, on however many CPUs they come in.
 *
 * Only what comes into the first network namespace is limited. Buckets and what
 * they did can be seen in /sys/kernel/debug/ratelimit.
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

/* A token is the nanoseconds in which one packet may pass, so filling up is an addition. */
struct bucket {
	u64 tokens;
	u64 time;	/* when it had so many */
	u64 passed, dropped;
};

DEFINE_LOCKMAP(buckets, __be32, struct bucket);

static struct buckets *buckets;
static u64 token, full;
static atomic_t busy;

static unsigned int rate = 1000, burst = 1000, max_sources = 100000;
module_param(rate, uint, 0444);
MODULE_PARM_DESC(rate, "Packets a second from one source");
module_param(burst, uint, 0444);
MODULE_PARM_DESC(burst, "Packets at once from a source that was quiet");
module_param(max_sources, uint, 0444);
MODULE_PARM_DESC(max_sources, "Sources that are known; others are dropped until one is quiet");

static u64 tokens_at(const struct bucket *bucket, u64 now)
{
	return min(bucket->tokens + (now - bucket->time), full);
}

/*
 * In softirq there is only lockmap_trylock(), for one cannot sleep. Who has the
 * key is another packet of this source, on another CPU, or a walk over the
 * table, for some hundred nanoseconds: it is worth trying again. But a walk may
 * be what this softirq has interrupted, and then it does not end before we do.
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
		/* What is put in is limited, as anybody can make up sources. */
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
	 * Still busy, or no memory: drop, so that the limit holds whatever happens.
	 * It takes no token, so the source loses nothing of its rate. Who cannot
	 * bear a lost packet accepts it here, and bears one too many.
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

/* A full bucket is what a source without one gets, so it can go. */
static void sweep(struct work_struct *work)
{
	buckets_retain(buckets, not_full, NULL);
	schedule_delayed_work(&sweeper, HZ);
}

static int show_bucket(const __be32 *source, struct bucket *bucket, void *m)
{
	seq_printf(m, "%pI4 %llu %llu\n", source, bucket->passed, bucket->dropped);
	return seq_has_overflowed(m);	/* then seq_file comes again with more room */
}

static int ratelimit_show(struct seq_file *m, void *unused)
{
	int ret;

	seq_printf(m, "# %zu sources: address, packets passed, dropped\n", buckets_len(buckets));
	seq_printf(m, "# %d dropped as the bucket was busy\n", atomic_read(&busy));
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
	synchronize_net();	/* a packet may still be in judge() */
	debugfs_remove(debug_file);
	cancel_delayed_work_sync(&sweeper);
	buckets_destroy(buckets);
}
module_exit(ratelimit_exit);

MODULE_DESCRIPTION("So many packets a second from each source: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
