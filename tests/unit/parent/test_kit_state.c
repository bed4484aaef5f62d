// SPDX-License-Identifier: BSD-3-Clause
/* Save and load: the same device goes on elsewhere; a hostile object changes nothing. */
#include "hold_dev.h"

#define MS (SG_SECOND / 1000)
/* Where a state has them. */
#define FEATURES_AT 16

static size_t save(struct soft_guest *g, uint8_t *buf, size_t room)
{
	size_t bytes = room;

	assert_int_equal(g->dev->ext->save_state(g->dev, buf, &bytes), 0);
	return bytes;
}

static int load(struct soft_guest *g, const uint8_t *buf, size_t bytes)
{
	struct vdpa_error err = {.msg = ""};
	int r = g->dev->ext->load_state(g->dev, buf, bytes, &err);

	assert_true(!r || err.msg[0]);
	return r;
}

static void suspend(struct soft_guest *g)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);

	assert_int_equal(vdpa_suspend(g->dev, &done), 0);
	assert_int_equal(sg_wait(g, &wait), 0);
}

/* A device half way through its ring, saved. */
static size_t make(struct soft_guest *g, uint8_t *buf)
{
	struct hold_dev *dev = hold_open(g, NULL);
	uint32_t len;

	dev->own = 0xabcdef;
	sg_start(g, SG_V1 | HOLD_F_ONE, 1, 16);
	for (unsigned i = 0; i < 5; i++) {
		hold_post(g, 0, i, 10);
		assert_non_null(sg_get(g, 0, &len, SG_PATIENCE));
	}
	suspend(g);
	return save(g, buf, 4096);
}

static void test_go_on(void **state)
{
	struct soft_guest g;
	struct hold_dev *dev;
	struct vdpa_vq_state vq_state;
	uint8_t buf[4096];
	size_t bytes = make(&g, buf);
	uint32_t len;

	/* The same guest, another device: its driver sees nothing of it. */
	hold_post(&g, 0, 6, 10);
	sg_del(&g);
	dev = hold_make(g.ctx, "h1", NULL, NULL);
	assert_int_equal(vdpa_soft_register(&dev->soft, NULL), 0);
	sg_use(&g, &dev->soft.vdpa);
	g.mapped = false;
	sg_map(&g);
	assert_int_equal(load(&g, buf, bytes), 0);
	assert_int_equal(vdpa_get_status(g.dev), 15);
	assert_int_equal(vdpa_get_driver_features(g.dev), SG_V1 | HOLD_F_ONE);
	assert_int_equal(dev->own, 0xabcdef);
	assert_int_equal(dev->driver_oks, 1);
	vdpa_get_vq_state(g.dev, 0, &vq_state);
	assert_int_equal(vq_state.split.avail_index, 5);
	vdpa_set_vq_cb(g.dev, 0, &(struct vdpa_callback){NULL, NULL, g.q[0].call});
	sg_run(&g, 20 * MS);
	assert_int_equal(dev->q[0].served, 0);
	assert_int_equal(vdpa_resume(g.dev), 0);
	assert_non_null(sg_get(&g, 0, &len, SG_PATIENCE));
	/* And what is saved again is the same, but for where it stands. */
	sg_close(&g);
}

static void test_refused_while_running(void **state)
{
	struct soft_guest g;
	uint8_t buf[4096];
	size_t bytes = make(&g, buf), room = 4096, small;

	assert_int_equal(vdpa_resume(g.dev), 0);
	sg_run(&g, 5 * MS);
	assert_int_equal(g.dev->ext->save_state(g.dev, buf, &room), -EBUSY);
	assert_int_equal(load(&g, buf, bytes), -EBUSY);
	suspend(&g);
	for (small = 0; small < bytes; small++) {
		uint8_t *exact = malloc(small ? small : 1);

		room = small;
		assert_int_equal(g.dev->ext->save_state(g.dev, exact, &room), -ENOSPC);
		assert_int_equal(room, bytes);
		free(exact);
	}
	sg_close(&g);
}

/* Every truncation, every changed byte: refused, or a device that still makes sense. */
static void test_hostile(void **state)
{
	struct soft_guest g;
	uint8_t buf[4096], good[4096], again[4096];
	size_t bytes = make(&g, good);

	for (size_t n = 0; n < bytes; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, good, n);
		assert_int_equal(load(&g, exact, n), -EINVAL);
		free(exact);
	}
	memcpy(buf, good, bytes);
	assert_int_equal(load(&g, buf, bytes + 1), -EINVAL);
	for (size_t i = 0; i < bytes; i++) {
		for (unsigned flip = 1; flip < 256; flip += flip) {
			memcpy(buf, good, bytes);
			buf[i] ^= (uint8_t)flip;
			if (load(&g, buf, bytes))
				continue;
			/* Accepted: then it is what the device says that it is. */
			assert_int_equal(save(&g, again, sizeof(again)), bytes);
			assert_int_equal(vdpa_get_driver_features(g.dev) &
						 ~vdpa_get_device_features(g.dev),
					 0);
			assert_true(g.dev->config->get_vq_size(g.dev, 0) <= 256);
		}
	}
	/* Nothing that was refused left a trace. */
	assert_int_equal(load(&g, good, bytes), 0);
	assert_int_equal(save(&g, again, sizeof(again)), bytes);
	memcpy(buf, good, bytes);
	buf[FEATURES_AT] |= HOLD_F_BAD;
	assert_int_equal(load(&g, buf, bytes), -EINVAL);
	assert_int_equal(vdpa_get_driver_features(g.dev), SG_V1 | HOLD_F_ONE);
	assert_int_equal(save(&g, buf, sizeof(buf)), bytes);
	assert_memory_equal(buf, again, bytes);
	sg_reset(&g);
	sg_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_go_on),
		cmocka_unit_test(test_refused_while_running),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("kit state", tests, NULL, NULL);
}
