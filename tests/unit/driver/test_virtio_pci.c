// SPDX-License-Identifier: BSD-3-Clause
/*
 * The bus driver virtio-pci, register by register, by our own client of vfio-user. The control loop
 * is run by a thread of its own; the test's thread is the client. That it works for drivers is
 * shown by the suites of the virtio drivers (test_virtio_transports.c).
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <uvdpa/virtio.h>
#include <uvdpa/virtqueue.h>

#include "alloc_fail.h"
#include "base/fd.h"
#include "open_fds.h"
#include "pci_front.h"
#include "vfio_user/protocol.h"

#define MEM_BYTES (1u << 20)
#define MEM_IOVA 0x100000ull
#define NUM 64u
#define OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define BEGIN (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define QUEUE_RESET 58u
#define DEVICES 2u
#define VERSION_1 VDPA_BIT(VIRTIO_F_VERSION_1)

struct rig {
	struct vdpa_ctx *ctx;
	const char *mgmtdev;
	const struct vdpa_attr *attrs;
	struct vdpa_device *vdev[DEVICES];
	char path[DEVICES][64];
	pthread_t thread;
	unsigned fds;

	/* A client of one of them. */
	struct vfio_user_client *c;
	struct pci_front_layout at;
	uint8_t *mem;
	int memfd;
	struct virtqueue *vq;
};

static struct rig rig;

/* ---- the daemon's side ---- */

/* A client is given all the time it needs for its answers: the machine may be slow. */
int __real_vfio_user_server_new(struct vdpa_loop *loop, const struct vfio_user_config *config,
				struct vfio_user_server **out, struct vdpa_error *err);
int __wrap_vfio_user_server_new(struct vdpa_loop *loop, const struct vfio_user_config *config,
				struct vfio_user_server **out, struct vdpa_error *err);
int __wrap_vfio_user_server_new(struct vdpa_loop *loop, const struct vfio_user_config *config,
				struct vfio_user_server **out, struct vdpa_error *err)
{
	struct vfio_user_config patient = *config;

	patient.dma_timeout_ns = patient.dma_budget_ns = 600000000000ull;
	return __real_vfio_user_server_new(loop, &patient, out, err);
}

static void *run(void *arg)
{
	vdpa_loop_run(vdpa_ctx_control(rig.ctx));
	return NULL;
}

static void set_flag(void *arg, int result)
{
	*(bool *)arg = true;
}

static void add_device(unsigned i)
{
	struct vdpa_dev_set_config config = {.attrs = rig.attrs};
	struct vdpa_attr bind[] = {{"path", rig.path[i]}, {0}};
	struct vdpa_error err = {0};
	char name[8];

	snprintf(name, sizeof(name), "d%u", i);
	snprintf(rig.path[i], sizeof(rig.path[i]), "/tmp/uvdpa-vpci-%d-%u.sock", getpid(), i);
	if (vdpa_dev_add(vdpa_mgmtdev_find(rig.ctx, rig.mgmtdev), name, &config, &err))
		fail_msg("%s", err.msg);
	rig.vdev[i] = vdpa_find_device(rig.ctx, name);
	if (vdpa_bind(rig.vdev[i], "virtio-pci", bind, &err))
		fail_msg("%s", err.msg);
}

static const struct vdpa_attr disk[] = {
	{"backend", "ram"}, {"size", "1M"}, {"num_queues", "2"}, {0}};
static const struct vdpa_attr nic[] = {{"backend", "null"}, {0}};

static int setup_devices(unsigned workers, const char *mgmtdev, const struct vdpa_attr *attrs)
{
	struct vdpa_ctx_config config = {.size = sizeof(config), .workers = workers};

	memset(&rig, 0, sizeof(rig));
	rig.mgmtdev = mgmtdev;
	rig.attrs = attrs;
	rig.memfd = -1;
	rig.fds = open_fds();
	assert_int_equal(vdpa_ctx_new(&config, &rig.ctx), 0);
	assert_int_equal(vdpa_register_builtin(rig.ctx), 0);
	for (unsigned i = 0; i < DEVICES; i++)
		add_device(i);
	assert_int_equal(pthread_create(&rig.thread, NULL, run, NULL), 0);
	return 0;
}

static int setup(void **state)
{
	return setup_devices(1, "soft_blk", disk);
}

/* The queue's loop, the server's, and control: one. */
static int setup_alone(void **state)
{
	return setup_devices(0, "soft_blk", disk);
}

/* Each device begins at a worker of its own. */
static int setup_two(void **state)
{
	return setup_devices(2, "soft_blk", disk);
}

static int setup_nics(void **state)
{
	return setup_devices(2, "soft_net", nic);
}

static int setup_nics_alone(void **state)
{
	return setup_devices(0, "soft_net", nic);
}

/* This thread is the control loop's from here on. */
static void hold_daemon(void)
{
	vdpa_loop_stop(vdpa_ctx_control(rig.ctx));
	pthread_join(rig.thread, NULL);
	vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), 0);
}

static void unbind(struct vdpa_device *vdev)
{
	bool done = false;

	assert_int_equal(vdpa_unbind(vdev, &(struct vdpa_done){set_flag, &done}), 0);
	assert_int_equal(vdpa_ctx_wait(rig.ctx, &done, 10000000000), 0);
}

static void remove_device(unsigned i)
{
	bool done = false;

	unbind(rig.vdev[i]);
	assert_int_equal(vdpa_dev_del(rig.vdev[i], &(struct vdpa_done){set_flag, &done}, NULL), 0);
	assert_int_equal(vdpa_ctx_wait(rig.ctx, &done, 10000000000), 0);
}

static void leave(void)
{
	if (rig.vq)
		virtqueue_free(rig.vq);
	rig.vq = NULL;
	vfio_user_client_free(rig.c);
	rig.c = NULL;
	if (rig.mem)
		munmap(rig.mem, MEM_BYTES);
	rig.mem = NULL;
	vdpa_fd_close(&rig.memfd);
}

/* Everything is gone, whatever the test left behind: descriptors are counted. */
static int teardown(void **state)
{
	unsigned tries = 0;

	if (rig.c)
		leave();
	hold_daemon();
	for (unsigned i = 0; i < DEVICES; i++)
		remove_device(i);
	while (vdpa_ctx_free(rig.ctx) && ++tries < 1000)
		vdpa_loop_run_once(vdpa_ctx_control(rig.ctx), 1000000);
	assert_true(tries < 1000);
	assert_int_equal(open_fds(), rig.fds);
	return 0;
}

/* ---- the client's side ---- */

static void come(unsigned device)
{
	struct vdpa_error err = {0};

	if (vfio_user_client_new(rig.path[device], 10000000000ull, &rig.c, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(pci_front_find(rig.c, &rig.at), 0);
}

static uint64_t get_at(unsigned off, unsigned len)
{
	uint64_t v = 0;

	assert_int_equal(vfio_user_region_read(rig.c, rig.at.bar, off, &v, len), 0);
	return v;
}

static void put_at(unsigned off, uint64_t v, unsigned len)
{
	assert_int_equal(vfio_user_region_write(rig.c, rig.at.bar, off, &v, len), 0);
}

static uint64_t get(unsigned reg, unsigned len)
{
	return get_at(rig.at.common + reg, len);
}

static void put(unsigned reg, uint64_t v, unsigned len)
{
	put_at(rig.at.common + reg, v, len);
}

static uint8_t status(void)
{
	return (uint8_t)get(VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(uint8_t s)
{
	put(VIRTIO_PCI_COMMON_STATUS, s, 1);
}

static uint32_t config_get(unsigned off, unsigned len)
{
	uint32_t v = 0;

	assert_int_equal(vfio_user_region_read(rig.c, VFIO_PCI_CONFIG_REGION_INDEX, off, &v, len),
			 0);
	return v;
}

static void config_put(unsigned off, uint32_t v, unsigned len)
{
	assert_int_equal(vfio_user_region_write(rig.c, VFIO_PCI_CONFIG_REGION_INDEX, off, &v, len),
			 0);
}

static void until_reset(void)
{
	for (unsigned i = 0; i < 60000 && status(); i++)
		usleep(1000);
	assert_int_equal(status(), 0);
}

static uint64_t offered(void)
{
	uint64_t f;

	put(VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	f = get(VIRTIO_PCI_COMMON_DF, 4);
	put(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return f | get(VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static uint8_t negotiate(uint64_t features)
{
	set_status(BEGIN);
	for (unsigned i = 0; i < 2; i++) {
		put(VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		put(VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32 * i), 4);
	}
	set_status(BEGIN | OK);
	return status();
}

static void share_memory(bool by_message)
{
	struct vfio_user_mem mem = {
		.iova = MEM_IOVA, .size = MEM_BYTES, .perm = VHOST_MAP_RW, .fd = -1};

	rig.memfd = memfd_create("mem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(rig.memfd, MEM_BYTES), 0);
	rig.mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig.memfd, 0);
	assert_true(rig.mem != MAP_FAILED);
	if (by_message)
		mem.mem = rig.mem;
	else
		mem.fd = rig.memfd;
	assert_int_equal(vfio_user_dma_map(rig.c, &mem), 0);
}

/* Queue 0, with its ring at the beginning of the memory. */
static void queue_up(uint64_t features)
{
	struct virtqueue_config config = {
		.size = sizeof(config),
		.num = NUM,
		.features = features,
		.mem = rig.mem,
		.mem_iova = MEM_IOVA,
		.indirect_min = UINT32_MAX,
	};
	iova_t a[3];

	if (!rig.vq)
		assert_int_equal(virtqueue_new(&config, &rig.vq), 0);
	virtqueue_addrs(rig.vq, &a[0], &a[1], &a[2]);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	put(VIRTIO_PCI_COMMON_Q_SIZE, NUM, 2);
	for (unsigned i = 0; i < 3; i++)
		put(VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i, a[i], 8);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

/* Device @device with a queue that runs. */
static uint64_t up(unsigned device, uint64_t without)
{
	uint64_t features;

	come(device);
	share_memory(false);
	features = offered() & ~without;
	assert_int_equal(negotiate(features), BEGIN | OK);
	queue_up(features);
	set_status(BEGIN | OK | DRIVER_OK);
	return features;
}

/* One request of the disk: sector 0 in or out, data behind the ring. */
#define HEADER 0x80000u
#define DATA 0x81000u
#define STATUS 0x82000u

static void submit(uint32_t type)
{
	struct virtio_blk_outhdr hdr = {.type = type};
	const struct virtqueue_sg sg[] = {
		{MEM_IOVA + HEADER, sizeof(hdr)}, {MEM_IOVA + DATA, 512}, {MEM_IOVA + STATUS, 1}};

	memcpy(rig.mem + HEADER, &hdr, sizeof(hdr));
	rig.mem[STATUS] = 0xff;
	assert_int_equal(virtqueue_add(rig.vq, sg, type == VIRTIO_BLK_T_OUT ? 2 : 1,
				       type == VIRTIO_BLK_T_OUT ? 1 : 2, &rig),
			 0);
	virtqueue_publish(rig.vq);
	put_at(rig.at.notify, 0, 2);
}

static void await(void)
{
	uint32_t len;

	for (unsigned i = 0; i < 60000 && !virtqueue_get(rig.vq, &len); i++) {
		usleep(1000);
		assert_false(virtqueue_broken(rig.vq));
	}
	assert_int_equal(rig.mem[STATUS], VIRTIO_BLK_S_OK);
}

static int vector_fd(unsigned vector)
{
	int fd = vdpa_eventfd_new();
	const struct vfio_user_irq_set set = {
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = vector,
		.count = 1,
		.data = &fd,
	};

	assert_int_equal(vfio_user_set_irqs(rig.c, &set), 0);
	return fd;
}

static void msix_on(void)
{
	config_put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	config_put(rig.at.msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
}

static bool signalled(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && vdpa_eventfd_drain(fd) > 0;
}

/* ---- what it is ---- */

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("lspci does not say \"%s\":\n%s", what, text);
}

static void test_lspci(void **state)
{
	char path[] = "/tmp/uvdpa-vpci-XXXXXX", command[128], text[16384];
	uint8_t config[4096];
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	size_t n;

	come(0);
	assert_int_equal(vfio_user_region_read(rig.c, VFIO_PCI_CONFIG_REGION_INDEX, 0, config,
					       sizeof(config)),
			 0);
	fprintf(f, "00:01.0 Device");
	for (unsigned i = 0; i < sizeof(config); i++)
		fprintf(f, i % 16 ? " %02x" : "\n%03x: %02x", i % 16 ? config[i] : i, config[i]);
	fprintf(f, "\n");
	fclose(f);
	snprintf(command, sizeof(command), "lspci -vvv -nn -F %s 2>&1", path);
	f = popen(command, "r");
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	assert_int_equal(pclose(f), 0);
	unlink(path);
	has(text, "SCSI storage controller [0100]");
	has(text, "[1af4:1042] (rev 01)");
	has(text, "VirtIO: CommonCfg");
	has(text, "VirtIO: ISR");
	has(text, "VirtIO: DeviceCfg");
	has(text, "VirtIO: Notify");
	has(text, "multiplier=00000004");
	has(text, "MSI-X: Enable- Count=3");
	has(text, "FLReset+");
	has(text, "Express (v2) Endpoint");
}

static void test_registers(void **state)
{
	come(0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	assert_int_equal(status(), 0);
	/* Features: what a doorbell with data would need is not offered; above, there are none. */
	assert_true(offered() & VDPA_BIT(VIRTIO_F_VERSION_1));
	assert_false(offered() & VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA));
	for (unsigned i = 2; i < 6; i++) {
		put(VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 4), i);
		assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
	}
	/* Vectors that do not exist. */
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	put(VIRTIO_PCI_COMMON_MSIX, 2, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 2);
	put(VIRTIO_PCI_COMMON_MSIX, 3, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	/* Queues. */
	put(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 0, 2);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 257, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 0x1122334455667788, 8);
	put(VIRTIO_PCI_COMMON_Q_AVAILLO, 0x99, 4);
	put(VIRTIO_PCI_COMMON_Q_AVAILHI, 0xaa, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x1122334455667788);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_AVAILLO, 8), 0xaa00000099);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	/* One that does not exist. */
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	put(QUEUE_RESET, 1, 2);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 5, 8);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* Written with another width than the register's: not written. */
	put(VIRTIO_PCI_COMMON_Q_SELECT, 1, 1);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 1, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 2);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 2);
	assert_int_equal(status(), 0);
	/* Nor what can only be read. */
	put(VIRTIO_PCI_COMMON_NUMQ, 9, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 2);
}

static void test_negotiation(void **state)
{
	uint64_t f;

	come(0);
	f = offered();
	/* Without VERSION_1; with what is not offered. */
	assert_int_equal(negotiate(f & ~VDPA_BIT(VIRTIO_F_VERSION_1)), BEGIN);
	assert_int_equal(negotiate(f | VDPA_BIT(VIRTIO_F_SR_IOV)), BEGIN);
	put(VIRTIO_PCI_COMMON_GFSELECT, 2, 4);
	put(VIRTIO_PCI_COMMON_GF, 1, 4);
	assert_int_equal(negotiate(f), BEGIN);
	/* No DRIVER_OK before that; no bit is taken back but by a reset. */
	set_status(BEGIN | DRIVER_OK);
	assert_int_equal(status(), BEGIN);
	put(VIRTIO_PCI_COMMON_GFSELECT, 2, 4);
	put(VIRTIO_PCI_COMMON_GF, 0, 4);
	assert_int_equal(negotiate(f), BEGIN | OK);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(status(), BEGIN | OK);
	/* Agreed on: they stay. */
	put(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	put(VIRTIO_PCI_COMMON_GF, 0, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), (uint32_t)f);
	set_status(0);
	until_reset();
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
	/* Both at once. */
	set_status(BEGIN);
	put(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	put(VIRTIO_PCI_COMMON_GF, 1, 4);
	set_status(BEGIN | OK | DRIVER_OK);
	assert_int_equal(status(), BEGIN | OK | DRIVER_OK);
}

static void test_config(void **state)
{
	struct virtio_blk_config config;
	uint8_t byte = 1, generation;

	come(0);
	assert_int_equal(vfio_user_region_read(rig.c, rig.at.bar, rig.at.device, &config,
					       rig.at.device_bytes < sizeof(config)
						       ? rig.at.device_bytes
						       : sizeof(config)),
			 0);
	assert_int_equal(config.capacity, 2048);
	assert_int_equal(config.num_queues, 2);
	/* The driver's byte, when the feature is there; the rest is not its to write. */
	generation = (uint8_t)get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	put_at(rig.at.device, 5, 8);
	assert_int_equal(get_at(rig.at.device, 8), 2048);
	assert_int_equal(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	/* Beyond its end. */
	assert_int_equal(get_at(rig.at.device + 0xff8, 8), 0);
	put_at(rig.at.device + 0xff8, byte, 8);
}

/* ---- the window into the BAR ---- */

static void aim(uint8_t bar, uint32_t off, uint32_t len)
{
	config_put(rig.at.pci_cfg + VIRTIO_PCI_CAP_BAR, bar, 1);
	config_put(rig.at.pci_cfg + VIRTIO_PCI_CAP_OFFSET, off, 4);
	config_put(rig.at.pci_cfg + VIRTIO_PCI_CAP_LENGTH, len, 4);
}

static void test_window(void **state)
{
	unsigned data;

	come(0);
	data = rig.at.pci_cfg + 16;
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_equal(config_get(data, 2), 2);
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_STATUS, 1);
	config_put(data, BEGIN, 1);
	assert_int_equal(status(), BEGIN);
	assert_int_equal(config_get(data, 1), BEGIN);
	/* FEATURES_OK waits for the device here too. */
	put(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_GF, 4);
	config_put(data, 1, 4);
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_STATUS, 1);
	config_put(data, BEGIN | OK, 1);
	assert_int_equal(config_get(data, 1), BEGIN | OK);
	/* Windows that are none: beside the BAR, of another one, unaligned, of odd length. */
	aim(0, 0xfffffff0, 4);
	config_put(data, ~0u, 4);
	assert_int_equal(config_get(data, 4), BEGIN | OK);
	aim(1, rig.at.common, 4);
	config_put(data, ~0u, 4);
	aim(0, rig.at.common + 1, 2);
	config_put(data, ~0u, 4);
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_STATUS, 3);
	config_put(data, 0, 4);
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_STATUS, 1);
	config_put(data + 1, 0, 1);
	assert_int_equal(status(), BEGIN | OK);
}

/* ---- every access ---- */

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static void test_every_access(void **state)
{
	uint8_t buf[64];

	come(0);
	share_memory(false);
	for (unsigned region = 0; region < VFIO_PCI_NUM_REGIONS; region++) {
		struct vfio_user_region_info info;

		assert_int_equal(vfio_user_get_region(rig.c, region, &info), 0);
		for (unsigned i = 0; info.size && i < 1500; i++) {
			unsigned len = rnd(9) ? rnd(8) + 1 : rnd(64) + 1;
			/* Where the registers are, mostly. */
			uint64_t off = rnd(3) ? rnd(64) : rnd((uint32_t)info.size);

			if (off + len > info.size)
				continue;
			for (unsigned b = 0; b < len; b++)
				buf[b] = (uint8_t)(rnd(2) ? rnd(256) : rnd(2));
			assert_int_equal(vfio_user_region_write(rig.c, region, off, buf, len), 0);
			assert_int_equal(vfio_user_region_read(rig.c, region, off, buf, len), 0);
		}
	}
	/* Whatever that was: after a reset it works. */
	assert_int_equal(vfio_user_reset(rig.c), 0);
	until_reset();
	queue_up(VDPA_BIT(VIRTIO_F_VERSION_1));
	set_status(0);
	until_reset();
	assert_int_equal(negotiate(VDPA_BIT(VIRTIO_F_VERSION_1)), BEGIN | OK);
	queue_up(VDPA_BIT(VIRTIO_F_VERSION_1));
	set_status(BEGIN | OK | DRIVER_OK);
	submit(VIRTIO_BLK_T_IN);
	await();
}

/* ---- a device that cannot go on ---- */

static void test_bad_ring(void **state)
{
	int fd;

	come(0);
	share_memory(false);
	fd = vector_fd(0);
	msix_on();
	put(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	assert_int_equal(negotiate(VDPA_BIT(VIRTIO_F_VERSION_1)), BEGIN | OK);
	/* A split ring of 48 entries. */
	put(VIRTIO_PCI_COMMON_Q_SIZE, 48, 2);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	set_status(BEGIN | OK | DRIVER_OK);
	assert_true(signalled(fd, 5000));
	assert_true(status() & NEEDS_RESET);
	set_status(0);
	until_reset();
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	close(fd);
	assert_int_equal(negotiate(offered()), BEGIN | OK);
	queue_up(offered());
	set_status(BEGIN | OK | DRIVER_OK);
	submit(VIRTIO_BLK_T_OUT);
	await();
}

/* A ring that cannot be reached: the queue stops, the device says so. */
static void no_ring_at(uint64_t at)
{
	assert_int_equal(negotiate(VDPA_BIT(VIRTIO_F_VERSION_1)), BEGIN | OK);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, at, 8);
	put(VIRTIO_PCI_COMMON_Q_AVAILLO, at + 0x1000, 8);
	put(VIRTIO_PCI_COMMON_Q_USEDLO, at + 0x2000, 8);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	set_status(BEGIN | OK | DRIVER_OK);
	for (unsigned i = 0; i < 60000 && !(status() & NEEDS_RESET); i++)
		usleep(1000);
	assert_true(status() & NEEDS_RESET);
	set_status(0);
	until_reset();
}

static void test_ring_nowhere(void **state)
{
	come(0);
	no_ring_at(0x7000000000);
}

/* A client maps what is memory to it, the device's own registers too: no ring lies there. */
static void test_ring_on_own_bar(void **state)
{
	struct vfio_user_mem mem = {
		.iova = 0x70000000, .size = MEM_BYTES, .perm = VHOST_MAP_RW, .fd = -1};

	come(0);
	share_memory(false);
	config_put(PCI_BASE_ADDRESS_0 + 4 * rig.at.bar, (uint32_t)mem.iova, 4);
	config_put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	mem.fd = rig.memfd;
	assert_int_equal(vfio_user_dma_map(rig.c, &mem), 0);
	no_ring_at(mem.iova);
	assert_int_equal(vfio_user_dma_unmap(rig.c, mem.iova, mem.size), 0);
	/* Somewhere else, it is memory. */
	config_put(PCI_BASE_ADDRESS_0 + 4 * rig.at.bar, 0x60000000, 4);
	assert_int_equal(vfio_user_dma_map(rig.c, &mem), 0);
	assert_int_equal(negotiate(offered()), BEGIN | OK);
	queue_up(offered());
	set_status(BEGIN | OK | DRIVER_OK);
	submit(VIRTIO_BLK_T_OUT);
	await();
}

/* Memory that goes and comes back, as QEMU's does: a queue that looks at its ring meanwhile waits.
 */
static void test_hole(void **state)
{
	struct vfio_user_mem mem = {.iova = MEM_IOVA, .size = MEM_BYTES, .perm = VHOST_MAP_RW};

	up(0, 0);
	mem.fd = rig.memfd;
	for (unsigned i = 0; i < 5; i++) {
		submit(VIRTIO_BLK_T_IN);
		await();
		assert_int_equal(vfio_user_dma_unmap(rig.c, MEM_IOVA, MEM_BYTES), 0);
		put_at(rig.at.notify, 0, 2);
		usleep(20000);
		assert_int_equal(vfio_user_dma_map(rig.c, &mem), 0);
		submit(VIRTIO_BLK_T_OUT);
		await();
		assert_int_equal(status(), BEGIN | OK | DRIVER_OK);
	}
}

/* ---- interrupts ---- */

static void test_vectors(void **state)
{
	uint32_t one = 1, zero = 0;
	uint64_t pba = 0;
	int fd;

	come(0);
	share_memory(false);
	fd = vector_fd(1);
	msix_on();
	assert_int_equal(negotiate(offered() & ~VDPA_BIT(VIRTIO_RING_F_EVENT_IDX)), BEGIN | OK);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	queue_up(offered() & ~VDPA_BIT(VIRTIO_RING_F_EVENT_IDX));
	set_status(BEGIN | OK | DRIVER_OK);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_true(signalled(fd, 5000));
	/* Masked in the table: pending; and told when it is unmasked. */
	vfio_user_region_write(rig.c, 2, 16 + 12, &one, 4);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_false(signalled(fd, 100));
	vfio_user_region_read(rig.c, 2, 3 * 16, &pba, 8);
	assert_int_equal(pba, 2);
	vfio_user_region_write(rig.c, 2, 16 + 12, &zero, 4);
	assert_true(signalled(fd, 1000));
	/* The same without bus master. */
	config_put(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_false(signalled(fd, 100));
	config_put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_true(signalled(fd, 5000));
	/* No vector: nothing. With MSI-X there is no interrupt status. */
	put(VIRTIO_PCI_COMMON_Q_MSIX, 0xffff, 2);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_false(signalled(fd, 100));
	assert_int_equal(get_at(rig.at.isr, 1), 0);
	/* Off: the status says it, once. */
	config_put(rig.at.msix + PCI_MSIX_FLAGS, 0, 2);
	submit(VIRTIO_BLK_T_IN);
	await();
	for (unsigned i = 0; i < 60000 && !(config_get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT); i++)
		usleep(1000);
	assert_int_equal(get_at(rig.at.isr, 1), 1);
	assert_int_equal(get_at(rig.at.isr, 1), 0);
	assert_false(config_get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	close(fd);
}

/* ---- resets ---- */

static void test_flr(void **state)
{
	unsigned at;

	up(0, 0);
	submit(VIRTIO_BLK_T_OUT);
	await();
	config_put(PCI_COMMAND, 6, 2);
	for (at = config_get(PCI_CAPABILITY_LIST, 1); config_get(at, 1) != PCI_CAP_ID_EXP;)
		at = config_get(at + 1, 1);
	config_put(at + PCI_EXP_DEVCTL, 0x8000, 2);
	assert_int_equal(config_get(PCI_COMMAND, 2), 0);
	until_reset();
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
}

static void test_queue_reset(void **state)
{
	uint64_t f = up(0, 0);

	assert_true(f & VDPA_BIT(VIRTIO_F_RING_RESET));
	submit(VIRTIO_BLK_T_OUT);
	await();
	put(QUEUE_RESET, 1, 2);
	for (unsigned i = 0; i < 60000 && get(QUEUE_RESET, 2); i++)
		usleep(1000);
	assert_int_equal(get(QUEUE_RESET, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	virtqueue_free(rig.vq);
	rig.vq = NULL;
	memset(rig.mem, 0, MEM_BYTES / 2);
	queue_up(f);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_int_equal(status(), BEGIN | OK | DRIVER_OK);
}

/* The client leaves in the middle, and comes back to a device that is new, with its data. */
static void test_comes_back(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		up(i % DEVICES, 0);
		memset(rig.mem + DATA, (int)i + 1, 512);
		submit(VIRTIO_BLK_T_OUT);
		await();
		submit(VIRTIO_BLK_T_OUT); /* may be on its way */
		leave();
		up(i % DEVICES, i % 2 ? VDPA_BIT(VIRTIO_F_RING_PACKED) : 0);
		submit(VIRTIO_BLK_T_IN);
		await();
		assert_int_equal(rig.mem[DATA + 511], i + 1);
		leave();
	}
}

/* ---- migration ---- */

static void mig_state(uint32_t to, int expect)
{
	uint32_t s[2] = {to, 0};

	assert_int_equal(vfio_user_feature(rig.c, VFIO_DEVICE_FEATURE_SET | VFU_FEATURE_MIG_STATE,
					   s, sizeof(s), sizeof(s)) < 0,
			 expect < 0);
}

static size_t save(uint8_t *buf, size_t max)
{
	size_t len = 0;
	ssize_t n;

	mig_state(VFIO_USER_MIG_STOP_COPY, 0);
	while ((n = vfio_user_mig_read(rig.c, buf + len, 100)) > 0) {
		len += (size_t)n;
		assert_true(len + 100 < max);
	}
	assert_int_equal(n, 0);
	return len;
}

/* Requests before and after it, on the same ring, of either format; and the registers. */
static void check_migration(uint64_t without)
{
	static uint8_t buf[65536];
	struct virtqueue *vq;
	uint8_t *mem;
	size_t len;
	int fd;

	up(0, without);
	for (unsigned i = 0; i < 70; i++) {
		submit(VIRTIO_BLK_T_IN);
		await();
	}
	submit(VIRTIO_BLK_T_OUT); /* perhaps in flight */
	put(VIRTIO_PCI_COMMON_MSIX, 1, 2);
	/* What a window showed stays behind. */
	aim(0, rig.at.common + VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_not_equal(config_get(rig.at.pci_cfg + 16, 2), 0);
	len = save(buf, sizeof(buf));
	vfio_user_client_free(rig.c);
	/* The memory goes with it. */
	vq = rig.vq;
	mem = rig.mem;
	fd = rig.memfd;
	come(1);
	share_memory(false);
	memcpy(rig.mem, mem, MEM_BYTES);
	assert_true(mmap(mem, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, rig.memfd,
			 0) == mem);
	munmap(rig.mem, MEM_BYTES);
	close(fd);
	rig.mem = mem;
	rig.vq = vq;
	mig_state(VFIO_USER_MIG_RESUMING, 0);
	assert_int_equal(vfio_user_mig_write(rig.c, buf, 10), 0);
	assert_int_equal(vfio_user_mig_write(rig.c, buf + 10, len - 10), 0);
	mig_state(VFIO_USER_MIG_STOP, 0);
	assert_int_equal(status(), BEGIN | OK | DRIVER_OK);
	mig_state(VFIO_USER_MIG_RUNNING, 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), NUM);
	put_at(rig.at.notify, 0, 2);
	await();
	for (unsigned i = 0; i < 70; i++) {
		submit(i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT);
		await();
	}
	set_status(0);
	until_reset();
	leave();
}

static void test_migration(void **state)
{
	check_migration(0);
	check_migration(VDPA_BIT(VIRTIO_F_RING_PACKED));
}

static void test_bad_states(void **state)
{
	static uint8_t buf[65536], bad[65536];
	size_t len;

	up(0, 0);
	len = save(buf, sizeof(buf));
	leave();
	come(1);
	for (unsigned i = 1; i < 300; i++) {
		size_t n = i < 60 ? i : i < 100 ? len - 1 - rnd((uint32_t)len - 1) : len;

		memcpy(bad, buf, len);
		if (n == len)
			bad[i < 200 ? i - 100 : rnd((uint32_t)len)] ^= (uint8_t)(1u << rnd(8));
		mig_state(VFIO_USER_MIG_RESUMING, 0);
		assert_int_equal(vfio_user_mig_write(rig.c, bad, n), 0);
		if (n < len)
			mig_state(VFIO_USER_MIG_STOP, -1);
		/* Else some bits mean nothing, and some are caught. */
		assert_int_equal(vfio_user_reset(rig.c), 0);
		until_reset();
	}
	leave();
	up(1, 0);
	submit(VIRTIO_BLK_T_IN);
	await();
}

/* Writes of the device's are logged, and nothing else. */
static void test_dirty_log(void **state)
{
	struct {
		struct vfu_log_control control;
		struct vfu_log_range range;
	} start = {{4096, 1, 0}, {MEM_IOVA, MEM_BYTES}};
	struct {
		struct vfu_log_report report;
		uint64_t bitmap[4];
	} ask = {{MEM_IOVA, MEM_BYTES, 4096}, {0}};

	up(0, VDPA_BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(vfio_user_feature(rig.c, VFIO_DEVICE_FEATURE_SET | VFU_FEATURE_LOG_START,
					   &start, sizeof(start), sizeof(start)) < 0,
			 false);
	submit(VIRTIO_BLK_T_IN);
	await();
	assert_true(vfio_user_feature(rig.c, VFIO_DEVICE_FEATURE_GET | VFU_FEATURE_LOG_REPORT, &ask,
				      sizeof(ask), sizeof(ask)) >= 0);
	assert_true(ask.bitmap[DATA / 4096 / 64] >> DATA / 4096 % 64 & 1);
	assert_true(ask.bitmap[STATUS / 4096 / 64] >> STATUS / 4096 % 64 & 1);
	assert_false(ask.bitmap[HEADER / 4096 / 64] >> HEADER / 4096 % 64 & 1);
}

/* ---- no read waits for memory by message ---- */

static int raw_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int raw = -1;
/* The request of the server's that was not answered. */
static struct vfu_header asked;
static struct vfu_dma_access asked_for;

static void raw_send(struct vfu_header head, const void *data, size_t len)
{
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, len}};
	const struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	head.size = (uint32_t)(sizeof(head) + len);
	assert_int_equal(sendmsg(raw, &msg, MSG_NOSIGNAL), head.size);
}

static size_t raw_recv(struct vfu_header *head, void *data, size_t max)
{
	struct pollfd p = {.fd = raw, .events = POLLIN};
	size_t len;

	if (poll(&p, 1, 60000) != 1)
		fail_msg("no answer");
	assert_int_equal(recv(raw, head, sizeof(*head), MSG_WAITALL), sizeof(*head));
	len = head->size - sizeof(*head);
	assert_true(len <= max);
	if (len)
		assert_int_equal(recv(raw, data, len, MSG_WAITALL), len);
	return len;
}

/* Until the answer comes the server may ask for memory: not answered, as by a client that is busy
 * with its own request. */
static size_t raw_call(uint16_t cmd, const void *data, size_t len, void *reply, size_t max)
{
	static uint16_t id = 100;
	struct vfu_header head = {.id = ++id, .cmd = cmd};
	uint8_t buf[4096];
	size_t n;

	raw_send(head, data, len);
	for (;;) {
		n = raw_recv(&head, buf, sizeof(buf));
		if (head.flags & VFU_F_REPLY)
			break;
		assert_int_equal(head.cmd, VFU_DMA_READ);
		asked = head;
		memcpy(&asked_for, buf, sizeof(asked_for));
	}
	assert_int_equal(head.id, id);
	assert_false(head.flags & VFU_F_ERROR);
	if (reply)
		memcpy(reply, buf, n < max ? n : max);
	return n;
}

static void raw_put(unsigned reg, uint64_t value, uint32_t len)
{
	struct {
		struct vfu_access a;
		uint64_t value;
	} w = {{reg, 0, len}, value};

	raw_call(VFU_REGION_WRITE, &w, sizeof(w.a) + len, NULL, 0);
}

static uint64_t raw_get(unsigned reg, uint32_t len)
{
	struct vfu_access a = {reg, 0, len};
	struct {
		struct vfu_access a;
		uint64_t value;
	} r = {{0}, 0};

	raw_call(VFU_REGION_READ, &a, sizeof(a), &r, sizeof(r));
	return r.value;
}

static const char version[] = "\0\0\1\0{\"capabilities\":{}}";

static void raw_negotiate(uint64_t features)
{
	raw_put(VIRTIO_PCI_COMMON_STATUS, BEGIN, 1);
	for (unsigned i = 0; i < 2; i++) {
		raw_put(VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		raw_put(VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32 * i), 4);
	}
	raw_put(VIRTIO_PCI_COMMON_STATUS, BEGIN | OK, 1);
	assert_int_equal(raw_get(VIRTIO_PCI_COMMON_STATUS, 1), BEGIN | OK);
}

static void raw_until_reset(void)
{
	for (unsigned i = 0; i < 60000 && raw_get(VIRTIO_PCI_COMMON_STATUS, 1); i++)
		usleep(1000);
	assert_int_equal(raw_get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
}

static void raw_come(unsigned device)
{
	raw = raw_connect(rig.path[device]);
	raw_call(VFU_VERSION, version, sizeof(version), NULL, 0);
}

/* Its queue @queue runs on memory by message, and waits: it has asked for its ring. */
static void raw_stuck(uint64_t features, unsigned queue)
{
	struct vfu_dma_map map = {sizeof(map), VFU_DMA_F_READ | VFU_DMA_F_WRITE, 0, MEM_IOVA,
				  MEM_BYTES};

	memset(&asked, 0, sizeof(asked));
	raw_call(VFU_DMA_MAP, &map, sizeof(map), NULL, 0);
	raw_negotiate(features);
	raw_put(VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	for (unsigned i = 0; i < 3; i++)
		raw_put(VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i, MEM_IOVA + 0x1000 * i, 8);
	raw_put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	raw_put(VIRTIO_PCI_COMMON_STATUS, BEGIN | OK | DRIVER_OK, 1);
	/* We are not answering, and go on asking. */
	for (unsigned i = 0; i < 60000 && !asked.cmd; i++) {
		assert_int_equal(raw_get(VIRTIO_PCI_COMMON_STATUS, 1), BEGIN | OK | DRIVER_OK);
		usleep(1000);
	}
	assert_int_equal(asked.cmd, VFU_DMA_READ);
}

/* It is given what it waited for, and all is well. */
static void raw_unstick(void)
{
	raw_put(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	asked.flags = VFU_F_REPLY | VFU_F_ERROR;
	asked.error = EFAULT;
	raw_send(asked, NULL, 0);
	raw_until_reset();
}

/* Another device of the same client's, on the same loops, does not wait either. */
static void other_device_answers(void)
{
	int first = raw;

	raw_come(1);
	assert_int_equal(raw_get(VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	raw_put(VIRTIO_PCI_COMMON_STATUS, BEGIN, 1);
	assert_int_equal(raw_get(VIRTIO_PCI_COMMON_STATUS, 1), BEGIN);
	close(raw);
	raw = first;
}

static void test_read_does_not_wait(void **state)
{
	raw_come(0);
	raw_stuck(VERSION_1, 0);
	raw_put(0x3000, 0, 2);
	assert_int_equal(raw_get(VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	other_device_answers();
	/* Reset, while it waits: still resetting, for as long as that is. */
	raw_put(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(raw_get(VIRTIO_PCI_COMMON_STATUS, 1) != 0);
		usleep(1000);
	}
	raw_unstick();
	close(raw);
}

/*
 * A VMM of one thread and without shared memory: while it waits for an answer of one device it
 * serves no requests of another's. Device 1 goes through all that a driver and its VMM ask, while
 * @queue of device 0 waits for memory on a loop that serves both.
 */
static void one_waits_for_the_other(uint64_t features, unsigned queue)
{
	struct vfu_header first_asked;
	int first, second;

	raw_come(1);
	raw_negotiate(VERSION_1);
	raw_put(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	raw_until_reset();
	second = raw;
	raw_come(0);
	raw_stuck(features, queue);
	first_asked = asked;
	first = raw;

	raw = second;
	raw_negotiate(VERSION_1);
	raw = first;
	asked = first_asked;
	raw_unstick();
	close(first);
	close(second);
}

static void test_other_worker_waits(void **state)
{
	one_waits_for_the_other(VERSION_1, 1);
}

static void test_control_queue_waits(void **state)
{
	one_waits_for_the_other(VERSION_1 | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ), 2);
}

/* ---- birth ---- */

static void test_no_memory(void **state)
{
	struct vdpa_attr bind[] = {{"path", rig.path[0]}, {0}};
	struct vdpa_error err = {0};

	hold_daemon();
	unbind(rig.vdev[0]);
	for (alloc_fail_begin(); alloc_fail_more();) {
		int r = vdpa_bind(rig.vdev[0], "virtio-pci", bind, &err);

		alloc_fail_off();
		if (!r)
			unbind(rig.vdev[0]);
		else
			assert_true(err.msg[0]);
	}
	assert_int_equal(vdpa_bind(rig.vdev[0], "virtio-pci", bind, &err), 0);
	assert_int_equal(pthread_create(&rig.thread, NULL, run, NULL), 0);
	up(0, 0);
	submit(VIRTIO_BLK_T_IN);
	await();
}

static void test_bind_says_why(void **state)
{
	struct vdpa_attr nowhere[] = {{"path", "/nonexistent/x.sock"}, {0}};
	struct vdpa_error err = {0};

	hold_daemon();
	unbind(rig.vdev[0]);
	assert_int_equal(vdpa_bind(rig.vdev[0], "virtio-pci", NULL, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "path"));
	assert_true(vdpa_bind(rig.vdev[0], "virtio-pci", nowhere, &err) < 0);
	nowhere[0].value = rig.path[0];
	assert_int_equal(vdpa_bind(rig.vdev[0], "virtio-pci", nowhere, &err), 0);
	assert_int_equal(pthread_create(&rig.thread, NULL, run, NULL), 0);
	come(0);
}

#define TEST_OF(t, setup)                                                                          \
	{                                                                                          \
#t " " #setup, t, setup, teardown, NULL                                            \
	}
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define TEST_ALONE(t)                                                                              \
	{                                                                                          \
#t " alone", t, setup_alone, teardown, NULL                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lspci),
		TEST(test_registers),
		TEST(test_negotiation),
		TEST(test_config),
		TEST(test_window),
		TEST(test_every_access),
		TEST(test_bad_ring),
		TEST(test_ring_nowhere),
		TEST(test_ring_on_own_bar),
		TEST(test_hole),
		TEST(test_vectors),
		TEST(test_flr),
		TEST(test_queue_reset),
		TEST(test_comes_back),
		TEST(test_migration),
		TEST(test_bad_states),
		TEST(test_dirty_log),
		TEST(test_read_does_not_wait),
		TEST_OF(test_other_worker_waits, setup_two),
		TEST_OF(test_control_queue_waits, setup_nics),
		TEST_OF(test_control_queue_waits, setup_nics_alone),
		TEST(test_no_memory),
		TEST(test_bind_says_why),
		TEST_ALONE(test_negotiation),
		TEST_ALONE(test_every_access),
		TEST_ALONE(test_comes_back),
		TEST_ALONE(test_migration),
		TEST_ALONE(test_read_does_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
