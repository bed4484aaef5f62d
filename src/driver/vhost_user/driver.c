// SPDX-License-Identifier: BSD-3-Clause
/*
 * The bus driver "vhost-user": a device, a listener, and at most one session. Loops tell the
 * control thread of what has to be sent by one message, which is queued once however much there is
 * to tell.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what loops tell ---- */

static void dev_event(struct vdpa_loop_msg *msg)
{
	struct vu_dev *dev = vdpa_container_of(msg, struct vu_dev, event_msg);

	atomic_store(&dev->event_posted, false);
	if (dev->session && !dev->session->closing)
		vu_backend_work(dev->session);
}

void vu_dev_post(struct vu_dev *dev)
{
	if (!atomic_exchange(&dev->event_posted, true))
		vdpa_loop_post(vdpa_ctx_control(dev->vdev->ctx), &dev->event_msg, dev_event);
}

static void config_changed(void *priv)
{
	struct vu_dev *dev = priv;

	atomic_store(&dev->config_changed, true);
	vu_dev_post(dev);
}

void vu_dev_opened(struct vu_dev *dev)
{
	struct vdpa_callback cb = {.callback = config_changed, .priv = dev, .trigger = -1};

	pthread_mutex_lock(&dev->miss_lock);
	dev->nmisses = 0;
	pthread_mutex_unlock(&dev->miss_lock);
	atomic_store(&dev->config_changed, false);
	vhost_vdpa_set_config_cb(dev->v, &cb);
}

/* ---- bind and unbind ---- */

static void dev_free(struct vu_dev *dev)
{
	vhost_vdpa_free(dev->v);
	pthread_mutex_destroy(&dev->miss_lock);
	free(dev->path);
	free(dev);
}

static int dev_new(struct vdpa_device *vdev, const struct vdpa_attr *attrs, struct vu_dev **out)
{
	struct vu_dev *dev =
		calloc(1, sizeof(*dev) + (size_t)VU_MISSES * vdev->nvqs * sizeof(*dev->miss));
	const char *mode = vdpa_attr_get(attrs, "mode");
	const char *then = vdpa_attr_get(attrs, "on_disconnect");
	struct vhost_vdpa_params params = {
		.size = sizeof(params),
		.flags = VHOST_VDPA_F_LIVE_RINGS,
		.resolve = vu_mem_resolve,
		.arg = dev,
	};
	int err;

	if (!dev)
		return -ENOMEM;
	dev->vdev = vdev;
	vu_listen_init(dev);
	dev->miss = (struct vhost_iotlb_msg *)(void *)(dev + 1);
	dev->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	dev->mode = mode && !strcmp(mode, "client") ? VU_CLIENT : VU_SERVER;
	dev->relisten = !then || !strcmp(then, "relisten");
	dev->control_queue = vdpa_attr_bool(attrs, "control_queue", false);
	dev->iommu = vdpa_attr_bool(attrs, "iommu", true);
	pthread_mutex_init(&dev->miss_lock, NULL);
	err = vhost_vdpa_new(vdev, &params, &dev->v);
	if (err) {
		dev_free(dev);
		return err;
	}
	*out = dev;
	return 0;
}

/* A NIC's control queue, the odd one, is the front end's, unless it is to have the device's. */
unsigned vu_rings(struct vdpa_device *vdev, bool control_queue)
{
	bool net = vdpa_get_device_id(vdev) == VIRTIO_ID_NET;

	return net && !control_queue ? vdev->nvqs & ~1u : vdev->nvqs;
}

static int probe(struct vdpa_device *vdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	unsigned rings = vu_rings(vdev, vdpa_attr_bool(attrs, "control_queue", false));
	struct vu_dev *dev;
	int ret;

	if (rings > VHOST_USER_MAX_VRINGS)
		return vdpa_error_set(err, ENOTSUP, vdev->name,
				      "%u queues; the vhost-user protocol has room for %u", rings,
				      VHOST_USER_MAX_VRINGS);
	ret = dev_new(vdev, attrs, &dev);
	if (ret)
		return vdpa_error_set(err, -ret, vdev->name, "%s", strerror(-ret));
	vdpa_set_drvdata(vdev, dev);
	ret = vu_listen_start(dev, attrs, err);
	if (ret) {
		vdpa_set_drvdata(vdev, NULL);
		dev_free(dev);
	}
	return ret;
}

static void remove_passed(struct vdpa_loop_sync *sync)
{
	struct vu_dev *dev = vdpa_container_of(sync, struct vu_dev, sync);
	struct vdpa_done done = dev->removed;

	vdpa_set_drvdata(dev->vdev, NULL);
	dev_free(dev);
	vdpa_done_call(&done, 0);
}

/* Messages of loops that are under way still name the device: wait until they have arrived. */
static void remove_finish(struct vu_dev *dev)
{
	vdpa_loop_group_sync(vdpa_ctx_loops(dev->vdev->ctx), &dev->sync, remove_passed);
}

static void remove_dev(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vu_dev *dev = vdpa_get_drvdata(vdev);

	dev->removing = true;
	dev->removed = *done;
	vu_listen_stop(dev);
	if (dev->session)
		vu_session_close(dev->session, NULL);
	else
		remove_finish(dev);
}

void vu_dev_session_gone(struct vu_dev *dev)
{
	if (dev->removing) {
		remove_finish(dev);
		return;
	}
	if (dev->relisten && dev->mode != VU_CONNECTED) {
		vu_listen_resume(dev);
		return;
	}
	vu_listen_stop(dev);
	vdpa_dev_log(dev->vdev, VDPA_LOG_INFO, "vhost-user: no front end can come any more");
	vdpa_notify(dev->vdev, VDPA_EVENT_CHANGE, VHOST_USER_EVENT_FINISHED);
}

/* ---- show ---- */

static void show_number(vdpa_emit_fn emit, void *arg, const char *key, const char *fmt,
			unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), fmt, value);
	emit(arg, key, text);
}

static void show_session(const struct vu_session *s, vdpa_emit_fn emit, void *arg)
{
	/* Two bits are the protocol's, not the device's; lines of their own tell of them. */
	uint64_t features = s->features & ~VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES) &
			    ~VDPA_BIT(VHOST_F_LOG_ALL);
	char key[32], text[96], names[768];

	emit(arg, "features",
	     vdpa_feature_names(vdpa_get_device_id(s->dev->vdev), features, names, sizeof(names)));
	vu_show_proto(s->proto, emit, arg);
	emit(arg, "status", vdpa_status_names((uint8_t)s->status, names, sizeof(names)));
	show_number(emit, arg, "memory_regions", "%llu", s->nregions);
	emit(arg, "addresses", s->iommu ? "iotlb" : "memory-table");
	emit(arg, "dirty_log", s->logging && s->log ? "on" : "off");
	emit(arg, "inflight", s->inflight.region ? "on" : "off");
	for (unsigned i = 0; i < s->nrings; i++) {
		const struct vu_ring *r = &s->ring[i];

		if (!r->num && !r->started && !r->enabled)
			continue;
		snprintf(key, sizeof(key), "ring%u", i);
		snprintf(text, sizeof(text), "%s %s%s num %u base %u%s",
			 r->started ? "started" : "stopped", r->enabled ? "enabled" : "disabled",
			 r->running ? " running" : "", r->num, vu_ring_base(r),
			 r->poll ? " polled" : "");
		emit(arg, key, text);
	}
}

static void show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	const struct vu_dev *dev = vdpa_get_drvdata(vdev);
	bool connected;

	if (!dev)
		return;
	connected = dev->session && !dev->session->closing;
	emit(arg, "path", dev->path ? dev->path : "");
	emit(arg, "mode", dev->mode == VU_CLIENT ? "client" : "server");
	emit(arg, "connected", connected ? "yes" : "no");
	show_number(emit, arg, "connections", "%llu", dev->connections);
	show_number(emit, arg, "messages", "%llu", dev->messages);
	show_number(emit, arg, "refused", "%llu", dev->refused);
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_END; i++) {
		char key[48];

		if (!dev->count[i])
			continue;
		snprintf(key, sizeof(key), "message_%s", vu_msg_spec(i)->name);
		show_number(emit, arg, key, "%llu", dev->count[i]);
	}
	if (connected)
		show_session(dev->session, emit, arg);
}

/* ---- table ---- */

static const char *const modes[] = {"server", "client", NULL};
static const char *const on_disconnect[] = {"relisten", "exit-notify", NULL};

static const struct vdpa_attr_spec attrs[] = {
	{.name = "path", .type = VDPA_ATTR_PATH, .help = "socket to listen on or connect to"},
	{.name = "fd",
	 .type = VDPA_ATTR_FD,
	 .help = "listening or connected socket, instead of path"},
	{.name = "mode",
	 .type = VDPA_ATTR_ENUM,
	 .choices = modes,
	 .help = "who connects (default server)"},
	{.name = "on_disconnect",
	 .type = VDPA_ATTR_ENUM,
	 .choices = on_disconnect,
	 .help = "what follows a session (default relisten)"},
	VDPA_UNIX_ATTR_SPECS,
	{.name = "control_queue",
	 .type = VDPA_ATTR_BOOL,
	 .help = "offer a NIC's control queue (default off)"},
	{.name = "iommu", .type = VDPA_ATTR_BOOL, .help = "offer ACCESS_PLATFORM (default on)"},
	{.name = NULL},
};

static const struct vdpa_driver driver = {
	.name = "vhost-user",
	.help = "serve a device on a vhost-user socket",
	.attrs = attrs,
	.probe = probe,
	.remove = remove_dev,
	.show = show,
};

const struct vdpa_driver *vhost_user_driver(void)
{
	return &driver;
}
