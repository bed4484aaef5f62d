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

static void print_list(const json_t *list, const char *before_number);

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
		print_list(value, "");
		break;
	case JSON_OBJECT:
		cli_print_pairs(value);
		break;
	default:
		fputs("none", stdout);
	}
}

static void print_list(const json_t *list, const char *before_number)
{
	const char *sep = "";
	json_t *value;
	size_t i;

	json_array_foreach(list, i, value)
	{
		fputs(sep, stdout);
		if (json_is_integer(value))
			fputs(before_number, stdout);
		cli_print_value(value);
		sep = " ";
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
		cli_print_member(key, value);
		sep = " ";
	}
}

void cli_print_member(const char *key, const json_t *value)
{
	static const char features[] = "features";
	size_t n = strlen(key), tail = sizeof(features) - 1;

	/* dev_features, negotiated_features, ...: the numbers among them are bits without a name.
	 */
	if (json_is_array(value) && n >= tail && !strcmp(key + n - tail, features))
		print_list(value, "bit_");
	else
		cli_print_value(value);
}

static void print_limits(const json_t *attr)
{
	const json_t *max = json_object_get(attr, "max");

	if (!max)
		return;
	fputs(": ", stdout);
	cli_print_value(json_object_get(attr, "min"));
	fputs(" to ", stdout);
	cli_print_value(max);
	if (!strcmp(json_string_value(json_object_get(attr, "type")), "size"))
		fputs(" bytes", stdout);
}

void cli_print_attrs(const json_t *attrs)
{
	const json_t *attr, *choices;
	size_t i;

	json_array_foreach(attrs, i, attr)
	{
		printf("    %-16s %-7s %s", json_string_value(json_object_get(attr, "name")),
		       json_string_value(json_object_get(attr, "type")),
		       json_string_value(json_object_get(attr, "help")));
		if (json_is_true(json_object_get(attr, "required")))
			fputs(" (required)", stdout);
		choices = json_object_get(attr, "choices");
		if (choices) {
			fputs(": ", stdout);
			cli_print_value(choices);
		}
		print_limits(attr);
		putchar('\n');
	}
}
