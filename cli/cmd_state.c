// SPDX-License-Identifier: BSD-3-Clause
/*
 * The state of devices: save, load, control queues, and a move to another daemon.
 *
 * A move is driven from here, so that no daemon waits for another one: the source is suspended and
 * its state read; the target makes the device (unless one of that name waits for it) and loads the
 * state; only then the source is removed. Whatever fails before that is undone on both sides.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "ctl/client.h"
#include "ctl/json.h"

/* ---- save and load ---- */

int cmd_dev_save(struct cli *cli, int argc, char **argv)
{
	json_t *state = NULL;
	int ret = cli_args(cli, argc, 1, 2);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "dev.save", json_pack("{s:s}", "name", argv[0]), &state);
	if (ret || argc == 1)
		return ret ? ret : cli_print_json(cli, state);
	ret = json_dump_file(state, argv[1], JSON_INDENT(4)) ? EXIT_FAILED : EXIT_OK;
	if (ret)
		fprintf(stderr, "uvdpa: %s: cannot be written\n", argv[1]);
	json_decref(state);
	return ret;
}

int cmd_dev_load(struct cli *cli, int argc, char **argv)
{
	json_error_t err;
	json_t *doc;
	const char *state;
	int ret = cli_args(cli, argc, 2, 2);

	if (ret >= 0)
		return ret;
	doc = strcmp(argv[1], "-") ? json_load_file(argv[1], 0, &err) : json_loadf(stdin, 0, &err);
	state = json_string_value(json_object_get(doc, "state"));
	if (state) {
		ret = cli_do(cli, "dev.load",
			     json_pack("{s:s, s:s}", "name", argv[0], "state", state));
	} else {
		fprintf(stderr, "uvdpa: %s: is not what \"uvdpa dev save\" writes%s%s\n", argv[1],
			doc ? "" : ": ", doc ? "" : err.text);
		ret = EXIT_FAILED;
	}
	json_decref(doc);
	return ret;
}

/* ---- control queues ---- */

static void print_lines(const char *what, const json_t *lines)
{
	json_t *value;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)lines, key, value)
	{
		printf("  %s %s ", what, key);
		cli_print_value(value);
		putchar('\n');
	}
}

int cmd_cvq_state(struct cli *cli, int argc, char **argv)
{
	json_t *state = NULL;
	int ret = cli_args(cli, argc, 1, 1);

	if (ret >= 0)
		return ret;
	ret = cli_call(cli, "cvq.state", json_pack("{s:s}", "name", argv[0]), &state);
	if (ret || cli->json)
		return ret ? ret : cli_print_json(cli, state);
	printf("%s:\n", argv[0]);
	print_lines("state", json_object_get(state, "state"));
	print_lines("command", json_object_get(state, "commands"));
	json_decref(state);
	return EXIT_OK;
}

int cmd_cvq_intercept(struct cli *cli, int argc, char **argv)
{
	int ret = cli_args(cli, argc, 1, 2);
	bool off = argc == 2 && !strcmp(argv[1], "off");

	if (ret >= 0)
		return ret;
	if (argc == 2 && !off && strcmp(argv[1], "on"))
		return cli_usage(cli, "\"%s\": on and off are allowed", argv[1]);
	return cli_do(cli, "cvq.intercept", json_pack("{s:s, s:b}", "name", argv[0], "on", !off));
}

/* ---- migrate ---- */

struct migration {
	struct cli *from;
	struct cli to;
	const char *name;
	bool keep, bind;
	bool added;	/* by us, over there */
	bool held;	/* suspended, by somebody else */
	bool suspended; /* by us, here */
	json_t *device; /* as in a configuration; borrowed from @config */
	json_t *config, *state;
};

static json_t *name_param(const struct migration *m)
{
	return json_pack("{s:s}", "name", m->name);
}

static int fetch_device(struct migration *m)
{
	int ret = cli_call(m->from, "config.dump", NULL, &m->config);

	if (ret)
		return ret;
	m->device = json_incref(
		(json_t *)(uintptr_t)cli_named(json_object_get(m->config, "devices"), m->name));
	if (m->device)
		return EXIT_OK;
	/* The daemon says it best. */
	ret = cli_do(m->from, "dev.show", name_param(m));
	if (ret == EXIT_OK)
		fprintf(stderr, "uvdpa: %s: was not created by a management device\n", m->name);
	return EXIT_FAILED;
}

/* A disk in this daemon's memory would arrive empty. And does it run, or is it held already? */
static int look_at(struct migration *m)
{
	json_t *list = NULL;
	const json_t *show;
	const char *backend;
	int ret = cli_call(m->from, "dev.show", json_pack("{s:s, s:b}", "name", m->name, "all", 1),
			   &list);

	show = json_object_get(json_array_get(list, 0), "show");
	backend = json_string_value(json_object_get(show, "backend"));
	m->held = json_is_true(json_object_get(json_array_get(list, 0), "suspended"));
	if (!ret && backend && !strcmp(backend, "ram")) {
		fprintf(stderr,
			"uvdpa: %s: its data are in the daemon's memory, and would not come along: "
			"copy them to a file\n",
			m->name);
		ret = EXIT_FAILED;
	}
	json_decref(list);
	return ret;
}

/* One that was drawn by lot is to be the same over there. */
static int fetch_mac(struct migration *m)
{
	json_t *attrs = json_object_get(m->device, "attrs"), *list = NULL;
	const json_t *mac;
	int ret;

	if (json_object_get(attrs, "mac"))
		return EXIT_OK;
	ret = cli_call(m->from, "dev.config.show", name_param(m), &list);
	mac = json_object_get(json_object_get(json_array_get(list, 0), "config"), "mac");
	if (mac)
		json_object_set(attrs, "mac", (json_t *)(uintptr_t)mac);
	json_decref(list);
	return ret;
}

static int fetch_state(struct migration *m)
{
	int ret = cli_do(m->from, "dev.suspend", name_param(m));

	if (ret)
		return ret;
	m->suspended = !m->held;
	return cli_call(m->from, "dev.save", name_param(m), &m->state);
}

static bool is_there(struct migration *m)
{
	json_t *list = cli_ask(&m->to, "dev.show", NULL);
	bool found = cli_named(list, m->name);

	json_decref(list);
	return found;
}

static int deliver(struct migration *m)
{
	int ret = EXIT_OK;

	if (!is_there(m)) {
		ret = cli_do(&m->to, "dev.add",
			     json_pack("{s:s, s:O, s:O}", "name", m->name, "mgmtdev",
				       json_object_get(m->device, "mgmtdev"), "attrs",
				       json_object_get(m->device, "attrs")));
		m->added = !ret;
	}
	if (!ret)
		ret = cli_do(&m->to, "dev.load",
			     json_pack("{s:s, s:O}", "name", m->name, "state",
				       json_object_get(m->state, "state")));
	return ret;
}

static void undo(struct migration *m)
{
	if (m->added)
		cli_do(&m->to, "dev.del", name_param(m));
	if (m->suspended)
		cli_do(m->from, "dev.resume", name_param(m));
	fprintf(stderr, "uvdpa: %s: stays where it was\n", m->name);
}

/* It is over there; a binding can follow once this side has given the socket's path up. */
static int settle(struct migration *m)
{
	const json_t *driver = json_object_get(m->device, "driver");
	int ret = m->keep ? EXIT_OK : cli_do(m->from, "dev.del", name_param(m));

	if (ret || !m->bind || !driver)
		return ret;
	ret = cli_do(&m->to, "dev.bind",
		     json_pack("{s:s, s:O, s:O}", "name", m->name, "driver",
			       json_object_get(driver, "name"), "attrs",
			       json_object_get(driver, "attrs")));
	if (ret)
		fprintf(stderr, "uvdpa: %s: is in the other daemon, not bound\n", m->name);
	return ret;
}

static int migrate(struct migration *m)
{
	int ret = fetch_device(m);

	if (!ret)
		ret = look_at(m);
	if (!ret)
		ret = fetch_mac(m);
	if (!ret)
		ret = fetch_state(m);
	if (!ret)
		ret = deliver(m);
	if (ret) {
		undo(m);
		return ret;
	}
	return settle(m);
}

static bool is_word(const char *arg, const char *word)
{
	return !strcmp(arg, word) || (!strncmp(arg, "--", 2) && !strcmp(arg + 2, word));
}

static int parse_migrate(struct migration *m, int argc, char **argv)
{
	const char *to = NULL;

	for (int i = 0; i < argc; i++) {
		if (is_word(argv[i], "to") && i + 1 < argc)
			to = argv[++i];
		else if (!strcmp(argv[i], "--keep"))
			m->keep = true;
		else if (!strcmp(argv[i], "--bind"))
			m->bind = true;
		else if (!m->name && argv[i][0] != '-')
			m->name = argv[i];
		else
			return cli_usage(m->from, "\"%s\" is not known here", argv[i]);
	}
	if (!m->name)
		return cli_usage(m->from, "the device is missing");
	if (!to)
		return cli_usage(m->from, "--to is missing: the control socket of a daemon, as "
					  "unix:PATH or PATH");
	if (m->keep && m->bind)
		return cli_usage(m->from, "--keep and --bind exclude each other: a socket is bound "
					  "once");
	m->to.socket = strncmp(to, "unix:", 5) ? to : to + 5;
	return EXIT_OK;
}

int cmd_migrate(struct cli *cli, int argc, char **argv)
{
	struct migration m = {.from = cli};
	json_t *info = NULL;
	int ret;

	if (argc == 1 && is_word(argv[0], "help")) {
		cli_help(cli, cli->path[0], stdout);
		return EXIT_OK;
	}
	ret = parse_migrate(&m, argc, argv);
	if (ret)
		return ret;
	/* Is anybody there? Before this side is touched. */
	ret = cli_call(&m.to, "daemon.info", NULL, &info);
	json_decref(info);
	if (!ret)
		ret = migrate(&m);
	json_decref(m.state);
	json_decref(m.device);
	json_decref(m.config);
	ctl_client_close(m.to.client);
	return ret;
}
