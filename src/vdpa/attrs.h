/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of attribute lists. */
#ifndef VDPA_ATTRS_H
#define VDPA_ATTRS_H

#include <uvdpa/types.h>

/** A list with nothing in it. */
extern const struct vdpa_attr vdpa_attrs_none[1];

size_t vdpa_attrs_count(const struct vdpa_attr *attrs);
/**
 * One allocation that holds @first and after it those of @second whose key is not in @first (either
 * may be NULL). NULL without memory. Free with free().
 */
struct vdpa_attr *vdpa_attrs_join(const struct vdpa_attr *first, const struct vdpa_attr *second);

#endif
