// SPDX-License-Identifier: BSD-3-Clause
/*
 * Virtqueue groups. A queue belongs to a group, its descriptor area perhaps to another; the driver
 * ties each group to an address space (ASID). A queue's views are attached to them when it starts,
 * and from then on it reaches nothing else: so a group's ASID can change only while none of its
 * queues runs. Reset ties all groups to address space 0, as Linux's parents do.
 *
 * Who attacks: a guest whose rings and buffers name memory of another address space, such as the
 * control queue that its hypervisor keeps to itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "parent/soft/kit.h"

/* ---- layouts ---- */

const char *const soft_group_choices[] = {"single", "cvq", "per-vq", NULL};

static const enum vdpa_soft_groups layouts[] = {
	VDPA_SOFT_GROUPS_SINGLE,
	VDPA_SOFT_GROUPS_CVQ,
	VDPA_SOFT_GROUPS_PER_VQ,
};

void soft_groups_attrs(struct vdpa_soft_params *p, const struct vdpa_attr *attrs)
{
	const char *groups = vdpa_attr_get(attrs, "groups");

	for (size_t i = 0; groups && soft_group_choices[i]; i++)
		if (!strcmp(groups, soft_group_choices[i]))
			p->groups = layouts[i];
	p->desc_group = vdpa_attr_bool(attrs, "desc_group", p->desc_group);
	p->nas = (unsigned)vdpa_attr_u64(attrs, "nas", p->nas);
}

#define PARAMS_OP(p, member)                                                                       \
	(offsetof(struct vdpa_soft_ops, member) + sizeof((p)->ops->member) <= (p)->ops->size &&    \
	 (p)->ops->member)

enum vdpa_soft_groups soft_groups(const struct vdpa_soft_params *p)
{
	if (p->groups != VDPA_SOFT_GROUPS_DEFAULT)
		return p->groups;
	if (PARAMS_OP(p, vq_group))
		return VDPA_SOFT_GROUPS_OWN;
	return p->control_vq ? VDPA_SOFT_GROUPS_CVQ : VDPA_SOFT_GROUPS_SINGLE;
}

bool soft_has_desc_group(const struct vdpa_soft_params *p)
{
	return soft_groups(p) == VDPA_SOFT_GROUPS_OWN ? PARAMS_OP(p, vq_desc_group) : p->desc_group;
}

unsigned soft_ngroups(const struct vdpa_soft_params *p)
{
	switch (soft_groups(p)) {
	case VDPA_SOFT_GROUPS_SINGLE:
		return 1 + p->desc_group;
	case VDPA_SOFT_GROUPS_CVQ:
		return 2 + p->desc_group;
	case VDPA_SOFT_GROUPS_PER_VQ:
		return p->nvqs * (1 + p->desc_group);
	default:
		return p->ngroups ? p->ngroups : 1;
	}
}

int soft_check_groups(const struct vdpa_soft_params *p, struct vdpa_error *err)
{
	if (p->groups != VDPA_SOFT_GROUPS_CVQ || p->control_vq)
		return 0;
	return vdpa_error_set(err, EINVAL, p->name,
			      "groups cvq: this device has no control queue; there are single and "
			      "per-vq");
}

/* ---- which group ---- */

/* Which queue it is depends on features; before there are any, the last one. */
static bool is_control(const struct vdpa_soft_core *core, uint16_t idx)
{
	if (!atomic_load(&core->features))
		return idx == core->nvqs - 1;
	return soft_has_op(core->dev, vq_control) && core->dev->ops->vq_control(core->dev, idx);
}

static unsigned own_group(struct vdpa_soft_core *core, uint16_t idx)
{
	struct vdpa_soft *dev = core->dev;

	return soft_has_op(dev, vq_group) ? dev->ops->vq_group(dev, idx) : 0;
}

uint32_t soft_get_vq_group(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	unsigned group = 0;

	if (core->groups == VDPA_SOFT_GROUPS_OWN)
		group = own_group(core, idx);
	else if (core->groups == VDPA_SOFT_GROUPS_CVQ)
		group = is_control(core, idx);
	else if (core->groups == VDPA_SOFT_GROUPS_PER_VQ)
		group = idx;
	return group < core->ngroups ? group : 0;
}

/* The control queue has no need of it: it is alone in its group. */
uint32_t soft_get_vq_desc_group(struct vdpa_device *vdev, uint16_t idx)
{
	struct vdpa_soft_core *core = soft_core(vdev);
	unsigned group = soft_get_vq_group(vdev, idx);

	if (!core->desc_group)
		return group;
	if (core->groups == VDPA_SOFT_GROUPS_OWN)
		group = core->dev->ops->vq_desc_group(core->dev, idx);
	else if (core->groups == VDPA_SOFT_GROUPS_SINGLE)
		group = 1;
	else if (core->groups == VDPA_SOFT_GROUPS_CVQ)
		group = group ? group : 2;
	else
		group = core->nvqs + idx;
	return group < core->ngroups ? group : 0;
}

void soft_show_groups(const struct vdpa_soft_core *core, vdpa_emit_fn emit, void *arg)
{
	const char *name = "own";

	for (size_t i = 0; soft_group_choices[i]; i++)
		if (core->groups == layouts[i])
			name = soft_group_choices[i];
	emit(arg, "groups", name);
	emit(arg, "desc_group", core->desc_group ? "on" : "off");
}

/* ---- which address space ---- */

struct vdpa_as *soft_group_as(struct vdpa_soft_core *core, unsigned group)
{
	return core->as[core->group_asid[group]];
}

static bool group_in_use(struct vdpa_soft_core *core, unsigned group)
{
	struct vdpa_device *vdev = &core->dev->vdpa;

	for (uint32_t i = 0; i < core->nvqs; i++) {
		uint16_t idx = (uint16_t)i;

		if (core->vqs[i].state != SOFT_IDLE && (soft_get_vq_group(vdev, idx) == group ||
							soft_get_vq_desc_group(vdev, idx) == group))
			return true;
	}
	return false;
}

int soft_set_group_asid(struct vdpa_device *vdev, unsigned group, unsigned asid)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	if (group >= core->ngroups || asid >= core->nas)
		return -EINVAL;
	if (group_in_use(core, group))
		return -EBUSY;
	core->group_asid[group] = asid;
	return 0;
}

unsigned soft_get_group_asid(struct vdpa_device *vdev, unsigned group)
{
	struct vdpa_soft_core *core = soft_core(vdev);

	return group < core->ngroups ? core->group_asid[group] : 0;
}
