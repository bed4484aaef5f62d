// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>
#include "ctl/names.h"

static const struct {
	uint32_t id;
	const char *type, *class;
} types[] = {
	{VIRTIO_ID_NET, "network", "net"},
	{VIRTIO_ID_BLOCK, "block", "block"},
};

#define NTYPES (sizeof(types) / sizeof(types[0]))

const char *ctl_type_name(uint32_t device_id)
{
	for (size_t i = 0; i < NTYPES; i++) {
		if (types[i].id == device_id)
			return types[i].type;
	}
	return "<unknown type>";
}

const char *ctl_class_name(uint32_t device_id)
{
	for (size_t i = 0; i < NTYPES; i++) {
		if (types[i].id == device_id)
			return types[i].class;
	}
	return "< unknown class >";
}

int ctl_feature_bit(uint32_t device_id, const char *name)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *n = vdpa_feature_name(device_id, bit);

		if (n && !strcmp(n, name))
			return (int)bit;
	}
	return -1;
}

json_t *ctl_features_json(uint32_t device_id, uint64_t features)
{
	json_t *list = json_array();

	for (unsigned bit = 0; list && bit < 64; bit++) {
		const char *name = vdpa_feature_name(device_id, bit);

		if (features >> bit & 1)
			json_array_append_new(list, name ? json_string(name) : json_integer(bit));
	}
	return list;
}

static int parse_hex(const char *text, uint64_t *features)
{
	unsigned long long v;
	char *end;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	if (!*text || strspn(text, "0123456789abcdefABCDEF") != strlen(text) || strlen(text) > 16)
		return -EINVAL;
	v = strtoull(text, &end, 16);
	*features = v;
	return 0;
}

static int parse_one(uint32_t device_id, const char *word)
{
	unsigned bit;
	char rest;

	if (sscanf(word, "bit_%2u%c", &bit, &rest) == 1 && bit < 64)
		return (int)bit;
	return ctl_feature_bit(device_id, word);
}

int ctl_features_parse(uint32_t device_id, const char *text, uint64_t *features, const char *object,
		       struct vdpa_error *err)
{
	char copy[1024], *save = NULL;
	uint64_t v = 0;

	if (!parse_hex(text, features))
		return 0;
	if (strlen(text) >= sizeof(copy))
		return vdpa_error_set(err, EINVAL, object, "device_features is too long");
	memcpy(copy, text, strlen(text) + 1);
	for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		int bit = parse_one(device_id, w);

		if (bit < 0)
			return vdpa_error_set(
				err, EINVAL, object,
				"device_features \"%s\": no feature of a %s device is "
				"called so; give names (VERSION_1,MAC), bit numbers "
				"(bit_40) or one hexadecimal mask",
				w, ctl_type_name(device_id));
		v |= 1ull << bit;
	}
	*features = v;
	return 0;
}

json_t *ctl_status_json(uint8_t status)
{
	json_t *list = json_array();

	for (unsigned bit = 0; list && bit < 8; bit++) {
		const char *name = vdpa_status_name(bit);

		if (status >> bit & 1)
			json_array_append_new(list, name ? json_string(name) : json_integer(bit));
	}
	return list;
}
