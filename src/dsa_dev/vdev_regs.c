// SPDX-License-Identifier: BSD-3-Clause
/*
 * Registers. All of them are words of 32 bits in one array, from which they are read; a table says
 * for each word which bits a write changes, or clears, and while what. Everything that is not in
 * the table is read only.
 *
 * Reads: 1, 2, 4 or 8 bytes; writes: 4 or 8; both at a multiple of their size. A write of 8 bytes
 * is two of 4, the lower first. Registers of 64 bits have no bit that means something only together
 * with one of the other half.
 *
 * Who attacks: the guest, by accesses of any size anywhere.
 */
#include "dsa_dev/vdev_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RDBUFS 8u /* what GRPCAP says; nothing depends on them here */
#define GRPFLAGS_WRITABLE 0xf7ffffu
#define PRIORITY_MAX 15u
#define ENGINES_MAX 8u
#define ENGINES_MASK ((1u << ENGINES_MAX) - 1)
#define MSIXPERMS (IMS_VECTORS_MAX / 2)

/* When a write has an effect. */
enum when {
	ALWAYS,
	DEV_DISABLED, /* while the device is disabled */
	CONFIG,	      /* the same, of a device that may be configured */
	WQ_CONFIG,    /* while the queue is disabled, the same */
	WQ_PASID,     /* while the queue is disabled; without configuration, of PASIDs only */
	VECTOR,	      /* there are as many as there are vectors */
};

struct reg {
	unsigned off, count, stride; /* @count words, @stride bytes from one to the next */
	uint32_t set;		     /* bits that take what is written */
	uint32_t clear;		     /* bits that a one clears */
	enum when when;
	const char *name;
};

#define GRP(n, word) (DSA_GRPCFG + (n)*DSA_GRPCFG_STRIDE + (word))
#define WQ(word) DSA_WQCFG + (word)*4, DSA_WQS_MAX, DSA_WQCFG_STRIDE

static const struct reg writable[] = {
	{DSA_GENCFG, 1, 4, DSA_GENCFG_WRITABLE, 0, DEV_DISABLED, "GENCFG"},
	{DSA_GENCTRL, 1, 4, DSA_GENCTRL_SOFTERR | DSA_GENCTRL_HALT, 0, ALWAYS, "GENCTRL"},
	{DSA_INTCAUSE, 1, 4, 0, DSA_INTCAUSE_ALL, ALWAYS, "INTCAUSE"},
	{DSA_SWERR, 1, 4, 0, DSA_SWERR_VALID | DSA_SWERR_OVERFLOW, ALWAYS, "SWERR"},
	{DSA_MSIXPERM, MSIXPERMS, DSA_MSIXPERM_STRIDE, DSA_MSIXPERM_WRITABLE, 0, VECTOR,
	 "MSIXPERM"},
	{GRP(0, 0), 1, 4, (1u << DSA_WQS_MAX) - 1, 0, CONFIG, "GRPCFG0.wqs"},
	{GRP(0, DSA_GRPCFG_ENGINES), 1, 4, ENGINES_MASK, 0, CONFIG, "GRPCFG0.engines"},
	{GRP(0, DSA_GRPCFG_FLAGS), 1, 4, GRPFLAGS_WRITABLE, 0, CONFIG, "GRPCFG0.flags"},
	{GRP(1, 0), 1, 4, (1u << DSA_WQS_MAX) - 1, 0, CONFIG, "GRPCFG1.wqs"},
	{GRP(1, DSA_GRPCFG_ENGINES), 1, 4, ENGINES_MASK, 0, CONFIG, "GRPCFG1.engines"},
	{GRP(1, DSA_GRPCFG_FLAGS), 1, 4, GRPFLAGS_WRITABLE, 0, CONFIG, "GRPCFG1.flags"},
	{WQ(DSA_WQW_SIZE), 0xffff, 0, CONFIG, "WQCFG.size"},
	{WQ(DSA_WQW_THRESHOLD), 0xffff, 0, WQ_CONFIG, "WQCFG.threshold"},
	{WQ(DSA_WQW_MODE), DSA_WQCFG_MODE_BITS | DSA_WQCFG_PASID_BITS, 0, WQ_PASID, "WQCFG.mode"},
	{WQ(DSA_WQW_LIMITS), DSA_WQCFG_XFER | DSA_WQCFG_BATCH << DSA_WQCFG_BATCH_SHIFT, 0,
	 WQ_CONFIG, "WQCFG.limits"},
	{WQ(DSA_WQW_STATE), 0, 0, ALWAYS, "WQCFG.state"},
};
#define WRITABLE (sizeof(writable) / sizeof(writable[0]))

static const struct {
	unsigned off, words;
	const char *name;
} read_only[] = {
	{DSA_VER, 1, "VERSION"},     {DSA_GENCAP, 2, "GENCAP"}, {DSA_WQCAP, 2, "WQCAP"},
	{DSA_GRPCAP, 2, "GRPCAP"},   {DSA_ENGCAP, 2, "ENGCAP"}, {DSA_OPCAP_REG, 2, "OPCAP"},
	{DSA_OFFSETS, 4, "OFFSETS"}, {DSA_GENSTS, 1, "GENSTS"}, {DSA_CMD, 1, "CMD"},
	{DSA_CMDSTS, 1, "CMDSTS"},   {DSA_CMDCAP, 1, "CMDCAP"}, {DSA_SWERR + 4, 7, "SWERR"},
};

/* ---- after a reset ---- */

static void set64(struct dsa_vdev *vdev, unsigned off, uint64_t value)
{
	*vdev_reg(vdev, off) = (uint32_t)value;
	*vdev_reg(vdev, off + 4) = (uint32_t)(value >> 32);
}

static unsigned total_size(const struct dsa_vdev *vdev)
{
	unsigned size = 0;

	for (unsigned i = 0; i < vdev->config.nwqs; i++)
		size += vdev->wqs[i].size;
	return size;
}

static void set_capabilities(struct dsa_vdev *vdev)
{
	const struct dsa_vdev_config *c = &vdev->config;
	uint64_t wqcap = total_size(vdev) | (uint64_t)c->nwqs << DSA_WQCAP_NUM_SHIFT;
	unsigned groups = c->configurable ? 2 : 1;

	for (unsigned i = 0; i < c->nwqs; i++)
		wqcap |= vdev->wqs[i].dedicated ? DSA_WQCAP_DEDICATED : DSA_WQCAP_SHARED;
	if (c->configurable)
		wqcap |= DSA_WQCAP_DEDICATED | DSA_WQCAP_SHARED;
	*vdev_reg(vdev, DSA_VER) = DSA_VERSION;
	set64(vdev, DSA_GENCAP,
	      c->gencap | DSA_GENCAP_CMDCAP | (uint64_t)c->xfer_shift << DSA_GENCAP_XFER_SHIFT |
		      (uint64_t)c->batch_shift << DSA_GENCAP_BATCH_SHIFT |
		      (c->configurable ? DSA_GENCAP_CONFIG : 0));
	set64(vdev, DSA_WQCAP, wqcap);
	set64(vdev, DSA_GRPCAP, groups | RDBUFS << DSA_GRPCAP_RDBUF_SHIFT);
	set64(vdev, DSA_ENGCAP, c->nengines);
	set64(vdev, DSA_OPCAP_REG, c->opcap);
	/* No IMS of its own, no event log, no performance counters: their offsets are 0. */
	set64(vdev, DSA_OFFSETS,
	      DSA_GRPCFG / DSA_OFFSET_UNIT | (uint64_t)(DSA_WQCFG / DSA_OFFSET_UNIT) << 16 |
		      (uint64_t)(DSA_MSIXPERM / DSA_OFFSET_UNIT) << 32);
	*vdev_reg(vdev, DSA_CMDCAP) = DSA_CMDCAP_ALL;
}

static void set_wq(struct dsa_vdev *vdev, unsigned i)
{
	const struct dsa_vdev_wq *wq = &vdev->wqs[i];

	*vdev_wqcfg(vdev, i, DSA_WQW_SIZE) = wq->size;
	*vdev_wqcfg(vdev, i, DSA_WQW_THRESHOLD) = wq->dedicated ? 0 : wq->threshold;
	*vdev_wqcfg(vdev, i, DSA_WQW_MODE) = (wq->dedicated ? DSA_WQCFG_DEDICATED : 0) |
					     (wq->block_on_fault ? DSA_WQCFG_BOF : 0) |
					     wq->priority << DSA_WQCFG_PRIO_SHIFT;
	*vdev_wqcfg(vdev, i, DSA_WQW_LIMITS) = wq->xfer_shift | wq->batch_shift
									<< DSA_WQCFG_BATCH_SHIFT;
	*vdev_wqcfg(vdev, i, DSA_WQW_STATE) = DSA_WQCFG_MODE_SUPPORT;
}

/* Queues and engines are configured already: all in the first group. */
static void set_configuration(struct dsa_vdev *vdev)
{
	const struct dsa_vdev_config *c = &vdev->config;

	for (unsigned i = 0; i < c->nwqs; i++)
		set_wq(vdev, i);
	set64(vdev, DSA_GRPCFG, (1ull << c->nwqs) - 1);
	set64(vdev, DSA_GRPCFG + DSA_GRPCFG_ENGINES, (1ull << c->nengines) - 1);
	/* Traffic classes 1 and 1, all read buffers allowed. */
	set64(vdev, DSA_GRPCFG + DSA_GRPCFG_FLAGS, 0x9 | (uint64_t)RDBUFS << 20);
}

void vdev_regs_reset(struct dsa_vdev *vdev)
{
	memset(vdev->regs, 0, sizeof(vdev->regs));
	set_capabilities(vdev);
	set_configuration(vdev);
}

/* ---- accesses ---- */

static int refused(struct dsa_vdev *vdev)
{
	vdev_count(vdev->refused);
	return -EINVAL;
}

int dsa_vdev_read(struct dsa_vdev *vdev, uint64_t off, void *buf, size_t len)
{
	uint32_t words[2] = {0};

	if ((len != 1 && len != 2 && len != 4 && len != 8) || off % len || off >= DSA_BAR0_BYTES)
		return refused(vdev);
	pthread_mutex_lock(&vdev->lock);
	for (unsigned i = 0; i < 2 && off / 4 + i < DSA_REGS_BYTES / 4; i++)
		words[i] = vdev->regs[off / 4 + i];
	pthread_mutex_unlock(&vdev->lock);
	memcpy(buf, (uint8_t *)words + off % 4, len);
	return 0;
}

static const struct reg *find(unsigned off, unsigned *index)
{
	for (unsigned i = 0; i < WRITABLE; i++) {
		const struct reg *reg = &writable[i];

		*index = (off - reg->off) / reg->stride;
		if (off >= reg->off && !((off - reg->off) % reg->stride) && *index < reg->count)
			return reg;
	}
	return NULL;
}

/* Which of the bits may be changed now? */
static uint32_t allowed(struct dsa_vdev *vdev, const struct reg *reg, unsigned index)
{
	bool disabled = vdev_state(vdev) == DSA_DISABLED;
	bool config = vdev->config.configurable;

	switch (reg->when) {
	case DEV_DISABLED:
		return disabled ? reg->set : 0;
	case CONFIG:
		return disabled && config ? reg->set : 0;
	case WQ_CONFIG:
	case WQ_PASID:
		if (index >= vdev->config.nwqs || vdev_wq_enabled(vdev, index))
			return 0;
		if (config)
			return reg->set;
		return reg->when == WQ_PASID ? DSA_WQCFG_PASID_BITS : 0;
	case VECTOR:
		return index < vdev->config.nvectors ? reg->set : 0;
	default:
		return reg->set;
	}
}

static void write_word(struct dsa_vdev *vdev, unsigned off, uint32_t value)
{
	uint32_t *word, set;
	const struct reg *reg;
	unsigned index;

	if (off >= DSA_REGS_BYTES)
		return;
	if (off == DSA_CMD) {
		vdev_command(vdev, value);
		return;
	}
	reg = find(off, &index);
	if (!reg)
		return;
	pthread_mutex_lock(&vdev->lock);
	word = vdev_reg(vdev, off);
	set = allowed(vdev, reg, index);
	*word = (*word & ~set & ~(value & reg->clear)) | (value & set);
	pthread_mutex_unlock(&vdev->lock);
}

int dsa_vdev_write(struct dsa_vdev *vdev, uint64_t off, const void *buf, size_t len)
{
	uint32_t words[2];

	if ((len != 4 && len != 8) || off % len || off >= DSA_BAR0_BYTES)
		return refused(vdev);
	memcpy(words, buf, len);
	for (unsigned i = 0; i < len / 4; i++)
		write_word(vdev, (unsigned)off + i * 4, words[i]);
	return 0;
}

uint32_t dsa_vdev_peek(struct dsa_vdev *vdev, unsigned off)
{
	uint32_t value = 0;

	if (off < DSA_REGS_BYTES) {
		pthread_mutex_lock(&vdev->lock);
		value = *vdev_reg(vdev, off);
		pthread_mutex_unlock(&vdev->lock);
	}
	return value;
}

void dsa_vdev_dump(struct dsa_vdev *vdev,
		   void (*fn)(void *arg, const char *name, unsigned off, uint32_t value), void *arg)
{
	const unsigned nro = sizeof(read_only) / sizeof(read_only[0]);

	for (unsigned i = 0; i < nro; i++) {
		for (unsigned w = 0; w < read_only[i].words; w++) {
			unsigned off = read_only[i].off + w * 4;

			fn(arg, read_only[i].name, off, dsa_vdev_peek(vdev, off));
		}
	}
	for (unsigned i = 0; i < WRITABLE; i++) {
		const struct reg *reg = &writable[i];

		for (unsigned n = 0; n < reg->count && n < vdev->config.nwqs + 1; n++) {
			unsigned off = reg->off + n * reg->stride;

			fn(arg, reg->name, off, dsa_vdev_peek(vdev, off));
		}
	}
}

/* ---- life ---- */

static int check_config(const struct dsa_vdev_config *c)
{
	if (!c->nwqs || c->nwqs > DSA_WQS_MAX || !c->nengines || c->nengines > ENGINES_MAX ||
	    !c->nvectors || c->nvectors > MSIXPERMS || c->xfer_shift > DSA_MAX_XFER_SHIFT ||
	    c->batch_shift > DSA_MAX_BATCH_SHIFT)
		return -EINVAL;
	for (unsigned i = 0; i < c->nwqs; i++) {
		const struct dsa_vdev_wq *wq = &c->wqs[i];

		if (!wq->size || wq->size > DSA_MAX_QUEUE || wq->threshold > wq->size ||
		    !wq->priority || wq->priority > PRIORITY_MAX ||
		    wq->xfer_shift > c->xfer_shift || wq->batch_shift > c->batch_shift)
			return -EINVAL;
	}
	return 0;
}

int dsa_vdev_new(const struct dsa_vdev_config *config, struct dsa_vdev **out)
{
	struct dsa_vdev *vdev;
	int r = check_config(config);

	if (r)
		return r;
	vdev = calloc(1, sizeof(*vdev));
	if (!vdev)
		return -ENOMEM;
	vdev->config = *config;
	memcpy(vdev->wqs, config->wqs, config->nwqs * sizeof(*config->wqs));
	vdev->config.wqs = vdev->wqs;
	pthread_mutex_init(&vdev->lock, NULL);
	vdev_regs_reset(vdev);
	*out = vdev;
	return 0;
}

void dsa_vdev_free(struct dsa_vdev *vdev)
{
	if (!vdev)
		return;
	pthread_mutex_destroy(&vdev->lock);
	free(vdev);
}

void dsa_vdev_get_stats(struct dsa_vdev *vdev, struct dsa_vdev_stats *stats)
{
	*stats = (struct dsa_vdev_stats){
		.commands = vdev->commands,
		.ignored = vdev->ignored,
		.submitted = vdev->submitted,
		.dropped = vdev->dropped,
		.retried = vdev->retried,
		.torn = vdev->torn,
		.errors = vdev->errors,
		.overflows = vdev->overflows,
		.refused = vdev->refused,
	};
}
