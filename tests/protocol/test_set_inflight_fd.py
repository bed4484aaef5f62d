# SPDX-License-Identifier: BSD-3-Clause
import contextlib
import mmap
import os
import random
import signal
import struct
import time

import pytest

import bad
import vu
from test_get_inflight_fd import wire

AREA = 16 + 16 * 64
STRIDE = (AREA + 63) & ~63


def area_fd(size=4 * STRIDE):
    fd = os.memfd_create('inflight')
    os.ftruncate(fd, size)
    return fd


MSG = bad.Message(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), fds=(1,), sizes=(20, 21, 22, 23),
                  feature=vu.P_INFLIGHT, make_fd=area_fd)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_values(owner):
    fd, top = area_fd(), 1 << 64
    for queues, size, length, off in (
            (0, 64, STRIDE, 0), (3, 64, 4 * STRIDE, 0), (0xffff, 64, 4 * STRIDE, 0),
            (1, 0, STRIDE, 0), (1, 32769, STRIDE, 0), (1, 65535, STRIDE, 0),
            (1, 64, STRIDE - 1, 0), (2, 64, STRIDE, 0), (1, 64, 0, 0),
            (1, 64, 3 * vu.PAGE, 0), (1, 64, STRIDE, 3 * vu.PAGE), (1, 64, STRIDE, 3),
            (1, 64, STRIDE, top - STRIDE), (1, 64, top - 1, 0), (1, 64, STRIDE, top - 8)):
        owner.refused(vu.SET_INFLIGHT_FD, wire(queues, size, length, off), [fd])
    owner.ok(vu.SET_INFLIGHT_FD, wire(2, 64, 2 * STRIDE, 64), [fd])
    os.close(fd)
    r, w = os.pipe()
    owner.refused(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [r])
    os.close(r)
    os.close(w)


def test_while_a_ring_is_started(guest):
    guest.start()
    fd = area_fd()
    guest.client.refused(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    os.close(fd)


@pytest.mark.parametrize('seed', range(20 * vu.ROUNDS))
def test_any_contents(tmp_path, seed):
    """The area is the peer's: whatever is in it, and whatever becomes of it, nothing else is harmed."""
    rnd = random.Random(seed)
    server = vu.Server(tmp_path)
    fd = area_fd()
    junk = bytearray(rnd.randbytes(AREA))
    if seed % 2:
        junk[:16] = struct.pack('=QHHHH', 0, 1, 64, rnd.randrange(70), rnd.randrange(1 << 16))
    os.pwrite(fd, junk, 0)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
        g.share()
        g.ring.setup(g.client)
        for _ in range(20):
            os.pwrite(fd, rnd.randbytes(AREA), 0)
            g.ring.notify()
        g.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
        assert g.client.alive()
    os.close(fd)
    assert server.settled()
    assert server.stop() == 0


@contextlib.contextmanager
def rewriting(fd, seed):
    """Somebody else writes to the area all the time: rubbish, what was there before, and almost the truth."""
    pid = os.fork()
    if not pid:
        rnd, area = random.Random(seed), mmap.mmap(fd, AREA)
        junk = [rnd.randbytes(AREA) for _ in range(16)] + [bytes(AREA), b'\xff' * AREA]
        head = struct.pack('=QHHHH', 0, 1, 64, 0, 0)
        while os.getppid() != 1:
            area[:] = rnd.choice(junk)
            area[:16] = head
            area[14:16] = struct.pack('=H', rnd.randrange(1 << 16))
            old = area[:]
            area[rnd.randrange(AREA)] = rnd.randrange(256)
            area[:] = old
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize('seed', range(vu.ROUNDS))
def test_rewritten_while_in_use(server, seed):
    """The area's queue may fail or answer what nobody asked; the other queue of the device does neither."""
    fd, rnd = area_fd(), random.Random(seed)
    for lap in range(20):
        with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g, rewriting(fd, seed * 100 + lap):
            g.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
            g.share()
            other = vu.Ring(g.mem, 1, 64, off=2 << 20)
            other.setup(g.client)
            disk = vu.Disk(other, g.mem, 3 << 20)
            for _ in range(10):
                mine = vu.Ring(g.mem, 0, 64)
                mine.setup(g.client)
                mine_disk = vu.Disk(mine, g.mem, 1 << 20)
                for n in range(rnd.randrange(1, 21)):
                    mine_disk.submit(False, n * 8)
                    mine.notify()
                disk.check()
                g.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
                mine.close()
            disk.check()
            other.close()
            if lap == 1:
                rss = server.rss_kib()
    assert server.settled()
    assert server.rss_kib() - rss < vu.SLACK_KIB, 'memory grows'
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.disk.check()
    os.close(fd)


def test_truncated_area(guest):
    """The device goes on without it, this queue and the other one, and takes another area."""
    fd = area_fd()
    guest.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    guest.start()
    guest.disk.check()
    other = vu.Ring(guest.mem, 1, 64, off=2 << 20)
    other.setup(guest.client)
    os.ftruncate(fd, 0)
    # What was in the area is lost, and nothing but that: requests are none of its business.
    guest.disk.check(16)
    vu.Disk(other, guest.mem, 3 << 20).check(32)
    assert not guest.client.ask_u64(vu.GET_STATUS) & 0x40
    guest.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
    guest.client.ask(vu.GET_VRING_BASE, vu.state(1, 0))
    other.close()
    os.close(fd)
    # The next area is as good as any.
    fd = area_fd()
    guest.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    again = vu.Ring(guest.mem, 0, 64)
    again.setup(guest.client)
    vu.Disk(again, guest.mem, 1 << 20).check()
    assert any(os.pread(fd, AREA, 0)), 'nothing is written to the new area'
    again.close()
    os.close(fd)


def reconnect(g, server, fd, base):
    """As a front end does whose back end came back: all of it again, with the area."""
    g.client = vu.Client(server.path)
    g.server = server
    g.client.negotiate(off=vu.bit(vu.P_INBAND), features=vu.FEATURES)
    g.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    g.share()
    g.ring.setup(g.client, base=base)


@pytest.mark.parametrize('seed', range(5 * vu.ROUNDS))
def test_recovery_after_a_kill(tmp_path, seed):
    """kill -9 under load: every request is completed exactly once for the driver, and its data is there."""
    rnd, lap = random.Random(seed), seed % 5
    args = ('--file', str(tmp_path / 'disk'))
    server = vu.Server(tmp_path, *args)
    got, data = [], {}
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        reply = g.client.ask(vu.GET_INFLIGHT_FD, wire(1, 64), got=got)
        assert struct.unpack('=Q', reply[:8])[0] == STRIDE
        g.start()
        server.cmd(f'delay {lap * 300}')
        for n in range(21):
            data[n * 2] = os.urandom(1024)
            g.disk.submit(True, n * 2, data[n * 2])
            if n % 5 == lap:
                g.ring.notify()
        g.ring.notify()
        if lap == 0:
            server.cmd('hold')
        time.sleep(rnd.random() * 0.003)
        server.kill()
        vu.count('kills')
        done = g.ring.get()
        g.disk.finish(done)
        g.client.close()
        server = vu.Server(tmp_path, *args)
        reconnect(g, server, got[0], g.ring.device_idx())
        g.ring.notify()
        g.disk.finish(g.ring.wait(21 - len(done)))
        assert g.ring.quiet(0.1), 'a request was completed twice'
        assert not g.ring.chains
        for sector, want in data.items():
            assert g.disk.read(sector, 1024) == want
    os.close(got[0])
    assert server.settled() and server.stop() == 0


def test_recovery_after_a_disconnect(guest, server):
    """The server lives, the connection ends with requests held: they come back through the area."""
    got = []
    guest.client.ask(vu.GET_INFLIGHT_FD, wire(1, 64), got=got)
    guest.start()
    server.cmd('hold')
    for n in range(10):
        guest.disk.submit(True, n, bytes([n]) * 512)
    guest.ring.notify()
    assert vu.wait_for(lambda: server.cmd('out') == ['10'])
    guest.client.close()
    assert server.settled()
    server.cmd('delay 0')
    reconnect(guest, server, got[0], guest.ring.device_idx())
    guest.disk.finish(guest.ring.wait(10))
    assert guest.disk.read(5) == b'\5' * 512
    os.close(got[0])


@pytest.mark.server('--stop-ms', '100', '--stuck')
def test_not_while_a_queue_stops(guest):
    """A backend that gives nothing back goes on with the old area, which therefore stays."""
    fd = area_fd()
    guest.client.ok(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    guest.start()
    guest.server.cmd('hold')
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['1'])
    guest.client.refused(vu.SET_STATUS, vu.u64(0))
    guest.client.refused(vu.SET_INFLIGHT_FD, wire(1, 64, STRIDE), [fd])
    guest.server.cmd('delay 0')
    os.close(fd)
