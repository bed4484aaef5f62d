// SPDX-License-Identifier: BSD-3-Clause
/* Commands that change devices. */
#include <string.h>
#include "cli.h"

/* iproute2 takes prefixes of these three keys, in this order. */
static const char *full_key(const char *word)
{
	static const char *const keys[] = {"name", "mgmtdev", "max_vqp"};

	if (!strcmp(word, "mac") || !strcmp(word, "mtu"))
		return word;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (cli_is_prefix(word, keys[i]))
			return keys[i];
	}
	return word;
}

static void expand_keys(json_t *attrs)
{
	json_t *copy = json_copy(attrs), *value;
	const char *key;

	json_object_foreach(copy, key, value)
	{
		const char *full = full_key(key);

		if (full == key || json_object_get(attrs, full))
			continue;
		json_object_set(attrs, full, value);
		json_object_del(attrs, key);
	}
	json_decref(copy);
}

/* Move one member of @obj out of it: a new reference, or NULL. */
static json_t *take(json_t *obj, const char *key)
{
	json_t *value = json_incref(json_object_get(obj, key));

	if (value)
		json_object_del(obj, key);
	return value;
}

/* ---- paths: what the daemon says of attributes tells us which of them are paths ---- */

/* @mgmtdev: NULL for a device that exists already, of which only its backend's paths can be set. */
static int resolve_device(struct cli *cli, const char *mgmtdev, json_t *attrs)
{
	const char *backend = json_string_value(json_object_get(attrs, "backend"));
	const json_t *specs[3] = {NULL};
	json_t *mgmt = NULL, *backends = NULL;
	int ret = 0;

	if (mgmtdev)
		ret = cli_call(cli, "mgmtdev.show",
			       json_pack("{s:s, s:b}", "name", mgmtdev, "all", 1), &mgmt);

	if (!ret)
		ret = cli_call(cli, "backend.show", NULL, &backends);
	if (!ret) {
		size_t n = 0;
		const json_t *own = json_object_get(json_array_get(mgmt, 0), "attrs");
		const json_t *its = json_object_get(cli_named(backends, backend), "attrs");

		if (own)
			specs[n++] = own;
		if (its)
			specs[n++] = its;
		ret = cli_resolve_paths(attrs, specs);
	}
	json_decref(mgmt);
	json_decref(backends);
	return ret;
}

static int resolve_driver(struct cli *cli, const char *driver, json_t *attrs)
{
	const json_t *specs[2] = {NULL};
	json_t *drivers = NULL;
	int ret = cli_call(cli, "bus.drivers", NULL, &drivers);

	if (!ret) {
		specs[0] = json_object_get(cli_named(drivers, driver), "attrs");
		ret = cli_resolve_paths(attrs, specs);
	}
	json_decref(drivers);
	return ret;
}

/* A binding's answer: where the device is now, if the driver says so. */
static int do_bind(struct cli *cli, const char *method, json_t *params)
{
	json_t *result = NULL;
	int ret = cli_call(cli, method, params, &result);

	if (ret || !json_is_object(result)) {
		json_decref(result);
		return ret;
	}
	if (cli->json)
		return cli_print_json(cli, result);
	puts(json_string_value(json_object_get(result, "node")));
	json_decref(result);
	return ret;
}

/* ---- add ---- */

struct add {
	json_t *name, *mgmtdev, *attrs;
	json_t *driver, *driver_attrs; /* NULL: none */
};

static void add_fini(struct add *a)
{
	json_decref(a->name);
	json_decref(a->mgmtdev);
	json_decref(a->attrs);
	json_decref(a->driver);
	json_decref(a->driver_attrs);
}

static int parse_add(struct cli *cli, int argc, char **argv, struct add *a)
{
	int used, ret = cli_pairs(cli, argc, argv, "driver", &a->attrs, &used);

	if (ret)
		return ret;
	expand_keys(a->attrs);
	a->name = take(a->attrs, "name");
	a->mgmtdev = take(a->attrs, "mgmtdev");
	if (!a->name)
		return cli_usage(cli, "name is missing");
	if (!a->mgmtdev)
		return cli_usage(cli, "mgmtdev is missing; \"uvdpa mgmtdev show\" lists them");
	if (used == argc)
		return EXIT_OK;
	if (used + 1 == argc)
		return cli_usage(cli, "\"driver\" has no value; \"uvdpa bus drivers\" lists them");
	a->driver = json_string(argv[used + 1]);
	argv += used + 2;
	return cli_pairs(cli, argc - used - 2, argv, NULL, &a->driver_attrs, &used);
}

int cmd_dev_add(struct cli *cli, int argc, char **argv)
{
	struct add a = {0};
	json_t *params;
	int ret = parse_add(cli, argc, argv, &a);

	if (!ret)
		ret = resolve_device(cli, json_string_value(a.mgmtdev), a.attrs);
	if (!ret && a.driver)
		ret = resolve_driver(cli, json_string_value(a.driver), a.driver_attrs);
	if (!ret) {
		params = json_pack("{s:O, s:O, s:O}", "name", a.name, "mgmtdev", a.mgmtdev, "attrs",
				   a.attrs);
		if (a.driver)
			json_object_set_new(
				params, "driver",
				json_pack("{s:O, s:O}", "name", a.driver, "attrs", a.driver_attrs));
		ret = do_bind(cli, "dev.add", params);
	}
	add_fini(&a);
	return ret;
}

int cmd_dev_set(struct cli *cli, int argc, char **argv)
{
	json_t *attrs, *name;
	int used, ret = cli_pairs(cli, argc, argv, NULL, &attrs, &used);

	if (ret)
		return ret;
	expand_keys(attrs);
	name = take(attrs, "name");
	if (!name || !json_object_size(attrs)) {
		json_decref(name);
		json_decref(attrs);
		return cli_usage(cli, name ? "nothing to set is given; mac, busyloop, workers, "
					     "intercept and backend are allowed"
					   : "name is missing");
	}
	ret = resolve_device(cli, NULL, attrs);
	if (!ret)
		ret = cli_do(cli, "dev.set", json_pack("{s:O, s:O}", "name", name, "attrs", attrs));
	json_decref(name);
	json_decref(attrs);
	return ret;
}

/* ---- the others ---- */

int cmd_dev_bind(struct cli *cli, int argc, char **argv)
{
	json_t *attrs;
	int skip, used, ret = cli_args(cli, argc, 2, 1000);

	if (ret >= 0)
		return ret;
	skip = strcmp(argv[1], "driver") ? 1 : 2;
	if (argc <= skip)
		return cli_usage(cli, "\"driver\" has no value; \"uvdpa bus drivers\" lists them");
	ret = cli_pairs(cli, argc - skip - 1, argv + skip + 1, NULL, &attrs, &used);
	if (ret)
		return ret;
	ret = resolve_driver(cli, argv[skip], attrs);
	if (ret) {
		json_decref(attrs);
		return ret;
	}
	return do_bind(cli, "dev.bind",
		       json_pack("{s:s, s:s, s:o}", "name", argv[0], "driver", argv[skip], "attrs",
				 attrs));
}

static int one_device(struct cli *cli, int argc, char **argv, const char *method)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret : cli_do(cli, method, json_pack("{s:s}", "name", argv[0]));
}

static int cmd_dev_del(struct cli *cli, int argc, char **argv)
{
	return one_device(cli, argc, argv, "dev.del");
}

static int cmd_dev_unbind(struct cli *cli, int argc, char **argv)
{
	return one_device(cli, argc, argv, "dev.unbind");
}

static int cmd_dev_suspend(struct cli *cli, int argc, char **argv)
{
	return one_device(cli, argc, argv, "dev.suspend");
}

static int cmd_dev_resume(struct cli *cli, int argc, char **argv)
{
	return one_device(cli, argc, argv, "dev.resume");
}

static int cmd_dev_announce(struct cli *cli, int argc, char **argv)
{
	return one_device(cli, argc, argv, "dev.announce");
}

static int cmd_dev_override(struct cli *cli, int argc, char **argv)
{
	json_t *params;
	int ret = cli_args(cli, argc, 1, 2);

	if (ret >= 0)
		return ret;
	params = json_pack("{s:s}", "name", argv[0]);
	if (argc == 2)
		json_object_set_new(params, "driver", json_string(argv[1]));
	return cli_do(cli, "dev.override", params);
}

static const struct cli_cmd config_cmds[] = {
	{"show", CMD_COMPAT | CMD_DEFAULT, "[ DEV ]", "configuration space", cmd_dev_config_show,
	 NULL, complete_device},
	{NULL},
};

static const struct cli_cmd vstats_cmds[] = {
	{"show", CMD_COMPAT | CMD_DEFAULT, "[ DEV [ qidx N ] ]", "statistics of queues",
	 cmd_dev_vstats_show, NULL, complete_device},
	{NULL},
};

const struct cli_cmd cli_dev_cmds[] = {
	{"show", CMD_COMPAT | CMD_DEFAULT, "[ DEV ]", "devices", cmd_dev_show, NULL,
	 complete_device},
	{"list", CMD_COMPAT, "[ DEV ]", "the same as show", cmd_dev_show, NULL, complete_device},
	{"add", CMD_COMPAT,
	 "name NAME mgmtdev [BUS/]MGMTDEV [ device_features FEATURES ] [ mac MAC ] [ mtu MTU ] "
	 "[ max_vqp N ] [ KEY VALUE ]... [ driver DRIVER [ KEY VALUE ]... ]",
	 "create a device, and bind it when a driver is named", cmd_dev_add, NULL,
	 complete_dev_add},
	{"del", CMD_COMPAT, "DEV", "unbind and remove a device", cmd_dev_del, NULL,
	 complete_device},
	{"set", 0,
	 "name NAME [ mac MAC ] [ busyloop USEC ] [ workers LIST ] [ intercept on|off ] "
	 "[ backend BACKEND [ KEY VALUE ]... ]",
	 "change attributes of a device", cmd_dev_set, NULL, complete_dev_set},
	{"config", CMD_COMPAT, "show [ DEV ]", "configuration space", NULL, config_cmds, NULL},
	{"vstats", 0, "show [ DEV [ qidx N ] ]", "statistics of queues", NULL, vstats_cmds, NULL},
	{"bind", 0, "DEV [driver] DRIVER [ KEY VALUE ]...", "give a device to a driver",
	 cmd_dev_bind, NULL, complete_dev_bind},
	{"unbind", 0, "DEV", "take a device from its driver", cmd_dev_unbind, NULL,
	 complete_device},
	{"override", 0, "DEV [ DRIVER ]", "let only one driver bind a device; without one: any",
	 cmd_dev_override, NULL, complete_dev_bind},
	{"suspend", 0, "DEV", "stop the queues", cmd_dev_suspend, NULL, complete_device},
	{"announce", 0, "DEV", "have the network told where a NIC is", cmd_dev_announce, NULL,
	 complete_device},
	{"resume", 0, "DEV", "let the queues run again", cmd_dev_resume, NULL, complete_device},
	{"save", 0, "DEV [ FILE ]", "the state of a device that is suspended, as a file",
	 cmd_dev_save, NULL, complete_device},
	{"load", 0, "DEV FILE",
	 "give a device that is new or unbound the state in FILE (-: "
	 "standard input)",
	 cmd_dev_load, NULL, complete_device},
	{NULL},
};
