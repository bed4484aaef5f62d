// SPDX-License-Identifier: BSD-3-Clause
#include <string.h>
#include <uvdpa/compat.h>
#include "ctl/json.h"
#include "ctl/names.h"
#include "describe.h"
#include "devs.h"

static void emit_pair(void *arg, const char *key, const char *value)
{
	json_object_set_new(arg, key, ctl_json_text(value));
}

json_t *describe_binding(struct vdpa_device *vdev)
{
	const struct vdpa_driver *drv = vdpa_device_driver(vdev);
	json_t *show;

	if (!drv)
		return json_null();
	show = json_object();
	if (drv->show && show)
		drv->show(vdev, emit_pair, show);
	return json_pack("{s:s, s:o, s:o}", "name", drv->name, "attrs",
			 ctl_attrs_to_json(vdpa_device_bind_attrs(vdev)), "show", show);
}

static void emit_node(void *arg, const char *key, const char *value)
{
	if (!strcmp(key, "node") && *value)
		json_object_set_new(arg, key, ctl_json_text(value));
}

json_t *describe_node(struct vdpa_device *vdev)
{
	const struct vdpa_driver *drv = vdpa_device_driver(vdev);
	json_t *node = json_object();

	if (node && drv && drv->show)
		drv->show(vdev, emit_node, node);
	if (json_object_size(node))
		return node;
	json_decref(node);
	return NULL;
}

static bool begins(const char *key, const char *prefix)
{
	return !strncmp(key, prefix, strlen(prefix));
}

/* What is long, and asked for by its own name. */
static void emit_short(void *arg, const char *key, const char *value)
{
	if (!begins(key, DESCRIBE_CVQ_STATE) && !begins(key, DESCRIBE_CVQ_COMMAND))
		emit_pair(arg, key, value);
}

json_t *describe_parent(struct vdpa_device *vdev)
{
	json_t *show = json_object();

	if (show && vdpa_has_ext(vdev, show))
		vdev->ext->show(vdev, emit_short, show);
	return show;
}

struct part {
	json_t *of;
	const char *prefix;
};

static void emit_part(void *arg, const char *key, const char *value)
{
	struct part *part = arg;

	if (begins(key, part->prefix))
		emit_pair(part->of, key + strlen(part->prefix), value);
}

json_t *describe_part(struct vdpa_device *vdev, const char *prefix)
{
	struct part part = {.of = json_object(), .prefix = prefix};

	if (part.of && vdpa_has_ext(vdev, show))
		vdev->ext->show(vdev, emit_part, &part);
	return part.of;
}

static json_t *describe_vq(struct vdpa_device *vdev, uint16_t idx)
{
	json_t *vq =
		json_pack("{s:i, s:b, s:i}", "index", idx, "ready", vdpa_get_vq_ready(vdev, idx),
			  "group", (int)vdpa_get_vq_group(vdev, idx));

	if (vq && vdev->config->get_vq_desc_group)
		json_object_set_new(vq, "desc_group",
				    json_integer(vdpa_get_vq_desc_group(vdev, idx)));
	if (vq && vdev->config->get_vq_size)
		json_object_set_new(vq, "size", json_integer(vdev->config->get_vq_size(vdev, idx)));
	return vq;
}

static json_t *describe_vqs(struct vdpa_device *vdev)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < vdev->nvqs; i++)
		json_array_append_new(list, describe_vq(vdev, (uint16_t)i));
	return list;
}

/* By group. */
static json_t *describe_asids(struct vdpa_device *vdev)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < vdev->ngroups; i++)
		json_array_append_new(list, json_integer(vdpa_get_group_asid(vdev, i)));
	return list;
}

static void add_all(json_t *obj, struct vdpa_device *vdev, uint32_t id)
{
	const struct vdpa_config_ops *ops = vdev->config;
	const char *override = vdpa_get_driver_override(vdev);
	struct vdpa_iova_range range = vdpa_get_iova_range(vdev);

	json_object_set_new(obj, "min_vq_size", json_integer(vdpa_get_vq_num_min(vdev)));
	json_object_set_new(obj, "index", json_integer(vdev->index));
	json_object_set_new(obj, "device_id", json_integer(id));
	json_object_set_new(obj, "parent", ctl_json_text(vdev->parent));
	json_object_set_new(obj, "dma_device", ctl_json_text(vdev->dma_device));
	json_object_set_new(obj, "attrs", ctl_attrs_to_json(vdpa_device_add_attrs(vdev)));
	json_object_set_new(obj, "show", describe_parent(vdev));
	json_object_set_new(obj, "driver", describe_binding(vdev));
	json_object_set_new(obj, "driver_override",
			    override ? ctl_json_text(override) : json_null());
	json_object_set_new(obj, "status", ctl_status_json(vdpa_get_status(vdev)));
	json_object_set_new(obj, "suspended", json_boolean(vdpa_suspended(vdev)));
	json_object_set_new(obj, "device_features",
			    ctl_features_json(id, vdpa_get_device_features(vdev)));
	json_object_set_new(obj, "driver_features",
			    ctl_features_json(id, vdpa_get_driver_features(vdev)));
	json_object_set_new(obj, "features_valid", json_boolean(vdev->features_valid));
	json_object_set_new(obj, "config_size",
			    json_integer((json_int_t)vdpa_get_config_size(vdev)));
	json_object_set_new(obj, "generation",
			    json_integer(ops->get_generation ? ops->get_generation(vdev) : 0));
	json_object_set_new(obj, "map",
			    json_string(vdpa_has_set_map(vdev)	 ? "set_map"
					: vdpa_has_dma_map(vdev) ? "dma_map"
								 : "platform"));
	json_object_set_new(
		obj, "iova_range",
		json_pack("[o, o]", ctl_json_hex(range.first), ctl_json_hex(range.last)));
	json_object_set_new(obj, "ngroups", json_integer(vdev->ngroups));
	json_object_set_new(obj, "nas", json_integer(vdev->nas));
	json_object_set_new(obj, "group_asid", describe_asids(vdev));
	json_object_set_new(obj, "use_va", json_boolean(vdev->use_va));
	json_object_set_new(obj, "refs", json_integer(vdpa_device_refs(vdev)));
	json_object_set_new(obj, "vqs", describe_vqs(vdev));
}

json_t *describe_device(struct vdpa_device *vdev, bool all)
{
	uint32_t id = vdpa_get_device_id(vdev);
	char handle[128];
	json_t *obj;

	obj = json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "name", ctl_json_text(vdev->name), "type",
			ctl_type_name(id), "mgmtdev",
			ctl_json_text(vdev->mdev ? devs_handle(vdev->mdev, handle, sizeof(handle))
						 : vdev->parent),
			"vendor_id", (json_int_t)vdpa_get_vendor_id(vdev), "max_vqs",
			(json_int_t)vdev->nvqs, "max_vq_size",
			(json_int_t)vdpa_get_vq_num_max(vdev));
	if (obj && all)
		add_all(obj, vdev, id);
	return obj;
}

static json_t *describe_attr(const struct vdpa_attr_spec *s)
{
	static const char *const types[] = {
		[VDPA_ATTR_STRING] = "string", [VDPA_ATTR_PATH] = "path",
		[VDPA_ATTR_U64] = "number",    [VDPA_ATTR_SIZE] = "size",
		[VDPA_ATTR_BOOL] = "bool",     [VDPA_ATTR_MAC] = "mac",
		[VDPA_ATTR_ENUM] = "enum",     [VDPA_ATTR_FD] = "fd",
	};
	json_t *obj = json_pack("{s:s, s:s, s:b, s:s}", "name", s->name, "type", types[s->type],
				"required", s->required, "help", s->help ? s->help : "");
	json_t *choices;

	if (obj && (s->type == VDPA_ATTR_U64 || s->type == VDPA_ATTR_SIZE) && s->max) {
		json_object_set_new(obj, "min", json_integer((json_int_t)s->min));
		json_object_set_new(obj, "max", json_integer((json_int_t)s->max));
	}
	if (!obj || s->type != VDPA_ATTR_ENUM || !s->choices)
		return obj;
	choices = json_array();
	for (const char *const *c = s->choices; choices && *c; c++)
		json_array_append_new(choices, json_string(*c));
	json_object_set_new(obj, "choices", choices);
	return obj;
}

json_t *describe_attrs(const struct vdpa_attr_spec *spec)
{
	json_t *list = json_array();

	for (; list && spec && spec->name; spec++)
		json_array_append_new(list, describe_attr(spec));
	return list;
}

json_t *describe_mgmtdev(const struct vdpa_mgmt_dev *mdev, bool all)
{
	uint32_t first = mdev->id_table && mdev->id_table[0] ? mdev->id_table[0] : 0;
	json_t *classes = json_array();
	char handle[128];
	json_t *obj;

	for (const uint32_t *id = mdev->id_table; id && *id; id++)
		json_array_append_new(classes, json_string(ctl_class_name(*id)));
	obj = json_pack("{s:s, s:o, s:I, s:o}", "name", devs_handle(mdev, handle, sizeof(handle)),
			"supported_classes", classes, "max_supported_vqs",
			(json_int_t)mdev->max_supported_vqs, "dev_features",
			ctl_features_json(first, mdev->supported_features));
	if (obj && all) {
		json_object_set_new(obj, "help", json_string(mdev->help ? mdev->help : ""));
		json_object_set_new(obj, "attrs", describe_attrs(mdev->attrs));
	}
	return obj;
}
