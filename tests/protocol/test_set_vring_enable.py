# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.SET_VRING_ENABLE, vu.state(0, 1))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    for num in (2, 3, 0x100, 0xffffffff):
        owner.refused(vu.SET_VRING_ENABLE, vu.state(0, num))
    owner.refused(vu.SET_VRING_ENABLE, vu.state(2, 1))


def test_rings_start_disabled(guest):
    guest.start(enable=False)
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert guest.ring.quiet()
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
    guest.disk.finish(guest.ring.wait())


def test_toggles(guest):
    guest.start()
    for _ in range(50):
        guest.disk.check()
        guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 0))
        guest.disk.submit(False, 0)
        guest.ring.notify()
        assert guest.ring.quiet(0.005)
        guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
        guest.disk.finish(guest.ring.wait())


def send_packets(ring, mem, n):
    for i in range(n):
        ring.add([(mem.gpa + (1 << 20), 64, False)], i)
    ring.notify()


@pytest.mark.server('--device', 'net')
def test_a_disabled_transmit_ring_discards(guest):
    """Started and disabled: packets are taken and thrown away, and the device goes on behind them."""
    tx = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.share()
    tx.setup(guest.client, enable=False)
    for _ in range(5):
        send_packets(tx, guest.mem, 20)
        tx.wait(20)
    guest.server.cmd('hold')
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(1, 1))
    send_packets(tx, guest.mem, 7)
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['7'])
    guest.server.cmd('delay 0')
    tx.wait(7)
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(1, 0))
    send_packets(tx, guest.mem, 20)
    tx.wait(20)
    assert guest.client.ask(vu.GET_VRING_BASE, vu.state(1, 0)) == vu.state(1, 127)
    tx.close()


@pytest.mark.server('--device', 'net')
def test_a_disabled_receive_ring_keeps_its_buffers(guest):
    guest.start(enable=False)
    send_packets(guest.ring, guest.mem, 3)
    assert guest.ring.quiet()


@pytest.mark.server('--device', 'net')
def test_a_malformed_disabled_ring(guest):
    tx = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.share()
    tx.setup(guest.client, enable=False)
    guest.mem.write(tx.avail + 2, b'\xff\xff')
    tx.notify()
    assert guest.client.alive()
    guest.client.ask(vu.GET_VRING_BASE, vu.state(1, 0))
    tx.close()
