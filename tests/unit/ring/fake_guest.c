// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_guest.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

uint64_t fake_ring_mode;

struct fake_mem {
	struct fake_mem *next;
	uint64_t bytes[];
};

static void *fake_alloc(struct fake_guest *g, size_t bytes)
{
	struct fake_mem *m = calloc(1, sizeof(*m) + bytes);

	CHECK(m);
	m->next = g->scratch;
	g->scratch = m;
	return m->bytes;
}

/* ---- memory by message ---- */

static int message_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct fake_guest *g = arg;

	g->reads++;
	if (g->fail_reads)
		return g->fail_reads;
	CHECK(off + len <= g->bytes);
	memcpy(buf, g->mem + off, len);
	for (size_t i = 0; i < len; i++) {
		if (g->seen[off + i]) {
			g->rereads++;
			if (g->fickle)
				((uint8_t *)buf)[i] ^= 0x5a;
		}
		g->seen[off + i] = 1;
	}
	return 0;
}

static int message_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct fake_guest *g = arg;

	g->writes++;
	if (g->fail_writes)
		return g->fail_writes;
	CHECK(off + len <= g->bytes);
	g->bytes_written += len;
	memcpy(g->mem + off, buf, len);
	return 0;
}

static const struct vdpa_region_ops message_ops = {
	.read = message_read,
	.write = message_write,
};

/* ---- address space ---- */

static bool view_in_use(void *arg, uintptr_t first, uintptr_t last)
{
	struct fake_guest *g = arg;

	return g->vr && vringh_in_use(g->vr, first, last);
}

static void view_changed(void *arg)
{
	struct fake_guest *g = arg;

	g->changed++;
	if (g->vr)
		vringh_map_changed(g->vr);
}

static const struct vdpa_view_ops view_ops = {
	.in_use = view_in_use,
	.changed = view_changed,
};

int fake_guest_init(struct fake_guest *g, size_t bytes)
{
	int fd = memfd_create("fake-guest", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		return -errno;
	return fake_guest_init_fd(g, fd, bytes);
}

int fake_guest_init_fd(struct fake_guest *g, int fd, size_t bytes)
{
	struct vdpa_error err;

	memset(g, 0, sizeof(*g));
	g->bytes = bytes;
	g->fd = fd;
	g->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	CHECK(g->mem != MAP_FAILED);
	/* Not from the heap: it may be large, and is touched only where memory is read by message.
	 */
	g->seen = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(g->seen != MAP_FAILED);
	CHECK(!vdpa_region_map(g->fd, 0, bytes, 0, PROT_READ | PROT_WRITE, &g->a, &err));
	CHECK(!vdpa_region_map(g->fd, 0, bytes, 0, PROT_READ | PROT_WRITE, &g->b, &err));
	CHECK(!vdpa_region_by_message(&message_ops, g, bytes, 0, &g->message));
	CHECK(!vdpa_loop_group_new(0, &g->group));
	CHECK(!vdpa_as_new(g->group, 0, &g->as));
	CHECK(!vdpa_view_attach(g->as, vdpa_loop_group_control(g->group), &view_ops, g, &g->view));
	return 0;
}

void fake_guest_fini(struct fake_guest *g)
{
	/* What waits for requests that are over may end now. */
	fake_guest_settle(g);
	vdpa_view_detach(g->view);
	g->view = NULL;
	fake_guest_settle(g);
	vdpa_as_free(g->as);
	fake_guest_settle(g);
	vdpa_loop_group_free(g->group);
	vdpa_region_put(g->a);
	vdpa_region_put(g->b);
	vdpa_region_put(g->message);
	while (g->scratch) {
		struct fake_mem *m = g->scratch;

		g->scratch = m->next;
		free(m);
	}
	munmap(g->seen, g->bytes);
	munmap(g->mem, g->bytes);
	close(g->fd);
}

static void map_one(struct fake_guest *g, size_t off, size_t len, struct vdpa_region *region,
		    uint32_t perm)
{
	CHECK(!vdpa_as_map(g->as, GUEST_IOVA + off, len, vdpa_region_addr(region, off), perm,
			   region));
}

void fake_guest_deepen(struct fake_guest *g)
{
	vdpa_as_batch_begin(g->as);
	for (uint64_t i = 0; i < 13000; i++)
		CHECK(!vdpa_as_map(g->as, (1ull << 40) + 2 * i, 1, vdpa_region_addr(g->a, i % 64),
				   VHOST_MAP_RO, g->a));
	vdpa_as_batch_end(g->as);
	fake_guest_settle(g);
}

void fake_guest_map(struct fake_guest *g, size_t off, size_t len, enum guest_layout layout,
		    uint32_t perm)
{
	size_t step = layout == GUEST_PAGES ? GUEST_PAGE : layout == GUEST_BYTES ? 1 : len;

	vdpa_as_batch_begin(g->as);
	while (len) {
		size_t part = step - (layout == GUEST_PAGES ? off % GUEST_PAGE : 0);

		if (part > len)
			part = len;
		if (layout == GUEST_MESSAGE)
			map_one(g, off, part, g->message, perm);
		else if (layout == GUEST_LINEAR)
			map_one(g, off, part, g->a, perm);
		else
			map_one(g, off, part, (off / step) & 1 ? g->b : g->a, perm);
		off += part;
		len -= part;
	}
	vdpa_as_batch_end(g->as);
	fake_guest_settle(g);
}

void fake_guest_unmap(struct fake_guest *g, size_t off, size_t len)
{
	const struct vdpa_done nobody = {NULL, NULL};

	CHECK(!vdpa_as_unmap(g->as, GUEST_IOVA + off, GUEST_IOVA + off + len - 1, &nobody));
	fake_guest_settle(g);
}

static void miss_ignored(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	(void)arg;
	(void)asid;
	(void)iova;
	(void)perm;
}

void fake_guest_misses(struct fake_guest *g)
{
	vdpa_as_set_miss(g->as, miss_ignored, g);
	fake_guest_settle(g);
}

void fake_guest_settle(struct fake_guest *g)
{
	while (vdpa_loop_run_once(vdpa_loop_group_control(g->group), 0) > 0)
		;
	if (g->view)
		vdpa_view_refresh(g->view);
}

/* ---- rings ---- */

static size_t round_up(size_t v, size_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static bool ring_packed(const struct fake_ring *r)
{
	return r->features & VDPA_BIT(VIRTIO_F_RING_PACKED);
}

static bool ring_in_order(const struct fake_ring *r)
{
	return r->features & VDPA_BIT(VIRTIO_F_IN_ORDER);
}

/* What the driver keeps in memory of its own. */
static void ring_private(struct fake_ring *r)
{
	size_t num = r->num;

	r->count = fake_alloc(r->g, num * sizeof(r->count[0]));
	r->order = fake_alloc(r->g, num * sizeof(r->order[0]));
	if (ring_packed(r) || ring_in_order(r))
		r->u = fake_alloc(r->g, sizeof(*r->u) + (num + 1) * sizeof(r->u->ring[0]));
	if (!ring_packed(r))
		return;
	r->d = fake_alloc(r->g, num * sizeof(r->d[0]));
	r->a = fake_alloc(r->g, sizeof(*r->a) + (num + 1) * sizeof(r->a->ring[0]));
}

void fake_ring_init(struct fake_ring *r, struct fake_guest *g, size_t off, uint32_t num)
{
	memset(r, 0, sizeof(*r));
	r->g = g;
	r->num = num;
	r->features = fake_ring_mode;
	r->first = -1;
	r->desc = round_up(off, 16);
	r->avail = r->desc + 16 * (size_t)num;
	if (ring_packed(r)) {
		r->used = r->avail + sizeof(*r->driver_event);
		r->end = r->used + sizeof(*r->device_event);
	} else {
		r->used = round_up(r->avail + 6 + 2 * (size_t)num, 4);
		r->end = r->used + 6 + 8 * (size_t)num;
	}
	CHECK(r->end <= g->bytes);
	memset(g->mem + r->desc, 0, r->end - r->desc);
	r->p = (struct vring_packed_desc *)(void *)(g->mem + r->desc);
	r->driver_event = (struct vring_packed_desc_event *)(void *)(g->mem + r->avail);
	r->device_event = (struct vring_packed_desc_event *)(void *)(g->mem + r->used);
	r->d = (struct vring_desc *)(void *)(g->mem + r->desc);
	r->a = (struct vring_avail *)(void *)(g->mem + r->avail);
	r->ru = r->u = (struct vring_used *)(void *)(g->mem + r->used);
	ring_private(r);
}

void fake_ring_start_at(struct fake_ring *r, uint16_t idx)
{
	r->idx = r->start = idx;
	r->norder = (uint16_t)(idx % r->num);
	r->pos = r->used_pos = idx % (2 * r->num);
	r->u->idx = idx;
	if (!ring_packed(r)) {
		r->a->idx = htole16(idx);
		r->ru->idx = htole16(idx);
		return;
	}
	/* As the former lap left it: used. */
	for (uint32_t i = 0; i < r->num; i++) {
		bool wrap = (r->pos < r->num) == (i < r->pos % r->num);

		r->p[i].flags = htole16(wrap ? 0x8080 : 0);
	}
}

struct vdpa_vq_state fake_ring_state(const struct fake_ring *r, uint16_t idx, uint16_t count)
{
	struct vdpa_vq_state s = {.split.avail_index = idx};
	uint32_t pos = (r->start + (uint16_t)(idx - r->start) * (uint32_t)count) % (2 * r->num);

	if (ring_packed(r)) {
		s.packed.last_avail_idx = s.packed.last_used_idx = pos % r->num & 0x7fff;
		s.packed.last_avail_counter = s.packed.last_used_counter = pos < r->num;
	}
	return s;
}

struct vringh_config fake_ring_config(const struct fake_ring *r, uint64_t features)
{
	return (struct vringh_config){
		.size = sizeof(struct vringh_config),
		.features = features | r->features | VDPA_BIT(VIRTIO_F_VERSION_1),
		.num = r->num,
		.desc = GUEST_IOVA + r->desc,
		.driver = GUEST_IOVA + r->avail,
		.device = GUEST_IOVA + r->used,
		.ring_view = r->g->view,
		.buf_view = r->g->view,
		.state = fake_ring_state(r, r->start, 1),
		.priv_bytes = 8,
	};
}

void fake_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = htole64(addr);
	d->len = htole32(len);
	d->flags = htole16(flags);
	d->next = htole16(next);
}

void fake_ring_desc(struct fake_ring *r, unsigned i, size_t off, uint32_t len, uint16_t flags,
		    uint16_t next)
{
	fake_desc(&r->d[i], GUEST_IOVA + off, len, flags, next);
}

void fake_ring_entry(struct fake_ring *r, size_t table, unsigned i, uint64_t addr, uint32_t len,
		     uint16_t flags)
{
	uint8_t *at = r->g->mem + table + 16 * (size_t)i;
	struct vring_packed_desc p = {htole64(addr), htole32(len), htole16(0x7777), htole16(flags)};
	struct vring_desc d;

	fake_desc(&d, addr, len, flags, (uint16_t)(i + 1));
	memcpy(at, ring_packed(r) ? (void *)&p : (void *)&d, 16);
}

/* ---- the packed ring (virtio 1.3, 2.8) ---- */

uint16_t fake_packed_avail(const struct fake_ring *r, uint32_t pos)
{
	return pos % (2 * r->num) < r->num ? 1u << VRING_PACKED_DESC_F_AVAIL
					   : 1u << VRING_PACKED_DESC_F_USED;
}

void fake_packed_desc(struct fake_ring *r, uint32_t pos, uint64_t addr, uint32_t len, uint16_t id,
		      uint16_t flags)
{
	struct vring_packed_desc *p = &r->p[pos % r->num];

	p->addr = htole64(addr);
	p->len = htole32(len);
	p->id = htole16(id);
	__atomic_store_n(&p->flags, htole16(flags), __ATOMIC_RELEASE);
}

/* The chain of the table that begins at @head goes into the ring; its first flags wait. */
static void packed_add(struct fake_ring *r, uint16_t head)
{
	struct vring_desc *d = &r->d[head % r->num];
	uint32_t n = 0;

	for (;; d = &r->d[le16toh(d->next) % r->num]) {
		uint16_t flags = le16toh(d->flags) | fake_packed_avail(r, r->pos);
		bool more = (flags & VRING_DESC_F_NEXT) && n + 1 < r->num;
		uint16_t now = flags;

		if (r->first < 0) {
			r->first = (int)(r->pos % r->num);
			r->first_flags = flags;
			now = le16toh(r->p[r->first].flags);
		}
		fake_packed_desc(r, r->pos, le64toh(d->addr), le32toh(d->len), head, now);
		r->pos = (r->pos + 1) % (2 * r->num);
		n++;
		if (!more || (flags & VRING_DESC_F_INDIRECT))
			break;
	}
	r->count[head % r->num] = (uint16_t)n;
}

/* One used descriptor, if there is one. */
static bool packed_poll(struct fake_ring *r, struct vring_used_elem *e)
{
	const struct vring_packed_desc *p = &r->p[r->used_pos % r->num];
	uint16_t flags = le16toh(__atomic_load_n(&p->flags, __ATOMIC_ACQUIRE));
	bool wrap = r->used_pos < r->num;

	if (!!(flags & 1u << VRING_PACKED_DESC_F_USED) != wrap ||
	    !!(flags & 1u << VRING_PACKED_DESC_F_AVAIL) != wrap)
		return false;
	e->id = le16toh(p->id);
	e->len = flags & VRING_DESC_F_WRITE ? le32toh(p->len) : 0;
	return true;
}

static bool split_poll(struct fake_ring *r, struct vring_used_elem *e)
{
	if (le16toh(__atomic_load_n(&r->ru->idx, __ATOMIC_ACQUIRE)) == r->u->idx)
		return false;
	e->id = le32toh(r->ru->ring[r->u->idx & (r->num - 1)].id);
	e->len = le32toh(r->ru->ring[r->u->idx & (r->num - 1)].len);
	return true;
}

/* @id was used, and with IN_ORDER all before it. */
static void used(struct fake_ring *r, const struct vring_used_elem *e)
{
	uint32_t id;

	do {
		id = ring_in_order(r) ? r->order[r->norder] : e->id;
		r->norder = (uint16_t)((r->norder + 1) % r->num);
		r->u->ring[r->u->idx % r->num] =
			(struct vring_used_elem){id, id == e->id ? e->len : 0};
		r->u->idx++;
		CHECK(id < r->num);
		r->used_pos = (r->used_pos + r->count[id]) % (2 * r->num);
	} while (id != e->id);
}

/* ---- both ---- */

void fake_ring_avail(struct fake_ring *r, uint16_t head)
{
	r->order[r->idx % r->num] = head;
	if (ring_packed(r))
		packed_add(r, head);
	else
		r->a->ring[r->idx & (r->num - 1)] = htole16(head);
	r->idx++;
}

void fake_ring_publish(struct fake_ring *r)
{
	if (!ring_packed(r))
		__atomic_store_n(&r->a->idx, htole16(r->idx), __ATOMIC_RELEASE);
	else if (r->first >= 0)
		__atomic_store_n(&r->p[r->first].flags, htole16(r->first_flags), __ATOMIC_RELEASE);
	r->first = -1;
}

uint16_t fake_ring_used_idx(struct fake_ring *r)
{
	struct vring_used_elem e;

	if (r->u == r->ru)
		return le16toh(__atomic_load_n(&r->ru->idx, __ATOMIC_ACQUIRE));
	while (r->u->idx != r->idx && (ring_packed(r) ? packed_poll(r, &e) : split_poll(r, &e)))
		used(r, &e);
	return r->u->idx;
}

uint32_t fake_rand(struct fake_rng *rng)
{
	rng->s ^= rng->s << 13;
	rng->s ^= rng->s >> 7;
	rng->s ^= rng->s << 17;
	return (uint32_t)(rng->s >> 16);
}
