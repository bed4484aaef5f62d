/* SPDX-License-Identifier: BSD-3-Clause */
/* Registry of mapped regions that the SIGBUS handler may mend. */
#ifndef MEM_SIGBUS_H
#define MEM_SIGBUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sigbus_slot;

struct sigbus_range {
	void *first;
	size_t bytes;	   /* whole pages */
	size_t page_bytes; /* of the file: a huge page is replaced as a whole */
	int prot;
	_Atomic bool *broken;
};

/* 0 or -ENOMEM. Any thread. The range must be registered before it is touched. */
int sigbus_register(const struct sigbus_range *range, struct sigbus_slot **out);
/* Before the range is unmapped. NULL is allowed. */
void sigbus_unregister(struct sigbus_slot *slot);
/* How many pages were replaced in this process so far: cheap enough to ask for every request. */
unsigned long sigbus_events(void);

#endif
