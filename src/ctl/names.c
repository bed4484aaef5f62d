// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "ctl/names.h"

/* virtio 1.3, section 6, and bits 24..27 of legacy devices. */
static const char *const common_names[64] = {
	[24] = "NOTIFY_ON_EMPTY", [27] = "ANY_LAYOUT",	      [28] = "RING_INDIRECT_DESC",
	[29] = "RING_EVENT_IDX",  [32] = "VERSION_1",	      [33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED",	  [35] = "IN_ORDER",	      [36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",	  [38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",	  [41] = "ADMIN_VQ",	      [43] = "SUSPEND",
};

/* Section 5.1.3. */
static const char *const net_names[64] = {
	[0] = "CSUM",
	[1] = "GUEST_CSUM",
	[2] = "CTRL_GUEST_OFFLOADS",
	[3] = "MTU",
	[5] = "MAC",
	[6] = "GSO",
	[7] = "GUEST_TSO4",
	[8] = "GUEST_TSO6",
	[9] = "GUEST_ECN",
	[10] = "GUEST_UFO",
	[11] = "HOST_TSO4",
	[12] = "HOST_TSO6",
	[13] = "HOST_ECN",
	[14] = "HOST_UFO",
	[15] = "MRG_RXBUF",
	[16] = "STATUS",
	[17] = "CTRL_VQ",
	[18] = "CTRL_RX",
	[19] = "CTRL_VLAN",
	[20] = "CTRL_RX_EXTRA",
	[21] = "GUEST_ANNOUNCE",
	[22] = "MQ",
	[23] = "CTRL_MAC_ADDR",
	[50] = "DEVICE_STATS",
	[51] = "HASH_TUNNEL",
	[52] = "VQ_NOTF_COAL",
	[53] = "NOTF_COAL",
	[54] = "GUEST_USO4",
	[55] = "GUEST_USO6",
	[56] = "HOST_USO",
	[57] = "HASH_REPORT",
	[59] = "GUEST_HDRLEN",
	[60] = "RSS",
	[61] = "RSC_EXT",
	[62] = "STANDBY",
	[63] = "SPEED_DUPLEX",
};

/* Section 5.2.3, and the legacy bits 0 and 7. */
static const char *const blk_names[64] = {
	[0] = "BARRIER",       [1] = "SIZE_MAX",  [2] = "SEG_MAX",
	[4] = "GEOMETRY",      [5] = "RO",	  [6] = "BLK_SIZE",
	[7] = "SCSI",	       [9] = "FLUSH",	  [10] = "TOPOLOGY",
	[11] = "CONFIG_WCE",   [12] = "MQ",	  [13] = "DISCARD",
	[14] = "WRITE_ZEROES", [15] = "LIFETIME", [16] = "SECURE_ERASE",
	[17] = "ZONED",
};

static const struct {
	uint32_t id;
	const char *type, *class;
	const char *const *features;
} types[] = {
	{VIRTIO_ID_NET, "network", "net", net_names},
	{VIRTIO_ID_BLOCK, "block", "block", blk_names},
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

const char *ctl_feature_name(uint32_t device_id, unsigned bit)
{
	if (bit >= 64)
		return NULL;
	for (size_t i = 0; i < NTYPES; i++) {
		if (types[i].id == device_id && types[i].features[bit])
			return types[i].features[bit];
	}
	return common_names[bit];
}

int ctl_feature_bit(uint32_t device_id, const char *name)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *n = ctl_feature_name(device_id, bit);

		if (n && !strcmp(n, name))
			return (int)bit;
	}
	return -1;
}

json_t *ctl_features_json(uint32_t device_id, uint64_t features)
{
	json_t *list = json_array();

	for (unsigned bit = 0; list && bit < 64; bit++) {
		const char *name = ctl_feature_name(device_id, bit);

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
	static const char *const names[8] = {
		"ACKNOWLEDGE", "DRIVER", "DRIVER_OK",	"FEATURES_OK",
		"SUSPEND",     NULL,	 "NEEDS_RESET", "FAILED",
	};
	json_t *list = json_array();

	for (unsigned bit = 0; list && bit < 8; bit++) {
		if (status >> bit & 1)
			json_array_append_new(list, names[bit] ? json_string(names[bit])
							       : json_integer(bit));
	}
	return list;
}
