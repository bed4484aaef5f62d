// SPDX-License-Identifier: BSD-3-Clause
#include "vduse_kernel.h"
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BUS "/sys/bus/vdpa"

struct vduse_kernel vk;

struct vk_path {
	char s[256];
};

int __wrap_vde_sys_open(const char *path, int flags);
int __wrap_vde_sys_ioctl(int fd, unsigned long cmd, void *arg);
int __wrap_vde_netlink_add(const char *name);
int __wrap_vde_netlink_del(const char *name);

static struct vk_path below(const char *path)
{
	struct vk_path p;

	snprintf(p.s, sizeof(p.s), "%s%s", vk.root, path);
	return p;
}

static void make_directories(const char *path)
{
	struct vk_path p = below(path);

	for (char *at = p.s + strlen(vk.root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(p.s, 0700);
		*at = '/';
	}
}

void vk_file(const char *path, const char *text)
{
	FILE *f;

	make_directories(path);
	f = fopen(below(path).s, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

bool vk_exists(const char *path)
{
	return access(below(path).s, F_OK) == 0;
}

void vk_start(void)
{
	memset(&vk, 0, sizeof(vk));
	strcpy(vk.root, "/dev/shm/uvdpa-vduse-XXXXXX"); /* directories by the thousand */
	assert_non_null(mkdtemp(vk.root));
	vk.api_max = 1;
	vk.peer = -1;
	vk.driver = "virtio_vdpa";
	for (unsigned i = 0; i < HOLD_QUEUES; i++)
		vk.kick[i] = -1;
	for (unsigned i = 0; i < VK_MAPS; i++)
		vk.map[i].fd = -1;
	vk_file(BUS "/drivers/virtio_vdpa/bind", "");
	vk_file(BUS "/drivers_probe", "");
	vk_file(BUS "/devices/none", "");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void vk_stop(void)
{
	for (unsigned i = 0; i < HOLD_QUEUES; i++)
		if (vk.kick[i] >= 0)
			close(vk.kick[i]);
	for (unsigned i = 0; i < VK_MAPS; i++)
		if (vk.map[i].fd >= 0)
			close(vk.map[i].fd);
	if (vk.peer >= 0)
		close(vk.peer);
	nftw(vk.root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the character device ---- */

static bool is_open(void)
{
	struct pollfd pfd = {.fd = vk.peer, .events = POLLIN};

	return vk.peer >= 0 && (poll(&pfd, 1, 0) == 0 || !(pfd.revents & POLLHUP));
}

static int open_device(void)
{
	int sv[2];

	if (!vk.created)
		return -ENOENT;
	if (is_open())
		return -EBUSY;
	if (vk.peer >= 0)
		close(vk.peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv),
			 0);
	vk.peer = sv[1];
	return sv[0];
}

int __wrap_vde_sys_open(const char *path, int flags)
{
	int fd;

	if (!strcmp(path, VDUSE_CONTROL))
		return vk.control_error ? vk.control_error : open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!strncmp(path, "/dev/vduse/", 11))
		return open_device();
	if (vk.in_use && !strncmp(path, "/dev/vhost", 10) && !(flags & O_PATH))
		return -EBUSY;
	fd = open(below(path).s, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void vk_request(const struct vduse_dev_request *req)
{
	struct vduse_dev_request copy = *req;

	copy.request_id = ++vk.next_id;
	assert_int_equal(send(vk.peer, &copy, sizeof(copy), MSG_NOSIGNAL), sizeof(copy));
}

bool vk_answer(struct vduse_dev_response *resp)
{
	ssize_t n = recv(vk.peer, resp, sizeof(*resp), 0);

	if (n < 0)
		return false;
	assert_int_equal(n, sizeof(*resp));
	assert_int_equal(resp->request_id, vk.next_id);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(resp->reserved[i], 0);
	return true;
}

/* ---- ioctls ---- */

static int create(const struct vduse_dev_config *c)
{
	if (vk.create_error)
		return vk.create_error;
	assert_false(vk.created);
	assert_true(c->config_size <= VK_CONFIG && c->vq_num <= HOLD_QUEUES);
	assert_true(vk.api ? c->ngroups && c->nas : !c->ngroups && !c->nas);
	assert_true(c->features & VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM));
	vk.dev = *c;
	memcpy(vk.config, c->config, c->config_size);
	vk.created = true;
	return 0;
}

static int destroy(const char *name)
{
	if (is_open() || vk.destroy_busy) {
		vk.destroy_busy -= vk.destroy_busy > 0;
		return -EBUSY;
	}
	assert_string_equal(name, vk.dev.name);
	vk.created = false;
	return 0;
}

static int iotlb_fd(uint32_t asid, uint64_t first, uint64_t last, struct vduse_iotlb_entry *e)
{
	const struct vk_map *best = NULL;

	for (unsigned i = 0; i < VK_MAPS; i++) {
		const struct vk_map *m = &vk.map[i];

		if (m->fd >= 0 && m->asid == asid && m->start <= last && m->last >= first &&
		    (!best || m->start < best->start))
			best = m;
	}
	if (!best)
		return -EINVAL;
	e->start = best->start;
	e->last = best->last;
	e->offset = best->offset;
	e->perm = best->perm;
	return dup(best->fd);
}

static int iotlb_fd_v0(struct vduse_iotlb_entry_v0 *v0)
{
	struct vduse_iotlb_entry e;
	int fd = iotlb_fd(0, v0->start, v0->last, &e);

	if (fd >= 0)
		*v0 = (struct vduse_iotlb_entry_v0){e.offset, e.start, e.last, e.perm};
	return fd;
}

static int vq_ioctl(unsigned long cmd, void *arg)
{
	uint32_t idx = *(uint32_t *)arg;
	const struct vduse_vq_eventfd *kick = arg;

	if (idx >= vk.dev.vq_num)
		return -EINVAL;
	if (cmd == VDUSE_VQ_SETUP) {
		vk.vq[idx] = *(struct vduse_vq_config *)arg;
	} else if (cmd == VDUSE_VQ_GET_INFO) {
		*(struct vduse_vq_info *)arg = vk.info[idx];
		*(uint32_t *)arg = idx;
	} else if (cmd == VDUSE_VQ_INJECT_IRQ) {
		vk.irqs[idx]++;
	} else {
		if (vk.kick[idx] >= 0)
			close(vk.kick[idx]);
		vk.kick[idx] = dup(kick->fd);
	}
	return 0;
}

static int set_config(const struct vduse_config_data *c)
{
	if (c->offset > vk.dev.config_size || c->length > vk.dev.config_size - c->offset)
		return -EINVAL;
	memcpy(vk.config + c->offset, c->buffer, c->length);
	return 0;
}

int __wrap_vde_sys_ioctl(int fd, unsigned long cmd, void *arg)
{
	struct vduse_iotlb_entry *e = arg;

	if (vk.fail_at && cmd != VDUSE_DESTROY_DEV && !--vk.fail_at) {
		vk.failed = true;
		return -EIO;
	}
	switch (cmd) {
	case VDUSE_GET_API_VERSION:
		*(uint64_t *)arg = vk.api_max;
		return 0;
	case VDUSE_SET_API_VERSION:
		vk.api = *(uint64_t *)arg;
		return vk.api <= vk.api_max ? 0 : -EINVAL;
	case VDUSE_CREATE_DEV:
		return create(arg);
	case VDUSE_DESTROY_DEV:
		return destroy(arg);
	case VDUSE_IOTLB_GET_FD:
		return iotlb_fd_v0(arg);
	case VDUSE_IOTLB_GET_FD2:
		return vk.api ? iotlb_fd(e->asid, e->start, e->last, e) : -ENOTTY;
	case VDUSE_DEV_GET_FEATURES:
		*(uint64_t *)arg = vk.driver_features;
		return 0;
	case VDUSE_DEV_SET_CONFIG:
		return set_config(arg);
	case VDUSE_DEV_INJECT_CONFIG_IRQ:
		vk.config_irqs++;
		return 0;
	default:
		return vq_ioctl(cmd, arg);
	}
}

/* ---- its vDPA bus; in the driver's own thread ---- */

int __wrap_vde_netlink_add(const char *name)
{
	char path[128];

	if (vk.add_error)
		return vk.add_error;
	if (!vk.driver) {
		snprintf(path, sizeof(path), BUS "/devices/%s/uevent", name);
		vk_file(path, "");
		return 0;
	}
	snprintf(path, sizeof(path), BUS "/devices/%s/%s/driver/x", name,
		 strcmp(vk.driver, "vhost_vdpa") ? "virtio5" : "vhost-vdpa-3");
	vk_file(path, "");
	vk_file("/dev/vhost-vdpa-3", "");
	snprintf(path, sizeof(path), BUS "/devices/%s/driver", name);
	return symlink(strcmp(vk.driver, "vhost_vdpa") ? "../drivers/virtio_vdpa"
						       : "../drivers/vhost_vdpa",
		       below(path).s)
		       ? -errno
		       : 0;
}

int __wrap_vde_netlink_del(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), BUS "/devices/%s", name);
	if (!vk_exists(path))
		return -ENODEV;
	return nftw(below(path).s, remove_entry, 16, FTW_DEPTH | FTW_PHYS) ? -EIO : 0;
}
