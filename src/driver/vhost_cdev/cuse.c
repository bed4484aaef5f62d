// SPDX-License-Identifier: BSD-3-Clause
/*
 * CUSE's protocol (Linux: fs/fuse/cuse.c, include/uapi/linux/fuse.h): the kernel makes the node and
 * sends each system call on it as a message. ioctls come unrestricted, with the pointer as it is;
 * there is no mmap. libfuse is not used: it wants the signals of the process that it serves in.
 *
 * One thread per device, since it waits for the memory of whoever makes the call, who may have it
 * wait for ever; nobody but that device waits with it.
 *
 * Who attacks: processes that may open the node, by what they pass; not the kernel.
 */
#include "driver/vhost_cdev/cuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "driver/vhost_cdev/proxy.h"

#define DEV_CUSE "/dev/cuse"
#define STOP_NS 2000000000ull
#define MINOR 31u
/* FUSE_MIN_READ_BUFFER; a message of ours is far shorter. */
#define BUFFER 8192u
#define WRITE_MAX 4096u

enum state {
	SERVING,
	ENDED,	   /* the thread posts @msg, and is joined */
	ABANDONED, /* it frees all by itself */
};

struct cdev_cuse {
	int fd;
	int stop; /* eventfd */
	char name[CDEV_NAME_BYTES];
	char socket[108];
	pthread_t thread;
	_Atomic int state;
	struct vdpa_loop *loop;
	const struct vdpa_log *log;
	struct vdpa_ratelimit limit; /* the thread's */
	struct vdpa_loop_msg msg;
	struct vdpa_loop_timer deadline;
	struct vdpa_done done;
	bool stopping;
	bool ended; /* joined; before anybody has asked for it */
	_Alignas(8) uint8_t buf[BUFFER];
};

/* ---- answers ---- */

static void answer(const struct cdev_cuse *c, uint64_t unique, int error, const void *data,
		   size_t bytes)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + bytes), .error = error, .unique = unique};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, bytes}};

	/* ENOENT: who asked is gone. */
	if (writev(c->fd, iov, bytes ? 2 : 1) < 0)
		return;
}

static void refuse(const struct cdev_cuse *c, uint64_t unique, int error)
{
	answer(c, unique, error, NULL, 0);
}

/* ---- requests ---- */

static struct cdev_proxy *proxy_of(uint64_t fh)
{
	return (struct cdev_proxy *)(uintptr_t)fh;
}

static void on_open(struct cdev_cuse *c, const struct fuse_in_header *head)
{
	struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE};
	struct cdev_proxy *proxy;
	int err = cdev_proxy_open(c->socket, &proxy);

	if (err) {
		refuse(c, head->unique, err);
		return;
	}
	out.fh = (uintptr_t)proxy;
	answer(c, head->unique, 0, &out, sizeof(out));
}

static void on_release(struct cdev_cuse *c, const struct fuse_in_header *head, const void *body)
{
	const struct fuse_release_in *in = body;

	cdev_proxy_close(proxy_of(in->fh));
	refuse(c, head->unique, 0);
}

static void on_write(struct cdev_cuse *c, const struct fuse_in_header *head, const void *body)
{
	const struct fuse_write_in *in = body;
	struct fuse_write_out out = {0};
	struct vdpa_error err = {0};
	ssize_t n = cdev_proxy_write(proxy_of(in->fh), (pid_t)head->pid, in + 1, in->size, &err);

	/* Given up meanwhile: nobody is there to be told. */
	if (err.msg[0] && atomic_load(&c->state) == SERVING)
		vdpa_log_limited(c->log, &c->limit, VDPA_LOG_WARN, c->name, "%s", err.msg);
	if (n < 0) {
		refuse(c, head->unique, (int)n);
		return;
	}
	out.size = (uint32_t)n;
	answer(c, head->unique, 0, &out, sizeof(out));
}

static void on_ioctl(struct cdev_cuse *c, const struct fuse_in_header *head, const void *body)
{
	const struct fuse_ioctl_in *in = body;
	struct fuse_ioctl_out out = {0};
	int err = -ENOTTY;

	if (!(in->flags & FUSE_IOCTL_COMPAT))
		err = cdev_proxy_ioctl(proxy_of(in->fh), (pid_t)head->pid, in->cmd, in->arg);
	if (err)
		refuse(c, head->unique, err);
	else
		answer(c, head->unique, 0, &out, sizeof(out));
}

static void handle(struct cdev_cuse *c, size_t n)
{
	const struct fuse_in_header *head = (const void *)c->buf;
	const void *body = head + 1;

	if (n < sizeof(*head))
		return;
	switch (head->opcode) {
	case FUSE_OPEN:
		on_open(c, head);
		return;
	case FUSE_RELEASE:
		on_release(c, head, body);
		return;
	case FUSE_WRITE:
		on_write(c, head, body);
		return;
	case FUSE_IOCTL:
		on_ioctl(c, head, body);
		return;
	case FUSE_READ:
		/* No message of the device's ever waits: there are no misses to tell of. */
		refuse(c, head->unique, -EAGAIN);
		return;
	case FUSE_INTERRUPT:
		return;
	}
	refuse(c, head->unique, -ENOSYS);
}

/* ---- the thread ---- */

static void cuse_free(struct cdev_cuse *c)
{
	vdpa_fd_close(&c->fd);
	vdpa_fd_close(&c->stop);
	free(c);
}

/* Until it is told to stop, or the kernel has ended the device. */
static void serve(struct cdev_cuse *c)
{
	struct pollfd pfd[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->stop, .events = POLLIN}};
	ssize_t n;

	for (;;) {
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return;
		if (pfd[1].revents)
			return;
		n = read(c->fd, c->buf, sizeof(c->buf));
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOENT)
			return;
		if (n > 0)
			handle(c, (size_t)n);
	}
}

static void cuse_ended(struct vdpa_loop_msg *msg)
{
	struct cdev_cuse *c = vdpa_container_of(msg, struct cdev_cuse, msg);
	struct vdpa_done done = c->done;

	pthread_join(c->thread, NULL);
	c->ended = true;
	if (!c->stopping) {
		vdpa_log(c->log, VDPA_LOG_ERR, c->name,
			 "the kernel has ended the character device");
		return;
	}
	vdpa_loop_timer_cancel(&c->deadline);
	cuse_free(c);
	vdpa_done_call(&done, 0);
}

static void *thread(void *arg)
{
	struct cdev_cuse *c = arg;
	int serving = SERVING;

	serve(c);
	/* The node goes with it. */
	vdpa_fd_close(&c->fd);
	if (atomic_compare_exchange_strong(&c->state, &serving, ENDED))
		vdpa_loop_post(c->loop, &c->msg, cuse_ended);
	else
		cuse_free(c);
	return NULL;
}

/* ---- start and stop ---- */

static int start_thread(struct cdev_cuse *c)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&c->thread, NULL, thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

/* The kernel speaks first; our answer makes the device, or not. */
static int make_device(struct cdev_cuse *c)
{
	struct {
		struct fuse_in_header head;
		struct cuse_init_in in;
	} *msg = (void *)c->buf;
	struct {
		struct cuse_init_out out;
		char info[sizeof("DEVNAME=") + CDEV_NAME_BYTES];
	} reply = {.out = {.major = FUSE_KERNEL_VERSION,
			   .minor = MINOR,
			   .flags = CUSE_UNRESTRICTED_IOCTL,
			   .max_read = WRITE_MAX,
			   .max_write = WRITE_MAX}};
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	ssize_t n = read(c->fd, c->buf, sizeof(c->buf));
	int len;

	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(*msg) || msg->head.opcode != CUSE_INIT ||
	    msg->in.major != FUSE_KERNEL_VERSION || msg->in.minor < 11)
		return -EPROTO;
	len = snprintf(reply.info, sizeof(reply.info), "DEVNAME=%s", c->name) + 1;
	answer(c, msg->head.unique, 0, &reply, sizeof(reply.out) + (size_t)len);
	/* A device that could not be made is as one that has ended. */
	if (poll(&pfd, 1, 0) < 0 || (pfd.revents & (POLLERR | POLLHUP)))
		return -EEXIST;
	return vdpa_fd_set_nonblock(c->fd, true);
}

static int open_cuse(struct cdev_cuse *c, struct vdpa_error *err)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", c->name);
	if (!access(path, F_OK))
		return vdpa_error_set(err, EEXIST, NULL,
				      "%s is there already: another device has this number", path);
	c->fd = open(DEV_CUSE, O_RDWR | O_CLOEXEC);
	if (c->fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return vdpa_error_set(err, ENODEV, NULL,
				      "chardev on: there is no " DEV_CUSE
				      ": load the module (modprobe cuse), or use \"uvdpa run\", "
				      "which needs none");
	if (c->fd < 0)
		return vdpa_error_set(err, errno, NULL, "chardev on: " DEV_CUSE ": %s",
				      strerror(errno));
	return 0;
}

static int cuse_begin(struct cdev_cuse *c, struct vdpa_error *err)
{
	int ret = open_cuse(c, err);

	if (ret)
		return ret;
	c->stop = vdpa_eventfd_new();
	ret = c->stop < 0 ? c->stop : make_device(c);
	if (!ret)
		ret = start_thread(c);
	if (ret)
		vdpa_error_set(err, -ret, NULL, "chardev on: /dev/%s: %s", c->name, strerror(-ret));
	return ret;
}

int cdev_cuse_start(const struct cdev_cuse_config *config, struct cdev_cuse **out,
		    struct vdpa_error *err)
{
	struct cdev_cuse *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return vdpa_error_set(err, ENOMEM, NULL, "no memory");
	*c = (struct cdev_cuse){.fd = -1,
				.stop = -1,
				.loop = config->loop,
				.log = config->log,
				.limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT};
	snprintf(c->name, sizeof(c->name), "%s", config->name);
	snprintf(c->socket, sizeof(c->socket), "%s", config->socket);
	ret = cuse_begin(c, err);
	if (ret)
		cuse_free(c);
	else
		*out = c;
	return ret;
}

static void give_up(struct vdpa_loop_timer *timer)
{
	struct cdev_cuse *c = vdpa_container_of(timer, struct cdev_cuse, deadline);
	struct vdpa_done done = c->done;
	int serving = SERVING;

	/* It has just ended: its message comes. */
	if (!atomic_compare_exchange_strong(&c->state, &serving, ABANDONED))
		return;
	vdpa_log(c->log, VDPA_LOG_WARN, c->name,
		 "a process keeps a call waiting; its device ends with that call");
	pthread_detach(c->thread);
	vdpa_done_call(&done, 0);
}

void cdev_cuse_stop(struct cdev_cuse *c, const struct vdpa_done *done)
{
	c->stopping = true;
	c->done = *done;
	if (c->ended) {
		cuse_free(c);
		vdpa_done_call(done, 0);
		return;
	}
	vdpa_loop_timer_set(c->loop, &c->deadline, vdpa_clock_ns() + STOP_NS, give_up);
	vdpa_eventfd_signal(c->stop);
}
