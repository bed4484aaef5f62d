// SPDX-License-Identifier: BSD-3-Clause
/* A device's configuration space, in bytes: who asks knows what they mean. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/drv_impl.h"

#define CONFIG_MAX 4096

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int drv_from_hex(const char *text, uint8_t *to, size_t room, size_t *len)
{
	size_t n = strlen(text);

	if (n % 2 || n / 2 > room)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(text[i]), low = digit(text[i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		to[i / 2] = (uint8_t)(high << 4 | low);
	}
	*len = n / 2;
	return 0;
}

json_t *drv_to_hex(const uint8_t *from, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *json;

	if (!text)
		return NULL;
	*text = 0;
	/* The device may still change it: each byte is read once. */
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", from[i]);
	json = json_string(text);
	free(text);
	return json;
}

static const char *why_not(int ret)
{
	return ret == -EINVAL ? "the range is not in the configuration space" : strerror(-ret);
}

void drv_config_read(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	unsigned offset = (unsigned)ctl_get_int(params, "offset", 0);
	unsigned len = (unsigned)ctl_get_int(params, "len", 0);
	uint8_t data[CONFIG_MAX];
	int ret = virtio_config_read(dev, offset, data, len);

	if (ret)
		drv_fail(dev, done, arg, ret, why_not(ret));
	else
		done(arg, 0, json_pack("{s:o}", "data", drv_to_hex(data, len)), NULL);
}

void drv_config_write(struct virtio_device *dev, const json_t *params, drv_done_fn done, void *arg)
{
	uint8_t data[CONFIG_MAX];
	size_t len;
	int ret = drv_from_hex(ctl_get_str(params, "data", ""), data, sizeof(data), &len);

	if (ret) {
		drv_fail(dev, done, arg, ret, "data: pairs of small hexadecimal digits");
		return;
	}
	ret = virtio_config_write(dev, (unsigned)ctl_get_int(params, "offset", 0), data,
				  (unsigned)len);
	if (ret)
		drv_fail(dev, done, arg, ret, why_not(ret));
	else
		done(arg, 0, NULL, NULL);
}

#define OFFSET                                                                                     \
	{                                                                                          \
		.name = "offset", .type = CTL_INT, .required = true, .min = 0, .max = CONFIG_MAX,  \
		.help = "bytes"                                                                    \
	}

const struct ctl_param drv_config_read_params[] = {
	OFFSET,
	{.name = "len",
	 .type = CTL_INT,
	 .required = true,
	 .min = 0,
	 .max = CONFIG_MAX,
	 .help = "bytes"},
	{.name = NULL},
};

const struct ctl_param drv_config_write_params[] = {
	OFFSET,
	{.name = "data", .type = CTL_STRING, .required = true, .help = "hexadecimal digits"},
	{.name = NULL},
};
