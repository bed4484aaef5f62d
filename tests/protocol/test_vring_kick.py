# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

import bad
import vu

MSG = bad.Message(vu.VRING_KICK, vu.state(0, 0), feature=vu.P_INBAND, soft=True)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


@pytest.fixture
def inband(server):
    with vu.Guest(server, connect=False) as g:
        g.client = vu.Client(server.path)
        g.client.negotiate(features=vu.FEATURES)
        yield g


def set_up(g):
    g.share()
    g.client.ok(vu.SET_VRING_NUM, vu.state(0, g.ring.num))
    g.client.ok(vu.SET_VRING_ADDR, g.ring.addr())
    g.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))


def test_form(inband):
    inband.client.refused(vu.VRING_KICK, vu.state(0, 1))
    inband.client.refused(vu.VRING_KICK, vu.state(2, 0))
    inband.client.send(vu.VRING_KICK, vu.state(2, 0))
    assert inband.client.alive()


def test_kicks_and_calls_are_messages(inband):
    channel = inband.client.open_channel()
    set_up(inband)
    for n in range(50):
        inband.disk.submit(False, n)
        inband.client.ok(vu.VRING_KICK, vu.state(0, 0))
        request, flags, data = channel.recv()
        assert (request, data) == (vu.BACKEND_VRING_CALL, vu.state(0, 0))
        assert flags == vu.VERSION | vu.NEED_REPLY
        inband.disk.finish(inband.ring.get())
        channel.answer(request)


def test_calls_wait_for_the_answer_and_are_joined(inband):
    channel = inband.client.open_channel()
    set_up(inband)
    for n in range(10):
        inband.disk.submit(False, n)
        inband.client.ok(vu.VRING_KICK, vu.state(0, 0))
        assert vu.wait_for(lambda: inband.ring.device_idx() == n + 1)
        if n == 0:
            assert channel.recv()[0] == vu.BACKEND_VRING_CALL
    assert channel.silent()
    channel.answer(vu.BACKEND_VRING_CALL)
    assert channel.recv()[0] == vu.BACKEND_VRING_CALL
    channel.answer(vu.BACKEND_VRING_CALL)
    assert channel.silent()
    inband.disk.finish(inband.ring.get())


def test_descriptors_go_before_messages(inband):
    channel = inband.client.open_channel()
    inband.share()
    inband.ring.setup(inband.client)
    inband.disk.check()
    assert channel.silent()


def test_error_in_band(inband):
    channel = inband.client.open_channel()
    set_up(inband)
    inband.mem.write(inband.ring.avail + 2, b'\x10\x27')
    inband.client.ok(vu.VRING_KICK, vu.state(0, 0))
    seen = set()
    while vu.BACKEND_VRING_ERR not in seen:
        request, _, _ = channel.recv()
        seen.add(request)
        channel.answer(request)


@pytest.mark.parametrize('rubbish', [
    b'\x01\0\0\0\x05\0\0\0\x08\0\0\0' + bytes(8),       # an answer to another request
    b'\x04\0\0\0\x01\0\0\0\x08\0\0\0' + bytes(8),       # no answer at all
    b'\x04\0\0\0\x05\0\0\0\xff\xff\0\0' + bytes(8),     # too long
    os.urandom(40)])
def test_rubbish_on_the_channel(inband, rubbish):
    channel = inband.client.open_channel()
    set_up(inband)
    inband.disk.submit(False, 0)
    inband.client.ok(vu.VRING_KICK, vu.state(0, 0))
    channel.recv()
    channel.sock.sendall(rubbish)
    assert channel.closes()
    assert inband.client.alive()
