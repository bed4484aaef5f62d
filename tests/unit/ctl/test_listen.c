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
#include <sys/stat.h>
#include <sys/un.h>
#include "ctl/listen.h"

static char dir[64], path[96], lock[104];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/uvdpa-listen-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(lock);
	return rmdir(dir);
}

static struct ctl_listen_params params(mode_t mode)
{
	return (struct ctl_listen_params){
		.path = path, .mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1};
}

static int open_it(struct ctl_listen *l, struct vdpa_error *err)
{
	struct ctl_listen_params p = params(0600);

	*l = (struct ctl_listen)CTL_LISTEN_INIT;
	return ctl_listen_open(l, &p, err);
}

static void test_open_close(void **state)
{
	struct ctl_listen l;
	struct stat st;

	assert_int_equal(open_it(&l, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	ctl_listen_close(&l);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(lock, F_OK), -1);
	ctl_listen_close(&l);
}

static void test_two(void **state)
{
	struct ctl_listen a, b;
	struct vdpa_error err = {0};

	assert_int_equal(open_it(&a, NULL), 0);
	assert_int_equal(open_it(&b, &err), -EADDRINUSE);
	assert_string_equal(err.object, path);
	assert_int_equal(b.fd, -1);
	/* The loser's cleaning up takes nothing away. */
	ctl_listen_close(&b);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(lock, F_OK), 0);
	ctl_listen_close(&a);
}

/* What a dead process leaves: socket and lock file, with nobody behind them. */
static void test_stale(void **state)
{
	struct ctl_listen a, b;

	assert_int_equal(open_it(&a, NULL), 0);
	close(a.fd);
	close(a.lock);
	free(a.path);
	assert_int_equal(open_it(&b, NULL), 0);
	ctl_listen_close(&b);
}

static void test_no_socket(void **state)
{
	struct ctl_listen l;
	struct vdpa_error err = {0};
	FILE *f = fopen(path, "w");

	fclose(f);
	assert_int_equal(open_it(&l, &err), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(lock, F_OK), -1);
}

static void test_bad_paths(void **state)
{
	struct ctl_listen l = CTL_LISTEN_INIT;
	struct ctl_listen_params p = params(0600);
	char longest[200];

	memset(longest, 'x', sizeof(longest));
	longest[199] = '\0';
	p.path = longest;
	assert_int_equal(ctl_listen_open(&l, &p, NULL), -ENAMETOOLONG);
	p.path = "";
	assert_int_equal(ctl_listen_open(&l, &p, NULL), -ENAMETOOLONG);
	p.path = "/nonexistent/x";
	assert_int_equal(ctl_listen_open(&l, &p, NULL), -ENOENT);
	assert_int_equal(l.fd, -1);
	assert_int_equal(l.lock, -1);
}

/* A lock that is a link to somebody's file is not followed. */
static void test_lock_is_a_link(void **state)
{
	struct ctl_listen l;

	assert_int_equal(symlink("/etc/passwd", lock), 0);
	assert_int_equal(open_it(&l, NULL), -ELOOP);
}

static void test_default_path(void **state)
{
	struct vdpa_error err = {0};
	char buf[256], tiny[4];

	setenv("UVDPA_SOCKET", "/a/b", 1);
	assert_int_equal(ctl_default_path(buf, sizeof(buf), &err), 0);
	assert_string_equal(buf, "/a/b");
	assert_int_equal(ctl_default_path(tiny, sizeof(tiny), &err), -ENAMETOOLONG);
	unsetenv("UVDPA_SOCKET");
	setenv("XDG_RUNTIME_DIR", dir, 1);
	assert_int_equal(ctl_default_path(buf, sizeof(buf), &err), 0);
	assert_non_null(strstr(buf, "/uvdpa/ctl.sock"));
	unsetenv("XDG_RUNTIME_DIR");
	if (geteuid())
		assert_int_equal(ctl_default_path(buf, sizeof(buf), &err), -ENOENT);
}

static void test_peer(void **state)
{
	int fds[2];
	pid_t pid;
	uid_t uid;
	gid_t gid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(ctl_peer(fds[0], &pid, &uid, &gid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, geteuid());
	assert_true(ctl_peer_in_group(fds[0], getegid()));
	assert_false(ctl_peer_in_group(fds[0], 54321));
	close(fds[0]);
	assert_int_not_equal(ctl_peer(fds[0], &pid, &uid, &gid), 0);
	assert_false(ctl_peer_in_group(fds[0], getegid()));
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock_is_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_default_path, setup, teardown),
		cmocka_unit_test(test_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
