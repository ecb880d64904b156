/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Tracepoints, none of them on the fast path. A key is shown as lm_key_text()
 * writes it. A wait is also an event of the kernel's own locks:
 * lm_contention_begin().
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM lockmap

#if !defined(_LOCKMAP_CORE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _LOCKMAP_CORE_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(lockmap_key,
	TP_PROTO(const struct lockmap *map, const void *data, u32 len),
	TP_ARGS(map, data, len),
	TP_STRUCT__entry(
		__array(char, map, LM_NAME_TEXT)
		__array(char, key, LM_KEY_TEXT)
	),
	TP_fast_assign(
		strscpy(__entry->map, lm_name(map), LM_NAME_TEXT);
		lm_key_text(__entry->key, LM_KEY_TEXT, map, data, len);
	),
	TP_printk("map=%s key=%s", __entry->map, __entry->key)
);

/* An idle entry was evicted: pushed out of the ring, not admitted to it, or reclaimed. */
DEFINE_EVENT(lockmap_key, lockmap_reclaimed,
	TP_PROTO(const struct lockmap *map, const void *data, u32 len),
	TP_ARGS(map, data, len)
);

/* A wait was refused with -EDEADLK. */
DEFINE_EVENT(lockmap_key, lockmap_deadlock,
	TP_PROTO(const struct lockmap *map, const void *data, u32 len),
	TP_ARGS(map, data, len)
);

/* A task goes to sleep for a key; @owner is the holder's pid, or 0. */
TRACE_EVENT(lockmap_contended,
	TP_PROTO(const struct lockmap *map, const void *data, u32 len, pid_t owner),
	TP_ARGS(map, data, len, owner),
	TP_STRUCT__entry(
		__array(char, map, LM_NAME_TEXT)
		__array(char, key, LM_KEY_TEXT)
		__field(pid_t, owner)
	),
	TP_fast_assign(
		strscpy(__entry->map, lm_name(map), LM_NAME_TEXT);
		lm_key_text(__entry->key, LM_KEY_TEXT, map, data, len);
		__entry->owner = owner;
	),
	TP_printk("map=%s key=%s owner=%d", __entry->map, __entry->key, __entry->owner)
);

/* The wait has ended: @ret is 0, or why the task did not get the key. */
TRACE_EVENT(lockmap_acquired,
	TP_PROTO(const struct lockmap *map, const void *data, u32 len, u64 wait_ns, int ret),
	TP_ARGS(map, data, len, wait_ns, ret),
	TP_STRUCT__entry(
		__array(char, map, LM_NAME_TEXT)
		__array(char, key, LM_KEY_TEXT)
		__field(u64, wait_ns)
		__field(int, ret)
	),
	TP_fast_assign(
		strscpy(__entry->map, lm_name(map), LM_NAME_TEXT);
		lm_key_text(__entry->key, LM_KEY_TEXT, map, data, len);
		__entry->wait_ns = wait_ns;
		__entry->ret = ret;
	),
	TP_printk("map=%s key=%s wait_ns=%llu ret=%d", __entry->map, __entry->key,
		  __entry->wait_ns, __entry->ret)
);

#endif /* _LOCKMAP_CORE_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH core
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
