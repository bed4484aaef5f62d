// SPDX-License-Identifier: BSD-3-Clause
/*
 * Used numbers as ranges. Giving one back may split a range; the room for that is made when a
 * number is taken, because giving back happens where nothing may fail: at the end of an object's
 * life.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "vdpa/ids.h"

/* @taken numbers cut the line into at most that many ranges, and one more while a cut is made. */
static int ids_make_room(struct vdpa_ids *ids)
{
	size_t room = ids->room ? ids->room * 2 : 8;
	struct vdpa_ids_range *used;

	if (ids->taken + 2 < ids->room)
		return 0;
	used = realloc(ids->used, room * sizeof(*used));
	if (!used)
		return -ENOMEM;
	ids->used = used;
	ids->room = room;
	return 0;
}

static void ids_insert(struct vdpa_ids *ids, size_t at, unsigned first, unsigned last)
{
	assert(ids->n < ids->room);
	memmove(&ids->used[at + 1], &ids->used[at], (ids->n - at) * sizeof(ids->used[0]));
	ids->used[at].first = first;
	ids->used[at].last = last;
	ids->n++;
}

static void ids_remove(struct vdpa_ids *ids, size_t at)
{
	ids->n--;
	memmove(&ids->used[at], &ids->used[at + 1], (ids->n - at) * sizeof(ids->used[0]));
}

int vdpa_ids_get(struct vdpa_ids *ids, unsigned *out)
{
	int ret = ids_make_room(ids);

	if (ret)
		return ret;
	if (!ids->n || ids->used[0].first > 0) {
		*out = 0;
		ids_insert(ids, 0, 0, 0);
	} else if (ids->used[0].last == UINT_MAX) {
		return -ENOSPC;
	} else {
		*out = ++ids->used[0].last;
	}
	if (ids->n > 1 && ids->used[0].last + 1 == ids->used[1].first) {
		ids->used[0].last = ids->used[1].last;
		ids_remove(ids, 1);
	}
	ids->taken++;
	return 0;
}

void vdpa_ids_put(struct vdpa_ids *ids, unsigned id)
{
	struct vdpa_ids_range *r;
	size_t at = 0;

	while (at < ids->n && ids->used[at].last < id)
		at++;
	assert(at < ids->n && ids->used[at].first <= id);
	ids->taken--;
	r = &ids->used[at];
	if (r->first == r->last) {
		ids_remove(ids, at);
	} else if (id == r->first) {
		r->first++;
	} else if (id == r->last) {
		r->last--;
	} else {
		unsigned last = r->last;

		r->last = id - 1;
		ids_insert(ids, at + 1, id + 1, last);
	}
}

int vdpa_ids_reserve(struct vdpa_ids *ids, unsigned last)
{
	int ret = ids_make_room(ids);

	assert(!ids->n);
	if (ret)
		return ret;
	ids_insert(ids, 0, 0, last);
	ids->taken++;
	return 0;
}

void vdpa_ids_fini(struct vdpa_ids *ids)
{
	free(ids->used);
	memset(ids, 0, sizeof(*ids));
}
