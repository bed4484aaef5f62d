# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.GET_STATUS, replies=True, owner=False, feature=vu.P_STATUS)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_needs_reset(guest):
    channel = guest.client.open_channel()
    guest.start()
    guest.server.cmd('broken')
    assert vu.wait_for(lambda: guest.client.ask_u64(vu.GET_STATUS) & 0x40)
    assert channel.recv()[0] == vu.BACKEND_CONFIG_CHANGE
    guest.client.ok(vu.SET_STATUS, vu.u64(0))
    assert guest.client.ask_u64(vu.GET_STATUS) == 0
