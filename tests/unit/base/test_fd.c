// SPDX-License-Identifier: BSD-3-Clause
/* Descriptors: closed once, close-on-exec, and none lost or leaked on the way through a socket. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cmocka_inc.h"
#include "base/fd.h"
#include "../open_fds.h"

static int sock[2];
static unsigned before;

static int setup(void **state)
{
	before = open_fds();
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock);
}

static int teardown(void **state)
{
	vdpa_fd_close(&sock[0]);
	vdpa_fd_close(&sock[1]);
	assert_int_equal(open_fds(), before);
	return 0;
}

static void close_forgets_and_keeps_errno(void **state)
{
	int fd = vdpa_eventfd_new(), copy = vdpa_fd_dup(fd), bad = -1;

	assert_true(fd >= 0 && copy >= 0);
	errno = ENOTTY;
	vdpa_fd_close(&fd);
	vdpa_fd_close(&fd);
	vdpa_fd_close(&bad);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fd, -1);
	fd = vdpa_fd_take(&copy);
	assert_int_equal(copy, -1);
	vdpa_fd_close(&fd);
	assert_int_equal(vdpa_fd_dup(-1), -EBADF);
}

static void flags(void **state)
{
	int fd = vdpa_eventfd_new(), copy = vdpa_fd_dup(fd);

	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(vdpa_fd_set_nonblock(fd, false), 0);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(vdpa_fd_set_nonblock(fd, true), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(vdpa_fd_set_cloexec(fd, false), 0);
	assert_false(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(vdpa_fd_set_nonblock(-1, true), -EBADF);
	assert_int_equal(vdpa_fd_set_cloexec(-1, true), -EBADF);
	vdpa_fd_close(&fd);
	vdpa_fd_close(&copy);
}

static void eventfd(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = vdpa_eventfd_new();

	assert_int_equal(vdpa_eventfd_drain(fd), 0);
	vdpa_eventfd_signal(fd);
	vdpa_eventfd_signal(fd);
	assert_int_equal(vdpa_eventfd_drain(fd), 2);
	assert_int_equal(vdpa_eventfd_drain(fd), 0);
	/* A peer that fills the counter must not stop us. */
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(vdpa_eventfd_signal(fd), 0);
	assert_true(vdpa_eventfd_drain(fd) > 0);
	vdpa_fd_close(&fd);
	assert_int_equal(vdpa_eventfd_signal(-1), -EBADF);
	assert_int_equal(vdpa_eventfd_drain(-1), -EBADF);
}

/* The peer took O_NONBLOCK off: nothing waits, or the alarm ends the test. */
static void what_a_peer_shares(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	static char bytes[65536];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	int fd = vdpa_eventfd_new(), pipes[2];

	alarm(10);
	assert_int_equal(vdpa_fd_set_nonblock(fd, false), 0);
	assert_int_equal(vdpa_eventfd_drain(fd), 0);
	assert_int_equal(vdpa_eventfd_signal_shared(fd), 0);
	assert_int_equal(vdpa_eventfd_drain(fd), 1);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(vdpa_eventfd_signal_shared(fd), 0);
	assert_int_equal(vdpa_eventfd_signal_shared(-1), 0);
	assert_int_equal(vdpa_fd_is_eventfd(fd), 1);
	vdpa_fd_close(&fd);
	for (int i = 0; i < 1000; i++)
		if (vdpa_sock_send(sock[0], &iov, 1, NULL, 0) == -EAGAIN)
			fd = -2;
	assert_int_equal(fd, -2);
	alarm(0);

	assert_int_equal(vdpa_fd_is_eventfd(sock[0]), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(vdpa_fd_is_eventfd(pipes[1]), 0);
	vdpa_fd_close(&pipes[0]);
	vdpa_fd_close(&pipes[1]);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(vdpa_fd_is_eventfd(fd), 0);
	vdpa_fd_close(&fd);
	fd = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(vdpa_fd_is_eventfd(fd), 0);
	vdpa_fd_close(&fd);
	assert_int_equal(vdpa_fd_is_eventfd(-1), -ENOENT);
}

/* Not through our own sender, which would refuse: as a hostile peer would. */
static void send_raw(unsigned nfds, unsigned times)
{
	char bytes[CMSG_SPACE(VDPA_FDS_LIMIT * sizeof(int))] __attribute__((aligned(8)));
	char byte = 'x';
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[VDPA_FDS_LIMIT];

	for (unsigned i = 0; i < nfds; i++)
		fds[i] = sock[0];
	memset(bytes, 0, sizeof(bytes));
	if (nfds) {
		struct cmsghdr *c;

		msg.msg_control = bytes;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	for (unsigned i = 0; i < times; i++)
		assert_int_equal(sendmsg(sock[0], &msg, 0), 1);
}

static void any_number_is_accounted_for(void **state)
{
	static const unsigned counts[] = {
		0, 1, 2, 8, 9, VDPA_FDS_MAX, VDPA_FDS_MAX + 1, 100, VDPA_FDS_LIMIT};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		unsigned now = open_fds(), n = counts[i];
		struct vdpa_fds fds;
		char byte = 0;

		send_raw(n, 1);
		assert_int_equal(vdpa_sock_recv(sock[1], &byte, 1, &fds, 0), 1);
		assert_int_equal(byte, 'x');
		assert_int_equal(fds.n, n < VDPA_FDS_MAX ? n : VDPA_FDS_MAX);
		assert_int_equal(fds.surplus, n - fds.n);
		assert_false(fds.truncated);
		assert_int_equal(open_fds(), now + fds.n);
		for (unsigned k = 0; k < fds.n; k++)
			assert_true(fcntl(fds.fd[k], F_GETFD) & FD_CLOEXEC);
		vdpa_fds_close(&fds);
		vdpa_fds_close(&fds);
		assert_int_equal(open_fds(), now);
	}
}

static void taken_ones_are_the_takers(void **state)
{
	struct vdpa_fds fds;
	char byte;
	int mine;

	send_raw(2, 1);
	assert_int_equal(vdpa_sock_recv(sock[1], &byte, 1, &fds, 0), 1);
	mine = vdpa_fds_take(&fds, 1);
	assert_true(mine >= 0);
	assert_int_equal(vdpa_fds_take(&fds, 1), -1);
	assert_int_equal(vdpa_fds_take(&fds, 2), -1);
	vdpa_fds_close(&fds);
	assert_true(fcntl(mine, F_GETFD) >= 0);
	vdpa_fd_close(&mine);
}

/* Descriptor numbers run out in the middle of a message: what came is named, and that some did not.
 */
static void out_of_numbers_is_told(void **state)
{
	struct rlimit old, low;
	struct vdpa_fds fds;
	char byte;
	ssize_t n;

	send_raw(8, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)sock[1] + 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	n = vdpa_sock_recv(sock[1], &byte, 1, &fds, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(n, 1);
	assert_true(fds.truncated);
	assert_true(fds.n < 8);
	vdpa_fds_close(&fds);
}

static void send_carries_and_keeps(void **state)
{
	char a[] = "he", b[] = "llo", buf[8] = "";
	const struct iovec iov[2] = {{a, 2}, {b, 3}};
	int fd = vdpa_eventfd_new(), list[VDPA_FDS_MAX + 1];
	struct vdpa_fds fds;

	for (unsigned i = 0; i <= VDPA_FDS_MAX; i++)
		list[i] = fd;
	assert_int_equal(vdpa_sock_send(sock[0], iov, 2, list, VDPA_FDS_MAX + 1), -EINVAL);
	assert_int_equal(vdpa_sock_send(sock[0], iov, 2, list, 1), 5);
	assert_int_equal(vdpa_sock_recv(sock[1], buf, sizeof(buf), &fds, 0), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(fds.n, 1);
	vdpa_eventfd_signal(fds.fd[0]);
	assert_int_equal(vdpa_eventfd_drain(fd), 1);
	vdpa_fds_close(&fds);
	assert_int_equal(vdpa_sock_send(sock[0], iov, 2, list, VDPA_FDS_MAX), 5);
	assert_int_equal(vdpa_sock_recv(sock[1], buf, sizeof(buf), &fds, 0), 5);
	assert_int_equal(fds.n, VDPA_FDS_MAX);
	vdpa_fds_close(&fds);
	vdpa_fd_close(&fd);
}

static void ends_and_errors(void **state)
{
	char byte = 'x';
	const struct iovec iov = {&byte, 1};
	struct vdpa_fds fds = {.n = 99};

	assert_int_equal(vdpa_fd_set_nonblock(sock[1], true), 0);
	assert_int_equal(vdpa_sock_recv(sock[1], &byte, 1, &fds, 0), -EAGAIN);
	assert_int_equal(fds.n, 0);
	vdpa_fd_close(&sock[0]);
	assert_int_equal(vdpa_sock_recv(sock[1], &byte, 1, &fds, 0), 0);
	/* No SIGPIPE. */
	assert_int_equal(vdpa_sock_send(sock[1], &iov, 1, NULL, 0), -EPIPE);
	assert_int_equal(vdpa_sock_recv(-1, &byte, 1, &fds, 0), -EBADF);
}

/* Descriptors of several messages do not get mixed up by one large read. */
static void messages_with_descriptors_stay_apart(void **state)
{
	unsigned now = open_fds();

	send_raw(3, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct vdpa_fds fds;
		char buf[16];

		assert_int_equal(vdpa_sock_recv(sock[1], buf, sizeof(buf), &fds, 0), 1);
		assert_int_equal(fds.n, 3);
		vdpa_fds_close(&fds);
	}
	assert_int_equal(open_fds(), now);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(close_forgets_and_keeps_errno),
		T(flags),
		T(eventfd),
		T(what_a_peer_shares),
		T(any_number_is_accounted_for),
		T(taken_ones_are_the_takers),
		T(out_of_numbers_is_told),
		T(send_carries_and_keeps),
		T(ends_and_errors),
		T(messages_with_descriptors_stay_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
