// SPDX-License-Identifier: BSD-3-Clause
/*
 * Does a transport do what the virtio bus asks of it? Each operation is run and judged by what can
 * be seen afterwards, on the real device. The order is that of a driver's life: reset, status,
 * features, configuration, memory, queues, running, reset.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/device.h"

#define ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER (ACK | VIRTIO_CONFIG_S_DRIVER)
#define FEATURES_OK (DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define RUNNING (FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

struct conform {
	struct virtio_device *dev;
	virtio_report_fn report;
	void *arg;
	struct vdpa_done done;
	bool failed;
	bool had_driver;
};

static void VDPA_PRINTF(4, 5)
	check(struct conform *c, const char *op, bool pass, const char *fmt, ...)
{
	char detail[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	if (!pass)
		c->failed = true;
	c->report(c->arg, op, pass, detail);
}

static void check_is_reset(struct conform *c, const char *op, int result)
{
	struct virtio_device *dev = c->dev;
	uint8_t status = dev->ops->get_status(dev);
	unsigned ready = 0;

	for (unsigned i = 0; i < dev->ops->num_vqs(dev); i++)
		ready += dev->ops->vq_ready(dev, (uint16_t)i);
	check(c, op, !result && !status && !ready, "result %d, status %#x, %u queues ready", result,
	      status, ready);
}

static void check_identity(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	unsigned n = dev->ops->num_vqs(dev);

	check(c, "bus_name", dev->bus_name[0], "%s", dev->bus_name);
	check(c, "device_id", dev->id, "%u", dev->id);
	check(c, "num_vqs", n > 0 && n <= 65536, "%u", n);
}

static void check_status(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	int r = dev->ops->set_status(dev, ACK);

	if (!r)
		r = dev->ops->set_status(dev, DRIVER);
	check(c, "set_status", !r, "result %d", r);
	check(c, "get_status", dev->ops->get_status(dev) == DRIVER, "%#x",
	      dev->ops->get_status(dev));
}

static void check_features(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	uint64_t offered = dev->ops->get_features(dev);
	uint64_t bogus = ~offered & 0x7fffull;
	int r;

	check(c, "get_features", offered >> VIRTIO_F_VERSION_1 & 1, "%#llx",
	      (unsigned long long)offered);
	dev->features =
		offered & (VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM));
	if (bogus) {
		dev->features |= bogus & -bogus;
		r = dev->ops->finalize_features(dev, NULL);
		check(c, "finalize_features_not_offered", r < 0, "result %d", r);
		dev->features &= ~bogus;
	}
	r = dev->ops->finalize_features(dev, NULL);
	if (!r)
		r = dev->ops->set_status(dev, FEATURES_OK);
	check(c, "finalize_features", !r && dev->ops->get_status(dev) == FEATURES_OK,
	      "result %d, status %#x", r, dev->ops->get_status(dev));
}

/* The first bytes are in the configuration of every device type that has one. */
static void check_config(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	uint8_t first[4], again[4];
	uint32_t generation = virtio_get_generation(dev);
	int r = virtio_config_read(dev, 0, first, sizeof(first));
	int r2 = virtio_config_read(dev, 0, again, sizeof(again));

	check(c, "get_config", !r && !r2 && !memcmp(first, again, sizeof(first)), "results %d %d",
	      r, r2);
	check(c, "generation", virtio_get_generation(dev) == generation, "%u", generation);
	r = dev->ops->get(dev, 0x7ffffff0u, first, sizeof(first));
	check(c, "get_config_outside", r < 0, "result %d", r);
	/* What it says already: nothing changes, whether it may be written or not. */
	r = dev->ops->set(dev, 0, again, sizeof(again));
	check(c, "set_config",
	      !r || r == -EPERM || r == -EROFS || r == -EOPNOTSUPP || r == -EREMOTEIO, "result %d",
	      r);
	r = dev->ops->set(dev, 0xfffffffeu, again, sizeof(again));
	check(c, "set_config_outside", r < 0, "result %d", r);
}

static void check_memory(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	iova_t iova = 0, found = 0;
	void *mem = virtio_mem_alloc(dev, 8192, &iova);
	int r = mem ? virtio_mem_iova(dev, mem, 8192, &found) : -ENOMEM;

	check(c, "map", mem && !r && found == iova, "iova %#llx", (unsigned long long)iova);
	virtio_mem_free(dev, mem);
}

static void check_queues(struct conform *c)
{
	struct virtio_device *dev = c->dev;
	uint32_t max = dev->ops->vq_num_max(dev, 0);
	struct virtio_vq_params params = {.num = 3};
	struct virtio_vq *vq;
	int r;

	check(c, "vq_num_max", max && max <= 32768, "%u", max);
	r = virtio_setup_vq(dev, &params, &vq, NULL);
	check(c, "find_vqs_size_3", r == -EINVAL, "result %d", r);
	params.num = 65536;
	r = virtio_setup_vq(dev, &params, &vq, NULL);
	check(c, "find_vqs_size_65536", r == -EINVAL, "result %d", r);
	params = (struct virtio_vq_params){.index = (uint16_t)dev->ops->num_vqs(dev)};
	r = virtio_setup_vq(dev, &params, &vq, NULL);
	check(c, "find_vqs_index", r == -EINVAL, "result %d", r);
	params.index = 0;
	r = virtio_setup_vq(dev, &params, &vq, NULL);
	check(c, "find_vqs", !r && dev->ops->vq_ready(dev, 0), "result %d, %u entries", r,
	      r ? 0 : vq->num);
	r = virtio_setup_vq(dev, &params, &vq, NULL);
	check(c, "find_vqs_twice", r == -EBUSY, "result %d", r);
	r = dev->ops->set_status(dev, RUNNING);
	check(c, "driver_ok", !r && dev->ops->get_status(dev) == RUNNING, "result %d, status %#x",
	      r, dev->ops->get_status(dev));
	if (dev->nvqs) {
		dev->ops->notify(dev, dev->vqs[0]);
		check(c, "notify", true, "%s", "");
	}
}

/* An attach that fails detaches by itself, and tells dev->done its error. */
static void end(struct virtio_device *dev, int result)
{
	struct conform *c = dev->conform;
	bool attach = c->had_driver && !dev->remove_wanted;
	int r;

	check_is_reset(c, "reset_running", result);
	check(c, "del_vqs", dev->nvqs == 0, "%u left", dev->nvqs);
	r = c->failed ? -EIO : 0;
	dev->done = c->done;
	dev->conform = NULL;
	free(c);
	if (!attach)
		virtio_life_ended(dev, VIRTIO_DETACHED, r);
	else if (!virtio_start(dev, NULL))
		virtio_life_ended(dev, VIRTIO_ATTACHED, r);
}

static void begin(struct virtio_device *dev, int result)
{
	struct conform *c = dev->conform;

	check_identity(c);
	check_is_reset(c, "reset", result);
	check_status(c);
	check_features(c);
	check_config(c);
	check_memory(c);
	check_queues(c);
	virtio_detach(dev, end);
}

int virtio_conform(struct virtio_device *dev, virtio_report_fn report, void *arg,
		   const struct vdpa_done *done)
{
	struct conform *c;

	if (dev->state == VIRTIO_BUSY)
		return -EBUSY;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->dev = dev;
	c->report = report;
	c->arg = arg;
	c->done = done ? *done : (struct vdpa_done){0};
	c->had_driver = dev->drv != NULL;
	dev->conform = c;
	virtio_detach(dev, begin);
	return 0;
}
