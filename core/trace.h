/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Tracepoints, none of them on the fast path. @key is what lm_key_text() writes of a
 * key. A wait is also an event of the kernel's own locks: lm_contention_begin().
 *
 * The ring buffer does not clear an event, and readers of trace_pipe_raw get all of
 * it, so each byte has to be written. The field of a text is of whole words, as events
 * are, and zeros fill it up. lm_trace_end() clears the end of the event, which is not
 * part of any field if the compiler pads the struct.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM lockmap

#if !defined(_LOCKMAP_CORE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _LOCKMAP_CORE_TRACE_H

#include <linux/align.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#define lm_trace_len(text, most)	ALIGN(strnlen(text, (most) - 1) + 1, sizeof(u32))
#define lm_trace_text(field, text)						\
	strscpy_pad(__get_str(field), text, __get_dynamic_array_len(field))
#define lm_trace_end()								\
	memset(&__entry->__data[__data_size], 0,				\
	       sizeof(*__entry) - offsetof(typeof(*__entry), __data))

DECLARE_EVENT_CLASS(lockmap_key,
	TP_PROTO(const struct lockmap *map, const char *key),
	TP_ARGS(map, key),
	TP_STRUCT__entry(
		__dynamic_array(char, map, lm_trace_len(lm_name(map), LM_NAME_TEXT))
		__dynamic_array(char, key, lm_trace_len(key, LM_KEY_TEXT))
	),
	TP_fast_assign(
		lm_trace_text(map, lm_name(map));
		lm_trace_text(key, key);
		lm_trace_end();
	),
	TP_printk("map=%s key=%s", __get_str(map), __get_str(key))
);

/* An idle entry was evicted: pushed out of the ring, not admitted to it, or reclaimed. */
DEFINE_EVENT(lockmap_key, lockmap_reclaimed,
	TP_PROTO(const struct lockmap *map, const char *key),
	TP_ARGS(map, key)
);

/* A wait was refused with -EDEADLK. */
DEFINE_EVENT(lockmap_key, lockmap_deadlock,
	TP_PROTO(const struct lockmap *map, const char *key),
	TP_ARGS(map, key)
);

/* A task goes to sleep for a key; @owner is the holder's pid, or 0. */
TRACE_EVENT(lockmap_contended,
	TP_PROTO(const struct lockmap *map, const char *key, pid_t owner),
	TP_ARGS(map, key, owner),
	TP_STRUCT__entry(
		__dynamic_array(char, map, lm_trace_len(lm_name(map), LM_NAME_TEXT))
		__dynamic_array(char, key, lm_trace_len(key, LM_KEY_TEXT))
		__field(pid_t, owner)
	),
	TP_fast_assign(
		lm_trace_text(map, lm_name(map));
		lm_trace_text(key, key);
		__entry->owner = owner;
		lm_trace_end();
	),
	TP_printk("map=%s key=%s owner=%d", __get_str(map), __get_str(key), __entry->owner)
);

/* The wait has ended: @ret is 0, or why the task did not get the key. */
TRACE_EVENT(lockmap_acquired,
	TP_PROTO(const struct lockmap *map, const char *key, u64 wait_ns, int ret),
	TP_ARGS(map, key, wait_ns, ret),
	TP_STRUCT__entry(
		__dynamic_array(char, map, lm_trace_len(lm_name(map), LM_NAME_TEXT))
		__dynamic_array(char, key, lm_trace_len(key, LM_KEY_TEXT))
		__field(u64, wait_ns)
		__field(int, ret)
	),
	TP_fast_assign(
		lm_trace_text(map, lm_name(map));
		lm_trace_text(key, key);
		__entry->wait_ns = wait_ns;
		__entry->ret = ret;
		lm_trace_end();
	),
	TP_printk("map=%s key=%s wait_ns=%llu ret=%d", __get_str(map), __get_str(key),
		  __entry->wait_ns, __entry->ret)
);

#endif /* _LOCKMAP_CORE_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH core
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
