// SPDX-License-Identifier: BSD-3-Clause
/*
 * Two threads on one ring. A driver and a device that keep the rules and sleep when there is
 * nothing to do: no request and no wake-up may be lost. And a mutator that scribbles over the ring
 * while the device walks it.
 */
#include "patience.h"
#include "ring_test.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uvdpa/virtqueue.h>

#define NUM 32
#define REQUESTS 40000
#define BYTES (32 * GUEST_PAGE)
#define BUFS (24 * GUEST_PAGE)

struct pair {
	struct fake_guest g;
	struct virtqueue *vq;
	struct vringh *vr;
	int kick, call;
	uint64_t sum_sent, sum_got; /* driver's, device's */
};

static void ring_bell(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* Lost wake-ups show here. */
static void wait_bell(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, PATIENCE_NS / 1000000) != 1) {
		fprintf(stderr, "a wake-up was lost\n");
		abort();
	}
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
}

static void *driver_main(void *arg)
{
	struct pair *p = arg;
	uint32_t *buf = (uint32_t *)(void *)(p->g.mem + BUFS);
	unsigned sent = 0, received = 0;
	uint32_t len;

	while (received < REQUESTS) {
		uint32_t *token;

		while (sent < REQUESTS && virtqueue_num_free(p->vq) >= 2 && sent - received < NUM) {
			/* Requests are answered in order here, so that the slot is free. */
			uint32_t *b = &buf[2 * (sent % NUM)];
			size_t off = (size_t)((uint8_t *)b - p->g.mem);
			struct virtqueue_sg sg[2] = {{GUEST_IOVA + off, 4},
						     {GUEST_IOVA + off + 4, 4}};

			b[0] = sent;
			b[1] = 0;
			if (virtqueue_add(p->vq, sg, 1, 1, b))
				break;
			p->sum_sent += sent++;
		}
		if (virtqueue_publish(p->vq))
			ring_bell(p->kick);
		virtqueue_disable_cb(p->vq);
		while ((token = virtqueue_get(p->vq, &len))) {
			if (token[1] != token[0] + 1)
				abort();
			received++;
		}
		if (virtqueue_broken(p->vq))
			abort();
		if (received < sent && !virtqueue_enable_cb(p->vq))
			wait_bell(p->call);
	}
	return NULL;
}

static void device_serve(struct pair *p)
{
	unsigned done = 0;

	while (done < REQUESTS) {
		struct vringh_chain *chains[NUM];
		int n = vringh_getdesc(p->vr, chains, NUM);

		assert_true(n >= 0);
		for (int i = 0; i < n; i++, done++) {
			uint32_t v;

			vringh_iov_pull(chains[i], 0, &v, 4);
			p->sum_got += v;
			v++;
			vringh_iov_push(chains[i], 0, &v, 4);
			vringh_complete(p->vr, chains[i], 4);
		}
		assert_int_equal(vringh_flush(p->vr), 0);
		if (n && vringh_need_notify(p->vr))
			ring_bell(p->call);
		if (n || done == REQUESTS)
			vringh_notify_disable(p->vr);
		else if (!vringh_notify_enable(p->vr))
			wait_bell(p->kick);
	}
}

static void pair_run(enum guest_layout layout, uint64_t features)
{
	struct pair p;
	struct virtqueue_config dc = {.size = sizeof(dc), .num = NUM, .mem_iova = GUEST_IOVA};
	struct vringh_config vc = {.size = sizeof(vc), .num = NUM};
	pthread_t thread;

	memset(&p, 0, sizeof(p));
	assert_int_equal(fake_guest_init(&p.g, BYTES), 0);
	fake_guest_map(&p.g, 0, BYTES, layout, VHOST_MAP_RW);
	dc.mem = p.g.mem;
	dc.features = vc.features = features | VDPA_BIT(VIRTIO_F_VERSION_1);
	assert_true(virtqueue_mem_bytes(NUM, features) <= BUFS);
	assert_int_equal(virtqueue_new(&dc, &p.vq), 0);
	virtqueue_addrs(p.vq, &vc.desc, &vc.driver, &vc.device);
	vc.ring_view = vc.buf_view = p.g.view;
	vc.state =
		vdpa_vq_state_from_base(VDPA_VQ_BASE_NEW(features & F_PACKED), features & F_PACKED);
	assert_int_equal(vringh_init(&vc, &p.vr, NULL), 0);
	p.g.vr = p.vr;
	p.kick = eventfd(0, EFD_CLOEXEC);
	p.call = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&thread, NULL, driver_main, &p), 0);
	device_serve(&p);
	pthread_join(thread, NULL);
	assert_int_equal(p.sum_sent, p.sum_got);
	assert_int_equal(vringh_get_stats(p.vr)->completed, REQUESTS);
	p.g.vr = NULL;
	vringh_free(p.vr);
	virtqueue_free(p.vq);
	close(p.kick);
	close(p.call);
	fake_guest_fini(&p.g);
}

static void driver_and_device(void **state)
{
	static const uint64_t features[] = {0, F_EVENT, F_INDIRECT, F_EVENT | F_INDIRECT};

	static const uint64_t formats[] = {0, F_PACKED, F_IN_ORDER, F_PACKED | F_IN_ORDER};

	(void)state;
	for (unsigned f = 0; f < 16; f++) {
		pair_run(GUEST_LINEAR, formats[f / 4] | features[f % 4]);
		if (f % 4 == 3)
			pair_run(GUEST_PAGES, formats[f / 4] | features[f % 4]);
	}
}

/* ---- mutator ---- */

struct mutator {
	struct ring_test *t;
	bool stop;
};

static void *mutate(void *arg)
{
	struct mutator *m = arg;
	struct fake_rng rng = {31337};
	uint16_t *words = (uint16_t *)(void *)m->t->g.mem;
	size_t ring_words = m->t->r.end / 2;

	while (!__atomic_load_n(&m->stop, __ATOMIC_RELAXED)) {
		size_t at = fake_below(&rng, 4) ? fake_below(&rng, (uint32_t)ring_words)
						: RT_TABLE / 2 + fake_below(&rng, 128);
		uint16_t v = (uint16_t)fake_rand(&rng);

		/* Mostly values that pass some of the checks. */
		if (fake_below(&rng, 3))
			v %= 32;
		__atomic_store_n(&words[at], v, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Descriptors that would be good, for the mutator to spoil. */
static void refill(struct ring_test *t, struct fake_rng *rng)
{
	for (unsigned i = 0; i < RT_NUM; i++) {
		uint64_t *d = (uint64_t *)(void *)(t->g.mem + t->r.desc + 16 * i);
		bool table = fake_below(rng, 3) == 0;
		uint64_t flags = table ? INDIRECT : fake_below(rng, 4);
		uint64_t len = table ? 16 * fake_below(rng, 20) : fake_below(rng, 1000);

		__atomic_store_n(&d[0], GUEST_IOVA + (table ? RT_TABLE : RT_BUF), __ATOMIC_RELAXED);
		/* Flags and next, or id and flags. */
		if (fake_packed())
			flags = fake_below(rng, RT_NUM) |
				(flags | fake_packed_avail(&t->r, fake_below(rng, 4) * 8)) << 16;
		else
			flags |= (uint64_t)fake_below(rng, RT_NUM) << 16;
		__atomic_store_n(&d[1], len | flags << 32, __ATOMIC_RELAXED);
	}
}

static void mutated_while_walked(uint64_t format)
{
	struct ring_test t;
	struct mutator m = {.t = &t};
	struct fake_rng rng = {5};
	uint64_t until = vdpa_clock_ns() + 1000000000ull;
	unsigned chains = 0, bad = 0;
	pthread_t thread;

	fake_ring_mode = format;
	rt_prepare(&t, GUEST_LINEAR, GUEST_LINEAR);
	assert_int_equal(pthread_create(&thread, NULL, mutate, &m), 0);
	while (vdpa_clock_ns() < until) {
		struct vringh_config config = fake_ring_config(&t.r, F_INDIRECT | F_EVENT);
		int n;

		refill(&t, &rng);
		if (fake_packed())
			config.state = fake_ring_state(&t.r, (uint16_t)fake_rand(&rng), 1);
		else
			config.state.split.avail_index =
				(uint16_t)(__atomic_load_n(&t.r.a->idx, __ATOMIC_RELAXED) -
					   fake_below(&rng, RT_NUM + 1));
		assert_int_equal(vringh_init(&config, &t.vr, NULL), 0);
		t.g.vr = t.vr;
		while ((n = vringh_getdesc(t.vr, t.chains, 64)) > 0) {
			for (int i = 0; i < n; i++) {
				uint8_t buf[64];

				assert_in_range(t.chains[i]->head, 0, RT_NUM - 1);
				vringh_iov_push(t.chains[i], 0, buf,
						vringh_iov_pull(t.chains[i], 0, buf, sizeof(buf)));
				vringh_complete(t.vr, t.chains[i], 64);
			}
			chains += (unsigned)n;
			assert_int_equal(vringh_flush(t.vr), 0);
			vringh_need_notify(t.vr);
			if (chains % 8 == 0)
				vringh_notify_enable(t.vr);
		}
		bad += n == -EBADMSG;
		t.g.vr = NULL;
		vringh_free(t.vr);
		t.vr = NULL;
	}
	__atomic_store_n(&m.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	printf("%u chains, %u malformed\n", chains, bad);
	assert_true(chains > 100 && bad > 100);
	rt_end(&t);
	fake_ring_mode = 0;
}

static void mutated_split(void **state)
{
	(void)state;
	mutated_while_walked(0);
}

static void mutated_packed(void **state)
{
	(void)state;
	mutated_while_walked(F_PACKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_and_device),
		cmocka_unit_test(mutated_split),
		cmocka_unit_test(mutated_packed),
	};

	return cmocka_run_group_tests_name("ring-threads", tests, NULL, NULL);
}
