// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the device tells its driver by interrupt 0: a command is complete, an error, a halt, handles
 * that are void. SWERR keeps the first error until the driver has cleared it, and whether there
 * were others meanwhile.
 *
 * Who attacks: the guest, which can cause errors as fast as it submits: nothing here grows, waits
 * or logs.
 */
#include "dsa_dev/vdev_impl.h"

void vdev_cause(struct dsa_vdev *vdev, uint32_t causes)
{
	*vdev_reg(vdev, DSA_INTCAUSE) |= causes;
	vdev->config.interrupt(vdev->config.arg);
}

static void keep(struct dsa_vdev *vdev, unsigned wq, const struct dsa_error *e)
{
	bool valid = e->status != DSA_SWERR_WQ_NOT_ENABLED; /* is there a descriptor? */

	*vdev_reg(vdev, DSA_SWERR) =
		DSA_SWERR_VALID | DSA_SWERR_WQ_VALID | (valid ? DSA_SWERR_DESC_VALID : 0) |
		(e->batch ? DSA_SWERR_BATCH : 0) | (e->status & 0x80 ? DSA_SWERR_WRITE : 0) |
		(e->priv ? DSA_SWERR_PRIV : 0) |
		(uint32_t)(e->status & 0x7f) << DSA_SWERR_ERROR_SHIFT | wq << DSA_SWERR_WQ_SHIFT;
	*vdev_reg(vdev, DSA_SWERR + 4) = e->op | e->pasid << DSA_SWERR_PASID_SHIFT;
	*vdev_reg(vdev, DSA_SWERR + 8) = e->batch_index;
	*vdev_reg(vdev, DSA_SWERR + 12) = e->invalid_flags;
	*vdev_reg(vdev, DSA_SWERR + 16) = (uint32_t)e->fault_addr;
	*vdev_reg(vdev, DSA_SWERR + 20) = (uint32_t)(e->fault_addr >> 32);
}

void dsa_vdev_error(struct dsa_vdev *vdev, unsigned wq, const struct dsa_error *error)
{
	vdev_count(vdev->errors);
	pthread_mutex_lock(&vdev->lock);
	if (*vdev_reg(vdev, DSA_SWERR) & DSA_SWERR_VALID) {
		*vdev_reg(vdev, DSA_SWERR) |= DSA_SWERR_OVERFLOW;
		vdev_count(vdev->overflows);
	} else {
		keep(vdev, wq, error);
		if (*vdev_reg(vdev, DSA_GENCTRL) & DSA_GENCTRL_SOFTERR)
			vdev_cause(vdev, DSA_INTCAUSE_ERR);
	}
	pthread_mutex_unlock(&vdev->lock);
}

static void halt(struct dsa_vdev *vdev, enum dsa_reset_type reset, bool tell)
{
	if (vdev->resetting || vdev_state(vdev) == DSA_HALTED)
		return;
	pthread_mutex_lock(&vdev->lock);
	*vdev_reg(vdev, DSA_GENSTS) = DSA_HALTED | (uint32_t)reset << DSA_GENSTS_RESET_SHIFT;
	if (tell && *vdev_reg(vdev, DSA_GENCTRL) & DSA_GENCTRL_HALT)
		vdev_cause(vdev, DSA_INTCAUSE_HALT);
	pthread_mutex_unlock(&vdev->lock);
	vdev->closed = vdev_all_wqs(vdev);
	vdev_quiesce(vdev, DSA_VDEV_RESET, vdev_all_wqs(vdev), true);
}

void dsa_vdev_halt(struct dsa_vdev *vdev, enum dsa_reset_type reset)
{
	halt(vdev, reset, true);
}

void dsa_vdev_stop(struct dsa_vdev *vdev, const struct vdpa_done *done)
{
	if (vdev_state(vdev) != DSA_DISABLED)
		halt(vdev, DSA_RESET_SOFTWARE, false);
	if (vdev->waiting[DSA_VDEV_RESET])
		vdev->stop_done = *done;
	else
		vdpa_done_call(done, 0);
}

void dsa_vdev_revoke(struct dsa_vdev *vdev)
{
	ims_vectors_revoke(vdev->config.vectors);
	pthread_mutex_lock(&vdev->lock);
	vdev_cause(vdev, DSA_INTCAUSE_REVOKED);
	pthread_mutex_unlock(&vdev->lock);
}
