// SPDX-License-Identifier: BSD-3-Clause
/* What iproute2 shows, in its words; with --all, what we know besides. */
#include <string.h>
#include "cli.h"

static const char *name_of(const json_t *obj)
{
	const char *name = json_string_value(json_object_get(obj, "name"));

	return name ? name : "";
}

/* [{name, ...}] -> {NAME: {...}} under one key. Takes @list. */
static json_t *by_name(const char *section, json_t *list, const char *member)
{
	json_t *named = json_object(), *obj;
	size_t i;

	json_array_foreach(list, i, obj)
	{
		json_t *value = member ? json_incref(json_object_get(obj, member)) : json_copy(obj);

		if (!member)
			json_object_del(value, "name");
		json_object_set_new(named, name_of(obj), value);
	}
	json_decref(list);
	return json_pack("{s:o}", section, named);
}

static json_t *show_params(const struct cli *cli, int argc, char **argv)
{
	return argc ? json_pack("{s:s, s:b}", "name", argv[0], "all", cli->all)
		    : json_pack("{s:b}", "all", cli->all);
}

/* A command that shows a list: how it is asked for, and what becomes of it. */
struct listing {
	const char *method;
	const char *section; /* of the JSON */
	const char *member;  /* of an entry, that is shown there; NULL: all of it */
	void (*print)(const json_t *entry);
};

static int show_list(struct cli *cli, int argc, char **argv, const struct listing *what)
{
	json_t *list, *entry;
	size_t i;
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, what->method, show_params(cli, argc, argv), &list);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, by_name(what->section, list, what->member));
	json_array_foreach(list, i, entry) what->print(entry);
	json_decref(list);
	return EXIT_OK;
}

/* ---- mgmtdev show ---- */

static void print_backend(const json_t *backend)
{
	printf("  backend %s: %s\n", name_of(backend),
	       json_string_value(json_object_get(backend, "help")));
	cli_print_attrs(json_object_get(backend, "attrs"));
}

static void print_mgmtdev(const json_t *m)
{
	const json_t *backend;
	size_t i;

	printf("%s: \n  supported_classes ", name_of(m));
	cli_print_value(json_object_get(m, "supported_classes"));
	fputs("\n  max_supported_vqs ", stdout);
	cli_print_value(json_object_get(m, "max_supported_vqs"));
	fputs("\n  dev_features ", stdout);
	cli_print_member("dev_features", json_object_get(m, "dev_features"));
	putchar('\n');
	if (json_array_size(json_object_get(m, "attrs")))
		puts("  attributes");
	cli_print_attrs(json_object_get(m, "attrs"));
	json_array_foreach(json_object_get(m, "backends"), i, backend) print_backend(backend);
}

static int cmd_mgmtdev_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"mgmtdev.show", "mgmtdev", NULL, print_mgmtdev};

	return show_list(cli, argc, argv, &what);
}

const struct cli_cmd cli_mgmtdev_cmds[] = {
	{"show", CMD_COMPAT | CMD_DEFAULT, "[ [BUS/]MGMTDEV ]", "what can create devices",
	 cmd_mgmtdev_show, NULL, complete_mgmtdev},
	{"list", CMD_COMPAT, "[ [BUS/]MGMTDEV ]", "the same as show", cmd_mgmtdev_show, NULL,
	 complete_mgmtdev},
	{NULL},
};

/* ---- dev show ---- */

static const char *const compat_keys[] = {"type",    "mgmtdev",	    "vendor_id",
					  "max_vqs", "max_vq_size", NULL};

static bool is_compat(const char *key)
{
	for (const char *const *k = compat_keys; *k; k++) {
		if (!strcmp(*k, key))
			return true;
	}
	return false;
}

static void print_vqs(const json_t *vqs)
{
	json_t *vq;
	size_t i;

	json_array_foreach(vqs, i, vq)
	{
		fputs("  vq ", stdout);
		cli_print_pairs(vq);
		putchar('\n');
	}
}

static void print_device(const json_t *dev)
{
	const char *key;
	json_t *value;

	printf("%s:", name_of(dev));
	for (const char *const *k = compat_keys; *k; k++) {
		printf(" %s ", *k);
		cli_print_value(json_object_get(dev, *k));
	}
	putchar('\n');
	json_object_foreach((json_t *)(uintptr_t)dev, key, value)
	{
		if (is_compat(key) || !strcmp(key, "name") || !strcmp(key, "vqs"))
			continue;
		printf("  %s ", key);
		cli_print_member(key, value);
		putchar('\n');
	}
	print_vqs(json_object_get(dev, "vqs"));
}

int cmd_dev_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"dev.show", "dev", NULL, print_device};

	return show_list(cli, argc, argv, &what);
}

/* ---- dev config show ---- */

static void print_config(const json_t *dev)
{
	const char *key;
	json_t *value;

	printf("%s: ", name_of(dev));
	json_object_foreach(json_object_get(dev, "config"), key, value)
	{
		if (json_is_array(value))
			printf("\n  %s ", key);
		else
			/* Two of the keys have their blank already. */
			printf("%s%s", key, key[strlen(key) - 1] == ' ' ? "" : " ");
		cli_print_member(key, value);
		putchar(' ');
	}
	putchar('\n');
}

int cmd_dev_config_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"dev.config.show", "config", "config", print_config};

	return show_list(cli, argc, argv, &what);
}

/* ---- dev vstats show ---- */

static void print_vstats(const json_t *dev, bool with_index)
{
	json_t *queue;
	size_t i;

	printf("%s: ", name_of(dev));
	if (json_object_get(dev, "none_because")) {
		fputs("no statistics: ", stdout);
		cli_print_value(json_object_get(dev, "none_because"));
	}
	putchar('\n');
	json_array_foreach(json_object_get(dev, "queues"), i, queue)
	{
		if (with_index)
			printf("  qidx %" JSON_INTEGER_FORMAT " ",
			       json_integer_value(json_object_get(queue, "qidx")));
		cli_print_pairs(json_object_get(queue, "stats"));
		putchar('\n');
	}
}

/* One queue: iproute2's shape. All queues: an object per index. */
static json_t *vstats_json(const json_t *dev, bool one)
{
	json_t *all = json_object(), *queue;
	char index[24];
	size_t i;

	json_array_foreach(json_object_get(dev, "queues"), i, queue)
	{
		json_t *stats = json_object_get(queue, "stats");

		snprintf(index, sizeof(index), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(json_object_get(queue, "qidx")));
		if (one)
			json_object_update(all, stats);
		else
			json_object_set(all, index, stats);
	}
	return all;
}

static int show_vstats(struct cli *cli, json_t *params, bool one)
{
	json_t *list, *dev, *named;
	size_t i;
	int ret = cli_call(cli, "dev.vstats.show", params, &list);

	if (ret)
		return ret;
	named = json_object();
	json_array_foreach(list, i, dev)
	{
		if (cli->json)
			json_object_set_new(named, name_of(dev), vstats_json(dev, one));
		else
			print_vstats(dev, !one);
	}
	json_decref(list);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o}", "vstats", named));
	json_decref(named);
	return EXIT_OK;
}

int cmd_dev_vstats_show(struct cli *cli, int argc, char **argv)
{
	unsigned idx;
	char rest;
	int ret = cli_args(cli, argc, 0, 3);

	if (ret >= 0)
		return ret;
	if (argc == 0)
		return show_vstats(cli, NULL, false);
	if (argc == 1)
		return show_vstats(cli, json_pack("{s:s}", "name", argv[0]), false);
	if (strcmp(argv[1], "qidx"))
		return cli_usage(cli, "\"%s\" is not known; qidx is allowed", argv[1]);
	if (argc != 3 || sscanf(argv[2], "%5u%c", &idx, &rest) != 1 || idx > 65535)
		return cli_usage(cli, "qidx wants the number of a queue");
	return show_vstats(cli, json_pack("{s:s, s:i}", "name", argv[0], "qidx", (int)idx), true);
}

/* ---- group show, as show ---- */

static json_int_t number(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

/* "KEY 0,1,2", or nothing of an empty list. */
static void print_numbers(const json_t *obj, const char *key)
{
	const json_t *list = json_object_get(obj, key);
	json_t *n;
	size_t i;

	json_array_foreach(list, i, n)
	{
		if (i)
			putchar(',');
		else
			printf(" %s ", key);
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(n));
	}
}

static void print_groups(const json_t *dev)
{
	json_t *group;
	size_t i;

	json_array_foreach(json_object_get(dev, "group"), i, group)
	{
		const json_t *vqs = json_object_get(group, "vqs");

		printf("%s: group %" JSON_INTEGER_FORMAT " asid %" JSON_INTEGER_FORMAT,
		       name_of(dev), number(group, "group"), number(group, "asid"));
		print_numbers(group, "vqs");
		if (!json_equal(vqs, json_object_get(group, "desc_vqs")))
			print_numbers(group, "desc_vqs");
		putchar('\n');
	}
}

static int cmd_group_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"group.show", "group", "group", print_groups};

	return show_list(cli, argc, argv, &what);
}

static void print_as(const char *dev, const json_t *as)
{
	const json_t *ranges = json_object_get(as, "ranges");
	json_int_t asid = number(as, "asid"), total = number(as, "total");
	size_t shown = json_array_size(ranges);

	printf("%s: asid %" JSON_INTEGER_FORMAT, dev, asid);
	print_numbers(as, "groups");
	printf(" total %" JSON_INTEGER_FORMAT " bytes %s\n", total,
	       json_string_value(json_object_get(as, "bytes")));
	cli_print_ranges(ranges, "  ");
	if (shown < (size_t)total)
		printf("  and %" JSON_INTEGER_FORMAT " more: uvdpa iotlb dump %s asid "
		       "%" JSON_INTEGER_FORMAT "\n",
		       total - (json_int_t)shown, dev, asid);
}

static void print_address_spaces(const json_t *dev)
{
	json_t *as;
	size_t i;

	json_array_foreach(json_object_get(dev, "spaces"), i, as) print_as(name_of(dev), as);
}

static int cmd_as_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"as.show", "as", NULL, print_address_spaces};

	return show_list(cli, argc, argv, &what);
}

static void print_cvq(const json_t *dev)
{
	json_t *value;
	const char *key;

	printf("%s:\n", name_of(dev));
	json_object_foreach(json_object_get(dev, "cvq"), key, value)
	{
		printf("  %s ", key);
		cli_print_value(value);
		putchar('\n');
	}
}

static int cmd_cvq_show(struct cli *cli, int argc, char **argv)
{
	static const struct listing what = {"cvq.show", "cvq", "cvq", print_cvq};

	return show_list(cli, argc, argv, &what);
}

const struct cli_cmd cli_cvq_cmds[] = {
	{"show", CMD_DEFAULT, "[ DEV ]",
	 "what drivers have configured by it, and their last commands", cmd_cvq_show, NULL,
	 complete_device},
	{"state", 0, "DEV", "the same as commands that would make it, and the commands that came",
	 cmd_cvq_state, NULL, complete_device},
	{"intercept", 0, "DEV [ on | off ]", "keep the commands that come, for state",
	 cmd_cvq_intercept, NULL, complete_device},
	{NULL},
};

const struct cli_cmd cli_group_cmds[] = {
	{"show", CMD_DEFAULT, "[ DEV ]", "which queues are in which group, and where it is tied to",
	 cmd_group_show, NULL, complete_device},
	{NULL},
};

const struct cli_cmd cli_as_cmds[] = {
	{"show", CMD_DEFAULT, "[ DEV ]", "what is mapped where, and for whom", cmd_as_show, NULL,
	 complete_device},
	{NULL},
};
