// SPDX-License-Identifier: BSD-3-Clause
/*
 * B+tree with path copying. Full nodes are split on the way down, thin ones are merged or levelled
 * on the way up. A thin node is one below IOTLB_MIN entries; two siblings are merged only when they
 * leave room for growth, so that a map and an unmap at the edge do not merge and split each time.
 */
#include <assert.h>
#include <string.h>

#include "mem/iotlb_tree.h"

/* A node with fewer entries is thin. */
static unsigned thin(const struct vhost_iotlb_node *node)
{
	return iotlb_cap(node) / 4;
}

struct path {
	struct vhost_iotlb_node *node[IOTLB_MAX_LEVELS];
	unsigned idx[IOTLB_MAX_LEVELS];
	unsigned n;
};

/* Ask for the lines of a node that is searched next: they arrive together instead of one by one. */
static inline __attribute__((always_inline)) void prefetch(const void *node, size_t bytes)
{
	const char *p = node;

#pragma GCC unroll 16
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(p + i);
}

/* The way down, one step: the child of an inner node below which @x is. */
static inline struct vhost_iotlb_node *step(struct vhost_iotlb_node *node, uint64_t x)
{
	return iotlb_child(node)[iotlb_lower_bound_n(iotlb_keys(node), IOTLB_INNER_CAP, x)];
}

/* Its end: the range of a leaf that holds or follows @x, which is at most the leaf's last. */
static inline const struct vhost_iotlb_map *stop(struct vhost_iotlb_node *node, uint64_t x)
{
	return &iotlb_maps(node)[iotlb_lower_bound_n(iotlb_keys(node), IOTLB_LEAF_CAP, x)];
}

const struct vhost_iotlb_map *iotlb_tree_lower(const struct vhost_iotlb *iotlb, uint64_t x)
{
	struct vhost_iotlb_node *node = iotlb->root;
	unsigned level;

	if (!node || x > iotlb_max_key(node))
		return NULL;
	for (level = node->level; level; level--) {
		node = step(node, x);
		if (level > 1)
			prefetch(node, offsetof(struct iotlb_inner, child));
		else
			prefetch(node, sizeof(struct iotlb_leaf));
	}
	return stop(node, x);
}

/*
 * One address alone waits at each level for the memory of the next node; here they all go down side
 * by side, and the memory of all of them is fetched while the last of them takes its step. So a
 * leaf can be fetched in two parts, keys and then the one range, which is a third of its lines.
 */
static void lower_group(struct vhost_iotlb_node *root, const uint64_t *x, unsigned n,
			const struct vhost_iotlb_map **out)
{
	struct vhost_iotlb_node *node[IOTLB_GROUP];
	uint64_t max = iotlb_max_key(root);
	unsigned i;

	for (i = 0; i < n; i++)
		node[i] = root;
	for (unsigned level = root->level; level; level--) {
		for (i = 0; i < n; i++) {
			/* Behind the last range there is no way: any will do. */
			node[i] = step(node[i], x[i] <= max ? x[i] : max);
			if (level > 1)
				prefetch(node[i], offsetof(struct iotlb_inner, child));
			else
				prefetch(node[i], offsetof(struct iotlb_leaf, maps));
		}
	}
	for (i = 0; i < n; i++) {
		out[i] = x[i] <= max ? stop(node[i], x[i]) : NULL;
		/* They lie across the borders of lines. */
		__builtin_prefetch(out[i]);
		__builtin_prefetch((const char *)out[i] + sizeof(*out[i]) - 1);
	}
}

void iotlb_tree_lower_n(const struct vhost_iotlb *iotlb, const uint64_t *x, unsigned n,
			const struct vhost_iotlb_map **out)
{
	for (unsigned i = 0; i < n; i += IOTLB_GROUP) {
		unsigned part = n - i < IOTLB_GROUP ? n - i : IOTLB_GROUP;

		if (iotlb->root)
			lower_group(iotlb->root, x + i, part, out + i);
		else
			memset(out + i, 0, part * sizeof(*out));
	}
}

/* ---- what a change may take ---- */

/* Child below which @x is, or would be inserted. */
static unsigned route(const struct vhost_iotlb_node *node, uint64_t x)
{
	unsigned i = iotlb_lower_bound(node, x);

	return i < node->nr ? i : node->nr - 1u;
}

void iotlb_tree_need_insert(const struct vhost_iotlb *iotlb, uint64_t start,
			    unsigned need[IOTLB_KINDS])
{
	struct vhost_iotlb_node *node = iotlb->root;
	bool shared = false;

	if (!node) {
		need[IOTLB_LEAF]++;
		return;
	}
	if (node->nr == iotlb_cap(node))
		need[IOTLB_INNER]++;
	for (;;) {
		shared |= node->ref > 1;
		need[iotlb_kind(node)] += shared;
		need[iotlb_kind(node)] += node->nr == iotlb_cap(node);
		if (!node->level)
			return;
		node = iotlb_child(node)[route(node, start)];
	}
}

void iotlb_tree_need_insert_any(const struct vhost_iotlb *iotlb, unsigned need[IOTLB_KINDS])
{
	unsigned levels = iotlb->root ? iotlb->root->level : 0;

	need[IOTLB_LEAF] += 2;
	need[IOTLB_INNER] += 2 * levels + 1;
}

void iotlb_tree_need_remove(const struct vhost_iotlb *iotlb, uint64_t last,
			    unsigned need[IOTLB_KINDS])
{
	struct vhost_iotlb_node *node = iotlb->root;
	bool shared = node->ref > 1;

	need[iotlb_kind(node)] += shared;
	while (node->level) {
		unsigned i = iotlb_lower_bound(node, last);
		unsigned sibling = i ? i - 1 : 1;
		struct vhost_iotlb_node *child = iotlb_child(node)[i];

		/* A node that becomes thin is evened out with a sibling. */
		if (child->nr <= thin(child) && node->nr > 1)
			need[iotlb_kind(child)] += shared || iotlb_child(node)[sibling]->ref > 1;
		shared |= child->ref > 1;
		need[iotlb_kind(child)] += shared;
		node = child;
	}
}

/* ---- moving entries ---- */

static void copy_entries(struct vhost_iotlb_node *dst, unsigned to, struct vhost_iotlb_node *src,
			 unsigned from, unsigned n)
{
	memmove(&iotlb_keys(dst)[to], &iotlb_keys(src)[from], n * sizeof(iotlb_keys(dst)[0]));
	if (dst->level)
		memmove(&iotlb_child(dst)[to], &iotlb_child(src)[from],
			n * sizeof(struct vhost_iotlb_node *));
	else
		memmove(&iotlb_maps(dst)[to], &iotlb_maps(src)[from],
			n * sizeof(struct vhost_iotlb_map));
}

static void set_nr(struct vhost_iotlb_node *node, unsigned nr)
{
	for (unsigned i = nr; i < node->nr; i++)
		iotlb_keys(node)[i] = UINT64_MAX;
	node->nr = (uint16_t)nr;
}

/* Make room for @n entries at @pos, or take them out. */
static void open_gap(struct vhost_iotlb_node *node, unsigned pos, unsigned n)
{
	copy_entries(node, pos + n, node, pos, node->nr - pos);
	node->nr = (uint16_t)(node->nr + n);
}

static void close_gap(struct vhost_iotlb_node *node, unsigned pos, unsigned n)
{
	copy_entries(node, pos, node, pos + n, node->nr - pos - n);
	set_nr(node, node->nr - n);
}

/* The last @n entries of @left become the first of @right. Both are the table's own. */
static void move_right(struct vhost_iotlb_node *left, struct vhost_iotlb_node *right, unsigned n)
{
	open_gap(right, 0, n);
	copy_entries(right, 0, left, left->nr - n, n);
	set_nr(left, left->nr - n);
}

static void move_left(struct vhost_iotlb_node *left, struct vhost_iotlb_node *right, unsigned n)
{
	copy_entries(left, left->nr, right, 0, n);
	left->nr = (uint16_t)(left->nr + n);
	close_gap(right, 0, n);
}

/* ---- insert ---- */

/*
 * Split child @i (full, own) of @parent (own, not full). Ranges often arrive in ascending order,
 * which a split in halves would store in half-empty nodes; IOVA allocators hand out descending
 * ones.
 */
static void split_child(struct iotlb_pool *pool, struct vhost_iotlb_node *parent, unsigned i,
			uint64_t start)
{
	struct vhost_iotlb_node *left = iotlb_child(parent)[i];
	struct vhost_iotlb_node *right = iotlb_node_take(pool, left->level);
	unsigned pos = iotlb_lower_bound(left, start);
	unsigned cap = iotlb_cap(left), keep = cap / 2;

	if (pos == 0)
		keep = cap / 4;
	else if (pos == cap)
		keep = cap - 1;
	move_right(left, right, cap - keep);
	open_gap(parent, i + 1, 1);
	iotlb_keys(parent)[i + 1] = iotlb_max_key(right);
	iotlb_child(parent)[i + 1] = right;
	iotlb_keys(parent)[i] = iotlb_max_key(left);
}

static struct vhost_iotlb_node *insert_root(struct vhost_iotlb *iotlb, uint64_t start)
{
	struct iotlb_pool *pool = iotlb_pool(iotlb);
	struct vhost_iotlb_node *root;

	if (!iotlb->root)
		iotlb->root = iotlb_node_take(pool, 0);
	root = iotlb_node_own(pool, &iotlb->root);
	if (root->nr < iotlb_cap(root))
		return root;
	iotlb->root = iotlb_node_take(pool, root->level + 1u);
	iotlb->root->nr = 1;
	iotlb_keys(iotlb->root)[0] = iotlb_max_key(root);
	iotlb_child(iotlb->root)[0] = root;
	split_child(pool, iotlb->root, 0, start);
	return iotlb->root;
}

void iotlb_tree_insert(struct vhost_iotlb *iotlb, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_node *node = insert_root(iotlb, map->start), *child;
	struct iotlb_pool *pool = iotlb_pool(iotlb);
	unsigned i;

	while (node->level) {
		i = route(node, map->start);
		child = iotlb_node_own(pool, &iotlb_child(node)[i]);
		if (child->nr == iotlb_cap(child)) {
			split_child(pool, node, i, map->start);
			i = route(node, map->start);
			child = iotlb_child(node)[i];
		}
		if (map->last > iotlb_keys(node)[i])
			iotlb_keys(node)[i] = map->last;
		node = child;
	}
	i = iotlb_lower_bound(node, map->start);
	if (i > node->nr)
		i = node->nr;
	open_gap(node, i, 1);
	iotlb_keys(node)[i] = map->last;
	iotlb_maps(node)[i] = *map;
	iotlb->nmaps++;
}

/* ---- remove ---- */

/* Child @i of @parent became thin: merge it with a sibling, or level the two. */
static void even_out(struct iotlb_pool *pool, struct vhost_iotlb_node *parent, unsigned i)
{
	unsigned l = i ? i - 1 : 0;
	struct vhost_iotlb_node *left = iotlb_node_own(pool, &iotlb_child(parent)[l]);
	struct vhost_iotlb_node *right = iotlb_node_own(pool, &iotlb_child(parent)[l + 1]);
	unsigned total = left->nr + right->nr;

	if (total <= iotlb_cap(left) * 3 / 4) {
		move_left(left, right, right->nr);
		iotlb_node_free(pool, right);
		close_gap(parent, l + 1, 1);
	} else if (left->nr > total / 2) {
		move_right(left, right, left->nr - total / 2);
	} else {
		move_left(left, right, total / 2 - left->nr);
	}
	iotlb_keys(parent)[l] = iotlb_max_key(left);
}

/* Child @idx of an own node lost an entry. */
static void mend_child(struct iotlb_pool *pool, struct vhost_iotlb_node *node, unsigned idx)
{
	struct vhost_iotlb_node *child = iotlb_child(node)[idx];

	if (!child->nr) {
		iotlb_node_free(pool, child);
		close_gap(node, idx, 1);
		return;
	}
	iotlb_keys(node)[idx] = iotlb_max_key(child);
	if (child->nr < thin(child) && node->nr > 1)
		even_out(pool, node, idx);
}

static void shrink_root(struct vhost_iotlb *iotlb)
{
	struct vhost_iotlb_node *root = iotlb->root;

	while (root->level && root->nr == 1) {
		iotlb->root = iotlb_child(root)[0];
		iotlb_node_free(iotlb_pool(iotlb), root);
		root = iotlb->root;
	}
	if (!root->nr) {
		iotlb_node_free(iotlb_pool(iotlb), root);
		iotlb->root = NULL;
	}
}

void iotlb_tree_remove(struct vhost_iotlb *iotlb, uint64_t last)
{
	struct iotlb_pool *pool = iotlb_pool(iotlb);
	struct vhost_iotlb_node *node = iotlb_node_own(pool, &iotlb->root);
	struct path path = {.n = 0};
	unsigned i;

	while (node->level) {
		i = iotlb_lower_bound(node, last);
		path.node[path.n] = node;
		path.idx[path.n++] = i;
		node = iotlb_node_own(pool, &iotlb_child(node)[i]);
	}
	i = iotlb_lower_bound(node, last);
	assert(i < node->nr && iotlb_keys(node)[i] == last);
	close_gap(node, i, 1);
	while (path.n--)
		mend_child(pool, path.node[path.n], path.idx[path.n]);
	shrink_root(iotlb);
	iotlb->nmaps--;
}
