/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include <uvdpa/log.h>

#define OPTIONS_FDS_MAX 4
#define OPTIONS_CPUS_MAX 256

struct options {
	char socket[PATH_MAX]; /* "": none asked for */
	mode_t mode;
	uid_t uid; /* (uid_t)-1: not given */
	gid_t gid;
	int fd[OPTIONS_FDS_MAX];
	unsigned nfds;
	int ready_fd;				/* -1: none */
	const char *config;			/* NULL: none */
	const char *mdev_dir, *mdev_socket_dir; /* NULL: none */
	const char *plugin_dir;			/* NULL: none */
	const char *sysfs;			/* NULL: none */
	unsigned workers, max_clients;
	uint16_t cpu[OPTIONS_CPUS_MAX]; /* of workers, in turn */
	unsigned ncpus;			/* 0: the system chooses */
	enum vdpa_log_level level;
	const char *vduse; /* endpoint for device processes; NULL: none */
	const char *vduse_mode, *vduse_owner;
};

/* Returns -1 to go on, else the exit status (after --help, --version, or a usage error on stderr).
 */
int options_parse(struct options *opt, int argc, char **argv);

#endif
