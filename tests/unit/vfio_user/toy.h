/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device for the tests of vfio-user, and a client of it. The server is on the control loop, which
 * a thread of its own runs; the test's thread is the client.
 *
 * Region 0: registers, that keep what is written. Writes to COPY_* copy the client's memory, on the
 * server's loop or on a worker. Region 1: can be mapped in two pieces. Region 2: read only. Region
 * 3: none.
 */
#ifndef TESTS_VFIO_USER_TOY_H
#define TESTS_VFIO_USER_TOY_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/vfio.h>
#include <uvdpa/log.h>
#include <uvdpa/vfio_user.h>

#define TOY_REGS 0x1000
#define TOY_COPY_HERE 0x100  /* 24 bytes: from, to, length; done when the write is answered */
#define TOY_COPY_THERE 0x140 /* the same, by a worker */
#define TOY_COUNT 0x180	     /* adds what is written */
#define TOY_BITMAP_PAGES 64

struct toy {
	struct vdpa_loop_group *group;
	struct vdpa_loop *loop;
	pthread_t thread;
	char path[108];
	struct vfio_user_server *srv;
	struct vfio_user_client *client;
	bool lazy; /* answers later, and from a worker */
	struct vdpa_log log;
	_Atomic bool said_slow; /* a line was logged that says so */

	/* The device. */
	uint8_t regs[TOY_REGS];
	int memfd, doorbell;
	struct vdpa_as *as;
	struct vdpa_view *view, *worker_view;
	_Atomic unsigned connected, gone, maps, resets, irq_changes, arcs, count;
	_Atomic int masked;
	uint8_t state[5000];
	size_t state_at;
	_Atomic bool refuse; /* everything, with -EIO */

	/* One piece of work for the worker. */
	struct vdpa_loop_msg msg, end;
	uint64_t from, to, len;
	struct vdpa_done done;
	struct vdpa_loop_sync sync;
	int result;
};

extern const struct vfio_user_ops toy_ops;
/* The one of the tests. */
extern struct toy toy;

/* For toy_up(), other than 0: of slow answers; one alone may take a minute then. */
extern uint64_t toy_dma_budget_ns;
/* The server alone; its client. */
void toy_up(struct toy *toy);
void toy_connect(struct toy *toy);
/* Everything is checked to be gone. */
void toy_down(struct toy *toy);
/* Wait until @value is there. */
void toy_until(_Atomic unsigned *counter, unsigned value);
/* Server and client; a test twice: answered at once, and later, from a worker. */
int toy_setup(void **state);
int toy_teardown(void **state);
#define TOY_TEST(test)                                                                             \
	{#test, test, toy_setup, toy_teardown, NULL},                                              \
	{                                                                                          \
#test " later", test, toy_setup, toy_teardown, &toy                                \
	}
/* A memfd of @size bytes, mapped at *@mem. */
int toy_memfd(size_t size, void **mem);
unsigned toy_open_fds(void);

#endif
