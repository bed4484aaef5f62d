# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.ADD_MEM_REG, vu.u64(0) + vu.region(0, 1 << 20, 0x10000), fds=(1,),
                  feature=vu.P_SLOTS, make_fd=bad.memory_fd)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_all_slots(owner, server):
    """509, and no more; descriptors are not kept twice."""
    fd = bad.memory_fd()
    for n in range(509):
        owner.ok(vu.ADD_MEM_REG, vu.u64(0) + vu.region(n << 12, 1 << 12, n << 12, (n & 255) << 12), [fd])
    owner.refused(vu.ADD_MEM_REG, vu.u64(0) + vu.region(1 << 40, 1 << 12, 1 << 40), [fd])
    assert server.show()['memory_regions'] == '509'
    for n in range(509):
        owner.ok(vu.REM_MEM_REG, vu.u64(0) + vu.region(n << 12, 1 << 12, n << 12))
    owner.ok(vu.ADD_MEM_REG, vu.u64(0) + vu.region(1 << 40, 1 << 12, 1 << 40), [fd])
    bad.close_all([fd])


def test_ranges_and_overlaps(owner):
    fd, size, top = bad.memory_fd(), 1 << 20, 1 << 64
    owner.ok(vu.ADD_MEM_REG, vu.u64(0) + vu.region(size, size, 16 * size), [fd])
    for gpa, length, uva, off in ((size, size, 64 * size, 0), (2 * size - 1, 1, 64 * size, 0),
                                  (0, size, 17 * size - 1, 0), (0, size + 1, 64 * size, 0),
                                  (0, 0, 64 * size, 0), (top - 1, 2, 64 * size, 0),
                                  (0, 2, top - 1, 0), (0, 2, 64 * size, top - 1),
                                  (0, size, 64 * size, 1)):
        owner.refused(vu.ADD_MEM_REG, vu.u64(0) + vu.region(gpa, length, uva, off), [fd])
    bad.close_all([fd])


def test_usable_at_once(guest):
    guest.client.ok(vu.ADD_MEM_REG, guest.mem.reg(), [guest.mem.fd])
    guest.ring.setup(guest.client)
    guest.disk.check()
    more = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    guest.client.ok(vu.ADD_MEM_REG, more.reg(), [more.fd])
    vu.Disk(guest.ring, more, 0).check()
    more.close()
