/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A data streaming accelerator in software, in this process: it takes the 64-byte descriptors of
 * linux/idxd.h, and writes the completion records that Intel's DSA writes, so that a program for
 * that can be developed, and its errors tested, where there is none. No VM, no device, no rights.
 *
 *	struct dsa_portal *portal;
 *	struct dsa_completion_record record __attribute__((aligned(32))) = {0};
 *	struct dsa_hw_desc desc = {
 *		.opcode = DSA_OPCODE_MEMMOVE,
 *		.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
 *		.completion_addr = (uintptr_t)&record,
 *		.src_addr = (uintptr_t)from, .dst_addr = (uintptr_t)to, .xfer_size = size,
 *	};
 *
 *	dsa_portal_new(NULL, &portal, &err);
 *	dsa_portal_submit(portal, &desc, NULL);
 *	dsa_portal_wait(&record, -1);
 *
 * Addresses in descriptors are this process's own. A wrong one is a wrong pointer, unless memory is
 * to be mapped first (params.mapped): then it is a page fault, as the record tells it.
 *
 * What each operation does, and which status codes cannot occur here: docs/dsa.md. "Section" is one
 * of Intel's DSA architecture specification.
 *
 * Since 0.1, unless a function says otherwise. Built in when libisal was there.
 */
#ifndef UVDPA_DSA_H
#define UVDPA_DSA_H

#include <uvdpa/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dsa_hw_desc; /* linux/idxd.h */
struct dsa_portal;

/* ---- what linux/idxd.h does not name ---- */

/** Opcode of DIX Generate; older headers do not have it. */
#define DSA_DIX_GEN 0x17

/** Flags of single operations (desc.flags). */
#define DSA_FLAG_DRAIN_NO_READBACK_A (1u << 18)
#define DSA_FLAG_DRAIN_NO_READBACK_B (1u << 19)
#define DSA_FLAG_DUALCAST_DSTS2 (1u << 16)
#define DSA_FLAG_CRC_SEED_ADDR (1u << 16) /**< the seed is in memory, at seed_addr */
#define DSA_FLAG_CRC_RAW (1u << 17)	  /**< neither invert nor reflect seed and result */
#define DSA_FLAG_CRC_DATA_MSB (1u << 18)  /**< do not reflect data */

/** dif_chk_flags, dif_ins_flags, dif_upd_flags. */
#define DSA_DIF_BLOCK 0x03 /**< 512, 520, 4096, 4104 bytes */
#define DSA_DIF_INVERT_SEED 0x04
#define DSA_DIF_INVERT_RESULT 0x08

/** src_dif_flags, src_upd_flags. */
#define DSA_DIF_SRC_F_ERROR 0x01 /**< with F_ALL: a field of all ones is an error, */
#define DSA_DIF_SRC_F_ALL 0x02	 /**< else such a block is not checked */
#define DSA_DIF_SRC_F_APP 0x04	 /**< nor one whose application tag is */
#define DSA_DIF_SRC_F_TAGS 0x08	 /**< nor one whose both tags are */
#define DSA_DIF_SRC_INC_APP 0x10
#define DSA_DIF_SRC_NO_GUARD 0x20
#define DSA_DIF_SRC_NO_REF 0x40
#define DSA_DIF_SRC_FIXED_REF 0x80

/** dest_dif_flag, upd_dest_flags. */
#define DSA_DIF_DST_PASS_APP 0x08
#define DSA_DIF_DST_INC_APP 0x10
#define DSA_DIF_DST_PASS_GUARD 0x20
#define DSA_DIF_DST_PASS_REF 0x40
#define DSA_DIF_DST_FIXED_REF 0x80

/** dif_status of a record: what is wrong with the block. */
#define DSA_DIF_BAD_GUARD 0x01
#define DSA_DIF_BAD_APP 0x02
#define DSA_DIF_BAD_REF 0x04
#define DSA_DIF_ALL_F 0x08

/* ---- a portal ---- */

/** An error that no completion record can tell; a device has it in its SWERR register. */
struct dsa_error {
	uint8_t status; /**< enum dsa_completion_status; bit 7: a fault was a write */
	uint8_t op;
	uint32_t pasid; /**< 0 in process */
	bool priv;
	bool batch;	      /**< the descriptor was in a batch, */
	uint16_t batch_index; /**< at this place */
	uint32_t invalid_flags;
	uint64_t fault_addr;
};

/** All members but @size may be 0. */
struct dsa_portal_params {
	size_t size;		  /**< sizeof(struct dsa_portal_params) */
	unsigned engines;	  /**< threads that execute, 1 to 64; 0: 1 */
	unsigned entries;	  /**< of the work queue, 1 to 4096; 0: 128 */
	unsigned max_xfer_shift;  /**< largest transfer, 2^this bytes, up to 31; 0: 31 */
	unsigned max_batch_shift; /**< most descriptors of a batch, 2^this, up to 10; 0: 10 */
	/**
	 * An engine looks for work for so many microseconds after its last before it sleeps; 0:
	 * 50. A submission to one that sleeps takes a system call.
	 */
	unsigned busyloop_us;
	bool block_on_fault; /**< with @mapped: descriptors may ask to wait for memory */
	bool privileged;     /**< desc.priv may be set */
	bool mapped;	     /**< only what dsa_portal_map() was told of is memory */
	/**
	 * A descriptor that was submitted has ended, after its record was written. @status: as in
	 * the record, DSA_COMP_NONE when it was aborted. Called from engine threads, several at a
	 * time, or from dsa_portal_abort(); may submit; must not drain, abort or free.
	 */
	void (*completed)(void *arg, void *cookie, uint8_t status);
	/** Of descriptors with IDXD_OP_FLAG_RCI; as above, before completed(). */
	void (*interrupt)(void *arg, uint16_t int_handle);
	/** As above. */
	void (*error)(void *arg, const struct dsa_error *error);
	void *arg;
	/**
	 * Of a batch, the descriptors between two fences run from the last to the first, as they
	 * may: the specification gives them no order. What lacks a fence goes wrong at once.
	 */
	bool batch_reversed;
};

/**
 * Make a DSA with one work queue. @params is copied; NULL: everything as if 0. 0; -EINVAL (a number
 * above), -ENOMEM, -EAGAIN or -EMFILE (threads, descriptors) with @err filled. Any thread.
 */
VDPA_API int dsa_portal_new(const struct dsa_portal_params *params, struct dsa_portal **out,
			    struct vdpa_error *err);
/** Aborts what is in flight, then ends its threads. NULL is allowed. Nobody else uses @portal any
 * more. */
VDPA_API void dsa_portal_free(struct dsa_portal *portal);

/**
 * Submit @desc, of 64 bytes, which is copied, as MOVDIR64B or ENQCMD do. @cookie: for completed().
 * 0; -EAGAIN when the work queue is full: try again (ENQCMD's ZF). What is wrong with a descriptor
 * is told by its record, or by error(). Descriptors run in any order, on any engine. Any thread,
 * without another lock of the caller's.
 */
VDPA_API int dsa_portal_submit(struct dsa_portal *portal, const struct dsa_hw_desc *desc,
			       void *cookie);

/**
 * Wait until the status byte of @record, a struct dsa_completion_record, is not 0, and return it;
 * what the operation wrote is visible then. 0 when @timeout_ns has passed (-1: without end). Looks
 * at it all the time at first, after some microseconds now and then. Any thread.
 */
VDPA_API uint8_t dsa_portal_wait(const void *record, int64_t timeout_ns);

/**
 * Until everything that was submitted before has ended. Blocks; any thread but an engine's.
 */
VDPA_API void dsa_portal_drain(struct dsa_portal *portal);
/**
 * As above; but what has not begun, or is blocked on a fault, never does, and has no record. When
 * it returns, nothing that was submitted before touches memory any more.
 */
VDPA_API void dsa_portal_abort(struct dsa_portal *portal);

/**
 * Descriptors may use [@addr, @addr + @size) as @prot (PROT_READ, PROT_WRITE) says; @size is not 0.
 * What waits for it goes on. 0; -EINVAL (@size, @prot, or params.mapped is not set), -EEXIST (some
 * of it is mapped), -ENOMEM. Blocks for no long; any thread but an engine's.
 */
VDPA_API int dsa_portal_map(struct dsa_portal *portal, void *addr, size_t size, int prot);
/**
 * Every range that overlaps [@addr, @addr + @size) is no memory any more, and no descriptor touches
 * it when this returns. 0, -EINVAL, -ENOMEM. Blocks; any thread but an engine's.
 */
VDPA_API int dsa_portal_unmap(struct dsa_portal *portal, void *addr, size_t size);

#ifdef __cplusplus
}
#endif
#endif
