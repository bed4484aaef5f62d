/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for people, of feature bits, status bits and device types. Where iproute2's vdpa command
 * has a name, that one is used, because scripts compare them.
 */
#ifndef CTL_NAMES_H
#define CTL_NAMES_H

#include <jansson.h>
#include <uvdpa/types.h>

/** Bit or -1. @device_id: VIRTIO_ID_*, 0 for the bits that all devices share. */
int ctl_feature_bit(uint32_t device_id, const char *name);
/** Array, ascending: names, and numbers for bits without one (as iproute2). NULL without memory. */
json_t *ctl_features_json(uint32_t device_id, uint64_t features);
/**
 * Hexadecimal (with or without 0x, as iproute2), or names and bit numbers ("bit_40") with commas
 * between. 0 or -EINVAL with @err.
 */
int ctl_features_parse(uint32_t device_id, const char *text, uint64_t *features, const char *object,
		       struct vdpa_error *err);

/** Array of the names of the set bits; virtio 1.3, section 2.1. */
json_t *ctl_status_json(uint8_t status);

/** "network", "block", ..., "<unknown type>". */
const char *ctl_type_name(uint32_t device_id);
/** "net", "block", ..., "< unknown class >". */
const char *ctl_class_name(uint32_t device_id);

#endif
