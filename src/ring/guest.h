/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words of guest memory. They have types of their own, so that a read that does not go through an
 * accessor does not compile as a number, and a second read of the same word is visible in review.
 *
 * Who attacks: whoever shares the memory, between any two of our instructions. Each accessor reads
 * its word exactly once (an atomic load, or a copy that the compiler may not repeat); what it
 * returns is the only thing that is looked at. Index words are aligned atomics: a plain access
 * might be torn.
 */
#ifndef RING_GUEST_H
#define RING_GUEST_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ring_likely(x) __builtin_expect(!!(x), 1)
#define ring_unlikely(x) __builtin_expect(!!(x), 0)

struct guest_le16 {
	uint16_t raw;
};
struct guest_le32 {
	uint32_t raw;
};
struct guest_le64 {
	uint64_t raw;
};

/* virtio 1.3, 2.7.5: the descriptor as it lies in memory. */
struct guest_desc {
	struct guest_le64 addr;
	struct guest_le32 len;
	struct guest_le16 flags;
	struct guest_le16 next;
};

/* virtio 1.3, 2.7.8: struct virtq_used_elem. */
struct guest_used_elem {
	struct guest_le32 id;
	struct guest_le32 len;
};

/* virtio 1.3, 2.8.13: struct pvirtq_desc; always little-endian. */
struct guest_pdesc {
	struct guest_le64 addr;
	struct guest_le32 len;
	struct guest_le16 id;
	struct guest_le16 flags;
};

/* A descriptor that was copied: plain numbers in this machine's order. */
struct desc_copy {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct pdesc_copy {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

_Static_assert(sizeof(struct guest_desc) == 16, "layout of the descriptor table");
_Static_assert(sizeof(struct guest_pdesc) == 16, "layout of the descriptor ring");
_Static_assert(sizeof(struct guest_used_elem) == 8, "layout of the used ring");

/*
 * A build of the tests defines this: the function is told of each word that was read and changes
 * it, so that code that reads twice sees two values.
 */
#ifdef RING_GUEST_READ_HOOK
void ring_guest_read_hook(const void *addr, size_t len);
void ring_guest_hint_hook(const void *addr, size_t len);
#else
static inline void ring_guest_read_hook(const void *addr, size_t len)
{
	(void)addr;
	(void)len;
}
static inline void ring_guest_hint_hook(const void *addr, size_t len)
{
	(void)addr;
	(void)len;
}
#endif

/*
 * ThreadSanitizer understands neither fences nor that a wide access is one of the words in it;
 * there a read-modify-write of a word of our own, and accesses word by word, stand in. Both are at
 * least as strong on the machines that it runs on.
 */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define RING_TSAN 1
#endif

/* Byte order: little-endian since virtio 1.0, the machine's own before (@native). */
static inline uint16_t guest_cpu16(uint16_t raw, bool native)
{
	return native ? raw : le16toh(raw);
}

static inline uint32_t guest_cpu32(uint32_t raw, bool native)
{
	return native ? raw : le32toh(raw);
}

static inline uint64_t guest_cpu64(uint64_t raw, bool native)
{
	return native ? raw : le64toh(raw);
}

/* A word that orders nothing: ring entries, flags, event indices. */
static inline uint16_t guest_load16(const struct guest_le16 *p, bool native)
{
	uint16_t raw = __atomic_load_n(&p->raw, __ATOMIC_RELAXED);

	ring_guest_read_hook(p, sizeof(*p));
	return guest_cpu16(raw, native);
}

static inline uint32_t guest_load32(const struct guest_le32 *p, bool native)
{
	uint32_t raw = __atomic_load_n(&p->raw, __ATOMIC_RELAXED);

	ring_guest_read_hook(p, sizeof(*p));
	return guest_cpu32(raw, native);
}

/* The index that the other side publishes: what it wrote before is visible afterwards. */
static inline uint16_t guest_load16_acquire(const struct guest_le16 *p, bool native)
{
	uint16_t raw = __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE);

	ring_guest_read_hook(p, sizeof(*p));
	return guest_cpu16(raw, native);
}

static inline void guest_store16(struct guest_le16 *p, uint16_t v, bool native)
{
	__atomic_store_n(&p->raw, guest_cpu16(v, native), __ATOMIC_RELAXED);
}

/* The index that we publish: what we wrote before is visible to who reads it. */
static inline void guest_store16_release(struct guest_le16 *p, uint16_t v, bool native)
{
	__atomic_store_n(&p->raw, guest_cpu16(v, native), __ATOMIC_RELEASE);
}

static inline void guest_store32(struct guest_le32 *p, uint32_t v, bool native)
{
	__atomic_store_n(&p->raw, guest_cpu32(v, native), __ATOMIC_RELAXED);
}

static inline void guest_store64(struct guest_le64 *p, uint64_t v, bool native)
{
	__atomic_store_n(&p->raw, guest_cpu64(v, native), __ATOMIC_RELAXED);
}

static inline void guest_desc_convert(const struct guest_desc *raw, struct desc_copy *d,
				      bool native)
{
	d->addr = guest_cpu64(raw->addr.raw, native);
	d->len = guest_cpu32(raw->len.raw, native);
	d->flags = guest_cpu16(raw->flags.raw, native);
	d->next = guest_cpu16(raw->next.raw, native);
}

/* Two loads when it is aligned, which indirect tables need not be. */
static inline void guest_desc_copy(const void *p, struct desc_copy *d, bool native)
{
	struct guest_desc raw;

	if (ring_likely(((uintptr_t)p & 7) == 0)) {
		const uint64_t *w = p;
		uint64_t copy[2] = {__atomic_load_n(&w[0], __ATOMIC_RELAXED),
				    __atomic_load_n(&w[1], __ATOMIC_RELAXED)};

		memcpy(&raw, copy, sizeof(raw));
	} else {
		memcpy(&raw, p, sizeof(raw));
		/* The copy is not made again from memory that may have changed. */
		__asm__ volatile("" : "+m"(raw) : : "memory");
	}
	guest_desc_convert(&raw, d, native);
}

/* Copy one descriptor, once. */
static inline void guest_desc_load(const void *p, struct desc_copy *d, bool native)
{
	guest_desc_copy(p, d, native);
	ring_guest_read_hook(p, sizeof(struct guest_desc));
}

/* The same as a hint of what will be there when it is read: nothing is decided by it. */
static inline void guest_desc_hint(const void *p, struct desc_copy *d, bool native)
{
	guest_desc_copy(p, d, native);
	ring_guest_hint_hook(p, sizeof(struct guest_desc));
}

/*
 * One descriptor of a packed ring, or of its indirect tables: flags first, with acquire order, then
 * the rest, in two loads. Unaligned (tables only): no order, what made the table visible is in the
 * ring.
 */
static inline void guest_pdesc_copy(const void *p, struct pdesc_copy *d)
{
	const struct guest_pdesc *g = p;
	struct guest_pdesc raw;

	if (ring_unlikely((uintptr_t)p & 7)) {
		memcpy(&raw, p, sizeof(raw));
		__asm__ volatile("" : "+m"(raw) : : "memory");
		d->addr = le64toh(raw.addr.raw);
		d->len = le32toh(raw.len.raw);
		d->id = le16toh(raw.id.raw);
		d->flags = le16toh(raw.flags.raw);
	} else {
#ifdef RING_TSAN
		d->flags = le16toh(__atomic_load_n(&g->flags.raw, __ATOMIC_ACQUIRE));
		d->id = le16toh(__atomic_load_n(&g->id.raw, __ATOMIC_RELAXED));
		d->len = le32toh(__atomic_load_n(&g->len.raw, __ATOMIC_RELAXED));
#else
		uint64_t w = le64toh(
			__atomic_load_n((const uint64_t *)(const void *)&g->len, __ATOMIC_ACQUIRE));

		d->len = (uint32_t)w;
		d->id = (uint16_t)(w >> 32);
		d->flags = (uint16_t)(w >> 48);
#endif
		d->addr = le64toh(__atomic_load_n(&g->addr.raw, __ATOMIC_RELAXED));
	}
}

static inline void guest_pdesc_load(const void *p, struct pdesc_copy *d)
{
	guest_pdesc_copy(p, d);
	ring_guest_read_hook(p, sizeof(struct guest_pdesc));
}

static inline void guest_pdesc_hint(const void *p, struct pdesc_copy *d)
{
	guest_pdesc_copy(p, d);
	ring_guest_hint_hook(p, sizeof(struct guest_pdesc));
}

/* Use one descriptor: length, id and flags in one store, which releases when @last. @p is aligned.
 */
static inline void guest_pdesc_use(void *p, uint32_t len, uint16_t id, uint16_t flags, bool last)
{
	struct guest_pdesc *g = p;
#ifdef RING_TSAN
	__atomic_store_n(&g->len.raw, htole32(len), __ATOMIC_RELAXED);
	__atomic_store_n(&g->id.raw, htole16(id), __ATOMIC_RELAXED);
	__atomic_store_n(&g->flags.raw, htole16(flags), __ATOMIC_RELEASE);
	(void)last;
#else
	uint64_t w = htole64(len | (uint64_t)id << 32 | (uint64_t)flags << 48);

	if (last)
		__atomic_store_n((uint64_t *)(void *)&g->len, w, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint64_t *)(void *)&g->len, w, __ATOMIC_RELAXED);
#endif
}

static inline void ring_fence(void)
{
#ifdef RING_TSAN
	int word = 0;

	__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* virtio 1.3, 2.7.7.1 and 2.7.10: did the step from @old to @now pass @event? */
static inline bool ring_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
