/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk over a list whose callback may take members out: removal moves every walk that would have
 * come to that member on to its successor. Who owns lists keeps the walks that are under way.
 */
#ifndef BASE_WALK_H
#define BASE_WALK_H

#include "base/list.h"

struct walk {
	void *next; /* struct list *, or the member of another kind of list */
	struct walk *outer;
};

static inline void walk_begin(struct walk **walks, struct walk *walk, void *first)
{
	walk->next = first;
	walk->outer = *walks;
	*walks = walk;
}

static inline void walk_end(struct walk **walks, struct walk *walk)
{
	*walks = walk->outer;
}

/* Call before @member goes: walks that would come to it go on with @successor. */
static inline void walk_skip(struct walk *walks, void *member, void *successor)
{
	for (; walks; walks = walks->outer) {
		if (walks->next == member)
			walks->next = successor;
	}
}

/* Take @node out of a list that may be walked. */
static inline void walk_list_remove(struct walk *walks, struct list *node)
{
	walk_skip(walks, node, node->next);
	list_del(node);
}

#endif
