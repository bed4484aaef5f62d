// SPDX-License-Identifier: BSD-3-Clause
/*
 * The table of messages, and the rules that hold for all of them: size, number of descriptors,
 * state, protocol feature, and what becomes of an error.
 *
 * A message that is refused is answered with a number other than 0 where the front end asked for an
 * answer (REPLY_ACK) and the message has none of its own. Otherwise the two ends would go on with
 * different ideas of the state, so the session ends; except for messages that a guest can cause
 * (VU_SOFT), which are logged and ignored.
 */
#include "driver/vhost_user/server.h"

#include <errno.h>
#include <string.h>

#define U64 8, 8
#define NONE 0, 0
#define STATE 8, 8

/* clang-format off: one line per message. */
static const struct vu_msg_spec table[VHOST_USER_REQUEST_END] = {
	[VHOST_USER_GET_FEATURES] = {"GET_FEATURES", NONE, 0, 0, VU_NO_FEATURE, VU_ANY, VU_REPLIES,
				     vu_get_features,
				     "device features, LOG_ALL and PROTOCOL_FEATURES"},
	[VHOST_USER_SET_FEATURES] = {"SET_FEATURES", U64, 0, 0, VU_NO_FEATURE, VU_ANY, 0,
				     vu_set_features,
				     "negotiate; toggles LOG_ALL on running rings"},
	[VHOST_USER_SET_OWNER] = {"SET_OWNER", NONE, 0, 0, VU_NO_FEATURE, VU_ANY, 0, vu_set_owner,
				  "start of the session; again is allowed"},
	[VHOST_USER_RESET_OWNER] = {"RESET_OWNER", NONE, 0, 0, VU_NO_FEATURE, VU_OWNER, 0,
				    vu_reset_owner, "deprecated; disables all rings"},
	[VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, 264, 0, 8, VU_NO_FEATURE, VU_OWNER, 0,
				      vu_set_mem_table,
				      "replace the memory table; waits for requests in what goes"},
	[VHOST_USER_SET_LOG_BASE] = {"SET_LOG_BASE", 16, 16, 1, 1, VHOST_USER_PROTOCOL_F_LOG_SHMFD,
				     VU_OWNER, VU_REPLIES, vu_set_log_base, "shared dirty log"},
	[VHOST_USER_SET_LOG_FD] = {"SET_LOG_FD", 0, 8, 1, 1, VU_NO_FEATURE, VU_OWNER, 0,
				   vu_set_log_fd, "event descriptor of the log; accepted and kept"},
	[VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", STATE, 0, 0, VU_NO_FEATURE, VU_OWNER, 0,
				      vu_set_vring_num, "size of a stopped ring"},
	[VHOST_USER_SET_VRING_ADDR] =
		{"SET_VRING_ADDR", 40, 40, 0, 0, VU_NO_FEATURE, VU_OWNER, 0, vu_set_vring_addr,
		 "areas of a stopped ring; of a running one only the log flag"},
	[VHOST_USER_SET_VRING_BASE] = {"SET_VRING_BASE", STATE, 0, 0, VU_NO_FEATURE, VU_OWNER, 0,
				       vu_set_vring_base, "where a stopped ring goes on"},
	[VHOST_USER_GET_VRING_BASE] = {"GET_VRING_BASE", STATE, 0, 0, VU_NO_FEATURE, VU_OWNER,
				       VU_REPLIES, vu_get_vring_base, "drain and stop one ring"},
	[VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", U64, 0, 1, VU_NO_FEATURE, VU_OWNER, 0,
				       vu_set_vring_kick, "kick descriptor; starts the ring"},
	[VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", U64, 0, 1, VU_NO_FEATURE, VU_OWNER, 0,
				       vu_set_vring_call,
				       "call descriptor; may change on a running ring"},
	[VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", U64, 0, 1, VU_NO_FEATURE, VU_OWNER, 0,
				      vu_set_vring_err,
				      "error descriptor; may change on a running ring"},
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", NONE, 0, 0, VU_NO_FEATURE,
					      VU_ANY, VU_REPLIES, vu_get_protocol_features,
					      "what follows from the device"},
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", U64, 0, 0, VU_NO_FEATURE,
					      VU_ANY, 0, vu_set_protocol_features,
					      "subset of the offered; not while a ring is started"},
	[VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", NONE, 0, 0, VHOST_USER_PROTOCOL_F_MQ, VU_ANY,
				      VU_REPLIES | VU_OFFERED, vu_get_queue_num,
				      "queues; queue pairs of a NIC"},
	[VHOST_USER_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", STATE, 0, 0, VU_NO_FEATURE, VU_OWNER,
					 0, vu_set_vring_enable,
					 "enable or disable; disabling drains"},
	[VHOST_USER_SEND_RARP] = {"SEND_RARP", U64, 0, 0, VHOST_USER_PROTOCOL_F_RARP, VU_OWNER,
				  VU_SOFT | VU_OFFERED, vu_send_rarp,
				  "announce the guest's address"},
	[VHOST_USER_NET_SET_MTU] = {"NET_SET_MTU", U64, 0, 0, VHOST_USER_PROTOCOL_F_MTU, VU_OWNER,
				    VU_SOFT | VU_OFFERED, vu_net_set_mtu, "is this MTU possible?"},
	[VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", NONE, 1, 1,
					   VHOST_USER_PROTOCOL_F_BACKEND_REQ, VU_ANY, VU_OFFERED,
					   vu_set_backend_req_fd, "channel for requests of ours"},
	[VHOST_USER_IOTLB_MSG] = {"IOTLB_MSG", 32, 32, 0, 0, VU_NO_FEATURE, VU_OWNER, 0,
				  vu_iotlb_msg, "update or invalidate; with ACCESS_PLATFORM"},
	[VHOST_USER_SET_VRING_ENDIAN] = {"SET_VRING_ENDIAN", STATE, 0, 0, VU_NO_FEATURE, VU_OWNER,
					 0, vu_set_vring_endian,
					 "the host's order only: cross-endian is refused"},
	[VHOST_USER_GET_CONFIG] = {"GET_CONFIG", 12, 268, 0, 0, VHOST_USER_PROTOCOL_F_CONFIG,
				   VU_ANY, VU_REPLIES, vu_get_config, "read configuration space"},
	[VHOST_USER_SET_CONFIG] = {"SET_CONFIG", 12, 268, 0, 0, VHOST_USER_PROTOCOL_F_CONFIG,
				   VU_OWNER, VU_SOFT, vu_set_config, "write configuration space"},
	[VHOST_USER_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", 20, 24, 0, 0,
					VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD, VU_OWNED, VU_REPLIES,
					vu_get_inflight_fd,
					"new area for requests in flight (sealed memfd)"},
	[VHOST_USER_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", 20, 24, 1, 1,
					VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD, VU_OWNED, 0,
					vu_set_inflight_fd,
					"area of an earlier session: its requests are done again"},
	[VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", NONE, 0, 0, VHOST_USER_PROTOCOL_F_RESET_DEVICE,
				     VU_OWNER, 0, vu_reset_device,
				     "disable all rings and reset the device"},
	[VHOST_USER_VRING_KICK] = {"VRING_KICK", STATE, 0, 0,
				   VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS, VU_OWNER, VU_SOFT,
				   vu_vring_kick, "kick without a descriptor; starts the ring"},
	[VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", NONE, 0, 0,
					  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS, VU_ANY,
					  VU_REPLIES, vu_get_max_mem_slots, "509"},
	[VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", 40, 40, 1, 1,
				    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS, VU_OWNER, 0,
				    vu_add_mem_reg, "one more region"},
	[VHOST_USER_REM_MEM_REG] =
		{"REM_MEM_REG", 40, 40, 0, 1, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS, VU_OWNER,
		 0, vu_rem_mem_reg,
		 "one region less; waits for requests in it; a stray descriptor is closed"},
	[VHOST_USER_SET_STATUS] = {"SET_STATUS", U64, 0, 0, VHOST_USER_PROTOCOL_F_STATUS, VU_ANY, 0,
				   vu_set_status, "virtio device status; 0 resets"},
	[VHOST_USER_GET_STATUS] = {"GET_STATUS", NONE, 0, 0, VHOST_USER_PROTOCOL_F_STATUS, VU_ANY,
				   VU_REPLIES, vu_get_status,
				   "with DEVICE_NEEDS_RESET of the device"},
};
/* clang-format on */

const struct vu_msg_spec *vu_msg_spec(uint32_t request)
{
	if (request >= VHOST_USER_REQUEST_END || !table[request].name)
		return NULL;
	return &table[request];
}

enum vu_state vu_session_state(const struct vu_session *s)
{
	if (!vhost_vdpa_has_owner(s->dev->v))
		return VU_NEW;
	for (unsigned i = 0; i < s->nrings; i++)
		if (s->ring[i].started)
			return VU_RUNNING;
	return VU_OWNED;
}

/* Some messages are legal as soon as the feature is offered, says the specification. */
static bool has_feature(const struct vu_session *s, const struct vu_msg_spec *spec)
{
	if (spec->feature == VU_NO_FEATURE || vu_has_proto(s, (unsigned)spec->feature))
		return true;
	return (spec->flags & VU_OFFERED) &&
	       (vu_protocol_features(s->dev) & VDPA_BIT(spec->feature));
}

static int check(struct vu_session *s, const struct vu_msg_spec *spec, const struct vu_msg *msg,
		 const char **why)
{
	unsigned fds = msg->fds.n + msg->fds.surplus;

	if (msg->hdr.size < spec->min || msg->hdr.size > spec->max)
		*why = "size";
	else if (msg->fds.truncated)
		*why = "the kernel dropped its descriptors: this process has no numbers left for "
		       "them (RLIMIT_NOFILE)";
	else if (fds < spec->fds_min || fds > spec->fds_max)
		*why = "number of descriptors";
	else if (!has_feature(s, spec))
		*why = "its protocol feature was not negotiated";
	else if (!(spec->states & vu_session_state(s)))
		*why = vu_session_state(s) == VU_NEW ? "before SET_OWNER"
						     : "while a ring is started";
	else
		return 0;
	return -EINVAL;
}

/* Only what is refused here is logged here; handlers log their own reasons. */
static void log_refused(struct vu_session *s, const char *why)
{
	const struct vu_msg_spec *spec = vu_msg_spec(s->msg.hdr.request);

	vu_log(s, VDPA_LOG_WARN,
	       "vhost-user: %s (request %u, %u bytes, %u descriptors) refused: %s",
	       spec ? spec->name : "unknown message", s->msg.hdr.request, s->msg.hdr.size,
	       s->msg.fds.n + s->msg.fds.surplus, why);
}

void vu_dispatch_end(struct vu_session *s, int result)
{
	const struct vu_msg_spec *spec = vu_msg_spec(s->msg.hdr.request);
	unsigned flags = spec ? spec->flags : 0;
	bool ack = (s->msg.hdr.flags & VHOST_USER_FLAG_NEED_REPLY) &&
		   vu_has_proto(s, VHOST_USER_PROTOCOL_F_REPLY_ACK) && !(flags & VU_REPLIES);

	/* Whoever reads the answer finds none of its descriptors open here that was not kept. */
	vdpa_fds_close(&s->msg.fds);
	if (result)
		s->dev->refused++;
	if (s->closing)
		return;
	if (ack)
		vu_reply_u64(s, (uint64_t)-result);
	else if (result && !(flags & VU_SOFT))
		vu_session_close(s, "a message was refused");
}

void vu_dispatch(struct vu_session *s)
{
	const struct vu_msg_spec *spec = vu_msg_spec(s->msg.hdr.request);
	const char *why = "not supported";
	int result;

	s->dev->messages++;
	if (!spec) {
		log_refused(s, why);
		vu_dispatch_end(s, -EOPNOTSUPP);
		return;
	}
	s->dev->count[s->msg.hdr.request]++;
	result = check(s, spec, &s->msg, &why);
	if (result) {
		log_refused(s, why);
		vu_dispatch_end(s, result);
		return;
	}
	/* What is shorter than its structure reads as zeroes behind its end. */
	memset(s->payload.bytes + s->msg.hdr.size, 0,
	       sizeof(s->payload.config) > s->msg.hdr.size
		       ? sizeof(s->payload.config) - s->msg.hdr.size
		       : 0);
	s->done_called = false;
	result = spec->handler(s, &s->msg);
	if (result == VU_DEFERRED && s->done_called)
		result = s->done_result;
	if (result == VU_DEFERRED)
		s->deferred = true;
	else
		vu_dispatch_end(s, result);
}
