# SPDX-License-Identifier: BSD-3-Clause
import struct

import bad
import vu

MSG = bad.Message(vu.SET_STATUS, vu.u64(1), feature=vu.P_STATUS, owner=False)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_steps(owner):
    owner.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
    for value in (1, 3, 11, 15):
        owner.ok(vu.SET_STATUS, vu.u64(value))
        assert owner.ask_u64(vu.GET_STATUS) == value
    for value in (14, 7, 1, 256, 1 << 32, 0xffffffffffffffff):
        owner.refused(vu.SET_STATUS, vu.u64(value))
    owner.ok(vu.SET_STATUS, vu.u64(0))
    assert owner.ask_u64(vu.GET_STATUS) == 0


def test_front_ends_that_set_bits_in_their_own_order(guest):
    """QEMU sets FEATURES_OK first, all else when the rings are set up."""
    guest.client.ok(vu.SET_STATUS, vu.u64(8))
    assert guest.client.ask_u64(vu.GET_STATUS) == 8
    guest.start()
    guest.client.ok(vu.SET_STATUS, vu.u64(15))
    guest.disk.check()


def test_features_that_the_device_does_not_like(owner):
    """CONFIG_WCE without anything wrong is fine; the answer is in GET_STATUS, not in the ack."""
    owner.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
    owner.ok(vu.SET_STATUS, vu.u64(11))
    assert owner.ask_u64(vu.GET_STATUS) & 8


def test_reset_stops_rings_and_keeps_memory(guest):
    guest.start()
    guest.disk.check()
    guest.server.cmd('hold')
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['1'])
    guest.client.ok(vu.SET_STATUS, vu.u64(0))
    guest.server.cmd('delay 0')
    assert guest.server.cmd('out') == ['0']
    assert guest.ring.quiet(), 'a cancelled request was completed'
    guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
    guest.ring.close()
    guest.ring = vu.Ring(guest.mem, 0, 64)
    guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
    guest.ring.setup(guest.client)
    guest.disk.check()
    assert struct.unpack('=II', guest.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))) == (0, 2)
