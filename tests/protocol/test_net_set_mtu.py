# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.NET_SET_MTU, vu.u64(1500), feature=vu.P_MTU, offered=True, soft=True)
net = pytest.mark.server('--device', 'net')
test_sizes, test_fds, test_moment, test_feature = map(net, bad.tests(MSG))


@net
def test_range(owner):
    for mtu in (68, 1280, 1500):
        owner.ok(vu.NET_SET_MTU, vu.u64(mtu))
    for mtu in (0, 67, 1501, 65535, 65536 + 1500, 1 << 63):
        owner.refused(vu.NET_SET_MTU, vu.u64(mtu))
    owner.send(vu.NET_SET_MTU, vu.u64(0))
    assert owner.alive()
