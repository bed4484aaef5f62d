// SPDX-License-Identifier: BSD-3-Clause
/* The NIC's cable that ends nowhere: it takes everything, and makes up packets while they are
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <uvdpa/backend.h>
#include <uvdpa/loop.h>

struct guest {
	struct vdpa_loop_group *group;
	struct vdpa_loop *loop;
	struct net_backend *be;
	struct net_port *port;
	unsigned room; /* buffers left */
	unsigned got, calls;
	uint64_t bytes;
};

static unsigned deliver(void *arg, const struct net_packet *pkts, unsigned n)
{
	struct guest *g = arg;
	unsigned taken = n < g->room ? n : g->room;

	assert_in_range(n, 1, NET_PACKETS_MAX);
	for (unsigned i = 0; i < taken; i++) {
		const uint8_t *p = pkts[i].iov[0].iov_base;
		static const uint8_t zeroes[NET_HDR_BYTES];

		assert_int_equal(pkts[i].niov, 1);
		assert_int_equal(pkts[i].iov[0].iov_len, pkts[i].len_bytes);
		assert_memory_equal(p, zeroes, NET_HDR_BYTES);
		assert_int_equal(p[NET_HDR_BYTES + 12] << 8 | p[NET_HDR_BYTES + 13], 0x88b5);
		g->bytes += pkts[i].len_bytes;
	}
	g->room -= taken;
	g->got += taken;
	g->calls++;
	return taken;
}

static void never_writable(void *arg)
{
	(void)arg;
	fail_msg("it takes everything: nobody waits");
}

static void guest_new(struct guest *g, const char *generate, unsigned room)
{
	struct vdpa_attr attrs[] = {{"generate", generate}, {0}};
	struct backend_open_params params = {
		.size = sizeof(params), .name = "n0", .attrs = generate ? attrs : attrs + 1};
	struct net_port_config config = {
		.size = sizeof(config),
		.deliver = deliver,
		.writable = never_writable,
		.arg = g,
	};

	*g = (struct guest){.room = room};
	assert_int_equal(vdpa_loop_group_new(0, &g->group), 0);
	g->loop = config.loop = vdpa_loop_group_control(g->group);
	assert_int_equal(net_backend_open("null", &params, &g->be, NULL), 0);
	assert_int_equal(g->be->ops->port_open(g->be, &config, &g->port), 0);
}

static void guest_free(struct guest *g)
{
	g->be->ops->port_close(g->port);
	g->be->ops->close(g->be);
	vdpa_loop_group_free(g->group);
}

static void turns(struct guest *g, unsigned n)
{
	while (n--)
		assert_true(vdpa_loop_run_once(g->loop, 0) >= 0);
}

static void test_takes_everything(void **state)
{
	struct iovec iov = {"0123456789ab0123456789abcd", 26};
	struct net_packet pkts[2] = {{&iov, 1, 26, NULL}, {&iov, 1, 26, NULL}};
	struct guest g;

	guest_new(&g, NULL, 100);
	assert_int_equal(g.be->ops->send(g.port, pkts, 2), 2);
	g.be->ops->resume(g.port);
	turns(&g, 5);
	assert_int_equal(g.calls, 0);
	guest_free(&g);
}

/* As many as there is room for; then it is silent, and the loop can sleep, until there is more. */
static void test_generates_while_there_is_room(void **state)
{
	struct guest g;
	unsigned calls;

	guest_new(&g, "60", 1000);
	turns(&g, 100);
	assert_int_equal(g.got, 1000);
	assert_int_equal(g.bytes, 1000 * (60 + NET_HDR_BYTES));
	calls = g.calls;
	turns(&g, 100);
	assert_int_equal(g.calls, calls);
	g.room = 5;
	g.be->ops->resume(g.port);
	g.be->ops->resume(g.port);
	turns(&g, 100);
	assert_int_equal(g.got, 1005);
	guest_free(&g);
}

/* A guest that takes without end does not keep the loop from others. */
static void test_leaves_the_loop_to_others(void **state)
{
	struct guest g;

	guest_new(&g, "1500", UINT32_MAX);
	turns(&g, 1);
	assert_in_range(g.got, 1, 1000);
	turns(&g, 9);
	assert_in_range(g.got, 10, 10000);
	guest_free(&g);
}

static void test_refuses_sizes(void **state)
{
	static const char *const bad[] = {"0", "13", "65536", "many"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vdpa_attr attrs[] = {{"generate", bad[i]}, {0}};
		struct backend_open_params params = {
			.size = sizeof(params), .name = "n0", .attrs = attrs};
		struct vdpa_error err = {0};
		struct net_backend *be;

		assert_true(net_backend_open("null", &params, &be, &err) < 0);
		assert_non_null(strstr(err.msg, "generate"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_everything),
		cmocka_unit_test(test_generates_while_there_is_room),
		cmocka_unit_test(test_leaves_the_loop_to_others),
		cmocka_unit_test(test_refuses_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
