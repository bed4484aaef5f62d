/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes of the IOTLB's B+tree and the pool that they come from.
 *
 * A node is a head, its keys, and then either ranges (leaf) or children (inner). keys[i] is the
 * last address of range i, or the largest such address below child i; keys beyond nr are
 * UINT64_MAX, so that a search needs no nr. Keys are exact: one descent for "first key >= x" ends
 * at the range that holds or follows x.
 *
 * A node with one reference, reached through nodes with one reference, is its table's own and is
 * changed in place. Any other node is shared with a snapshot and is copied first.
 *
 * Whoever changes a tree reserves nodes before it begins; taking a node then never fails.
 */
#ifndef MEM_IOTLB_NODE_H
#define MEM_IOTLB_NODE_H

#include <uvdpa/vhost_iotlb.h>

/*
 * Found by measurement (bench/iotlb.c): a lookup in a large table asks for a whole leaf at once, so
 * that it waits for memory once per leaf, and a leaf of 14 ranges is 11 cache lines.
 */
#define IOTLB_LEAF_CAP 14
#define IOTLB_INNER_CAP 30
#define IOTLB_MAX_LEVELS 24

enum iotlb_kind { IOTLB_LEAF, IOTLB_INNER, IOTLB_KINDS };

struct iotlb_chunk;
struct iotlb_pool;

struct vhost_iotlb_node {
	struct iotlb_chunk *chunk;
	uint32_t ref; /* the writer's; readers of a snapshot never look at it */
	uint16_t nr;
	uint16_t level; /* 0: leaf */
			/* keys follow, at the same place in both kinds: iotlb_keys() */
};

struct iotlb_leaf {
	struct vhost_iotlb_node head;
	uint64_t keys[IOTLB_LEAF_CAP];
	struct vhost_iotlb_map maps[IOTLB_LEAF_CAP];
};

struct iotlb_inner {
	struct vhost_iotlb_node head;
	uint64_t keys[IOTLB_INNER_CAP];
	struct vhost_iotlb_node *child[IOTLB_INNER_CAP];
};

_Static_assert(offsetof(struct iotlb_leaf, keys) == sizeof(struct vhost_iotlb_node) &&
		       offsetof(struct iotlb_inner, keys) == sizeof(struct vhost_iotlb_node),
	       "keys follow the head");

static inline uint64_t *iotlb_keys(struct vhost_iotlb_node *node)
{
	return (uint64_t *)(void *)(node + 1);
}

static inline const uint64_t *iotlb_const_keys(const struct vhost_iotlb_node *node)
{
	return (const uint64_t *)(const void *)(node + 1);
}

static inline struct vhost_iotlb_map *iotlb_maps(struct vhost_iotlb_node *node)
{
	return ((struct iotlb_leaf *)(void *)node)->maps;
}

static inline struct vhost_iotlb_node **iotlb_child(struct vhost_iotlb_node *node)
{
	return ((struct iotlb_inner *)(void *)node)->child;
}

static inline enum iotlb_kind iotlb_kind(const struct vhost_iotlb_node *node)
{
	return node->level ? IOTLB_INNER : IOTLB_LEAF;
}

static inline uint64_t iotlb_max_key(const struct vhost_iotlb_node *node)
{
	return iotlb_const_keys(node)[node->nr - 1];
}

static inline unsigned iotlb_cap(const struct vhost_iotlb_node *node)
{
	return node->level ? IOTLB_INNER_CAP : IOTLB_LEAF_CAP;
}

/*
 * Index of the first of @n keys (a constant, 8 to 127) that is >= @x, or @n. Arithmetic instead of
 * branches, which random addresses would mispredict.
 */
static inline __attribute__((always_inline)) size_t
iotlb_lower_bound_n(const uint64_t *keys, const unsigned n, uint64_t x)
{
	const unsigned width = n >= 64 ? 64 : n >= 32 ? 32 : n >= 16 ? 16 : 8;
	/* The two halves of the first step overlap when n is no power of two. */
	size_t i = (size_t)(keys[width - 1] < x) * (n - width);

	if (width >= 64)
		i += (size_t)(keys[i + 31] < x) * 32;
	if (width >= 32)
		i += (size_t)(keys[i + 15] < x) * 16;
	if (width >= 16)
		i += (size_t)(keys[i + 7] < x) * 8;
	i += (size_t)(keys[i + 3] < x) * 4;
	i += (size_t)(keys[i + 1] < x) * 2;
	i += keys[i] < x;
	return i + (keys[i] < x);
}

static inline size_t iotlb_lower_bound(const struct vhost_iotlb_node *node, uint64_t x)
{
	return node->level ? iotlb_lower_bound_n(iotlb_const_keys(node), IOTLB_INNER_CAP, x)
			   : iotlb_lower_bound_n(iotlb_const_keys(node), IOTLB_LEAF_CAP, x);
}

struct iotlb_pool *iotlb_pool_new(void);
void iotlb_pool_get(struct iotlb_pool *pool);
/* With the last reference all nodes must have been put. */
void iotlb_pool_put(struct iotlb_pool *pool);
/* Make sure that @need[kind] nodes can be taken without failing. 0 or -ENOMEM. */
int iotlb_pool_reserve(struct iotlb_pool *pool, const unsigned need[IOTLB_KINDS]);
/* Give memory back that became free; invalidates a reservation. */
void iotlb_pool_trim(struct iotlb_pool *pool);

/* A node with one reference and no entries, from a reservation. */
struct vhost_iotlb_node *iotlb_node_take(struct iotlb_pool *pool, unsigned level);
/* Drop a reference; with the last one, the node's references on its children too. */
void iotlb_node_put(struct iotlb_pool *pool, struct vhost_iotlb_node *node);
/* Free a node whose entries were moved elsewhere. */
void iotlb_node_free(struct iotlb_pool *pool, struct vhost_iotlb_node *node);
/* What *slot points to, made this table's own (copied when it is shared; from a reservation). */
struct vhost_iotlb_node *iotlb_node_own(struct iotlb_pool *pool, struct vhost_iotlb_node **slot);

#endif
