// SPDX-License-Identifier: BSD-3-Clause
/*
 * Onto the kernel's vDPA bus and off it, in a thread of its own: the kernel carries a request out
 * inside the system call, and its drivers wait in there for our answers to their messages, and for
 * requests to be done (a disk's partition table is read).
 *
 * Which driver of the kernel gets the device is the bus's choice (the one loaded first) unless one
 * is named: then driver_override is set and the bus is asked again.
 *
 * Nobody attacks.
 */
#include "driver/vduse_export/export.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define BUS "/sys/bus/vdpa"
#define WAIT_NS 10000000000ull
#define STEP_US 10000

/* ---- sysfs ---- */

struct sys_path {
	char s[VDE_PATH_BYTES + 128];
};

static struct sys_path sys_path(const char *fmt, ...) VDPA_PRINTF(1, 2);
static struct sys_path sys_path(const char *fmt, ...)
{
	struct sys_path p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p.s, sizeof(p.s), fmt, ap);
	va_end(ap);
	return p;
}

static bool exists(struct sys_path p)
{
	int fd = vde_sys_open(p.s, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int write_text(struct sys_path p, const char *text)
{
	int fd = vde_sys_open(p.s, O_WRONLY), ret = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The first entry of a directory that begins with @prefix: true, and its name. */
static bool first_entry(struct sys_path p, const char *prefix, char *name, size_t size)
{
	int fd = vde_sys_open(p.s, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		found = e->d_name[0] != '.' && !strncmp(e->d_name, prefix, strlen(prefix));
		found = found && strlen(e->d_name) < size;
		if (found)
			strcpy(name, e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The driver that has the device; "": none. */
static void bound_to(const struct vde_job *job, char *driver, size_t size)
{
	struct sys_path p = sys_path(BUS "/devices/%s", job->name);
	int fd = vde_sys_open(p.s, O_RDONLY | O_DIRECTORY);
	char target[256] = "";
	const char *base;

	if (fd >= 0 && readlinkat(fd, "driver", target, sizeof(target) - 1) < 0)
		target[0] = '\0';
	vdpa_fd_close(&fd);
	base = strrchr(target, '/');
	snprintf(driver, size, "%s", base ? base + 1 : target);
}

/* ---- nodes ---- */

/* What the kernel made of it, once it is there. */
static bool find_node(struct vde_job *job)
{
	struct sys_path dev = sys_path(BUS "/devices/%s", job->name);
	bool net = job->device_id == VIRTIO_ID_NET;
	char sub[64], leaf[48];

	if (first_entry(dev, "vhost-vdpa-", sub, sizeof(leaf))) {
		snprintf(job->node, sizeof(job->node), "/dev/%.48s", sub);
		return exists(sys_path("%s", job->node));
	}
	if (!first_entry(dev, "virtio", sub, sizeof(sub)))
		return false;
	if (job->device_id != VIRTIO_ID_NET && job->device_id != VIRTIO_ID_BLOCK) {
		snprintf(job->node, sizeof(job->node), "%s", sub);
		return exists(sys_path("%s/%s/driver", dev.s, sub));
	}
	if (!first_entry(sys_path("%s/%s/%s", dev.s, sub, net ? "net" : "block"), "", leaf,
			 sizeof(leaf)))
		return false;
	snprintf(job->node, sizeof(job->node), "%s%s", net ? "" : "/dev/", leaf);
	return net || exists(sys_path("%s", job->node));
}

/* ---- attach ---- */

static int bind_driver(const struct vde_job *job, const char *current)
{
	int ret = 0;

	if (job->driver)
		ret = write_text(sys_path(BUS "/devices/%s/driver_override", job->name),
				 job->driver);
	if (!ret && *current)
		ret = write_text(sys_path(BUS "/drivers/%s/unbind", current), job->name);
	return ret ? ret : write_text(sys_path(BUS "/drivers_probe"), job->name);
}

static int no_driver(struct vde_job *job)
{
	const char *want = job->driver;
	bool loaded = want ? exists(sys_path(BUS "/drivers/%s", want))
			   : exists(sys_path(BUS "/drivers/virtio_vdpa")) ||
				      exists(sys_path(BUS "/drivers/vhost_vdpa"));

	if (!loaded)
		return vdpa_error_set(&job->err, ENODEV, NULL,
				      "the kernel's driver for it is not loaded: \"modprobe %s\"",
				      want ? want : "virtio_vdpa\" or \"modprobe vhost_vdpa");
	return vdpa_error_set(&job->err, ENXIO, NULL,
			      "the kernel's driver %s does not take the device: the kernel's log "
			      "(dmesg) says why",
			      want ? want : "virtio_vdpa (or vhost_vdpa)");
}

static int choose_driver(struct vde_job *job)
{
	char driver[64];
	int ret;

	bound_to(job, driver, sizeof(driver));
	if (*driver && (!job->driver || !strcmp(driver, job->driver)))
		return 0;
	if (job->driver && !exists(sys_path(BUS "/drivers/%s", job->driver)))
		return no_driver(job);
	ret = bind_driver(job, driver);
	bound_to(job, driver, sizeof(driver));
	if (*driver && (!job->driver || !strcmp(driver, job->driver)))
		return 0;
	if (ret && ret != -EINVAL && ret != -ENODEV)
		return vdpa_error_set(&job->err, -ret, NULL,
				      "the kernel's driver cannot be chosen (" BUS "): %s",
				      strerror(-ret));
	return no_driver(job);
}

static int no_node(struct vde_job *job)
{
	const char *module = job->device_id == VIRTIO_ID_NET	 ? "virtio_net"
			     : job->device_id == VIRTIO_ID_BLOCK ? "virtio_blk"
								 : "virtiofs";

	if (!exists(sys_path("/sys/bus/virtio/drivers/%s", module)))
		return vdpa_error_set(&job->err, ENODEV, NULL,
				      "the kernel's driver %s is not loaded: \"modprobe %s\"",
				      module, module);
	return vdpa_error_set(&job->err, ETIMEDOUT, NULL,
			      "the kernel's driver has made nothing of the device for %llu s: the "
			      "kernel's log (dmesg) says why",
			      WAIT_NS / 1000000000ull);
}

static int wait_for_node(struct vde_job *job)
{
	uint64_t end = vdpa_clock_ns() + WAIT_NS;

	while (!find_node(job)) {
		if (atomic_load(&job->cancel))
			return vdpa_error_set(&job->err, ECANCELED, NULL, "unbound meanwhile");
		if (vdpa_clock_ns() > end)
			return no_node(job);
		usleep(STEP_US);
	}
	return 0;
}

static int attach(struct vde_job *job)
{
	int ret = 0;

	if (!exists(sys_path(BUS "/devices/%s", job->name)))
		ret = vde_netlink_add(job->name);
	if (ret == -EPERM || ret == -EACCES)
		return vdpa_error_set(&job->err, EPERM, NULL,
				      "the kernel does not let us attach the device to its vDPA "
				      "bus: uvdpad lacks the capability CAP_NET_ADMIN");
	if (ret)
		return vdpa_error_set(&job->err, -ret, NULL,
				      "the kernel does not attach the device to its vDPA bus: %s",
				      strerror(-ret));
	ret = choose_driver(job);
	return ret ? ret : wait_for_node(job);
}

/* ---- detach ---- */

/* Taking a character device away waits, in the kernel, until whoever has it open closes it. */
static bool in_use(struct vde_job *job)
{
	int fd;

	if (!find_node(job) || strncmp(job->node, "/dev/vhost-vdpa-", 16))
		return false;
	fd = vde_sys_open(job->node, O_RDWR | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	return fd == -EBUSY;
}

static int detach(struct vde_job *job)
{
	int ret;

	if (in_use(job))
		return vdpa_error_set(&job->err, EBUSY, NULL,
				      "%s is open in another process: the device stays in the "
				      "kernel, and goes on when it is bound again",
				      job->node);
	ret = vde_netlink_del(job->name);
	return ret == -ENODEV ? 0 : ret;
}

/* ---- thread ---- */

static void job_ended(struct vdpa_loop_msg *msg)
{
	struct vde_job *job = vdpa_container_of(msg, struct vde_job, msg);

	pthread_join(job->thread, NULL);
	job->done(job);
}

static void *job_main(void *arg)
{
	struct vde_job *job = arg;

	job->result = job->detach ? detach(job) : attach(job);
	vdpa_loop_post(job->control, &job->msg, job_ended);
	return NULL;
}

int vde_job_start(struct vde_job *job)
{
	sigset_t all, old;
	int ret;

	atomic_store(&job->cancel, false);
	job->result = 0;
	job->err = (struct vdpa_error){.msg = ""};
	job->node[0] = '\0';
	/* Signals are the program's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&job->thread, NULL, job_main, job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}
