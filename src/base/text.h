/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that ends up in front of a person but may quote what a stranger sent. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

/* Control characters become '?': no second line, no terminal escape. UTF-8 passes. */
static inline void vdpa_text_one_line(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			*s = '?';
	}
}

#endif
