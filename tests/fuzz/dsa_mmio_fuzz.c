// SPDX-License-Identifier: BSD-3-Clause
/* Fuzz target: the registers of a virtual DSA, and what happens beside the accesses. */
#include "dsa_vdev_player.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where something is, mostly. */
static uint64_t place(struct input *in)
{
	uint64_t any = take(in, 2);

	return any & 1 ? any : any % DSA_REGS_BYTES & ~7ull;
}

static void command(struct input *in)
{
	uint32_t what = (uint32_t)take(in, 4);
	/* A command that there is, for a queue that there is. */
	uint32_t value = (what % 16) << DSA_CMD_SHIFT | (what >> 8 & 7) | (what & DSA_CMD_INT);

	dsa_vdev_write(player.vdev, DSA_CMD, &value, 4);
}

static void configure(struct input *in)
{
	uint32_t value = (uint32_t)take(in, 4);
	unsigned off = take(in, 1) & 1 ? DSA_WQCFG + take(in, 1) % 64 : DSA_GRPCFG + take(in, 1);

	dsa_vdev_write(player.vdev, off & ~3u, &value, 4);
}

static void beside(struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);
	const struct dsa_error error = {.status = what, .op = what};

	player.no_queue = what & 0x10;
	player.no_master = what & 0x20;
	if ((what & 7) == 0)
		dsa_vdev_halt(player.vdev, what >> 6);
	else if ((what & 7) == 1)
		player_reset();
	else if ((what & 7) == 2)
		dsa_vdev_revoke(player.vdev);
	else if ((what & 7) == 3)
		dsa_vdev_error(player.vdev, what >> 3 & 1, &error);
	else
		player_idle(what & 8 ? DSA_VDEV_RESET : DSA_VDEV_COMMAND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t buf[16];

	player_begin(take(&in, 1) & 1);
	while (in.left) {
		uint8_t what = (uint8_t)take(&in, 1);
		size_t len = what & 8 ? take(&in, 1) % 17 : 4;

		memset(buf, what, sizeof(buf));
		switch (what & 7) {
		case 0:
			dsa_vdev_read(player.vdev, place(&in), buf, len);
			break;
		case 1:
			for (size_t i = 0; i < len; i++)
				buf[i] = (uint8_t)take(&in, 1);
			dsa_vdev_write(player.vdev, place(&in), buf, len);
			break;
		case 2:
			configure(&in);
			break;
		case 3:
		case 4:
			beside(&in);
			break;
		default:
			command(&in);
			break;
		}
		player_check();
	}
	player_end();
	return 0;
}
