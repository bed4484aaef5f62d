// SPDX-License-Identifier: BSD-3-Clause
/*
 * A sample parent of class vfio, to copy from: PCI cards with one serial port, or with two. The
 * stock 8250_pci driver takes them for QEMU's (1b36:0002, 1b36:0003): all ports are in one I/O BAR,
 * eight registers each, and share INTx.
 *
 * mtty_uart.c is the device; here is what makes it a mediated one on a PCI card: regions,
 * interrupt, reset, migration. It does no DMA, so that its client's memory is of no interest.
 *
 * Who attacks: the client, and its guest, by accesses and by a state that is loaded. Threads: all
 * on the control loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/mdev_class.h>
#include "base/list.h"
#include "pci/pci.h"
#include "sample/mtty_uart.h"
#include "sample/samples.h"

/* Of all cards together. */
#define MTTY_MAX_PORTS 24

#define STATE_MAGIC "mtty\1" /* with the version of the form */
#define STATE_HEAD 8	     /* and the number of ports */

struct mtty {
	struct mdev_device mdev;
	struct mtty_uart uart;
	struct pci_dev *pci;
	struct pci_vfio vfio;
	struct vfio_user_server *srv; /* NULL: nobody serves it */
	uint8_t *state;		      /* that is being saved or loaded; NULL: none */
	size_t state_at;	      /* bytes that were read or written */
};

static struct mtty *to_mtty(struct mdev_device *mdev)
{
	return vdpa_container_of(mdev, struct mtty, mdev);
}

/* ---- registers ---- */

static int tell(void *arg, unsigned index, unsigned sub)
{
	const struct mtty *m = arg;

	return m->srv ? vfio_user_irq_trigger(m->srv, index, sub) : -ENOENT;
}

static void update_irq(struct mtty *m)
{
	pci_intx(m->pci, mtty_uart_irq(&m->uart));
}

static int region_read(void *arg, unsigned region, uint64_t off, void *buf, size_t len,
		       const struct vdpa_done *done)
{
	struct mtty *m = arg;
	uint8_t *to = buf;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		pci_config_read(m->pci, (unsigned)off, buf, (unsigned)len);
	} else {
		for (size_t i = 0; i < len; i++)
			to[i] = mtty_uart_read(&m->uart, (unsigned)(off + i));
		update_irq(m);
	}
	vdpa_done_call(done, 0);
	return 0;
}

static int region_write(void *arg, unsigned region, uint64_t off, const void *buf, size_t len,
			const struct vdpa_done *done)
{
	const uint8_t *from = buf;
	struct mtty *m = arg;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		pci_config_write(m->pci, (unsigned)off, buf, (unsigned)len);
	} else {
		for (size_t i = 0; i < len; i++)
			mtty_uart_write(&m->uart, (unsigned)(off + i), from[i]);
		update_irq(m);
	}
	vdpa_done_call(done, 0);
	return 0;
}

static void irqs_changed(void *arg, unsigned index, unsigned start, unsigned count)
{
	pci_irqs_changed(((struct mtty *)arg)->pci, index, start, count);
}

static void irq_mask(void *arg, unsigned index, unsigned sub, bool mask)
{
	pci_irq_mask(((struct mtty *)arg)->pci, index, sub, mask);
}

static int dma_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done)
{
	vdpa_done_call(done, 0);
	return 0;
}

static int dma_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done)
{
	vdpa_done_call(done, 0);
	return 0;
}

/* ---- migration ---- */

static size_t state_bytes(const struct mtty *m)
{
	return STATE_HEAD + m->uart.nports * MTTY_PORT_STATE + pci_state_size(m->pci);
}

static void make_head(const struct mtty *m, uint8_t head[STATE_HEAD])
{
	memset(head, 0, STATE_HEAD);
	memcpy(head, STATE_MAGIC, sizeof(STATE_MAGIC));
	head[STATE_HEAD - 1] = (uint8_t)m->uart.nports;
}

static void save(struct mtty *m)
{
	uint8_t *at = m->state + STATE_HEAD;

	make_head(m, m->state);
	for (unsigned i = 0; i < m->uart.nports; i++, at += MTTY_PORT_STATE)
		mtty_port_save(&m->uart.port[i], at);
	pci_save(m->pci, at);
}

/* All of it is looked at before any of it counts. */
static int load(struct mtty *m)
{
	const uint8_t *at = m->state + STATE_HEAD;
	struct mtty_uart uart = m->uart;
	uint8_t head[STATE_HEAD];
	int r;

	make_head(m, head);
	if (m->state_at != state_bytes(m) || memcmp(m->state, head, sizeof(head)))
		return -EINVAL;
	for (unsigned i = 0; i < uart.nports; i++, at += MTTY_PORT_STATE) {
		if (!mtty_port_load(&uart.port[i], at))
			return -EINVAL;
	}
	r = pci_load(m->pci, at, pci_state_size(m->pci));
	if (r)
		return r;
	m->uart = uart;
	update_irq(m);
	return 0;
}

static void drop_state(struct mtty *m)
{
	free(m->state);
	m->state = NULL;
	m->state_at = 0;
}

static int mig_arc(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		   const struct vdpa_done *done)
{
	struct mtty *m = arg;
	int r = 0;

	if (from == VFIO_USER_MIG_RESUMING)
		r = load(m);
	/* After an error it is still in the state before. */
	if (!r)
		drop_state(m);
	if (to == VFIO_USER_MIG_STOP_COPY || to == VFIO_USER_MIG_RESUMING) {
		m->state = calloc(1, state_bytes(m));
		if (!m->state)
			r = -ENOMEM;
	}
	if (!r && to == VFIO_USER_MIG_STOP_COPY)
		save(m);
	if (!r)
		vdpa_done_call(done, 0);
	return r;
}

static ssize_t mig_read(void *arg, void *buf, size_t len)
{
	struct mtty *m = arg;
	size_t left = state_bytes(m) - m->state_at;

	if (len > left)
		len = left;
	memcpy(buf, m->state + m->state_at, len);
	m->state_at += len;
	return (ssize_t)len;
}

static int mig_write(void *arg, const void *buf, size_t len)
{
	struct mtty *m = arg;

	if (len > state_bytes(m) - m->state_at)
		return -EINVAL;
	memcpy(m->state + m->state_at, buf, len);
	m->state_at += len;
	return 0;
}

static int reset(void *arg, const struct vdpa_done *done)
{
	struct mtty *m = arg;

	drop_state(m);
	mtty_uart_reset(&m->uart);
	pci_reset(m->pci);
	vdpa_done_call(done, 0);
	return 0;
}

static void gone(void *arg, const struct vdpa_done *done)
{
	drop_state(arg);
	vdpa_done_call(done, 0);
}

static const struct vfio_user_ops mtty_ops = {
	.size = sizeof(mtty_ops),
	.gone = gone,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.region_read = region_read,
	.region_write = region_write,
	.irqs_changed = irqs_changed,
	.irq_mask = irq_mask,
	.reset = reset,
	.mig_arc = mig_arc,
	.mig_read = mig_read,
	.mig_write = mig_write,
};

/* ---- the class ---- */

static int describe(struct mdev_device *mdev, struct vfio_user_config *config,
		    struct vdpa_error *err)
{
	struct mtty *m = to_mtty(mdev);

	pci_vfio_describe(m->pci, &m->vfio, config);
	config->ops = &mtty_ops;
	config->arg = m;
	return 0;
}

static void open_device(struct mdev_device *mdev, struct vfio_user_server *srv)
{
	to_mtty(mdev)->srv = srv;
}

static void close_device(struct mdev_device *mdev, const struct vdpa_done *done)
{
	to_mtty(mdev)->srv = NULL;
	vdpa_done_call(done, 0);
}

static const struct mdev_vfio_ops mtty_vfio_ops = {
	.size = sizeof(mtty_vfio_ops),
	.describe = describe,
	.open = open_device,
	.close = close_device,
};

/* ---- the parent ---- */

static unsigned ports_of(const struct mdev_type *type)
{
	return type->id[0] == '1' ? 1 : 2;
}

static int mtty_create(struct mdev_device *mdev, struct vdpa_error *err)
{
	struct mtty *m = to_mtty(mdev);
	const unsigned nports = ports_of(mdev->type);
	const struct pci_dev_params params = {
		.vendor = 0x1b36,
		.device = nports == 1 ? 0x0002 : 0x0003,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x070002, /* 16550 compatible */
		.revision = 1,
		.intx = true,
		.trigger = tell,
		.arg = m,
	};
	const struct pci_bar bar = {.size = nports * MTTY_REGS, .type = PCI_BAR_IO};
	int r = pci_dev_new(&params, &m->pci);

	if (r)
		return r;
	m->uart.nports = nports;
	mtty_uart_reset(&m->uart);
	r = pci_add_bar(m->pci, 0, &bar);
	if (!r)
		r = mdev_set_vfio_ops(mdev, &mtty_vfio_ops);
	if (r)
		pci_dev_free(m->pci);
	return r;
}

static void mtty_remove(struct mdev_device *mdev, const struct vdpa_done *done)
{
	drop_state(to_mtty(mdev));
	pci_dev_free(to_mtty(mdev)->pci);
	vdpa_done_call(done, 0);
}

static unsigned mtty_available(struct mdev_parent *parent, const struct mdev_type *type)
{
	unsigned used = 0;

	for (const struct mdev_type *t = parent->types; t->id; t++)
		used += mdev_count(parent, t) * ports_of(t);
	return (MTTY_MAX_PORTS - used) / ports_of(type);
}

static void mtty_show(struct mdev_device *mdev, vdpa_emit_fn emit, void *arg)
{
	const struct mtty *m = to_mtty(mdev);
	char key[32], value[96];

	for (unsigned i = 0; i < m->uart.nports; i++) {
		const struct mtty_port *p = &m->uart.port[i];

		snprintf(key, sizeof(key), "port%u", i);
		snprintf(value, sizeof(value), "sent %llu received %llu lost %llu",
			 (unsigned long long)p->sent, (unsigned long long)p->received,
			 (unsigned long long)p->lost);
		emit(arg, key, value);
	}
}

static const struct mdev_type mtty_types[] = {
	{
		.id = "1",
		.name = "Single port serial",
		.description = "PCI serial card, 16550A, its port connected with itself",
		.device_api = "vfio-pci",
	},
	{
		.id = "2",
		.name = "Dual port serial",
		.description = "PCI serial card, two 16550A, connected with each other",
		.device_api = "vfio-pci",
	},
	{0},
};

static const struct mdev_parent_ops mtty_parent_ops = {
	.size = sizeof(mtty_parent_ops),
	.device_size = sizeof(struct mdev_device),
	.struct_size = sizeof(struct mtty),
	.offset = offsetof(struct mtty, mdev),
	.create = mtty_create,
	.remove = mtty_remove,
	.available_instances = mtty_available,
	.show = mtty_show,
};

static void mtty_release(struct mdev_parent *parent)
{
	free(parent);
}

int mtty_register(struct vdpa_ctx *ctx)
{
	struct mdev_parent *parent = calloc(1, sizeof(*parent));
	int r;

	if (!parent)
		return -ENOMEM;
	parent->name = "mtty";
	parent->help = "PCI serial cards (a sample)";
	parent->ops = &mtty_parent_ops;
	parent->types = mtty_types;
	parent->release = mtty_release;
	r = mdev_register_parent(ctx, parent, NULL);
	if (r)
		free(parent);
	return r;
}
