// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ioctls and messages of /dev/vhost-vdpa-N. One table says what each moves and who carries it
 * out; everything is checked against it before a handler runs.
 *
 * Who attacks: the program that has the device open. It chooses every byte, also the lengths inside
 * of an argument, and may have changed them since the carrier first looked: only the bytes that are
 * handed over here count.
 */
#include "driver/vhost_vdpa/impl.h"

#include <errno.h>
#include <linux/ioctl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uvdpa/vhost_uapi.h>

#include "base/fd.h"

/* Newer than the oldest headers that this builds on (Linux include/uapi/linux/vhost.h). */
#define UAPI_RESUME _IO(VHOST_VIRTIO, 0x7E)
#define UAPI_GET_VRING_DESC_GROUP _IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#define UAPI_SUSPEND _IO(VHOST_VIRTIO, 0x7D)
#define UAPI_GET_VRING_SIZE _IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#define UAPI_SET_FEATURES_ARRAY _IOW(VHOST_VIRTIO, 0x83, uint64_t)
#define UAPI_GET_FEATURES_ARRAY _IOR(VHOST_VIRTIO, 0x83, uint64_t)

#define CONFIG_HEAD 8u
#define ARRAY_HEAD 8u

/* Handlers: 0 or -errno. One that is async calls the call's done itself when it returned 0. */
typedef int (*uapi_fn)(struct vhost_vdpa *v, struct vhost_uapi_call *c);

enum uapi_kind {
	UAPI_PLAIN,  /* its descriptor, if it has one, is an eventfd */
	UAPI_FILE,   /* plain, and the descriptor is a file */
	UAPI_CONFIG, /* struct vhost_vdpa_config: offset, length, bytes */
	UAPI_ARRAY,  /* struct vhost_features_array: count, words */
};

struct uapi_ioctl {
	uint32_t cmd;
	uapi_fn fn;
	uint16_t in, out;
	int8_t fd_at;
	bool owner, async;
	uint8_t kind;
};

/* ---- arguments ---- */

static uint32_t arg32(const struct vhost_uapi_call *c)
{
	uint32_t value;

	memcpy(&value, c->arg, sizeof(value));
	return value;
}

static uint64_t arg64(const struct vhost_uapi_call *c)
{
	uint64_t value;

	memcpy(&value, c->arg, sizeof(value));
	return value;
}

static int put32(struct vhost_uapi_call *c, uint32_t value)
{
	memcpy(c->arg, &value, sizeof(value));
	return 0;
}

static int put64(struct vhost_uapi_call *c, uint64_t value)
{
	memcpy(c->arg, &value, sizeof(value));
	return 0;
}

static struct vhost_vring_state arg_state(const struct vhost_uapi_call *c)
{
	struct vhost_vring_state s;

	memcpy(&s, c->arg, sizeof(s));
	return s;
}

/* The descriptor becomes the callee's. */
static int take_fd(struct vhost_uapi_call *c)
{
	int fd = c->fd;

	c->fd = -1;
	return fd;
}

/* ---- the device ---- */

static int do_get_features(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put64(c, vhost_vdpa_get_features(v));
}

static int do_set_features(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_features(v, arg64(c));
}

static int do_set_owner(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_owner(v);
}

static int do_get_backend_features(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put64(c, vhost_vdpa_get_backend_features(v));
}

static int do_set_backend_features(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_backend_features(v, arg64(c));
}

static int do_get_device_id(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put32(c, vhost_vdpa_get_device_id(v));
}

static int do_get_status(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	*(uint8_t *)c->arg = vhost_vdpa_get_status(v);
	return 0;
}

static int do_set_status(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_status(v, *(uint8_t *)c->arg, &c->done);
}

static int do_get_config(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vdpa_config head;

	memcpy(&head, c->arg, CONFIG_HEAD);
	return vhost_vdpa_get_config(v, head.off, (char *)c->arg + CONFIG_HEAD, head.len);
}

static int do_set_config(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vdpa_config head;

	memcpy(&head, c->arg, CONFIG_HEAD);
	return vhost_vdpa_set_config(v, head.off, (char *)c->arg + CONFIG_HEAD, head.len);
}

static int do_set_config_call(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_config_call(v, take_fd(c));
}

static int do_get_config_size(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put32(c, vhost_vdpa_get_config_size(v));
}

static int do_get_iova_range(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vdpa_iova_range range = vhost_vdpa_get_iova_range(v);
	struct vhost_vdpa_iova_range out = {.first = range.first, .last = range.last};

	memcpy(c->arg, &out, sizeof(out));
	return 0;
}

static int do_get_vqs_count(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put32(c, vhost_vdpa_get_vqs_count(v));
}

static int do_get_group_num(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put32(c, vhost_vdpa_get_group_num(v));
}

static int do_get_as_num(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return put32(c, vhost_vdpa_get_as_num(v));
}

static int do_suspend(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_suspend(v, &c->done);
}

static int do_resume(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_resume(v);
}

static int do_set_log(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_uvdpa_log log;

	memcpy(&log, c->arg, sizeof(log));
	return vv_log_set(v, &log, take_fd(c), &c->done);
}

/* Word 0 is what GET_FEATURES has; words that the device does not know are 0. */
static int do_get_features_array(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	uint64_t count = arg64(c);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t word = i ? vdpa_get_features_word(v->vdev, (unsigned)i)
				  : vhost_vdpa_get_features(v);

		memcpy((char *)c->arg + ARRAY_HEAD + 8 * i, &word, sizeof(word));
	}
	return 0;
}

static int do_set_features_array(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	uint64_t count = arg64(c), word = 0;
	int err = 0;

	if (vhost_vdpa_get_status(v) & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;
	for (uint64_t i = 1; i < count && !err; i++) {
		memcpy(&word, (char *)c->arg + ARRAY_HEAD + 8 * i, sizeof(word));
		err = vdpa_set_features_word(v->vdev, (unsigned)i, word);
	}
	word = 0;
	if (count)
		memcpy(&word, (char *)c->arg + ARRAY_HEAD, sizeof(word));
	return err ? err : vhost_vdpa_set_features(v, word);
}

/* ---- vrings ---- */

static int do_get_vring_num(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	uint16_t num = vhost_vdpa_get_vring_num(v);

	memcpy(c->arg, &num, sizeof(num));
	return 0;
}

/* A number that belongs to one vring: index in, index and number out. */
static int get_state(struct vhost_vdpa *v, struct vhost_uapi_call *c,
		     int (*get)(struct vhost_vdpa *v, uint32_t idx, uint32_t *num))
{
	struct vhost_vring_state s = arg_state(c);
	int err = get(v, s.index, &s.num);

	if (!err)
		memcpy(c->arg, &s, sizeof(s));
	return err;
}

static int do_get_vring_size(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return get_state(v, c, vhost_vdpa_get_vring_size);
}

static int do_get_vring_group(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return get_state(v, c, vhost_vdpa_get_vring_group);
}

static int do_get_vring_desc_group(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return get_state(v, c, vhost_vdpa_get_vring_desc_group);
}

static int do_get_vring_base(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return get_state(v, c, vhost_vdpa_get_vring_base);
}

static int do_get_busyloop(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return get_state(v, c, vhost_vdpa_get_vring_busyloop);
}

static int do_set_busyloop(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_state s = arg_state(c);

	return vhost_vdpa_set_vring_busyloop(v, s.index, s.num);
}

static int do_set_vring_num(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_state s = arg_state(c);

	return vhost_vdpa_set_vring_num(v, s.index, s.num);
}

static int do_set_vring_base(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_state s = arg_state(c);

	return vhost_vdpa_set_vring_base(v, s.index, s.num);
}

static int do_set_vring_enable(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_state s = arg_state(c);

	return vhost_vdpa_set_vring_enable(v, s.index, s.num, &c->done);
}

/*
 * Linux looks the index up among the vrings before it asks whether it is a group, so groups beyond
 * the number of vrings are out of reach there. Descriptor groups can be: here they are not.
 */
static int do_set_group_asid(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_state s = arg_state(c);

	if (s.index >= vhost_vdpa_get_vqs_count(v) && s.index >= vhost_vdpa_get_group_num(v))
		return -ENOBUFS;
	return vhost_vdpa_set_group_asid(v, s.index, s.num);
}

static int do_set_vring_addr(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	struct vhost_vring_addr addr;

	memcpy(&addr, c->arg, sizeof(addr));
	return vhost_vdpa_set_vring_addr(v, addr.index, &addr);
}

static int do_set_vring_kick(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_vring_kick(v, arg32(c), take_fd(c));
}

static int do_set_vring_call(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_vring_call(v, arg32(c), take_fd(c));
}

static int do_set_vring_err(struct vhost_vdpa *v, struct vhost_uapi_call *c)
{
	return vhost_vdpa_set_vring_err(v, arg32(c), take_fd(c));
}

/* ---- the table ---- */

#define STATE sizeof(struct vhost_vring_state)
#define DEV(cmd, fn, in, out)                                                                      \
	{                                                                                          \
		cmd, fn, in, out, -1, false, false, UAPI_PLAIN                                     \
	}
#define DEV_ASYNC(cmd, fn, in)                                                                     \
	{                                                                                          \
		cmd, fn, in, 0, -1, false, true, UAPI_PLAIN                                        \
	}
#define DEV_VAR(cmd, fn, head, kind)                                                               \
	{                                                                                          \
		cmd, fn, head, 0, -1, false, false, kind                                           \
	}
#define VRING(cmd, fn, in, out)                                                                    \
	{                                                                                          \
		cmd, fn, in, out, -1, true, false, UAPI_PLAIN                                      \
	}
#define VRING_FD(cmd, fn)                                                                          \
	{                                                                                          \
		cmd, fn, STATE, 0, 4, true, false, UAPI_PLAIN                                      \
	}

static const struct uapi_ioctl uapi_ioctls[] = {
	DEV(VHOST_GET_FEATURES, do_get_features, 0, 8),
	DEV(VHOST_SET_FEATURES, do_set_features, 8, 0),
	DEV(VHOST_SET_OWNER, do_set_owner, 0, 0),
	DEV(VHOST_GET_BACKEND_FEATURES, do_get_backend_features, 0, 8),
	DEV(VHOST_SET_BACKEND_FEATURES, do_set_backend_features, 8, 0),
	DEV(VHOST_VDPA_GET_DEVICE_ID, do_get_device_id, 0, 4),
	DEV(VHOST_VDPA_GET_STATUS, do_get_status, 0, 1),
	DEV_ASYNC(VHOST_VDPA_SET_STATUS, do_set_status, 1),
	DEV_VAR(VHOST_VDPA_GET_CONFIG, do_get_config, CONFIG_HEAD, UAPI_CONFIG),
	DEV_VAR(VHOST_VDPA_SET_CONFIG, do_set_config, CONFIG_HEAD, UAPI_CONFIG),
	{VHOST_VDPA_SET_CONFIG_CALL, do_set_config_call, 4, 0, 0, false, false, UAPI_PLAIN},
	DEV(VHOST_VDPA_GET_CONFIG_SIZE, do_get_config_size, 0, 4),
	DEV(VHOST_VDPA_GET_IOVA_RANGE, do_get_iova_range, 0, sizeof(struct vhost_vdpa_iova_range)),
	DEV(VHOST_VDPA_GET_VQS_COUNT, do_get_vqs_count, 0, 4),
	DEV(VHOST_VDPA_GET_GROUP_NUM, do_get_group_num, 0, 4),
	DEV(VHOST_VDPA_GET_AS_NUM, do_get_as_num, 0, 4),
	DEV_ASYNC(UAPI_SUSPEND, do_suspend, 0),
	DEV(UAPI_RESUME, do_resume, 0, 0),
	{VHOST_UVDPA_SET_LOG, do_set_log, sizeof(struct vhost_uvdpa_log), 0,
	 offsetof(struct vhost_uvdpa_log, fd), true, true, UAPI_FILE},
	DEV_VAR(UAPI_GET_FEATURES_ARRAY, do_get_features_array, ARRAY_HEAD, UAPI_ARRAY),
	DEV_VAR(UAPI_SET_FEATURES_ARRAY, do_set_features_array, ARRAY_HEAD, UAPI_ARRAY),
	DEV(VHOST_VDPA_GET_VRING_NUM, do_get_vring_num, 0, 2),

	VRING(VHOST_SET_VRING_NUM, do_set_vring_num, STATE, 0),
	VRING(VHOST_SET_VRING_ADDR, do_set_vring_addr, sizeof(struct vhost_vring_addr), 0),
	VRING(VHOST_SET_VRING_BASE, do_set_vring_base, STATE, 0),
	VRING(VHOST_GET_VRING_BASE, do_get_vring_base, STATE, STATE),
	VRING_FD(VHOST_SET_VRING_KICK, do_set_vring_kick),
	VRING_FD(VHOST_SET_VRING_CALL, do_set_vring_call),
	VRING_FD(VHOST_SET_VRING_ERR, do_set_vring_err),
	VRING(VHOST_SET_VRING_BUSYLOOP_TIMEOUT, do_set_busyloop, STATE, 0),
	VRING(VHOST_GET_VRING_BUSYLOOP_TIMEOUT, do_get_busyloop, STATE, STATE),
	{VHOST_VDPA_SET_VRING_ENABLE, do_set_vring_enable, STATE, 0, -1, true, true, UAPI_PLAIN},
	VRING(VHOST_VDPA_GET_VRING_GROUP, do_get_vring_group, STATE, STATE),
	VRING(UAPI_GET_VRING_DESC_GROUP, do_get_vring_desc_group, STATE, STATE),
	VRING(UAPI_GET_VRING_SIZE, do_get_vring_size, STATE, STATE),
	VRING(VHOST_VDPA_SET_GROUP_ASID, do_set_group_asid, STATE, 0),
};

static const struct uapi_ioctl *uapi_find(uint32_t cmd)
{
	for (size_t i = 0; i < sizeof(uapi_ioctls) / sizeof(uapi_ioctls[0]); i++) {
		if (uapi_ioctls[i].cmd == cmd)
			return &uapi_ioctls[i];
	}
	return NULL;
}

/* The head was read: what follows it? */
static int variable_size(const struct uapi_ioctl *op, const void *head,
			 struct vhost_uapi_size *size)
{
	bool out = _IOC_DIR(op->cmd) & _IOC_READ;
	uint64_t bytes;

	if (op->kind == UAPI_CONFIG) {
		struct vhost_vdpa_config config;

		memcpy(&config, head, CONFIG_HEAD);
		if (config.len > VHOST_UAPI_ARG_MAX - CONFIG_HEAD)
			return -EINVAL;
		bytes = config.len;
	} else {
		memcpy(&bytes, head, sizeof(bytes));
		bytes = bytes > VHOST_UAPI_ARG_MAX ? VHOST_UAPI_ARG_MAX : 8 * bytes;
	}
	if (bytes > VHOST_UAPI_ARG_MAX - op->in)
		return -E2BIG;
	size->in = out ? op->in : op->in + (uint32_t)bytes;
	size->out = out ? op->in + (uint32_t)bytes : 0;
	return 0;
}

int vhost_uapi_size(uint32_t cmd, const void *head, size_t head_bytes, struct vhost_uapi_size *size)
{
	const struct uapi_ioctl *op = uapi_find(cmd);

	if (!op)
		return -ENOTTY;
	*size = (struct vhost_uapi_size){.in = op->in, .out = op->out, .fd_at = op->fd_at};
	if (op->kind == UAPI_PLAIN || op->kind == UAPI_FILE)
		return 0;
	size->more = head_bytes < op->in;
	return size->more ? 0 : variable_size(op, head, size);
}

static int check_call(struct vhost_vdpa *v, const struct uapi_ioctl *op,
		      const struct vhost_uapi_call *call)
{
	struct vhost_uapi_size size;
	int err;

	if (call->size != sizeof(*call))
		return -EINVAL;
	err = vhost_uapi_size(call->cmd, call->arg, call->arg_bytes, &size);
	if (err)
		return err;
	if (size.more || call->arg_bytes < size.in || call->arg_bytes < size.out)
		return -EINVAL;
	if (op->owner && !vhost_vdpa_has_owner(v))
		return -EPERM;
	/* Where that cannot be found out, the queue finds out that it cannot be used. */
	return call->fd >= 0 && op->fd_at >= 0 && op->kind == UAPI_PLAIN &&
			       vdpa_fd_is_eventfd(call->fd) == 0
		       ? -EINVAL
		       : 0;
}

int vhost_uapi_ioctl(struct vhost_vdpa *v, struct vhost_uapi_call *call)
{
	const struct uapi_ioctl *op = uapi_find(call->cmd);
	int err = op ? check_call(v, op, call) : -ENOTTY;

	if (!err)
		err = op->fn(v, call);
	if (call->fd >= 0)
		close(take_fd(call));
	if (!err && !op->async)
		vdpa_done_call(&call->done, 0);
	return err;
}

/* ---- messages ---- */

/* Linux: vhost_chr_write_iter(). 0 or -EINVAL. */
static int msg_parse(const void *msg, size_t bytes, struct vhost_iotlb_msg *iotlb, uint32_t *asid)
{
	struct vhost_msg_v2 v2;
	struct vhost_msg v1;
	uint32_t type;

	_Static_assert(sizeof(v1) == VHOST_UAPI_MSG_BYTES && sizeof(v2) == VHOST_UAPI_MSG_BYTES,
		       "both versions are as long");
	if (bytes < VHOST_UAPI_MSG_BYTES)
		return -EINVAL;
	memcpy(&type, msg, sizeof(type));
	*asid = 0;
	if (type == VHOST_IOTLB_MSG) {
		memcpy(&v1, msg, sizeof(v1));
		*iotlb = v1.iotlb;
		return 0;
	}
	if (type != VHOST_IOTLB_MSG_V2)
		return -EINVAL;
	memcpy(&v2, msg, sizeof(v2));
	*iotlb = v2.iotlb;
	*asid = v2.asid;
	return 0;
}

static struct vhost_vdpa_update msg_update(const struct vhost_iotlb_msg *iotlb, uint32_t asid)
{
	return (struct vhost_vdpa_update){
		.asid = asid,
		.perm = iotlb->perm,
		.iova = iotlb->iova,
		.size = iotlb->size,
		.uaddr = iotlb->uaddr,
	};
}

bool vhost_uapi_msg_update(const void *msg, size_t bytes, struct vhost_vdpa_update *update)
{
	struct vhost_iotlb_msg iotlb;
	uint32_t asid;

	if (msg_parse(msg, bytes, &iotlb, &asid) || iotlb.type != VHOST_IOTLB_UPDATE)
		return false;
	*update = msg_update(&iotlb, asid);
	return true;
}

/* The message's effect is there: as many bytes were written. */
struct msg_done {
	struct vdpa_done done;
};

static void msg_written(void *arg, int result)
{
	struct msg_done *m = arg;
	struct vdpa_done done = m->done;

	free(m);
	vdpa_done_call(&done, result ? result : (int)VHOST_UAPI_MSG_BYTES);
}

static int invalidate(struct vhost_vdpa *v, const struct vhost_iotlb_msg *iotlb, uint32_t asid,
		      const struct vdpa_done *done)
{
	if (!iotlb->size) {
		vdpa_done_call(done, 0);
		return 0;
	}
	return vhost_vdpa_iotlb_invalidate(v, asid, iotlb->iova, iotlb->iova + (iotlb->size - 1),
					   done);
}

static int process(struct vhost_vdpa *v, const struct vhost_iotlb_msg *iotlb, uint32_t asid,
		   const struct vdpa_done *done)
{
	struct vhost_vdpa_update update = msg_update(iotlb, asid);
	int err;

	err = vv_iotlb_check(v, asid);
	if (err)
		return err;
	/* Linux makes an address space of the first message that puts something into it. */
	if (iotlb->type == VHOST_IOTLB_UPDATE || iotlb->type == VHOST_IOTLB_BATCH_BEGIN)
		v->as_used[asid] = true;
	if (!v->as_used[asid])
		return -EINVAL;
	switch (iotlb->type) {
	case VHOST_IOTLB_UPDATE:
		return vhost_vdpa_iotlb_update(v, &update, done);
	case VHOST_IOTLB_INVALIDATE:
		return invalidate(v, iotlb, asid, done);
	case VHOST_IOTLB_BATCH_BEGIN:
		err = vhost_vdpa_iotlb_batch_begin(v, asid);
		if (!err)
			vdpa_done_call(done, 0);
		return err;
	case VHOST_IOTLB_BATCH_END:
		return vhost_vdpa_iotlb_batch_end(v, asid, done);
	}
	return -EINVAL;
}

int vhost_uapi_write(struct vhost_vdpa *v, const void *msg, size_t bytes,
		     const struct vdpa_done *done)
{
	struct vhost_iotlb_msg iotlb;
	struct msg_done *m;
	uint32_t asid;
	int err = msg_parse(msg, bytes, &iotlb, &asid);

	if (err)
		return err;
	if (!(v->backend_features & VDPA_BIT(VHOST_BACKEND_F_IOTLB_ASID)))
		asid = 0;
	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->done = *done;
	err = process(v, &iotlb, asid, &(struct vdpa_done){.fn = msg_written, .arg = m});
	if (err)
		free(m);
	return err;
}
