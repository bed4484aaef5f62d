// SPDX-License-Identifier: BSD-3-Clause
/*
 * Virtqueue groups: which there are, what they are tied to, and that a queue reaches nothing but
 * its own address spaces.
 */
#include <sys/mman.h>
#include "hold_dev.h"
#include "net_guest.h"
#include "blk_guest.h"

/* ---- layouts ---- */

struct layout_case {
	struct hold_params params;
	unsigned ngroups, nas;
	unsigned group[HOLD_QUEUES], desc[HOLD_QUEUES];
};

static void check_layout(const struct layout_case *c)
{
	bool desc = c->params.desc_group;
	struct soft_guest g;

	hold_open(&g, &c->params);
	assert_int_equal(g.dev->ngroups, c->ngroups);
	assert_int_equal(g.dev->nas, c->nas);
	assert_int_equal(g.dev->config->get_vq_desc_group != NULL, desc);
	for (uint16_t i = 0; i < HOLD_QUEUES; i++) {
		assert_int_equal(vdpa_get_vq_group(g.dev, i), c->group[i]);
		assert_int_equal(vdpa_get_vq_desc_group(g.dev, i), c->desc[i]);
	}
	sg_close(&g);
}

static void test_layouts(void **state)
{
	static const struct layout_case cases[] = {
		{{.groups = VDPA_SOFT_GROUPS_SINGLE}, 1, 1, {0, 0, 0, 0}, {0, 0, 0, 0}},
		{{.groups = VDPA_SOFT_GROUPS_SINGLE, .desc_group = true, .nas = 5},
		 2,
		 5,
		 {0, 0, 0, 0},
		 {1, 1, 1, 1}},
		{{.groups = VDPA_SOFT_GROUPS_CVQ, .control = true},
		 2,
		 2,
		 {0, 0, 0, 1},
		 {0, 0, 0, 1}},
		{{.groups = VDPA_SOFT_GROUPS_CVQ, .control = true, .desc_group = true},
		 3,
		 3,
		 {0, 0, 0, 1},
		 {2, 2, 2, 1}},
		{{.groups = VDPA_SOFT_GROUPS_PER_VQ, .nas = 2}, 4, 2, {0, 1, 2, 3}, {0, 1, 2, 3}},
		{{.groups = VDPA_SOFT_GROUPS_PER_VQ, .desc_group = true, .map = VDPA_SOFT_SET_MAP},
		 8,
		 8,
		 {0, 1, 2, 3},
		 {4, 5, 6, 7}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_layout(&cases[i]);
}

/* 5.1.2: the control queue is the third one when the driver uses one pair. */
static void test_control_moves(void **state)
{
	struct hold_params p = {.groups = VDPA_SOFT_GROUPS_CVQ, .control = true};
	struct soft_guest g;

	hold_open(&g, &p);
	sg_negotiate(&g, SG_V1);
	assert_int_equal(vdpa_get_vq_group(g.dev, 2), 1);
	assert_int_equal(vdpa_get_vq_group(g.dev, 3), 0);
	sg_reset(&g);
	sg_negotiate(&g, SG_V1 | HOLD_F_ONE);
	assert_int_equal(vdpa_get_vq_group(g.dev, 2), 0);
	assert_int_equal(vdpa_get_vq_group(g.dev, 3), 1);
	sg_close(&g);
}

/* What a NIC has unless it is told otherwise: as Linux's simulator. */
static void test_nic(void **state)
{
	const struct vdpa_attr attrs[] = {{0}};
	struct vdpa_dev_set_config config = {.mask = VDPA_CFG_NET_MAX_VQP, .net.max_vq_pairs = 3};
	struct vdpa_error err = {0};
	struct soft_guest g;

	sg_open(&g, 0);
	config.attrs = attrs;
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), 0);
	sg_use(&g, vdpa_find_device(g.ctx, "d0"));
	assert_int_equal(g.dev->ngroups, 2);
	assert_int_equal(g.dev->nas, 2);
	for (uint16_t i = 0; i < 7; i++)
		assert_int_equal(vdpa_get_vq_group(g.dev, i), i == 6);
	sg_negotiate(&g, NG_FEATURES | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ));
	for (uint16_t i = 0; i < 7; i++)
		assert_int_equal(vdpa_get_vq_group(g.dev, i), i == 2);
	sg_close(&g);
}

static void test_refused(void **state)
{
	struct hold_params p = {.groups = VDPA_SOFT_GROUPS_CVQ};
	struct vdpa_attr attrs[] = {{"groups", "cvq"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = attrs};
	struct vdpa_error err = {0};
	struct soft_guest g;

	sg_open(&g, 0);
	assert_null(hold_make(g.ctx, "h0", &p, &err));
	assert_non_null(strstr(err.msg, "no control queue"));
	assert_int_not_equal(sg_try_add(&g, "soft_blk", "d0", &config, &err), 0);
	assert_non_null(strstr(err.msg, "no control queue"));
	attrs[0] = (struct vdpa_attr){"nas", "0"};
	assert_int_equal(sg_try_add(&g, "soft_blk", "d0", &config, &err), -ERANGE);
	attrs[0] = (struct vdpa_attr){"groups", "none"};
	assert_int_equal(sg_try_add(&g, "soft_blk", "d0", &config, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "per-vq"));
	sg_close(&g);
}

/* ---- the driver's choice ---- */

static void test_set_and_reset(void **state)
{
	struct hold_params p = {.groups = VDPA_SOFT_GROUPS_PER_VQ};
	struct soft_guest g;
	uint32_t len;

	hold_open(&g, &p);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vdpa_set_group_asid(g.dev, i, 3 - i), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vdpa_get_group_asid(g.dev, i), 3 - i);
	assert_int_equal(vdpa_get_group_asid(g.dev, 4), 0);
	g.asid = 3;
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	/* A queue of it runs; queues of the other do not. */
	assert_int_equal(vdpa_set_group_asid(g.dev, 0, 0), -EBUSY);
	assert_int_equal(vdpa_get_group_asid(g.dev, 0), 3);
	assert_int_equal(vdpa_set_group_asid(g.dev, 1, 0), 0);
	sg_reset(&g);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vdpa_get_group_asid(g.dev, i), 0);
	/* Its memory is still in address space 3, where the queue is no longer. */
	sg_start(&g, SG_V1, 1, 16);
	hold_post(&g, 0, 0, 10);
	sg_kick(&g, 0);
	sg_until_status(&g, VIRTIO_CONFIG_S_NEEDS_RESET);
	sg_close(&g);
}

/* ---- what a queue reaches ---- */

/*
 * The queue under test has its buffers in address space 1, and its rings and tables there too or,
 * with descriptor groups, in 2. Other queues are in 3. The same addresses are other memory in 0:
 * who touches it, to read or to write, dies by SIGSEGV.
 */
enum { AS_DECOY, AS_BUF, AS_RING, AS_OTHERS, AS_COUNT };
enum piece { ALL, DESC, DRIVER, DEVICE, TABLE, BUFFER, PIECES };

struct subject {
	const char *mgmtdev;
	struct vdpa_attr attrs[5];
	uint64_t features;
	unsigned idx;
	void (*post)(struct soft_guest *g, unsigned idx);
	bool (*good)(struct soft_guest *g);
};

static void hold_two(struct soft_guest *g, unsigned idx)
{
	struct virtqueue_sg sg[] = {sg_at(SG_DATA, 100), sg_at(SG_DATA + 4096, 100)};

	sg_send(g, idx, sg, 0, 2, g);
}

static bool hold_good(struct soft_guest *g)
{
	return g->mem[SG_DATA + 99] == HOLD_FILL && g->mem[SG_DATA + 4096] == HOLD_FILL;
}

static void blk_post(struct soft_guest *g, unsigned idx)
{
	struct virtqueue_sg sg[] = {sg_at(BG_HDR, 16), sg_at(BG_BUF, 4096), sg_at(BG_STATUS, 1)};

	bg_header(g, BG_HDR, VIRTIO_BLK_T_IN, 0);
	g->mem[BG_STATUS] = 0xee;
	memset(g->mem + BG_BUF, 0xee, 4096);
	sg_send(g, idx, sg, 1, 2, g);
}

static bool blk_good(struct soft_guest *g)
{
	return !g->mem[BG_STATUS] && bg_zero(g, BG_BUF, 4096);
}

static void tx_post(struct soft_guest *g, unsigned idx)
{
	struct virtqueue_sg sg[] = {sg_at(NG_TX, 12), sg_at(NG_TX + 12, 100)};

	ng_rx_post(g, 0, 2048);
	ng_frame(g, 12, NULL, 1, 100);
	sg_send(g, idx, sg, 2, 0, g);
}

static void rx_post(struct soft_guest *g, unsigned idx)
{
	struct virtqueue_sg sg[] = {sg_at(NG_RX, 12), sg_at(NG_RX + 12, 2036)};

	sg_send(g, idx, sg, 0, 2, g);
	ng_frame(g, 12, NULL, 1, 100);
	ng_tx_post(g, 112);
}

static bool net_good(struct soft_guest *g)
{
	sg_run(g, SG_SECOND / 100);
	return !memcmp(g->mem + NG_RX + 12, g->mem + NG_TX + 12, 100);
}

static void ctrl_post(struct soft_guest *g, unsigned idx)
{
	struct virtqueue_sg sg[] = {sg_at(SG_DATA, 2), sg_at(SG_DATA + 2, 1),
				    sg_at(SG_DATA + 3, 1)};

	memcpy(g->mem + SG_DATA,
	       (uint8_t[]){VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 0xee}, 4);
	sg_send(g, idx, sg, 2, 1, g);
}

static bool ctrl_good(struct soft_guest *g)
{
	return g->mem[SG_DATA + 3] == VIRTIO_NET_OK;
}

static const struct subject subjects[] = {
	{NULL, {{0}}, 0, 1, hold_two, hold_good},
	{"soft_blk",
	 {{"num_queues", "2"}, {0}},
	 BG_FEATURES | VDPA_BIT(VIRTIO_BLK_F_MQ),
	 1,
	 blk_post,
	 blk_good},
	{"soft_net", {{0}}, NG_FEATURES, 1, tx_post, net_good},
	{"soft_net", {{0}}, NG_FEATURES, 0, rx_post, net_good},
	{"soft_net",
	 {{0}},
	 NG_FEATURES | VDPA_BIT(VIRTIO_NET_F_CTRL_VQ) | VDPA_BIT(VIRTIO_NET_F_CTRL_RX),
	 2,
	 ctrl_post,
	 ctrl_good},
};

/* One run: a subject, a format, descriptor groups or not, and what is missing where it belongs. */
struct reach {
	struct soft_guest g;
	const struct subject *s;
	bool packed, desc_group;
	enum piece missing;
	uint8_t *decoy;
	struct vdpa_region *decoy_region;
};

static void open_subject(struct reach *r)
{
	struct hold_params p = {
		.groups = VDPA_SOFT_GROUPS_PER_VQ, .desc_group = r->desc_group, .nas = AS_COUNT};
	struct vdpa_attr attrs[8] = {
		{"groups", "per-vq"}, {"nas", "4"}, {"desc_group", r->desc_group ? "on" : "off"}};
	unsigned n = 3;

	if (!r->s->mgmtdev) {
		hold_open(&r->g, &p);
		return;
	}
	for (const struct vdpa_attr *a = r->s->attrs; a->key; a++)
		attrs[n++] = *a;
	sg_open(&r->g, 0);
	sg_add(&r->g, r->s->mgmtdev, attrs);
}

/* Group of queue @idx's rings. */
static unsigned ring_as(const struct reach *r)
{
	return r->desc_group ? AS_RING : AS_BUF;
}

static void tie_groups(struct reach *r)
{
	struct vdpa_device *dev = r->g.dev;
	unsigned group, desc;

	for (uint16_t i = 0; i < dev->nvqs; i++) {
		group = vdpa_get_vq_group(dev, i);
		desc = vdpa_get_vq_desc_group(dev, i);
		assert_int_equal(group == desc, !r->desc_group);
		assert_int_equal(
			vdpa_set_group_asid(dev, group, i == r->s->idx ? AS_BUF : AS_OTHERS), 0);
		assert_int_equal(
			vdpa_set_group_asid(dev, desc, i == r->s->idx ? ring_as(r) : AS_OTHERS), 0);
	}
}

static void map(struct reach *r, unsigned asid, size_t from, size_t to)
{
	if (from < to)
		assert_int_equal(vdpa_dma_map(r->g.dev, asid, SG_IOVA + from, to - from,
					      vdpa_region_addr(r->g.region, from), VHOST_MAP_RW,
					      r->g.region),
				 0);
}

/* Where @piece of the queue under test lies; behind the device area are the tables. */
static void piece_range(struct reach *r, enum piece piece, size_t *from, size_t *to)
{
	const struct virtqueue *vq = r->g.q[r->s->idx].vq;
	size_t device_bytes = r->packed ? 4 : 4 + 8 * virtqueue_num(vq) + 2;
	iova_t at[5];

	virtqueue_addrs(vq, &at[0], &at[1], &at[2]);
	at[3] = (at[2] + device_bytes + 63) & ~63ull;
	at[4] = SG_IOVA + (r->s->idx + 1) * SG_RING_BYTES;
	*from = SG_DATA;
	*to = SG_BYTES;
	if (piece == BUFFER)
		return;
	*from = at[piece - DESC] - SG_IOVA;
	*to = at[piece - DESC + 1] - SG_IOVA;
}

/* Everything is in the others' address space; the queue's own lack one piece where it belongs. */
static void map_all(struct reach *r)
{
	unsigned lacks = r->missing == BUFFER ? AS_BUF : ring_as(r);
	size_t from = 0, to = 0;

	assert_int_equal(vdpa_dma_map(r->g.dev, AS_DECOY, SG_IOVA, SG_BYTES,
				      vdpa_region_addr(r->decoy_region, 0), VHOST_MAP_RW,
				      r->decoy_region),
			 0);
	map(r, AS_OTHERS, 0, SG_BYTES);
	if (r->missing != ALL)
		piece_range(r, r->missing, &from, &to);
	for (unsigned asid = AS_BUF; asid <= AS_RING; asid++) {
		map(r, asid, 0, asid == lacks ? from : SG_BYTES);
		if (asid == lacks)
			map(r, asid, to, SG_BYTES);
	}
}

static void reach_begin(struct reach *r)
{
	uint64_t packed = r->packed ? VDPA_BIT(VIRTIO_F_RING_PACKED) : 0;

	open_subject(r);
	tie_groups(r);
	r->decoy = mmap(NULL, SG_BYTES, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(r->decoy, MAP_FAILED);
	assert_int_equal(vdpa_region_wrap(r->decoy, SG_BYTES, SG_IOVA, &r->decoy_region), 0);
	sg_negotiate(&r->g,
		     SG_V1 | r->s->features | VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC) | packed);
	for (unsigned i = 0; i < 2 || i <= r->s->idx; i++)
		sg_queue_setup(&r->g, i, 16);
	map_all(r);
	for (uint16_t i = 0; i < 2 || i <= r->s->idx; i++)
		assert_int_equal(vdpa_set_vq_ready(r->g.dev, i), 0);
	sg_driver_ok(&r->g);
}

static void reach_end(struct reach *r)
{
	sg_close(&r->g);
	vdpa_region_put(r->decoy_region);
	munmap(r->decoy, SG_BYTES);
}

/* Of a packed ring the driver area says only when to call: a device that cannot read it calls. */
static bool is_fault(const struct reach *r)
{
	return r->missing != ALL && !(r->packed && r->missing == DRIVER);
}

static void reach(const struct subject *s, bool packed, bool desc_group, enum piece missing)
{
	struct reach r = {.s = s, .packed = packed, .desc_group = desc_group, .missing = missing};
	uint32_t len;

	reach_begin(&r);
	s->post(&r.g, s->idx);
	if (!is_fault(&r)) {
		assert_ptr_equal(sg_get(&r.g, s->idx, &len, SG_PATIENCE), &r.g);
		assert_true(s->good(&r.g));
	} else {
		sg_kick(&r.g, s->idx);
		sg_until_status(&r.g, VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_null(virtqueue_get(r.g.q[s->idx].vq, &len));
	}
	reach_end(&r);
}

static void test_reach(void **state)
{
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		for (unsigned how = 0; how < 4; how++)
			for (unsigned piece = ALL; piece < PIECES; piece++)
				reach(&subjects[i], how & 1, how & 2, (enum piece)piece);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),	      cmocka_unit_test(test_control_moves),
		cmocka_unit_test(test_nic),	      cmocka_unit_test(test_refused),
		cmocka_unit_test(test_set_and_reset), cmocka_unit_test(test_reach),
	};

	return cmocka_run_group_tests_name("kit group", tests, NULL, NULL);
}
