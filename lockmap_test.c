// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * KUnit tests of lockmap: what lockmap.h promises, line by line
 *
 * This file lists the suites, which are in tests/, one file for one subject; the
 * suite of tests/batch.c is called lockmap_batch. What is shared is in
 * tests/fixture.h and tests/worker.h.
 *
 * Rules of the tests:
 *
 * - A case fails whenever what it checks is broken. What takes luck to see is a
 *   matter for the torture (torture/).
 * - Loops have a fixed number of rounds rather than a time, so that a slow kernel
 *   does as much as a fast one. scaled() is for what would take too long.
 * - A wait is observed (lmtest_expect_waiting()), never slept for.
 * - Other threads report by return value and counters; only the thread of the
 *   case itself makes assertions.
 * - Every wait of the case's own thread is bounded. A thread that does not come
 *   back fails the case, and what it may still touch is leaked.
 * - Maps, memory and threads of a case are given back by actions of KUnit,
 *   whatever way the case ended.
 * - A warning that is wanted stands between two lines in the kernel log:
 *   expect_warning_begin(), expect_warning_end().
 */
#include <linux/module.h>

#include <kunit/test.h>

#include "tests/fixture.h"

/* The last two leak maps on purpose. Not here: tests/lockdep.c and tests/lockdep_report.c. */
kunit_test_suites(&lmtest_create_suite,
		  &lmtest_absent_suite,
		  &lmtest_value_suite,
		  &lmtest_key_suite,
		  &lmtest_order_suite,
		  &lmtest_callback_suite,
		  &lmtest_hash_suite,
		  &lmtest_exclusion_suite,
		  &lmtest_shared_suite,
		  &lmtest_mode_suite,
		  &lmtest_reader_suite,
		  &lmtest_wait_suite,
		  &lmtest_giveup_suite,
		  &lmtest_owner_suite,
		  &lmtest_misuse_suite,
		  &lmtest_cycle_suite,
		  &lmtest_crowd_suite,
		  &lmtest_async_suite,
		  &lmtest_softirq_suite,
		  &lmtest_prealloc_suite,
		  &lmtest_batch_suite,
		  &lmtest_walk_suite,
		  &lmtest_size_suite,
		  &lmtest_nomem_suite,
		  &lmtest_typed_suite,
		  &lmtest_guard_suite,
		  &lmtest_gone_suite,
		  &lmtest_leak_suite);

MODULE_DESCRIPTION("KUnit tests of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
