# SPDX-License-Identifier: BSD-3-Clause
import struct

import bad
import vu


def addr(index=0, flags=0, desc=0, used=0, avail=0, log=0):
    return struct.pack('=IIQQQQ', index, flags, desc, used, avail, log)


MSG = bad.Message(vu.SET_VRING_ADDR, addr())
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    owner.refused(vu.SET_VRING_ADDR, addr(index=2))
    owner.refused(vu.SET_VRING_ADDR, addr(index=0xffffffff))
    for flags in (2, 3, 0x80000000):
        owner.refused(vu.SET_VRING_ADDR, addr(flags=flags))
    for low in range(1, 16):
        owner.refused(vu.SET_VRING_ADDR, addr(desc=low))
    owner.refused(vu.SET_VRING_ADDR, addr(avail=1))
    for low in range(1, 4):
        owner.refused(vu.SET_VRING_ADDR, addr(used=low))


def test_ranges(guest):
    """Every area must lie in one region, to its last byte."""
    guest.share()
    c, mem, n = guest.client, guest.mem, 64
    c.ok(vu.SET_VRING_NUM, vu.state(0, n))
    start, end = mem.uva, mem.uva + mem.size
    good = {'desc': start, 'avail': start + 2048, 'used': start + 4096}
    c.ok(vu.SET_VRING_ADDR, addr(**good))
    edges = {'desc': (end - 16 * n, 16), 'avail': (end - (4 + 2 * n), 2), 'used': (end - (4 + 8 * n), 4)}
    for name, (last, step) in edges.items():
        c.ok(vu.SET_VRING_ADDR, addr(**{**good, name: last}))
        for off in (last + step, end, end + step, start - step, 0, (1 << 64) - step):
            c.refused(vu.SET_VRING_ADDR, addr(**{**good, name: off}))


def test_area_over_two_regions(server):
    """Adjacent in user addresses is not one region."""
    low = vu.Memory(vu.PAGE, gpa=0, uva=0x100000)
    high = vu.Memory(vu.PAGE, gpa=0x800000, uva=0x101000)
    with vu.Client(server.path) as c:
        c.negotiate(off=vu.bit(vu.P_INBAND), features=vu.FEATURES)
        c.ok(vu.SET_MEM_TABLE, vu.table(low, high), [low.fd, high.fd])
        c.ok(vu.SET_VRING_NUM, vu.state(0, 64))
        c.refused(vu.SET_VRING_ADDR, addr(desc=0x100f00, avail=0x100000, used=0x100200))
        c.ok(vu.SET_VRING_ADDR, addr(desc=0x100000, avail=0x101000, used=0x101100))
    low.close()
    high.close()


def test_running(guest):
    """Only what the log is concerned with may change."""
    guest.start()
    guest.client.ok(vu.SET_VRING_ADDR, guest.ring.addr(flags=1, log=guest.mem.gpa + guest.ring.used))
    guest.client.ok(vu.SET_VRING_ADDR, guest.ring.addr())
    other = vu.Ring(guest.mem, 0, 64, off=2 << 20)
    guest.client.refused(vu.SET_VRING_ADDR, other.addr())
    other.close()
    guest.disk.check()


def test_log_address(guest):
    """A used ring is logged at its own guest address, or not at all."""
    guest.share()
    guest.client.ok(vu.SET_VRING_NUM, vu.state(0, 64))
    right = guest.mem.gpa + guest.ring.used
    for wrong in (0, right + 4096, right - 4, 0xffffffffffffffff):
        guest.client.refused(vu.SET_VRING_ADDR, guest.ring.addr(flags=1, log=wrong))
        guest.client.ok(vu.SET_VRING_ADDR, guest.ring.addr(flags=0, log=wrong))
    guest.client.ok(vu.SET_VRING_ADDR, guest.ring.addr(flags=1, log=right))


def test_before_the_table(guest):
    guest.ring.setup(guest.client)
    guest.share()
    guest.disk.check()
