// SPDX-License-Identifier: BSD-3-Clause
/* The one place that names every parent and bus driver that is built in. */
#include <uvdpa/mdev_class.h>
#include <uvdpa/vdpa.h>
#include <uvdpa/vhost_user.h>
#include <uvdpa/virtio.h>
#include "driver/vduse_export/export.h"
#include "driver/vhost_cdev/cdev.h"
#include "driver/virtio_pci/virtio_pci.h"
#include "parent/soft/mgmt.h"
#include "parent/vduse/vduse.h"
#include "sample/samples.h"
#include "uvdpa-config.h"

int vdpa_register_builtin(struct vdpa_ctx *ctx)
{
	int r = 0;

#ifdef VDPA_HAVE_SOFT_NET
	r = soft_net_register(ctx);
#endif
#ifdef VDPA_HAVE_SOFT_BLK
	if (!r)
		r = soft_blk_register(ctx);
#endif
#ifdef VDPA_HAVE_VDUSE_PARENT
	if (!r)
		r = vduse_parent_register(ctx);
#endif
#ifdef VDPA_HAVE_VIRTIO_VDPA
	if (!r)
		r = vdpa_register_driver(ctx, &virtio_vdpa_driver);
#endif
#ifdef VDPA_HAVE_VHOST_USER
	if (!r)
		r = vdpa_register_driver(ctx, vhost_user_driver());
#endif
	if (!r)
		r = vdpa_register_driver(ctx, vhost_cdev_driver());
#ifdef VDPA_HAVE_VDUSE
	if (!r)
		r = vdpa_register_driver(ctx, vduse_export_driver());
#endif
#ifdef VDPA_HAVE_MDEV
	if (!r)
		r = mdev_register_classes(ctx);
	if (!r)
		r = mvnet_loopback_register(ctx);
#ifdef VDPA_HAVE_VFIO_USER
	if (!r)
		r = mtty_register(ctx);
#endif
#endif
#ifdef VDPA_HAVE_VIRTIO_PCI
	if (!r)
		r = vdpa_register_driver(ctx, virtio_pci_driver());
#endif
	return r;
}
