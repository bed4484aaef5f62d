// SPDX-License-Identifier: BSD-3-Clause
/*
 * Mediated devices, in the words of mdevctl. Its JSON too: "types" and "list" print what mdevctl
 * prints with --dumpjson.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "cli.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

static void put(const char *before, const json_t *obj, const char *key)
{
	printf("%s", before);
	cli_print_value(json_object_get(obj, key));
}

/* ---- types ---- */

static json_t *type_json(const json_t *type)
{
	return json_pack("{s:O, s:O, s:O, s:O}", "available_instances",
			 json_object_get(type, "available_instances"), "device_api",
			 json_object_get(type, "device_api"), "name", json_object_get(type, "name"),
			 "description", json_object_get(type, "description"));
}

/* One object in a list, which is empty when there is nothing in it. */
static json_t *listed(json_t *parents)
{
	json_t *list = json_array();

	if (json_object_size(parents))
		json_array_append(list, parents);
	json_decref(parents);
	return list;
}

/* [{"PARENT": [{"TYPE": {...}}, ...], ...}] */
static json_t *types_json(const json_t *parents)
{
	json_t *all = json_object(), *parent, *type;
	size_t i, k;

	json_array_foreach(parents, i, parent)
	{
		json_t *types = json_array();

		json_array_foreach(json_object_get(parent, "types"), k, type) json_array_append_new(
			types, json_pack("{s:o}", str(type, "mdev_type"), type_json(type)));
		json_object_set_new(all, str(parent, "parent"), types);
	}
	return listed(all);
}

static void print_type(const struct cli *cli, const json_t *type)
{
	printf("  %s\n", str(type, "mdev_type"));
	put("    Available instances: ", type, "available_instances");
	put("\n    Device API: ", type, "device_api");
	put("\n    Name: ", type, "name");
	if (*str(type, "description"))
		put("\n    Description: ", type, "description");
	putchar('\n');
	if (cli->all)
		cli_print_attrs(json_object_get(type, "attrs"));
}

static int cmd_types(struct cli *cli, int argc, char **argv)
{
	json_t *parents, *parent, *type;
	size_t i, k;
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "mdev.types", argc ? json_pack("{s:s}", "parent", argv[0]) : NULL,
		       &parents);
	if (ret)
		return ret;
	if (cli->json) {
		ret = cli_print_json(cli, types_json(parents));
		json_decref(parents);
		return ret;
	}
	json_array_foreach(parents, i, parent)
	{
		puts(str(parent, "parent"));
		json_array_foreach(json_object_get(parent, "types"), k, type) print_type(cli, type);
	}
	json_decref(parents);
	return EXIT_OK;
}

/* ---- list ---- */

static json_t *attrs_json(const json_t *attrs)
{
	json_t *list = json_array(), *value;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)attrs, key, value)
		json_array_append_new(list, json_pack("{s:O}", key, value));
	return list;
}

/* [{"PARENT": [{"UUID": {"mdev_type", "start", "attrs"}}, ...], ...}] */
static json_t *list_json(const json_t *devices)
{
	json_t *parents = json_object(), *dev, *copy;
	const char *name;
	size_t i;

	json_array_foreach(devices, i, dev)
	{
		name = str(dev, "parent");
		if (!json_object_get(parents, name))
			json_object_set_new(parents, name, json_array());
		copy = json_pack("{s:s, s:s, s:o}", "mdev_type", str(dev, "mdev_type"), "start",
				 str(dev, "start"), "attrs",
				 attrs_json(json_object_get(dev, "attrs")));
		json_array_append_new(json_object_get(parents, name),
				      json_pack("{s:o}", str(dev, "uuid"), copy));
	}
	return listed(parents);
}

static json_t *by_uuid(const json_t *list, const char *uuid)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		if (!strcmp(str(entry, "uuid"), uuid))
			return entry;
	}
	return NULL;
}

static void print_list(const json_t *devices, bool defined)
{
	json_t *dev;
	size_t i;

	json_array_foreach(devices, i, dev)
	{
		printf("%s %s %s %s", str(dev, "uuid"), str(dev, "parent"), str(dev, "mdev_type"),
		       str(dev, "start"));
		if (defined && json_is_true(json_object_get(dev, "active")))
			printf(" (active)");
		if (!defined && json_is_true(json_object_get(dev, "defined")))
			printf(" (defined)");
		putchar('\n');
	}
}

/* What mdevctl says of an active device that nobody defined: it starts by hand. */
static void join_definitions(json_t *active, const json_t *defined)
{
	json_t *dev;
	size_t i;

	json_array_foreach(active, i, dev)
	{
		const json_t *def = by_uuid(defined, str(dev, "uuid"));

		json_object_set_new(dev, "defined", json_boolean(def != NULL));
		json_object_set_new(dev, "start", json_string(def ? str(def, "start") : "manual"));
	}
}

static int cmd_list(struct cli *cli, int argc, char **argv)
{
	json_t *active = NULL, *defined = NULL;
	bool which = argc == 1 && cli_is_prefix(argv[0], "defined");
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	if (argc && !which)
		return cli_usage(cli, "\"%s\": only \"defined\" is allowed", argv[0]);
	ret = cli_call(cli, "mdev.defined", NULL, &defined);
	if (!ret)
		ret = cli_call(cli, "mdev.show", NULL, &active);
	if (!ret) {
		join_definitions(active, defined);
		if (cli->json)
			ret = cli_print_json(cli, list_json(which ? defined : active));
		else
			print_list(which ? defined : active, which);
	}
	json_decref(active);
	json_decref(defined);
	return ret;
}

/* ---- show ---- */

static void print_device(const json_t *dev)
{
	const json_t *drv = json_object_get(dev, "driver"), *show = json_object_get(dev, "show");

	printf("%s\n  parent %s mdev_type %s device_api %s\n", str(dev, "uuid"), str(dev, "parent"),
	       str(dev, "mdev_type"), str(dev, "device_api"));
	put("  class ", dev, "class");
	put(" class_id ", dev, "class_id");
	printf(" bus %s modalias %s\n  driver %s ", str(dev, "bus"), str(dev, "modalias"),
	       json_is_object(drv) ? str(drv, "name") : "none");
	cli_print_pairs(json_object_get(drv, "show"));
	putchar('\n');
	if (json_object_size(show)) {
		printf("  ");
		cli_print_pairs(show);
		putchar('\n');
	}
}

/* What QEMU is to be given; QEMU's own lexer wants the JSON in one word. */
static int print_qemu_args(const json_t *dev)
{
	const json_t *drv = json_object_get(dev, "driver");
	const char *path = str(json_object_get(drv, "show"), "path");
	json_t *device;
	char *text;

	if (strcmp(str(drv, "name"), "vfio_mdev")) {
		fprintf(stderr, "uvdpa: %s: no VMM can have it: it is not with driver vfio_mdev\n",
			str(dev, "uuid"));
		return EXIT_FAILED;
	}
	device = json_pack("{s:s, s:{s:s, s:s}}", "driver", "vfio-user-pci", "socket", "type",
			   "unix", "path", path);
	text = json_dumps(device, JSON_COMPACT);
	printf("-device '%s'\n", text ? text : "");
	free(text);
	json_decref(device);
	return EXIT_OK;
}

static int cmd_show(struct cli *cli, int argc, char **argv)
{
	json_t *list, *dev;
	size_t i;
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "mdev.show", argc ? json_pack("{s:s}", "uuid", argv[0]) : NULL, &list);
	if (ret)
		return ret;
	if (cli->json && !cli->qemu_args)
		return cli_print_json(cli, list);
	json_array_foreach(list, i, dev)
	{
		if (cli->qemu_args)
			ret = print_qemu_args(dev);
		else
			print_device(dev);
	}
	json_decref(list);
	return ret;
}

/* ---- changes ---- */

/* Paths that a driver takes are ours, not the daemon's. */
static int resolve(struct cli *cli, const char *driver, json_t *attrs)
{
	const json_t *specs[2] = {NULL};
	json_t *drivers = NULL;
	int ret = cli_call(cli, "mdev.drivers", NULL, &drivers);

	if (!ret) {
		specs[0] = json_object_get(cli_named(drivers, driver), "attrs");
		ret = cli_resolve_paths(attrs, specs);
	}
	json_decref(drivers);
	return ret;
}

/* [ KEY VALUE ]... [ driver DRIVER [ KEY VALUE ]... ] into @params. */
static int take_pairs(struct cli *cli, int argc, char **argv, json_t *params)
{
	json_t *attrs = NULL, *parent, *drv_attrs = NULL;
	int used, ret = cli_pairs(cli, argc, argv, "driver", &attrs, &used);

	if (ret)
		return ret;
	parent = json_object_get(attrs, "parent");
	if (parent) {
		json_object_set(params, "parent", parent);
		json_object_del(attrs, "parent");
	}
	json_object_set_new(params, "attrs", attrs);
	if (used == argc)
		return EXIT_OK;
	if (argc < used + 2)
		return cli_usage(cli, "\"driver\" has no value");
	ret = cli_pairs(cli, argc - used - 2, argv + used + 2, NULL, &drv_attrs, &(int){0});
	if (!ret)
		ret = resolve(cli, argv[used + 1], drv_attrs);
	if (ret)
		json_decref(drv_attrs);
	else
		json_object_set_new(
			params, "driver",
			json_pack("{s:s, s:o}", "name", argv[used + 1], "attrs", drv_attrs));
	return ret;
}

/* Any: RFC 4122, version 4. */
static const char *new_uuid(char text[37])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return NULL;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
	return text;
}

static int print_uuid(const struct cli *cli, const char *uuid)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s}", "uuid", uuid));
	puts(uuid);
	return EXIT_OK;
}

/* What follows a UUID comes in pairs, and no key has a dash. */
static bool uuid_given(int argc, char **argv)
{
	return argc > 1 && (argc % 2 == 0 || strchr(argv[1], '-'));
}

static int cmd_create(struct cli *cli, int argc, char **argv)
{
	int given = uuid_given(argc, argv), ret;
	char text[37];
	const char *uuid = given ? argv[1] : new_uuid(text);
	json_t *params;

	if (!argc || !uuid)
		return cli_usage(cli, argc ? "no random numbers" : "a type is missing");
	params = json_pack("{s:s, s:s}", "mdev_type", argv[0], "uuid", uuid);
	ret = take_pairs(cli, argc - 1 - given, argv + 1 + given, params);
	if (ret) {
		json_decref(params);
		return ret;
	}
	ret = cli_do(cli, "mdev.create", params);
	return ret || given ? ret : print_uuid(cli, uuid);
}

static int by_name(struct cli *cli, int argc, char **argv, const char *method)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret : cli_do(cli, method, json_pack("{s:s}", "uuid", argv[0]));
}

static int cmd_remove(struct cli *cli, int argc, char **argv)
{
	return by_name(cli, argc, argv, "mdev.remove");
}

static int cmd_unbind(struct cli *cli, int argc, char **argv)
{
	return by_name(cli, argc, argv, "mdev.unbind");
}

static int cmd_undefine(struct cli *cli, int argc, char **argv)
{
	return by_name(cli, argc, argv, "mdev.undefine");
}

static int cmd_start(struct cli *cli, int argc, char **argv)
{
	return by_name(cli, argc, argv, "mdev.start");
}

static int cmd_set(struct cli *cli, int argc, char **argv)
{
	json_t *attrs;
	int used, ret;

	if (argc < 3)
		return cli_usage(cli, "something is missing");
	ret = cli_pairs(cli, argc - 1, argv + 1, NULL, &attrs, &used);
	return ret ? ret
		   : cli_do(cli, "mdev.set",
			    json_pack("{s:s, s:o}", "uuid", argv[0], "attrs", attrs));
}

static int cmd_bind(struct cli *cli, int argc, char **argv)
{
	json_t *attrs;
	int used, ret;

	if (argc < 2)
		return cli_usage(cli, "something is missing");
	ret = cli_pairs(cli, argc - 2, argv + 2, NULL, &attrs, &used);
	if (!ret)
		ret = resolve(cli, argv[1], attrs);
	return ret ? ret
		   : cli_do(cli, "mdev.bind",
			    json_pack("{s:s, s:s, s:o}", "uuid", argv[0], "driver", argv[1],
				      "attrs", attrs));
}

/* UUID [ auto | manual ] [ TYPE parent PARENT [ KEY VALUE ]... ] */
static int cmd_define(struct cli *cli, int argc, char **argv)
{
	json_t *params;
	int ret = EXIT_OK, at = 1;

	if (argc < 1)
		return cli_usage(cli, "something is missing");
	params = json_pack("{s:s}", "uuid", argv[0]);
	if (argc > at && (!strcmp(argv[at], "auto") || !strcmp(argv[at], "manual")))
		json_object_set_new(params, "start", json_string(argv[at++]));
	if (argc > at) {
		json_object_set_new(params, "mdev_type", json_string(argv[at++]));
		ret = take_pairs(cli, argc - at, argv + at, params);
		if (!ret &&
		    (!json_object_get(params, "parent") || json_object_get(params, "driver")))
			ret = cli_usage(cli, "a parent is wanted, and no driver");
	}
	if (!ret)
		return cli_do(cli, "mdev.define", params);
	json_decref(params);
	return ret;
}

/* ---- buses ---- */

static int cmd_buses(struct cli *cli, int argc, char **argv)
{
	json_t *bus, *class;
	size_t i, k;
	int ret;
	json_t *list = cli_list(cli, argc, "mdev.buses", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, bus)
	{
		puts(str(bus, "name"));
		json_array_foreach(json_object_get(bus, "classes"), k, class)
			printf("  %" JSON_INTEGER_FORMAT " %-8s %s\n",
			       json_integer_value(json_object_get(class, "id")), str(class, "name"),
			       str(class, "help"));
	}
	json_decref(list);
	return EXIT_OK;
}

static int cmd_drivers(struct cli *cli, int argc, char **argv)
{
	json_t *drv;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "mdev.drivers", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, drv)
	{
		printf("%s: %s (bus %s)\n", str(drv, "name"), str(drv, "help"), str(drv, "bus"));
		cli_print_attrs(json_object_get(drv, "attrs"));
	}
	json_decref(list);
	return EXIT_OK;
}

static int cmd_plugins(struct cli *cli, int argc, char **argv)
{
	json_t *plugin;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "mdev.plugins", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, plugin)
	{
		printf("%s: ", str(plugin, "name"));
		cli_print_value(json_object_get(plugin, "aliases"));
		printf(" %s%s\n", str(plugin, "path"),
		       json_is_true(json_object_get(plugin, "started")) ? " (started)" : "");
	}
	json_decref(list);
	return EXIT_OK;
}

/* ---- completion ---- */

static void put_all(const json_t *list, const char *key)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) puts(str(entry, key));
}

static void put_answer(struct cli *cli, const char *method, const char *key)
{
	json_t *list = cli_ask(cli, method, NULL);

	put_all(list, key);
	json_decref(list);
}

static void complete_uuid(struct cli *cli, int argc, char **argv)
{
	if (argc == 1)
		put_answer(cli, "mdev.show", "uuid");
}

static void complete_defined(struct cli *cli, int argc, char **argv)
{
	if (argc == 1)
		put_answer(cli, "mdev.defined", "uuid");
}

static void complete_parent(struct cli *cli, int argc, char **argv)
{
	if (argc == 1)
		put_answer(cli, "mdev.types", "parent");
}

static void complete_bind(struct cli *cli, int argc, char **argv)
{
	json_t *drivers;

	complete_uuid(cli, argc, argv);
	if (argc == 2)
		put_answer(cli, "mdev.drivers", "name");
	if (argc < 3 || argc % 2 == 0)
		return;
	drivers = cli_ask(cli, "mdev.drivers", NULL);
	put_all(json_object_get(cli_named(drivers, argv[1]), "attrs"), "name");
	json_decref(drivers);
}

static void complete_create(struct cli *cli, int argc, char **argv)
{
	json_t *parents, *parent, *type;
	size_t i, k;

	/* With a UUID before them keys are the odd words. */
	if (argc > 2 && argc % 2 == !strchr(argv[1], '-'))
		return;
	if (argc > 1)
		puts("parent\ndriver");
	parents = cli_ask(cli, "mdev.types", NULL);
	json_array_foreach(parents, i, parent)
	{
		if (argc == 1)
			put_all(json_object_get(parent, "types"), "mdev_type");
		json_array_foreach(json_object_get(parent, "types"), k, type)
		{
			if (argc > 1 && !strcmp(str(type, "mdev_type"), argv[0]))
				put_all(json_object_get(type, "attrs"), "name");
		}
	}
	json_decref(parents);
}

static void complete_list(struct cli *cli, int argc, char **argv)
{
	if (argc == 1)
		puts("defined");
}

const struct cli_cmd cli_mdev_cmds[] = {
	{"list", CMD_DEFAULT, "[ defined ]", "devices that are there, or that are defined",
	 cmd_list, NULL, complete_list},
	{"show", 0, "[ UUID ] [ --qemu-args ]", "all of a device, or how QEMU gets it", cmd_show,
	 NULL, complete_uuid},
	{"types", 0, "[ PARENT ]", "what can be made; with --all its attributes", cmd_types, NULL,
	 complete_parent},
	{"create", 0,
	 "TYPE [ UUID ] [ parent PARENT ] [ KEY VALUE ]... [ driver DRIVER [ KEY VALUE ]... ]",
	 "make a device; without a UUID it gets one, which is printed", cmd_create, NULL,
	 complete_create},
	{"remove", 0, "UUID", "remove a device, also while it is in use", cmd_remove, NULL,
	 complete_uuid},
	{"set", 0, "UUID { KEY VALUE }...", "change attributes", cmd_set, NULL, complete_uuid},
	{"bind", 0, "UUID DRIVER [ KEY VALUE ]...", "give a device to a driver", cmd_bind, NULL,
	 complete_bind},
	{"unbind", 0, "UUID", "take it from its driver", cmd_unbind, NULL, complete_uuid},
	{"define", 0, "UUID [ auto | manual ] [ TYPE parent PARENT [ KEY VALUE ]... ]",
	 "remember a device, as it is or as given", cmd_define, NULL, complete_uuid},
	{"undefine", 0, "UUID", "forget a definition", cmd_undefine, NULL, complete_defined},
	{"start", 0, "UUID", "make the device of a definition", cmd_start, NULL, complete_defined},
	{"stop", 0, "UUID", "remove a device; its definition stays", cmd_remove, NULL,
	 complete_uuid},
	{"buses", 0, "", "buses and classes", cmd_buses, NULL, NULL},
	{"drivers", 0, "", "drivers of mediated devices", cmd_drivers, NULL, NULL},
	{"plugins", 0, "", "plugins, and what they are for", cmd_plugins, NULL, NULL},
	{NULL},
};
