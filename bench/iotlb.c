// SPDX-License-Identifier: BSD-3-Clause
/*
 * Cost of the IOTLB by number of ranges, beside a balanced binary tree (glibc's tsearch) holding
 * the same ranges, in the same run. Ranges are 4 KiB with a hole of 4 KiB after each; addresses are
 * drawn beforehand, uniformly, so that a table of a million ranges is missed by every cache.
 *
 *	lookup     independent lookups, as a queue makes for the buffers of a batch
 *	xlate      the same through a view: vdpa_view_xlate() of 64 bytes
 *	batch      the same with the addresses of 32 given to vdpa_view_ahead() before, as a queue
 *	           does
 *	ring       a request of one buffer at such an address, from a split ring and back to it, in
 *	           batches of 32: vringh_getdesc(), complete_n(), flush(), and the driver's part
 *	table      the same of three buffers in an indirect table, itself at such an address
 *	chained    each lookup waits for the result of the one before: latency instead of throughput
 *	append     insertion in ascending order, one by one
 *	insert     insertion in random order
 *	publish    snapshot, insertion, removal, end of the snapshot: a live change
 *	delete     removal in random order
 *
 * Each figure is the best of several rounds, in nanoseconds per operation.
 */
#include <getopt.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uvdpa/compat.h>
#include <uvdpa/mem.h>
#include <uvdpa/vhost_iotlb.h>
#include <uvdpa/vringh.h>

#define RANGE 4096ull
#define STRIDE (2 * RANGE)
#define BATCHED 32u
#define RING_NUM 256u
#define RING_IOVA (1ull << 50)
#define TABLE_ROOM 4

enum { LOOKUP, XLATE, BATCH, RING, TABLE, CHAINED, APPEND, INSERT, PUBLISH, DELETE, OPS };
static const char *const op_names[OPS] = {"lookup",  "xlate",  "batch",	 "ring",    "table",
					  "chained", "append", "insert", "publish", "delete"};

struct result {
	uint64_t ranges;
	double iotlb[OPS], tree[OPS]; /* ns per operation; 0: not measured */
};

static unsigned rounds = 5;
static uint64_t lookups = 1u << 20;
static volatile uint64_t sink;

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint64_t rng_state = 0x9e3779b97f4a7c15ull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state * 0x2545f4914f6cdd1dull;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench-iotlb: %s failed\n", what);
	exit(1);
}

static void *xmalloc(size_t n)
{
	void *p = malloc(n);

	if (!p)
		fail("malloc");
	return p;
}

static uint64_t *shuffled(uint64_t n)
{
	uint64_t *order = xmalloc(n * sizeof(*order));

	for (uint64_t i = 0; i < n; i++)
		order[i] = i;
	for (uint64_t i = n - 1; i > 0; i--) {
		uint64_t j = rng() % (i + 1), t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	return order;
}

static uint64_t *drawn(uint64_t n)
{
	uint64_t *addr = xmalloc(lookups * sizeof(*addr));

	for (uint64_t i = 0; i < lookups; i++)
		addr[i] = rng() % n * STRIDE + rng() % (RANGE - 64);
	return addr;
}

static void best(double *slot, double ns, uint64_t ops)
{
	ns /= (double)ops;
	if (*slot == 0 || ns < *slot)
		*slot = ns;
}

static void add(struct vhost_iotlb *t, uint64_t i)
{
	uint64_t start = i * STRIDE;

	if (vhost_iotlb_add_range(t, start, start + RANGE - 1, start, VHOST_MAP_RW))
		fail("insertion");
}

static void iotlb_lookups(struct vhost_iotlb *t, const uint64_t *addr, struct result *r)
{
	uint64_t sum = 0, carry = 0;
	double t0 = now_ns();

	for (uint64_t i = 0; i < lookups; i++) {
		const struct vhost_iotlb_map *m = vhost_iotlb_itree_first(t, addr[i], addr[i]);

		sum += m->addr + (addr[i] - m->start);
	}
	best(&r->iotlb[LOOKUP], now_ns() - t0, lookups);
	t0 = now_ns();
	for (uint64_t i = 0; i < lookups; i++) {
		uint64_t a = addr[i] ^ carry;

		/* Always 0, but not before the lookup has ended. */
		carry = vhost_iotlb_itree_first(t, a, a)->addr & 1;
	}
	best(&r->iotlb[CHAINED], now_ns() - t0, lookups);
	sink = sum + carry;
}

static void iotlb_publish(struct vhost_iotlb *t, const uint64_t *order, struct result *r)
{
	uint64_t n = r->ranges < 20000 ? 20000 : 100000;
	double t0 = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		uint64_t start = order[i % r->ranges] * STRIDE + RANGE;
		struct vhost_iotlb snap;

		vhost_iotlb_snapshot(t, &snap);
		vhost_iotlb_add_range(t, start, start + RANGE - 1, start, VHOST_MAP_RW);
		vhost_iotlb_del_range(t, start, start, NULL, NULL);
		vhost_iotlb_reset(&snap);
	}
	best(&r->iotlb[PUBLISH], now_ns() - t0, n);
}

/* ---- through a view, and from a ring ---- */

/* Of @as: 32 at a time are looked up ahead when @batch says so. */
static void view_lookups(struct vdpa_view *view, const uint64_t *addr, bool batch, double *slot)
{
	double t0 = now_ns();
	uint64_t sum = 0;
	struct iovec iov;

	for (uint64_t i = 0; i < lookups; i++) {
		if (batch && i % BATCHED == 0)
			vdpa_view_ahead(view, addr + i, BATCHED);
		if (vdpa_view_xlate(view, addr[i], 64, VHOST_MAP_RO, &iov, 1) != 1)
			fail("translation");
		sum += (uintptr_t)iov.iov_base;
	}
	best(slot, now_ns() - t0, lookups);
	sink = sum;
}

/* A split ring in memory of our own, mapped behind all ranges. */
struct ring {
	struct vring_desc desc[RING_NUM];
	uint16_t avail[2 + RING_NUM];
	uint32_t used[1 + 2 * RING_NUM];
} __attribute__((aligned(4096)));

static struct vringh *ring_start(struct vdpa_view *view, struct ring *ring)
{
	struct vringh_config config = {.size = sizeof(config),
				       .features = VDPA_BIT(VIRTIO_F_VERSION_1) |
						   VDPA_BIT(VIRTIO_RING_F_INDIRECT_DESC),
				       .num = RING_NUM,
				       .desc = RING_IOVA + offsetof(struct ring, desc),
				       .driver = RING_IOVA + offsetof(struct ring, avail),
				       .device = RING_IOVA + offsetof(struct ring, used),
				       .ring_view = view,
				       .buf_view = view};
	struct vringh *vr;

	memset(ring, 0, sizeof(*ring));
	for (unsigned i = 0; i < RING_NUM; i++)
		ring->avail[2 + i] = (uint16_t)i;
	if (vringh_init(&config, &vr, NULL))
		fail("a ring");
	return vr;
}

static void ring_requests(struct vdpa_view *view, struct ring *ring, const uint64_t *addr,
			  bool table, double *slot)
{
	struct vringh *vr = ring_start(view, ring);
	struct vringh_chain *chains[BATCHED];
	double t0 = now_ns();

	for (uint64_t i = 0; i < lookups; i += BATCHED) {
		struct vring_desc *d = &ring->desc[i % RING_NUM];

		for (unsigned k = 0; k < BATCHED; k++) {
			d[k] = (struct vring_desc){.addr = addr[i + k], .len = 64};
			if (table)
				d[k] = (struct vring_desc){.addr = addr[i + k] / STRIDE * STRIDE,
							   .len = 3 * sizeof(*d),
							   .flags = VRING_DESC_F_INDIRECT};
		}
		ring->avail[1] = (uint16_t)(i + BATCHED);
		if (vringh_getdesc(vr, chains, BATCHED) != BATCHED)
			fail("a batch");
		vringh_complete_n(vr, chains, NULL, BATCHED);
		if (vringh_flush(vr))
			fail("a batch");
	}
	best(slot, now_ns() - t0, lookups);
	vringh_free(vr);
}

/* Each range begins with a table of three buffers, by which its other bytes are overlaid: nobody
 * reads them. */
static struct vring_desc (*tables_new(const uint64_t *addr, uint64_t n))[TABLE_ROOM]
{
	struct vring_desc(*tables)[TABLE_ROOM] = xmalloc(n * sizeof(*tables));

	for (uint64_t i = 0; i < n; i++) {
		for (uint16_t k = 0; k < 3; k++)
			tables[i][k] = (struct vring_desc){.addr = addr[(3 * i + k) % lookups],
							   .len = 64,
							   .flags = k < 2 ? VRING_DESC_F_NEXT : 0,
							   .next = (uint16_t)(k + 1)};
	}
	return tables;
}

/* The same ranges as an address space; one region stands for all memory of this process. */
static void through_view(const uint64_t *addr, struct result *r)
{
	struct vring_desc(*tables)[TABLE_ROOM] = tables_new(addr, r->ranges);
	static struct ring ring;
	struct vdpa_loop_group *group;
	struct vdpa_region *region;
	struct vdpa_view *view;
	struct vdpa_as *as;

	if (vdpa_loop_group_new(0, &group) || vdpa_as_new(group, 0, &as) ||
	    vdpa_region_wrap(NULL, UINTPTR_MAX, 0, &region))
		fail("set-up");
	for (uint64_t i = 0; i < r->ranges; i++) {
		if (vdpa_as_map(as, i * STRIDE, RANGE, (uintptr_t)tables[i], VHOST_MAP_RW, region))
			fail("insertion");
	}
	if (vdpa_as_map(as, RING_IOVA, sizeof(ring), (uintptr_t)&ring, VHOST_MAP_RW, region) ||
	    vdpa_view_attach(as, vdpa_loop_group_control(group), NULL, NULL, &view))
		fail("set-up");
	for (unsigned round = 0; round < rounds; round++) {
		view_lookups(view, addr, false, &r->iotlb[XLATE]);
		view_lookups(view, addr, true, &r->iotlb[BATCH]);
		ring_requests(view, &ring, addr, false, &r->iotlb[RING]);
		ring_requests(view, &ring, addr, true, &r->iotlb[TABLE]);
	}
	vdpa_view_detach(view);
	vdpa_as_free(as);
	vdpa_region_put(region);
	vdpa_loop_group_free(group);
	free(tables);
}

/* Small tables are built many times, so that the clock does not matter. */
static uint64_t builds(uint64_t n)
{
	return n < 4096 ? 65536 / n : 1;
}

static void iotlb_round(const uint64_t *order, const uint64_t *addr, struct result *r)
{
	uint64_t n = r->ranges, reps = builds(n);
	double append = 0, insert = 0, del = 0, t0;

	for (uint64_t rep = 0; rep < reps; rep++) {
		struct vhost_iotlb t;

		vhost_iotlb_init(&t, 0, 0);
		t0 = now_ns();
		for (uint64_t i = 0; i < n; i++)
			add(&t, i);
		append += now_ns() - t0;
		vhost_iotlb_reset(&t);
		t0 = now_ns();
		for (uint64_t i = 0; i < n; i++)
			add(&t, order[i]);
		insert += now_ns() - t0;
		if (rep == 0) {
			iotlb_lookups(&t, addr, r);
			iotlb_publish(&t, order, r);
		}
		t0 = now_ns();
		for (uint64_t i = 0; i < n; i++)
			vhost_iotlb_del_range(&t, order[n - 1 - i] * STRIDE,
					      order[n - 1 - i] * STRIDE, NULL, NULL);
		del += now_ns() - t0;
		vhost_iotlb_reset(&t);
	}
	best(&r->iotlb[APPEND], append, n * reps);
	best(&r->iotlb[INSERT], insert, n * reps);
	best(&r->iotlb[DELETE], del, n * reps);
}

/* ---- the other side ---- */

static int overlap_cmp(const void *a, const void *b)
{
	const struct vhost_iotlb_map *x = a, *y = b;

	if (x->last < y->start)
		return -1;
	return x->start > y->last;
}

static void tree_fill(void **root, struct vhost_iotlb_map *maps, const uint64_t *order, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = order ? order[i] : i;

		maps[at] = (struct vhost_iotlb_map){
			.start = at * STRIDE, .last = at * STRIDE + RANGE - 1, .addr = at * STRIDE};
		if (!tsearch(&maps[at], root, overlap_cmp))
			fail("tsearch");
	}
}

static void tree_empty(void **root, struct vhost_iotlb_map *maps, const uint64_t *order, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		tdelete(&maps[order[n - 1 - i]], root, overlap_cmp);
}

static void tree_lookups(void **root, const uint64_t *addr, struct result *r)
{
	uint64_t sum = 0, carry = 0;
	double t0 = now_ns();

	for (uint64_t i = 0; i < lookups; i++) {
		struct vhost_iotlb_map key = {.start = addr[i], .last = addr[i]};
		struct vhost_iotlb_map **m = tfind(&key, root, overlap_cmp);

		sum += (*m)->addr + (addr[i] - (*m)->start);
	}
	best(&r->tree[LOOKUP], now_ns() - t0, lookups);
	t0 = now_ns();
	for (uint64_t i = 0; i < lookups; i++) {
		struct vhost_iotlb_map key = {.start = addr[i] ^ carry, .last = addr[i] ^ carry};
		struct vhost_iotlb_map **m = tfind(&key, root, overlap_cmp);

		carry = (*m)->addr & 1;
	}
	best(&r->tree[CHAINED], now_ns() - t0, lookups);
	sink = sum + carry;
}

static void tree_round(const uint64_t *order, const uint64_t *addr, struct result *r)
{
	uint64_t n = r->ranges, reps = builds(n);
	struct vhost_iotlb_map *maps = xmalloc(n * sizeof(*maps));
	double append = 0, insert = 0, del = 0, t0;
	void *root = NULL;

	for (uint64_t rep = 0; rep < reps; rep++) {
		t0 = now_ns();
		tree_fill(&root, maps, NULL, n);
		append += now_ns() - t0;
		tree_empty(&root, maps, order, n);
		t0 = now_ns();
		tree_fill(&root, maps, order, n);
		insert += now_ns() - t0;
		if (rep == 0)
			tree_lookups(&root, addr, r);
		t0 = now_ns();
		tree_empty(&root, maps, order, n);
		del += now_ns() - t0;
	}
	best(&r->tree[APPEND], append, n * reps);
	best(&r->tree[INSERT], insert, n * reps);
	best(&r->tree[DELETE], del, n * reps);
	free(maps);
}

/* ---- output ---- */

static void print_row(const struct result *r)
{
	printf("%8llu", (unsigned long long)r->ranges);
	for (unsigned op = 0; op < OPS; op++) {
		if (r->tree[op] > 0)
			printf("  %7.1f %7.1f %5.2f", r->iotlb[op], r->tree[op],
			       r->tree[op] / r->iotlb[op]);
		else
			printf("  %7.1f       -     -", r->iotlb[op]);
	}
	printf("\n");
	fflush(stdout);
}

static void print_json(FILE *f, const struct result *r)
{
	for (unsigned op = 0; op < OPS; op++) {
		fprintf(f, "{\"id\":\"iotlb-%s-%llu\",\"ours\":%.2f,\"unit\":\"ns\"", op_names[op],
			(unsigned long long)r->ranges, r->iotlb[op]);
		if (r->tree[op] > 0)
			fprintf(f, ",\"peer\":%.2f,\"ratio\":%.3f", r->tree[op],
				r->iotlb[op] / r->tree[op]);
		fprintf(f, ",\"lower_is_better\":true}\n");
	}
}

/* How a cost grows from 1 k ranges to 1 M; tsearch grows by as much beside it. */
static void print_growth(FILE *f, const struct result *small, const struct result *large,
			 unsigned op)
{
	double ours = large->iotlb[op] / small->iotlb[op];

	printf("%s, 1 M ranges / 1 k ranges: %.2f%s", op_names[op], ours,
	       op == LOOKUP || op == BATCH ? " (goal: at most 4)" : "");
	if (large->tree[op] > 0)
		printf(", tsearch %.2f", large->tree[op] / small->tree[op]);
	printf("\n");
	if (f)
		fprintf(f,
			"{\"id\":\"iotlb-%s-growth\",\"ours\":%.2f,\"peer\":%.2f,\"unit\":\"ns\","
			"\"ratio\":%.3f%s,\"lower_is_better\":true}\n",
			op_names[op], large->iotlb[op], small->iotlb[op], ours,
			op == LOOKUP || op == BATCH ? ",\"target\":4" : "");
}

static void measure(struct result *r)
{
	uint64_t *order = shuffled(r->ranges), *addr = drawn(r->ranges);

	for (unsigned i = 0; i < rounds; i++) {
		iotlb_round(order, addr, r);
		tree_round(order, addr, r);
	}
	through_view(addr, r);
	free(order);
	free(addr);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'}, {"quick", no_argument, NULL, 'q'}, {0}};
	static struct result r[] = {{.ranges = 1},
				    {.ranges = 64},
				    {.ranges = 1000},
				    {.ranges = 64000},
				    {.ranges = 1000000}};
	FILE *json = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'q')
			rounds = 1;
		else if (c != 'j' || !(json = fopen(optarg, "w")))
			return fprintf(stderr, "usage: bench-iotlb [--quick] [--json FILE]\n"), 2;
	}
	printf("ns per operation: iotlb, tsearch, tsearch/iotlb\n%8s", "ranges");
	for (unsigned op = 0; op < OPS; op++)
		printf("  %21s", op_names[op]);
	printf("\n");
	for (unsigned i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		measure(&r[i]);
		print_row(&r[i]);
		if (json)
			print_json(json, &r[i]);
	}
	print_growth(json, &r[2], &r[4], LOOKUP);
	print_growth(json, &r[2], &r[4], XLATE);
	print_growth(json, &r[2], &r[4], BATCH);
	print_growth(json, &r[2], &r[4], RING);
	print_growth(json, &r[2], &r[4], TABLE);
	print_growth(json, &r[2], &r[4], CHAINED);
	print_growth(json, &r[2], &r[4], APPEND);
	print_growth(json, &r[2], &r[4], INSERT);
	if (json && fclose(json))
		return 1;
	return 0;
}
