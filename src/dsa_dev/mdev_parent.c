// SPDX-License-Identifier: BSD-3-Clause
/*
 * A software DSA as the parent of mediated devices. A type says how many queues of which mode a
 * device has; they are free ones, all of one group, since a device has the engines of one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dsa_dev/mdev_impl.h"

static struct dsa_mdev *of(struct mdev_device *mdev)
{
	return vdpa_container_of(mdev, struct dsa_mdev, mdev);
}

/* ---- types ---- */

static const char *const portals[] = {"trapped", "mapped", NULL};
static const char *const configurations[] = {"read-only", "guest", NULL};

static const struct vdpa_attr_spec attrs[] = {
	{.name = "portals",
	 .type = VDPA_ATTR_ENUM,
	 .choices = portals,
	 .help = "mapped: the guest writes descriptors to memory, which a processor watches all "
		 "the time; set it before a VMM connects"},
	{.name = "configuration",
	 .type = VDPA_ATTR_ENUM,
	 .choices = configurations,
	 .help = "who configures the queues; the first drivers (Linux 5.6) want to; set it before "
		 "a "
		 "VMM connects"},
	{0},
};

static const struct mdev_type mdev_types[] = {
	{.id = "1dwq-v1",
	 .name = "DSA with a dedicated queue",
	 .description = "Intel DSA (8086:0b25) with one dedicated work queue, configuration read "
			"only",
	 .device_api = "vfio-pci",
	 .attrs = attrs},
	{.id = "2dwq-v1",
	 .name = "DSA with two dedicated queues",
	 .description = "Intel DSA (8086:0b25) with two dedicated work queues, configuration read "
			"only",
	 .device_api = "vfio-pci",
	 .attrs = attrs},
	{.id = "1swq-v1",
	 .name = "DSA with a shared queue",
	 .description = "Intel DSA (8086:0b25) with one shared work queue, configuration read only",
	 .device_api = "vfio-pci",
	 .attrs = attrs},
	{0},
};

/* In the order of mdev_types. */
static const struct shape {
	unsigned nwqs;
	bool dedicated;
} shapes[] = {{1, true}, {2, true}, {1, false}};

static const struct shape *shape_of(const struct mdev_type *type)
{
	return &shapes[type - mdev_types];
}

static struct dsa_dev *dev_of(struct mdev_parent *parent)
{
	return vdpa_container_of(parent, struct dsa_dev, parent);
}

static bool is_free(const struct dsa_wq *wq, unsigned group, const struct shape *shape)
{
	return wq->state == DSA_WQ_ENABLED && wq->type == DSA_WQ_MDEV && wq->group == (int)group &&
	       wq->dedicated == shape->dedicated;
}

/* Free queues of a group, of which the first are stored. */
static unsigned free_wqs(struct dsa_dev *dev, unsigned group, const struct shape *shape,
			 struct dsa_wq **wqs)
{
	unsigned n = 0;

	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (is_free(&dev->wqs[i], group, shape))
			wqs[n++] = &dev->wqs[i];
	}
	return n;
}

static unsigned available_instances(struct mdev_parent *parent, const struct mdev_type *type)
{
	const struct shape *shape = shape_of(type);
	struct dsa_dev *dev = dev_of(parent);
	struct dsa_wq *wqs[DSA_WQS_MAX];
	unsigned n = 0;

	for (unsigned g = 0; g < dev->ngroups; g++)
		n += free_wqs(dev, g, shape, wqs) / shape->nwqs;
	return n;
}

/* Of the first group that has enough. */
static bool find_wqs(struct dsa_dev *dev, const struct shape *shape, struct dsa_wq **wqs)
{
	for (unsigned g = 0; g < dev->ngroups; g++) {
		if (free_wqs(dev, g, shape, wqs) >= shape->nwqs)
			return true;
	}
	return false;
}

uint32_t dsa_mdev_pasid(const struct dsa_mdev *m)
{
	return m->pasid;
}

static int create(struct mdev_device *mdev, struct vdpa_error *err)
{
	const struct shape *shape = shape_of(mdev->type);
	struct dsa_dev *dev = dev_of(mdev->parent);
	struct dsa_wq *wqs[DSA_WQS_MAX];
	struct dsa_mdev *m = of(mdev);
	int r;

	if (!find_wqs(dev, shape, wqs))
		return vdpa_error_set(err, EUSERS, dev->name,
				      "no group has %u %s queue%s of type mdev, enabled and free",
				      shape->nwqs, shape->dedicated ? "dedicated" : "shared",
				      shape->nwqs == 1 ? "" : "s");
	m->dev = dev;
	m->pasid = dsa_new_pasid(dev);
	r = dsa_mdev_build(m, wqs, shape->nwqs);
	if (!r)
		return 0;
	return vdpa_error_set(err, -r, dev->name,
			      r == -ENOSPC ? "no slot of interrupt message storage is free"
					   : "no memory for the device");
}

static void removed(void *arg, int result)
{
	struct dsa_mdev *m = arg;
	struct vdpa_done done = m->remove_done;
	struct dsa_dev *dev = m->dev;

	dsa_mdev_demolish(m);
	vdpa_done_call(&done, 0);
	if (dev->doomed)
		dsa_dev_drop(dev);
}

static void remove_mdev(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct dsa_mdev *m = of(mdev);
	const struct vdpa_done then = {removed, m};

	m->remove_done = *done;
	dsa_mdev_reset(m, &then);
}

/* ---- attributes ---- */

static int set_portals(struct dsa_mdev *m, const char *value, struct vdpa_error *err)
{
	if (!strcmp(value, "mapped"))
		return dsa_mdev_map_portals(m, err);
	dsa_mdev_unmap_portals(m);
	return 0;
}

static int set_attr(struct mdev_device *mdev, const char *key, const char *value,
		    struct vdpa_error *err)
{
	struct dsa_mdev *m = of(mdev);

	if (m->srv)
		return vdpa_error_set(
			err, EBUSY, mdev->uuid,
			"it is being served: unbind it, or give %s when it is created", key);
	if (!strcmp(key, "portals"))
		return set_portals(m, value, err);
	if (dsa_mdev_set_configurable(m, !strcmp(value, "guest")))
		return vdpa_error_set(err, ENOMEM, mdev->uuid, "no memory for registers");
	return 0;
}

static void emit_u64(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, key, text);
}

static void show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	struct dsa_mdev *m = of(mdev);
	struct dsa_vdev_stats stats;
	char wqs[DSA_WQS_MAX * sizeof(m->queues[0].wq->path)];
	size_t len = 0;

	for (unsigned i = 0; i < m->nqueues; i++)
		len += (size_t)snprintf(wqs + len, sizeof(wqs) - len, "%s%s", i ? " " : "",
					m->queues[i].wq->path);
	emit(arg, "wq", wqs);
	emit_u64(emit, arg, "pasid", m->pasid);
	emit(arg, "portals", portals[m->pages_fd >= 0]);
	emit(arg, "configuration", configurations[m->configurable]);
	dsa_vdev_get_stats(m->vdev, &stats);
	emit_u64(emit, arg, "submitted", stats.submitted);
	emit_u64(emit, arg, "dropped", stats.dropped);
	emit_u64(emit, arg, "retried", stats.retried);
	emit_u64(emit, arg, "torn", stats.torn);
	emit_u64(emit, arg, "commands", stats.commands);
	emit_u64(emit, arg, "errors", stats.errors);
	emit_u64(emit, arg, "refused", stats.refused);
}

/* ---- the parent ---- */

static const struct mdev_parent_ops parent_ops = {
	.size = sizeof(parent_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct dsa_mdev),
	.offset = offsetof(struct dsa_mdev, mdev),
	.create = create,
	.remove = remove_mdev,
	.available_instances = available_instances,
	.set_attr = set_attr,
	.show = show,
};

int dsa_mdev_register(struct dsa_dev *dev, struct vdpa_error *err)
{
	dev->parent = (struct mdev_parent){
		.name = dev->name,
		.driver = "idxd",
		.help = "software DSA",
		.ops = &parent_ops,
		.types = mdev_types,
	};
	return mdev_register_parent(dev->ctx, &dev->parent, err);
}

/* ---- for administrators ---- */

static bool is_dsa(const struct mdev_device *mdev)
{
	return mdev->parent->ops == &parent_ops;
}

struct dsa_vdev *dsa_mdev_vdev(struct mdev_device *mdev)
{
	return is_dsa(mdev) ? of(mdev)->vdev : NULL;
}

static void inject_error(struct dsa_mdev *m)
{
	const struct dsa_error error = {.status = 0x10};

	dsa_vdev_error(m->vdev, 0, &error);
}

static void inject_revocation(struct dsa_mdev *m)
{
	dsa_vdev_revoke(m->vdev);
}

static void inject_halt(struct dsa_mdev *m)
{
	dsa_vdev_halt(m->vdev, DSA_RESET_SOFTWARE);
}

static void inject_flr(struct dsa_mdev *m)
{
	dsa_vdev_halt(m->vdev, DSA_RESET_FLR);
}

static void inject_bus_error(struct dsa_mdev *m)
{
	dsa_mdev_signal(m, VFIO_PCI_ERR_IRQ_INDEX, 0);
}

static void inject_request(struct dsa_mdev *m)
{
	dsa_mdev_signal(m, VFIO_PCI_REQ_IRQ_INDEX, 0);
}

int dsa_mdev_inject(struct mdev_device *mdev, const char *what, struct vdpa_error *err)
{
	static const struct {
		const char *name;
		void (*fn)(struct dsa_mdev *m);
	} kinds[] = {
		{"swerr", inject_error}, {"revoke", inject_revocation}, {"halt", inject_halt},
		{"flr", inject_flr},	 {"err", inject_bus_error},	{"request", inject_request},
	};

	if (!is_dsa(mdev))
		return vdpa_error_set(err, ENOTTY, mdev->uuid, "this device is no DSA");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i].name, what)) {
			kinds[i].fn(of(mdev));
			return 0;
		}
	}
	return vdpa_error_set(err, EINVAL, mdev->uuid,
			      "\"%s\": swerr, revoke, halt, flr, err and request can be injected",
			      what);
}
