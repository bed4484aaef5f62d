/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user on the wire: request numbers, feature bits, payloads, and one pure check per payload.
 * Both ends of the protocol share this file; it allocates nothing and calls nothing.
 *
 * Source: the "Vhost-user Protocol" specification of the QEMU project; section names below are its.
 * All numbers are in the byte order of the machine ("Message Specification").
 *
 * The checks look at one structure by itself, not at the state of a session: what depends on the
 * number of queues, on the memory table or on what was negotiated is the handler's to check. @why
 * (may be NULL) is set to a constant string when the answer is false.
 */
#ifndef VHOST_USER_PROTOCOL_H
#define VHOST_USER_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/compat.h>

/* ---- header ("Message Specification", "Header") ---- */

struct vhost_user_hdr {
	uint32_t request; /* enum vhost_user_request, or enum vhost_user_backend_request */
	uint32_t flags;	  /* VHOST_USER_VERSION and VHOST_USER_F_* */
	uint32_t size;	  /* bytes of payload that follow */
};

#define VHOST_USER_VERSION 0x1u
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_FLAG_REPLY 0x4u
#define VHOST_USER_FLAG_NEED_REPLY 0x8u
#define VHOST_USER_FLAGS_MASK                                                                      \
	(VHOST_USER_VERSION_MASK | VHOST_USER_FLAG_REPLY | VHOST_USER_FLAG_NEED_REPLY)

/* No message of either direction has more payload than this (GET_SHMEM_CONFIG's is 2056 bytes). */
#define VHOST_USER_MAX_PAYLOAD 4096u
/* Most descriptors in one message. */
#define VHOST_USER_MAX_FDS 8
/* Regions in one SET_MEM_TABLE, and slots that ADD_MEM_REG may fill. */
#define VHOST_USER_MAX_TABLE_REGIONS 8
#define VHOST_USER_MAX_MEM_SLOTS 509
/* Of a dirty log, or of an area of requests in flight: more than any can use. */
#define VHOST_USER_SHARED_MAX (1ull << 40)
/* The index field of SET_VRING_KICK, CALL and ERR has 8 bits. */
#define VHOST_USER_MAX_VRINGS 256

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_REQUEST_END /* one past the last */
};

/* Requests that the back-end sends, on the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHOST_USER_BACKEND_VRING_CALL = 4,
	VHOST_USER_BACKEND_VRING_ERR = 5,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
};

/* Virtio feature bit that announces protocol features ("Communication"). LOG_ALL is
 * VHOST_F_LOG_ALL, 26. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Bit numbers ("Protocol features"). */
enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_RARP = 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHOST_USER_PROTOCOL_F_SHMEM_MAP = 22,
};

/* ---- payloads ("Payload") ---- */

/*
 * "A vring state description" is struct vhost_vring_state, "A vring address description" struct
 * vhost_vring_addr and "An IOTLB message" struct vhost_iotlb_msg, all of the kernel's headers.
 */

/* SET_VRING_KICK, CALL, ERR: index, and whether no descriptor came along. */
#define VHOST_USER_VRING_IDX_MASK 0xffull
#define VHOST_USER_VRING_NOFD 0x100ull

struct vhost_user_mem_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

/* SET_MEM_TABLE; the payload ends after nregions regions. */
struct vhost_user_mem_table {
	uint32_t nregions;
	uint32_t padding;
	struct vhost_user_mem_region region[VHOST_USER_MAX_TABLE_REGIONS];
};

/* ADD_MEM_REG, REM_MEM_REG. */
struct vhost_user_mem_reg {
	uint64_t padding;
	struct vhost_user_mem_region region;
};

struct vhost_user_log {
	uint64_t mmap_size;
	uint64_t mmap_offset;
};

#define VHOST_USER_CONFIG_MAX 256u
#define VHOST_USER_CONFIG_WRITABLE 0u  /* flags: the driver writes */
#define VHOST_USER_CONFIG_MIGRATION 1u /* flags: the destination of a migration writes */

/* GET_CONFIG, SET_CONFIG; the payload ends after size bytes of region. */
struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t region[VHOST_USER_CONFIG_MAX];
};

#define VHOST_USER_CONFIG_HDR_BYTES 12u

struct vhost_user_vring_area {
	uint64_t u64; /* index and VHOST_USER_VRING_NOFD */
	uint64_t size;
	uint64_t offset;
};

/*
 * GET_INFLIGHT_FD, SET_INFLIGHT_FD. Implementations exist that send it packed (20 bytes) and such
 * that send the C structure (24 bytes); both are accepted, and an answer has the size of its
 * request.
 */
struct vhost_user_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
};

#define VHOST_USER_INFLIGHT_MIN_BYTES 20u

enum vhost_user_transfer_direction {
	VHOST_USER_TRANSFER_SAVE = 0,
	VHOST_USER_TRANSFER_LOAD = 1,
};

/* SET_DEVICE_STATE_FD. */
struct vhost_user_device_state {
	uint32_t direction; /* enum vhost_user_transfer_direction */
	uint32_t phase;	    /* 0: stopped */
};

/* Anything that may follow a header. */
union vhost_user_payload {
	uint64_t u64;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct vhost_user_mem_table table;
	struct vhost_user_mem_reg mem_reg;
	struct vhost_user_log log;
	struct vhost_iotlb_msg iotlb;
	struct vhost_user_config config;
	struct vhost_user_vring_area area;
	struct vhost_user_inflight inflight;
	struct vhost_user_device_state device_state;
	uint8_t bytes[VHOST_USER_MAX_PAYLOAD];
};

_Static_assert(sizeof(struct vhost_user_hdr) == 12, "header");
_Static_assert(sizeof(struct vhost_vring_state) == 8, "vring state");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "vring address");
_Static_assert(sizeof(struct vhost_user_mem_region) == 32, "region");
_Static_assert(sizeof(struct vhost_user_mem_table) == 8 + 8 * 32, "table");
_Static_assert(sizeof(struct vhost_user_mem_reg) == 40, "single region");
_Static_assert(sizeof(struct vhost_user_log) == 16, "log");
_Static_assert(sizeof(struct vhost_user_config) == 268, "config");
_Static_assert(sizeof(struct vhost_user_vring_area) == 24, "area");
_Static_assert(sizeof(struct vhost_user_inflight) == 24, "inflight");
_Static_assert(sizeof(struct vhost_iotlb_msg) == 32, "iotlb");

/* ---- checks ---- */

static inline bool vhost_user_bad(const char **why, const char *text)
{
	if (why)
		*why = text;
	return false;
}

/* Does [@start, @start + @size - 1] exist (size not 0, no wrap)? */
static inline bool vhost_user_range_valid(uint64_t start, uint64_t size)
{
	return size && size - 1 <= UINT64_MAX - start;
}

/* @reply: must this be a reply (true) or a request (false)? The size is bounded, no more. */
static inline bool vhost_user_hdr_valid(const struct vhost_user_hdr *hdr, bool reply,
					const char **why)
{
	if ((hdr->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return vhost_user_bad(why, "version is not 1");
	if (hdr->flags & ~VHOST_USER_FLAGS_MASK)
		return vhost_user_bad(why, "unknown flags");
	if (!(hdr->flags & VHOST_USER_FLAG_REPLY) == reply)
		return vhost_user_bad(why, reply ? "a request where a reply is due"
						 : "a reply where a request is due");
	if (hdr->size > VHOST_USER_MAX_PAYLOAD)
		return vhost_user_bad(why, "payload too large");
	return true;
}

/* SET_VRING_KICK, CALL, ERR. @nfds: descriptors that came along. */
static inline bool vhost_user_vring_fd_valid(uint64_t u64, unsigned nfds, const char **why)
{
	if (u64 & ~(VHOST_USER_VRING_IDX_MASK | VHOST_USER_VRING_NOFD))
		return vhost_user_bad(why, "reserved bits are set");
	if ((u64 & VHOST_USER_VRING_NOFD) && nfds)
		return vhost_user_bad(why, "a descriptor came although the flag says none does");
	if (!(u64 & VHOST_USER_VRING_NOFD) && nfds != 1)
		return vhost_user_bad(why, "exactly one descriptor is due");
	return true;
}

/* SET_VRING_ENABLE and SET_VRING_ENDIAN: num is 0 or 1. */
static inline bool vhost_user_vring_flag_valid(const struct vhost_vring_state *state,
					       const char **why)
{
	if (state->num > 1)
		return vhost_user_bad(why, "num is neither 0 nor 1");
	return true;
}

/* SET_VRING_BASE for a split ring. */
static inline bool vhost_user_vring_base_split_valid(const struct vhost_vring_state *state,
						     const char **why)
{
	if (state->num > UINT16_MAX)
		return vhost_user_bad(why, "reserved bits of the index are set");
	return true;
}

/* Messages whose num is reserved. */
static inline bool vhost_user_vring_reserved_valid(const struct vhost_vring_state *state,
						   const char **why)
{
	if (state->num)
		return vhost_user_bad(why, "num is reserved and not 0");
	return true;
}

/* Alignments: virtio 1.3, section 2.7 (split); the packed ring's areas are no stricter. */
static inline bool vhost_user_vring_addr_valid(const struct vhost_vring_addr *addr,
					       const char **why)
{
	if (addr->flags & ~(1u << VHOST_VRING_F_LOG))
		return vhost_user_bad(why, "unknown flags");
	if (addr->desc_user_addr & 15)
		return vhost_user_bad(why, "descriptor area is not aligned to 16 bytes");
	if (addr->avail_user_addr & 1)
		return vhost_user_bad(why, "available ring is not aligned to 2 bytes");
	if (addr->used_user_addr & 3)
		return vhost_user_bad(why, "used ring is not aligned to 4 bytes");
	return true;
}

static inline bool vhost_user_mem_region_valid(const struct vhost_user_mem_region *region,
					       const char **why)
{
	if (!region->size)
		return vhost_user_bad(why, "region of size 0");
	if (!vhost_user_range_valid(region->guest_addr, region->size))
		return vhost_user_bad(why, "guest address wraps");
	if (!vhost_user_range_valid(region->user_addr, region->size))
		return vhost_user_bad(why, "user address wraps");
	if (!vhost_user_range_valid(region->mmap_offset, region->size))
		return vhost_user_bad(why, "mmap offset wraps");
	return true;
}

static inline bool vhost_user_ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b,
					     uint64_t b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

/* Two regions that are active together; each is valid by itself ("Memory region description"). */
static inline bool vhost_user_mem_regions_disjoint(const struct vhost_user_mem_region *a,
						   const struct vhost_user_mem_region *b,
						   const char **why)
{
	if (vhost_user_ranges_overlap(a->guest_addr, a->size, b->guest_addr, b->size))
		return vhost_user_bad(why, "guest addresses overlap");
	if (vhost_user_ranges_overlap(a->user_addr, a->size, b->user_addr, b->size))
		return vhost_user_bad(why, "user addresses overlap");
	return true;
}

/* @size: bytes of payload; nothing beyond them is looked at. */
static inline bool vhost_user_mem_table_valid(const struct vhost_user_mem_table *table,
					      uint32_t size, const char **why)
{
	if (size < 8 || table->nregions > VHOST_USER_MAX_TABLE_REGIONS)
		return vhost_user_bad(why, "too many regions");
	if (size != 8 + table->nregions * sizeof(table->region[0]))
		return vhost_user_bad(why, "size does not fit the number of regions");
	for (uint32_t i = 0; i < table->nregions; i++) {
		if (!vhost_user_mem_region_valid(&table->region[i], why))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (!vhost_user_mem_regions_disjoint(&table->region[i], &table->region[j],
							     why))
				return false;
	}
	return true;
}

static inline bool vhost_user_log_valid(const struct vhost_user_log *log, const char **why)
{
	if (!vhost_user_range_valid(log->mmap_offset, log->mmap_size))
		return vhost_user_bad(why, "size 0, or offset and size wrap");
	if (log->mmap_offset + (log->mmap_size - 1) > INT64_MAX)
		return vhost_user_bad(why, "beyond any file");
	if (log->mmap_size > VHOST_USER_SHARED_MAX)
		return vhost_user_bad(why, "more than 1 TiB");
	return true;
}

/* @size: bytes of payload. */
static inline bool vhost_user_config_valid(const struct vhost_user_config *config, uint32_t size,
					   const char **why)
{
	if (size < VHOST_USER_CONFIG_HDR_BYTES)
		return vhost_user_bad(why, "shorter than its header");
	if (config->size > VHOST_USER_CONFIG_MAX)
		return vhost_user_bad(why, "more than 256 bytes");
	if (size != VHOST_USER_CONFIG_HDR_BYTES + config->size)
		return vhost_user_bad(why, "size does not fit the payload");
	if (config->offset > UINT32_MAX - config->size)
		return vhost_user_bad(why, "offset wraps");
	if (config->flags > VHOST_USER_CONFIG_MIGRATION)
		return vhost_user_bad(why, "unknown flags");
	return true;
}

/* An UPDATE or INVALIDATE of the front-end; MISS and ACCESS_FAIL go the other way. */
static inline bool vhost_user_iotlb_valid(const struct vhost_iotlb_msg *msg, const char **why)
{
	if (msg->type != VHOST_IOTLB_UPDATE && msg->type != VHOST_IOTLB_INVALIDATE)
		return vhost_user_bad(why, "neither update nor invalidate");
	/* Size 0 at address 0 is how the full range, 2^64 bytes, looks in 64 bits. */
	if (!vhost_user_range_valid(msg->iova, msg->size) &&
	    !(msg->type == VHOST_IOTLB_INVALIDATE && !msg->iova && !msg->size))
		return vhost_user_bad(why, "size 0, or the address wraps");
	if (msg->type == VHOST_IOTLB_INVALIDATE)
		return true;
	if (!msg->perm || msg->perm > VHOST_ACCESS_RW)
		return vhost_user_bad(why, "permission is not 1, 2 or 3");
	if (!vhost_user_range_valid(msg->uaddr, msg->size))
		return vhost_user_bad(why, "user address wraps");
	return true;
}

/* A MISS or ACCESS_FAIL of the back-end. */
static inline bool vhost_user_iotlb_miss_valid(const struct vhost_iotlb_msg *msg, const char **why)
{
	if (msg->type != VHOST_IOTLB_MISS && msg->type != VHOST_IOTLB_ACCESS_FAIL)
		return vhost_user_bad(why, "neither miss nor access failure");
	if (!msg->perm || msg->perm > VHOST_ACCESS_RW)
		return vhost_user_bad(why, "permission is not 1, 2 or 3");
	return true;
}

/* @set: SET_INFLIGHT_FD, which describes an area; GET_INFLIGHT_FD asks for one. */
static inline bool vhost_user_inflight_valid(const struct vhost_user_inflight *inflight, bool set,
					     const char **why)
{
	if (!inflight->num_queues || inflight->num_queues > VHOST_USER_MAX_VRINGS)
		return vhost_user_bad(why, "number of queues");
	if (!inflight->queue_size || inflight->queue_size > 32768)
		return vhost_user_bad(why, "queue size");
	if (!set)
		return true;
	if (!vhost_user_range_valid(inflight->mmap_offset, inflight->mmap_size))
		return vhost_user_bad(why, "size 0, or offset and size wrap");
	if (inflight->mmap_offset + (inflight->mmap_size - 1) > INT64_MAX)
		return vhost_user_bad(why, "beyond any file");
	if (inflight->mmap_size > VHOST_USER_SHARED_MAX)
		return vhost_user_bad(why, "more than 1 TiB");
	return true;
}

static inline bool vhost_user_device_state_valid(const struct vhost_user_device_state *state,
						 const char **why)
{
	if (state->direction > VHOST_USER_TRANSFER_LOAD)
		return vhost_user_bad(why, "unknown direction");
	if (state->phase)
		return vhost_user_bad(why, "unknown phase");
	return true;
}

/* protocol.c: the name of a protocol feature, or NULL; those of a set, for either end's show(). */
const char *vu_proto_name(unsigned bit);
/* Of all bits of @proto, into @buf. */
const char *vu_proto_names(uint64_t proto, char *buf, size_t len);
void vu_show_proto(uint64_t proto, vdpa_emit_fn emit, void *arg);

#endif
