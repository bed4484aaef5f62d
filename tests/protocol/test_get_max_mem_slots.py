# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.GET_MAX_MEM_SLOTS, replies=True, owner=False, feature=vu.P_SLOTS)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


def test_number(owner):
    assert owner.ask_u64(vu.GET_MAX_MEM_SLOTS) == 509
