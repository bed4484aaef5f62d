// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts: eventfds that the client gives, one for each, and what it wants to do to them. Any
 * thread may signal one; a lock holds the descriptor while it does.
 *
 * QEMU enables MSI-X with a vector for which no descriptor comes: a trigger with DATA_EVENTFD and
 * no descriptors takes away what is there, or nothing.
 */
#include "vfio_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATA (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD)
#define ACTION (VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER)

static int *fds_new(unsigned n)
{
	int *fds = malloc(n * sizeof(*fds));

	for (unsigned i = 0; fds && i < n; i++)
		fds[i] = -1;
	return fds;
}

int vfu_irqs_init(struct vfio_user_server *srv)
{
	for (unsigned i = 0; i < srv->config.nirqs; i++) {
		struct vfu_irq *irq = &srv->irqs[i];

		irq->info = srv->config.irqs[i];
		if (!irq->info.count)
			continue;
		irq->fds = fds_new(irq->info.count);
		irq->mask_fds = fds_new(irq->info.count);
		irq->unmask_fds = fds_new(irq->info.count);
		if (!irq->fds || !irq->mask_fds || !irq->unmask_fds)
			return -ENOMEM;
	}
	return 0;
}

void vfu_irqs_free(struct vfio_user_server *srv)
{
	for (unsigned i = 0; i < VFIO_USER_IRQS_MAX; i++) {
		free(srv->irqs[i].fds);
		free(srv->irqs[i].mask_fds);
		free(srv->irqs[i].unmask_fds);
	}
}

static bool close_range_of(int *fds, unsigned start, unsigned count)
{
	bool any = false;

	for (unsigned i = start; i < start + count; i++) {
		any |= fds[i] >= 0;
		vdpa_fd_close(&fds[i]);
	}
	return any;
}

static void changed(struct vfio_user_server *srv, unsigned index, unsigned start, unsigned count)
{
	if (srv->ops->irqs_changed)
		srv->ops->irqs_changed(srv->arg, index, start, count);
}

void vfu_irqs_forget(struct vfio_user_server *srv)
{
	for (unsigned i = 0; i < srv->config.nirqs; i++) {
		struct vfu_irq *irq = &srv->irqs[i];
		bool any;

		if (!irq->fds)
			continue;
		pthread_mutex_lock(&srv->irq_lock);
		any = close_range_of(irq->fds, 0, irq->info.count);
		close_range_of(irq->mask_fds, 0, irq->info.count);
		close_range_of(irq->unmask_fds, 0, irq->info.count);
		pthread_mutex_unlock(&srv->irq_lock);
		if (any)
			changed(srv, i, 0, irq->info.count);
	}
}

/* ---- the device's side: any thread ---- */

static int *fd_of(struct vfio_user_server *srv, unsigned index, unsigned sub)
{
	if (index >= srv->config.nirqs || sub >= srv->irqs[index].info.count)
		return NULL;
	return &srv->irqs[index].fds[sub];
}

int vfio_user_irq_trigger(struct vfio_user_server *srv, unsigned index, unsigned sub)
{
	int *fd = fd_of(srv, index, sub), r;

	if (!fd)
		return -EINVAL;
	pthread_mutex_lock(&srv->irq_lock);
	r = *fd < 0 ? -ENOENT : vdpa_eventfd_signal_shared(*fd);
	pthread_mutex_unlock(&srv->irq_lock);
	return r;
}

int vfio_user_irq_fd(struct vfio_user_server *srv, unsigned index, unsigned sub)
{
	int *fd = fd_of(srv, index, sub), r;

	if (!fd)
		return -EINVAL;
	pthread_mutex_lock(&srv->irq_lock);
	r = *fd < 0 ? -ENOENT : vdpa_fd_dup(*fd);
	pthread_mutex_unlock(&srv->irq_lock);
	return r;
}

/* ---- SET_IRQS ---- */

struct set {
	struct vfio_irq_set head;
	struct vfu_irq *irq;
	const uint8_t *bools;
	struct vdpa_fds *fds;
};

static bool one_bit(uint32_t bits)
{
	return bits && !(bits & (bits - 1));
}

static int check(const struct vfio_user_server *srv, const struct vfu_msg *msg, struct set *s)
{
	const struct vfio_irq_set *h = &s->head;
	const struct vfio_user_irqs *info;
	size_t data = msg->len - sizeof(*h);

	if (h->flags & ~(uint32_t)(DATA | ACTION) || !one_bit(h->flags & DATA) ||
	    !one_bit(h->flags & ACTION) || h->index >= srv->config.nirqs)
		return -EINVAL;
	info = &srv->irqs[h->index].info;
	if (!info->count || h->start > info->count || h->count > info->count - h->start)
		return -EINVAL;
	if (!h->count && (h->start || !(h->flags & VFIO_IRQ_SET_DATA_NONE)))
		return -EINVAL;
	if (!(h->flags & VFIO_IRQ_SET_ACTION_TRIGGER) &&
	    (!(info->flags & VFIO_IRQ_INFO_MASKABLE) || !h->count))
		return -EINVAL;
	if (h->flags & VFIO_IRQ_SET_DATA_BOOL ? data < h->count : data)
		return -EINVAL;
	/* All, or none: which are meant could not be told. */
	if (msg->fds.n && (!(h->flags & VFIO_IRQ_SET_DATA_EVENTFD) || msg->fds.n != h->count))
		return -EINVAL;
	return 0;
}

/* A peer's eventfd is signalled on our threads: nothing else may be given. */
static int check_fds(const struct vdpa_fds *fds)
{
	for (unsigned i = 0; i < fds->n; i++) {
		if (vdpa_fd_is_eventfd(fds->fd[i]) != 1)
			return -EINVAL;
	}
	return 0;
}

static void set_fds(struct vfio_user_server *srv, const struct set *s, int *fds)
{
	pthread_mutex_lock(&srv->irq_lock);
	close_range_of(fds, s->head.start, s->head.count);
	for (unsigned i = 0; i < s->fds->n; i++)
		fds[s->head.start + i] = vdpa_fds_take(s->fds, i);
	pthread_mutex_unlock(&srv->irq_lock);
}

static void mask_one(struct vfio_user_server *srv, const struct set *s, unsigned sub)
{
	bool mask = s->head.flags & VFIO_IRQ_SET_ACTION_MASK;
	int *fd = mask ? &s->irq->mask_fds[sub] : &s->irq->unmask_fds[sub];

	if (*fd >= 0)
		vdpa_eventfd_signal_shared(*fd);
	if (srv->ops->irq_mask)
		srv->ops->irq_mask(srv->arg, s->head.index, sub, mask);
}

/* With DATA_NONE for all, with DATA_BOOL for those that are true. */
static void act(struct vfio_user_server *srv, const struct set *s)
{
	for (unsigned i = 0; i < s->head.count; i++) {
		unsigned sub = s->head.start + i;

		if (s->bools && !s->bools[i])
			continue;
		if (s->head.flags & VFIO_IRQ_SET_ACTION_TRIGGER)
			vfio_user_irq_trigger(srv, s->head.index, sub);
		else
			mask_one(srv, s, sub);
	}
}

/* count 0 with DATA_NONE: all of the index end. */
static void disable(struct vfio_user_server *srv, const struct set *s)
{
	pthread_mutex_lock(&srv->irq_lock);
	close_range_of(s->irq->fds, 0, s->irq->info.count);
	pthread_mutex_unlock(&srv->irq_lock);
	changed(srv, s->head.index, 0, s->irq->info.count);
}

static int *fds_for(const struct set *s)
{
	if (s->head.flags & VFIO_IRQ_SET_ACTION_TRIGGER)
		return s->irq->fds;
	return s->head.flags & VFIO_IRQ_SET_ACTION_MASK ? s->irq->mask_fds : s->irq->unmask_fds;
}

int vfu_set_irqs(struct vfio_user_server *srv, struct vfu_msg *msg)
{
	struct set s = {.fds = &msg->fds};
	int r;

	memcpy(&s.head, msg->data, sizeof(s.head));
	r = check(srv, msg, &s);
	if (!r)
		r = check_fds(&msg->fds);
	if (r)
		return r;
	s.irq = &srv->irqs[s.head.index];
	if (s.head.flags & VFIO_IRQ_SET_DATA_BOOL)
		s.bools = msg->data + sizeof(s.head);
	if (!(s.head.flags & VFIO_IRQ_SET_DATA_EVENTFD)) {
		if (s.head.count)
			act(srv, &s);
		else
			disable(srv, &s);
		return 0;
	}
	set_fds(srv, &s, fds_for(&s));
	if (s.head.flags & VFIO_IRQ_SET_ACTION_TRIGGER)
		changed(srv, s.head.index, s.head.start, s.head.count);
	return 0;
}
