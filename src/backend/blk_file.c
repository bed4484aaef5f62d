// SPDX-License-Identifier: BSD-3-Clause
/* The file backend's table (blk_file.h has the theory). */
#include <stdio.h>
#include "backend/blk_file.h"

const char *const blk_file_caches[] = {"none",	 "writeback", "writethrough", "directsync",
				       "unsafe", "direct",    "buffered",     NULL};

static const struct vdpa_attr_spec file_attrs[] = {
	{.name = "path",
	 .type = VDPA_ATTR_PATH,
	 .required = true,
	 .help = "regular file or block device"},
	{.name = "cache",
	 .type = VDPA_ATTR_ENUM,
	 .choices = blk_file_caches,
	 .help = "as QEMU's: none past the page cache where that is possible (default), writeback "
		 "through it, both with flushes; directsync and writethrough sync each write; "
		 "unsafe never. direct is none, buffered is writeback"},
	{.name = "read_only", .type = VDPA_ATTR_BOOL, .help = "never write (default off)"},
	{.name = "fixed_buffers",
	 .type = VDPA_ATTR_BOOL,
	 .help = "keep the guest's memory pinned and known to the kernel, for direct I/O (default "
		 "off)"},
	{.name = "lock",
	 .type = VDPA_ATTR_BOOL,
	 .help = "refuse a file that another process uses (default on)"},
	{0},
};

static void file_get_info(struct blk_backend *be, struct blk_backend_info *info)
{
	struct file_disk *disk = to_file(be);

	*info = (struct blk_backend_info){
		.capacity_bytes = disk->capacity_bytes,
		.block_bytes = disk->block_bytes,
		.physical_block_bytes = disk->physical_block_bytes,
		.min_io_bytes = disk->physical_block_bytes,
		.alignment_bytes = disk->direct_fd < 0 ? 1 : disk->mem_align,
		.read_only = disk->read_only,
		.discard = disk->punch && !disk->read_only,
		.write_zeroes = !disk->read_only,
		.write_zeroes_unmap = disk->punch && !disk->read_only,
		.volatile_cache = !disk->writethrough && !disk->unsafe,
	};
}

static void file_set_writeback(struct blk_backend *be, bool writeback)
{
	atomic_store(&to_file(be)->writeback, writeback);
}

static void file_show(struct blk_backend *be,
		      void (*emit)(void *arg, const char *key, const char *value), void *arg)
{
	struct file_disk *disk = to_file(be);
	char text[32];

	emit(arg, "path", disk->path);
	emit(arg, "cache", disk->cache);
	emit(arg, "io",
	     disk->in_memory	   ? "in memory"
	     : disk->direct_fd < 0 ? "page cache"
				   : "direct");
	emit(arg, "fixed_buffers",
	     !disk->fixed_buffers		 ? "off"
	     : atomic_load(&disk->fixed_refused) ? "refused by the system"
						 : "on");
	emit(arg, "lock", disk->locked ? "on" : "off");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)disk->capacity_bytes);
	emit(arg, "size", text);
}

const struct blk_backend_ops blk_file_ops = {
	.name = "file",
	.help = "a file or block device, through io_uring",
	.attrs = file_attrs,
	.open = blk_file_open,
	.close = blk_file_close,
	.get_info = file_get_info,
	.set_writeback = file_set_writeback,
	.queue_open = blk_file_queue_open,
	.queue_close = blk_file_queue_close,
	.submit = blk_file_submit,
	.cancel = blk_file_cancel,
	.memory_gone = blk_file_fixed_gone,
	.poll = blk_file_poll,
	.show = file_show,
};
