# SPDX-License-Identifier: BSD-3-Clause
import struct

import bad
import vu
from test_get_config import config

WCE = 32        # struct virtio_blk_config
MSG = bad.Message(vu.SET_CONFIG, config(WCE, 1, b'\1'), feature=vu.P_CONFIG, soft=True)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def read(client, off, size):
    return client.ask(vu.GET_CONFIG, config(off, size))[12:]


def test_writable_field(owner):
    for value in (0, 1, 0):
        owner.ok(vu.SET_CONFIG, config(WCE, 1, bytes([value])))
        assert read(owner, WCE, 1) == bytes([value])


def test_read_only_field(owner):
    """The guest can cause this: it is refused, and the session goes on."""
    before = read(owner, 0, 8)
    owner.refused(vu.SET_CONFIG, config(0, 8, b'\xff' * 8))
    owner.send(vu.SET_CONFIG, config(0, 8, b'\xff' * 8))
    assert read(owner, 0, 8) == before


def test_migration_writes_what_is_there(owner):
    owner.ok(vu.SET_CONFIG, config(0, 8, read(owner, 0, 8), flags=1))
    owner.refused(vu.SET_CONFIG, config(0, 8, b'\xff' * 8, flags=1))
    for flags in (2, 3, 0xffffffff):
        owner.refused(vu.SET_CONFIG, config(WCE, 1, b'\1', flags=flags))


def test_bounds(owner):
    for off, size in ((0, 0), (4096, 1), (0xffffffff, 1), (0xfffffff0, 32), (255, 8), (250, 256)):
        owner.refused(vu.SET_CONFIG, config(off, size))
    for field in (0, 2, 256, 257, 0xffffffff):
        owner.refused(vu.SET_CONFIG, struct.pack('=III', WCE, field, 0) + b'\1')
    assert owner.alive()
