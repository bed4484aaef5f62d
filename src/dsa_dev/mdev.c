// SPDX-License-Identifier: BSD-3-Clause
/*
 * Mediated devices that are DSAs. One has queues of its parent's, engines that it shares with the
 * others of the queues' group, and for itself: an address space with a PASID, a queue object and a
 * slot of interrupt message storage for each queue, and the registers of vdev.h. The queue objects
 * only have access to this one address space, and the slots are only sent by work of this PASID:
 * that is how two guests are kept apart.
 *
 * mdev_parent.c is the parent: types, creation, attributes.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dsa_dev/mdev_impl.h"

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
	struct mdev_queue *q = arg;

	return ims_vectors_valid(q->m->vectors, handle);
}

static void work_interrupt(void *arg, uint16_t handle)
{
	struct mdev_queue *q = arg;

	ims_vectors_send(q->m->vectors, handle, q->m->pasid);
}

static void work_error(void *arg, const struct dsa_error *error)
{
	struct dsa_error shown = *error;
	struct mdev_queue *q = arg;

	shown.pasid = 0; /* the host's is none of the guest's business */
	dsa_vdev_error(q->m->vdev, (unsigned)(q - q->m->queues), &shown);
}

static const struct dsa_queue_ops queue_ops = {
	.handle_valid = handle_valid,
	.interrupt = work_interrupt,
	.error = work_error,
};

/* ---- what the virtual device asks for ---- */

static struct dsa_engine *engine_of(const struct dsa_mdev *m)
{
	return m->dev->groups[m->group].engine;
}

static bool full(void *arg, unsigned wq, bool limited)
{
	const struct mdev_queue *q = &((struct dsa_mdev *)arg)->queues[wq];

	return dsa_queue_occupancy(q->queue) >= (limited ? q->threshold : q->size);
}

static int submit(void *arg, unsigned wq, const void *desc, bool limited)
{
	struct dsa_mdev *m = arg;

	if (limited && full(m, wq, true))
		return -EAGAIN;
	return dsa_submit(m->queues[wq].queue, m->space, desc, NULL);
}

static void quiet(struct vdpa_loop_msg *msg)
{
	struct mdev_wait *w = vdpa_container_of(msg, struct mdev_wait, msg);

	if (!--w->m->waits[w->why])
		dsa_vdev_idle(w->m->vdev, w->why);
}

/* On any thread. */
static void waited(void *arg, int result)
{
	struct mdev_wait *w = arg;

	vdpa_loop_post(vdpa_ctx_control(w->m->dev->ctx), &w->msg, quiet);
}

static void quiesce_one(struct mdev_queue *q, enum dsa_vdev_why why, bool abort)
{
	const struct dsa_select select = {q->queue, DSA_ANY_PASID};
	struct mdev_wait *w = &q->waits[why];

	w->m = q->m;
	w->why = why;
	w->wait = (struct dsa_wait){.done = {waited, w}};
	if (abort)
		dsa_abort(engine_of(q->m), &select, &w->wait);
	else
		dsa_drain(engine_of(q->m), &select, &w->wait);
}

static void quiesce(void *arg, enum dsa_vdev_why why, uint32_t wqs, bool abort)
{
	struct dsa_mdev *m = arg;

	if (!wqs) {
		dsa_vdev_idle(m->vdev, why);
		return;
	}
	m->waits[why] = (unsigned)__builtin_popcount(wqs);
	for (unsigned i = 0; i < m->nqueues; i++) {
		if (wqs >> i & 1)
			quiesce_one(&m->queues[i], why, abort);
	}
}

static int enable_wq(void *arg, unsigned wq, const struct dsa_vdev_wq *c)
{
	struct dsa_mdev *m = arg;
	struct mdev_queue *q = &m->queues[wq];
	const struct dsa_queue_config config = {
		.size = c->size,
		.max_xfer_shift = c->xfer_shift,
		.max_batch_shift = c->batch_shift,
		.block_on_fault = c->block_on_fault,
		.priv = true, /* of the guest's own kernel */
		.opcap = q->wq->opcap,
		.batch_reversed = q->wq->batch_reversed,
		.ops = &queue_ops,
		.arg = q,
	};
	int r = dsa_queue_new(engine_of(m), &config, &q->queue);

	q->size = c->size;
	q->threshold = c->threshold;
	if (!r)
		dsa_mdev_watch(m, true);
	return r;
}

static bool any_enabled(const struct dsa_mdev *m)
{
	for (unsigned i = 0; i < m->nqueues; i++) {
		if (m->queues[i].queue)
			return true;
	}
	return false;
}

static void disable_wq(void *arg, unsigned wq)
{
	struct dsa_mdev *m = arg;

	dsa_queue_free(m->queues[wq].queue);
	m->queues[wq].queue = NULL;
	dsa_mdev_watch(m, any_enabled(m));
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

static void describe_wq(const struct dsa_wq *wq, struct dsa_vdev_wq *out)
{
	*out = (struct dsa_vdev_wq){
		.size = wq->size,
		.threshold = wq->dedicated ? 0 : wq->threshold,
		.dedicated = wq->dedicated,
		.block_on_fault = wq->block_on_fault,
		.priority = wq->priority,
		.xfer_shift = shift_of(wq->max_transfer),
		.batch_shift = shift_of(wq->max_batch),
	};
}

static unsigned larger(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* The device can what one of its queues can. */
static int new_vdev(struct dsa_mdev *m, struct dsa_vdev **out)
{
	struct dsa_vdev_wq wqs[DSA_WQS_MAX];
	struct dsa_vdev_config config = {
		.ops = &vdev_ops,
		.arg = m,
		.nwqs = m->nqueues,
		.wqs = wqs,
		.nengines = dsa_group_engines(m->dev, m->group),
		.configurable = m->configurable,
		.gencap = DSA_GENCAP_OVERLAP | DSA_GENCAP_CACHE_MEM | DSA_GENCAP_CACHE_FLUSH,
		.nvectors = dsa_mdev_vectors(m),
		.vectors = m->vectors,
		.interrupt = device_interrupt,
	};

	for (unsigned i = 0; i < m->nqueues; i++) {
		describe_wq(m->queues[i].wq, &wqs[i]);
		config.opcap |= m->queues[i].wq->opcap;
		config.gencap |= wqs[i].block_on_fault ? DSA_GENCAP_BOF : 0;
		config.xfer_shift = larger(config.xfer_shift, wqs[i].xfer_shift);
		config.batch_shift = larger(config.batch_shift, wqs[i].batch_shift);
	}
	return dsa_vdev_new(&config, out);
}

static int new_vectors(struct dsa_mdev *m)
{
	const struct ims_vectors_config config = {
		.ims = m->dev->ims,
		.count = dsa_mdev_vectors(m),
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

static bool may_block(const struct dsa_mdev *m)
{
	for (unsigned i = 0; i < m->nqueues; i++) {
		if (m->queues[i].wq->block_on_fault)
			return true;
	}
	return false;
}

static int new_as(struct dsa_mdev *m)
{
	int r = vdpa_as_new(vdpa_ctx_loops(m->dev->ctx), 0, &m->as);

	/* What may block on a fault has to know that a hole is not for ever. */
	return r || !may_block(m) ? r : vdpa_as_set_miss(m->as, miss, m);
}

static int make(struct dsa_mdev *m)
{
	int r = new_as(m);

	if (!r)
		r = dsa_space_new(engine_of(m), m->pasid, m->as, &m->space);
	if (!r)
		r = new_vectors(m);
	if (!r)
		r = dsa_mdev_pci_new(m);
	if (!r)
		r = new_vdev(m, &m->vdev);
	if (!r)
		r = mdev_set_vfio_ops(&m->mdev, &dsa_mdev_vfio_ops);
	return r;
}

int dsa_mdev_build(struct dsa_mdev *m, struct dsa_wq *const *wqs, unsigned n)
{
	int r;

	m->pages_fd = -1;
	pthread_mutex_init(&m->srv_lock, NULL);
	m->nqueues = n;
	m->group = (unsigned)wqs[0]->group;
	for (unsigned i = 0; i < n; i++) {
		m->queues[i].m = m;
		m->queues[i].wq = wqs[i];
		wqs[i]->state = DSA_WQ_LOCKED;
		wqs[i]->owner = m;
	}
	r = make(m);
	if (r)
		dsa_mdev_demolish(m);
	return r;
}

void dsa_mdev_demolish(struct dsa_mdev *m)
{
	dsa_mdev_unmap_portals(m);
	dsa_vdev_free(m->vdev);
	ims_vectors_free(m->vectors);
	pci_dev_free(m->pci);
	dsa_space_free(m->space);
	if (m->as)
		vdpa_as_free(m->as);
	pthread_mutex_destroy(&m->srv_lock);
	for (unsigned i = 0; i < m->nqueues; i++) {
		m->queues[i].wq->state = DSA_WQ_ENABLED;
		m->queues[i].wq->owner = NULL;
	}
}

int dsa_mdev_set_configurable(struct dsa_mdev *m, bool configurable)
{
	bool before = m->configurable;
	struct dsa_vdev *vdev;
	int r;

	m->configurable = configurable;
	r = new_vdev(m, &vdev);
	if (r) {
		m->configurable = before;
		return r;
	}
	dsa_vdev_free(m->vdev);
	m->vdev = vdev;
	return 0;
}
