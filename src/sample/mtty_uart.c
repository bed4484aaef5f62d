// SPDX-License-Identifier: BSD-3-Clause
#include <linux/serial_reg.h>
#include <string.h>
#include "sample/mtty_uart.h"

/* ---- FIFOs ---- */

static bool fifo_on(const struct mtty_port *p)
{
	return p->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned depth(const struct mtty_port *p)
{
	return fifo_on(p) ? MTTY_FIFO : 1;
}

static bool push(const struct mtty_port *p, struct mtty_fifo *f, uint8_t byte)
{
	if (f->n >= depth(p))
		return false;
	f->data[f->n++] = byte;
	return true;
}

static uint8_t pop(struct mtty_fifo *f)
{
	uint8_t byte = f->data[0];

	if (!f->n)
		return 0;
	memmove(f->data, f->data + 1, --f->n);
	return byte;
}

/* ---- wires ---- */

static bool loops(const struct mtty_port *p)
{
	return p->mcr & UART_MCR_LOOP;
}

static struct mtty_port *peer_of(struct mtty_uart *uart, struct mtty_port *p)
{
	return uart->nports == 1 ? p : &uart->port[p == &uart->port[0]];
}

/* One byte of @p to whoever gets it. False: it has to wait. */
static bool deliver(struct mtty_port *p, struct mtty_port *to, bool inside)
{
	if (!inside && (loops(to) || !(to->mcr & UART_MCR_DTR))) {
		p->lost++;
	} else if (push(to, &to->rx, p->tx.data[0])) {
		to->received++;
	} else {
		return false;
	}
	p->sent++;
	pop(&p->tx);
	return true;
}

static void transmit(struct mtty_uart *uart, struct mtty_port *p)
{
	struct mtty_port *to = loops(p) ? p : peer_of(uart, p);

	if (!p->tx.n)
		return;
	while (p->tx.n && deliver(p, to, loops(p)))
		;
	if (!p->tx.n)
		p->thre = true;
}

/* The modem lines that @p sees: in loopback mode its own (PC16550D, 8.6.7), else its peer's. */
static uint8_t lines(struct mtty_uart *uart, struct mtty_port *p)
{
	const struct mtty_port *from = loops(p) ? p : peer_of(uart, p);
	uint8_t msr = 0;

	if (!loops(p) && loops(from))
		return 0;
	if (from->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (from->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (loops(p) && from->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (from->mcr & (loops(p) ? UART_MCR_OUT2 : UART_MCR_DTR))
		msr |= UART_MSR_DCD;
	return msr;
}

static void see_lines(struct mtty_uart *uart, struct mtty_port *p)
{
	uint8_t now = lines(uart, p), was = p->msr & 0xf0, changed = now ^ was;

	/* Of the ring indicator only its end counts. */
	if (now & UART_MSR_RI)
		changed &= (uint8_t)~UART_MSR_RI;
	p->msr = (uint8_t)(now | (p->msr & UART_MSR_ANY_DELTA) | changed >> 4);
}

/* Whatever was written or read: bytes and lines move on. */
static void settle(struct mtty_uart *uart)
{
	for (unsigned i = 0; i < uart->nports; i++)
		transmit(uart, &uart->port[i]);
	for (unsigned i = 0; i < uart->nports; i++)
		see_lines(uart, &uart->port[i]);
}

/* ---- interrupts ---- */

static unsigned trigger_level(const struct mtty_port *p)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return fifo_on(p) ? levels[p->fcr >> 6] : 1;
}

/* The most urgent one (PC16550D, table IV). */
static uint8_t pending(const struct mtty_port *p)
{
	if (p->ier & UART_IER_RDI && p->rx.n >= trigger_level(p))
		return UART_IIR_RDI;
	if (p->ier & UART_IER_RDI && p->rx.n)
		return UART_IIR_RX_TIMEOUT; /* no more will come: time does not pass */
	if (p->ier & UART_IER_THRI && p->thre)
		return UART_IIR_THRI;
	if (p->ier & UART_IER_MSI && p->msr & UART_MSR_ANY_DELTA)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

bool mtty_uart_irq(const struct mtty_uart *uart)
{
	for (unsigned i = 0; i < uart->nports; i++) {
		if (pending(&uart->port[i]) != UART_IIR_NO_INT)
			return true;
	}
	return false;
}

/* ---- registers ---- */

static uint8_t read_iir(struct mtty_port *p)
{
	uint8_t id = pending(p);

	if (id == UART_IIR_THRI)
		p->thre = false;
	return id | (fifo_on(p) ? 0xc0 : 0);
}

static uint8_t read_msr(struct mtty_port *p)
{
	uint8_t msr = p->msr;

	p->msr &= 0xf0;
	return msr;
}

uint8_t mtty_uart_read(struct mtty_uart *uart, unsigned off)
{
	struct mtty_port *p = &uart->port[off / MTTY_REGS];
	const bool dlab = p->lcr & UART_LCR_DLAB;
	uint8_t value = 0;

	switch (off % MTTY_REGS) {
	case UART_RX:
		value = dlab ? p->dll : pop(&p->rx);
		settle(uart);
		break;
	case UART_IER:
		return dlab ? p->dlm : p->ier;
	case UART_IIR:
		return read_iir(p);
	case UART_LCR:
		return p->lcr;
	case UART_MCR:
		return p->mcr;
	case UART_LSR:
		return (p->rx.n ? UART_LSR_DR : 0) | (p->tx.n ? 0 : UART_LSR_THRE | UART_LSR_TEMT);
	case UART_MSR:
		return read_msr(p);
	case UART_SCR:
		return p->scr;
	}
	return value;
}

static void write_ier(struct mtty_port *p, uint8_t value)
{
	/* Enabling it tells at once that there is room (PC16550D, 8.6.5). */
	if (value & ~p->ier & UART_IER_THRI && !p->tx.n)
		p->thre = true;
	p->ier = value & 0x0f;
}

static void write_fcr(struct mtty_port *p, uint8_t value)
{
	const bool toggled = (p->fcr ^ value) & UART_FCR_ENABLE_FIFO;

	if (toggled || value & UART_FCR_CLEAR_RCVR)
		p->rx.n = 0;
	if (toggled || value & UART_FCR_CLEAR_XMIT) {
		p->tx.n = 0;
		p->thre = true;
	}
	p->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
}

void mtty_uart_write(struct mtty_uart *uart, unsigned off, uint8_t value)
{
	struct mtty_port *p = &uart->port[off / MTTY_REGS];
	const bool dlab = p->lcr & UART_LCR_DLAB;

	switch (off % MTTY_REGS) {
	case UART_TX:
		if (dlab) {
			p->dll = value;
		} else {
			p->thre = false;
			p->lost += !push(p, &p->tx, value);
		}
		break;
	case UART_IER:
		if (dlab)
			p->dlm = value;
		else
			write_ier(p, value);
		break;
	case UART_FCR:
		write_fcr(p, value);
		break;
	case UART_LCR:
		p->lcr = value;
		break;
	case UART_MCR:
		p->mcr = value & 0x1f;
		break;
	case UART_SCR:
		p->scr = value;
		break;
	}
	settle(uart);
}

void mtty_uart_reset(struct mtty_uart *uart)
{
	for (unsigned i = 0; i < uart->nports; i++)
		uart->port[i] = (struct mtty_port){.dll = 1};
	settle(uart);
	for (unsigned i = 0; i < uart->nports; i++)
		uart->port[i].msr &= 0xf0;
}

/* ---- state ---- */

static uint8_t *save_fifo(const struct mtty_fifo *f, uint8_t *at)
{
	*at = f->n;
	memset(at + 1, 0, MTTY_FIFO);
	memcpy(at + 1, f->data, f->n);
	return at + 1 + MTTY_FIFO;
}

void mtty_port_save(const struct mtty_port *p, uint8_t buf[MTTY_PORT_STATE])
{
	const uint8_t regs[] = {p->ier, p->fcr, p->lcr, p->mcr, p->scr,
				p->dll, p->dlm, p->msr, p->thre};

	memcpy(buf, regs, sizeof(regs));
	save_fifo(&p->tx, save_fifo(&p->rx, buf + sizeof(regs)));
}

bool mtty_port_load(struct mtty_port *port, const uint8_t buf[MTTY_PORT_STATE])
{
	const uint8_t *rx = buf + 9, *tx = rx + 1 + MTTY_FIFO;
	struct mtty_port p = {
		.ier = buf[0],
		.fcr = buf[1],
		.lcr = buf[2],
		.mcr = buf[3],
		.scr = buf[4],
		.dll = buf[5],
		.dlm = buf[6],
		.msr = buf[7],
		.thre = buf[8] == 1,
	};

	if (p.ier & ~0x0f || p.mcr & ~0x1f || buf[8] > 1 ||
	    p.fcr & ~(UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK) || rx[0] > depth(&p) ||
	    tx[0] > depth(&p))
		return false;
	p.rx.n = rx[0];
	memcpy(p.rx.data, rx + 1, rx[0]);
	p.tx.n = tx[0];
	memcpy(p.tx.data, tx + 1, tx[0]);
	*port = p;
	return true;
}
