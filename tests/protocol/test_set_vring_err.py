# SPDX-License-Identifier: BSD-3-Clause
import os
import select
import struct

import bad
import vu

MSG = bad.Message(vu.SET_VRING_ERR, vu.u64(0), fds=(1,))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    fd = bad.plain_fd()
    for value in (2, 0xff, 0x200, 1 << 32, 1 << 63):
        owner.refused(vu.SET_VRING_ERR, vu.u64(value), [fd])
    owner.refused(vu.SET_VRING_ERR, vu.u64(0x100), [fd])
    owner.refused(vu.SET_VRING_ERR, vu.u64(0))
    owner.ok(vu.SET_VRING_ERR, vu.u64(0x100))
    os.close(fd)


def test_only_eventfds(owner):
    bad.check_only_eventfds(owner, vu.SET_VRING_ERR)


def test_malformed_ring(guest):
    """The ring stops, its error descriptor says so, the other ring and the session go on."""
    second = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.start()
    second.setup(guest.client)
    guest.mem.write(guest.ring.avail + 2, struct.pack('<H', 1000))
    guest.ring.notify()
    assert select.select([guest.ring.err], [], [], vu.TIMEOUT)[0]
    os.eventfd_read(guest.ring.err)
    assert guest.client.ask_u64(vu.GET_STATUS) & 0x40      # DEVICE_NEEDS_RESET
    vu.Disk(second, guest.mem, 3 << 20).check()
    second.close()
    guest.client.ok(vu.RESET_DEVICE)
    assert not guest.client.ask_u64(vu.GET_STATUS) & 0x40


def test_full_counter_of_a_blocking_descriptor(guest):
    """The control thread says that the ring broke, and goes on."""
    guest.start()
    fd = bad.full_eventfd()
    guest.client.ok(vu.SET_VRING_ERR, vu.u64(0), [fd])
    bad.block(fd)
    guest.mem.write(guest.ring.avail + 2, struct.pack('<H', 1000))
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.client.ask_u64(vu.GET_STATUS) & 0x40)
    assert guest.client.alive()
    os.close(fd)
