// SPDX-License-Identifier: BSD-3-Clause
/* What the control queue has made of a NIC, taken to another one; and what nobody could have made.
 */
#include "cvq_guest.h"

#define ALL                                                                                        \
	(CG_RX | CG_VLAN | VDPA_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | NG_GCSUM |                      \
	 VDPA_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VDPA_BIT(VIRTIO_NET_F_NOTF_COAL) |           \
	 VDPA_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | VDPA_BIT(VIRTIO_NET_F_MQ) |                         \
	 VDPA_BIT(VIRTIO_NET_F_STATUS))
#define CTRL 4 /* the control queue of two pairs */
#define STATE_MAX 65536

struct blob {
	uint8_t data[STATE_MAX];
	size_t bytes;
};

static const struct vdpa_attr plain[] = {{"backend", "loopback"}, {0}};

static void add(struct soft_guest *g, const char *name)
{
	struct vdpa_dev_set_config config = {
		.mask = VDPA_CFG_NET_MAX_VQP, .net.max_vq_pairs = 2, .attrs = plain};
	struct vdpa_error err = {.msg = ""};

	assert_int_equal(sg_try_add(g, "soft_net", name, &config, &err), 0);
	sg_use(g, vdpa_find_device(g->ctx, name));
}

static uint8_t command(struct soft_guest *g, uint8_t class, uint8_t cmd, const void *data,
		       uint32_t len)
{
	return cg_run(
		g, &(struct cg_cmd){
			   .vq = CTRL, .class = class, .command = cmd, .data = data, .len = len});
}

/* Something of every kind. */
static void configure(struct soft_guest *g)
{
	uint8_t table[64];
	uint32_t len = cg_mac_table(table, (uint8_t[]){9, 3}, 2, (uint8_t[]){1, 7, 5}, 3);
	static const struct {
		uint8_t class, cmd;
		uint32_t len;
		uint8_t data[12];
	} cmds[] = {
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, {0}},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1, {1}},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 6, {2, 9, 8, 7, 6, 5}},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2, {0x34, 0x2}},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2, {1, 0}},
		{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, {2, 0}},
		{VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8, {0}},
		{VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8, {3, 0, 0, 0, 9}},
		{VIRTIO_NET_CTRL_NOTF_COAL,
		 VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET,
		 12,
		 {1, 0, 0, 0, 4, 0, 0, 0, 7}},
	};

	for (unsigned i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		assert_int_equal(command(g, cmds[i].class, cmds[i].cmd, cmds[i].data, cmds[i].len),
				 VIRTIO_NET_OK);
	assert_int_equal(command(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, len),
			 VIRTIO_NET_OK);
	assert_int_equal(vdpa_announce(g->dev, (uint8_t[]){2, 9, 8, 7, 6, 5}), 0);
}

static void suspend(struct soft_guest *g)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_suspend(g->dev, &done), 0);
	assert_int_equal(sg_wait(g, &wait), 0);
}

static void save(struct soft_guest *g, struct blob *b)
{
	size_t need = 0;

	assert_int_equal(g->dev->ext->save_state(g->dev, NULL, &need), -ENOSPC);
	b->bytes = need - 1;
	assert_int_equal(g->dev->ext->save_state(g->dev, b->data, &b->bytes), -ENOSPC);
	assert_int_equal(b->bytes, need);
	assert_int_equal(g->dev->ext->save_state(g->dev, b->data, &b->bytes), 0);
	assert_int_equal(b->bytes, need);
}

/* In memory of its own, so that a byte too many that is read is found. */
static int load(struct soft_guest *g, const struct blob *b)
{
	struct vdpa_error err = {.msg = ""};
	uint8_t *exact = malloc(b->bytes ? b->bytes : 1);
	int r;

	assert_non_null(exact);
	memcpy(exact, b->data, b->bytes);
	r = g->dev->ext->load_state(g->dev, exact, b->bytes, &err);
	assert_true(!r || err.msg[0]);
	free(exact);
	return r;
}

/* The generation goes up with each load; all else has to be the same. */
static void assert_same(const struct blob *a, const struct blob *b)
{
	const size_t generation = 44;

	assert_int_equal(a->bytes, b->bytes);
	for (size_t i = 0; i < a->bytes; i++)
		if (i < generation || i >= generation + 4)
			assert_int_equal(a->data[i], b->data[i]);
}

/* Tables are kept in an order of their own, whatever order they came in. */
static void assert_same_but_order(const struct blob *a, const struct blob *b)
{
	const size_t generation = 44;
	int more[256] = {0};

	assert_int_equal(a->bytes, b->bytes);
	for (size_t i = 0; i < a->bytes; i++) {
		if (i >= generation && i < generation + 4)
			continue;
		more[a->data[i]]++;
		more[b->data[i]]--;
	}
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(more[i], 0);
}

static void open_both(struct soft_guest *from, struct soft_guest *to, struct blob *b)
{
	sg_open(from, 1);
	add(from, "n0");
	sg_map(from);
	sg_negotiate(from, NG_FEATURES | ALL);
	for (unsigned i = 0; i < 5; i++)
		sg_queue(from, i, 16);
	sg_driver_ok(from);
	configure(from);
	suspend(from);
	save(from, b);
	sg_join(to, from);
	add(to, "n1");
}

static void close_both(struct soft_guest *from, struct soft_guest *to)
{
	sg_leave(to);
	sg_close(from);
}

static void test_round_trip(void **state)
{
	static struct blob saved, again;
	struct soft_guest from, to;
	struct virtio_net_config c;

	open_both(&from, &to, &saved);
	assert_int_equal(load(&to, &saved), 0);
	save(&to, &again);
	assert_same(&saved, &again);
	vdpa_get_config(to.dev, 0, &c, 12);
	assert_memory_equal(c.mac, ((uint8_t[]){2, 9, 8, 7, 6, 5}), 6);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	/* And into itself, as often as you like. */
	assert_int_equal(load(&from, &saved), 0);
	assert_int_equal(load(&from, &again), 0);
	save(&from, &again);
	assert_same(&saved, &again);
	close_both(&from, &to);
}

/* Every byte of the NIC's own part, changed: refused, or something that is saved as the same. */
static void test_changed(void **state)
{
	static struct blob saved, bad, again;
	struct soft_guest from, to;
	unsigned refused = 0;
	size_t own;

	open_both(&from, &to, &saved);
	own = 56 + 5 * 40;
	for (size_t i = own; i < saved.bytes; i++) {
		bad = saved;
		bad.data[i] ^= (uint8_t)(1 + i % 255);
		if (load(&to, &bad)) {
			refused++;
			continue;
		}
		save(&to, &again);
		assert_same_but_order(&again, &bad);
	}
	assert_true(refused > 64);
	for (size_t n = 0; n < saved.bytes; n++) {
		bad = saved;
		bad.bytes = n;
		assert_int_equal(load(&to, &bad), -EINVAL);
		/* With the lengths in the header made to fit, too. */
		memcpy(bad.data + 8, &(uint64_t){n}, 8);
		if (n > own)
			memcpy(bad.data + 40, &(uint32_t){(uint32_t)(n - own)}, 4);
		assert_int_equal(load(&to, &bad), -EINVAL);
	}
	assert_int_equal(load(&to, &saved), 0);
	close_both(&from, &to);
}

/* What was not negotiated could not have been configured. */
static void test_without_features(void **state)
{
	static struct blob saved, bad;
	struct soft_guest from, to;
	uint64_t features;

	open_both(&from, &to, &saved);
	memcpy(&features, saved.data + 16, 8);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t less = features & ~VDPA_BIT(bit);

		if (!((ALL & ~NG_GCSUM & ~VDPA_BIT(VIRTIO_NET_F_STATUS)) >> bit & 1))
			continue;
		bad = saved;
		memcpy(bad.data + 16, &less, 8);
		assert_int_equal(load(&to, &bad), -EINVAL);
		assert_int_equal(vdpa_get_driver_features(to.dev), 0);
	}
	close_both(&from, &to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_without_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
