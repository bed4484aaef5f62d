# SPDX-License-Identifier: BSD-3-Clause
"""A NIC with several pairs of queues. The front end keeps the control queue; each pair works."""
import os
import struct

import pytest

import vu

MQ, CTRL_VQ, CTRL_MAC = 22, 17, 23
HDR = 12
FRAME = 64


def pairs(n):
    return pytest.mark.server('--device', 'soft_net', '--queues', str(2 * n))


@pairs(1)
def test_one_pair_needs_no_control(client):
    assert not client.ask_u64(vu.GET_FEATURES) & (vu.bit(MQ) | vu.bit(CTRL_VQ))


@pairs(3)
def test_what_is_offered(client):
    features = client.ask_u64(vu.GET_FEATURES)
    assert features & vu.bit(MQ) and features & vu.bit(CTRL_VQ)
    # Commands that the front end cannot answer for the device.
    assert not features & vu.bit(CTRL_MAC)
    client.negotiate(off=vu.bit(vu.P_INBAND))
    assert client.ask_u64(vu.GET_QUEUE_NUM) == 3
    config = client.ask(vu.GET_CONFIG, struct.pack('=III', 8, 2, 0) + bytes(2))
    assert struct.unpack('<H', config[12:])[0] == 3


@pairs(128)
def test_as_many_as_there_are_numbers(client):
    client.negotiate(off=vu.bit(vu.P_INBAND))
    assert client.ask_u64(vu.GET_QUEUE_NUM) == 128
    client.ok(vu.SET_VRING_NUM, vu.state(255, 64))


class Pair:
    def __init__(self, mem, index, off):
        self.mem, self.buf = mem, off + (64 << 10)
        self.rx = vu.Ring(mem, 2 * index, 16, off)
        self.tx = vu.Ring(mem, 2 * index + 1, 16, off + (16 << 10))

    def echo(self):
        data = os.urandom(FRAME)
        rx, tx = self.buf, self.buf + vu.PAGE
        self.mem.write(tx, bytes(HDR) + data)
        self.rx.add([(self.mem.gpa + rx, 2048, True)], 'rx')
        self.tx.add([(self.mem.gpa + tx, HDR + FRAME, False)], 'tx')
        self.rx.notify()
        self.tx.notify()
        assert self.tx.wait()[0][0] == 'tx'
        assert self.rx.wait() == [('rx', HDR + FRAME)]
        assert self.mem.read(rx + HDR, FRAME) == data

    def close(self):
        self.rx.close()
        self.tx.close()


@pairs(2)
def test_each_pair_carries_its_own(owner, server):
    features = vu.FEATURES | vu.bit(MQ) | vu.bit(CTRL_VQ)
    owner.ok(vu.SET_FEATURES, vu.u64(features))
    mem = vu.Memory(4 << 20, gpa=0x100000, uva=0x7f0000000000)
    owner.ok(vu.SET_MEM_TABLE, vu.table(mem), [mem.fd])
    both = [Pair(mem, i, i << 20) for i in range(2)]
    for pair in both:
        pair.rx.setup(owner)
        pair.tx.setup(owner)
    for _ in range(20):
        for pair in both:
            pair.echo()
    stats = server.cmd('stats')
    assert '1/tx packets=20' in stats and '3/tx packets=20' in stats
    # As a guest does that goes back to one pair, and forth.
    for on in (0, 1):
        for ring in (2, 3):
            owner.ok(vu.SET_VRING_ENABLE, vu.state(ring, on))
        both[0].echo()
    both[1].echo()
    # The same features again, with the log: nothing of the front end's own is in the way.
    owner.ok(vu.SET_FEATURES, vu.u64(features | vu.bit(vu.F_LOG_ALL)))
    both[1].echo()
    for pair in both:
        pair.close()
    mem.close()
