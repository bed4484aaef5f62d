// SPDX-License-Identifier: BSD-3-Clause
/*
 * IOTLB messages of the front end ("IOMMU support"), and where misses come from.
 *
 * Who attacks: the front end (addresses, sizes, order) and, through its vIOMMU, the guest, which
 * decides what is missing. User addresses are good only inside the memory table. Front ends send
 * the same entry twice when two rings missed it, so an update that says what is known already is
 * not an error; one that says something else takes the old entries out first, and waits until
 * nothing in flight uses them.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>

void vu_iotlb_update_miss(struct vu_session *s)
{
	bool report = (s->features & VDPA_BIT(VIRTIO_F_ACCESS_PLATFORM)) && s->backend.fd >= 0;

	if (vdpa_has_ext(s->dev->vdev, set_miss))
		vdpa_set_miss(s->dev->vdev, 0, report ? vu_iotlb_miss : NULL, s->dev);
}

/*
 * What is known is a copy, and front ends keep it true only while they use the device: QEMU takes
 * no invalidations of a device that it stopped. The next driver maps its memory anew, maybe at the
 * same addresses.
 */
int vu_iotlb_forget(struct vu_session *s, const struct vdpa_done *done)
{
	int err = 0;

	if (s->iommu && vhost_vdpa_has_owner(s->dev->v))
		err = vhost_vdpa_iotlb_invalidate(s->dev->v, 0, 0, UINT64_MAX, done);
	else
		vdpa_done_call(done, 0);
	return err;
}

void vu_iotlb_miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	struct vu_dev *dev = arg;

	pthread_mutex_lock(&dev->miss_lock);
	if (dev->nmisses < VU_MISSES * dev->vdev->nvqs)
		dev->miss[dev->nmisses++] = (struct vhost_iotlb_msg){
			.iova = iova, .perm = (uint8_t)perm, .type = VHOST_IOTLB_MISS};
	pthread_mutex_unlock(&dev->miss_lock);
	vu_dev_post(dev);
}

/*
 * What was missing in [@first, @last] is there, or was: to ask once more could be a fault in the
 * guest when its driver has taken it back meanwhile. Whoever needs it looks again, and then asks.
 */
static void answered(struct vu_dev *dev, iova_t first, iova_t last)
{
	unsigned n = 0;

	pthread_mutex_lock(&dev->miss_lock);
	for (unsigned i = 0; i < dev->nmisses; i++) {
		if (dev->miss[i].iova < first || dev->miss[i].iova > last)
			dev->miss[n++] = dev->miss[i];
	}
	dev->nmisses = n;
	pthread_mutex_unlock(&dev->miss_lock);
}

bool vu_iotlb_has(struct vu_session *s, const struct vhost_iotlb_msg *miss)
{
	const struct vhost_iotlb_map *map =
		vhost_iotlb_itree_first(vhost_vdpa_iotlb(s->dev->v, 0), miss->iova, miss->iova);

	if (!map || (map->perm & miss->perm) != miss->perm)
		return false;
	/* It is over, also for an access that ran into it once more. */
	if (vdpa_miss_settled(s->dev->vdev, 0, miss->iova, miss->perm))
		vdpa_miss_settled(s->dev->vdev, 0, miss->iova, miss->perm);
	return true;
}

/*
 * A miss that was refused is asked again when somebody kicks, as vhost in the kernel does, and no
 * more often than this: the guest chooses how often it kicks. A kick that comes meanwhile is not
 * forgotten.
 */
#define SETTLE_NS 10000000ull

static void settle(struct vdpa_loop_timer *timer)
{
	struct vu_backend *b = vdpa_container_of(timer, struct vu_backend, settle_timer);
	struct vu_dev *dev = b->s->dev;
	unsigned n = b->nsettled;

	b->nsettled = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct vhost_iotlb_msg *m = &b->settled[i];

		if (vdpa_miss_settled(dev->vdev, 0, m->iova, m->perm))
			vu_iotlb_miss(dev, 0, m->iova, m->perm);
	}
}

void vu_iotlb_settle(struct vu_session *s, const struct vhost_iotlb_msg *miss)
{
	struct vu_backend *b = &s->backend;

	/* One that is left out waits for a change of the map, or for a reset. */
	if (b->nsettled < VU_SETTLED)
		b->settled[b->nsettled++] = *miss;
	if (!b->settle_timer.loop)
		vdpa_loop_timer_set(vdpa_ctx_control(s->dev->vdev->ctx), &b->settle_timer,
				    vdpa_clock_ns() + SETTLE_NS, settle);
}

static struct vhost_vdpa_update update_of(const struct vhost_iotlb_msg *msg)
{
	return (struct vhost_vdpa_update){
		.asid = 0,
		.perm = msg->perm,
		.iova = msg->iova,
		.size = msg->size,
		.uaddr = msg->uaddr,
	};
}

/* Is exactly this translation there already, as a part of @map? */
static bool known(struct vu_session *s, const struct vhost_iotlb_map *map,
		  const struct vhost_iotlb_msg *msg)
{
	struct vhost_vdpa_piece piece;

	if (map->start > msg->iova || map->last < msg->iova + (msg->size - 1) ||
	    (map->perm & msg->perm) != msg->perm)
		return false;
	if (vu_mem_resolve(s->dev, msg->uaddr, msg->size, &piece) || piece.size != msg->size)
		return false;
	return map->opaque == piece.region &&
	       vdpa_region_addr(piece.region, piece.off) == map->addr + (msg->iova - map->start);
}

static void update_cleared(struct vu_session *s, int result)
{
	struct vhost_vdpa_update update = update_of(&s->payload.iotlb);
	struct vdpa_done done = vu_session_done_cb(s);

	if (!result)
		result = vhost_vdpa_iotlb_update(s->dev->v, &update, &done);
	if (result)
		vu_session_done(s, result);
	else
		answered(s->dev, update.iova, update.iova + (update.size - 1));
}

static int update(struct vu_session *s, const struct vhost_iotlb_msg *msg)
{
	const struct vhost_iotlb *tlb = vhost_vdpa_iotlb(s->dev->v, 0);
	iova_t last = msg->iova + (msg->size - 1);
	const struct vhost_iotlb_map *map = vhost_iotlb_itree_first(tlb, msg->iova, last);
	struct vdpa_done done;
	int err;

	if (map && known(s, map, msg))
		return 0;
	vu_wait_begin(s, update_cleared);
	if (map) {
		done = vu_wait_add(s);
		err = vhost_vdpa_iotlb_invalidate(s->dev->v, 0, msg->iova, last, &done);
		if (err)
			vu_wait_put(s, err);
	}
	vu_wait_put(s, 0);
	return VU_DEFERRED;
}

int vu_iotlb_msg(struct vu_session *s, struct vu_msg *msg)
{
	const struct vhost_iotlb_msg *wire = &msg->payload->iotlb;
	struct vdpa_done done = vu_session_done_cb(s);
	const char *why = "ACCESS_PLATFORM was not negotiated";
	int err;

	if (!s->iommu || !vhost_user_iotlb_valid(wire, &why)) {
		vu_log(s, VDPA_LOG_WARN, "vhost-user: IOTLB_MSG: %s", why);
		return -EINVAL;
	}
	if (wire->type == VHOST_IOTLB_UPDATE)
		return update(s, wire);
	err = vhost_vdpa_iotlb_invalidate(s->dev->v, 0, wire->iova,
					  wire->size ? wire->iova + (wire->size - 1) : UINT64_MAX,
					  &done);
	return err ? err : VU_DEFERRED;
}
