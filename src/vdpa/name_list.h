/* SPDX-License-Identifier: BSD-3-Clause */
/* Names: of what form, and lists of them: "a, b, c", what an error says is there. */
#ifndef VDPA_NAME_LIST_H
#define VDPA_NAME_LIST_H

#include <stdbool.h>
#include <string.h>

/** Of a device or driver (validate.c). */
bool vdpa_name_valid(const char *name);

struct vdpa_name_list {
	char s[200]; /* fits an error beside its own words */
};

#define VDPA_NAME_LIST_INIT                                                                        \
	{                                                                                          \
		.s = "none"                                                                        \
	}

/** Whole names only: when there is no room, "..." stands for the rest. */
static inline void vdpa_name_list_add(struct vdpa_name_list *list, const char *name)
{
	static const char more[] = ", ...";
	size_t used = strcmp(list->s, "none") ? strlen(list->s) : 0, len = strlen(name);

	if (used >= sizeof(more) && !strcmp(list->s + used - (sizeof(more) - 1), more))
		return;
	if (used + 2 + len + sizeof(more) > sizeof(list->s)) {
		name = more + 2;
		len = sizeof(more) - 3;
	}
	if (used) {
		memcpy(list->s + used, ", ", 2);
		used += 2;
	}
	memcpy(list->s + used, name, len + 1);
}

#endif
