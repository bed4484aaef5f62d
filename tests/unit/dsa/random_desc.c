// SPDX-License-Identifier: BSD-3-Clause
#include "random_desc.h"

#define MAX_LIST 8

static const uint8_t opcodes[] = {0x00, 0x02, 0x03, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10,
				  0x11, 0x12, 0x13, 0x14, 0x15, 0x17, 0x20, 0x01, 0x01, 0x01};
static const uint32_t blocks[4] = {512, 520, 4096, 4104};

static uint32_t below(struct source *s, uint32_t n)
{
	return n ? rng(&s->rng) % n : 0;
}

static bool once_in(struct source *s, uint32_t n)
{
	return !below(s, n);
}

static uint64_t address(struct source *s)
{
	uint64_t off = s->at + below(s, s->bytes);

	switch (below(s, 40)) {
	case 0:
		return ((uint64_t)rng(&s->rng) << 32) | rng(&s->rng);
	case 1:
		return UINT64_MAX - below(s, 200);
	case 2:
	case 3:
		return s->ref->base + off;
	case 4:
		/* About a page's end. */
		return s->ref->base + (off & ~(uint64_t)(REF_PAGE - 1)) + REF_PAGE - below(s, 80);
	default:
		return s->ref->base + (off & ~63ull);
	}
}

static uint32_t length(struct source *s)
{
	switch (below(s, 12)) {
	case 0:
		return 0;
	case 1:
		return below(s, 40000);
	case 2:
		return rng(&s->rng);
	case 3:
	case 4:
	case 5:
		return below(s, 6000) & ~7u;
	default:
		return below(s, 600);
	}
}

static uint64_t end(const struct source *s)
{
	return (uint64_t)s->ref->pages * REF_PAGE;
}

/* Memory has what is asked for: so that checks pass, and deltas apply. */
static void plant(struct source *s, uint64_t addr, const void *bytes, size_t len)
{
	uint64_t off = addr - s->ref->base;

	for (size_t i = 0; i < len && addr >= s->ref->base && off + i < end(s); i++) {
		s->ref->mem[off + i] = ((const uint8_t *)bytes)[i];
		s->put(s->arg, off + i, ((const uint8_t *)bytes)[i]);
	}
}

static void plant_delta(struct source *s, const uint8_t *d)
{
	uint32_t entries = get32(d + 40) / 10, words = get32(d + 32) / 8, offset = 0;
	uint8_t entry[10];

	for (uint32_t i = 0; i < entries && i < 200; i++) {
		offset += once_in(s, 40) ? 0 : 1 + below(s, 1 + words / (entries + 1));
		put16(entry, (uint16_t)offset);
		put64(entry + 2, (uint64_t)rng(&s->rng) << 32 | i);
		plant(s, get64(d + 16) + 10ull * i, entry, 10);
	}
}

static void plant_dif(struct source *s, const uint8_t *d)
{
	uint32_t len = blocks[d[42] & 3], n = get32(d + 32) / (len + 8);
	uint32_t ref = get32(d + 48);
	uint16_t app = get16(d + 54);
	uint64_t src = get64(d + 16);

	for (uint32_t i = 0; i < n && i < 16; i++, src += len + 8) {
		uint64_t off = src - s->ref->base;
		uint8_t dif[8];
		uint16_t crc;

		if (src < s->ref->base || off + len + 8 > end(s))
			return;
		crc = ref_crc16(d[42] & 4 ? 0xffff : 0, s->ref->mem + off, len);
		crc = d[42] & 8 ? (uint16_t)~crc : crc;
		for (unsigned k = 0; k < 2; k++) {
			dif[k] = (uint8_t)(crc >> (8 - 8 * k));
			dif[2 + k] = (uint8_t)(app >> (8 - 8 * k));
		}
		for (unsigned k = 0; k < 4; k++)
			dif[4 + k] = (uint8_t)(ref >> (24 - 8 * k));
		if (once_in(s, 12))
			dif[below(s, 8)] ^= (uint8_t)(1 + below(s, 255));
		if (once_in(s, 12))
			memset(dif + 2 * below(s, 2), 0xff, 6);
		if (once_in(s, 20))
			memset(dif, 0xff, 8);
		plant(s, src + len, dif, 8);
		ref += !(d[40] & 0x80);
		app = (uint16_t)(app + !!(d[40] & 0x10));
	}
}

static void random_crc(struct source *s, uint8_t *d, uint32_t *flags)
{
	put32(d + 40, rng(&s->rng));
	*flags |= below(s, 4) << 17;
	if (once_in(s, 3)) {
		*flags |= DSA_FLAG_CRC_SEED_ADDR;
		put64(d + 48, address(s) & ~(uint64_t)(once_in(s, 10) ? 0 : 3));
	}
	if (d[7] == 0x10)
		put64(d + 24, 0);
}

static void random_dif(struct source *s, uint8_t *d)
{
	uint8_t op = d[7];
	bool in = op == 0x12 || op == 0x14 || op == 0x15;
	uint32_t unit;

	d[42] = (uint8_t)(below(s, 4) | (once_in(s, 3) ? below(s, 4) << 2 : 0));
	unit = blocks[d[42] & 3] + (in ? 8 : 0);
	if (!once_in(s, 20))
		put32(d + 32, unit * (1 + below(s, unit > 1000 ? 2 : 6)));
	if (in) {
		d[40] = once_in(s, 2) ? (uint8_t)rng(&s->rng) : 0;
		put32(d + 48, rng(&s->rng));
		put16(d + 52, once_in(s, 3) ? (uint16_t)rng(&s->rng) : 0);
		put16(d + 54, (uint16_t)rng(&s->rng));
	}
	if (op == 0x13 || op == 0x15 || op == 0x17) {
		d[41] = (uint8_t)(rng(&s->rng) & (op == 0x15 ? 0xf8 : 0x90));
		put32(d + 56, rng(&s->rng));
		put16(d + 60, once_in(s, 3) ? (uint16_t)rng(&s->rng) : 0);
		put16(d + 62, (uint16_t)rng(&s->rng));
	}
	if (op == 0x12)
		put64(d + 24, 0);
	if (in && !once_in(s, 4))
		plant_dif(s, d);
}

static void random_delta(struct source *s, uint8_t *d)
{
	put32(d + 32, (get32(d + 32) % 4096) & ~7u);
	put64(d + 16, get64(d + 16) & ~7ull);
	put64(d + 24, get64(d + 24) & ~7ull);
	if (d[7] == 0x07) {
		put64(d + 40, address(s) & ~7ull);
		put32(d + 48, 80 + 10 * below(s, 200));
		d[56] = (uint8_t)below(s, 8);
		return;
	}
	put32(d + 40, 10 * (1 + below(s, 60)));
	if (!once_in(s, 4))
		plant_delta(s, d);
}

/* What belongs to single operations. */
static void random_own(struct source *s, uint8_t *d, uint32_t *flags)
{
	uint8_t op = d[7];

	if (op == 0x05 || op == 0x06)
		d[40] = (uint8_t)below(s, 2);
	if (op == 0x06 && once_in(s, 2))
		put64(d + 24, 0);
	if (op >= 0x05 && op <= 0x07 && once_in(s, 2))
		*flags |= IDXD_OP_FLAG_CR;
	/* Equal for a while. */
	if ((op == 0x05 || op == 0x07) && once_in(s, 2))
		put64(d + 24, get64(d + 16));
	if (op == 0x03 && once_in(s, 3))
		put64(d + 24, get64(d + 16) + below(s, 3000) - 1500);
	if (op == 0x09)
		put64(d + 40, address(s));
	if (op == 0x09 && !once_in(s, 8))
		put64(d + 40, (get64(d + 40) & ~4095ull) | (get64(d + 24) & 4095));
	if (op == 0x07 || op == 0x08)
		random_delta(s, d);
	if (op == 0x10 || op == 0x11)
		random_crc(s, d, flags);
	if (op >= 0x12 && op <= 0x17)
		random_dif(s, d);
	if (op == 0x20)
		put64(d + 16, 0);
	if (op == 0x00 || op == 0x02)
		memset(d + 16, 0, 20);
}

static void make(struct source *s, uint8_t *d, bool in_batch);

/* Where nothing else of a tame source writes: what is executed is what was meant. */
static uint64_t list_address(struct source *s)
{
	if (s->tame)
		return s->ref->base + end(s) - MAX_LIST * DESC_BYTES;
	return s->ref->base + s->at + (below(s, s->bytes) & ~63u);
}

static uint32_t list_length(struct source *s)
{
	uint32_t n = length(s);

	return s->tame && n <= MAX_LIST ? n % 2 : n;
}

static void random_list(struct source *s, uint8_t *d)
{
	uint64_t list = list_address(s);
	uint32_t n = 2 + below(s, MAX_LIST - 1);
	uint8_t child[64];

	put64(d + 16, once_in(s, 40) && !s->tame ? address(s) : list);
	put64(d + 24, 0);
	put32(d + 32, once_in(s, 40) ? list_length(s) : n);
	for (uint32_t i = 0; i < n; i++) {
		make(s, child, true);
		plant(s, list + 64ull * i, child, 64);
	}
}

/* A bit of a flag; of a byte. Of a tame source: none that makes an address of something else. */
static uint32_t any_flag(struct source *s)
{
	return 1u << below(s, s->tame ? 16 : 24);
}

static unsigned any_byte(struct source *s)
{
	static const uint8_t tame[] = {0, 1, 2, 3, 32, 33, 34, 35, 36, 37, 38, 39};

	return s->tame ? tame[below(s, sizeof(tame))] : below(s, DESC_BYTES);
}

static void make(struct source *s, uint8_t *d, bool in_batch)
{
	uint32_t flags = once_in(s, 12) ? 0 : CRAV_RCR;
	uint8_t op = opcodes[below(s, sizeof(opcodes))];

	if (in_batch && op <= 2 && !once_in(s, 30))
		op = 3;
	if (once_in(s, 60))
		op = (uint8_t)rng(&s->rng);
	memset(d, 0, 64);
	d[7] = op;
	put64(d + 8, address(s) & ~(uint64_t)(once_in(s, 60) ? 0 : 31));
	put64(d + 16, address(s));
	put64(d + 24, address(s));
	put32(d + 32, length(s));
	put16(d + 36, (uint16_t)(s->ref->handle + below(s, s->ref->handles)));
	if (op == 0x01)
		random_list(s, d);
	else
		random_own(s, d, &flags);
	if (once_in(s, 4))
		flags |= IDXD_OP_FLAG_RCI;
	if (once_in(s, 6) && op > 2)
		flags |= IDXD_OP_FLAG_BOF;
	if (in_batch && once_in(s, 4))
		flags |= IDXD_OP_FLAG_FENCE;
	if (once_in(s, 8))
		flags |= IDXD_OP_FLAG_CR_TCS | IDXD_OP_FLAG_CRSTS;
	if (once_in(s, 50))
		flags ^= any_flag(s);
	if (once_in(s, 60))
		d[any_byte(s)] ^= (uint8_t)(1u << below(s, 8));
	if (once_in(s, 60))
		d[3] |= 0x80;
	if (once_in(s, 60))
		put16(d + 36, 0xffff);
	put32(d + 4, flags | (uint32_t)d[7] << 24);
}

void random_desc(struct source *s, uint8_t *desc)
{
	make(s, desc, false);
}
