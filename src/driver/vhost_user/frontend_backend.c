// SPDX-License-Identifier: BSD-3-Clause
/*
 * The channel on which the back end asks (BACKEND_REQ): configuration changes, and translations
 * that it misses. It is served from the control loop, and while a reply is waited for on the main
 * channel: the back end may need a translation before it can answer.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "driver/vhost_user/frontend.h"

/* A back end that floods does not keep the loop. */
#define BATCH 16

static int handle_miss(struct fe *fe, const struct fe_msg *msg)
{
	if (!fe->iommu || msg->hdr.size != sizeof(msg->p.iotlb) || msg->fds.n ||
	    !vhost_user_iotlb_miss_valid(&msg->p.iotlb, NULL))
		return -EPROTO;
	if (msg->p.iotlb.type != VHOST_IOTLB_MISS)
		return 0; /* ACCESS_FAIL: the ring's error event says it as well */
	if (fe_iotlb_miss(fe, msg->p.iotlb.iova))
		vdpa_log_limited(vdpa_ctx_log(fe->vd.ctx), &fe->rl, VDPA_LOG_WARN, fe->vd.name,
				 "the back end asks for %#llx, where nothing is mapped",
				 (unsigned long long)msg->p.iotlb.iova);
	return 0;
}

/* 0: done. -EOPNOTSUPP: not one that we serve. -EPROTO: malformed. */
static int handle(struct fe *fe, const struct fe_msg *msg)
{
	switch (msg->hdr.request) {
	case VHOST_USER_BACKEND_IOTLB_MSG:
		return handle_miss(fe, msg);
	case VHOST_USER_BACKEND_CONFIG_CHANGE_MSG:
		if (msg->hdr.size || msg->fds.n)
			return -EPROTO;
		virtio_config_changed(&fe->vd);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int serve_one(struct fe *fe)
{
	struct fe_msg msg;
	bool ack;
	int r = fe_recv(&fe->backend, &msg, false);

	if (r)
		return r;
	r = handle(fe, &msg);
	vdpa_fds_close(&msg.fds);
	ack = msg.hdr.flags & VHOST_USER_FLAG_NEED_REPLY &&
	      fe_has(fe, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	if (r == -EPROTO || !ack)
		return r == -EPROTO ? r : 0;
	msg.hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	msg.hdr.size = sizeof(msg.p.u64);
	msg.p.u64 = r ? 1 : 0;
	return fe_send(&fe->backend, &msg, NULL, 0);
}

static bool readable(int sock)
{
	char c;

	return recv(sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

void fe_backend_serve(struct fe *fe)
{
	for (unsigned i = 0; i < BATCH && fe->backend.sock >= 0; i++) {
		int r;

		if (!readable(fe->backend.sock))
			return;
		r = serve_one(fe);
		if (r == -ECONNRESET) {
			fe_backend_close(fe); /* the back end does not want it any more */
			return;
		}
		if (r) {
			fe_lose(fe, "a malformed request on the back end's channel");
			return;
		}
	}
}

static void backend_ready(struct vdpa_loop_fd *watch, uint32_t revents)
{
	(void)revents;
	fe_backend_serve(vdpa_container_of(watch, struct fe, backend_watch));
}

void fe_backend_close(struct fe *fe)
{
	vdpa_loop_fd_del(&fe->backend_watch);
	vdpa_fd_close(&fe->backend.sock);
}

int fe_backend_open(struct fe *fe)
{
	struct fe_msg msg = {.hdr = {.request = VHOST_USER_SET_BACKEND_REQ_FD}};
	int pair[2], r;

	if (!fe_has(fe, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	/* The back end expects a descriptor that blocks, or sets what it needs. */
	vdpa_fd_set_nonblock(pair[1], false);
	fe->backend.sock = pair[0];
	r = fe_set(fe, &msg, &pair[1], 1);
	vdpa_fd_close(&pair[1]);
	if (!r)
		r = vdpa_loop_fd_add(vdpa_ctx_control(fe->vd.ctx), &fe->backend_watch,
				     fe->backend.sock, EPOLLIN, backend_ready);
	if (r)
		fe_backend_close(fe);
	return r;
}
