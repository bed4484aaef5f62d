/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the software DSA and its mediated devices share. */
#ifndef DSA_DEV_DEV_IMPL_H
#define DSA_DEV_DEV_IMPL_H

#include <stdatomic.h>

#include <uvdpa/dsa_wq.h>

#include "base/list.h"
#include "dsa/engine.h"
#include "dsa_dev/dev.h"
#include "dsa_dev/vdev.h"

#define DSA_ENGINES_MAX 8u
#define DSA_GROUPS_MAX 4u
#define DSA_RDBUFS 8u
#define DSA_TEXT 64

struct dsa_mdev;

enum dsa_wq_state { DSA_WQ_DISABLED, DSA_WQ_ENABLED, DSA_WQ_LOCKED, DSA_WQ_LEAVING };
enum dsa_wq_type { DSA_WQ_NONE, DSA_WQ_KERNEL, DSA_WQ_USER, DSA_WQ_MDEV };

struct dsa_wq {
	struct dsa_dev *dev;
	char path[DSA_TEXT * 2];
	enum dsa_wq_state state;
	enum dsa_wq_type type;
	bool dedicated, block_on_fault, batch_reversed;
	int group; /* -1: none */
	unsigned size, threshold, priority, max_batch;
	uint64_t max_transfer;
	uint64_t opcap; /* operations that may be asked for, of DSA_OPCAP */
	char name[DSA_TEXT], driver[DSA_TEXT];
	struct dsa_mdev *owner; /* locked: by whom */

	/* Of types kernel and user: see wq.c. */
	const struct dsa_wq_driver *bound; /* while it is not disabled */
	struct list clients;
	_Atomic unsigned in_flight; /* of all clients */
	struct vdpa_done left;	    /* leaving: who waits for the end of it */
};

struct dsa_group {
	struct dsa_engine *engine; /* while the device is enabled, if there is one in it */
	unsigned reserved, allowed;
	bool limited;
};

struct dsa_dev {
	struct list node;
	struct vdpa_ctx *ctx;
	char name[DSA_TEXT];
	unsigned number;
	unsigned nengines, nwqs, ngroups, wq_size, rdbuf_limit;
	bool enabled;
	unsigned changes; /* dsa_dev_begin(): the sum of sizes is looked at in the end */
	bool doomed;	  /* deleted as soon as it is disabled */
	bool closing;	  /* it is being disabled: queues are open still */
	bool freeing;	  /* the same, or engines are on their way out */
	_Atomic unsigned engines_left;
	struct vdpa_loop_msg freed;
	struct vdpa_done disabled;
	int engine_group[DSA_ENGINES_MAX];
	struct dsa_group groups[DSA_GROUPS_MAX];
	struct dsa_wq wqs[DSA_WQS_MAX];
	struct ims *ims;
	uint32_t last_pasid;
	struct mdev_parent parent;
};

struct dsa_devs {
	struct list list;
	struct list drivers;
	struct vdpa_done shutdown;
};

/* What a path names. */
enum dsa_kind { DSA_IS_DEVICE, DSA_IS_WQ, DSA_IS_ENGINE, DSA_IS_GROUP };
struct dsa_path {
	struct dsa_dev *dev;
	enum dsa_kind kind;
	unsigned index;
};

/* dev.c: 0, or -ENODEV with @err. */
int dsa_resolve(struct vdpa_ctx *ctx, const char *path, struct dsa_path *out,
		struct vdpa_error *err);
struct dsa_devs *dsa_devs(struct vdpa_ctx *ctx);

/* A PASID that nobody on @dev has: never 0, and one that was given back is not soon another's. */
uint32_t dsa_new_pasid(struct dsa_dev *dev);

/* dev_config.c */
void dsa_wq_defaults(struct dsa_wq *wq);
/* A queue that was leaving is disabled. */
void dsa_wq_left(struct dsa_wq *wq);

/* wq.c: of types kernel and user */
/* Enable it. -ENODEV: there is no such driver; or the driver's error. */
int dsa_wq_bind(struct dsa_wq *wq, struct vdpa_error *err);
/* Disable it; then @done. */
void dsa_wq_unbind(struct dsa_wq *wq, const struct vdpa_done *done);
bool dsa_wq_has_pasid(struct dsa_wq *wq, uint32_t pasid);
void dsa_wq_free_drivers(struct dsa_devs *devs);
unsigned dsa_group_engines(const struct dsa_dev *dev, unsigned group);

/* mdev_parent.c */
uint32_t dsa_mdev_pasid(const struct dsa_mdev *m);
int dsa_mdev_register(struct dsa_dev *dev, struct vdpa_error *err);

#endif
