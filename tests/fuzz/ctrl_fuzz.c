// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the control queue of a NIC. The input chooses features, then gives commands, cut
 * into pieces anyhow, with data that are mostly of the right shape; in between packets are sent.
 *
 * Asserted besides "does not crash": every command is answered, OK or ERR; the device never asks
 * for a reset; what it kept of them can be shown; and packets are sent. Those that are looped back
 * go through the filter and the steering, and may have to wait for a buffer.
 */
#include <stdlib.h>
#include <string.h>

#include "cvq_guest.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAIRS 3
#define MAX_COMMANDS 40

static const uint64_t choices[] = {
	CG_RX | CG_VLAN,
	VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VDPA_BIT(VIRTIO_NET_F_STATUS),
	VDPA_BIT(VIRTIO_NET_F_MQ),
	VDPA_BIT(VIRTIO_NET_F_RSS),
	VDPA_BIT(VIRTIO_NET_F_HASH_REPORT),
	VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VDPA_BIT(VIRTIO_NET_F_GUEST_CSUM) |
		VDPA_BIT(VIRTIO_NET_F_GUEST_TSO4),
	VDPA_BIT(VIRTIO_NET_F_NOTF_COAL),
	VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL),
	VDPA_BIT(VIRTIO_NET_F_DEVICE_STATS),
};

static uint64_t features_of(struct input *in, uint64_t offered)
{
	uint64_t which = take(in, 2), features = NG_FEATURES | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ);

	for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		features |= which >> i & 1 ? choices[i] : 0;
	return features & offered;
}

/* A count, entries, and again: what a table of addresses is, or looks like. */
static uint32_t fill(struct input *in, uint8_t *data)
{
	uint32_t len = (uint32_t)take(in, 1) % 64, at = 0;

	if (take(in, 1) & 1) {
		data[0] = (uint8_t)take(in, 1) & 3;
		data[1] = data[2] = data[3] = 0;
		at = 4;
	}
	for (; at < len; at++)
		data[at] = (uint8_t)take(in, 1);
	/* Commands with a long tail: keys and tables. */
	if (take(in, 1) > 250) {
		memset(data + len, 1, 400);
		len += 400;
	}
	return len;
}

/* What commands look like, so that most get past the first look: small numbers, the right length.
 */
static const struct {
	uint8_t class, command, len;
} shapes[] = {
	{0, 0, 1}, {0, 1, 1}, {0, 2, 1},  {0, 3, 1}, {0, 4, 1}, {0, 5, 1},  {1, 0, 8},	{1, 0, 20},
	{1, 1, 6}, {2, 0, 2}, {2, 1, 2},  {3, 0, 0}, {4, 0, 2}, {4, 1, 53}, {4, 2, 49}, {5, 0, 8},
	{6, 0, 8}, {6, 1, 8}, {6, 2, 12}, {6, 3, 4}, {8, 0, 0}, {8, 1, 8},  {8, 1, 16},
};

static uint32_t shape(struct input *in, struct cg_cmd *cmd, uint8_t *data)
{
	unsigned i = (unsigned)take(in, 1) % (sizeof(shapes) / sizeof(shapes[0]));
	uint64_t value = take(in, 2);

	cmd->class = shapes[i].class;
	cmd->command = shapes[i].command;
	memset(data, 0, shapes[i].len);
	for (unsigned at = 0; at < shapes[i].len && at < 16; at += 2)
		data[at] = (uint8_t)(value >> at & 3);
	if (cmd->class == 4 && cmd->command) { /* hash types, and where the key begins */
		memcpy(data, "\x3f\1\0\0\0\0\0\0", 8);
		data[shapes[i].len - 41] = 40;
		if (cmd->command == 1)
			data[10] = 1; /* send queues */
	}
	return shapes[i].len;
}

static void command(struct input *in, struct soft_guest *g, unsigned vq)
{
	uint8_t data[512];
	struct cg_cmd cmd = {
		.vq = vq,
		.class = (uint8_t)(take(in, 1) % 10),
		.command = (uint8_t)(take(in, 1) % 7),
		.data = data,
	};
	uint32_t parts = 1 + (uint32_t)take(in, 1) % 5;
	uint8_t answer;

	cmd.len = take(in, 1) & 3 ? shape(in, &cmd, data) : fill(in, data);
	cmd.result = (uint32_t)take(in, 1) & 63;
	cmd.piece = (cmd.len + cmd.result + 3) / parts + 1;
	answer = cg_run(g, &cmd);
	assert_true(answer == VIRTIO_NET_OK || answer == VIRTIO_NET_ERR);
	assert_true(cmd.written >= 1 && cmd.written <= 1 + cmd.result);
}

static void send_one(struct soft_guest *g, bool loop)
{
	uint32_t len;

	ng_frame(g, 12, NULL, 1, 60);
	if (virtqueue_num_free(g->q[1].vq) < 2)
		return;
	ng_tx_post(g, 80);
	/* Looked for, not waited for: the call may have been put off by a command. */
	for (unsigned i = 0; i < (loop ? 2 : 10000); i++) {
		if (virtqueue_get(g->q[1].vq, &len))
			return;
		sg_run(g, SG_SECOND / 10000);
	}
	assert_true(loop);
}

/* The state and the last commands, as text: whatever they are, it is printable. */
static void look(void *arg, const char *key, const char *value)
{
	assert_true(strlen(key) < 64);
	for (; *value; value++)
		assert_true(*value >= ' ' && *value < 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vdpa_attr attrs[] = {{"backend", "null"},
				    {"rss", "on"},
				    {"hash_report", "on"},
				    {"intercept", "on"},
				    {0}};
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAX_VQP, .attrs = attrs, .net.max_vq_pairs = PAIRS};
	struct vdpa_error err = {.msg = ""};
	struct input in = {data, size};
	struct soft_guest g;
	uint64_t features;
	unsigned vq = 2;
	bool loop = take(&in, 1) & 1;

	if (loop)
		attrs[0].value = "loopback";
	/* What is asserted by the guest aborts, as it does in every target. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	sg_open(&g, (unsigned)take(&in, 1) & 1);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	features = features_of(&in, vdpa_get_device_features(g.dev));
	if (features & (VDPA_BIT(VIRTIO_NET_F_MQ) | VDPA_BIT(VIRTIO_NET_F_RSS)))
		vq = 2 * PAIRS;
	sg_start(&g, features, vq + 1, 16);
	for (unsigned i = 0; i < MAX_COMMANDS && in.left; i++) {
		command(&in, &g, vq);
		if (i % 8 == 7)
			send_one(&g, loop);
	}
	send_one(&g, loop);
	g.dev->ext->show(g.dev, look, NULL);
	assert_int_equal(vdpa_get_status(g.dev) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	sg_close(&g);
	return 0;
}
