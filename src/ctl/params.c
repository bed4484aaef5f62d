// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "ctl/params.h"

const char *ctl_param_type_name(enum ctl_param_type type)
{
	static const char *const names[] = {
		[CTL_STRING] = "string", [CTL_INT] = "integer", [CTL_BOOL] = "boolean",
		[CTL_OBJECT] = "object", [CTL_ARRAY] = "array", [CTL_ATTRS] = "attributes",
	};

	return names[type];
}

static bool type_fits(enum ctl_param_type type, const json_t *value)
{
	switch (type) {
	case CTL_STRING:
		return json_is_string(value);
	case CTL_INT:
		return json_is_integer(value);
	case CTL_BOOL:
		return json_is_boolean(value);
	case CTL_OBJECT:
	case CTL_ATTRS:
		return json_is_object(value);
	case CTL_ARRAY:
		return json_is_array(value);
	}
	return false;
}

static const struct ctl_param *find(const struct ctl_param *spec, const char *name)
{
	for (; spec && spec->name; spec++) {
		if (!strcmp(spec->name, name))
			return spec;
	}
	return NULL;
}

static int unknown(const struct ctl_param *spec, const char *name, const char *object,
		   struct vdpa_error *err)
{
	char list[256] = "";
	size_t used = 0;

	for (; spec && spec->name && used < sizeof(list); spec++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
					 spec->name);
	return vdpa_error_set(err, EINVAL, object, "parameter \"%s\" is not known; allowed: %s",
			      name, used ? list : "none");
}

static int check_one(const struct ctl_param *p, const json_t *value, const char *object,
		     struct vdpa_error *err)
{
	json_int_t v;

	if (!type_fits(p->type, value))
		return vdpa_error_set(err, EINVAL, object, "parameter \"%s\" must be of type %s",
				      p->name, ctl_param_type_name(p->type));
	if (p->type != CTL_INT)
		return 0;
	v = json_integer_value(value);
	if (v < p->min || v > p->max)
		return vdpa_error_set(err, EINVAL, object,
				      "parameter \"%s\" is %" JSON_INTEGER_FORMAT
				      ": %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
				      " is allowed",
				      p->name, v, p->min, p->max);
	return 0;
}

int ctl_params_check(const struct ctl_param *spec, json_t *params, const char *object,
		     struct vdpa_error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(params, name, value)
	{
		const struct ctl_param *p = find(spec, name);
		int ret = p ? check_one(p, value, object, err) : unknown(spec, name, object, err);

		if (ret)
			return ret;
	}
	for (; spec && spec->name; spec++) {
		if (spec->required && !json_object_get(params, spec->name))
			return vdpa_error_set(err, EINVAL, object,
					      "parameter \"%s\" is missing (%s)", spec->name,
					      spec->help);
	}
	return 0;
}

json_t *ctl_params_json(const struct ctl_param *spec)
{
	json_t *list = json_array();

	for (; list && spec && spec->name; spec++) {
		json_t *p = json_pack("{s:s, s:s, s:b, s:s}", "name", spec->name, "type",
				      ctl_param_type_name(spec->type), "required", spec->required,
				      "help", spec->help);

		if (p && spec->type == CTL_INT) {
			json_object_set_new(p, "min", json_integer(spec->min));
			json_object_set_new(p, "max", json_integer(spec->max));
		}
		json_array_append_new(list, p);
	}
	return list;
}

const char *ctl_get_str(const json_t *params, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(params, name));

	return s ? s : def;
}

json_int_t ctl_get_int(const json_t *params, const char *name, json_int_t def)
{
	const json_t *v = json_object_get(params, name);

	return json_is_integer(v) ? json_integer_value(v) : def;
}

bool ctl_get_bool(const json_t *params, const char *name, bool def)
{
	const json_t *v = json_object_get(params, name);

	return json_is_boolean(v) ? json_is_true(v) : def;
}
