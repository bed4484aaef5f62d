// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a descriptor may be: one table of operations (section 5 of the specification has one for
 * flags, section 8 the layouts), and the checks in the order in which they are made. The first that
 * fails is told.
 */
#include "dsa/impl.h"

#define FENCE IDXD_OP_FLAG_FENCE
#define BOF IDXD_OP_FLAG_BOF
#define CR IDXD_OP_FLAG_CR
#define CC IDXD_OP_FLAG_CC
#define TC1 IDXD_OP_FLAG_ADDR1_TCS
#define TC2 IDXD_OP_FLAG_ADDR2_TCS
#define TC3 IDXD_OP_FLAG_ADDR3_TCS
/* How a destination is written. There are no steering tags to select, and memory is coherent. */
#define DEST (CC | TC2 | IDXD_OP_FLAG_STORD | IDXD_OP_FLAG_DSTS)
#define ALL_OPS                                                                                    \
	(IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_RCI | IDXD_OP_FLAG_CRSTS |            \
	 IDXD_OP_FLAG_CR_TCS)
#define CRC_FLAGS (DSA_FLAG_CRC_SEED_ADDR | DSA_FLAG_CRC_RAW | DSA_FLAG_CRC_DATA_MSB)

/* Bytes @first to @last. */
#define BYTES(first, last) (UINT64_MAX >> (63 - (last) + (first)) << (first))
#define SRC BYTES(16, 23)
#define DST BYTES(24, 31)
#define SIZE BYTES(32, 35)

static const struct dsa_op_info ops[] = {
	[DSA_OPCODE_NOOP] = {.flags = FENCE, .reserved = SRC | DST | SIZE | BYTES(40, 63)},
	[DSA_OPCODE_BATCH] = {.flags = TC1, .reserved = DST | BYTES(40, 63)},
	[DSA_OPCODE_DRAIN] = {.flags = TC1 | TC2 | DSA_FLAG_DRAIN_NO_READBACK_A |
				       DSA_FLAG_DRAIN_NO_READBACK_B,
			      .reserved = SRC | DST | SIZE | BYTES(40, 63)},
	[DSA_OPCODE_MEMMOVE] = {.flags = FENCE | BOF | TC1 | DEST,
				.reserved = BYTES(40, 63),
				.step = dsa_step_memmove,
				.sized = true},
	[DSA_OPCODE_MEMFILL] = {.flags = FENCE | BOF | DEST,
				.reserved = BYTES(40, 63),
				.step = dsa_step_fill,
				.sized = true},
	[DSA_OPCODE_COMPARE] = {.flags = FENCE | BOF | CR | TC1 | TC2,
				.reserved = BYTES(41, 63),
				.check = dsa_check_compare,
				.step = dsa_step_compare,
				.sized = true},
	[DSA_OPCODE_COMPVAL] = {.flags = FENCE | BOF | CR | TC1,
				.reserved = BYTES(41, 63),
				.check = dsa_check_compare,
				.step = dsa_step_compval,
				.sized = true},
	[DSA_OPCODE_CR_DELTA] = {.flags = FENCE | BOF | CR | TC1 | TC3 | DEST,
				 .reserved = BYTES(52, 55) | BYTES(57, 63),
				 .check = dsa_check_cr_delta,
				 .step = dsa_step_cr_delta,
				 .record = dsa_record_cr_delta,
				 .sized = true},
	[DSA_OPCODE_AP_DELTA] = {.flags = FENCE | BOF | TC1 | DEST,
				 .reserved = BYTES(44, 63),
				 .check = dsa_check_ap_delta,
				 .step = dsa_step_ap_delta,
				 .sized = true},
	[DSA_OPCODE_DUALCAST] = {.flags = FENCE | BOF | TC1 | TC3 | DEST | DSA_FLAG_DUALCAST_DSTS2,
				 .reserved = BYTES(48, 63),
				 .check = dsa_check_dualcast,
				 .step = dsa_step_dualcast,
				 .sized = true},
	[DSA_OPCODE_CRCGEN] = {.flags = FENCE | BOF | TC1 | TC3 | CRC_FLAGS,
			       .reserved = DST | BYTES(44, 47) | BYTES(56, 63),
			       .check = dsa_check_crc,
			       .step = dsa_step_crcgen,
			       .record = dsa_record_crc,
			       .sized = true},
	[DSA_OPCODE_COPY_CRC] = {.flags = FENCE | BOF | TC1 | TC3 | DEST | CRC_FLAGS,
				 .reserved = BYTES(44, 47) | BYTES(56, 63),
				 .check = dsa_check_copy,
				 .step = dsa_step_copy_crc,
				 .record = dsa_record_crc,
				 .sized = true},
	[DSA_OPCODE_DIF_CHECK] = {.flags = FENCE | BOF | TC1,
				  .reserved = DST | BYTES(41, 41) | BYTES(43, 47) | BYTES(56, 63),
				  .check = dsa_check_dif_check,
				  .step = dsa_step_dif_check,
				  .record = dsa_record_dif_src,
				  .sized = true},
	[DSA_OPCODE_DIF_INS] = {.flags = FENCE | BOF | TC1 | DEST,
				.reserved = BYTES(40, 40) | BYTES(43, 55),
				.check = dsa_check_dif_ins,
				.step = dsa_step_dif_ins,
				.record = dsa_record_dif_dst,
				.sized = true},
	[DSA_OPCODE_DIF_STRP] = {.flags = FENCE | BOF | TC1 | DEST,
				 .reserved = BYTES(41, 41) | BYTES(43, 47) | BYTES(56, 63),
				 .check = dsa_check_dif_strp,
				 .step = dsa_step_dif_strp,
				 .record = dsa_record_dif_src,
				 .sized = true},
	[DSA_OPCODE_DIF_UPDT] = {.flags = FENCE | BOF | TC1 | DEST,
				 .reserved = BYTES(43, 47),
				 .check = dsa_check_dif_updt,
				 .step = dsa_step_dif_updt,
				 .record = dsa_record_dif_updt,
				 .sized = true},
	[DSA_DIX_GEN] = {.flags = FENCE | BOF | TC1 | DEST,
			 .reserved = BYTES(40, 40) | BYTES(43, 55),
			 .check = dsa_check_dix_gen,
			 .step = dsa_step_dix_gen,
			 .record = dsa_record_dif_dst,
			 .sized = true},
	[DSA_OPCODE_CFLUSH] = {.flags = FENCE | BOF | CC | TC2,
			       .reserved = SRC | BYTES(40, 63),
			       .step = dsa_step_cflush,
			       .sized = true},
};

const struct dsa_op_info *dsa_op_info(uint8_t op)
{
	return op < 64 && DSA_OPCAP >> op & 1 ? &ops[op] : NULL;
}

void dsa_desc_parse(struct dsa_desc *d, const uint8_t *raw)
{
	uint32_t op;

	memcpy(d->raw, raw, DSA_DESC_BYTES);
	op = dsa_desc_u32(d, 4);
	d->flags = op & 0xffffff;
	d->op = (uint8_t)(op >> 24);
	d->record = dsa_desc_u64(d, 8);
	d->src = dsa_desc_u64(d, 16);
	d->dst = dsa_desc_u64(d, 24);
	d->size = dsa_desc_u32(d, 32);
	d->handle = dsa_desc_u16(d, 36);
}

/* A range that wraps goes to the end of all addresses. */
bool dsa_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	uint64_t a_last = a + a_len - 1, b_last = b + b_len - 1;

	if (!a_len || !b_len)
		return false;
	if (a_last < a)
		a_last = UINT64_MAX;
	if (b_last < b)
		b_last = UINT64_MAX;
	return a <= b_last && b <= a_last;
}

static uint32_t invalid_flags(const struct dsa_queue *queue, const struct dsa_op_info *info,
			      uint32_t flags, bool in_batch)
{
	uint32_t allowed = info->flags | ALL_OPS;

	/* "Reserved in descriptors that are submitted to a work queue": section on flags. */
	if (!in_batch)
		allowed &= ~(uint32_t)FENCE;
	if (!queue->config.block_on_fault)
		allowed &= ~(uint32_t)BOF;
	/* A record that is requested has to have an address. */
	if (!(flags & IDXD_OP_FLAG_CRAV))
		allowed &= ~(uint32_t)IDXD_OP_FLAG_RCR;
	return flags & ~allowed;
}

/* Bit n: byte n of @d is not zero. */
static uint64_t used_bytes(const struct dsa_desc *d)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t used = 0, v;

	for (unsigned i = 0; i < DSA_DESC_BYTES; i += 8) {
		v = dsa_desc_u64(d, i);
		/* The highest bit of each byte that is used; then these eight side by side. */
		v = (((v & low) + low) | v) & ~low;
		used |= (v >> 7) * UINT64_C(0x0102040810204080) >> 56 << i;
	}
	return used;
}

static bool reserved_used(const struct dsa_desc *d, const struct dsa_op_info *info)
{
	/* Bits 30:20 of the first word, and bytes 38 and 39. */
	if (dsa_desc_u32(d, 0) & 0x7ff00000 || dsa_desc_u16(d, 38))
		return true;
	return used_bytes(d) & info->reserved;
}

static bool count_allowed(const struct dsa_queue *queue, const struct dsa_desc *d)
{
	return d->size >= 2 && d->size <= queue->max_batch;
}

static uint8_t check_batch(const struct dsa_queue *queue, const struct dsa_desc *d)
{
	if (!count_allowed(queue, d))
		return DSA_COMP_DESC_CNT_ERANGE;
	return d->src % DSA_DESC_BYTES ? DSA_COMP_DESCLIST_ALIGN : 0;
}

static uint8_t check_op(const struct dsa_queue *queue, const struct dsa_op_info *info,
			const struct dsa_desc *d)
{
	if (d->op == DSA_OPCODE_BATCH)
		return check_batch(queue, d);
	if (info->sized && (!d->size || d->size > queue->max_xfer))
		return DSA_COMP_XFER_ERANGE;
	return info->check ? info->check(d) : 0;
}

uint8_t dsa_desc_check(const struct dsa_queue *queue, struct dsa_run *run, bool in_batch)
{
	const struct dsa_queue_config *config = &queue->config;
	const struct dsa_desc *d = &run->d;
	const struct dsa_op_info *info = dsa_op_info(d->op);

	if (d->flags & IDXD_OP_FLAG_CRAV && d->record % DSA_RECORD_BYTES)
		return DSA_COMP_CRA_ALIGN;
	if (!info || !(queue->opcap >> d->op & 1))
		return DSA_COMP_BAD_OPCODE;
	if (in_batch && (d->op == DSA_OPCODE_BATCH || d->op == DSA_OPCODE_DRAIN))
		return DSA_COMP_BAD_OPCODE;
	run->invalid_flags = invalid_flags(queue, info, d->flags, in_batch);
	if (run->invalid_flags)
		return DSA_COMP_INVALID_FLAGS;
	if (!in_batch && d->raw[3] & 0x80 && !config->priv)
		return DSA_COMP_PRIV_BAD;
	if (reserved_used(d, info))
		return DSA_COMP_NOZERO_RESERVE;
	if (d->flags & IDXD_OP_FLAG_RCI && config->ops && config->ops->handle_valid &&
	    !config->ops->handle_valid(config->arg, d->handle))
		return DSA_COMP_INT_HANDLE_INVAL;
	return check_op(queue, info, d);
}
