# SPDX-License-Identifier: BSD-3-Clause
import struct
import time

import pytest

import bad
import vu

MSG = bad.Message(vu.GET_VRING_BASE, vu.state(0, 0), replies=True)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def base(client, index=0):
    return struct.unpack('=II', client.ask(vu.GET_VRING_BASE, vu.state(index, 0)))


def test_index(server):
    for index in (2, 255, 0xffffffff):
        with vu.Client(server.path) as c:
            c.negotiate(off=vu.bit(vu.P_INBAND))
            c.send(vu.GET_VRING_BASE, vu.state(index, 0))
            assert c.closes()


def test_stops_and_starts(guest):
    guest.start()
    for lap in range(1, 30):
        guest.disk.check()
        assert base(guest.client) == (0, 2 * lap)
        guest.disk.submit(False, 0)
        guest.ring.notify()
        assert guest.ring.quiet(0.02)
        guest.disk.slots.append(guest.ring.chains.popitem()[1][1][0])
        guest.ring.avail_idx -= 1
        guest.mem.write(guest.ring.avail + 2, struct.pack('<H', guest.ring.avail_idx))
        guest.ring.free = list(range(64))
        guest.client.ok(vu.SET_VRING_BASE, vu.state(0, 2 * lap))
        guest.client.ok(vu.SET_VRING_KICK, vu.u64(0), [guest.ring.kick])


def test_drains(guest):
    """What was taken is completed before the answer; other messages of the session wait behind it."""
    guest.start()
    guest.server.cmd('hold')
    for n in range(5):
        guest.disk.submit(True, n, bytes([n]) * 512)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['5'])
    released = vu.release_later(guest.server)
    guest.client.send(vu.GET_VRING_BASE, vu.state(0, 0))
    guest.client.send(vu.GET_FEATURES)
    request, _, data = guest.client.recv()
    assert request == vu.GET_VRING_BASE and struct.unpack('=II', data) == (0, 5)
    assert released.is_set()
    assert len(guest.ring.get()) == 5
    assert guest.client.recv()[0] == vu.GET_FEATURES


def test_peer_goes_away_during_the_drain(guest):
    guest.start()
    guest.server.cmd('hold')
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['1'])
    guest.client.send(vu.GET_VRING_BASE, vu.state(0, 0))
    time.sleep(0.05)
    guest.client.close()
    time.sleep(0.1)
    ticks = guest.server.cpu_ticks()
    time.sleep(0.3)
    assert guest.server.cpu_ticks() - ticks < 15, 'the server spins'
    guest.server.cmd('delay 0')
    assert guest.server.settled()
    with vu.Guest(guest.server, off=vu.bit(vu.P_INBAND)) as again:
        again.start()
        again.disk.check()


@pytest.mark.server('--stop-ms', '200', '--stuck')
def test_does_not_drain(guest):
    """No base is told for requests that nobody gave back: the session ends, and the next one works."""
    guest.start()
    guest.server.cmd('hold')
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['1'])
    guest.client.send(vu.GET_VRING_BASE, vu.state(0, 0))
    assert guest.client.closes()
    guest.server.cmd('delay 0')
    with vu.Guest(guest.server, off=vu.bit(vu.P_INBAND)) as again:
        again.start()
        again.disk.check()


def test_one_ring_of_two(guest):
    second = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.start()
    second.setup(guest.client)
    disk = vu.Disk(second, guest.mem, 3 << 20)
    disk.check()
    base(guest.client, 0)
    disk.check()
    assert base(guest.client, 1) == (1, 4)
    second.close()
