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

#define list_for_each_entry_continue(pos, head, member)					\
	for (pos = container_of(pos->member.next, typeof(*pos), member); &pos->member != (head); \
	     pos = container_of(pos->member.next, typeof(*pos), member))
#define list_for_each_entry(pos, head, member)						\
	for (pos = container_of((head)->next, typeof(*pos), member); &pos->member != (head);	\
	     pos = container_of(pos->member.next, typeof(*pos), member))

/* A hash table: one bucket is enough, and makes all tasks meet in it. */

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

static inline bool hlist_unhashed(const struct hlist_node *node)
{
	return !node->pprev;
}

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
	node->next = head->first;
	node->pprev = &head->first;
	if (head->first)
		head->first->pprev = &node->next;
	head->first = node;
}

static inline void hash_del(struct hlist_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		node->next->pprev = node->pprev;
	node->next = NULL;
	node->pprev = NULL;
}

#define DEFINE_HASHTABLE(name, bits)	struct hlist_head name[1] __world
#define hash_add(table, node, key)	hlist_add_head(node, &(table)[0])
#define hash_entry(ptr, type, member)	((ptr) ? container_of(ptr, type, member) : NULL)
#define hash_for_each_possible(table, pos, member, key)					\
	for (pos = hash_entry((table)[0].first, typeof(*pos), member); pos;		\
	     pos = hash_entry(pos->member.next, typeof(*pos), member))

/* Wait queues */

struct wait_queue_entry;
typedef int (*wait_queue_func_t)(struct wait_queue_entry *wait, unsigned int mode, int flags,
				 void *key);

struct wait_queue_entry {
	bool exclusive;
	void *private;
	wait_queue_func_t func;
	struct list_head entry;
};

typedef struct wait_queue_head {
	spinlock_t lock;
	struct list_head head;
} wait_queue_head_t;

static inline void init_waitqueue_func_entry(struct wait_queue_entry *wait, wait_queue_func_t func)
{
	wait->private = NULL;
	wait->func = func;
}

static inline void __add_wait_queue_entry_tail_exclusive(struct wait_queue_head *wq,
							 struct wait_queue_entry *wait)
{
	lockdep_assert_held(&wq->lock);
	wait->exclusive = true;
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
		if (wait->func(wait, mode, 0, key) && wait->exclusive)
			break;
	}
}

#endif /* _VERIFY_LIST_H */
