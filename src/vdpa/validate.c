// SPDX-License-Identifier: BSD-3-Clause
/* What a parent must bring along: checked once, at birth, so that nobody checks it on the way. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "vdpa/core.h"
#include "vdpa/name_list.h"

struct named_op {
	const char *name;
	size_t offset;
};

#define OP(member)                                                                                 \
	{                                                                                          \
#member, offsetof(struct vdpa_config_ops, member)                                  \
	}

static const struct named_op mandatory_ops[] = {
	OP(set_vq_address),
	OP(set_vq_num),
	OP(kick_vq),
	OP(set_vq_cb),
	OP(set_vq_ready),
	OP(get_vq_ready),
	OP(set_vq_state),
	OP(get_vq_state),
	OP(get_vq_align),
	OP(get_device_features),
	OP(set_driver_features),
	OP(get_driver_features),
	OP(set_config_cb),
	OP(get_vq_num_max),
	OP(get_device_id),
	OP(get_vendor_id),
	OP(get_status),
	OP(set_status),
	OP(reset),
	OP(get_config_size),
	OP(get_config),
	OP(set_config),
};

static bool op_present(const struct vdpa_config_ops *ops, size_t offset)
{
	void (*fn)(void);

	memcpy(&fn, (const char *)ops + offset, sizeof(fn));
	return fn != NULL;
}

static int check_ops(const struct vdpa_alloc_params *p, const char *object, struct vdpa_error *err)
{
	const struct vdpa_config_ops *ops = p->config;

	for (size_t i = 0; i < sizeof(mandatory_ops) / sizeof(mandatory_ops[0]); i++) {
		if (!op_present(ops, mandatory_ops[i].offset))
			return vdpa_error_set(err, EINVAL, object,
					      "the parent lacks the mandatory op %s",
					      mandatory_ops[i].name);
	}
	if (!ops->dma_map != !ops->dma_unmap)
		return vdpa_error_set(err, EINVAL, object,
				      "the parent has %s without %s: both or neither",
				      ops->dma_map ? "dma_map" : "dma_unmap",
				      ops->dma_map ? "dma_unmap" : "dma_map");
	if (p->use_va && !ops->set_map && !ops->dma_map)
		return vdpa_error_set(err, EINVAL, object,
				      "use_va needs a parent with set_map or dma_map");
	if (p->ngroups > 1 && !ops->get_vq_group)
		return vdpa_error_set(err, EINVAL, object,
				      "%u virtqueue groups need the op get_vq_group", p->ngroups);
	if (p->nas > 1 && !ops->set_group_asid)
		return vdpa_error_set(err, EINVAL, object,
				      "%u address spaces need the op set_group_asid", p->nas);
	return 0;
}

/* Names become parts of paths and of command lines. */
bool vdpa_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > VDPA_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("._:-", *name))
			return false;
	}
	return true;
}

int vdpa_validate_params(const struct vdpa_alloc_params *p, struct vdpa_error *err)
{
	const char *object = p->name ? p->name : "";

	if (p->device_size != sizeof(struct vdpa_device))
		return vdpa_error_set(
			err, EINVAL, object,
			"struct vdpa_device has %zu bytes for the parent and %zu here: "
			"compile the parent against the installed headers",
			p->device_size, sizeof(struct vdpa_device));
	if (p->offset > p->size || p->size - p->offset < sizeof(struct vdpa_device) ||
	    p->offset % _Alignof(struct vdpa_device))
		return vdpa_error_set(err, EINVAL, object,
				      "a vdpa_device does not fit at offset %zu of %zu bytes",
				      p->offset, p->size);
	if (!p->config)
		return vdpa_error_set(err, EINVAL, object, "the parent has no config ops");
	if (p->name && !vdpa_name_valid(p->name))
		return vdpa_error_set(err, EINVAL, object,
				      "\"%s\" is not a name: 1 to %d letters, digits, and . _ : - "
				      "but for the first",
				      p->name, VDPA_NAME_MAX);
	return check_ops(p, object, err);
}

static int check_ext(const struct vdpa_device *vdev, struct vdpa_error *err)
{
	if (vdev->ext && vdev->ext->size < sizeof(vdev->ext->size))
		return vdpa_error_set(err, EINVAL, vdev->name,
				      "the parent's extension table has no size");
	return 0;
}

int vdpa_validate_registration(struct vdpa_device *vdev, uint32_t nvqs, struct vdpa_error *err)
{
	uint16_t max, min;

	if (nvqs > (uint32_t)UINT16_MAX + 1)
		return vdpa_error_set(err, EINVAL, vdev->name,
				      "%u virtqueues: at most 65536 are possible", nvqs);
	max = vdpa_get_vq_num_max(vdev);
	min = vdpa_get_vq_num_min(vdev);
	if (!max || max < min)
		return vdpa_error_set(err, EINVAL, vdev->name,
				      "ring sizes of at least %u and at most %u exclude each other",
				      min, max);
	return check_ext(vdev, err);
}
