/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef UVDPA_VHOST_USER_H
#define UVDPA_VHOST_USER_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>

#endif
