// SPDX-License-Identifier: BSD-3-Clause
/*
 * Completion. The shell's script knows nothing: it hands the words over and gets candidates, so
 * that it never goes out of date, and devices, drivers and their attributes are the daemon's own.
 */
#include <string.h>
#include "cli.h"
#include "uvdpa-config.h"

static const char script[] =
	"# bash completion of uvdpa: source this, or put it where bash-completion looks\n"
	"_uvdpa()\n"
	"{\n"
	"\tlocal IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} words=()\n"
	"\t# Words are split at blanks alone here: names and addresses have colons.\n"
	"\tIFS=$' \\t' read -r -a words <<<\"$line\"\n"
	"\tcase $line in *[[:blank:]]) words+=('') ;; esac\n"
	"\tlocal last=${words[${#words[@]}-1]}\n"
	"\tCOMPREPLY=($(compgen -W \"$(\"${words[0]}\" complete \"${words[@]:1}\" 2>/dev/null)\" "
	"-- \"$last\"))\n"
	"\tif [ ${#COMPREPLY[@]} -eq 1 ] && [ \"${COMPREPLY[0]}\" = @path ]; then COMPREPLY=(); "
	"fi\n"
	"\t# What was completed before the last colon is on the line already.\n"
	"\tif [[ $last == *:* && $COMP_WORDBREAKS == *:* ]]; then\n"
	"\t\tCOMPREPLY=(\"${COMPREPLY[@]#\"${last%\"${last##*:}\"}\"}\")\n"
	"\tfi\n"
	"}\n"
	"complete -o default -F _uvdpa uvdpa\n";

int cmd_completion(struct cli *cli, int argc, char **argv)
{
	if (argc != 1 || strcmp(argv[0], "bash"))
		return cli_usage(cli, "bash is the one shell that is known");
	fputs(script, stdout);
	return EXIT_OK;
}

static void print_names(const json_t *list)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));

		if (name)
			puts(name);
	}
}

static void names_of(struct cli *cli, const char *method)
{
	json_t *list = cli_ask(cli, method, NULL);

	print_names(list);
	json_decref(list);
}

void complete_device(struct cli *cli, int argc, char **argv)
{
	(void)argv;
	if (argc == 1)
		names_of(cli, "dev.show");
}

void complete_mgmtdev(struct cli *cli, int argc, char **argv)
{
	(void)argv;
	if (argc == 1)
		names_of(cli, "mgmtdev.show");
}

void complete_driver(struct cli *cli, int argc, char **argv)
{
	(void)argv;
	if (argc == 1)
		names_of(cli, "bus.drivers");
}

void complete_virtio(struct cli *cli, int argc, char **argv)
{
	static const char *const ops[] = {"info",   "features", "status",   "conform",
					  "reset",  "attach",	"vq-setup", "blk",
					  "config", "cvq",	"net",	    NULL};
	static const char *const config[] = {"read", "write", NULL};
	static const char *const cvq[] = {"promisc", "allmulti",     "alluni", "nomulti",
					  "nouni",   "nobcast",	     "mac",    "mac-table",
					  "vlan",    "announce-ack", "mq",     "offloads",
					  "coal",    "stats",	     "raw",    NULL};
	static const char *const blk[] = {"info",   "id",    "read",	"write", "fill",
					  "verify", "flush", "discard", "zero",	 NULL};
	static const char *const net[] = {"info", "ping", "pktgen", NULL};
	const char *const *words = NULL;

	if (argc == 1)
		names_of(cli, "drv.show");
	else if (argc == 2)
		words = ops;
	else if (argc == 3)
		words = !strcmp(argv[1], "blk")	     ? blk
			: !strcmp(argv[1], "config") ? config
			: !strcmp(argv[1], "cvq")    ? cvq
			: !strcmp(argv[1], "net")    ? net
						     : NULL;
	while (words && *words)
		puts(*words++);
}

/* The choices of attribute @name, or nothing. */
static void print_choices(const json_t *attrs, const char *name)
{
	json_t *choice;
	size_t i;

	json_array_foreach(json_object_get(cli_named(attrs, name), "choices"), i, choice)
		puts(json_string_value(choice));
}

static const char *value_of(int argc, char **argv, const char *key)
{
	for (int i = 0; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], key))
			return argv[i + 1];
	}
	return NULL;
}

/* KEY VALUE ... of a driver; @argc counts the word that is being typed. */
static void driver_pairs(struct cli *cli, const char *driver, int argc, char **argv)
{
	json_t *drivers = cli_ask(cli, "bus.drivers", NULL);
	const json_t *attrs = json_object_get(cli_named(drivers, driver), "attrs");

	if (argc % 2)
		print_names(attrs);
	else
		print_choices(attrs, argv[argc - 2]);
	json_decref(drivers);
}

void complete_dev_bind(struct cli *cli, int argc, char **argv)
{
	int skip = argc > 1 && !strcmp(argv[1], "driver") ? 2 : 1;

	if (argc == 1)
		complete_device(cli, argc, argv);
	else if (argc == skip + 1)
		names_of(cli, "bus.drivers");
	else if (argc > skip + 1)
		driver_pairs(cli, argv[skip], argc - skip - 1, argv + skip + 1);
}

static void device_keys(struct cli *cli, const char *mgmtdev, const char *backend)
{
	static const char *const words[] = {"name",    "mgmtdev",	  "mac",    "mtu",
					    "max_vqp", "device_features", "driver", NULL};
	json_t *mgmt = cli_ask(cli, "mgmtdev.show", json_pack("{s:b}", "all", 1));
	json_t *backends = cli_ask(cli, "backend.show", NULL);

	for (const char *const *w = words; *w; w++)
		puts(*w);
	print_names(json_object_get(cli_named(mgmt, mgmtdev), "attrs"));
	print_names(json_object_get(cli_named(backends, backend), "attrs"));
	json_decref(mgmt);
	json_decref(backends);
}

static void device_values(struct cli *cli, const char *mgmtdev, const char *key)
{
	json_t *mgmt = NULL;

	if (!strcmp(key, "mgmtdev")) {
		names_of(cli, "mgmtdev.show");
		return;
	}
	mgmt = cli_ask(cli, "mgmtdev.show", json_pack("{s:b}", "all", 1));
	print_choices(json_object_get(cli_named(mgmt, mgmtdev), "attrs"), key);
	if (!strcmp(key, "backend"))
		names_of(cli, "backend.show");
	json_decref(mgmt);
}

void complete_dev_add(struct cli *cli, int argc, char **argv)
{
	const char *mgmtdev = value_of(argc - 1, argv, "mgmtdev");
	int i = 0;

	while (i + 1 < argc && strcmp(argv[i], "driver"))
		i += 2;
	if (i + 1 < argc && argc == i + 2)
		names_of(cli, "bus.drivers");
	else if (i + 1 < argc)
		driver_pairs(cli, argv[i + 1], argc - i - 2, argv + i + 2);
	else if (argc % 2)
		device_keys(cli, mgmtdev, value_of(argc - 1, argv, "backend"));
	else
		device_values(cli, mgmtdev, argv[argc - 2]);
}

void complete_dev_set(struct cli *cli, int argc, char **argv)
{
	json_t *backends = cli_ask(cli, "backend.show", NULL);
	const char *key = argc % 2 ? NULL : argv[argc - 2];

	if (!key) {
		puts("name\nmac\nbusyloop\nworkers\nintercept\nbackend");
		print_names(json_object_get(
			cli_named(backends, value_of(argc - 1, argv, "backend")), "attrs"));
	} else if (!strcmp(key, "name")) {
		complete_device(cli, 1, argv);
	} else if (!strcmp(key, "backend")) {
		print_names(backends);
	}
	json_decref(backends);
}

static void print_table(const struct cli_cmd *table)
{
	for (; table->name; table++) {
		if (!(table->flags & CMD_HIDDEN))
			puts(table->name);
	}
}

static const struct cli_cmd *entry(const struct cli_cmd *table, const char *word)
{
	const struct cli_cmd *hit = NULL;

	for (; table->name; table++) {
		if (!strcmp(table->name, word))
			return table;
		if (cli_is_prefix(word, table->name) && (!hit || table->flags & CMD_COMPAT))
			hit = hit && hit->flags & CMD_COMPAT ? hit : table;
	}
	return hit;
}

#ifdef VDPA_HAVE_VFIO_USER
/* After the socket: commands with "," between. */
void complete_vfu(struct cli *cli, int argc, char **argv)
{
	const struct cli_cmd *table = cli_vfu_cmds, *cmd = NULL;

	(void)cli;
	if (argc == 1)
		puts("@path");
	for (int i = 1; i + 1 < argc; i++) {
		cmd = table && strcmp(argv[i], ",") ? entry(table, argv[i]) : NULL;
		table = !strcmp(argv[i], ",") ? cli_vfu_cmds : cmd ? cmd->sub : NULL;
	}
	if (table && argc > 1)
		print_table(table);
}
#endif

int cmd_complete(struct cli *cli, int argc, char **argv)
{
	const struct cli_cmd *table = cli_objects, *cmd = NULL;

	/* Options of ours come first or last; they are not completed. */
	while (argc > 1 && argv[0][0] == '-') {
		int used = !strcmp(argv[0], "-s") || !strcmp(argv[0], "--socket") ? 2 : 1;

		if (used == 2 && argc > 2)
			cli->socket = argv[1];
		argc -= used;
		argv += used;
	}
	while (argc > 1 && table) {
		cmd = entry(table, argv[0]);
		table = cmd ? cmd->sub : NULL;
		argc--;
		argv++;
	}
	if (table && argc == 1)
		print_table(table);
	else if (cmd && cmd->complete && argc > 0)
		cmd->complete(cli, argc, argv);
	return EXIT_OK;
}
