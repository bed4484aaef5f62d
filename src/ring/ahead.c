// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a batch will ask the map for, asked at once.
 *
 * In a map larger than the processor's caches each translation waits for memory. The descriptors of
 * a batch lie there before the first of them is walked, so their addresses, and those in their
 * indirect tables, are gathered first and looked up side by side (vdpa_view_ahead()). Small maps,
 * which all are but those behind a vIOMMU, never come here.
 *
 * Who attacks: the driver, as everywhere. What is read here is a hint and no more: it is not kept,
 * not checked, and the walk reads it again; whoever changes it in between only makes that lookup
 * slow. What is read is bounded by VDPA_VIEW_AHEAD, wherever chains lead.
 */
#include "ring/ring.h"

/* Of a table; requests of disks have this many: header, data, status. */
#define TABLE_ENTRIES 3

bool ring_ahead_add(struct ring_ahead *a, uint64_t addr, uint32_t len, bool table)
{
	unsigned room = table ? 1 + TABLE_ENTRIES : 1;

	if (a->used + room > VDPA_VIEW_AHEAD)
		return false;
	a->used += room;
	a->item[a->n++] = (struct ring_ahead_item){addr, len, table};
	return true;
}

/* The tables themselves: looked up, and their memory fetched. How many. */
static unsigned fetch_tables(struct vringh *vr, const struct ring_ahead *a, const void **at)
{
	iova_t iova[VDPA_VIEW_AHEAD];
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++) {
		if (a->item[i].table)
			iova[n++] = a->item[i].addr;
	}
	if (n)
		vdpa_view_ahead(vr->ring_view, iova, n);
	for (unsigned i = 0; n && i < a->n; i++) {
		at[i] = a->item[i].table ? view_peek(vr->ring_view, a->item[i].addr, a->item[i].len,
						     VHOST_MAP_RO)
					 : NULL;
		__builtin_prefetch(at[i]);
	}
	return n;
}

/* Addresses in the table at @p, whose format does not matter for that; how many. */
static unsigned table_addrs(const struct vringh *vr, const uint8_t *p, uint32_t len, iova_t *iova)
{
	unsigned n = len / (unsigned)sizeof(struct guest_desc);
	struct desc_copy d;

	if (n > TABLE_ENTRIES)
		n = TABLE_ENTRIES;
	for (unsigned i = 0; i < n; i++) {
		guest_desc_hint(p + i * sizeof(struct guest_desc), &d, vr->desc.native);
		iova[i] = d.addr;
	}
	return n;
}

void ring_ahead_look(struct vringh *vr, const struct ring_ahead *a)
{
	const void *at[VDPA_VIEW_AHEAD];
	iova_t iova[VDPA_VIEW_AHEAD];
	unsigned ntables = fetch_tables(vr, a, at), n = 0;

	for (unsigned i = 0; i < a->n; i++) {
		const struct ring_ahead_item *item = &a->item[i];

		/* In the order of the walk: the table, if it is in the same map, then what is in
		 * it. */
		if (!item->table || vr->buf_view == vr->ring_view)
			iova[n++] = item->addr;
		if (ntables && at[i])
			n += table_addrs(vr, at[i], item->len, iova + n);
	}
	vdpa_view_ahead(vr->buf_view, iova, n);
}
