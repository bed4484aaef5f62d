# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.SET_LOG_FD, fds=(1,), sizes=(1, 8))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_replaced(owner, server):
    fd = bad.plain_fd()
    owner.ok(vu.SET_LOG_FD, fds=[fd])
    before = server.fds()
    for _ in range(50):
        owner.ok(vu.SET_LOG_FD, fds=[fd])
    assert server.settled(before)
    bad.close_all([fd])
