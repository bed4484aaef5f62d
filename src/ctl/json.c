// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/json.h"
#include "ctl/proto.h"

/* Brackets outside of strings. What is not JSON may be counted wrongly: the parser refuses it
 * after. */
static bool too_deep(const char *text, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"')
			in_string = true;
		else if ((c == '[' || c == '{') && ++depth > CTL_DEPTH_MAX)
			return true;
		else if ((c == ']' || c == '}') && depth)
			depth--;
	}
	return false;
}

json_t *ctl_json_parse(const char *text, size_t len, struct vdpa_error *err)
{
	json_error_t jerr;
	json_t *root;

	if (too_deep(text, len)) {
		vdpa_error_set(err, EINVAL, NULL, "JSON is nested deeper than %d levels",
			       CTL_DEPTH_MAX);
		return NULL;
	}
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);
	if (!root)
		vdpa_error_set(err, EINVAL, NULL, "not valid JSON: line %d, column %d: %s",
			       jerr.line, jerr.column, jerr.text);
	return root;
}

static size_t attrs_count(const struct vdpa_attr *list)
{
	size_t n = 0;

	while (list && list[n].key)
		n++;
	return n;
}

int ctl_attrs_append(struct vdpa_attr **list, const char *key, const char *value)
{
	size_t n = attrs_count(*list);
	struct vdpa_attr *grown = realloc(*list, (n + 2) * sizeof(*grown));
	char *k, *v;

	if (!grown)
		return -ENOMEM;
	*list = grown;
	grown[n] = (struct vdpa_attr){NULL, NULL};
	k = strdup(key);
	v = strdup(value);
	if (!k || !v) {
		free(k);
		free(v);
		return -ENOMEM;
	}
	grown[n] = (struct vdpa_attr){k, v};
	grown[n + 1] = (struct vdpa_attr){NULL, NULL};
	return 0;
}

static void free_const(const char *s)
{
	char *p;

	memcpy(&p, &s, sizeof(p));
	free(p);
}

void ctl_attrs_free(struct vdpa_attr *list)
{
	for (struct vdpa_attr *a = list; a && a->key; a++) {
		free_const(a->key);
		free_const(a->value);
	}
	free(list);
}

/* What a person means by a number or a boolean where an attribute's text is wanted. */
static const char *scalar_text(const json_t *value, char *buf, size_t size)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return json_string_value(value);
	case JSON_INTEGER:
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return buf;
	case JSON_TRUE:
		return "on";
	case JSON_FALSE:
		return "off";
	default:
		return NULL;
	}
}

int ctl_attrs_from_json(const json_t *obj, const char *object, struct vdpa_attr **out,
			struct vdpa_error *err)
{
	const char *key;
	json_t *value;

	*out = NULL;
	/* The macro wants a pointer to non-const, and reads only. */
	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		char buf[32];
		const char *text = scalar_text(value, buf, sizeof(buf));
		int ret;

		if (!text) {
			ctl_attrs_free(*out);
			*out = NULL;
			return vdpa_error_set(
				err, EINVAL, object,
				"attribute \"%s\" must be a string, a whole number or "
				"a boolean",
				key);
		}
		ret = ctl_attrs_append(out, key, text);
		if (ret) {
			ctl_attrs_free(*out);
			*out = NULL;
			return vdpa_error_set(err, -ret, object, "out of memory");
		}
	}
	return 0;
}

/* Of the keys after @after, the first. */
static const struct vdpa_attr *attrs_next(const struct vdpa_attr *attrs, const char *after)
{
	const struct vdpa_attr *best = NULL;

	for (; attrs && attrs->key; attrs++) {
		if ((!after || strcmp(attrs->key, after) > 0) &&
		    (!best || strcmp(attrs->key, best->key) < 0))
			best = attrs;
	}
	return best;
}

json_t *ctl_attrs_to_json(const struct vdpa_attr *attrs)
{
	const struct vdpa_attr *a = NULL;
	json_t *obj = json_object();

	while (obj && (a = attrs_next(attrs, a ? a->key : NULL)))
		json_object_set_new(obj, a->key, ctl_json_text(a->value));
	return obj;
}

json_t *ctl_json_hex(uint64_t v)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "0x%" PRIx64, v);
	return json_string(buf);
}

json_t *ctl_json_u64(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

json_t *ctl_json_text(const char *s)
{
	json_t *str = json_string(s ? s : "");
	char *copy;

	if (str || !s)
		return str;
	copy = strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	str = json_string(copy);
	free(copy);
	return str;
}

const char *ctl_errno_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "E?";
}

int ctl_errno_from_name(const char *name)
{
	for (int i = 1; name && i < 134; i++) {
		const char *n = strerrorname_np(i);

		if (n && !strcmp(n, name))
			return i;
	}
	return EIO;
}
