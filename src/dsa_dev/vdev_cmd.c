// SPDX-License-Identifier: BSD-3-Clause
/*
 * Commands, and the states that they lead through.
 *
 *	device	disabled --ENABLE--> enabled --DISABLE--> draining --> disabled
 *		any --halt--> halted --reset of its type--> disabled
 *	queue	disabled --ENABLE--> enabled --DISABLE, RESET, device's end--> disabled
 *
 * A command that has to wait for descriptors is active until they have ended; what is written to
 * CMD meanwhile is ignored. A queue that is to be disabled takes nothing from then on, and is
 * disabled when nothing of it is in flight. Draining takes new descriptors, and does not wait for
 * them.
 *
 * Commands for queues name them by 16 bits and the number of the group of 16; ENABLE by number.
 */
#include "dsa_dev/vdev_impl.h"

#include <errno.h>

/* A handler: what goes into CMDSTS, or WAIT: quiesce() was called. */
#define WAIT 0x100u

static void set_reg(struct dsa_vdev *vdev, unsigned off, uint32_t value)
{
	pthread_mutex_lock(&vdev->lock);
	*vdev_reg(vdev, off) = value;
	pthread_mutex_unlock(&vdev->lock);
}

static void set_wq_enabled(struct dsa_vdev *vdev, unsigned wq, bool enabled)
{
	pthread_mutex_lock(&vdev->lock);
	*vdev_wqcfg(vdev, wq, DSA_WQW_STATE) =
		DSA_WQCFG_MODE_SUPPORT | (uint32_t)enabled << DSA_WQCFG_STATE_SHIFT;
	pthread_mutex_unlock(&vdev->lock);
}

static void disable_wqs(struct dsa_vdev *vdev, uint32_t wqs)
{
	for (unsigned i = 0; i < vdev->config.nwqs; i++) {
		if (!(wqs >> i & 1) || !vdev_wq_enabled(vdev, i))
			continue;
		vdev->config.ops->disable_wq(vdev->config.arg, i);
		set_wq_enabled(vdev, i, false);
	}
	vdev->closed &= ~wqs;
}

static uint32_t enabled_wqs(struct dsa_vdev *vdev)
{
	uint32_t wqs = 0;

	for (unsigned i = 0; i < vdev->config.nwqs; i++)
		wqs |= (uint32_t)vdev_wq_enabled(vdev, i) << i;
	return wqs;
}

void vdev_quiesce(struct dsa_vdev *vdev, enum dsa_vdev_why why, uint32_t wqs, bool abort)
{
	vdev->waiting[why] = true;
	vdev->config.ops->quiesce(vdev->config.arg, why, wqs & enabled_wqs(vdev), abort);
}

/* ---- the device ---- */

static unsigned enable_device(struct dsa_vdev *vdev, uint32_t operand)
{
	enum dsa_cmdsts sts = vdev_check_device(vdev);

	if (!sts)
		set_reg(vdev, DSA_GENSTS, DSA_ENABLED);
	return sts;
}

static unsigned wait_for(struct dsa_vdev *vdev, uint32_t wqs, bool abort)
{
	vdev->cmd_wqs = wqs;
	vdev->cmd_waits = true;
	vdev_quiesce(vdev, DSA_VDEV_COMMAND, wqs, abort);
	return WAIT;
}

static unsigned disable_device(struct dsa_vdev *vdev, uint32_t operand)
{
	if (vdev_state(vdev) != DSA_ENABLED)
		return DSA_CMDSTS_DIS_DEV_EN;
	set_reg(vdev, DSA_GENSTS, DSA_DRAINING);
	vdev->closed = vdev_all_wqs(vdev);
	return wait_for(vdev, vdev_all_wqs(vdev), false);
}

static unsigned reset_device(struct dsa_vdev *vdev, uint32_t operand)
{
	vdev->closed = vdev_all_wqs(vdev);
	return wait_for(vdev, vdev_all_wqs(vdev), true);
}

/* All queues work for the one PASID that the driver does not see, and calls 0. */
static unsigned for_pasid(struct dsa_vdev *vdev, uint32_t operand, bool abort)
{
	if (vdev_state(vdev) != DSA_ENABLED)
		return DSA_CMDSTS_DEV_NOT_EN;
	return wait_for(vdev, operand ? 0 : vdev_all_wqs(vdev), abort);
}

static unsigned drain_all(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_pasid(vdev, 0, false);
}

static unsigned abort_all(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_pasid(vdev, 0, true);
}

static unsigned drain_pasid(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_pasid(vdev, operand, false);
}

static unsigned abort_pasid(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_pasid(vdev, operand, true);
}

/* ---- queues ---- */

static unsigned enable_wq(struct dsa_vdev *vdev, uint32_t operand)
{
	struct dsa_vdev_wq config;
	enum dsa_cmdsts sts;

	if (operand >= vdev->config.nwqs)
		return DSA_CMDSTS_INVAL_WQIDX;
	sts = vdev_check_wq(vdev, operand);
	if (sts)
		return sts;
	vdev_wq_config(vdev, operand, &config);
	if (vdev->config.ops->enable_wq(vdev->config.arg, operand, &config))
		return DSA_CMDSTS_HW_ERR;
	set_wq_enabled(vdev, operand, true);
	return DSA_CMDSTS_SUCCESS;
}

static unsigned for_wqs(struct dsa_vdev *vdev, uint32_t operand, bool abort, bool close)
{
	uint32_t wqs = operand & 0xffff;

	if (vdev_state(vdev) != DSA_ENABLED)
		return DSA_CMDSTS_DEV_NOT_EN;
	if (!wqs || operand >> 16 || wqs & ~vdev_all_wqs(vdev))
		return DSA_CMDSTS_INVAL_WQIDX;
	if (close)
		vdev->closed |= wqs;
	return wait_for(vdev, wqs, abort);
}

static unsigned disable_wq(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_wqs(vdev, operand, false, true);
}

static unsigned drain_wq(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_wqs(vdev, operand, false, false);
}

static unsigned abort_wq(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_wqs(vdev, operand, true, false);
}

static unsigned reset_wq(struct dsa_vdev *vdev, uint32_t operand)
{
	return for_wqs(vdev, operand, true, true);
}

/* ---- interrupt handles ---- */

/* The driver sees vectors of MSI-X only; what is behind them is not its business. */
static unsigned request_handle(struct dsa_vdev *vdev, uint32_t operand)
{
	uint16_t handle;
	int r = -EINVAL;

	if (!(operand & DSA_CMD_IMS))
		r = ims_vectors_request(vdev->config.vectors, operand & 0xffff, &handle);
	if (r)
		return r == -ENOSPC ? DSA_CMDSTS_NO_HANDLE : DSA_CMDSTS_INVAL_INT_IDX;
	return (unsigned)handle << 16; /* see finish() */
}

static unsigned release_handle(struct dsa_vdev *vdev, uint32_t operand)
{
	if (operand & DSA_CMD_IMS || ims_vectors_release(vdev->config.vectors, (uint16_t)operand))
		return DSA_CMDSTS_INVAL_INT_IDX;
	return DSA_CMDSTS_SUCCESS;
}

/* ---- dispatch ---- */

static const struct command {
	unsigned (*run)(struct dsa_vdev *vdev, uint32_t operand);
} commands[] = {
	[DSA_CMD_ENABLE_DEVICE] = {enable_device},
	[DSA_CMD_DISABLE_DEVICE] = {disable_device},
	[DSA_CMD_DRAIN_ALL] = {drain_all},
	[DSA_CMD_ABORT_ALL] = {abort_all},
	[DSA_CMD_RESET_DEVICE] = {reset_device},
	[DSA_CMD_ENABLE_WQ] = {enable_wq},
	[DSA_CMD_DISABLE_WQ] = {disable_wq},
	[DSA_CMD_DRAIN_WQ] = {drain_wq},
	[DSA_CMD_ABORT_WQ] = {abort_wq},
	[DSA_CMD_RESET_WQ] = {reset_wq},
	[DSA_CMD_DRAIN_PASID] = {drain_pasid},
	[DSA_CMD_ABORT_PASID] = {abort_pasid},
	[DSA_CMD_REQUEST_INT_HANDLE] = {request_handle},
	[DSA_CMD_RELEASE_INT_HANDLE] = {release_handle},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static unsigned code_of(uint32_t cmd)
{
	return cmd >> DSA_CMD_SHIFT & DSA_CMD_CODE;
}

/* The error is in bits 7:0 of @sts, the result in 31:16. */
static void finish(struct dsa_vdev *vdev, uint32_t cmd, unsigned sts)
{
	pthread_mutex_lock(&vdev->lock);
	*vdev_reg(vdev, DSA_CMDSTS) = (sts & 0xff) | sts >> 16 << DSA_CMDSTS_RESULT_SHIFT;
	if (cmd & DSA_CMD_INT)
		vdev_cause(vdev, DSA_INTCAUSE_CMD);
	pthread_mutex_unlock(&vdev->lock);
}

/* A device that is halted for want of a reset of its own software does that one, and nothing else.
 */
static bool may_run(struct dsa_vdev *vdev, unsigned code)
{
	uint32_t gensts = *vdev_reg(vdev, DSA_GENSTS);

	return vdev_state(vdev) != DSA_HALTED ||
	       (code == DSA_CMD_RESET_DEVICE &&
		gensts >> DSA_GENSTS_RESET_SHIFT == DSA_RESET_SOFTWARE);
}

static unsigned run(struct dsa_vdev *vdev, uint32_t cmd)
{
	unsigned code = code_of(cmd);

	if (code >= COMMANDS || !(*vdev_reg(vdev, DSA_CMDCAP) >> code & 1))
		return DSA_CMDSTS_INVAL_CMD;
	if (!may_run(vdev, code))
		return DSA_CMDSTS_HW_ERR;
	return commands[code].run(vdev, cmd & DSA_CMD_OPERAND);
}

void vdev_command(struct dsa_vdev *vdev, uint32_t value)
{
	unsigned sts;

	if (*vdev_reg(vdev, DSA_CMDSTS) & DSA_CMDSTS_ACTIVE || vdev->resetting) {
		vdev_count(vdev->ignored);
		return;
	}
	vdev_count(vdev->commands);
	dsa_vdev_poll(vdev); /* what was written to a portal before this was */
	pthread_mutex_lock(&vdev->lock);
	*vdev_reg(vdev, DSA_CMD) = value;
	*vdev_reg(vdev, DSA_CMDSTS) = DSA_CMDSTS_ACTIVE;
	pthread_mutex_unlock(&vdev->lock);
	vdev->cmd = value;
	sts = run(vdev, value);
	if (sts != WAIT)
		finish(vdev, value, sts);
}

/* ---- when nothing is in flight ---- */

static void be_as_new(struct dsa_vdev *vdev)
{
	disable_wqs(vdev, vdev_all_wqs(vdev));
	ims_vectors_reset(vdev->config.vectors);
	vdev_portal_reset(vdev);
	pthread_mutex_lock(&vdev->lock);
	vdev_regs_reset(vdev);
	pthread_mutex_unlock(&vdev->lock);
	vdev->closed = 0;
}

static void command_over(struct dsa_vdev *vdev)
{
	unsigned code = code_of(vdev->cmd);

	vdev->cmd_waits = false;
	if (vdev_state(vdev) == DSA_HALTED && code != DSA_CMD_RESET_DEVICE) {
		finish(vdev, vdev->cmd, DSA_CMDSTS_HW_ERR);
		return;
	}
	if (code == DSA_CMD_RESET_DEVICE) {
		be_as_new(vdev);
	} else if (code == DSA_CMD_DISABLE_DEVICE) {
		disable_wqs(vdev, vdev_all_wqs(vdev));
		set_reg(vdev, DSA_GENSTS, DSA_DISABLED);
	} else if (code == DSA_CMD_DISABLE_WQ || code == DSA_CMD_RESET_WQ) {
		disable_wqs(vdev, vdev->cmd_wqs);
	}
	finish(vdev, vdev->cmd, DSA_CMDSTS_SUCCESS);
}

static void reset_over(struct dsa_vdev *vdev)
{
	struct vdpa_done done = vdev->reset_done;

	be_as_new(vdev);
	vdev->resetting = false;
	vdev->cmd_waits = false;
	vdpa_done_call(&done, 0);
}

static void idle(struct dsa_vdev *vdev, enum dsa_vdev_why why)
{
	bool all;

	vdev->waiting[why] = false;
	all = !vdev->waiting[DSA_VDEV_COMMAND] && !vdev->waiting[DSA_VDEV_RESET];
	if (vdev->resetting) {
		if (all)
			reset_over(vdev);
		return;
	}
	/* What makes the device new waits for what a halt has aborted as well. */
	if (code_of(vdev->cmd) != DSA_CMD_RESET_DEVICE)
		all = !vdev->waiting[DSA_VDEV_COMMAND];
	if (vdev->cmd_waits && all)
		command_over(vdev);
}

void dsa_vdev_idle(struct dsa_vdev *vdev, enum dsa_vdev_why why)
{
	struct vdpa_done stopped = {NULL, NULL};

	if (why == DSA_VDEV_RESET) {
		stopped = vdev->stop_done;
		vdev->stop_done.fn = NULL;
	}
	idle(vdev, why); /* may be the end of @vdev */
	vdpa_done_call(&stopped, 0);
}

void dsa_vdev_reset(struct dsa_vdev *vdev, const struct vdpa_done *done)
{
	vdev->resetting = true;
	vdev->reset_done = *done;
	vdev->closed = vdev_all_wqs(vdev);
	/* After a halt all is being aborted already. */
	if (!vdev->waiting[DSA_VDEV_RESET])
		vdev_quiesce(vdev, DSA_VDEV_RESET, vdev_all_wqs(vdev), true);
}

enum dsa_state dsa_vdev_state(struct dsa_vdev *vdev)
{
	return dsa_vdev_peek(vdev, DSA_GENSTS) & DSA_GENSTS_STATE;
}

bool dsa_vdev_wq_enabled(struct dsa_vdev *vdev, unsigned wq)
{
	return dsa_vdev_peek(vdev, DSA_WQCFG + wq * DSA_WQCFG_STRIDE + DSA_WQW_STATE * 4) >>
	       DSA_WQCFG_STATE_SHIFT;
}
