/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work queues of software DSAs, for code in the daemon's process: drivers of queues, which are told
 * when one of theirs is enabled, as those of the kernel's idxd are; and users, who open a queue by
 * its path, as programs open /dev/dsa/wq0.0.
 *
 *	type	driver
 *	mdev	"mdev": mediated devices take it; nothing of this header concerns it
 *	user	"user": dsa_wq_find(), then dsa_wq_open(), by anybody
 *	kernel	the one that driver_name names, which was registered here
 *
 * Who opens a queue gets a PASID, which stands for the memory of this process: addresses in
 * descriptors are pointers. A dedicated queue is opened once at a time; who opens a shared one
 * shares its entries with the others, and can neither wait for nor abort their work.
 *
 * A plugin (plugin.h) is started when a driver is wanted that nobody has registered, by the
 * MODALIAS dsa_driver:NAME. examples/dsa_wq_plugin.c is one.
 *
 * Threads: the control thread, where another rule is not given.
 *
 * Since 0.1. Built in when libisal was there.
 */
#ifndef UVDPA_DSA_WQ_H
#define UVDPA_DSA_WQ_H

#include <uvdpa/vdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dsa_hw_desc; /* linux/idxd.h */
struct dsa_wq;
struct dsa_wq_client; /* who opened one */

/* ---- drivers ---- */

struct dsa_wq_driver {
	size_t size;	  /**< sizeof(struct dsa_wq_driver) */
	const char *name; /**< a queue's driver_name; none of "none", "user", "mdev" */
	const char *help; /**< one line, for people */
	/**
	 * @wq was enabled, and may be opened. 0, or -errno with @err: it is not, there is no
	 * remove(), and who has opened it is told by gone().
	 */
	int (*probe)(struct dsa_wq *wq, struct vdpa_error *err);
	/**
	 * It is to be disabled, and is when all that was opened is closed. Before gone() of those
	 * who opened it. May be NULL.
	 */
	void (*remove)(struct dsa_wq *wq);
};

/** @driver stays until it is unregistered. 0; -EINVAL (a member), -EEXIST (the name), -ENOMEM. */
VDPA_API int dsa_wq_register_driver(struct vdpa_ctx *ctx, const struct dsa_wq_driver *driver,
				    struct vdpa_error *err);
/** -EBUSY: a queue is enabled for it; -ENOENT. */
VDPA_API int dsa_wq_unregister_driver(struct vdpa_ctx *ctx, const struct dsa_wq_driver *driver);

/* ---- queues ---- */

/** The queue of type user that @path ("dsa0/wq0.1") names, which is enabled; NULL: it is not. */
VDPA_API struct dsa_wq *dsa_wq_find(struct vdpa_ctx *ctx, const char *path);
VDPA_API struct vdpa_ctx *dsa_wq_ctx(const struct dsa_wq *wq);
/** "dsa0/wq0.1", for people. Valid as long as its device is. */
VDPA_API const char *dsa_wq_path(const struct dsa_wq *wq);

/** Members but @size and gone may be 0. */
struct dsa_wq_params {
	size_t size; /**< sizeof(struct dsa_wq_params) */
	/**
	 * A descriptor has ended, after its record was written. @status: as in the record,
	 * DSA_COMP_NONE when it was aborted. On any thread, several at a time; may submit.
	 */
	void (*completed)(void *arg, void *cookie, uint8_t status);
	/** The queue is to be disabled: dsa_wq_close(), now or soon. */
	void (*gone)(void *arg);
	void *arg;
};

/**
 * 0; -EINVAL (params), -EBUSY (it is dedicated, and open), -ENODEV (it is not enabled), -ENOMEM,
 * with @err.
 */
VDPA_API int dsa_wq_open(struct dsa_wq *wq, const struct dsa_wq_params *params,
			 struct dsa_wq_client **out, struct vdpa_error *err);
/**
 * Nothing is submitted any more. What is in flight is aborted; when none of it touches memory,
 * @done is called, not before this returns, and @client is no more.
 */
VDPA_API void dsa_wq_close(struct dsa_wq_client *client, const struct vdpa_done *done);

/**
 * Submit @desc, of 64 bytes, which is copied. 0; -EAGAIN: the queue is full, or of a shared queue
 * of type user, its threshold is reached: try again. What is wrong with a descriptor its record
 * tells. The PASID in @desc does not count. Any thread.
 */
VDPA_API int dsa_wq_submit(struct dsa_wq_client *client, const struct dsa_hw_desc *desc,
			   void *cookie);
/** Not 0; no other client's or mediated device's of the same DSA. Any thread. */
VDPA_API uint32_t dsa_wq_pasid(const struct dsa_wq_client *client);

#ifdef __cplusplus
}
#endif
#endif
