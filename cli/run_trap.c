// SPDX-License-Identifier: BSD-3-Clause
/*
 * open(2) of one of our paths. The filter lets pass, at the kernel's speed, every system call but
 * an open to write of what is there already. Those are looked at: what does the path
 * name, seen from the program? One of our nodes: the program gets the descriptor of a FUSE file
 * that is opened for it here. Anything else: the call goes on in the kernel.
 *
 * Who attacks: the program, which may change the path while it is read. It only ever gets what it
 * may open anyway, or a device that it was given.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "run.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define PATH_BYTES 4096u

/* ---- the filter ---- */

/* Opens to write of what is there already. (libblkio asks for no more than that.) */
static const struct {
	int mask, value;
} opens[] = {
	{O_ACCMODE | O_TRUNC | O_EXCL | O_PATH | O_DIRECTORY, O_RDWR},
	{O_ACCMODE | O_TRUNC | O_CREAT | O_PATH | O_DIRECTORY, O_WRONLY},
};

static bool is_interesting(int flags)
{
	return (flags & opens[0].mask) == opens[0].value ||
	       (flags & opens[1].mask) == opens[1].value;
}

/* Those of VDUSE, by their type byte. */
static int add_ioctl_rule(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, VDUSE_IOC << 8));
}

static int add_rules(scmp_filter_ctx ctx)
{
	/* Its flags lie in memory, where a filter cannot look; few programs use it. */
	int err = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(openat2), 0);

	for (unsigned i = 0; i < sizeof(opens) / sizeof(opens[0]) && !err; i++) {
		scmp_datum_t mask = (unsigned)opens[i].mask, value = (unsigned)opens[i].value;

		err = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, mask, value));
		if (!err)
			err = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(open), 1,
					       SCMP_A1(SCMP_CMP_MASKED_EQ, mask, value));
	}
	return err;
}

/*
 * By hand, for a flag that libseccomp learnt in 2.6: from the moment at which we have taken a call
 * on, no signal but one that kills takes the program out of it. What was carried out would be asked
 * for again otherwise, and be refused (a device that "exists" already), or be said to have been
 * interrupted. Linux before 5.19 does not have the flag.
 */
static int load(scmp_filter_ctx ctx)
{
	unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	struct sock_filter program[BPF_MAXINSNS];
	struct sock_fprog prog = {.filter = program};
	int fd = memfd_create("uvdpa-filter", MFD_CLOEXEC), ret;
	ssize_t n;

	if (fd < 0)
		return -errno;
	ret = seccomp_export_bpf(ctx, fd);
	n = ret ? 0 : pread(fd, program, sizeof(program), 0);
	close(fd);
	if (ret || n <= 0)
		return ret ? ret : -EIO;
	prog.len = (unsigned short)((size_t)n / sizeof(program[0]));
	ret = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (ret < 0 && errno == EINVAL)
		ret = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				   SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return ret < 0 ? -errno : ret;
}

/* We are root in our namespace until the program is executed, so no_new_privs stays off: sudo in it
 * goes on to work. */
int run_trap_install(const struct run *run)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err, fd;

	if (!ctx)
		return -ENOMEM;
	/* Programs of another architecture run as they are, without our paths. */
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
	if (!err)
		err = add_rules(ctx);
	if (!err && *run->vduse)
		err = add_ioctl_rule(ctx);
	fd = err ? err : load(ctx);
	seccomp_release(ctx);
	return fd;
}

/* ---- what the program asks for ---- */

struct request {
	pid_t pid;
	int dirfd;
	int flags;
	char path[PATH_BYTES];
};

static ssize_t read_memory(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

/* A string may end right before a page that is not there: page by page. */
static int read_path(pid_t pid, uint64_t addr, char *path)
{
	size_t n = 0;

	while (n < PATH_BYTES) {
		size_t part = PATH_BYTES - (addr + n) % PATH_BYTES;
		ssize_t got;

		if (part > PATH_BYTES - n)
			part = PATH_BYTES - n;
		got = read_memory(pid, addr + n, path + n, part);
		if (got <= 0)
			return -EFAULT;
		if (memchr(path + n, '\0', (size_t)got))
			return 0;
		n += (size_t)got;
	}
	return -ENAMETOOLONG;
}

static int parse(const struct seccomp_notif *notif, struct request *req)
{
	const __u64 *arg = notif->data.args;
	struct open_how how = {0};

	req->pid = (pid_t)notif->pid;
	req->dirfd = AT_FDCWD;
	if (notif->data.nr == SYS_openat2) {
		req->dirfd = (int)arg[0];
		if (arg[3] < sizeof(how) || read_memory(req->pid, arg[2], &how, sizeof(how)) <= 0)
			return -EFAULT;
		req->flags = (int)how.flags;
		if (!is_interesting(req->flags) || how.resolve)
			return -ENOENT;
		return read_path(req->pid, arg[1], req->path);
	}
#ifdef SYS_open
	if (notif->data.nr == SYS_open) {
		req->flags = (int)arg[1];
		return read_path(req->pid, arg[0], req->path);
	}
#endif
	req->dirfd = (int)arg[0];
	req->flags = (int)arg[2];
	return read_path(req->pid, arg[1], req->path);
}

/* The file that the program's path names, without opening it. fd or -errno. */
static int look(const struct request *req)
{
	char base[64];
	int dir, fd;

	if (req->path[0] == '/')
		snprintf(base, sizeof(base), "/proc/%d/root", req->pid);
	else if (req->dirfd == AT_FDCWD)
		snprintf(base, sizeof(base), "/proc/%d/cwd", req->pid);
	else
		snprintf(base, sizeof(base), "/proc/%d/fd/%d", req->pid, req->dirfd);
	dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	/* Below a root of its own, ".." and links stay below it. */
	if (req->path[0] == '/') {
		struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};

		fd = (int)syscall(SYS_openat2, dir, req->path, &how, sizeof(how));
	} else {
		fd = openat(dir, req->path, O_PATH | O_CLOEXEC);
	}
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

/* What is to be opened: a device, or a file of /dev/vduse, or neither. */
struct target {
	const struct run_dev *dev;
	char vduse[VDUSE_NAME_BYTES];
};

static bool path_of(int fd, char path[PATH_BYTES])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_BYTES - 1);
	path[n < 0 ? 0 : n] = '\0';
	return n > 0;
}

/* Which of our devices is at @path? All nodes are one inode: their place in /dev tells them apart.
 */
static const struct run_dev *find_dev(const struct run *run, const char *path)
{
	for (unsigned i = 0; i < run->ndevs; i++) {
		const char *slash = strrchr(path, '/');

		if (slash && !strcmp(slash + 1, run->dev[i].name))
			return &run->dev[i];
	}
	return NULL;
}

static bool find(const struct run *run, int fd, struct target *t)
{
	char path[PATH_BYTES];
	struct stat st;
	bool node;

	if (fstat(fd, &st))
		return false;
	node = st.st_dev == run->node_dev && st.st_ino == run->node_ino;
	if ((!node && st.st_dev != run->dev_dev) || !path_of(fd, path))
		return false;
	if (S_ISDIR(st.st_mode) ? run_vduse_folder(run, path, t->vduse)
				: run_vduse_name(run, path, t->vduse))
		return true;
	t->dev = node ? find_dev(run, path) : NULL;
	return t->dev;
}

static bool asked_for(const struct run *run, const struct seccomp_notif *notif, struct request *req,
		      struct target *t)
{
	bool found;
	int fd;

	*t = (struct target){0};
	if (parse(notif, req))
		return false;
	fd = look(req);
	if (fd < 0)
		return false;
	found = find(run, fd, t);
	close(fd);
	return found;
}

/* ---- the answer ---- */

static void answer(int listener, const struct seccomp_notif *notif, int err)
{
	struct seccomp_notif_resp resp = {.id = notif->id, .error = err};

	if (!err)
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

bool run_trap_is_waiting(const struct run_ioctl *call)
{
	uint64_t id = call->id;

	return !ioctl(call->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

/* The program's call returns @fd, installed at a number of its own. */
static void hand_over(int listener, const struct seccomp_notif *notif, int fd, bool cloexec)
{
	struct seccomp_notif_addfd add = {
		.id = notif->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (__u32)fd,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 && errno != ENOENT)
		answer(listener, notif, -errno);
	close(fd);
}

static void handle_open(struct run *run, int listener, const struct seccomp_notif *notif)
{
	struct request req;
	struct target t;
	int fd;

	if (!asked_for(run, notif, &req, &t)) {
		answer(listener, notif, 0);
		return;
	}
	if (t.dev) {
		fd = openat(run->mount, t.dev->name,
			    O_CLOEXEC | (req.flags & (O_ACCMODE | O_NONBLOCK)));
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = run_vduse_open(run, t.vduse, req.flags);
	}
	if (fd < 0)
		answer(listener, notif, fd);
	else
		hand_over(listener, notif, fd, req.flags & O_CLOEXEC);
}

static void handle_ioctl(struct run *run, int listener, const struct seccomp_notif *notif)
{
	const struct run_ioctl call = {.listener = listener,
				       .id = notif->id,
				       .pid = (pid_t)notif->pid,
				       .fd = (int)notif->data.args[0],
				       .cmd = (uint32_t)notif->data.args[1],
				       .arg = notif->data.args[2]};
	struct seccomp_notif_resp resp = {.id = notif->id};
	bool is_fd;
	int ret = run_vduse_ioctl(run, &call, &is_fd);

	if (ret == RUN_NOT_OURS) {
		answer(listener, notif, 0);
	} else if (is_fd) {
		/* The kernel's VDUSE gives it without close-on-exec, too. */
		hand_over(listener, notif, ret, false);
	} else {
		resp.error = ret;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

static void handle(struct run *run, int listener, const struct seccomp_notif *notif)
{
	if (notif->data.nr == SYS_ioctl)
		handle_ioctl(run, listener, notif);
	else
		handle_open(run, listener, notif);
}

void run_trap_serve(struct run *run, int listener)
{
	struct pollfd pfd = {.fd = listener, .events = POLLIN};
	struct seccomp_notif notif;

	for (;;) {
		if (poll(&pfd, 1, -1) < 0) {
			if (errno != EINTR)
				return;
			/* What it says is of the time before; who reads for it may wait for ever.
			 */
			continue;
		}
		if (pfd.revents & POLLIN) {
			memset(&notif, 0, sizeof(notif));
			/* ENOENT: the process was killed before we came to it. */
			if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif))
				handle(run, listener, &notif);
		} else if (pfd.revents & (POLLHUP | POLLERR)) {
			return;
		}
	}
}
