/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON from strangers, with bounds; and the few conversions that both ends need. */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <jansson.h>
#include <uvdpa/types.h>

/**
 * Parse one value: nesting at most CTL_DEPTH_MAX, no doubled keys, no NUL. NULL with @err filled
 * (it says where). The parser recurses, so the depth is counted before it runs.
 */
json_t *ctl_json_parse(const char *text, size_t len, struct vdpa_error *err);

/** JSON object -> list of attributes; numbers and booleans become text. 0 or -errno with @err; free
 * with ctl_attrs_free(). */
int ctl_attrs_from_json(const json_t *obj, const char *object, struct vdpa_attr **out,
			struct vdpa_error *err);
/** One entry more at the end of the list (copied). 0 or -ENOMEM. */
int ctl_attrs_append(struct vdpa_attr **list, const char *key, const char *value);
void ctl_attrs_free(struct vdpa_attr *list);
/** Sorted by key, so that equal lists look equal. New reference; NULL without memory. @attrs may be
 * NULL. */
json_t *ctl_attrs_to_json(const struct vdpa_attr *attrs);

/** 64-bit number as "0x...": JSON's own numbers end at 2^63 here and at 2^53 in some readers. */
json_t *ctl_json_hex(uint64_t v);
/** Number, saturated at 2^63 - 1. */
json_t *ctl_json_u64(uint64_t v);
/** String from bytes that may not be UTF-8 (those become '?'). */
json_t *ctl_json_text(const char *s);

/** "EBUSY" for EBUSY; "E?" for what has no name. */
const char *ctl_errno_name(int err);
/** The reverse; EIO for an unknown name. */
int ctl_errno_from_name(const char *name);

#endif
