/* SPDX-License-Identifier: BSD-3-Clause */
/* A device process's end of the endpoint's socket, in the thread that serves it. */
#ifndef TEST_PARENT_VDUSE_CONN_H
#define TEST_PARENT_VDUSE_CONN_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/vduse.h>

#include "base/fd.h"
#include "base/unix.h"
#include "vdpa/vduse_wire.h"

static inline void vduse_turn(struct vdpa_ctx *ctx)
{
	for (int i = 0; i < 20; i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 0);
}

/* A context with all that is built in, and @bytes of memory at 0. 0 or not. */
static inline int vduse_set_up(struct vdpa_ctx **ctx, struct vdpa_region **region, uint64_t bytes)
{
	struct vdpa_ctx_config config = {.size = sizeof(config)};
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) ||
	    vdpa_region_map(fd, 0, bytes, 0, PROT_READ | PROT_WRITE, region, NULL))
		return -1;
	close(fd);
	return vdpa_ctx_new(&config, ctx) || vdpa_register_builtin(*ctx);
}

static inline int vduse_tear_down(struct vdpa_ctx *ctx, struct vdpa_region *region)
{
	vdpa_region_put(region);
	for (int i = 0; i < 1000 && vdpa_ctx_free(ctx); i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
	return 0;
}

/* The process has gone; @dev, unless NULL, and the endpoint go. */
static inline void vduse_all_gone(struct vdpa_ctx *ctx, struct vdpa_device *dev)
{
	int tries = 0;

	if (dev)
		assert_int_equal(vdpa_dev_del(dev, NULL, NULL), 0);
	while (vduse_unlisten(ctx) && tries++ < 1000)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 1000000);
	assert_true(tries < 1000);
	vduse_turn(ctx);
}

/* One request, with descriptor @fd unless -1; the answer's descriptor, or -1. *@result may be NULL.
 */
static inline int vduse_say_fd(struct vdpa_ctx *ctx, int sock, struct vduse_wire_request head,
			       const void *arg, int fd, int *result)
{
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)arg, head.bytes}};
	uint8_t reply[VDUSE_WIRE_REPLY_MAX];
	struct vduse_wire_reply answer = {.result = -1};
	struct vdpa_fds fds = {.n = 0};
	int got;

	vdpa_sock_send(sock, iov, head.bytes ? 2 : 1, &fd, fd >= 0);
	vduse_turn(ctx);
	if (vdpa_sock_recv(sock, reply, sizeof(reply), &fds, MSG_DONTWAIT) >=
	    (ssize_t)sizeof(answer))
		memcpy(&answer, reply, sizeof(answer));
	if (result)
		*result = answer.result;
	got = vdpa_fds_take(&fds, 0);
	vdpa_fds_close(&fds);
	return got;
}

static inline int vduse_say(struct vdpa_ctx *ctx, int sock, uint32_t cmd, const void *arg,
			    uint32_t bytes)
{
	return vduse_say_fd(
		ctx, sock,
		(struct vduse_wire_request){.type = VDUSE_WIRE_IOCTL, .cmd = cmd, .bytes = bytes},
		arg, -1, NULL);
}

/* What stands for the file, or -1; *@sock: its connection. */
static inline int vduse_open_file(struct vdpa_ctx *ctx, const char *path, const char *name,
				  int *sock)
{
	struct vduse_wire_open open = {.name = ""};
	struct sockaddr_un addr;

	strcpy(open.name, name);
	if (vdpa_unix_address(path, &addr, NULL))
		return -1;
	*sock = vdpa_unix_socket(SOCK_SEQPACKET);
	if (connect(*sock, (struct sockaddr *)&addr, sizeof(addr)))
		return -1;
	return vduse_say_fd(ctx, *sock,
			    (struct vduse_wire_request){.type = VDUSE_WIRE_OPEN,
							.cmd = VDUSE_WIRE_VERSION,
							.bytes = sizeof(open)},
			    &open, -1, NULL);
}

#endif
