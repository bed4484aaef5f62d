# SPDX-License-Identifier: BSD-3-Clause
import os
import struct
import threading
import time

import pytest

import bad
import vu

MSG = bad.Message(vu.SET_MEM_TABLE, struct.pack('=II', 1, 0) + vu.region(0, 1 << 20, 0x10000),
                  fds=(1,), make_fd=bad.memory_fd)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def raw(*regions, n=None):
    return struct.pack('=II', len(regions) if n is None else n, 0) + b''.join(regions)


def refused(client, *regions, n=None, nfds=None):
    fds = [bad.memory_fd() for _ in range(len(regions) if nfds is None else nfds)]
    client.refused(vu.SET_MEM_TABLE, raw(*regions, n=n), fds)
    bad.close_all(fds)


def test_empty_table(guest):
    guest.client.ok(vu.SET_MEM_TABLE, raw())
    guest.share()
    guest.client.ok(vu.SET_MEM_TABLE, raw())


def test_count_against_size_and_descriptors(owner, server):
    one = [vu.region(n << 20, 1 << 20, n << 20) for n in range(9)]
    for n in (0, 2, 8, 9, 0x8000000, 0x80000001, 0xffffffff):
        refused(owner, one[0], n=n)
    for nfds in (0, 1, 3, 8):
        refused(owner, *one[:2], nfds=nfds)
    fds = [bad.memory_fd() for _ in range(8)]
    owner.ok(vu.SET_MEM_TABLE, raw(*one[:8]), fds)
    owner.refused(vu.SET_MEM_TABLE, raw(*one), fds)
    bad.close_all(fds)
    assert server.show()['memory_regions'] == '8'


def test_ranges(owner):
    top, size = 1 << 64, 1 << 20
    for gpa, length, uva, off in (
            (0, 0, 0x1000, 0),                          # size 0
            (top - 0x1000, 0x2000, 0x1000, 0),          # guest address wraps
            (0, 0x2000, top - 0x1000, 0),               # user address wraps
            (0, 0x1000, 0x1000, top - 0x800),           # offset wraps
            (0, 0x1000, 0x1000, top - 0x1000),          # beyond any file
            (0, top - 1, 0, 0),                         # all there is
            (0, size + 1, 0, 0),                        # the file is shorter
            (0, size, 0, 1),
            (0, 1, 0, size)):
        refused(owner, vu.region(gpa, length, uva, off))
    assert owner.alive()


def test_more_than_a_peer_may_map(guest):
    """Files of holes cost their owner nothing, and addresses of the daemon, which others need."""
    half = 1 << 43
    for sizes in ((2 * half + 0x1000,), (half, half + 0x1000)):
        fds = [bad.memory_fd() for _ in sizes]
        for fd, size in zip(fds, sizes):
            os.ftruncate(fd, size)
        regions = [vu.region(n << 50, size, n << 50) for n, size in enumerate(sizes, 1)]
        guest.client.refused(vu.SET_MEM_TABLE, raw(*regions), fds)
        bad.close_all(fds)
    guest.share()
    assert guest.client.alive()


def test_overlaps(owner):
    size = 1 << 20
    a = vu.region(0x100000, size, 0x7000000)
    for b in (vu.region(0x100000, size, 0x9000000),             # the same guest addresses
              vu.region(0x100000 + size - 1, 1, 0x9000000),     # one byte of them
              vu.region(0x900000, size, 0x7000000),             # the same user addresses
              vu.region(0x900000, size, 0x7000000 + size - 1),
              vu.region(0, 0x100001, 0x9000000)):
        refused(owner, a, b)
        refused(owner, b, a)
    fds = [bad.memory_fd(), bad.memory_fd()]
    owner.ok(vu.SET_MEM_TABLE, raw(a, vu.region(0x100000 + size, size, 0x7000000 + size)), fds)
    bad.close_all(fds)


def test_descriptors_that_cannot_be_mapped(owner):
    r, w = os.pipe()
    sock = bad.socket_fd()
    event = bad.plain_fd()
    ro = os.open('/etc/passwd', os.O_RDONLY)
    for fd in (r, w, sock, event, ro):
        owner.refused(vu.SET_MEM_TABLE, raw(vu.region(0, 1, 0)), [fd])
        os.close(fd)


def test_unaligned_offset(server):
    """A region need not begin on a page of its file."""
    mem = vu.Memory(2 << 20, gpa=0x1234000, uva=0x5678010, offset=0x810)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND), mem=mem) as g:
        g.start()
        g.disk.check()


def test_first_and_last_byte(guest):
    """A request may touch the very edges, and nothing beyond them."""
    guest.start()
    end = guest.mem.gpa + guest.mem.size
    status = guest.mem.gpa + (1 << 20) + 16
    head = guest.mem.gpa + (1 << 20)
    guest.mem.write(1 << 20, struct.pack('<IIQ', 0, 0, 0))
    guest.ring.add([(head, 16, False), (end - 512, 512, True), (status, 1, True)], 1)
    guest.ring.notify()
    guest.ring.wait()
    guest.ring.add([(head, 16, False), (end - 511, 512, True), (status, 1, True)], 1)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.client.ask_u64(vu.GET_STATUS) & 0x40)
    assert guest.ring.quiet(0.05)


def test_replaced_while_running(guest):
    """Memory hotplug: what stays is not disturbed, what comes is usable at once."""
    guest.start()
    more = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    stop = threading.Event()
    errors = []

    def load():
        try:
            while not stop.is_set():
                guest.disk.check()
        except AssertionError as e:
            errors.append(e)

    thread = threading.Thread(target=load)
    thread.start()
    for _ in range(100):
        guest.client.ok(vu.SET_MEM_TABLE, vu.table(guest.mem, more), [guest.mem.fd, more.fd])
        guest.client.ok(vu.SET_MEM_TABLE, vu.table(more, guest.mem), [more.fd, guest.mem.fd])
        guest.share()
    guest.client.ok(vu.SET_MEM_TABLE, vu.table(guest.mem, more), [guest.mem.fd, more.fd])
    stop.set()
    thread.join()
    assert not errors
    vu.Disk(guest.ring, more, 0).check()
    more.close()


def test_other_file_at_the_same_place(guest):
    """The ring moves into the new file with the table."""
    guest.start()
    guest.disk.check(sector=3)
    before = guest.disk.read(3, 1024)
    copy = vu.Memory(guest.mem.size, guest.mem.gpa, guest.mem.uva)
    copy.write(0, guest.mem.read(0, guest.mem.size))
    guest.client.ok(vu.SET_MEM_TABLE, vu.table(copy), [copy.fd])
    old, guest.mem = guest.mem, copy
    guest.ring.mem = guest.disk.mem = copy
    assert guest.disk.read(3, 1024) == before
    guest.disk.check()
    old.close()


def test_other_files_under_load(server):
    """The ring's memory is exchanged while its queue looks at it: no hole is ever seen."""
    mems = [vu.Memory(64 << 10, gpa=0x100000, uva=0x7f0000000000) for _ in range(2)]
    with vu.Guest(server, off=vu.bit(vu.P_INBAND), num=16, mem=mems[0]) as g:
        g.disk.off = 8192
        g.start()
        stop = threading.Event()
        thread = threading.Thread(target=lambda: [g.ring.notify() for _ in iter(stop.is_set, True)])
        thread.start()
        for lap in range(1, 1000):
            g.disk.read(0)
            old, g.mem = g.mem, mems[lap % 2]
            g.mem.write(0, old.read(0, old.size))
            g.ring.mem = g.disk.mem = g.mem
            g.share()
        stop.set()
        thread.join()
        assert not g.client.ask_u64(vu.GET_STATUS) & 0x40
        g.disk.read(0)
        g.mem = mems[0]
    mems[1].close()


def test_ring_moves_in_guest_memory(guest):
    """The same user address is another guest address: the ring stops and goes on there."""
    guest.start()
    guest.disk.check()
    guest.mem.gpa += 0x10000000
    guest.disk.base = guest.mem.gpa
    guest.share()
    guest.disk.check()


def test_ring_loses_its_memory(guest):
    guest.start()
    guest.disk.check()
    other = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    guest.client.ok(vu.SET_MEM_TABLE, vu.table(other), [other.fd])
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert guest.ring.quiet(0.1)
    guest.share()       # and it is back
    guest.ring.notify()
    guest.disk.finish(guest.ring.wait())
    guest.disk.check()
    other.close()


@pytest.mark.parametrize('args', [(), ('--set-map',)])
def test_waits_for_requests_in_what_goes(tmp_path, args):
    server = vu.Server(tmp_path, *args)
    data = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.client.ok(vu.SET_MEM_TABLE, vu.table(g.mem, data), [g.mem.fd, data.fd])
        g.ring.setup(g.client)
        server.cmd('hold')
        disk = vu.Disk(g.ring, data, 0)
        disk.submit(True, 0, b'x' * 512)
        g.ring.notify()
        assert vu.wait_for(lambda: server.cmd('out') == ['1'])
        released = vu.release_later(server)
        g.share()
        assert released.is_set(), 'the region went while a request used it'
        disk.finish(g.ring.wait())
        g.disk.check()
    data.close()
    assert server.settled()
    assert server.stop() == 0


def test_file_shrinks(guest):
    """The server survives, and so does its listener."""
    guest.start()
    guest.disk.check()
    os.ftruncate(guest.mem.fd, 4096)
    guest.ring.notify()
    guest.client.ask_u64(vu.GET_FEATURES)
    time.sleep(0.1)
    assert guest.server.alive()
    os.ftruncate(guest.mem.fd, guest.mem.size)
