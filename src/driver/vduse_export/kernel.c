// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ritual around a VDUSE device. The kernel says EINVAL to most of what it does not like, so
 * what is known of its rules is checked here, and said in words.
 *
 * Nobody attacks: the kernel is trusted. Its answers are used as they come; addresses and sizes of
 * rings are the driver's, and checked where they are used.
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"

/* ---- why there is no VDUSE ---- */

/* Does this kernel have the module? -1: nobody knows. */
static int have_module(const char *release)
{
	char path[VDE_PATH_BYTES], line[4096];
	int fd, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	fd = vde_sys_open(path, O_RDONLY);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f) {
		vdpa_fd_close(&fd);
		return -1;
	}
	while (!found && fgets(line, sizeof(line), f)) {
		size_t head = strcspn(line, ":");

		line[head] = '\0';
		found = strstr(line, "/vduse.ko") != NULL;
	}
	fclose(f);
	return found;
}

static int absent(struct vdpa_error *err)
{
	struct utsname u;
	int found;

	uname(&u);
	found = have_module(u.release);
	if (found > 0)
		return vdpa_error_set(
			err, ENODEV, NULL,
			"the kernel's module vduse is not loaded: \"modprobe vduse\", "
			"and virtio_vdpa or vhost_vdpa for what is to use the device");
	if (!found)
		return vdpa_error_set(err, EOPNOTSUPP, NULL,
				      "this kernel (%.100s) has no VDUSE: it was built without "
				      "CONFIG_VDPA_USER; Debian 13's kernel and later ones have it",
				      u.release);
	return vdpa_error_set(err, ENODEV, NULL,
			      "there is no " VDUSE_CONTROL ": \"modprobe vduse\", if this kernel "
			      "(%.100s) has it (CONFIG_VDPA_USER)",
			      u.release);
}

static int forbidden(const char *path, int code, struct vdpa_error *err)
{
	return vdpa_error_set(err, code, NULL,
			      "%s cannot be opened (%s): this needs root, or to own it and the "
			      "capability CAP_NET_ADMIN",
			      path, strerror(code));
}

/* ---- control node ---- */

static int control_ioctl(const struct vduse_client *control, unsigned long cmd, void *arg)
{
	return control->conn < 0 ? vde_sys_ioctl(control->fd, cmd, arg)
				 : vduse_client_ioctl(control, (uint32_t)cmd, arg, -1);
}

/* The highest version that both know. A kernel that is asked for one has it chosen. */
static int choose_api(const struct vduse_client *control, uint64_t *api)
{
	uint64_t best;
	int ret = control_ioctl(control, VDUSE_GET_API_VERSION, &best);

	if (ret)
		return ret;
	if (best > VDUSE_API_MAX)
		best = VDUSE_API_MAX;
	ret = control_ioctl(control, VDUSE_SET_API_VERSION, &best);
	if (!ret)
		*api = best;
	return ret;
}

static int kernel_open(struct vduse_client *control, struct vdpa_error *err)
{
	int fd = vde_sys_open(VDUSE_CONTROL, O_RDWR);

	*control = (struct vduse_client){.conn = -1, .fd = fd};
	if (fd >= 0)
		return 0;
	if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
		return absent(err);
	if (fd == -EACCES || fd == -EPERM)
		return forbidden(VDUSE_CONTROL, -fd, err);
	return vdpa_error_set(err, -fd, NULL, VDUSE_CONTROL ": %s", strerror(-fd));
}

static int endpoint_open(const char *endpoint, const char *name, struct vduse_client *c,
			 struct vdpa_error *err)
{
	int ret = vduse_client_open(endpoint, name, c);

	return ret ? vdpa_error_set(err, -ret, NULL, "%.200s, %.80s: %s", endpoint, name,
				    ret == -ENXIO   ? "nobody serves VDUSE there (uvdpad --vduse)"
				    : ret == -EBUSY ? "another process serves it"
				    : ret == -EDEADLK
					    ? "it is this daemon's own: its devices are on this bus"
					    : strerror(-ret))
		   : 0;
}

int vde_control_open(const char *endpoint, struct vduse_client *control, uint64_t *api,
		     struct vdpa_error *err)
{
	int ret = endpoint ? endpoint_open(endpoint, "control", control, err)
			   : kernel_open(control, err);

	if (ret)
		return ret;
	ret = choose_api(control, api);
	if (!ret)
		return 0;
	vduse_client_close(control);
	return vdpa_error_set(err, -ret, NULL, VDUSE_CONTROL ": no version of its interface: %s",
			      strerror(-ret));
}

/* ---- the device's node ---- */

static int kernel_device(struct vde *d, struct vdpa_error *err)
{
	char path[VDE_PATH_BYTES];
	int fd;

	snprintf(path, sizeof(path), "/dev/vduse/%s", d->id.name);
	fd = vde_sys_open(path, O_RDWR | O_NONBLOCK);
	if (fd >= 0) {
		d->fd = fd;
		return 0;
	}
	if (fd == -EBUSY)
		return vdpa_error_set(err, EBUSY, NULL, "%s: another process serves it", path);
	if (fd == -EACCES || fd == -EPERM)
		return forbidden(path, -fd, err);
	return vdpa_error_set(err, -fd, NULL, "%s: %s", path, strerror(-fd));
}

int vde_device_open(struct vde *d, struct vdpa_error *err)
{
	struct vduse_client c = {.timeout_ms = d->control.timeout_ms};
	int ret;

	if (!d->endpoint)
		return kernel_device(d, err);
	ret = endpoint_open(d->endpoint, d->id.name, &c, err);
	if (ret)
		return ret;
	d->fd = c.fd;
	d->conn = c.conn;
	return vdpa_fd_set_nonblock(d->fd, true);
}

void vde_device_close(struct vde *d)
{
	vdpa_fd_close(&d->fd);
	vdpa_fd_close(&d->conn);
}

int vde_ioctl(struct vde *d, unsigned long cmd, void *arg)
{
	const struct vduse_client c = {
		.conn = d->conn, .fd = d->fd, .timeout_ms = d->control.timeout_ms};
	int ret, fd = -1;

	if (d->conn < 0)
		return vde_sys_ioctl(d->fd, cmd, arg);
	if (cmd == VDUSE_VQ_SETUP_KICKFD)
		fd = ((const struct vduse_vq_eventfd *)arg)->fd;
	pthread_mutex_lock(&d->conn_lock);
	ret = vduse_client_ioctl(&c, (uint32_t)cmd, arg, fd);
	pthread_mutex_unlock(&d->conn_lock);
	return ret;
}

/* ---- features ---- */

/* Bits that VDUSE has no way for, of every type. */
#define NOT_OVER_VDUSE                                                                             \
	(VDPA_BIT(VIRTIO_F_SR_IOV) | VDPA_BIT(VIRTIO_F_NOTIFICATION_DATA) |                        \
	 VDPA_BIT(VIRTIO_F_NOTIF_CONFIG_DATA) | VDPA_BIT(VIRTIO_F_RING_RESET) | VDPA_BIT(41))

/*
 * The control queue of a NIC, which the kernel refuses, and what depends on it (virtio 1.3, section
 * 5.1.3.1): a driver that finds one without the other refuses the device.
 */
#define NET_CONTROL_QUEUE                                                                          \
	(VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |             \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_RX) | VDPA_BIT(VIRTIO_NET_F_CTRL_VLAN) |                       \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |            \
	 VDPA_BIT(VIRTIO_NET_F_MQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VDPA_BIT(50) |         \
	 VDPA_BIT(51) | VDPA_BIT(52) | VDPA_BIT(53) | VDPA_BIT(57) | VDPA_BIT(60))

/* An endpoint of ours takes control queues. */
static uint64_t refused(uint32_t device_id, bool endpoint)
{
	if (endpoint && device_id == VIRTIO_ID_NET)
		return NOT_OVER_VDUSE;
	if (device_id == VIRTIO_ID_NET)
		return NOT_OVER_VDUSE | NET_CONTROL_QUEUE;
	if (device_id == VIRTIO_ID_BLOCK)
		return NOT_OVER_VDUSE | VDPA_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	return NOT_OVER_VDUSE;
}

uint64_t vde_features(struct vdpa_device *vdev, bool packed, bool endpoint)
{
	uint32_t id = vdpa_get_device_id(vdev);
	uint64_t all = vdpa_get_device_features(vdev), without = all & refused(id, endpoint);
	char names[512];

	if (without)
		vdpa_dev_log(vdev, VDPA_LOG_INFO,
			     "vduse: not offered, since VDUSE has no way for it: %s",
			     vdpa_feature_names(id, without, names, sizeof(names)));
	if (!packed)
		all &= ~VDPA_BIT(VIRTIO_F_RING_PACKED);
	return (all & ~without) | VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM);
}

/* ---- create, set up, destroy ---- */

static int create_refused(const struct vde *d, int code, struct vdpa_error *err)
{
	const char *takes = "net (1), block (2) and, in newer kernels, fs (26)";
	uint32_t id = d->id.device_id;
	char names[256];

	if (code == EPERM || code == EACCES)
		return vdpa_error_set(err, code, NULL,
				      "the kernel does not let us create the device: uvdpad lacks "
				      "the capability CAP_NET_ADMIN");
	if (code == EINVAL && id != VIRTIO_ID_NET && id != VIRTIO_ID_BLOCK)
		return vdpa_error_set(err, EOPNOTSUPP, NULL,
				      "the kernel's VDUSE does not take devices of virtio type %u: "
				      "it takes %s",
				      id, takes);
	if (code == EINVAL && id == VIRTIO_ID_NET &&
	    !(d->id.features & VDPA_BIT(VIRTIO_F_VERSION_1)))
		return vdpa_error_set(err, EOPNOTSUPP, NULL,
				      "the kernel's VDUSE takes a NIC only with VERSION_1");
	return vdpa_error_set(err, code, NULL, "the kernel does not create the device: %s (%s)",
			      strerror(code),
			      vdpa_feature_names(id, d->id.features, names, sizeof(names)));
}

int vde_create(const struct vde *d, struct vdpa_error *err)
{
	struct vduse_dev_config *c = calloc(1, sizeof(*c) + d->id.config_bytes);
	int ret;

	if (!c)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	memcpy(c->name, d->id.name, sizeof(c->name));
	c->vendor_id = vdpa_get_vendor_id(d->vdev);
	c->device_id = d->id.device_id;
	c->features = d->id.features;
	c->vq_num = d->nvqs;
	c->vq_align = vdpa_get_vq_align(d->vdev);
	c->ngroups = d->id.api ? d->id.ngroups : 0;
	c->nas = d->id.api ? d->id.nas : 0;
	c->config_size = d->id.config_bytes;
	memcpy(c->config, d->config, d->id.config_bytes);
	ret = control_ioctl(&d->control, VDUSE_CREATE_DEV, c);
	free(c);
	if (ret == -EEXIST)
		return vdpa_error_set(
			err, EEXIST, NULL,
			"the kernel has a device called %.80s already: choose another "
			"\"name\"",
			d->id.name);
	return ret ? create_refused(d, -ret, err) : 0;
}

int vde_setup_vqs(struct vde *d, struct vdpa_error *err)
{
	for (uint32_t i = 0; i < d->nvqs; i++) {
		struct vduse_vq_config c = {
			.index = i,
			.max_size = vdpa_get_vq_size(d->vdev, (uint16_t)i),
			.group = d->id.api ? vdpa_get_vq_group(d->vdev, (uint16_t)i) : 0,
		};
		int ret = vde_ioctl(d, VDUSE_VQ_SETUP, &c);

		if (ret)
			return vdpa_error_set(err, -ret, NULL, "the kernel refuses queue %u: %s", i,
					      strerror(-ret));
	}
	return 0;
}

int vde_destroy(const struct vde *d)
{
	char arg[VDUSE_NAME_BYTES] = "";

	snprintf(arg, sizeof(arg), "%s", d->id.name);
	return control_ioctl(&d->control, VDUSE_DESTROY_DEV, arg);
}

/* ---- memory ---- */

int vde_iotlb_fd(struct vde *d, unsigned asid, iova_t first, iova_t last,
		 struct vduse_iotlb_entry *entry)
{
	struct vduse_iotlb_entry_v0 v0 = {.start = first, .last = last};
	int fd;

	*entry = (struct vduse_iotlb_entry){.start = first, .last = last, .asid = asid};
	if (d->id.api) {
		fd = vde_ioctl(d, VDUSE_IOTLB_GET_FD2, entry);
	} else {
		fd = vde_ioctl(d, VDUSE_IOTLB_GET_FD, &v0);
		entry->offset = v0.offset;
		entry->start = v0.start;
		entry->last = v0.last;
		entry->perm = v0.perm;
	}
	/* The kernel gives it without. */
	if (fd >= 0)
		vdpa_fd_set_cloexec(fd, true);
	return fd;
}
