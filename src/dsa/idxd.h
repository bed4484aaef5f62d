/* SPDX-License-Identifier: BSD-3-Clause */
/* linux/idxd.h, and what came after the oldest one that this is built with. */
#ifndef DSA_IDXD_H
#define DSA_IDXD_H

#include <linux/idxd.h>

#define DSA_DIX_GEN 0x17

/* Flags of single operations. */
#define DSA_FLAG_DRAIN_NO_READBACK_A (1u << 18)
#define DSA_FLAG_DRAIN_NO_READBACK_B (1u << 19)
#define DSA_FLAG_DUALCAST_DSTS2 (1u << 16)
#define DSA_FLAG_CRC_SEED_ADDR (1u << 16)
#define DSA_FLAG_CRC_RAW (1u << 17)	 /* neither inversion nor reflection of seed and result */
#define DSA_FLAG_CRC_DATA_MSB (1u << 18) /* no reflection of data */

/* DIF flags, descriptor byte 42. */
#define DSA_DIF_BLOCK 0x03
#define DSA_DIF_INVERT_SEED 0x04
#define DSA_DIF_INVERT_RESULT 0x08

/* Source DIF flags, descriptor byte 40. */
#define DSA_DIF_SRC_F_ERROR 0x01
#define DSA_DIF_SRC_F_ALL 0x02
#define DSA_DIF_SRC_F_APP 0x04
#define DSA_DIF_SRC_F_TAGS 0x08
#define DSA_DIF_SRC_INC_APP 0x10
#define DSA_DIF_SRC_NO_GUARD 0x20
#define DSA_DIF_SRC_NO_REF 0x40
#define DSA_DIF_SRC_FIXED_REF 0x80

/* Destination DIF flags, descriptor byte 41. */
#define DSA_DIF_DST_PASS_APP 0x08
#define DSA_DIF_DST_INC_APP 0x10
#define DSA_DIF_DST_PASS_GUARD 0x20
#define DSA_DIF_DST_PASS_REF 0x40
#define DSA_DIF_DST_FIXED_REF 0x80

/* What a record says of a block that does not pass. */
#define DSA_DIF_BAD_GUARD 0x01
#define DSA_DIF_BAD_APP 0x02
#define DSA_DIF_BAD_REF 0x04
#define DSA_DIF_ALL_F 0x08

#endif
