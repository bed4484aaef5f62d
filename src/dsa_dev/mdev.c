// SPDX-License-Identifier: BSD-3-Clause
/*
 * Mediated devices that are DSAs. One has a queue of its parent's, engines that it shares with the
 * others of the queue's group, and for itself: an address space with a PASID, a queue object, a
 * slot of interrupt message storage, and the registers of vdev.h. The queue object only has access
 * to this one address space, and the slot is only sent by work of this PASID: that is how two
 * guests are kept apart.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dsa_dev/mdev_impl.h"

#define VECTORS 2u /* 0 the device's own, 1 the queue's */

static struct dsa_mdev *of(struct mdev_device *mdev)
{
	return vdpa_container_of(mdev, struct dsa_mdev, mdev);
}

/* ---- interrupts: any thread ---- */

int dsa_mdev_signal(struct dsa_mdev *m, unsigned index, unsigned sub)
{
	int r = -ENOENT;

	pthread_mutex_lock(&m->srv_lock);
	if (m->srv)
		r = vfio_user_irq_trigger(m->srv, index, sub);
	pthread_mutex_unlock(&m->srv_lock);
	return r;
}

static void vector_signal(void *arg, unsigned vector)
{
	struct dsa_mdev *m = arg;

	pci_msi_raise(m->pci, vector);
}

static void device_interrupt(void *arg)
{
	struct dsa_mdev *m = arg;

	ims_vectors_signal(m->vectors, 0);
}

/* ---- what engines tell: their threads ---- */

static bool handle_valid(void *arg, uint16_t handle)
{
	struct dsa_mdev *m = arg;

	return ims_vectors_valid(m->vectors, handle);
}

static void work_interrupt(void *arg, uint16_t handle)
{
	struct dsa_mdev *m = arg;

	ims_vectors_send(m->vectors, handle, m->pasid);
}

static void work_error(void *arg, const struct dsa_error *error)
{
	struct dsa_error shown = *error;
	struct dsa_mdev *m = arg;

	shown.pasid = 0; /* the host's is none of the guest's business */
	dsa_vdev_error(m->vdev, 0, &shown);
}

static const struct dsa_queue_ops queue_ops = {
	.handle_valid = handle_valid,
	.interrupt = work_interrupt,
	.error = work_error,
};

/* ---- what the virtual device asks for ---- */

static bool full(void *arg, unsigned wq, bool limited)
{
	struct dsa_mdev *m = arg;

	return dsa_queue_occupancy(m->queue) >= (limited ? m->threshold : m->size);
}

static int submit(void *arg, unsigned wq, const void *desc, bool limited)
{
	struct dsa_mdev *m = arg;

	if (limited && full(m, wq, true))
		return -EAGAIN;
	return dsa_submit(m->queue, m->space, desc, NULL);
}

static void quiet(struct vdpa_loop_msg *msg)
{
	struct mdev_wait *w = vdpa_container_of(msg, struct mdev_wait, msg);

	dsa_vdev_idle(w->m->vdev, w->why);
}

/* On any thread. */
static void waited(void *arg, int result)
{
	struct mdev_wait *w = arg;

	vdpa_loop_post(vdpa_ctx_control(w->m->dev->ctx), &w->msg, quiet);
}

static void quiesce(void *arg, enum dsa_vdev_why why, uint32_t wqs, bool abort)
{
	struct dsa_mdev *m = arg;
	struct mdev_wait *w = &m->waits[why];
	const struct dsa_select select = {m->queue, DSA_ANY_PASID};

	if (!wqs) {
		dsa_vdev_idle(m->vdev, why);
		return;
	}
	w->m = m;
	w->why = why;
	w->wait = (struct dsa_wait){.done = {waited, w}};
	if (abort)
		dsa_abort(m->dev->groups[m->wq->group].engine, &select, &w->wait);
	else
		dsa_drain(m->dev->groups[m->wq->group].engine, &select, &w->wait);
}

static int enable_wq(void *arg, unsigned wq, const struct dsa_vdev_wq *c)
{
	struct dsa_mdev *m = arg;
	const struct dsa_queue_config config = {
		.size = c->size,
		.max_xfer_shift = c->xfer_shift,
		.max_batch_shift = c->batch_shift,
		.block_on_fault = c->block_on_fault,
		.priv = true, /* of the guest's own kernel */
		.ops = &queue_ops,
		.arg = m,
	};

	int r = dsa_queue_new(m->dev->groups[m->wq->group].engine, &config, &m->queue);

	m->size = c->size;
	m->threshold = c->threshold;
	if (!r)
		dsa_mdev_watch(m, true);
	return r;
}

static void disable_wq(void *arg, unsigned wq)
{
	struct dsa_mdev *m = arg;

	dsa_mdev_watch(m, false);
	dsa_queue_free(m->queue);
	m->queue = NULL;
}

static bool bus_master(void *arg)
{
	struct dsa_mdev *m = arg;

	return pci_bus_master(m->pci);
}

static const struct dsa_vdev_ops vdev_ops = {
	.submit = submit,
	.full = full,
	.quiesce = quiesce,
	.enable_wq = enable_wq,
	.disable_wq = disable_wq,
	.bus_master = bus_master,
};

/* ---- reset ---- */

static void reset_over(void *arg, int result)
{
	struct dsa_mdev *m = arg;
	struct vdpa_done done[DSA_MDEV_RESETS];
	unsigned n = m->nresets;

	memcpy(done, m->reset_done, sizeof(done));
	m->nresets = 0;
	pci_reset(m->pci);
	for (unsigned i = 0; i < n; i++)
		vdpa_done_call(&done[i], result);
}

/* Whoever asks during a reset is told of the same one's end. */
void dsa_mdev_reset(struct dsa_mdev *m, const struct vdpa_done *done)
{
	const struct vdpa_done over = {reset_over, m};

	/* One of the client's, one when it goes, one when the device does. */
	assert(m->nresets < DSA_MDEV_RESETS);
	m->reset_done[m->nresets++] = *done;
	if (m->nresets == 1)
		dsa_vdev_reset(m->vdev, &over);
}

/* ---- life ---- */

static unsigned shift_of(uint64_t power)
{
	return (unsigned)__builtin_ctzll(power);
}

static int new_vdev(struct dsa_mdev *m)
{
	const struct dsa_wq *wq = m->wq;
	const struct dsa_vdev_wq queue = {
		.size = wq->size,
		.threshold = wq->threshold,
		.dedicated = wq->dedicated,
		.block_on_fault = wq->block_on_fault,
		.priority = wq->priority,
		.xfer_shift = shift_of(wq->max_transfer),
		.batch_shift = shift_of(wq->max_batch),
	};
	const struct dsa_vdev_config config = {
		.ops = &vdev_ops,
		.arg = m,
		.nwqs = 1,
		.wqs = &queue,
		.nengines = dsa_group_engines(m->dev, (unsigned)wq->group),
		.gencap = DSA_GENCAP_OVERLAP | DSA_GENCAP_CACHE_MEM | DSA_GENCAP_CACHE_FLUSH |
			  (wq->block_on_fault ? DSA_GENCAP_BOF : 0),
		.xfer_shift = queue.xfer_shift,
		.batch_shift = queue.batch_shift,
		.opcap = DSA_OPCAP,
		.nvectors = VECTORS,
		.vectors = m->vectors,
		.interrupt = device_interrupt,
	};

	return dsa_vdev_new(&config, &m->vdev);
}

static int new_vectors(struct dsa_mdev *m)
{
	const struct ims_vectors_config config = {
		.ims = m->dev->ims,
		.count = VECTORS,
		.emulated = 1,
		.pasid = m->pasid,
		.owner = m->mdev.uuid,
		.signal = vector_signal,
		.arg = m,
	};

	return ims_vectors_new(&config, &m->vectors);
}

/* Nobody is asked; the VMM may map it some day. */
static void miss(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
}

static int new_as(struct dsa_mdev *m)
{
	int r = vdpa_as_new(vdpa_ctx_loops(m->dev->ctx), 0, &m->as);

	/* What may block on a fault has to know that a hole is not for ever. */
	return r || !m->wq->block_on_fault ? r : vdpa_as_set_miss(m->as, miss, m);
}

static int build(struct dsa_mdev *m)
{
	struct dsa_engine *engine = m->dev->groups[m->wq->group].engine;
	int r = new_as(m);

	if (!r)
		r = dsa_space_new(engine, m->pasid, m->as, &m->space);
	if (!r)
		r = new_vectors(m);
	if (!r)
		r = dsa_mdev_pci_new(m);
	if (!r)
		r = new_vdev(m);
	if (!r)
		r = mdev_set_vfio_ops(&m->mdev, &dsa_mdev_vfio_ops);
	return r;
}

static void demolish(struct dsa_mdev *m)
{
	dsa_mdev_unmap_portals(m);
	dsa_vdev_free(m->vdev);
	ims_vectors_free(m->vectors);
	pci_dev_free(m->pci);
	dsa_space_free(m->space);
	if (m->as)
		vdpa_as_free(m->as);
	pthread_mutex_destroy(&m->srv_lock);
	m->wq->state = DSA_WQ_ENABLED;
	m->wq->owner = NULL;
}

static bool wants_dedicated(const struct mdev_type *type)
{
	return !strcmp(type->id, "1dwq-v1");
}

static bool is_free(const struct dsa_wq *wq, const struct mdev_type *type)
{
	return wq->state == DSA_WQ_ENABLED && wq->mdev && wq->dedicated == wants_dedicated(type);
}

static struct dsa_dev *dev_of(struct mdev_parent *parent)
{
	return vdpa_container_of(parent, struct dsa_dev, parent);
}

static struct dsa_wq *free_wq(struct dsa_dev *dev, const struct mdev_type *type)
{
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (is_free(&dev->wqs[i], type))
			return &dev->wqs[i];
	}
	return NULL;
}

static unsigned available_instances(struct mdev_parent *parent, const struct mdev_type *type)
{
	struct dsa_dev *dev = dev_of(parent);
	unsigned n = 0;

	for (unsigned i = 0; i < dev->nwqs; i++)
		n += is_free(&dev->wqs[i], type);
	return n;
}

static bool pasid_used(const struct dsa_dev *dev, uint32_t pasid)
{
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].owner && dev->wqs[i].owner->pasid == pasid)
			return true;
	}
	return false;
}

/* Never 0, and one that was given back is not soon another's. */
static uint32_t new_pasid(struct dsa_dev *dev)
{
	do {
		dev->last_pasid = dev->last_pasid % IMS_PASID_MAX + 1;
	} while (pasid_used(dev, dev->last_pasid));
	return dev->last_pasid;
}

static int create(struct mdev_device *mdev, struct vdpa_error *err)
{
	struct dsa_dev *dev = dev_of(mdev->parent);
	struct dsa_wq *wq = free_wq(dev, mdev->type);
	struct dsa_mdev *m = of(mdev);
	int r;

	if (!wq)
		return vdpa_error_set(err, EUSERS, dev->name,
				      "no %s queue of type mdev is enabled and free",
				      wants_dedicated(mdev->type) ? "dedicated" : "shared");
	m->dev = dev;
	m->pasid = new_pasid(dev);
	m->wq = wq;
	m->pages_fd = -1;
	pthread_mutex_init(&m->srv_lock, NULL);
	wq->state = DSA_WQ_LOCKED;
	wq->owner = m;
	r = build(m);
	if (!r)
		return 0;
	demolish(m);
	return vdpa_error_set(err, -r, dev->name,
			      r == -ENOSPC ? "no slot of interrupt message storage is free"
					   : "no memory for the device");
}

static void removed(void *arg, int result)
{
	struct dsa_mdev *m = arg;
	struct vdpa_done done = m->remove_done;
	struct dsa_dev *dev = m->dev;

	demolish(m);
	vdpa_done_call(&done, 0);
	if (dev->doomed)
		dsa_dev_drop(dev);
}

static void remove_mdev(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct dsa_mdev *m = of(mdev);
	const struct vdpa_done then = {removed, m};

	m->remove_done = *done;
	dsa_mdev_reset(m, &then);
}

/* ---- attributes ---- */

static const char *const portals[] = {"trapped", "mapped", NULL};

static const struct vdpa_attr_spec attrs[] = {
	{.name = "portals",
	 .type = VDPA_ATTR_ENUM,
	 .choices = portals,
	 .help = "mapped: the guest writes descriptors to memory, which a processor watches all "
		 "the time; set it before a VMM connects"},
	{0},
};

static int set_attr(struct mdev_device *mdev, const char *key, const char *value,
		    struct vdpa_error *err)
{
	struct dsa_mdev *m = of(mdev);

	if (m->srv)
		return vdpa_error_set(
			err, EBUSY, mdev->uuid,
			"it is being served: unbind it, or give %s when it is created", key);
	if (!strcmp(value, "mapped"))
		return dsa_mdev_map_portals(m, err);
	dsa_mdev_unmap_portals(m);
	return 0;
}

static void emit_u64(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, key, text);
}

static void show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	struct dsa_mdev *m = of(mdev);
	struct dsa_vdev_stats stats;
	char wq[DSA_TEXT + 16];

	snprintf(wq, sizeof(wq), "%s/wq%u.%u", m->dev->name, m->dev->number,
		 (unsigned)(m->wq - m->dev->wqs));
	emit(arg, "wq", wq);
	emit_u64(emit, arg, "pasid", m->pasid);
	emit(arg, "portals", portals[m->pages_fd >= 0]);
	dsa_vdev_get_stats(m->vdev, &stats);
	emit_u64(emit, arg, "submitted", stats.submitted);
	emit_u64(emit, arg, "dropped", stats.dropped);
	emit_u64(emit, arg, "retried", stats.retried);
	emit_u64(emit, arg, "torn", stats.torn);
	emit_u64(emit, arg, "commands", stats.commands);
	emit_u64(emit, arg, "errors", stats.errors);
	emit_u64(emit, arg, "refused", stats.refused);
}

/* ---- the parent ---- */

static const struct mdev_parent_ops parent_ops = {
	.size = sizeof(parent_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct dsa_mdev),
	.offset = offsetof(struct dsa_mdev, mdev),
	.create = create,
	.remove = remove_mdev,
	.available_instances = available_instances,
	.set_attr = set_attr,
	.show = show,
};

static const struct mdev_type mdev_types[] = {
	{.id = "1dwq-v1",
	 .name = "DSA with a dedicated queue",
	 .description = "Intel DSA (8086:0b25) with one dedicated work queue, configuration read "
			"only",
	 .device_api = "vfio-pci",
	 .attrs = attrs},
	{.id = "1swq-v1",
	 .name = "DSA with a shared queue",
	 .description = "Intel DSA (8086:0b25) with one shared work queue, configuration read only",
	 .device_api = "vfio-pci",
	 .attrs = attrs},
	{0},
};

int dsa_mdev_register(struct dsa_dev *dev, struct vdpa_error *err)
{
	dev->parent = (struct mdev_parent){
		.name = dev->name,
		.driver = "idxd",
		.help = "software DSA",
		.ops = &parent_ops,
		.types = mdev_types,
	};
	return mdev_register_parent(dev->ctx, &dev->parent, err);
}

/* ---- for administrators ---- */

static bool is_dsa(const struct mdev_device *mdev)
{
	return mdev->parent->ops == &parent_ops;
}

struct dsa_vdev *dsa_mdev_vdev(struct mdev_device *mdev)
{
	return is_dsa(mdev) ? of(mdev)->vdev : NULL;
}

static void inject_error(struct dsa_mdev *m)
{
	const struct dsa_error error = {.status = 0x10};

	dsa_vdev_error(m->vdev, 0, &error);
}

static void inject_revocation(struct dsa_mdev *m)
{
	dsa_vdev_revoke(m->vdev);
}

static void inject_halt(struct dsa_mdev *m)
{
	dsa_vdev_halt(m->vdev, DSA_RESET_SOFTWARE);
}

static void inject_flr(struct dsa_mdev *m)
{
	dsa_vdev_halt(m->vdev, DSA_RESET_FLR);
}

static void inject_bus_error(struct dsa_mdev *m)
{
	dsa_mdev_signal(m, VFIO_PCI_ERR_IRQ_INDEX, 0);
}

static void inject_request(struct dsa_mdev *m)
{
	dsa_mdev_signal(m, VFIO_PCI_REQ_IRQ_INDEX, 0);
}

int dsa_mdev_inject(struct mdev_device *mdev, const char *what, struct vdpa_error *err)
{
	static const struct {
		const char *name;
		void (*fn)(struct dsa_mdev *m);
	} kinds[] = {
		{"swerr", inject_error}, {"revoke", inject_revocation}, {"halt", inject_halt},
		{"flr", inject_flr},	 {"err", inject_bus_error},	{"request", inject_request},
	};

	if (!is_dsa(mdev))
		return vdpa_error_set(err, ENOTTY, mdev->uuid, "this device is no DSA");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i].name, what)) {
			kinds[i].fn(of(mdev));
			return 0;
		}
	}
	return vdpa_error_set(err, EINVAL, mdev->uuid,
			      "\"%s\": swerr, revoke, halt, flr, err and request can be injected",
			      what);
}
