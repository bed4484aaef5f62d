# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_REPLY_ACK)), owner=False)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_bits_that_are_not_offered(owner):
    offered = owner.ask_u64(vu.GET_PROTOCOL_FEATURES)
    for n in range(64):
        if not offered & vu.bit(n):
            owner.refused(vu.SET_PROTOCOL_FEATURES, vu.u64(owner.proto | vu.bit(n)))
    owner.ok(vu.SET_PROTOCOL_FEATURES, vu.u64(owner.proto))


def test_in_band_notifications_need_a_channel_and_answers(server):
    need = vu.bit(vu.P_BACKEND_REQ) | vu.bit(vu.P_REPLY_ACK)
    for bits in (0, vu.bit(vu.P_BACKEND_REQ), vu.bit(vu.P_REPLY_ACK)):
        with vu.Client(server.path) as c:
            c.send(vu.SET_PROTOCOL_FEATURES, vu.u64(bits | vu.bit(vu.P_INBAND)))
            assert c.closes()
    with vu.Client(server.path) as c:
        c.ok(vu.SET_PROTOCOL_FEATURES, vu.u64(need | vu.bit(vu.P_INBAND)))


def test_while_a_ring_runs(guest):
    guest.start()
    guest.client.ok(vu.SET_PROTOCOL_FEATURES, vu.u64(guest.client.proto))
    guest.client.refused(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_REPLY_ACK)))
    guest.disk.check()


def test_no_ack_without_reply_ack(client):
    client.send(vu.SET_OWNER)
    client.send(vu.SET_FEATURES, vu.u64(vu.FEATURES), flags=vu.VERSION | vu.NEED_REPLY)
    assert client.ask_u64(vu.GET_FEATURES)     # the next answer is this one's


def test_log_names_what_is_not_offered(server):
    with vu.Client(server.path) as c:
        c.send(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_RARP) | vu.bit(60)))
        assert c.closes()
    line = [l for l in server.log().splitlines() if 'SET_PROTOCOL_FEATURES' in l][-1]
    assert 'RARP' in line.upper() and 'bit_60' in line and '0x' not in line
