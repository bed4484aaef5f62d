# SPDX-License-Identifier: BSD-3-Clause
"""What every message must withstand: wrong sizes, any number of descriptors, the wrong moment.

A test file says what its message looks like and takes the tests from here:

    MSG = bad.Message(vu.SET_VRING_NUM, vu.state(0, 16))
    test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)
"""
import dataclasses
import os
import socket
import struct
import typing

import pytest

import vu


def plain_fd():
    return os.eventfd(0, os.EFD_NONBLOCK)


def memory_fd():
    fd = os.memfd_create('m')
    os.ftruncate(fd, 1 << 20)
    return fd


def socket_fd():
    a, b = socket.socketpair()
    b.close()
    return a.detach()


def full_eventfd():
    """A write to it waits, but for O_NONBLOCK; block() takes that off behind the server's back."""
    fd = os.eventfd(0)
    os.eventfd_write(fd, 0xfffffffffffffffe)
    return fd


def block(fd):
    os.set_blocking(fd, True)


def check_only_eventfds(client, request):
    """What else could wait for somebody is refused."""
    r, w = os.pipe()
    fds = [r, w, memory_fd(), socket_fd(), os.open('/dev/null', os.O_RDWR), os.open('/dev/ptmx', os.O_RDWR)]
    for fd in fds:
        client.refused(request, vu.u64(0), [fd])
    close_all(fds)


@dataclasses.dataclass
class Message:
    request: int
    payload: bytes = b''
    fds: tuple = (0,)           # numbers of descriptors that are right
    sizes: tuple = ()           # further sizes of payload that are right
    feature: int = -1           # protocol feature that it needs
    offered: bool = False       # ... or that need only be offered
    replies: bool = False       # it has an answer of its own
    owner: bool = True          # needs SET_OWNER
    refuses: bool = False       # right in form, refused for other reasons: of interest is that nothing leaks
    soft: bool = False          # a refusal never ends the session
    make_fd: typing.Callable = plain_fd
    setup: typing.Callable = lambda client: None


def sizes_of(msg):
    right = {len(msg.payload), *msg.sizes}
    return sorted({0, 1, len(msg.payload) - 1, len(msg.payload) + 1, len(msg.payload) + 8, 4096} - right
                  - {-1})


def connect(server, msg, negotiate=True):
    client = vu.Client(server.path)
    if negotiate:
        client.negotiate(off=0 if msg.feature == vu.P_INBAND else vu.bit(vu.P_INBAND))
        msg.setup(client)
    return client


def resized(payload, size):
    return payload[:size] + bytes(max(0, size - len(payload)))


def give(msg, n):
    return [msg.make_fd() for _ in range(n)]


def refused(client, msg, payload, fds=()):
    if msg.replies:
        client.send(msg.request, payload, fds)
        return client.closes()
    return client.ack(msg.request, payload, fds) != 0


def accepted(client, msg, fds=()):
    if msg.replies:
        return client.ask(msg.request, msg.payload, fds, got=None) is not None
    return client.ack(msg.request, msg.payload, fds) == 0


def close_all(fds):
    for fd in fds:
        os.close(fd)


def check_sizes(server, msg):
    for size in sizes_of(msg):
        with connect(server, msg) as client:
            fds = give(msg, max(msg.fds))
            assert refused(client, msg, resized(msg.payload, size), fds), size
            close_all(fds)
            if not msg.replies:
                assert client.alive()
        assert server.settled(), (size, server.fds())
    # Without need_reply the two ends no longer agree on the state, and the session ends.
    if not msg.replies and not msg.soft:
        with connect(server, msg) as client:
            client.send(msg.request, resized(msg.payload, len(msg.payload) + 8))
            assert client.closes()
    check_framing(server, msg)


def check_framing(server, msg):
    """What is no message, with descriptors all the same: none of them stays open."""
    fds = [plain_fd() for _ in range(3)]
    # Beyond any message: that is no header, and nothing after it can be trusted.
    for size in (4097, 0x7fffffff, 0xffffffff):
        with connect(server, msg) as client:
            client.send(msg.request, b'', fds, flags=vu.VERSION | vu.NEED_REPLY, size=size)
            assert client.closes(), size
    # Cut short: a header alone, a part of one, a part of the payload.
    whole = struct.pack('=III', msg.request, vu.VERSION, max(8, len(msg.payload))) + bytes(8)
    for cut in (1, 4, 11, 12, 15):
        with connect(server, msg) as client:
            socket.send_fds(client.sock, [whole[:cut]], fds)
    # More of them in the middle of header or payload.
    for cut in (1, 12):
        with connect(server, msg) as client:
            socket.send_fds(client.sock, [whole[:cut]], fds)
            socket.send_fds(client.sock, [whole[cut:cut + 1]], fds)
            assert client.closes(), cut
    assert server.settled(), server.fds()
    assert server.alive()
    close_all(fds)


def check_fds(server, msg):
    for n in range(10):
        with connect(server, msg) as client:
            fds = give(msg, n)
            if n in msg.fds and not msg.refuses:
                assert accepted(client, msg, fds), n
            else:
                assert refused(client, msg, msg.payload, fds), n
            close_all(fds)
        assert server.settled(), (n, server.fds())


def check_moment(server, msg):
    with connect(server, msg, negotiate=False) as client:
        client.send(vu.SET_PROTOCOL_FEATURES, vu.u64(
            client.ask_u64(vu.GET_PROTOCOL_FEATURES) & ~vu.bit(vu.P_INBAND) if
            msg.feature != vu.P_INBAND else client.ask_u64(vu.GET_PROTOCOL_FEATURES)))
        fds = give(msg, max(msg.fds))
        if msg.owner:
            assert refused(client, msg, msg.payload, fds)
        elif not msg.refuses:
            assert accepted(client, msg, fds)
        close_all(fds)
    assert server.settled(), server.fds()
    # A reply is no request, and no other version is known.
    fds = [plain_fd() for _ in range(8)]
    for flags in (0, 2, 3, vu.VERSION | vu.REPLY, vu.VERSION | 0x10, 0xffffffff):
        with connect(server, msg) as client:
            client.send(msg.request, msg.payload, fds, flags=flags)
            assert client.closes(), flags
    assert server.settled(), server.fds()
    close_all(fds)


def check_feature(server, msg):
    if msg.feature < 0:
        pytest.skip('the message needs no protocol feature')
    off = vu.bit(msg.feature) | vu.bit(vu.P_INBAND)
    with vu.Client(server.path) as client:
        client.negotiate(off=off)
        fds = give(msg, max(msg.fds))
        if msg.offered and not msg.refuses:
            assert accepted(client, msg, fds)
        else:
            assert refused(client, msg, msg.payload, fds)
        close_all(fds)


def tests(msg):
    def test_sizes(server):
        check_sizes(server, msg)

    def test_fds(server):
        check_fds(server, msg)

    def test_moment(server):
        check_moment(server, msg)

    def test_feature(server):
        check_feature(server, msg)

    return test_sizes, test_fds, test_moment, test_feature
