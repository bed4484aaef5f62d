// SPDX-License-Identifier: BSD-3-Clause
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
#include "cli.h"

int cli_print_json(const struct cli *cli, json_t *root)
{
	size_t flags = JSON_ENCODE_ANY | (cli->pretty ? JSON_INDENT(4) : JSON_COMPACT);
	int ret = root ? json_dumpf(root, stdout, flags) : -1;

	json_decref(root);
	putchar('\n');
	if (!ret)
		return EXIT_OK;
	fputs("uvdpa: out of memory\n", stderr);
	return EXIT_FAILED;
}

static void print_text(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return;
	vdpa_text_one_line(copy);
	fputs(copy, stdout);
	free(copy);
}

void cli_print_value(const json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		print_text(json_string_value(value));
		break;
	case JSON_INTEGER:
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		printf("%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(value) ? "true" : "false", stdout);
		break;
	case JSON_ARRAY:
		cli_print_features(value);
		break;
	case JSON_OBJECT:
		cli_print_pairs(value);
		break;
	default:
		fputs("none", stdout);
	}
}

void cli_print_pairs(const json_t *obj)
{
	const char *key, *sep = "";
	json_t *value;

	/* Reads only. */
	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		fputs(sep, stdout);
		print_text(key);
		putchar(' ');
		cli_print_value(value);
		sep = " ";
	}
}

void cli_print_features(const json_t *list)
{
	const char *sep = "";
	json_t *value;
	size_t i;

	json_array_foreach(list, i, value)
	{
		fputs(sep, stdout);
		if (json_is_integer(value))
			fputs("bit_", stdout);
		cli_print_value(value);
		sep = " ";
	}
}
