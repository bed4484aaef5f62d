// SPDX-License-Identifier: BSD-3-Clause
/*
 * A driver of work queues in a plugin of the daemon: it copies buffers through a queue as soon as
 * that is enabled, compares them, and says so in the log. The daemon starts it for
 *
 *	uvdpa dsa config dsa0/wq0.0 type kernel driver_name copycheck name test ...
 *	uvdpa dsa enable dsa0/wq0.0
 */
#include <errno.h>
#include <linux/idxd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/dsa_wq.h>
#include <uvdpa/plugin.h>

#define COPIES 64u
#define BYTES 4096u

struct buffers {
	struct dsa_completion_record record __attribute__((aligned(32)));
	unsigned char from[BYTES], to[BYTES];
};

/* A queue that is ours. All is the control thread's, but the number of copies under way. */
struct check {
	struct dsa_wq *wq;
	struct dsa_wq_client *client;
	struct vdpa_loop_msg over;
	_Atomic unsigned under_way;
	unsigned submitted;
	bool gone, done; /* the queue is to be disabled; nothing more is submitted */
	struct buffers *buffers;
};

static void closed(void *arg, int result)
{
	struct check *check = arg;

	free(check->buffers);
	free(check);
}

static void close_queue(struct check *check)
{
	const struct vdpa_done done = {closed, check};

	dsa_wq_close(check->client, &done);
}

/* When the last one has ended: on the control thread again. */
static void over(struct vdpa_loop_msg *msg)
{
	struct check *check = (struct check *)(void *)((char *)msg - offsetof(struct check, over));
	unsigned failures = 0;

	check->done = true;
	for (unsigned i = 0; i < check->submitted; i++) {
		const struct buffers *b = &check->buffers[i];

		failures += b->record.status != DSA_COMP_SUCCESS || memcmp(b->from, b->to, BYTES);
	}
	vdpa_log(vdpa_ctx_log(dsa_wq_ctx(check->wq)), VDPA_LOG_INFO, dsa_wq_path(check->wq),
		 "copycheck: %u copies, %u failures", check->submitted, failures);
	if (check->gone)
		close_queue(check);
}

static void one_less(struct check *check)
{
	if (atomic_fetch_sub(&check->under_way, 1) == 1)
		vdpa_loop_post(vdpa_ctx_control(dsa_wq_ctx(check->wq)), &check->over, over);
}

/* On an engine's thread. */
static void completed(void *arg, void *cookie, uint8_t status)
{
	one_less(arg);
}

static void gone(void *arg)
{
	struct check *check = arg;

	check->gone = true;
	if (check->done)
		close_queue(check);
}

static void submit(struct check *check)
{
	for (unsigned i = 0; i < COPIES; i++) {
		struct buffers *b = &check->buffers[i];
		const struct dsa_hw_desc desc = {.opcode = DSA_OPCODE_MEMMOVE,
						 .flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
						 .completion_addr = (uintptr_t)&b->record,
						 .src_addr = (uintptr_t)b->from,
						 .dst_addr = (uintptr_t)b->to,
						 .xfer_size = BYTES};

		memset(b->from, (int)i + 1, BYTES);
		atomic_fetch_add(&check->under_way, 1);
		/* A queue may be smaller than what we have: so many will do. */
		if (dsa_wq_submit(check->client, &desc, NULL)) {
			atomic_fetch_sub(&check->under_way, 1);
			break;
		}
		check->submitted++;
	}
}

static int probe(struct dsa_wq *wq, struct vdpa_error *err)
{
	struct check *check = calloc(1, sizeof(*check));
	const struct dsa_wq_params params = {
		.size = sizeof(params), .completed = completed, .gone = gone, .arg = check};
	int r = -ENOMEM;

	if (check)
		check->buffers = aligned_alloc(64, COPIES * sizeof(*check->buffers));
	if (check && check->buffers) {
		memset(check->buffers, 0, COPIES * sizeof(*check->buffers));
		check->wq = wq;
		r = dsa_wq_open(wq, &params, &check->client, err);
	}
	if (r) {
		if (check)
			closed(check, 0);
		return r;
	}
	/* One more, so that it is not over before all are submitted. */
	atomic_init(&check->under_way, 1);
	submit(check);
	one_less(check);
	return 0;
}

static const struct dsa_wq_driver driver = {.size = sizeof(driver),
					    .name = "copycheck",
					    .help = "copies buffers, and compares them",
					    .probe = probe};

static int init(struct vdpa_ctx *ctx, struct vdpa_error *err)
{
	return dsa_wq_register_driver(ctx, &driver, err);
}

static const char *const aliases[] = {"dsa_driver:copycheck", NULL};

UVDPA_PLUGIN(.name = "copycheck", .aliases = aliases, .init = init);
