// SPDX-License-Identifier: BSD-3-Clause
/*
 * NICs of two queue pairs on a switch under load: each byte arrives, or its packet is counted,
 * while queues move between workers, and devices are reset and removed.
 */
#define SW_PAIRS 2
#include "switch_guest.h"

#define FLOWS (SW_PORTS * SW_PORTS * SW_PAIRS)
/* No more on the way to one receiver than its buffers. */
#define ON_THE_WAY (SW_NUM / 2)

static const struct vdpa_attr plain[] = {{"backend", "switch"}, {"switch", "br0"}, {0}};

#define WORKERS(state) ((unsigned)(uintptr_t) * (state))

static unsigned rounds(unsigned n)
{
	const char *env = getenv("UVDPA_TEST_ROUNDS");

	return env ? n * (unsigned)atoi(env) : n;
}

/* ---- flows: from a port's pair to another port ---- */

struct flow {
	unsigned from, pair, to;
};

/*
 * Of each flow: how many were sent; which of them came; and the number that comes next at the
 * earliest, of each pair that they come in at: its own, or while that has no loop another one.
 */
struct flows {
	uint64_t sent_all, got_all;
	uint32_t sent[FLOWS], next[FLOWS][SW_PAIRS];
	uint8_t *came[FLOWS];
};

static void flows_init(struct flows *fl, uint64_t total)
{
	memset(fl, 0, sizeof(*fl));
	for (unsigned i = 0; i < FLOWS; i++) {
		fl->came[i] = calloc(total, 1);
		assert_non_null(fl->came[i]);
	}
}

static void flows_free(struct flows *fl)
{
	for (unsigned i = 0; i < FLOWS; i++)
		free(fl->came[i]);
}

static unsigned flow_index(struct flow f)
{
	return (f.from * SW_PORTS + f.to) * SW_PAIRS + f.pair;
}

/* Frame @seq of a flow: its length, and every byte, follow from the number. */
static uint32_t flow_len(uint32_t seq)
{
	return 60 + seq * 37 % 1440;
}

static void fill_frame(uint8_t *p, struct flow f, uint32_t seq)
{
	memset(p, 0, 12);
	sw_mac(p + 12, f.to + 1);
	sw_mac(p + 18, f.from + 1);
	p[24] = 0x88;
	p[25] = 0xb5;
	memcpy(p + 26, &seq, sizeof(seq));
	p[30] = (uint8_t)f.pair;
	for (uint32_t i = 19; i < flow_len(seq); i++)
		p[12 + i] = (uint8_t)(seq * 7 + i * 3 + f.from);
}

/* In order, none twice. */
static void check_frame(struct flows *fl, const uint8_t *p, uint32_t len, unsigned at)
{
	struct flow f = {.from = p[23] - 1u, .pair = p[30], .to = p[17] - 1u};
	uint8_t want[SW_BUF];
	uint32_t seq = 0;
	unsigned i;

	assert_true(f.from < SW_PORTS && f.to < SW_PORTS && f.pair < SW_PAIRS);
	i = flow_index(f);
	memcpy(&seq, p + 26, sizeof(seq));
	assert_true(seq >= fl->next[i][at] && seq < fl->sent[i] && !fl->came[i][seq]);
	fl->next[i][at] = seq + 1;
	fl->came[i][seq] = 1;
	fill_frame(want, f, seq);
	assert_int_equal(len, 12 + flow_len(seq));
	assert_memory_equal(p + 12, want + 12, len - 12);
	fl->got_all++;
}

static void take_all(struct sw_net *n, struct flows *fl)
{
	for (unsigned i = 0; i < SW_PORTS * SW_PAIRS; i++) {
		struct sw_port *p = &n->p[i / SW_PAIRS];
		uint32_t len;
		uint8_t *f;

		p->at = i % SW_PAIRS;
		while ((f = sw_rx(p, &len, 0))) {
			assert_int_equal(f[17] - 1u, i / SW_PAIRS);
			check_frame(fl, f, len, p->at);
			sw_rx_post(p, 1, SW_BUF);
		}
	}
}

/* The next frame; false: no slot. Which flow is a matter of its number. */
static bool send_one(struct sw_net *n, struct flows *fl)
{
	uint32_t k = (uint32_t)fl->sent_all;
	struct flow f = {.from = k % SW_PORTS, .pair = k / 7 % SW_PAIRS};
	struct sw_port *p = &n->p[f.from];
	uint8_t *slot;

	f.to = (f.from + 1 + k / 5 % 2) % SW_PORTS;
	p->at = f.pair;
	slot = sw_tx_slot(p);
	if (!slot)
		return false;
	fill_frame(slot, f, fl->sent[flow_index(f)]);
	sw_tx_post(p, flow_len(fl->sent[flow_index(f)]++));
	fl->sent_all++;
	return true;
}

static void post_all(struct sw_net *n, unsigned count)
{
	for (unsigned i = 0; i < SW_PORTS * SW_PAIRS; i++) {
		n->p[i / SW_PAIRS].at = i % SW_PAIRS;
		sw_rx_post(&n->p[i / SW_PAIRS], count, SW_BUF);
	}
}

static uint64_t sum(struct sw_net *n, const char *key)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < SW_PORTS; i++)
		all += sw_show(&n->p[i], key);
	return all;
}

/* What devices took from the switch and lost: no pair of theirs had a loop just then. */
static uint64_t dropped(struct sw_net *n)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < SW_PORTS * SW_PAIRS; i++)
		all += sg_stat(&n->p[i / SW_PAIRS].g, i % SW_PAIRS * 2, "rx drops");
	return all;
}

static void assert_idle(struct sw_net *n)
{
	for (unsigned i = 0; i < SW_PORTS * SW_PAIRS; i++) {
		n->p[i / SW_PAIRS].at = i % SW_PAIRS;
		assert_true(sw_tx_idle(&n->p[i / SW_PAIRS]));
	}
}

/* ---- tests ---- */

/* What is sent while the receiver has buffers arrives: once, in order, byte for byte. */
static void test_data(void **state)
{
	uint64_t total = rounds(3000);
	struct flows fl;
	struct sw_net n;

	flows_init(&fl, total);
	sw_open(&n, WORKERS(state), plain);
	post_all(&n, SW_NUM);
	while (fl.got_all < total) {
		bool may = fl.sent_all < total && fl.sent_all - fl.got_all < ON_THE_WAY;

		if (!may || !send_one(&n, &fl))
			sg_run(&n.p[0].g, SG_SECOND / 10000);
		take_all(&n, &fl);
	}
	assert_idle(&n);
	sw_close(&n);
	flows_free(&fl);
}

/* Some worker for the queues of some pairs of a port: of all of them, too, so that none receives.
 */
static void move(struct sw_net *n, unsigned seed)
{
	struct sw_port *p = &n->p[seed % SW_PORTS];
	unsigned some = (seed >> 16 & 3) | 1u << (seed >> 18 & 1);

	for (unsigned i = 0; i < SW_PAIRS; i++) {
		struct vdpa_cpumask mask = {.bits = {1ull << (seed >> (8 + i) & 31)}};

		if (some >> i & 1)
			assert_int_equal(vdpa_set_vq_affinity(p->g.dev, (uint16_t)(2 * i), &mask),
					 0);
	}
}

/*
 * Queues go from worker to worker. A packet may be lost on the way, as on a cable that is pulled;
 * then it is counted, and its sender has its memory back.
 */
static void test_moved(void **state)
{
	uint64_t total = rounds(3000), counted = 0;
	struct flows fl;
	unsigned seed = 1;
	struct sw_net n;

	flows_init(&fl, total);
	sw_open(&n, WORKERS(state), plain);
	post_all(&n, SW_NUM);
	while (fl.sent_all < total) {
		if (fl.sent_all % 50 == 0)
			move(&n, (seed = seed * 1103515245 + 12345) >> 4);
		/* Nobody can tell from outside what is on its way. */
		if (fl.sent_all % ON_THE_WAY == 0)
			sg_run(&n.p[0].g, SG_SECOND / 2000);
		if (!send_one(&n, &fl))
			sg_run(&n.p[0].g, SG_SECOND / 10000);
		take_all(&n, &fl);
	}
	assert_idle(&n);
	for (unsigned i = 0; i < SG_TRIES && counted < total; i++) {
		sg_run(&n.p[0].g, SG_SECOND / 1000);
		take_all(&n, &fl);
		counted = fl.got_all + dropped(&n) + sum(&n, "port_tx_dropped") +
			  sum(&n, "port_rx_lost");
	}
	assert_int_equal(counted, total);
	assert_true(fl.got_all > 0);
	assert_int_equal(sum(&n, "port_rx_packets"), total);
	assert_int_equal(sum(&n, "port_tx_packets"), fl.got_all + dropped(&n));
	sw_close(&n);
	flows_free(&fl);
}

static void restart(struct sw_net *n, unsigned i, bool remove)
{
	struct sw_port *p = &n->p[i];

	if (!remove) {
		sg_reset(&p->g);
		sw_start(p, NG_FEATURES);
		return;
	}
	sg_leave(&p->g);
	p->g.ctx = NULL;
	/* The context is shared: whose does not matter. */
	sg_join(&p->g, &n->p[(i + 1) % SW_PORTS].g);
	sw_add(n, i, plain, NG_FEATURES);
}

/* Ports come and go, and are reset, while others send to them. */
static void test_churn(void **state)
{
	struct sw_net n;
	uint32_t len;

	sw_open(&n, WORKERS(state), plain);
	for (unsigned r = 0; r < rounds(40); r++) {
		post_all(&n, r % 4 * 8);
		for (unsigned k = 0; k < 90 * SW_PAIRS; k++) {
			unsigned from = k % SW_PORTS;

			n.p[from].at = k / SW_PORTS % SW_PAIRS;
			if (sw_tx_slot(&n.p[from]))
				sw_send_to(&n, from, k % 7 ? (from + 1) % SW_PORTS + 1 : 0, k);
		}
		restart(&n, r % SW_PORTS, r % 2);
		for (unsigned i = 0; i < SW_PORTS * SW_PAIRS; i++) {
			n.p[i / SW_PAIRS].at = i % SW_PAIRS;
			while (sw_rx(&n.p[i / SW_PAIRS], &len, 0))
				;
		}
	}
	assert_idle(&n);
	sw_close(&n);
}

#define ON(workers) (void *)(uintptr_t)(workers)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_data, ON(0)),
		cmocka_unit_test_prestate(test_data, ON(2)),
		cmocka_unit_test_prestate(test_data, ON(3)),
		cmocka_unit_test_prestate(test_moved, ON(2)),
		cmocka_unit_test_prestate(test_moved, ON(5)),
		cmocka_unit_test_prestate(test_churn, ON(0)),
		cmocka_unit_test_prestate(test_churn, ON(3)),
	};

	return cmocka_run_group_tests_name("net_switch_load", tests, NULL, NULL);
}
