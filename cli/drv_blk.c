// SPDX-License-Identifier: BSD-3-Clause
/* Disk commands. People give bytes; the device takes sectors: what is between is read with it, or
 * kept. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/drv.h"
#include "drv.h"

#define SECTOR 512u
/* Per call: what a request and an answer of the control protocol hold. */
#define CALL_BYTES (512u << 10)

struct span {
	uint64_t offset, len;	 /* as given */
	uint64_t first, covered; /* whole sectors around them */
};

static int get_span(struct drv_target *t, char **argv, struct span *s)
{
	if (drv_size(t->cli, "OFFSET", argv[0], &s->offset) ||
	    drv_size(t->cli, "LEN", argv[1], &s->len))
		return EXIT_USAGE;
	if (s->len > INT64_MAX - SECTOR || s->offset > INT64_MAX - SECTOR - s->len)
		return cli_usage(t->cli, "the range is too large");
	s->first = s->offset / SECTOR * SECTOR;
	s->covered = (s->offset + s->len + SECTOR - 1) / SECTOR * SECTOR - s->first;
	return EXIT_OK;
}

/* Read whole sectors, at most CALL_BYTES. */
static int read_sectors(struct drv_target *t, uint64_t first, uint64_t len, uint8_t **data)
{
	json_t *result;
	size_t got;
	int ret = drv_exec(
		t, "blk.read",
		json_pack("{s:I, s:I}", "offset", (json_int_t)first, "len", (json_int_t)len),
		&result);

	if (ret)
		return ret;
	ret = drv_unbase64(json_string_value(json_object_get(result, "data")), data, &got);
	json_decref(result);
	if (!ret && got == len)
		return EXIT_OK;
	if (!ret)
		free(*data);
	fputs("uvdpa: the answer is not as long as what was asked for\n", stderr);
	return EXIT_FAILED;
}

static void hexdump(const uint8_t *data, size_t len, uint64_t offset)
{
	for (size_t i = 0; i < len; i += 16) {
		size_t n = len - i < 16 ? len - i : 16;

		printf("%08llx ", (unsigned long long)(offset + i));
		for (size_t k = 0; k < 16; k++)
			k < n ? printf(" %02x", data[i + k]) : printf("   ");
		fputs("  |", stdout);
		for (size_t k = 0; k < n; k++)
			putchar(data[i + k] >= 0x20 && data[i + k] < 0x7f ? data[i + k] : '.');
		puts("|");
	}
}

static int show_data(struct drv_target *t, const struct span *s, const uint8_t *data)
{
	char *text;
	json_t *obj;

	if (!t->cli->json) {
		hexdump(data, s->len, s->offset);
		return EXIT_OK;
	}
	text = drv_base64(data, s->len);
	obj = json_pack("{s:I, s:I, s:s?}", "offset", (json_int_t)s->offset, "len",
			(json_int_t)s->len, "data", text);
	free(text);
	return cli_print_json(t->cli, obj);
}

/* All of it into a file, piece by piece. */
static int read_to_file(struct drv_target *t, const struct span *s, const char *path)
{
	FILE *f = fopen(path, "we");
	uint64_t at = s->offset, end = s->offset + s->len;
	int ret = EXIT_OK;

	if (!f) {
		fprintf(stderr, "uvdpa: %s: %s\n", path, strerror(errno));
		return EXIT_FAILED;
	}
	while (!ret && at < end) {
		uint64_t first = at / SECTOR * SECTOR, left = s->first + s->covered - first;
		uint64_t len = left < CALL_BYTES ? left : CALL_BYTES;
		uint64_t stop = first + len < end ? first + len : end;
		uint8_t *data = NULL;

		ret = read_sectors(t, first, len, &data);
		if (!ret && fwrite(data + (at - first), 1, stop - at, f) != stop - at)
			ret = EXIT_FAILED;
		free(data);
		at = stop;
	}
	if (fclose(f) || ret == EXIT_FAILED) {
		fprintf(stderr, "uvdpa: %s: not complete\n", path);
		return EXIT_FAILED;
	}
	return ret;
}

static int blk_read(struct drv_target *t, int argc, char **argv)
{
	uint8_t *data = NULL;
	struct span s;
	int ret;

	if (argc != 2 && (argc != 4 || strcmp(argv[2], "file")))
		return cli_usage(t->cli, "blk read OFFSET LEN [ file FILE ]");
	ret = get_span(t, argv, &s);
	if (ret)
		return ret;
	if (argc == 4)
		return read_to_file(t, &s, argv[3]);
	if (!s.len || s.covered > CALL_BYTES)
		return cli_usage(t->cli, "LEN: 1 byte to 511K is shown; more goes to a file");
	ret = read_sectors(t, s.first, s.covered, &data);
	if (!ret)
		ret = show_data(t, &s, data + (s.offset - s.first));
	free(data);
	return ret;
}

/* ---- write ---- */

static int from_hex(const char *text, uint8_t **out, size_t *len)
{
	size_t n = strlen(text);

	if (!n || n % 2 || strspn(text, "0123456789abcdefABCDEF") != n)
		return -EINVAL;
	*out = malloc(n / 2);
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < n / 2; i++) {
		char two[3] = {text[2 * i], text[2 * i + 1], '\0'};

		(*out)[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	*len = n / 2;
	return 0;
}

static int from_file(const char *path, uint8_t **out, size_t *len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	int ret = 0;

	if (!f)
		return -errno;
	*out = malloc(CALL_BYTES);
	*len = *out ? fread(*out, 1, CALL_BYTES, f) : 0;
	if (!*out)
		ret = -ENOMEM;
	else if (ferror(f))
		ret = -EIO;
	else if (!*len || (*len == CALL_BYTES && fgetc(f) != EOF))
		ret = -EFBIG;
	if (f != stdin)
		fclose(f);
	return ret;
}

static int get_data(struct drv_target *t, const char *kind, const char *word, uint8_t **data,
		    size_t *len)
{
	int ret = -EINVAL;

	*data = NULL;
	*len = 0;
	if (!strcmp(kind, "hex")) {
		ret = from_hex(word, data, len);
	} else if (!strcmp(kind, "file")) {
		ret = from_file(word, data, len);
	} else if (!strcmp(kind, "text")) {
		*data = (uint8_t *)strdup(word);
		*len = strlen(word);
		ret = !*data ? -ENOMEM : *len ? 0 : -EINVAL;
	}
	if (!ret)
		return EXIT_OK;
	free(*data);
	if (ret == -EINVAL)
		return cli_usage(t->cli, "blk write OFFSET { text TEXT | hex DIGITS | file FILE }");
	fprintf(stderr, "uvdpa: %s: %s\n", word,
		ret == -EFBIG ? "1 byte to 512K can be written at a time" : strerror(-ret));
	return EXIT_FAILED;
}

static int write_sectors(struct drv_target *t, const struct span *s, const uint8_t *data)
{
	char *text = drv_base64(data, s->covered);
	json_t *result,
		*params = json_pack("{s:I, s:s?}", "offset", (json_int_t)s->first, "data", text);
	int ret;

	free(text);
	ret = drv_exec(t, "blk.write", params, &result);
	json_decref(result);
	return ret;
}

static int blk_write(struct drv_target *t, int argc, char **argv)
{
	uint8_t *data, *around = NULL;
	char number[24];
	char *words[2] = {argc ? argv[0] : NULL, number};
	struct span s;
	size_t len;
	int ret;

	if (argc != 3)
		return cli_usage(t->cli, "blk write OFFSET { text TEXT | hex DIGITS | file FILE }");
	ret = get_data(t, argv[1], argv[2], &data, &len);
	if (ret)
		return ret;
	snprintf(number, sizeof(number), "%zu", len);
	ret = get_span(t, words, &s);
	if (!ret && s.covered > CALL_BYTES)
		ret = cli_usage(t->cli, "too long for a range that does not begin with a sector");
	/* What lies around it in its sectors stays as it is. */
	if (!ret && s.covered != s.len)
		ret = read_sectors(t, s.first, s.covered, &around);
	if (!ret && around)
		memcpy(around + (s.offset - s.first), data, len);
	if (!ret)
		ret = write_sectors(t, &s, around ? around : data);
	free(data);
	free(around);
	return ret;
}

/* ---- the others ---- */

static int print_result(struct drv_target *t, int ret, json_t *result)
{
	if (ret)
		return ret;
	if (t->cli->json)
		return cli_print_json(t->cli, result ? result : json_object());
	if (json_object_size(result)) {
		cli_print_pairs(result);
		putchar('\n');
	}
	json_decref(result);
	return EXIT_OK;
}

static int blk_range(struct drv_target *t, const char *op, int argc, char **argv)
{
	bool seeded = !strcmp(op, "blk.fill") || !strcmp(op, "blk.verify");
	uint64_t seed = 0;
	json_t *params, *result = NULL;
	struct span s;
	int ret;

	if (argc != 2 && (!seeded || argc != 4 || strcmp(argv[2], "seed")))
		return cli_usage(t->cli, "%s OFFSET LEN%s", op + 4, seeded ? " [ seed N ]" : "");
	ret = get_span(t, argv, &s);
	if (!ret && argc == 4)
		ret = drv_size(t->cli, "seed", argv[3], &seed);
	if (ret)
		return ret;
	params = json_pack("{s:I, s:I}", "offset", (json_int_t)s.offset, "len", (json_int_t)s.len);
	if (seeded)
		json_object_set_new(params, "seed", json_integer((json_int_t)seed));
	ret = drv_exec(t, op, params, &result);
	return print_result(t, ret, result);
}

int drv_blk_words(struct drv_target *t, int argc, char **argv)
{
	static const char *const plain[] = {"info", "id", "flush", NULL};
	static const char *const ranges[] = {"fill", "verify", "discard", "zero", NULL};
	json_t *result = NULL;
	char op[16];
	int ret;

	if (!argc)
		return drv_unknown(t, "blk", NULL);
	snprintf(op, sizeof(op), "blk.%.10s", argv[0]);
	for (const char *const *p = plain; *p; p++) {
		if (strcmp(*p, argv[0]))
			continue;
		ret = drv_exec(t, op, NULL, &result);
		return print_result(t, ret, result);
	}
	for (const char *const *p = ranges; *p; p++) {
		if (!strcmp(*p, argv[0]))
			return blk_range(t, op, argc - 1, argv + 1);
	}
	if (!strcmp(argv[0], "read"))
		return blk_read(t, argc - 1, argv + 1);
	if (!strcmp(argv[0], "write"))
		return blk_write(t, argc - 1, argv + 1);
	return drv_unknown(t, "blk", argv[0]);
}
