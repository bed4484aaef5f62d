/* SPDX-License-Identifier: BSD-3-Clause */
/* linux/idxd.h, and what it does not name. */
#ifndef DSA_IDXD_H
#define DSA_IDXD_H

#include <linux/idxd.h>
#include <uvdpa/dsa.h>

#endif
