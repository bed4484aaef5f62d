// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory of a descriptor: pieces of it that are contiguous in this process, or copies where there
 * is no such piece (memory by message; a unit that straddles two ranges).
 *
 * Who attacks: addresses and lengths are the descriptor's, ranges the peer's. Nothing is touched
 * that the view has not translated for this access. How far an operation gets before a fault is
 * told to its submitter byte for byte, so a piece that meets one is tried again at half its length,
 * until what fails is a single unit.
 */
#include <errno.h>

#include "dsa/impl.h"

#define PIECES 4
#define PAGE 4096u

/* A contiguous piece of at most @len bytes. */
static int piece_at(struct dsa_mem *mem, iova_t iova, size_t len, uint32_t perm,
		    struct dsa_piece *out)
{
	struct iovec iov[PIECES];
	int n;

	*out = (struct dsa_piece){.p = (uint8_t *)(uintptr_t)iova, .len = len};
	if (!mem->view)
		return 0;
	for (;; len /= 2) {
		memset(iov, 0, sizeof(iov));
		n = vdpa_view_xlate(mem->view, iova, len, perm, iov, PIECES);
		if (n > 0 || len == 1)
			break;
	}
	if (n < 0)
		return n;
	out->p = iov[0].iov_base;
	out->len = iov[0].iov_len;
	return 0;
}

/* An access to [@iova, @iova + @len) failed with @err: at which byte? */
static int fault(struct dsa_mem *mem, iova_t iova, size_t len, uint32_t perm)
{
	struct iovec iov;
	int n;

	mem->fault_write = perm == VHOST_MAP_WO;
	for (size_t i = 0; i < len; i++) {
		iov = (struct iovec){};
		n = vdpa_view_xlate(mem->view, iova + i, 1, perm, &iov, 1);
		if (n == -EFAULT || n == -EAGAIN) {
			mem->fault_addr = iova + i;
			return n;
		}
	}
	return -EIO;
}

static bool is_fault(int err)
{
	return err == -EFAULT || err == -EAGAIN;
}

/* As much of @n as is whole units. To divide by 1 takes as long as by any other number. */
static size_t whole(size_t n, size_t unit)
{
	return unit == 1 ? n : n - n % unit;
}

static size_t asked(const struct dsa_mem *mem, const struct dsa_range *range)
{
	size_t n = range->want < mem->limit ? range->want : mem->limit;

	return n > range->unit ? whole(n, range->unit) : range->unit;
}

/* Copy in as much as there is, at least a unit. */
static int bounce_in(struct dsa_mem *mem, const struct dsa_range *range, struct dsa_piece *out)
{
	size_t n = out->len;
	int ret;

	while ((ret = vdpa_view_read(mem->view, range->iova, out->p, n))) {
		if (!is_fault(ret))
			return -EIO;
		if (n == range->unit)
			return fault(mem, range->iova, n, VHOST_MAP_RO);
		n = n / 2 > range->unit ? whole(n / 2, range->unit) : range->unit;
	}
	out->len = n;
	return 0;
}

/* How much of [@iova, @iova + @len) can be written, page by page: what is less is for the write. */
static size_t writable(struct dsa_mem *mem, iova_t iova, size_t len)
{
	struct iovec iov[PIECES];
	size_t done = 0, n;
	int ret;

	while (done < len) {
		n = PAGE - (iova + done) % PAGE;
		n = n < len - done ? n : len - done;
		memset(iov, 0, sizeof(iov));
		ret = vdpa_view_xlate(mem->view, iova + done, n, VHOST_MAP_WO, iov, PIECES);
		if (ret < 0 && ret != -EREMOTE && ret != -E2BIG)
			break;
		done += n;
	}
	return done;
}

/* A piece, or where a copy of one goes. */
static int piece_or_bounce(struct dsa_mem *mem, const struct dsa_range *range, uint32_t perm,
			   uint8_t *bounce, struct dsa_piece *out)
{
	size_t n = asked(mem, range);
	int ret = piece_at(mem, range->iova, n, perm, out);

	if (ret && ret != -EREMOTE)
		return fault(mem, range->iova, 1, perm);
	if (!ret && out->len >= range->unit) {
		out->len = whole(out->len, range->unit);
		return 0;
	}
	if (n > DSA_SCRATCH)
		n = whole(DSA_SCRATCH, range->unit);
	if (perm == VHOST_MAP_WO && n > range->unit) {
		n = writable(mem, range->iova, n);
		n = n > range->unit ? whole(n, range->unit) : range->unit;
	}
	*out = (struct dsa_piece){.p = bounce, .len = n, .bounced = true};
	return 0;
}

int dsa_mem_src(struct dsa_mem *mem, const struct dsa_range *range, unsigned bounce,
		struct dsa_piece *out)
{
	int ret = piece_or_bounce(mem, range, VHOST_MAP_RO, mem->bounce[bounce], out);

	return !ret && out->bounced ? bounce_in(mem, range, out) : ret;
}

int dsa_mem_dst(struct dsa_mem *mem, const struct dsa_range *range, struct dsa_piece *out)
{
	return piece_or_bounce(mem, range, VHOST_MAP_WO, mem->bounce[1], out);
}

int dsa_mem_commit(struct dsa_mem *mem, const struct dsa_range *range, struct dsa_piece *piece)
{
	if (piece->bounced)
		return dsa_mem_write(mem, range->iova, piece->p, piece->len, range->unit);
	if (mem->view)
		vdpa_view_dirty(mem->view, piece->p, piece->len);
	return 0;
}

int dsa_mem_read(struct dsa_mem *mem, iova_t iova, void *buf, size_t len)
{
	int ret;

	if (!mem->view) {
		memcpy(buf, (const void *)(uintptr_t)iova, len);
		return 0;
	}
	ret = vdpa_view_read(mem->view, iova, buf, len);
	if (is_fault(ret))
		return fault(mem, iova, len, VHOST_MAP_RO);
	return ret ? -EIO : 0;
}

int dsa_mem_write(struct dsa_mem *mem, iova_t iova, const void *buf, size_t len, size_t unit)
{
	int ret;

	if (!mem->view) {
		memcpy((void *)(uintptr_t)iova, buf, len);
		return 0;
	}
	ret = vdpa_view_write(mem->view, iova, buf, len);
	if (is_fault(ret) && len > unit) {
		mem->limit = len / 2 > unit ? len / 2 : unit;
		return -EINTR;
	}
	if (is_fault(ret))
		return fault(mem, iova, len, VHOST_MAP_WO);
	return ret ? -EIO : 0;
}
