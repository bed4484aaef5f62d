# SPDX-License-Identifier: BSD-3-Clause
import fcntl
import os
import struct

import pytest

import bad
import vu


def wire(queues=1, size=64, length=0, off=0, packed=False):
    return struct.pack('=QQHH', length, off, queues, size) + (b'' if packed else bytes(4))


MSG = bad.Message(vu.GET_INFLIGHT_FD, wire(), sizes=(20, 21, 22, 23), replies=True,
                  feature=vu.P_INFLIGHT)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


@pytest.mark.parametrize('packed', [False, True])
def test_answer(owner, packed):
    """A sealed file of the size that it says, in the shape of the question."""
    got = []
    data = owner.ask(vu.GET_INFLIGHT_FD, wire(2, 128, packed=packed), got=got)
    assert len(data) == (20 if packed else 24) and len(got) == 1
    length, off, queues, size = struct.unpack('=QQHH', data[:20])
    assert off == 0 and (queues, size) == (2, 128)
    assert length >= 2 * (16 + 16 * 128) and os.fstat(got[0]).st_size == length
    seals = fcntl.fcntl(got[0], 1034)   # F_GET_SEALS
    assert seals & 2 and seals & 4      # SHRINK, GROW
    with pytest.raises(PermissionError):
        os.ftruncate(got[0], 0)
    os.close(got[0])


def test_values(server):
    for queues, size in ((0, 64), (3, 64), (257, 64), (0xffff, 64), (1, 0), (1, 32769), (1, 0xffff)):
        with vu.Client(server.path) as c:
            c.negotiate(off=vu.bit(vu.P_INBAND))
            c.send(vu.GET_INFLIGHT_FD, wire(queues, size))
            assert c.closes(), (queues, size)


def test_while_a_ring_is_started(guest):
    guest.start()
    guest.client.send(vu.GET_INFLIGHT_FD, wire())
    assert guest.client.closes()


def test_marks(guest):
    """What is in flight is marked, what is done is not."""
    got = []
    guest.client.ask(vu.GET_INFLIGHT_FD, wire(1, 64), got=got)
    guest.start()
    guest.server.cmd('hold')
    for n in range(5):
        guest.disk.submit(True, n, bytes(512))
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['5'])
    area = os.pread(got[0], 16 + 16 * 64, 0)
    assert struct.unpack('=QHH', area[:12]) == (0, 1, 64)
    heads = {h for h in range(64) if area[16 + 16 * h]}
    assert heads == set(guest.ring.chains)
    guest.server.cmd('delay 0')
    guest.disk.finish(guest.ring.wait(5))
    area = os.pread(got[0], 16 + 16 * 64, 0)
    assert not any(area[16 + 16 * h] for h in range(64))
    os.close(got[0])


def test_ring_larger_than_its_area(guest):
    guest.client.ask(vu.GET_INFLIGHT_FD, wire(1, 32))
    guest.share()
    guest.client.ok(vu.SET_VRING_NUM, vu.state(0, 64))
    guest.client.ok(vu.SET_VRING_ADDR, guest.ring.addr())
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
    guest.client.refused(vu.SET_VRING_KICK, vu.u64(0), [guest.ring.kick])


def test_ring_comes_back_with_another_size(guest):
    """Firmware uses a smaller ring; after a drain nothing of it is left in the area."""
    guest.client.ask(vu.GET_INFLIGHT_FD, wire(1, 64))
    guest.share()
    for num in (16, 64, 32):
        guest.ring.close()
        guest.ring = vu.Ring(guest.mem, 0, num)
        guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
        guest.ring.setup(guest.client)
        for _ in range(3):
            guest.disk.check()
        guest.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
