/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command: a superset of iproute2's vdpa. Words are matched as there: a prefix is enough. Where
 * a prefix fits several words, iproute2's own wins (scripts rely on it); among ours it is an error.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <uvdpa/types.h>

#define EXIT_OK 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

struct ctl_client;
struct cli_cmd;
struct vfu;

struct cli {
	const char *socket; /* NULL: the default */
	bool json, pretty, all;
	bool help;		       /* of the command, instead of running it */
	bool qemu_args;		       /* mdev show: what QEMU is to be given */
	struct ctl_client *client;     /* NULL: not connected yet */
	struct vfu *vfu;	       /* vfu: the device behind the socket */
	const struct cli_cmd *path[5]; /* words matched so far, for messages */
	unsigned depth;
};

#define CMD_COMPAT 1u  /* iproute2 has it */
#define CMD_DEFAULT 2u /* runs when no command is given */
#define CMD_RAW 4u     /* takes its options itself */
#define CMD_HIDDEN 8u  /* not in help */

struct cli_cmd {
	const char *name; /* NULL ends a table */
	unsigned flags;
	const char *args; /* synopsis of what follows the name */
	const char *help; /* one line */
	int (*run)(struct cli *cli, int argc, char **argv);
	const struct cli_cmd *sub; /* instead of run */
	/* Print candidates for the last of @argv, one a line; filtering by prefix is the shell's.
	 */
	void (*complete)(struct cli *cli, int argc, char **argv);
};

extern const struct cli_cmd cli_objects[];
extern const struct cli_cmd cli_dev_cmds[];
extern const struct cli_cmd cli_mgmtdev_cmds[];
extern const struct cli_cmd cli_cvq_cmds[];
extern const struct cli_cmd cli_group_cmds[];
extern const struct cli_cmd cli_as_cmds[];
extern const struct cli_cmd cli_bus_cmds[];
extern const struct cli_cmd cli_config_cmds[];
extern const struct cli_cmd cli_mdev_cmds[];
extern const struct cli_cmd cli_dsa_cmds[];
extern const struct cli_cmd cli_ims_cmds[];
extern const struct cli_cmd cli_vfu_cmds[];

/* ---- match.c ---- */

/* The entry that @word names, or NULL after a message on stderr. @what: "object", "command". */
const struct cli_cmd *cli_match(const struct cli_cmd *table, const char *word, const char *what);
bool cli_is_prefix(const char *word, const char *full);
/* Run @cmd (a table or a leaf) with what follows its name. */
int cli_run(struct cli *cli, const struct cli_cmd *cmd, int argc, char **argv);
void cli_help(const struct cli *cli, const struct cli_cmd *cmd, FILE *to);
/* Message, then where to find help: EXIT_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...) VDPA_PRINTF(2, 3);
/* -1 when @argc is within bounds, else EXIT_USAGE after a message. */
int cli_args(const struct cli *cli, int argc, int min, int max);

/* ---- call.c ---- */

/* Call the daemon; connects when needed. EXIT_OK, or EXIT_FAILED after a message on stderr. */
int cli_call(struct cli *cli, const char *method, json_t *params, json_t **result);
/* The same without messages, for completion: NULL on any error. */
json_t *cli_ask(struct cli *cli, const char *method, json_t *params);
int cli_error(const struct vdpa_error *err);
/*
 * What a command shows that takes no words: the caller's; or NULL when *@ret is its end already
 * (wrong words, an error, printed as JSON).
 */
json_t *cli_list(struct cli *cli, int argc, const char *method, int *ret);
/* Call a method that answers nothing of interest. */
int cli_do(struct cli *cli, const char *method, json_t *params);

/* ---- out.c ---- */

/* Print @root (the reference is taken) as JSON, compact or pretty. EXIT_OK. */
int cli_print_json(const struct cli *cli, json_t *root);
/* One value as text, control characters made harmless. */
void cli_print_value(const json_t *value);
/* " KEY VALUE" for each member of an object. */
void cli_print_pairs(const json_t *obj);
/* The value of member @key, as text; one called features, dev_features, ... has names of bits. */
void cli_print_member(const char *key, const json_t *value);
/* A line for each attribute, as the daemon describes them: type, help, what is allowed. */
void cli_print_attrs(const json_t *attrs);

/* ---- args.c ---- */

/*
 * KEY VALUE ... -> object. Stops at @stop (may be NULL) and tells how many words were used in
 * *@used. EXIT_OK or EXIT_USAGE.
 */
int cli_pairs(const struct cli *cli, int argc, char **argv, const char *stop, json_t **out,
	      int *used);
/*
 * Make relative paths in @attrs absolute: the daemon does not know our directory. @specs: arrays of
 * {name, type}, as the daemon describes attributes; ended by NULL. EXIT_OK or EXIT_FAILED.
 */
int cli_resolve_paths(json_t *attrs, const json_t *const *specs);
/* All of @word is a number, decimal, 0x or 0, of at most @max: 0, else -EINVAL. */
int cli_number(const char *word, uint64_t max, uint64_t *out);
/* Member of @list (array of objects) whose "name" is @name, or NULL. Borrowed. */
json_t *cli_named(const json_t *list, const char *name);
/* A file ("-": standard input) that holds one value. EXIT_OK, or EXIT_FAILED after a message. */
int cli_read_json(const char *path, json_t **doc);
/* Absolute form of @path in @buf. 0 or -errno. */
int cli_abs_path(const char *path, char *buf, size_t size);

/* ---- commands ---- */

int cmd_dev_show(struct cli *cli, int argc, char **argv);
int cmd_dev_config_show(struct cli *cli, int argc, char **argv);
int cmd_dev_vstats_show(struct cli *cli, int argc, char **argv);
int cmd_dev_add(struct cli *cli, int argc, char **argv);
int cmd_dev_set(struct cli *cli, int argc, char **argv);
int cmd_dev_bind(struct cli *cli, int argc, char **argv);
int cmd_dev_save(struct cli *cli, int argc, char **argv);
int cmd_dev_load(struct cli *cli, int argc, char **argv);
int cmd_cvq_state(struct cli *cli, int argc, char **argv);
int cmd_cvq_intercept(struct cli *cli, int argc, char **argv);
int cmd_migrate(struct cli *cli, int argc, char **argv);
int cmd_topology(struct cli *cli, int argc, char **argv);
int cmd_monitor(struct cli *cli, int argc, char **argv);
/* One line each. */
void cli_print_ranges(const json_t *ranges, const char *indent);
int cmd_iotlb_dump(struct cli *cli, int argc, char **argv);
int cmd_stats(struct cli *cli, int argc, char **argv);
int cmd_log(struct cli *cli, int argc, char **argv);
int cmd_drv(struct cli *cli, int argc, char **argv);
int cmd_pktgen(struct cli *cli, int argc, char **argv);
int cmd_bench(struct cli *cli, int argc, char **argv);
int cmd_raw(struct cli *cli, int argc, char **argv);
int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_vfu(struct cli *cli, int argc, char **argv);
int cmd_serve(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
int cmd_complete(struct cli *cli, int argc, char **argv);

void complete_device(struct cli *cli, int argc, char **argv);
void complete_dev_add(struct cli *cli, int argc, char **argv);
void complete_dev_set(struct cli *cli, int argc, char **argv);
void complete_dev_bind(struct cli *cli, int argc, char **argv);
void complete_mgmtdev(struct cli *cli, int argc, char **argv);
void complete_virtio(struct cli *cli, int argc, char **argv);
void complete_vfu(struct cli *cli, int argc, char **argv);
void complete_driver(struct cli *cli, int argc, char **argv);

#endif
