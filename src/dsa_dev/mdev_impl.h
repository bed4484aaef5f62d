/* SPDX-License-Identifier: BSD-3-Clause */
/* A mediated device that is a DSA: what its files share. */
#ifndef DSA_DEV_MDEV_IMPL_H
#define DSA_DEV_MDEV_IMPL_H

#include <uvdpa/mdev_class.h>

#include "dsa_dev/dev_impl.h"
#include "pci/pci.h"

#define DSA_MDEV_RESETS 3u

/* Someone waits for descriptors of a queue: see quiesce(). */
struct mdev_wait {
	struct dsa_wait wait;
	struct vdpa_loop_msg msg;
	struct dsa_mdev *m;
	enum dsa_vdev_why why;
};

/* A queue of the guest's is one of the parent's. */
struct mdev_queue {
	struct dsa_mdev *m;
	struct dsa_wq *wq;
	struct dsa_queue *queue;  /* while the guest's is enabled */
	unsigned size, threshold; /* of it */
	struct mdev_wait waits[DSA_VDEV_WHYS];
};

/* All is the control thread's, but what says otherwise. */
struct dsa_mdev {
	struct mdev_device mdev;
	struct dsa_dev *dev;
	unsigned nqueues, group; /* all are in one group, whose engines they have */
	struct mdev_queue queues[DSA_WQS_MAX];
	uint32_t pasid;
	struct vdpa_as *as;
	struct dsa_space *space;
	struct ims_vectors *vectors;
	struct pci_dev *pci;
	bool configurable; /* the guest may configure queues */
	struct dsa_vdev *vdev;
	unsigned waits[DSA_VDEV_WHYS];		      /* queues that are waited for */
	struct vdpa_done reset_done[DSA_MDEV_RESETS]; /* of who waits for the reset under way */
	unsigned nresets;
	struct vdpa_done remove_done;

	/* Portals as memory. */
	int pages_fd; /* -1: every write is trapped */
	void *pages;
	struct vfio_user_area areas[DSA_WQS_MAX];
	struct vdpa_loop_poller poller;
	bool watching;

	struct pci_vfio vfio;
	/* Engines signal interrupts on threads of their own. */
	pthread_mutex_t srv_lock;
	struct vfio_user_server *srv; /* NULL: nobody listens */
};

/* mdev.c */
/* Take the @n queues of @wqs, which are locked then. -errno: nothing was changed. */
int dsa_mdev_build(struct dsa_mdev *m, struct dsa_wq *const *wqs, unsigned n);
/* Nothing is in flight. Queues are free again. */
void dsa_mdev_demolish(struct dsa_mdev *m);
/* May the guest configure queues? While nobody is connected. 0, -ENOMEM. */
int dsa_mdev_set_configurable(struct dsa_mdev *m, bool configurable);
/* Nothing is in flight, all is as new; then @done. Calls may overlap. */
void dsa_mdev_reset(struct dsa_mdev *m, const struct vdpa_done *done);
int dsa_mdev_signal(struct dsa_mdev *m, unsigned index, unsigned sub);
/* MSI-X: 0 is the device's own, then one of each queue. */
static inline unsigned dsa_mdev_vectors(const struct dsa_mdev *m)
{
	return 1 + m->nqueues;
}

/* mdev_vfio.c */
extern const struct mdev_vfio_ops dsa_mdev_vfio_ops;
int dsa_mdev_pci_new(struct dsa_mdev *m);
int dsa_mdev_map_portals(struct dsa_mdev *m, struct vdpa_error *err);
void dsa_mdev_unmap_portals(struct dsa_mdev *m);
/* Look at portals that are memory, all the time; or no more. */
void dsa_mdev_watch(struct dsa_mdev *m, bool watch);

#endif
