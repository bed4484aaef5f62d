// SPDX-License-Identifier: BSD-3-Clause
/* What people who look for a fault want to see. */
#include <string.h>
#include <time.h>
#include "cli.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

void cli_print_ranges(const json_t *ranges, const char *indent)
{
	json_t *r;
	size_t i;

	json_array_foreach(ranges, i, r)
	{
		const json_t *region = json_object_get(r, "region");

		printf("%s%s-%s %s addr %s", indent, str(r, "first"), str(r, "last"),
		       str(r, "perm"), str(r, "addr"));
		if (region) {
			fputs(" region ", stdout);
			cli_print_pairs(region);
		}
		putchar('\n');
	}
}

/* "DEV [ asid N ]": all of it, in as many calls as it takes. */
int cmd_iotlb_dump(struct cli *cli, int argc, char **argv)
{
	json_t *params, *part, *all = json_array(), *next = NULL;
	unsigned asid = 0;
	char rest;
	int ret = cli_args(cli, argc, 1, 3);

	if (ret < 0 && argc > 1 &&
	    (argc != 3 || strcmp(argv[1], "asid") || sscanf(argv[2], "%5u%c", &asid, &rest) != 1))
		ret = cli_usage(cli, "after the device: asid N, from 0 to 65535");
	while (ret <= 0) {
		params = json_pack("{s:s, s:i}", "name", argv[0], "asid", (int)asid);
		if (next)
			json_object_set_new(params, "from", next);
		ret = cli_call(cli, "iotlb.dump", params, &part);
		if (ret)
			break;
		if (cli->json)
			json_array_extend(all, json_object_get(part, "ranges"));
		else
			cli_print_ranges(json_object_get(part, "ranges"), "");
		next = json_incref(json_object_get(part, "next"));
		json_decref(part);
		if (!json_is_string(next))
			break;
	}
	if (!ret && cli->json)
		return cli_print_json(cli, all);
	json_decref(all);
	return ret;
}

static void print_series(const char *dev, size_t vq, const json_t *stats)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)stats, key, value)
	{
		if (json_is_integer(value))
			printf("uvdpa_vq{dev=\"%s\",vq=\"%zu\",type=\"%s\",stat=\"%s\"} "
			       "%" JSON_INTEGER_FORMAT "\n",
			       dev, vq, str(stats, "queue_type"), key, json_integer_value(value));
	}
}

int cmd_stats(struct cli *cli, int argc, char **argv)
{
	json_t *stats, *vqs, *vq, *value;
	const char *name;
	size_t i;
	int ret = cli_args(cli, argc, 0, 0);

	(void)argv;
	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "stats", NULL, &stats);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, stats);
	/* The text exposition format of Prometheus, so that a collector can run us as it is. */
	json_object_foreach(json_object_get(stats, "devices"), name, vqs)
		json_array_foreach(vqs, i, vq) print_series(name, i, vq);
	json_object_foreach(json_object_get(stats, "daemon"), name, value)
		printf("uvdpa_daemon{stat=\"%s\"} %" JSON_INTEGER_FORMAT "\n", name,
		       json_integer_value(value));
	json_decref(stats);
	return EXIT_OK;
}

static void print_line(const json_t *line)
{
	json_int_t ns = json_integer_value(json_object_get(line, "time_ns"));
	time_t secs = (time_t)(ns / 1000000000);
	struct tm tm;
	char when[32];

	gmtime_r(&secs, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	printf("%s.%03dZ <%d> %s%s", when, (int)(ns / 1000000 % 1000),
	       (int)json_integer_value(json_object_get(line, "level")), str(line, "object"),
	       *str(line, "object") ? ": " : "");
	cli_print_value(json_object_get(line, "text"));
	putchar('\n');
}

int cmd_log(struct cli *cli, int argc, char **argv)
{
	json_t *list, *line;
	unsigned max = 100;
	char rest;
	size_t i;
	int ret = cli_args(cli, argc, 0, 1);

	if (ret >= 0)
		return ret;
	if (argc && (sscanf(argv[0], "%3u%c", &max, &rest) != 1 || !max))
		return cli_usage(cli, "\"%s\" is not a number of lines: 1 to 999 is allowed",
				 argv[0]);
	ret = cli_call(cli, "log", json_pack("{s:i}", "max", max > 512 ? 512 : (int)max), &list);
	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, list);
	json_array_foreach(list, i, line) print_line(line);
	json_decref(list);
	return EXIT_OK;
}
