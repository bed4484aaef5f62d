// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device's state as an object: what the driver negotiated and set up, where each queue stands,
 * and the device's own part behind it. All numbers little endian. It describes a device that does
 * not run: requests in flight are not part of it, because a suspended device has none.
 *
 * Who attacks: whoever made the object that is loaded. It is checked as a whole before anything of
 * it is used, and against this device: features it does not offer, rings larger than its own and
 * statuses that it could not have are refused.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include "parent/soft/kit.h"

#define STATE_MAGIC 0x53445655u /* "UVDS" */
#define STATE_VERSION 2u

struct state_header {
	uint32_t magic;
	uint16_t version;
	uint16_t header_bytes;
	uint64_t total_bytes;
	uint64_t features;
	uint32_t device_id;
	uint32_t nvqs;
	uint32_t vq_bytes;
	uint32_t config_bytes; /* size of the config space, for comparison */
	uint32_t own_bytes;    /* the device's part */
	uint32_t generation;
	uint8_t status;
	uint8_t reserved[7];
};

struct state_vq {
	uint64_t desc, driver, device;
	uint32_t num;
	uint32_t base; /* as VRING_BASE has it */
	uint8_t ready;
	uint8_t reserved[7];
};

_Static_assert(sizeof(struct state_header) == 56, "no holes");
_Static_assert(sizeof(struct state_vq) == 40, "no holes");

static bool all_idle(const struct vdpa_soft_core *core)
{
	for (uint32_t i = 0; i < core->nvqs; i++)
		if (core->vqs[i].state != SOFT_IDLE)
			return false;
	return true;
}

static size_t fixed_bytes(const struct vdpa_soft_core *core)
{
	return sizeof(struct state_header) + (size_t)core->nvqs * sizeof(struct state_vq);
}

static void save_vqs(const struct vdpa_soft_core *core, uint8_t *to)
{
	for (uint32_t i = 0; i < core->nvqs; i++) {
		const struct vdpa_soft_vq *vq = &core->vqs[i];
		struct vdpa_vq_state state = soft_vq_start_state(vq);
		struct state_vq s = {
			.desc = htole64(vq->desc),
			.driver = htole64(vq->driver),
			.device = htole64(vq->device),
			.num = htole32(vq->num),
			.base = htole32(vdpa_vq_state_to_base(&state, soft_packed(core))),
			.ready = vq->ready,
		};

		memcpy(to + i * sizeof(s), &s, sizeof(s));
	}
}

/* -ENOSPC: *@bytes says how many it takes. -EBUSY: a queue runs. */
int soft_save_state(struct vdpa_device *vdev, void *buf, size_t *bytes)
{
	struct vdpa_soft *dev = vdpa_to_soft(vdev);
	struct vdpa_soft_core *core = dev->core;
	size_t fixed = fixed_bytes(core);
	size_t own = *bytes > fixed ? *bytes - fixed : 0;
	bool fits = *bytes >= fixed;
	struct state_header h = {.magic = htole32(STATE_MAGIC)};
	int r = 0;

	if (core->resetting || !all_idle(core))
		return -EBUSY;
	if (soft_has_op(dev, save_state))
		r = dev->ops->save_state(dev, own ? (uint8_t *)buf + fixed : NULL, &own);
	else
		own = 0;
	if (r && r != -ENOSPC)
		return r;
	*bytes = fixed + own;
	if (r || !fits)
		return -ENOSPC;
	h.version = htole16(STATE_VERSION);
	h.header_bytes = htole16(sizeof(h));
	h.total_bytes = htole64(fixed + own);
	h.features = htole64(atomic_load(&core->features));
	h.device_id = htole32(core->device_id);
	h.nvqs = htole32(core->nvqs);
	h.vq_bytes = htole32(sizeof(struct state_vq));
	h.config_bytes = htole32((uint32_t)core->config_bytes);
	h.own_bytes = htole32((uint32_t)own);
	h.generation = htole32(atomic_load(&core->generation));
	h.status = atomic_load(&core->status);
	memcpy(buf, &h, sizeof(h));
	save_vqs(core, (uint8_t *)buf + sizeof(h));
	return 0;
}

static bool zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static int check_header(const struct vdpa_soft_core *core, const struct state_header *h,
			size_t bytes, struct vdpa_error *err)
{
	const char *name = core->dev->vdpa.name;

	if (le32toh(h->magic) != STATE_MAGIC)
		return vdpa_error_set(err, EINVAL, name, "this is not the state of a device");
	if (le16toh(h->version) != STATE_VERSION)
		return vdpa_error_set(err, EINVAL, name, "state version %u, this knows version %u",
				      le16toh(h->version), STATE_VERSION);
	if (le16toh(h->header_bytes) != sizeof(*h) ||
	    le32toh(h->vq_bytes) != sizeof(struct state_vq) || !zero(h->reserved, 7))
		return vdpa_error_set(err, EINVAL, name, "the state's layout is not version %u's",
				      STATE_VERSION);
	if (le32toh(h->device_id) != core->device_id)
		return vdpa_error_set(err, EINVAL, name,
				      "the state is of a device of type %u, this is of type %u",
				      le32toh(h->device_id), core->device_id);
	if (le32toh(h->nvqs) != core->nvqs || le32toh(h->config_bytes) != core->config_bytes)
		return vdpa_error_set(err, EINVAL, name,
				      "the state has %u queues and %u bytes of config, this device "
				      "%u and %zu",
				      le32toh(h->nvqs), le32toh(h->config_bytes), core->nvqs,
				      core->config_bytes);
	if (le64toh(h->total_bytes) != bytes || le32toh(h->own_bytes) != bytes - fixed_bytes(core))
		return vdpa_error_set(err, EINVAL, name, "the state has %zu bytes and says %llu",
				      bytes, (unsigned long long)le64toh(h->total_bytes));
	return 0;
}

/* Could this device have had them? */
static int check_negotiation(struct vdpa_soft_core *core, const struct state_header *h,
			     struct vdpa_error *err)
{
	const uint8_t ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			   VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
	uint64_t features = le64toh(h->features);
	uint8_t status = h->status;

	if (soft_check_features(core, features))
		return vdpa_error_set(err, EINVAL, core->dev->vdpa.name,
				      "features 0x%llx are not usable here, offered are 0x%llx",
				      (unsigned long long)features,
				      (unsigned long long)core->offered);
	if ((status & ~ok) ||
	    ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	     (features & VDPA_BIT(VIRTIO_F_VERSION_1))))
		return vdpa_error_set(err, EINVAL, core->dev->vdpa.name,
				      "status 0x%02x is not of a device that can go on", status);
	return 0;
}

static int check_vq(const struct vdpa_soft_vq *vq, const struct state_vq *s, bool packed,
		    struct vdpa_error *err)
{
	struct vdpa_vq_state state = vdpa_vq_state_from_base(le32toh(s->base), packed);
	uint32_t num = le32toh(s->num);

	if (!num || num > vq->core->num_max || (!packed && (num & (num - 1))))
		return vdpa_error_set(err, EINVAL, vq->object,
				      "ring of %u, this device takes %s up to %u", num,
				      packed ? "any" : "powers of two", vq->core->num_max);
	if (s->ready > 1 || !zero(s->reserved, sizeof(s->reserved)) ||
	    vdpa_vq_state_to_base(&state, packed) != le32toh(s->base))
		return vdpa_error_set(err, EINVAL, vq->object, "the state has unknown flags");
	return vringh_state_check(&state, num, packed, err);
}

static void load_vq(struct vdpa_soft_vq *vq, const struct state_vq *s, bool packed)
{
	soft_vq_clear(vq);
	vq->desc = le64toh(s->desc);
	vq->driver = le64toh(s->driver);
	vq->device = le64toh(s->device);
	vq->num = le32toh(s->num);
	vq->vstate = vdpa_vq_state_from_base(le32toh(s->base), packed);
	vq->vstate_known = true;
	vq->ready = s->ready;
}

static void load_all(struct vdpa_soft_core *core, const struct state_header *h, const uint8_t *vqs)
{
	bool packed = le64toh(h->features) & VDPA_BIT(VIRTIO_F_RING_PACKED);
	struct state_vq s;

	/* It goes on when it is resumed, not before. */
	core->suspended = true;
	for (uint32_t i = 0; i < core->nvqs; i++) {
		memcpy(&s, vqs + i * sizeof(s), sizeof(s));
		load_vq(&core->vqs[i], &s, packed);
	}
	atomic_store(&core->status, h->status);
	/* The driver must see a change whatever it had seen before. */
	atomic_store(&core->generation, le32toh(h->generation) + 1);
	if ((h->status & VIRTIO_CONFIG_S_DRIVER_OK) && soft_has_op(core->dev, driver_ok))
		core->dev->ops->driver_ok(core->dev);
	soft_place_all(core);
}

/* The device's own part means something with the features of its time only. */
static int load_own(struct vdpa_soft_core *core, uint64_t features, struct iovec own,
		    struct vdpa_error *err)
{
	struct vdpa_soft *dev = core->dev;
	uint64_t old = atomic_exchange(&core->features, features);
	int r = 0;

	if (soft_has_op(dev, load_state))
		r = dev->ops->load_state(dev, own.iov_base, own.iov_len, err);
	else if (own.iov_len)
		r = vdpa_error_set(err, EINVAL, dev->vdpa.name,
				   "%zu bytes of state that this device does not know",
				   own.iov_len);
	if (r)
		atomic_store(&core->features, old);
	return r;
}

int soft_load_state(struct vdpa_device *vdev, const void *buf, size_t bytes, struct vdpa_error *err)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	const uint8_t *vqs = (const uint8_t *)buf + sizeof(struct state_header);
	size_t fixed = fixed_bytes(core);
	struct state_header h;
	struct state_vq s;
	int r;

	if (core->resetting || core->broken || !all_idle(core))
		return vdpa_error_set(err, EBUSY, vdev->name,
				      "state is loaded into a device that is new or suspended");
	if (bytes < fixed)
		return vdpa_error_set(err, EINVAL, vdev->name,
				      "the state has %zu bytes, this device needs at least %zu",
				      bytes, fixed);
	memcpy(&h, buf, sizeof(h));
	r = check_header(core, &h, bytes, err);
	if (!r)
		r = check_negotiation(core, &h, err);
	for (uint32_t i = 0; !r && i < core->nvqs; i++) {
		memcpy(&s, vqs + i * sizeof(s), sizeof(s));
		r = check_vq(&core->vqs[i], &s,
			     le64toh(h.features) & VDPA_BIT(VIRTIO_F_RING_PACKED), err);
	}
	if (r)
		return r;
	r = load_own(core, le64toh(h.features),
		     (struct iovec){(uint8_t *)(uintptr_t)buf + fixed, bytes - fixed}, err);
	if (!r)
		load_all(core, &h, vqs);
	return r;
}
