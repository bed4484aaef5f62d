// SPDX-License-Identifier: BSD-3-Clause
/*
 * The same traffic over every kind of ring, side by side: {split, packed} x {in order, or not} x
 * {event index, or not}. One stream of random decisions says what driver and device do; each kind
 * has a driver's end, a device's end and memory of its own, and is held against one model: what a
 * request carried, in which order they were got, in which order they came back, and whether anybody
 * who asked to be woken was.
 *
 *	UVDPA_TEST_SEED=N test-ring-differential: that round again
 */
#include "ring_test.h"

#include <uvdpa/virtqueue.h>

#define ROUNDS 300
#define STEPS 60
#define KINDS 8u
#define MAX_NUM 32
#define NREQ 64u
#define MAX_SG 12
#define ROOM 1024u
#define RING_BYTES (24 * GUEST_PAGE)
#define BUF_BYTES (NREQ * ROOM)
#define V1 VDPA_BIT(VIRTIO_F_VERSION_1)

/* What all kinds agree on. */
struct request {
	bool out;
	uint32_t seed, written;
	uint32_t out_len, in_len;
	uint32_t len[MAX_SG];
	unsigned nout, nin;
	unsigned seen;	    /* kinds that have given it back */
	bool got, answered; /* by the devices */
};

struct kind {
	uint64_t features;
	uint32_t num, indirect_min;
	struct fake_guest g;
	struct virtqueue *vq;
	struct vringh *vr;
	struct vringh_chain *chain[NREQ]; /* that are out at the device */
	uint64_t received;
	/* Somebody sleeps: the next thing that happens must wake him. */
	bool driver_sleeps, device_sleeps, called;
};

struct world {
	struct fake_rng rng;
	struct kind kind[KINDS];
	struct request req[NREQ];
	/* By number: what was sent, and in which order it was answered. */
	unsigned sent[4096], answered[4096];
	uint64_t nsent, ngot, nanswered;
	unsigned held[NREQ], nheld; /* got, and not answered */
};

static uint64_t round_seed;

#define check(what)                                                                                \
	do {                                                                                       \
		if (!(what))                                                                       \
			fail_msg("seed %llu, kind %u: %s", (unsigned long long)round_seed,         \
				 (unsigned)(k - w->kind), #what);                                  \
	} while (0)

static bool in_order(const struct kind *k)
{
	return k->features & VDPA_BIT(VIRTIO_F_IN_ORDER);
}

static uint8_t pattern(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* ---- the drivers ---- */

static void draw(struct world *w, struct request *r)
{
	unsigned total = 1 + fake_below(&w->rng, fake_below(&w->rng, 3) ? 3 : MAX_SG);

	r->nout = fake_below(&w->rng, total + 1);
	r->nin = total - r->nout;
	r->seed = fake_rand(&w->rng);
	r->out_len = r->in_len = 0;
	for (unsigned i = 0; i < total; i++) {
		r->len[i] = fake_below(&w->rng, 8) ? fake_below(&w->rng, ROOM / MAX_SG) : 0;
		*(i < r->nout ? &r->out_len : &r->in_len) += r->len[i];
	}
	r->written = fake_below(&w->rng, r->in_len + 1);
	if (fake_below(&w->rng, 3) == 0)
		r->written = r->in_len;
}

static bool has_room(const struct kind *k, const struct request *r)
{
	unsigned total = r->nout + r->nin, min = k->indirect_min > 2 ? k->indirect_min : 2;
	bool table = k->features & F_INDIRECT && total >= min && total <= k->num;

	return virtqueue_num_free(k->vq) >= (table ? 1 : total) && total <= k->num;
}

static void add(struct world *w, struct kind *k, struct request *r)
{
	size_t at = RING_BYTES + (size_t)(r - w->req) * ROOM;
	struct virtqueue_sg sg[MAX_SG];
	uint32_t n = 0;

	for (unsigned i = 0; i < r->nout + r->nin; i++) {
		sg[i] = (struct virtqueue_sg){GUEST_IOVA + at, r->len[i]};
		for (uint32_t b = 0; b < r->len[i]; b++, n++)
			k->g.mem[at + b] = i < r->nout ? pattern(r->seed, n) : 0xcc;
		at += ROOM / MAX_SG;
	}
	check(virtqueue_add(k->vq, sg, r->nout, r->nin, r) == 0);
}

static void publish(struct world *w, bool any)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &w->kind[i];
		bool kick = virtqueue_publish(k->vq);

		check(!kick || any);
		check(kick || !any || !k->device_sleeps);
		k->device_sleeps &= !any;
	}
}

static void send(struct world *w)
{
	bool any = false;

	for (unsigned n = fake_below(&w->rng, 12); n; n--) {
		unsigned i = fake_below(&w->rng, NREQ);
		struct request *r = &w->req[i];
		bool room = !r->out;

		if (!room)
			continue;
		draw(w, r);
		for (unsigned j = 0; j < KINDS; j++)
			room &= has_room(&w->kind[j], r);
		if (!room)
			continue;
		for (unsigned j = 0; j < KINDS; j++)
			add(w, &w->kind[j], r);
		r->out = any = true;
		r->got = r->answered = false;
		r->seen = 0;
		w->sent[w->nsent++ % 4096] = i;
	}
	publish(w, any);
}

static void check_data(struct world *w, const struct kind *k, const struct request *r)
{
	size_t at = RING_BYTES + (size_t)(r - w->req) * ROOM;
	uint32_t n = 0;

	for (unsigned i = 0; i < r->nout + r->nin; i++, at += ROOM / MAX_SG) {
		for (uint32_t b = 0; i >= r->nout && b < r->len[i]; b++, n++)
			check(k->g.mem[at + b] == (n < r->written ? pattern(~r->seed, n) : 0xcc));
	}
}

/* In order they come back as they were sent, else as they were answered. */
static void receive_kind(struct world *w, struct kind *k)
{
	const unsigned *order = in_order(k) ? w->sent : w->answered;
	struct request *r;
	uint32_t len;

	while ((r = virtqueue_get(k->vq, &len))) {
		check(k->received < w->nanswered);
		check(r == &w->req[order[k->received % 4096]]);
		check(r->answered);
		check(len == r->written);
		check_data(w, k, r);
		check(!k->driver_sleeps || k->called);
		k->received++;
		if (++r->seen == KINDS)
			r->out = false;
	}
	check(!virtqueue_broken(k->vq));
	/* Nothing that could be seen was not. */
	check(in_order(k) || k->received == w->nanswered);
}

static void receive(struct world *w)
{
	bool sleep = fake_below(&w->rng, 2);

	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &w->kind[i];

		receive_kind(w, k);
		k->driver_sleeps = k->called = false;
		if (sleep) {
			check(!virtqueue_enable_cb(k->vq));
			k->driver_sleeps = true;
		} else {
			virtqueue_disable_cb(k->vq);
		}
	}
}

/* ---- the devices ---- */

static void get_kind(struct world *w, struct kind *k, unsigned max, unsigned back)
{
	struct vringh_chain *chains[NREQ];
	unsigned avail = (unsigned)(w->nsent - w->ngot);
	int n = vringh_getdesc(k->vr, chains, max);

	if (n < 0)
		fail_msg("seed %llu: %s", (unsigned long long)round_seed, vringh_error(k->vr));
	check(n == (int)(max < avail ? max : avail));
	back = back < (unsigned)n ? back : (unsigned)n;
	vringh_abandon(k->vr, back);
	for (unsigned i = 0; i < (unsigned)n - back; i++) {
		unsigned id = w->sent[(w->ngot + i) % 4096];
		const struct request *r = &w->req[id];

		check(chains[i]->out_len == r->out_len && chains[i]->in_len == r->in_len);
		k->chain[id] = chains[i];
	}
	check(vringh_outstanding(k->vr) == w->nheld + (unsigned)n - back);
}

static void get(struct world *w)
{
	unsigned max = 1 + fake_below(&w->rng, MAX_NUM);
	unsigned back = fake_below(&w->rng, 4) ? 0 : fake_below(&w->rng, 5);
	uint64_t avail = w->nsent - w->ngot, n = max < avail ? max : avail;

	for (unsigned i = 0; i < KINDS; i++)
		get_kind(w, &w->kind[i], max, back);
	for (n -= back < n ? back : n; n; n--) {
		unsigned id = w->sent[w->ngot++ % 4096];

		w->req[id].got = true;
		w->held[w->nheld++] = id;
	}
}

static void answer_kind(struct world *w, struct kind *k, unsigned id)
{
	const struct request *r = &w->req[id];
	uint8_t buf[ROOM];

	check(vringh_iov_pull(k->chain[id], 0, buf, sizeof(buf)) == r->out_len);
	for (uint32_t i = 0; i < r->out_len; i++)
		check(buf[i] == pattern(r->seed, i));
	for (uint32_t i = 0; i < r->written; i++)
		buf[i] = pattern(~r->seed, i);
	check(vringh_iov_push(k->chain[id], 0, buf, r->written) == r->written);
	vringh_complete(k->vr, k->chain[id], r->written);
}

static void answer(struct world *w, unsigned n)
{
	for (; n; n--) {
		unsigned at = fake_below(&w->rng, 2) ? 0 : fake_below(&w->rng, w->nheld);
		unsigned id = w->held[at];

		for (unsigned i = 0; i < KINDS; i++)
			answer_kind(w, &w->kind[i], id);
		memmove(&w->held[at], &w->held[at + 1], (--w->nheld - at) * sizeof(w->held[0]));
		w->req[id].answered = true;
		w->answered[w->nanswered++ % 4096] = id;
	}
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &w->kind[i];

		check(vringh_flush(k->vr) == 0);
		k->called |= vringh_need_notify(k->vr);
	}
}

static void rest(struct world *w)
{
	bool sleep = fake_below(&w->rng, 2), waiting = w->nsent > w->ngot;

	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &w->kind[i];

		k->device_sleeps = sleep && !waiting;
		if (sleep)
			check(vringh_notify_enable(k->vr) == waiting);
		else
			vringh_notify_disable(k->vr);
	}
}

/* ---- a round ---- */

static void kind_start(struct kind *k, uint64_t features, uint32_t num, uint32_t indirect_min)
{
	struct virtqueue_config dc = {.size = sizeof(dc),
				      .num = num,
				      .features = features,
				      .mem_iova = GUEST_IOVA,
				      .indirect_min = indirect_min};
	struct vringh_config vc = {.size = sizeof(vc), .num = num, .features = features};

	k->features = features;
	k->num = num;
	k->indirect_min = indirect_min;
	assert_int_equal(fake_guest_init(&k->g, RING_BYTES + BUF_BYTES), 0);
	fake_guest_map(&k->g, 0, RING_BYTES + BUF_BYTES, GUEST_LINEAR, VHOST_MAP_RW);
	assert_true(virtqueue_mem_bytes(num, features) <= RING_BYTES);
	dc.mem = k->g.mem;
	assert_int_equal(virtqueue_new(&dc, &k->vq), 0);
	virtqueue_addrs(k->vq, &vc.desc, &vc.driver, &vc.device);
	vc.ring_view = vc.buf_view = k->g.view;
	vc.state = virtqueue_first_state(k->vq);
	assert_int_equal(vringh_init(&vc, &k->vr, NULL), 0);
	k->g.vr = k->vr;
}

static void kind_end(struct kind *k)
{
	assert_int_equal(virtqueue_outstanding(k->vq), 0);
	assert_int_equal(virtqueue_num_free(k->vq), k->num);
	k->g.vr = NULL;
	vringh_free(k->vr);
	virtqueue_free(k->vq);
	fake_guest_fini(&k->g);
}

/* Bits of @i: packed, in order, event index. Packed rings may have any size, and a larger one. */
static void world_start(struct world *w)
{
	uint32_t num = 1u << fake_below(&w->rng, 6);
	uint64_t common = V1 | (fake_below(&w->rng, 3) ? F_INDIRECT : 0);
	uint32_t indirect_min = fake_below(&w->rng, 2) ? 0 : fake_below(&w->rng, 6);

	for (unsigned i = 0; i < KINDS; i++) {
		uint64_t features = common;

		features |= i & 1 ? VDPA_BIT(VIRTIO_F_RING_PACKED) : 0;
		features |= i & 2 ? VDPA_BIT(VIRTIO_F_IN_ORDER) : 0;
		features |= i & 4 ? F_EVENT : 0;
		kind_start(&w->kind[i], features, i & 1 ? num + fake_below(&w->rng, num) : num,
			   indirect_min);
	}
}

static void run(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	round_seed = seed;
	w->rng.s = seed * 0x9e3779b97f4a7c15ull + 1;
	world_start(w);
	for (unsigned step = 0; step < STEPS; step++) {
		send(w);
		if (fake_below(&w->rng, 4))
			get(w);
		if (fake_below(&w->rng, 3))
			answer(w, fake_below(&w->rng, w->nheld + 1));
		if (fake_below(&w->rng, 3))
			rest(w);
		if (fake_below(&w->rng, 2))
			receive(w);
	}
	while (w->ngot < w->nsent)
		get(w);
	answer(w, w->nheld);
	receive(w);
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &w->kind[i];

		check(k->received == w->nsent);
		kind_end(k);
	}
	free(w);
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

static void same_traffic(void **state)
{
	uint64_t seed = from_env("UVDPA_TEST_SEED", 0);
	uint64_t rounds = seed ? 1 : ROUNDS * from_env("UVDPA_TEST_ROUNDS", 1);

	(void)state;
	seed += !seed;
	print_message("           seeds %llu to %llu\n", (unsigned long long)seed,
		      (unsigned long long)(seed + rounds - 1));
	for (uint64_t i = 0; i < rounds; i++)
		run(seed + i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_traffic),
	};

	return cmocka_run_group_tests_name("ring-differential", tests, NULL, NULL);
}
