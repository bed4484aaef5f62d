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
#include <sys/socket.h>
#include "ctl/frame.h"

static void expect_line(struct ctl_in *in, const char *want)
{
	char *line;
	size_t len;

	assert_true(ctl_in_line(in, &line, &len));
	assert_int_equal(len, strlen(want));
	assert_string_equal(line, want);
}

static void expect_none(struct ctl_in *in)
{
	char *line;
	size_t len;

	assert_false(ctl_in_line(in, &line, &len));
}

static void test_lines(void **state)
{
	struct ctl_in in;

	ctl_in_init(&in, 100);
	assert_int_equal(ctl_in_put(&in, "a\n\nbc", 5), 0);
	expect_line(&in, "a");
	expect_line(&in, "");
	expect_none(&in);
	assert_int_equal(ctl_in_put(&in, "d\ne", 3), 0);
	expect_line(&in, "bcd");
	expect_none(&in);
	ctl_in_fini(&in);
}

/* Every way to cut a text in two gives the same lines. */
static void test_cuts(void **state)
{
	static const char text[] = "one\ntwo\n\nthree\n";
	const size_t len = sizeof(text) - 1;

	for (size_t cut = 0; cut <= len; cut++) {
		struct ctl_in in;

		ctl_in_init(&in, 5);
		assert_int_equal(ctl_in_put(&in, text, cut), 0);
		assert_int_equal(ctl_in_put(&in, text + cut, len - cut), 0);
		expect_line(&in, "one");
		expect_line(&in, "two");
		expect_line(&in, "");
		expect_line(&in, "three");
		expect_none(&in);
		ctl_in_fini(&in);
	}
}

/* As long as allowed, and one more; also behind a line that was taken. */
static void test_longest(void **state)
{
	char text[64];

	memset(text, 'x', sizeof(text));
	for (size_t len = 0; len < 40; len++) {
		struct ctl_in in;
		int ret;

		ctl_in_init(&in, 20);
		assert_int_equal(ctl_in_put(&in, "y\n", 2), 0);
		expect_line(&in, "y");
		ret = ctl_in_put(&in, text, len);
		assert_int_equal(ret, len > 20 ? -EMSGSIZE : 0);
		if (!ret) {
			assert_int_equal(ctl_in_put(&in, "\n", 1), 0);
			assert_int_equal(in.used - in.start, len + 1);
		}
		ctl_in_fini(&in);
	}
}

/* What was taken is not kept: the buffer stays small however much passes through. */
static void test_bounded(void **state)
{
	struct ctl_in in;
	char text[1000];

	memset(text, 'x', sizeof(text));
	text[999] = '\n';
	ctl_in_init(&in, 1000);
	for (int i = 0; i < 10000; i++) {
		char *line;
		size_t len;

		assert_int_equal(ctl_in_put(&in, text, sizeof(text)), 0);
		assert_true(ctl_in_line(&in, &line, &len));
		assert_int_equal(len, 999);
	}
	assert_true(in.cap <= 8192);
	ctl_in_fini(&in);
}

/* A long line's memory goes back once the line is dealt with. */
static void test_shrinks(void **state)
{
	struct ctl_in in;
	char *big = malloc(1 << 20), *line;
	size_t len;

	memset(big, 'x', 1 << 20);
	big[(1 << 20) - 1] = '\n';
	ctl_in_init(&in, 1 << 20);
	assert_int_equal(ctl_in_put(&in, big, 1 << 20), 0);
	assert_true(ctl_in_line(&in, &line, &len));
	expect_none(&in);
	assert_int_equal(in.cap, 0);
	assert_int_equal(ctl_in_put(&in, "a\n", 2), 0);
	expect_line(&in, "a");
	ctl_in_fini(&in);
	free(big);
}

static void test_read(void **state)
{
	struct ctl_in in;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	ctl_in_init(&in, 10);
	assert_int_equal(write(fds[1], "ab\ncd", 5), 5);
	assert_int_equal(ctl_in_read(&in, fds[0]), 5);
	expect_line(&in, "ab");
	assert_int_equal(write(fds[1], "0123456789abc", 13), 13);
	assert_int_equal(ctl_in_read(&in, fds[0]), -EMSGSIZE);
	close(fds[1]);
	close(fds[0]);
	ctl_in_fini(&in);
	ctl_in_init(&in, 10);
	assert_int_equal(ctl_in_read(&in, fds[0]), -EBADF);
	ctl_in_fini(&in);
}

static void test_out(void **state)
{
	struct ctl_out out;
	char got[32] = "";
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ctl_out_init(&out, 10);
	assert_int_equal(ctl_out_line(&out, "abc", 3), 0);
	assert_int_equal(ctl_out_line(&out, "defgh", 5), 0);
	assert_int_equal(ctl_out_waiting(&out), 10);
	assert_int_equal(ctl_out_line(&out, "", 0), -ENOBUFS);
	assert_int_equal(ctl_out_waiting(&out), 10);
	assert_int_equal(ctl_out_write(&out, fds[0]), 0);
	assert_int_equal(ctl_out_waiting(&out), 0);
	assert_int_equal(read(fds[1], got, sizeof(got)), 10);
	assert_string_equal(got, "abc\ndefgh\n");
	assert_int_equal(ctl_out_line(&out, "0123456789", 10), -ENOBUFS);
	assert_int_equal(ctl_out_line(&out, "x", SIZE_MAX), -ENOBUFS);
	assert_int_equal(ctl_out_line(&out, "012345678", 9), 0);
	close(fds[1]);
	assert_int_equal(ctl_out_write(&out, fds[0]), -EPIPE);
	close(fds[0]);
	ctl_out_fini(&out);
}

/* A reader that stops: what does not fit waits, in order, and goes on. */
static void test_out_partial(void **state)
{
	struct ctl_out out;
	char line[1000], got[1 << 16];
	size_t sent = 0, seen = 0;
	int fds[2];
	ssize_t n;

	memset(line, 'x', sizeof(line));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ctl_out_init(&out, 1 << 20);
	while (!ctl_out_write(&out, fds[0])) {
		assert_int_equal(ctl_out_line(&out, line, sizeof(line)), 0);
		sent += sizeof(line) + 1;
	}
	assert_int_equal(ctl_out_write(&out, fds[0]), -EAGAIN);
	while (seen < sent) {
		n = read(fds[1], got, sizeof(got));
		if (n > 0)
			seen += (size_t)n;
		ctl_out_write(&out, fds[0]);
	}
	assert_int_equal(seen, sent);
	assert_int_equal(ctl_out_waiting(&out), 0);
	close(fds[0]);
	close(fds[1]);
	ctl_out_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),	cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_longest), cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_shrinks), cmocka_unit_test(test_read),
		cmocka_unit_test(test_out),	cmocka_unit_test(test_out_partial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
