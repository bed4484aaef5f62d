/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's log: lines to stderr with "<N>" priorities, and the last ones kept for "uvdpa log".
 */
#ifndef DAEMON_LOGRING_H
#define DAEMON_LOGRING_H

#include <jansson.h>
#include <pthread.h>
#include <uvdpa/log.h>

#define LOGRING_LINES 512
#define LOGRING_TEXT 240

struct logring_line {
	uint64_t seq;
	int64_t time_ns; /* CLOCK_REALTIME */
	int level;
	char object[48];
	char text[LOGRING_TEXT];
};

struct logring {
	pthread_mutex_t lock;
	struct logring_line line[LOGRING_LINES];
	uint64_t next;	  /* number of the next line */
	uint64_t dropped; /* not written to stderr: its reader does not keep up */
	struct vdpa_log log;
};

/* @level: of what is written to stderr and kept. */
void logring_init(struct logring *ring, enum vdpa_log_level level);
void logring_fini(struct logring *ring);
/* Lines from number @since on, at most @max of the newest. Array, new reference. */
json_t *logring_json(struct logring *ring, uint64_t since, unsigned max);

#endif
