// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the state of a device, as whoever sends it over could have made it. The input is
 * taken as it is, or as changes to a state that is good; it is loaded into a device of a kind that
 * the first byte chooses. Asserted: what is refused changes nothing, what is accepted is something
 * that this device could have got to, is saved again to the same, and runs without harm.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include <uvdpa/soft.h>
#include <uvdpa/vdpa.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWN_BYTES 8
#define STATE_MAX 4096
#define MEM_BYTES 65536
#define IOVA 0x10000ull
#define QUEUES 3
#define NUM_MAX 64

struct own {
	struct vdpa_soft soft;
	uint64_t own;
};

static struct own *own_of(struct vdpa_soft *dev)
{
	return (struct own *)(void *)((char *)dev - offsetof(struct own, soft));
}

static bool own_run(struct vdpa_soft *dev, struct vdpa_soft_vq *vq, unsigned budget)
{
	struct vringh_chain *chains[8];
	unsigned n = vdpa_soft_getdesc(vq, chains, budget < 8 ? budget : 8);

	for (unsigned i = 0; i < n; i++)
		vdpa_soft_complete(vq, chains[i], 0);
	return n != 0;
}

static int own_save(struct vdpa_soft *dev, void *buf, size_t *bytes)
{
	size_t room = *bytes;

	*bytes = OWN_BYTES;
	if (room < OWN_BYTES)
		return -ENOSPC;
	memcpy(buf, &own_of(dev)->own, OWN_BYTES);
	return 0;
}

static int own_load(struct vdpa_soft *dev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	if (bytes != OWN_BYTES)
		return vdpa_error_set(err, EINVAL, NULL, "%zu bytes of its own", bytes);
	memcpy(&own_of(dev)->own, buf, OWN_BYTES);
	return 0;
}

static const struct vdpa_soft_ops plain_ops = {.size = sizeof(plain_ops), .run = own_run};
static const struct vdpa_soft_ops own_ops = {
	.size = sizeof(own_ops),
	.run = own_run,
	.save_state = own_save,
	.load_state = own_load,
};

struct target {
	struct vdpa_ctx *ctx;
	struct vdpa_device *dev;
	struct vdpa_region *region;
	uint8_t mem[MEM_BYTES];
	uint8_t good[STATE_MAX];
	size_t good_bytes;
};

static void wait_for(struct target *t, bool *done)
{
	assert(!vdpa_ctx_wait(t->ctx, done, 20000000000ll));
}

static void set_true(void *arg, int result)
{
	*(bool *)arg = true;
}

static size_t save(struct target *t, uint8_t *buf)
{
	size_t bytes = STATE_MAX;

	assert(!t->dev->ext->save_state(t->dev, buf, &bytes));
	return bytes;
}

static int load(struct target *t, const uint8_t *buf, size_t bytes)
{
	struct vdpa_error err = {.msg = ""};
	/* Of exactly this size, so that a byte too many that is read is found. */
	uint8_t *exact = malloc(bytes ? bytes : 1);
	int r;

	assert(exact);
	memcpy(exact, buf, bytes);
	r = t->dev->ext->load_state(t->dev, exact, bytes, &err);
	assert(!r || err.msg[0]);
	free(exact);
	return r;
}

static void open_target(struct target *t, bool own)
{
	static const uint8_t config[24];
	struct vdpa_soft_params params = {
		.size = sizeof(params),
		.struct_size = sizeof(struct own),
		.ops = own ? &own_ops : &plain_ops,
		.name = "d0",
		.device_id = 42,
		.features = 7,
		.nvqs = QUEUES,
		.num_max = NUM_MAX,
		.config = config,
		.config_bytes = sizeof(config),
	};
	struct own *dev;

	assert(!vdpa_ctx_new(NULL, &t->ctx));
	dev = vdpa_soft_alloc(t->ctx, &params, NULL);
	assert(dev && !vdpa_soft_register(&dev->soft, NULL));
	t->dev = &dev->soft.vdpa;
	assert(!vdpa_region_wrap(t->mem, MEM_BYTES, 0, &t->region));
	assert(!vdpa_dma_map(t->dev, 0, IOVA, MEM_BYTES, vdpa_region_addr(t->region, 0),
			     VHOST_MAP_RW, t->region));
	t->good_bytes = save(t, t->good);
}

static void reset(struct target *t)
{
	bool done = false;

	assert(!vdpa_reset(t->dev, &(struct vdpa_done){set_true, &done}));
	wait_for(t, &done);
}

/* Changes to a good state: a place and a byte each; a tail of its own when the count is odd. */
static size_t changed(struct target *t, const uint8_t *data, size_t size, uint8_t *out)
{
	memcpy(out, t->good, t->good_bytes);
	for (size_t i = 0; i + 1 < size; i += 2)
		out[data[i] % t->good_bytes] = data[i + 1];
	return size & 1 ? (t->good_bytes + data[size - 1]) / 2 : t->good_bytes;
}

static void check_accepted(struct target *t, const uint8_t *given, size_t bytes)
{
	bool packed = vdpa_get_driver_features(t->dev) & VDPA_BIT(VIRTIO_F_RING_PACKED);
	uint8_t again[STATE_MAX];
	bool done = false;

	assert(save(t, again) == bytes && bytes == t->good_bytes);
	assert(!(vdpa_get_driver_features(t->dev) & ~vdpa_get_device_features(t->dev)));
	assert(!(vdpa_get_status(t->dev) & ~15));
	for (uint16_t i = 0; i < QUEUES; i++) {
		uint16_t num = t->dev->config->get_vq_size(t->dev, i);

		/* A packed ring has any size (virtio 1.3, section 2.8.10.1). */
		assert(num && num <= NUM_MAX && (packed || !(num & (num - 1))));
	}
	/* Where it stands, and the device's own: as given. */
	assert(!memcmp(again + 56, given + 56, bytes - 56));
	/* Rings of zeros, or nowhere. */
	vdpa_resume(t->dev);
	for (unsigned i = 0; i < 16; i++)
		vdpa_loop_run_once(vdpa_ctx_control(t->ctx), 0);
	assert(!vdpa_suspend(t->dev, &(struct vdpa_done){set_true, &done}));
	wait_for(t, &done);
}

static struct target *target(bool own)
{
	static struct target targets[2];
	struct target *t = &targets[own];

	if (!t->ctx)
		open_target(t, own);
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buf[STATE_MAX], before[STATE_MAX], after[STATE_MAX];
	struct target *t;
	size_t bytes, n;

	if (!size || size > STATE_MAX)
		return 0;
	t = target(data[0] & 1);
	reset(t);
	memset(t->mem, 0, MEM_BYTES);
	if (data[0] & 6) {
		bytes = changed(t, data + 1, size - 1, buf);
	} else {
		bytes = size - 1;
		memcpy(buf, data + 1, bytes);
	}
	n = save(t, before);
	if (!load(t, buf, bytes)) {
		check_accepted(t, buf, bytes);
		return 0;
	}
	assert(save(t, after) == n && !memcmp(before, after, n));
	return 0;
}
