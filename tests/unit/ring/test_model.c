// SPDX-License-Identifier: BSD-3-Clause
/*
 * Random traffic from our driver's end to our device's end, over random layouts of memory, checked
 * against a model: what each request carried, in which order requests came, in which order answers
 * came.
 */
#include "ring_test.h"

#include <uvdpa/virtqueue.h>

#define MAX_NUM 64
#define MAX_SG 12
#define RING_BYTES (24 * GUEST_PAGE)
#define BUF_BYTES (16 * GUEST_PAGE)
#define V1 VDPA_BIT(VIRTIO_F_VERSION_1)

struct request {
	bool used;
	struct virtqueue_sg sg[MAX_SG];
	unsigned nout, nin;
	uint32_t out_len, in_len;
	uint32_t seed;	  /* of what the readable part holds */
	uint32_t written; /* what the device answered */
	uint64_t nr;
};

struct model {
	struct fake_guest g;
	struct virtqueue *vq;
	struct vringh *vr;
	struct fake_rng rng;
	uint32_t num;
	size_t max_bytes; /* of a request */
	struct request req[MAX_NUM];
	/* Requests between the two ends: available in this order, then answered in that order. */
	struct request *avail[MAX_NUM], *done[MAX_NUM];
	unsigned navail, ndone;
	struct vringh_chain *out[MAX_NUM];
	unsigned nout;
	uint64_t sent, received;
};

static uint8_t pattern(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* ---- the driver ---- */

/* Buffers of a request lie in a stretch of their own, at odd places. */
static void build(struct model *m, struct request *r, size_t at, size_t room)
{
	unsigned total = 1 + fake_below(&m->rng, MAX_SG);

	r->nout = fake_below(&m->rng, total + 1);
	r->nin = total - r->nout;
	r->out_len = r->in_len = 0;
	r->seed = fake_rand(&m->rng);
	for (unsigned i = 0; i < total; i++) {
		uint32_t len = fake_below(&m->rng, (uint32_t)(room / total));
		uint8_t *p = m->g.mem + at;

		if (fake_below(&m->rng, 8) == 0)
			len = 0;
		r->sg[i] = (struct virtqueue_sg){GUEST_IOVA + at, len};
		for (uint32_t k = 0; k < len; k++)
			p[k] = i < r->nout ? pattern(r->seed, r->out_len + k) : 0xcc;
		if (i < r->nout)
			r->out_len += len;
		else
			r->in_len += len;
		at += room / total;
	}
}

static void driver_send(struct model *m)
{
	size_t room = BUF_BYTES / m->num;

	if (room > m->max_bytes)
		room = m->max_bytes;
	for (unsigned n = fake_below(&m->rng, m->num); n; n--) {
		unsigned i = fake_below(&m->rng, m->num);
		struct request *r = &m->req[i];
		int rc;

		if (r->used)
			continue;
		build(m, r, RING_BYTES + i * (BUF_BYTES / m->num), room);
		rc = virtqueue_add(m->vq, r->sg, r->nout, r->nin, r);
		if (rc)
			continue;
		r->used = true;
		r->nr = m->sent++;
		m->avail[m->navail++] = r;
	}
	virtqueue_publish(m->vq);
}

static void check_answer(struct model *m, const struct request *r)
{
	uint32_t at = 0;

	for (unsigned i = r->nout; i < r->nout + r->nin; i++) {
		const uint8_t *p = m->g.mem + (r->sg[i].addr - GUEST_IOVA);

		for (uint32_t k = 0; k < r->sg[i].len; k++, at++)
			assert_int_equal(p[k], at < r->written ? pattern(~r->seed, at) : 0xcc);
	}
}

static void driver_receive(struct model *m)
{
	struct request *r;
	uint32_t len;

	while ((r = virtqueue_get(m->vq, &len))) {
		assert_true(m->ndone > 0);
		assert_ptr_equal(r, m->done[0]);
		memmove(m->done, m->done + 1, --m->ndone * sizeof(m->done[0]));
		assert_int_equal(len, r->written);
		check_answer(m, r);
		r->used = false;
		m->received++;
	}
	assert_false(virtqueue_broken(m->vq));
}

/* ---- the device ---- */

static void device_get(struct model *m)
{
	struct vringh_chain *chains[MAX_NUM];
	unsigned max = 1 + fake_below(&m->rng, MAX_NUM);
	int n = vringh_getdesc(m->vr, chains, max);
	unsigned keep;

	if (n < 0)
		fail_msg("%s", vringh_error(m->vr));
	assert_int_equal(n, max < m->navail ? max : m->navail);
	keep = (unsigned)n - (fake_below(&m->rng, 4) ? 0 : fake_below(&m->rng, (uint32_t)n + 1));
	vringh_abandon(m->vr, (unsigned)n - keep);
	for (unsigned i = 0; i < keep; i++) {
		chains[i]->user = m->avail[i];
		m->out[m->nout++] = chains[i];
	}
	memmove(m->avail, m->avail + keep, (m->navail -= keep) * sizeof(m->avail[0]));
}

static void device_answer(struct model *m, struct vringh_chain *c)
{
	static uint8_t buf[BUF_BYTES];
	struct request *r = c->user;

	assert_int_equal(c->out_len, r->out_len);
	assert_int_equal(c->in_len, r->in_len);
	assert_int_equal(vringh_iov_pull(c, 0, buf, sizeof(buf)), r->out_len);
	for (uint32_t i = 0; i < r->out_len; i++)
		assert_int_equal(buf[i], pattern(r->seed, i));
	r->written = fake_below(&m->rng, r->in_len + 1);
	for (uint32_t i = 0; i < r->written; i++)
		buf[i] = pattern(~r->seed, i);
	assert_int_equal(vringh_iov_push(c, 0, buf, r->written), r->written);
	vringh_complete(m->vr, c, r->written);
	m->done[m->ndone++] = r;
}

static void device_work(struct model *m)
{
	if (fake_below(&m->rng, 4))
		device_get(m);
	assert_int_equal(vringh_outstanding(m->vr), m->nout);
	for (unsigned n = fake_below(&m->rng, m->nout + 1); n; n--) {
		unsigned i = fake_below(&m->rng, m->nout);

		device_answer(m, m->out[i]);
		m->out[i] = m->out[--m->nout];
	}
	assert_int_equal(vringh_flush(m->vr), 0);
	vringh_need_notify(m->vr);
	if (fake_below(&m->rng, 2))
		assert_int_equal(vringh_notify_enable(m->vr), m->navail > 0);
	else
		vringh_notify_disable(m->vr);
}

/* ---- a run ---- */

static void map_randomly(struct model *m, size_t off, size_t bytes)
{
	for (size_t end = off + bytes; off < end; off += GUEST_PAGE)
		fake_guest_map(&m->g, off, GUEST_PAGE, fake_below(&m->rng, GUEST_NLAYOUTS),
			       VHOST_MAP_RW);
}

static void model_start(struct model *m, unsigned ring, unsigned buf, uint64_t features)
{
	struct virtqueue_config dc = {.size = sizeof(dc), .mem_iova = GUEST_IOVA};
	struct vringh_config vc = {.size = sizeof(vc)};

	assert_int_equal(fake_guest_init(&m->g, RING_BYTES + BUF_BYTES), 0);
	if (ring < GUEST_NLAYOUTS)
		fake_guest_map(&m->g, 0, RING_BYTES, ring, VHOST_MAP_RW);
	else
		map_randomly(m, 0, RING_BYTES);
	if (buf < GUEST_NLAYOUTS)
		fake_guest_map(&m->g, RING_BYTES, BUF_BYTES, buf, VHOST_MAP_RW);
	else
		map_randomly(m, RING_BYTES, BUF_BYTES);
	dc.num = vc.num = m->num;
	dc.features = vc.features = features;
	dc.mem = m->g.mem;
	assert_true(virtqueue_mem_bytes(m->num, features) <= RING_BYTES);
	assert_int_equal(virtqueue_new(&dc, &m->vq), 0);
	virtqueue_addrs(m->vq, &vc.desc, &vc.driver, &vc.device);
	vc.ring_view = vc.buf_view = m->g.view;
	vc.legacy_layout = !(features & V1);
	assert_int_equal(vringh_init(&vc, &m->vr, NULL), 0);
	m->g.vr = m->vr;
}

static void model_run(unsigned ring, unsigned buf, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t features = 0;

	m->rng.s = seed * 0x9e3779b97f4a7c15ull + 1;
	m->num = 1u << fake_below(&m->rng, 7);
	features |= fake_below(&m->rng, 2) ? F_INDIRECT : 0;
	features |= fake_below(&m->rng, 2) ? F_EVENT : 0;
	features |= fake_below(&m->rng, 4) ? V1 : 0;
	/* A piece per byte: no more bytes than a chain may have pieces. */
	m->max_bytes = buf == GUEST_BYTES || buf == GUEST_NLAYOUTS ? VRINGH_MAX_IOV : BUF_BYTES;
	model_start(m, ring, buf, features);
	for (unsigned step = 0; step < 60; step++) {
		driver_send(m);
		for (unsigned n = fake_below(&m->rng, 3); n; n--)
			device_work(m);
		if (fake_below(&m->rng, 3))
			driver_receive(m);
	}
	while (m->received < m->sent) {
		device_work(m);
		driver_receive(m);
	}
	assert_int_equal(virtqueue_outstanding(m->vq), 0);
	assert_int_equal(virtqueue_num_free(m->vq), m->num);
	assert_false(vringh_in_use(m->vr, 0, UINTPTR_MAX));
	m->g.vr = NULL;
	vringh_free(m->vr);
	virtqueue_free(m->vq);
	fake_guest_fini(&m->g);
	free(m);
}

static void random_traffic(void **state)
{
	uint64_t seed = 1;

	(void)state;
	/* One layout more than there are: a random one for each page. */
	for (unsigned ring = 0; ring <= GUEST_NLAYOUTS; ring++) {
		for (unsigned buf = 0; buf <= GUEST_NLAYOUTS; buf++) {
			for (unsigned i = 0; i < 4; i++)
				model_run(ring, buf, seed++);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_traffic),
	};

	return cmocka_run_group_tests_name("ring-model", tests, NULL, NULL);
}
