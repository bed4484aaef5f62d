/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon without its main(): bytes go in through a socket pair, as a client's do. */
#ifndef FUZZ_DAEMON_HARNESS_H
#define FUZZ_DAEMON_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include "daemon.h"

/* One daemon for the whole process; every input leaves it as it was. */
struct daemon *harness_daemon(void);
/* Send @data as a client that reads its answers and then hangs up. */
void harness_client(const void *data, size_t len);
/* Remove all devices, and check that nothing is left. */
void harness_clean(void);

/* Text made of @data: bytes choose words of @words, or stand for themselves. At most @max bytes;
 * returns length. */
size_t harness_text(const char *const *words, const uint8_t *data, size_t size, char *out,
		    size_t max);

#endif
