// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memory Move, Fill, Dualcast and Cache Flush.
 *
 * Source and destination of a move may overlap (GENCAP.overlap); where the destination is the
 * higher one it is copied from the end, and a record of a part says so in its result.
 */
#include <errno.h>

#include "dsa/impl.h"

/* The end of a source that was copied so far backward: bytes from its start. */
static bool goes_backward(const struct dsa_desc *d)
{
	return d->dst > d->src && d->dst - d->src < d->size;
}

/* Pieces at the end of what is left: they have to end at the same place. */
static int move_backward(struct dsa_mem *mem, struct dsa_run *run)
{
	uint64_t left = run->d.size - run->done;
	size_t n = left < DSA_SCRATCH ? left : DSA_SCRATCH;
	int ret;

	if (n > mem->limit)
		n = mem->limit;
	ret = dsa_mem_read(mem, run->d.src + left - n, mem->scratch, n);
	if ((ret == -EFAULT || ret == -EAGAIN) && n > 1) {
		mem->limit = n / 2;
		return -EINTR;
	}
	if (!ret)
		ret = dsa_mem_write(mem, run->d.dst + left - n, mem->scratch, n, 1);
	if (ret)
		return ret;
	run->done += n;
	return run->done < run->d.size;
}

int dsa_step_memmove(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range src = {run->d.src + run->done, dsa_left(run), 1};
	struct dsa_range dst = {run->d.dst + run->done, src.want, 1};
	struct dsa_piece from, to;
	int ret;

	run->result = goes_backward(&run->d);
	if (run->result)
		return move_backward(mem, run);
	ret = dsa_mem_src(mem, &src, 0, &from);
	if (ret)
		return ret;
	dst.want = from.len;
	ret = dsa_mem_dst(mem, &dst, &to);
	if (ret)
		return ret;
	/* The same memory may have two addresses: memmove(), whatever the addresses say. */
	memmove(to.p, from.p, to.len);
	ret = dsa_mem_commit(mem, &dst, &to);
	if (ret)
		return ret;
	run->done += to.len;
	return run->done < run->d.size;
}

/* @p[0] is byte @phase of the pattern. */
static void fill(uint8_t *p, size_t len, uint64_t pattern, unsigned phase)
{
	uint64_t word = phase ? pattern >> 8 * phase | pattern << (64 - 8 * phase) : pattern;
	size_t i;

	word = htole64(word);
	for (i = 0; i + sizeof(word) <= len; i += sizeof(word))
		memcpy(p + i, &word, sizeof(word));
	memcpy(p + i, &word, len - i);
}

int dsa_step_fill(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range dst = {run->d.dst + run->done, dsa_left(run), 1};
	struct dsa_piece to;
	int ret = dsa_mem_dst(mem, &dst, &to);

	if (ret)
		return ret;
	fill(to.p, to.len, run->d.src, run->done % 8);
	ret = dsa_mem_commit(mem, &dst, &to);
	if (ret)
		return ret;
	run->done += to.len;
	return run->done < run->d.size;
}

/* The destinations are at the same place of a page, and apart. */
uint8_t dsa_check_dualcast(const struct dsa_desc *d)
{
	uint64_t dst2 = dsa_desc_u64(d, 40);

	if ((d->dst ^ dst2) & 0xfff)
		return DSA_COMP_DCAST_ERR;
	if (dsa_overlap(d->src, d->size, d->dst, d->size) ||
	    dsa_overlap(d->src, d->size, dst2, d->size) ||
	    dsa_overlap(d->dst, d->size, dst2, d->size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return 0;
}

/*
 * Both get the same, also when the source is changed meanwhile: it is read once. How much can be
 * written is asked of both before either is.
 */
int dsa_step_dualcast(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range src = {run->d.src + run->done, dsa_left(run), 1};
	struct dsa_range dst = {run->d.dst + run->done, 0, 1};
	uint64_t dst2 = dsa_desc_u64(&run->d, 40) + run->done;
	struct dsa_piece from, to;
	int ret;

	if (src.want > DSA_SCRATCH)
		src.want = DSA_SCRATCH;
	ret = dsa_mem_src(mem, &src, 0, &from);
	if (ret)
		return ret;
	dst.want = from.len;
	ret = dsa_mem_dst(mem, &dst, &to);
	if (ret)
		return ret;
	dst = (struct dsa_range){dst2, to.len, 1};
	ret = dsa_mem_dst(mem, &dst, &to);
	if (ret)
		return ret;
	memcpy(mem->scratch, from.p, to.len);
	ret = dsa_mem_write(mem, run->d.dst + run->done, mem->scratch, to.len, 1);
	if (!ret)
		ret = dsa_mem_write(mem, dst2, mem->scratch, to.len, 1);
	if (ret)
		return ret;
	run->done += to.len;
	return run->done < run->d.size;
}

/* Nothing here has a cache of its own: only that the memory is there. */
int dsa_step_cflush(struct dsa_mem *mem, struct dsa_run *run)
{
	struct dsa_range dst = {run->d.dst + run->done, dsa_left(run), 1};
	struct dsa_piece at;
	int ret;

	if (dst.want > DSA_SCRATCH)
		dst.want = DSA_SCRATCH;
	ret = dsa_mem_src(mem, &dst, 0, &at);
	if (ret)
		return ret;
	run->done += at.len;
	return run->done < run->d.size;
}
