// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device process: a disk, which is the library's own software device, served by VDUSE. The same
 * program serves the host's kernel and a daemon's endpoint (uvdpad --vduse):
 *
 *	vduse_device NAME SIZE [ IMAGE ]			to the kernel
 *	vduse_device --endpoint SOCKET NAME SIZE [ IMAGE ]	to a daemon
 *
 * Once it is set up it locks itself in: no new privileges, no file of any path, and of the system
 * calls only those that serve a device. What it has from there on is its descriptors: the device's,
 * those of memory that come through it, its image, its log. So it does not undo anything at its
 * end: the device waits for the next process, which goes on with the log.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uvdpa/vdpa.h>

#define SETTLE_NS 30000000000ll

static void check(int r, const char *what, const struct vdpa_error *err)
{
	if (!r)
		return;
	fprintf(stderr, "vduse_device: %s: %s%s%s\n", what, strerror(-r),
		err && err->msg[0] ? ": " : "", err ? err->msg : "");
	exit(1);
}

/* ---- the walls ---- */

/* Every access to files that the kernel knows how to forbid, of the first version: all paths. */
static int lock_files(void)
{
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	long fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	long ret;

	/* A kernel without Landlock: the next wall stands alone. */
	if (fd < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	ret = syscall(SYS_landlock_restrict_self, (int)fd, 0);
	close((int)fd);
	return ret ? -errno : 0;
}

/*
 * What loops, queues, a file's I/O and memory need; nothing that opens, connects or executes.
 * (io_uring could open by itself; that is what Landlock is for.)
 */
static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(fstatfs),
	SCMP_SYS(getrandom),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),
	SCMP_SYS(dup),
	SCMP_SYS(fcntl),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(ioctl),
	SCMP_SYS(eventfd2),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	SCMP_SYS(fallocate),
	SCMP_SYS(membarrier),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int lock_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	/* The threads that serve queues, too. */
	if (!r)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !r; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	/* Memory is never made executable. */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static void lock_in(void)
{
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0, "no_new_privs", NULL);
	check(lock_files(), "Landlock", NULL);
	check(lock_calls(), "seccomp", NULL);
}

/* ---- the device ---- */

struct options {
	const char *endpoint, *name, *size, *image;
};

static struct options parse(int argc, char **argv)
{
	struct options o = {0};
	int i = 1;

	if (argc > 2 && !strcmp(argv[1], "--endpoint")) {
		o.endpoint = argv[2];
		i = 3;
	}
	if (argc - i < 2 || argc - i > 3) {
		fprintf(stderr, "usage: vduse_device [ --endpoint SOCKET ] NAME SIZE [ IMAGE ]\n");
		exit(2);
	}
	o.name = argv[i];
	o.size = argv[i + 1];
	o.image = argv[i + 2];
	return o;
}

static struct vdpa_device *make(struct vdpa_ctx *ctx, const struct options *o)
{
	struct vdpa_attr ram[] = {{"backend", "ram"}, {"size", o->size}, {0}};
	struct vdpa_attr file[] = {{"backend", "file"}, {"path", o->image}, {0}};
	struct vdpa_dev_set_config config = {.attrs = o->image ? file : ram};
	struct vdpa_error err = {.msg = ""};

	check(vdpa_dev_add(vdpa_mgmtdev_find(ctx, "soft_blk"), o->name, &config, &err), o->name,
	      &err);
	return vdpa_find_device(ctx, o->name);
}

struct settled {
	bool done;
	int result;
};

static void on_settled(void *arg, int result)
{
	struct settled *s = arg;

	s->done = true;
	s->result = result;
}

static void serve(struct vdpa_ctx *ctx, struct vdpa_device *dev, const struct options *o)
{
	char log[256];
	struct vdpa_attr attrs[] = {
		{"log", log}, {o->endpoint ? "endpoint" : NULL, o->endpoint}, {0}};
	struct vdpa_error err = {.msg = ""};
	struct settled s = {0};
	const char *dir = getenv("VDUSE_LOG_DIR");

	/* What it needs to go on after its death. */
	snprintf(log, sizeof(log), "%s/vduse-%s.log", dir ? dir : "/run", o->name);
	check(vdpa_bind(dev, "vduse", attrs, &err), "VDUSE", &err);
	check(vdpa_settle(dev, &err, &(struct vdpa_done){on_settled, &s}), "VDUSE", &err);
	check(vdpa_ctx_wait(ctx, &s.done, SETTLE_NS), "VDUSE", NULL);
	check(s.result, "VDUSE", &err);
}

static void print_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	fprintf(stderr, "<%d>%s: %s\n", (int)level, object, msg);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct vdpa_ctx_config config = {.size = sizeof(config),
					 .workers = 1,
					 .log = {.fn = print_log, .level = VDPA_LOG_INFO}};
	struct vdpa_ctx *ctx;

	/* The endpoint's end is an error of write(2). */
	signal(SIGPIPE, SIG_IGN);
	check(vdpa_sigbus_install(), "SIGBUS", NULL);
	check(vdpa_ctx_new(&config, &ctx), "context", NULL);
	check(vdpa_register_builtin(ctx), "built-in devices and drivers", NULL);
	serve(ctx, make(ctx, &o), &o);
	lock_in();
	printf("serving %s\n", o.name);
	fflush(stdout);
	check(vdpa_loop_run(vdpa_ctx_control(ctx)), "loop", NULL);
	return 0;
}
