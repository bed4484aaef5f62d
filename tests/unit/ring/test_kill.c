// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device process that is killed, for real, under load, again and again: the driver sees each of
 * its requests answered exactly once, with the right data, and none is lost.
 *
 * This process is the driver. The device process attaches to the same memory and the same in-flight
 * area, and is killed after a random time.
 */
#include "patience.h"
#include "ring_test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uvdpa/virtqueue.h>

#define NUM 64
#define SLOT 32 /* bytes of a request: 8 readable, 8 writable */
#define BUFS (8 * GUEST_PAGE)
#define BYTES (16 * GUEST_PAGE)
#define DEATHS 100

struct driver {
	uint64_t features;
	struct fake_guest g;
	struct virtqueue *vq;
	struct fake_rng rng;
	uint64_t sent, answered;
	uint64_t value[NUM]; /* of the request that uses a slot; 0: free */
	void *area;
	size_t area_bytes;
};

/* ---- the device process ---- */

static void device_serve(struct fake_guest *g, struct fake_rng *rng)
{
	struct vringh_chain *out[NUM];
	unsigned n = 0;

	for (;;) {
		int got = vringh_getdesc(g->vr, out + n, 1 + fake_below(rng, NUM - n));

		if (got < 0)
			_exit(2);
		n += (unsigned)got;
		for (unsigned left = fake_below(rng, n + 1); left; left--) {
			unsigned i = fake_below(rng, n);
			uint64_t v;

			vringh_iov_pull(out[i], 0, &v, sizeof(v));
			v = ~v;
			vringh_iov_push(out[i], 0, &v, sizeof(v));
			vringh_complete(g->vr, out[i], sizeof(v));
			out[i] = out[--n];
			if (fake_below(rng, 4) == 0 && vringh_flush(g->vr))
				_exit(3);
		}
		if (vringh_flush(g->vr))
			_exit(4);
	}
}

static void device_main(const struct driver *d, uint64_t seed)
{
	struct fake_guest g;
	struct fake_rng rng = {seed};
	struct vringh_inflight *in;
	struct vringh_config config = {.size = sizeof(config), .features = d->features, .num = NUM};
	bool packed = d->features & F_PACKED;

	/* Not to be left behind when the driver fails. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fake_guest_init_fd(&g, d->g.fd, BYTES))
		_exit(1);
	fake_guest_map(&g, 0, BYTES, GUEST_LINEAR, VHOST_MAP_RW);
	if (vringh_inflight_new(d->area, d->area_bytes, NUM, packed, &in, NULL))
		_exit(1);
	virtqueue_addrs(d->vq, &config.desc, &config.driver, &config.device);
	config.ring_view = config.buf_view = g.view;
	config.inflight = in;
	/* What a front-end knows of a device that died: what is in the used ring; or nothing. */
	if (packed)
		config.state = vdpa_vq_state_from_base(VDPA_VQ_BASE_NEW(true), true);
	else
		config.state.split.avail_index =
			*(uint16_t *)(void *)(d->g.mem + (config.device - GUEST_IOVA) + 2);
	if (vringh_init(&config, &g.vr, NULL))
		_exit(1);
	device_serve(&g, &rng);
}

/* ---- the driver ---- */

static void send_some(struct driver *d)
{
	for (unsigned i = 0; i < NUM / 2; i++) {
		struct virtqueue_sg sg[2] = {{GUEST_IOVA + BUFS + i * SLOT, 8},
					     {GUEST_IOVA + BUFS + i * SLOT + 8, 8}};

		if (d->value[i] || fake_below(&d->rng, 3) == 0)
			continue;
		d->value[i] = ++d->sent;
		memcpy(d->g.mem + BUFS + i * SLOT, &d->value[i], 8);
		memset(d->g.mem + BUFS + i * SLOT + 8, 0, 8);
		assert_int_equal(virtqueue_add(d->vq, sg, 1, 1, &d->value[i]), 0);
	}
	virtqueue_publish(d->vq);
}

static void take_answers(struct driver *d)
{
	uint64_t *token, answer;
	uint32_t len;

	while ((token = virtqueue_get(d->vq, &len))) {
		size_t i = (size_t)(token - d->value);

		assert_int_equal(len, 8);
		memcpy(&answer, d->g.mem + BUFS + i * SLOT + 8, 8);
		assert_int_equal(answer, ~*token);
		*token = 0;
		d->answered++;
	}
	/* An answer that comes twice breaks the queue. */
	assert_false(virtqueue_broken(d->vq));
}

static pid_t start_device(struct driver *d, unsigned life)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		device_main(d, 0x1234567 + life * 7919);
	return pid;
}

static void killed(uint64_t features)
{
	struct driver d = {.features = features | VDPA_BIT(VIRTIO_F_VERSION_1), .rng = {4711}};
	struct virtqueue_config config = {
		.size = sizeof(config), .num = NUM, .features = d.features, .mem_iova = GUEST_IOVA};
	uint64_t before_last;

	assert_int_equal(fake_guest_init(&d.g, BYTES), 0);
	config.mem = d.g.mem;
	assert_true(virtqueue_mem_bytes(NUM, d.features) <= BUFS);
	assert_int_equal(virtqueue_new(&config, &d.vq), 0);
	d.area_bytes = vringh_inflight_bytes(NUM, features & F_PACKED);
	d.area =
		mmap(NULL, d.area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(d.area, MAP_FAILED);
	for (unsigned life = 0; life <= DEATHS; life++) {
		pid_t pid = start_device(&d, life);
		uint64_t until = vdpa_clock_ns() + 3000000 + fake_below(&d.rng, 5000000);
		uint64_t deadline = until + PATIENCE_NS;
		int status;

		before_last = d.answered;
		while (vdpa_clock_ns() < until) {
			send_some(&d);
			take_answers(&d);
		}
		/* The last one may finish. */
		while (life == DEATHS && virtqueue_outstanding(d.vq)) {
			take_answers(&d);
			assert_true(vdpa_clock_ns() < deadline);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	assert_int_equal(d.answered, d.sent);
	assert_true(d.answered > before_last);
	printf("%llu requests, %d deaths\n", (unsigned long long)d.sent, DEATHS);
	virtqueue_free(d.vq);
	munmap(d.area, d.area_bytes);
	fake_guest_fini(&d.g);
}

static void split(void **state)
{
	(void)state;
	killed(F_EVENT);
}

static void packed(void **state)
{
	(void)state;
	killed(F_PACKED | F_EVENT);
}

static void packed_in_order(void **state)
{
	(void)state;
	killed(F_PACKED | F_IN_ORDER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(packed),
		cmocka_unit_test(packed_in_order),
	};

	return cmocka_run_group_tests_name("ring-kill", tests, NULL, NULL);
}
