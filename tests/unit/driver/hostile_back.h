/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back end that says what it should, but for one thing. It runs in a thread on a socketpair;
 * which answer is spoiled, and how, is chosen by the test. Nothing is served: no ring is ever
 * looked at.
 */
#ifndef TESTS_HOSTILE_BACK_H
#define TESTS_HOSTILE_BACK_H

#include <pthread.h>
#include <stdatomic.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/fd.h"
#include "driver/vhost_user/protocol.h"

enum spoil {
	HONEST,
	SILENT,	     /* no answer */
	HANGUP,	     /* closes instead */
	HALF_HEADER, /* then nothing */
	HALF_PAYLOAD,
	WRONG_REQUEST,
	WRONG_VERSION,
	NO_REPLY_FLAG,
	UNKNOWN_FLAG,
	HUGE_SIZE,
	LONG_PAYLOAD,
	SHORT_PAYLOAD,
	STRAY_FD,
	MANY_FDS,
	VALUE, /* other contents: @value */
	SPOILS
};

struct hostile {
	int sock;
	pthread_t thread;
	_Atomic uint32_t request; /* to be spoiled */
	_Atomic int spoil;	  /* enum spoil */
	uint64_t value;
	uint64_t features, protocol;
	_Atomic int backend; /* the channel for our requests; -1 */
	_Atomic unsigned seen[VHOST_USER_REQUEST_END];
	uint8_t status;
	struct virtio_blk_config config;
	_Atomic unsigned call_fds;
	bool ignores_offset; /* configuration is answered from its beginning */
};

/** Starts the thread; returns the front end's socket. */
int hostile_start(struct hostile *h);
/** The front end has closed: joins. */
void hostile_end(struct hostile *h);

#endif
