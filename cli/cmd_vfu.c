// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa vfu: a device behind a socket of vfio-user by hand, as a VMM sees it. It needs no daemon,
 * and the server may be anybody's. Commands of one line share one connection: most servers give a
 * new client a device that was reset.
 */
#include <string.h>
#include "vfu.h"

static const struct cli_cmd region_cmds[] = {
	{"show", CMD_DEFAULT, "[ REGION ]", "sizes, what may be mapped, doorbells",
	 cmd_vfu_region_show, NULL, NULL},
	{"read", 0, "REGION OFFSET SIZE", "one access", cmd_vfu_region_read, NULL, NULL},
	{"write", 0, "REGION OFFSET SIZE VALUE", "one access of 1, 2, 4 or 8 bytes",
	 cmd_vfu_region_write, NULL, NULL},
	{NULL},
};

static const struct cli_cmd irq_cmds[] = {
	{"show", CMD_DEFAULT, "", "interrupts", cmd_vfu_irq_show, NULL, NULL},
	{NULL},
};

static const struct cli_cmd dma_cmds[] = {
	{"map", 0, "IOVA SIZE", "lend new memory to the device", cmd_vfu_dma_map, NULL, NULL},
	{"unmap", 0, "IOVA SIZE", "take it back", cmd_vfu_dma_unmap, NULL, NULL},
	{"read", 0, "IOVA SIZE", "of the memory that is lent", cmd_vfu_dma_read, NULL, NULL},
	{"write", 0, "IOVA SIZE VALUE", "to it", cmd_vfu_dma_write, NULL, NULL},
	{NULL},
};

static const struct cli_cmd migrate_cmds[] = {
	{"show", CMD_DEFAULT, "", "what the device can, and its state", cmd_vfu_migrate_show, NULL,
	 NULL},
	{"save", 0, "FILE", "stop it, write its state to FILE, let it run", cmd_vfu_migrate_save,
	 NULL, NULL},
	{"load", 0, "FILE", "stop it, give it the state, let it run", cmd_vfu_migrate_load, NULL,
	 NULL},
	{NULL},
};

const struct cli_cmd cli_vfu_cmds[] = {
	{"info", CMD_DEFAULT, "", "regions, interrupts, what it can", cmd_vfu_info, NULL, NULL},
	{"region", 0, "", "regions", NULL, region_cmds, NULL},
	{"irq", 0, "", "interrupts", NULL, irq_cmds, NULL},
	{"config", 0, "", "configuration space, as lspci -F reads it", cmd_vfu_config, NULL, NULL},
	{"caps", 0, "", "capabilities in the configuration space", cmd_vfu_caps, NULL, NULL},
	{"reset", 0, "", "reset the device", cmd_vfu_reset, NULL, NULL},
	{"dma", 0, "", "memory for the device", NULL, dma_cmds, NULL},
	{"migrate", 0, "", "its state", NULL, migrate_cmds, NULL},
	{"sleep", 0, "MS", "wait, at most ten seconds", cmd_vfu_sleep, NULL, NULL},
	{NULL},
};

static const struct cli_cmd socket_cmd = {
	"SOCKET", 0, "", "a device behind a socket of vfio-user", NULL, cli_vfu_cmds, NULL};

/* The words up to the next "," are a command. */
static int run_commands(struct cli *cli, int argc, char **argv)
{
	const unsigned depth = cli->depth;
	int ret = EXIT_OK, n;

	do {
		for (n = 0; n < argc && strcmp(argv[n], ","); n++) {
		}
		cli->depth = depth;
		ret = cli_run(cli, &socket_cmd, n, argv);
		n = n < argc ? n + 1 : n;
		argc -= n;
		argv += n;
	} while (!ret && argc);
	return ret;
}

int cmd_vfu(struct cli *cli, int argc, char **argv)
{
	struct vfu v = {.path = argv[0]};
	int ret = cli_args(cli, argc, 1, 1000);

	if (ret >= 0)
		return ret;
	v.out = json_array();
	cli->vfu = &v;
	ret = run_commands(cli, argc - 1, argv + 1);
	if (cli->json && json_array_size(v.out))
		cli_print_json(cli, json_incref(v.out));
	json_decref(v.out);
	vfio_user_client_free(v.client);
	cli_vfu_drop_memory(&v);
	cli->vfu = NULL;
	return ret;
}
