# SPDX-License-Identifier: BSD-3-Clause
import socket
import struct

import pytest

import bad
import vu


def config(off, size, data=None, flags=0):
    return struct.pack('=III', off, size, flags) + (bytes(size) if data is None else data)


MSG = bad.Message(vu.GET_CONFIG, config(0, 8), sizes=(0, 1, 19, 21, 28), replies=True, owner=False,
                  feature=vu.P_CONFIG)
_, test_fds, test_moment, test_feature = bad.tests(MSG)
SIZE = 96       # at least: struct virtio_blk_config of the build machine may be longer


def ask(client, payload):
    return client.ask(vu.GET_CONFIG, payload)


def test_capacity(owner):
    data = ask(owner, config(0, 8))
    assert data[:12] == config(0, 8)[:12]
    assert struct.unpack('<Q', data[12:]) == (2048,)


def test_bounds(owner):
    """All offsets and lengths, those that wrap too: an answer in full, or an empty one."""
    size = max(n for n in range(1, 257) if ask(owner, config(0, n)))
    for off in (*range(size + 2), 255, 256, 0x7fffffff, 0xfffffff0, 0xffffffff):
        for length in (0, 1, 2, 4, 8, 60, size - 1, size, size + 1, 256):
            good = 0 < length and off + length <= size
            answer = ask(owner, config(off, length))
            assert len(answer) == (12 + length if good else 0), (off, length)
    assert owner.alive()


def test_size_that_does_not_fit(owner):
    for field, real in ((8, 7), (8, 9), (0, 8), (256, 8), (257, 8), (0xffffffff, 8)):
        assert ask(owner, struct.pack('=III', 0, field, 0) + bytes(real)) == b''
    assert owner.alive()


def test_sizes(server):
    for size in (0, 1, 11, 269, 4096):
        with vu.Client(server.path) as c:
            c.negotiate(off=vu.bit(vu.P_INBAND))
            c.send(vu.GET_CONFIG, bytes(size))
            assert c.closes(), size


@pytest.mark.server('--no-config')
def test_device_without_config_space(client):
    client.send(vu.GET_CONFIG, config(0, 8))
    assert client.closes()


def test_config_change(guest, server):
    """The front end is told, and finds the new contents."""
    channel = guest.client.open_channel()
    guest.start()
    server.cmd('config 0 0008000000000000')
    request, flags, data = channel.recv()
    assert (request, flags, data) == (vu.BACKEND_CONFIG_CHANGE, vu.VERSION | vu.NEED_REPLY, b'')
    assert ask(guest.client, config(0, 8))[12:] == struct.pack('<Q', 0x800)
    for n in range(5):      # they are joined while no answer comes
        server.cmd(f'config 0 000{n}000000000000')
    channel.answer(request)
    assert channel.recv()[0] == vu.BACKEND_CONFIG_CHANGE
    channel.answer(request)
    assert channel.silent()


def test_suspended_device_says_nothing(guest, server):
    """While all rings are stopped no message may be sent; it comes when one starts."""
    channel = guest.client.open_channel()
    guest.start()
    guest.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))
    server.cmd('config 0 0008000000000000')
    assert channel.silent()
    guest.client.ok(vu.SET_VRING_KICK, vu.u64(0), [guest.ring.kick])
    assert channel.recv()[0] == vu.BACKEND_CONFIG_CHANGE


def test_config_change_without_reply_ack(server):
    with vu.Guest(server, connect=False) as g:
        g.client = c = vu.Client(server.path)
        c.send(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_CONFIG) | vu.bit(vu.P_BACKEND_REQ)))
        c.send(vu.SET_OWNER)
        ours, theirs = socket.socketpair()
        c.send(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        c.send(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        c.send(vu.SET_MEM_TABLE, vu.table(g.mem), [g.mem.fd])
        g.ring.setup(c, ack=False)
        assert c.alive()
        with vu.Client(ours) as channel:
            for _ in range(3):
                server.cmd('config 0 0008000000000000')
                assert channel.recv() == (vu.BACKEND_CONFIG_CHANGE, vu.VERSION, b'')
