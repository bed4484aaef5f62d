// SPDX-License-Identifier: BSD-3-Clause
/* Parents and their types. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mdev/core.h"

struct mdev_parent_entry *mdev_parent_entry(const struct mdev_parent *parent)
{
	return parent->reserved[0];
}

struct mdev_type_name mdev_type_name(const struct mdev_parent *parent, const struct mdev_type *type)
{
	struct mdev_type_name name;

	snprintf(name.s, sizeof(name.s), "%s-%s", parent->driver ? parent->driver : parent->name,
		 type->id);
	return name;
}

const struct mdev_type *mdev_find_type(const struct mdev_parent *parent, const char *name)
{
	const struct mdev_type *type;

	for (type = parent->types; type->id; type++) {
		if (!strcmp(mdev_type_name(parent, type).s, name))
			return type;
	}
	return NULL;
}

static const char *why_not(const struct mdev_parent *parent)
{
	const struct mdev_parent_ops *ops = parent->ops;
	const struct mdev_type *type;

	if (!mdev_name_valid(parent->name) || (parent->driver && !mdev_name_valid(parent->driver)))
		return "a name has at most 63 letters, digits, \"_\", \"-\" and \".\"";
	if (!ops || !mdev_op(parent, create))
		return "the op create is missing";
	if (ops->device_size != sizeof(struct mdev_device))
		return "struct mdev_device is of another version";
	if (ops->struct_size &&
	    (ops->offset > ops->struct_size || ops->struct_size - ops->offset < ops->device_size))
		return "the device's structure does not hold a struct mdev_device at its offset";
	if (!parent->types || !parent->types->id)
		return "there are no types";
	for (type = parent->types; type->id; type++) {
		if (!mdev_name_valid(type->id) || !type->device_api || !*type->device_api)
			return "a type needs an id that is a name, and a device_api";
	}
	return NULL;
}

int mdev_register_parent(struct vdpa_ctx *ctx, struct mdev_parent *parent, struct vdpa_error *err)
{
	struct mdev_state *st = mdev_state(ctx, true);
	const char *why = why_not(parent);
	struct mdev_parent_entry *entry;

	assert(vdpa_loop_is_current(vdpa_ctx_control(ctx)));
	if (why)
		return vdpa_error_set(err, EINVAL, parent->name, "no parent: %s", why);
	if (mdev_find_parent(ctx, parent->name))
		return vdpa_error_set(err, EEXIST, parent->name,
				      "a parent of this name exists already");
	entry = st ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry)
		return vdpa_error_set(err, ENOMEM, parent->name, "no memory");
	entry->parent = parent;
	parent->ctx = ctx;
	parent->reserved[0] = entry;
	list_add_tail(&st->parents, &entry->node);
	mdev_notify_parent(st, MDEV_EVENT_PARENT_ADD, parent);
	return 0;
}

struct mdev_parent *mdev_find_parent(struct vdpa_ctx *ctx, const char *name)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct mdev_parent_entry *entry;

	if (!st)
		return NULL;
	list_for_each_entry (entry, &st->parents, node) {
		if (!strcmp(entry->parent->name, name))
			return entry->parent;
	}
	return NULL;
}

void mdev_for_each_parent(struct vdpa_ctx *ctx, bool (*fn)(void *arg, struct mdev_parent *parent),
			  void *arg)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct walk walk;
	bool more = true;

	if (!st)
		return;
	walk_begin(&st->walks, &walk, st->parents.next);
	while (more && walk.next != &st->parents) {
		struct list *node = walk.next;

		walk.next = node->next;
		more = fn(arg, list_entry(node, struct mdev_parent_entry, node)->parent);
	}
	walk_end(&st->walks, &walk);
}

struct count {
	const struct mdev_parent *parent;
	const struct mdev_type *type;
	unsigned n;
};

static bool count_one(void *arg, struct mdev_device *mdev)
{
	struct count *c = arg;

	c->n += mdev->parent == c->parent && (!c->type || mdev->type == c->type);
	return true;
}

unsigned mdev_count(const struct mdev_parent *parent, const struct mdev_type *type)
{
	struct count c = {.parent = parent, .type = type};

	mdev_for_each(parent->ctx, count_one, &c);
	return c.n;
}

unsigned mdev_available_instances(struct mdev_parent *parent, const struct mdev_type *type)
{
	unsigned used;

	if (mdev_op(parent, available_instances))
		return parent->ops->available_instances(parent, type);
	used = mdev_count(parent, type);
	return used < type->instances ? type->instances - used : 0;
}

/* ---- the end ---- */

static struct vdpa_done parent_finish(struct mdev_parent *parent)
{
	struct mdev_state *st = mdev_state(parent->ctx, false);
	struct mdev_parent_entry *entry = mdev_parent_entry(parent);
	struct vdpa_done done = entry->done;

	walk_list_remove(st->walks, &entry->node);
	mdev_notify_parent(st, MDEV_EVENT_PARENT_DEL, parent);
	parent->reserved[0] = NULL;
	parent->ctx = NULL;
	free(entry);
	if (parent->release)
		parent->release(parent);
	return done;
}

struct vdpa_done mdev_parent_left(struct mdev_parent *parent)
{
	struct mdev_parent_entry *entry = mdev_parent_entry(parent);

	entry->devices--;
	return entry->going && !entry->devices ? parent_finish(parent) : (struct vdpa_done){0};
}

static bool remove_of(void *arg, struct mdev_device *mdev)
{
	if (mdev->parent == arg)
		mdev_remove(mdev, NULL);
	return true;
}

int mdev_unregister_parent(struct mdev_parent *parent, const struct vdpa_done *done)
{
	struct mdev_parent_entry *entry = mdev_parent_entry(parent);
	struct vdpa_done finished;

	if (!entry)
		return -EINVAL;
	assert(vdpa_loop_is_current(vdpa_ctx_control(parent->ctx)));
	if (entry->going)
		return -EALREADY;
	entry->going = true;
	entry->done = done ? *done : (struct vdpa_done){0};
	/* The last device to go, which may be within this, finishes. This stands for one. */
	entry->devices++;
	mdev_for_each(parent->ctx, remove_of, parent);
	finished = mdev_parent_left(parent);
	vdpa_done_call(&finished, 0);
	return 0;
}
