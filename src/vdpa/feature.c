// SPDX-License-Identifier: BSD-3-Clause
/* Names of feature bits (virtio 1.3, sections 5.1.3, 5.2.3 and 6, and bits of legacy devices) and
 * of status bits (section 2.1). The one table, for every floor above. */
#include <stdio.h>
#include <string.h>
#include <uvdpa/compat.h>
#include <uvdpa/vdpa.h>

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

static const char *const blk_names[64] = {
	[0] = "BARRIER",       [7] = "SCSI",	    [1] = "SIZE_MAX",	   [2] = "SEG_MAX",
	[4] = "GEOMETRY",      [5] = "RO",	    [6] = "BLK_SIZE",	   [9] = "FLUSH",
	[10] = "TOPOLOGY",     [11] = "CONFIG_WCE", [12] = "MQ",	   [13] = "DISCARD",
	[14] = "WRITE_ZEROES", [15] = "LIFETIME",   [16] = "SECURE_ERASE", [17] = "ZONED",
};

static const char *const common_names[64] = {
	[24] = "NOTIFY_ON_EMPTY", [27] = "ANY_LAYOUT",	      [28] = "RING_INDIRECT_DESC",
	[29] = "RING_EVENT_IDX",  [32] = "VERSION_1",	      [33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED",	  [35] = "IN_ORDER",	      [36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",	  [38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",	  [41] = "ADMIN_VQ",	      [43] = "SUSPEND",
};

const char *vdpa_feature_name(uint32_t device_id, unsigned bit)
{
	if (bit > 63)
		return NULL;
	if (common_names[bit])
		return common_names[bit];
	if (device_id == VIRTIO_ID_NET)
		return net_names[bit];
	if (device_id == VIRTIO_ID_BLOCK)
		return blk_names[bit];
	return NULL;
}

/* Append @name, or the number of a bit without one. Returns what is used: @len when it did not fit,
 * of which nothing is left then. */
static size_t append(char *buf, size_t len, size_t used, const char *name, unsigned bit)
{
	const char *blank = used ? " " : "";
	int n;

	if (name)
		n = snprintf(buf + used, len - used, "%s%s", blank, name);
	else
		n = snprintf(buf + used, len - used, "%sbit_%u", blank, bit);
	if (n >= 0 && (size_t)n < len - used)
		return used + (size_t)n;
	buf[used] = 0;
	return len;
}

const char *vdpa_feature_names(uint32_t device_id, uint64_t features, char *buf, size_t len)
{
	size_t used = 0;

	if (!len)
		return buf;
	buf[0] = 0;
	for (unsigned bit = 0; bit < 64 && used < len; bit++) {
		if (features >> bit & 1)
			used = append(buf, len, used, vdpa_feature_name(device_id, bit), bit);
	}
	return buf;
}

const char *vdpa_status_name(unsigned bit)
{
	static const char *const names[] = {
		"ACKNOWLEDGE", "DRIVER", "DRIVER_OK",	"FEATURES_OK",
		"SUSPEND",     NULL,	 "NEEDS_RESET", "FAILED",
	};

	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

const char *vdpa_status_names(uint8_t status, char *buf, size_t len)
{
	size_t used = 0;

	if (!len)
		return buf;
	buf[0] = 0;
	for (unsigned bit = 0; bit < 8 && used < len; bit++) {
		if (status >> bit & 1)
			used = append(buf, len, used, vdpa_status_name(bit), bit);
	}
	return buf;
}
