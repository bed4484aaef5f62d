// SPDX-License-Identifier: BSD-3-Clause
/*
 * The sample mtty, over its socket: registers as a driver uses them, interrupts, and its state,
 * which moves to another card in the middle of a transfer. Its loop is this thread's; the client
 * has one of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uvdpa/mdev_class.h>
#include "alloc_fail.h"
#include "sample/mtty_uart.h"
#include "sample/samples.h"

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"
#define BAR VFIO_PCI_BAR0_REGION_INDEX
#define SET_STATE (VFIO_DEVICE_FEATURE_SET | 2)

static struct vdpa_ctx *ctx;
static char folder[] = "/tmp/uvdpa-mtty-XXXXXX";

/* ---- the client's thread ---- */

struct visit {
	void (*fn)(struct vfio_user_client *a, struct vfio_user_client *b);
	struct vfio_user_client *a, *b;
	_Atomic bool over;
};

static void *visit_thread(void *arg)
{
	struct visit *v = arg;

	v->fn(v->a, v->b);
	v->over = true;
	return NULL;
}

static void *connect_thread(void *arg)
{
	struct visit *v = arg;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.sock", folder, U1);
	vfio_user_client_new(path, 5000000000ull, &v->a, NULL);
	snprintf(path, sizeof(path), "%s/%s.sock", folder, U2);
	vfio_user_client_new(path, 5000000000ull, &v->b, NULL);
	v->over = true;
	return NULL;
}

static void run(struct visit *v, void *(*thread_fn)(void *arg))
{
	pthread_t thread;

	v->over = false;
	assert_int_equal(pthread_create(&thread, NULL, thread_fn, v), 0);
	while (!v->over)
		vdpa_loop_run_once(vdpa_ctx_control(ctx), 10000000);
	pthread_join(thread, NULL);
}

static void on_gone(void *arg, int result)
{
	*(bool *)arg = true;
}

/* Two cards of @type; @fn is their client. */
static void with_cards(const char *type,
		       void (*fn)(struct vfio_user_client *a, struct vfio_user_client *b))
{
	struct mdev_parent *parent;
	struct mdev_request req;
	struct vdpa_error err = {.msg = ""};
	struct visit v = {.fn = fn};
	bool gone = false;

	assert_int_equal(vdpa_ctx_new(NULL, &ctx), 0);
	assert_int_equal(mdev_register_classes(ctx), 0);
	assert_int_equal(mtty_register(ctx), 0);
	assert_int_equal(mdev_vfio_set_folder(ctx, folder), 0);
	parent = mdev_find_parent(ctx, "mtty");
	req = (struct mdev_request){parent, mdev_find_type(parent, type), U1, NULL};
	assert_int_equal(mdev_create(&req, NULL, &err), 0);
	req.uuid = U2;
	assert_int_equal(mdev_create(&req, NULL, &err), 0);
	run(&v, connect_thread);
	assert_non_null(v.a);
	assert_non_null(v.b);
	run(&v, visit_thread);
	vfio_user_client_free(v.a);
	vfio_user_client_free(v.b);
	assert_int_equal(mdev_shutdown(ctx, &(struct vdpa_done){on_gone, &gone}), 0);
	assert_int_equal(vdpa_ctx_wait(ctx, &gone, 5000000000), 0);
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

static uint8_t in(struct vfio_user_client *c, unsigned off)
{
	uint8_t value = 0;

	assert_int_equal(vfio_user_region_read(c, BAR, off, &value, 1), 0);
	return value;
}

static void out(struct vfio_user_client *c, unsigned off, uint8_t value)
{
	assert_int_equal(vfio_user_region_write(c, BAR, off, &value, 1), 0);
}

/* As 8250's startup. */
static void start_port(struct vfio_user_client *c, unsigned base)
{
	out(c, base + UART_LCR, UART_LCR_WLEN8);
	out(c, base + UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(c, base + UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
}

/* ---- tests ---- */

static void identity(struct vfio_user_client *c, struct vfio_user_client *other)
{
	uint8_t config[64];
	struct vfio_user_region_info info;

	assert_int_equal(vfio_user_region_read(c, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, 64), 0);
	assert_memory_equal(config, "\x36\x1b\x03\x00", 4);
	assert_memory_equal(config + 9, "\x02\x00\x07", 3);
	assert_int_equal(config[0x3d], 1);
	assert_int_equal(vfio_user_get_region(c, BAR, &info), 0);
	assert_int_equal(info.size, 2 * MTTY_REGS);
}

/* What 8250's autoconfig asks. */
static void registers(struct vfio_user_client *c, struct vfio_user_client *other)
{
	for (unsigned base = 0; base < 2 * MTTY_REGS; base += MTTY_REGS) {
		out(c, base + UART_IER, 0xff);
		assert_int_equal(in(c, base + UART_IER), 0x0f);
		out(c, base + UART_IER, 0);
		assert_int_equal(in(c, base + UART_IER), 0);
		out(c, base + UART_SCR, 0xa5);
		assert_int_equal(in(c, base + UART_SCR), 0xa5);
		/* Loopback: RTS and OUT2 come back as CTS and DCD. */
		out(c, base + UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
		assert_int_equal(in(c, base + UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
		out(c, base + UART_TX, 'x');
		assert_int_equal(in(c, base + UART_LSR),
				 UART_LSR_DR | UART_LSR_THRE | UART_LSR_TEMT);
		assert_int_equal(in(c, base + UART_RX), 'x');
		out(c, base + UART_MCR, 0);
		assert_int_equal(in(c, base + UART_IIR), UART_IIR_NO_INT);
		out(c, base + UART_FCR, UART_FCR_ENABLE_FIFO);
		assert_int_equal(in(c, base + UART_IIR) & 0xc0, 0xc0);
		out(c, base + UART_LCR, UART_LCR_DLAB);
		out(c, base + UART_DLL, 12);
		out(c, base + UART_DLM, 3);
		assert_int_equal(in(c, base + UART_DLL), 12);
		assert_int_equal(in(c, base + UART_DLM), 3);
		out(c, base + UART_LCR, 0);
		assert_int_equal(in(c, base + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	}
}

/* Bytes wait for a receiver that listens; they are lost when nobody does. */
static void two_ports(struct vfio_user_client *c, struct vfio_user_client *other)
{
	const unsigned a = 0, b = MTTY_REGS;

	start_port(c, a);
	out(c, a + UART_TX, 'l');
	assert_int_equal(in(c, b + UART_LSR) & UART_LSR_DR, 0);
	start_port(c, b);
	assert_int_equal(in(c, b + UART_MSR) & 0xf0, UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
	for (unsigned i = 0; i < 2 * MTTY_FIFO; i++)
		out(c, a + UART_TX, (uint8_t)i);
	/* One FIFO there, one here. */
	assert_int_equal(in(c, a + UART_LSR) & UART_LSR_THRE, 0);
	for (unsigned i = 0; i < 2 * MTTY_FIFO; i++) {
		assert_int_equal(in(c, b + UART_LSR) & UART_LSR_DR, UART_LSR_DR);
		assert_int_equal(in(c, b + UART_RX), i);
	}
	assert_int_equal(in(c, b + UART_LSR) & UART_LSR_DR, 0);
	assert_int_equal(in(c, a + UART_LSR) & UART_LSR_THRE, UART_LSR_THRE);
	assert_int_equal(in(c, a + UART_LSR) & UART_LSR_DR, 0);
	/* The line drops: both deltas, once. */
	out(c, b + UART_MCR, 0);
	assert_int_equal(in(c, a + UART_MSR) & UART_MSR_ANY_DELTA,
			 UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
	assert_int_equal(in(c, a + UART_MSR), 0);
}

static bool rings(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, wait_ms) != 1)
		return false;
	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void interrupts(struct vfio_user_client *c, struct vfio_user_client *other)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vfio_user_irq_set set = {
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
		.count = 1,
		.data = &fd,
	};

	assert_int_equal(vfio_user_set_irqs(c, &set), 0);
	start_port(c, 0);
	start_port(c, MTTY_REGS);
	assert_false(rings(fd, 200));
	out(c, UART_IER, UART_IER_THRI);
	assert_true(rings(fd, 60000));
	assert_int_equal(in(c, UART_IIR) & 0x0f, UART_IIR_THRI);
	assert_int_equal(in(c, UART_IIR) & 0x0f, UART_IIR_NO_INT);
	out(c, UART_IER, 0);
	/* The line is unmasked by the client when its guest has looked. */
	set.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
	set.data = NULL;
	assert_int_equal(vfio_user_set_irqs(c, &set), 0);
	assert_false(rings(fd, 200));
	out(c, MTTY_REGS + UART_IER, UART_IER_RDI | UART_IER_MSI);
	out(c, UART_TX, 'i');
	assert_true(rings(fd, 60000));
	assert_int_equal(in(c, MTTY_REGS + UART_IIR) & 0x0f, UART_IIR_RX_TIMEOUT);
	for (int i = 0; i < 8; i++)
		out(c, UART_TX, 'i');
	assert_int_equal(in(c, MTTY_REGS + UART_IIR) & 0x0f, UART_IIR_RDI);
	/* A reset: nothing is left of all that. */
	assert_int_equal(vfio_user_reset(c), 0);
	assert_int_equal(in(c, MTTY_REGS + UART_LSR) & UART_LSR_DR, 0);
	assert_int_equal(in(c, MTTY_REGS + UART_IER), 0);
	close(fd);
}

static int set_state(struct vfio_user_client *c, uint32_t to)
{
	uint32_t data[2] = {to, UINT32_MAX};
	int r = vfio_user_feature(c, SET_STATE, data, sizeof(data), sizeof(data));

	return r < 0 ? r : 0;
}

static size_t save(struct vfio_user_client *c, uint8_t *buf, size_t size)
{
	size_t at = 0;
	ssize_t n;

	assert_int_equal(set_state(c, VFIO_USER_MIG_STOP_COPY), 0);
	while ((n = vfio_user_mig_read(c, buf + at, at + 7 < size ? 7 : size - at)) > 0)
		at += (size_t)n;
	assert_int_equal(n, 0);
	return at;
}

/* 32 bytes are on their way, none of which was read; the other card's driver reads them all. */
static void moves_in_mid_transfer(struct vfio_user_client *a, struct vfio_user_client *b)
{
	uint8_t state[1024], config[2] = {PCI_COMMAND_IO, 0};
	size_t n;

	start_port(a, 0);
	start_port(a, MTTY_REGS);
	out(a, UART_SCR, 0x77);
	assert_int_equal(vfio_user_region_write(a, VFIO_PCI_CONFIG_REGION_INDEX, 4, config, 2), 0);
	for (unsigned i = 0; i < 2 * MTTY_FIFO; i++)
		out(a, UART_TX, (uint8_t)(i + 100));
	n = save(a, state, sizeof(state));
	assert_true(n > 2 * MTTY_PORT_STATE);
	assert_int_equal(set_state(b, VFIO_USER_MIG_RESUMING), 0);
	for (size_t at = 0; at < n; at += 5)
		assert_int_equal(vfio_user_mig_write(b, state + at, n - at < 5 ? n - at : 5), 0);
	assert_int_equal(set_state(b, VFIO_USER_MIG_RUNNING), 0);
	assert_int_equal(in(b, UART_SCR), 0x77);
	config[0] = 0;
	assert_int_equal(vfio_user_region_read(b, VFIO_PCI_CONFIG_REGION_INDEX, 4, config, 2), 0);
	assert_int_equal(config[0], PCI_COMMAND_IO);
	for (unsigned i = 0; i < 2 * MTTY_FIFO; i++) {
		assert_int_equal(in(b, MTTY_REGS + UART_LSR) & UART_LSR_DR, UART_LSR_DR);
		assert_int_equal(in(b, MTTY_REGS + UART_RX), i + 100);
	}
	assert_int_equal(in(b, MTTY_REGS + UART_LSR) & UART_LSR_DR, 0);
	/* The one that was left goes on as it was, too. */
	assert_int_equal(set_state(a, VFIO_USER_MIG_RUNNING), 0);
	assert_int_equal(in(a, MTTY_REGS + UART_RX), 100);
}

/* Every byte of a state, changed: taken, or refused with nothing changed. Never more than there is.
 */
static void hostile_states(struct vfio_user_client *a, struct vfio_user_client *b)
{
	uint8_t state[1024], again[1024];
	unsigned refused = 0;
	size_t n, len;

	start_port(a, 0);
	n = save(a, state, sizeof(state));
	for (size_t i = 0; i < n; i++) {
		memcpy(again, state, n);
		again[i] = 0xee;
		assert_int_equal(set_state(b, VFIO_USER_MIG_RESUMING), 0);
		assert_int_equal(vfio_user_mig_write(b, again, n), 0);
		if (set_state(b, VFIO_USER_MIG_RUNNING)) {
			refused++;
			assert_int_equal(vfio_user_mig_write(b, again, 1), -EINVAL);
		}
		assert_int_equal(vfio_user_reset(b), 0);
	}
	/* The head, and lengths and flags that cannot be. */
	assert_true(refused >= 8 + 2 * 5);
	for (len = 1; len < n; len += n / 3) {
		assert_int_equal(set_state(b, VFIO_USER_MIG_RESUMING), 0);
		assert_int_equal(vfio_user_mig_write(b, state, len), 0);
		assert_int_not_equal(set_state(b, VFIO_USER_MIG_RUNNING), 0);
		assert_int_equal(vfio_user_reset(b), 0);
	}
	assert_int_equal(set_state(b, VFIO_USER_MIG_RESUMING), 0);
	assert_int_equal(vfio_user_mig_write(b, state, n), 0);
	assert_int_equal(vfio_user_mig_write(b, state, 1), -EINVAL);
	assert_int_equal(set_state(b, VFIO_USER_MIG_RUNNING), 0);
	assert_int_equal(in(b, UART_MCR), UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
}

static void test_identity(void **state)
{
	with_cards("mtty-2", identity);
}

static void test_registers(void **state)
{
	with_cards("mtty-2", registers);
}

static void test_two_ports(void **state)
{
	with_cards("mtty-2", two_ports);
}

static void test_interrupts(void **state)
{
	with_cards("mtty-2", interrupts);
}

static void test_moves_in_mid_transfer(void **state)
{
	with_cards("mtty-2", moves_in_mid_transfer);
}

static void test_hostile_states(void **state)
{
	with_cards("mtty-2", hostile_states);
}

/* All registers, any values: no access leaves a FIFO longer than it is, or the interrupt stuck. */
static void test_any_access(void **state)
{
	struct mtty_uart uart = {.nports = 2};
	uint32_t seed = 1;

	mtty_uart_reset(&uart);
	for (unsigned i = 0; i < 200000; i++) {
		seed = seed * 1103515245 + 12345;
		if (seed >> 31)
			mtty_uart_write(&uart, seed >> 16 & 15, (uint8_t)(seed >> 20));
		else
			mtty_uart_read(&uart, seed >> 16 & 15);
		for (unsigned k = 0; k < 2; k++) {
			uint8_t buf[MTTY_PORT_STATE];
			struct mtty_port copy = {0};

			mtty_port_save(&uart.port[k], buf);
			assert_true(mtty_port_load(&copy, buf));
		}
	}
	for (unsigned k = 0; k < 2; k++)
		mtty_uart_write(&uart, k * MTTY_REGS + UART_LCR, 0);
	for (unsigned k = 0; k < 2; k++)
		mtty_uart_write(&uart, k * MTTY_REGS + UART_IER, 0);
	assert_false(mtty_uart_irq(&uart));
}

static void test_instances(void **state)
{
	struct mdev_parent *parent;
	const struct mdev_type *one, *two;
	struct mdev_request req;
	char uuid[] = U1;

	assert_int_equal(vdpa_ctx_new(NULL, &ctx), 0);
	assert_int_equal(mdev_register_classes(ctx), 0);
	assert_int_equal(mtty_register(ctx), 0);
	assert_int_equal(mtty_register(ctx), -EEXIST);
	parent = mdev_find_parent(ctx, "mtty");
	one = mdev_find_type(parent, "mtty-1");
	two = mdev_find_type(parent, "mtty-2");
	assert_int_equal(mdev_available_instances(parent, one), 24);
	assert_int_equal(mdev_available_instances(parent, two), 12);
	for (unsigned i = 0; i < 23; i++) {
		snprintf(uuid + 34, 3, "%02u", i);
		req = (struct mdev_request){parent, one, uuid, NULL};
		assert_int_equal(mdev_create(&req, NULL, NULL), 0);
	}
	assert_int_equal(mdev_available_instances(parent, one), 1);
	req = (struct mdev_request){parent, two, U2, NULL};
	assert_int_equal(mdev_create(&req, NULL, NULL), -EUSERS);
	assert_int_equal(mdev_shutdown(ctx, NULL), 0);
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

static void test_without_memory(void **state)
{
	struct mdev_parent *parent;
	struct mdev_request req;
	int r;

	assert_int_equal(vdpa_ctx_new(NULL, &ctx), 0);
	assert_int_equal(mdev_register_classes(ctx), 0);
	assert_int_equal(mtty_register(ctx), 0);
	assert_int_equal(mdev_vfio_set_folder(ctx, folder), 0);
	parent = mdev_find_parent(ctx, "mtty");
	req = (struct mdev_request){parent, mdev_find_type(parent, "mtty-2"), U1, NULL};
	for (alloc_fail_begin(); alloc_fail_more();) {
		struct mdev_device *mdev = NULL;
		bool gone = false;

		r = mdev_create(&req, &mdev, NULL);
		alloc_fail_off();
		assert_true(!r || r == -ENOMEM);
		if (r)
			continue;
		assert_int_equal(mdev_remove(mdev, &(struct vdpa_done){on_gone, &gone}), 0);
		assert_int_equal(vdpa_ctx_wait(ctx, &gone, 5000000000), 0);
	}
	assert_int_equal(vdpa_ctx_free(ctx), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_two_ports),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_moves_in_mid_transfer),
		cmocka_unit_test(test_hostile_states),
		cmocka_unit_test(test_any_access),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_without_memory),
	};
	int r;

	if (!mkdtemp(folder))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return r;
}
