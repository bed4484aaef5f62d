// SPDX-License-Identifier: BSD-3-Clause
/*
 * The only program of a guest that is migrated while its disk writes into its memory. It reads
 * random blocks of the disk into random places of its memory, past all caches, so that the pages
 * are written by the device alone; it knows which block is where, and looks again and again whether
 * that is so. Block n of the disk is full of the number n: a page that the device wrote and that
 * did not come along holds another one.
 *
 * It says on its console: "reading", then "round N", or "BAD page ...".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096u
#define BLOCKS 16384u /* of the disk: 64 MiB */
#define PAGES 4096u   /* of memory: 16 MiB */
#define RUN 8u	      /* pages of a request */
#define READS 256u    /* of a round */

static int console = 2;

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(console, fmt, ap);
	va_end(ap);
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	say("BAD %s: %m\n", what);
	sync();
	for (;;)
		pause();
}

static uint32_t rnd(uint32_t below)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16) % below;
}

static void set_up(void)
{
	int module;

	mkdir("/dev", 0755);
	must(mount("dev", "/dev", "devtmpfs", 0, NULL) == 0, "devtmpfs");
	console = open("/dev/ttyS0", O_WRONLY);
	module = open("/virtio_blk.ko", O_RDONLY);
	must(module >= 0 && syscall(SYS_finit_module, module, "", 0) == 0, "virtio_blk");
	for (int i = 0; i < 200 && access("/dev/vda", R_OK); i++)
		usleep(50000);
}

static void read_some(int disk, uint8_t *mem, uint32_t *owner)
{
	uint32_t page = rnd(PAGES - RUN), block = rnd(BLOCKS - RUN);
	ssize_t n = pread(disk, mem + (size_t)page * BLOCK, RUN * BLOCK, (off_t)block * BLOCK);

	must(n == RUN * BLOCK, "read");
	for (uint32_t i = 0; i < RUN; i++)
		owner[page + i] = block + i;
}

static void check(const uint8_t *mem, const uint32_t *owner)
{
	for (uint32_t page = 0; page < PAGES; page++) {
		const uint32_t *word = (const void *)(mem + (size_t)page * BLOCK);

		for (uint32_t i = 0; i < BLOCK / 4; i++) {
			if (word[i] == owner[page])
				continue;
			say("BAD page %u: block %u is to be there, and %u is at word %u\n", page,
			    owner[page], word[i], i);
			must(0, "memory");
		}
	}
}

int main(void)
{
	uint32_t *owner = calloc(PAGES, sizeof(*owner));
	uint8_t *mem;
	int disk;

	set_up();
	disk = open("/dev/vda", O_RDONLY | O_DIRECT);
	must(disk >= 0, "/dev/vda");
	mem = mmap(NULL, PAGES * BLOCK, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must(mem != MAP_FAILED && owner, "memory");
	say("reading\n");
	for (unsigned round = 1;; round++) {
		for (unsigned i = 0; i < READS; i++)
			read_some(disk, mem, owner);
		check(mem, owner);
		say("round %u\n", round);
	}
}
