// SPDX-License-Identifier: BSD-3-Clause
#include <stdlib.h>
#include <string.h>
#include "vdpa/attrs.h"

const struct vdpa_attr vdpa_attrs_none[1] = {{NULL, NULL}};

size_t vdpa_attrs_count(const struct vdpa_attr *attrs)
{
	size_t n = 0;

	while (attrs && attrs[n].key)
		n++;
	return n;
}

static const char *value_of(const struct vdpa_attr *attr)
{
	return attr->value ? attr->value : "";
}

static size_t text_bytes(const struct vdpa_attr *attrs)
{
	size_t bytes = 0;

	for (; attrs && attrs->key; attrs++)
		bytes += strlen(attrs->key) + strlen(value_of(attrs)) + 2;
	return bytes;
}

static const char *put_text(char **text, const char *s)
{
	size_t bytes = strlen(s) + 1;
	char *at = *text;

	memcpy(at, s, bytes);
	*text += bytes;
	return at;
}

static struct vdpa_attr *put_attrs(struct vdpa_attr *to, char **text, const struct vdpa_attr *from,
				   const struct vdpa_attr *but)
{
	for (; from && from->key; from++) {
		if (vdpa_attr_get(but, from->key))
			continue;
		to->key = put_text(text, from->key);
		to->value = put_text(text, value_of(from));
		to++;
	}
	return to;
}

struct vdpa_attr *vdpa_attrs_join(const struct vdpa_attr *first, const struct vdpa_attr *second)
{
	size_t n = vdpa_attrs_count(first) + vdpa_attrs_count(second) + 1;
	struct vdpa_attr *joined, *at;
	char *text;

	joined = malloc(n * sizeof(*joined) + text_bytes(first) + text_bytes(second));
	if (!joined)
		return NULL;
	text = (char *)(joined + n);
	at = put_attrs(joined, &text, first, NULL);
	at = put_attrs(at, &text, second, first);
	at->key = NULL;
	at->value = NULL;
	return joined;
}
