/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef UVDPA_VIRTIO_H
#define UVDPA_VIRTIO_H

#include <uvdpa/types.h>
#include <uvdpa/vdpa.h>

#endif
