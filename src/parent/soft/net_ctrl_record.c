// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a VMM wants that keeps a NIC's control queue to itself: the commands as they came, and the
 * state as commands that would make it on another device. Both are shown as text under keys of
 * their own.
 *
 * Who attacks: the driver, by many and long commands. Only the last ones are kept, and so many
 * bytes of each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parent/soft/net_ctrl.h"

#define RECORDS 64u
/* The longest command but a table of addresses, of which that many are kept. */
#define KEPT_BYTES 512u

struct record {
	uint8_t class, command, ack;
	uint32_t kept;
	uint64_t bytes;
	uint8_t data[KEPT_BYTES];
};

struct net_ctrl_record {
	uint64_t count; /* since it was switched on */
	struct record last[RECORDS];
};

int net_ctrl_intercept(struct soft_net *net, bool on)
{
	if (on && !net->record)
		net->record = calloc(1, sizeof(*net->record));
	if (on)
		return net->record ? 0 : -ENOMEM;
	free(net->record);
	net->record = NULL;
	return 0;
}

void net_ctrl_record(struct soft_net *net, const struct net_ctrl_seen *seen, const uint8_t *data,
		     uint32_t len)
{
	struct net_ctrl_record *record = net->record;
	struct record *r;

	if (!record)
		return;
	r = &record->last[record->count++ % RECORDS];
	r->class = seen->class;
	r->command = seen->command;
	r->ack = seen->ack;
	r->bytes = len;
	r->kept = len < KEPT_BYTES ? len : KEPT_BYTES;
	if (r->kept)
		memcpy(r->data, data, r->kept);
}

/* ---- for people, and to be done again ---- */

static char *put_hex(char *to, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*to++ = digits[data[i] >> 4];
		*to++ = digits[data[i] & 15];
	}
	*to = '\0';
	return to;
}

static void show_record(const struct record *r, uint64_t number, vdpa_emit_fn emit, void *arg)
{
	char key[48], text[96 + 2 * KEPT_BYTES], *end = text;

	snprintf(key, sizeof(key), "cvq_command_%llu", (unsigned long long)number);
	end += snprintf(text, sizeof(text), "%s %u %u %s %llu ",
			net_ctrl_name(r->class, r->command), r->class, r->command,
			r->ack == VIRTIO_NET_OK ? "OK" : "ERR", (unsigned long long)r->bytes);
	end = put_hex(end, r->data, r->kept);
	if (r->kept < r->bytes)
		strcpy(end, "...");
	emit(arg, key, text);
}

static void show_state(const struct soft_net *net, vdpa_emit_fn emit, void *arg)
{
	uint8_t *data = malloc(NET_CTRL_DATA_MAX);
	char *text = malloc(64 + 2 * NET_CTRL_DATA_MAX), key[48];

	for (const struct net_ctrl_row *row = net_ctrl_rows; data && text && row->name; row++) {
		uint32_t bytes = 0;

		if (row->save && vdpa_soft_has(&net->soft, row->feature))
			bytes = row->save(net_state_get(net), row, data);
		if (!bytes)
			continue;
		snprintf(key, sizeof(key), "cvq_state_%s", row->name);
		put_hex(text + snprintf(text, 64, "%u %u ", row->class, row->command), data, bytes);
		emit(arg, key, text);
	}
	free(text);
	free(data);
}

void net_ctrl_show_record(const struct soft_net *net, vdpa_emit_fn emit, void *arg)
{
	const struct net_ctrl_record *record = net->record;
	uint64_t at = record && record->count > RECORDS ? record->count - RECORDS : 0;

	emit(arg, "cvq_intercept", record ? "on" : "off");
	show_state(net, emit, arg);
	for (; record && at < record->count; at++)
		show_record(&record->last[at % RECORDS], at, emit, arg);
}
