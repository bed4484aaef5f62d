// SPDX-License-Identifier: BSD-3-Clause
/* The table of objects, and the short commands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "ctl/json.h"
#include "uvdpa-config.h"

/* Print what @method answers: JSON, or "KEY VALUE" lines. */
static int show_object(struct cli *cli, int argc, const char *method)
{
	json_t *obj, *value;
	const char *key;
	int ret = cli_args(cli, argc, 0, 0);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, method, NULL, &obj);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, obj);
	json_object_foreach(obj, key, value)
	{
		printf("%s ", key);
		cli_print_value(value);
		putchar('\n');
	}
	json_decref(obj);
	return EXIT_OK;
}

static int cmd_debug_refs(struct cli *cli, int argc, char **argv)
{
	(void)argv;
	return show_object(cli, argc, "debug.refs");
}

static int cmd_worker_show(struct cli *cli, int argc, char **argv)
{
	json_t *list, *worker;
	size_t i;
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "worker.show", NULL, &list);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o}", "worker", list));
	json_array_foreach(list, i, worker)
	{
		cli_print_pairs(worker);
		putchar('\n');
	}
	json_decref(list);
	return EXIT_OK;
}

static int cmd_daemon_info(struct cli *cli, int argc, char **argv)
{
	(void)argv;
	return show_object(cli, argc, "daemon.info");
}

static int cmd_daemon_stop(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	return ret >= 0 ? ret : cli_do(cli, "daemon.stop", NULL);
}

static void print_method(const json_t *m)
{
	const json_t *params = json_object_get(m, "params");
	json_t *p;
	size_t i;

	printf("%s: %s\n", json_string_value(json_object_get(m, "name")),
	       json_string_value(json_object_get(m, "help")));
	json_array_foreach(params, i, p)
		printf("    %-10s %-10s %s%s\n", json_string_value(json_object_get(p, "name")),
		       json_string_value(json_object_get(p, "type")),
		       json_string_value(json_object_get(p, "help")),
		       json_is_true(json_object_get(p, "required")) ? " (required)" : "");
}

static int cmd_daemon_methods(struct cli *cli, int argc, char **argv)
{
	json_t *m;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "rpc.describe", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, m) print_method(m);
	json_decref(list);
	return EXIT_OK;
}

/* One call by hand, for what has no command. */
static int cmd_daemon_call(struct cli *cli, int argc, char **argv)
{
	struct vdpa_error err = {0};
	json_t *params = NULL, *result = NULL;
	int ret = cli_args(cli, argc, 1, 2);

	if (ret >= 0)
		return ret;
	if (argc == 2) {
		params = ctl_json_parse(argv[1], strlen(argv[1]), &err);
		if (!params)
			return cli_usage(cli, "PARAMS: %s", err.msg);
	}
	ret = cli_call(cli, argv[0], params, &result);
	return ret ? ret : cli_print_json(cli, result ? result : json_null());
}

static int cmd_driver_unload(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret : cli_do(cli, "driver.unload", json_pack("{s:s}", "driver", argv[0]));
}

static int cmd_config_dump(struct cli *cli, int argc, char **argv)
{
	json_t *doc;
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "config.dump", NULL, &doc);
	if (ret)
		return ret;
	/* It is a file for people to read and change: pretty unless compact JSON was asked for. */
	if (!cli->json)
		cli->pretty = true;
	return cli_print_json(cli, doc);
}

#define CONFIG_BYTES_MAX (1u << 20)

static char *read_all(const char *path, size_t *len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *buf = f ? malloc(CONFIG_BYTES_MAX + 1) : NULL;

	*len = buf ? fread(buf, 1, CONFIG_BYTES_MAX + 1, f) : 0;
	if (!buf || ferror(f) || *len > CONFIG_BYTES_MAX) {
		fprintf(stderr, "uvdpa: %s: cannot be read: %s\n", path,
			*len > CONFIG_BYTES_MAX ? "longer than 1 MiB" : strerror(errno));
		free(buf);
		buf = NULL;
	}
	if (f && f != stdin)
		fclose(f);
	return buf;
}

int cli_read_json(const char *path, json_t **doc)
{
	struct vdpa_error err = {0};
	size_t len;
	char *text = read_all(path, &len);

	if (!text)
		return EXIT_FAILED;
	*doc = ctl_json_parse(text, len, &err);
	free(text);
	if (*doc)
		return EXIT_OK;
	snprintf(err.object, sizeof(err.object), "%.90s", path);
	return cli_error(&err);
}

static int cmd_config_load(struct cli *cli, int argc, char **argv)
{
	json_t *doc;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	ret = cli_read_json(argv[0], &doc);
	if (ret)
		return ret;
	return cli_do(cli, "config.load", json_pack("{s:o}", "config", doc));
}

const struct cli_cmd cli_config_cmds[] = {
	{"dump", CMD_DEFAULT, "", "all devices, as a configuration file", cmd_config_dump, NULL,
	 NULL},
	{"load", 0, "FILE", "create the devices of FILE (-: standard input), all or none",
	 cmd_config_load, NULL, NULL},
	{NULL},
};

static const struct cli_cmd debug_cmds[] = {
	{"refs", CMD_DEFAULT, "", "references and connections", cmd_debug_refs, NULL, NULL},
	{NULL},
};

static const struct cli_cmd iotlb_cmds[] = {
	{"dump", 0, "DEV [ asid N ]", "an address space of a device", cmd_iotlb_dump, NULL,
	 complete_device},
	{NULL},
};

static const struct cli_cmd driver_cmds[] = {
	{"unload", 0, "DRIVER", "take a driver off the bus; not while it has devices",
	 cmd_driver_unload, NULL, complete_driver},
	{NULL},
};

static const struct cli_cmd worker_cmds[] = {
	{"show", CMD_DEFAULT, "", "threads, their processors and what they did", cmd_worker_show,
	 NULL, NULL},
	{NULL},
};

static const struct cli_cmd daemon_cmds[] = {
	{"info", CMD_DEFAULT, "", "version, process, socket, numbers", cmd_daemon_info, NULL, NULL},
	{"stop", 0, "", "remove all devices and end", cmd_daemon_stop, NULL, NULL},
	{"methods", 0, "", "what can be called over the socket", cmd_daemon_methods, NULL, NULL},
	{"call", 0, "METHOD [ PARAMS ]", "one call by hand; PARAMS is a JSON object",
	 cmd_daemon_call, NULL, NULL},
	{NULL},
};

const struct cli_cmd cli_objects[] = {
	{"mgmtdev", CMD_COMPAT, "", "what can create devices", NULL, cli_mgmtdev_cmds, NULL},
	{"dev", CMD_COMPAT, "", "devices", NULL, cli_dev_cmds, NULL},
	{"mdev", 0, "", "mediated devices", NULL, cli_mdev_cmds, NULL},
	{"dsa", 0, "", "software DSAs", NULL, cli_dsa_cmds, NULL},
	{"ims", 0, "", "interrupt message storage of DSAs", NULL, cli_ims_cmds, NULL},
	{"bus", 0, "", "devices and drivers on the bus", NULL, cli_bus_cmds, NULL},
	{"topology", 0, "[ DEV ]", "each device with what is above and beneath it", cmd_topology,
	 NULL, complete_device},
	{"monitor", 0, "", "print events as they come", cmd_monitor, NULL, NULL},
	{"drv", CMD_RAW, "[ VIRTIO COMMAND | --socket PATH COMMAND ]...",
	 "drive a device from here, as a guest would", cmd_drv, NULL, complete_virtio},
	{"driver", 0, "", "drivers", NULL, driver_cmds, NULL},
	{"config", 0, "", "the state as a file", NULL, cli_config_cmds, NULL},
	{"stats", 0, "", "counters of all queues", cmd_stats, NULL, NULL},
	{"cvq", 0, "", "control queues of NICs", NULL, cli_cvq_cmds, NULL},
	{"migrate", CMD_RAW, "DEV --to unix:SOCKET [ --bind | --keep ]",
	 "move a device to another daemon, with its state", cmd_migrate, NULL, complete_device},
	{"group", 0, "", "virtqueue groups", NULL, cli_group_cmds, NULL},
	{"as", 0, "", "address spaces", NULL, cli_as_cmds, NULL},
	{"iotlb", 0, "", "all that is mapped in an address space", NULL, iotlb_cmds, NULL},
	{"raw", 0, "{ PATH | DEV | NAME } { CALL [ KEY=NUMBER ]... }...",
	 "calls of the vhost-vdpa uAPI by hand", cmd_raw, NULL, complete_device},
#ifdef VDPA_HAVE_VFIO_USER
	{"vfu", 0, "SOCKET [ COMMAND [ , COMMAND ]... ]",
	 "a device behind a socket of vfio-user by hand; \"vfu SOCKET help\" has the commands",
	 cmd_vfu, NULL, complete_vfu},
#endif
	{"debug", 0, "", "references", NULL, debug_cmds, NULL},
	{"log", 0, "[ LINES ]", "the last lines of the daemon's log", cmd_log, NULL, NULL},
	{"worker", 0, "", "threads that serve queues", NULL, worker_cmds, NULL},
	{"daemon", 0, "", "the daemon itself", NULL, daemon_cmds, NULL},
	{"serve", CMD_RAW, "{ blk | net } OPTIONS", "serve one device without the daemon",
	 cmd_serve, NULL, NULL},
#ifdef VDPA_HAVE_RUN
	{"run", CMD_RAW, "[ --chardev NAME=SOCKET ]... [ -- ] PROGRAM [ ARGS ]",
	 "run a program that sees devices as /dev/vhost-vdpa-N", cmd_run, NULL, NULL},
#endif
	{"bench", CMD_RAW, "{ blk | net } OPTIONS", "load one device and measure it", cmd_bench,
	 NULL, NULL},
	{"pktgen", CMD_RAW, "[ --mdev UUID | --dev DEV ] [ --count N ] [ --size BYTES ]...",
	 "packets per second through a NIC that sends them back", cmd_pktgen, NULL, NULL},
	{"completion", 0, "bash", "print the completion script of a shell", cmd_completion, NULL,
	 NULL},
	{"complete", CMD_HIDDEN | CMD_RAW, "WORD...", "candidates for the last word", cmd_complete,
	 NULL, NULL},
	{NULL},
};
