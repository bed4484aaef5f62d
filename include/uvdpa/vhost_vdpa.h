/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef UVDPA_VHOST_VDPA_H
#define UVDPA_VHOST_VDPA_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>

#endif
