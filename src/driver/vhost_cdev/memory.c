// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory of the program that has the device open: the files behind its mappings. A file is mapped
 * once, whole, and found again by its inode, so that a program that maps page by page (behind a
 * vIOMMU) does not cost a mapping per page.
 *
 * Who attacks: the program, by what it claims of its files. A claim beyond the file is refused; a
 * file that shrinks later is the memory floor's matter. An inode that is mapped cannot be given to
 * another file meanwhile.
 */
#include "driver/vhost_cdev/cdev.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Files kept for the next message; what the device uses is held by its address space anyway. */
#define FILES_MAX 64
/* A sparse file may claim any size. */
#define WHOLE_MAX (1ull << 42)

static void file_free(struct cdev_file *file)
{
	vdpa_region_put(file->region);
	free(file);
}

static bool covers(const struct cdev_file *file, const struct cdev_mem *mem)
{
	return mem->offset >= file->offset && mem->offset - file->offset <= file->size &&
	       mem->size <= file->size - (mem->offset - file->offset);
}

static struct cdev_file *find(struct cdev_session *s, const struct stat *st,
			      const struct cdev_mem *mem)
{
	for (struct cdev_file *f = s->files; f; f = f->next) {
		if (f->dev == st->st_dev && f->ino == st->st_ino &&
		    f->writable == !!mem->writable && covers(f, mem))
			return f;
	}
	return NULL;
}

static int map_range(struct cdev_file *file, int fd, uint64_t offset, uint64_t size)
{
	int prot = file->writable ? PROT_READ | PROT_WRITE : PROT_READ;

	file->offset = offset;
	file->size = size;
	/* The dirty log counts pages of the file. */
	return vdpa_region_map(fd, offset, size, offset, prot, &file->region, NULL);
}

/* The whole file, or, where there is no room for that, what is asked for. */
static int map_file(struct cdev_file *file, int fd, uint64_t bytes, const struct cdev_mem *mem)
{
	int err = -ENOMEM;

	if (bytes < mem->offset || bytes - mem->offset < mem->size)
		return -EFAULT;
	if (bytes <= WHOLE_MAX)
		err = map_range(file, fd, 0, bytes);
	return err ? map_range(file, fd, mem->offset, mem->size) : 0;
}

static bool in_request(const struct cdev_session *s, const struct cdev_file *file)
{
	for (unsigned i = 0; i < s->nmem; i++) {
		if (s->mem_file[i] == file)
			return true;
	}
	return false;
}

/* The oldest goes, unless the request uses it: then false. */
static bool forget_oldest(struct cdev_session *s)
{
	struct cdev_file **at = &s->files;

	while ((*at)->next)
		at = &(*at)->next;
	if (in_request(s, *at))
		return false;
	file_free(*at);
	*at = NULL;
	s->nfiles--;
	return true;
}

static int take_one(struct cdev_session *s, unsigned i, int fd)
{
	const struct cdev_mem *mem = &s->mem[i];
	struct cdev_file *file;
	struct stat st;
	int err;

	if (!mem->size || mem->size - 1 > UINT64_MAX - mem->uaddr ||
	    mem->size - 1 > UINT64_MAX - mem->offset)
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	s->mem_file[i] = find(s, &st, mem);
	if (s->mem_file[i])
		return 0;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->writable = mem->writable;
	err = map_file(file, fd, (uint64_t)st.st_size, mem);
	if (err) {
		free(file);
		return err;
	}
	file->next = s->files;
	s->files = file;
	s->mem_file[i] = file;
	s->nfiles++;
	return 0;
}

int cdev_mem_take(struct cdev_session *s, const struct vdpa_fds *fds)
{
	int err = 0;

	for (unsigned i = 0; i < s->nmem; i++)
		s->mem_file[i] = NULL;
	for (unsigned i = 0; i < s->nmem && !err; i++)
		err = take_one(s, i, fds->fd[i]);
	while (s->nfiles > FILES_MAX && forget_oldest(s))
		;
	return err;
}

int cdev_mem_resolve(void *arg, uint64_t uaddr, uint64_t size, struct vhost_vdpa_piece *piece)
{
	const struct cdev *cdev = arg;
	const struct cdev_session *s = cdev->session;

	for (unsigned i = 0; s && i < s->nmem; i++) {
		const struct cdev_mem *mem = &s->mem[i];
		uint64_t skip = uaddr - mem->uaddr;

		if (uaddr < mem->uaddr || skip >= mem->size)
			continue;
		piece->region = s->mem_file[i]->region;
		piece->off = mem->offset - s->mem_file[i]->offset + skip;
		piece->size = mem->size - skip < size ? mem->size - skip : size;
		return 0;
	}
	return -EFAULT;
}

void cdev_mem_free(struct cdev_session *s)
{
	while (s->files) {
		struct cdev_file *file = s->files;

		s->files = file->next;
		file_free(file);
	}
	s->nfiles = 0;
}
