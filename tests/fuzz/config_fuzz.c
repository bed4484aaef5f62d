// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: configuration files. Words, or devices chosen from a table, make up a document; it
 * is parsed, checked and loaded. Asserted: a load that fails leaves nothing behind, and what a good
 * one made is dumped and loaded again to the same text.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "ctl/json.h"
#include "daemon_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (32u << 10)

static const char *const words[] = {
	"{\"version\":1,\"devices\":[",
	"]}",
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"\"",
	"\\u0000",
	"null",
	"\"name\":\"a\"",
	"\"name\":\"b\"",
	"\"name\":\"\"",
	"\"mgmtdev\":\"soft_blk\"",
	"\"mgmtdev\":\"soft_net\"",
	"\"mgmtdev\":7",
	"\"attrs\":{}",
	"\"attrs\":{\"backend\":\"ram\"}",
	"\"attrs\":{\"backend\":\"null\",\"size\":65536}",
	"\"attrs\":{\"size\":[]}",
	"\"attrs\":{\"mac\":\"52:54:00:12:34:56\",\"mtu\":1500}",
	"\"attrs\":{\"mtu\":-1}",
	"\"driver\":{\"name\":\"virtio-vdpa\"}",
	"\"driver\":{\"name\":\"nobody\"}",
	"\"driver\":{}",
	"\"driver_override\":\"x\"",
	"\"driver_override\":\"virtio-vdpa\"",
	"\"version\":2",
	"{\"name\":\"c\",\"mgmtdev\":\"soft_blk\"}",
	"{\"name\":\"d\",\"mgmtdev\":\"soft_net\"}",
	"{\"name\":\"e\",\"mgmtdev\":\"soft_blk\",\"driver\":{\"name\":\"virtio-vdpa\"}}",
	"{\"name\":\"f\",\"mgmtdev\":\"soft_blk\",\"driver\":{\"name\":\"nobody\"}}",
	"{\"name\":\"c\",\"mgmtdev\":\"soft_blk\"},",
	"{\"name\":\"d\",\"mgmtdev\":\"soft_net\"},",
	NULL,
};

static const char *const rests[] = {
	"\"mgmtdev\":\"soft_blk\"",
	"\"mgmtdev\":\"soft_net\"",
	"\"mgmtdev\":\"soft_blk\",\"attrs\":{\"backend\":\"null\",\"size\":65536,\"num_queues\":"
	"\"2\"}",
	"\"mgmtdev\":\"soft_net\",\"attrs\":{\"mtu\":1500,\"mac\":\"52:54:00:12:34:56\"}",
	"\"mgmtdev\":\"soft_net\",\"attrs\":{\"device_features\":\"VERSION_1,MAC\"}",
	"\"mgmtdev\":\"soft_blk\",\"driver\":{\"name\":\"virtio-vdpa\"}",
	"\"mgmtdev\":\"soft_net\",\"driver\":{\"name\":\"virtio-vdpa\",\"attrs\":{\"queue_size\":"
	"64}}",
	"\"mgmtdev\":\"soft_blk\",\"driver_override\":\"virtio-vdpa\"",
	"\"mgmtdev\":\"soft_blk\",\"attrs\":{\"read_only\":true,\"serial\":\"\\u00e4\"}",
	/* Those that fail, at each of the steps. */
	"\"mgmtdev\":\"nobody\"",
	"\"mgmtdev\":\"soft_net\",\"attrs\":{\"mtu\":5}",
	"\"mgmtdev\":\"soft_blk\",\"driver\":{\"name\":\"nobody\"}",
	"\"mgmtdev\":\"soft_blk\",\"driver_override\":\"x\",\"driver\":{\"name\":\"virtio-vdpa\"}",
	"\"mgmtdev\":\"soft_blk\",\"attrs\":{\"size\":null}",
};

struct load {
	bool ended;
	int ret;
};

static void loaded(void *arg, int ret, const struct vdpa_error *err)
{
	struct load *l = arg;

	assert(!l->ended);
	assert(!ret || (err && *err->msg && *err->object));
	l->ended = true;
	l->ret = ret;
}

static int load(json_t *doc)
{
	struct daemon *d = harness_daemon();
	struct load l = {0};

	config_load(d, doc, loaded, &l);
	assert(!vdpa_ctx_wait(d->ctx, &l.ended, 20000000000ll));
	return l.ret;
}

static void check_dump(void)
{
	struct daemon *d = harness_daemon();
	json_t *first = config_dump(d), *second;

	harness_clean();
	assert(!load(first));
	second = config_dump(d);
	assert(json_equal(first, second));
	json_decref(first);
	json_decref(second);
}

static const char *const mdev_rests[] = {
	"\"mdev_type\":\"mvnet_loopback-virtio\"",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"attrs\":{\"mac\":\"52:54:00:12:34:56\"}",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"start\":\"auto\"",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"start\":\"manual\",\"active\":false",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"vdpa_driver\":{\"name\":\"virtio-vdpa\"}",
	/* Those that fail. */
	"\"mdev_type\":\"nothing\"",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"attrs\":{\"mac\":7}",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"vdpa_driver\":{\"name\":7}",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"driver\":{\"name\":\"vfio_mdev\"}",
	"\"mdev_type\":\"mvnet_loopback-virtio\",\"start\":\"never\"",
};

/* A byte makes a mediated device: one of sixteen UUIDs, and the rest of it. */
static size_t mdevs(const uint8_t *data, size_t size, char *out, size_t max)
{
	size_t used = (size_t)snprintf(out, max, ",\"mdevs\":[");

	for (size_t i = 1; i < size && i < 12; i++) {
		const char *rest =
			mdev_rests[(data[i] >> 4) % (sizeof(mdev_rests) / sizeof(mdev_rests[0]))];

		used += (size_t)snprintf(out + used, max - used,
					 "%s{\"uuid\":\"00000000-0000-0000-0000-00000000000%x\","
					 "\"parent\":\"mvnet_loopback\",%s}",
					 i > 1 ? "," : "", data[i] % 16, rest);
	}
	return used + (size_t)snprintf(out + used, max - used, "]");
}

/* Two bytes make a device: its head, with one of eight names, and the rest of it. */
static size_t devices(const uint8_t *data, size_t size, char *out, size_t max)
{
	size_t used = (size_t)snprintf(out, max, "{\"version\":1,\"devices\":[");

	for (size_t i = 0; i + 1 < size && i < 40; i += 2) {
		const char *rest = rests[data[i + 1] % (sizeof(rests) / sizeof(rests[0]))];
		int n = snprintf(out + used, max - used, "%s{\"name\":\"d%d\",%s}", i ? "," : "",
				 data[i] % 8 + 8 * (int)(i / 2 % 5), rest);

		used += (size_t)n;
	}
	used += (size_t)snprintf(out + used, max - used, "]");
	if (size > 1 && data[0] & 0x80)
		used += mdevs(data, size, out + used, max - used);
	return used + (size_t)snprintf(out + used, max - used, "}");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[TEXT_MAX];
	struct daemon *d = harness_daemon();
	json_t *doc;
	size_t len;

	if (!size)
		return 0;
	/* Words alone seldom get past the parser. */
	if (data[0] % 4)
		len = devices(data + 1, size - 1, text, sizeof(text));
	else
		len = harness_text(words, data + 1, size - 1, text, sizeof(text));
	doc = ctl_json_parse(text, len, NULL);
	if (!doc)
		return 0;
	if (load(doc))
		assert(!devs_count(d));
	else
		check_dump();
	json_decref(doc);
	harness_clean();
	return 0;
}
