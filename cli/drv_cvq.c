// SPDX-License-Identifier: BSD-3-Clause
/*
 * uvdpa drv VIRTIO cvq ... : what a driver says on the control queue of its NIC (virtio 1.3,
 * section 5.1.6.5), in words.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/compat.h>
#include "drv.h"

#define DATA_MAX 2048
#define STATS_ROOM 4096

struct message {
	struct drv_target *t;
	int class, command;
	uint8_t data[DATA_MAX];
	size_t len;
	uint32_t room;
	uint8_t result[STATS_ROOM];
	size_t result_bytes;
};

static void add(struct message *m, uint64_t value, unsigned bytes)
{
	value = htole64(value);
	memcpy(m->data + m->len, &value, bytes);
	m->len += bytes;
}

static uint64_t get(const struct message *m, size_t at, unsigned bytes)
{
	uint64_t value = 0;

	if (at + bytes <= m->result_bytes)
		memcpy(&value, m->result + at, bytes);
	return le64toh(value);
}

static void take_result(struct message *m, const char *hex)
{
	for (; hex && hex[0] && hex[1] && m->result_bytes < sizeof(m->result); hex += 2) {
		char byte[3] = {hex[0], hex[1], 0};

		m->result[m->result_bytes++] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

static int exchange(struct message *m)
{
	char hex[2 * DATA_MAX + 1] = "";
	json_t *result;
	int ret;

	for (size_t i = 0; i < m->len; i++)
		snprintf(hex + 2 * i, 3, "%02x", m->data[i]);
	ret = drv_exec(m->t, "net.command",
		       json_pack("{s:i, s:i, s:s, s:I}", "class", m->class, "command", m->command,
				 "data", hex, "room", (json_int_t)m->room),
		       &result);
	if (ret)
		return ret;
	take_result(m, json_string_value(json_object_get(result, "result")));
	json_decref(result);
	return EXIT_OK;
}

static int number(const struct message *m, const char *what, const char *word, uint64_t max,
		  uint64_t *out)
{
	if (cli_number(word, max, out))
		return cli_usage(m->t->cli, "%s \"%s\": a number up to %llu is allowed", what, word,
				 (unsigned long long)max);
	return EXIT_OK;
}

static int add_number(struct message *m, const char *what, const char *word, unsigned bytes)
{
	uint64_t v;
	int ret = number(m, what, word, bytes < 8 ? (1ull << 8 * bytes) - 1 : UINT64_MAX, &v);

	if (!ret)
		add(m, v, bytes);
	return ret;
}

static int add_mac(struct message *m, const char *word)
{
	const struct vdpa_attr attr[] = {{"mac", word}, {NULL, NULL}};
	uint8_t mac[6];

	if (!vdpa_attr_mac(attr, "mac", mac))
		return cli_usage(m->t->cli, "\"%s\" is no address", word);
	memcpy(m->data + m->len, mac, 6);
	m->len += 6;
	return EXIT_OK;
}

/* ---- commands: @argv is what follows the word ---- */

static int rx_mode(struct message *m, int argc, char **argv)
{
	bool on = !strcmp(argv[0], "on");

	if (!on && strcmp(argv[0], "off"))
		return cli_usage(m->t->cli, "\"%s\": on or off is allowed", argv[0]);
	add(m, on, 1);
	return exchange(m);
}

static int mac_addr(struct message *m, int argc, char **argv)
{
	int ret = add_mac(m, argv[0]);

	return ret ? ret : exchange(m);
}

/* The table is two, one of stations and one of groups. */
static int mac_table(struct message *m, int argc, char **argv)
{
	int ret = EXIT_OK;

	if (argc > 256)
		return cli_usage(m->t->cli, "at most 256 addresses");
	for (unsigned group = 0; group < 2; group++) {
		size_t count_at = m->len;
		uint32_t n = 0;

		add(m, 0, 4);
		for (int i = 0; !ret && i < argc; i++) {
			ret = add_mac(m, argv[i]);
			if (!ret && (m->data[m->len - 6] & 1) == group)
				n++;
			else if (!ret)
				m->len -= 6;
		}
		n = htole32(n);
		memcpy(m->data + count_at, &n, 4);
	}
	return ret ? ret : exchange(m);
}

static int vlan(struct message *m, int argc, char **argv)
{
	int ret = EXIT_OK;

	if (!strcmp(argv[0], "del"))
		m->command = VIRTIO_NET_CTRL_VLAN_DEL;
	else if (strcmp(argv[0], "add"))
		ret = cli_usage(m->t->cli, "\"%s\": add or del is allowed", argv[0]);
	if (!ret)
		ret = add_number(m, "VLAN", argv[1], 2);
	return ret ? ret : exchange(m);
}

static int plain(struct message *m, int argc, char **argv)
{
	return exchange(m);
}

static int pairs(struct message *m, int argc, char **argv)
{
	int ret = add_number(m, "pairs", argv[0], 2);

	return ret ? ret : exchange(m);
}

static int offloads(struct message *m, int argc, char **argv)
{
	static const struct {
		const char *name;
		unsigned bit;
	} names[] = {
		{"csum", VIRTIO_NET_F_GUEST_CSUM},
		{"tso4", VIRTIO_NET_F_GUEST_TSO4},
		{"tso6", VIRTIO_NET_F_GUEST_TSO6},
		{"ecn", VIRTIO_NET_F_GUEST_ECN},
		{"none", 64},
	};
	uint64_t on = 0;

	for (int i = 0; i < argc; i++) {
		unsigned n = 0;

		while (n < 5 && strcmp(names[n].name, argv[i]))
			n++;
		if (n == 5)
			return cli_usage(m->t->cli,
					 "\"%s\": csum, tso4, tso6, ecn and none are allowed",
					 argv[i]);
		if (names[n].bit < 64)
			on |= VDPA_BIT(names[n].bit);
	}
	add(m, on, 8);
	return exchange(m);
}

static int coal_get(struct message *m, const char *vq)
{
	int ret = add_number(m, "queue", vq, 2);

	add(m, 0, 2);
	m->command = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;
	m->room = 8;
	if (!ret)
		ret = exchange(m);
	if (ret)
		return ret;
	if (m->t->cli->json)
		return cli_print_json(m->t->cli, json_pack("{s:I, s:I}", "max_packets",
							   (json_int_t)get(m, 0, 4), "max_usecs",
							   (json_int_t)get(m, 4, 4)));
	printf("max_packets %llu\nmax_usecs %llu\n", (unsigned long long)get(m, 0, 4),
	       (unsigned long long)get(m, 4, 4));
	return EXIT_OK;
}

/* { rx | tx | vq N } PACKETS USECS, or vq N */
static int coal(struct message *m, int argc, char **argv)
{
	bool one = !strcmp(argv[0], "vq");
	int at = 1 + one, ret = EXIT_OK;

	if (one && argc == 2)
		return coal_get(m, argv[1]);
	if (argc != at + 2)
		return cli_usage(m->t->cli, "{ rx | tx | vq N } PACKETS USECS, or vq N, is wanted");
	if (one) {
		m->command = VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET;
		ret = add_number(m, "queue", argv[1], 2);
		add(m, 0, 2);
	} else if (!strcmp(argv[0], "rx")) {
		m->command = VIRTIO_NET_CTRL_NOTF_COAL_RX_SET;
	} else if (strcmp(argv[0], "tx")) {
		return cli_usage(m->t->cli, "\"%s\": rx, tx or vq is allowed", argv[0]);
	}
	if (!ret)
		ret = add_number(m, "packets", argv[at], 4);
	if (!ret)
		ret = add_number(m, "microseconds", argv[at + 1], 4);
	return ret ? ret : exchange(m);
}

/* ---- statistics ---- */

static const struct stats_names {
	unsigned type;
	const char *names[7];
} stats_names[] = {
	{0,
	 {"rx_notifications", "rx_packets", "rx_bytes", "rx_interrupts", "rx_drops",
	  "rx_drop_overruns"}},
	{1, {"rx_csum_valid", "rx_needs_csum", "rx_csum_none", "rx_csum_bad"}},
	{2,
	 {"rx_gso_packets", "rx_gso_bytes", "rx_gso_packets_coalesced", "rx_gso_bytes_coalesced"}},
	{16,
	 {"tx_notifications", "tx_packets", "tx_bytes", "tx_interrupts", "tx_drops",
	  "tx_drop_malformed"}},
	{17, {"tx_csum_none", "tx_needs_csum"}},
	{32, {"command_num", "ok_num"}},
};

static void take_stats(const struct message *m, json_t *to)
{
	for (size_t at = 0; at + 8 <= m->result_bytes;) {
		size_t size = get(m, at + 6, 2);

		if (size < 8)
			return;
		for (size_t i = 0; i < sizeof(stats_names) / sizeof(stats_names[0]); i++) {
			const struct stats_names *s = &stats_names[i];

			for (unsigned f = 0; s->type == m->result[at] && s->names[f]; f++)
				json_object_set_new(
					to, s->names[f],
					json_integer((json_int_t)get(m, at + 8 + 8 * f, 8)));
		}
		at += size;
	}
}

static int stats(struct message *m, int argc, char **argv)
{
	struct message ask = {.t = m->t, .class = VIRTIO_NET_CTRL_STATS, .room = STATS_ROOM};
	json_t *obj, *value;
	const char *key;
	uint64_t vq, of_queue;
	int ret;

	if (strcmp(argv[0], "vq"))
		return cli_usage(m->t->cli, "\"%s\": vq N is wanted", argv[0]);
	ret = number(m, "queue", argv[1], UINT16_MAX, &vq);
	m->room = 8;
	if (!ret)
		ret = exchange(m);
	if (ret)
		return ret;
	/* What the device has for a queue of this kind: it refuses all when one does not fit. */
	ask.command = VIRTIO_NET_CTRL_STATS_GET;
	of_queue = vq % 2 ? VIRTIO_NET_STATS_TYPE_TX_BASIC : VIRTIO_NET_STATS_TYPE_RX_BASIC;
	if (argc == 3)
		of_queue = VIRTIO_NET_STATS_TYPE_CVQ;
	add(&ask, vq, 8);
	add(&ask, get(m, 0, 8) & of_queue, 8);
	ret = exchange(&ask);
	if (ret)
		return ret;
	obj = json_object();
	take_stats(&ask, obj);
	if (m->t->cli->json)
		return cli_print_json(m->t->cli, obj);
	json_object_foreach(obj, key, value)
	{
		printf("%s ", key);
		cli_print_value(value);
		putchar('\n');
	}
	json_decref(obj);
	return EXIT_OK;
}

/* CLASS COMMAND [ hex DIGITS ] [ room N ] */
static int raw(struct message *m, int argc, char **argv)
{
	uint64_t class = 0, command = 0, room = 0;
	const char *hex = "";
	json_t *result;
	int ret = number(m, "class", argv[0], 255, &class);

	if (!ret)
		ret = number(m, "command", argv[1], 255, &command);
	for (int i = 2; !ret && i < argc; i += 2) {
		if (i + 1 == argc || (strcmp(argv[i], "hex") && strcmp(argv[i], "room")))
			return cli_usage(m->t->cli, "\"%s\": hex DIGITS and room N are allowed",
					 argv[i]);
		if (!strcmp(argv[i], "hex"))
			hex = argv[i + 1];
		else
			ret = number(m, "room", argv[i + 1], 16384, &room);
	}
	if (!ret)
		ret = drv_exec(m->t, "net.command",
			       json_pack("{s:I, s:I, s:s, s:I}", "class", (json_int_t) class,
					 "command", (json_int_t)command, "data", hex, "room",
					 (json_int_t)room),
			       &result);
	if (ret)
		return ret;
	if (m->t->cli->json)
		return cli_print_json(m->t->cli, result);
	puts(json_string_value(json_object_get(result, "result")));
	json_decref(result);
	return EXIT_OK;
}

static const struct cvq_word {
	const char *name;
	uint8_t class, command;
	int min, max; /* words that follow */
	int (*run)(struct message *m, int argc, char **argv);
} words[] = {
	{"promisc", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 1, rx_mode},
	{"allmulti", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1, 1, rx_mode},
	{"alluni", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 1, 1, rx_mode},
	{"nomulti", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, 1, 1, rx_mode},
	{"nouni", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, 1, 1, rx_mode},
	{"nobcast", VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1, 1, rx_mode},
	{"mac", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 1, 1, mac_addr},
	{"mac-table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 0, 256, mac_table},
	{"vlan", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2, 2, vlan},
	{"announce-ack", VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0, 0, plain},
	{"mq", VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 1, pairs},
	{"offloads", VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 1, 4,
	 offloads},
	{"coal", VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 2, 4, coal},
	{"stats", VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, 2, 3, stats},
	{"raw", 0, 0, 2, 6, raw},
};

int drv_cvq_words(struct drv_target *t, int argc, char **argv)
{
	struct message m = {.t = t};

	for (size_t i = 0; argc && i < sizeof(words) / sizeof(words[0]); i++) {
		const struct cvq_word *w = &words[i];

		if (strcmp(w->name, argv[0]))
			continue;
		if (argc - 1 < w->min || argc - 1 > w->max)
			return cli_usage(
				t->cli, "%s: %s; try \"uvdpa drv %s cvq %s help\"", w->name,
				argc - 1 < w->min ? "something is missing" : "that is too much",
				t->name ? t->name : "--socket PATH", w->name);
		m.class = w->class;
		m.command = w->command;
		return w->run(&m, argc - 1, argv + 1);
	}
	return drv_unknown(t, "cvq", argc ? argv[0] : NULL);
}
