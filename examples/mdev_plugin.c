// SPDX-License-Identifier: BSD-3-Clause
/*
 * A plugin of uvdpad: a bus and a class of its own, and a parent of mediated devices of that class,
 * whose devices keep a text. Built outside of the tree:
 *
 *	gcc -shared -fPIC -o hello.so mdev_plugin.c $(pkg-config --cflags uvdpa)
 *
 * It is started when somebody asks for a device of type "hello-text".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uvdpa/mdev.h>
#include <uvdpa/plugin.h>
#include "mdev_plugin.h"

struct hello {
	struct mdev_device mdev;
	char text[64];
};

static struct hello *to_hello(struct mdev_device *mdev)
{
	return (struct hello *)(void *)((char *)mdev - offsetof(struct hello, mdev));
}

static const char *read_text(struct mdev_device *mdev)
{
	return to_hello(mdev)->text;
}

static const struct hello_ops ops = {.read_text = read_text};

static int create(struct mdev_device *mdev, struct vdpa_error *err)
{
	snprintf(to_hello(mdev)->text, sizeof(to_hello(mdev)->text), "hello");
	return mdev_set_class(mdev, HELLO_CLASS, &ops);
}

static int set_attr(struct mdev_device *mdev, const char *key, const char *value,
		    struct vdpa_error *err)
{
	struct hello *h = to_hello(mdev);

	if (snprintf(h->text, sizeof(h->text), "%s", value) >= (int)sizeof(h->text))
		return vdpa_error_set(err, EINVAL, NULL, "a text has at most %zu bytes",
				      sizeof(h->text) - 1);
	return 0;
}

static void show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	emit(arg, "text", to_hello(mdev)->text);
}

static const struct vdpa_attr_spec attrs[] = {
	{.name = "text", .type = VDPA_ATTR_STRING, .help = "what it says (default hello)"},
	{0},
};
static const struct mdev_type types[] = {
	{.id = "text", .device_api = "hello", .instances = 4, .attrs = attrs},
	{0},
};
static const struct mdev_parent_ops parent_ops = {
	.size = sizeof(parent_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct hello),
	.offset = offsetof(struct hello, mdev),
	.create = create,
	.set_attr = set_attr,
	.show = show,
};
static const struct mdev_class classes[] = {{HELLO_CLASS, "hello", "devices that keep a text"},
					    {0}};
static const struct mdev_bus bus = {HELLO_BUS, classes};

static void release(struct mdev_parent *parent)
{
	free(parent);
}

static int init(struct vdpa_ctx *ctx, struct vdpa_error *err)
{
	struct mdev_parent *parent;
	int r = mdev_register_bus(ctx, &bus);

	if (r)
		return r;
	parent = calloc(1, sizeof(*parent));
	if (!parent)
		return -ENOMEM;
	parent->name = "hello";
	parent->ops = &parent_ops;
	parent->types = types;
	parent->release = release;
	r = mdev_register_parent(ctx, parent, err);
	if (r)
		free(parent);
	return r;
}

static const char *const aliases[] = {"mdev_type:hello-*", NULL};

UVDPA_PLUGIN(.name = "hello", .aliases = aliases, .init = init);
