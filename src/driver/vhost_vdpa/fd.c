// SPDX-License-Identifier: BSD-3-Clause
/* Descriptors that loops use until they have passed, and completions that wait for several others.
 */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

/* So many may wait to be closed, without their sender having to. */
#define VV_RETIRING 8u

int vv_fd_new(struct vhost_vdpa *v, int fd, struct vv_fd **out)
{
	struct vv_fd *vfd;

	*out = NULL;
	if (fd < 0)
		return 0;
	vfd = calloc(1, sizeof(*vfd));
	if (!vfd) {
		close(fd);
		return -ENOMEM;
	}
	vfd->fd = fd;
	vfd->v = v;
	*out = vfd;
	return 0;
}

static void vv_fd_passed(struct vdpa_loop_sync *sync)
{
	struct vv_fd *vfd = vdpa_container_of(sync, struct vv_fd, sync);
	struct vhost_vdpa *v = vfd->v;

	vdpa_fd_close(&vfd->fd);
	free(vfd);
	v->retiring--;
}

void vv_fd_retire(struct vv_fd **vfd)
{
	struct vv_fd *old = *vfd;

	*vfd = NULL;
	if (!old)
		return;
	old->v->retiring++;
	vdpa_loop_group_sync(vdpa_ctx_loops(old->v->vdev->ctx), &old->sync, vv_fd_passed);
}

static void settle_passed(struct vdpa_loop_sync *sync)
{
	struct vhost_vdpa *v = vdpa_container_of(sync, struct vhost_vdpa, settle_sync);
	struct vdpa_done done = v->settled;

	v->retiring--;
	vdpa_done_call(&done, 0);
}

/* Syncs complete in the order in which they were begun: what retires is gone by then. */
bool vhost_vdpa_settle(struct vhost_vdpa *v, const struct vdpa_done *done)
{
	if (v->retiring < VV_RETIRING)
		return false;
	v->retiring++;
	v->settled = *done;
	vdpa_loop_group_sync(vdpa_ctx_loops(v->vdev->ctx), &v->settle_sync, settle_passed);
	return true;
}

struct vv_join *vv_join_new(const struct vdpa_done *done)
{
	struct vv_join *join = calloc(1, sizeof(*join));

	if (!join)
		return NULL;
	join->refs = 1;
	if (done)
		join->done = *done;
	return join;
}

void vv_join_put(struct vv_join *join, int result)
{
	struct vdpa_done done = join->done;

	if (result && !join->result)
		join->result = result;
	if (--join->refs)
		return;
	result = join->result;
	free(join);
	vdpa_done_call(&done, result);
}

static void vv_join_done(void *arg, int result)
{
	vv_join_put(arg, result);
}

struct vdpa_done vv_join_add(struct vv_join *join)
{
	join->refs++;
	return (struct vdpa_done){.fn = vv_join_done, .arg = join};
}
