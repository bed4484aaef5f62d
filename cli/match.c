// SPDX-License-Identifier: BSD-3-Clause
/* Words to commands, and help. */
#include <stdarg.h>
#include <string.h>
#include "cli.h"

bool cli_is_prefix(const char *word, const char *full)
{
	return *word && !strncmp(word, full, strlen(word));
}

static void list_candidates(const struct cli_cmd *table, const char *word)
{
	const char *sep = "";

	for (; table->name; table++) {
		if ((*word && !cli_is_prefix(word, table->name)) || table->flags & CMD_HIDDEN)
			continue;
		fprintf(stderr, "%s%s", sep, table->name);
		sep = ", ";
	}
	fputc('\n', stderr);
}

const struct cli_cmd *cli_match(const struct cli_cmd *table, const char *word, const char *what)
{
	const struct cli_cmd *hit = NULL, *compat = NULL;
	unsigned n = 0;

	for (const struct cli_cmd *c = table; c->name; c++) {
		if (!strcmp(word, c->name))
			return c;
		if (!cli_is_prefix(word, c->name) || c->flags & CMD_HIDDEN)
			continue;
		hit = c;
		n++;
		if (c->flags & CMD_COMPAT && !compat)
			compat = c;
	}
	if (compat || n == 1)
		return compat ? compat : hit;
	if (n) {
		fprintf(stderr, "uvdpa: %s \"%s\" is ambiguous: ", what, word);
		list_candidates(table, word);
	} else {
		fprintf(stderr, "uvdpa: %s \"%s\" is not known; there are: ", what, word);
		list_candidates(table, "");
	}
	return NULL;
}

static void print_path(const struct cli *cli, FILE *to)
{
	fputs("uvdpa", to);
	for (unsigned i = 0; i < cli->depth; i++)
		fprintf(to, " %s", cli->path[i]->name);
}

static void help_line(const struct cli *cli, const struct cli_cmd *cmd, FILE *to)
{
	print_path(cli, to);
	fprintf(to, "%s%s\n", *cmd->args ? " " : "", cmd->args);
}

void cli_help(const struct cli *cli, const struct cli_cmd *cmd, FILE *to)
{
	fputs("Usage: ", to);
	if (!cmd->sub) {
		help_line(cli, cmd, to);
		fprintf(to, "       %s\n", cmd->help);
		return;
	}
	print_path(cli, to);
	fputs(" { ", to);
	for (const struct cli_cmd *c = cmd->sub; c->name; c++) {
		if (!(c->flags & CMD_HIDDEN))
			fprintf(to, "%s | ", c->name);
	}
	fputs("help }\n", to);
	for (const struct cli_cmd *c = cmd->sub; c->name; c++) {
		if (c->flags & CMD_HIDDEN)
			continue;
		fputs("       ", to);
		print_path(cli, to);
		fprintf(to, " %s%s%s\n", c->name, *c->args ? " " : "", c->args);
	}
}

static const struct cli_cmd *find_default(const struct cli_cmd *table)
{
	for (; table->name; table++) {
		if (table->flags & CMD_DEFAULT)
			return table;
	}
	return NULL;
}

int cli_run(struct cli *cli, const struct cli_cmd *cmd, int argc, char **argv)
{
	const struct cli_cmd *next;

	cli->path[cli->depth++] = cmd;
	if ((argc && !(cmd->flags & CMD_RAW) && cli_is_prefix(argv[0], "help")) ||
	    (cli->help && (!argc || !cmd->sub))) {
		cli_help(cli, cmd, stdout);
		return EXIT_OK;
	}
	if (!cmd->sub)
		return cmd->run(cli, argc, argv);
	if (!argc) {
		next = find_default(cmd->sub);
		if (next)
			return cli_run(cli, next, 0, argv);
		cli_help(cli, cmd, stderr);
		return EXIT_USAGE;
	}
	next = cli_match(cmd->sub, argv[0], "command");
	return next ? cli_run(cli, next, argc - 1, argv + 1) : EXIT_USAGE;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	const struct cli_cmd *cmd = cli->path[cli->depth - 1];
	va_list ap;

	fputs("uvdpa: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nUsage: ", stderr);
	help_line(cli, cmd, stderr);
	return EXIT_USAGE;
}

int cli_args(const struct cli *cli, int argc, int min, int max)
{
	if (argc < min)
		return cli_usage(cli, "something is missing");
	if (argc > max)
		return cli_usage(cli, "too many words");
	return -1;
}
