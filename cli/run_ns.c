// SPDX-License-Identifier: BSD-3-Clause
/*
 * A mount namespace with a /dev of its own: the same nodes, bound one by one, and ours. An ordinary
 * user needs a user namespace for that, in which he is himself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "run.h"

/* Everything is put together here; the path is covered in our namespace only. */
#define STAGE "/tmp"

static int failed(const char *what, const char *path)
{
	fprintf(stderr, "uvdpa: run: %s %s: %s\n", what, path, strerror(errno));
	return -1;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int enter_user(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
		fprintf(stderr,
			"uvdpa: run: an ordinary user needs user namespaces, and there are none "
			"here "
			"(%s): allow them (sysctl kernel.unprivileged_userns_clone=1, "
			"user.max_user_namespaces), or run as root\n",
			strerror(errno));
		return -1;
	}
	if (write_file("/proc/self/setgroups", "deny") && errno != ENOENT)
		return failed("cannot write", "/proc/self/setgroups");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (write_file("/proc/self/uid_map", map))
		return failed("cannot write", "/proc/self/uid_map");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (write_file("/proc/self/gid_map", map))
		return failed("cannot write", "/proc/self/gid_map");
	return 0;
}

static int touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return failed("cannot make", path);
	close(fd);
	return 0;
}

static int bind_mount(const char *from, const char *to, unsigned long flags)
{
	if (mount(from, to, NULL, MS_BIND | flags, NULL))
		return failed("cannot bind", from);
	return 0;
}

/* ---- /dev ---- */

static int copy_link(const char *from, const char *to)
{
	char target[4096];
	ssize_t n = readlink(from, target, sizeof(target) - 1);

	if (n < 0)
		return failed("cannot read", from);
	target[n] = '\0';
	return symlink(target, to) ? failed("cannot make", to) : 0;
}

static int copy_node(const char *name)
{
	char from[512], to[512];
	struct stat st;

	snprintf(from, sizeof(from), "/dev/%s", name);
	snprintf(to, sizeof(to), STAGE "/%s", name);
	if (lstat(from, &st))
		return errno == ENOENT ? 0 : failed("cannot look at", from);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to);
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(to, 0755))
			return failed("cannot make", to);
		return bind_mount(from, to, MS_REC);
	}
	return touch(to) ? -1 : bind_mount(from, to, 0);
}

static bool is_ours(const struct run *run, const char *name)
{
	if (*run->vduse && !strcmp(name, "vduse"))
		return true;
	for (unsigned i = 0; i < run->ndevs; i++) {
		if (!strcmp(run->dev[i].name, name))
			return true;
	}
	return false;
}

static int copy_dev(const struct run *run)
{
	DIR *dir = opendir("/dev");
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return failed("cannot read", "/dev");
	while (!ret && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    !is_ours(run, entry->d_name))
			ret = copy_node(entry->d_name);
	}
	closedir(dir);
	return ret;
}

static int add_vduse(const struct run *run)
{
	if (!*run->vduse)
		return 0;
	if (mkdir(STAGE "/vduse", 0755))
		return failed("cannot make", STAGE "/vduse");
	return touch(STAGE "/vduse/control") || bind_mount("/dev/null", STAGE "/vduse/control", 0);
}

static int add_ours(struct run *run)
{
	char path[512];

	for (unsigned i = 0; i < run->ndevs; i++) {
		snprintf(path, sizeof(path), STAGE "/%s", run->dev[i].name);
		if (touch(path) || bind_mount("/dev/null", path, 0))
			return -1;
	}
	return 0;
}

/*
 * /proc/devices with a line that says whose major number /dev/null's is. Programs that look take
 * the first line with our name.
 */
static int list_major(dev_t node)
{
	static const char head[] = "Character devices:\n";
	char text[8192], path[] = STAGE "/devices";
	FILE *in = fopen("/proc/devices", "re"), *out;
	size_t n = in ? fread(text, 1, sizeof(text) - 1, in) : 0;
	const char *rest = text;
	int bad;

	if (in)
		fclose(in);
	text[n] = '\0';
	if (!strncmp(text, head, strlen(head)))
		rest += strlen(head);
	out = fopen(path, "we");
	if (!out)
		return failed("cannot make", path);
	fprintf(out, "%s%3u vhost-vdpa\n%s", head, major(node), rest);
	bad = fclose(out);
	if (bad)
		return failed("cannot write", path);
	if (chmod(path, 0444))
		return failed("cannot change", path);
	return bind_mount(path, "/proc/devices", 0);
}

static int stage_dev(struct run *run)
{
	struct stat st;

	if (mount("uvdpa", STAGE, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m"))
		return failed("cannot mount on", STAGE);
	if (copy_dev(run) || add_ours(run) || add_vduse(run))
		return -1;
	if (stat("/dev/null", &st))
		return failed("cannot look at", "/dev/null");
	run->node_dev = st.st_dev;
	run->node_ino = st.st_ino;
	if (list_major(st.st_rdev))
		return -1;
	unlink(STAGE "/devices");
	if (mount(STAGE, "/dev", NULL, MS_MOVE, NULL))
		return failed("cannot mount", "/dev");
	if (stat("/dev", &st))
		return failed("cannot look at", "/dev");
	run->dev_dev = st.st_dev;
	return 0;
}

int run_ns_enter(struct run *run)
{
	if (geteuid() == 0 ? unshare(CLONE_NEWNS) : enter_user())
		return geteuid() == 0 ? failed("cannot leave", "the mount namespace") : -1;
	/* Nothing of this reaches the namespace that we came from. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return failed("cannot change", "/");
	return stage_dev(run);
}

int run_ns_mount_fuse(struct run *run, int fd)
{
	char options[128];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other", fd, geteuid(),
		 getegid());
	if (mount("uvdpa", STAGE, "fuse", MS_NOSUID | MS_NODEV | MS_NOEXEC, options))
		return failed("cannot mount on", STAGE);
	run->mount = open(STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (run->mount < 0)
		return failed("cannot open", STAGE);
	if (umount2(STAGE, MNT_DETACH))
		return failed("cannot leave", STAGE);
	return 0;
}
