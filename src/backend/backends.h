/* SPDX-License-Identifier: BSD-3-Clause */
/* What is built in; a new backend adds its line here and in backend.c. */
#ifndef BACKEND_BACKENDS_H
#define BACKEND_BACKENDS_H

#include <uvdpa/backend.h>
#include "base/list.h"

extern const struct blk_backend_ops blk_ram_ops;
extern const struct blk_backend_ops blk_null_ops;
extern const struct blk_backend_ops blk_file_ops;
extern const struct net_backend_ops net_loopback_ops;
extern const struct net_backend_ops net_null_ops;
extern const struct net_backend_ops net_switch_ops;
extern const struct net_backend_ops net_packet_ops;
extern const struct net_backend_ops net_tap_ops;
extern const struct net_backend_ops net_socket_ops;

struct net_backend_shared {
	struct list switches;
};
/* Free the switches that nobody uses, and whose packets have all come home. @wait: for those. */
void net_switches_sweep(struct net_backend_shared *shared, bool wait);

#define BLK_SECTOR_BYTES 512u

/* Copy between @iov at byte @skip and one buffer; returns bytes, short when @iov ends. */
size_t blk_iov_to_buf(const struct iovec *iov, unsigned niov, size_t skip, void *buf, size_t len);
size_t blk_iov_from_buf(const struct iovec *iov, unsigned niov, size_t skip, const void *buf,
			size_t len);
/* Zero @len bytes of @iov from byte @skip on. */
void blk_iov_zero(const struct iovec *iov, unsigned niov, size_t skip, size_t len);

#endif
