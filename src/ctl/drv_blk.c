// SPDX-License-Identifier: BSD-3-Clause
/*
 * Disk operations. One engine cuts a range into pieces and keeps several of them out: each slot has
 * a buffer in memory that the device reaches. A job lives until its last request has come back,
 * which it does also when the device is reset or goes away.
 */
#include <errno.h>
#include <endian.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "ctl/drv_impl.h"
#include "ctl/json.h"

#define SLOTS 8
#define PIECE_BYTES (128u << 10)
#define DATA_BYTES_MAX (512u << 10)

enum blk_job_kind { JOB_READ, JOB_WRITE, JOB_FILL, JOB_VERIFY, JOB_OTHER };

struct blk_job;

struct blk_slot {
	struct virtio_blk_request req;
	struct virtqueue_sg sg;
	struct blk_job *job;
	uint8_t *buf;
	iova_t iova;
	uint64_t offset;
	size_t len;
};

struct blk_job {
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
	struct virtio_blk *blk;
	char name[32];
	enum blk_job_kind kind;
	uint64_t first, next, end; /* bytes */
	uint64_t seed, mismatch, started_ns;
	uint8_t *data; /* READ, WRITE */
	size_t piece;
	unsigned out; /* requests that are with the device */
	bool starting;
	int ret;
	struct vdpa_loop_timer timer;
	struct drv_poll poll;
	struct blk_slot slot[SLOTS];
	drv_done_fn done;
	void *arg;
};

/* ---- the pattern: every eight bytes follow from the seed and their place ---- */

static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t v = (index + 1) * 0x9e3779b97f4a7c15ull ^ seed * 0xd1342543de82ef95ull;

	v ^= v >> 29;
	v *= 0xbf58476d1ce4e5b9ull;
	return v ^ v >> 32;
}

static void pattern_fill(uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = htole64(pattern_word(seed, (offset + i) / 8));

		memcpy(buf + i, &word, 8);
	}
}

/* Offset in @buf of the first word that differs, or @len. */
static size_t pattern_differs(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
	size_t i;

	for (i = 0; i < len; i += 8) {
		uint64_t word = htole64(pattern_word(seed, (offset + i) / 8));

		if (memcmp(buf + i, &word, 8))
			break;
	}
	return i;
}

/* ---- the engine ---- */

static json_t *job_result(struct blk_job *job)
{
	uint64_t ns = vdpa_clock_ns() - job->started_ns, bytes = job->end - job->first;
	json_t *obj = json_pack(
		"{s:o, s:o, s:o}", "bytes", ctl_json_u64(bytes), "time_ns", ctl_json_u64(ns),
		"bytes_per_s", ctl_json_u64(ns ? (uint64_t)((double)bytes * 1e9 / (double)ns) : 0));

	if (obj && job->kind == JOB_READ) {
		char *text = drv_base64(job->data, (size_t)bytes);

		json_object_set_new(obj, "data", text ? json_string(text) : json_null());
		free(text);
	}
	return obj;
}

static void job_error(const struct blk_job *job, struct vdpa_error *err)
{
	if (job->ret == -EILSEQ)
		vdpa_error_set(err, EILSEQ, job->name,
			       "the data differ from the pattern at byte %llu",
			       (unsigned long long)job->mismatch);
	else
		vdpa_error_set(err, -job->ret, job->name, "the request failed: %s",
			       strerror(-job->ret));
}

static void job_end(struct blk_job *job)
{
	struct vdpa_error err = {0};

	vdpa_loop_timer_cancel(&job->timer);
	drv_poll_stop(&job->poll);
	for (unsigned i = 0; i < SLOTS; i++)
		virtio_mem_free(job->dev, job->slot[i].buf);
	if (job->ret) {
		job_error(job, &err);
		job->done(job->arg, job->ret, NULL, &err);
	} else {
		job->done(job->arg, 0, job_result(job), NULL);
	}
	free(job->data);
	free(job);
}

static void job_timeout(struct vdpa_loop_timer *timer)
{
	struct blk_job *job = vdpa_container_of(timer, struct blk_job, timer);

	job->ret = -ETIMEDOUT;
	/* The reset brings the requests back. Where it is refused, one is under way and does that.
	 */
	if (drv_alive(job->ctx, job->name, job->dev) && virtio_reset(job->dev, NULL))
		vdpa_loop_timer_set(vdpa_ctx_control(job->ctx), timer,
				    vdpa_clock_ns() + DRV_TIMEOUT_NS, job_timeout);
}

static void job_watch(struct blk_job *job)
{
	vdpa_loop_timer_set(vdpa_ctx_control(job->ctx), &job->timer,
			    vdpa_clock_ns() + DRV_TIMEOUT_NS, job_timeout);
}

static bool slot_fill(struct blk_slot *slot)
{
	struct blk_job *job = slot->job;
	uint64_t left = job->end - job->next;

	if (job->ret || !left)
		return false;
	slot->offset = job->next;
	slot->len = left < job->piece ? (size_t)left : job->piece;
	if (job->kind == JOB_FILL)
		pattern_fill(slot->buf, slot->len, job->seed, slot->offset);
	else if (job->kind == JOB_WRITE)
		memcpy(slot->buf, job->data + (slot->offset - job->first), slot->len);
	return true;
}

static void slot_done(struct virtio_blk_request *req, int result);

static bool slot_start(struct blk_slot *slot)
{
	struct blk_job *job = slot->job;
	bool write = job->kind == JOB_WRITE || job->kind == JOB_FILL;
	int ret;

	if (!slot_fill(slot))
		return false;
	slot->sg = (struct virtqueue_sg){.addr = slot->iova, .len = (uint32_t)slot->len};
	slot->req = (struct virtio_blk_request){
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = slot->offset / VIRTIO_BLK_SECTOR_BYTES,
		.sg = &slot->sg,
		.nsg = 1,
		.done = slot_done,
		.user = slot,
	};
	ret = virtio_blk_submit(job->blk, 0, &slot->req);
	if (ret == -ENOSPC && job->out)
		return false; /* somebody else's requests fill the queue: go on with fewer */
	if (ret) {
		job->ret = ret;
		return false;
	}
	job->next += slot->len;
	job->out++;
	virtio_blk_kick(job->blk, 0);
	return true;
}

static void slot_check(struct blk_slot *slot)
{
	struct blk_job *job = slot->job;
	size_t same;

	if (job->kind == JOB_READ)
		memcpy(job->data + (slot->offset - job->first), slot->buf, slot->len);
	if (job->kind != JOB_VERIFY)
		return;
	same = pattern_differs(slot->buf, slot->len, job->seed, slot->offset);
	if (same < slot->len && (!job->ret || slot->offset + same < job->mismatch)) {
		job->ret = -EILSEQ;
		job->mismatch = slot->offset + same;
	}
}

static void slot_done(struct virtio_blk_request *req, int result)
{
	struct blk_slot *slot = req->user;
	struct blk_job *job = slot->job;

	job->out--;
	if (result && !job->ret)
		job->ret = result;
	else if (!result)
		slot_check(slot);
	if (slot_start(slot) && !job->starting)
		job_watch(job);
	if (!job->out && !job->starting)
		job_end(job);
}

static void job_start(struct blk_job *job)
{
	job->starting = true;
	job->started_ns = vdpa_clock_ns();
	job_watch(job);
	drv_poll_start(&job->poll, job->dev);
	for (unsigned i = 0; i < SLOTS && job->slot[i].buf; i++)
		slot_start(&job->slot[i]);
	job->starting = false;
	if (!job->out)
		job_end(job);
}

static struct blk_job *job_new(struct virtio_device *dev, enum blk_job_kind kind, drv_done_fn done,
			       void *arg)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	struct blk_job *job;

	if (!blk) {
		drv_fail(dev, done, arg, -ENODEV, "is not a disk, or its driver is not attached");
		return NULL;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		drv_fail(dev, done, arg, -ENOMEM, "out of memory");
		return NULL;
	}
	job->ctx = virtio_get_ctx(dev);
	job->dev = dev;
	job->blk = blk;
	job->kind = kind;
	job->done = done;
	job->arg = arg;
	snprintf(job->name, sizeof(job->name), "%s", virtio_name(dev));
	return job;
}

static void job_drop(struct blk_job *job, int ret, const char *why)
{
	struct virtio_device *dev = job->dev;
	drv_done_fn done = job->done;
	void *arg = job->arg;

	for (unsigned i = 0; i < SLOTS; i++)
		virtio_mem_free(dev, job->slot[i].buf);
	free(job->data);
	free(job);
	drv_fail(dev, done, arg, ret, why);
}

static bool job_buffers(struct blk_job *job)
{
	struct virtio_blk_info info;

	virtio_blk_get_info(job->blk, &info);
	job->piece = PIECE_BYTES;
	if (info.size_max && info.size_max < job->piece)
		job->piece = info.size_max / VIRTIO_BLK_SECTOR_BYTES * VIRTIO_BLK_SECTOR_BYTES;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct blk_slot *slot = &job->slot[i];

		slot->job = job;
		slot->buf = job->piece ? virtio_mem_alloc(job->dev, job->piece, &slot->iova) : NULL;
		if (!slot->buf)
			return i != 0;
	}
	return true;
}

/* Check the range, get buffers, go. */
static void job_run(struct blk_job *job, json_int_t offset, json_int_t len)
{
	struct virtio_blk_info info;
	uint64_t capacity;

	virtio_blk_get_info(job->blk, &info);
	capacity =
		info.capacity_sectors > UINT64_MAX / 512 ? UINT64_MAX : info.capacity_sectors * 512;
	if (offset % VIRTIO_BLK_SECTOR_BYTES || len % VIRTIO_BLK_SECTOR_BYTES || !len) {
		job_drop(job, -EINVAL,
			 "offset and length must be whole sectors of 512 bytes, and "
			 "the length not 0");
		return;
	}
	if ((uint64_t)offset > capacity || (uint64_t)len > capacity - (uint64_t)offset) {
		job_drop(job, -EINVAL, "the range lies beyond the end of the disk");
		return;
	}
	job->first = job->next = (uint64_t)offset;
	job->end = job->first + (uint64_t)len;
	if (!job_buffers(job))
		job_drop(job, -ENOMEM, "no memory that the device can reach");
	else
		job_start(job);
}

void drv_blk_read(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	json_int_t len = ctl_get_int(params, "len", 0);
	struct blk_job *job = job_new(dev, JOB_READ, done, arg);

	if (!job)
		return;
	job->data = malloc((size_t)len + 1);
	if (job->data)
		job_run(job, ctl_get_int(params, "offset", 0), len);
	else
		job_drop(job, -ENOMEM, "out of memory");
}

void drv_blk_write(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	struct blk_job *job = job_new(dev, JOB_WRITE, done, arg);
	size_t len = 0;
	int ret;

	if (!job)
		return;
	ret = drv_unbase64(ctl_get_str(params, "data", ""), &job->data, &len);
	if (ret)
		job_drop(job, ret, ret == -EINVAL ? "\"data\" is not base64" : "out of memory");
	else
		job_run(job, ctl_get_int(params, "offset", 0), (json_int_t)len);
}

static void pattern_job(struct virtio_device *dev, enum blk_job_kind kind, const json_t *params,
			drv_done_fn done, void *arg)
{
	struct blk_job *job = job_new(dev, kind, done, arg);

	if (!job)
		return;
	job->seed = (uint64_t)ctl_get_int(params, "seed", 0);
	job_run(job, ctl_get_int(params, "offset", 0), ctl_get_int(params, "len", 0));
}

void drv_blk_fill(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	pattern_job(dev, JOB_FILL, params, done, arg);
}

void drv_blk_verify(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	pattern_job(dev, JOB_VERIFY, params, done, arg);
}

#define OFFSET                                                                                     \
	{                                                                                          \
		.name = "offset", .type = CTL_INT, .required = true, .min = 0, .max = INT64_MAX,   \
		.help = "bytes, whole sectors"                                                     \
	}
#define LENGTH(most)                                                                               \
	{                                                                                          \
		.name = "len", .type = CTL_INT, .required = true, .min = 0, .max = (most),         \
		.help = "bytes, whole sectors"                                                     \
	}

const struct ctl_param drv_read_params[] = {OFFSET, LENGTH(DATA_BYTES_MAX), {.name = NULL}};
const struct ctl_param drv_range_params[] = {OFFSET, LENGTH(INT64_MAX), {.name = NULL}};
const struct ctl_param drv_write_params[] = {
	OFFSET,
	{.name = "data", .type = CTL_STRING, .required = true, .help = "base64"},
	{.name = NULL},
};
const struct ctl_param drv_fill_params[] = {
	OFFSET,
	LENGTH(INT64_MAX),
	{.name = "seed", .type = CTL_INT, .min = 0, .max = INT64_MAX, .help = "of the pattern, 0"},
	{.name = NULL},
};
