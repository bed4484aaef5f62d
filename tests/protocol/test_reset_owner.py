# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.RESET_OWNER)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_disables_all_rings(guest):
    guest.start()
    guest.disk.check()
    guest.client.ok(vu.RESET_OWNER)
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert guest.ring.quiet()
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
    guest.disk.finish(guest.ring.wait())
    guest.disk.check()
