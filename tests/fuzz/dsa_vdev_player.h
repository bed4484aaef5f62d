/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual DSA for fuzz targets, whose queues the input plays: when they are full, and when they
 * are quiet. What the device asks for is checked to make sense.
 */
#ifndef TESTS_FUZZ_DSA_VDEV_PLAYER_H
#define TESTS_FUZZ_DSA_VDEV_PLAYER_H

#include <errno.h>
#include <string.h>

#include "dsa_dev/vdev.h"
#include "fuzz_input.h"

#define PLAYER_WQS 2u

struct player {
	struct dsa_vdev *vdev;
	struct ims *ims;
	struct ims_vectors *vectors;
	uint32_t enabled, full;
	bool pending[DSA_VDEV_WHYS], no_queue, no_master, resetting;
	uint64_t taken;
};

static struct player player;

static int player_submit(void *arg, unsigned wq, const void *desc, bool limited)
{
	assert(wq < PLAYER_WQS && player.enabled >> wq & 1);
	if (player.full >> wq & 1)
		return -EAGAIN;
	player.taken++;
	return 0;
}

static bool player_full(void *arg, unsigned wq, bool limited)
{
	assert(wq < PLAYER_WQS && player.enabled >> wq & 1);
	return player.full >> wq & 1;
}

static void player_quiesce(void *arg, enum dsa_vdev_why why, uint32_t wqs, bool abort)
{
	assert(!player.pending[why] && !(wqs & ~player.enabled));
	player.pending[why] = true;
}

static int player_enable(void *arg, unsigned wq, const struct dsa_vdev_wq *config)
{
	assert(wq < PLAYER_WQS && !(player.enabled >> wq & 1));
	assert(config->size && config->size <= 128 && config->threshold <= 0xffff);
	if (player.no_queue)
		return -ENOMEM;
	player.enabled |= 1u << wq;
	return 0;
}

static void player_disable(void *arg, unsigned wq)
{
	assert(player.enabled >> wq & 1);
	player.enabled &= ~(1u << wq);
}

static bool player_master(void *arg)
{
	return !player.no_master;
}

static const struct dsa_vdev_ops player_ops = {
	.submit = player_submit,
	.full = player_full,
	.quiesce = player_quiesce,
	.enable_wq = player_enable,
	.disable_wq = player_disable,
	.bus_master = player_master,
};

static void player_interrupt(void *arg)
{
}

static void player_signal(void *arg, unsigned vector)
{
}

static inline void player_begin(bool configurable)
{
	const struct dsa_vdev_wq wqs[PLAYER_WQS] = {
		{.size = 64, .dedicated = true, .priority = 10, .xfer_shift = 21, .batch_shift = 5},
		{.size = 64, .threshold = 48, .priority = 1, .xfer_shift = 21, .batch_shift = 5},
	};
	const struct ims_config ims = {.slots = 4, .need_pasid = true};
	struct ims_vectors_config vectors = {
		.count = 2, .emulated = 1, .pasid = 1, .signal = player_signal};
	struct dsa_vdev_config config = {
		.ops = &player_ops,
		.nwqs = PLAYER_WQS,
		.wqs = wqs,
		.nengines = 2,
		.configurable = configurable,
		.xfer_shift = 21,
		.batch_shift = 5,
		.opcap = DSA_OPCAP,
		.nvectors = 2,
		.interrupt = player_interrupt,
	};

	memset(&player, 0, sizeof(player));
	assert(!ims_new(&ims, &player.ims));
	vectors.ims = player.ims;
	assert(!ims_vectors_new(&vectors, &player.vectors));
	config.vectors = player.vectors;
	assert(!dsa_vdev_new(&config, &player.vdev));
}

static inline void player_idle(enum dsa_vdev_why why)
{
	if (!player.pending[why])
		return;
	player.pending[why] = false;
	dsa_vdev_idle(player.vdev, why);
}

static void player_reset_done(void *arg, int result)
{
	assert(player.resetting);
	player.resetting = false;
}

static inline void player_reset(void)
{
	const struct vdpa_done done = {player_reset_done, NULL};

	if (player.resetting)
		return;
	player.resetting = true;
	dsa_vdev_reset(player.vdev, &done);
}

static inline uint32_t player_reg(unsigned off)
{
	return dsa_vdev_peek(player.vdev, off);
}

/* What always holds. */
static inline void player_check(void)
{
	enum dsa_state state = dsa_vdev_state(player.vdev);
	bool active = player_reg(DSA_CMDSTS) & DSA_CMDSTS_ACTIVE;

	for (unsigned i = 0; i < PLAYER_WQS; i++)
		assert(dsa_vdev_wq_enabled(player.vdev, i) == (player.enabled >> i & 1));
	assert(state != DSA_DISABLED || !player.enabled);
	assert(state != DSA_DRAINING || player.pending[DSA_VDEV_COMMAND] || player.resetting);
	assert(active || player.resetting || !player.pending[DSA_VDEV_COMMAND]);
	assert(!active || player.pending[DSA_VDEV_COMMAND] || player.pending[DSA_VDEV_RESET]);
	assert(player_reg(DSA_VER) == DSA_VERSION && player_reg(DSA_CMDCAP) == DSA_CMDCAP_ALL);
	assert(!(player_reg(DSA_INTCAUSE) & ~DSA_INTCAUSE_ALL));
}

static inline void player_end(void)
{
	player_reset();
	player_idle(DSA_VDEV_COMMAND);
	player_idle(DSA_VDEV_RESET);
	assert(!player.resetting && !player.enabled && dsa_vdev_state(player.vdev) == DSA_DISABLED);
	dsa_vdev_free(player.vdev);
	ims_vectors_free(player.vectors);
	assert(!ims_used(player.ims));
	ims_free(player.ims);
}

#endif
