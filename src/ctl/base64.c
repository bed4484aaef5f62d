// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/drv_impl.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *drv_base64(const uint8_t *data, size_t len)
{
	char *out = malloc((len + 2) / 3 * 4 + 1), *p = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)data[i] << 16;

		v |= n > 1 ? (uint32_t)data[i + 1] << 8 : 0;
		v |= n > 2 ? data[i + 2] : 0;
		*p++ = alphabet[v >> 18];
		*p++ = alphabet[v >> 12 & 63];
		*p++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
		*p++ = n > 2 ? alphabet[v & 63] : '=';
	}
	*p = '\0';
	return out;
}

/* Six bits, or -1. */
static int value_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Four characters to @out; returns bytes or -1. */
static int decode_four(const char *s, uint8_t *out)
{
	int pad = s[3] == '=' ? (s[2] == '=' ? 2 : 1) : 0;
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		int bits = i >= 4 - pad ? 0 : value_of(s[i]);

		if (bits < 0)
			return -1;
		v = v << 6 | (uint32_t)bits;
	}
	out[0] = (uint8_t)(v >> 16);
	if (pad < 2)
		out[1] = (uint8_t)(v >> 8);
	if (pad < 1)
		out[2] = (uint8_t)v;
	return 3 - pad;
}

int drv_unbase64(const char *text, uint8_t **out, size_t *len)
{
	size_t n = strlen(text);
	uint8_t *buf;

	if (n % 4)
		return -EINVAL;
	buf = malloc(n / 4 * 3 + 1);
	if (!buf)
		return -ENOMEM;
	*len = 0;
	for (size_t i = 0; i < n; i += 4) {
		int got = decode_four(text + i, buf + *len);

		/* Padding ends it. */
		if (got < 0 || (got < 3 && i + 4 != n)) {
			free(buf);
			return -EINVAL;
		}
		*len += (size_t)got;
	}
	*out = buf;
	return 0;
}
