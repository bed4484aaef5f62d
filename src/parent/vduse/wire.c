// SPDX-License-Identifier: BSD-3-Clause
/*
 * What is said to a process, and what it answers, as bytes: Linux's form (versions 0 and 1), which
 * has four messages, and the first published one, which has thirteen. What is said of a queue is
 * looked up here, when the message goes out.
 *
 * Who attacks: the process, by what it answers. Its bytes are taken apart here, and judged by who
 * asked.
 */
#include <assert.h>
#include <string.h>

#include "parent/vduse/vduse.h"

#define NONE -1
#define SIZE(member) ((uint32_t)sizeof(((union vduse_rfc3_payload *)0)->member))

#define BOTH(name, size) [VDU_##name] = {#name, VDUSE_##name, VDUSE_RFC3_##name, size}
#define RFC3(name, size) [VDU_##name] = {#name, NONE, VDUSE_RFC3_##name, size}

static const struct {
	const char *name;
	int linux_type, rfc3_type;
	uint32_t rfc3_size; /* of what is said */
} ops[VDU_OPS] = {
	RFC3(SET_VQ_NUM, SIZE(num)),
	RFC3(SET_VQ_ADDR, SIZE(addr)),
	RFC3(SET_VQ_READY, SIZE(ready)),
	RFC3(GET_VQ_READY, SIZE(ready)),
	RFC3(SET_VQ_STATE, SIZE(state)),
	BOTH(GET_VQ_STATE, SIZE(state)),
	RFC3(SET_FEATURES, SIZE(features)),
	RFC3(GET_FEATURES, 0),
	BOTH(SET_STATUS, SIZE(status)),
	RFC3(GET_STATUS, 0),
	RFC3(SET_CONFIG, SIZE(config)),
	RFC3(GET_CONFIG, SIZE(config)),
	BOTH(UPDATE_IOTLB, SIZE(iova)),
	[VDU_SET_GROUP_ASID] = {"SET_VQ_GROUP_ASID", VDUSE_SET_VQ_GROUP_ASID, NONE, 0},
};

const char *vdu_op_name(enum vdu_op op)
{
	return ops[op].name;
}

_Static_assert(sizeof(struct vduse_dev_request) <= VDU_WIRE_MAX &&
		       sizeof(struct vduse_dev_response) < VDU_WIRE_MAX &&
		       sizeof(struct vduse_rfc3_request) <= VDU_WIRE_MAX &&
		       sizeof(struct vduse_rfc3_response) < VDU_WIRE_MAX,
	       "room for a message");

/* ---- Linux ---- */

static size_t linux_encode(const struct vdu_msg *msg, void *buf)
{
	struct vduse_dev_request req = {.request_id = msg->id};

	assert(ops[msg->op].linux_type != NONE);
	req.type = (uint32_t)ops[msg->op].linux_type;
	if (msg->op == VDU_GET_VQ_STATE) {
		req.vq_state.index = msg->index;
	} else if (msg->op == VDU_SET_STATUS) {
		req.status = msg->status;
	} else if (msg->op == VDU_SET_GROUP_ASID) {
		req.vq_group_asid.group = msg->group.group;
		req.vq_group_asid.asid = msg->group.asid;
	} else {
		req.iova.start = msg->iova.start;
		req.iova.last = msg->iova.last;
		req.iova.asid = msg->iova.asid;
	}
	memcpy(buf, &req, sizeof(req));
	return sizeof(req);
}

static void linux_decode(const void *buf, struct vdu_answer *a)
{
	struct vduse_dev_response resp;

	memcpy(&resp, buf, sizeof(resp));
	*a = (struct vdu_answer){
		.id = resp.request_id, .failed = resp.result, .vq_state = resp.vq_state};
}

/* ---- the first design ---- */

static void say_queue(const struct vdu_msg *msg, union vduse_rfc3_payload *p)
{
	const struct vdu_vq *vq = &msg->d->vq[msg->index];

	switch (msg->op) {
	case VDU_SET_VQ_NUM:
		p->num.num = vq->num;
		break;
	case VDU_SET_VQ_ADDR:
		p->addr.desc = vq->desc;
		p->addr.driver = vq->driver;
		p->addr.device = vq->device;
		break;
	case VDU_SET_VQ_READY:
		p->ready.ready = vq->runs;
		break;
	case VDU_SET_VQ_STATE:
		p->state.avail_index = vq->state.split.avail_index;
		break;
	default:
		break;
	}
	/* It comes first in all of them. */
	p->num.index = msg->index;
}

static size_t rfc3_encode(const struct vdu_msg *msg, void *buf)
{
	struct vduse_rfc3_request req;

	assert(ops[msg->op].rfc3_type != NONE);
	memset(&req, 0, sizeof(req));
	req.type = (uint32_t)ops[msg->op].rfc3_type;
	req.id = msg->id;
	req.size = ops[msg->op].rfc3_size;
	if (msg->op <= VDU_GET_VQ_STATE) {
		say_queue(msg, &req.body);
	} else if (msg->op == VDU_SET_FEATURES) {
		req.body.features = vdu_features_for_process(msg->d);
	} else if (msg->op == VDU_SET_STATUS) {
		req.body.status = msg->status;
	} else if (msg->op == VDU_SET_CONFIG || msg->op == VDU_GET_CONFIG) {
		req.body.config = msg->config;
	} else if (msg->op == VDU_UPDATE_IOTLB) {
		req.body.iova.start = msg->iova.start;
		req.body.iova.last = msg->iova.last;
	}
	memcpy(buf, &req, sizeof(req));
	return sizeof(req);
}

/* Which queue an answer is about nobody said then: it is that of the question. */
static void rfc3_decode(const void *buf, struct vdu_answer *a)
{
	const uint8_t *config = (const uint8_t *)buf + offsetof(struct vduse_rfc3_response, body) +
				offsetof(struct vduse_rfc3_config, data);
	struct vduse_rfc3_response resp;

	memcpy(&resp, buf, sizeof(resp));
	*a = (struct vdu_answer){.id = resp.id,
				 .failed = resp.result,
				 .vq_state.state.avail_index = resp.body.state.avail_index,
				 .features = resp.body.features,
				 .status = resp.body.status,
				 .ready = resp.body.ready.ready,
				 .config = config};
}

const struct vdu_profile vdu_linux = {
	.name = "linux",
	.response_bytes = sizeof(struct vduse_dev_response),
	.encode = linux_encode,
	.decode = linux_decode,
	.ioctl = vdu_device_ioctl,
};

const struct vdu_profile vdu_rfc3 = {
	.name = "rfc3",
	.response_bytes = sizeof(struct vduse_rfc3_response),
	.encode = rfc3_encode,
	.decode = rfc3_decode,
	.ioctl = vdu_rfc3_ioctl,
	.tells_all = true,
};
