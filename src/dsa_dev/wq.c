// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues of types kernel and user: their drivers, and who has one open (uvdpa/dsa_wq.h). Whoever
 * opens one has a queue object and a space of its own on the engines of the queue's group; entries
 * are counted for all of a shared queue together, as it has them once.
 *
 *	enabled --disable--> leaving --last client closes--> disabled
 *
 * Of leaving its driver is told first, then its clients.
 *
 * Who attacks: nobody. This is for code in this process, which could do anything anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsa_dev/dev_impl.h"

struct driver_entry {
	struct list node;
	const struct dsa_wq_driver *is;
};

struct dsa_wq_client {
	struct list node;
	struct dsa_wq *wq;
	struct dsa_wq_params params;
	struct dsa_engine *engine;
	struct dsa_space *space;
	struct dsa_queue *queue;
	uint32_t pasid;
	unsigned room; /* in flight in the whole queue, for this one to submit more */
	bool closing;
	struct dsa_wait wait;
	struct vdpa_loop_msg msg;
	struct vdpa_done closed;
};

/* ---- drivers ---- */

static const struct dsa_wq_driver built_in[] = {
	{.name = "user", .help = "queues of type user: for whoever opens them"},
	{.name = "mdev", .help = "queues of type mdev: for mediated devices"},
};
#define BUILT_IN (sizeof(built_in) / sizeof(built_in[0]))
#define USER_DRIVER (&built_in[0])

static struct driver_entry *find_entry(struct dsa_devs *devs, const char *name)
{
	struct driver_entry *entry;

	list_for_each_entry (entry, &devs->drivers, node) {
		if (!strcmp(entry->is->name, name))
			return entry;
	}
	return NULL;
}

static bool is_reserved(const char *name)
{
	for (unsigned i = 0; i < BUILT_IN; i++) {
		if (!strcmp(built_in[i].name, name))
			return true;
	}
	return !strcmp(name, "none") || !name[0] || strlen(name) >= DSA_TEXT;
}

int dsa_wq_register_driver(struct vdpa_ctx *ctx, const struct dsa_wq_driver *driver,
			   struct vdpa_error *err)
{
	struct dsa_devs *devs = dsa_devs(ctx);
	struct driver_entry *entry;

	if (driver->size < sizeof(*driver) || !driver->name || !driver->help || !driver->probe ||
	    is_reserved(driver->name))
		return vdpa_error_set(err, EINVAL, driver->name,
				      "a driver has size, help, probe, and a name of its own");
	if (devs && find_entry(devs, driver->name))
		return vdpa_error_set(err, EEXIST, driver->name,
				      "a driver of this name is registered already");
	entry = devs ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry)
		return vdpa_error_set(err, ENOMEM, driver->name, "no memory");
	entry->is = driver;
	list_add_tail(&devs->drivers, &entry->node);
	return 0;
}

static bool is_used(struct dsa_devs *devs, const struct dsa_wq_driver *driver)
{
	struct dsa_dev *dev;

	list_for_each_entry (dev, &devs->list, node) {
		for (unsigned i = 0; i < dev->nwqs; i++) {
			if (dev->wqs[i].bound == driver)
				return true;
		}
	}
	return false;
}

int dsa_wq_unregister_driver(struct vdpa_ctx *ctx, const struct dsa_wq_driver *driver)
{
	struct dsa_devs *devs = dsa_devs(ctx);
	struct driver_entry *entry = devs ? find_entry(devs, driver->name) : NULL;

	if (!entry || entry->is != driver)
		return -ENOENT;
	if (is_used(devs, driver))
		return -EBUSY;
	list_del(&entry->node);
	free(entry);
	return 0;
}

void dsa_wq_free_drivers(struct dsa_devs *devs)
{
	struct list *node;

	while ((node = list_pop(&devs->drivers)))
		free(list_entry(node, struct driver_entry, node));
}

void dsa_wq_for_each_driver(struct vdpa_ctx *ctx,
			    void (*fn)(void *arg, const char *name, const char *help), void *arg)
{
	struct dsa_devs *devs = dsa_devs(ctx);
	struct driver_entry *entry;

	for (unsigned i = 0; i < BUILT_IN; i++)
		fn(arg, built_in[i].name, built_in[i].help);
	if (!devs)
		return;
	list_for_each_entry (entry, &devs->drivers, node)
		fn(arg, entry->is->name, entry->is->help);
}

static const char *driver_name(const struct dsa_wq *wq)
{
	static const char *const names[] = {[DSA_WQ_USER] = "user", [DSA_WQ_MDEV] = "mdev"};

	return wq->type == DSA_WQ_KERNEL ? wq->driver : names[wq->type];
}

const char *dsa_wq_driver_name(struct vdpa_ctx *ctx, const char *path)
{
	struct dsa_path p;

	if (dsa_resolve(ctx, path, &p, NULL) || p.kind != DSA_IS_WQ)
		return NULL;
	return driver_name(&p.dev->wqs[p.index]);
}

static const struct dsa_wq_driver *find_driver(struct vdpa_ctx *ctx, const char *name)
{
	struct dsa_devs *devs = dsa_devs(ctx);
	struct driver_entry *entry = devs ? find_entry(devs, name) : NULL;

	for (unsigned i = 0; i < BUILT_IN; i++) {
		if (!strcmp(built_in[i].name, name))
			return &built_in[i];
	}
	return entry ? entry->is : NULL;
}

bool dsa_wq_driver_exists(struct vdpa_ctx *ctx, const char *name)
{
	return find_driver(ctx, name);
}

/* ---- enabled and disabled ---- */

/* The last one has closed it. */
static void check_left(struct dsa_wq *wq)
{
	struct vdpa_done left = wq->left;

	if (wq->state != DSA_WQ_LEAVING || !list_empty(&wq->clients))
		return;
	wq->state = DSA_WQ_DISABLED;
	wq->bound = NULL;
	wq->left.fn = NULL;
	vdpa_done_call(&left, 0);
	dsa_wq_left(wq);
}

static void leave(struct dsa_wq *wq, const struct vdpa_done *done)
{
	struct dsa_wq_client *client;

	wq->left = *done;
	/* None goes out of the list before this returns: closing takes a turn of the loop. */
	list_for_each_entry (client, &wq->clients, node) {
		if (!client->closing)
			client->params.gone(client->params.arg);
	}
	check_left(wq);
}

int dsa_wq_bind(struct dsa_wq *wq, struct vdpa_error *err)
{
	const struct dsa_wq_driver *driver = find_driver(wq->dev->ctx, driver_name(wq));
	const struct vdpa_done nobody = {NULL, NULL};
	int r;

	if (!driver)
		return vdpa_error_set(err, ENODEV, wq->path,
				      "driver_name=%s: there is no such driver; \"uvdpa dsa "
				      "drivers\" lists them",
				      wq->driver);
	wq->bound = driver;
	wq->state = DSA_WQ_ENABLED;
	r = driver->probe ? driver->probe(wq, err) : 0;
	if (r) {
		wq->state = DSA_WQ_LEAVING;
		leave(wq, &nobody);
	}
	return r;
}

void dsa_wq_unbind(struct dsa_wq *wq, const struct vdpa_done *done)
{
	wq->state = DSA_WQ_LEAVING;
	if (wq->bound->remove)
		wq->bound->remove(wq);
	leave(wq, done);
}

bool dsa_wq_has_pasid(struct dsa_wq *wq, uint32_t pasid)
{
	struct dsa_wq_client *client;

	list_for_each_entry (client, &wq->clients, node) {
		if (client->pasid == pasid)
			return true;
	}
	return false;
}

/* ---- for whoever opens one ---- */

struct dsa_wq *dsa_wq_find(struct vdpa_ctx *ctx, const char *path)
{
	struct dsa_path p;
	struct dsa_wq *wq;

	if (dsa_resolve(ctx, path, &p, NULL) || p.kind != DSA_IS_WQ)
		return NULL;
	wq = &p.dev->wqs[p.index];
	return wq->state == DSA_WQ_ENABLED && wq->bound == USER_DRIVER ? wq : NULL;
}

struct vdpa_ctx *dsa_wq_ctx(const struct dsa_wq *wq)
{
	return wq->dev->ctx;
}

const char *dsa_wq_path(const struct dsa_wq *wq)
{
	return wq->path;
}

static void completed(void *arg, void *cookie, uint8_t status)
{
	struct dsa_wq_client *client = arg;

	atomic_fetch_sub(&client->wq->in_flight, 1);
	if (client->params.completed)
		client->params.completed(client->params.arg, cookie, status);
}

static const struct dsa_queue_ops queue_ops = {.completed = completed};

static void client_free(struct dsa_wq_client *client)
{
	dsa_queue_free(client->queue);
	dsa_space_free(client->space);
	free(client);
}

static int client_init(struct dsa_wq_client *client)
{
	const struct dsa_wq *wq = client->wq;
	const struct dsa_queue_config config = {
		.size = wq->size,
		.max_xfer_shift = (unsigned)__builtin_ctzll(wq->max_transfer),
		.max_batch_shift = (unsigned)__builtin_ctz(wq->max_batch),
		.block_on_fault = wq->block_on_fault,
		.priv = wq->type == DSA_WQ_KERNEL,
		.opcap = wq->opcap,
		.batch_reversed = wq->batch_reversed,
		.ops = &queue_ops,
		.arg = client,
	};
	int r = dsa_space_new(client->engine, client->pasid, NULL, &client->space);

	return r ? r : dsa_queue_new(client->engine, &config, &client->queue);
}

static int check_open(struct dsa_wq *wq, const struct dsa_wq_params *params, struct vdpa_error *err)
{
	if (params->size < sizeof(*params) || !params->gone)
		return vdpa_error_set(err, EINVAL, wq->path, "who opens a queue has size and gone");
	if (wq->state != DSA_WQ_ENABLED || !wq->bound)
		return vdpa_error_set(err, ENODEV, wq->path, "it is not enabled");
	if (wq->dedicated && !list_empty(&wq->clients))
		return vdpa_error_set(err, EBUSY, wq->path,
				      "it is dedicated, and somebody has it open");
	return 0;
}

int dsa_wq_open(struct dsa_wq *wq, const struct dsa_wq_params *params, struct dsa_wq_client **out,
		struct vdpa_error *err)
{
	struct dsa_wq_client *client;
	int r = check_open(wq, params, err);

	if (r)
		return r;
	client = calloc(1, sizeof(*client));
	if (!client)
		return vdpa_error_set(err, ENOMEM, wq->path, "no memory");
	client->wq = wq;
	client->params = *params;
	client->engine = wq->dev->groups[wq->group].engine;
	client->pasid = dsa_new_pasid(wq->dev);
	client->room = wq->type == DSA_WQ_USER && !wq->dedicated ? wq->threshold : wq->size;
	r = client_init(client);
	if (r) {
		client_free(client);
		return vdpa_error_set(err, -r, wq->path, "no memory for a queue");
	}
	list_add_tail(&wq->clients, &client->node);
	*out = client;
	return 0;
}

int dsa_wq_submit(struct dsa_wq_client *client, const struct dsa_hw_desc *desc, void *cookie)
{
	struct dsa_wq *wq = client->wq;
	int r = -EAGAIN;

	if (atomic_fetch_add(&wq->in_flight, 1) < client->room)
		r = dsa_submit(client->queue, client->space, desc, cookie);
	if (r)
		atomic_fetch_sub(&wq->in_flight, 1);
	return r;
}

uint32_t dsa_wq_pasid(const struct dsa_wq_client *client)
{
	return client->pasid;
}

static void close_over(struct vdpa_loop_msg *msg)
{
	struct dsa_wq_client *client = vdpa_container_of(msg, struct dsa_wq_client, msg);
	struct vdpa_done closed = client->closed;
	struct dsa_wq *wq = client->wq;

	list_del(&client->node);
	client_free(client);
	vdpa_done_call(&closed, 0);
	check_left(wq);
}

/* On any thread. */
static void aborted(void *arg, int result)
{
	struct dsa_wq_client *client = arg;

	vdpa_loop_post(vdpa_ctx_control(client->wq->dev->ctx), &client->msg, close_over);
}

void dsa_wq_close(struct dsa_wq_client *client, const struct vdpa_done *done)
{
	const struct dsa_select select = {client->queue, DSA_ANY_PASID};

	client->closing = true;
	client->closed = *done;
	client->wait = (struct dsa_wait){.done = {aborted, client}};
	dsa_abort(client->engine, &select, &client->wait);
}
