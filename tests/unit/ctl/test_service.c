// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "ctl/service.h"

static void set_listen(const char *pid, const char *n)
{
	char own[16];

	snprintf(own, sizeof(own), "%d", (int)getpid());
	setenv("LISTEN_PID", pid ? pid : own, 1);
	setenv("LISTEN_FDS", n, 1);
}

static void test_listen_fds(void **state)
{
	static const char *const bad[] = {"0", "-1", "x", "1x", "", "65", "99999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_listen(NULL, bad[i]);
		assert_int_equal(ctl_listen_fds(), 0);
		assert_null(getenv("LISTEN_FDS"));
	}
	set_listen("1", "1");
	assert_int_equal(ctl_listen_fds(), 0);
	if (fcntl(3, F_GETFD) < 0)
		assert_int_equal(dup2(1, 3), 3);
	set_listen(NULL, "1");
	assert_int_equal(ctl_listen_fds(), 1);
	assert_true(fcntl(3, F_GETFD) & FD_CLOEXEC);
	assert_null(getenv("LISTEN_PID"));
}

static void test_notify_refused(void **state)
{
	char longest[300];

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(ctl_notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(ctl_notify("READY=1"), -EINVAL);
	memset(longest, '/', sizeof(longest));
	longest[299] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	assert_int_equal(ctl_notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/x", 1);
	assert_int_equal(ctl_notify("READY=1"), -ENOENT);
	unsetenv("NOTIFY_SOCKET");
}

static void test_ready(void **state)
{
	char c = 0;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	ctl_ready_fd(fds[1]);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(c, '\n');
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
	ctl_ready_fd(-1);
}

static void test_check_socket(void **state)
{
	bool listening = true;
	int fds[2], dgram = socket(AF_UNIX, SOCK_DGRAM, 0), inet = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(ctl_check_socket(fds[0], &listening, NULL), 0);
	assert_false(listening);
	assert_int_equal(ctl_check_socket(dgram, &listening, NULL), -EINVAL);
	assert_int_equal(ctl_check_socket(-1, &listening, NULL), -EINVAL);
	if (inet >= 0)
		assert_int_equal(ctl_check_socket(inet, &listening, NULL), -EINVAL);
	close(inet);
	close(dgram);
	close(fds[0]);
	close(fds[1]);
}

static void test_parse_fd(void **state)
{
	static const char *const bad[] = {"", "x", "-1", "1x", "99999999999999999999", "4000", " "};

	assert_int_equal(ctl_parse_fd("0", "--fd", NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ctl_parse_fd(bad[i], "--fd", NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_fds), cmocka_unit_test(test_notify_refused),
		cmocka_unit_test(test_ready),	   cmocka_unit_test(test_check_socket),
		cmocka_unit_test(test_parse_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
