/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bus driver "virtio-pci": a bound device is a virtio device on PCI (virtio 1.3, section 4.1),
 * which a VMM uses through vfio-user. Modern only: there is no legacy interface.
 *
 * driver.c   bind, unbind, show; the vfio-user server
 * layout.c   where everything lies: BARs, capabilities
 * access.c   what is read and written: configuration space, BARs, doorbells
 * regs.c     the registers of the common configuration, and the interrupt status
 * work.c     what registers ask for, done to the device: open, reset, negotiation, start
 * vq.c       one queue: start, reset, kicks and calls
 * ops.c      what else the client asks for and has to wait for: memory, dirty log, reset
 * migrate.c  states of migration
 *
 * Threads. The server runs on the loop of the device's first queue, so that a doorbell that comes
 * as a message is there at once; a device can only be changed on the control loop. So the registers
 * are the server's, and answer by themselves; what a write asks of the device is left as a wish
 * that the control loop fulfils, in the order of struct vpci_wish. A write that cannot be answered
 * before that (FEATURES_OK: the driver reads the answer back) ends later. Whatever the two share is
 * under the lock, which nobody holds while calling anything that could wait.
 *
 * A read never waits: where the client's memory is reached by messages, the client may not answer
 * them before it has the answer to its read. A reset takes as long as requests are in flight; until
 * then the status does not read as 0, and queue_reset reads as 1, as the specification has it.
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <linux/virtio_pci.h>
#include <uvdpa/compat.h>
#include <uvdpa/vfio_user.h>
#include <uvdpa/vhost_vdpa.h>

#include "pci/pci.h"

/* ---- layout.c ---- */

/* BAR 0: one page each, and a doorbell of four bytes per queue. */
#define VPCI_BAR 0u
#define VPCI_COMMON 0x0000u
#define VPCI_ISR 0x1000u
#define VPCI_DEVICE 0x2000u
#define VPCI_NOTIFY 0x3000u
#define VPCI_NOTIFY_STRIDE 4u
#define VPCI_CONFIG_MAX 0x1000u
/* Up to queue_reset: admin queues are not offered (virtio 1.3, section 4.1.4.3). */
#define VPCI_COMMON_BYTES 60u
#define VPCI_MSIX_BAR 2u

#define VPCI_NO_VECTOR VIRTIO_MSI_NO_VECTOR
#define VPCI_ISR_QUEUE 0x1u

struct vpci;

struct vpci_layout {
	bool msix; /* given */
	unsigned vectors;
	unsigned pci_cfg; /* offset of the capability with a window into the BARs */
};
/* 0 or -errno with @err. */
int vpci_layout(struct vpci *d, struct vdpa_error *err);

/* ---- a queue ---- */

struct vpci_vq {
	struct vpci *d;
	uint16_t idx;
	uint16_t max;

	/* Registers: under the lock. */
	uint16_t size;
	uint64_t addr[3]; /* descriptors, driver's area, device's area */
	bool enabled;
	bool start_wanted;
	bool reset_wanted, resetting;

	/* Any thread. */
	_Atomic uint16_t vector;
	_Atomic uint64_t calls, doorbells;

	/* Control. */
	bool running;
	int kick; /* an eventfd, all the time */
	struct vdpa_loop_fd watch;
};

/* ---- registers: under the lock ---- */

#define VPCI_FEATURE_WORDS 4u /* of 32 bits */

struct vpci_regs {
	uint32_t device_select, driver_select;
	uint32_t features[VPCI_FEATURE_WORDS];
	uint16_t queue_select;
	uint8_t status;
	bool used;	    /* the device was told something since it was reset */
	bool resetting;	    /* what the status reads as is */
	uint8_t old_status; /* this */
	bool needs_reset;   /* the device does */
	uint8_t config[VPCI_CONFIG_MAX];
	uint32_t generation;
};

/* What the control loop shall do, in this order. Under the lock. */
struct vpci_wish {
	bool open;   /* a client came */
	bool reset;  /* the driver resets the device */
	bool queues; /* some queue has a wish */
	bool start;  /* DRIVER_OK */
	bool look;   /* the configuration, or the device's state, changed */
	bool irq;    /* and the driver is to be told */
};

/* A request that the server waits for; one at a time. */
struct vpci_op {
	/* Control. 0: op ends later, by vpci_op_end(); else what it ended with (0 is VPCI_OVER). */
	int (*run)(struct vpci *d, struct vpci_op *op);
	struct vdpa_done done;
	bool now;	      /* also while a queue on the control loop waits for memory */
	uint64_t patience_ns; /* 0: none; else it ends after so long, with 0, if it has not begun */
	struct vfio_user_dma dma;
	uint8_t status;
	struct {
		uint64_t off;
		const void *buf;
		size_t len;
	} config;
	struct vdpa_dirty_log *log;
	enum vfio_user_mig_state from, to;
};
#define VPCI_OVER 1

struct vpci {
	struct vdpa_device *vdev;
	struct vhost_vdpa *v;
	struct pci_dev *pci;
	struct vfio_user_server *_Atomic server;
	struct vpci_layout layout;
	char *path;
	uint64_t offered[2]; /* features */

	pthread_mutex_t lock;
	struct vpci_regs regs;
	struct vpci_wish wish;
	struct vpci_vq *vq; /* vdev->nvqs */

	/* Any thread. */
	_Atomic uint16_t config_vector;
	_Atomic uint8_t isr;
	_Atomic bool woken, connected, missed;
	struct vdpa_loop_msg wake_msg;

	/* From the server to the control loop: its until it is done. */
	struct vpci_op op;
	struct vdpa_loop_msg op_msg;

	/* Control. */
	bool open, started, busy, working, op_pending;
	bool failed; /* what the driver asked for could not be done */
	bool loaded; /* a state, and it was not resumed yet */
	bool strict; /* holes in the memory are faults */
	struct vdpa_loop_timer op_timer, hole_timer;
	struct vdpa_subscriber events;
	struct vdpa_ratelimit limit;
	struct vpci_vq *resetting_vq;
	struct vdpa_done removed;
	struct vdpa_loop_sync sync;

	/* The state that is saved or loaded: the op's, and the server's between ops. */
	uint8_t *state;
	size_t state_bytes, state_at;
};

#define vpci_log(d, level, ...)                                                                    \
	vdpa_log_limited(vdpa_ctx_log((d)->vdev->ctx), &(d)->limit, level, (d)->vdev->name,        \
			 __VA_ARGS__)

/* ---- access.c ---- */

const struct vfio_user_ops *vpci_ops(const struct vdpa_device *vdev);

/* ---- regs.c ---- */

void vpci_common_read(struct vpci *d, unsigned off, void *buf, unsigned len);
/* As struct vfio_user_ops has it. */
int vpci_common_write(struct vpci *d, unsigned off, const void *buf, unsigned len,
		      const struct vdpa_done *done);
/* Read and clear; the line falls. */
uint8_t vpci_isr_take(struct vpci *d);
/* The driver, or the client, resets the device: all registers, and a wish. */
void vpci_regs_reset(struct vpci *d);
/* Under the lock: to what they are after a reset. */
void vpci_regs_init(struct vpci *d);

/* ---- work.c ---- */

/* There may be a wish. Any thread. */
void vpci_wake(struct vpci *d);
/* The server's loop: have it run on control. */
void vpci_op_post(struct vpci *d, const struct vpci_op *op);
/* Control. */
void vpci_op_end(struct vpci *d, int result);
struct vdpa_done vpci_op_done(struct vpci *d);
void vpci_work(struct vpci *d);
/* Control: the device cannot go on. */
void vpci_broke(struct vpci *d, const char *why);
/* Control: look at the device's configuration and status again. */
void vpci_look(struct vpci *d);
int vpci_negotiate(struct vpci *d, struct vpci_op *op);
/* Control: memory came, or everything is new: a hole may be filled again. */
void vpci_forgive(struct vpci *d);
/* Control: the client has gone. */
int vpci_close(struct vpci *d, struct vpci_op *op);

/* ---- vq.c ---- */

int vpci_vqs_new(struct vpci *d);
void vpci_vqs_free(struct vpci *d);
/* Control: let the device have the queue. 0 or -errno. */
int vpci_vq_start(struct vpci_vq *q);
/* The same of one that has been loaded into the device. */
int vpci_vq_wire(struct vpci_vq *q);
/* The device was reset. */
void vpci_vqs_stopped(struct vpci *d);
/* The next queue that wishes something; true: a reset is under way, or something was done. */
bool vpci_vq_wish(struct vpci *d);
/* A doorbell. Any thread. */
void vpci_kick(struct vpci *d, uint16_t idx);
/* Interrupts. Any thread. */
void vpci_config_irq(struct vpci *d);

/* ---- ops.c, migrate.c: of struct vfio_user_ops ---- */

int vpci_dma_map(void *arg, const struct vfio_user_dma *dma, const struct vdpa_done *done);
int vpci_dma_unmap(void *arg, iova_t iova, uint64_t size, const struct vdpa_done *done);
int vpci_dirty_log(void *arg, struct vdpa_dirty_log *log, const struct vdpa_done *done);
int vpci_reset(void *arg, const struct vdpa_done *done);
void vpci_gone(void *arg, const struct vdpa_done *done);
/* A configuration space was written; @buf lives until @done. */
int vpci_config_write(struct vpci *d, unsigned off, const void *buf, unsigned len,
		      const struct vdpa_done *done);
int vpci_mig_arc(void *arg, enum vfio_user_mig_state from, enum vfio_user_mig_state to,
		 const struct vdpa_done *done);
ssize_t vpci_mig_read(void *arg, void *buf, size_t len);
int vpci_mig_write(void *arg, const void *buf, size_t len);
void vpci_mig_free(struct vpci *d);

static inline bool vpci_has(const struct vpci *d, unsigned bit)
{
	return d->regs.features[bit / 32] >> (bit % 32) & 1;
}

const struct vdpa_driver *virtio_pci_driver(void);

#endif
