/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods. A table entry says what a method takes; its handler starts with checked parameters, and
 * ends the call exactly once, now or later, with rpc_ok() or rpc_fail().
 */
#ifndef DAEMON_RPC_H
#define DAEMON_RPC_H

#include <jansson.h>
#include "ctl/params.h"
#include "daemon.h"

struct conn;
struct rpc_method;

struct rpc_call {
	struct daemon *d;
	struct conn *conn; /* held */
	json_t *id;	   /* NULL: the caller wants no answer */
	json_t *params;	   /* an object */
	const struct rpc_method *method;
};

struct rpc_method {
	const char *name; /* NULL ends a table */
	const char *help;
	void (*fn)(struct rpc_call *call);
	const struct ctl_param *params; /* NULL: none */
};

/* One table per file of handlers. */
extern const struct rpc_method rpc_dev_methods[];
extern const struct rpc_method rpc_show_methods[];
extern const struct rpc_method rpc_state_methods[];
extern const struct rpc_method rpc_mgmt_methods[];
extern const struct rpc_method rpc_bus_methods[];
extern const struct rpc_method rpc_config_methods[];
extern const struct rpc_method rpc_debug_methods[];
extern const struct rpc_method rpc_drv_methods[];
extern const struct rpc_method rpc_daemon_methods[];
extern const struct rpc_method rpc_dsa_methods[];
extern const struct rpc_method rpc_mdev_methods[];

/* @result: its reference is taken; NULL becomes null. Ends @call. */
void rpc_ok(struct rpc_call *call, json_t *result);
/* @ret: -errno. Ends @call. */
void rpc_fail(struct rpc_call *call, int ret, const struct vdpa_error *err);
/* Whichever @ret says; @result is dropped on an error. */
void rpc_end(struct rpc_call *call, int ret, json_t *result, const struct vdpa_error *err);

/* The device that parameter "name" names; NULL: the call has ended with an error. */
struct vdpa_device *rpc_device(struct rpc_call *call);
const char *rpc_str(const struct rpc_call *call, const char *name);

/* server_params.line. @arg: struct daemon. */
void rpc_line(void *arg, struct conn *conn, char *line, size_t len);
/* All methods, for rpc.describe. */
json_t *rpc_describe(void);
/* Send a notification to the subscribers. @params: its reference is taken. */
void rpc_event(struct daemon *d, json_t *params);

#endif
