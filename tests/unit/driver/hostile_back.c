// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "hostile_back.h"

/* As on the wire: without the hole after the header. */
struct __attribute__((packed)) message {
	struct vhost_user_hdr hdr;
	union vhost_user_payload p;
};

static bool take(int sock, void *buf, size_t len, struct vdpa_fds *fds)
{
	size_t off = 0;

	while (off < len) {
		struct vdpa_fds more;
		ssize_t n = vdpa_sock_recv(sock, (char *)buf + off, len - off, &more, 0);

		if (n <= 0) {
			vdpa_fds_close(&more);
			return false;
		}
		if (more.n)
			*fds = more;
		off += (size_t)n;
	}
	return true;
}

static void put(int sock, const void *buf, size_t len, const int *fds, unsigned nfds)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	if (len)
		(void)!vdpa_sock_send(sock, &iov, 1, fds, nfds);
}

static int file(void)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC);

	(void)!ftruncate(fd, 65536);
	return fd;
}

/* What an honest back end would say; false: nothing. */
static bool answer(struct hostile *h, struct message *m, bool need_reply, int *fd)
{
	size_t offset;

	*fd = -1;
	switch (m->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		m->p.u64 = h->features;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->p.u64 = h->protocol;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		m->p.u64 = 2;
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		m->p.u64 = 16;
		break;
	case VHOST_USER_GET_STATUS:
		m->p.u64 = h->status;
		break;
	case VHOST_USER_GET_CONFIG:
		offset = h->ignores_offset ? 0 : m->p.config.offset;
		if (offset + m->p.config.size <= sizeof(h->config))
			memcpy(m->p.config.region, (char *)&h->config + offset, m->p.config.size);
		return true; /* size as asked */
	case VHOST_USER_GET_INFLIGHT_FD:
		m->p.inflight.mmap_size = 65536;
		m->p.inflight.mmap_offset = 0;
		*fd = file();
		return true;
	case VHOST_USER_GET_VRING_BASE:
		m->p.state.num = 0;
		return true;
	case VHOST_USER_SET_LOG_BASE:
		m->hdr.size = 0;
		return true;
	default:
		m->p.u64 = 0;
		m->hdr.size = 8;
		return need_reply;
	}
	m->hdr.size = 8;
	return true;
}

static void spoil_value(struct hostile *h, struct message *m)
{
	switch (m->hdr.request) {
	case VHOST_USER_GET_CONFIG:
		m->p.config.offset += 1;
		break;
	case VHOST_USER_GET_INFLIGHT_FD:
		if (h->value)
			m->p.inflight.num_queues = (uint16_t)h->value;
		else
			m->p.inflight.mmap_size = 0;
		break;
	case VHOST_USER_GET_VRING_BASE:
		m->p.state.index = (uint32_t)h->value;
		break;
	default:
		m->p.u64 = h->value;
	}
}

/* Header fields; returns how many bytes to send. */
static size_t spoil_message(struct hostile *h, struct message *m)
{
	size_t len = sizeof(m->hdr) + m->hdr.size;

	switch (atomic_load(&h->spoil)) {
	case HALF_HEADER:
		return 5;
	case HALF_PAYLOAD:
		return len - 1;
	case WRONG_REQUEST:
		m->hdr.request++;
		break;
	case WRONG_VERSION:
		m->hdr.flags = (m->hdr.flags & ~3u) | 2;
		break;
	case NO_REPLY_FLAG:
		m->hdr.flags &= ~VHOST_USER_FLAG_REPLY;
		break;
	case UNKNOWN_FLAG:
		m->hdr.flags |= 0x100;
		break;
	case HUGE_SIZE:
		m->hdr.size = 0xfffffff0u;
		break;
	case LONG_PAYLOAD:
		m->hdr.size += 8;
		return len + 8;
	case SHORT_PAYLOAD:
		m->hdr.size = 3;
		return sizeof(m->hdr) + 3;
	case VALUE:
		spoil_value(h, m);
		break;
	default:
		break;
	}
	return len;
}

/* False: hang up. */
static bool say(struct hostile *h, struct message *m, int fd)
{
	bool spoil = m->hdr.request == h->request;
	int fds[16] = {fd};
	unsigned nfds = fd >= 0, stray = 0;
	size_t len = sizeof(m->hdr) + m->hdr.size;

	if (spoil && h->spoil == HANGUP)
		return false;
	if (spoil && h->spoil == SILENT)
		return true;
	if (spoil && (h->spoil == STRAY_FD || h->spoil == MANY_FDS))
		stray = h->spoil == STRAY_FD ? 1 : 12;
	while (stray--)
		fds[nfds++] = STDERR_FILENO;
	if (spoil)
		len = spoil_message(h, m);
	put(h->sock, m, len, fds, nfds);
	return true;
}

static bool serve(struct hostile *h)
{
	struct vdpa_fds fds = {0};
	struct message m;
	bool need, go_on = true;
	int fd;

	memset(&m, 0, sizeof(m));
	if (!take(h->sock, &m.hdr, sizeof(m.hdr), &fds) ||
	    (m.hdr.size && !take(h->sock, &m.p, m.hdr.size, &fds))) {
		vdpa_fds_close(&fds);
		return false;
	}
	if (m.hdr.request < VHOST_USER_REQUEST_END)
		atomic_fetch_add(&h->seen[m.hdr.request], 1);
	if (m.hdr.request == VHOST_USER_SET_BACKEND_REQ_FD)
		atomic_store(&h->backend, vdpa_fds_take(&fds, 0));
	if (m.hdr.request == VHOST_USER_SET_STATUS)
		h->status = (uint8_t)m.p.u64;
	if (m.hdr.request == VHOST_USER_SET_VRING_CALL)
		atomic_fetch_add(&h->call_fds, fds.n);
	vdpa_fds_close(&fds);
	need = m.hdr.flags & VHOST_USER_FLAG_NEED_REPLY;
	m.hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	if (answer(h, &m, need, &fd))
		go_on = say(h, &m, fd);
	vdpa_fd_close(&fd);
	return go_on;
}

static void *run(void *arg)
{
	struct hostile *h = arg;

	while (serve(h))
		;
	shutdown(h->sock, SHUT_RDWR);
	return NULL;
}

int hostile_start(struct hostile *h)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h->sock = pair[0];
	atomic_store(&h->backend, -1);
	h->config.capacity = 2048;
	if (!h->features)
		h->features = VDPA_BIT(VIRTIO_F_VERSION_1) | VDPA_BIT(VHOST_F_LOG_ALL) |
			      VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES) |
			      VDPA_BIT(VIRTIO_BLK_F_FLUSH);
	if (!h->protocol)
		h->protocol = VDPA_BIT(VHOST_USER_PROTOCOL_F_MQ) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIG) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
			      VDPA_BIT(VHOST_USER_PROTOCOL_F_STATUS);
	assert_int_equal(pthread_create(&h->thread, NULL, run, h), 0);
	return pair[1];
}

void hostile_end(struct hostile *h)
{
	int backend = atomic_load(&h->backend);

	shutdown(h->sock, SHUT_RDWR);
	pthread_join(h->thread, NULL);
	vdpa_fd_close(&h->sock);
	vdpa_fd_close(&backend);
}
