// SPDX-License-Identifier: BSD-3-Clause
/* The daemon's device, or one of our own at the end of a vhost-user socket. */
#include <errno.h>
#include <string.h>
#include <uvdpa/vhost_user.h>
#include "ctl/drv.h"
#include "drv.h"

struct wait {
	bool ended;
	int ret;
	json_t *result;
	struct vdpa_error err;
};

static void ended(void *arg, int ret, json_t *result, const struct vdpa_error *err)
{
	struct wait *w = arg;

	w->ended = true;
	w->ret = ret;
	w->result = result;
	if (err)
		w->err = *err;
}

static int exec_here(struct drv_target *t, const char *name, json_t *params, json_t **result)
{
	const struct drv_op *op = drv_find(name);
	json_t *p = params ? params : json_object();
	struct wait w = {0};
	int ret = ctl_params_check(op->params, p, name, &w.err);

	if (!ret) {
		op->fn(t->dev, p, ended, &w);
		ret = vdpa_ctx_wait(t->ctx, &w.ended, -1);
	}
	json_decref(p);
	if (!ret)
		ret = w.ret;
	if (ret)
		return cli_error(&w.err);
	*result = w.result;
	return EXIT_OK;
}

int drv_exec(struct drv_target *t, const char *op, json_t *params, json_t **result)
{
	json_t *call;

	*result = NULL;
	if (!t->name)
		return exec_here(t, op, params, result);
	call = json_pack("{s:s, s:s}", "name", t->name, "op", op);
	if (params)
		json_object_set_new(call, "params", params);
	return cli_call(t->cli, "drv.call", call, result);
}

static void print_log(void *arg, enum vdpa_log_level level, const char *object, const char *msg)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "uvdpa: %s%s%s\n", object, *object ? ": " : "", msg);
}

int drv_connect(struct drv_target *t)
{
	struct vdpa_ctx_config config = {
		.size = sizeof(config),
		.log = {.fn = print_log, .level = VDPA_LOG_WARN},
	};
	struct vhost_user_frontend_config front = {
		.size = sizeof(front),
		.path = t->socket,
		.fd = -1,
		.device_id = t->device_id,
	};
	struct vdpa_error err = {0};
	int ret = vdpa_ctx_new(&config, &t->ctx);

	if (!ret)
		ret = vhost_user_frontend_new(t->ctx, &front, &t->dev, &err);
	if (!ret)
		return EXIT_OK;
	if (!*err.msg)
		vdpa_error_set(&err, -ret, t->socket, "%s", strerror(-ret));
	return cli_error(&err);
}

static void freed(void *arg, int result)
{
	(void)result;
	*(bool *)arg = true;
}

void drv_disconnect(struct drv_target *t)
{
	bool gone = false;

	if (t->dev) {
		vhost_user_frontend_free(t->dev, &(struct vdpa_done){freed, &gone});
		vdpa_ctx_wait(t->ctx, &gone, 10000000000ll);
	}
	if (t->ctx)
		vdpa_ctx_free(t->ctx);
}
