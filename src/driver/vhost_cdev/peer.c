// SPDX-License-Identifier: BSD-3-Clause
/*
 * A process names memory by its addresses; the daemon needs the files behind them. /proc/PID/maps
 * says which file a mapping is of, by inode; a descriptor of that file is found among the program's
 * own, or by the mapping's path.
 *
 * Who attacks: the process. It can change its mappings while we look, and then gets another file of
 * its own mapped; nothing that it could not map itself.
 */
#include "driver/vhost_cdev/proxy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

struct mapping {
	uint64_t start, end, offset, inode;
	unsigned dev_major, dev_minor;
	char perms[8];
	char path[4096];
};

/* The thread group that @tid is in; @tid itself when that cannot be found out. */
static pid_t tgid_of(pid_t tid)
{
	char path[64], line[256];
	int tgid = tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	}
	if (f)
		fclose(f);
	return tgid;
}

int cdev_peer_fd(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, tgid_of(pid), 0);
	int got;

	if (pidfd < 0)
		return -errno;
	got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (got < 0)
		got = -errno;
	close(pidfd);
	return got;
}

int cdev_peer_read(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	return !len || process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0
										       : -EFAULT;
}

int cdev_peer_write(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	return !len || process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0
											: -EFAULT;
}

/* ---- which file ---- */

static bool parse(const char *line, struct mapping *m)
{
	unsigned long long start, end, offset, inode;
	int at = 0;

	if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, m->perms, &offset,
		   &m->dev_major, &m->dev_minor, &inode, &at) < 7)
		return false;
	m->start = start;
	m->end = end;
	m->offset = offset;
	m->inode = inode;
	snprintf(m->path, sizeof(m->path), "%s", line + at);
	m->path[strcspn(m->path, "\n")] = '\0';
	return true;
}

static bool is_file(const struct mapping *m, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_ino == m->inode &&
	       major(st->st_dev) == m->dev_major && minor(st->st_dev) == m->dev_minor;
}

static bool good_for(int fd, bool writable)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & O_PATH) &&
	       ((flags & O_ACCMODE) == O_RDWR || (!writable && (flags & O_ACCMODE) == O_RDONLY));
}

/* Among the program's own descriptors. fd or -ENOENT. */
static int by_descriptor(pid_t pid, const struct mapping *m, bool writable)
{
	struct dirent *entry;
	char path[64];
	struct stat st;
	int found = -ENOENT;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && found < 0 && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) || !is_file(m, &st))
			continue;
		found = cdev_peer_fd(pid, atoi(entry->d_name));
		if (found >= 0 && !good_for(found, writable)) {
			close(found);
			found = -ENOENT;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

/* By its name, as the program sees it, when it is still the same file. fd or -ENOENT. */
static int by_path(pid_t pid, const struct mapping *m, bool writable)
{
	char path[4096 + 64];
	struct stat st;
	int fd;

	if (m->path[0] != '/')
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, m->path);
	/* Not what blocks, should the name be another's by now. */
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !fstat(fd, &st) && is_file(m, &st))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOENT;
}

/*
 * By the mapping itself, which the kernel allows to few (CAP_CHECKPOINT_RESTORE): memory that is
 * shared and has no name, as QEMU's shadow rings are, or whose file was closed. fd or -ENOENT.
 */
static int by_mapping(pid_t pid, const struct mapping *m, bool writable)
{
	char path[96];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
		 (unsigned long long)m->start, (unsigned long long)m->end);
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !fstat(fd, &st) && is_file(m, &st))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOENT;
}

static int refuse(pid_t pid, const struct mapping *m, bool read_only, struct vdpa_error *err)
{
	if (m->perms[3] != 's' && read_only)
		return -EROFS;
	if (m->perms[3] != 's')
		return vdpa_error_set(
			err, EOPNOTSUPP, NULL,
			"process %d wants the device to use memory at 0x%llx, which is private to "
			"it; memory for a device is shared, of a file: with QEMU, -object "
			"memory-backend-memfd,id=mem,share=on,size=... -machine memory-backend=mem",
			pid, (unsigned long long)m->start);
	return vdpa_error_set(
		err, EOPNOTSUPP, NULL,
		"process %d has no descriptor of the file behind its memory at 0x%llx "
		"(%.80s), and it cannot be opened by name: leave it open, or run this "
		"with CAP_CHECKPOINT_RESTORE",
		pid, (unsigned long long)m->start, m->path);
}

struct search {
	pid_t pid;
	const struct vhost_vdpa_update *update;
	struct vdpa_error *err;
};

/* What of @m the update names, from @uaddr on. */
static int take_mapping(const struct search *search, const struct mapping *m, uint64_t uaddr,
			struct cdev_client_mem *mem)
{
	uint64_t end = search->update->uaddr + search->update->size;
	bool writable = m->perms[1] == 'w';
	int fd = -ENOENT;

	if (m->perms[3] == 's' && m->inode) {
		fd = by_descriptor(search->pid, m, writable);
		if (fd < 0)
			fd = by_path(search->pid, m, writable);
		if (fd < 0)
			fd = by_mapping(search->pid, m, writable);
	}
	if (fd < 0)
		return refuse(search->pid, m, !(search->update->perm & VHOST_MAP_WO), search->err);
	mem->fd = fd;
	mem->mem = (struct cdev_mem){
		.uaddr = uaddr,
		.size = (m->end < end ? m->end : end) - uaddr,
		.offset = m->offset + (uaddr - m->start),
		.writable = writable,
	};
	return 0;
}

int cdev_peer_memory(pid_t pid, const struct vhost_vdpa_update *update, struct cdev_client_mem *mem,
		     unsigned max, struct vdpa_error *error)
{
	struct search search = {.pid = tgid_of(pid), .update = update, .err = error};
	uint64_t uaddr = update->uaddr, end = uaddr + update->size;
	struct mapping m = {0};
	char path[64], *line = NULL;
	size_t cap = 0;
	unsigned n = 0;
	int err = 0;
	FILE *f;

	if (!update->size || end < uaddr)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", search.pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!err && uaddr < end && getline(&line, &cap, f) > 0) {
		if (!parse(line, &m) || m.end <= uaddr)
			continue;
		if (m.start > uaddr)
			break;
		err = n < max ? take_mapping(&search, &m, uaddr, &mem[n]) : -E2BIG;
		if (!err)
			uaddr += mem[n++].mem.size;
	}
	free(line);
	fclose(f);
	if (!err && uaddr < end)
		err = -EFAULT;
	while (err && n)
		close(mem[--n].fd);
	return err ? err : (int)n;
}
