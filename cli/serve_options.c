// SPDX-License-Identifier: BSD-3-Clause
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "ctl/service.h"
#include "serve.h"

static const struct serve_class classes[] = {
	{"blk", "soft_blk",
	 "{\n  \"type\": \"block\",\n  \"features\": [\n    \"read-only\",\n"
	 "    \"blk-file\"\n  ]\n}\n"},
	{"net", "soft_net", "{\n  \"type\": \"net\",\n  \"features\": []\n}\n"},
};

enum {
	O_PATH = 256,
	O_FD,
	O_CAPS,
	O_FILE,
	O_RO,
	O_BACKEND,
	O_ATTR,
	O_TRANSPORT,
	O_MAC,
	O_MTU,
	O_QUEUES,
	O_DISCONNECT,
	O_READY,
	O_LEVEL,
	O_NAME,
	O_WORKERS,
};

static const struct option longs[] = {
	{"socket-path", required_argument, NULL, O_PATH},
	{"fd", required_argument, NULL, O_FD},
	{"print-capabilities", no_argument, NULL, O_CAPS},
	{"blk-file", required_argument, NULL, O_FILE},
	{"read-only", no_argument, NULL, O_RO},
	{"backend", required_argument, NULL, O_BACKEND},
	{"attr", required_argument, NULL, O_ATTR},
	{"vhost-user", required_argument, NULL, O_TRANSPORT},
	{"mac", required_argument, NULL, O_MAC},
	{"mtu", required_argument, NULL, O_MTU},
	{"num-queues", required_argument, NULL, O_QUEUES},
	{"on-disconnect", required_argument, NULL, O_DISCONNECT},
	{"ready-fd", required_argument, NULL, O_READY},
	{"log-level", required_argument, NULL, O_LEVEL},
	{"name", required_argument, NULL, O_NAME},
	{"workers", required_argument, NULL, O_WORKERS},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"Usage: uvdpa serve { blk | net } { --socket-path=PATH | --fd=N } [OPTIONS]\n"
	"Serve one device on a vhost-user socket. Stays in the foreground; ends on SIGTERM.\n"
	"\n"
	"      --socket-path=PATH      listen here\n"
	"      --fd=N                  this socket instead, listening or connected\n"
	"      --print-capabilities    print what this program can do, as JSON, and end\n"
	"      --on-disconnect=relisten|exit\n"
	"                              after a front end has gone (default relisten)\n"
	"      --backend=NAME          where the bytes go (default file for blk, loopback for "
	"net)\n"
	"      --attr=KEY=VALUE        attribute of device or backend (repeatable)\n"
	"      --vhost-user=KEY=VALUE  attribute of the vhost-user driver (repeatable)\n"
	"      --name=NAME             of the device, in messages\n"
	"      --workers=N             threads that serve queues (default 1)\n"
	"      --ready-fd=N            write a newline to N and close it when listening\n"
	"      --log-level=LEVEL       error, warning (default), info or debug\n"
	"blk:  --blk-file=FILE         file or block device\n"
	"      --read-only             refuse writes\n"
	"      --num-queues=N\n"
	"net:  --mac=MAC  --mtu=MTU\n"
	"      --num-queues=N          queue pairs\n";

static int fail(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "uvdpa serve: %s \"%s\": %s\n", option, value, allowed);
	return EXIT_USAGE;
}

static int add(struct vdpa_attr *list, unsigned *n, const char *key, const char *value)
{
	if (*n == SERVE_ATTRS_MAX)
		return fail(key, value, "too many attributes");
	list[(*n)++] = (struct vdpa_attr){key, value};
	return -1;
}

static int add_dev(struct serve_options *opt, const char *key, const char *value)
{
	return add(opt->dev, &opt->ndev, key, value);
}

static int add_pair(struct vdpa_attr *list, unsigned *n, const char *option, char *text)
{
	char *eq = strchr(text, '=');

	if (!eq || eq == text)
		return fail(option, text, "KEY=VALUE is wanted");
	*eq = '\0';
	return add(list, n, text, eq + 1);
}

static int set_socket(struct serve_options *opt, const char *key, const char *value)
{
	if (opt->have_socket)
		return fail(!strcmp(key, "fd") ? "--fd" : "--socket-path", value,
			    "one socket is enough: --socket-path or --fd, once");
	opt->have_socket = true;
	return add(opt->drv, &opt->ndrv, key, value);
}

static int parse_fd(const char *option, const char *text, int *out)
{
	struct vdpa_error err = {0};

	*out = ctl_parse_fd(text, option, &err);
	if (*out >= 0)
		return -1;
	cli_error(&err);
	return EXIT_USAGE;
}

static int parse_level(struct serve_options *opt, const char *text)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	static const enum vdpa_log_level levels[] = {VDPA_LOG_ERR, VDPA_LOG_WARN, VDPA_LOG_INFO,
						     VDPA_LOG_DEBUG};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], text)) {
			opt->level = levels[i];
			return -1;
		}
	}
	return fail("--log-level", text, "error, warning, info or debug is allowed");
}

static int parse_disconnect(struct serve_options *opt, const char *text)
{
	opt->exit_on_disconnect = !strcmp(text, "exit");
	if (opt->exit_on_disconnect || !strcmp(text, "relisten"))
		return -1;
	return fail("--on-disconnect", text, "relisten or exit is allowed");
}

static int parse_workers(struct serve_options *opt, const char *text)
{
	char rest;

	if (sscanf(text, "%3u%c", &opt->workers, &rest) == 1 && opt->workers <= 256)
		return -1;
	return fail("--workers", text, "a number up to 256 is allowed");
}

/* Options that only pass an attribute on. */
static int parse_attr(struct serve_options *opt, int c)
{
	switch (c) {
	case O_FILE:
		if (strcmp(opt->class->name, "blk"))
			return fail("--blk-file", optarg, "a NIC has no file");
		return add_dev(opt, "path", optarg);
	case O_RO:
		return add_dev(opt, "read_only", "on");
	case O_BACKEND:
		return add_dev(opt, "backend", optarg);
	case O_ATTR:
		return add_pair(opt->dev, &opt->ndev, "--attr", optarg);
	case O_TRANSPORT:
		return add_pair(opt->drv, &opt->ndrv, "--vhost-user", optarg);
	case O_MAC:
		return add_dev(opt, "mac", optarg);
	case O_MTU:
		return add_dev(opt, "mtu", optarg);
	case O_QUEUES:
		return add_dev(opt, strcmp(opt->class->name, "net") ? "num_queues" : "max_vqp",
			       optarg);
	default:
		fputs("Try \"uvdpa serve --help\".\n", stderr);
		return EXIT_USAGE;
	}
}

static int parse_one(struct serve_options *opt, int c)
{
	int fd = -1, ret;

	switch (c) {
	case O_PATH:
		return set_socket(opt, "path", optarg);
	case O_FD:
		ret = parse_fd("--fd", optarg, &fd);
		snprintf(opt->fd_text, sizeof(opt->fd_text), "%d", fd);
		return ret >= 0 ? ret : set_socket(opt, "fd", opt->fd_text);
	case O_READY:
		return parse_fd("--ready-fd", optarg, &opt->ready_fd);
	case O_DISCONNECT:
		return parse_disconnect(opt, optarg);
	case O_LEVEL:
		return parse_level(opt, optarg);
	case O_NAME:
		opt->name = optarg;
		return -1;
	case O_WORKERS:
		return parse_workers(opt, optarg);
	case 'h':
		fputs(usage, stdout);
		return EXIT_OK;
	default:
		return parse_attr(opt, c);
	}
}

/* By the conventions every other option is ignored then, however wrong. */
static bool wants_capabilities(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--print-capabilities"))
			return true;
	}
	return false;
}

static int set_class(struct serve_options *opt, int argc, char **argv)
{
	for (size_t i = 0; argc && i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (!strcmp(argv[0], classes[i].name))
			opt->class = &classes[i];
	}
	if (opt->class)
		return -1;
	if (argc && (!strcmp(argv[0], "help") || !strcmp(argv[0], "--help"))) {
		fputs(usage, stdout);
		return EXIT_OK;
	}
	return fail("the class of device", argc ? argv[0] : "", "blk or net is allowed");
}

/* What was not said, and what is missing. */
static int complete(struct serve_options *opt)
{
	bool blk = !strcmp(opt->class->name, "blk");
	const char *backend = vdpa_attr_get(opt->dev, "backend");

	if (!opt->have_socket && ctl_listen_fds() == 1) {
		snprintf(opt->fd_text, sizeof(opt->fd_text), "%d", CTL_LISTEN_FDS_START);
		set_socket(opt, "fd", opt->fd_text);
	}
	if (!opt->have_socket)
		return fail("the socket", "", "--socket-path=PATH or --fd=N is wanted");
	if (blk && !backend && !vdpa_attr_get(opt->dev, "path"))
		return fail("the disk", "", "--blk-file=FILE or --backend=NAME is wanted");
	if (!backend && add_dev(opt, "backend", blk ? "file" : "loopback") >= 0)
		return EXIT_USAGE;
	if (opt->exit_on_disconnect)
		return add(opt->drv, &opt->ndrv, "on_disconnect", "exit-notify");
	return -1;
}

int serve_parse(struct serve_options *opt, int argc, char **argv)
{
	int c, ret;

	*opt = (struct serve_options){.workers = 1, .ready_fd = -1, .level = VDPA_LOG_WARN};
	ret = set_class(opt, argc, argv);
	if (ret >= 0)
		return ret;
	opt->name = opt->class->name;
	if (wants_capabilities(argc, argv)) {
		fputs(opt->class->capabilities, stdout);
		return EXIT_OK;
	}
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		ret = parse_one(opt, c);
		if (ret >= 0)
			return ret;
	}
	if (optind < argc)
		return fail("argument", argv[optind], "there are only options");
	return complete(opt);
}
