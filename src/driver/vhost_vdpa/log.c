// SPDX-License-Identifier: BSD-3-Clause
/* The dirty log, an extension of ours. Who attacks: the program, by the file that it hands over
 * (memory floor). */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>

#include "base/fd.h"

int vv_log_set(struct vhost_vdpa *v, const struct vhost_uvdpa_log *arg, int fd,
	       const struct vdpa_done *done)
{
	struct vdpa_dirty_log *log = NULL;
	int err = 0;

	if (!(v->backend_features & VDPA_BIT(VHOST_BACKEND_F_UVDPA_LOG)))
		err = -ENOTTY;
	else if (arg->flags)
		err = -EINVAL;
	else if (fd >= 0)
		err = vdpa_dirty_log_map(fd, arg->offset, arg->size, &log, NULL);
	vdpa_fd_close(&fd);
	if (err)
		return err;
	err = vdpa_set_dirty_log(v->vdev, log, done);
	if (!err)
		v->logging = log;
	/* The address spaces keep it. */
	vdpa_dirty_log_put(log);
	return err;
}

int vv_log_release(struct vhost_vdpa *v)
{
	int err = v->logging ? vdpa_set_dirty_log(v->vdev, NULL, NULL) : 0;

	if (!err)
		v->logging = false;
	return err;
}
