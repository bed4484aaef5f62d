/* SPDX-License-Identifier: BSD-3-Clause */
/* "uvdpa drv": what carries out an operation, and the words that name it. */
#ifndef CLI_DRV_H
#define CLI_DRV_H

#include "cli.h"

struct vdpa_ctx;
struct virtio_device;

struct drv_target {
	struct cli *cli;
	const char *name; /* virtio device of the daemon; NULL: over @socket, in this process */
	const char *socket;
	uint32_t device_id; /* with @socket */
	struct vdpa_ctx *ctx;
	struct virtio_device *dev;
};

/* @params: the reference is taken; may be NULL. EXIT_OK or EXIT_FAILED after a message. */
int drv_exec(struct drv_target *t, const char *op, json_t *params, json_t **result);
/* Connect to the socket. EXIT_OK or EXIT_FAILED. */
int drv_connect(struct drv_target *t);
void drv_disconnect(struct drv_target *t);

/* Print help when @argv, which begins with a command, asks for it. */
bool drv_help(int argc, char **argv);
/* Say what there is instead of @word (NULL: nothing was given). EXIT_USAGE. */
int drv_unknown(const struct drv_target *t, const char *group, const char *word);
int drv_words(struct drv_target *t, int argc, char **argv);
int drv_blk_words(struct drv_target *t, int argc, char **argv);
int drv_cvq_words(struct drv_target *t, int argc, char **argv);
/* A number of bytes, with suffix. EXIT_OK or EXIT_USAGE. */
int drv_size(const struct cli *cli, const char *what, const char *word, uint64_t *out);

#endif
