/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest without a machine: memory in a memfd that the device side sees through an address space,
 * in one of several layouts, and helpers that build rings and chains freely, also wrong ones.
 *
 * The memory is mapped twice into the device side (A and B). A range whose pages, or bytes,
 * alternate between the two is scattered for the device and contiguous for the guest.
 */
#ifndef TESTS_RING_FAKE_GUEST_H
#define TESTS_RING_FAKE_GUEST_H

#include <uvdpa/compat.h>
#include <uvdpa/mem.h>
#include <uvdpa/vringh.h>

#define GUEST_PAGE 4096u
#define GUEST_IOVA 0x100000ull

enum guest_layout {
	GUEST_LINEAR,  /* one piece */
	GUEST_PAGES,   /* no two neighbouring pages are neighbours for the device */
	GUEST_BYTES,   /* one range per byte */
	GUEST_MESSAGE, /* by message */
	GUEST_NLAYOUTS,
};

struct fake_guest {
	struct vdpa_loop_group *group;
	struct vdpa_as *as;
	struct vdpa_view *view;
	struct vringh *vr; /* gets the view's callbacks */
	struct vdpa_region *a, *b, *message;
	int fd;
	uint8_t *mem; /* the guest's own mapping */
	size_t bytes;
	unsigned changed; /* calls of the view's changed() */

	/* Memory by message. */
	unsigned reads, writes;
	uint64_t bytes_written;
	bool fickle;	  /* the second read of a byte gives something else */
	uint8_t *seen;	  /* per byte: was read */
	unsigned rereads; /* reads of bytes that were read before */
	int fail_reads;	  /* -errno that reads answer from now on */
	int fail_writes;
};

/* Memory of @bytes (whole pages), nothing mapped. */
int fake_guest_init(struct fake_guest *g, size_t bytes);
/* The same over the memory of another guest; takes @fd. */
int fake_guest_init_fd(struct fake_guest *g, int fd, size_t bytes);
void fake_guest_fini(struct fake_guest *g);
/* Map [@off, @off + @len) of the memory at GUEST_IOVA + @off. */
void fake_guest_map(struct fake_guest *g, size_t off, size_t len, enum guest_layout layout,
		    uint32_t perm);
void fake_guest_unmap(struct fake_guest *g, size_t off, size_t len);
/* Holes are misses from now on. */
void fake_guest_misses(struct fake_guest *g);
/* Let messages run and the view see the newest map. */
void fake_guest_settle(struct fake_guest *g);

/* ---- rings ---- */

struct fake_ring {
	struct fake_guest *g;
	uint32_t num;
	size_t desc, avail, used; /* offsets in guest memory */
	struct vring_desc *d;
	struct vring_avail *a;
	struct vring_used *u;
	size_t end; /* first byte behind the ring */
	uint16_t idx;
};

/* Lay a ring out at @off, zeroed. */
void fake_ring_init(struct fake_ring *r, struct fake_guest *g, size_t off, uint32_t num);
/* Configuration for the device side. */
struct vringh_config fake_ring_config(const struct fake_ring *r, uint64_t features);
/* Descriptor @i; @off: of the buffer in guest memory. */
void fake_ring_desc(struct fake_ring *r, unsigned i, size_t off, uint32_t len, uint16_t flags,
		    uint16_t next);
void fake_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
/* Put @head into the available ring; publish() makes it visible. */
void fake_ring_avail(struct fake_ring *r, uint16_t head);
void fake_ring_publish(struct fake_ring *r);
uint16_t fake_ring_used_idx(const struct fake_ring *r);

/* Deterministic random numbers. */
struct fake_rng {
	uint64_t s;
};
uint32_t fake_rand(struct fake_rng *rng);
static inline uint32_t fake_below(struct fake_rng *rng, uint32_t n)
{
	return fake_rand(rng) % n;
}

#endif
