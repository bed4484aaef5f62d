// SPDX-License-Identifier: BSD-3-Clause
/*
 * Connection of the front end: connect, negotiate, lose, come back.
 *
 * When the back end goes away (with "reconnect"), everything it was told is told to the next one,
 * from what is kept in struct fe. Requests that were out stay out: the in-flight area, which we
 * hold, tells the new back end which they are (INFLIGHT_SHMFD); without it a ring goes on at its
 * used index, which is right for back ends that complete in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "driver/vhost_user/frontend.h"

#define RETRY_NS 50000000ull
#define CONNECT_STEP_US 10000

#define WANTED                                                                                     \
	(VDPA_BIT(VHOST_USER_PROTOCOL_F_MQ) | VDPA_BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |          \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_RARP) | VDPA_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |        \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_MTU) | VDPA_BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |       \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIG) | VDPA_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |                                            \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |                                     \
	 VDPA_BIT(VHOST_USER_PROTOCOL_F_STATUS))

/* ---- requests ---- */

static const char *reason(int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return "no reply in time";
	case -EPROTO:
		return "a malformed reply";
	default:
		return "the connection was lost";
	}
}

static int transact(struct fe *fe, struct fe_msg *msg, const int *fds, unsigned nfds,
		    const struct fe_expect *expect)
{
	bool outer = fe->transacting;
	int r;

	if (!fe->connected)
		return -ENOTCONN;
	msg->hdr.flags |= VHOST_USER_VERSION;
	fe->transacting = true;
	r = expect ? fe_transact(&fe->ch, msg, fds, nfds, expect)
		   : fe_send(&fe->ch, msg, fds, nfds);
	fe->transacting = outer;
	if (r)
		fe_lose(fe, reason(r));
	return r;
}

int fe_get(struct fe *fe, struct fe_msg *msg, const struct fe_expect *expect)
{
	return transact(fe, msg, NULL, 0, expect);
}

int fe_get_u64(struct fe *fe, uint32_t request, uint64_t *value)
{
	static const struct fe_expect expect = {.min = 8, .max = 8};
	struct fe_msg msg = {.hdr = {.request = request}};
	int r = fe_get(fe, &msg, &expect);

	*value = r ? 0 : msg.p.u64;
	return r;
}

/*
 * While a reply is waited for, an acknowledgment would come in between: then nothing is asked for.
 * Before REPLY_ACK is negotiated nothing can be.
 */
int fe_set(struct fe *fe, struct fe_msg *msg, const int *fds, unsigned nfds)
{
	static const struct fe_expect ack = {.min = 8, .max = 8};
	int r;

	if (fe->transacting || !fe_has(fe, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return transact(fe, msg, fds, nfds, NULL);
	msg->hdr.flags |= VHOST_USER_FLAG_NEED_REPLY;
	r = transact(fe, msg, fds, nfds, &ack);
	return !r && msg->p.u64 ? -EREMOTEIO : r;
}

int fe_set_u64(struct fe *fe, uint32_t request, uint64_t value)
{
	struct fe_msg msg = {.hdr = {.request = request, .size = 8}, .p = {.u64 = value}};

	return fe_set(fe, &msg, NULL, 0);
}

int fe_send_features(struct fe *fe)
{
	uint64_t features = fe->driver_features;

	features |= fe->features & VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	if (fe->log)
		features |= VDPA_BIT(VHOST_F_LOG_ALL);
	return fe_set_u64(fe, VHOST_USER_SET_FEATURES, features);
}

/* ---- negotiation ---- */

static int negotiate_protocol(struct fe *fe)
{
	uint64_t offered;
	int r;

	fe->protocol = 0;
	if (!(fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
		return 0;
	r = fe_get_u64(fe, VHOST_USER_GET_PROTOCOL_FEATURES, &offered);
	if (r)
		return r;
	offered &= WANTED & ~fe->protocol_off;
	r = fe_set_u64(fe, VHOST_USER_SET_PROTOCOL_FEATURES, offered);
	/* Acknowledgments may be asked for from here on. */
	if (!r)
		fe->protocol = offered;
	return r;
}

/* With MQ the back end says how many queues it has; for a NIC: pairs ("Multiple queue support"). */
static int count_queues(struct fe *fe, unsigned *out)
{
	unsigned per = fe->vd.id == VIRTIO_ID_NET ? 2 : 1;
	uint64_t n = 1;
	int r = 0;

	if (fe_has(fe, VHOST_USER_PROTOCOL_F_MQ))
		r = fe_get_u64(fe, VHOST_USER_GET_QUEUE_NUM, &n);
	if (!r && (!n || n > VHOST_USER_MAX_VRINGS / per))
		r = -EPROTO;
	*out = (unsigned)n * per;
	return r;
}

static int count_slots(struct fe *fe)
{
	uint64_t n = VHOST_USER_MAX_TABLE_REGIONS;
	int r = 0;

	if (fe_has(fe, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		r = fe_get_u64(fe, VHOST_USER_GET_MAX_MEM_SLOTS, &n);
	if (!r && !n)
		r = -EPROTO;
	fe->max_slots = n > VHOST_USER_MAX_MEM_SLOTS ? VHOST_USER_MAX_MEM_SLOTS : (unsigned)n;
	return r;
}

static int rings_new(struct fe *fe, unsigned n)
{
	fe->rings = calloc(n, sizeof(*fe->rings));
	if (!fe->rings)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		fe->rings[i].kick = fe->rings[i].call = fe->rings[i].err = -1;
	fe->queues = n;
	return 0;
}

static int handshake(struct fe *fe)
{
	struct fe_msg owner = {.hdr = {.request = VHOST_USER_SET_OWNER}};
	unsigned queues = 0;
	int r = fe_get_u64(fe, VHOST_USER_GET_FEATURES, &fe->features);

	if (!r)
		r = negotiate_protocol(fe);
	if (!r)
		r = fe_set(fe, &owner, NULL, 0);
	if (!r)
		r = count_queues(fe, &queues);
	if (!r)
		r = count_slots(fe);
	if (!r)
		r = fe_backend_open(fe);
	if (!r && !fe->rings)
		r = rings_new(fe, queues);
	else if (!r && queues < fe->queues)
		r = -EPROTO; /* came back with less */
	return r;
}

/* ---- connect ---- */

static int dial(const char *path, uint64_t timeout_ns)
{
	uint64_t end = vdpa_clock_ns() + timeout_ns;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	while (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		/* EAGAIN: the listener's queue is full. */
		r = -errno;
		if ((r == -EAGAIN || r == -EINTR) && vdpa_clock_ns() < end) {
			usleep(CONNECT_STEP_US);
			continue;
		}
		vdpa_fd_close(&sock);
		return r;
	}
	return sock;
}

static void sock_ready(struct vdpa_loop_fd *watch, uint32_t revents)
{
	struct fe *fe = vdpa_container_of(watch, struct fe, sock_watch);

	/* Nothing is due here: what comes outside of a request is an end, or noise. */
	fe_lose(fe, revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)
			    ? "the back end is gone"
			    : "a message that nobody asked for");
}

static int channel_open(struct fe *fe, int sock)
{
	int r = vdpa_fd_set_nonblock(sock, true);

	if (!r)
		r = vdpa_loop_fd_add(vdpa_ctx_control(fe->vd.ctx), &fe->sock_watch, sock,
				     EPOLLIN | EPOLLRDHUP, sock_ready);
	if (r)
		return r;
	fe->ch.sock = sock;
	fe->connected = true;
	fe->lost = false;
	return 0;
}

static void channel_close(struct fe *fe)
{
	fe->connected = false;
	fe->protocol = 0;
	vdpa_loop_fd_del(&fe->sock_watch);
	vdpa_fd_close(&fe->ch.sock);
	fe_backend_close(fe);
}

int fe_connect(struct fe *fe, int fd, struct vdpa_error *err)
{
	const char *path = fe->path ? fe->path : "the socket given";
	int sock = fe->path ? dial(fe->path, fe->timeout_ns) : fd;
	int r;

	if (sock < 0)
		return vdpa_error_set(err, -sock, "vhost-user", "cannot connect to %s: %s", path,
				      strerror(-sock));
	r = channel_open(fe, sock);
	if (r)
		vdpa_fd_close(&sock);
	else
		r = handshake(fe);
	if (!r) {
		fe->ever_connected = true;
		return 0;
	}
	channel_close(fe);
	return vdpa_error_set(err, -r, "vhost-user", "no agreement with the back end at %s: %s",
			      path, strerror(-r));
}

/* ---- coming back ---- */

static int restore_status(struct fe *fe, uint8_t status)
{
	if (!status || !fe_has(fe, VHOST_USER_PROTOCOL_F_STATUS))
		return 0;
	return fe_set_u64(fe, VHOST_USER_SET_STATUS, status);
}

/* In the order of a driver's life, as far as it had come. */
static int restore(struct fe *fe)
{
	uint8_t before = fe->status & ~VIRTIO_CONFIG_S_DRIVER_OK;
	int r = 0;

	if (fe->driver_features & ~fe->features)
		return -ENOTSUP;
	if (fe->features_set)
		r = fe_send_features(fe);
	if (!r)
		r = restore_status(fe, before);
	if (!r)
		r = fe_mem_restore(fe);
	if (!r)
		r = fe_log_restore(fe);
	if (!r)
		r = fe_rings_restore(fe);
	if (!r && fe->status != before)
		r = restore_status(fe, fe->status);
	return r;
}

static void retry(struct vdpa_loop_timer *timer);

static void arm(struct fe *fe)
{
	vdpa_loop_timer_set(vdpa_ctx_control(fe->vd.ctx), &fe->timer, vdpa_clock_ns() + RETRY_NS,
			    retry);
}

static void retry(struct vdpa_loop_timer *timer)
{
	struct fe *fe = vdpa_container_of(timer, struct fe, timer);
	int r;

	r = fe_connect(fe, -1, NULL);
	if (!r) {
		r = restore(fe);
		if (!r && !fe->connected)
			r = -ENOTCONN;
	}
	if (!r) {
		fe->reconnects++;
		virtio_log(&fe->vd, VDPA_LOG_INFO, "the back end is back");
		virtio_config_changed(&fe->vd);
		return;
	}
	if (r == -ENOTSUP || r == -EREMOTEIO) {
		virtio_device_broken(&fe->vd,
				     "the back end came back, but does not take the device");
		channel_close(fe);
		return;
	}
	channel_close(fe);
	if (!fe->closing)
		arm(fe);
}

/* ---- losing ---- */

/* May be called from anywhere, also between a request and its reply: the socket ends here, the rest
 * is the loop's. */
void fe_lose(struct fe *fe, const char *why)
{
	if (!fe->connected)
		return;
	if (fe->ever_connected && !fe->closing)
		virtio_log(&fe->vd, VDPA_LOG_WARN, "connection ended: %s", why);
	channel_close(fe);
	if (!fe->ever_connected || fe->closing)
		return;
	if (fe->reconnect)
		arm(fe);
	else
		virtio_device_broken(&fe->vd, "the back end is gone");
}

void fe_close(struct fe *fe)
{
	fe->closing = true;
	vdpa_loop_timer_cancel(&fe->timer);
	channel_close(fe);
}
