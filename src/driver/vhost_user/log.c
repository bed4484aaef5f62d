// SPDX-License-Identifier: BSD-3-Clause
/*
 * The dirty log ("Migration"): a file of the front end with one bit per page of guest physical
 * memory.
 *
 * Who attacks: the front end chooses size and offset, and may truncate the file. Bounds are checked
 * when it is mapped; a page beyond the log is counted and not written (memory floor). A used ring
 * is logged at the guest physical address that it has, which is what log_guest_addr names; a front
 * end that names another one wants a log for a ring that is not where the guest sees it, and is
 * told that this does not exist here.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>

int vu_log_apply(struct vu_session *s, const struct vdpa_done *done)
{
	struct vdpa_dirty_log *log = s->logging ? s->log : NULL;
	int err = 0;

	/* The device knows nothing of rings that are discarded here. */
	for (unsigned i = 0; i < s->nrings && !err; i++)
		err = vu_discard_log(&s->ring[i], log);
	return err ? err : vdpa_set_dirty_log(s->dev->vdev, log, done);
}

static void log_base_done(struct vu_session *s, int result)
{
	/* "The reply has no payload": there is no way to say no but to end the session. */
	if (!result)
		vu_reply(s, NULL, 0, -1);
	vu_session_done(s, result);
}

int vu_set_log_base(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_user_log *wire = &msg->payload->log;
	struct vdpa_dirty_log *log, *before = s->log;
	struct vdpa_error error = {0};
	struct vdpa_done done;
	const char *why;
	int err;

	if (!vhost_user_log_valid(wire, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_LOG_BASE: %s", why);
		return -EINVAL;
	}
	err = vdpa_dirty_log_map(msg->fds.fd[0], wire->mmap_offset, wire->mmap_size, &log, &error);
	if (err) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: SET_LOG_BASE: %s", error.msg);
		return err;
	}
	s->log = log;
	vu_wait_begin(s, log_base_done);
	if (s->logging) {
		done = vu_wait_add(s);
		err = vu_log_apply(s, &done);
		if (err)
			vu_wait_put(s, err);
	}
	/* The device holds the old one for as long as a queue may write to it. */
	vdpa_dirty_log_put(before);
	vu_wait_put(s, 0);
	return VU_DEFERRED;
}

/* The front end need not be told that the log changed: it reads it when it wants to. */
int vu_set_log_fd(struct vu_session *s, struct vu_msg *msg)
{
	vdpa_fd_close(&s->log_fd);
	s->log_fd = vdpa_fds_take(&msg->fds, 0);
	return 0;
}

void vu_log_free(struct vu_session *s)
{
	vdpa_dirty_log_put(s->log);
	s->log = NULL;
}
