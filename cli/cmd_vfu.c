// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa vfu: a device behind a socket of vfio-user by hand, as a VMM sees it. It needs no daemon,
 * and the server may be anybody's. Commands of one line share one connection: most servers give a
 * new client a device that was reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/vfio.h>
#include "ctl/json.h"
#include "vfu.h"

#define TIMEOUT_NS 10000000000ull
#define TIMEOUT_TEXT "10 s"

/* ---- the connection ---- */

static int no_connection(const struct vfu *v, int err, const struct vdpa_error *why)
{
	const bool named = !strncmp(why->msg, v->path, strlen(v->path));

	fprintf(stderr, "uvdpa: %s%s%s%s\n", named ? "" : v->path, named ? "" : ": ", why->msg,
		err == -ETIMEDOUT ? " after " TIMEOUT_TEXT
				    "; a server takes one client at a time: has it another one?"
				  : "");
	return EXIT_FAILED;
}

int cli_vfu_open(struct cli *cli)
{
	struct vfu *v = cli->vfu;
	struct vdpa_error err = {0};
	int r;

	if (v->client)
		return EXIT_OK;
	r = vfio_user_client_new(v->path, TIMEOUT_NS, &v->client, &err);
	if (r)
		return no_connection(v, r, &err);
	r = vfio_user_get_info(v->client, &v->info);
	return r ? cli_vfu_failed(cli, r) : EXIT_OK;
}

int cli_vfu_begin(struct cli *cli, int argc)
{
	int ret = cli_args(cli, argc, 0, 0);

	return ret >= 0 ? ret : cli_vfu_open(cli);
}

int cli_vfu_failed(const struct cli *cli, int err)
{
	const char *name = ctl_errno_name(-err);

	fprintf(stderr, "uvdpa: %s:", cli->vfu->path);
	for (unsigned i = 2; i < cli->depth; i++)
		fprintf(stderr, " %s", cli->path[i]->name);
	fputs(": ", stderr);
	if (err == -ETIMEDOUT)
		fputs("no answer came within " TIMEOUT_TEXT, stderr);
	else if (err == -EPROTO)
		fputs("the answer cannot be; the connection has ended", stderr);
	else if (err == -ENOTTY)
		fputs("the device has no such feature (ENOTTY)", stderr);
	else if (err == -EIO)
		fputs("the server has gone, or says EIO", stderr);
	else
		fprintf(stderr, "%s (%s)", strerror(-err), name ? name : "?");
	fputc('\n', stderr);
	return EXIT_FAILED;
}

/* ---- what comes out ---- */

int cli_vfu_answer(struct cli *cli, json_t *value, void (*print)(const json_t *value))
{
	char words[64] = "";
	size_t at = 0;

	for (unsigned i = 2; i < cli->depth && at < sizeof(words); i++)
		at += (size_t)snprintf(words + at, sizeof(words) - at, "%s%s", i > 2 ? " " : "",
				       cli->path[i]->name);
	if (cli->json)
		json_array_append_new(cli->vfu->out,
				      json_pack("{s:s, s:O*}", "command", words, "value", value));
	else if (print)
		print(value);
	json_decref(value);
	return EXIT_OK;
}

void cli_vfu_print_lines(const json_t *obj)
{
	const char *key;
	json_t *value;

	/* Reads only. */
	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		printf("%s ", key);
		cli_print_value(value);
		putchar('\n');
	}
}

json_t *cli_vfu_hex(const uint8_t *data, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *hex;

	if (!text)
		return NULL;
	text[0] = 0;
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	hex = json_string(text);
	free(text);
	return hex;
}

void cli_vfu_print_bytes(const char *hex)
{
	for (size_t i = 0; hex && hex[2 * i]; i++) {
		if (i % 16 == 0)
			printf("%s%02zx:", i ? "\n" : "", i);
		printf(" %.2s", hex + 2 * i);
	}
	putchar('\n');
}

/* ---- words ---- */

static const char *const region_names[] = {"bar0", "bar1", "bar2", "bar3", "bar4",
					   "bar5", "rom",  "cfg",  "vga"};
static const char *const irq_names[] = {"intx", "msi", "msix", "err", "req"};

#define COUNT(names) ((unsigned)(sizeof(names) / sizeof((names)[0])))

static bool is_pci(const struct vfu *v)
{
	return v->info.flags & VFIO_DEVICE_FLAGS_PCI;
}

const char *cli_vfu_region_name(const struct vfu *v, unsigned region)
{
	return is_pci(v) && region < COUNT(region_names) ? region_names[region] : NULL;
}

const char *cli_vfu_irq_name(const struct vfu *v, unsigned irq)
{
	return is_pci(v) && irq < COUNT(irq_names) ? irq_names[irq] : NULL;
}

int cli_vfu_region_arg(const struct cli *cli, const char *word, unsigned *region)
{
	uint64_t number;

	for (*region = 0; *region < COUNT(region_names); ++*region) {
		if (!strcmp(word, region_names[*region]))
			return EXIT_OK;
	}
	if (cli_number(word, UINT32_MAX, &number))
		return cli_usage(cli, "\"%s\": a region is bar0 to bar5, rom, cfg, vga or a number",
				 word);
	*region = (unsigned)number;
	return EXIT_OK;
}

int cli_vfu_number_arg(const struct cli *cli, const char *what, const char *word, uint64_t *out)
{
	return cli_number(word, UINT64_MAX, out)
		       ? cli_usage(cli, "%s \"%s\": a number is allowed, also as 0x...", what, word)
		       : EXIT_OK;
}

/* ---- the commands ---- */

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
