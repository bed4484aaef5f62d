// SPDX-License-Identifier: BSD-3-Clause
/* The n-th allocation fails, for every n, while clients come, ask, listen and go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "alloc_fail.h"
#include "daemon.h"
#include "rpc.h"
#include "server.h"
#include "../open_fds.h"

static struct vdpa_loop_group *group;
static struct vdpa_loop *loop;
static const struct vdpa_log no_log = {.level = VDPA_LOG_ERR};

/* Of the program, which is not here. */
void daemon_quit(struct daemon *d)
{
}

static int setup(void **state)
{
	int ret = vdpa_loop_group_new(0, &group);

	if (!ret)
		loop = vdpa_loop_group_control(group);
	return ret;
}

static int teardown(void **state)
{
	vdpa_loop_group_free(group);
	return 0;
}

/* Answers each line with itself, and has every client listen to events. */
static void echo(void *arg, struct conn *conn, char *line, size_t len)
{
	conn_hold(conn);
	conn_subscribe(conn);
	conn_send(conn, line, len);
	conn_release(conn);
}

static int new_server(struct server **s)
{
	const struct server_params params = {
		.loop = loop,
		.log = &no_log,
		.max_clients = 4,
		.allow_uid = (uid_t)-1,
		.allow_gid = (gid_t)-1,
		.line = echo,
	};

	return server_new(&params, s);
}

static void settle(void)
{
	for (int i = 0; i < 8; i++)
		vdpa_loop_run_once(loop, 0);
}

static void test_new(void **state)
{
	unsigned fds = open_fds(), failed = 0;

	for (alloc_fail_begin(); alloc_fail_more();) {
		struct server *s = NULL;
		int ret = new_server(&s);

		alloc_fail_off();
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_null(s);
			failed++;
		} else {
			assert_non_null(s);
			server_free(s);
		}
		assert_int_equal(open_fds(), fds);
	}
	assert_true(failed > 0);
}

/* All of the answers, or the end of the connection: nothing in between. True: the answers. */
static bool served(int fd, const struct server *s)
{
	static const char want[] = "hello\nevent\n";
	char got[64];
	struct server_stats stats;
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	server_get_stats(s, &stats);
	assert_int_equal(stats.clients, n == sizeof(want) - 1);
	if (stats.clients)
		assert_memory_equal(got, want, sizeof(want) - 1);
	else if (n > 0)
		assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 0);
	else
		assert_true(n == 0 || errno == ECONNRESET);
	return stats.clients;
}

static void test_adopt(void **state)
{
	unsigned fds = open_fds(), rounds = 0;
	bool ok = false;

	for (alloc_fail_begin(); alloc_fail_more(); rounds++) {
		struct server *s;
		int pair[2], ret;
		long armed = alloc_fail_countdown;

		alloc_fail_off();
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		assert_int_equal(send(pair[1], "hello\n", 6, 0), 6);
		assert_int_equal(new_server(&s), 0);
		alloc_fail_countdown = armed;
		ret = server_adopt(s, pair[0]);
		settle();
		server_broadcast(s, "event", 5);
		settle();
		alloc_fail_off();
		assert_true(!ret || ret == -ENOMEM);
		ok = served(pair[1], s);
		assert_true(ok != alloc_fail_hit);
		server_free(s);
		close(pair[1]);
		assert_int_equal(open_fds(), fds);
	}
	assert_true(ok && rounds > 2);
}

static int listener(struct sockaddr_un *addr, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	*len = sizeof(*addr);
	assert_true(fd >= 0);
	/* An address without a name in any folder: the kernel chooses one. */
	assert_int_equal(bind(fd, (struct sockaddr *)addr, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)addr, len), 0);
	return fd;
}

static void test_listen(void **state)
{
	unsigned fds = open_fds();
	bool ok = false;

	for (alloc_fail_begin(); alloc_fail_more();) {
		long armed = alloc_fail_countdown;
		struct sockaddr_un addr;
		struct server *s;
		socklen_t len;
		int fd, client, ret;

		alloc_fail_off();
		fd = listener(&addr, &len);
		client = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(client, (struct sockaddr *)&addr, len), 0);
		assert_int_equal(send(client, "hello\n", 6, 0), 6);
		assert_int_equal(new_server(&s), 0);
		alloc_fail_countdown = armed;
		ret = server_listen(s, fd);
		settle();
		server_broadcast(s, "event", 5);
		settle();
		alloc_fail_off();
		if (!ret)
			ok = served(client, s);
		else
			assert_int_equal(ret, -ENOMEM);
		server_free(s);
		close(client);
		close(fd);
		assert_int_equal(open_fds(), fds);
	}
	assert_true(ok);
}

/* Nobody can be taken in, not even with the spare descriptor: the loop sleeps, and goes on later.
 */
static void test_no_descriptor(void **state)
{
	const int64_t second = 1000000000;
	unsigned fds = open_fds(), turns = 0;
	struct rlimit limit, none;
	struct server_stats stats;
	struct sockaddr_un addr;
	struct server *s;
	socklen_t len;
	int fd, client;

	fd = listener(&addr, &len);
	assert_int_equal(new_server(&s), 0);
	assert_int_equal(server_listen(s, fd), 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 1, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (turns < 100 && vdpa_loop_run_once(loop, 0))
		turns++;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(turns < 100);
	for (unsigned i = 0; i < 30; i++) {
		vdpa_loop_run_once(loop, second);
		server_get_stats(s, &stats);
		if (stats.clients)
			break;
	}
	assert_int_equal(stats.clients, 1);
	/* The listener, both ends, and the spare one. */
	assert_int_equal(open_fds(), fds + 4);
	server_free(s);
	close(client);
	close(fd);
	assert_int_equal(open_fds(), fds);
}

static long pieces = -1; /* of memory that are left; -1: enough */

static void *few(size_t n)
{
	if (!pieces)
		return NULL;
	pieces -= pieces > 0;
	return malloc(n);
}

/* Memory is at its end, and stays so: who asked hears something, if only that it ends. */
static void test_answer_or_end(void **state)
{
	struct server_params params = {.loop = loop, .log = &no_log, .max_clients = 4};
	unsigned ends = 0, answers = 0;

	params.line = rpc_line;
	json_set_alloc_funcs(few, free);
	for (long n = 0; !answers || n < 40; n++) {
		struct server *s;
		char got[512];
		int pair[2];
		ssize_t bytes;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		assert_int_equal(server_new(&params, &s), 0);
		assert_int_equal(server_adopt(s, pair[0]), 0);
		assert_int_equal(send(pair[1], "hello\n", 6, 0), 6);
		pieces = n;
		settle();
		pieces = -1;
		bytes = recv(pair[1], got, sizeof(got), MSG_DONTWAIT);
		assert_true(bytes >= 0 || errno == ECONNRESET);
		ends += bytes <= 0;
		answers += bytes > 0;
		server_free(s);
		close(pair[1]);
	}
	json_set_alloc_funcs(malloc, free);
	assert_true(ends && answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),	      cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_listen),	      cmocka_unit_test(test_no_descriptor),
		cmocka_unit_test(test_answer_or_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
