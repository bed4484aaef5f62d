# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.SET_FEATURES, vu.u64(vu.FEATURES), owner=False)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_bits_that_are_not_offered(owner):
    offered = owner.ask_u64(vu.GET_FEATURES)
    for n in range(64):
        if offered & vu.bit(n):
            continue
        owner.refused(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(n)))
    owner.refused(vu.SET_FEATURES, vu.u64(0xffffffffffffffff))
    owner.ok(vu.SET_FEATURES, vu.u64(offered & ~vu.bit(vu.F_PLATFORM)))


def test_change_while_running(guest):
    guest.start()
    guest.client.refused(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(vu.F_EVENT_IDX)))
    guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))   # the same again: another queue pair
    guest.disk.check()


def test_shown_by_name(guest):
    guest.start()
    guest.client.ok(vu.SET_STATUS, vu.u64(0xf))
    show = guest.server.show()
    assert 'VERSION_1' in show['features'].split() and 'bit_' not in show['features'], show
    assert 'REPLY_ACK' in show['protocol_features'].split()
    assert show['status'] == 'ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK'


def test_log_all_toggles_while_running(guest):
    guest.start()
    for _ in range(20):
        guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(vu.F_LOG_ALL)))
        guest.disk.check()
        guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        guest.disk.check()


def test_without_protocol_features_rings_are_enabled(server):
    """An old front end: no protocol features, no SET_VRING_ENABLE."""
    with vu.Guest(server, connect=False) as g:
        g.client = vu.Client(server.path)
        g.client.send(vu.SET_OWNER)
        g.client.ask_u64(vu.GET_FEATURES)
        g.client.send(vu.SET_FEATURES, vu.u64(vu.bit(vu.F_VERSION_1)))
        g.client.send(vu.SET_MEM_TABLE, vu.table(g.mem), [g.mem.fd])
        g.ring.setup(g.client, enable=False, ack=False)
        g.disk.check()


def test_firmware_hands_over(guest):
    """Firmware uses one ring with few features; the kernel comes back with others."""
    guest.start()
    guest.disk.check()
    guest.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
    guest.client.ok(vu.SET_OWNER)
    guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(vu.F_EVENT_IDX)))
    second = vu.Ring(guest.mem, 1, 32, off=2 << 20)
    guest.ring.close()
    guest.ring = vu.Ring(guest.mem, 0, 64, event_idx=True)
    guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
    guest.ring.setup(guest.client)
    second.setup(guest.client)
    guest.disk.check()
    vu.Disk(second, guest.mem, 3 << 20).check()
    second.close()


CTRL_VQ = 17


@pytest.mark.server('--device', 'net')
def test_control_queue_is_the_front_ends(owner):
    assert not owner.ask_u64(vu.GET_FEATURES) & vu.bit(CTRL_VQ)
    owner.refused(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(CTRL_VQ)))


@pytest.mark.server('--device', 'net', 'control_queue=on')
def test_control_queue_on_request(owner):
    owner.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(CTRL_VQ)))


@pytest.mark.parametrize('features', [0, vu.bit(vu.F_PROTOCOL)])
def test_legacy_driver(server, features):
    """No VERSION_1: native byte order, which here is little endian."""
    with vu.Guest(server, off=vu.bit(vu.P_INBAND), features=features) as g:
        g.start()
        g.disk.check()


def test_log_names_what_is_not_offered(owner, server):
    """Names, and numbers where there is none; no masks."""
    owner.refused(vu.SET_FEATURES, vu.u64(vu.FEATURES | vu.bit(13) | vu.bit(63)))
    line = [l for l in server.log().splitlines() if 'SET_FEATURES' in l][-1]
    assert 'ZONED' in line.upper() or 'DISCARD' in line.upper(), line
    assert '63' in line and '0x' not in line
