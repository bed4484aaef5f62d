// SPDX-License-Identifier: BSD-3-Clause
/* Software DSAs, in the words of accel-config and with its files; interrupt message storage. */
#include <stdio.h>
#include <string.h>
#include "cli.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

static long long num(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

/* ---- show ---- */

static void print_things(const char *device, const json_t *list, bool all)
{
	json_t *thing, *copy;
	size_t i;

	json_array_foreach(list, i, thing)
	{
		/* Those that nobody configured are many, and all the same. */
		if (!all && num(thing, "group_id") < 0)
			continue;
		copy = json_copy(thing);
		json_object_del(copy, "dev");
		json_object_del(copy, "portals");
		printf("  %s/%s ", device, str(thing, "dev"));
		cli_print_pairs(copy);
		putchar('\n');
		json_decref(copy);
	}
}

static void print_dsa(const struct cli *cli, const json_t *dsa)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)dsa);

	json_object_del(copy, "dev");
	json_object_del(copy, "groups");
	json_object_del(copy, "engines");
	json_object_del(copy, "wqs");
	printf("%s ", str(dsa, "dev"));
	cli_print_pairs(copy);
	putchar('\n');
	json_decref(copy);
	if (cli->all)
		print_things(str(dsa, "dev"), json_object_get(dsa, "groups"), true);
	print_things(str(dsa, "dev"), json_object_get(dsa, "engines"), cli->all);
	print_things(str(dsa, "dev"), json_object_get(dsa, "wqs"), cli->all);
}

static int cmd_show(struct cli *cli, int argc, char **argv)
{
	json_t *dsa;
	size_t i;
	int ret;
	json_t *list = cli_list(cli, argc, "dsa.show", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, dsa) print_dsa(cli, dsa);
	json_decref(list);
	return EXIT_OK;
}

static int cmd_drivers(struct cli *cli, int argc, char **argv)
{
	json_t *driver, *queue;
	size_t i, n;
	int ret;
	json_t *list = cli_list(cli, argc, "dsa.drivers", &ret);

	(void)argv;
	if (!list)
		return ret;
	json_array_foreach(list, i, driver)
	{
		printf("%s: %s", str(driver, "name"), str(driver, "help"));
		json_array_foreach(json_object_get(driver, "queues"), n, queue)
			printf("%s%s", n ? " " : " - ", json_string_value(queue));
		putchar('\n');
	}
	json_decref(list);
	return EXIT_OK;
}

/* ---- changes ---- */

/* NAME [ KEY VALUE ]... */
static int with_attrs(struct cli *cli, int argc, char **argv, const char *method, const char *what)
{
	json_t *attrs;
	int used, ret;

	if (argc < 1)
		return cli_usage(cli, "something is missing");
	ret = cli_pairs(cli, argc - 1, argv + 1, NULL, &attrs, &used);
	return ret ? ret
		   : cli_do(cli, method, json_pack("{s:s, s:o}", what, argv[0], "attrs", attrs));
}

static int cmd_add(struct cli *cli, int argc, char **argv)
{
	return with_attrs(cli, argc, argv, "dsa.add", "name");
}

static int cmd_config(struct cli *cli, int argc, char **argv)
{
	return with_attrs(cli, argc, argv, "dsa.config", "path");
}

static int with_one(struct cli *cli, int argc, char **argv, const char *method, const char *what)
{
	int ret = cli_args(cli, argc, 1, 1);

	return ret >= 0 ? ret : cli_do(cli, method, json_pack("{s:s}", what, argv[0]));
}

static int cmd_del(struct cli *cli, int argc, char **argv)
{
	return with_one(cli, argc, argv, "dsa.del", "name");
}

static int cmd_enable(struct cli *cli, int argc, char **argv)
{
	return with_one(cli, argc, argv, "dsa.enable", "path");
}

static int cmd_disable(struct cli *cli, int argc, char **argv)
{
	return with_one(cli, argc, argv, "dsa.disable", "path");
}

static int cmd_save(struct cli *cli, int argc, char **argv)
{
	json_t *list;
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "dsa.save", NULL, &list);
	return ret ? ret : cli_print_json(cli, list);
}

static int cmd_load(struct cli *cli, int argc, char **argv)
{
	json_t *doc;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	ret = cli_read_json(argv[0], &doc);
	return ret ? ret : cli_do(cli, "dsa.load", json_pack("{s:o}", "devices", doc));
}

static int cmd_inject(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 2, 2);

	return ret >= 0 ? ret
			: cli_do(cli, "dsa.inject",
				 json_pack("{s:s, s:s}", "uuid", argv[0], "fault", argv[1]));
}

static int cmd_regs(struct cli *cli, int argc, char **argv)
{
	json_t *list, *reg;
	size_t i;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "dsa.regs", json_pack("{s:s}", "uuid", argv[0]), &list);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, list);
	json_array_foreach(list, i, reg)
		printf("%-18s %6s %s\n", str(reg, "name"), str(reg, "offset"), str(reg, "value"));
	json_decref(list);
	return EXIT_OK;
}

/* ---- interrupt message storage ---- */

static void print_slot(const json_t *s, bool raw)
{
	printf("  %lld ", num(s, "slot"));
	if (raw) {
		printf("addr %s data %s ctrl %s\n", str(s, "addr"), str(s, "data"), str(s, "ctrl"));
		return;
	}
	printf("%s", str(s, "owner"));
	if (json_is_true(json_object_get(s, "pasid_enabled")))
		printf(" pasid %lld", num(s, "pasid"));
	if (json_is_true(json_object_get(s, "masked")))
		printf(" masked");
	if (json_is_true(json_object_get(s, "pending")))
		printf(" pending");
	putchar('\n');
}

static int show_ims(struct cli *cli, int argc, char **argv, bool raw)
{
	json_t *ims, *slot;
	size_t i;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "ims.show", json_pack("{s:s, s:b}", "name", argv[0], "all", cli->all),
		       &ims);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, ims);
	printf("%s slots %lld used %lld remapping %s delivered %lld held %lld wrong_pasid %lld bad "
	       "%lld\n",
	       str(ims, "name"), num(ims, "slots"), num(ims, "used"),
	       json_is_true(json_object_get(ims, "remapping")) ? "on" : "off",
	       num(ims, "delivered"), num(ims, "held"), num(ims, "wrong_pasid"), num(ims, "bad"));
	json_array_foreach(json_object_get(ims, "list"), i, slot) print_slot(slot, raw);
	json_decref(ims);
	return EXIT_OK;
}

static int cmd_ims_show(struct cli *cli, int argc, char **argv)
{
	return show_ims(cli, argc, argv, false);
}

static int cmd_ims_dump(struct cli *cli, int argc, char **argv)
{
	return show_ims(cli, argc, argv, true);
}

static int change_slot(struct cli *cli, int argc, char **argv, const char *method)
{
	int ret = cli_args(cli, argc, 2, 2), slot, end = 0;

	if (ret >= 0)
		return ret;
	if (sscanf(argv[1], "%6d%n", &slot, &end) != 1 || argv[1][end])
		return cli_usage(cli, "\"%s\" is no number of a slot", argv[1]);
	return cli_do(cli, method, json_pack("{s:s, s:i}", "name", argv[0], "slot", slot));
}

static int cmd_ims_mask(struct cli *cli, int argc, char **argv)
{
	return change_slot(cli, argc, argv, "ims.mask");
}

static int cmd_ims_unmask(struct cli *cli, int argc, char **argv)
{
	return change_slot(cli, argc, argv, "ims.unmask");
}

/* ---- completion ---- */

static void complete_name(struct cli *cli, int argc, char **argv)
{
	json_t *list = argc == 1 ? cli_ask(cli, "dsa.show", NULL) : NULL, *dsa;
	size_t i;

	(void)argv;
	json_array_foreach(list, i, dsa) puts(str(dsa, "dev"));
	json_decref(list);
}

static void put_things(const char *device, const json_t *list)
{
	json_t *thing;
	size_t i;

	json_array_foreach(list, i, thing) printf("%s/%s\n", device, str(thing, "dev"));
}

static void complete_path(struct cli *cli, int argc, char **argv)
{
	json_t *list = argc == 1 ? cli_ask(cli, "dsa.show", NULL) : NULL, *dsa;
	size_t i;

	(void)argv;
	json_array_foreach(list, i, dsa)
	{
		puts(str(dsa, "dev"));
		put_things(str(dsa, "dev"), json_object_get(dsa, "wqs"));
		put_things(str(dsa, "dev"), json_object_get(dsa, "engines"));
		put_things(str(dsa, "dev"), json_object_get(dsa, "groups"));
	}
	json_decref(list);
}

static void complete_mdev(struct cli *cli, int argc, char **argv)
{
	json_t *list = argc == 1 ? cli_ask(cli, "mdev.show", NULL) : NULL, *mdev;
	size_t i;

	(void)argv;
	json_array_foreach(list, i, mdev) puts(str(mdev, "uuid"));
	json_decref(list);
}

static void complete_inject(struct cli *cli, int argc, char **argv)
{
	complete_mdev(cli, argc, argv);
	if (argc == 2)
		puts("swerr\nrevoke\nhalt\nflr\nerr\nrequest");
}

const struct cli_cmd cli_dsa_cmds[] = {
	{"show", CMD_DEFAULT, "", "devices; with --all also what is not configured", cmd_show, NULL,
	 NULL},
	{"add", 0, "NAME [ KEY VALUE ]...",
	 "make one (engines, wqs, groups, wq_size, ims_slots, ir)", cmd_add, NULL, NULL},
	{"del", 0, "NAME", "delete one", cmd_del, NULL, complete_name},
	{"config", 0, "PATH { KEY VALUE }...",
	 "change a device, queue (dsa0/wq0.1), engine or group", cmd_config, NULL, complete_path},
	{"enable", 0, "PATH", "enable a device or a queue", cmd_enable, NULL, complete_path},
	{"disable", 0, "PATH", "disable a device or a queue", cmd_disable, NULL, complete_path},
	{"drivers", 0, "", "drivers of queues, and the queues that they have", cmd_drivers, NULL,
	 NULL},
	{"save", 0, "", "print what accel-config save-config writes", cmd_save, NULL, NULL},
	{"load", 0, "FILE", "take over what accel-config save-config wrote (-: standard input)",
	 cmd_load, NULL, NULL},
	{"inject", 0, "UUID { swerr | revoke | halt | flr | err | request }",
	 "tell a guest what hardware could", cmd_inject, NULL, complete_inject},
	{"regs", 0, "UUID", "registers of a mediated device", cmd_regs, NULL, complete_mdev},
	{NULL},
};

const struct cli_cmd cli_ims_cmds[] = {
	{"show", 0, "NAME", "slots in use; with --all the others too", cmd_ims_show, NULL,
	 complete_name},
	{"dump", 0, "NAME", "the same as they lie in memory: address, data, control", cmd_ims_dump,
	 NULL, complete_name},
	{"mask", 0, "NAME SLOT", "hold its interrupts back", cmd_ims_mask, NULL, complete_name},
	{"unmask", 0, "NAME SLOT", "send them, and what is pending", cmd_ims_unmask, NULL,
	 complete_name},
	{NULL},
};
