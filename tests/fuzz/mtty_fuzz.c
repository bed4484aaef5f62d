// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fuzz target: the serial card mtty, by what a server of vfio-user calls: accesses to its registers
 * and its configuration space, interrupts, resets, and states that are loaded. Asserted besides
 * "does not crash": every operation ends once, FIFOs hold what they can, and a state that was saved
 * is taken by another card and is the same there.
 */
#include <assert.h>
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <uvdpa/mdev_class.h>
#include "fuzz_input.h"
#include "sample/mtty_uart.h"
#include "sample/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STATE_MAX 1024
#define STATE_HEAD 8
#define PORT_RX 9 /* in a port's state: how many bytes wait */
#define PORT_TX (PORT_RX + 1 + MTTY_FIFO)

static struct vdpa_ctx *ctx;

struct card {
	struct mdev_device *mdev;
	struct vfio_user_config config;
	unsigned nports;
	enum vfio_user_mig_state state;
};

struct saved {
	uint8_t bytes[STATE_MAX];
	size_t len;
};

static void count(void *arg, int result)
{
	assert(!result);
	++*(unsigned *)arg;
}

/* An operation that may be refused, but ends at once and once. */
#define RUN(card, op, ...)                                                                         \
	({                                                                                         \
		unsigned ends_ = 0;                                                                \
		const struct vdpa_done done_ = {count, &ends_};                                    \
		int r_ = (card)->config.ops->op((card)->config.arg, ##__VA_ARGS__, &done_);        \
                                                                                                   \
		assert(ends_ == !r_);                                                              \
		r_;                                                                                \
	})

/* ---- states ---- */

/* The direct arcs, as the server takes them. */
static int arc(struct card *c, enum vfio_user_mig_state to)
{
	int r = RUN(c, mig_arc, c->state, to);

	if (!r)
		c->state = to;
	return r;
}

static void save(struct card *c, struct saved *s)
{
	ssize_t n;

	assert(c->state == VFIO_USER_MIG_STOP && !arc(c, VFIO_USER_MIG_STOP_COPY));
	s->len = 0;
	while ((n = c->config.ops->mig_read(c->config.arg, s->bytes + s->len,
					    s->len + 100 < STATE_MAX ? 100 : STATE_MAX - s->len)) >
	       0)
		s->len += (size_t)n;
	assert(!n && s->len < STATE_MAX && !arc(c, VFIO_USER_MIG_STOP));
	for (unsigned i = 0; i < c->nports; i++) {
		const uint8_t *port = s->bytes + STATE_HEAD + i * MTTY_PORT_STATE;

		assert(port[PORT_RX] <= MTTY_FIFO && port[PORT_TX] <= MTTY_FIFO);
	}
}

/* Is it taken? In STOP before and after. */
static bool load(struct card *c, const struct saved *s)
{
	int r;

	assert(c->state == VFIO_USER_MIG_STOP && !arc(c, VFIO_USER_MIG_RESUMING));
	r = c->config.ops->mig_write(c->config.arg, s->bytes, s->len);
	if (!r)
		r = arc(c, VFIO_USER_MIG_STOP);
	assert(!r == (c->state == VFIO_USER_MIG_STOP));
	return !r;
}

static void run(struct card *c)
{
	assert(!arc(c, VFIO_USER_MIG_RUNNING));
}

static void reset(struct card *c)
{
	assert(!RUN(c, reset));
	c->state = VFIO_USER_MIG_RUNNING;
}

/* What was saved is taken by the other card, and is the same there. */
static void move(struct card *from, struct card *to)
{
	struct saved s, again;

	assert(!arc(from, VFIO_USER_MIG_STOP) && !arc(to, VFIO_USER_MIG_STOP));
	save(from, &s);
	assert(load(to, &s));
	save(to, &again);
	assert(s.len == again.len && !memcmp(s.bytes, again.bytes, s.len));
	run(from);
	run(to);
}

/* The state of the card with some bytes changed, or any bytes. */
static void load_any(struct card *c, struct input *in)
{
	struct saved s;
	unsigned changes = (unsigned)take(in, 1) % 8;

	assert(!arc(c, VFIO_USER_MIG_STOP));
	save(c, &s);
	for (unsigned i = 0; i < changes; i++)
		s.bytes[take(in, 2) % s.len] = (uint8_t)take(in, 1);
	if (take(in, 1) % 8 == 0)
		s.len = take(in, 2) % STATE_MAX;
	if (load(c, &s))
		run(c);
	else
		reset(c); /* which alone leads out of it */
}

/* ---- accesses ---- */

static void access_region(struct card *c, struct input *in, bool write)
{
	unsigned region =
		take(in, 1) % 4 ? VFIO_PCI_BAR0_REGION_INDEX : VFIO_PCI_CONFIG_REGION_INDEX;
	uint64_t size = c->config.regions[region].size, off = take(in, 1) % size;
	size_t len = 1 + take(in, 1) % 8;
	uint8_t *buf;

	if (len > size - off)
		len = size - off;
	/* Exactly as large, so that a byte behind it is found. */
	buf = malloc(len);
	for (size_t i = 0; i < len; i++)
		buf[i] = write ? (uint8_t)take(in, 1) : 0;
	if (write)
		assert(!RUN(c, region_write, region, off, buf, len));
	else
		assert(!RUN(c, region_read, region, off, buf, len));
	free(buf);
}

static void interrupts(struct card *c, struct input *in)
{
	unsigned what = (unsigned)take(in, 1), index = what >> 2 & 3;

	if (index >= c->config.nirqs || !c->config.irqs[index].count)
		return;
	if (what & 1)
		c->config.ops->irqs_changed(c->config.arg, index, 0, c->config.irqs[index].count);
	else if (c->config.irqs[index].flags & VFIO_IRQ_INFO_MASKABLE)
		c->config.ops->irq_mask(c->config.arg, index, 0, what & 2);
}

/* ---- cards ---- */

static void start(void)
{
	struct vdpa_ctx_config config = {.size = sizeof(config), .log = {.level = VDPA_LOG_ERR}};

	assert(!vdpa_ctx_new(&config, &ctx));
	assert(!mdev_register_classes(ctx));
	assert(!mtty_register(ctx));
}

static void add(struct card *c, const char *uuid, unsigned nports)
{
	struct mdev_parent *parent = mdev_find_parent(ctx, "mtty");
	const struct mdev_request req = {
		parent, mdev_find_type(parent, nports == 1 ? "mtty-1" : "mtty-2"), uuid, NULL};
	struct vdpa_error err;

	*c = (struct card){.nports = nports, .state = VFIO_USER_MIG_RUNNING};
	assert(!mdev_create(&req, &c->mdev, &err));
	assert(!mdev_get_vfio_ops(c->mdev)->describe(c->mdev, &c->config, &err));
}

static void gone(void *arg, int result)
{
	*(bool *)arg = !result;
}

static void del(struct card *c)
{
	bool over = false;

	assert(!mdev_remove(c->mdev, &(struct vdpa_done){gone, &over}));
	assert(over || !vdpa_ctx_wait(ctx, &over, 20000000000));
}

static void step(struct card *c, struct card *other, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);

	if (what % 16 < 6)
		access_region(c, in, true);
	else if (what % 16 < 11)
		access_region(c, in, false);
	else if (what % 16 < 13)
		interrupts(c, in);
	else if (what % 16 == 13)
		load_any(c, in);
	else if (what % 16 == 14)
		move(c, other);
	else if (what & 0x40)
		reset(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct card a, b;
	unsigned nports = 1 + (unsigned)take(&in, 1) % 2;

	if (!ctx)
		start();
	add(&a, "11111111-1111-1111-1111-111111111111", nports);
	add(&b, "22222222-2222-2222-2222-222222222222", nports);
	while (in.left) {
		bool second = take(&in, 1) & 1;

		step(second ? &b : &a, second ? &a : &b, &in);
	}
	move(&a, &b);
	del(&a);
	del(&b);
	return 0;
}
