// SPDX-License-Identifier: BSD-3-Clause
/*
 * The virtio bus of each context: names, and which driver is for which device.
 *
 * A context has a bus while it has virtio devices. The table that leads from one to the other is
 * the process's, because a context keeps no data for the floors above it; contexts do not see each
 * other through it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver/virtio/device.h"

struct virtio_bus {
	struct list link;
	struct vdpa_ctx *ctx;
	struct list devices; /* ordered by number */
};

static pthread_mutex_t buses_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list buses = LIST_INIT(buses);

static const struct virtio_driver *const drivers[] = {&virtio_blk_driver, &virtio_net_driver};

const struct virtio_driver *virtio_match(uint32_t device_id)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (drivers[i]->device_id == device_id)
			return drivers[i];
	}
	return NULL;
}

static struct virtio_bus *bus_find(struct vdpa_ctx *ctx, bool create)
{
	struct virtio_bus *bus;

	pthread_mutex_lock(&buses_lock);
	list_for_each_entry (bus, &buses, link) {
		if (bus->ctx == ctx)
			goto out;
	}
	bus = create ? calloc(1, sizeof(*bus)) : NULL;
	if (bus) {
		bus->ctx = ctx;
		list_init(&bus->devices);
		list_add_tail(&buses, &bus->link);
	}
out:
	pthread_mutex_unlock(&buses_lock);
	return bus;
}

int virtio_bus_add(struct virtio_device *dev)
{
	struct virtio_bus *bus = bus_find(dev->ctx, true);
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
	struct virtio_bus *bus = bus_find(dev->ctx, false);

	list_del(&dev->link);
	if (!bus || !list_empty(&bus->devices))
		return;
	pthread_mutex_lock(&buses_lock);
	list_del(&bus->link);
	pthread_mutex_unlock(&buses_lock);
	free(bus);
}

void virtio_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct virtio_device *dev),
		     void *arg)
{
	struct virtio_bus *bus = bus_find(ctx, false);
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
