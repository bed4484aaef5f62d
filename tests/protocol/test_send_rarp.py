# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.SEND_RARP, b'\x52\x54\0\x12\x34\x56\0\0', feature=vu.P_RARP, offered=True, soft=True)
net = pytest.mark.server('--device', 'net')
test_sizes, test_fds, test_moment, test_feature = map(net, bad.tests(MSG))


@net
def test_reaches_the_device(owner, server):
    owner.ok(vu.SEND_RARP, MSG.payload)
    assert server.cmd('announced') == ['525400123456']


def test_a_disk_has_no_address(owner):
    owner.refused(vu.SEND_RARP, MSG.payload)
