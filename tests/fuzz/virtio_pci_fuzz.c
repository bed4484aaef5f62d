// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: what a client reads and writes of a virtio PCI device. An input is a program of
 * accesses to its regions, resets, interrupts asked for, and states of migration, in any order; a
 * piece of memory with what the input says in it is mapped. They come by our own client, so that
 * all of them are well-formed messages: vfio_user_fuzz.c has the others.
 *
 * Asserted besides "does not crash": whatever was done, the device can be reset, and no descriptor
 * is left when the client has gone.
 */
#include <assert.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/vfio_user.h>
#include <uvdpa/virtio.h>

#include "base/fd.h"
#include "vfio_user/protocol.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_BYTES 65536u
#define MAX_STEPS 300

static struct vdpa_ctx *ctx;
static char path[108];
static int memory_fd, event_fd;
static unsigned baseline;
static uint8_t *memory;

static void *run(void *arg)
{
	vdpa_loop_run(vdpa_ctx_control(ctx));
	return NULL;
}

static void quiet(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
}

static void make(void)
{
	struct vdpa_attr attrs[] = {{"backend", "ram"}, {"size", "64k"}, {0}};
	struct vdpa_dev_set_config dev = {.attrs = attrs};
	struct vdpa_ctx_config config = {.size = sizeof(config), .log = {.fn = quiet}};
	struct vdpa_attr bind[] = {{"path", path}, {0}};
	pthread_t thread;

	if (ctx)
		return;
	snprintf(path, sizeof(path), "/tmp/uvdpa-fuzz-vpci-%d.sock", getpid());
	memory_fd = memfd_create("memory", MFD_CLOEXEC);
	assert(memory_fd >= 0 && !ftruncate(memory_fd, MEM_BYTES));
	memory = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	event_fd = vdpa_eventfd_new();
	assert(memory != MAP_FAILED && event_fd >= 0);
	assert(!vdpa_ctx_new(&config, &ctx) && !vdpa_register_builtin(ctx));
	assert(!vdpa_dev_add(vdpa_mgmtdev_find(ctx, "soft_blk"), "d0", &dev, NULL));
	assert(!vdpa_bind(vdpa_find_device(ctx, "d0"), "virtio-pci", bind, NULL));
	assert(!pthread_create(&thread, NULL, run, NULL));
	pthread_detach(thread);
	usleep(10000);
	baseline = open_fds();
}

/* The device is given back a little after its client has gone. */
static void must_be_closed(void)
{
	for (unsigned i = 0; i < 20000 && open_fds() != baseline; i++)
		usleep(100);
	assert(open_fds() == baseline);
}

/* ---- steps ---- */

/* Mostly a register of the common configuration, a doorbell, or the configuration space. */
static void place(struct input *in, unsigned *region, uint64_t *off, unsigned *len)
{
	static const uint8_t widths[] = {1, 2, 4, 8, 2, 2, 4, 3};
	uint8_t what = (uint8_t)take(in, 1);

	*len = widths[what >> 5];
	*region = what & 1 ? VFIO_PCI_CONFIG_REGION_INDEX : 0;
	if (what & 1)
		*off = (uint8_t)take(in, 1);
	else if (what & 2)
		*off = (uint8_t)take(in, 1) % 64;
	else if (what & 4)
		*off = 0x3000 + 4 * ((uint8_t)take(in, 1) % 4u);
	else
		*off = (uint16_t)take(in, 2) % 0x4000u;
	if (what & 8 && what & 16) {
		*region = 2;
		*off = (uint8_t)take(in, 1);
	}
}

static void write_some(struct vfio_user_client *c, struct input *in)
{
	unsigned region, len;
	uint8_t buf[8];
	uint64_t off;

	place(in, &region, &off, &len);
	for (unsigned i = 0; i < len; i++)
		buf[i] = (uint8_t)take(in, 1);
	vfio_user_region_write(c, region, off, buf, len);
}

static void read_some(struct vfio_user_client *c, struct input *in)
{
	unsigned region, len;
	uint8_t buf[8];
	uint64_t off;

	place(in, &region, &off, &len);
	vfio_user_region_read(c, region, off, buf, len);
}

static void ask(struct vfio_user_client *c, struct input *in)
{
	struct vfio_user_irq_set set = {
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = (uint8_t)take(in, 1) % 4u,
		.start = (uint8_t)take(in, 1) % 3u,
		.count = 1,
		.data = &event_fd,
	};

	vfio_user_set_irqs(c, &set);
}

static void migrate(struct vfio_user_client *c, struct input *in)
{
	uint32_t state[2] = {(uint8_t)take(in, 1) % 8u, 0};
	uint8_t buf[64];

	vfio_user_feature(c, VFIO_DEVICE_FEATURE_SET | VFU_FEATURE_MIG_STATE, state, sizeof(state),
			  sizeof(state));
	if (state[0] == VFIO_USER_MIG_STOP_COPY)
		vfio_user_mig_read(c, buf, sizeof(buf));
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)take(in, 1);
	if (state[0] == VFIO_USER_MIG_RESUMING)
		vfio_user_mig_write(c, buf, sizeof(buf));
}

/* A driver that begins well gets further than random bytes do. */
static void begin(struct vfio_user_client *c, struct input *in)
{
	static const struct {
		uint8_t off, len;
		uint64_t value;
	} steps[] = {{VIRTIO_PCI_COMMON_STATUS, 1, 3},	     {VIRTIO_PCI_COMMON_GFSELECT, 4, 1},
		     {VIRTIO_PCI_COMMON_GF, 4, 1},	     {VIRTIO_PCI_COMMON_STATUS, 1, 11},
		     {VIRTIO_PCI_COMMON_Q_SIZE, 2, 16},	     {VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0},
		     {VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 4096}, {VIRTIO_PCI_COMMON_Q_USEDLO, 8, 8192},
		     {VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1},     {VIRTIO_PCI_COMMON_STATUS, 1, 15}};
	unsigned skip = (uint8_t)take(in, 1);

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (i != skip)
			vfio_user_region_write(c, 0, steps[i].off, &steps[i].value, steps[i].len);
}

static bool step(struct vfio_user_client *c, struct input *in)
{
	switch ((uint8_t)take(in, 1) % 16) {
	case 0:
		begin(c, in);
		break;
	case 1:
		vfio_user_reset(c);
		break;
	case 2:
		ask(c, in);
		break;
	case 3:
		migrate(c, in);
		break;
	case 4:
	case 5:
	case 6:
		read_some(c, in);
		break;
	default:
		write_some(c, in);
		break;
	}
	return in->left;
}

/* ---- the end of it ---- */

static void must_be_new(struct vfio_user_client *c)
{
	uint8_t status = 0xff;

	assert(!vfio_user_reset(c));
	for (unsigned i = 0; i < 10000 && status; i++) {
		assert(!vfio_user_region_read(c, 0, VIRTIO_PCI_COMMON_STATUS, &status, 1));
		if (status)
			usleep(100);
	}
	assert(!status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct vfio_user_mem mem = {.size = MEM_BYTES, .perm = VHOST_MAP_RW};
	struct vfio_user_client *c;

	make();
	assert(!vfio_user_client_new(path, 20000000000ull, &c, NULL));
	for (unsigned i = 0; i < MEM_BYTES; i += 4096)
		memcpy(memory + i, data, size < 4096 ? size : 4096);
	mem.fd = memory_fd;
	assert(!vfio_user_dma_map(c, &mem));
	for (unsigned i = 0; i < MAX_STEPS && step(c, &in); i++)
		;
	must_be_new(c);
	vfio_user_client_free(c);
	must_be_closed();
	return 0;
}
