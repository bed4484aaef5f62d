/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio device that is a PCI device behind vfio-user, for the drivers of the virtio bus: it does
 * by our own client what a kernel's virtio-pci does by loads and stores. Control thread, all of it.
 */
#ifndef TESTS_PCI_FRONT_H
#define TESTS_PCI_FRONT_H

#include "driver/virtio/device.h"
#include <uvdpa/vfio_user.h>

struct pci_front_config {
	const char *path;
	const struct virtio_options *options;
	bool by_message; /* no file comes with the memory */
	bool intx;	 /* no MSI-X */
	bool post;	 /* doorbells are messages, no ioeventfds */
	bool unserved;	 /* the server has no requests for us: its socket is not looked at */
};

/* 0 or -errno with @err. */
int pci_front_new(struct vdpa_ctx *ctx, const struct pci_front_config *config,
		  struct virtio_device **out, struct vdpa_error *err);
void pci_front_free(struct virtio_device *dev, const struct vdpa_done *done);
struct vfio_user_client *pci_front_client(struct virtio_device *dev);
/* The doorbell of queue @index is an ioeventfd. */
bool pci_front_has_ioeventfd(struct virtio_device *dev, uint16_t index);

/* ---- registers, for tests without a driver ---- */

/* Where the structures lie: found as a driver finds them. */
struct pci_front_layout {
	unsigned bar;
	uint32_t common, isr, device, notify, multiplier;
	uint32_t device_bytes;
	unsigned pci_cfg;	/* offset of the capability */
	unsigned msix, vectors; /* of the MSI-X capability, 0: none */
};
/* 0 or -errno. */
int pci_front_find(struct vfio_user_client *c, struct pci_front_layout *layout);

#endif
