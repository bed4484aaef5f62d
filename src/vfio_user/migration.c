// SPDX-License-Identifier: BSD-3-Clause
/*
 * DEVICE_FEATURE, and migration: the states of VFIO (linux/vfio.h, enum vfio_device_mig_state)
 * without P2P. The device carries out direct arcs only; a change that is none is made of several,
 * on the shortest way that does not lead through a saving state.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <string.h>

/* Shorter names for the table. */
#define STOP VFIO_USER_MIG_STOP
#define RUN VFIO_USER_MIG_RUNNING
#define COPY VFIO_USER_MIG_STOP_COPY
#define RESUME VFIO_USER_MIG_RESUMING
#define PRE VFIO_USER_MIG_PRE_COPY
#define NO 0 /* there is no such way */
#define STATES (VFIO_USER_MIG_PRE_COPY_P2P + 1)

/* [from][to]: the first step of the way. */
static const uint8_t next_state[STATES][STATES] = {
	[STOP] = {[STOP] = STOP, [RUN] = RUN, [COPY] = COPY, [RESUME] = RESUME, [PRE] = RUN},
	[RUN] = {[STOP] = STOP, [RUN] = RUN, [COPY] = STOP, [RESUME] = STOP, [PRE] = PRE},
	[COPY] = {[STOP] = STOP, [RUN] = STOP, [COPY] = COPY, [RESUME] = STOP, [PRE] = NO},
	[RESUME] = {[STOP] = STOP, [RUN] = STOP, [COPY] = STOP, [RESUME] = RESUME, [PRE] = STOP},
	[PRE] = {[STOP] = RUN, [RUN] = RUN, [COPY] = COPY, [RESUME] = RUN, [PRE] = PRE},
};

static bool is_saving(enum vfio_user_mig_state s)
{
	return s == COPY || s == PRE;
}

/* ---- DEVICE_FEATURE ---- */

/* The state that was asked for is in cmd.at. */
static int next_arc(struct vfio_user_server *srv, int result)
{
	struct vdpa_done done = vfu_device_done(srv);
	unsigned to;

	if (result)
		return result;
	srv->mig_state = srv->mig_next;
	if (srv->mig_state == srv->cmd.at)
		return 0;
	to = next_state[srv->mig_state][srv->cmd.at];
	if (to == NO)
		return -EINVAL;
	srv->mig_next = to;
	return vfu_later(srv->ops->mig_arc(srv->arg, srv->mig_state, to, &done));
}

static int set_state(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_mig_state s;

	memcpy(&s, msg->data + sizeof(struct vfu_feature), sizeof(s));
	if (s.state >= STATES || !next_state[s.state][s.state] ||
	    (s.state == PRE && !srv->ops->precopy))
		return -EINVAL;
	/* Out of ERROR leads a reset alone. */
	if (srv->mig_state == VFIO_USER_MIG_ERROR)
		return -ENODEV;
	if (!vfu_reply(srv, msg->len))
		return -ENOMEM;
	memcpy(srv->cmd.reply, msg->data, msg->len);
	srv->cmd.at = s.state;
	srv->mig_next = srv->mig_state;
	srv->cmd.then = next_arc;
	return next_arc(srv, 0);
}

static void *reply_feature(struct vfio_user_server *srv, const struct vfu_msg *msg, size_t len)
{
	struct vfu_feature *f = vfu_reply(srv, sizeof(*f) + len);

	if (!f)
		return NULL;
	memcpy(f, msg->data, sizeof(*f));
	f->argsz = (uint32_t)(sizeof(*f) + len);
	return f + 1;
}

static int get_state(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_mig_state *s = reply_feature(srv, msg, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->state = srv->mig_state;
	s->data_fd = UINT32_MAX;
	return 0;
}

static int get_migration(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	uint64_t *flags = reply_feature(srv, msg, sizeof(*flags));

	if (!flags)
		return -ENOMEM;
	*flags = VFU_MIGRATION_STOP_COPY | (srv->ops->precopy ? VFU_MIGRATION_PRE_COPY : 0);
	return 0;
}

static bool can_migrate(const struct vfio_user_server *srv)
{
	return srv->ops->mig_arc && srv->ops->mig_read && srv->ops->mig_write;
}

static bool can_log(const struct vfio_user_server *srv)
{
	return srv->ops->dirty_log;
}

static const struct feature {
	bool (*has)(const struct vfio_user_server *srv);
	size_t min; /* of the data that come */
	int (*get)(struct vfio_user_server *srv, struct vfu_msg *msg);
	int (*set)(struct vfio_user_server *srv, struct vfu_msg *msg);
} features[] = {
	[VFU_FEATURE_MIGRATION] = {can_migrate, 0, get_migration, NULL},
	[VFU_FEATURE_MIG_STATE] = {can_migrate, sizeof(struct vfu_mig_state), get_state, set_state},
	[VFU_FEATURE_LOG_START] = {can_log, sizeof(struct vfu_log_control), NULL, vfu_dirty_start},
	[VFU_FEATURE_LOG_STOP] = {can_log, 0, NULL, vfu_dirty_stop},
	[VFU_FEATURE_LOG_REPORT] = {can_log, sizeof(struct vfu_log_report), vfu_dirty_report, NULL},
};

/* Both, one, or none of GET and SET with PROBE: are they there? */
static int probe(struct vfio_user_server *srv, const struct feature *f, struct vfu_msg *msg)
{
	uint32_t flags = ((const struct vfu_feature *)(const void *)msg->data)->flags;

	if ((flags & VFIO_DEVICE_FEATURE_GET && !f->get) ||
	    (flags & VFIO_DEVICE_FEATURE_SET && !f->set))
		return -ENOTTY;
	if (!vfu_reply(srv, msg->len))
		return -ENOMEM;
	memcpy(srv->cmd.reply, msg->data, msg->len);
	return 0;
}

int vfu_feature(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	const uint32_t ask = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	const struct feature *f;
	struct vfu_feature q;
	uint32_t index;

	memcpy(&q, msg->data, sizeof(q));
	index = q.flags & VFIO_DEVICE_FEATURE_MASK;
	if (q.flags & ~(VFIO_DEVICE_FEATURE_MASK | ask | VFIO_DEVICE_FEATURE_PROBE))
		return -EINVAL;
	if (index >= sizeof(features) / sizeof(features[0]) || !features[index].has ||
	    !features[index].has(srv))
		return -ENOTTY;
	f = &features[index];
	if (q.flags & VFIO_DEVICE_FEATURE_PROBE)
		return probe(srv, f, msg);
	if ((q.flags & ask) == VFIO_DEVICE_FEATURE_GET && f->get) {
		/* The state that is asked for comes with nothing. */
		if (f->get == vfu_dirty_report && msg->len < sizeof(q) + f->min)
			return -EINVAL;
		return f->get(srv, msg);
	}
	if ((q.flags & ask) == VFIO_DEVICE_FEATURE_SET && f->set)
		return msg->len < sizeof(q) + f->min ? -EINVAL : f->set(srv, msg);
	return (q.flags & ask) == ask || !(q.flags & ask) ? -EINVAL : -ENOTTY;
}

/* ---- the data ---- */

int vfu_mig_data_read(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_mig_data q, *reply;
	ssize_t n;

	memcpy(&q, msg->data, sizeof(q));
	if (!can_migrate(srv))
		return -ENOTSUP;
	if (!is_saving(srv->mig_state))
		return -EBUSY;
	if (!q.size || q.size > srv->peer_xfer || q.argsz < sizeof(q) + q.size)
		return -EINVAL;
	reply = vfu_reply(srv, sizeof(q) + q.size);
	if (!reply)
		return -ENOMEM;
	n = srv->ops->mig_read(srv->arg, reply + 1, q.size);
	if (n < 0)
		return (int)n;
	reply->size = (uint32_t)n;
	reply->argsz = (uint32_t)(sizeof(q) + (size_t)n);
	srv->cmd.reply_len = reply->argsz;
	return 0;
}

int vfu_mig_data_write(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct vfu_mig_data q;

	memcpy(&q, msg->data, sizeof(q));
	if (!can_migrate(srv))
		return -ENOTSUP;
	if (srv->mig_state != RESUME)
		return -EBUSY;
	if (q.size != msg->len - sizeof(q))
		return -EINVAL;
	return srv->ops->mig_write(srv->arg, msg->data + sizeof(q), q.size);
}
