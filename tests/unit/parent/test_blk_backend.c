// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software disk and what is below it: a backend that records what it is asked, and answers when
 * it is told to. It takes the place of "null" by way of the linker.
 */
#include <uvdpa/backend.h>

#include "blk_guest.h"

#define MS (SG_SECOND / 1000)
#define MAX_OPS 256

static struct trace {
	struct blk_backend be;
	struct blk_backend_info info;
	struct blk_queue q;
	struct blk_request *held[MAX_OPS];
	unsigned nheld;
	enum blk_op ops[MAX_OPS];
	uint32_t flags[MAX_OPS];
	bool writeback_at[MAX_OPS]; /* when the op came */
	unsigned nops, submits, cancels, opens, closes, ends;
	int writeback; /* -1: never set */
	int open_error;
	bool no_cancel;
	uintptr_t gone_first, gone_last;
	unsigned gone;
} trace;

const struct blk_backend_ops *__wrap_blk_backend_find(const char *name);
int __wrap_blk_backend_open(const char *name, const struct backend_open_params *params,
			    struct blk_backend **out, struct vdpa_error *err);
static struct blk_backend_ops trace_ops;

const struct blk_backend_ops *__wrap_blk_backend_find(const char *name)
{
	return &trace_ops;
}

int __wrap_blk_backend_open(const char *name, const struct backend_open_params *params,
			    struct blk_backend **out, struct vdpa_error *err)
{
	trace.be.ops = &trace_ops;
	*out = &trace.be;
	return 0;
}

static void trace_close(struct blk_backend *be)
{
	assert_int_equal(trace.nheld, 0);
	trace.ends++;
}

static void trace_info(struct blk_backend *be, struct blk_backend_info *info)
{
	*info = trace.info;
}

static void trace_writeback(struct blk_backend *be, bool writeback)
{
	trace.writeback = writeback;
}

static int trace_queue_open(struct blk_backend *be, struct vdpa_loop *loop, unsigned depth,
			    struct blk_queue **out)
{
	if (trace.open_error)
		return trace.open_error;
	trace.opens++;
	trace.q.be = be;
	*out = &trace.q;
	return 0;
}

static void trace_queue_close(struct blk_queue *q)
{
	assert_int_equal(trace.nheld, 0);
	trace.closes++;
}

static void trace_submit(struct blk_queue *q, struct blk_request **reqs, unsigned n)
{
	trace.submits++;
	for (unsigned i = 0; i < n; i++) {
		trace.flags[trace.nops] = reqs[i]->flags;
		trace.writeback_at[trace.nops] = trace.writeback == 1;
		trace.ops[trace.nops++] = reqs[i]->op;
		trace.held[trace.nheld++] = reqs[i];
	}
}

/* End what is held, oldest first. */
static void answer(int result)
{
	unsigned n = trace.nheld;

	trace.nheld = 0;
	for (unsigned i = 0; i < n; i++) {
		struct blk_request *req = trace.held[i];

		if (req->op == BLK_READ && !result)
			memset(req->iov[0].iov_base, 0xab, req->iov[0].iov_len);
		req->done(req, result);
	}
}

static void trace_cancel(struct blk_queue *q)
{
	trace.cancels++;
	if (!trace.no_cancel)
		answer(-ECANCELED);
}

static void trace_gone(struct blk_queue *q, uintptr_t first, uintptr_t last)
{
	trace.gone++;
	trace.gone_first = first;
	trace.gone_last = last;
}

static struct blk_backend_ops trace_ops = {
	.name = "trace",
	.open = NULL,
	.close = trace_close,
	.get_info = trace_info,
	.set_writeback = trace_writeback,
	.queue_open = trace_queue_open,
	.queue_close = trace_queue_close,
	.submit = trace_submit,
	.cancel = trace_cancel,
	.memory_gone = trace_gone,
};

static uint64_t capacity = 1 << 20; /* of the next disk */

static void open_trace_on(struct soft_guest *g, unsigned workers, const struct vdpa_attr *attrs)
{
	memset(&trace, 0, sizeof(trace));
	trace.info = (struct blk_backend_info){
		.capacity_bytes = capacity,
		.block_bytes = 512,
		.alignment_bytes = 1,
		.discard = true,
		.write_zeroes = true,
		.volatile_cache = true,
	};
	trace.writeback = -1;
	sg_open(g, workers);
	sg_add(g, "soft_blk", attrs);
}

static void open_trace(struct soft_guest *g, const struct vdpa_attr *attrs)
{
	open_trace_on(g, 0, attrs);
}

/* A request that is not waited for; its data and status are at @slot. */
static void post(struct soft_guest *g, unsigned slot, uint32_t type, uint32_t len)
{
	size_t at = BG_BUF + slot * 8192;
	struct virtqueue_sg sg[3] = {sg_at(at, 16), sg_at(at + 512, len), sg_at(at + 4096, 1)};
	bool write = type == VIRTIO_BLK_T_OUT;

	bg_header(g, at, type, 0);
	memset(g->mem + at + 512, 0x11, 512);
	g->mem[at + 4096] = 0xee;
	if (len)
		sg_send(g, 0, sg, 1 + write, 2 - write, g->mem + at);
	else
		sg_send(g, 0, (struct virtqueue_sg[]){sg[0], sg[2]}, 1, 1, g->mem + at);
	sg_run(g, 2 * MS);
}

static uint8_t status(struct soft_guest *g, unsigned slot)
{
	return g->mem[BG_BUF + slot * 8192 + 4096];
}

/* The driver hears of a flush when the backend is done with it, not before. */
static void test_flush_order(void **state)
{
	struct soft_guest g;
	uint32_t len;

	open_trace(&g, NULL);
	sg_start(&g, BG_FEATURES, 1, 64);
	post(&g, 0, VIRTIO_BLK_T_OUT, 512);
	assert_null(sg_get(&g, 0, &len, 5 * MS));
	answer(0);
	assert_ptr_equal(sg_get(&g, 0, &len, SG_PATIENCE), g.mem + BG_BUF);
	post(&g, 1, VIRTIO_BLK_T_FLUSH, 0);
	assert_int_equal(trace.nops, 2);
	assert_int_equal(trace.ops[1], BLK_FLUSH);
	assert_null(sg_get(&g, 0, &len, 5 * MS));
	assert_int_equal(status(&g, 1), 0xee);
	answer(0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(status(&g, 1), VIRTIO_BLK_S_OK);
	/* A flush that failed failed. */
	post(&g, 1, VIRTIO_BLK_T_FLUSH, 0);
	answer(-EIO);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(status(&g, 1), VIRTIO_BLK_S_IOERR);
	sg_close(&g);
}

/* virtio 1.3, 5.2.5: what is negotiated decides whether a write may stay in a cache. */
static void test_cache_mode(void **state)
{
	struct soft_guest g;
	uint8_t wce;

	open_trace(&g, NULL);
	assert_int_equal(trace.writeback, 0);
	sg_start(&g, SG_V1, 1, 64);
	assert_int_equal(trace.writeback, 0);
	sg_reset(&g);
	sg_start(&g, SG_V1 | VDPA_BIT(VIRTIO_BLK_F_FLUSH), 1, 64);
	assert_int_equal(trace.writeback, 1);
	/* Not negotiated: the byte is not the driver's. */
	wce = 0;
	vdpa_set_config(g.dev, 32, &wce, 1);
	assert_int_equal(trace.writeback, 1);
	sg_reset(&g);
	assert_int_equal(trace.writeback, 0);
	sg_start(&g, SG_V1 | VDPA_BIT(VIRTIO_BLK_F_FLUSH) | VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE), 1,
		 64);
	assert_int_equal(trace.writeback, 1);
	vdpa_set_config(g.dev, 32, &wce, 1);
	assert_int_equal(trace.writeback, 0);
	vdpa_get_config(g.dev, 32, &wce, 1);
	assert_int_equal(wce, 0);
	wce = 1;
	vdpa_set_config(g.dev, 32, &wce, 1);
	assert_int_equal(trace.writeback, 1);
	/* Other bytes are not written at all. */
	vdpa_set_config(g.dev, 0, &wce, 1);
	vdpa_get_config(g.dev, 0, &wce, 1);
	assert_int_equal(wce, 0);
	sg_close(&g);
}

static void test_results(void **state)
{
	static const struct {
		int result;
		uint8_t status;
	} rows[] = {
		{0, VIRTIO_BLK_S_OK},
		{-EIO, VIRTIO_BLK_S_IOERR},
		{-ENOSPC, VIRTIO_BLK_S_IOERR},
		{-EOPNOTSUPP, VIRTIO_BLK_S_UNSUPP},
		{-ECANCELED, VIRTIO_BLK_S_IOERR},
	};
	struct soft_guest g;
	uint32_t len;

	open_trace(&g, NULL);
	sg_start(&g, BG_FEATURES, 1, 64);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		post(&g, 0, VIRTIO_BLK_T_IN, 512);
		answer(rows[i].result);
		assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
		assert_int_equal(len, 513);
		assert_int_equal(status(&g, 0), rows[i].status);
	}
	assert_int_equal(sg_stat(&g, 0, "errors"), 4);
	sg_close(&g);
}

static void test_reset_cancels(void **state)
{
	struct soft_guest g;

	open_trace(&g, NULL);
	sg_start(&g, BG_FEATURES, 1, 64);
	post(&g, 0, VIRTIO_BLK_T_IN, 512);
	post(&g, 1, VIRTIO_BLK_T_IN, 512);
	assert_int_equal(trace.nheld, 2);
	sg_reset(&g);
	assert_int_equal(trace.cancels, 1);
	assert_int_equal(trace.opens, trace.closes);
	assert_int_equal(status(&g, 0), 0xee);
	assert_int_equal(status(&g, 1), 0xee);
	sg_close(&g);
}

/* A drain does not call anything off. */
static void test_drain_waits(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct soft_guest g;
	uint32_t len;

	open_trace(&g, NULL);
	sg_start(&g, BG_FEATURES, 1, 64);
	post(&g, 0, VIRTIO_BLK_T_IN, 512);
	assert_int_equal(vdpa_suspend(g.dev, &done), 0);
	sg_run(&g, 10 * MS);
	assert_int_equal(trace.cancels, 0);
	assert_false(wait.done);
	answer(0);
	assert_int_equal(sg_wait(&g, &wait), 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	assert_int_equal(status(&g, 0), 0);
	assert_int_equal(trace.closes, 1);
	sg_close(&g);
}

/* What comes back after the deadline writes nothing. */
static void test_late(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct soft_guest g;

	open_trace(&g, (struct vdpa_attr[]){{"stop_timeout_ms", "20"}, {0}});
	trace.no_cancel = true;
	sg_start(&g, BG_FEATURES, 1, 64);
	post(&g, 0, VIRTIO_BLK_T_FLUSH, 0);
	assert_int_equal(vdpa_stop_vq(g.dev, 0, &done), 0);
	assert_int_equal(sg_wait(&g, &wait), -ETIMEDOUT);
	assert_true(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(trace.cancels, 1);
	answer(0);
	sg_run(&g, 5 * MS);
	assert_int_equal(status(&g, 0), 0xee);
	assert_int_equal(trace.closes, 1);
	sg_reset(&g);
	sg_close(&g);
}

static void test_batch(void **state)
{
	struct soft_guest g;
	uint32_t len;

	open_trace(&g, NULL);
	sg_start(&g, BG_FEATURES, 1, 64);
	sg_run(&g, 2 * MS);
	for (unsigned i = 0; i < 16; i++) {
		struct virtqueue_sg sg[2] = {sg_at(BG_HDR, 16), sg_at(BG_STATUS + i, 1)};

		bg_header(&g, BG_HDR, VIRTIO_BLK_T_FLUSH, 0);
		assert_int_equal(virtqueue_add(g.q[0].vq, sg, 1, 1, &g), 0);
	}
	virtqueue_publish(g.q[0].vq);
	sg_kick(&g, 0);
	sg_run(&g, 2 * MS);
	assert_int_equal(trace.nops, 16);
	assert_int_equal(trace.submits, 1);
	answer(0);
	for (unsigned i = 0; i < 16; i++)
		assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	/* Sixteen answers, one call. */
	assert_int_equal(sg_stat(&g, 0, "calls") + sg_stat(&g, 0, "calls_suppressed"), 1);
	sg_close(&g);
}

static void test_offers(void **state)
{
	const uint64_t ranges =
		VDPA_BIT(VIRTIO_BLK_F_DISCARD) | VDPA_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	struct vdpa_error err;
	struct soft_guest g;

	open_trace(&g, NULL);
	assert_int_equal(vdpa_get_device_features(g.dev) & ranges, ranges);
	sg_del(&g);
	trace.info.discard = trace.info.write_zeroes = false;
	trace.info.read_only = true;
	trace_ops.set_writeback = NULL;
	assert_int_equal(sg_try_add(&g, "soft_blk", "d0", &(struct vdpa_dev_set_config){0}, &err),
			 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	assert_int_equal(vdpa_get_device_features(g.dev) & ranges, 0);
	assert_true(vdpa_get_device_features(g.dev) & VDPA_BIT(VIRTIO_BLK_F_RO));
	assert_false(vdpa_get_device_features(g.dev) & VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE));
	trace_ops.set_writeback = trace_writeback;
	sg_close(&g);
}

static void test_queue_open_fails(void **state)
{
	struct soft_guest g;

	open_trace(&g, NULL);
	trace.open_error = -EMFILE;
	sg_start(&g, SG_V1, 1, 64);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	sg_close(&g);
}

/* A turn of the queue ends with 4 MiB, however few requests that is; the next ones follow. */
static void test_turn_of_bytes(void **state)
{
	struct soft_guest g;
	struct virtqueue_sg sg[3] = {sg_at(BG_HDR, 16), sg_at(BG_BUF, 2 << 20),
				     sg_at(BG_STATUS, 1)};
	uint32_t len;

	capacity = 8 << 20;
	open_trace(&g, NULL);
	capacity = 1 << 20;
	sg_start(&g, BG_FEATURES, 1, 64);
	bg_header(&g, BG_HDR, VIRTIO_BLK_T_IN, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(virtqueue_add(g.q[0].vq, sg, 1, 2, g.mem + i), 0);
	assert_true(virtqueue_publish(g.q[0].vq));
	sg_kick(&g, 0);
	for (unsigned i = 0; i < 100 && trace.nops < 5; i++)
		sg_run(&g, MS);
	assert_int_equal(trace.nops, 5);
	assert_int_equal(trace.submits, 3);
	answer(0);
	for (unsigned i = 0; i < 5; i++)
		assert_ptr_equal(sg_get(&g, 0, &len, SG_PATIENCE), g.mem + i);
	sg_close(&g);
}

/* The backend may ask what memory there is, and is told when it goes: while a request is in it. */
static void test_memory(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	uintptr_t first, last;
	struct soft_guest g;

	open_trace(&g, NULL);
	sg_start(&g, SG_V1, 1, 16);
	sg_run(&g, 5 * MS);
	assert_true(trace.q.bounds(trace.q.bounds_arg, g.mem + 12345, &first, &last));
	assert_int_equal(first, (uintptr_t)g.mem);
	assert_int_equal(last, (uintptr_t)g.mem + SG_BYTES - 1);
	assert_false(trace.q.bounds(trace.q.bounds_arg, &wait, &first, &last));
	bg_header(&g, BG_HDR, VIRTIO_BLK_T_IN, 0);
	sg_send(&g, 0,
		(struct virtqueue_sg[]){sg_at(BG_HDR, 16), sg_at(BG_BUF, 512), sg_at(BG_STATUS, 1)},
		1, 2, &g);
	sg_kick(&g, 0);
	sg_run(&g, 5 * MS);
	assert_int_equal(trace.nheld, 1);
	assert_int_equal(trace.gone, 0);
	assert_int_equal(vdpa_dma_unmap(g.dev, 0, SG_IOVA, SG_BYTES, &done), 0);
	sg_run(&g, 20 * MS);
	assert_true(trace.gone >= 1);
	assert_int_equal(trace.gone_first, (uintptr_t)g.mem);
	assert_int_equal(trace.gone_last, (uintptr_t)g.mem + SG_BYTES - 1);
	assert_false(wait.done);
	answer(0);
	assert_int_equal(sg_wait(&g, &wait), 0);
	g.mapped = false;
	sg_close(&g);
}

static void closed_by_now(void *arg, int result)
{
	struct sg_wait *wait = arg;

	assert_int_equal(result, 0);
	assert_int_equal(trace.ends, 1);
	wait->done = true;
}

/* Who is told that a disk is gone may use its image at once. */
static void test_gone_is_gone(void **state)
{
	for (unsigned workers = 0; workers < 3; workers++) {
		for (int running = 0; running < 2; running++) {
			struct sg_wait wait = {0};
			struct vdpa_done done = {closed_by_now, &wait};
			struct soft_guest g;

			open_trace_on(&g, workers, NULL);
			if (running)
				sg_start(&g, SG_V1, 1, 16);
			else /* a message that is on its way to the queue */
				vdpa_kick_vq(g.dev, 0);
			vdpa_put_device(g.dev);
			assert_int_equal(vdpa_dev_del(g.dev, &done, NULL), 0);
			g.dev = NULL;
			sg_wait(&g, &wait);
			sg_close(&g);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_order), cmocka_unit_test(test_cache_mode),
		cmocka_unit_test(test_results),	    cmocka_unit_test(test_reset_cancels),
		cmocka_unit_test(test_drain_waits), cmocka_unit_test(test_late),
		cmocka_unit_test(test_batch),	    cmocka_unit_test(test_turn_of_bytes),
		cmocka_unit_test(test_offers),	    cmocka_unit_test(test_queue_open_fails),
		cmocka_unit_test(test_memory),	    cmocka_unit_test(test_gone_is_gone),
	};

	return cmocka_run_group_tests_name("blk backend", tests, NULL, NULL);
}
