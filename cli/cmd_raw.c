// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa raw: calls of the vhost-vdpa uAPI by hand, on one open file, in the order in which they are
 * given. For those who want to see what a device answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvdpa/compat.h>
#include <uvdpa/vhost_uapi.h>
#include <linux/vhost.h>
#include "cli.h"
#include "ctl/json.h"
#include "driver/vhost_cdev/client.h"

#ifndef VHOST_VDPA_SUSPEND
#define VHOST_VDPA_SUSPEND _IO(VHOST_VIRTIO, 0x7D)
#endif
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif
#ifndef VHOST_VDPA_GET_VRING_DESC_GROUP
#define VHOST_VDPA_GET_VRING_DESC_GROUP _IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#endif
#ifndef VHOST_VDPA_GET_VRING_SIZE
#define VHOST_VDPA_GET_VRING_SIZE _IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#endif

#define KEYS 4
#define MEMORY_MAX (1ull << 30)

struct raw_key {
	const char *name;
	uint64_t value;
};

/* One call: its row, and the keys with their values. */
struct raw_call {
	const struct raw_row *row;
	struct raw_key keys[KEYS];
};

/* What a row's handler works with. */
struct raw {
	struct cdev_client client;
	json_t *out; /* what the call answers, or NULL */
};

struct raw_row {
	const char *name; /* without VHOST_ or VHOST_VDPA_ */
	uint32_t cmd;	  /* or the type of a message */
	int (*run)(struct raw *raw, const struct raw_call *call);
	struct raw_key keys[KEYS]; /* with what they are when they are not given */
};

/* ---- calls ---- */

static int call_none(struct raw *raw, const struct raw_call *call)
{
	return cdev_client_ioctl(&raw->client, call->row->cmd, NULL, 0, -1);
}

/* A number comes back, as wide as the ioctl's argument is. */
static int call_get(struct raw *raw, const struct raw_call *call)
{
	uint64_t value = 0;
	int ret = cdev_client_ioctl(&raw->client, call->row->cmd, &value, _IOC_SIZE(call->row->cmd),
				    -1);

	if (!ret && _IOC_SIZE(call->row->cmd) == 8)
		raw->out = json_sprintf("0x%llx", (unsigned long long)value);
	else if (!ret)
		raw->out = json_integer((json_int_t)value);
	return ret;
}

static int call_set(struct raw *raw, const struct raw_call *call)
{
	uint64_t value = call->keys[0].value;

	return cdev_client_ioctl(&raw->client, call->row->cmd, &value, _IOC_SIZE(call->row->cmd),
				 -1);
}

/* struct vhost_vring_state: of a vring, or of a group. */
static int call_state(struct raw *raw, const struct raw_call *call)
{
	struct vhost_vring_state s = {.index = (uint32_t)call->keys[0].value,
				      .num = (uint32_t)call->keys[1].value};
	int ret = cdev_client_ioctl(&raw->client, call->row->cmd, &s, sizeof(s), -1);

	if (!ret && (_IOC_DIR(call->row->cmd) & _IOC_READ))
		raw->out = json_integer(s.num);
	return ret;
}

static int call_range(struct raw *raw, const struct raw_call *call)
{
	struct vhost_vdpa_iova_range range = {0};
	int ret = cdev_client_ioctl(&raw->client, call->row->cmd, &range, sizeof(range), -1);

	if (!ret)
		raw->out = json_sprintf("0x%llx-0x%llx", (unsigned long long)range.first,
					(unsigned long long)range.last);
	return ret;
}

static int write_message(struct raw *raw, const struct raw_call *call,
			 const struct cdev_client_mem *mem)
{
	struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2,
				   .asid = (uint32_t)call->keys[0].value};
	ssize_t n;

	msg.iotlb.type = (uint8_t)call->row->cmd;
	msg.iotlb.iova = call->keys[1].value;
	msg.iotlb.size = call->keys[2].value;
	msg.iotlb.perm = (uint8_t)call->keys[3].value;
	msg.iotlb.uaddr = mem ? mem->mem.uaddr : 0;
	n = cdev_client_write(&raw->client, &msg, sizeof(msg), mem, mem ? 1 : 0);
	return n < 0 ? (int)n : 0;
}

static int call_message(struct raw *raw, const struct raw_call *call)
{
	return write_message(raw, call, NULL);
}

/* Of memory that nobody else has; the device's mapping outlives ours. */
static int call_update(struct raw *raw, const struct raw_call *call)
{
	uint64_t size = call->keys[2].value;
	struct cdev_client_mem mem = {{.size = size, .writable = 1}, -1};
	void *at = MAP_FAILED;
	int ret;

	if (!size || size > MEMORY_MAX)
		return write_message(raw, call, NULL);
	mem.fd = memfd_create("uvdpa-raw", MFD_CLOEXEC);
	if (mem.fd >= 0 && !ftruncate(mem.fd, (off_t)size))
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
	ret = at == MAP_FAILED ? -errno : 0;
	if (!ret) {
		mem.mem.uaddr = (uintptr_t)at;
		ret = write_message(raw, call, &mem);
	}
	/* The kernel pins what is mapped here: it stays until this process ends. */
	if (at != MAP_FAILED && raw->client.socket)
		munmap(at, size);
	if (mem.fd >= 0)
		close(mem.fd);
	return ret;
}

/* The file stays open, and what was set stays set, for as long as standard input does. */
static int call_hold(struct raw *raw, const struct raw_call *call)
{
	char buf[256];
	ssize_t n;

	(void)raw;
	(void)call;
	fflush(stdout);
	do {
		n = read(STDIN_FILENO, buf, sizeof(buf));
	} while ((n > 0 && buf[n - 1] != '\n') || (n < 0 && errno == EINTR));
	return 0;
}

static int call_sleep(struct raw *raw, const struct raw_call *call)
{
	(void)raw;
	usleep((useconds_t)(call->keys[0].value < 1000 ? call->keys[0].value : 1000) * 1000);
	return 0;
}

/* ---- the table ---- */

#define VALUE                                                                                      \
	{                                                                                          \
		{                                                                                  \
			"value", 0                                                                 \
		}                                                                                  \
	}
#define VRING                                                                                      \
	{                                                                                          \
		{                                                                                  \
			"index", 0                                                                 \
		}                                                                                  \
	}
#define VRING_NUM                                                                                  \
	{                                                                                          \
		{"index", 0},                                                                      \
		{                                                                                  \
			"num", 0                                                                   \
		}                                                                                  \
	}
#define MESSAGE                                                                                    \
	{                                                                                          \
		{"asid", 0}, {"iova", 0}, {"size", 0},                                             \
		{                                                                                  \
			"perm", VHOST_ACCESS_RW                                                    \
		}                                                                                  \
	}

static const struct raw_row raw_rows[] = {
	{"SET_OWNER", VHOST_SET_OWNER, call_none, {{0}}},
	{"GET_FEATURES", VHOST_GET_FEATURES, call_get, {{0}}},
	{"SET_FEATURES", VHOST_SET_FEATURES, call_set, VALUE},
	{"GET_BACKEND_FEATURES", VHOST_GET_BACKEND_FEATURES, call_get, {{0}}},
	{"SET_BACKEND_FEATURES", VHOST_SET_BACKEND_FEATURES, call_set, VALUE},
	{"GET_DEVICE_ID", VHOST_VDPA_GET_DEVICE_ID, call_get, {{0}}},
	{"GET_STATUS", VHOST_VDPA_GET_STATUS, call_get, {{0}}},
	{"SET_STATUS", VHOST_VDPA_SET_STATUS, call_set, VALUE},
	{"GET_CONFIG_SIZE", VHOST_VDPA_GET_CONFIG_SIZE, call_get, {{0}}},
	{"GET_VQS_COUNT", VHOST_VDPA_GET_VQS_COUNT, call_get, {{0}}},
	{"GET_GROUP_NUM", VHOST_VDPA_GET_GROUP_NUM, call_get, {{0}}},
	{"GET_AS_NUM", VHOST_VDPA_GET_AS_NUM, call_get, {{0}}},
	{"GET_VRING_NUM", VHOST_VDPA_GET_VRING_NUM, call_get, {{0}}},
	{"GET_IOVA_RANGE", VHOST_VDPA_GET_IOVA_RANGE, call_range, {{0}}},
	{"SUSPEND", VHOST_VDPA_SUSPEND, call_none, {{0}}},
	{"RESUME", VHOST_VDPA_RESUME, call_none, {{0}}},
	{"SET_VRING_NUM", VHOST_SET_VRING_NUM, call_state, VRING_NUM},
	{"SET_VRING_BASE", VHOST_SET_VRING_BASE, call_state, VRING_NUM},
	{"GET_VRING_BASE", VHOST_GET_VRING_BASE, call_state, VRING},
	{"SET_VRING_ENABLE", VHOST_VDPA_SET_VRING_ENABLE, call_state, VRING_NUM},
	{"GET_VRING_SIZE", VHOST_VDPA_GET_VRING_SIZE, call_state, VRING},
	{"GET_VRING_GROUP", VHOST_VDPA_GET_VRING_GROUP, call_state, VRING},
	{"GET_VRING_DESC_GROUP", VHOST_VDPA_GET_VRING_DESC_GROUP, call_state, VRING},
	{"SET_GROUP_ASID", VHOST_VDPA_SET_GROUP_ASID, call_state, {{"group", 0}, {"asid", 0}}},
	{"IOTLB_UPDATE", VHOST_IOTLB_UPDATE, call_update, MESSAGE},
	{"IOTLB_INVALIDATE", VHOST_IOTLB_INVALIDATE, call_message, MESSAGE},
	{"IOTLB_BATCH_BEGIN", VHOST_IOTLB_BATCH_BEGIN, call_message, {{"asid", 0}}},
	{"IOTLB_BATCH_END", VHOST_IOTLB_BATCH_END, call_message, {{"asid", 0}}},
	{"HOLD", 0, call_hold, {{0}}},
	{"SLEEP", 0, call_sleep, {{"ms", 100}}},
	{NULL, 0, NULL, {{0}}},
};

/* ---- words ---- */

static const struct raw_row *find_row(const char *word)
{
	if (!strncmp(word, "VHOST_", 6))
		word += 6;
	if (!strncmp(word, "VDPA_", 5))
		word += 5;
	for (const struct raw_row *row = raw_rows; row->name; row++)
		if (!strcmp(row->name, word))
			return row;
	return NULL;
}

static int unknown_call(struct cli *cli, const char *word)
{
	fprintf(stderr, "uvdpa: raw: there are:");
	for (const struct raw_row *row = raw_rows; row->name; row++)
		fprintf(stderr, " %s", row->name);
	fputc('\n', stderr);
	return cli_usage(cli, "\"%s\" is no call", word);
}

/* KEY=NUMBER */
static int parse_key(struct cli *cli, struct raw_call *call, const char *word)
{
	const char *eq = strchr(word, '=');
	uint64_t value;

	if (cli_number(eq + 1, UINT64_MAX, &value))
		return cli_usage(cli, "\"%s\": %s is no number", word, eq + 1);
	for (unsigned i = 0; i < KEYS && call->keys[i].name; i++) {
		if (strncmp(call->keys[i].name, word, (size_t)(eq - word)) ||
		    call->keys[i].name[eq - word])
			continue;
		call->keys[i].value = value;
		return EXIT_OK;
	}
	fprintf(stderr, "uvdpa: raw: %s has:", call->row->name);
	for (unsigned i = 0; i < KEYS && call->keys[i].name; i++)
		fprintf(stderr, " %s", call->keys[i].name);
	fputs(call->keys[0].name ? "\n" : " no keys\n", stderr);
	return cli_usage(cli, "%s has no \"%.*s\"", call->row->name, (int)(eq - word), word);
}

/* The call that begins at @argv[*at], and its keys. */
static int parse_call(struct cli *cli, int argc, char **argv, int *at, struct raw_call *call)
{
	int ret = EXIT_OK;

	call->row = find_row(argv[*at]);
	if (!call->row)
		return unknown_call(cli, argv[*at]);
	memcpy(call->keys, call->row->keys, sizeof(call->keys));
	for (++*at; !ret && *at < argc && strchr(argv[*at], '='); ++*at)
		ret = parse_key(cli, call, argv[*at]);
	return ret;
}

/* ---- the file ---- */

/* A path; or the name of a device or of its file, which the daemon knows. */
static int find_path(struct cli *cli, const char *name, char *path, size_t bytes)
{
	const char *dev_name, *chardev, *socket;
	json_t *answer, *dev;
	bool found = false;
	size_t i;
	int ret;

	if (strchr(name, '/'))
		return cli_abs_path(name, path, bytes) ? EXIT_FAILED : EXIT_OK;
	ret = cli_call(cli, "dev.show", json_pack("{s:b}", "all", 1), &answer);
	if (ret)
		return ret;
	json_array_foreach(answer, i, dev)
	{
		if (found ||
		    json_unpack(dev, "{s:s, s:{s:{s:s, s:s}}}", "name", &dev_name, "driver", "show",
				"chardev", &chardev, "path", &socket) ||
		    (strcmp(name, dev_name) && strcmp(name, chardev)))
			continue;
		snprintf(path, bytes, "%s", socket);
		found = true;
	}
	json_decref(answer);
	if (found)
		return EXIT_OK;
	fprintf(stderr, "uvdpa: raw: %s: no such device is bound to vhost-vdpa; a path has a /\n",
		name);
	return EXIT_FAILED;
}

static int report(struct cli *cli, const struct raw_call *call, int err, json_t *out, json_t *list)
{
	const char *why = err ? ctl_errno_name(-err) : NULL;

	if (cli->json) {
		json_array_append_new(list, json_pack("{s:s, s:s*, s:O*}", "call", call->row->name,
						      "error", why, "value", out));
	} else {
		printf("%s ", call->row->name);
		if (out)
			cli_print_value(out);
		else
			fputs(why ? why : "ok", stdout);
		putchar('\n');
	}
	json_decref(out);
	return err ? EXIT_FAILED : EXIT_OK;
}

static int run_calls(struct cli *cli, struct raw *raw, const struct raw_call *calls, int n)
{
	json_t *list = cli->json ? json_array() : NULL;
	int ret = EXIT_OK;

	for (int i = 0; i < n; i++) {
		int err;

		raw->out = NULL;
		err = calls[i].row->run(raw, &calls[i]);
		ret |= report(cli, &calls[i], err, raw->out, list);
	}
	if (cli->json)
		cli_print_json(cli, list);
	return ret;
}

/* All words are understood before the first call is made. */
static int parse_all(struct cli *cli, int argc, char **argv, struct raw_call *calls, int *n)
{
	int at = 1, ret = EXIT_OK;

	*n = 0;
	while (!ret && at < argc)
		ret = parse_call(cli, argc, argv, &at, &calls[(*n)++]);
	return ret;
}

int cmd_raw(struct cli *cli, int argc, char **argv)
{
	struct raw_call *calls;
	struct raw raw = {0};
	char path[4096];
	int n, ret, err;

	ret = cli_args(cli, argc, 2, 1000);
	if (ret >= 0)
		return ret;
	calls = calloc((size_t)argc, sizeof(*calls));
	ret = calls ? parse_all(cli, argc, argv, calls, &n) : EXIT_FAILED;
	if (!ret)
		ret = find_path(cli, argv[0], path, sizeof(path));
	if (!ret) {
		err = cdev_client_open(&raw.client, path);
		if (err) {
			fprintf(stderr, "uvdpa: raw: %s: %s\n", path, strerror(-err));
			ret = EXIT_FAILED;
		} else {
			ret = run_calls(cli, &raw, calls, n);
			cdev_client_close(&raw.client);
		}
	}
	free(calls);
	return ret;
}
