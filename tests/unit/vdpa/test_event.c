// SPDX-License-Identifier: BSD-3-Clause
/* Subscribers that come and go, also inside callbacks. */
#include "mock.h"

static struct vdpa_ctx *ctx;
static struct mock *m;

struct sub {
	struct vdpa_subscriber sub;
	unsigned heard;
	struct sub *drop, *join;
	const char *detail;
	bool nest;
};

static void on_event(struct vdpa_subscriber *sub, const struct vdpa_event *event)
{
	struct sub *s = (struct sub *)sub;
	struct sub *drop = s->drop, *join = s->join;

	s->heard++;
	s->detail = event->detail;
	s->drop = NULL;
	s->join = NULL;
	if (drop)
		vdpa_unsubscribe(ctx, &drop->sub);
	if (join)
		vdpa_subscribe(ctx, &join->sub);
	if (s->nest) {
		s->nest = false;
		vdpa_notify(event->vdev, VDPA_EVENT_CHANGE, "nested");
	}
}

static int setup(void **state)
{
	ctx = mock_ctx();
	m = mock_add(ctx, "d0");
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(vdpa_unregister_device(&m->vdpa, NULL), 0);
	return vdpa_ctx_free(ctx);
}

static void start(struct sub *s)
{
	memset(s, 0, sizeof(*s));
	s->sub.fn = on_event;
	vdpa_subscribe(ctx, &s->sub);
}

static void everybody_hears(void **state)
{
	struct sub a, b;

	start(&a);
	start(&b);
	vdpa_notify(&m->vdpa, VDPA_EVENT_BROKEN, "ring 3");
	assert_int_equal(a.heard, 1);
	assert_int_equal(b.heard, 1);
	assert_string_equal(a.detail, "ring 3");
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, NULL);
	assert_string_equal(a.detail, "");
	vdpa_unsubscribe(ctx, &a.sub);
	vdpa_unsubscribe(ctx, &a.sub);
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "");
	assert_int_equal(a.heard, 2);
	assert_int_equal(b.heard, 3);
	vdpa_unsubscribe(ctx, &b.sub);
}

/* Each of three drops, from its callback, itself, the one before or the one after it. */
static void unsubscribing_inside_the_callback(void **state)
{
	for (int who = 0; who < 3; who++) {
		for (int whom = 0; whom < 3; whom++) {
			struct sub *s[3];
			unsigned heard = 0;

			for (int i = 0; i < 3; i++) {
				s[i] = malloc(sizeof(struct sub));
				start(s[i]);
			}
			s[who]->drop = s[whom];
			vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "");
			for (int i = 0; i < 3; i++)
				heard += s[i]->heard;
			/* Later subscribers hear first. */
			assert_int_equal(heard, who > whom ? 2 : 3);
			free(s[whom]);
			s[whom] = NULL;
			vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "");
			for (int i = 0; i < 3; i++) {
				if (!s[i])
					continue;
				assert_int_equal(s[i]->heard, 2);
				vdpa_unsubscribe(ctx, &s[i]->sub);
				free(s[i]);
			}
		}
	}
}

static void newcomer_hears_the_next_event_first(void **state)
{
	struct sub a, b = {.sub.fn = on_event};

	start(&a);
	a.join = &b;
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "");
	assert_int_equal(b.heard, 0);
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "");
	assert_int_equal(b.heard, 1);
	vdpa_unsubscribe(ctx, &a.sub);
	vdpa_unsubscribe(ctx, &b.sub);
}

static void events_nest(void **state)
{
	struct sub a, b, c;

	start(&a);
	start(&b);
	start(&c);
	c.nest = true;
	b.drop = &a;
	vdpa_notify(&m->vdpa, VDPA_EVENT_CHANGE, "outer");
	/* The nested event came to b first, which dropped a: a hears neither. */
	assert_int_equal(a.heard, 0);
	assert_int_equal(b.heard, 2);
	assert_int_equal(c.heard, 2);
	vdpa_unsubscribe(ctx, &b.sub);
	vdpa_unsubscribe(ctx, &c.sub);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(everybody_hears),
		T(unsubscribing_inside_the_callback),
		T(newcomer_hears_the_next_event_first),
		T(events_nest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
