/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the software DSA and its mediated devices share. */
#ifndef DSA_DEV_DEV_IMPL_H
#define DSA_DEV_DEV_IMPL_H

#include <stdatomic.h>

#include "base/list.h"
#include "dsa/engine.h"
#include "dsa_dev/dev.h"
#include "dsa_dev/vdev.h"

#define DSA_ENGINES_MAX 8u
#define DSA_GROUPS_MAX 4u
#define DSA_RDBUFS 8u
#define DSA_TEXT 64

struct dsa_mdev;

enum dsa_wq_state { DSA_WQ_DISABLED, DSA_WQ_ENABLED, DSA_WQ_LOCKED };

struct dsa_wq {
	enum dsa_wq_state state;
	bool mdev; /* its type: "mdev", else "none" */
	bool dedicated, block_on_fault;
	int group; /* -1: none */
	unsigned size, threshold, priority, max_batch;
	uint64_t max_transfer;
	char name[DSA_TEXT], driver[DSA_TEXT];
	struct dsa_mdev *owner; /* locked: by whom */
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
	bool doomed;  /* deleted as soon as it is disabled */
	bool freeing; /* it is being disabled: engines are on their way out */
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

/* dev_config.c */
void dsa_wq_defaults(struct dsa_wq *wq);
unsigned dsa_group_engines(const struct dsa_dev *dev, unsigned group);

/* mdev.c */
int dsa_mdev_register(struct dsa_dev *dev, struct vdpa_error *err);

#endif
