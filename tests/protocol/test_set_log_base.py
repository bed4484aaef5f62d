# SPDX-License-Identifier: BSD-3-Clause
import mmap
import os
import struct

import pytest

import bad
import vu

SIZE = 1 << 16      # bits for 2 GiB


def log_fd(size=SIZE):
    fd = os.memfd_create('log')
    os.ftruncate(fd, size)
    return fd


MSG = bad.Message(vu.SET_LOG_BASE, struct.pack('=QQ', SIZE, 0), fds=(1,), replies=True,
                  feature=vu.P_LOG_SHMFD, make_fd=log_fd)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_ranges(server):
    for size, off in ((0, 0), (SIZE + 1, 0), (SIZE, 1), (1, SIZE), (0xffffffffffffffff, 0),
                      (2, 0xffffffffffffffff), (SIZE, 0xffffffffffff0000), (1 << 63, 0)):
        with vu.Client(server.path) as c:
            c.negotiate(off=vu.bit(vu.P_INBAND))
            fd = log_fd()
            c.send(vu.SET_LOG_BASE, struct.pack('=QQ', size, off), [fd])
            os.close(fd)
            assert c.closes(), (size, off)


class Log:
    def __init__(self, client, size=SIZE, off=0):
        self.fd = log_fd(size + off)
        self.map = mmap.mmap(self.fd, size + off)
        self.off, self.size = off, size
        assert client.ask(vu.SET_LOG_BASE, struct.pack('=QQ', size, off), [self.fd]) == b''

    def take(self):
        """The guest pages that are dirty, and forget them."""
        pages = set()
        for i, byte in enumerate(self.map[self.off:self.off + self.size]):
            pages |= {(i * 8 + b) for b in range(8) if byte >> b & 1}
        outside = self.map[:self.off]
        assert outside == bytes(self.off), 'written outside of the log'
        self.map[:] = bytes(len(self.map))
        return pages

    def close(self):
        self.map.close()
        os.close(self.fd)


LOGGING = vu.FEATURES | vu.bit(vu.F_LOG_ALL)


def expected(guest, slots, data):
    """Pages of the used ring, of status bytes, and of the data of reads."""
    base = guest.mem.gpa + guest.disk.off
    pages = {(guest.mem.gpa + guest.ring.used) >> 12}
    for slot in slots:
        pages.add((base + slot * guest.disk.SLOT) >> 12)
        if data:
            pages.add((base + slot * guest.disk.SLOT + vu.PAGE) >> 12)
    return pages


def run(guest, write, n):
    slots = list(reversed(guest.disk.slots))[:n]
    for i in range(n):
        guest.disk.submit(write, i, bytes(512))
    guest.ring.notify()
    guest.disk.finish(guest.ring.wait(n))
    return slots


def test_exactly_what_was_written(guest):
    log = Log(guest.client)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    for write in (True, False):
        for n in (1, 5, 16):
            slots = run(guest, write, n)
            assert log.take() == expected(guest, slots, not write), (write, n)
    log.close()


def test_switched_on_and_off_while_running(guest):
    guest.start()
    guest.disk.check()
    log = Log(guest.client)
    guest.disk.check()
    assert log.take() == set()
    for _ in range(10):
        guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
        slots = run(guest, False, 3)
        assert log.take() == expected(guest, slots, True)
        guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        guest.disk.check()
        assert log.take() == set()
    log.close()


def test_replaced_while_logging(guest):
    guest.start()
    first = Log(guest.client)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    run(guest, False, 1)
    assert first.take()
    second = Log(guest.client, off=4096)
    run(guest, False, 1)
    assert second.take() and not first.take()
    first.close()
    second.close()


def test_base_after_log_all(guest):
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    guest.disk.check()
    log = Log(guest.client)
    slots = run(guest, False, 2)
    assert log.take() == expected(guest, slots, True)
    log.close()


def test_survives_a_reset(guest):
    """The log belongs to the migration, not to the driver."""
    log = Log(guest.client)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    guest.disk.check()
    guest.client.ok(vu.RESET_DEVICE)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    log.take()
    guest.ring.close()
    guest.ring = vu.Ring(guest.mem, 0, 64)
    guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
    guest.ring.setup(guest.client)
    slots = run(guest, False, 2)
    assert log.take() == expected(guest, slots, True)
    log.close()


def test_reset_and_gone(guest, server):
    """Nobody uses the log any more when the connection ends: it is let go all the same."""
    log = Log(guest.client)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    guest.disk.check()
    guest.client.ok(vu.RESET_DEVICE)
    guest.client.close()
    log.close()
    assert server.settled()


@pytest.mark.server('--device', 'net')
def test_a_ring_that_discards(guest):
    """Its used ring is logged from the answer on, whether log or ring came first; also when the log changes."""
    tx = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.share()
    tx.setup(guest.client, enable=False)
    page = {(guest.mem.gpa + tx.used) >> 12}

    def send():
        tx.add([(guest.mem.gpa + (1 << 20), 64, False)], 0)
        tx.wait()

    send()
    log = Log(guest.client)
    for _ in range(5):
        guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
        send()
        assert log.take() == page
        guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        send()
        assert log.take() == set()
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    other = Log(guest.client)
    send()
    assert other.take() == page and log.take() == set()
    log.close()
    other.close()
    tx.close()


def test_log_shorter_than_memory(guest):
    """Pages beyond it are not written anywhere."""
    log = Log(guest.client, size=8, off=4096)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    guest.disk.check()
    assert log.take() == set()
    log.close()


def test_truncated_while_logging(guest):
    log = Log(guest.client)
    guest.client.ok(vu.SET_FEATURES, vu.u64(LOGGING))
    guest.start()
    os.ftruncate(log.fd, 0)
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert guest.ring.wait() and guest.server.alive()
    os.ftruncate(log.fd, SIZE)
    log.close()
