// SPDX-License-Identifier: BSD-3-Clause
/*
 * Watched descriptors. epoll hands events out in batches; a callback may delete, and free, the
 * owner of an event that waits further down in the same batch. Deletion therefore strikes the
 * descriptor's events out of the rest of the batch.
 */
#include <assert.h>
#include <errno.h>
#include "base/loop_impl.h"

static int loop_epoll_ctl(struct vdpa_loop *loop, int op, struct vdpa_loop_fd *lfd)
{
	struct epoll_event ev = {.events = lfd->events, .data.ptr = lfd};

	return epoll_ctl(loop->epfd, op, lfd->fd, &ev) < 0 ? -errno : 0;
}

int vdpa_loop_fd_add(struct vdpa_loop *loop, struct vdpa_loop_fd *lfd, int fd, uint32_t events,
		     void (*fn)(struct vdpa_loop_fd *lfd, uint32_t revents))
{
	int ret;

	assert(vdpa_loop_is_current(loop));
	lfd->fd = fd;
	lfd->events = events;
	lfd->fn = fn;
	ret = loop_epoll_ctl(loop, EPOLL_CTL_ADD, lfd);
	lfd->loop = ret ? NULL : loop;
	return ret;
}

int vdpa_loop_fd_mod(struct vdpa_loop_fd *lfd, uint32_t events)
{
	uint32_t old = lfd->events;
	int ret;

	if (!lfd->loop)
		return -EINVAL;
	assert(vdpa_loop_is_current(lfd->loop));
	if (events == old)
		return 0;
	lfd->events = events;
	ret = loop_epoll_ctl(lfd->loop, EPOLL_CTL_MOD, lfd);
	if (ret)
		lfd->events = old;
	return ret;
}

void vdpa_loop_fd_del(struct vdpa_loop_fd *lfd)
{
	struct vdpa_loop *loop = lfd->loop;

	if (!loop)
		return;
	assert(vdpa_loop_is_current(loop));
	loop_epoll_ctl(loop, EPOLL_CTL_DEL, lfd);
	for (int i = loop->at_event; i < loop->nevents; i++) {
		if (loop->events[i].data.ptr == lfd)
			loop->events[i].data.ptr = NULL;
	}
	lfd->loop = NULL;
}

bool loop_fds(struct vdpa_loop *loop)
{
	bool ran = false;

	while (loop->at_event < loop->nevents) {
		struct epoll_event *ev = &loop->events[loop->at_event++];
		struct vdpa_loop_fd *lfd = ev->data.ptr;
		bool own = lfd == &loop->wake_fd || lfd == &loop->timer_fd;

		/* Struck out, or narrowed since by vdpa_loop_fd_mod(). */
		if (!lfd || !(ev->events & (lfd->events | EPOLLERR | EPOLLHUP)))
			continue;
		lfd->fn(lfd, ev->events);
		ran |= !own;
		ran |= loop_messages(loop);
	}
	return ran;
}
