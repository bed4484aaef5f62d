// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the device's end of a ring. The input is a program: geometry and layout first, then
 * the contents of the ring, then steps of driver, device and memory map in any order.
 *
 * Asserted besides "does not crash": chains obey their bounds and lie in memory that was mapped,
 * and the work of one call is bounded.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_guest.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES (8 * GUEST_PAGE)
#define TABLES (4 * GUEST_PAGE)
#define BUFS (5 * GUEST_PAGE)
#define MAX_OUT 64

struct fuzz {
	struct input in;
	struct fake_guest g;
	struct fake_ring r;
	struct vringh *vr;
	struct vringh_inflight *inflight;
	struct vringh_chain *out[MAX_OUT];
	unsigned nout;
};

/* ---- driver ---- */

static void put_desc(struct fuzz *f, struct vring_desc *d, uint32_t entries)
{
	uint8_t kind = (uint8_t)take(&f->in, 1);

	if ((kind & 7) == 7) {
		uint64_t addr = take(&f->in, 8);

		fake_desc(d, addr, (uint32_t)take(&f->in, 4), (uint16_t)take(&f->in, 2),
			  (uint16_t)take(&f->in, 2));
		return;
	}
	if (kind & 0x10) {
		fake_desc(d, GUEST_IOVA + TABLES + 16 * (kind >> 5),
			  16 * (uint32_t)(take(&f->in, 1) % 32), VRING_DESC_F_INDIRECT, 0);
		return;
	}
	fake_desc(d, GUEST_IOVA + BUFS + take(&f->in, 2) % (BYTES - BUFS + 64),
		  (uint32_t)take(&f->in, kind & 0x20 ? 2 : 1), kind & 3,
		  (uint16_t)(take(&f->in, 1) % (entries + 1)));
}

static void driver_step(struct fuzz *f, uint8_t op)
{
	struct vring_desc *tables = (struct vring_desc *)(void *)(f->g.mem + TABLES);
	uint16_t *words = (uint16_t *)(void *)f->g.mem;

	switch (op & 3) {
	case 0:
		put_desc(f, &f->r.d[take(&f->in, 1) % f->r.num], f->r.num);
		break;
	case 1:
		put_desc(f, &tables[take(&f->in, 1) % 32], 32);
		break;
	case 2:
		fake_ring_avail(&f->r, (uint16_t)(take(&f->in, 1) % (f->r.num + 1)));
		fake_ring_publish(&f->r);
		break;
	default:
		words[take(&f->in, 2) % (f->r.end / 2)] = (uint16_t)take(&f->in, 2);
	}
}

/* ---- device ---- */

/* The chain is what it may be; every byte of it can be touched. */
static void check_chain(struct fuzz *f, struct vringh_chain *c)
{
	uint64_t sum = 0;
	uint8_t byte = 0;

	assert(c->head < f->r.num);
	assert((unsigned)c->nout + c->nin <= VRINGH_MAX_IOV);
	for (unsigned i = 0; i < (unsigned)c->nout + c->nin; i++) {
		assert(c->iov[i].iov_len > 0);
		sum += c->iov[i].iov_len;
		assert(sum <= 1ull << 32);
	}
	assert(sum == c->out_len + c->in_len);
	if (c->out_len)
		assert(vringh_iov_pull(c, c->out_len - 1, &byte, 2) == 1);
	if (c->in_len)
		assert(vringh_iov_push(c, c->in_len - 1, &byte, 2) == 1);
}

static void get(struct fuzz *f)
{
	unsigned room = MAX_OUT - f->nout;
	unsigned max = (unsigned)take(&f->in, 1) % (room + 1);
	unsigned before = f->g.reads;
	int n = vringh_getdesc(f->vr, f->out + f->nout, max);

	/* Heads and descriptors once each; a table and its buffers per chain (and one that failed).
	 */
	assert(f->g.reads - before <= 8 + f->r.num * 8 + (max + 1) * 8 * VRINGH_MAX_IOV);
	assert(n <= (int)max);
	assert(n >= 0 || n == -EAGAIN || n == -EBADMSG);
	assert((n == -EBADMSG) <= (vringh_error(f->vr) != NULL));
	for (int i = 0; i < n; i++)
		check_chain(f, f->out[f->nout + (unsigned)i]);
	if (n > 0)
		f->nout += (unsigned)n;
	if (n > 0 && take(&f->in, 1) % 4 == 0) {
		unsigned back = (unsigned)take(&f->in, 1) % ((unsigned)n + 1);

		vringh_abandon(f->vr, back);
		f->nout -= back;
	}
}

static void device_step(struct fuzz *f, uint8_t op)
{
	unsigned i = f->nout ? (unsigned)take(&f->in, 1) % f->nout : 0;

	switch (op & 7) {
	case 0:
	case 1:
	case 2:
		get(f);
		break;
	case 3:
	case 4:
		if (!f->nout)
			break;
		if (op & 0x10)
			vringh_cancel(f->vr, f->out[i]);
		else
			vringh_complete(f->vr, f->out[i], (uint32_t)take(&f->in, 2));
		f->out[i] = f->out[--f->nout];
		break;
	case 5:
		vringh_flush(f->vr);
		vringh_need_notify(f->vr);
		break;
	case 6:
		vringh_notify_enable(f->vr);
		break;
	default:
		vringh_notify_disable(f->vr);
		vringh_in_use(f->vr, 0, UINTPTR_MAX);
	}
	assert(vringh_outstanding(f->vr) == f->nout);
}

/* ---- memory ---- */

static void map_step(struct fuzz *f, uint8_t op)
{
	size_t page = take(&f->in, 1) % (BYTES / GUEST_PAGE) * GUEST_PAGE;
	enum guest_layout layout = (op >> 2) % GUEST_NLAYOUTS;
	size_t len = GUEST_PAGE;

	fake_guest_unmap(&f->g, page, len);
	if (op & 1)
		return;
	/* A range per byte is slow to build: a corner of the page will do. */
	if (layout == GUEST_BYTES) {
		fake_guest_map(&f->g, page + 256, len - 256, GUEST_LINEAR, VHOST_MAP_RW);
		len = 256;
	}
	fake_guest_map(&f->g, page, len, layout, (op & 2) ? VHOST_MAP_RO : VHOST_MAP_RW);
}

/* Descriptors and tables that form long chains, for the program to spoil. */
static void prefill(struct fuzz *f)
{
	struct vring_desc *tables = (struct vring_desc *)(void *)(f->g.mem + TABLES);

	for (unsigned i = 0; i + 1 < f->r.num; i++)
		fake_ring_desc(&f->r, i, BUFS + i * 8, 8, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	for (unsigned i = 0; i < 31; i++)
		fake_desc(&tables[i], GUEST_IOVA + BUFS + i * 8, 8,
			  VRING_DESC_F_NEXT | (i > 15 ? VRING_DESC_F_WRITE : 0), (uint16_t)(i + 1));
}

/* Half of the peers write what looks like an area, of requests that could have been. */
static void split_area(struct fuzz *f, uint8_t *area)
{
	uint16_t *head = (uint16_t *)(void *)area;

	memset(area, 0, 8);
	head[4] = 1;
	head[5] = (uint16_t)f->r.num;
	head[7] = (uint16_t)(f->r.idx - take(&f->in, 1) % 16);
}

static void packed_area(struct fuzz *f, uint8_t *area)
{
	uint16_t *word = (uint16_t *)(void *)area;
	uint16_t num = (uint16_t)f->r.num;
	const uint16_t head[] = {0, 0, 0, 0, 1, num};

	memcpy(word, head, sizeof(head));
	for (unsigned i = 6; i < 8; i++)
		word[i] = (uint16_t)(take(&f->in, 1) % (num + 1u));
	for (unsigned i = 8; i < 10; i++)
		word[i] = (uint16_t)(take(&f->in, 1) % num);
	word[10] = (uint16_t)(take(&f->in, 1) & 0x3) * 0x81 & 0x101;
	for (unsigned i = 0; i < num; i++) {
		word += 16;
		word[0] = (uint16_t)(take(&f->in, 1) & 1);
		for (unsigned w = 1; w < 4; w++)
			word[w] = (uint16_t)(take(&f->in, 1) % (num + 1u));
		word[8] = (uint16_t)(take(&f->in, 1) % (num + 1u));
		word[9] &= VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;
	}
}

/* An in-flight area that a peer filled. */
static struct vringh_inflight *hostile_inflight(struct fuzz *f)
{
	static uint64_t area[1024];
	struct vringh_inflight *in = NULL;
	size_t bytes = vringh_inflight_bytes(f->r.num, fake_packed());

	assert(bytes <= sizeof(area));
	memset(area, 0, sizeof(area));
	for (size_t i = 0; i < bytes / 8; i++)
		area[i] = take(&f->in, 1) * 0x0101010101010101ull;
	if (take(&f->in, 1) & 1)
		(fake_packed() ? packed_area : split_area)(f, (uint8_t *)area);
	vringh_inflight_new(area, bytes, f->r.num, fake_packed(), &in, NULL);
	return in;
}

/* In the middle of its life. */
static void start_at(struct fuzz *f, struct vringh_config *config)
{
	uint16_t at = (uint16_t)take(&f->in, 2);
	struct vdpa_vq_state_packed *s = &config->state.packed;

	if (fake_packed()) {
		f->r.pos = f->r.used_pos = at % (2 * f->r.num);
		s->last_avail_idx = s->last_used_idx = f->r.pos % f->r.num & 0x7fff;
		s->last_avail_counter = s->last_used_counter = f->r.pos < f->r.num;
		return;
	}
	config->state.split.avail_index = f->r.idx = at;
	f->r.u->idx = f->r.ru->idx = htole16(at);
	fake_ring_publish(&f->r);
}

static bool start(struct fuzz *f)
{
	struct vringh_config config;
	uint8_t b = (uint8_t)take(&f->in, 1);
	uint8_t features = (uint8_t)take(&f->in, 1);

	fake_ring_mode = features & 0x20 ? VDPA_BIT(VIRTIO_F_RING_PACKED) : 0;
	fake_ring_mode |= features & 0x40 ? VDPA_BIT(VIRTIO_F_IN_ORDER) : 0;
	if (fake_guest_init(&f->g, BYTES))
		return false;
	if (b & 0x80)
		fake_guest_misses(&f->g);
	fake_ring_init(&f->r, &f->g, 0, 1u << (b % 8));
	fake_guest_map(&f->g, 0, TABLES, (b & 0x40) ? GUEST_PAGES : GUEST_LINEAR, VHOST_MAP_RW);
	fake_guest_map(&f->g, TABLES, BYTES - TABLES, (b & 0x20) ? GUEST_MESSAGE : GUEST_LINEAR,
		       VHOST_MAP_RW);
	config = fake_ring_config(&f->r, (uint64_t)(features & 3) << VIRTIO_RING_F_INDIRECT_DESC);
	if (features & 4)
		config.features |= VDPA_BIT(VIRTIO_F_NOTIFY_ON_EMPTY);
	start_at(f, &config);
	if (features & 8)
		prefill(f);
	if (features & 0x10)
		config.inflight = f->inflight = hostile_inflight(f);
	if (vringh_init(&config, &f->vr, NULL))
		abort();
	f->g.vr = f->vr;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz f;

	memset(&f, 0, sizeof(f));
	f.in = (struct input){data, size};
	if (!start(&f))
		return 0;
	while (f.in.left) {
		uint8_t op = (uint8_t)take(&f.in, 1);

		switch (op >> 5) {
		case 0:
		case 1:
		case 2:
			driver_step(&f, op);
			break;
		case 7:
			map_step(&f, op);
			break;
		default:
			device_step(&f, op);
		}
	}
	while (f.nout)
		vringh_complete(f.vr, f.out[--f.nout], 0);
	vringh_flush(f.vr);
	f.g.vr = NULL;
	vringh_free(f.vr);
	vringh_inflight_free(f.inflight);
	fake_guest_fini(&f.g);
	return 0;
}
