# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.GET_QUEUE_NUM, replies=True, owner=False, feature=vu.P_MQ, offered=True)
test_sizes, test_fds, test_moment, test_feature = bad.tests(MSG)


@pytest.mark.server('--queues', '5')
def test_disk(owner):
    assert owner.ask_u64(vu.GET_QUEUE_NUM) == 5


@pytest.mark.server('--device', 'net', '--queues', '5')
def test_a_nic_counts_pairs(owner):
    assert owner.ask_u64(vu.GET_QUEUE_NUM) == 2
