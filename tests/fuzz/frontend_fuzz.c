// SPDX-License-Identifier: BSD-3-Clause
/*
 * The vhost-user front end against a back end whose every answer is the input's: as it should be,
 * with bytes changed, cut, or lengthened, and with requests of its own in between. Whatever it
 * says, the front end is attached or gives up, in bounded time, and goes away clean.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uvdpa/vhost_user.h>
#include "base/fd.h"
#include "driver/vhost_user/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct __attribute__((packed)) message {
	struct vhost_user_hdr hdr;
	union vhost_user_payload p;
};

struct peer {
	int sock, backend;
	const uint8_t *data;
	size_t left;
	uint8_t status;
};

static uint8_t next(struct peer *p)
{
	if (!p->left)
		return 0;
	p->left--;
	return *p->data++;
}

static bool take(struct peer *p, void *buf, size_t len, struct vdpa_fds *fds)
{
	for (size_t off = 0; off < len;) {
		struct vdpa_fds more;
		ssize_t n = vdpa_sock_recv(p->sock, (char *)buf + off, len - off, &more, 0);

		if (n <= 0)
			return false;
		if (more.n) {
			vdpa_fds_close(fds);
			*fds = more;
		}
		off += (size_t)n;
	}
	return true;
}

/* What should be said; false: nothing is due. */
static bool answer(struct peer *p, struct message *m, bool need, int *fd)
{
	m->hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	switch (m->hdr.request) {
	case VHOST_USER_GET_CONFIG:
		memset(m->p.config.region, next(p), m->p.config.size);
		return true;
	case VHOST_USER_GET_VRING_BASE:
		return true;
	case VHOST_USER_GET_INFLIGHT_FD:
		m->p.inflight.mmap_size = 4096;
		*fd = memfd_create("fuzz", MFD_CLOEXEC);
		return true;
	case VHOST_USER_SET_LOG_BASE:
		m->hdr.size = 0;
		return true;
	case VHOST_USER_GET_FEATURES:
		m->p.u64 = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES) |
			   VDPA_BIT(VHOST_F_LOG_ALL) | VDPA_BIT(next(p) % 64);
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->p.u64 = ~(VDPA_BIT(next(p) % 64));
		break;
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		m->p.u64 = 4;
		break;
	case VHOST_USER_GET_STATUS:
		m->p.u64 = p->status;
		break;
	default:
		m->p.u64 = 0;
		m->hdr.size = 8;
		return need;
	}
	m->hdr.size = 8;
	return true;
}

/* A request of the back end's own, of any shape. */
static void ask(struct peer *p)
{
	uint8_t raw[64];
	size_t n = next(p) % sizeof(raw);

	for (size_t i = 0; i < n; i++)
		raw[i] = next(p);
	if (n >= 12 && raw[0] & 1)
		memcpy(raw + 4, "\1\0\0\0\0\0\0\0", 8);
	(void)!send(p->backend, raw, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool say(struct peer *p, struct message *m, int fd)
{
	size_t len = sizeof(m->hdr) + m->hdr.size;
	uint8_t how = next(p);
	struct iovec iov;

	/* Most answers are right, so that the later ones are reached. */
	if (p->backend >= 0 && how >= 216 && how < 240)
		ask(p);
	for (unsigned i = how >= 240 ? 1 + how % 4 : 0; i; i--)
		((uint8_t *)m)[next(p) % len] = next(p);
	if (how == 255)
		len = next(p) % (len + 16);
	iov = (struct iovec){m, len};
	return len && vdpa_sock_send(p->sock, &iov, 1, &fd, fd >= 0) > 0;
}

static bool serve(struct peer *p)
{
	struct vdpa_fds fds = {0};
	bool need, go_on = true;
	struct message m;
	int fd = -1;

	memset(&m, 0, sizeof(m));
	if (!take(p, &m.hdr, sizeof(m.hdr), &fds) ||
	    (m.hdr.size && !take(p, &m.p, m.hdr.size, &fds))) {
		vdpa_fds_close(&fds);
		return false;
	}
	if (m.hdr.request == VHOST_USER_SET_BACKEND_REQ_FD) {
		vdpa_fd_close(&p->backend);
		p->backend = vdpa_fds_take(&fds, 0);
	}
	if (m.hdr.request == VHOST_USER_SET_STATUS)
		p->status = (uint8_t)m.p.u64;
	vdpa_fds_close(&fds);
	need = m.hdr.flags & VHOST_USER_FLAG_NEED_REPLY;
	if (answer(p, &m, need, &fd))
		go_on = say(p, &m, fd);
	vdpa_fd_close(&fd);
	return go_on;
}

static void *run(void *arg)
{
	struct peer *p = arg;

	while (serve(p))
		;
	shutdown(p->sock, SHUT_RDWR);
	return NULL;
}

static void on_freed(void *arg, int result)
{
	*(bool *)arg = true;
}

static void use(struct vdpa_ctx *ctx, struct virtio_device *dev)
{
	bool freed = false;

	vhost_user_frontend_log_start(dev, NULL);
	for (unsigned i = 0; i < 4; i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 0);
	vhost_user_frontend_free(dev, &(struct vdpa_done){on_freed, &freed});
	if (vdpa_ctx_wait(ctx, &freed, 5000000000ll))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhost_user_frontend_config config = {
		.size = sizeof(config),
		.timeout_ns = 20000000,
	};
	struct virtio_device *dev;
	struct vdpa_ctx *ctx;
	struct peer peer = {.backend = -1, .data = data, .left = size};
	pthread_t thread;
	int pair[2];

	config.device_id = next(&peer) & 1 ? VIRTIO_ID_NET : VIRTIO_ID_BLOCK;
	config.iommu = next(&peer) & 1;
	if (vdpa_ctx_new(NULL, &ctx))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	peer.sock = pair[0];
	config.fd = pair[1];
	if (pthread_create(&thread, NULL, run, &peer))
		abort();
	if (!vhost_user_frontend_new(ctx, &config, &dev, NULL))
		use(ctx, dev);
	/* What was posted and waits for its turn. */
	for (unsigned i = 0; i < 4; i++)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 0);
	shutdown(peer.sock, SHUT_RDWR);
	pthread_join(thread, NULL);
	vdpa_fd_close(&peer.sock);
	vdpa_fd_close(&peer.backend);
	if (vdpa_ctx_free(ctx))
		abort();
	return 0;
}
