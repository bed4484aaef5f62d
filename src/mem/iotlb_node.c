// SPDX-License-Identifier: BSD-3-Clause
/*
 * Node pool. Nodes live in chunks that double in size up to 2 MiB; chunks of that size are aligned
 * and ask for a huge page, because a lookup in a table of a million ranges would otherwise pay a
 * TLB miss at every level. A chunk goes back to the system when all its nodes are free.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/iotlb_node.h"

#if defined(__SANITIZE_ADDRESS__)
#define IOTLB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IOTLB_ASAN 1
#endif
#endif
#ifdef IOTLB_ASAN
#include <sanitizer/asan_interface.h>
#define poison(addr, len) ASAN_POISON_MEMORY_REGION(addr, len)
#define unpoison(addr, len) ASAN_UNPOISON_MEMORY_REGION(addr, len)
#else
#define poison(addr, len) ((void)(addr), (void)(len))
#define unpoison(addr, len) ((void)(addr), (void)(len))
#endif

#define LINE 64ul
#define CHUNK_MAX (2ul << 20)
/* An empty chunk up to this size is kept when it is the only one. */
#define CHUNK_KEEP (64ul << 10)

static const size_t node_bytes[IOTLB_KINDS] = {
	(sizeof(struct iotlb_leaf) + LINE - 1) / LINE * LINE,
	(sizeof(struct iotlb_inner) + LINE - 1) / LINE *LINE,
};

struct free_node {
	struct free_node *next;
};

/* In its class's list while it has free nodes. */
struct iotlb_chunk {
	struct iotlb_chunk *prev, *next;
	struct free_node *freed;
	size_t bytes;
	unsigned live, carved, total;
};

struct node_class {
	struct iotlb_chunk avail; /* list head */
	size_t total_bytes;
	uint64_t nfree;
	unsigned nempty;
};

struct iotlb_pool {
	unsigned refs;
	struct node_class class[IOTLB_KINDS];
};

_Static_assert(sizeof(struct iotlb_chunk) <= LINE, "a chunk's head takes one cache line");

static void chunk_link(struct node_class *class, struct iotlb_chunk *chunk)
{
	chunk->prev = &class->avail;
	chunk->next = class->avail.next;
	chunk->next->prev = chunk;
	class->avail.next = chunk;
}

static void chunk_unlink(struct iotlb_chunk *chunk)
{
	chunk->prev->next = chunk->next;
	chunk->next->prev = chunk->prev;
}

static int chunk_new(struct node_class *class, enum iotlb_kind kind)
{
	size_t bytes = LINE + 4 * node_bytes[kind];
	size_t align = LINE;
	struct iotlb_chunk *chunk;

	while (bytes < class->total_bytes && bytes < CHUNK_MAX)
		bytes *= 2;
	if (bytes >= CHUNK_MAX)
		bytes = align = CHUNK_MAX;
	chunk = aligned_alloc(align, bytes);
	if (!chunk)
		return -ENOMEM;
	if (bytes == CHUNK_MAX)
		madvise(chunk, bytes, MADV_HUGEPAGE); /* a hint: works without, slower */
	memset(chunk, 0, sizeof(*chunk));
	chunk->bytes = bytes;
	chunk->total = (unsigned)((bytes - LINE) / node_bytes[kind]);
	poison((char *)chunk + LINE, bytes - LINE);
	chunk_link(class, chunk);
	class->total_bytes += bytes;
	class->nfree += chunk->total;
	class->nempty++;
	return 0;
}

static void chunk_free(struct node_class *class, struct iotlb_chunk *chunk)
{
	chunk_unlink(chunk);
	class->total_bytes -= chunk->bytes;
	class->nfree -= chunk->total;
	class->nempty--;
	unpoison((char *)chunk + LINE, chunk->bytes - LINE);
	free(chunk);
}

struct iotlb_pool *iotlb_pool_new(void)
{
	struct iotlb_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->refs = 1;
	for (unsigned i = 0; i < IOTLB_KINDS; i++)
		pool->class[i].avail.next = pool->class[i].avail.prev = &pool->class[i].avail;
	return pool;
}

void iotlb_pool_get(struct iotlb_pool *pool)
{
	pool->refs++;
}

void iotlb_pool_put(struct iotlb_pool *pool)
{
	if (--pool->refs)
		return;
	for (unsigned i = 0; i < IOTLB_KINDS; i++) {
		struct node_class *class = &pool->class[i];

		while (class->avail.next != &class->avail)
			chunk_free(class, class->avail.next);
		assert(class->total_bytes == 0);
	}
	free(pool);
}

int iotlb_pool_reserve(struct iotlb_pool *pool, const unsigned need[IOTLB_KINDS])
{
	for (unsigned i = 0; i < IOTLB_KINDS; i++) {
		while (pool->class[i].nfree < need[i]) {
			if (chunk_new(&pool->class[i], (enum iotlb_kind)i))
				return -ENOMEM;
		}
	}
	return 0;
}

void iotlb_pool_trim(struct iotlb_pool *pool)
{
	for (unsigned i = 0; i < IOTLB_KINDS; i++) {
		struct node_class *class = &pool->class[i];
		struct iotlb_chunk *chunk = class->avail.next;

		/* Empty chunks gather at the list's end: the list is walked only when there are
		 * some. */
		while (class->nempty > 1 && chunk != &class->avail) {
			struct iotlb_chunk *next = chunk->next;

			if (!chunk->live)
				chunk_free(class, chunk);
			chunk = next;
		}
		chunk = class->avail.next;
		if (class->nempty && chunk->next == &class->avail && !chunk->live &&
		    chunk->bytes == class->total_bytes && chunk->bytes > CHUNK_KEEP)
			chunk_free(class, chunk);
	}
}

struct vhost_iotlb_node *iotlb_node_take(struct iotlb_pool *pool, unsigned level)
{
	enum iotlb_kind kind = level ? IOTLB_INNER : IOTLB_LEAF;
	struct node_class *class = &pool->class[kind];
	struct iotlb_chunk *chunk = class->avail.next;
	struct vhost_iotlb_node *node;

	assert(class->nfree); /* reserved by the caller */
	if (chunk->freed) {
		node = (void *)chunk->freed;
		unpoison(node, node_bytes[kind]);
		chunk->freed = chunk->freed->next;
	} else {
		node = (void *)((char *)chunk + LINE + chunk->carved++ * node_bytes[kind]);
		unpoison(node, node_bytes[kind]);
	}
	class->nfree--;
	if (!chunk->live++)
		class->nempty--;
	if (chunk->live == chunk->total)
		chunk_unlink(chunk);
	node->chunk = chunk;
	node->ref = 1;
	node->nr = 0;
	node->level = (uint16_t)level;
	memset(iotlb_keys(node), 0xff, iotlb_cap(node) * sizeof(iotlb_keys(node)[0]));
	return node;
}

void iotlb_node_free(struct iotlb_pool *pool, struct vhost_iotlb_node *node)
{
	enum iotlb_kind kind = iotlb_kind(node);
	struct node_class *class = &pool->class[kind];
	struct iotlb_chunk *chunk = node->chunk;
	struct free_node *freed = (void *)node;

	if (chunk->live == chunk->total)
		chunk_link(class, chunk);
	if (!--chunk->live)
		class->nempty++;
	class->nfree++;
	freed->next = chunk->freed;
	chunk->freed = freed;
	poison(node, node_bytes[kind]);
}

void iotlb_node_put(struct iotlb_pool *pool, struct vhost_iotlb_node *node)
{
	if (--node->ref)
		return;
	if (node->level) {
		for (unsigned i = 0; i < node->nr; i++)
			iotlb_node_put(pool, iotlb_child(node)[i]);
	}
	iotlb_node_free(pool, node);
}

struct vhost_iotlb_node *iotlb_node_own(struct iotlb_pool *pool, struct vhost_iotlb_node **slot)
{
	struct vhost_iotlb_node *old = *slot, *node;

	if (old->ref == 1)
		return old;
	node = iotlb_node_take(pool, old->level);
	node->nr = old->nr;
	memcpy(iotlb_keys(node), iotlb_keys(old), old->nr * sizeof(iotlb_keys(node)[0]));
	if (node->level) {
		memcpy(iotlb_child(node), iotlb_child(old), old->nr * sizeof(*iotlb_child(old)));
		for (unsigned i = 0; i < node->nr; i++)
			iotlb_child(node)[i]->ref++;
	} else {
		memcpy(iotlb_maps(node), iotlb_maps(old), old->nr * sizeof(*iotlb_maps(old)));
	}
	old->ref--;
	*slot = node;
	return node;
}
