// SPDX-License-Identifier: BSD-3-Clause
/* Named attributes: what a person types after "uvdpa dev add" or writes into the configuration. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uvdpa/types.h>

const char *vdpa_attr_get(const struct vdpa_attr *attrs, const char *key)
{
	for (; attrs && attrs->key; attrs++) {
		if (!strcmp(attrs->key, key))
			return attrs->value;
	}
	return NULL;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Unsigned, decimal or 0x; stops at the first other character. strtoull() would take signs, blanks
 * and octal. */
static int parse_number(const char *s, uint64_t *out, const char **end)
{
	unsigned base = 10;
	uint64_t v = 0;
	const char *p = s;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (digit_of(*p) < 0 || digit_of(*p) >= (int)base)
		return -EINVAL;
	for (; digit_of(*p) >= 0 && digit_of(*p) < (int)base; p++) {
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_of(*p), &v))
			return -ERANGE;
	}
	*out = v;
	*end = p;
	return 0;
}

static int parse_u64(const char *s, uint64_t *out)
{
	const char *end;
	int ret = parse_number(s, out, &end);

	if (ret)
		return ret;
	return *end ? -EINVAL : 0;
}

static int parse_size(const char *s, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *end, *at;
	int ret = parse_number(s, out, &end);
	unsigned shift;

	if (ret)
		return ret;
	if (!*end)
		return 0;
	at = strchr(suffixes, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end);
	if (!at || end[1])
		return -EINVAL;
	shift = 10 * (unsigned)(at - suffixes + 1);
	if (*out > UINT64_MAX >> shift)
		return -ERANGE;
	*out <<= shift;
	return 0;
}

static int parse_bool(const char *s, bool *out)
{
	static const char *const words[][2] = {
		{"off", "on"}, {"false", "true"}, {"no", "yes"}, {"0", "1"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int v = 0; v < 2; v++) {
			if (strcasecmp(s, words[i][v]))
				continue;
			*out = v;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_mac(const char *s, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++, s += 3) {
		int hi = digit_of(s[0]);
		int lo = hi < 0 ? -1 : digit_of(s[1]);

		if (lo < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int check_number(const struct vdpa_attr_spec *spec, const char *value, const char *object,
			struct vdpa_error *err)
{
	bool is_size = spec->type == VDPA_ATTR_SIZE;
	uint64_t max = spec->max ? spec->max : UINT64_MAX;
	uint64_t v = 0;
	int ret = is_size ? parse_size(value, &v) : parse_u64(value, &v);

	if (ret == -EINVAL)
		return vdpa_error_set(err, EINVAL, object, "%s \"%s\" is not %s", spec->name, value,
				      is_size ? "a size in bytes (suffixes K, M, G, T)"
					      : "a number (decimal, or hexadecimal after 0x)");
	if (ret || v < spec->min || v > max)
		return vdpa_error_set(err, ERANGE, object,
				      "%s \"%s\" is out of range: %" PRIu64 " to %" PRIu64
				      "%s is allowed",
				      spec->name, value, spec->min, max, is_size ? " bytes" : "");
	return 0;
}

static int check_enum(const struct vdpa_attr_spec *spec, const char *value, const char *object,
		      struct vdpa_error *err)
{
	char list[256] = "";
	size_t used = 0;

	for (const char *const *c = spec->choices; c && *c; c++) {
		if (!strcmp(*c, value))
			return 0;
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
						 used ? ", " : "", *c);
	}
	return vdpa_error_set(err, EINVAL, object, "%s \"%s\" is not one of: %s", spec->name, value,
			      list);
}

static int check_path(const struct vdpa_attr_spec *spec, const char *value, const char *object,
		      struct vdpa_error *err)
{
	if (!*value)
		return vdpa_error_set(err, EINVAL, object, "%s is an empty path", spec->name);
	if (strlen(value) >= PATH_MAX)
		return vdpa_error_set(err, EINVAL, object,
				      "%s is a path of %zu bytes: at most %d are allowed",
				      spec->name, strlen(value), PATH_MAX - 1);
	return 0;
}

static int check_value(const struct vdpa_attr_spec *spec, const char *value, const char *object,
		       struct vdpa_error *err)
{
	uint8_t mac[6];
	uint64_t v;
	bool b;

	switch (spec->type) {
	case VDPA_ATTR_STRING:
		return 0;
	case VDPA_ATTR_PATH:
		return check_path(spec, value, object, err);
	case VDPA_ATTR_U64:
	case VDPA_ATTR_SIZE:
		return check_number(spec, value, object, err);
	case VDPA_ATTR_ENUM:
		return check_enum(spec, value, object, err);
	case VDPA_ATTR_BOOL:
		if (parse_bool(value, &b))
			return vdpa_error_set(err, EINVAL, object, "%s \"%s\" is not on or off",
					      spec->name, value);
		return 0;
	case VDPA_ATTR_MAC:
		if (parse_mac(value, mac))
			return vdpa_error_set(err, EINVAL, object,
					      "%s \"%s\" is not an address like 52:54:00:12:34:56",
					      spec->name, value);
		return 0;
	case VDPA_ATTR_FD:
		if (parse_u64(value, &v) || v > INT_MAX)
			return vdpa_error_set(err, EINVAL, object,
					      "%s \"%s\" is not the number of a file descriptor",
					      spec->name, value);
		return 0;
	}
	return vdpa_error_set(err, EINVAL, object, "%s has a type that is not known", spec->name);
}

static const struct vdpa_attr_spec *find_spec(const struct vdpa_attr_spec *spec, const char *key)
{
	for (; spec && spec->name; spec++) {
		if (!strcmp(spec->name, key))
			return spec;
	}
	return NULL;
}

static int unknown_attr(const char *key, const struct vdpa_attr_spec *spec, const char *object,
			struct vdpa_error *err)
{
	char list[256] = "";
	size_t used = 0;

	for (; spec && spec->name && used < sizeof(list); spec++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
					 spec->name);
	return vdpa_error_set(err, EINVAL, object, "attribute \"%s\" is not known; allowed: %s",
			      key, used ? list : "none");
}

int vdpa_attr_check(const struct vdpa_attr *attrs, const struct vdpa_attr_spec *spec,
		    const char *object, struct vdpa_error *err)
{
	for (const struct vdpa_attr *a = attrs; a && a->key; a++) {
		const struct vdpa_attr_spec *s = find_spec(spec, a->key);
		int ret;

		if (!s)
			return unknown_attr(a->key, spec, object, err);
		if (vdpa_attr_get(a + 1, a->key))
			return vdpa_error_set(err, EINVAL, object, "%s is given twice", a->key);
		if (!a->value)
			return vdpa_error_set(err, EINVAL, object, "%s has no value", a->key);
		ret = check_value(s, a->value, object, err);
		if (ret)
			return ret;
	}
	for (; spec && spec->name; spec++) {
		if (spec->required && !vdpa_attr_get(attrs, spec->name))
			return vdpa_error_set(err, EINVAL, object, "%s is missing (%s)", spec->name,
					      spec->help ? spec->help : "required");
	}
	return 0;
}

uint64_t vdpa_attr_u64(const struct vdpa_attr *attrs, const char *key, uint64_t def)
{
	const char *value = vdpa_attr_get(attrs, key);
	uint64_t v;

	return value && !parse_u64(value, &v) ? v : def;
}

uint64_t vdpa_attr_size(const struct vdpa_attr *attrs, const char *key, uint64_t def)
{
	const char *value = vdpa_attr_get(attrs, key);
	uint64_t v;

	return value && !parse_size(value, &v) ? v : def;
}

bool vdpa_attr_bool(const struct vdpa_attr *attrs, const char *key, bool def)
{
	const char *value = vdpa_attr_get(attrs, key);
	bool v;

	return value && !parse_bool(value, &v) ? v : def;
}

bool vdpa_attr_mac(const struct vdpa_attr *attrs, const char *key, uint8_t mac[6])
{
	const char *value = vdpa_attr_get(attrs, key);
	uint8_t parsed[6];

	if (!value || parse_mac(value, parsed))
		return false;
	memcpy(mac, parsed, sizeof(parsed));
	return true;
}
