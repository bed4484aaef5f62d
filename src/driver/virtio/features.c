// SPDX-License-Identifier: BSD-3-Clause
/* Names of feature bits, for users of the virtio bus alone. */
#include <uvdpa/virtio.h>

const char *virtio_feature_name(uint32_t device_id, unsigned bit)
{
	return vdpa_feature_name(device_id, bit);
}

const char *virtio_feature_names(uint32_t device_id, uint64_t features, char *buf, size_t len)
{
	return vdpa_feature_names(device_id, features, buf, len);
}
