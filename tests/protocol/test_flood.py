# SPDX-License-Identifier: BSD-3-Clause
"""Bad messages by the hundred thousand: nothing grows, the log is capped, the next front end is served."""
import os
import random
import socket
import struct

import pytest

import bad
import vu

N = 100000


def header(request, size, flags=vu.VERSION):
    return struct.pack('=III', request, flags, size)


def log_lines(server):
    return server.log().count('\n<')     # others are events, which the test server prints


def unchanged(server, rss, lines):
    assert server.rss_kib() - rss < vu.SLACK_KIB, 'memory grows'
    assert log_lines(server) - lines < 200, 'the log grows'
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.disk.check()


@pytest.mark.parametrize('request_nr,payload', [
    (vu.SET_VRING_NUM, vu.state(0, 3)),
    (vu.SET_FEATURES, vu.u64(1 << 63)),
    (vu.SET_MEM_TABLE, struct.pack('=II', 1, 0) + vu.region(0, 0, 0)),
    (vu.SET_VRING_ADDR, bytes(40)[:-1]),
    (vu.IOTLB_MSG, vu.iotlb(9, 0, 0)),
    (99, b''),
])
def test_refused_messages(server, owner, request_nr, payload):
    rss, lines = server.rss_kib(), log_lines(server)
    message = header(request_nr, len(payload), vu.VERSION | vu.NEED_REPLY) + payload
    for _ in range(N // 6 // 100):
        owner.sock.sendall(message * 100)
        answers = owner.recv_exact(20 * 100)
        assert all(answers[i:i + 4] == struct.pack('=I', request_nr) for i in range(0, 2000, 20))
        assert all(answers[i + 12:i + 20] != bytes(8) for i in range(0, 2000, 20))
    assert int(server.show()['refused']) >= N // 6 // 100 * 100
    owner.close()
    unchanged(server, rss, lines)


def test_sessions(server):
    """Connect, say something wrong, be thrown out: 2000 times."""
    with vu.Client(server.path) as c:
        c.send(0xffffffff)
        assert c.closes()
    rss, lines = server.rss_kib(), log_lines(server)
    for _ in range(2000):
        with vu.Client(server.path) as c:
            c.send(vu.SET_VRING_NUM, b'')
            assert c.closes()
    unchanged(server, rss, lines)


def test_descriptors(server, owner):
    """Messages by the ten thousand with descriptors that nobody wants: not one is kept, from the first on."""
    before = server.fds()
    fds = [bad.plain_fd() for _ in range(8)]
    useless = [(vu.SET_VRING_NUM, vu.state(0, 16), 1), (vu.SET_VRING_NUM, vu.state(0, 16), 8),
               (vu.SET_MEM_TABLE, bytes(8), 8), (vu.SET_MEM_TABLE, struct.pack('=II', 1, 0) + vu.region(0, 0, 0), 1),
               (vu.SET_VRING_CALL, vu.u64(0), 2), (vu.SET_VRING_KICK, vu.u64(9), 1),
               (vu.SET_VRING_ERR, vu.u64(0x100), 1), (vu.ADD_MEM_REG, bytes(40), 1),
               (vu.SET_INFLIGHT_FD, bytes(24), 1), (99, b'', 3)]
    for n in range(10000 * vu.ROUNDS):
        request, payload, many = useless[n % len(useless)]
        owner.refused(request, payload, fds[:many])
        if n == 100:
            assert server.fds() == before
    assert server.fds() == before
    # Those that are wanted take the place of the ones before, and few wait for the loops to pass.
    most = 0
    for n in range(1000 * vu.ROUNDS):
        owner.ok((vu.SET_VRING_CALL, vu.SET_VRING_ERR)[n % 2], vu.u64(n // 2 % 2), [fds[n % 8]])
        if n % 100 == 99:
            most = max(most, sum(server.fds().values()))
    wanted = sum(before.values()) + 8       # by two rings: the server's, and the device's
    assert most <= wanted + 8
    assert vu.wait_for(lambda: sum(server.fds().values()) <= wanted), server.fds()
    vu.count('messages', 11000 * vu.ROUNDS)
    bad.close_all(fds)


@pytest.mark.parametrize('cut', [1, 11, 12, 13, 19])
def test_descriptors_in_the_middle_of_a_message(server, cut):
    """They come with the first byte, or the session ends; none is kept."""
    with vu.Client(server.path) as c:
        c.negotiate(off=vu.bit(vu.P_INBAND))
        whole = header(vu.SET_VRING_CALL, 8) + vu.u64(0)
        fds = [bad.plain_fd() for _ in range(3)]
        c.sock.sendall(whole[:cut])
        vu.wait_for(lambda: False, 0.02)
        socket.send_fds(c.sock, [whole[cut:]], fds)
        assert c.closes()
        bad.close_all(fds)
    assert server.settled()


@pytest.mark.parametrize('seed', range(10))
def test_random_messages(server, seed):
    """Valid headers, any request, any payload, any descriptors, in any order."""
    rnd = random.Random(seed)
    guest = vu.Guest(server, connect=False)
    fds = [bad.plain_fd(), bad.memory_fd(), bad.socket_fd(), os.open('/dev/null', os.O_RDWR)]
    good = [struct.pack('=II', rnd.randrange(3), rnd.choice([0, 1, 16, 64, 256])) for _ in range(4)]
    good += [vu.u64(rnd.choice([0, 1, 0x100, 0x101, vu.FEATURES, vu.FEATURES | vu.bit(26) | vu.bit(33)]))
             for _ in range(4)]
    good += [guest.ring.addr(), vu.table(guest.mem), guest.mem.reg(), bytes(12) + bytes(8),
             vu.iotlb(2, 0, 4096, guest.mem.uva), struct.pack('=QQHH4x', 4096, 0, 1, 16), b'']
    for _ in range(30):
        with vu.Client(server.path) as c:
            c.negotiate(features=vu.FEATURES)
            try:
                for _ in range(100):
                    payload = rnd.choice(good) if rnd.random() < .8 else rnd.randbytes(rnd.randrange(300))
                    give = [rnd.choice(fds + [guest.mem.fd]) for _ in range(rnd.choice([0, 0, 1, 1, 2]))]
                    c.send(rnd.randrange(46), payload, give, vu.VERSION | vu.NEED_REPLY)
                    c.sock.setblocking(False)
                    try:
                        c.sock.recv(65536)
                    except BlockingIOError:
                        pass
                    c.sock.settimeout(vu.TIMEOUT)
            except (vu.Closed, ConnectionResetError, BrokenPipeError):
                pass
    for fd in fds:
        os.close(fd)
    guest.close()
    assert server.settled(), server.fds()
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.disk.check()


def test_peer_that_never_reads(server):
    """Questions without end and no answer taken: the server keeps one answer and waits."""
    with vu.Client(server.path) as c:
        c.sock.setblocking(False)
        sent = 0
        try:
            while sent < 10000000:
                sent += c.sock.send(header(vu.GET_FEATURES, 0) * 100)
        except BlockingIOError:
            pass
        ticks = server.cpu_ticks()
        assert vu.wait_for(lambda: not server.alive(), 0.3) is False
        assert server.cpu_ticks() - ticks < 15, 'the server spins'
        assert server.rss_kib() < 65536
