# SPDX-License-Identifier: BSD-3-Clause
import os
import socket

import bad
import vu

MSG = bad.Message(vu.SET_BACKEND_REQ_FD, fds=(1,), feature=vu.P_BACKEND_REQ, offered=True,
                  owner=False, make_fd=bad.socket_fd)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_must_be_a_socket(owner):
    fd = bad.plain_fd()
    owner.refused(vu.SET_BACKEND_REQ_FD, fds=[fd])
    os.close(fd)
    fd = bad.memory_fd()
    owner.refused(vu.SET_BACKEND_REQ_FD, fds=[fd])
    os.close(fd)


def test_replaced(owner, server):
    first = owner.open_channel()
    before = server.fds()
    for _ in range(50):
        owner.open_channel()
    assert first.closes()
    assert server.settled(before)


def test_peer_closes_it(guest, server):
    channel = guest.client.open_channel()
    guest.start()
    channel.close()
    guest.client.channel = None
    for _ in range(10):
        server.cmd('config 0 0008000000000000')
    guest.disk.check()
    again = guest.client.open_channel()
    server.cmd('config 0 0008000000000000')
    assert again.recv()[0] == vu.BACKEND_CONFIG_CHANGE


def test_peer_never_reads_it(server):
    """A full channel holds nothing up, and nothing piles up behind it."""
    with vu.Guest(server, connect=False) as g:
        g.client = c = vu.Client(server.path)
        c.send(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_CONFIG) | vu.bit(vu.P_BACKEND_REQ)))
        c.send(vu.SET_OWNER)
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        c.send(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        c.send(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        c.send(vu.SET_MEM_TABLE, vu.table(g.mem), [g.mem.fd])
        g.ring.setup(c, ack=False)
        g.disk.check()
        rss = server.rss_kib()
        for _ in range(2000):
            server.cmd('config 0 0008000000000000')
        g.disk.check()
        assert server.rss_kib() - rss < vu.SLACK_KIB
        ticks = server.cpu_ticks()
        assert g.ring.quiet(0.3)
        assert server.cpu_ticks() - ticks < 15, 'the server spins'
        ours.close()


def test_descriptors_in_answers_are_closed(guest, server):
    channel = guest.client.open_channel()
    guest.start()
    before = server.fds()
    fds = [bad.plain_fd() for _ in range(3)]
    for _ in range(20):
        server.cmd('config 0 0008000000000000')
        request, _, _ = channel.recv()
        channel.send(request, vu.u64(0), fds, flags=vu.VERSION | vu.REPLY)
    assert server.settled(before)
    bad.close_all(fds)


def test_full_and_blocking(server):
    """The front end shares the socket's flags: the send must not wait, whatever they say."""
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        ours, theirs = socket.socketpair()
        g.client.ok(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        g.start()
        for size in (4096, 1):
            try:
                while True:
                    theirs.send(bytes(size), socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
        theirs.setblocking(True)
        for _ in range(3):
            server.cmd('config 0 0008000000000000')
        g.disk.check()
        assert g.client.alive()
        ours.close()
        theirs.close()
