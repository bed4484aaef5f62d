/* SPDX-License-Identifier: BSD-3-Clause */
/* uvdpa vfu: what its files share. */
#ifndef CLI_VFU_H
#define CLI_VFU_H

#include <uvdpa/vfio_user.h>
#include "cli.h"

#define VFU_ACCESS_MAX (1u << 20)
#define VFU_CONFIG_MAX 4096u

struct vfu_memory;

/* One connection, which all commands of a line use. */
struct vfu {
	const char *path;
	struct vfio_user_client *client; /* NULL: not connected yet */
	struct vfio_user_device_info info;
	struct vfu_memory *mems; /* that we lend to the device */
	json_t *out;		 /* with -j: what the commands answered */
};

/* ---- vfu.c ---- */

/* Connect when that was not done yet: EXIT_OK, or EXIT_FAILED after a message. */
int cli_vfu_open(struct cli *cli);
/* The same for a command without words; or EXIT_USAGE when there are some. */
int cli_vfu_begin(struct cli *cli, int argc);
/* @err (-errno) of a request: EXIT_FAILED after a message. */
int cli_vfu_failed(const struct cli *cli, int err);
/* What a command answers (taken; NULL: nothing), by @print unless it is to be JSON. EXIT_OK. */
int cli_vfu_answer(struct cli *cli, json_t *value, void (*print)(const json_t *value));
/* "KEY VALUE" lines. */
void cli_vfu_print_lines(const json_t *obj);
/* Names that linux/vfio.h gives to regions and interrupts of PCI; NULL: there is none. */
const char *cli_vfu_region_name(const struct vfu *v, unsigned region);
const char *cli_vfu_irq_name(const struct vfu *v, unsigned irq);
/* A region's name or number. EXIT_OK or EXIT_USAGE. */
int cli_vfu_region_arg(const struct cli *cli, const char *word, unsigned *region);
/* As cli_number(), with a message: EXIT_OK or EXIT_USAGE. */
int cli_vfu_number_arg(const struct cli *cli, const char *what, const char *word, uint64_t *out);
/* @data as hexadecimal digits; NULL without memory. */
json_t *cli_vfu_hex(const uint8_t *data, size_t len);
/* The same as lspci -x has it: 16 bytes a line. */
void cli_vfu_print_bytes(const char *hex);

/* ---- vfu_show.c ---- */

int cmd_vfu_info(struct cli *cli, int argc, char **argv);
int cmd_vfu_region_show(struct cli *cli, int argc, char **argv);
int cmd_vfu_irq_show(struct cli *cli, int argc, char **argv);
int cmd_vfu_config(struct cli *cli, int argc, char **argv);
int cmd_vfu_caps(struct cli *cli, int argc, char **argv);

/* ---- vfu_do.c ---- */

int cmd_vfu_region_read(struct cli *cli, int argc, char **argv);
int cmd_vfu_region_write(struct cli *cli, int argc, char **argv);
int cmd_vfu_reset(struct cli *cli, int argc, char **argv);
int cmd_vfu_dma_map(struct cli *cli, int argc, char **argv);
int cmd_vfu_dma_unmap(struct cli *cli, int argc, char **argv);
int cmd_vfu_dma_read(struct cli *cli, int argc, char **argv);
int cmd_vfu_dma_write(struct cli *cli, int argc, char **argv);
void cli_vfu_drop_memory(struct vfu *v);
int cmd_vfu_sleep(struct cli *cli, int argc, char **argv);

/* ---- vfu_migrate.c ---- */

/* What of migration the device has: an array of names; NULL: nothing, or *@err. */
json_t *cli_vfu_migration(struct vfu *v, int *err);
int cmd_vfu_migrate_show(struct cli *cli, int argc, char **argv);
int cmd_vfu_migrate_save(struct cli *cli, int argc, char **argv);
int cmd_vfu_migrate_load(struct cli *cli, int argc, char **argv);

#endif
