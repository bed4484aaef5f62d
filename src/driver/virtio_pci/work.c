// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control loop's part: wishes are fulfilled one after the other, and what the server waits for
 * comes after them. One thing at a time is under way (busy); its end goes on with the next.
 *
 * Life of the device here: closed without a client; open, that is reset and ours, with one; started
 * from DRIVER_OK to the next reset.
 */
#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "driver/virtio_pci/virtio_pci.h"

/* ---- the state that registers show ---- */

void vpci_look(struct vpci *d)
{
	size_t bytes = vdpa_get_config_size(d->vdev);
	bool needs_reset = d->failed || vdpa_get_status(d->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET;
	uint8_t config[VPCI_CONFIG_MAX] = {0};
	uint32_t generation = 0;
	int r = 0;

	if (bytes > sizeof(config))
		bytes = sizeof(config);
	if (bytes)
		r = vdpa_read_config(d->vdev, 0, config, (unsigned)bytes, &generation);
	pthread_mutex_lock(&d->lock);
	if (!r && memcmp(d->regs.config, config, sizeof(config))) {
		memcpy(d->regs.config, config, sizeof(config));
		/* Of a device without one of its own, too. */
		d->regs.generation++;
	}
	d->regs.needs_reset = needs_reset;
	pthread_mutex_unlock(&d->lock);
}

/* The driver has reset the device meanwhile: what failed was for nobody. */
static bool superseded(struct vpci *d)
{
	bool resetting;

	pthread_mutex_lock(&d->lock);
	resetting = d->regs.resetting || !d->regs.used;
	pthread_mutex_unlock(&d->lock);
	return resetting;
}

void vpci_broke(struct vpci *d, const char *why)
{
	if (superseded(d))
		return;
	vpci_log(d, VDPA_LOG_ERR, "virtio-pci: DEVICE_NEEDS_RESET: %s", why);
	d->failed = true;
	vpci_look(d);
	vpci_config_irq(d);
}

static void config_changed(void *priv)
{
	struct vpci *d = priv;

	pthread_mutex_lock(&d->lock);
	d->wish.look = d->wish.irq = true;
	pthread_mutex_unlock(&d->lock);
	vpci_wake(d);
}

/* ---- holes ---- */

/*
 * A client changes its map piece by piece: QEMU takes a whole range away to put most of it back
 * (firmware that makes its memory read-only does that, with a ring in it). What finds a hole waits
 * so long for it to be filled; then it is an error.
 */
#define HOLE_NS 500000000ull

static void missed(void *arg, unsigned asid, iova_t iova, uint32_t perm)
{
	struct vpci *d = arg;

	atomic_store(&d->missed, true);
	vpci_wake(d);
}

void vpci_forgive(struct vpci *d)
{
	d->strict = false;
	vdpa_set_miss(d->vdev, 0, missed, d);
}

static void hole_stays(struct vdpa_loop_timer *timer)
{
	struct vpci *d = vdpa_container_of(timer, struct vpci, hole_timer);

	d->strict = true;
	vdpa_set_miss(d->vdev, 0, NULL, NULL);
}

static void wait_for_hole(struct vpci *d)
{
	if (!d->hole_timer.loop)
		vdpa_loop_timer_set(vdpa_ctx_control(d->vdev->ctx), &d->hole_timer,
				    vdpa_clock_ns() + HOLE_NS, hole_stays);
}

/* ---- open, close ---- */

static void opened(void *arg, int result)
{
	const struct vdpa_callback cb = {.callback = config_changed, .priv = arg, .trigger = -1};
	struct vpci *d = arg;

	d->busy = false;
	d->open = !result;
	d->failed = false;
	if (result) {
		vpci_log(d, VDPA_LOG_ERR, "virtio-pci: the device cannot be opened: %s",
			 strerror(-result));
	} else {
		vhost_vdpa_set_owner(d->v);
		vhost_vdpa_set_config_cb(d->v, &cb);
		vpci_forgive(d);
		vpci_look(d);
	}
	vpci_work(d);
}

static void open_device(struct vpci *d)
{
	int r;

	d->busy = true;
	r = vhost_vdpa_open(d->v, &(struct vdpa_done){opened, d});
	if (r)
		opened(d, r);
}

static void closed(void *arg, int result)
{
	struct vpci *d = arg;

	d->open = d->started = d->loaded = false;
	vpci_vqs_stopped(d);
	vpci_mig_free(d);
	vpci_look(d);
	vpci_op_end(d, result);
}

int vpci_close(struct vpci *d, struct vpci_op *op)
{
	vdpa_loop_timer_cancel(&d->hole_timer);
	vdpa_set_miss(d->vdev, 0, NULL, NULL);
	return d->open ? vhost_vdpa_release(d->v, &(struct vdpa_done){closed, d}) : VPCI_OVER;
}

/* ---- reset ---- */

static void reset_over(void *arg, int result)
{
	struct vpci *d = arg;

	d->busy = d->started = d->failed = d->loaded = false;
	vpci_vqs_stopped(d);
	if (d->strict)
		vpci_forgive(d);
	if (result) {
		vpci_log(d, VDPA_LOG_ERR, "virtio-pci: the device does not reset: %s",
			 strerror(-result));
		d->failed = true;
	}
	vpci_look(d);
	pthread_mutex_lock(&d->lock);
	d->regs.resetting = d->wish.reset;
	pthread_mutex_unlock(&d->lock);
	vpci_work(d);
}

static void reset(struct vpci *d)
{
	int r;

	d->busy = true;
	r = vhost_vdpa_set_status(d->v, 0, &(struct vdpa_done){reset_over, d});
	if (r)
		reset_over(d, r);
}

/* ---- negotiation, start ---- */

/* What is not offered, and a legacy driver (there is no legacy interface), are refused here. */
static int give_features(struct vpci *d, uint8_t *status)
{
	uint64_t features[2];
	int r;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < 2; i++)
		features[i] = d->regs.features[2 * i] | (uint64_t)d->regs.features[2 * i + 1] << 32;
	*status = d->regs.status;
	pthread_mutex_unlock(&d->lock);
	if (features[0] & ~d->offered[0] || features[1] & ~d->offered[1] ||
	    !(features[0] & VDPA_BIT(VIRTIO_F_VERSION_1)))
		return -EINVAL;
	r = vhost_vdpa_set_features(d->v, features[0]);
	if (!r && d->offered[1])
		r = vdpa_set_features_word(d->vdev, 1, features[1]);
	return r;
}

/* FEATURES_OK, as far as the device agrees; and DRIVER_OK of a driver that writes both at once. */
int vpci_negotiate(struct vpci *d, struct vpci_op *op)
{
	uint8_t status, granted;
	int r = d->open ? give_features(d, &status) : -EIO;

	if (!r)
		r = vhost_vdpa_set_status(d->v, status | VIRTIO_CONFIG_S_FEATURES_OK, NULL);
	granted = r ? 0 : vdpa_get_status(d->vdev) & VIRTIO_CONFIG_S_FEATURES_OK;
	if (!granted)
		vpci_log(d, VDPA_LOG_WARN, "virtio-pci: the driver's features are not accepted");
	if (granted && op->status & VIRTIO_CONFIG_S_DRIVER_OK)
		granted |= VIRTIO_CONFIG_S_DRIVER_OK;
	pthread_mutex_lock(&d->lock);
	d->regs.status |= granted;
	d->wish.start |= granted & VIRTIO_CONFIG_S_DRIVER_OK;
	pthread_mutex_unlock(&d->lock);
	vpci_look(d);
	return VPCI_OVER;
}

static bool start_wanted(struct vpci_vq *q)
{
	bool wanted;

	pthread_mutex_lock(&q->d->lock);
	wanted = q->start_wanted;
	q->start_wanted = false;
	pthread_mutex_unlock(&q->d->lock);
	return wanted;
}

static void start(struct vpci *d)
{
	uint8_t status;
	int r = 0;

	for (uint32_t i = 0; i < d->vdev->nvqs && !r; i++) {
		if (start_wanted(&d->vq[i]))
			r = vpci_vq_start(&d->vq[i]);
	}
	pthread_mutex_lock(&d->lock);
	status = d->regs.status;
	pthread_mutex_unlock(&d->lock);
	/* None: reset meanwhile. */
	if (!r && !(status & VIRTIO_CONFIG_S_DRIVER_OK))
		r = -ECANCELED;
	if (!r)
		r = vhost_vdpa_set_status(d->v, status, NULL);
	d->started = !r && vdpa_get_status(d->vdev) & VIRTIO_CONFIG_S_DRIVER_OK;
	if (!d->started)
		vpci_broke(d, "it could not be started");
}

/* ---- one after the other ---- */

static void end(struct vpci *d, int result)
{
	struct vdpa_done done = d->op.done;

	vdpa_loop_timer_cancel(&d->op_timer);
	vdpa_done_call(&done, result);
}

void vpci_op_end(struct vpci *d, int result)
{
	d->busy = false;
	end(d, result);
	vpci_work(d);
}

static void op_done(void *arg, int result)
{
	vpci_op_end(arg, result);
}

struct vdpa_done vpci_op_done(struct vpci *d)
{
	return (struct vdpa_done){op_done, d};
}

static void run_op(struct vpci *d)
{
	int r;

	d->op_pending = false;
	d->busy = true;
	r = d->op.run(d, &d->op);
	if (!r)
		return;
	d->busy = false;
	end(d, r == VPCI_OVER ? 0 : r);
}

/* A wish that is taken is fulfilled. */
static bool take(struct vpci *d, bool *wish)
{
	bool was;

	pthread_mutex_lock(&d->lock);
	was = *wish;
	*wish = false;
	pthread_mutex_unlock(&d->lock);
	return was;
}

static bool queues_wish(struct vpci *d)
{
	bool wish;

	pthread_mutex_lock(&d->lock);
	wish = d->wish.queues;
	pthread_mutex_unlock(&d->lock);
	return wish && vpci_vq_wish(d);
}

static bool step_open(struct vpci *d)
{
	if (take(d, &d->wish.reset))
		reset(d);
	else if (take(d, &d->wish.start))
		start(d);
	else
		return queues_wish(d);
	return true;
}

/* Did it do anything? */
static bool step(struct vpci *d)
{
	if (take(d, &d->wish.open)) {
		open_device(d);
		return true;
	}
	if (d->open && step_open(d))
		return true;
	if (d->open && atomic_exchange(&d->missed, false))
		wait_for_hole(d);
	if (take(d, &d->wish.look)) {
		vpci_look(d);
		return true;
	}
	if (take(d, &d->wish.irq)) {
		vpci_config_irq(d);
		return true;
	}
	if (!d->op_pending)
		return false;
	run_op(d);
	return true;
}

void vpci_work(struct vpci *d)
{
	if (d->working)
		return;
	d->working = true;
	while (!d->busy && step(d))
		;
	d->working = false;
}

/* ---- from the server's loop ---- */

static void woken(struct vdpa_loop_msg *msg)
{
	struct vpci *d = vdpa_container_of(msg, struct vpci, wake_msg);

	atomic_store(&d->woken, false);
	vpci_work(d);
}

void vpci_wake(struct vpci *d)
{
	if (!atomic_exchange(&d->woken, true))
		vdpa_loop_post(vdpa_ctx_control(d->vdev->ctx), &d->wake_msg, woken);
}

/* It has waited long enough. */
static void op_late(struct vdpa_loop_timer *timer)
{
	struct vpci *d = vdpa_container_of(timer, struct vpci, op_timer);

	if (!d->op_pending)
		return;
	d->op_pending = false;
	end(d, 0);
}

/* Nothing is under way, or wished, that would come first. */
static bool free_to_go(struct vpci *d)
{
	bool none;

	pthread_mutex_lock(&d->lock);
	none = !d->wish.open && !d->wish.reset && !d->wish.queues && !d->wish.start;
	pthread_mutex_unlock(&d->lock);
	return none && !d->busy && !d->working;
}

static void op_came(struct vdpa_loop_msg *msg)
{
	struct vpci *d = vdpa_container_of(msg, struct vpci, op_msg);

	d->op_pending = true;
	/* Something on this loop may be waiting: what is not free to go is left for later. */
	if (d->op.now) {
		if (free_to_go(d))
			vpci_work(d);
		else
			vpci_wake(d);
		return;
	}
	if (d->op.patience_ns)
		vdpa_loop_timer_set(vdpa_ctx_control(d->vdev->ctx), &d->op_timer,
				    vdpa_clock_ns() + d->op.patience_ns, op_late);
	vpci_work(d);
}

void vpci_op_post(struct vpci *d, const struct vpci_op *op)
{
	struct vdpa_loop *control = vdpa_ctx_control(d->vdev->ctx);

	d->op = *op;
	if (op->now)
		vdpa_loop_call(vdpa_loop_urgent(control), &d->op_msg, op_came);
	else
		vdpa_loop_post(control, &d->op_msg, op_came);
}
