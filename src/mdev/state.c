// SPDX-License-Identifier: BSD-3-Clause
/* What a context has of mediated devices: its buses and classes, and who hears of changes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mdev/core.h"

/* Under its address a context keeps its struct mdev_state. */
static const char state_key;

static void free_entries(struct list *head)
{
	struct list *node;

	/* The node is the first member of each entry. */
	while ((node = list_pop(head)))
		free(node);
}

/* At the end of the context. Devices keep it alive: there are none. */
static void state_free(void *data)
{
	struct mdev_state *st = data;
	struct list *node;

	while ((node = list_pop(&st->parents))) {
		struct mdev_parent_entry *entry = list_entry(node, struct mdev_parent_entry, node);
		struct mdev_parent *parent = entry->parent;

		parent->ctx = NULL;
		free(entry);
		if (parent->release)
			parent->release(parent);
	}
	free_entries(&st->drivers);
	free_entries(&st->buses);
	free(st);
}

struct mdev_state *mdev_state(struct vdpa_ctx *ctx, bool make)
{
	struct mdev_state *st = vdpa_ctx_get_data(ctx, &state_key);

	if (st || !make)
		return st;
	st = calloc(1, sizeof(*st));
	if (!st)
		return NULL;
	st->ctx = ctx;
	list_init(&st->buses);
	list_init(&st->drivers);
	list_init(&st->parents);
	list_init(&st->devices);
	if (!vdpa_ctx_set_data(ctx, &state_key, st, state_free))
		return st;
	free(st);
	return NULL;
}

/* As a file's name, and in a MODALIAS. */
bool mdev_name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.";
	size_t len = name ? strlen(name) : 0;

	return len && len <= VDPA_NAME_MAX && strspn(name, letters) == len && name[0] != '.' &&
	       name[0] != '-';
}

/* ---- buses ---- */

static const struct mdev_class *class_in(const struct mdev_bus *bus, uint16_t id)
{
	const struct mdev_class *c;

	for (c = bus->classes; c->id; c++) {
		if (c->id == id)
			return c;
	}
	return NULL;
}

const struct mdev_bus *mdev_bus_of(struct vdpa_ctx *ctx, uint16_t id,
				   const struct mdev_class **class_out)
{
	struct mdev_state *st = mdev_state(ctx, false);
	const struct mdev_class *found = NULL;
	struct mdev_bus_entry *entry;

	if (!st || !id)
		return NULL;
	list_for_each_entry (entry, &st->buses, node) {
		found = class_in(entry->bus, id);
		if (!found)
			continue;
		if (class_out)
			*class_out = found;
		return entry->bus;
	}
	return NULL;
}

static int bus_check(struct mdev_state *st, const struct mdev_bus *bus)
{
	const struct mdev_class *c;
	struct mdev_bus_entry *entry;

	if (!mdev_name_valid(bus->name) || !bus->classes || !bus->classes->id)
		return -EINVAL;
	list_for_each_entry (entry, &st->buses, node) {
		if (!strcmp(entry->bus->name, bus->name))
			return -EEXIST;
	}
	for (c = bus->classes; c->id; c++) {
		if (!mdev_name_valid(c->name))
			return -EINVAL;
		if (mdev_bus_of(st->ctx, c->id, NULL))
			return -EEXIST;
	}
	return 0;
}

int mdev_register_bus(struct vdpa_ctx *ctx, const struct mdev_bus *bus)
{
	struct mdev_state *st = mdev_state(ctx, true);
	struct mdev_bus_entry *entry;
	int ret;

	if (!st)
		return -ENOMEM;
	ret = bus_check(st, bus);
	if (ret)
		return ret;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->bus = bus;
	list_add_tail(&st->buses, &entry->node);
	return 0;
}

void mdev_for_each_bus(struct vdpa_ctx *ctx, bool (*fn)(void *arg, const struct mdev_bus *bus),
		       void *arg)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct mdev_bus_entry *entry;

	if (!st)
		return;
	/* They only ever become more. */
	list_for_each_entry (entry, &st->buses, node) {
		if (!fn(arg, entry->bus))
			return;
	}
}

/* ---- events ---- */

int mdev_subscribe(struct vdpa_ctx *ctx, struct mdev_subscriber *sub)
{
	struct mdev_state *st = mdev_state(ctx, true);

	if (!st)
		return -ENOMEM;
	sub->next = st->subscribers;
	st->subscribers = sub;
	return 0;
}

void mdev_unsubscribe(struct vdpa_ctx *ctx, struct mdev_subscriber *sub)
{
	struct mdev_state *st = mdev_state(ctx, false);
	struct mdev_subscriber **at;

	if (!st)
		return;
	for (at = &st->subscribers; *at; at = &(*at)->next) {
		if (*at != sub)
			continue;
		walk_skip(st->walks, sub, sub->next);
		*at = sub->next;
		sub->next = NULL;
		return;
	}
}

static void notify(struct mdev_state *st, const struct mdev_event *event)
{
	struct mdev_subscriber *sub;
	struct walk walk;

	walk_begin(&st->walks, &walk, st->subscribers);
	while ((sub = walk.next)) {
		walk.next = sub->next;
		sub->fn(sub, event);
	}
	walk_end(&st->walks, &walk);
}

void mdev_notify_device(struct mdev_device *mdev, enum mdev_event_type type, const char *detail)
{
	const struct mdev_modalias alias = mdev_modalias(mdev);
	const struct mdev_event event = {
		.type = type,
		.mdev = mdev,
		.parent = mdev->parent,
		.modalias = alias.s,
		.detail = detail ? detail : "",
	};

	mdev_get(mdev);
	notify(mdev->core->state_of, &event);
	mdev_put(mdev);
}

void mdev_notify_parent(struct mdev_state *st, enum mdev_event_type type,
			struct mdev_parent *parent)
{
	const struct mdev_event event = {
		.type = type,
		.parent = parent,
		.modalias = "",
		.detail = "",
	};

	notify(st, &event);
}
