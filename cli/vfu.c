// SPDX-License-Identifier: BSD-3-Clause
/* uvdpa vfu: what its commands share: the connection, how they answer, and their words. */
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
