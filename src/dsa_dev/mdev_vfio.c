// SPDX-License-Identifier: BSD-3-Clause
/*
 * The mediated device as its VMM sees it: PCI function 8086:0b25 with registers, portals and MSI-X,
 * and the guest's memory, which becomes the address space of the queue.
 *
 * Who attacks: the guest and its VMM. What comes here was checked to lie inside of its region.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "dsa_dev/mdev_impl.h"

#define REVISION 1u

static struct dsa_mdev *mdev_of(struct mdev_device *mdev)
{
	return vdpa_container_of(mdev, struct dsa_mdev, mdev);
}

/* ---- the function ---- */

static int trigger(void *arg, unsigned index, unsigned sub)
{
	return dsa_mdev_signal(arg, index, sub);
}

static int add_parts(struct pci_dev *pci, unsigned vectors)
{
	const struct pci_bar regs = {DSA_BAR0_BYTES, PCI_BAR_MEM64, true};
	const struct pci_bar portals = {DSA_BAR2_BYTES, PCI_BAR_MEM64, true};
	const struct pci_msix msix = {
		.vectors = vectors, .table_off = DSA_MSIX_TABLE, .pba_off = DSA_MSIX_PBA};
	int r = pci_add_bar(pci, 0, &regs);

	if (!r)
		r = pci_add_bar(pci, 2, &portals);
	if (r >= 0)
		r = pci_add_pm(pci);
	if (r >= 0)
		r = pci_add_express(pci, PCI_EXP_TYPE_RC_END, true);
	if (r >= 0)
		r = pci_add_msix(pci, &msix);
	return r < 0 ? r : 0;
}

int dsa_mdev_pci_new(struct dsa_mdev *m)
{
	const struct pci_dev_params params = {
		.vendor = DSA_PCI_VENDOR,
		.device = DSA_PCI_DEVICE,
		.subsystem_vendor = DSA_PCI_VENDOR,
		.class_code = DSA_PCI_CLASS,
		.revision = REVISION,
		.express = true,
		.trigger = trigger,
		.arg = m,
	};
	int r = pci_dev_new(&params, &m->pci);

	return r ? r : add_parts(m->pci, dsa_mdev_vectors(m));
}

/* ---- portals as memory ---- */

static bool poll_portals(struct vdpa_loop_poller *poller)
{
	return dsa_vdev_poll(vdpa_container_of(poller, struct dsa_mdev, poller)->vdev);
}

void dsa_mdev_watch(struct dsa_mdev *m, bool watch)
{
	watch = watch && m->pages;
	if (watch == m->watching)
		return;
	m->watching = watch;
	if (watch)
		vdpa_loop_poller_add(vdpa_ctx_control(m->dev->ctx), &m->poller, poll_portals);
	else
		vdpa_loop_poller_del(&m->poller);
}

int dsa_mdev_map_portals(struct dsa_mdev *m, struct vdpa_error *err)
{
	if (m->pages_fd >= 0)
		return 0;
	m->pages_fd = memfd_create("uvdpa-dsa-portals", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->pages_fd < 0)
		return vdpa_error_set(err, errno, m->mdev.uuid, "no memory for portals");
	m->pages = MAP_FAILED;
	/* The VMM has this file too: it must not be able to take the pages away. */
	if (!ftruncate(m->pages_fd, DSA_BAR2_BYTES) &&
	    !fcntl(m->pages_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		m->pages = mmap(NULL, DSA_BAR2_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
				m->pages_fd, 0);
	if (m->pages != MAP_FAILED)
		return 0;
	vdpa_fd_close(&m->pages_fd);
	m->pages = NULL;
	return vdpa_error_set(err, ENOMEM, m->mdev.uuid, "no memory for portals");
}

void dsa_mdev_unmap_portals(struct dsa_mdev *m)
{
	if (m->pages_fd < 0)
		return;
	munmap(m->pages, DSA_BAR2_BYTES);
	m->pages = NULL;
	vdpa_fd_close(&m->pages_fd);
}

/* ---- vfio-user's operations ---- */

static int finished(const struct vdpa_done *done, int r)
{
	if (!r)
		vdpa_done_call(done, 0);
	return r;
}

static void connected(void *arg)
{
	struct dsa_mdev *m = arg;

	dsa_vdev_set_pages(m->vdev, m->pages);
}

/* Nothing of the next client's shall meet what is left of this one's. */
static void gone(void *arg, const struct vdpa_done *done)
{
	struct dsa_mdev *m = arg;

	dsa_vdev_set_pages(m->vdev, NULL);
	dsa_mdev_reset(m, done);
}

static int dma_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	struct dsa_mdev *m = arg;

	/* A VMM maps whatever is memory to it, mapped portals too. No descriptor reaches them: what
	 * writes descriptors would go on for ever. */
	if (pci_bar_overlaps(m->pci, dma->iova, dma->size))
		return finished(done, 0);
	return finished(done,
			vdpa_as_map(m->as, dma->iova, dma->size, vdpa_region_addr(dma->region, 0),
				    dma->perm, dma->region));
}

static int dma_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	struct dsa_mdev *m = arg;

	return vdpa_as_unmap(m->as, iova, iova + (size - 1), done);
}

static int region_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		       const struct vdpa_done *done)
{
	struct dsa_mdev *m = arg;
	int r = 0;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		pci_config_read(m->pci, (unsigned)off, buf, (unsigned)len);
	else if (region != VFIO_PCI_BAR0_REGION_INDEX)
		memset(buf, 0, len); /* portals */
	else if (!pci_msix_read(m->pci, region, off, buf, (unsigned)len))
		r = dsa_vdev_read(m->vdev, off, buf, len);
	return finished(done, r);
}

static int write_config(struct dsa_mdev *m, uint64_t off, const void *buf, size_t len,
			const struct vdpa_done *done)
{
	unsigned events = pci_config_write(m->pci, (unsigned)off, buf, (unsigned)len);

	if (events & PCI_EVENT_FLR)
		dsa_mdev_reset(m, done);
	else if (events & PCI_EVENT_COMMAND && !pci_bus_master(m->pci))
		dsa_vdev_stop(m->vdev, done);
	else
		vdpa_done_call(done, 0);
	return 0;
}

static int region_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
			const struct vdpa_done *done)
{
	struct dsa_mdev *m = arg;
	int r = 0;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return write_config(m, off, buf, len, done);
	if (region != VFIO_PCI_BAR0_REGION_INDEX)
		r = dsa_vdev_portal_write(m->vdev, off, buf, len);
	else if (!pci_msix_write(m->pci, region, off, buf, (unsigned)len))
		r = dsa_vdev_write(m->vdev, off, buf, len);
	return finished(done, r);
}

static void irqs_changed(void *arg, unsigned index, unsigned start, unsigned count)
{
	struct dsa_mdev *m = arg;

	pci_irqs_changed(m->pci, index, start, count);
}

static int reset(void *arg, const struct vdpa_done *done)
{
	dsa_mdev_reset(arg, done);
	return 0;
}

static const struct vfio_user_ops ops = {
	.size = sizeof(ops),
	.connected = connected,
	.gone = gone,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.region_read = region_read,
	.region_write = region_write,
	.irqs_changed = irqs_changed,
	.reset = reset,
};

/* ---- class vfio ---- */

static int describe(struct mdev_device *mdev, struct vfio_user_config *config,
		    struct vdpa_error *err)
{
	struct dsa_mdev *m = mdev_of(mdev);
	struct vfio_user_region *bar2 = &m->vfio.regions[VFIO_PCI_BAR2_REGION_INDEX];

	pci_vfio_describe(m->pci, &m->vfio, config);
	if (m->pages) {
		/* Portals for MSI-X; those for IMS are trapped. */
		for (uint64_t i = 0; i < m->nqueues; i++)
			m->areas[i] = (struct vfio_user_area){
				i * DSA_PORTALS_PER_WQ * DSA_PORTAL_BYTES, 2ull * DSA_PORTAL_BYTES};
		bar2->flags |= VFIO_REGION_INFO_FLAG_MMAP;
		bar2->fd = m->pages_fd;
		bar2->areas = m->areas;
		bar2->nareas = m->nqueues;
	}
	config->ops = &ops;
	config->arg = m;
	return 0;
}

static void set_server(struct dsa_mdev *m, struct vfio_user_server *srv)
{
	pthread_mutex_lock(&m->srv_lock);
	m->srv = srv;
	pthread_mutex_unlock(&m->srv_lock);
}

static void open_device(struct mdev_device *mdev, struct vfio_user_server *srv)
{
	set_server(mdev_of(mdev), srv);
}

/* The VMM is asked for the device back; whether it listens or not, the device goes. */
static void close_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	struct dsa_mdev *m = mdev_of(mdev);

	dsa_mdev_signal(m, VFIO_PCI_REQ_IRQ_INDEX, 0);
	set_server(m, NULL);
	vdpa_done_call(done, 0);
}

const struct mdev_vfio_ops dsa_mdev_vfio_ops = {
	.size = sizeof(dsa_mdev_vfio_ops),
	.describe = describe,
	.open = open_device,
	.close = close_device,
};
