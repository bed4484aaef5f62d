/* SPDX-License-Identifier: BSD-3-Clause */
/* One table per method says what it takes; it feeds the check, rpc.describe and the documentation.
 */
#ifndef CTL_PARAMS_H
#define CTL_PARAMS_H

#include <jansson.h>
#include <uvdpa/types.h>

enum ctl_param_type {
	CTL_STRING,
	CTL_INT,
	CTL_BOOL,
	CTL_OBJECT,
	CTL_ARRAY,
	CTL_ATTRS, /* object whose values are strings, whole numbers or booleans */
};

struct ctl_param {
	const char *name; /* NULL ends the table */
	enum ctl_param_type type;
	bool required;
	json_int_t min, max; /* CTL_INT */
	const char *help;
};

/** @params: an object. Unknown, missing, wrong type, out of range: -EINVAL with @err. */
int ctl_params_check(const struct ctl_param *spec, json_t *params, const char *object,
		     struct vdpa_error *err);
const char *ctl_param_type_name(enum ctl_param_type type);
/** The table as JSON. */
json_t *ctl_params_json(const struct ctl_param *spec);

/** Values of checked parameters; the default when absent. */
const char *ctl_get_str(const json_t *params, const char *name, const char *def);
json_int_t ctl_get_int(const json_t *params, const char *name, json_int_t def);
bool ctl_get_bool(const json_t *params, const char *name, bool def);

#endif
