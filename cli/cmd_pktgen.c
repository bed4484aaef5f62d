// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets per second through a NIC that sends back what it gets, and how many were lost: of a
 * device that is there, or of a mediated one that is made for it (mvnet_loopback). Sizes are those
 * on a wire, with the four bytes of the checksum that a NIC adds: 64 to 1518.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define FCS_BYTES 4
#define SIZES_MAX 16
#define OWN_TYPE "mvnet_loopback-virtio"
#define OWN_UUID "6d766e65-7470-4b74-8765-6e0000000000"

struct pktgen {
	struct cli *cli;
	const char *dev; /* NULL: one of our own */
	unsigned long count;
	unsigned long size[SIZES_MAX];
	unsigned nsizes;
	bool bound; /* by us */
};

/* 1000000, or 1e6. */
static bool number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v >= (double)min && v <= (double)max))
		return false;
	*out = (unsigned long)v;
	return true;
}

static int parse(struct pktgen *p, int argc, char **argv)
{
	static const struct option longs[] = {
		{"mdev", required_argument, NULL, 'm'},
		{"dev", required_argument, NULL, 'm'},
		{"count", required_argument, NULL, 'c'},
		{"size", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	char *words[32] = {(char[]){"uvdpa"}};
	int c;

	if (argc > 30)
		return cli_usage(p->cli, "too many words");
	memcpy(words + 1, argv, (size_t)argc * sizeof(*argv));
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc + 1, words, "", longs, NULL)) != -1) {
		if (c == 'm')
			p->dev = optarg;
		else if (c == 'c' && !number(optarg, 1, 1000000000, &p->count))
			return cli_usage(p->cli, "count \"%s\": 1 to 1e9", optarg);
		else if (c == 's' && (p->nsizes == SIZES_MAX ||
				      !number(optarg, 64, 1518, &p->size[p->nsizes++])))
			return cli_usage(p->cli, "size \"%s\": 64 to 1518", optarg);
		else if (c == '?')
			return cli_usage(p->cli, "\"%s\" is not known, or has no value",
					 words[optind - 1]);
	}
	if (optind <= argc)
		return cli_usage(p->cli, "\"%s\" is no option", words[optind]);
	if (!p->nsizes) {
		p->size[p->nsizes++] = 64;
		p->size[p->nsizes++] = 1518;
	}
	return EXIT_OK;
}

/* The virtio device that a driver made of @dev; NULL: none. A new reference. */
static json_t *virtio_of(struct pktgen *p, const char *dev)
{
	json_t *list = NULL, *entry, *found = NULL;
	char bus[128];
	size_t i;

	snprintf(bus, sizeof(bus), "vdpa/%.100s", dev);
	if (cli_call(p->cli, "drv.show", NULL, &list))
		return NULL;
	json_array_foreach(list, i, entry)
	{
		const char *its = json_string_value(json_object_get(entry, "bus"));

		if (its && !strcmp(its, bus))
			found = json_object_get(entry, "name");
	}
	json_incref(found);
	json_decref(list);
	return found;
}

static int measure(struct pktgen *p, const char *virtio, unsigned long size, json_t *rows)
{
	json_t *r = NULL, *row;
	json_int_t sent, received;
	int ret = cli_call(p->cli, "drv.call",
			   json_pack("{s:s, s:s, s:{s:I, s:I}}", "name", virtio, "op", "net.pktgen",
				     "params", "count", (json_int_t)p->count, "size",
				     (json_int_t)size - FCS_BYTES),
			   &r);

	if (ret)
		return ret;
	sent = json_integer_value(json_object_get(r, "sent"));
	received = json_integer_value(json_object_get(r, "received"));
	row = json_pack("{s:s, s:I, s:I, s:I, s:I, s:O}", "dev", p->dev ? p->dev : OWN_TYPE, "size",
			(json_int_t)size, "sent", sent, "received", received, "lost",
			sent - received, "packets_per_s", json_object_get(r, "packets_per_s"));
	json_decref(r);
	if (!p->cli->json)
		printf("%-24s %5lu B %10.3f Mpps %12lld sent %9lld lost\n",
		       p->dev ? p->dev : OWN_TYPE, size,
		       json_number_value(json_object_get(row, "packets_per_s")) / 1e6,
		       (long long)sent, (long long)(sent - received));
	json_array_append_new(rows, row);
	return sent == received ? EXIT_OK : EXIT_FAILED;
}

static int bind_it(struct pktgen *p, const char *dev)
{
	json_t *result = NULL;
	int ret = cli_call(p->cli, "dev.bind",
			   json_pack("{s:s, s:s}", "name", dev, "driver", "virtio-vdpa"), &result);

	json_decref(result);
	p->bound = !ret;
	return ret;
}

static int run(struct pktgen *p, const char *dev, json_t *rows)
{
	json_t *virtio = virtio_of(p, dev);
	int ret = virtio ? EXIT_OK : bind_it(p, dev);

	if (!ret && !virtio)
		virtio = virtio_of(p, dev);
	for (unsigned i = 0; !ret && i < p->nsizes; i++)
		ret = virtio ? measure(p, json_string_value(virtio), p->size[i], rows)
			     : EXIT_FAILED;
	json_decref(virtio);
	if (p->bound && p->dev)
		cli_do(p->cli, "dev.unbind", json_pack("{s:s}", "name", dev));
	return ret;
}

int cmd_pktgen(struct cli *cli, int argc, char **argv)
{
	struct pktgen p = {.cli = cli, .count = 1000000};
	json_t *rows;
	int ret;

	if (argc == 1 && !strcmp(argv[0], "help")) {
		cli_help(cli, cli->path[0], stdout);
		return EXIT_OK;
	}
	ret = parse(&p, argc, argv);
	if (!ret && !p.dev)
		ret = cli_do(cli, "mdev.create",
			     json_pack("{s:s, s:s}", "mdev_type", OWN_TYPE, "uuid", OWN_UUID));
	if (ret)
		return ret;
	rows = json_array();
	ret = run(&p, p.dev ? p.dev : OWN_UUID, rows);
	if (!p.dev)
		cli_do(cli, "mdev.remove", json_pack("{s:s}", "uuid", OWN_UUID));
	if (cli->json)
		cli_print_json(cli, rows);
	else
		json_decref(rows);
	return ret;
}
