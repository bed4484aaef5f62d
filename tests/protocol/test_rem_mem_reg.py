# SPDX-License-Identifier: BSD-3-Clause

import pytest

import bad
import vu


def prepare(client):
    fd = bad.memory_fd()
    client.ok(vu.ADD_MEM_REG, vu.u64(0) + vu.region(0, 1 << 20, 0x10000), [fd])
    bad.close_all([fd])


MSG = bad.Message(vu.REM_MEM_REG, vu.u64(0) + vu.region(0, 1 << 20, 0x10000), fds=(0, 1),
                  feature=vu.P_SLOTS, make_fd=bad.memory_fd, setup=prepare)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_named_by_addresses_and_size(owner):
    prepare(owner)
    for gpa, size, uva in ((1, 1 << 20, 0x10000), (0, (1 << 20) - 1, 0x10000), (0, 1 << 20, 0x10001),
                           (0, 0, 0x10000), (0, 1 << 20, 0), (0, 0xffffffffffffffff, 0x10000)):
        owner.refused(vu.REM_MEM_REG, vu.u64(0) + vu.region(gpa, size, uva))
    # The offset is ignored.
    owner.ok(vu.REM_MEM_REG, vu.u64(0) + vu.region(0, 1 << 20, 0x10000, 12345))
    owner.refused(vu.REM_MEM_REG, vu.u64(0) + vu.region(0, 1 << 20, 0x10000))


@pytest.mark.parametrize('args', [(), ('--set-map',)])
def test_waits_for_requests_in_it(tmp_path, args):
    server = vu.Server(tmp_path, *args)
    data = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.client.ok(vu.ADD_MEM_REG, data.reg(), [data.fd])
        before = server.fds()
        server.cmd('hold')
        disk = vu.Disk(g.ring, data, 0)
        disk.submit(False, 0)
        g.ring.notify()
        assert vu.wait_for(lambda: server.cmd('out') == ['1'])
        released = vu.release_later(server)
        g.client.ok(vu.REM_MEM_REG, data.reg())
        assert released.is_set(), 'the region went while a request used it'
        disk.finish(g.ring.wait())
        g.disk.check()
        assert server.settled({**before, '/memfd': before['/memfd'] - 1})
        # What was removed is not reachable any more.
        disk.submit(False, 0)
        g.ring.notify()
        assert vu.wait_for(lambda: g.client.ask_u64(vu.GET_STATUS) & 0x40)
    data.close()
    assert server.settled()
    assert server.stop() == 0


def test_under_load(guest):
    """Regions come and go while requests run in another one."""
    guest.start()
    more = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    disk = vu.Disk(guest.ring, more, 0)
    for lap in range(100):
        guest.client.ok(vu.ADD_MEM_REG, more.reg(), [more.fd])
        disk.slots = list(range(8))
        for n in range(8):
            disk.submit(lap % 2 == 0, n, bytes(512))
        guest.ring.notify()
        guest.client.ok(vu.REM_MEM_REG, more.reg())
        # Those that were taken in time are completed; the others make the ring malformed.
        assert vu.wait_for(lambda: guest.ring.device_idx() == guest.ring.avail_idx or
                           guest.client.ask_u64(vu.GET_STATUS) & 0x40)
        if guest.client.ask_u64(vu.GET_STATUS) & 0x40:
            guest.client.ok(vu.RESET_DEVICE)
            guest.ring.close()
            guest.ring = vu.Ring(guest.mem, 0, 64)
            disk = vu.Disk(guest.ring, more, 0)
            guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
            guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
            guest.ring.setup(guest.client)
        else:
            guest.ring.wait(8)
        assert guest.client.alive()
    more.close()
