# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.SET_VRING_BASE, vu.state(0, 0))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_form(owner):
    for num in (0x10000, 0xffff0000, 0xffffffff):
        owner.refused(vu.SET_VRING_BASE, vu.state(0, num))
    owner.refused(vu.SET_VRING_BASE, vu.state(2, 0))
    owner.ok(vu.SET_VRING_BASE, vu.state(1, 0xffff))


def test_running(guest):
    guest.start()
    guest.client.refused(vu.SET_VRING_BASE, vu.state(0, 0))
    guest.disk.check()


@pytest.mark.parametrize('base', [1, 63, 0x7fff, 0xfff0, 0xffff])
def test_goes_on_from_there(guest, base):
    guest.ring.avail_idx = guest.ring.used_idx = base
    idx = base.to_bytes(2, 'little')
    guest.mem.write(guest.ring.avail + 2, idx)
    guest.mem.write(guest.ring.used + 2, idx)
    guest.start(base=base)
    for _ in range(20):
        guest.disk.check()
