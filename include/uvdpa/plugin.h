/* SPDX-License-Identifier: BSD-3-Clause */
/* clang-format off */
/*
 * Plugins of uvdpad: shared objects in its --plugin-dir that bring management devices of the vDPA
 * bus (vdpa.h), parents and drivers of mediated devices, and drivers of a DSA's queues, without
 * being built with it. Each exports one description, by UVDPA_PLUGIN. It is looked at when the
 * daemon starts, and its init is called when a MODALIAS comes that it is for:
 *
 *	uvdpad:start		the daemon starts
 *	mdev_virtio:c01		a mediated device of this bus and class was made (mdev.h)
 *	mdev_type:TYPE		a device of a type that no parent has is asked for
 *	dsa_driver:NAME		a queue is enabled for a driver that nobody has registered (dsa_wq.h)
 *
 * A plugin is not linked with libuvdpa: what it calls is the daemon's.
 *
 * Since 0.1.
 */
/* clang-format on */
#ifndef UVDPA_PLUGIN_H
#define UVDPA_PLUGIN_H

#include <uvdpa/vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Goes up when a plugin of before cannot be used any more. */
#define UVDPA_PLUGIN_VERSION 1u

struct uvdpa_plugin {
	uint32_t version; /**< UVDPA_PLUGIN_VERSION */
	uint32_t size;	  /**< sizeof(struct uvdpa_plugin) */
	const char *name; /**< for people */
	/** MODALIASes that it is for, as in a shell ("mdev_type:hello-*"); ended by NULL. */
	const char *const *aliases;
	/**
	 * Register what there is. Once, on the control thread. 0, or -errno with @err and nothing
	 * left registered. The object stays loaded until the context was freed.
	 */
	int (*init)(struct vdpa_ctx *ctx, struct vdpa_error *err);
};

/** UVDPA_PLUGIN(.name = "hello", .aliases = aliases, .init = init) */
#define UVDPA_PLUGIN(...)                                                                          \
	extern const struct uvdpa_plugin uvdpa_plugin;                                             \
	VDPA_API const struct uvdpa_plugin uvdpa_plugin = {                                        \
		.version = UVDPA_PLUGIN_VERSION, .size = sizeof(struct uvdpa_plugin), __VA_ARGS__}

#ifdef __cplusplus
}
#endif
#endif
