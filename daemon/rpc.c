// SPDX-License-Identifier: BSD-3-Clause
/* JSON-RPC 2.0: a line becomes a call, a call becomes an answer. Batches are not accepted: lines
 * are the batch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/json.h"
#include "ctl/proto.h"
#include "devs.h"
#include "rpc.h"
#include "server.h"
#include "uvdpa-config.h"

static const struct rpc_method *const tables[] = {
	rpc_mgmt_methods, rpc_dev_methods,    rpc_show_methods,
	rpc_bus_methods,  rpc_config_methods, rpc_debug_methods,
	rpc_drv_methods,  rpc_daemon_methods, rpc_state_methods,
#ifdef VDPA_HAVE_MDEV
	rpc_mdev_methods,
#endif
#ifdef VDPA_HAVE_DSA_DEV
	rpc_dsa_methods,
#endif
};

#define NTABLES (sizeof(tables) / sizeof(tables[0]))

static const struct rpc_method *find_method(const char *name)
{
	for (size_t i = 0; i < NTABLES; i++) {
		for (const struct rpc_method *m = tables[i]; m->name; m++) {
			if (!strcmp(m->name, name))
				return m;
		}
	}
	return NULL;
}

json_t *rpc_describe(void)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < NTABLES; i++) {
		for (const struct rpc_method *m = tables[i]; m->name; m++)
			json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", m->name,
							      "help", m->help, "params",
							      ctl_params_json(m->params)));
	}
	return list;
}

static void send_json(struct conn *conn, json_t *msg, json_t *id)
{
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(msg);
	if (len && len <= CTL_REPLY_MAX) {
		conn_send(conn, text, len);
	} else {
		json_t *sorry =
			json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error",
				  "code", CTL_E_FAILED, "message",
				  len ? "the answer is too long: ask for less" : "out of memory");
		char *small = sorry ? json_dumps(sorry, JSON_COMPACT) : NULL;

		if (small)
			conn_send(conn, small, strlen(small));
		else
			conn_hang_up(conn);
		free(small);
		json_decref(sorry);
	}
	free(text);
}

static void send_error(struct conn *conn, json_t *id, int code, json_t *data, const char *msg)
{
	json_t *error = json_pack("{s:i, s:o}", "code", code, "message", ctl_json_text(msg));

	if (error && data)
		json_object_set(error, "data", data);
	send_json(conn, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "error", error),
		  id);
}

static void end_call(struct rpc_call *call)
{
	call->d->calls--;
	conn_release(call->conn);
	json_decref(call->id);
	json_decref(call->params);
	free(call);
}

void rpc_ok(struct rpc_call *call, json_t *result)
{
	if (!result)
		result = json_null();
	if (call->id)
		send_json(call->conn,
			  json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", call->id, "result",
				    result),
			  call->id);
	else
		json_decref(result);
	end_call(call);
}

void rpc_fail(struct rpc_call *call, int ret, const struct vdpa_error *err)
{
	json_t *data = json_pack("{s:s}", "errno", ctl_errno_name(-ret));
	const char *msg = err && *err->msg ? err->msg : strerror(-ret);

	if (data && err && *err->object)
		json_object_set_new(data, "object", ctl_json_text(err->object));
	if (call->id)
		send_error(call->conn, call->id, CTL_E_FAILED, data, msg);
	json_decref(data);
	end_call(call);
}

void rpc_end(struct rpc_call *call, int ret, json_t *result, const struct vdpa_error *err)
{
	if (!ret) {
		rpc_ok(call, result);
		return;
	}
	json_decref(result);
	rpc_fail(call, ret, err);
}

const char *rpc_str(const struct rpc_call *call, const char *name)
{
	return ctl_get_str(call->params, name, NULL);
}

struct vdpa_device *rpc_device(struct rpc_call *call)
{
	struct vdpa_error err = {0};
	struct vdpa_device *vdev = devs_find(call->d, rpc_str(call, "name"), &err);

	if (!vdev)
		rpc_fail(call, -ENODEV, &err);
	return vdev;
}

/* A request that names no method of ours, or gives it wrong parameters. */
static void refuse(struct conn *conn, json_t *id, int code, const struct vdpa_error *err)
{
	json_t *data =
		*err->object ? json_pack("{s:o}", "object", ctl_json_text(err->object)) : NULL;

	send_error(conn, id, code, data, err->msg);
	json_decref(data);
}

static void start_call(struct daemon *d, struct conn *conn, json_t *req,
		       const struct rpc_method *method)
{
	json_t *id = json_object_get(req, "id"), *params = json_object_get(req, "params");
	struct vdpa_error err = {0};
	struct rpc_call *call;

	params = params ? json_incref(params) : json_object();
	if (ctl_params_check(method->params, params, method->name, &err)) {
		if (id)
			refuse(conn, id, CTL_E_PARAMS, &err);
		json_decref(params);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call || !params) {
		vdpa_error_set(&err, ENOMEM, NULL, "out of memory");
		refuse(conn, id ? id : json_null(), CTL_E_FAILED, &err);
		json_decref(params);
		free(call);
		return;
	}
	*call = (struct rpc_call){
		.d = d, .conn = conn, .id = json_incref(id), .params = params, .method = method};
	conn_hold(conn);
	d->calls++;
	method->fn(call);
}

/* Is it a request? Section 4 of JSON-RPC 2.0; positional parameters are not accepted. */
static int check_request(json_t *req, struct vdpa_error *err)
{
	const char *version = json_string_value(json_object_get(req, "jsonrpc"));
	const json_t *id = json_object_get(req, "id");
	const json_t *params = json_object_get(req, "params");

	if (!json_is_object(req))
		return vdpa_error_set(err, EINVAL, NULL, "a request is one JSON object per line");
	if (!version || strcmp(version, "2.0"))
		return vdpa_error_set(err, EINVAL, NULL, "\"jsonrpc\" must be \"2.0\"");
	if (!json_is_string(json_object_get(req, "method")))
		return vdpa_error_set(err, EINVAL, NULL, "\"method\" must be a string");
	if (id && !json_is_string(id) && !json_is_integer(id))
		return vdpa_error_set(err, EINVAL, NULL,
				      "\"id\" must be a string or a whole number");
	if (params && !json_is_object(params))
		return vdpa_error_set(err, EINVAL, NULL, "\"params\" must be an object");
	return 0;
}

static void handle(struct daemon *d, struct conn *conn, json_t *req)
{
	const char *name = json_string_value(json_object_get(req, "method"));
	const struct rpc_method *method = find_method(name);
	json_t *id = json_object_get(req, "id");
	struct vdpa_error err = {0};

	if (method) {
		start_call(d, conn, req, method);
	} else if (id) {
		vdpa_error_set(&err, ENOENT, NULL,
			       "method \"%s\" is not known; rpc.describe lists them", name);
		refuse(conn, id, CTL_E_METHOD, &err);
	}
}

void rpc_line(void *arg, struct conn *conn, char *line, size_t len)
{
	struct vdpa_error err = {0};
	json_t *null = json_null();
	json_t *req;

	if (len && line[len - 1] == '\r')
		len--;
	if (!len)
		return;
	req = ctl_json_parse(line, len, &err);
	if (!req)
		refuse(conn, null, CTL_E_PARSE, &err);
	else if (check_request(req, &err))
		refuse(conn, null, CTL_E_REQUEST, &err);
	else
		handle(arg, conn, req);
	json_decref(req);
}

void rpc_event(struct daemon *d, json_t *params)
{
	json_t *msg =
		json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	if (text)
		server_broadcast(d->server, text, strlen(text));
	free(text);
	json_decref(msg);
}
