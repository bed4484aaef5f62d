/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's end of the control protocol: one call at a time, waiting for the answer. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <jansson.h>
#include <uvdpa/types.h>

struct ctl_client;

/** 0, or -errno with @err. */
int ctl_client_open(const char *path, struct ctl_client **out, struct vdpa_error *err);
void ctl_client_close(struct ctl_client *client);
/** Nanoseconds that a call waits for its answer; 0: without end (the default). */
void ctl_client_set_timeout(struct ctl_client *client, uint64_t timeout_ns);
/**
 * Call @method with @params (an object, or NULL; the reference is taken). The answer's result: a
 * new reference in *@result (may be NULL). A failed operation gives -errno with @err as the daemon
 * filled it.
 */
int ctl_client_call(struct ctl_client *client, const char *method, json_t *params, json_t **result,
		    struct vdpa_error *err);
/** The next notification's params: a new reference. -EPIPE at the end of the connection. */
int ctl_client_next(struct ctl_client *client, json_t **params, struct vdpa_error *err);

#endif
