// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

int cli_pairs(const struct cli *cli, int argc, char **argv, const char *stop, json_t **out,
	      int *used)
{
	json_t *obj = json_object();
	int i;

	for (i = 0; i < argc && !(stop && !strcmp(argv[i], stop)); i += 2) {
		if (i + 1 == argc) {
			json_decref(obj);
			return cli_usage(cli, "\"%s\" has no value", argv[i]);
		}
		if (json_object_get(obj, argv[i])) {
			json_decref(obj);
			return cli_usage(cli, "\"%s\" is given twice", argv[i]);
		}
		if (json_object_set_new(obj, argv[i], json_string(argv[i + 1]))) {
			json_decref(obj);
			return cli_usage(cli, "\"%s\" or its value is not UTF-8", argv[i]);
		}
	}
	*used = i;
	*out = obj;
	return EXIT_OK;
}

int cli_number(const char *word, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(word, &end, 0);
	/* It would take signs and blanks as well. */
	return errno || *end || *word < '0' || *word > '9' || *out > max ? -EINVAL : 0;
}

json_t *cli_named(const json_t *list, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *n = json_string_value(json_object_get(entry, "name"));

		if (n && name && !strcmp(n, name))
			return entry;
	}
	return NULL;
}

int cli_abs_path(const char *path, char *buf, size_t size)
{
	size_t len;

	if (*path == '/') {
		if (strlen(path) >= size)
			return -ENAMETOOLONG;
		memcpy(buf, path, strlen(path) + 1);
		return 0;
	}
	if (!getcwd(buf, size))
		return -errno;
	while (!strncmp(path, "./", 2))
		path += 2;
	len = strlen(buf);
	if (len + strlen(path) + 2 > size)
		return -ENAMETOOLONG;
	if (len && buf[len - 1] != '/')
		buf[len++] = '/';
	memcpy(buf + len, path, strlen(path) + 1);
	return 0;
}

static bool is_path(const char *key, const json_t *const *specs)
{
	for (; *specs; specs++) {
		const char *type =
			json_string_value(json_object_get(cli_named(*specs, key), "type"));

		if (type && !strcmp(type, "path"))
			return true;
	}
	return false;
}

int cli_resolve_paths(json_t *attrs, const json_t *const *specs)
{
	char path[PATH_MAX];
	const char *key;
	json_t *value;

	json_object_foreach(attrs, key, value)
	{
		const char *given = json_string_value(value);
		int ret;

		if (!given || !*given || !is_path(key, specs))
			continue;
		ret = cli_abs_path(given, path, sizeof(path));
		if (ret || json_string_set(value, path)) {
			fprintf(stderr,
				"uvdpa: %s \"%s\": no absolute path can be made of it: %s\n", key,
				given, strerror(ret ? -ret : EILSEQ));
			return EXIT_FAILED;
		}
	}
	return EXIT_OK;
}
