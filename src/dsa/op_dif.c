// SPDX-License-Identifier: BSD-3-Clause
/*
 * Data Integrity Fields: eight bytes after each block of data, as T10 has them, big-endian: guard
 * (CRC-16 of the data, polynomial 0x8bb7, by isa-l), application tag, reference tag.
 *
 * Who attacks: memory that changes between check and copy. Each block is copied once, and the copy
 * is what is checked and written on.
 */
#include <errno.h>
#include <isa-l/crc.h>

#include "dsa/impl.h"

#define DIF 8u
/* Blocks at a time, so that a step is about as long as one of other operations. */
#define STEP_BLOCKS 64u

_Static_assert(DSA_SCRATCH >= 4104 + DIF, "a block fits");

static const uint16_t block_bytes[4] = {512, 520, 4096, 4104};

static uint32_t block_of(const struct dsa_desc *d)
{
	return block_bytes[d->raw[42] & DSA_DIF_BLOCK];
}

/* ---- checks of descriptors ---- */

static uint8_t check_common(const struct dsa_desc *d, uint32_t unit, uint8_t dst_reserved)
{
	if (d->raw[42] & ~(DSA_DIF_BLOCK | DSA_DIF_INVERT_SEED | DSA_DIF_INVERT_RESULT))
		return DSA_COMP_NOZERO_RESERVE;
	if (d->raw[41] & dst_reserved)
		return DSA_COMP_NOZERO_RESERVE;
	return d->size % unit ? DSA_COMP_XFER_ERANGE : 0;
}

static uint8_t check_apart(const struct dsa_desc *d, uint64_t dst_bytes)
{
	return dsa_overlap(d->src, d->size, d->dst, dst_bytes) ? DSA_COMP_OVERLAP_BUFFERS : 0;
}

#define DST_NO_PASS (0x07 | DSA_DIF_DST_PASS_APP | DSA_DIF_DST_PASS_GUARD | DSA_DIF_DST_PASS_REF)

uint8_t dsa_check_dif_check(const struct dsa_desc *d)
{
	return check_common(d, block_of(d) + DIF, 0xff);
}

uint8_t dsa_check_dif_ins(const struct dsa_desc *d)
{
	uint32_t block = block_of(d);
	uint8_t status = check_common(d, block, DST_NO_PASS);

	return status ? status : check_apart(d, (uint64_t)d->size / block * (block + DIF));
}

uint8_t dsa_check_dif_strp(const struct dsa_desc *d)
{
	uint32_t block = block_of(d);
	uint8_t status = check_common(d, block + DIF, 0xff);

	return status ? status : check_apart(d, (uint64_t)d->size / (block + DIF) * block);
}

uint8_t dsa_check_dif_updt(const struct dsa_desc *d)
{
	uint8_t status = check_common(d, block_of(d) + DIF, 0x07);

	return status ? status : check_apart(d, d->size);
}

uint8_t dsa_check_dix_gen(const struct dsa_desc *d)
{
	uint32_t block = block_of(d);
	uint8_t status = check_common(d, block, DST_NO_PASS);

	return status ? status : check_apart(d, (uint64_t)d->size / block * DIF);
}

/* ---- fields ---- */

struct dif {
	uint16_t guard, app;
	uint32_t ref;
};

static struct dif dif_get(const uint8_t *p)
{
	return (struct dif){
		.guard = (uint16_t)(p[0] << 8 | p[1]),
		.app = (uint16_t)(p[2] << 8 | p[3]),
		.ref = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7],
	};
}

static void dif_put(uint8_t *p, const struct dif *dif)
{
	p[0] = (uint8_t)(dif->guard >> 8);
	p[1] = (uint8_t)dif->guard;
	p[2] = (uint8_t)(dif->app >> 8);
	p[3] = (uint8_t)dif->app;
	for (unsigned i = 0; i < 4; i++)
		p[4 + i] = (uint8_t)(dif->ref >> (24 - 8 * i));
}

static uint16_t guard_of(const struct dsa_desc *d, const uint8_t *data, uint32_t len)
{
	uint16_t crc = crc16_t10dif(d->raw[42] & DSA_DIF_INVERT_SEED ? 0xffff : 0, data, len);

	return d->raw[42] & DSA_DIF_INVERT_RESULT ? (uint16_t)~crc : crc;
}

/* Does this block ask not to be checked? */
static bool exempt(uint8_t flags, const struct dif *dif)
{
	bool app = dif->app == 0xffff, ref = dif->ref == 0xffffffff;

	if (flags & DSA_DIF_SRC_F_APP && app)
		return true;
	if (flags & DSA_DIF_SRC_F_TAGS && app && ref)
		return true;
	return flags & DSA_DIF_SRC_F_ALL && app && ref && dif->guard == 0xffff;
}

/* What is wrong with a block: bits of the record's DIF status. */
static uint8_t verify(const struct dsa_run *run, const uint8_t *block, uint32_t len)
{
	const struct dsa_desc *d = &run->d;
	uint8_t flags = d->raw[40], bad = 0;
	struct dif dif = dif_get(block + len);
	uint16_t mask = dsa_desc_u16(d, 52);

	if (flags & DSA_DIF_SRC_F_ALL && flags & DSA_DIF_SRC_F_ERROR && dif.guard == 0xffff &&
	    dif.app == 0xffff && dif.ref == 0xffffffff)
		return DSA_DIF_ALL_F;
	if (exempt(flags, &dif))
		return 0;
	if (!(flags & DSA_DIF_SRC_NO_GUARD) && dif.guard != guard_of(d, block, len))
		bad |= DSA_DIF_BAD_GUARD;
	if (!(flags & DSA_DIF_SRC_NO_REF) && dif.ref != run->dif.src.ref)
		bad |= DSA_DIF_BAD_REF;
	if ((dif.app ^ run->dif.src.app) & ~mask)
		bad |= DSA_DIF_BAD_APP;
	return bad;
}

/* The field of a block that is written. @old: what it had, or NULL. */
static void compute(const struct dsa_run *run, uint8_t *block, uint32_t len, uint8_t *to)
{
	const struct dsa_desc *d = &run->d;
	uint8_t flags = d->raw[41];
	struct dif dif = {0};

	if (d->op == DSA_OPCODE_DIF_UPDT)
		dif = dif_get(block + len);
	if (!(flags & DSA_DIF_DST_PASS_GUARD))
		dif.guard = guard_of(d, block, len);
	if (!(flags & DSA_DIF_DST_PASS_APP))
		dif.app = (uint16_t)(run->dif.dst.app & ~dsa_desc_u16(d, 60));
	if (!(flags & DSA_DIF_DST_PASS_REF))
		dif.ref = run->dif.dst.ref;
	dif_put(to, &dif);
}

/* ---- blocks ---- */

static void begin(struct dsa_run *run)
{
	const struct dsa_desc *d = &run->d;

	if (run->begun)
		return;
	run->dif.src = (struct dsa_dif_tags){dsa_desc_u32(d, 48), dsa_desc_u16(d, 54)};
	run->dif.dst = (struct dsa_dif_tags){dsa_desc_u32(d, 56), dsa_desc_u16(d, 62)};
	run->begun = true;
}

/* A block was processed, of @bytes of the source. */
static void advance(struct dsa_run *run, uint32_t bytes)
{
	const uint8_t *raw = run->d.raw;

	if (!(raw[40] & DSA_DIF_SRC_FIXED_REF))
		run->dif.src.ref++;
	if (raw[40] & DSA_DIF_SRC_INC_APP)
		run->dif.src.app++;
	if (!(raw[41] & DSA_DIF_DST_FIXED_REF))
		run->dif.dst.ref++;
	if (raw[41] & DSA_DIF_DST_INC_APP)
		run->dif.dst.app++;
	run->done += bytes;
}

/* What is read of a block and what is written for it, in bytes; the rest is a matter of flags. */
struct shape {
	bool checked;	/* the source has fields, which are checked */
	bool data, dif; /* are written */
};

static int one_block(struct dsa_mem *mem, struct dsa_run *run, const struct shape *shape)
{
	uint32_t len = block_of(&run->d), bytes = shape->checked ? len + DIF : len;
	uint32_t out = (shape->data ? len : 0) + (shape->dif ? DIF : 0);
	uint64_t to = run->d.dst + run->done / bytes * out;
	uint8_t *block = mem->scratch;
	int ret = dsa_mem_read(mem, run->d.src + run->done, block, bytes);

	if (ret)
		return ret;
	if (shape->checked)
		run->result = verify(run, block, len);
	if (run->result) {
		run->status = DSA_COMP_DIF_ERR;
		run->completed = (uint32_t)run->done;
		return DSA_STEP_DONE;
	}
	if (shape->dif)
		compute(run, block, len, block + len);
	if (out)
		ret = dsa_mem_write(mem, to, shape->data ? block : block + len, out, out);
	if (ret)
		return ret;
	advance(run, bytes);
	return run->done < run->d.size;
}

static int blocks(struct dsa_mem *mem, struct dsa_run *run, const struct shape *shape)
{
	int ret = DSA_STEP_MORE;

	begin(run);
	for (unsigned i = 0; i < STEP_BLOCKS && ret == DSA_STEP_MORE; i++)
		ret = one_block(mem, run, shape);
	return ret;
}

int dsa_step_dif_check(struct dsa_mem *mem, struct dsa_run *run)
{
	return blocks(mem, run, &(struct shape){.checked = true});
}

int dsa_step_dif_ins(struct dsa_mem *mem, struct dsa_run *run)
{
	return blocks(mem, run, &(struct shape){.data = true, .dif = true});
}

int dsa_step_dif_strp(struct dsa_mem *mem, struct dsa_run *run)
{
	return blocks(mem, run, &(struct shape){.checked = true, .data = true});
}

int dsa_step_dif_updt(struct dsa_mem *mem, struct dsa_run *run)
{
	return blocks(mem, run, &(struct shape){.checked = true, .data = true, .dif = true});
}

/* The fields alone, one after the other. */
int dsa_step_dix_gen(struct dsa_mem *mem, struct dsa_run *run)
{
	return blocks(mem, run, &(struct shape){.dif = true});
}

/* ---- records: the tags of the next block, with which the rest can be submitted ---- */

static void record_tags(const struct dsa_run *run, uint8_t *to, const struct dsa_dif_tags *tags,
			unsigned mask_off)
{
	uint32_t ref = htole32(tags->ref);
	uint16_t mask = htole16(dsa_desc_u16(&run->d, mask_off)), app = htole16(tags->app);

	if (!run->begun)
		return;
	memcpy(to, &ref, sizeof(ref));
	memcpy(to + 4, &mask, sizeof(mask));
	memcpy(to + 6, &app, sizeof(app));
}

void dsa_record_dif_src(const struct dsa_run *run, uint8_t *record)
{
	record_tags(run, record + 16, &run->dif.src, 52);
}

void dsa_record_dif_dst(const struct dsa_run *run, uint8_t *record)
{
	record_tags(run, record + 24, &run->dif.dst, 60);
}

void dsa_record_dif_updt(const struct dsa_run *run, uint8_t *record)
{
	dsa_record_dif_src(run, record);
	dsa_record_dif_dst(run, record);
}
