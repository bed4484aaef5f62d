/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers of a DSA as its driver sees them: BAR 0 has the registers, BAR 2 the portals. Offsets
 * are bytes, values little-endian. Names follow the Linux driver's.
 */
#ifndef DSA_DEV_REGS_H
#define DSA_DEV_REGS_H

#include <stdint.h>

#define DSA_PCI_VENDOR 0x8086u
#define DSA_PCI_DEVICE 0x0b25u
#define DSA_PCI_CLASS 0x088000u /* system peripheral, other */

/* ---- BAR 0 ---- */

#define DSA_BAR0_BYTES 0x10000u
#define DSA_VER 0x00u
#define DSA_GENCAP 0x10u
#define DSA_WQCAP 0x20u
#define DSA_GRPCAP 0x30u
#define DSA_ENGCAP 0x38u
#define DSA_OPCAP_REG 0x40u /* 256 bits */
#define DSA_OFFSETS 0x60u
#define DSA_GENCFG 0x80u
#define DSA_GENCTRL 0x88u
#define DSA_GENSTS 0x90u
#define DSA_INTCAUSE 0x98u
#define DSA_CMD 0xa0u
#define DSA_CMDSTS 0xa8u
#define DSA_CMDCAP 0xb0u
#define DSA_SWERR 0xc0u /* 256 bits */
/* Where OFFSETS says that they are, here: */
#define DSA_MSIXPERM 0x300u
#define DSA_GRPCFG 0x400u
#define DSA_WQCFG 0x500u
#define DSA_REGS_BYTES 0x600u /* nothing is behind */
#define DSA_MSIX_TABLE 0x2000u
#define DSA_MSIX_PBA 0x3000u

#define DSA_VERSION 0x100u

/* GENCAP */
#define DSA_GENCAP_BOF (1ull << 0)
#define DSA_GENCAP_OVERLAP (1ull << 1)
#define DSA_GENCAP_CACHE_MEM (1ull << 2)
#define DSA_GENCAP_CACHE_FLUSH (1ull << 3)
#define DSA_GENCAP_CMDCAP (1ull << 4)
#define DSA_GENCAP_XFER_SHIFT 16
#define DSA_GENCAP_BATCH_SHIFT 21
#define DSA_GENCAP_CONFIG (1ull << 31)

/* WQCAP */
#define DSA_WQCAP_NUM_SHIFT 16
#define DSA_WQCAP_SHARED (1ull << 48)
#define DSA_WQCAP_DEDICATED (1ull << 49)

/* GRPCAP: groups 7:0, read buffers 15:8 */
#define DSA_GRPCAP_RDBUF_SHIFT 8

/* OFFSETS, in units of */
#define DSA_OFFSET_UNIT 0x100u

#define DSA_GENCFG_WRITABLE 0x10ffu /* read buffer limit, user interrupts */
#define DSA_GENCTRL_SOFTERR (1u << 0)
#define DSA_GENCTRL_HALT (1u << 1)

#define DSA_GENSTS_STATE 0x3u
enum dsa_state { DSA_DISABLED, DSA_ENABLED, DSA_DRAINING, DSA_HALTED };
#define DSA_GENSTS_RESET_SHIFT 2
enum dsa_reset_type { DSA_RESET_SOFTWARE, DSA_RESET_FLR, DSA_RESET_WARM, DSA_RESET_COLD };

#define DSA_INTCAUSE_ERR 0x1u
#define DSA_INTCAUSE_CMD 0x2u
#define DSA_INTCAUSE_HALT 0x10u
#define DSA_INTCAUSE_REVOKED 0x80000000u
#define DSA_INTCAUSE_ALL                                                                           \
	(DSA_INTCAUSE_ERR | DSA_INTCAUSE_CMD | DSA_INTCAUSE_HALT | DSA_INTCAUSE_REVOKED)

/* CMD: operand 19:0, command 24:20 */
#define DSA_CMD_OPERAND 0xfffffu
#define DSA_CMD_SHIFT 20
#define DSA_CMD_CODE 0x1fu
#define DSA_CMD_INT (1u << 31)
#define DSA_CMD_IMS (1u << 16) /* of the operand: handles of interrupt message storage */
enum dsa_cmd {
	DSA_CMD_ENABLE_DEVICE = 1,
	DSA_CMD_DISABLE_DEVICE,
	DSA_CMD_DRAIN_ALL,
	DSA_CMD_ABORT_ALL,
	DSA_CMD_RESET_DEVICE,
	DSA_CMD_ENABLE_WQ,
	DSA_CMD_DISABLE_WQ,
	DSA_CMD_DRAIN_WQ,
	DSA_CMD_ABORT_WQ,
	DSA_CMD_RESET_WQ,
	DSA_CMD_DRAIN_PASID,
	DSA_CMD_ABORT_PASID,
	DSA_CMD_REQUEST_INT_HANDLE,
	DSA_CMD_RELEASE_INT_HANDLE,
};
#define DSA_CMDCAP_ALL 0x7ffeu

/* CMDSTS: error 7:0, result 23:8 */
#define DSA_CMDSTS_RESULT_SHIFT 8
#define DSA_CMDSTS_ACTIVE (1u << 31)
enum dsa_cmdsts {
	DSA_CMDSTS_SUCCESS = 0,
	DSA_CMDSTS_INVAL_CMD = 1,
	DSA_CMDSTS_INVAL_WQIDX = 2,
	DSA_CMDSTS_HW_ERR = 3,
	DSA_CMDSTS_DEV_ENABLED = 0x10,
	DSA_CMDSTS_CONFIG = 0x11,
	DSA_CMDSTS_BUSMASTER = 0x12,
	DSA_CMDSTS_PASID_INVAL = 0x13,
	DSA_CMDSTS_WQ_SIZES = 0x14,
	DSA_CMDSTS_GRP_CONFIG = 0x15,  /* queues without engines, or the other way round */
	DSA_CMDSTS_GRP_CONFIG2 = 0x16, /* a queue with a size is not in exactly one group */
	DSA_CMDSTS_GRP_CONFIG3 = 0x17, /* an engine is in more than one */
	DSA_CMDSTS_GRP_CONFIG4 = 0x18, /* read buffers */
	DSA_CMDSTS_DEV_NOTEN = 0x20,
	DSA_CMDSTS_WQ_ENABLED = 0x21,
	DSA_CMDSTS_WQ_SIZE = 0x22,
	DSA_CMDSTS_WQ_PRIOR = 0x23,
	DSA_CMDSTS_WQ_MODE = 0x24,
	DSA_CMDSTS_BOF_EN = 0x25,
	DSA_CMDSTS_PASID_EN = 0x26,
	DSA_CMDSTS_MAX_BATCH = 0x27,
	DSA_CMDSTS_MAX_XFER = 0x28,
	DSA_CMDSTS_DIS_DEV_EN = 0x31,
	DSA_CMDSTS_DEV_NOT_EN = 0x32,
	DSA_CMDSTS_INVAL_INT_IDX = 0x41,
	DSA_CMDSTS_NO_HANDLE = 0x42,
};

/* SWERR, first word */
#define DSA_SWERR_VALID (1u << 0)
#define DSA_SWERR_OVERFLOW (1u << 1)
#define DSA_SWERR_DESC_VALID (1u << 2)
#define DSA_SWERR_WQ_VALID (1u << 3)
#define DSA_SWERR_BATCH (1u << 4)
#define DSA_SWERR_WRITE (1u << 5)
#define DSA_SWERR_PRIV (1u << 6)
#define DSA_SWERR_ERROR_SHIFT 8
#define DSA_SWERR_WQ_SHIFT 16
/* second word: operation 7:0, PASID 27:8 */
#define DSA_SWERR_PASID_SHIFT 8
/* The one error that only this register has: a portal whose queue is not enabled. */
#define DSA_SWERR_WQ_NOT_ENABLED 0x51u

/* MSIXPERM: 8 bytes each */
#define DSA_MSIXPERM_STRIDE 8u
#define DSA_MSIXPERM_WRITABLE 0xfffff00cu /* ignore, PASID enable, PASID */

/* GRPCFG: 64 bytes each: 4 quadwords of queues, one of engines, flags */
#define DSA_GRPCFG_STRIDE 64u
#define DSA_GRPCFG_ENGINES 32u
#define DSA_GRPCFG_FLAGS 40u

/* WQCFG: 32 bytes each, words of 4 */
#define DSA_WQCFG_STRIDE 32u
#define DSA_WQCFG_WORDS 8u
enum { DSA_WQW_SIZE, DSA_WQW_THRESHOLD, DSA_WQW_MODE, DSA_WQW_LIMITS, DSA_WQW_STATE = 6 };
#define DSA_WQCFG_DEDICATED (1u << 0)
#define DSA_WQCFG_BOF (1u << 1)
#define DSA_WQCFG_PRIO_SHIFT 4
#define DSA_WQCFG_PRIO 0xfu
#define DSA_WQCFG_PASID_SHIFT 8
#define DSA_WQCFG_PASID_EN (1u << 28)
#define DSA_WQCFG_PRIV (1u << 29)
#define DSA_WQCFG_PASID_BITS                                                                       \
	(0xfffffu << DSA_WQCFG_PASID_SHIFT | DSA_WQCFG_PASID_EN | DSA_WQCFG_PRIV)
#define DSA_WQCFG_MODE_BITS                                                                        \
	(DSA_WQCFG_DEDICATED | DSA_WQCFG_BOF | DSA_WQCFG_PRIO << DSA_WQCFG_PRIO_SHIFT)
#define DSA_WQCFG_XFER 0x1fu
#define DSA_WQCFG_BATCH_SHIFT 5
#define DSA_WQCFG_BATCH 0xfu
#define DSA_WQCFG_MODE_SUPPORT (1u << 29)
#define DSA_WQCFG_STATE_SHIFT 30

/* ---- BAR 2 ---- */

#define DSA_PORTAL_BYTES 0x1000u
#define DSA_PORTALS_PER_WQ 4u
/* Bits of a portal's number. */
#define DSA_PORTAL_LIMITED 1u
#define DSA_PORTAL_IMS 2u
#define DSA_BAR2_BYTES 0x20000u
#define DSA_WQS_MAX (DSA_BAR2_BYTES / DSA_PORTAL_BYTES / DSA_PORTALS_PER_WQ)

#endif
