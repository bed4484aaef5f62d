// SPDX-License-Identifier: BSD-3-Clause
/* Who is let in, who waits, and what a process without descriptors does. */
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
#include <unistd.h>
#include <cmocka.h>
#include "base/fd.h"
#include "base/list.h"
#include "base/listener.h"

uint64_t __real_vdpa_clock_ns(void);
uint64_t __wrap_vdpa_clock_ns(void);
static uint64_t later_ns;

uint64_t __wrap_vdpa_clock_ns(void)
{
	return __real_vdpa_clock_ns() + later_ns;
}

struct rig {
	struct vdpa_listener l;
	struct vdpa_loop_group *group;
	char dir[32], path[64];
	struct vdpa_log log;
	unsigned lines, calls;
	int fd, result;
	bool busy;
};

static void log_line(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	struct rig *r = arg;

	r->lines++;
	assert_string_equal(object, "d0");
	assert_non_null(strstr(msg, "door: cannot take a connection"));
}

static int accepted(struct vdpa_listener *l, int fd)
{
	struct rig *r = vdpa_container_of(l, struct rig, l);

	r->calls++;
	if (r->result) {
		close(fd);
		return r->result;
	}
	r->fd = fd;
	return 0;
}

static bool ready(struct vdpa_listener *l)
{
	return !vdpa_container_of(l, struct rig, l)->busy;
}

static void turn(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		vdpa_loop_run_once(vdpa_loop_group_control(r->group), 0);
}

static void up(struct rig *r)
{
	struct vdpa_error err = {.msg = ""};

	*r = (struct rig){.dir = "/tmp/uvdpa-listener-XXXXXX", .fd = -1};
	later_ns = 0;
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
	assert_int_equal(vdpa_loop_group_new(0, &r->group), 0);
	r->log = (struct vdpa_log){.fn = log_line, .arg = r, .level = VDPA_LOG_ERR};
	r->l = VDPA_LISTENER_INIT;
	r->l.loop = vdpa_loop_group_control(r->group);
	r->l.log = &r->log;
	r->l.object = "d0";
	r->l.what = "door";
	r->l.accepted = accepted;
	r->l.ready = ready;
	assert_int_equal(vdpa_listener_open(&r->l, r->path, SOCK_STREAM, NULL, &err), 0);
	turn(r);
}

static void down(struct rig *r)
{
	vdpa_listener_close(&r->l);
	vdpa_listener_close(&r->l);
	assert_int_equal(access(r->path, F_OK), -1);
	assert_int_equal(rmdir(r->dir), 0);
	vdpa_loop_group_free(r->group);
}

static int come(const struct rig *r)
{
	struct sockaddr_un addr;
	int fd = vdpa_unix_socket(SOCK_STREAM);

	assert_int_equal(vdpa_unix_address(r->path, &addr, NULL), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void let_in(struct rig *r)
{
	assert_true(r->fd >= 0);
	vdpa_fd_close(&r->fd);
}

static void test_in_and_out(void **state)
{
	struct rig r;
	int one, two;

	up(&r);
	one = come(&r);
	turn(&r);
	let_in(&r);
	/* While there is somebody the next one waits, and nobody is asked again. */
	r.busy = true;
	two = come(&r);
	turn(&r);
	assert_int_equal(r.calls, 1);
	assert_null(r.l.lfd.loop);
	r.busy = false;
	turn(&r);
	assert_int_equal(r.calls, 1);
	assert_int_equal(vdpa_listener_resume(&r.l), 0);
	assert_int_equal(vdpa_listener_resume(&r.l), 0);
	turn(&r);
	assert_int_equal(r.calls, 2);
	let_in(&r);
	vdpa_listener_pause(&r.l);
	close(one);
	one = come(&r);
	turn(&r);
	assert_int_equal(r.calls, 2);
	close(one);
	close(two);
	assert_int_equal(r.lines, 0);
	down(&r);
}

/* Told, and tried again in a second; not in between. */
static void test_refused(void **state)
{
	struct rig r;
	int one, two;

	up(&r);
	r.result = -ENOMEM;
	one = come(&r);
	two = come(&r);
	turn(&r);
	assert_int_equal(r.calls, 1);
	assert_int_equal(r.lines, 1);
	later_ns = 900000000;
	turn(&r);
	assert_int_equal(r.calls, 1);
	r.result = 0;
	later_ns = 1100000000;
	turn(&r);
	assert_int_equal(r.calls, 2);
	let_in(&r);
	close(one);
	close(two);
	down(&r);
}

/* Of the last descriptor somebody else had need: no line per turn, no turn per moment. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, few;
	struct rig r;
	int fd;

	up(&r);
	fd = come(&r);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (unsigned i = 0; i < 100; i++)
		turn(&r);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r.calls, 0);
	assert_int_equal(r.lines, 1);
	assert_null(r.l.lfd.loop);
	later_ns = 1100000000;
	turn(&r);
	let_in(&r);
	/* Closed while it waits to try again. */
	r.result = -EMFILE;
	close(fd);
	fd = come(&r);
	turn(&r);
	close(fd);
	down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_and_out),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
