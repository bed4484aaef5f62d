// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which address is behind which port: a table of fixed size, in buckets. All loops read and write
 * it without a lock: address and port are one word, changed by compare and exchange.
 *
 * Who attacks: a driver that sends from ever new addresses. It may fill its port's share, no more;
 * in a bucket that is full it displaces its own addresses, or those of the port that has most of
 * them there, so that it displaces others only where it is the smaller one. Which addresses share a
 * bucket depends on a secret. And one that sends from another's address: an address that was given
 * by configuration does not move.
 */
#include <sys/random.h>
#include <time.h>
#include "backend/net_switch.h"

#define MAC_MASK ((1ull << 48) - 1)
#define PORT_SHIFT 48
#define FDB_STATIC (1ull << 63)

static uint64_t make_key(uint64_t mac, unsigned port)
{
	return mac | (uint64_t)(port + 1) << PORT_SHIFT;
}

static unsigned key_port(uint64_t key)
{
	return (unsigned)(key >> PORT_SHIFT & 0xff) - 1;
}

/* A full round of mixing on top of a secret: buckets cannot be aimed at. */
static struct fdb_entry *bucket_of(const struct switch_fdb *fdb, uint64_t mac)
{
	uint64_t h = (mac ^ fdb->seed) * 0x9e3779b97f4a7c15ull;

	h = (h ^ h >> 32 ^ fdb->seed) * 0xd6e8feb86659fd93ull;
	return (struct fdb_entry *)(uintptr_t)fdb->entries[h >> 32 & (FDB_BUCKETS - 1)];
}

void fdb_init(struct switch_fdb *fdb, uint32_t aging_s)
{
	if (getrandom(&fdb->seed, sizeof(fdb->seed), 0) != sizeof(fdb->seed))
		fdb->seed = vdpa_clock_ns();
	fdb->aging_s = aging_s;
}

static uint64_t load_key(const struct fdb_entry *e)
{
	return atomic_load_explicit(&e->key, memory_order_relaxed);
}

static bool expired(const struct switch_fdb *fdb, const struct fdb_entry *e, uint64_t key,
		    uint32_t now_s)
{
	uint32_t seen = atomic_load_explicit(&e->seen_s, memory_order_relaxed);

	return !(key & FDB_STATIC) && (int32_t)(now_s - seen) >= (int32_t)fdb->aging_s;
}

static struct fdb_entry *find(const struct switch_fdb *fdb, uint64_t mac, uint64_t *key)
{
	struct fdb_entry *bucket = bucket_of(fdb, mac), *found = NULL;

	/* Two loops may have entered it at the same time; the fixed one counts. */
	for (unsigned i = 0; i < FDB_WAYS; i++) {
		uint64_t k = load_key(&bucket[i]);

		if (!k || (k & MAC_MASK) != mac || (found && !(k & FDB_STATIC)))
			continue;
		found = &bucket[i];
		*key = k;
	}
	return found;
}

int fdb_lookup(const struct switch_fdb *fdb, uint64_t mac, uint32_t now_s)
{
	uint64_t key;
	const struct fdb_entry *e = find(fdb, mac, &key);

	return e && !expired(fdb, e, key, now_s) ? (int)key_port(key) : FDB_NONE;
}

/* @e becomes @to if it is still @from. The counts follow. */
static bool replace(struct switch_fdb *fdb, struct fdb_entry *e, uint64_t from, uint64_t to,
		    uint32_t now_s)
{
	/* First, or somebody may find the new address with the old one's age. */
	atomic_store_explicit(&e->seen_s, now_s, memory_order_relaxed);
	if (!atomic_compare_exchange_strong(&e->key, &from, to))
		return false;
	if (from && !(from & FDB_STATIC))
		atomic_fetch_sub(&fdb->count[key_port(from)], 1);
	if (to && !(to & FDB_STATIC))
		atomic_fetch_add(&fdb->count[key_port(to)], 1);
	return true;
}

static unsigned owned(const uint64_t *keys, unsigned port)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FDB_WAYS; i++)
		n += keys[i] && !(keys[i] & FDB_STATIC) && key_port(keys[i]) == port;
	return n;
}

/*
 * Which entry makes room for one of @port: a free or expired one; the oldest of its own when it has
 * its share; else the oldest of the port that has most here, and more than @port.
 */
static int choose_victim(const struct switch_fdb *fdb, struct fdb_entry *bucket,
			 const uint64_t *keys, unsigned port, uint32_t now_s)
{
	bool full =
		atomic_load_explicit(&fdb->count[port], memory_order_relaxed) >= fdb->limit[port];
	unsigned most = 0;
	uint32_t age = 0;
	int victim = -1;

	for (int i = 0; i < FDB_WAYS; i++) {
		uint32_t old =
			now_s - atomic_load_explicit(&bucket[i].seen_s, memory_order_relaxed);
		bool own = keys[i] && key_port(keys[i]) == port;
		unsigned n;

		if (!keys[i] || expired(fdb, &bucket[i], keys[i], now_s)) {
			/* What was its own does not count any more once it is replaced. */
			if (!full || own)
				return i;
			continue;
		}
		if ((keys[i] & FDB_STATIC) || (full && !own))
			continue;
		n = owned(keys, key_port(keys[i]));
		if (!own && n <= owned(keys, port))
			continue;
		if (victim < 0 || n > most || (n == most && old > age)) {
			victim = i;
			most = n;
			age = old;
		}
	}
	return victim;
}

static void insert(struct switch_fdb *fdb, uint64_t mac, unsigned port, uint32_t now_s)
{
	struct fdb_entry *bucket = bucket_of(fdb, mac);
	uint64_t keys[FDB_WAYS];
	int victim;

	for (unsigned i = 0; i < FDB_WAYS; i++)
		keys[i] = load_key(&bucket[i]);
	victim = choose_victim(fdb, bucket, keys, port, now_s);
	/* Somebody else was faster, or there is no room: the next packet will do. */
	if (victim >= 0)
		replace(fdb, &bucket[victim], keys[victim], make_key(mac, port), now_s);
}

bool fdb_learn(struct switch_fdb *fdb, uint64_t mac, unsigned port, uint32_t now_s)
{
	uint64_t key;
	struct fdb_entry *e = find(fdb, mac, &key);
	bool old;

	if (!e) {
		insert(fdb, mac, port, now_s);
		return false;
	}
	if (key & FDB_STATIC)
		return false;
	if (key_port(key) == port) {
		/* The line stays shared while nothing changes. */
		if (atomic_load_explicit(&e->seen_s, memory_order_relaxed) != now_s)
			atomic_store_explicit(&e->seen_s, now_s, memory_order_relaxed);
		return false;
	}
	if (atomic_load_explicit(&fdb->count[port], memory_order_relaxed) >= fdb->limit[port])
		return false;
	old = expired(fdb, e, key, now_s);
	return replace(fdb, e, key, make_key(mac, port), now_s) && !old;
}

bool fdb_add_static(struct switch_fdb *fdb, uint64_t mac, unsigned port)
{
	uint64_t to = make_key(mac, port) | FDB_STATIC, key;
	struct fdb_entry *bucket = bucket_of(fdb, mac), *e;

	/* Loops learn meanwhile: try again until nobody came in between. */
	while ((e = find(fdb, mac, &key))) {
		if (key & FDB_STATIC)
			return key == to;
		if (replace(fdb, e, key, to, 0))
			return true;
	}
	for (unsigned i = 0; i < FDB_WAYS; i++) {
		key = load_key(&bucket[i]);
		if (!(key & FDB_STATIC) && replace(fdb, &bucket[i], key, to, 0))
			return true;
	}
	return false;
}

void fdb_forget(struct switch_fdb *fdb, unsigned port, bool only_static)
{
	struct fdb_entry *e = fdb->entries[0];

	for (unsigned i = 0; i < FDB_BUCKETS * FDB_WAYS; i++, e++) {
		uint64_t key = load_key(e);

		if (key && key_port(key) == port && (!only_static || (key & FDB_STATIC)))
			replace(fdb, e, key, 0, 0);
	}
}
