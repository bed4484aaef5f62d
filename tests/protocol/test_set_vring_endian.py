# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.SET_VRING_ENDIAN, vu.state(0, 0))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_values(owner, server):
    owner.ok(vu.SET_VRING_ENDIAN, vu.state(1, 0))
    owner.refused(vu.SET_VRING_ENDIAN, vu.state(0, 1))
    assert 'cross-endian' in server.log()
    owner.refused(vu.SET_VRING_ENDIAN, vu.state(0, 2))
    owner.refused(vu.SET_VRING_ENDIAN, vu.state(2, 0))
