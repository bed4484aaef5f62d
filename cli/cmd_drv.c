// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa drv [ VIRTIO ] ... : a virtio device of the daemon (bound to virtio-vdpa).
 * uvdpa drv --socket PATH ... : the back end behind a vhost-user socket, driven from this process.
 */
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include "drv.h"

int drv_size(const struct cli *cli, const char *what, const char *word, uint64_t *out)
{
	const struct vdpa_attr_spec spec[] = {
		{.name = what, .type = VDPA_ATTR_SIZE, .max = INT64_MAX},
		{.name = NULL},
	};
	const struct vdpa_attr attr[] = {{what, word}, {NULL, NULL}};
	struct vdpa_error err = {0};

	if (vdpa_attr_check(attr, spec, NULL, &err))
		return cli_usage(cli, "%s", err.msg);
	*out = vdpa_attr_size(attr, what, 0);
	return EXIT_OK;
}

/* "count N size N" -> object of numbers, with the two keys that @allowed lists. */
static int number_pairs(const struct cli *cli, int argc, char **argv, const char *const *allowed,
			json_t **out)
{
	json_t *obj = json_object();

	for (int i = 0; i < argc; i += 2) {
		const char *const *key = allowed;
		uint64_t v;

		while (*key && strcmp(*key, argv[i]))
			key++;
		if (!*key || i + 1 == argc) {
			json_decref(obj);
			return *key ? cli_usage(cli, "\"%s\" has no value", argv[i])
				    : cli_usage(cli, "\"%s\" is not known; %s and %s are allowed",
						argv[i], allowed[0], allowed[1]);
		}
		if (drv_size(cli, argv[i], argv[i + 1], &v)) {
			json_decref(obj);
			return EXIT_USAGE;
		}
		json_object_set_new(obj, *key, json_integer((json_int_t)v));
	}
	*out = obj;
	return EXIT_OK;
}

static int print_conform(const json_t *result)
{
	json_t *op;
	size_t i;

	json_array_foreach(json_object_get(result, "operations"), i, op)
	{
		printf("%s %s", json_is_true(json_object_get(op, "pass")) ? "pass" : "FAIL",
		       json_string_value(json_object_get(op, "op")));
		if (*json_string_value(json_object_get(op, "detail"))) {
			fputs(": ", stdout);
			cli_print_value(json_object_get(op, "detail"));
		}
		putchar('\n');
	}
	return json_is_true(json_object_get(result, "pass")) ? EXIT_OK : EXIT_FAILED;
}

static int simple(struct drv_target *t, const char *op, json_t *params)
{
	json_t *result, *value;
	const char *key;
	int ret = drv_exec(t, op, params, &result);

	if (ret)
		return ret;
	if (!strcmp(op, "conform") && !json_is_true(json_object_get(result, "pass")))
		ret = EXIT_FAILED;
	if (t->cli->json) {
		cli_print_json(t->cli, result ? result : json_object());
		return ret;
	}
	if (!strcmp(op, "conform")) {
		ret = print_conform(result);
	} else {
		json_object_foreach(result, key, value)
		{
			printf("%s ", key);
			cli_print_member(key, value);
			putchar('\n');
		}
	}
	json_decref(result);
	return ret;
}

static int net_words(struct drv_target *t, int argc, char **argv)
{
	static const char *const keys[] = {"count", "size", NULL};
	json_t *params;
	int ret;

	if (argc && !strcmp(argv[0], "info"))
		return simple(t, "net.info", NULL);
	if (!argc || (strcmp(argv[0], "ping") && strcmp(argv[0], "pktgen")))
		return drv_unknown(t, "net", argc ? argv[0] : NULL);
	ret = number_pairs(t->cli, argc - 1, argv + 1, keys, &params);
	if (ret)
		return ret;
	return simple(t, !strcmp(argv[0], "ping") ? "net.ping" : "net.pktgen", params);
}

static int vq_setup(struct drv_target *t, int argc, char **argv)
{
	static const char *const keys[] = {"index", "size", NULL};
	json_t *params;
	int ret = number_pairs(t->cli, argc, argv, keys, &params);

	return ret ? ret : simple(t, "vq_setup", params);
}

static int config_words(struct drv_target *t, int argc, char **argv)
{
	bool reads = argc && !strcmp(argv[0], "read");
	uint64_t offset, len = 0;
	json_t *params;

	if (!argc || (!reads && strcmp(argv[0], "write")))
		return drv_unknown(t, "config", argc ? argv[0] : NULL);
	if (reads ? argc != 3 : argc != 4 || strcmp(argv[2], "hex"))
		return cli_usage(t->cli, reads ? "config read OFFSET LEN"
					       : "config write OFFSET hex DIGITS");
	if (drv_size(t->cli, "OFFSET", argv[1], &offset) ||
	    (reads && drv_size(t->cli, "LEN", argv[2], &len)))
		return EXIT_USAGE;
	params = json_pack("{s:I}", "offset", (json_int_t)offset);
	json_object_set_new(params, reads ? "len" : "data",
			    reads ? json_integer((json_int_t)len) : json_string(argv[3]));
	return simple(t, reads ? "config.read" : "config.write", params);
}

int drv_words(struct drv_target *t, int argc, char **argv)
{
	static const char *const plain[] = {"info",    "features", "status", "reset",
					    "conform", "attach",   NULL};

	if (!argc)
		return drv_unknown(t, "", NULL);
	for (const char *const *p = plain; *p; p++) {
		if (strcmp(argv[0], *p))
			continue;
		return argc == 1 ? simple(t, *p, NULL)
				 : cli_usage(t->cli, "nothing follows \"%s\"", *p);
	}
	if (!strcmp(argv[0], "vq-setup"))
		return vq_setup(t, argc - 1, argv + 1);
	if (!strcmp(argv[0], "blk"))
		return drv_blk_words(t, argc - 1, argv + 1);
	if (!strcmp(argv[0], "config"))
		return config_words(t, argc - 1, argv + 1);
	if (!strcmp(argv[0], "cvq"))
		return drv_cvq_words(t, argc - 1, argv + 1);
	if (!strcmp(argv[0], "net"))
		return net_words(t, argc - 1, argv + 1);
	return drv_unknown(t, "", argv[0]);
}

static int list(struct cli *cli)
{
	json_t *devs, *dev, *driver;
	size_t i;
	int ret = cli_call(cli, "drv.show", NULL, &devs);

	if (ret)
		return ret;
	if (cli->json)
		return cli_print_json(cli, devs);
	json_array_foreach(devs, i, dev)
	{
		driver = json_object_get(dev, "driver");
		printf("%s: bus %s driver %s\n", json_string_value(json_object_get(dev, "name")),
		       json_string_value(json_object_get(dev, "bus")),
		       json_is_string(driver) ? json_string_value(driver) : "none");
	}
	json_decref(devs);
	return EXIT_OK;
}

static int set_type(struct drv_target *t, const char *word)
{
	if (!strcmp(word, "blk"))
		t->device_id = VIRTIO_ID_BLOCK;
	else if (!strcmp(word, "net"))
		t->device_id = VIRTIO_ID_NET;
	else
		return cli_usage(t->cli, "--type \"%s\": blk or net is allowed", word);
	return EXIT_OK;
}

/* Options in front of the command. Words used, or -1 after a message. */
static int options(struct drv_target *t, int argc, char **argv)
{
	int i = 0;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json")) {
			t->cli->json = true;
		} else if (!strcmp(argv[i], "-p") || !strcmp(argv[i], "--pretty")) {
			t->cli->pretty = true;
		} else if (!strcmp(argv[i], "--socket") && i + 1 < argc) {
			t->socket = argv[++i];
		} else if (!strcmp(argv[i], "--type") && i + 1 < argc) {
			if (set_type(t, argv[++i]))
				return -1;
		} else {
			cli_usage(t->cli,
				  "option \"%s\" is not known, or has no value; there are: "
				  "--socket PATH, --type { blk | net }, --json, --pretty",
				  argv[i]);
			return -1;
		}
	}
	return i;
}

int cmd_drv(struct cli *cli, int argc, char **argv)
{
	struct drv_target t = {.cli = cli, .device_id = VIRTIO_ID_BLOCK};
	int ret, used = options(&t, argc, argv);

	if (used < 0)
		return EXIT_USAGE;
	argc -= used;
	argv += used;
	if (drv_help(argc, argv))
		return EXIT_OK;
	if (!t.socket) {
		if (!argc || !strcmp(argv[0], "show") || !strcmp(argv[0], "list"))
			return list(cli);
		if (drv_help(argc - 1, argv + 1))
			return EXIT_OK;
		t.name = argv[0];
		return drv_words(&t, argc - 1, argv + 1);
	}
	if (!argc)
		return drv_unknown(&t, "", NULL);
	if (!strcmp(argv[0], "net") || !strcmp(argv[0], "cvq"))
		t.device_id = VIRTIO_ID_NET;
	ret = drv_connect(&t);
	if (!ret)
		ret = drv_words(&t, argc, argv);
	drv_disconnect(&t);
	return ret;
}
