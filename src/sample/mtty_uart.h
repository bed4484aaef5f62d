/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 16550A UARTs (National Semiconductor PC16550D), as the sample mtty has them: registers, FIFOs,
 * interrupts. Time does not pass: a byte is with its receiver at once, or waits while that is full.
 *
 * Wires: what one port sends its peer receives, with the modem lines of a null modem cable; a port
 * that is its own peer has a plug that connects it with itself. Where nobody listens (DTR is down)
 * bytes are lost, as on a cable.
 */
#ifndef SAMPLE_MTTY_UART_H
#define SAMPLE_MTTY_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MTTY_FIFO 16
#define MTTY_PORTS_MAX 2
#define MTTY_REGS 8 /* of a port */

struct mtty_fifo {
	uint8_t data[MTTY_FIFO]; /* the oldest first */
	uint8_t n;
};

struct mtty_port {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t msr; /* as it was last seen, with what has changed since */
	bool thre;   /* interrupt: the transmitter has become empty */
	struct mtty_fifo rx, tx;
	uint64_t sent, received, lost; /* bytes; counters, no state */
};

struct mtty_uart {
	unsigned nports;
	struct mtty_port port[MTTY_PORTS_MAX];
};

void mtty_uart_reset(struct mtty_uart *uart);
/* A byte at @off (port * MTTY_REGS + register), which is inside. */
uint8_t mtty_uart_read(struct mtty_uart *uart, unsigned off);
void mtty_uart_write(struct mtty_uart *uart, unsigned off, uint8_t value);
/* Is the interrupt line up? */
bool mtty_uart_irq(const struct mtty_uart *uart);

/* Bytes of the state of one port, in a form that does not depend on this compiler. */
#define MTTY_PORT_STATE (9 + 2 * (1 + MTTY_FIFO))
void mtty_port_save(const struct mtty_port *port, uint8_t buf[MTTY_PORT_STATE]);
/* False: no UART has such a state; nothing was changed. */
bool mtty_port_load(struct mtty_port *port, const uint8_t buf[MTTY_PORT_STATE]);

#endif
