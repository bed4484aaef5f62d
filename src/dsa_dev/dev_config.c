// SPDX-License-Identifier: BSD-3-Clause
/*
 * What an administrator says, in accel-config's words, and the states that it leads through. A
 * change is checked as a whole before anything of it is done.
 *
 * A group has one engine object with as many engines as are in the group: queues of one group share
 * them, and no other queue's work is in their way.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsa_dev/dev_impl.h"

#define PRIORITY_MAX 15u
#define TRANSFER_DEFAULT (2ull << 20)
#define BATCH_DEFAULT 32u
#define OP_WORDS 8u /* of a mask of operations, of which the two lowest have some */

static const char *const modes[] = {"shared", "dedicated", NULL};
static const char *const orders[] = {"in-order", "reversed", NULL};
static const char *const types[] = {"none", "kernel", "user", "mdev", NULL};

const struct vdpa_attr_spec dsa_wq_spec[] = {
	{.name = "type",
	 .type = VDPA_ATTR_ENUM,
	 .choices = types,
	 .help = "what it is for: mediated devices (mdev), whoever opens it (user), a driver "
		 "(kernel), or nothing"},
	{.name = "name", .type = VDPA_ATTR_STRING, .help = "name of your choice"},
	{.name = "driver_name",
	 .type = VDPA_ATTR_STRING,
	 .help = "of type kernel: which driver; else kept for accel-config"},
	{.name = "mode", .type = VDPA_ATTR_ENUM, .choices = modes, .help = "who may write to it"},
	{.name = "size", .type = VDPA_ATTR_U64, .max = DSA_MAX_QUEUE, .help = "entries"},
	{.name = "group_id", .type = VDPA_ATTR_STRING, .help = "number of its group; -1: none"},
	{.name = "priority",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = PRIORITY_MAX,
	 .help = "1 (default) to 15; shown to the guest"},
	{.name = "threshold",
	 .type = VDPA_ATTR_U64,
	 .max = DSA_MAX_QUEUE,
	 .help = "entries that limited portals of a shared queue may use"},
	{.name = "block_on_fault",
	 .type = VDPA_ATTR_BOOL,
	 .help = "descriptors may wait for memory that is not there"},
	{.name = "max_transfer_size",
	 .type = VDPA_ATTR_SIZE,
	 .min = 1,
	 .max = 1ull << DSA_MAX_XFER_SHIFT,
	 .help = "bytes of one descriptor, rounded up to a power of two (default 2M)"},
	{.name = "max_batch_size",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = 1u << DSA_MAX_BATCH_SHIFT,
	 .help = "descriptors of one batch, rounded up to a power of two (default 32)"},
	{.name = "op_config",
	 .type = VDPA_ATTR_STRING,
	 .help = "operations that may be asked for: a mask of hexadecimal words of 32 bits, commas "
		 "between them, the highest first (default: all)"},
	{.name = "batch_order",
	 .type = VDPA_ATTR_ENUM,
	 .choices = orders,
	 .help = "reversed: what is between two fences of a batch runs backwards, so that a fence "
		 "that is missing is noticed"},
	{0},
};

const struct vdpa_attr_spec dsa_engine_spec[] = {
	{.name = "group_id", .type = VDPA_ATTR_STRING, .help = "number of its group; -1: none"},
	{0},
};

const struct vdpa_attr_spec dsa_group_spec[] = {
	{.name = "read_buffers_reserved",
	 .type = VDPA_ATTR_U64,
	 .max = DSA_RDBUFS,
	 .help = "kept for accel-config, as are the two below"},
	{.name = "read_buffers_allowed",
	 .type = VDPA_ATTR_U64,
	 .max = DSA_RDBUFS,
	 .help = "0: no limit"},
	{.name = "use_read_buffer_limit", .type = VDPA_ATTR_BOOL},
	{0},
};

const struct vdpa_attr_spec dsa_device_spec[] = {
	{.name = "read_buffer_limit",
	 .type = VDPA_ATTR_U64,
	 .max = DSA_RDBUFS,
	 .help = "kept for accel-config"},
	{0},
};

void dsa_wq_defaults(struct dsa_wq *wq)
{
	wq->group = -1;
	wq->dedicated = true;
	wq->priority = 1;
	wq->max_batch = BATCH_DEFAULT;
	wq->max_transfer = TRANSFER_DEFAULT;
	wq->opcap = DSA_OPCAP;
}

unsigned dsa_group_engines(const struct dsa_dev *dev, unsigned group)
{
	unsigned n = 0;

	for (unsigned i = 0; i < dev->nengines; i++)
		n += dev->engine_group[i] == (int)group;
	return n;
}

/* ---- changes ---- */

/* To a power of two, as the kernel's driver does. */
static uint64_t round_up(uint64_t n)
{
	return n < 2 ? 1 : 1ull << (64 - __builtin_clzll(n - 1));
}

static int parse_group(const struct dsa_dev *dev, const char *path, const char *text, int *out,
		       struct vdpa_error *err)
{
	char again[16];
	int group;

	if (sscanf(text, "%5d", &group) == 1 && group >= -1 && group < (int)dev->ngroups) {
		snprintf(again, sizeof(again), "%d", group);
		if (!strcmp(again, text)) {
			*out = group;
			return 0;
		}
	}
	return vdpa_error_set(err, EINVAL, path, "group_id=%s: %s has groups 0 to %u; -1 is none",
			      text, dev->name, dev->ngroups - 1);
}

/* What only hardware has is read over; those that are left must be some. */
static int parse_ops(const char *path, const char *text, uint64_t *out, struct vdpa_error *err)
{
	const char *at = text;
	unsigned words = 0;
	uint64_t ops = 0;

	do {
		size_t n = strspn(at, "0123456789abcdefABCDEF");

		if (!n || n > 8 || ++words > OP_WORDS || (at[n] && at[n] != ','))
			return vdpa_error_set(err, EINVAL, path,
					      "op_config=%s: up to %u hexadecimal words of 32 bits "
					      "are allowed, with commas between them",
					      text, OP_WORDS);
		ops = ops << 32 | strtoul(at, NULL, 16);
		at += n;
	} while (*at++);
	*out = ops & DSA_OPCAP;
	if (*out)
		return 0;
	return vdpa_error_set(err, EINVAL, path,
			      "op_config=%s: none of the operations here: %x,%08x", text,
			      (unsigned)(DSA_OPCAP >> 32), (unsigned)DSA_OPCAP);
}

/* Of all queues but this one, which will have @size. */
static bool fits(const struct dsa_dev *dev, unsigned index, unsigned size)
{
	for (unsigned i = 0; i < dev->nwqs; i++)
		size += i != index ? dev->wqs[i].size : 0;
	return size <= dev->wq_size;
}

static int check_wq(const struct dsa_path *p, const char *path, const struct dsa_wq *new,
		    struct vdpa_error *err)
{
	static const char *const busy[] = {[DSA_WQ_ENABLED] = "enabled",
					   [DSA_WQ_LOCKED] = "a mediated device's",
					   [DSA_WQ_LEAVING] = "being disabled"};
	const struct dsa_wq *old = &p->dev->wqs[p->index];

	if (old->state != DSA_WQ_DISABLED)
		return vdpa_error_set(err, EBUSY, path,
				      "it is %s: a queue is changed while it is disabled",
				      busy[old->state]);
	if (p->dev->enabled && (new->size != old->size || new->group != old->group))
		return vdpa_error_set(err, EBUSY, path,
				      "size and group are changed while %s is disabled",
				      p->dev->name);
	/* A dedicated queue has none; what is said of it is kept for the day when it is shared. */
	if (new->threshold > new->size && !new->dedicated)
		return vdpa_error_set(err, EINVAL, path, "threshold=%u is beyond size=%u",
				      new->threshold, new->size);
	if (!p->dev->changes && !fits(p->dev, p->index, new->size))
		return vdpa_error_set(err, ERANGE, path,
				      "size=%u: all queues of %s together have at most %u entries",
				      new->size, p->dev->name, p->dev->wq_size);
	return 0;
}

static bool copy_text(char *to, const char *from)
{
	return from && snprintf(to, DSA_TEXT, "%s", from) >= DSA_TEXT;
}

static int config_wq(const struct dsa_path *p, const char *path, const struct vdpa_attr *attrs,
		     struct vdpa_error *err)
{
	struct dsa_wq new = p->dev->wqs[p->index];
	const char *mode = vdpa_attr_get(attrs, "mode"), *type = vdpa_attr_get(attrs, "type");
	const char *group = vdpa_attr_get(attrs, "group_id");
	const char *ops = vdpa_attr_get(attrs, "op_config");
	const char *order = vdpa_attr_get(attrs, "batch_order");
	int r = group ? parse_group(p->dev, path, group, &new.group, err) : 0;

	if (r)
		return r;
	if (mode)
		new.dedicated = !strcmp(mode, "dedicated");
	if (order)
		new.batch_reversed = !strcmp(order, "reversed");
	for (unsigned i = 0; type && types[i]; i++) {
		if (!strcmp(type, types[i]))
			new.type = i;
	}
	if (copy_text(new.name, vdpa_attr_get(attrs, "name")) ||
	    copy_text(new.driver, vdpa_attr_get(attrs, "driver_name")))
		return vdpa_error_set(err, EINVAL, path, "a name has at most %d characters",
				      DSA_TEXT - 1);
	new.size = (unsigned)vdpa_attr_u64(attrs, "size", new.size);
	new.priority = (unsigned)vdpa_attr_u64(attrs, "priority", new.priority);
	new.threshold = (unsigned)vdpa_attr_u64(attrs, "threshold", new.threshold);
	new.block_on_fault = vdpa_attr_bool(attrs, "block_on_fault", new.block_on_fault);
	new.max_transfer = round_up(vdpa_attr_size(attrs, "max_transfer_size", new.max_transfer));
	new.max_batch = (unsigned)round_up(vdpa_attr_u64(attrs, "max_batch_size", new.max_batch));
	if (ops)
		r = parse_ops(path, ops, &new.opcap, err);
	if (!r)
		r = check_wq(p, path, &new, err);
	if (!r) /* it is disabled: nobody has it open */
		p->dev->wqs[p->index] = new;
	return r;
}

static int config_engine(const struct dsa_path *p, const char *path, const struct vdpa_attr *attrs,
			 struct vdpa_error *err)
{
	const char *group = vdpa_attr_get(attrs, "group_id");

	if (p->dev->enabled || p->dev->freeing)
		return vdpa_error_set(err, EBUSY, path,
				      "an engine's group is changed while %s is disabled",
				      p->dev->name);
	return group ? parse_group(p->dev, path, group, &p->dev->engine_group[p->index], err) : 0;
}

static int config_group(const struct dsa_path *p, const char *path, const struct vdpa_attr *attrs,
			struct vdpa_error *err)
{
	struct dsa_group *g = &p->dev->groups[p->index];
	uint64_t reserved = vdpa_attr_u64(attrs, "read_buffers_reserved", g->reserved);
	uint64_t allowed = vdpa_attr_u64(attrs, "read_buffers_allowed", g->allowed);

	if (allowed && reserved > allowed)
		return vdpa_error_set(err, EINVAL, path,
				      "read_buffers_reserved=%llu is more than are allowed: %llu",
				      (unsigned long long)reserved, (unsigned long long)allowed);
	g->reserved = (unsigned)reserved;
	g->allowed = (unsigned)allowed;
	g->limited = vdpa_attr_bool(attrs, "use_read_buffer_limit", g->limited);
	return 0;
}

static int config_device(const struct dsa_path *p, const char *path, const struct vdpa_attr *attrs,
			 struct vdpa_error *err)
{
	p->dev->rdbuf_limit =
		(unsigned)vdpa_attr_u64(attrs, "read_buffer_limit", p->dev->rdbuf_limit);
	return 0;
}

int dsa_config(struct vdpa_ctx *ctx, const char *path, const struct vdpa_attr *attrs,
	       struct vdpa_error *err)
{
	static const struct {
		const struct vdpa_attr_spec *spec;
		int (*config)(const struct dsa_path *p, const char *path,
			      const struct vdpa_attr *attrs, struct vdpa_error *err);
	} kinds[] = {
		[DSA_IS_DEVICE] = {dsa_device_spec, config_device},
		[DSA_IS_WQ] = {dsa_wq_spec, config_wq},
		[DSA_IS_ENGINE] = {dsa_engine_spec, config_engine},
		[DSA_IS_GROUP] = {dsa_group_spec, config_group},
	};
	struct dsa_path p;
	int r = dsa_resolve(ctx, path, &p, err);

	if (!r)
		r = vdpa_attr_check(attrs, kinds[p.kind].spec, path, err);
	return r ? r : kinds[p.kind].config(&p, path, attrs, err);
}

/* ---- enable ---- */

static const char *what_is_missing(const struct dsa_dev *dev, const struct dsa_wq *wq)
{
	if (wq->type == DSA_WQ_NONE)
		return "it has no type: type=mdev, user or kernel";
	if (wq->type == DSA_WQ_KERNEL && !wq->driver[0])
		return "a queue of type kernel needs a driver_name";
	if (!wq->name[0])
		return "it has no name";
	if (!wq->size)
		return "it has no size";
	if (wq->group < 0 || !dev->groups[wq->group].engine)
		return "it is in no group with an engine";
	if (!wq->dedicated && !wq->threshold)
		return "a shared queue needs a threshold";
	return NULL;
}

static int enable_wq(struct dsa_dev *dev, struct dsa_wq *wq, const char *path,
		     struct vdpa_error *err)
{
	const char *missing = what_is_missing(dev, wq);

	if (wq->state == DSA_WQ_LEAVING)
		return vdpa_error_set(err, EBUSY, path, "it is being disabled");
	if (wq->state != DSA_WQ_DISABLED)
		return vdpa_error_set(err, EALREADY, path, "it is enabled already");
	if (!dev->enabled)
		return vdpa_error_set(err, EBUSY, path, "%s is not enabled", dev->name);
	if (missing)
		return vdpa_error_set(err, EINVAL, path, "%s", missing);
	if (wq->type != DSA_WQ_MDEV)
		return dsa_wq_bind(wq, err);
	wq->state = DSA_WQ_ENABLED;
	return 0;
}

static void engine_freed(void *arg, int result);

static void free_engines(struct dsa_dev *dev)
{
	struct dsa_engine *engines[DSA_GROUPS_MAX] = {NULL};

	/* All are counted before the first can say that it has gone. */
	for (unsigned i = 0; i < dev->ngroups; i++) {
		engines[i] = dev->groups[i].engine;
		dev->groups[i].engine = NULL;
		if (engines[i])
			atomic_fetch_add(&dev->engines_left, 1);
	}
	dev->freeing = atomic_load(&dev->engines_left);
	for (unsigned i = 0; i < dev->ngroups; i++) {
		const struct vdpa_done done = {engine_freed, dev};

		if (engines[i])
			dsa_engine_free(engines[i], &done);
	}
}

static int enable_device(struct dsa_dev *dev, struct vdpa_error *err)
{
	bool any = false;
	int r = 0;

	if (dev->enabled)
		return vdpa_error_set(err, EALREADY, dev->name, "it is enabled already");
	if (dev->freeing)
		return vdpa_error_set(err, EBUSY, dev->name, "it is being disabled");
	for (unsigned i = 0; i < dev->ngroups && !r; i++) {
		struct dsa_engine_config config = {.engines = dsa_group_engines(dev, i)};

		any |= config.engines;
		if (config.engines)
			r = dsa_engine_new(vdpa_ctx_loops(dev->ctx), &config,
					   &dev->groups[i].engine);
	}
	if (!any)
		return vdpa_error_set(err, EINVAL, dev->name,
				      "no engine is in a group: \"uvdpa dsa config "
				      "%s/engine%u.0 group_id 0\"",
				      dev->name, dev->number);
	if (r) {
		free_engines(dev);
		return vdpa_error_set(err, -r, dev->name, "no memory for engines");
	}
	dev->enabled = true;
	return 0;
}

int dsa_enable(struct vdpa_ctx *ctx, const char *path, struct vdpa_error *err)
{
	struct dsa_path p;
	int r = dsa_resolve(ctx, path, &p, err);

	if (r)
		return r;
	if (p.kind == DSA_IS_DEVICE)
		return enable_device(p.dev, err);
	if (p.kind == DSA_IS_WQ)
		return enable_wq(p.dev, &p.dev->wqs[p.index], path, err);
	return vdpa_error_set(err, EINVAL, path, "devices and queues are enabled, not this");
}

/* ---- disable ---- */

static void disable_over(struct vdpa_loop_msg *msg)
{
	struct dsa_dev *dev = vdpa_container_of(msg, struct dsa_dev, freed);
	struct vdpa_done done = dev->disabled;

	dev->disabled.fn = NULL;
	dev->freeing = false;
	vdpa_done_call(&done, 0);
	if (dev->doomed)
		dsa_dev_drop(dev);
}

/* On any loop's thread. */
static void engine_freed(void *arg, int result)
{
	struct dsa_dev *dev = arg;

	if (atomic_fetch_sub(&dev->engines_left, 1) == 1)
		vdpa_loop_post(vdpa_ctx_control(dev->ctx), &dev->freed, disable_over);
}

static int disable_wq(struct dsa_wq *wq, const char *path, const struct vdpa_done *done,
		      struct vdpa_error *err)
{
	if (wq->state == DSA_WQ_DISABLED)
		return vdpa_error_set(err, EALREADY, path, "it is disabled already");
	if (wq->state == DSA_WQ_LEAVING)
		return vdpa_error_set(err, EALREADY, path, "it is being disabled");
	if (wq->state == DSA_WQ_LOCKED)
		return vdpa_error_set(err, EBUSY, path,
				      "a mediated device has it: \"uvdpa mdev remove\" that first");
	if (wq->bound) {
		dsa_wq_unbind(wq, done);
		return 0;
	}
	wq->state = DSA_WQ_DISABLED;
	vdpa_done_call(done, 0);
	return 0;
}

/* The engines of a device that is being disabled are let go when no queue is open any more. */
static void check_all_left(struct dsa_dev *dev)
{
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].state != DSA_WQ_DISABLED)
			return;
	}
	dev->closing = false;
	free_engines(dev);
}

void dsa_wq_left(struct dsa_wq *wq)
{
	if (wq->dev->closing)
		check_all_left(wq->dev);
}

static int disable_device(struct dsa_dev *dev, const struct vdpa_done *done, struct vdpa_error *err)
{
	const struct vdpa_done nobody = {NULL, NULL};

	if (!dev->enabled)
		return vdpa_error_set(err, EALREADY, dev->name, "it is disabled already");
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].state == DSA_WQ_LOCKED)
			return vdpa_error_set(
				err, EBUSY, dev->name,
				"a mediated device has wq%u.%u: \"uvdpa mdev remove\" that first",
				dev->number, i);
	}
	dev->enabled = false;
	dev->freeing = true;
	dev->disabled = done ? *done : nobody;
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].state == DSA_WQ_ENABLED)
			disable_wq(&dev->wqs[i], dev->wqs[i].path, &nobody, NULL);
	}
	dev->closing = true;
	check_all_left(dev);
	return 0;
}

int dsa_disable(struct vdpa_ctx *ctx, const char *path, const struct vdpa_done *done,
		struct vdpa_error *err)
{
	struct dsa_path p;
	int r = dsa_resolve(ctx, path, &p, err);

	if (r)
		return r;
	if (p.kind == DSA_IS_DEVICE)
		return disable_device(p.dev, done, err);
	if (p.kind == DSA_IS_WQ)
		return disable_wq(&p.dev->wqs[p.index], path, done, err);
	return vdpa_error_set(err, EINVAL, path, "devices and queues are disabled, not this");
}

/* ---- show ---- */

struct emit {
	dsa_emit_fn fn;
	void *arg;
};

static void emit_number(const struct emit *e, const char *key, long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", value);
	e->fn(e->arg, key, text);
}

static void emit_ops(const struct emit *e, uint64_t ops)
{
	char text[OP_WORDS * 9];
	unsigned at = 0;

	while (at < (OP_WORDS - 2) * 9)
		at += (unsigned)sprintf(text + at, "00000000,");
	snprintf(text + at, sizeof(text) - at, "%08x,%08x", (unsigned)(ops >> 32), (unsigned)ops);
	e->fn(e->arg, "op_config", text);
}

static void show_wq(const struct dsa_wq *wq, const struct emit *e)
{
	static const char *const states[] = {"disabled", "enabled", "locked", "leaving"};

	e->fn(e->arg, "mode", modes[wq->dedicated]);
	emit_number(e, "size", wq->size);
	emit_number(e, "group_id", wq->group);
	emit_number(e, "priority", wq->priority);
	emit_number(e, "block_on_fault", wq->block_on_fault);
	emit_number(e, "max_batch_size", wq->max_batch);
	emit_number(e, "max_transfer_size", (long long)wq->max_transfer);
	e->fn(e->arg, "type", types[wq->type]);
	e->fn(e->arg, "name", wq->name);
	e->fn(e->arg, "driver_name", wq->driver);
	emit_number(e, "threshold", wq->threshold);
	emit_ops(e, wq->opcap);
	e->fn(e->arg, "batch_order", orders[wq->batch_reversed]);
	e->fn(e->arg, "state", states[wq->state]);
}

int dsa_show(struct vdpa_ctx *ctx, const char *path, dsa_emit_fn fn, void *arg)
{
	const struct emit e = {fn, arg};
	struct dsa_path p;
	int r = dsa_resolve(ctx, path, &p, NULL);

	if (r)
		return r;
	switch (p.kind) {
	case DSA_IS_WQ:
		show_wq(&p.dev->wqs[p.index], &e);
		break;
	case DSA_IS_ENGINE:
		emit_number(&e, "group_id", p.dev->engine_group[p.index]);
		break;
	case DSA_IS_GROUP:
		emit_number(&e, "read_buffers_reserved", p.dev->groups[p.index].reserved);
		emit_number(&e, "read_buffers_allowed", p.dev->groups[p.index].allowed);
		emit_number(&e, "use_read_buffer_limit", p.dev->groups[p.index].limited);
		break;
	default:
		emit_number(&e, "read_buffer_limit", p.dev->rdbuf_limit);
		emit_number(&e, "max_work_queues_size", p.dev->wq_size);
		emit_number(&e, "ims_size", ims_slots(p.dev->ims));
		emit_number(&e, "ims_used", ims_used(p.dev->ims));
		fn(arg, "ir", ims_remaps(p.dev->ims) ? "on" : "off");
		fn(arg, "siov", "on"); /* queues can be assigned one by one: PASID, IMS */
		fn(arg, "state", p.dev->enabled ? "enabled" : "disabled");
		break;
	}
	return 0;
}
