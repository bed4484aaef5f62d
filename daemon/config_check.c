// SPDX-License-Identifier: BSD-3-Clause
/* Is a document a configuration? Nothing is created before all of it has been looked at. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "config.h"
#include "ctl/params.h"
#include "ctl/proto.h"
#include "dsas.h"
#include "mdevs.h"

static const struct ctl_param doc_keys[] = {
	{.name = "version",
	 .type = CTL_INT,
	 .required = true,
	 .min = CTL_CONFIG_VERSION,
	 .max = CTL_CONFIG_VERSION,
	 .help = "of the format: 1"},
	{.name = "devices", .type = CTL_ARRAY, .required = true, .help = "list of devices"},
	{.name = "dsas", .type = CTL_ARRAY, .help = "list of software DSAs"},
	{.name = "mdevs", .type = CTL_ARRAY, .help = "list of mediated devices"},
	{.name = NULL},
};

static const struct ctl_param device_keys[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the device"},
	{.name = "mgmtdev", .type = CTL_STRING, .required = true, .help = "that creates it"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the device and its backend"},
	{.name = "driver_override", .type = CTL_STRING, .help = "the only driver that may bind"},
	{.name = "driver", .type = CTL_OBJECT, .help = "to bind to"},
	{.name = NULL},
};

static const struct ctl_param driver_keys[] = {
	{.name = "name", .type = CTL_STRING, .required = true, .help = "of the driver"},
	{.name = "attrs", .type = CTL_ATTRS, .help = "of the driver"},
	{.name = NULL},
};

static int check_attrs(const json_t *attrs, const char *path, struct vdpa_error *err)
{
	char object[96];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)attrs, key, value)
	{
		if (json_is_string(value) || json_is_integer(value) || json_is_boolean(value))
			continue;
		snprintf(object, sizeof(object), "%s.%s", path, key);
		return vdpa_error_set(err, EINVAL, object,
				      "must be a string, a whole number or a boolean");
	}
	return 0;
}

static int check_device(json_t *dev, size_t i, struct vdpa_error *err)
{
	json_t *drv = json_object_get(dev, "driver");
	char path[64], sub[96];
	int ret;

	snprintf(path, sizeof(path), "$.devices[%zu]", i);
	if (!json_is_object(dev))
		return vdpa_error_set(err, EINVAL, path, "must be an object");
	ret = ctl_params_check(device_keys, dev, path, err);
	snprintf(sub, sizeof(sub), "%s.attrs", path);
	if (!ret)
		ret = check_attrs(json_object_get(dev, "attrs"), sub, err);
	if (ret || !drv)
		return ret;
	snprintf(sub, sizeof(sub), "%s.driver", path);
	ret = ctl_params_check(driver_keys, drv, sub, err);
	snprintf(sub, sizeof(sub), "%s.driver.attrs", path);
	return ret ? ret : check_attrs(json_object_get(drv, "attrs"), sub, err);
}

int config_check(const json_t *doc, struct vdpa_error *err)
{
	json_t *devices, *dev;
	size_t i;
	int ret;

	if (!json_is_object(doc))
		return vdpa_error_set(err, EINVAL, "$", "must be an object");
	/* The check reads only. */
	ret = ctl_params_check(doc_keys, (json_t *)(uintptr_t)doc, "$", err);
	if (ret)
		return ret;
	devices = json_object_get(doc, "devices");
	json_array_foreach(devices, i, dev)
	{
		ret = check_device(dev, i, err);
		if (ret)
			return ret;
	}
	ret = dsas_check(json_object_get(doc, "dsas"), err);
	return ret ? ret : mdevs_check(json_object_get(doc, "mdevs"), err);
}
