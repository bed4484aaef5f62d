// SPDX-License-Identifier: BSD-3-Clause
/* The bus: topology, events, devices, drivers. */
#include <errno.h>
#include <string.h>
#include "cli.h"
#include "ctl/client.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

/* ---- topology ---- */

/* Long lists (features, counters of drivers) are for other commands. */
static bool is_brief(const char *key, const json_t *value)
{
	static const char *const verbose[] = {"features",   "reads",  "writes",
					      "others",	    "kicks",  "calls",
					      "read_bytes", "errors", "written_bytes"};

	for (size_t i = 0; i < sizeof(verbose) / sizeof(verbose[0]); i++) {
		if (!strcmp(key, verbose[i]))
			return false;
	}
	return json_string_length(value) < 200;
}

static void layer(const char *name, const char *what, const json_t *pairs)
{
	const char *key;
	json_t *value;

	printf("  %-10s %s", name, what);
	json_object_foreach((json_t *)(uintptr_t)pairs, key, value)
	{
		if (!is_brief(key, value))
			continue;
		printf(" %s ", key);
		cli_print_value(value);
	}
	putchar('\n');
}

/* From what uses it down to where the bytes go. */
static void print_stack(const json_t *dev)
{
	const json_t *drv = json_object_get(dev, "driver");

	printf("%s (%s)\n", str(dev, "name"), str(dev, "type"));
	if (json_is_object(drv))
		layer("driver", str(drv, "name"), json_object_get(drv, "show"));
	else
		layer("driver", "none", NULL);
	printf("  %-10s vdpa index %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT " queues\n",
	       "bus", json_integer_value(json_object_get(dev, "index")),
	       json_integer_value(json_object_get(dev, "max_vqs")));
	layer("parent", str(dev, "parent"), json_object_get(dev, "show"));
	printf("  %-10s %s\n", "mgmtdev", str(dev, "mgmtdev"));
	printf("  %-10s %s\n", "dma", str(dev, "dma_device"));
}

int cmd_topology(struct cli *cli, int argc, char **argv)
{
	json_t *list, *dev;
	size_t i;
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "topology", argc ? json_pack("{s:s}", "name", argv[0]) : NULL, &list);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, list);
	json_array_foreach(list, i, dev) print_stack(dev);
	json_decref(list);
	return EXIT_OK;
}

/* ---- monitor ---- */

static void print_event(const struct cli *cli, json_t *event)
{
	const char *driver = str(event, "driver");

	if (cli->json) {
		cli_print_json(cli, json_incref(event));
	} else {
		printf("%-6s %s", str(event, "event"), str(event, "dev"));
		if (*driver)
			printf(" driver %s", driver);
		if (*str(event, "parent"))
			printf(" parent %s", str(event, "parent"));
		if (*str(event, "modalias"))
			printf(" MODALIAS=%s", str(event, "modalias"));
		if (*str(event, "detail")) {
			putchar(' ');
			cli_print_value(json_object_get(event, "detail"));
		}
		putchar('\n');
	}
	fflush(stdout);
}

int cmd_monitor(struct cli *cli, int argc, char **argv)
{
	struct vdpa_error err = {0};
	json_t *event;
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	if (ret >= 0)
		return ret;
	ret = cli_do(cli, "monitor", NULL);
	if (ret)
		return ret;
	while (!(ret = ctl_client_next(cli->client, &event, &err)) && !ferror(stdout)) {
		print_event(cli, event);
		json_decref(event);
	}
	/* The daemon has ended: so do its events. */
	return !ret || ret == -EPIPE ? EXIT_OK : cli_error(&err);
}

/* ---- bus ---- */

static int cmd_bus_devices(struct cli *cli, int argc, char **argv)
{
	json_t *dev;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "bus.devices", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, dev)
		printf("%" JSON_INTEGER_FORMAT " %s parent %s driver %s\n",
		       json_integer_value(json_object_get(dev, "index")), str(dev, "name"),
		       str(dev, "parent"), *str(dev, "driver") ? str(dev, "driver") : "none");
	json_decref(list);
	return EXIT_OK;
}

static int cmd_bus_drivers(struct cli *cli, int argc, char **argv)
{
	json_t *drv;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "bus.drivers", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, drv)
	{
		printf("%s: %s\n  devices ", str(drv, "name"), str(drv, "help"));
		cli_print_value(json_object_get(drv, "devices"));
		putchar('\n');
		cli_print_attrs(json_object_get(drv, "attrs"));
	}
	json_decref(list);
	return EXIT_OK;
}

const struct cli_cmd cli_bus_cmds[] = {
	{"devices", CMD_DEFAULT, "", "devices in order of registration", cmd_bus_devices, NULL,
	 NULL},
	{"drivers", 0, "", "drivers, what they take and what they have", cmd_bus_drivers, NULL,
	 NULL},
	{NULL},
};
