// SPDX-License-Identifier: BSD-3-Clause
/*
 * Bind and unbind. A bind creates the device in the kernel, or finds there the one that a daemon
 * left behind when it died, and begins to attach it; settle() waits for the end of that. An unbind
 * takes everything back in the opposite order.
 */
#include "driver/vduse_export/export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define DESTROY_NS 20000000ull
#define DESTROY_TRIES 250u
#define ENDPOINT_TRIES 10u
#define ENDPOINT_TIMEOUT_MS 10000u
#define LOG_DIRECTORY "/run/uvdpa"

/* ---- what loops tell ---- */

static void event(struct vdpa_loop_msg *msg)
{
	struct vde *d = vdpa_container_of(msg, struct vde, event_msg);

	atomic_store(&d->event_posted, false);
	if (!d->lfd.loop)
		return;
	vde_memory_misses(d);
	if (atomic_exchange(&d->config_changed, false))
		vde_push_config(d, true);
}

void vde_post(struct vde *d)
{
	if (!atomic_exchange(&d->event_posted, true))
		vdpa_loop_post(vdpa_ctx_control(d->vdev->ctx), &d->event_msg, event);
}

static void config_changed(void *priv)
{
	struct vde *d = priv;

	atomic_store(&d->config_changed, true);
	vde_post(d);
}

void vde_broke(struct vde *d)
{
	const char *why = d->endpoint
				  ? "the endpoint has cut us off, or has ended: unbind it, and "
				    "bind it again"
				  : "the kernel waited too long for an answer (msg_timeout), and "
				    "has given the device up: unbind it, and bind it again";

	vde_messages_stop(d);
	d->broken = true;
	vdpa_dev_log(d->vdev, VDPA_LOG_ERR, "vduse: %s", why);
	vdpa_notify(d->vdev, VDPA_EVENT_BROKEN, why);
}

/* ---- birth ---- */

static void vde_free(struct vde *d)
{
	vde_device_close(d);
	vduse_client_close(&d->control);
	pthread_mutex_destroy(&d->conn_lock);
	vhost_vdpa_free(d->v);
	pthread_mutex_destroy(&d->miss_lock);
	free(d->vq);
	free(d->faulting);
	free(d->config);
	free(d->miss);
	free(d);
}

static int vde_alloc(struct vdpa_device *vdev, struct vde **out)
{
	struct vhost_vdpa_params params = {.size = sizeof(params),
					   .flags = VHOST_VDPA_F_LIVE_RINGS};
	struct vde *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->vdev = vdev;
	d->fd = d->conn = d->log.fd = -1;
	d->control = (struct vduse_client){-1, -1};
	pthread_mutex_init(&d->conn_lock, NULL);
	d->nvqs = vdev->nvqs;
	d->limit = (struct vdpa_ratelimit)VDPA_RATELIMIT_INIT;
	pthread_mutex_init(&d->miss_lock, NULL);
	d->vq = calloc(d->nvqs, sizeof(*d->vq));
	d->miss = calloc((size_t)VDE_MISSES * d->nvqs, sizeof(*d->miss));
	d->faulting = calloc(vdev->nas, sizeof(*d->faulting));
	d->config = calloc(1, VDUSE_CONFIG_MAX);
	ret = d->vq && d->miss && d->faulting && d->config ? vhost_vdpa_new(vdev, &params, &d->v)
							   : -ENOMEM;
	if (ret) {
		vde_free(d);
		return ret;
	}
	for (uint32_t i = 0; i < d->nvqs; i++) {
		d->vq[i].d = d;
		d->vq[i].idx = i;
		d->vq[i].early_fd = -1;
	}
	*out = d;
	return 0;
}

/* What the device is, for the kernel and for the log. */
static int describe(struct vde *d, const struct vdpa_attr *attrs, uint64_t api,
		    struct vdpa_error *err)
{
	const char *given = vdpa_attr_get(attrs, "name"), *name = given ? given : d->vdev->name;
	struct vdpa_device *vdev = d->vdev;
	size_t config = vdpa_get_config_size(vdev);

	if (!*name || strlen(name) >= VDUSE_NAME_BYTES || strchr(name, '/') || *name == '.' ||
	    !strcmp(name, "control"))
		return vdpa_error_set(err, EINVAL, NULL,
				      "the kernel's device cannot be called \"%.80s\"", name);
	if (config > VDUSE_CONFIG_MAX || vdev->ngroups > VDE_GROUPS_MAX ||
	    vdev->nvqs > VDUSE_VQS_MAX)
		return vdpa_error_set(
			err, EOPNOTSUPP, NULL,
			"%zu bytes of configuration and %u groups; VDUSE has room for "
			"%u, and this for %u",
			config, vdev->ngroups, VDUSE_CONFIG_MAX, VDE_GROUPS_MAX);
	strcpy(d->id.name, name);
	d->id.api = api;
	d->id.device_id = vdpa_get_device_id(vdev);
	d->id.features = vde_features(vdev, vdpa_attr_bool(attrs, "packed", true), d->endpoint);
	d->id.nvqs = d->nvqs;
	d->id.num_max = vdpa_get_vq_num_max(vdev);
	d->id.config_bytes = (uint32_t)config;
	d->id.ngroups = vdev->ngroups;
	d->id.nas = vdev->nas;
	d->added = d->id.features & ~vdpa_get_device_features(vdev);
	return config ? vdpa_read_config(vdev, 0, d->config, (unsigned)config, NULL) : 0;
}

/* ---- the end of the attachment ---- */

static void settle_end(struct vde *d, enum vde_state state, int result)
{
	struct vdpa_done done = d->settle;

	d->state = state;
	d->settled_result = result;
	d->settle = (struct vdpa_done){0};
	if (d->settle_err && result)
		vdpa_error_set(d->settle_err, -result, d->vdev->name, "%s", d->why.msg);
	d->settle_err = NULL;
	vdpa_done_call(&done, result);
}

static void failed(struct vde *d, int result)
{
	vdpa_dev_log(d->vdev, VDPA_LOG_ERR, "vduse: %s", d->why.msg);
	settle_end(d, VDE_FAILED, result);
}

static int settle(struct vdpa_device *vdev, struct vdpa_error *err, const struct vdpa_done *done)
{
	struct vde *d = vdpa_get_drvdata(vdev);

	if (d->settle.fn)
		return -EBUSY;
	d->settle = *done;
	d->settle_err = err;
	if (d->state == VDE_ATTACHED || d->state == VDE_FAILED)
		settle_end(d, d->state, d->settled_result);
	return 0;
}

/* ---- attach ---- */

static void detach_start(struct vde *d);

static void attached(struct vde_job *job)
{
	struct vde *d = vdpa_container_of(job, struct vde, job);

	d->job_runs = false;
	memcpy(d->node, job->node, sizeof(d->node));
	if (d->removing) {
		detach_start(d);
		return;
	}
	d->why = job->err;
	if (job->result) {
		failed(d, job->result);
		return;
	}
	vdpa_dev_log(d->vdev, VDPA_LOG_INFO, "vduse: is %s in the kernel", d->node);
	vdpa_notify(d->vdev, VDPA_EVENT_CHANGE, d->node);
	settle_end(d, VDE_ATTACHED, 0);
}

static int job_start(struct vde *d, bool detach, void (*done)(struct vde_job *job))
{
	struct vde_job *job = &d->job;
	int ret;

	job->control = vdpa_ctx_control(d->vdev->ctx);
	job->done = done;
	job->detach = detach;
	memcpy(job->name, d->id.name, sizeof(job->name));
	job->driver = d->kernel_driver;
	job->device_id = d->id.device_id;
	ret = vde_job_start(job);
	d->job_runs = !ret;
	return ret;
}

/* To an endpoint: who runs that puts it on the bus. */
static void offered(struct vde *d)
{
	snprintf(d->node, sizeof(d->node), "%.63s", d->id.name);
	vdpa_dev_log(d->vdev, VDPA_LOG_INFO, "vduse: is served at %s", d->endpoint);
	settle_end(d, VDE_ATTACHED, 0);
}

static int go_live(struct vde *d)
{
	struct vdpa_callback cb = {.callback = config_changed, .priv = d, .trigger = -1};
	int ret = vhost_vdpa_set_owner(d->v);

	vhost_vdpa_set_config_cb(d->v, &cb);
	for (unsigned i = 0; i < d->vdev->nas; i++)
		vde_memory_listen(d, i);
	if (!ret)
		ret = vde_restore(d);
	if (ret == -EPERM)
		vdpa_error_set(&d->why, EPERM, NULL,
			       "the kernel had given up the device that was there before: it is "
			       "removed; bind again");
	if (!ret)
		ret = vde_messages_start(d);
	if (!ret && d->endpoint)
		offered(d);
	else if (!ret)
		ret = job_start(d, false, attached);
	return ret;
}

/* Our device is reset. */
static void opened(void *arg, int result)
{
	struct vde *d = arg;

	d->state = VDE_ATTACHING;
	if (d->removing) {
		detach_start(d);
		return;
	}
	if (!result)
		result = go_live(d);
	if (!result)
		return;
	if (!d->why.msg[0])
		vdpa_error_set(&d->why, -result, NULL, "the device cannot be started: %s",
			       strerror(-result));
	failed(d, result);
}

/* ---- bind ---- */

static int create(struct vde *d, const char *log, struct vdpa_error *err)
{
	int ret = vde_log_open(&d->log, log, &d->id, false, err);

	if (ret)
		return ret;
	ret = vde_create(d, err);
	if (ret) {
		vde_log_close(&d->log, true);
		return ret;
	}
	ret = vde_device_open(d, err);
	if (!ret)
		ret = vde_setup_vqs(d, err);
	if (!ret)
		return 0;
	vde_device_close(d);
	vde_destroy(d);
	vde_log_close(&d->log, true);
	return ret;
}

static int adopt(struct vde *d, const char *log, struct vdpa_error *err)
{
	int ret = vde_log_open(&d->log, log, &d->id, true, err);

	if (ret) {
		vde_device_close(d);
		return ret;
	}
	vdpa_dev_log(d->vdev, VDPA_LOG_INFO, "vduse: goes on with /dev/vduse/%s", d->id.name);
	/* Where the last one did not get that far; refused where it did, which is as well. */
	vde_setup_vqs(d, NULL);
	return 0;
}

static int find_or_create(struct vde *d, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	const char *log = vdpa_attr_get(attrs, "log");
	char path[VDE_PATH_BYTES];
	int ret;

	if (!log) {
		mkdir(LOG_DIRECTORY, 0755);
		snprintf(path, sizeof(path), LOG_DIRECTORY "/vduse-%s.log", d->id.name);
		log = path;
	}
	ret = vde_device_open(d, err);
	if (ret == -ENOENT)
		return create(d, log, err);
	return ret ? ret : adopt(d, log, err);
}

/* Everything that is taken back at once when the rest of the bind fails. */
static int bind(struct vde *d, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	uint64_t api;
	int ret;

	d->endpoint = vdpa_attr_get(attrs, "endpoint");
	d->control.timeout_ms =
		(unsigned)vdpa_attr_u64(attrs, "endpoint_timeout_ms", ENDPOINT_TIMEOUT_MS);
	ret = vde_control_open(d->endpoint, &d->control, &api, err);
	if (ret)
		return ret;
	d->kernel_driver = vdpa_attr_get(attrs, "kernel_driver");
	ret = describe(d, attrs, api, err);
	if (!ret)
		ret = find_or_create(d, attrs, err);
	return ret;
}

static int probe(struct vdpa_device *vdev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct vde *d;
	int ret = vde_alloc(vdev, &d);

	if (ret)
		return vdpa_error_set(err, -ret, vdev->name, "%s", strerror(-ret));
	ret = bind(d, attrs, err);
	if (ret) {
		vde_free(d);
		return ret;
	}
	vdpa_set_drvdata(vdev, d);
	ret = vhost_vdpa_open(d->v, &(struct vdpa_done){opened, d});
	if (ret) {
		vdpa_error_set(&d->why, -ret, NULL, "the device cannot be opened: %s",
			       strerror(-ret));
		failed(d, ret);
	}
	return 0;
}

/* ---- unbind ---- */

static void removal_ends(struct vde *d, int result)
{
	struct vdpa_done done = d->removed;

	vde_log_close(&d->log, !d->left);
	vdpa_set_drvdata(d->vdev, NULL);
	vde_free(d);
	vdpa_done_call(&done, result);
}

static void try_destroy(struct vdpa_loop_timer *timer)
{
	struct vde *d = vdpa_container_of(timer, struct vde, retry);
	int ret = vde_destroy(d);

	if (ret == -EBUSY && ++d->retries < (d->endpoint ? ENDPOINT_TRIES : DESTROY_TRIES)) {
		vdpa_loop_timer_set(vdpa_ctx_control(d->vdev->ctx), &d->retry,
				    vdpa_clock_ns() + DESTROY_NS, try_destroy);
		return;
	}
	d->left = ret != 0;
	/* It is on the bus there, and waits for the next process; or the endpoint has ended. */
	if ((ret == -EBUSY || ret == -ENODEV) && d->endpoint)
		ret = 0;
	if (ret)
		vdpa_dev_log(d->vdev, VDPA_LOG_ERR, "vduse: /dev/vduse/%s stays in the kernel: %s",
			     d->id.name, strerror(-ret));
	removal_ends(d, ret);
}

/* No loop has it any more. */
static void passed(struct vdpa_loop_sync *sync)
{
	struct vde *d = vdpa_container_of(sync, struct vde, sync);

	vde_device_close(d);
	if (d->left)
		removal_ends(d, -EBUSY);
	else
		try_destroy(&d->retry);
}

static void released(void *arg, int result)
{
	struct vde *d = arg;

	for (unsigned i = 0; i < d->vdev->nas; i++)
		vdpa_set_miss(d->vdev, i, NULL, NULL);
	vde_vrings_stopped(d);
	vdpa_loop_group_sync(vdpa_ctx_loops(d->vdev->ctx), &d->sync, passed);
}

static void close_device(struct vde *d)
{
	int ret;

	vde_messages_stop(d);
	ret = vhost_vdpa_release(d->v, &(struct vdpa_done){released, d});
	if (ret)
		released(d, ret);
}

void vde_answered(struct vde *d)
{
	if (d->removing && d->detached)
		close_device(d);
}

static void detached(struct vde_job *job)
{
	struct vde *d = vdpa_container_of(job, struct vde, job);

	d->job_runs = false;
	d->left = job->result == -EBUSY;
	if (job->result)
		vdpa_dev_log(d->vdev, VDPA_LOG_ERR, "vduse: %s",
			     job->err.msg[0] ? job->err.msg : strerror(-job->result));
	d->detached = true;
	if (!d->pending)
		close_device(d);
}

static void detach_start(struct vde *d)
{
	int ret;

	d->state = VDE_GOING;
	ret = d->endpoint ? 0 : job_start(d, true, detached);
	if (!ret && !d->endpoint)
		return;
	d->job.result = ret;
	detached(&d->job);
}

static void remove_dev(struct vdpa_device *vdev, const struct vdpa_done *done)
{
	struct vde *d = vdpa_get_drvdata(vdev);
	bool opening = d->state == VDE_OPENING;

	d->removing = true;
	d->removed = *done;
	atomic_store(&d->job.cancel, true);
	vdpa_error_set(&d->why, ECANCELED, NULL, "unbound meanwhile");
	if (d->settle.fn)
		settle_end(d, d->state, -ECANCELED);
	/* Else what is under way comes back first. */
	if (!opening && !d->job_runs)
		detach_start(d);
}

/* ---- show ---- */

static void show_number(vdpa_emit_fn emit, void *arg, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	emit(arg, key, text);
}

static void show(struct vdpa_device *vdev, vdpa_emit_fn emit, void *arg)
{
	static const char *const states[] = {[VDE_OPENING] = "opening",
					     [VDE_ATTACHING] = "attaching",
					     [VDE_ATTACHED] = "attached",
					     [VDE_FAILED] = "failed",
					     [VDE_GOING] = "detaching"};
	const struct vde *d = vdpa_get_drvdata(vdev);
	uint64_t calls = 0;
	char names[768];

	if (!d)
		return;
	for (uint32_t i = 0; i < d->nvqs; i++)
		calls += atomic_load_explicit(&d->vq[i].calls, memory_order_relaxed);
	emit(arg, "node", d->node);
	emit(arg, "kernel_name", d->id.name);
	emit(arg, "state", d->broken ? "broken" : states[d->state]);
	show_number(emit, arg, "api", d->id.api);
	emit(arg, "log", d->log.path);
	emit(arg, "offered",
	     vdpa_feature_names(d->id.device_id, d->id.features, names, sizeof(names)));
	emit(arg, "features",
	     vdpa_feature_names(d->id.device_id, vdpa_get_driver_features(vdev), names,
				sizeof(names)));
	emit(arg, "status", vdpa_status_names(vdpa_get_status(vdev), names, sizeof(names)));
	show_number(emit, arg, "messages", d->messages);
	show_number(emit, arg, "calls", calls);
	show_number(emit, arg, "regions", d->regions);
	show_number(emit, arg, "misses", d->misses);
	show_number(emit, arg, "faults", d->faults);
}

/* ---- table ---- */

static const char *const kernel_drivers[] = {"virtio_vdpa", "vhost_vdpa", NULL};

static const struct vdpa_attr_spec attrs[] = {
	{.name = "kernel_driver",
	 .type = VDPA_ATTR_ENUM,
	 .choices = kernel_drivers,
	 .help = "the kernel's driver for it (default: the one loaded first)"},
	{.name = "endpoint",
	 .type = VDPA_ATTR_PATH,
	 .help = "socket of a daemon (uvdpad --vduse) instead of the kernel's VDUSE"},
	{.name = "endpoint_timeout_ms",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 3600000,
	 .help = "time that the endpoint has for an answer (default 10000)"},
	{.name = "name",
	 .type = VDPA_ATTR_STRING,
	 .help = "what the kernel calls it (default: the device's name)"},
	{.name = "packed", .type = VDPA_ATTR_BOOL, .help = "offer RING_PACKED (default on)"},
	{.name = "log",
	 .type = VDPA_ATTR_PATH,
	 .help = "file that keeps its state while no daemon runs (default "
		 "/run/uvdpa/vduse-NAME.log)"},
	{.name = NULL},
};

static const struct vdpa_driver driver = {
	.name = "vduse",
	.help = "put a device on the host kernel's vDPA bus",
	.attrs = attrs,
	.probe = probe,
	.settle = settle,
	.remove = remove_dev,
	.show = show,
};

const struct vdpa_driver *vduse_export_driver(void)
{
	return &driver;
}
