// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the portals of a virtual DSA, written to and as memory. Of what is written whole
 * none is lost: it was taken, dropped, or told to try again.
 */
#include "dsa_vdev_player.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t pages[DSA_BAR2_BYTES / 8];

static void command(uint32_t cmd, uint32_t operand)
{
	uint32_t value = cmd << DSA_CMD_SHIFT | operand;

	dsa_vdev_write(player.vdev, DSA_CMD, &value, 4);
}

static uint64_t accounted(void)
{
	struct dsa_vdev_stats stats;

	dsa_vdev_get_stats(player.vdev, &stats);
	assert(stats.submitted == player.taken);
	return stats.submitted + stats.dropped + stats.retried;
}

static void write_portal(struct input *in, uint8_t what)
{
	uint64_t off = take(in, what & 1 ? 3 : 2) % (DSA_BAR2_BYTES + 64);
	size_t len = take(in, 1);
	uint8_t buf[256];
	uint64_t before = accounted(), whole = 0;

	if (what & 2) {
		off &= ~63ull;
		len = 64;
	}
	memset(buf, what, sizeof(buf));
	if (dsa_vdev_portal_write(player.vdev, off, buf, len) == -EINVAL) {
		assert(!len || off + len > DSA_BAR2_BYTES);
		return;
	}
	/* Places that lie in it as a whole, up to the first that is to be tried again. */
	for (uint64_t at = (off + 63) & ~63ull; at + 64 <= off + len; at += 64)
		whole++;
	assert(accounted() >= before + (whole && !player.full ? whole : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	player_begin(false);
	command(DSA_CMD_ENABLE_DEVICE, 0);
	command(DSA_CMD_ENABLE_WQ, 0);
	command(DSA_CMD_ENABLE_WQ, 1);
	assert(player.enabled == 3);
	while (in.left) {
		uint8_t what = (uint8_t)take(&in, 1);

		switch (what & 0x1c) {
		case 0x00:
			player.full = what & 3;
			break;
		case 0x04:
			dsa_vdev_set_pages(player.vdev, what & 1 ? pages : NULL);
			break;
		case 0x08:
			pages[take(&in, 2) % (DSA_BAR2_BYTES / 8)] = take(&in, 1);
			break;
		case 0x0c:
			dsa_vdev_poll(player.vdev);
			break;
		case 0x10:
			command(what & 1 ? DSA_CMD_DISABLE_WQ : DSA_CMD_DRAIN_WQ, what >> 6);
			player_idle(DSA_VDEV_COMMAND);
			break;
		case 0x14:
			command(DSA_CMD_ENABLE_WQ, what & 1);
			break;
		default:
			write_portal(&in, what);
			break;
		}
		accounted();
		player_check();
	}
	dsa_vdev_set_pages(player.vdev, NULL);
	player_end();
	return 0;
}
