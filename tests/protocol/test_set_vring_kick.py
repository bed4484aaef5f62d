# SPDX-License-Identifier: BSD-3-Clause
import os
import time

import bad
import vu

MSG = bad.Message(vu.SET_VRING_KICK, vu.u64(0), fds=(1,))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    fd = bad.plain_fd()
    for value in (2, 0xff, 0x200, 1 << 32, 1 << 63):
        owner.refused(vu.SET_VRING_KICK, vu.u64(value), [fd])
    owner.refused(vu.SET_VRING_KICK, vu.u64(0x100), [fd])
    owner.refused(vu.SET_VRING_KICK, vu.u64(0))
    owner.ok(vu.SET_VRING_KICK, vu.u64(0x101))
    os.close(fd)


def test_only_eventfds(owner):
    bad.check_only_eventfds(owner, vu.SET_VRING_KICK)


def test_starts_the_ring_without_a_kick(guest):
    guest.disk.submit(False, 0)
    guest.start()
    guest.disk.finish(guest.ring.wait())


def test_kick_that_came_before(guest):
    guest.disk.submit(False, 0)
    guest.ring.notify()
    guest.start()
    guest.disk.finish(guest.ring.wait())


def test_polling(guest):
    """No descriptor: the back end looks by itself."""
    guest.start(kick=False)
    guest.client.ok(vu.SET_VRING_KICK, vu.u64(0x100))
    guest.disk.submit(False, 0)
    guest.disk.finish(guest.ring.wait())
    guest.client.ok(vu.SET_VRING_KICK, vu.u64(0), [guest.ring.kick])
    guest.disk.check()
    # A worker looks by itself for a little while after work.
    assert vu.wait_for(guest.server.asleep)
    guest.disk.submit(False, 0)
    assert guest.ring.quiet(), 'still polling'
    guest.ring.notify()
    guest.disk.finish(guest.ring.wait())


def test_replaced_while_running(guest):
    """Back and forth under load; descriptors do not pile up."""
    guest.start()
    before = guest.server.fds_at_rest()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    for n in range(200):
        guest.client.ok(vu.SET_VRING_KICK, vu.u64(0), [other if n % 2 else guest.ring.kick])
        if n % 3 == 0:
            guest.client.ok(vu.SET_VRING_KICK, vu.u64(0x100))
        guest.disk.submit(False, n % 100)
        os.eventfd_write(other, 1)
        guest.ring.notify()
        guest.disk.finish(guest.ring.wait())
    guest.client.ok(vu.SET_VRING_KICK, vu.u64(0), [other])
    assert guest.server.settled(before), (guest.server.fds(), before)
    os.close(other)


def test_toggled_under_load(guest):
    """Every 10 ms from kicks to polling and back, with requests out all the time: none is overlooked."""
    guest.start()
    guest.server.cmd('delay 300')
    polled, switches, done, next_switch = False, 0, 0, time.monotonic()
    while switches < 60 * vu.ROUNDS:
        for n in range(len(guest.disk.slots)):
            guest.disk.submit(False, n * 8)
        # What came while it was polled needs no kick, also when it is not polled any more.
        if not polled:
            guest.ring.notify()
        if time.monotonic() >= next_switch:
            polled = not polled
            fds = [] if polled else [guest.ring.kick]
            guest.client.ok(vu.SET_VRING_KICK, vu.u64(0x100 if polled else 0), fds)
            switches += 1
            next_switch = time.monotonic() + 0.01
        completed = guest.ring.wait(1)
        guest.disk.finish(completed)
        done += len(completed)
    guest.disk.finish(guest.ring.wait(len(guest.ring.chains)))
    assert done > switches
    vu.count('requests', done)


def test_counter_drained_by_somebody_else(guest):
    """The read on our side must not wait."""
    guest.start()
    for _ in range(200):
        guest.ring.notify()
        try:
            os.eventfd_read(guest.ring.kick)
        except BlockingIOError:
            pass
    guest.disk.check()


def test_idle_costs_nothing(guest):
    guest.start()
    guest.disk.check()
    ticks = guest.server.cpu_ticks()
    assert guest.ring.quiet(0.5)
    assert guest.server.cpu_ticks() - ticks < 10


def test_before_driver_ok(guest):
    """STATUS is negotiated, and yet nobody speaks of DRIVER_OK: the ring runs."""
    assert guest.client.ask_u64(vu.GET_STATUS) == 0
    guest.start()
    guest.disk.check()


def test_idle_polling_costs_little(guest):
    """Looked at less and less often while nothing comes; what comes then is found all the same."""
    guest.start(kick=False)
    guest.client.ok(vu.SET_VRING_KICK, vu.u64(0x100))
    guest.disk.submit(False, 0)
    guest.disk.finish(guest.ring.wait())
    time.sleep(0.2)
    ticks = guest.server.cpu_ticks()
    assert guest.ring.quiet(1.5)
    assert guest.server.cpu_ticks() - ticks < 8, 'the server looks all the time'
    guest.disk.submit(False, 0)
    guest.disk.finish(guest.ring.wait())
