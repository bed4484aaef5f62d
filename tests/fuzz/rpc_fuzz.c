// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the control socket. The first byte chooses: the rest are bytes as a client sends
 * them, words that make up requests, or whole requests with words as values. Asserted besides "does
 * not crash": the daemon comes to rest, and no device, call or connection is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (64u << 10)
#define UUID "00000000-0000-0000-0000-000000000001"

/* None of them names a file: an input must not reach out of the process. */
static const char *const words[] = {
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"",
	"\",\"params\":{",
	"\"name\":\"d0\"",
	"\"name\":\"d1\"",
	"}}\n",
	"}\n",
	"\n",
	",",
	":",
	"{",
	"}",
	"[",
	"]",
	"\"",
	"\\",
	"\\u0000",
	"null",
	"true",
	"-1",
	"1e400",
	"9223372036854775807",
	"mgmtdev.show",
	"backend.show",
	"dev.show",
	"dev.add",
	"dev.del",
	"dev.set",
	"dev.bind",
	"dev.unbind",
	"dev.suspend",
	"dev.resume",
	"dev.override",
	"dev.announce",
	"dev.save",
	"dev.load",
	"cvq.show",
	"cvq.state",
	"cvq.intercept",
	"group.show",
	"as.show",
	"worker.show",
	"dev.config.show",
	"dev.vstats.show",
	"topology",
	"bus.devices",
	"bus.drivers",
	"monitor",
	"config.dump",
	"config.load",
	"iotlb.dump",
	"debug.refs",
	"log",
	"stats",
	"drv.show",
	"drv.ops",
	"drv.call",
	"api.version",
	"rpc.describe",
	"daemon.info",
	"\"mgmtdev\":\"soft_blk\"",
	"\"mgmtdev\":\"soft_net\"",
	"\"driver\":\"virtio-vdpa\"",
	"\"driver\":{\"name\":\"virtio-vdpa\"}",
	"\"driver\":{\"name\":\"nobody\"}",
	"\"attrs\":{",
	"\"backend\":\"ram\"",
	"\"backend\":\"null\"",
	"\"backend\":\"loopback\"",
	"\"size\":\"64K\"",
	"\"mac\":\"52:54:00:12:34:56\"",
	"\"mtu\":1500",
	"\"max_vqp\":2",
	"\"intercept\":\"on\"",
	"\"on\":false",
	"\"state\":\"",
	"VVZEUwIAOAA",
	"AAAA",
	"==\"",
	"\"num_queues\":4",
	"\"all\":true",
	"\"qidx\":1",
	"\"asid\":0",
	"\"max\":5",
	"\"config\":{\"version\":1,\"devices\":[",
	"\"op\":\"blk.fill\"",
	"\"op\":\"blk.verify\"",
	"\"op\":\"reset\"",
	"\"op\":\"attach\"",
	"\"op\":\"conform\"",
	"\"op\":\"info\"",
	"\"name\":\"virtio0\"",
	"\"params\":{",
	"\"offset\":0",
	"\"len\":4096",
	"mdev.types",
	"mdev.show",
	"mdev.create",
	"mdev.remove",
	"mdev.set",
	"mdev.bind",
	"mdev.unbind",
	"mdev.defined",
	"mdev.define",
	"mdev.undefine",
	"mdev.start",
	"mdev.drivers",
	"dsa.add",
	"dsa.del",
	"dsa.show",
	"dsa.config",
	"dsa.enable",
	"dsa.disable",
	"dsa.save",
	"dsa.load",
	"dsa.inject",
	"dsa.regs",
	"ims.show",
	"ims.mask",
	"ims.unmask",
	"\"uuid\":\"" UUID "\"",
	"\"uuid\":\"00000000-0000-0000-0000-000000000002\"",
	"\"uuid\":\"../../x\"",
	"\"mdev_type\":\"mtty-1\"",
	"\"mdev_type\":\"idxd-1dwq-v1\"",
	"\"parent\":\"dsa0\"",
	"\"parent\":\"..\"",
	"\"start\":\"auto\"",
	"\"name\":\"dsa0\"",
	"\"path\":\"dsa0\"",
	"\"path\":\"dsa0/wq0.0\"",
	"\"path\":\"dsa0/engine0.9\"",
	"\"path\":\"//wq0.0/\"",
	"\"attrs\":{\"group_id\":\"-1\"}",
	"\"attrs\":{\"size\":0,\"threshold\":1}",
	"\"engines\":0",
	"\"ims_slots\":1",
	"\"fault\":\"halt\"",
	"\"slot\":0",
	"\"slot\":2047",
	"\"devices\":[{\"dev\":\"dsa0\",\"groups\":[",
	"\"grouped_workqueues\":[{\"dev\":\"wq0.0\"",
	"\"driver\":{\"name\":\"vdpa_mdev\",\"attrs\":{",
	NULL,
};

/* Complete requests, so that whole lives of devices happen. */
static const char *const requests[] = {
	"dev.add\",\"params\":{\"name\":\"d0\",\"mgmtdev\":\"soft_blk\",\"attrs\":{\"backend\":"
	"\"ram\",\"size\":\"64K\"}}}\n",
	"dev.add\",\"params\":{\"name\":\"d1\",\"mgmtdev\":\"soft_net\",\"attrs\":{\"backend\":"
	"\"loopback\"}}}\n",
	"dev.add\",\"params\":{\"name\":\"d2\",\"mgmtdev\":\"soft_blk\",\"attrs\":{\"backend\":"
	"\"null\"},\"driver\":{\"name\":\"virtio-vdpa\"}}}\n",
	"dev.add\",\"params\":{\"name\":\"d3\",\"mgmtdev\":\"soft_blk\",\"driver\":{\"name\":"
	"\"nobody\"}}}\n",
	"dev.del\",\"params\":{\"name\":\"d0\"}}\n",
	"dev.del\",\"params\":{\"name\":\"d1\"}}\n",
	"dev.del\",\"params\":{\"name\":\"d2\"}}\n",
	"dev.bind\",\"params\":{\"name\":\"d0\",\"driver\":\"virtio-vdpa\"}}\n",
	"dev.bind\",\"params\":{\"name\":\"d1\",\"driver\":\"virtio-vdpa\"}}\n",
	"dev.unbind\",\"params\":{\"name\":\"d0\"}}\n",
	"dev.unbind\",\"params\":{\"name\":\"d1\"}}\n",
	"dev.suspend\",\"params\":{\"name\":\"d0\"}}\n",
	"dev.resume\",\"params\":{\"name\":\"d0\"}}\n",
	"dev.override\",\"params\":{\"name\":\"d0\",\"driver\":\"x\"}}\n",
	"dev.override\",\"params\":{\"name\":\"d0\"}}\n",
	"dev.show\",\"params\":{\"all\":true}}\n",
	"dev.config.show\",\"params\":{\"all\":true}}\n",
	"dev.vstats.show\"}\n",
	"monitor\"}\n",
	"config.dump\"}\n",
	"iotlb.dump\",\"params\":{\"name\":\"d0\",\"max\":1}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"blk.fill\",\"params\":{\"offset\":0,"
	"\"len\":65536}}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"blk.verify\",\"params\":{\"offset\":"
	"0,\"len\":65536}}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"reset\"}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"attach\"}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"conform\"}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio0\",\"op\":\"status\"}}\n",
	"drv.call\",\"params\":{\"name\":\"virtio1\",\"op\":\"blk.id\"}}\n",
	"stats\"}\n",
	"dsa.add\",\"params\":{\"name\":\"dsa0\"}}\n",
	"dsa.add\",\"params\":{\"name\":\"dsa0\",\"attrs\":{\"engines\":1,\"wqs\":1,\"groups\":1,"
	"\"ims_slots\":1}}}\n",
	"dsa.del\",\"params\":{\"name\":\"dsa0\"}}\n",
	"dsa.config\",\"params\":{\"path\":\"dsa0/engine0.0\",\"attrs\":{\"group_id\":0}}}\n",
	"dsa.config\",\"params\":{\"path\":\"dsa0/wq0.0\",\"attrs\":{\"type\":\"mdev\",\"name\":"
	"\"a\",\"size\":8,\"group_id\":0,\"mode\":\"dedicated\"}}}\n",
	"dsa.config\",\"params\":{\"path\":\"dsa0/wq0.0\",\"attrs\":{\"mode\":\"shared\","
	"\"threshold\":4}}}\n",
	"dsa.enable\",\"params\":{\"path\":\"dsa0\"}}\n",
	"dsa.enable\",\"params\":{\"path\":\"dsa0/wq0.0\"}}\n",
	"dsa.disable\",\"params\":{\"path\":\"dsa0\"}}\n",
	"dsa.disable\",\"params\":{\"path\":\"dsa0/wq0.0\"}}\n",
	"dsa.show\"}\n",
	"dsa.save\"}\n",
	"dsa.load\",\"params\":{\"devices\":[{\"dev\":\"dsa0\",\"groups\":[{\"dev\":\"group0.0\","
	"\"grouped_workqueues\":[{\"dev\":\"wq0.0\",\"size\":4,\"type\":\"mdev\"}],"
	"\"grouped_engines\":[{\"dev\":\"engine0.0\",\"group_id\":0}, 7]}]}]}}\n",
	"dsa.inject\",\"params\":{\"uuid\":\"" UUID "\",\"fault\":\"flr\"}}\n",
	"dsa.inject\",\"params\":{\"uuid\":\"" UUID "\",\"fault\":\"revoke\"}}\n",
	"dsa.regs\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"ims.show\",\"params\":{\"name\":\"dsa0\",\"all\":true}}\n",
	"ims.mask\",\"params\":{\"name\":\"dsa0\",\"slot\":0}}\n",
	"ims.unmask\",\"params\":{\"name\":\"dsa0\",\"slot\":1}}\n",
	"mdev.create\",\"params\":{\"uuid\":\"" UUID "\",\"mdev_type\":\"idxd-1dwq-v1\"}}\n",
	"mdev.create\",\"params\":{\"uuid\":\"" UUID "\",\"mdev_type\":\"mtty-1\"}}\n",
	"mdev.create\",\"params\":{\"uuid\":\"" UUID "\",\"mdev_type\":\"mtty-2\",\"driver\":{"
	"\"name\":\"nobody\"}}}\n",
	"mdev.remove\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"mdev.define\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"mdev.define\",\"params\":{\"uuid\":\"" UUID "\",\"mdev_type\":\"mtty-1\",\"parent\":"
	"\"mtty\",\"start\":\"auto\",\"attrs\":{\"x\":1}}}\n",
	"mdev.start\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"mdev.undefine\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"mdev.defined\"}\n",
	"mdev.unbind\",\"params\":{\"uuid\":\"" UUID "\"}}\n",
	"mdev.show\"}\n",
	"mdev.types\"}\n",
};

static size_t whole_requests(const uint8_t *data, size_t size, char *out, size_t max)
{
	size_t used = 0;

	for (size_t i = 0; i < size && i < 200; i++) {
		const char *r = requests[data[i] % (sizeof(requests) / sizeof(requests[0]))];
		int n = snprintf(out + used, max - used,
				 "{\"jsonrpc\":\"2.0\",\"id\":%zu,\"method\":\"%s", i, r);

		if (n < 0 || (size_t)n >= max - used)
			break;
		used += (size_t)n;
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[TEXT_MAX];
	size_t len;

	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		harness_client(data + 1, size - 1);
		break;
	case 1:
		len = harness_text(words, data + 1, size - 1, text, sizeof(text));
		harness_client(text, len);
		break;
	default:
		len = whole_requests(data + 1, size - 1, text, sizeof(text));
		harness_client(text, len);
	}
	harness_clean();
	return 0;
}
