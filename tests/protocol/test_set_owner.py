# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.SET_OWNER, owner=False)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_again(guest):
    guest.start()
    guest.client.ok(vu.SET_OWNER)
    guest.disk.check()


def test_unknown_messages(owner):
    """Also those that exist, but not here."""
    for request in (0, 26, 27, 28, 29, 30, 33, 41, 42, 43, 44, 45, 100, 0x7fffffff, 0xffffffff):
        owner.refused(request)
        owner.refused(request, bytes(64))
    owner.send(28)
    assert owner.closes()
