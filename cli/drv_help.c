// SPDX-License-Identifier: BSD-3-Clause
/* What "uvdpa drv" can be told, for help and for messages. */
#include <string.h>
#include "drv.h"

static const struct drv_cmd {
	const char *group, *name, *args, *help; /* group "": none */
} cmds[] = {
	{"", "info", "", "what it is, and its counters"},
	{"", "features", "", "what the device offers, and what was negotiated"},
	{"", "status", "", "status bits, generation, queues"},
	{"", "conform", "", "run each operation of the transport: pass or FAIL"},
	{"", "reset", "", "detach the driver, and reset the device"},
	{"", "attach", "", "attach the driver again"},
	{"", "vq-setup", "[ index N ] size N", "try a ring size; reset the device first"},
	{"config", "read", "OFFSET LEN", "bytes of the configuration space"},
	{"config", "write", "OFFSET hex DIGITS",
	 "write bytes of it; what the device does with them it decides"},
	{"blk", "info", "", "what the disk says of itself"},
	{"blk", "id", "", "serial number"},
	{"blk", "read", "OFFSET LEN [ file FILE ]", "show bytes, or copy them to FILE"},
	{"blk", "write", "OFFSET { text TEXT | hex DIGITS | file FILE }", "write bytes"},
	{"blk", "fill", "OFFSET LEN [ seed N ]", "write a pattern"},
	{"blk", "verify", "OFFSET LEN [ seed N ]", "read, and compare with the pattern"},
	{"blk", "flush", "", "bring what was written to stable storage"},
	{"blk", "discard", "OFFSET LEN", "give space back"},
	{"blk", "zero", "OFFSET LEN", "write zeroes"},
	{"net", "info", "", "what the NIC says of itself"},
	{"net", "ping", "[ count N ] [ size N ]",
	 "send packets to its own address one by one; fails when one is lost"},
	{"net", "pktgen", "[ count N ] [ size N ]",
	 "send packets to its own address as fast as they come back; fails when one is lost"},
	{"cvq", "promisc", "{ on | off }", "receive everything"},
	{"cvq", "allmulti", "{ on | off }", "receive all multicast"},
	{"cvq", "alluni", "{ on | off }", "receive all unicast"},
	{"cvq", "nomulti", "{ on | off }", "receive no multicast"},
	{"cvq", "nouni", "{ on | off }", "receive no unicast"},
	{"cvq", "nobcast", "{ on | off }", "receive no broadcast"},
	{"cvq", "mac", "MAC", "the NIC's own address"},
	{"cvq", "mac-table", "[ MAC ... ]", "what else is received: stations and groups"},
	{"cvq", "vlan", "{ add | del } ID", "VLANs that are received"},
	{"cvq", "announce-ack", "", "the announcement was made"},
	{"cvq", "mq", "PAIRS", "how many pairs of queues are used"},
	{"cvq", "offloads", "{ none | csum | tso4 | tso6 | ecn } ...",
	 "what is left to the driver"},
	{"cvq", "coal", "{ { rx | tx | vq N } PACKETS USECS | vq N }",
	 "how long notifications may wait; of one queue also how long they do"},
	{"cvq", "stats", "vq N [ control ]", "the device's counters of a queue"},
	{"cvq", "raw", "CLASS COMMAND [ hex DIGITS ] [ room N ]", "any command; shows its result"},
};

#define NCMDS (sizeof(cmds) / sizeof(cmds[0]))

static bool is_group(const char *word)
{
	return !strcmp(word, "blk") || !strcmp(word, "config") || !strcmp(word, "cvq") ||
	       !strcmp(word, "net");
}

static void print_cmd(const struct drv_cmd *cmd, bool first)
{
	printf("%s uvdpa drv VIRTIO %s%s%s%s%s\n             %s\n", first ? "Usage:" : "      ",
	       cmd->group, *cmd->group ? " " : "", cmd->name, *cmd->args ? " " : "", cmd->args,
	       cmd->help);
}

/* Commands of @group (NULL: of all) that are called @name (NULL: all). How many there were. */
static unsigned print_cmds(const char *group, const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; i < NCMDS; i++) {
		if ((group && strcmp(group, cmds[i].group)) || (name && strcmp(name, cmds[i].name)))
			continue;
		print_cmd(&cmds[i], !n++);
	}
	if (n)
		fputs("VIRTIO: a virtio device of the daemon (\"uvdpa drv\" lists them),\n"
		      "  by its name or that of its vDPA device, or\n"
		      "  --socket PATH [ --type blk | net ]: the back end behind a vhost-user "
		      "socket.\n"
		      "OFFSET and LEN are bytes; K, M, G and T are understood.\n",
		      stdout);
	return n;
}

bool drv_help(int argc, char **argv)
{
	const char *group = "";

	if (argc && is_group(argv[0])) {
		group = argv[0];
		argc--;
		argv++;
	}
	if (argc == 1 && !strcmp(argv[0], "help"))
		return print_cmds(*group ? group : NULL, NULL);
	/* Only right behind a command: further on it may be data. */
	return argc == 2 && !strcmp(argv[1], "help") && print_cmds(group, argv[0]);
}

int drv_unknown(const struct drv_target *t, const char *group, const char *word)
{
	char list[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < NCMDS && used < sizeof(list); i++) {
		if (!strcmp(cmds[i].group, group))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
						 used ? ", " : "", cmds[i].name);
	}
	if (!*group && used < sizeof(list))
		snprintf(list + used, sizeof(list) - used, ", blk, config, cvq, net");
	if (!word)
		return cli_usage(t->cli, "%s%sa command is missing; there are: %s, help", group,
				 *group ? ": " : "", list);
	return cli_usage(t->cli, "%s%s\"%s\" is not known; there are: %s, help", group,
			 *group ? " " : "", word, list);
}
