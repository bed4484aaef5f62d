// SPDX-License-Identifier: BSD-3-Clause
/* NICs on a switch, on one loop and on several: who gets what, and who waits for whom. */
#include <semaphore.h>
#include "base/list.h"
#include "switch_guest.h"

static const struct vdpa_attr plain[] = {{"backend", "switch"}, {"switch", "br0"}, {0}};

#define WORKERS(state) ((unsigned)(uintptr_t) * (state))

static void expect(struct sw_port *p, uint32_t seq)
{
	uint32_t len = 0, got;
	uint8_t *f = sw_rx(p, &len, SG_PATIENCE);

	assert_non_null(f);
	assert_int_equal(len, 72);
	memcpy(&got, f + 26, sizeof(got));
	assert_int_equal(got, seq);
	sw_rx_post(p, 1, SW_BUF);
}

static void expect_nothing(struct sw_port *p)
{
	uint32_t len;

	assert_null(sw_rx(p, &len, SG_SECOND / 50));
}

static void test_unicast_and_flood(void **state)
{
	uint8_t station[6], other[6];
	struct sw_net n;

	sw_open(&n, WORKERS(state), plain);
	for (unsigned i = 0; i < SW_PORTS; i++)
		sw_rx_post(&n.p[i], 8, SW_BUF);
	/* To all but the sender. */
	sw_send_to(&n, 0, 0, 1);
	expect(&n.p[1], 1);
	expect(&n.p[2], 1);
	/* The address that the device was given. */
	sw_send_to(&n, 0, 3, 2);
	expect(&n.p[2], 2);
	expect_nothing(&n.p[1]);
	/* One that nobody has seen, until it sends. */
	sw_mac(station, 77);
	sw_mac(other, 1);
	sw_send(&n.p[0], station, other, 3);
	expect(&n.p[1], 3);
	expect(&n.p[2], 3);
	sw_send(&n.p[1], other, station, 4);
	expect(&n.p[0], 4);
	sw_send(&n.p[0], station, other, 5);
	expect(&n.p[1], 5);
	expect_nothing(&n.p[2]);
	/* It is behind the port that it sends from: no reflection. */
	sw_send(&n.p[1], station, station, 6);
	expect_nothing(&n.p[0]);
	expect_nothing(&n.p[1]);
	/* And it moves. */
	sw_send(&n.p[2], other, station, 7);
	expect(&n.p[0], 7);
	sw_send(&n.p[0], station, other, 8);
	expect(&n.p[2], 8);
	assert_int_equal(sw_show(&n.p[2], "port_moved"), 1);
	assert_int_equal(sw_show(&n.p[0], "port_flooded"), 2);
	assert_true(sw_tx_idle(&n.p[0]));
	sw_close(&n);
}

/* An address given by configuration cannot be taken over by sending from it. */
static void test_spoof(void **state)
{
	uint8_t victim[6], all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct sw_net n;

	sw_open(&n, WORKERS(state), plain);
	for (unsigned i = 0; i < SW_PORTS; i++)
		sw_rx_post(&n.p[i], 8, SW_BUF);
	sw_mac(victim, 3);
	sw_send(&n.p[1], all, victim, 1);
	expect(&n.p[0], 1);
	expect(&n.p[2], 1);
	sw_send_to(&n, 0, 3, 2);
	expect(&n.p[2], 2);
	expect_nothing(&n.p[1]);
	sw_close(&n);
}

static void test_isolated(void **state)
{
	const struct vdpa_attr isolated[] = {
		{"backend", "switch"}, {"switch", "br0"}, {"isolated", "on"}, {0}};
	struct sw_net n;

	memset(&n, 0, sizeof(n));
	sg_open(&n.p[0].g, WORKERS(state));
	sg_join(&n.p[1].g, &n.p[0].g);
	sg_join(&n.p[2].g, &n.p[0].g);
	sw_add(&n, 0, plain, NG_FEATURES);
	sw_add(&n, 1, isolated, NG_FEATURES);
	sw_add(&n, 2, isolated, NG_FEATURES);
	sg_turn(&n.p[0].g);
	for (unsigned i = 0; i < SW_PORTS; i++)
		sw_rx_post(&n.p[i], 8, SW_BUF);
	sw_send_to(&n, 1, 0, 1);
	expect(&n.p[0], 1);
	sw_send_to(&n, 1, 3, 2);
	expect_nothing(&n.p[2]);
	sw_send_to(&n, 0, 3, 3);
	expect(&n.p[2], 3);
	sw_close(&n);
}

/* A receiver without buffers costs its own packets, and nobody anything else. */
static void test_stuck_receiver(void **state)
{
	uint8_t *f = NULL;
	struct sw_net n;
	uint32_t len;

	sw_open(&n, WORKERS(state), plain);
	sw_rx_post(&n.p[2], 32, SW_BUF);
	for (unsigned i = 0; i < 300; i++)
		sw_send_to(&n, 0, 2, i);
	for (unsigned i = 0; i < 20; i++)
		sw_send_to(&n, 0, 3, i);
	for (unsigned i = 0; i < 20; i++)
		expect(&n.p[2], i);
	assert_true(sw_tx_idle(&n.p[0]));
	assert_int_equal(sw_show(&n.p[1], "port_tx_packets"), 0);
	assert_int_equal(sw_show(&n.p[1], "port_tx_dropped") + sw_show(&n.p[0], "port_rx_lost"),
			 300);
	/* It has buffers again; until its loop has noticed, packets are lost as before. */
	sw_rx_post(&n.p[1], 8, SW_BUF);
	for (unsigned i = 0; i < SG_TRIES && !f; i++) {
		sw_send_to(&n, 0, 2, 1000);
		f = sw_rx(&n.p[1], &len, SG_SECOND / 100);
	}
	assert_non_null(f);
	assert_int_equal(len, 72);
	sw_close(&n);
}

/* Within the wait nothing is lost. */
static void test_late_buffers(void **state)
{
	struct sw_net n;
	uint32_t len;
	unsigned got = 0;

	sw_open(&n, WORKERS(state), plain);
	/* Each time: three are sent, two buffers are there, and the third comes after the packets.
	 */
	for (unsigned i = 0; i < 50; i++) {
		sw_rx_post(&n.p[1], 2, SW_BUF);
		sg_run(&n.p[1].g, SG_MOMENT); /* its loop has noticed */
		for (unsigned k = 0; k < 3; k++)
			sw_send_to(&n, 0, 2, i * 3 + k);
		sw_rx_post(&n.p[1], 1, SW_BUF);
		while (sw_rx(&n.p[1], &len, SG_SECOND / 200))
			got++;
		assert_true(sw_tx_idle(&n.p[0]));
	}
	/* What a worker that had to wait for a processor delivered later, has come by now. */
	while (sw_rx(&n.p[1], &len, SG_SECOND / 200))
		got++;
	assert_int_equal(
		got + sw_show(&n.p[1], "port_tx_dropped") + sw_show(&n.p[0], "port_rx_lost"), 150);
	assert_true(got >= 100);
	sw_close(&n);
}

/* ---- a loop that hangs ---- */

struct hang {
	struct vdpa_loop_msg msg;
	sem_t in, out;
};

static void hang_msg(struct vdpa_loop_msg *msg)
{
	struct hang *hang = vdpa_container_of(msg, struct hang, msg);

	sem_post(&hang->in);
	sem_wait(&hang->out);
}

static void hang_loop(struct hang *hang, struct sw_port *p)
{
	struct vdpa_soft *soft = vdpa_to_soft(p->g.dev);

	sem_init(&hang->in, 0, 0);
	sem_init(&hang->out, 0, 0);
	vdpa_loop_post(vdpa_soft_vq_loop(vdpa_soft_get_vq(soft, 0)), &hang->msg, hang_msg);
	sem_wait(&hang->in);
}

static void send_into_hang(struct sw_net *n, struct hang *hang)
{
	sw_open(n, SW_PORTS, plain);
	sw_rx_post(&n->p[1], 32, SW_BUF);
	hang_loop(hang, &n->p[1]);
	for (unsigned i = 0; i < 10; i++)
		sw_send_to(n, 0, 2, i);
	/* They are taken, and held. */
	for (unsigned i = 0; i < SG_TRIES && sw_show(&n->p[0], "port_rx_packets") < 10; i++)
		sg_run(&n->p[0].g, SG_SECOND / 1000);
	assert_int_equal(sw_show(&n->p[0], "port_rx_packets"), 10);
	sw_tx_slot(&n->p[0]);
	assert_int_equal(__builtin_popcountll(~n->p[0].tx_free[0]), 10);
}

static void end_hang(struct sw_net *n, struct hang *hang)
{
	uint32_t len;

	sem_post(&hang->out);
	/* Nothing of what was taken back is delivered. */
	assert_null(sw_rx(&n->p[1], &len, SG_SECOND / 20));
	assert_int_equal(sw_show(&n->p[1], "port_tx_packets"), 0);
	assert_int_equal(sw_show(&n->p[0], "port_rx_lost"), 10);
	sw_close(n);
}

/* A sender's reset waits for nobody. */
static void test_reset_sender(void **state)
{
	struct hang hang;
	struct sw_net n;

	send_into_hang(&n, &hang);
	sg_reset(&n.p[0].g);
	end_hang(&n, &hang);
}

/* Nor does the removal of its memory. */
static void test_unmap_sender(void **state)
{
	struct sg_wait wait = {0};
	struct vdpa_done done = sg_done(&wait);
	struct hang hang;
	struct sw_net n;

	send_into_hang(&n, &hang);
	assert_int_equal(vdpa_dma_unmap(n.p[0].g.dev, 0, SG_IOVA, SG_BYTES, &done), 0);
	assert_int_equal(sg_wait(&n.p[0].g, &wait), 0);
	end_hang(&n, &hang);
}

/* Nor that of a queue that is being stopped, which ends although it has lost its ring. */
static void test_unmap_stopping(void **state)
{
	struct sg_wait stop = {0}, unmap = {0};
	struct vdpa_done stop_done = sg_done(&stop), unmap_done = sg_done(&unmap);
	struct hang hang, pass;
	struct sw_net n;

	send_into_hang(&n, &hang);
	assert_int_equal(vdpa_stop_vq(n.p[0].g.dev, 1, &stop_done), 0);
	hang_loop(&pass, &n.p[0]);
	sem_post(&pass.out);
	assert_int_equal(
		vdpa_dma_unmap(n.p[0].g.dev, 0, SG_IOVA + SG_DATA, SG_BYTES - SG_DATA, &unmap_done),
		0);
	assert_int_equal(sg_wait(&n.p[0].g, &unmap), 0);
	assert_int_equal(sg_wait(&n.p[0].g, &stop), 0);
	end_hang(&n, &hang);
}

/*
 * What the sender writes into a packet that is out already, the receiver may see; but it goes where
 * it was to go, as long as it was, behind the header that was checked.
 */
static void test_changed_while_held(void **state)
{
	struct hang hang, pass;
	struct sw_net n;
	uint32_t len = 0;
	uint8_t *f;

	send_into_hang(&n, &hang);
	/* The sender's loop has looked at them. */
	hang_loop(&pass, &n.p[0]);
	sem_post(&pass.out);
	for (unsigned slot = 0; slot < 10; slot++) {
		f = n.p[0].g.mem + SW_TX + slot * SW_BUF;
		f[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		f[1] = VIRTIO_NET_HDR_GSO_TCPV4;
		memset(f + 2, 0xff, 10);
		sw_mac(f + 12, 3);
		sw_mac(f + 18, 3);
	}
	sem_post(&hang.out);
	for (unsigned i = 0; i < 10; i++) {
		static const uint8_t plain_header[12] = {[10] = 1};

		f = sw_rx(&n.p[1], &len, SG_PATIENCE);
		assert_non_null(f);
		assert_int_equal(len, 72);
		assert_memory_equal(f, plain_header, 12);
		assert_int_equal(f[17], 3);
	}
	assert_true(sw_tx_idle(&n.p[0]));
	assert_int_equal(sw_show(&n.p[2], "port_tx_packets"), 0);
	assert_int_equal(sw_show(&n.p[0], "port_moved"), 0);
	sw_close(&n);
}

/* ---- segments ---- */

/* A large TCP packet from port 0 to port 1, whose driver takes none: three segments. */
static void send_large(struct sw_net *n)
{
	uint8_t *f = sw_tx_slot(&n->p[0]), *ip = f + 26, *tcp = ip + 20;

	memset(f, 0, 12 + 54 + 1500);
	f[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	f[4] = 500 & 0xff; /* gso_size */
	f[5] = 500 >> 8;
	f[6] = 34; /* csum_start */
	f[8] = 16;
	sw_mac(f + 12, 2);
	sw_mac(f + 18, 1);
	f[24] = 0x08;
	ip[0] = 0x45;
	ip[2] = (40 + 1500) >> 8;
	ip[3] = (40 + 1500) & 0xff;
	ip[9] = 6;
	tcp[12] = 5 << 4;
	sw_tx_post(&n->p[0], 54 + 1500);
}

static void check_segment(const uint8_t *f, uint32_t len, unsigned i)
{
	assert_int_equal(len, 12 + 54 + 500);
	/* TCP's sequence number */
	assert_int_equal(f[12 + 34 + 6] << 8 | f[12 + 34 + 7], i * 500);
}

static void expect_segment(struct sw_net *n, unsigned i)
{
	uint32_t len = 0;
	uint8_t *f = sw_rx(&n->p[1], &len, SG_PATIENCE);

	assert_non_null(f);
	check_segment(f, len, i);
}

/* A receiver that takes a part of it gets the rest later, or another packet whole. */
static void test_segments(void **state)
{
	const uint64_t tso = NG_FEATURES | NG_CSUM | VDPA_BIT(VIRTIO_NET_F_HOST_TSO4);
	uint8_t *f = NULL;
	struct sw_net n;
	uint32_t len;

	memset(&n, 0, sizeof(n));
	sg_open(&n.p[0].g, WORKERS(state));
	sg_join(&n.p[1].g, &n.p[0].g);
	sg_join(&n.p[2].g, &n.p[0].g);
	sw_add(&n, 0, plain, tso);
	sw_add(&n, 1, plain, NG_FEATURES);
	sw_add(&n, 2, plain, NG_FEATURES);
	sg_turn(&n.p[0].g);
	sw_rx_post(&n.p[1], 3, SW_BUF);
	send_large(&n);
	for (unsigned i = 0; i < 3; i++)
		expect_segment(&n, i);
	/* Two buffers: two segments, and the third is lost with the wait. */
	sw_rx_post(&n.p[1], 2, SW_BUF);
	send_large(&n);
	expect_segment(&n, 0);
	expect_segment(&n, 1);
	assert_true(sw_tx_idle(&n.p[0]));
	sg_run(&n.p[0].g, SG_SECOND / 20);
	sw_rx_post(&n.p[1], 3, SW_BUF);
	sg_run(&n.p[0].g, SG_SECOND / 20);
	assert_null(sw_rx(&n.p[1], &len, 0));
	/* Until its loop has noticed the buffers, packets are lost whole. */
	for (unsigned i = 0; i < SG_TRIES && !f; i++) {
		send_large(&n);
		f = sw_rx(&n.p[1], &len, SG_SECOND / 100);
	}
	assert_non_null(f);
	check_segment(f, len, 0);
	expect_segment(&n, 1);
	expect_segment(&n, 2);
	sw_close(&n);
}

/* Ever new addresses fill their port's share of the table, and displace nobody. */
static void test_mac_flood(void **state)
{
	const struct vdpa_attr few[] = {
		{"backend", "switch"}, {"switch", "br0"}, {"fdb_max_learned", "100"}, {0}};
	uint8_t station[6], own[6], dst[6], src[6];
	struct sw_net n;

	sw_open(&n, WORKERS(state), few);
	for (unsigned i = 0; i < SW_PORTS; i++)
		sw_rx_post(&n.p[i], 8, SW_BUF);
	sw_mac(station, 0x7777);
	sw_mac(own, 1);
	sw_send(&n.p[1], own, station, 1);
	expect(&n.p[0], 1);
	sw_mac(dst, 3);
	for (unsigned i = 0; i < 5000; i++) {
		sw_mac(src, 0x1000 + i);
		sw_send(&n.p[2], dst, src, i);
	}
	assert_true(sw_tx_idle(&n.p[2]));
	assert_true(sw_show(&n.p[2], "fdb_learned") <= 100);
	assert_true(sw_show(&n.p[2], "fdb_learned") >= 50);
	sw_send(&n.p[0], station, own, 2);
	expect(&n.p[1], 2);
	expect_nothing(&n.p[2]);
	sw_close(&n);
}

static void test_attributes(void **state)
{
	const struct vdpa_attr none[] = {{"backend", "switch"}, {0}};
	const struct vdpa_attr longer[] = {
		{"backend", "switch"}, {"switch", "a-name-of-more-than-31-characters"}, {0}};
	const struct vdpa_attr aging[] = {
		{"backend", "switch"}, {"switch", "br0"}, {"aging", "10"}, {0}};
	const struct vdpa_attr later[] = {
		{"backend", "switch"}, {"switch", "br0"}, {"aging", "20"}, {0}};
	struct vdpa_dev_set_config config = {.attrs = none};
	struct vdpa_error err = {.msg = ""};
	struct soft_guest g;

	sg_open(&g, 0);
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), -EINVAL);
	config.attrs = longer;
	assert_int_equal(sg_try_add(&g, "soft_net", "d0", &config, &err), -EINVAL);
	sg_add(&g, "soft_net", aging);
	config.attrs = later;
	assert_int_equal(sg_try_add(&g, "soft_net", "d1", &config, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "aging"));
	/* The last port ends the switch: the next one makes another. */
	sg_del(&g);
	sg_add(&g, "soft_net", later);
	sg_close(&g);
}

#define ON(workers) (void *)(uintptr_t)(workers)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_unicast_and_flood, ON(0)),
		cmocka_unit_test_prestate(test_unicast_and_flood, ON(3)),
		cmocka_unit_test_prestate(test_spoof, ON(3)),
		cmocka_unit_test_prestate(test_isolated, ON(0)),
		cmocka_unit_test_prestate(test_isolated, ON(3)),
		cmocka_unit_test_prestate(test_stuck_receiver, ON(0)),
		cmocka_unit_test_prestate(test_stuck_receiver, ON(3)),
		cmocka_unit_test_prestate(test_late_buffers, ON(0)),
		cmocka_unit_test_prestate(test_late_buffers, ON(3)),
		cmocka_unit_test(test_reset_sender),
		cmocka_unit_test(test_unmap_sender),
		cmocka_unit_test(test_unmap_stopping),
		cmocka_unit_test(test_changed_while_held),
		cmocka_unit_test_prestate(test_segments, ON(0)),
		cmocka_unit_test_prestate(test_segments, ON(3)),
		cmocka_unit_test_prestate(test_mac_flood, ON(0)),
		cmocka_unit_test_prestate(test_mac_flood, ON(3)),
		cmocka_unit_test(test_attributes),
	};

	return cmocka_run_group_tests_name("net_switch", tests, NULL, NULL);
}
