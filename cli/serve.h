/* SPDX-License-Identifier: BSD-3-Clause */
/* "uvdpa serve": one device, one process, no daemon; the conventions of vhost-user back-end
 * programs. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include <uvdpa/vdpa.h>

#define SERVE_ATTRS_MAX 32

struct serve_class {
	const char *name;	  /* "blk" */
	const char *mgmtdev;	  /* "soft_blk" */
	const char *capabilities; /* JSON for --print-capabilities */
};

struct serve_options {
	const struct serve_class *class;
	const char *name;
	unsigned workers;
	int ready_fd; /* -1: none */
	enum vdpa_log_level level;
	bool exit_on_disconnect;
	bool have_socket;
	struct vdpa_attr dev[SERVE_ATTRS_MAX + 1], drv[SERVE_ATTRS_MAX + 1];
	unsigned ndev, ndrv;
	char fd_text[16];
};

/* -1 to go on, else the exit status. @argv[0] is the class. */
int serve_parse(struct serve_options *opt, int argc, char **argv);

#endif
