/* SPDX-License-Identifier: BSD-3-Clause */
/* A mediated device that is a DSA: what its files share. */
#ifndef DSA_DEV_MDEV_IMPL_H
#define DSA_DEV_MDEV_IMPL_H

#include <uvdpa/mdev_class.h>

#include "dsa_dev/dev_impl.h"
#include "pci/pci.h"

#define DSA_MDEV_RESETS 3u

/* Someone waits for descriptors: see quiesce(). */
struct mdev_wait {
	struct dsa_wait wait;
	struct vdpa_loop_msg msg;
	struct dsa_mdev *m;
	enum dsa_vdev_why why;
};

/* All is the control thread's, but what says otherwise. */
struct dsa_mdev {
	struct mdev_device mdev;
	struct dsa_dev *dev;
	struct dsa_wq *wq;
	uint32_t pasid;
	struct vdpa_as *as;
	struct dsa_space *space;
	struct dsa_queue *queue;  /* while the guest's queue is enabled */
	unsigned size, threshold; /* of it */
	struct ims_vectors *vectors;
	struct pci_dev *pci;
	struct dsa_vdev *vdev;
	struct mdev_wait waits[DSA_VDEV_WHYS];
	struct vdpa_done reset_done[DSA_MDEV_RESETS]; /* of who waits for the reset under way */
	unsigned nresets;
	struct vdpa_done remove_done;

	/* Portals as memory. */
	int pages_fd; /* -1: every write is trapped */
	void *pages;
	struct vfio_user_area areas[1];
	struct vdpa_loop_poller poller;

	struct pci_vfio vfio;
	/* Engines signal interrupts on threads of their own. */
	pthread_mutex_t srv_lock;
	struct vfio_user_server *srv; /* NULL: nobody listens */
};

/* mdev.c */
/* Nothing is in flight, all is as new; then @done. Calls may overlap. */
void dsa_mdev_reset(struct dsa_mdev *m, const struct vdpa_done *done);
int dsa_mdev_signal(struct dsa_mdev *m, unsigned index, unsigned sub);

/* mdev_vfio.c */
extern const struct mdev_vfio_ops dsa_mdev_vfio_ops;
int dsa_mdev_pci_new(struct dsa_mdev *m);
int dsa_mdev_map_portals(struct dsa_mdev *m, struct vdpa_error *err);
void dsa_mdev_unmap_portals(struct dsa_mdev *m);
/* Look at portals that are memory, all the time; or no more. */
void dsa_mdev_watch(struct dsa_mdev *m, bool watch);

#endif
