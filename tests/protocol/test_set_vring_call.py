# SPDX-License-Identifier: BSD-3-Clause
import os
import select

import pytest

import bad
import vu

MSG = bad.Message(vu.SET_VRING_CALL, vu.u64(0), fds=(1,))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    fd = bad.plain_fd()
    for value in (2, 0xff, 0x200, 1 << 32, 1 << 63):
        owner.refused(vu.SET_VRING_CALL, vu.u64(value), [fd])
    owner.refused(vu.SET_VRING_CALL, vu.u64(0x100), [fd])
    owner.refused(vu.SET_VRING_CALL, vu.u64(0))
    owner.ok(vu.SET_VRING_CALL, vu.u64(0x101))
    os.close(fd)


def test_only_eventfds(owner):
    bad.check_only_eventfds(owner, vu.SET_VRING_CALL)


def test_changes_while_running(guest):
    guest.start()
    before = guest.server.fds_at_rest()
    for n in range(100):
        other = os.eventfd(0, os.EFD_NONBLOCK)
        guest.client.ok(vu.SET_VRING_CALL, vu.u64(0), [other])
        guest.disk.submit(False, n)
        guest.ring.notify()
        done = []
        while not done:     # a new descriptor may be called once too often
            assert select.select([other], [], [], vu.TIMEOUT)[0], 'no call on the new descriptor'
            os.eventfd_read(other)
            done = guest.ring.get()
        guest.disk.finish(done)
        os.close(other)
    guest.client.ok(vu.SET_VRING_CALL, vu.u64(0), [guest.ring.call])
    guest.disk.check()
    assert guest.server.settled(before), (guest.server.fds(), before)


def test_without(guest):
    """No descriptor: the driver looks by itself."""
    guest.start()
    guest.client.ok(vu.SET_VRING_CALL, vu.u64(0x100))
    guest.disk.check()
    guest.ring.get()


def test_full_counter_of_a_blocking_descriptor(guest):
    """A call on a full, blocking eventfd must not hold the loop."""
    fd = bad.full_eventfd()
    guest.start()
    guest.client.ok(vu.SET_VRING_CALL, vu.u64(0), [fd])
    for _ in range(5):
        bad.block(fd)
        guest.disk.submit(False, 0)
        guest.ring.notify()
        guest.disk.finish(guest.ring.wait())
    assert guest.client.alive()
    os.close(fd)


@pytest.mark.server('--device', 'net')
def test_full_counter_of_a_ring_that_discards(guest):
    """The control thread calls for it."""
    tx = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.share()
    tx.setup(guest.client, enable=False)
    fd = bad.full_eventfd()
    guest.client.ok(vu.SET_VRING_CALL, vu.u64(1), [fd])
    bad.block(fd)
    for n in range(3):
        tx.add([(guest.mem.gpa + (1 << 20), 64, False)], n)
        tx.wait()
        assert guest.client.alive()
    os.close(fd)
    tx.close()
