# SPDX-License-Identifier: BSD-3-Clause
"""Sessions from the first message to the last, with real requests in between."""
import os
import random
import resource
import time

import pytest

import bad
import vu


def test_disk(guest):
    guest.start()
    for sector in (0, 8, 2040):
        guest.disk.check(sector)


@pytest.mark.server('--set-map')
def test_disk_set_map(guest):
    guest.start()
    guest.disk.check()


@pytest.mark.server('--workers', '0')
def test_disk_without_workers(guest):
    guest.start()
    guest.disk.check()


def test_many_requests(guest):
    guest.start()
    for lap in range(40):
        want = {}
        for slot in range(16):
            want[slot * 8] = os.urandom(2048)
            guest.disk.submit(True, slot * 8, want[slot * 8])
        guest.ring.notify()
        guest.disk.finish(guest.ring.wait(16))
        for sector in want:
            guest.disk.submit(False, sector, length=2048)
        guest.ring.notify()
        assert guest.disk.finish(guest.ring.wait(16)) == want, lap


def test_unbind_in_the_middle_of_a_message(server):
    """The descriptors of a message that never becomes whole are closed."""
    for _ in range(2):
        fds = [bad.plain_fd() for _ in range(8)]
        with vu.Client(server.path) as c:
            c.send(vu.SET_VRING_CALL, b'', fds, size=8)
            assert vu.wait_for(lambda: server.fds()['anon_inode'] >= server.baseline['anon_inode'] + 8)
            server.cmd('unbind')
            assert c.closes()
        bad.close_all(fds)
        server.cmd('bind')
    assert server.settled(), server.fds()


def test_no_numbers_for_descriptors(owner, server):
    """What was sent did not arrive: the log says whose fault that is."""
    pid = server.proc.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir(f'/proc/{pid}/fd')) + 1
    fd = bad.plain_fd()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
    owner.refused(vu.SET_VRING_CALL, vu.u64(0), [fd])
    assert 'RLIMIT_NOFILE' in server.log()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    owner.ok(vu.SET_VRING_CALL, vu.u64(0), [fd])
    os.close(fd)


@pytest.mark.parametrize('seed', range(5 * vu.ROUNDS))
def test_rebinds_under_load(server, seed):
    """Unbound at any moment, with requests waiting or being handled; bound again, the next front end is served."""
    rnd = random.Random(seed)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        server.cmd(f'delay {rnd.choice([0, 100, 1000])}')
        for n in range(rnd.randrange(1, 21)):
            g.disk.submit(rnd.random() < .5, n * 8, os.urandom(1024))
        if rnd.random() < .2:
            server.cmd('hold')
        g.ring.notify()
        time.sleep(rnd.random() * 0.003)
        server.cmd('unbind')
        vu.count('rebinds')
        assert g.client.closes()
        # Nothing of it is written any more: the device has been reset.
        before = g.mem.read(0, g.mem.size)
        server.cmd('delay 0')
        server.cmd('bind')
        assert g.mem.read(0, g.mem.size) == before
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.disk.check()
