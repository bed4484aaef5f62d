# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.GET_FEATURES, replies=True, owner=False)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_bits(client):
    features = client.ask_u64(vu.GET_FEATURES)
    for n in (vu.F_PROTOCOL, vu.F_LOG_ALL, vu.F_VERSION_1, vu.F_PLATFORM, vu.F_EVENT_IDX):
        assert features & vu.bit(n), n
    assert not features & vu.bit(38)    # NOTIFICATION_DATA has no message


def test_need_reply_changes_nothing(owner):
    data = owner.ask(vu.GET_FEATURES, flags=vu.VERSION | vu.NEED_REPLY)
    assert len(data) == 8 and owner.alive()


def test_byte_by_byte(client):
    for byte in b'\x01\0\0\0\x01\0\0\0\0\0\0\0':
        client.sock.sendall(bytes([byte]))
    assert client.recv()[0] == vu.GET_FEATURES


def test_many_at_once(client):
    client.sock.sendall(b'\x01\0\0\0\x01\0\0\0\0\0\0\0' * 500)
    for _ in range(500):
        assert client.recv()[0] == vu.GET_FEATURES
