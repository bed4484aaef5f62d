// SPDX-License-Identifier: BSD-3-Clause
#include <ctype.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "ctl/client.h"
#include "uvdpa-config.h"

static void help(FILE *to)
{
	fputs("Usage: uvdpa [ OPTIONS ] OBJECT { COMMAND | help }\n"
	      "where  OBJECT := {",
	      to);
	for (const struct cli_cmd *c = cli_objects; c->name; c++) {
		if (!(c->flags & CMD_HIDDEN))
			fprintf(to, "%s %s", c == cli_objects ? "" : " |", c->name);
	}
	fputs(" }\n"
	      "       OPTIONS := { -V[ersion] | -j[son] | -p[retty] | -a[ll] | -s[ocket] PATH | "
	      "-h[elp] }\n\n",
	      to);
	for (const struct cli_cmd *c = cli_objects; c->name; c++) {
		if (!(c->flags & CMD_HIDDEN))
			fprintf(to, "  %-11s %s\n", c->name, c->help);
	}
}

/* Long and short form, with one dash or two, as iproute2 has it ("-json", "--json", "-j"). */
static bool is_option(const char *arg, const char *name)
{
	const char *s = arg + 1;

	if (*arg != '-')
		return false;
	if (*s == '-')
		s++;
	if (s == arg + 1 && strlen(s) == 1)
		return *s == *name;
	return !strcmp(s, name);
}

/* Returns words used, 0 when @argv[0] is no option of ours, or -1 to end with *@status. */
static int take_option(struct cli *cli, int argc, char **argv, int *status)
{
	*status = EXIT_OK;
	if (is_option(argv[0], "Version") || is_option(argv[0], "version")) {
		puts("uvdpa utility, uvdpa-" VDPA_VERSION);
		return -1;
	}
	if (is_option(argv[0], "help"))
		cli->help = true;
	else if (is_option(argv[0], "json"))
		cli->json = true;
	else if (is_option(argv[0], "pretty"))
		cli->pretty = true;
	else if (is_option(argv[0], "all"))
		cli->all = true;
	else if (!strcmp(argv[0], "--qemu-args"))
		cli->qemu_args = true;
	else if (!strcmp(argv[0], "-jp") || !strcmp(argv[0], "-pj"))
		cli->json = cli->pretty = true;
	else if (!is_option(argv[0], "socket"))
		return 0;
	else if (argc < 2) {
		fputs("uvdpa: --socket wants a path\n", stderr);
		*status = EXIT_USAGE;
		return -1;
	} else {
		cli->socket = argv[1];
		return 2;
	}
	return 1;
}

static int bad_option(const char *arg)
{
	fprintf(stderr, "uvdpa: option \"%s\" is not known; try \"uvdpa help\"\n", arg);
	return EXIT_USAGE;
}

/* "-1" is a value: a queue that is in no group. */
static bool looks_like_option(const char *arg)
{
	return arg[0] == '-' && arg[1] && !isdigit((unsigned char)arg[1]);
}

/*
 * Options may stand anywhere, but for commands that have options of their own. Returns the number
 * of words left at the front of @argv, or -1 with *@status.
 */
static int take_options(struct cli *cli, int argc, char **argv, bool to_word, int *status)
{
	int n = 0;

	for (int i = 0; i < argc;) {
		int used = 0;

		if (looks_like_option(argv[i])) {
			used = take_option(cli, argc - i, argv + i, status);
			if (used < 0)
				return -1;
			if (!used) {
				*status = bad_option(argv[i]);
				return -1;
			}
			i += used;
			continue;
		}
		if (to_word) {
			memmove(argv + n, argv + i, (size_t)(argc - i) * sizeof(*argv));
			return n + argc - i;
		}
		argv[n++] = argv[i++];
	}
	return n;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static char help_word[] = "help"; /* which commands with options of their own know, too */
	const struct cli_cmd *object;
	int status = EXIT_OK;

	argc = take_options(cli, argc, argv, true, &status);
	if (argc < 0)
		return status;
	if (!argc || cli->help || cli_is_prefix(argv[0], "help")) {
		help(stdout);
		return EXIT_OK;
	}
	object = cli_match(cli_objects, argv[0], "object");
	if (!object)
		return EXIT_USAGE;
	argc--;
	argv++;
	if (!(object->flags & CMD_RAW))
		argc = take_options(cli, argc, argv, false, &status);
	else if (argc && is_option(argv[0], "help"))
		argv[0] = help_word;
	return argc < 0 ? status : cli_run(cli, object, argc, argv);
}

/* A vhost-user program is found by its path alone: the names under which libvirt starts us. */
static const struct {
	const char *name, *class;
} programs[] = {
	{"uvdpa-vhost-user-blk", "blk"},
	{"uvdpa-vhost-user-net", "net"},
};

static int run_program(struct cli *cli, const char *class, int argc, char **argv)
{
	const struct cli_cmd *serve = cli_match(cli_objects, "serve", "object");
	char **words = calloc((size_t)argc + 2, sizeof(*words));
	char copy[8];
	int ret;

	if (!words)
		return EXIT_FAILED;
	snprintf(copy, sizeof(copy), "%s", class);
	words[0] = copy;
	memcpy(words + 1, argv + 1, (size_t)(argc - 1) * sizeof(*words));
	ret = cli_run(cli, serve, argc, words);
	free(words);
	return ret;
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	const char *class = NULL;
	int ret;

	for (size_t i = 0; argc && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (!strcmp(basename(argv[0]), programs[i].name))
			class = programs[i].class;
	}
	if (class)
		ret = run_program(&cli, class, argc, argv);
	else
		ret = argc ? run(&cli, argc - 1, argv + 1) : EXIT_USAGE;
	ctl_client_close(cli.client);
	if (fflush(stdout) && !ret) {
		perror("uvdpa: standard output");
		ret = EXIT_FAILED;
	}
	return ret;
}
