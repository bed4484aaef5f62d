// SPDX-License-Identifier: BSD-3-Clause
#include "blk_backend.h"
#include "patience.h"

static void on_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	struct disk *d = arg;

	if (getenv("SG_LOG"))
		fprintf(stderr, "<%d> %s: %s\n", level, object, msg);
	d->log_lines++;
}

int disk_try_open(struct disk *d, const char *backend, const struct vdpa_attr *attrs,
		  struct vdpa_error *err)
{
	struct vdpa_log log = {on_log, d, VDPA_LOG_INFO};
	struct backend_open_params params = {
		.size = sizeof(params),
		.log = &log,
		.name = "d0",
		.attrs = attrs,
	};

	return blk_backend_open(backend, &params, &d->be, err);
}

static struct vdpa_log disk_log;

void disk_open(struct disk *d, const char *backend, const struct vdpa_attr *attrs)
{
	struct vdpa_error err = {.msg = ""};
	struct backend_open_params params = {
		.size = sizeof(params),
		.log = &disk_log,
		.name = "d0",
		.attrs = attrs,
	};
	int r;

	memset(d, 0, sizeof(*d));
	disk_log = (struct vdpa_log){on_log, d, VDPA_LOG_INFO};
	assert_int_equal(vdpa_loop_group_new(0, &d->loops), 0);
	d->loop = vdpa_loop_group_control(d->loops);
	r = blk_backend_open(backend, &params, &d->be, &err);
	if (r)
		fail_msg("%s: %d %s", backend, r, err.msg);
	d->be->ops->get_info(d->be, &d->info);
	assert_int_equal(d->be->ops->queue_open(d->be, d->loop, 64, &d->q), 0);
}

void disk_close(struct disk *d)
{
	d->be->ops->queue_close(d->q);
	d->be->ops->close(d->be);
	vdpa_loop_group_free(d->loops);
}

static void done(struct blk_request *req, int result)
{
	struct disk_io *io = (struct disk_io *)req;

	assert_false(io->done);
	io->done = true;
	io->result = result;
}

void disk_prep(struct disk_io *io, enum blk_op op, uint64_t offset, void *buf, uint64_t len)
{
	memset(io, 0, sizeof(*io));
	io->one = (struct iovec){buf, len};
	io->req.op = op;
	io->req.offset_bytes = offset;
	io->req.len_bytes = len;
	io->req.iov = &io->one;
	io->req.niov = 1;
	io->req.done = done;
}

void disk_submit(struct disk *d, struct disk_io *io)
{
	struct blk_request *req = &io->req;

	d->be->ops->submit(d->q, &req, 1);
}

int disk_wait(struct disk *d, struct disk_io *io)
{
	uint64_t end = vdpa_clock_ns() + PATIENCE_NS;

	while (!io->done) {
		vdpa_loop_run_once(d->loop, 100000000);
		if (vdpa_clock_ns() > end)
			fail_msg("a request was never completed");
	}
	return io->result;
}

int disk_do(struct disk *d, enum blk_op op, uint64_t offset, void *buf, uint64_t len)
{
	struct disk_io io;

	disk_prep(&io, op, offset, buf, len);
	disk_submit(d, &io);
	return disk_wait(d, &io);
}

int disk_do_flags(struct disk *d, enum blk_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	struct disk_io io;

	disk_prep(&io, op, offset, NULL, len);
	io.req.flags = flags;
	disk_submit(d, &io);
	return disk_wait(d, &io);
}

int disk_do_iov(struct disk *d, enum blk_op op, uint64_t offset, const struct iovec *iov,
		unsigned n)
{
	struct disk_io io;
	uint64_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	disk_prep(&io, op, offset, NULL, len);
	io.req.iov = iov;
	io.req.niov = n;
	disk_submit(d, &io);
	return disk_wait(d, &io);
}

int disk_file(const char *dir, uint64_t bytes, char **path)
{
	int fd;

	assert_true(asprintf(path, "%s/uvdpa-disk-XXXXXX", dir) > 0);
	fd = mkstemp(*path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

void disk_pattern(void *buf, size_t len, unsigned seed)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 37 + i * 13 + (i >> 9));
}

bool disk_is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}
