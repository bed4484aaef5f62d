// SPDX-License-Identifier: BSD-3-Clause
/* Software DSAs: their life, and what names them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsa_dev/dev_impl.h"

#define WQ_SIZE_MAX 4096u

/* Under its address a context keeps the list. */
static const char devs_key;

const struct vdpa_attr_spec dsa_dev_spec[] = {
	{.name = "engines",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = DSA_ENGINES_MAX,
	 .help = "engines (default 4)"},
	{.name = "wqs",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = DSA_WQS_MAX,
	 .help = "work queues (default 8)"},
	{.name = "groups",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = DSA_GROUPS_MAX,
	 .help = "groups (default 4)"},
	{.name = "wq_size",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = WQ_SIZE_MAX,
	 .help = "entries of all queues together (default 128)"},
	{.name = "ims_slots",
	 .type = VDPA_ATTR_U64,
	 .min = 1,
	 .max = IMS_SLOTS_MAX,
	 .help = "slots of interrupt message storage (default 2048)"},
	{.name = "ir",
	 .type = VDPA_ATTR_BOOL,
	 .help = "interrupt remapping: messages carry an index (default on)"},
	{0},
};

static void devs_free(void *data)
{
	dsa_wq_free_drivers(data);
	free(data);
}

struct dsa_devs *dsa_devs(struct vdpa_ctx *ctx)
{
	struct dsa_devs *devs = vdpa_ctx_get_data(ctx, &devs_key);

	if (devs)
		return devs;
	devs = calloc(1, sizeof(*devs));
	if (devs) {
		list_init(&devs->list);
		list_init(&devs->drivers);
	}
	if (devs && vdpa_ctx_set_data(ctx, &devs_key, devs, devs_free)) {
		free(devs);
		devs = NULL;
	}
	return devs;
}

/* ---- names ---- */

struct dsa_dev *dsa_dev_find(struct vdpa_ctx *ctx, const char *name)
{
	struct dsa_devs *devs = vdpa_ctx_get_data(ctx, &devs_key);
	struct dsa_dev *dev;

	if (!devs)
		return NULL;
	list_for_each_entry (dev, &devs->list, node) {
		if (!strcmp(dev->name, name))
			return dev;
	}
	return NULL;
}

void dsa_dev_for_each(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct dsa_dev *dev), void *arg)
{
	struct dsa_devs *devs = vdpa_ctx_get_data(ctx, &devs_key);
	struct dsa_dev *dev;

	if (!devs)
		return;
	list_for_each_entry (dev, &devs->list, node) {
		if (!fn(arg, dev))
			return;
	}
}

const char *dsa_dev_name(const struct dsa_dev *dev)
{
	return dev->name;
}

struct ims *dsa_dev_ims(const struct dsa_dev *dev)
{
	return dev->ims;
}

void dsa_dev_counts(const struct dsa_dev *dev, struct dsa_counts *out)
{
	*out = (struct dsa_counts){dev->nengines, dev->ngroups, dev->nwqs, dev->enabled};
}

/* "dsa" and a number without leading zeroes. */
static bool number_of(const char *name, unsigned *number)
{
	char again[DSA_TEXT];

	if (sscanf(name, "dsa%5u", number) != 1)
		return false;
	snprintf(again, sizeof(again), "dsa%u", *number);
	return !strcmp(again, name);
}

static int no_such(const char *path, struct vdpa_error *err)
{
	return vdpa_error_set(err, ENODEV, path,
			      "there is no such thing: dsa0, dsa0/wq0.1, dsa0/engine0.0 and "
			      "dsa0/group0.0 are names; \"uvdpa dsa show\" lists them");
}

int dsa_resolve(struct vdpa_ctx *ctx, const char *path, struct dsa_path *out,
		struct vdpa_error *err)
{
	const char *slash = strchr(path, '/');
	char name[DSA_TEXT], again[DSA_TEXT];
	static const char *const kinds[] = {NULL, "wq", "engine", "group"};
	unsigned counts[4];

	snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - path) : 60, path);
	out->dev = dsa_dev_find(ctx, name);
	out->kind = DSA_IS_DEVICE;
	out->index = 0;
	if (!out->dev)
		return no_such(path, err);
	if (!slash)
		return 0;
	counts[DSA_IS_WQ] = out->dev->nwqs;
	counts[DSA_IS_ENGINE] = out->dev->nengines;
	counts[DSA_IS_GROUP] = out->dev->ngroups;
	for (unsigned kind = DSA_IS_WQ; kind <= DSA_IS_GROUP; kind++) {
		for (unsigned i = 0; i < counts[kind]; i++) {
			snprintf(again, sizeof(again), "%s%u.%u", kinds[kind], out->dev->number, i);
			if (!strcmp(slash + 1, again)) {
				out->kind = kind;
				out->index = i;
				return 0;
			}
		}
	}
	return no_such(path, err);
}

/* ---- PASIDs ---- */

static bool pasid_used(struct dsa_dev *dev, uint32_t pasid)
{
	for (unsigned i = 0; i < dev->nwqs; i++) {
		struct dsa_wq *wq = &dev->wqs[i];

		if (wq->owner ? dsa_mdev_pasid(wq->owner) == pasid : dsa_wq_has_pasid(wq, pasid))
			return true;
	}
	return false;
}

uint32_t dsa_new_pasid(struct dsa_dev *dev)
{
	do {
		dev->last_pasid = dev->last_pasid % IMS_PASID_MAX + 1;
	} while (pasid_used(dev, dev->last_pasid));
	return dev->last_pasid;
}

/* ---- life ---- */

static int make(struct dsa_dev *dev, const struct vdpa_attr *attrs, struct vdpa_error *err)
{
	struct ims_config ims = {.slots = (unsigned)vdpa_attr_u64(attrs, "ims_slots", 2048),
				 .remap = vdpa_attr_bool(attrs, "ir", true),
				 .need_pasid = true};
	int r;

	dev->nengines = (unsigned)vdpa_attr_u64(attrs, "engines", 4);
	dev->nwqs = (unsigned)vdpa_attr_u64(attrs, "wqs", 8);
	dev->ngroups = (unsigned)vdpa_attr_u64(attrs, "groups", 4);
	dev->wq_size = (unsigned)vdpa_attr_u64(attrs, "wq_size", 128);
	for (unsigned i = 0; i < DSA_ENGINES_MAX; i++)
		dev->engine_group[i] = -1;
	for (unsigned i = 0; i < DSA_GROUPS_MAX; i++)
		dev->groups[i].allowed = DSA_RDBUFS;
	for (unsigned i = 0; i < DSA_WQS_MAX; i++) {
		dsa_wq_defaults(&dev->wqs[i]);
		dev->wqs[i].dev = dev;
		snprintf(dev->wqs[i].path, sizeof(dev->wqs[i].path), "%s/wq%u.%u", dev->name,
			 dev->number, i);
		list_init(&dev->wqs[i].clients);
	}
	r = ims_new(&ims, &dev->ims);
	if (r)
		return vdpa_error_set(err, -r, dev->name, "no memory");
	r = dsa_mdev_register(dev, err);
	if (r)
		ims_free(dev->ims);
	return r;
}

int dsa_dev_add(struct vdpa_ctx *ctx, const char *name, const struct vdpa_attr *attrs,
		struct dsa_dev **out, struct vdpa_error *err)
{
	struct dsa_devs *devs = dsa_devs(ctx);
	struct dsa_dev *dev;
	unsigned number;
	int r = vdpa_attr_check(attrs, dsa_dev_spec, name, err);

	if (r)
		return r;
	if (!number_of(name, &number))
		return vdpa_error_set(err, EINVAL, name,
				      "a DSA is called \"dsa\" and a number, such as dsa0");
	if (dsa_dev_find(ctx, name))
		return vdpa_error_set(err, EEXIST, name, "a DSA of this name exists already");
	dev = devs ? calloc(1, sizeof(*dev)) : NULL;
	if (!dev)
		return vdpa_error_set(err, ENOMEM, name, "no memory");
	dev->ctx = ctx;
	dev->number = number;
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	r = make(dev, attrs, err);
	if (r) {
		free(dev);
		return r;
	}
	list_add_tail(&devs->list, &dev->node);
	vdpa_ctx_hold(ctx);
	if (out)
		*out = dev;
	return 0;
}

static void parent_gone(void *arg, int result)
{
	struct dsa_dev *dev = arg;
	struct dsa_devs *devs = dsa_devs(dev->ctx);
	struct vdpa_ctx *ctx = dev->ctx;

	list_del(&dev->node);
	ims_free(dev->ims);
	free(dev);
	vdpa_ctx_release(ctx);
	if (list_empty(&devs->list)) {
		struct vdpa_done done = devs->shutdown;

		devs->shutdown.fn = NULL;
		vdpa_done_call(&done, 0);
	}
}

int dsa_dev_del(struct dsa_dev *dev, struct vdpa_error *err)
{
	const struct vdpa_done done = {parent_gone, dev};

	if (dev->enabled || dev->freeing)
		return vdpa_error_set(err, EBUSY, dev->name,
				      "it is enabled: \"uvdpa dsa disable %s\" first", dev->name);
	return mdev_unregister_parent(&dev->parent, &done);
}

static bool is_locked(const struct dsa_dev *dev)
{
	for (unsigned i = 0; i < dev->nwqs; i++) {
		if (dev->wqs[i].state == DSA_WQ_LOCKED)
			return true;
	}
	return false;
}

void dsa_dev_drop(struct dsa_dev *dev)
{
	dev->doomed = true;
	if (is_locked(dev) || dev->freeing)
		return; /* whoever ends that comes here again */
	if (dev->enabled)
		dsa_disable(dev->ctx, dev->name, NULL, NULL);
	else
		dsa_dev_del(dev, NULL);
}

void dsa_shutdown(struct vdpa_ctx *ctx, const struct vdpa_done *done)
{
	struct dsa_devs *devs = vdpa_ctx_get_data(ctx, &devs_key);
	struct list *pos, *next;

	if (!devs || list_empty(&devs->list)) {
		vdpa_done_call(done, 0);
		return;
	}
	devs->shutdown = *done;
	list_for_each_safe (pos, next, &devs->list) {
		dsa_dev_drop(list_entry(pos, struct dsa_dev, node));
	}
}
