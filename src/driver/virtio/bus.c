// SPDX-License-Identifier: BSD-3-Clause
/* The virtio bus of a context: names, and which driver is for which device. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/device.h"

/* Made with the context's first virtio device, freed with the context. */
struct virtio_bus {
	struct list devices; /* ordered by number */
};

static const char bus_key;

static const struct virtio_driver *const drivers[] = {&virtio_blk_driver, &virtio_net_driver};

const struct virtio_driver *virtio_match(uint32_t device_id)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (drivers[i]->device_id == device_id)
			return drivers[i];
	}
	return NULL;
}

static void bus_free(void *data)
{
	struct virtio_bus *bus = data;

	assert(list_empty(&bus->devices));
	free(bus);
}

static struct virtio_bus *bus_find(struct vdpa_ctx *ctx)
{
	return vdpa_ctx_get_data(ctx, &bus_key);
}

static struct virtio_bus *bus_get(struct vdpa_ctx *ctx)
{
	struct virtio_bus *bus = bus_find(ctx);

	if (bus)
		return bus;
	bus = calloc(1, sizeof(*bus));
	if (!bus)
		return NULL;
	list_init(&bus->devices);
	if (vdpa_ctx_set_data(ctx, &bus_key, bus, bus_free)) {
		free(bus);
		return NULL;
	}
	return bus;
}

int virtio_bus_add(struct virtio_device *dev)
{
	struct virtio_bus *bus = bus_get(dev->ctx);
	struct virtio_device *other;
	struct list *before;

	if (!bus)
		return -ENOMEM;
	/* The smallest number that is free; the list stays ordered. */
	dev->index = 0;
	before = &bus->devices;
	list_for_each_entry (other, &bus->devices, link) {
		if (other->index != dev->index) {
			before = &other->link;
			break;
		}
		dev->index++;
	}
	snprintf(dev->name, sizeof(dev->name), "virtio%u", dev->index);
	list_add_tail(before, &dev->link);
	return 0;
}

void virtio_bus_del(struct virtio_device *dev)
{
	list_del(&dev->link);
}

void virtio_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct virtio_device *dev),
		     void *arg)
{
	struct virtio_bus *bus = bus_find(ctx);
	struct virtio_device *dev, *tmp;

	if (!bus)
		return;
	list_for_each_entry_safe (dev, tmp, &bus->devices, link) {
		if (!fn(arg, dev))
			return;
	}
}

struct by_name {
	const char *name;
	struct virtio_device *dev;
};

static bool match_name(void *arg, struct virtio_device *dev)
{
	struct by_name *by = arg;

	if (strcmp(dev->name, by->name))
		return true;
	by->dev = dev;
	return false;
}

struct virtio_device *virtio_find(struct vdpa_ctx *ctx, const char *name)
{
	struct by_name by = {.name = name};

	virtio_for_each(ctx, match_name, &by);
	return by.dev;
}
