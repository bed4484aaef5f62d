// SPDX-License-Identifier: BSD-3-Clause
/* Virtqueue groups and address spaces as JSON. */
#include <uvdpa/mem.h>
#include "ctl/json.h"
#include "describe.h"

/* ---- ranges ---- */

static json_t *range_json(const struct vhost_iotlb_map *map)
{
	static const char *const perms[] = {"none", "ro", "wo", "rw"};
	const struct vdpa_region *region = map->opaque;
	json_t *obj = json_pack("{s:o, s:o, s:o, s:s}", "first", ctl_json_hex(map->start), "last",
				ctl_json_hex(map->last), "addr", ctl_json_hex(map->addr), "perm",
				perms[map->perm & 3]);

	if (obj && region)
		json_object_set_new(obj, "region",
				    json_pack("{s:o, s:o, s:b}", "gpa",
					      ctl_json_hex(vdpa_region_gpa(region)), "size",
					      ctl_json_hex(vdpa_region_size(region)), "broken",
					      vdpa_region_broken(region)));
	return obj;
}

json_t *describe_ranges(const struct vhost_iotlb *iotlb, iova_t from, unsigned max, iova_t *next)
{
	const struct vhost_iotlb_map *map = NULL;
	json_t *list = json_array();

	if (iotlb)
		map = vhost_iotlb_itree_first(iotlb, from, UINT64_MAX);
	for (unsigned n = 0; list && map && n < max; n++) {
		json_array_append_new(list, range_json(map));
		map = vhost_iotlb_itree_next(iotlb, map, from, UINT64_MAX);
	}
	*next = map ? map->start : 0;
	return list;
}

/* 2^64 of them is 0. */
static uint64_t mapped_bytes(const struct vhost_iotlb *iotlb)
{
	const struct vhost_iotlb_map *map;
	uint64_t bytes = 0;

	if (!iotlb)
		return 0;
	for (map = vhost_iotlb_itree_first(iotlb, 0, UINT64_MAX); map;
	     map = vhost_iotlb_itree_next(iotlb, map, 0, UINT64_MAX))
		bytes += map->last - map->start + 1;
	return bytes;
}

/* ---- groups ---- */

typedef uint32_t (*group_fn)(struct vdpa_device *vdev, uint16_t idx);

static json_t *vqs_of(struct vdpa_device *vdev, uint32_t group, group_fn group_of)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < vdev->nvqs; i++)
		if (group_of(vdev, (uint16_t)i) == group)
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *describe_group(struct vdpa_device *vdev, uint32_t group)
{
	return json_pack("{s:I, s:I, s:o, s:o}", "group", (json_int_t)group, "asid",
			 (json_int_t)vdpa_get_group_asid(vdev, group), "vqs",
			 vqs_of(vdev, group, vdpa_get_vq_group), "desc_vqs",
			 vqs_of(vdev, group, vdpa_get_vq_desc_group));
}

json_t *describe_groups(struct vdpa_device *vdev, bool all)
{
	json_t *list = json_array();

	(void)all;
	for (uint32_t i = 0; list && i < vdev->ngroups; i++)
		json_array_append_new(list, describe_group(vdev, i));
	return json_pack("{s:s, s:o}", "name", vdev->name, "group", list);
}

/* ---- address spaces ---- */

static json_t *groups_in(struct vdpa_device *vdev, unsigned asid)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < vdev->ngroups; i++)
		if (vdpa_get_group_asid(vdev, i) == asid)
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *describe_as(struct vdpa_device *vdev, unsigned asid, unsigned *left)
{
	const struct vhost_iotlb *iotlb =
		vdpa_has_ext(vdev, get_iotlb) ? vdev->ext->get_iotlb(vdev, asid) : NULL;
	uint64_t total = iotlb ? iotlb->nmaps : 0;
	json_t *ranges;
	iova_t next;

	ranges = describe_ranges(iotlb, 0, *left, &next);
	*left -= (unsigned)json_array_size(ranges);
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "asid", (json_int_t)asid, "groups",
			 groups_in(vdev, asid), "total", ctl_json_u64(total), "bytes",
			 ctl_json_hex(mapped_bytes(iotlb)), "ranges", ranges);
}

json_t *describe_address_spaces(struct vdpa_device *vdev, bool all)
{
	struct vdpa_iova_range range = vdpa_get_iova_range(vdev);
	unsigned left = DESCRIBE_RANGES_MAX;
	json_t *list = json_array();

	(void)all;
	for (unsigned i = 0; list && i < vdev->nas; i++)
		json_array_append_new(list, describe_as(vdev, i, &left));
	return json_pack("{s:s, s:o, s:[o, o]}", "name", vdev->name, "spaces", list, "iova_range",
			 ctl_json_hex(range.first), ctl_json_hex(range.last));
}
