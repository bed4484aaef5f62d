// SPDX-License-Identifier: BSD-3-Clause
#include <stdio.h>
#include <uvdpa/types.h>
#include "base/text.h"

int vdpa_error_set(struct vdpa_error *err, int code, const char *object, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -code;
	if (object)
		snprintf(err->object, sizeof(err->object), "%s", object);
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	/* What a peer or a person typed may be quoted in it: keep it one harmless line. */
	vdpa_text_one_line(err->object);
	vdpa_text_one_line(err->msg);
	return -code;
}
