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
	struct fake_mem *scratch; /* of its rings, until fini */
};

/* Memory of @bytes (whole pages), nothing mapped. */
int fake_guest_init(struct fake_guest *g, size_t bytes);
/* The same over the memory of another guest; takes @fd. */
int fake_guest_init_fd(struct fake_guest *g, int fd, size_t bytes);
void fake_guest_fini(struct fake_guest *g);
/* Map [@off, @off + @len) of the memory at GUEST_IOVA + @off. */
void fake_guest_map(struct fake_guest *g, size_t off, size_t len, enum guest_layout layout,
		    uint32_t perm);
/* Thousands of ranges elsewhere: the map is larger than what a device looks up one by one. */
void fake_guest_deepen(struct fake_guest *g);
void fake_guest_unmap(struct fake_guest *g, size_t off, size_t len);
/* Holes are misses from now on. */
void fake_guest_misses(struct fake_guest *g);
/* Let messages run and the view see the newest map. */
void fake_guest_settle(struct fake_guest *g);

/* ---- rings ---- */

/*
 * A test says what its driver does in the words of a split ring: descriptors of a table, heads made
 * available, elements used. With a packed ring the same calls write chains from the table into the
 * ring (buffer id: the head), and fake_ring_used_idx() collects what is used into @u. The same for
 * IN_ORDER, where one element may stand for several.
 */
struct fake_ring {
	struct fake_guest *g;
	uint32_t num;
	uint64_t features;	  /* RING_PACKED, IN_ORDER */
	size_t desc, avail, used; /* offsets in guest memory */
	struct vring_desc *d;
	struct vring_avail *a;
	struct vring_used *u;
	size_t end; /* first byte behind the ring */
	uint16_t idx, start;

	struct vring_packed_desc *p; /* the packed ring */
	struct vring_packed_desc_event *driver_event, *device_event;
	uint32_t pos, used_pos; /* over two laps, [0, 2 * num) */
	int first;		/* not published yet; -1: nothing */
	uint16_t first_flags;
	uint16_t *count;       /* descriptors of the chain of each head */
	uint16_t *order;       /* heads that are out, as they were made available; modulo num */
	uint16_t norder;       /* next of them to be used */
	struct vring_used *ru; /* the split ring's, in guest memory */
};

/* What fake_ring_init() makes: RING_PACKED and IN_ORDER. fake_ring_config() adds them. */
extern uint64_t fake_ring_mode;
static inline bool fake_packed(void)
{
	return fake_ring_mode & VDPA_BIT(VIRTIO_F_RING_PACKED);
}
static inline bool fake_in_order(void)
{
	return fake_ring_mode & VDPA_BIT(VIRTIO_F_IN_ORDER);
}

/* Lay a ring out at @off, zeroed. */
void fake_ring_init(struct fake_ring *r, struct fake_guest *g, size_t off, uint32_t num);
/* The ring is in the middle of its life: @idx requests were made available and used. */
void fake_ring_start_at(struct fake_ring *r, uint16_t idx);
/* State of a ring whose next available is the @idx-th, when all chains have @count descriptors. */
struct vdpa_vq_state fake_ring_state(const struct fake_ring *r, uint16_t idx, uint16_t count);
/* Configuration for the device side. */
struct vringh_config fake_ring_config(const struct fake_ring *r, uint64_t features);
/* Descriptor @i; @off: of the buffer in guest memory. */
void fake_ring_desc(struct fake_ring *r, unsigned i, size_t off, uint32_t len, uint16_t flags,
		    uint16_t next);
void fake_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
/* Entry @i of an indirect table at @table, in the ring's format; entries follow each other. */
void fake_ring_entry(struct fake_ring *r, size_t table, unsigned i, uint64_t addr, uint32_t len,
		     uint16_t flags);
/* One descriptor of a packed ring, by its position; no chain, nothing is kept of it. */
void fake_packed_desc(struct fake_ring *r, uint32_t pos, uint64_t addr, uint32_t len, uint16_t id,
		      uint16_t flags);
/* The two flags of an available descriptor at @pos. */
uint16_t fake_packed_avail(const struct fake_ring *r, uint32_t pos);
/* Put @head into the available ring; publish() makes it visible. */
void fake_ring_avail(struct fake_ring *r, uint16_t head);
void fake_ring_publish(struct fake_ring *r);
uint16_t fake_ring_used_idx(struct fake_ring *r);

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
