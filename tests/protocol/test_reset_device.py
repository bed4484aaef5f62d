# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.RESET_DEVICE, feature=vu.P_RESET)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_with_requests_in_flight(guest):
    guest.start()
    guest.server.cmd('hold')
    for n in range(10):
        guest.disk.submit(False, n)
    guest.ring.notify()
    assert vu.wait_for(lambda: guest.server.cmd('out') == ['10'])
    guest.client.ok(vu.RESET_DEVICE)
    assert guest.server.cmd('out') == ['0']
    guest.server.cmd('delay 0')
    assert guest.ring.quiet()
    # The memory table stays; rings are disabled and set up anew.
    guest.ring.close()
    guest.ring = vu.Ring(guest.mem, 0, 64)
    guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
    guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
    guest.ring.setup(guest.client, enable=False)
    guest.disk.submit(False, 0)
    guest.ring.notify()
    assert guest.ring.quiet(0.05)
    guest.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
    guest.disk.finish(guest.ring.wait())
    guest.disk.check()


def test_again_and_again(guest):
    for _ in range(50):
        guest.client.ok(vu.SET_FEATURES, vu.u64(vu.FEATURES))
        guest.start()
        guest.disk.check()
        guest.client.ok(vu.RESET_DEVICE)
        guest.ring.close()
        guest.ring = vu.Ring(guest.mem, 0, 64)
        guest.disk = vu.Disk(guest.ring, guest.mem, 1 << 20)
