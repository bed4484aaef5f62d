/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk (or a NIC-shaped device) for protocol tests: its requests take as long as the test says,
 * its config space changes and its queues break on demand, and its data may live in a file that
 * survives the process.
 */
#ifndef TESTS_PROTOCOL_TESTDISK_H
#define TESTS_PROTOCOL_TESTDISK_H

#include <uvdpa/soft.h>

struct testdisk;

struct testdisk_params {
	const char *file; /* NULL: memory of its own */
	size_t bytes;	  /* of the disk */
	unsigned nvqs;
	uint32_t device_id; /* VIRTIO_ID_BLOCK or VIRTIO_ID_NET */
	bool no_config;
	bool set_map;
	bool stuck;	  /* nothing that is held is given back, also when it should be */
	unsigned stop_ms; /* deadline of a stop; 0: 20 seconds */
};

int testdisk_new(struct vdpa_ctx *ctx, const struct testdisk_params *params, struct testdisk **out,
		 struct vdpa_error *err);
struct vdpa_device *testdisk_device(struct testdisk *disk);
/* Hold requests (~0ull), or complete them after @us microseconds. Any thread. */
void testdisk_delay(struct testdisk *disk, uint64_t us);
/* Requests that were popped and not completed. */
unsigned testdisk_out(struct testdisk *disk);
/* Mac of the last announce, or all zeroes. */
const uint8_t *testdisk_announced(struct testdisk *disk);

#endif
