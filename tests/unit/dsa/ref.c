// SPDX-License-Identifier: BSD-3-Clause
/* The naive reference: plain loops over bytes, CRCs bit by bit (tables made so), no pieces. */
#include "ref.h"

/* One access that failed. */
struct fault {
	bool hit, write;
	uint64_t addr;
};

/* One descriptor's state. */
struct one {
	struct ref *r;
	const uint8_t *d;
	uint32_t flags, size;
	uint64_t src, dst, record;
	struct fault fault;
	uint8_t status, result;
	uint32_t bytes; /* completed, as the record has it */
	uint32_t done;
	uint8_t own[16]; /* record bytes 16 to 31 */
	bool batch;
	unsigned index;
};

/* ---- memory ---- */

static bool allowed(const struct ref *r, uint64_t addr, uint32_t perm)
{
	uint64_t off = addr - r->base;

	return addr >= r->base && off / REF_PAGE < r->pages && r->perm[off / REF_PAGE] & perm;
}

static bool can(struct one *o, uint64_t addr, uint64_t len, bool write)
{
	for (uint64_t i = 0; i < len; i++) {
		if (!allowed(o->r, addr + i, write ? VHOST_MAP_WO : VHOST_MAP_RO)) {
			o->fault = (struct fault){true, write, addr + i};
			return false;
		}
	}
	return true;
}

static uint8_t *at(struct one *o, uint64_t addr)
{
	return &o->r->mem[addr - o->r->base];
}

static bool overlaps(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
	unsigned __int128 a0 = a, b0 = b;

	return na && nb && a0 < b0 + nb && b0 < a0 + na;
}

/* ---- checksums ---- */

static uint8_t mirror(uint8_t v)
{
	uint8_t m = 0;

	for (unsigned i = 0; i < 8; i++)
		m |= (uint8_t)((v >> i & 1) << (7 - i));
	return m;
}

static uint32_t mirror32(uint32_t v)
{
	uint32_t m = 0;

	for (unsigned i = 0; i < 32; i++)
		m |= (v >> i & 1) << (31 - i);
	return m;
}

/* Most significant bit first, as in a textbook; what is reflected is reflected outside. */
uint32_t ref_crc32c(uint32_t crc, const uint8_t *p, size_t len, bool data_msb)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= (uint32_t)(data_msb ? p[i] : mirror(p[i])) << 24;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 0x80000000 ? crc << 1 ^ 0x1edc6f41 : crc << 1;
	}
	return crc;
}

uint16_t ref_crc16(uint16_t crc, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= (uint16_t)(p[i] << 8);
		for (unsigned bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1);
	}
	return crc;
}

/* ---- operations: false when memory stopped them ---- */

/* A fault ends it here, with what is done so far. */
static void stopped(struct one *o)
{
	o->bytes = o->done;
}

static void op_memmove(struct one *o)
{
	bool backward = o->dst > o->src && o->dst - o->src < o->size;

	o->result = backward;
	for (; o->done < o->size; o->done++) {
		uint64_t i = backward ? o->size - 1 - o->done : o->done;

		if (!can(o, o->src + i, 1, false) || !can(o, o->dst + i, 1, true)) {
			stopped(o);
			return;
		}
		*at(o, o->dst + i) = *at(o, o->src + i);
	}
}

static void op_fill(struct one *o)
{
	for (; o->done < o->size; o->done++) {
		if (!can(o, o->dst + o->done, 1, true)) {
			stopped(o);
			return;
		}
		*at(o, o->dst + o->done) = o->d[16 + o->done % 8];
	}
}

static void op_cflush(struct one *o)
{
	for (; o->done < o->size; o->done++) {
		if (!can(o, o->dst + o->done, 1, false)) {
			stopped(o);
			return;
		}
	}
}

static void op_compare(struct one *o, bool pattern)
{
	for (; o->done < o->size && !o->result; o->done++) {
		uint8_t second;

		if (!can(o, o->src + o->done, 1, false) ||
		    (!pattern && !can(o, o->dst + o->done, 1, false))) {
			stopped(o);
			return;
		}
		second = pattern ? o->d[24 + o->done % 8] : *at(o, o->dst + o->done);
		if (*at(o, o->src + o->done) != second) {
			o->result = 1;
			o->bytes = o->done;
		}
	}
	if (o->flags & IDXD_OP_FLAG_CR && o->d[40] != o->result)
		o->status = DSA_COMP_SUCCESS_PRED;
}

static void op_dualcast(struct one *o)
{
	uint64_t dst2 = get64(o->d + 40);

	for (; o->done < o->size; o->done++) {
		if (!can(o, o->src + o->done, 1, false) || !can(o, o->dst + o->done, 1, true) ||
		    !can(o, dst2 + o->done, 1, true)) {
			stopped(o);
			return;
		}
		*at(o, o->dst + o->done) = *at(o, dst2 + o->done) = *at(o, o->src + o->done);
	}
}

static void op_cr_delta(struct one *o)
{
	uint64_t record = get64(o->d + 40);
	uint32_t used = 0, max = get32(o->d + 48);

	for (; o->done < o->size; o->done += 8) {
		if (!can(o, o->src + o->done, 8, false) || !can(o, o->dst + o->done, 8, false)) {
			stopped(o);
			break;
		}
		if (!memcmp(at(o, o->src + o->done), at(o, o->dst + o->done), 8))
			continue;
		if (used + 10 > max) {
			o->result = 2;
			o->bytes = o->done;
			break;
		}
		if (!can(o, record + used, 10, true)) {
			stopped(o);
			break;
		}
		put16(at(o, record + used), (uint16_t)(o->done / 8));
		memcpy(at(o, record + used + 2), at(o, o->dst + o->done), 8);
		used += 10;
	}
	put32(o->own, used);
	if (o->fault.hit)
		return;
	if (!o->result && used)
		o->result = 1;
	if (o->flags & IDXD_OP_FLAG_CR && !(o->d[56] & 1 << o->result))
		o->status = DSA_COMP_SUCCESS_PRED;
}

static void op_ap_delta(struct one *o)
{
	uint32_t bytes = get32(o->d + 40);
	int last = -1;

	for (; o->done < bytes; o->done += 10) {
		const uint8_t *entry;
		int word;

		if (!can(o, o->src + o->done, 10, false)) {
			stopped(o);
			return;
		}
		entry = at(o, o->src + o->done);
		word = get16(entry);
		if (word <= last)
			o->status = DSA_COMP_DR_OFFSET_NOINC;
		else if ((uint32_t)word * 8 >= o->size)
			o->status = DSA_COMP_DR_OFFSET_ERANGE;
		if (o->status != DSA_COMP_SUCCESS ||
		    !can(o, o->dst + (uint64_t)word * 8, 8, true)) {
			stopped(o);
			return;
		}
		memmove(at(o, o->dst + (uint64_t)word * 8), entry + 2, 8);
		last = word;
	}
}

static void op_crc(struct one *o, bool copy)
{
	bool raw = o->flags & DSA_FLAG_CRC_RAW;
	uint64_t seed_addr = get64(o->d + 48);
	uint32_t crc = get32(o->d + 40);

	if (o->flags & DSA_FLAG_CRC_SEED_ADDR) {
		if (!can(o, seed_addr, 4, false)) {
			stopped(o);
			return;
		}
		crc = get32(at(o, seed_addr));
	}
	if (!raw)
		crc = mirror32(~crc);
	for (; o->done < o->size; o->done++) {
		if (!can(o, o->src + o->done, 1, false) ||
		    (copy && !can(o, o->dst + o->done, 1, true))) {
			stopped(o);
			break;
		}
		crc = ref_crc32c(crc, at(o, o->src + o->done), 1, o->flags & DSA_FLAG_CRC_DATA_MSB);
		if (copy)
			*at(o, o->dst + o->done) = *at(o, o->src + o->done);
	}
	put32(o->own, raw ? crc : ~mirror32(crc));
}

/* ---- integrity fields ---- */

static const uint32_t block_sizes[4] = {512, 520, 4096, 4104};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint16_t guard(const struct one *o, const uint8_t *p, uint32_t len)
{
	uint16_t crc = ref_crc16(o->d[42] & 4 ? 0xffff : 0, p, len);

	return o->d[42] & 8 ? (uint16_t)~crc : crc;
}

static uint8_t judge(const struct one *o, const uint8_t *p, uint32_t len, uint32_t ref,
		     uint16_t app)
{
	uint8_t f = o->d[40], bad = 0;
	const uint8_t *dif = p + len;
	bool g = dif[0] == 0xff && dif[1] == 0xff, a = dif[2] == 0xff && dif[3] == 0xff;
	bool t = be16(dif + 4) == 0xffff && be16(dif + 6) == 0xffff;
	uint16_t mask = get16(o->d + 52);

	if (f & 2 && g && a && t)
		return f & 1 ? 8 : 0;
	if ((f & 4 && a) || (f & 8 && a && t))
		return 0;
	if (!(f & 0x20) && be16(dif) != guard(o, p, len))
		bad |= 1;
	if ((be16(dif + 2) & ~mask & 0xffff) != (app & ~mask & 0xffff))
		bad |= 2;
	if (!(f & 0x40) && ((uint32_t)be16(dif + 4) << 16 | be16(dif + 6)) != ref)
		bad |= 4;
	return bad;
}

static void stamp(const struct one *o, uint8_t *p, uint32_t len, uint32_t ref, uint16_t app)
{
	uint8_t f = o->d[41], *dif = p + len;
	uint16_t g = guard(o, p, len);

	app &= (uint16_t)~get16(o->d + 60);
	if (!(f & 0x20)) {
		dif[0] = (uint8_t)(g >> 8);
		dif[1] = (uint8_t)g;
	}
	if (!(f & 0x08)) {
		dif[2] = (uint8_t)(app >> 8);
		dif[3] = (uint8_t)app;
	}
	for (unsigned i = 0; i < 4 && !(f & 0x40); i++)
		dif[4 + i] = (uint8_t)(ref >> (24 - 8 * i));
}

struct tags {
	uint32_t ref;
	uint16_t app;
};

static void own_tags(uint8_t *to, const struct tags *t, uint16_t mask)
{
	put32(to, t->ref);
	put16(to + 4, mask);
	put16(to + 6, t->app);
}

/* What is read and written for a block of @len: with (8) or without (0) its field. */
static void op_dif(struct one *o, bool in, bool data, bool out)
{
	uint32_t len = block_sizes[o->d[42] & 3], step = len + (in ? 8 : 0);
	uint32_t skip = data ? 0 : len, wide = (data ? len : 0) + (out ? 8 : 0);
	struct tags src = {get32(o->d + 48), get16(o->d + 54)};
	struct tags dst = {get32(o->d + 56), get16(o->d + 62)};
	uint8_t block[4112];

	for (; o->done < o->size; o->done += step) {
		uint64_t to = o->dst + (uint64_t)(o->done / step) * wide;

		if (!can(o, o->src + o->done, step, false)) {
			stopped(o);
			break;
		}
		memset(block, 0, sizeof(block));
		memcpy(block, at(o, o->src + o->done), step);
		if (in)
			o->result = judge(o, block, len, src.ref, src.app);
		if (o->result) {
			o->status = DSA_COMP_DIF_ERR;
			stopped(o);
			break;
		}
		if (out)
			stamp(o, block, len, dst.ref, dst.app);
		if (wide && !can(o, to, wide, true)) {
			stopped(o);
			break;
		}
		if (wide)
			memcpy(at(o, to), block + skip, wide);
		src.ref += !(o->d[40] & 0x80);
		src.app = (uint16_t)(src.app + !!(o->d[40] & 0x10));
		dst.ref += !(o->d[41] & 0x80);
		dst.app = (uint16_t)(dst.app + !!(o->d[41] & 0x10));
	}
	if (in)
		own_tags(o->own, &src, get16(o->d + 52));
	if (out)
		own_tags(o->own + 8, &dst, get16(o->d + 60));
}

/* ---- what is allowed: flags and reserved bytes, spelled out again ---- */

#define F(bit) (1u << (bit))

/* Beside 2 to 5 and 12, which all have. */
static uint32_t flags_of(uint8_t op)
{
	/* 0 fence, 1 BOF, 7 CR, 8 CC, 9 to 11 traffic classes, 13 strict order, 15 steering. */
	const uint32_t dest = F(8) | F(10) | F(13) | F(15), mem = F(0) | F(1);

	switch (op) {
	case 0x00:
		return F(0);
	case 0x01:
		return F(9);
	case 0x02:
		return F(9) | F(10) | F(18) | F(19);
	case 0x03:
	case 0x08:
	case 0x13:
	case 0x14:
	case 0x15:
	case 0x17:
		return mem | F(9) | dest;
	case 0x04:
		return mem | dest;
	case 0x05:
		return mem | F(7) | F(9) | F(10);
	case 0x06:
		return mem | F(7) | F(9);
	case 0x07:
		return mem | F(7) | F(9) | F(11) | dest;
	case 0x09:
		return mem | F(9) | F(11) | dest | F(16);
	case 0x10:
		return mem | F(9) | F(11) | F(16) | F(17) | F(18);
	case 0x11:
		return mem | F(9) | F(11) | dest | F(16) | F(17) | F(18);
	case 0x12:
		return mem | F(9);
	case 0x20:
		return mem | F(8) | F(10);
	default:
		return UINT32_MAX;
	}
}

/* Bytes from 16 on: '.' is used, '0' reserved. */
static const char *layout_of(uint8_t op)
{
	switch (op) {
	case 0x00:
	case 0x02:
		return "00000000"
		       "00000000"
		       "0000..00"
		       "000000000000000000000000";
	case 0x01:
		return "........"
		       "00000000"
		       "......00"
		       "000000000000000000000000";
	case 0x03:
	case 0x04:
		return "........"
		       "........"
		       "......00"
		       "000000000000000000000000";
	case 0x05:
	case 0x06:
		return "........"
		       "........"
		       "......00"
		       ".00000000000000000000000";
	case 0x07:
		return "........"
		       "........"
		       "......00"
		       "............0000.0000000";
	case 0x08:
		return "........"
		       "........"
		       "......00"
		       "....00000000000000000000";
	case 0x09:
		return "........"
		       "........"
		       "......00"
		       "........0000000000000000";
	case 0x10:
		return "........"
		       "00000000"
		       "......00"
		       "....0000........00000000";
	case 0x11:
		return "........"
		       "........"
		       "......00"
		       "....0000........00000000";
	case 0x12:
		return "........"
		       "00000000"
		       "......00"
		       ".0.00000........00000000";
	case 0x14:
		return "........"
		       "........"
		       "......00"
		       ".0.00000........00000000";
	case 0x13:
	case 0x17:
		return "........"
		       "........"
		       "......00"
		       "0..0000000000000........";
	case 0x15:
		return "........"
		       "........"
		       "......00"
		       "...00000................";
	default: /* 0x20 */
		return "00000000"
		       "........"
		       "......00"
		       "000000000000000000000000";
	}
}

static bool reserved(const struct one *o, uint8_t op)
{
	const char *layout = layout_of(op);

	if (get32(o->d) & 0x7ff00000)
		return true;
	for (unsigned i = 16; i < 64; i++) {
		if (layout[i - 16] == '0' && o->d[i])
			return true;
	}
	return false;
}

static uint8_t check_dif(const struct one *o, uint8_t op)
{
	uint64_t block = block_sizes[o->d[42] & 3];
	bool in = op == 0x12 || op == 0x14 || op == 0x15;
	uint64_t unit = block + (in ? 8 : 0), n = o->size / unit;
	uint64_t wide = op == 0x12 ? 0 : op == 0x14 ? block : op == 0x17 ? 8 : block + 8;

	if (o->d[42] & 0xf0)
		return DSA_COMP_NOZERO_RESERVE;
	if ((op == 0x13 || op == 0x17) && o->d[41] & 0x6f)
		return DSA_COMP_NOZERO_RESERVE;
	if (op == 0x15 && o->d[41] & 0x07)
		return DSA_COMP_NOZERO_RESERVE;
	if (o->size % unit)
		return DSA_COMP_XFER_ERANGE;
	return overlaps(o->src, o->size, o->dst, n * wide) ? DSA_COMP_OVERLAP_BUFFERS : 0;
}

static uint8_t check_delta(const struct one *o, uint8_t op)
{
	uint64_t record = op == 0x07 ? get64(o->d + 40) : 0;
	uint32_t bytes = get32(o->d + (op == 0x07 ? 48 : 40));

	if (op == 0x07 && o->d[56] > 7)
		return DSA_COMP_NOZERO_RESERVE;
	if (o->size % 8 || o->size > 0x80000)
		return DSA_COMP_XFER_ERANGE;
	if (bytes % 10 || bytes < (op == 0x07 ? 80 : 10) || (op == 0x08 && bytes > 655360))
		return DSA_COMP_DR_ERANGE;
	if (o->src % 8 || o->dst % 8 || record % 8)
		return DSA_COMP_ADDR_ALIGN;
	if (op == 0x07 &&
	    (overlaps(o->src, o->size, record, bytes) || overlaps(o->dst, o->size, record, bytes)))
		return DSA_COMP_OVERLAP_BUFFERS;
	if (op == 0x08 && overlaps(o->src, bytes, o->dst, o->size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return 0;
}

static uint8_t check_op(const struct one *o, uint8_t op)
{
	uint64_t last = get64(o->d + 40), seed = get64(o->d + 48);

	if (op == 0x01 && (o->size < 2 || o->size > o->r->max_batch))
		return DSA_COMP_DESC_CNT_ERANGE;
	if (op == 0x01)
		return o->src % 64 ? DSA_COMP_DESCLIST_ALIGN : 0;
	if (op == 0x00 || op == 0x02)
		return 0;
	if (!o->size || o->size > o->r->max_xfer)
		return DSA_COMP_XFER_ERANGE;
	if ((op == 0x05 || op == 0x06) && o->d[40] > 1)
		return DSA_COMP_NOZERO_RESERVE;
	if (op == 0x07 || op == 0x08)
		return check_delta(o, op);
	if (op == 0x09 && o->dst % 4096 != last % 4096)
		return DSA_COMP_DCAST_ERR;
	if (op == 0x09 &&
	    (overlaps(o->src, o->size, o->dst, o->size) ||
	     overlaps(o->src, o->size, last, o->size) || overlaps(o->dst, o->size, last, o->size)))
		return DSA_COMP_OVERLAP_BUFFERS;
	if ((op == 0x10 || op == 0x11) && !(o->flags & F(16)) && seed)
		return DSA_COMP_NOZERO_RESERVE;
	if ((op == 0x10 || op == 0x11) && seed % 4)
		return DSA_COMP_ADDR_ALIGN;
	if (op == 0x11 && overlaps(o->src, o->size, o->dst, o->size))
		return DSA_COMP_OVERLAP_BUFFERS;
	if (op >= 0x12 && op <= 0x17)
		return check_dif(o, op);
	return 0;
}

static bool handle_valid(const struct one *o)
{
	return (uint16_t)(get16(o->d + 36) - o->r->handle) < o->r->handles;
}

static uint8_t check(struct one *o, uint8_t op)
{
	uint32_t may = flags_of(op) | F(2) | F(3) | F(4) | F(5) | F(12), bad;

	if (o->flags & F(2) && o->record % 32)
		return DSA_COMP_CRA_ALIGN;
	if (flags_of(op) == UINT32_MAX || (o->batch && (op == 0x01 || op == 0x02)))
		return DSA_COMP_BAD_OPCODE;
	if (!o->batch)
		may &= ~F(0);
	if (!o->r->bof)
		may &= ~F(1);
	if (!(o->flags & F(2)))
		may &= ~F(3);
	bad = o->flags & ~may;
	if (bad) {
		put32(o->own, bad);
		return DSA_COMP_INVALID_FLAGS;
	}
	if (!o->batch && o->d[3] & 0x80 && !o->r->priv)
		return DSA_COMP_PRIV_BAD;
	if (reserved(o, op))
		return DSA_COMP_NOZERO_RESERVE;
	if (o->flags & F(4) && !handle_valid(o))
		return DSA_COMP_INT_HANDLE_INVAL;
	return check_op(o, op);
}

/* ---- one descriptor, and batches ---- */

static uint8_t execute(struct ref *r, const uint8_t *desc, bool batch, unsigned index);

/* Backwards, as far as there is neither a fence nor a hole; else each is alone. */
static unsigned group_end(struct one *o, unsigned begin)
{
	unsigned end = begin + 1;

	while (o->r->reversed && end < o->size &&
	       allowed(o->r, o->src + 64ull * end, VHOST_MAP_RO) &&
	       !(at(o, o->src + 64ull * end)[4] & 1))
		end++;
	return end;
}

static void op_batch(struct one *o)
{
	unsigned begin = 0, end = 0;
	uint8_t desc[64];
	bool bad = false;

	for (o->bytes = 0; o->bytes < o->size; o->bytes++) {
		if (o->bytes == end) {
			begin = end;
			if (!can(o, o->src + 64ull * begin, 64, false))
				return;
			if (bad && at(o, o->src + 64ull * begin)[4] & 1)
				break;
			end = group_end(o, begin);
		}
		memcpy(desc, at(o, o->src + 64ull * (begin + end - 1 - o->bytes)), 64);
		bad |= execute(o->r, desc, true, begin + end - 1 - (unsigned)o->bytes) !=
		       DSA_COMP_SUCCESS;
	}
	if (bad)
		o->status = DSA_COMP_BATCH_FAIL;
}

static void perform(struct one *o, uint8_t op)
{
	switch (op) {
	case 0x01:
		op_batch(o);
		break;
	case 0x03:
		op_memmove(o);
		break;
	case 0x04:
		op_fill(o);
		break;
	case 0x05:
	case 0x06:
		op_compare(o, op == 0x06);
		break;
	case 0x07:
		op_cr_delta(o);
		break;
	case 0x08:
		op_ap_delta(o);
		break;
	case 0x09:
		op_dualcast(o);
		break;
	case 0x10:
	case 0x11:
		op_crc(o, op == 0x11);
		break;
	case 0x12:
		op_dif(o, true, false, false);
		break;
	case 0x13:
		op_dif(o, false, true, true);
		break;
	case 0x14:
		op_dif(o, true, true, false);
		break;
	case 0x15:
		op_dif(o, true, true, true);
		break;
	case 0x17:
		op_dif(o, false, false, true);
		break;
	case 0x20:
		op_cflush(o);
		break;
	}
	if (!o->fault.hit)
		return;
	o->status = op == 0x01	      ? DSA_COMP_BATCH_PAGE_FAULT
		    : o->flags & F(1) ? DSA_COMP_PAGE_FAULT_IR
				      : DSA_COMP_PAGE_FAULT_NOBOF;
	if (o->fault.write)
		o->status |= 0x80;
}

static void tell(struct one *o, uint8_t op, bool priv, uint64_t fault)
{
	struct ref *r = o->r;

	r->error = (struct dsa_error){
		.status = o->status,
		.op = op,
		.pasid = r->pasid,
		.priv = priv,
		.batch = o->batch,
		.batch_index = (uint16_t)o->index,
		.invalid_flags = o->status == DSA_COMP_INVALID_FLAGS ? get32(o->own) : 0,
		.fault_addr = fault,
	};
	if (!r->errors++)
		r->first = r->error;
}

static void finish(struct one *o, uint8_t op)
{
	bool wanted = o->flags & F(2) && o->status != DSA_COMP_CRA_ALIGN &&
		      (o->flags & F(3) || o->status != DSA_COMP_SUCCESS);
	bool priv = !o->batch && o->d[3] & 0x80;
	uint8_t *to;

	if (!wanted && o->status > DSA_COMP_SUCCESS_PRED)
		tell(o, op, priv, o->fault.addr);
	if (wanted) {
		struct fault before = o->fault;

		if (!can(o, o->record, 32, true)) {
			o->status = DSA_COMP_CRA_XLAT | 0x80;
			tell(o, op, priv, o->record);
		} else {
			to = at(o, o->record);
			memset(to, 0, 32);
			to[0] = o->status;
			to[1] = o->result;
			put32(to + 4, o->bytes);
			put64(to + 8, before.addr);
			memcpy(to + 16, o->own, 16);
		}
	}
	if (o->flags & F(4) && handle_valid(o))
		o->r->interrupts++;
}

static uint8_t execute(struct ref *r, const uint8_t *desc, bool batch, unsigned index)
{
	struct one o = {
		.r = r,
		.d = desc,
		.flags = get32(desc + 4) & 0xffffff,
		.size = get32(desc + 32),
		.src = get64(desc + 16),
		.dst = get64(desc + 24),
		.record = get64(desc + 8),
		.batch = batch,
		.index = index,
	};
	uint8_t op = desc[7];

	o.status = check(&o, op);
	if (!o.status) {
		o.status = DSA_COMP_SUCCESS;
		perform(&o, op);
	}
	r->succeeded[op % 64] += o.status == DSA_COMP_SUCCESS;
	r->faulted[op % 64] += o.fault.hit;
	finish(&o, op);
	r->seen[o.status]++;
	return o.status;
}

void ref_run(struct ref *r, const uint8_t *desc)
{
	r->interrupts = r->errors = 0;
	r->status = execute(r, desc, false, 0);
}
