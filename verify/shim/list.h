/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Lists, hash tables and wait queues, without what the machine underneath does for them. */
#ifndef _VERIFY_LIST_H
#define _VERIFY_LIST_H

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list_head *new, struct list_head *head)
{
	new->next = head;
	new->prev = head->prev;
	head->prev->next = new;
	head->prev = new;
}

static inline void list_del_init(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	INIT_LIST_HEAD(node);
}

/* @new takes the place of @old. */
static inline void list_replace_init(struct list_head *old, struct list_head *new)
{
	new->next = old->next;
	new->next->prev = new;
	new->prev = old->prev;
	new->prev->next = new;
	INIT_LIST_HEAD(old);
}

#define list_next_entry(pos, member)	container_of((pos)->member.next, typeof(*(pos)), member)
#define list_for_each_entry(pos, head, member)						\
	for (pos = container_of((head)->next, typeof(*pos), member); &pos->member != (head);	\
	     pos = container_of(pos->member.next, typeof(*pos), member))

/* Lists with a head of one pointer */

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

/* Where a node hangs; atomic, as it is read without a lock. That is no step of its own. */
#define set_pprev(node, value)	__atomic_store_n(&(node)->pprev, value, __ATOMIC_RELAXED)

static inline bool hlist_unhashed_lockless(const struct hlist_node *node)
{
	return !__atomic_load_n(&node->pprev, __ATOMIC_RELAXED);
}

static inline bool hlist_unhashed(const struct hlist_node *node)
{
	return !node->pprev;
}

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
	node->next = head->first;
	set_pprev(node, &head->first);
	if (head->first)
		set_pprev(head->first, &node->next);
	head->first = node;
}

static inline void hlist_del_init(struct hlist_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		set_pprev(node->next, node->pprev);
	node->next = NULL;
	set_pprev(node, NULL);
}

#define hlist_entry_safe(ptr, type, member)	((ptr) ? container_of(ptr, type, member) : NULL)
#define hlist_for_each_entry(pos, head, member)						\
	for (pos = hlist_entry_safe((head)->first, typeof(*pos), member); pos;		\
	     pos = hlist_entry_safe(pos->member.next, typeof(*pos), member))

/* Wait queues */

struct wait_queue_entry;
typedef int (*wait_queue_func_t)(struct wait_queue_entry *wait, unsigned int mode, int flags,
				 void *key);

struct wait_queue_entry {
	unsigned int flags;
	void *private;
	wait_queue_func_t func;
	struct list_head entry;
};

#define WQ_FLAG_EXCLUSIVE	1

typedef struct wait_queue_head {
	spinlock_t lock;
	struct list_head head;
} wait_queue_head_t;

static inline void init_waitqueue_func_entry(struct wait_queue_entry *wait, wait_queue_func_t func)
{
	wait->flags = 0;
	wait->private = NULL;
	wait->func = func;
}

static inline void init_waitqueue_head(struct wait_queue_head *wq)
{
	spin_lock_init(&wq->lock);
	INIT_LIST_HEAD(&wq->head);
}

static inline void __add_wait_queue_entry_tail(struct wait_queue_head *wq,
					       struct wait_queue_entry *wait)
{
	lockdep_assert_held(&wq->lock);
	list_add_tail(&wait->entry, &wq->head);
}

/* Until one exclusive waiter was woken; the function may take its entry off the list. */
static inline void __wake_up_locked_key(struct wait_queue_head *wq, unsigned int mode, void *key)
{
	struct list_head *node = wq->head.next, *next;

	lockdep_assert_held(&wq->lock);
	for (; node != &wq->head; node = next) {
		struct wait_queue_entry *wait = container_of(node, struct wait_queue_entry, entry);

		next = node->next;
		if (wait->func(wait, mode, 0, key) && (wait->flags & WQ_FLAG_EXCLUSIVE))
			break;
	}
}

#endif /* _VERIFY_LIST_H */
