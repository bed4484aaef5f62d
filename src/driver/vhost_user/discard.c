// SPDX-License-Identifier: BSD-3-Clause
/*
 * A ring that is started and disabled must be "processed without causing any side effects" ("Ring
 * states"): what a guest sends through a NIC whose queue is disabled is taken and thrown away, or
 * its driver would wait for ever. The device does not work on such a ring, so this does, on the
 * control thread, at a leisurely pace; it knows of a request only that it ends. The base moves on,
 * and the device goes on from there when the ring is enabled.
 *
 * Who attacks: the driver, as with every ring; vringh checks all of it, and a malformed ring is
 * left alone.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>

#define EVERY_NS 5000000ull
#define BUDGET 256

struct vu_discard {
	struct vu_ring *ring;
	struct vdpa_as *as;
	struct vdpa_view *view;
	struct vringh *vr;
	struct vdpa_loop_timer timer;
};

/* Transmit queues of a NIC have odd indices (virtio 1.3, section 5.1.2); the control queue, if any,
 * is last and even. */
bool vu_discard_wanted(const struct vu_ring *r)
{
	const struct vu_session *s = r->s;

	return vdpa_get_device_id(s->dev->vdev) == VIRTIO_ID_NET && (r->idx & 1) && !s->iommu;
}

static bool in_use(void *arg, uintptr_t first, uintptr_t last)
{
	return false;
}

/* Only the log changes: a change of the memory table starts the ring anew. */
static void changed(void *arg)
{
	struct vu_discard *d = arg;

	vringh_map_changed(d->vr);
}

static const struct vdpa_view_ops view_ops = {.in_use = in_use, .changed = changed};

static void sweep(struct vdpa_loop_timer *timer)
{
	struct vu_discard *d = vdpa_container_of(timer, struct vu_discard, timer);
	struct vringh_chain *chain;
	int n = 0;

	if (vdpa_view_refresh(d->view))
		changed(d);
	for (int i = 0; i < BUDGET; i++) {
		n = vringh_getdesc(d->vr, &chain, 1);
		if (n <= 0)
			break;
		vringh_complete(d->vr, chain, 0);
	}
	if (n >= 0)
		n = vringh_flush(d->vr);
	if (n < 0)
		return;
	if (vringh_need_notify(d->vr))
		vhost_vdpa_call_vring(d->ring->s->dev->v, d->ring->idx);
	vdpa_loop_timer_set(vdpa_ctx_control(d->ring->s->dev->vdev->ctx), timer,
			    vdpa_clock_ns() + EVERY_NS, sweep);
}

static void discard_free(struct vu_discard *d)
{
	vdpa_loop_timer_cancel(&d->timer);
	if (d->view)
		vdpa_view_detach(d->view);
	vringh_free(d->vr);
	if (d->as)
		vdpa_as_free(d->as);
	free(d);
}

static int map_all(struct vu_discard *d, const struct vu_session *s)
{
	int err = 0;

	for (unsigned i = 0; i < s->nregions && !err; i++) {
		const struct vu_region *r = s->region[i];

		err = vdpa_as_map(d->as, r->wire.guest_addr, r->wire.size,
				  vdpa_region_addr(r->region, 0), VHOST_MAP_RW, r->region);
	}
	if (!err && s->logging && s->log)
		err = vdpa_as_set_dirty_log(d->as, s->log, NULL);
	return err;
}

static int discard_new(struct vu_ring *r, struct vu_discard *d)
{
	const struct vu_session *s = r->s;
	struct vdpa_ctx *ctx = s->dev->vdev->ctx;
	struct vringh_config config = {
		.size = sizeof(config),
		.features = s->features &
			    ~(VDPA_BIT(VHOST_F_LOG_ALL) | VDPA_BIT(VHOST_USER_F_PROTOCOL_FEATURES)),
		.num = r->num,
		.desc = r->iova.desc_user_addr,
		.driver = r->iova.avail_user_addr,
		.device = r->iova.used_user_addr,
		.read_only = true,
		.legacy_layout = !(s->features & VDPA_BIT(VIRTIO_F_VERSION_1)),
	};
	int err;

	config.state = vdpa_vq_state_from_base(vu_ring_base(r), vu_packed(s));
	err = vdpa_as_new(vdpa_ctx_loops(ctx), 0, &d->as);
	if (!err)
		err = map_all(d, s);
	if (!err)
		err = vdpa_view_attach(d->as, vdpa_ctx_control(ctx), &view_ops, d, &d->view);
	config.ring_view = config.buf_view = d->view;
	return err ? err : vringh_init(&config, &d->vr, NULL);
}

int vu_discard_start(struct vu_ring *r)
{
	struct vu_discard *d;
	int err;

	if (r->discard)
		return 0;
	err = vu_ring_place(r);
	if (err)
		return err;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->ring = r;
	err = discard_new(r, d);
	if (err) {
		discard_free(d);
		return err;
	}
	r->discard = d;
	vdpa_loop_timer_set(vdpa_ctx_control(r->s->dev->vdev->ctx), &d->timer, vdpa_clock_ns(),
			    sweep);
	return 0;
}

void vu_discard_stop(struct vu_ring *r)
{
	struct vu_discard *d = r->discard;
	struct vdpa_vq_state state;

	if (!d)
		return;
	r->discard = NULL;
	state = vringh_state(d->vr);
	vu_ring_set_base(r, vdpa_vq_state_to_base(&state, vu_packed(r->s)));
	discard_free(d);
}

int vu_discard_log(struct vu_ring *r, struct vdpa_dirty_log *log)
{
	return r->discard ? vdpa_as_set_dirty_log(r->discard->as, log, NULL) : 0;
}
