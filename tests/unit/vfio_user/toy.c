// SPDX-License-Identifier: BSD-3-Clause
#include "toy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../open_fds.h"

struct toy toy;
uint64_t toy_dma_budget_ns;

#define TIMEOUT_NS 5000000000ull

unsigned toy_open_fds(void)
{
	return open_fds();
}

int toy_memfd(size_t size, void **mem)
{
	int fd = memfd_create("toy", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	*mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(*mem != MAP_FAILED);
	return fd;
}

void toy_until(_Atomic unsigned *counter, unsigned value)
{
	for (unsigned i = 0; i < 60000 && atomic_load(counter) != value; i++)
		usleep(1000);
	assert_int_equal(atomic_load(counter), value);
}

/* ---- the device ---- */

static void answered_late(struct vdpa_loop_msg *msg)
{
	struct toy *toy = (struct toy *)(void *)((char *)msg - offsetof(struct toy, msg));

	vdpa_done_call(&toy->done, toy->result);
}

static int answer(struct toy *toy, const struct vdpa_done *done, int result)
{
	if (!toy->lazy) {
		vdpa_done_call(done, result);
		return 0;
	}
	toy->done = *done;
	toy->result = result;
	vdpa_loop_post(vdpa_loop_group_worker(toy->group, 0), &toy->msg, answered_late);
	return 0;
}

static void toy_connected(void *arg)
{
	atomic_fetch_add(&((struct toy *)arg)->connected, 1);
}

static void toy_gone(void *arg, const struct vdpa_done *done)
{
	struct toy *toy = arg;

	atomic_fetch_add(&toy->gone, 1);
	answer(toy, done, 0);
}

static int toy_dma_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	struct toy *toy = arg;
	int r;

	if (toy->refuse)
		return -EIO;
	r = vdpa_as_map(toy->as, dma->iova, dma->size, vdpa_region_addr(dma->region, 0), dma->perm,
			dma->region);
	if (!r)
		atomic_fetch_add(&toy->maps, 1);
	return r ? r : answer(toy, done, 0);
}

static int toy_dma_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	struct toy *toy = arg;

	atomic_fetch_sub(&toy->maps, 1);
	return vdpa_as_unmap(toy->as, iova, iova + size - 1, done);
}

static int toy_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		    const struct vdpa_done *done)
{
	struct toy *toy = arg;

	if (toy->refuse)
		return -EIO;
	memset(buf, (int)region, len);
	if (region == 0)
		memcpy(buf, toy->regs + off, len);
	return answer(toy, done, 0);
}

static int copy(struct toy *toy, struct vdpa_view *view)
{
	uint8_t *buf = malloc(toy->len);
	int r;

	vdpa_view_refresh(view);
	r = vdpa_view_read(view, toy->from, buf, toy->len);
	if (!r)
		r = vdpa_view_write(view, toy->to, buf, toy->len);
	free(buf);
	return r;
}

static void copy_there(struct vdpa_loop_msg *msg)
{
	struct toy *toy = (struct toy *)(void *)((char *)msg - offsetof(struct toy, msg));

	vdpa_done_call(&toy->done, copy(toy, toy->worker_view));
}

static int toy_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
		     const struct vdpa_done *done)
{
	struct toy *toy = arg;
	uint32_t n;

	if (toy->refuse)
		return -EIO;
	if (region)
		return answer(toy, done, 0);
	memcpy(toy->regs + off, buf, len);
	if (off == TOY_COUNT && len == 4) {
		memcpy(&n, buf, 4);
		atomic_fetch_add(&toy->count, n);
	}
	if ((off != TOY_COPY_HERE && off != TOY_COPY_THERE) || len != 24)
		return answer(toy, done, 0);
	memcpy(&toy->from, toy->regs + off, 8);
	memcpy(&toy->to, toy->regs + off + 8, 8);
	memcpy(&toy->len, toy->regs + off + 16, 8);
	if (off == TOY_COPY_HERE)
		return answer(toy, done, copy(toy, toy->view));
	toy->done = *done;
	vdpa_loop_post(vdpa_loop_group_worker(toy->group, 0), &toy->msg, copy_there);
	return 0;
}

static unsigned toy_ioeventfds(void *arg, unsigned region, struct vfio_user_ioeventfd *out,
			       unsigned max)
{
	struct toy *toy = arg;

	if (region)
		return 0;
	for (unsigned i = 0; i < 3 && i < max; i++)
		out[i] = (struct vfio_user_ioeventfd){.offset = 4ull * i,
						      .size = 4,
						      .fd = toy->doorbell,
						      .match = i == 2,
						      .datamatch = i};
	return 3;
}

static void toy_irqs_changed(void *arg, unsigned index, unsigned start, unsigned count)
{
	atomic_fetch_add(&((struct toy *)arg)->irq_changes, 1);
}

static void toy_irq_mask(void *arg, unsigned index, unsigned sub, bool mask)
{
	atomic_fetch_add(&((struct toy *)arg)->masked, mask ? 1 : -1);
}

static int toy_reset(void *arg, const struct vdpa_done *done)
{
	struct toy *toy = arg;

	atomic_fetch_add(&toy->resets, 1);
	memset(toy->regs, 0, sizeof(toy->regs));
	return answer(toy, done, 0);
}

static int toy_arc(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		   const struct vdpa_done *done)
{
	struct toy *toy = arg;

	if (toy->refuse)
		return -EIO;
	atomic_fetch_add(&toy->arcs, 1);
	toy->state_at = 0;
	return answer(toy, done, 0);
}

static ssize_t toy_mig_read(void *arg, void *buf, size_t len)
{
	struct toy *toy = arg;

	if (len > sizeof(toy->state) - toy->state_at)
		len = sizeof(toy->state) - toy->state_at;
	memcpy(buf, toy->state + toy->state_at, len);
	toy->state_at += len;
	return (ssize_t)len;
}

static int toy_mig_write(void *arg, const void *buf, size_t len)
{
	struct toy *toy = arg;

	if (len > sizeof(toy->state) - toy->state_at)
		return -EINVAL;
	memcpy(toy->state + toy->state_at, buf, len);
	toy->state_at += len;
	return 0;
}

static int toy_dirty_log(void *arg, struct vdpa_dirty_log *log, const struct vdpa_done *done)
{
	return vdpa_as_set_dirty_log(((struct toy *)arg)->as, log, done);
}

const struct vfio_user_ops toy_ops = {
	.size = sizeof(toy_ops),
	.connected = toy_connected,
	.gone = toy_gone,
	.dma_map = toy_dma_map,
	.dma_unmap = toy_dma_unmap,
	.region_read = toy_read,
	.region_write = toy_write,
	.region_ioeventfds = toy_ioeventfds,
	.irqs_changed = toy_irqs_changed,
	.irq_mask = toy_irq_mask,
	.reset = toy_reset,
	.mig_arc = toy_arc,
	.mig_read = toy_mig_read,
	.mig_write = toy_mig_write,
	.precopy = true,
	.dirty_log = toy_dirty_log,
};

/* ---- life ---- */

static void *run(void *arg)
{
	vdpa_loop_run(arg);
	return NULL;
}

static void logged(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	if (strstr(msg, "too slow"))
		((struct toy *)arg)->said_slow = true;
}

/* Before the loop's thread runs: the control thread is still this one. */
static void device_up(struct toy *toy)
{
	void *mem;

	assert_int_equal(vdpa_loop_group_new(1, &toy->group), 0);
	toy->loop = vdpa_loop_group_control(toy->group);
	toy->memfd = toy_memfd(0x4000, &mem);
	munmap(mem, 0x4000);
	toy->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(vdpa_as_new(toy->group, 0, &toy->as), 0);
	assert_int_equal(vdpa_view_attach(toy->as, toy->loop, NULL, NULL, &toy->view), 0);
	assert_int_equal(vdpa_view_attach(toy->as, vdpa_loop_group_worker(toy->group, 0), NULL,
					  NULL, &toy->worker_view),
			 0);
}

void toy_up(struct toy *toy)
{
	static const struct vfio_user_area areas[] = {{0x1000, 0x1000}, {0x3000, 0x1000}};
	static const struct vfio_user_irqs irqs[] = {
		{1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED},
		{0, 0},
		{16, VFIO_IRQ_INFO_EVENTFD},
	};
	struct vfio_user_region regions[4] = {
		{.size = TOY_REGS,
		 .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
		 .fd = -1},
		{.size = 0x4000,
		 .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			  VFIO_REGION_INFO_FLAG_MMAP,
		 .areas = areas,
		 .nareas = 2},
		{.size = 0x20, .flags = VFIO_REGION_INFO_FLAG_READ, .fd = -1},
		{.size = 0, .fd = -1},
	};
	struct vfio_user_config config = {
		.size = sizeof(config),
		.path = toy->path,
		.name = "toy",
		.flags = VFIO_DEVICE_FLAGS_PCI,
		.regions = regions,
		.nregions = 4,
		.irqs = irqs,
		.nirqs = 3,
		.dma_timeout_ns = toy_dma_budget_ns ? 60000000000ull : TIMEOUT_NS,
		.dma_budget_ns = toy_dma_budget_ns,
		.log = &toy->log,
		.ops = &toy_ops,
		.arg = toy,
	};
	struct vdpa_error err = {.msg = ""};

	memset(toy, 0, sizeof(*toy));
	toy->log = (struct vdpa_log){.fn = logged, .arg = toy, .level = VDPA_LOG_WARN};
	snprintf(toy->path, sizeof(toy->path), "/tmp/uvdpa-toy-%d.sock", getpid());
	device_up(toy);
	regions[1].fd = toy->memfd;
	assert_int_equal(vfio_user_server_new(toy->loop, &config, &toy->srv, &err), 0);
	assert_int_equal(pthread_create(&toy->thread, NULL, run, toy->loop), 0);
}

void toy_connect(struct toy *toy)
{
	struct vdpa_error err = {.msg = ""};

	assert_int_equal(vfio_user_client_new(toy->path, 60000000000ull, &toy->client, &err), 0);
}

static void passed(struct vdpa_loop_sync *sync)
{
	vdpa_loop_stop(vdpa_loop_group_control(sync->group));
}

static void freed(void *arg, int result)
{
	struct toy *toy = arg;

	vdpa_view_detach(toy->view);
	vdpa_view_detach(toy->worker_view);
	vdpa_as_free(toy->as);
	vdpa_loop_group_sync(toy->group, &toy->sync, passed);
}

static void begin_end(struct vdpa_loop_msg *msg)
{
	struct toy *toy = (struct toy *)(void *)((char *)msg - offsetof(struct toy, end));

	vfio_user_server_free(toy->srv, &(struct vdpa_done){freed, toy});
}

void toy_down(struct toy *toy)
{
	vfio_user_client_free(toy->client);
	vdpa_loop_post(toy->loop, &toy->end, begin_end);
	assert_int_equal(pthread_join(toy->thread, NULL), 0);
	assert_int_equal(toy->maps, 0);
	vdpa_loop_group_free(toy->group);
	close(toy->memfd);
	close(toy->doorbell);
	assert_int_equal(access(toy->path, F_OK), -1);
}

int toy_setup(void **state)
{
	toy_up(&toy);
	toy.lazy = *state;
	toy_connect(&toy);
	return 0;
}

int toy_teardown(void **state)
{
	toy_down(&toy);
	return 0;
}
