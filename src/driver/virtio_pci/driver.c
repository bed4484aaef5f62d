// SPDX-License-Identifier: BSD-3-Clause
/*
 * Bind, unbind, show. While it is bound there is a server; while a client is there the device is
 * its: opened when it comes, reset and given back when it goes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/unix.h"
#include "driver/virtio_pci/virtio_pci.h"

/* Features of transports that are not offered: doorbells carry no data (an eventfd could not), and
 * there are no virtual functions and no administration queue. */
#define FEATURES_OFF                                                                               \
	(VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA) | VDPA_BIT(VIRTIO_F_NOTIF_CONFIG_DATA) |             \
	 VDPA_BIT(VIRTIO_F_SR_IOV) | VDPA_BIT(VIRTIO_F_ADMIN_VQ))

/* ---- birth ---- */

static void vpci_free(struct vpci *d)
{
	vpci_mig_free(d);
	vpci_vqs_free(d);
	vhost_vdpa_free(d->v);
	pci_dev_free(d->pci);
	pthread_mutex_destroy(&d->lock);
	free(d->path);
	free(d);
}

static int check_features(struct vpci *d, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	uint64_t features = vdpa_get_device_features(d->vdev) & ~FEATURES_OFF;

	if (!vdpa_attr_bool(attrs, "packed", true))
		features &= ~VDPA_BIT(VIRTIO_F_RING_PACKED);
	if (!(features & VDPA_BIT(VIRTIO_F_VERSION_1)))
		return vdpa_error_set(err, EOPNOTSUPP, NULL,
				      "the device does not offer VERSION_1, and virtio-pci has no "
				      "legacy interface");
	d->offered[0] = features;
	d->offered[1] = vdpa_get_features_word(d->vdev, 1);
	return 0;
}

static int vpci_new(struct vdpa_device *vdev, struct vpci **out)
{
	struct vhost_vdpa_params params = {.size = sizeof(params),
					   .flags = VHOST_VDPA_F_LIVE_RINGS};
	struct vpci *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->vdev = vdev;
	d->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	pthread_mutex_init(&d->lock, NULL);
	r = vpci_vqs_new(d);
	if (!r)
		r = vhost_vdpa_new(vdev, &params, &d->v);
	if (!r) {
		vpci_regs_init(d);
		*out = d;
		return 0;
	}
	vpci_free(d);
	return r;
}

static int serve(struct vpci *d, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct pci_vfio vfio;
	struct vfio_user_config config = {
		.size = sizeof(config),
		.path = d->path,
		.name = d->vdev->name,
		.attrs = attrs,
		.log = vdpa_ctx_log(d->vdev->ctx),
		.ops = vpci_ops(d->vdev),
		.arg = d,
	};
	struct vfio_user_server *server;
	int r;

	pci_vfio_describe(d->pci, &vfio, &config);
	r = vfio_user_server_new(vdpa_loop_urgent(vdpa_get_vq_loop(d->vdev, 0)), &config, &server,
				 err);
	if (!r)
		atomic_store(&d->server, server);
	return r;
}

/* What people change at the device is seen at the next look, also before there is a driver that
 * would be told. */
static void event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct vpci *d = vdpa_container_of(sub, struct vpci, events);

	if (event->vdev != d->vdev ||
	    (event->type != VDPA_EVENT_CHANGE && event->type != VDPA_EVENT_BROKEN))
		return;
	pthread_mutex_lock(&d->lock);
	d->wish.look = true;
	pthread_mutex_unlock(&d->lock);
	vpci_wake(d);
}

static int begin(struct vpci *d, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *path = vdpa_attr_get(attrs, "path");
	int r;

	if (!path)
		return vdpa_error_set(err, EINVAL, NULL, "\"path\" is needed: the socket");
	r = check_features(d, attrs, err);
	d->layout.msix = vdpa_attr_bool(attrs, "msix", true);
	if (!r)
		r = vpci_layout(d, err);
	if (r)
		return r;
	d->path = strdup(path);
	if (!d->path)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	vpci_look(d);
	return serve(d, attrs, err);
}

static int probe(struct vdpa_device *vdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vpci *d;
	int r = vpci_new(vdev, &d);

	if (r)
		return vdpa_error_set(err, -r, vdev->name, "%s", strerror(-r));
	r = begin(d, attrs, err);
	if (r) {
		vpci_free(d);
		return r;
	}
	vdpa_set_drvdata(vdev, d);
	d->events.fn = event;
	vdpa_subscribe(vdev->ctx, &d->events);
	return 0;
}

/* ---- unbind ---- */

/* Messages of loops that were under way have arrived. */
static void passed(struct vdpa_loop_sync *sync)
{
	struct vpci *d = vdpa_container_of(sync, struct vpci, sync);
	struct vdpa_done done = d->removed;

	vdpa_set_drvdata(d->vdev, NULL);
	vpci_free(d);
	vdpa_done_call(&done, 0);
}

static void server_gone(void *arg, int result)
{
	struct vpci *d = arg;

	vdpa_loop_group_sync(vdpa_ctx_loops(d->vdev->ctx), &d->sync, passed);
}

static void remove_dev(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vpci *d = vdpa_get_drvdata(vdev);

	d->removed = *done;
	vdpa_unsubscribe(vdev->ctx, &d->events);
	vfio_user_server_free(d->server, &(struct vdpa_done){server_gone, d});
}

/* ---- show ---- */

static void show_number(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, key, text);
}

static void show_server(struct vpci *d, vdpa_emit_fn emit, void *arg)
{
	struct vfio_user_stats stats;

	vfio_user_server_stats(d->server, &stats);
	show_number(emit, arg, "clients", stats.clients);
	show_number(emit, arg, "commands", stats.commands);
	show_number(emit, arg, "refused", stats.refused);
	show_number(emit, arg, "reads", stats.reads);
	show_number(emit, arg, "writes", stats.writes);
	show_number(emit, arg, "posted", stats.posted);
	show_number(emit, arg, "maps", stats.maps);
}

static void show_queue(const struct vpci_vq *q, vdpa_emit_fn emit, void *arg)
{
	char key[32], text[96];

	if (!q->running)
		return;
	snprintf(key, sizeof(key), "queue%u", q->idx);
	snprintf(text, sizeof(text), "size %u vector %d doorbells %llu calls %llu", q->size,
		 (int16_t)atomic_load(&q->vector),
		 (unsigned long long)atomic_load_explicit(&q->doorbells, memory_order_relaxed),
		 (unsigned long long)atomic_load_explicit(&q->calls, memory_order_relaxed));
	emit(arg, key, text);
}

static void show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	struct vpci *d = vdpa_get_drvdata(vdev);
	char names[768];
	uint8_t status;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	status = d->regs.status;
	pthread_mutex_unlock(&d->lock);
	emit(arg, "path", d->path);
	emit(arg, "connected", atomic_load(&d->connected) ? "yes" : "no");
	show_server(d, emit, arg);
	emit(arg, "interrupts", pci_msi_enabled(d->pci) ? "msi-x" : "intx");
	emit(arg, "features",
	     vdpa_feature_names(vdpa_get_device_id(vdev), vdpa_get_driver_features(vdev), names,
				sizeof(names)));
	emit(arg, "status", vdpa_status_names(status, names, sizeof(names)));
	for (uint32_t i = 0; i < vdev->nvqs; i++)
		show_queue(&d->vq[i], emit, arg);
}

/* ---- table ---- */

static const struct vdpa_attr_spec attrs[] = {
	{.name = "path", .type = VDPA_ATTR_PATH, .help = "socket to listen on"},
	VDPA_UNIX_ATTR_SPECS,
	{.name = "packed", .type = VDPA_ATTR_BOOL, .help = "offer RING_PACKED (default on)"},
	{.name = "msix",
	 .type = VDPA_ATTR_BOOL,
	 .help = "offer MSI-X (default on; QEMU 11 dies when a device with it is unplugged)"},
	{.name = NULL},
};

static const struct vdpa_driver driver = {
	.name = "virtio-pci",
	.help = "serve a device as a whole PCI device on a vfio-user socket",
	.attrs = attrs,
	.probe = probe,
	.remove = remove_dev,
	.show = show,
};

const struct vdpa_driver *virtio_pci_driver(void)
{
	return &driver;
}
