/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host with software DSAs, whose control loop a thread runs, and guests: clients of vfio-user,
 * each with memory, on the test's own thread. What is for the control thread is handed over to it.
 */
#ifndef TESTS_DSA_DEV_HOST_H
#define TESTS_DSA_DEV_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/idxd.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <uvdpa/mdev_class.h>
#include <uvdpa/vfio_user.h>

#include "base/fd.h"
#include "dsa_dev/dev.h"
#include "dsa_dev/vdev.h"

#define TIMEOUT_NS 60000000000ull
#define GUEST_BYTES 0x100000u
#define GUEST_IOVA 0x40000000ull

/* ---- the host ---- */

struct host {
	struct vdpa_ctx *ctx;
	pthread_t thread;
	char folder[64];
	struct vdpa_loop_msg msg;
	int (*fn)(void *arg);
	void *arg;
	int result;
	_Atomic bool ran, over;
};

static struct host host;

static inline void host_until(_Atomic bool *flag)
{
	for (unsigned i = 0; i < 120000 && !atomic_load(flag); i++)
		usleep(500);
	assert_true(atomic_load(flag));
}

static void host_run_one(struct vdpa_loop_msg *msg)
{
	host.result = host.fn(host.arg);
	atomic_store(&host.ran, true);
}

/* On the control thread; what it returns. */
static inline int host_call(int (*fn)(void *arg), void *arg)
{
	host.fn = fn;
	host.arg = arg;
	atomic_store(&host.ran, false);
	vdpa_loop_post(vdpa_ctx_control(host.ctx), &host.msg, host_run_one);
	host_until(&host.ran);
	return host.result;
}

static void *host_thread(void *arg)
{
	while (!atomic_load(&host.over))
		vdpa_loop_run_once(vdpa_ctx_control(host.ctx), 20000000);
	return NULL;
}

static _Atomic bool host_done_flag;
static int host_done_result;

static void host_done_fn(void *arg, int result)
{
	host_done_result = result;
	atomic_store(&host_done_flag, true);
}

static const struct vdpa_done host_done = {host_done_fn, NULL};

static inline void host_start(unsigned workers)
{
	struct vdpa_ctx_config config = {.size = sizeof(config), .workers = workers};

	strcpy(host.folder, "/tmp/uvdpa-dsa-XXXXXX");
	assert_non_null(mkdtemp(host.folder));
	assert_int_equal(vdpa_ctx_new(&config, &host.ctx), 0);
	assert_int_equal(mdev_register_classes(host.ctx), 0);
	assert_int_equal(mdev_vfio_set_folder(host.ctx, host.folder), 0);
	atomic_store(&host.over, false);
	pthread_create(&host.thread, NULL, host_thread, NULL);
}

static int host_shutdown_mdevs(void *arg)
{
	return mdev_shutdown(host.ctx, &host_done);
}

static int host_shutdown_dsas(void *arg)
{
	dsa_shutdown(host.ctx, &host_done);
	return 0;
}

static inline void host_end(void)
{
	atomic_store(&host_done_flag, false);
	assert_int_equal(host_call(host_shutdown_mdevs, NULL), 0);
	host_until(&host_done_flag);
	atomic_store(&host_done_flag, false);
	host_call(host_shutdown_dsas, NULL);
	host_until(&host_done_flag);
	atomic_store(&host.over, true);
	pthread_join(host.thread, NULL);
	/* What is under way for address spaces comes to its end here. */
	for (int i = 0; i < 100; i++)
		vdpa_loop_run_once(vdpa_ctx_control(host.ctx), 0);
	assert_int_equal(vdpa_ctx_free(host.ctx), 0);
	assert_int_equal(rmdir(host.folder), 0);
}

struct host_words {
	const char *path;
	struct vdpa_attr attrs[12];
	struct vdpa_error err;
};

static int host_do_add(void *arg)
{
	struct host_words *w = arg;

	return dsa_dev_add(host.ctx, w->path, w->attrs, NULL, &w->err);
}

static int host_do_config(void *arg)
{
	struct host_words *w = arg;

	return dsa_config(host.ctx, w->path, w->attrs, &w->err);
}

static int host_do_enable(void *arg)
{
	struct host_words *w = arg;

	return dsa_enable(host.ctx, w->path, &w->err);
}

static int host_do_disable(void *arg)
{
	struct host_words *w = arg;

	return dsa_disable(host.ctx, w->path, &host_done, &w->err);
}

/* KEY, VALUE, ..., NULL */
static inline int host_words(int (*fn)(void *arg), const char *path, ...)
{
	static struct host_words w;
	const char *key;
	unsigned n = 0;
	va_list ap;

	memset(&w, 0, sizeof(w));
	w.path = path;
	va_start(ap, path);
	while ((key = va_arg(ap, const char *))) {
		w.attrs[n].key = key;
		w.attrs[n++].value = va_arg(ap, const char *);
	}
	va_end(ap);
	return host_call(fn, &w);
}

static inline int host_disable(const char *path)
{
	int r;

	atomic_store(&host_done_flag, false);
	r = host_words(host_do_disable, path, NULL);
	if (!r)
		host_until(&host_done_flag);
	return r;
}

/* dsa0 with one group of two engines: wq0.0 and wq0.1 dedicated, wq0.2 shared, 16 entries each. */
static inline void host_dsa_with(const char *ims_slots, const char *ir)
{
	assert_int_equal(host_words(host_do_add, "dsa0", "ims_slots", ims_slots, "ir", ir, NULL),
			 0);
	for (unsigned i = 0; i < 2; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dsa0/engine0.%u", i);
		assert_int_equal(host_words(host_do_config, path, "group_id", "0", NULL), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dsa0/wq0.%u", i);
		assert_int_equal(host_words(host_do_config, path, "group_id", "0", "type", "mdev",
					    "name", "m", "size", "16", "mode",
					    i == 2 ? "shared" : "dedicated", "threshold",
					    i == 2 ? "8" : "0", "block_on_fault", "on", NULL),
				 0);
	}
	assert_int_equal(host_words(host_do_enable, "dsa0", NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dsa0/wq0.%u", i);
		assert_int_equal(host_words(host_do_enable, path, NULL), 0);
	}
}

static inline void host_dsa(const char *ims_slots)
{
	host_dsa_with(ims_slots, "on");
}

/* ---- mediated devices ---- */

struct host_create {
	const char *type, *uuid;
	struct vdpa_attr attrs[2];
	struct vdpa_error err;
	struct mdev_device *mdev;
};

static int host_do_create(void *arg)
{
	struct host_create *c = arg;
	struct mdev_parent *parent = mdev_find_parent(host.ctx, "dsa0");
	const struct mdev_request req = {.parent = parent,
					 .type = mdev_find_type(parent, c->type),
					 .uuid = c->uuid,
					 .attrs = c->attrs};

	return mdev_create(&req, &c->mdev, &c->err);
}

static int host_do_remove(void *arg)
{
	return mdev_remove(arg, &host_done);
}

static inline void host_remove(struct mdev_device *mdev)
{
	atomic_store(&host_done_flag, false);
	assert_int_equal(host_call(host_do_remove, mdev), 0);
	host_until(&host_done_flag);
}

struct host_inject {
	struct mdev_device *mdev;
	const char *what;
	struct vdpa_error err;
};

static int host_do_inject(void *arg)
{
	struct host_inject *i = arg;

	return dsa_mdev_inject(i->mdev, i->what, &i->err);
}

static inline int host_inject(struct mdev_device *mdev, const char *what)
{
	struct host_inject i = {.mdev = mdev, .what = what};

	return host_call(host_do_inject, &i);
}

/* ---- a guest ---- */

struct guest {
	struct mdev_device *mdev;
	struct vfio_user_client *client;
	uint8_t *mem;
	int fd; /* of the memory; -1: it is reached by message */
	int irq[2], err_irq, req_irq;
	uint16_t handle;
};

static inline void guest_create(struct guest *g, const char *type, const char *uuid,
				const char *portals)
{
	struct host_create c = {.type = type, .uuid = uuid, .attrs = {{"portals", portals}}};

	if (!portals)
		c.attrs[0].key = NULL;
	memset(g, 0, sizeof(*g));
	assert_int_equal(host_call(host_do_create, &c), 0);
	g->mdev = c.mdev;
}

static inline void guest_irq(struct guest *g, unsigned index, unsigned sub, int *fd)
{
	struct vfio_user_irq_set set = {.flags = VFIO_IRQ_SET_DATA_EVENTFD |
						 VFIO_IRQ_SET_ACTION_TRIGGER,
					.index = index,
					.start = sub,
					.count = 1,
					.data = fd};

	*fd = vdpa_eventfd_new();
	assert_int_equal(vfio_user_set_irqs(g->client, &set), 0);
}

static inline uint32_t guest_read(struct guest *g, unsigned off)
{
	uint32_t value;

	assert_int_equal(vfio_user_region_read(g->client, 0, off, &value, 4), 0);
	return value;
}

static inline void guest_write(struct guest *g, unsigned off, uint32_t value)
{
	assert_int_equal(vfio_user_region_write(g->client, 0, off, &value, 4), 0);
}

/* The command's status, when it is over. */
static inline uint32_t guest_cmd(struct guest *g, enum dsa_cmd cmd, uint32_t operand)
{
	uint32_t sts = DSA_CMDSTS_ACTIVE;

	guest_write(g, DSA_CMD, (uint32_t)cmd << DSA_CMD_SHIFT | operand);
	for (unsigned i = 0; i < 60000 && sts & DSA_CMDSTS_ACTIVE; i++) {
		if (i)
			vfio_user_client_serve(g->client, 1000000);
		sts = guest_read(g, DSA_CMDSTS);
	}
	return sts;
}

static inline void guest_config(struct guest *g, unsigned off, uint16_t value)
{
	assert_int_equal(
		vfio_user_region_write(g->client, VFIO_PCI_CONFIG_REGION_INDEX, off, &value, 2), 0);
}

/*
 * Connected, with its interrupts. @mem: what it maps, by message, of its own memory if that is not
 * said; NULL: its own memory, by descriptor.
 */
static inline void guest_connect_with(struct guest *g, const struct vfio_user_mem *mem)
{
	struct vfio_user_mem map = {.iova = GUEST_IOVA, .size = GUEST_BYTES, .perm = VHOST_MAP_RW};
	struct vdpa_error err;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.sock", host.folder, g->mdev->uuid);
	assert_int_equal(vfio_user_client_new(path, TIMEOUT_NS, &g->client, &err), 0);
	g->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(g->fd, GUEST_BYTES), 0);
	g->mem = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	assert_true(g->mem != MAP_FAILED);
	map.fd = g->fd;
	if (mem)
		map = *mem;
	if (mem && !map.mem)
		map.mem = g->mem;
	assert_int_equal(vfio_user_dma_map(g->client, &map), 0);
	for (unsigned i = 0; i < 2; i++)
		guest_irq(g, VFIO_PCI_MSIX_IRQ_INDEX, i, &g->irq[i]);
	guest_irq(g, VFIO_PCI_ERR_IRQ_INDEX, 0, &g->err_irq);
	guest_irq(g, VFIO_PCI_REQ_IRQ_INDEX, 0, &g->req_irq);
}

static inline void guest_connect(struct guest *g, bool by_message)
{
	struct vfio_user_mem mem = {
		.iova = GUEST_IOVA, .size = GUEST_BYTES, .perm = VHOST_MAP_RW, .fd = -1};

	guest_connect_with(g, by_message ? &mem : NULL);
}

static inline unsigned guest_msix_cap(struct guest *g)
{
	uint8_t config[256];
	unsigned at;

	assert_int_equal(vfio_user_region_read(g->client, VFIO_PCI_CONFIG_REGION_INDEX, 0, config,
					       sizeof(config)),
			 0);
	for (at = config[0x34]; at && config[at] != 0x11; at = config[at + 1])
		;
	assert_true(at);
	return at;
}

/* What a driver does before it has a queue. */
static inline void guest_enable(struct guest *g)
{
	uint32_t sts;

	guest_config(g, 4, 6); /* memory, bus master */
	guest_config(g, guest_msix_cap(g) + 2, 0x8000);
	guest_write(g, DSA_GENCTRL, DSA_GENCTRL_SOFTERR | DSA_GENCTRL_HALT);
	assert_int_equal(guest_cmd(g, DSA_CMD_ENABLE_DEVICE, 0), 0);
	assert_int_equal(guest_cmd(g, DSA_CMD_ENABLE_WQ, 0), 0);
	sts = guest_cmd(g, DSA_CMD_REQUEST_INT_HANDLE, 1);
	assert_int_equal(sts & 0xff, 0);
	g->handle = (uint16_t)(sts >> 8);
}

static inline void guest_disconnect(struct guest *g)
{
	vfio_user_client_free(g->client);
	g->client = NULL;
	munmap(g->mem, GUEST_BYTES);
	vdpa_fd_close(&g->fd);
	for (unsigned i = 0; i < 2; i++)
		vdpa_fd_close(&g->irq[i]);
	vdpa_fd_close(&g->err_irq);
	vdpa_fd_close(&g->req_irq);
}

/* Wait for an interrupt, while the guest answers requests for its memory. */
static inline bool guest_wait(struct guest *g, int irq)
{
	for (unsigned i = 0; i < 3000; i++) {
		if (vdpa_eventfd_drain(irq) > 0)
			return true;
		vfio_user_client_serve(g->client, 1000000);
	}
	return false;
}

/* A copy from @src to @dst in guest memory, with the record at @rec; all are offsets. */
static inline struct dsa_hw_desc guest_move(struct guest *g, unsigned dst, unsigned src,
					    uint32_t len, unsigned rec)
{
	memset(g->mem + rec, 0, 32);
	return (struct dsa_hw_desc){.opcode = DSA_OPCODE_MEMMOVE,
				    .flags =
					    IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_RCI,
				    .completion_addr = GUEST_IOVA + rec,
				    .src_addr = GUEST_IOVA + src,
				    .dst_addr = GUEST_IOVA + dst,
				    .xfer_size = len,
				    .int_handle = g->handle};
}

static inline int guest_submit(struct guest *g, unsigned portal, const struct dsa_hw_desc *desc)
{
	return vfio_user_region_write(g->client, 2, portal * DSA_PORTAL_BYTES, desc, 64);
}

static inline uint8_t guest_status(struct guest *g, unsigned rec)
{
	return __atomic_load_n(&g->mem[rec], __ATOMIC_ACQUIRE);
}

static inline uint8_t guest_complete(struct guest *g, unsigned rec)
{
	for (unsigned i = 0; i < 3000 && !guest_status(g, rec); i++)
		vfio_user_client_serve(g->client, 1000000);
	return guest_status(g, rec);
}

/* ---- for most tests: one DSA; one guest goes ---- */

static inline int host_up(void **state)
{
	host_start(2);
	host_dsa("8");
	return 0;
}

static inline int host_down(void **state)
{
	host_end();
	return 0;
}

static inline void guest_down(struct guest *g)
{
	guest_disconnect(g);
	host_remove(g->mdev);
}

#endif
