// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Messages about the course of the test, and the report at its end
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/math64.h>
#include <linux/sched/debug.h>

#include "torture.h"

#define LMT_SHOWN	16	/* tasks whose stacks are shown */

/* Fail for each actor that does not rest. */
void lmt_report_stuck(void)
{
	unsigned int i, holder, n = 0;
	struct lmt_actor *a;

	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++) {
		a = lmt_task_actor(i);
		if (READ_ONCE(a->parked))
			continue;
		holder = a->map ? a->map->shadow[a->index].holder : 0;
		lmt_fail(a, a->map, a->index, "stuck",
			 "for %u ms; actor %lu has the key, %lu share it",
			 jiffies_to_msecs(jiffies - a->since), holder & LMT_HOLDER_ID,
			 holder / LMT_SHARE_ONE);
		if (n++ < LMT_SHOWN)
			sched_show_task(a->task);
	}
	lmt_report_pending();
	for (i = 0; i < lmt_nr_timers; i++) {
		a = &lmt_timers[i];
		if (!READ_ONCE(a->parked))
			lmt_fail(a, a->map, a->index, "stuck", "a timer");
	}
}

unsigned long lmt_count_ops(void)
{
	unsigned long n = 0;
	unsigned int i, j;

	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++) {
		for (j = 0; j < ARRAY_SIZE(lmt_ops); j++)
			n += READ_ONCE(lmt_task_actor(i)->ops[j]);
	}
	return n;
}

/* Print a line every @seconds. */
void lmt_report_progress(unsigned int seconds)
{
	static unsigned long next;

	if (!seconds || (next && time_before(jiffies, next)))
		return;
	if (next)
		pr_info("%u s: %lu operations, %lu phases, %d failures\n",
			jiffies_to_msecs(jiffies - lmt_start) / 1000, lmt_count_ops(),
			lmt_nr_phases, atomic_read(&lmt_failures));
	next = jiffies + seconds * HZ;
}

static void lmt_report_ops(void)
{
	unsigned long n[ARRAY_SIZE(lmt_ops)] = { };
	char line[400];
	unsigned int i, j;
	int len = 0;

	for (j = 0; j < ARRAY_SIZE(lmt_ops); j++) {
		for (i = 0; i < lmt_nr_workers; i++)
			n[j] += lmt_workers[i].ops[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu", lmt_ops[j].name, n[j]);
	}
	pr_info("operations:%s\n", line);
}

static void lmt_report_locks(unsigned int ms)
{
	unsigned long least = ULONG_MAX, most = 0, all = 0, softirq = 0, unlocked_others = 0;
	unsigned int i;

	for (i = 0; i < lmt_nr_workers; i++) {
		least = min(least, lmt_workers[i].acquired);
		most = max(most, lmt_workers[i].acquired);
		all += lmt_workers[i].acquired;
	}
	for (i = 0; i < lmt_nr_timers; i++) {
		softirq += lmt_timers[i].softirq_locks;
		unlocked_others += lmt_timers[i].unlocked_others;
	}
	unlocked_others += lmt_unlocker->unlocked_others;
	pr_info("locks: %lu, %lu a second, %lu to %lu a task; in softirq %lu; unlocked by others %lu\n",
		all, all * 1000 / ms, least, most, softirq, unlocked_others);
}

static void lmt_report_shared(void)
{
	unsigned long shared = 0, upgraded = 0, downgraded = 0;
	const struct lmt_actor *a;
	unsigned int i;

	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++) {
		a = lmt_task_actor(i);
		shared += a->shared;
		upgraded += a->upgraded;
		downgraded += a->downgraded;
	}
	pr_info("shared: %lu; upgraded %lu, downgraded %lu\n", shared, upgraded, downgraded);
}

static void lmt_report_crowd(void)
{
	unsigned long most = 0, all = 0, idle = 0, n;
	unsigned int i;

	for (i = 0; i < lmt_nr_crowd; i++) {
		n = lmt_crowd[i].acquired + lmt_crowd[i].shared;
		most = max(most, n);
		all += n;
		idle += !n;
	}
	if (lmt_nr_crowd)
		pr_info("crowd: %u tasks, %lu locks, up to %lu a task; %lu tasks got none\n",
			lmt_nr_crowd, all, most, idle);
}

static void lmt_report_refusals(void)
{
	unsigned long n[ARRAY_SIZE(lmt_refusals)] = { };
	u64 longest = 0;
	unsigned int i, j;
	char line[200];
	int len = 0;

	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++)
		longest = max(longest, lmt_task_actor(i)->longest);
	for (j = 0; j < ARRAY_SIZE(lmt_refusals); j++) {
		for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++)
			n[j] += lmt_task_actor(i)->refused[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu,", lmt_refusals[j].name,
				 n[j]);
	}
	pr_info("refused:%s signals sent %lu; longest wait %llu us; short-lived maps %lu\n", line,
		lmt_signals_sent, div_u64(longest, NSEC_PER_USEC), lmt_creator->acquired);
}

void lmt_report(void)
{
	unsigned int ms = jiffies_to_msecs(jiffies - lmt_start) ?: 1;
	int failures = atomic_read(&lmt_failures);

	lmt_report_ops();
	lmt_report_locks(ms);
	lmt_report_shared();
	lmt_report_requests();
	lmt_report_crowd();
	lmt_report_refusals();
	pr_info("End of test: %s: %lu operations in %u ms, %lu phases, %d failures\n",
		failures ? "FAILURE" : "SUCCESS", lmt_count_ops(), ms, lmt_nr_phases, failures);
}
