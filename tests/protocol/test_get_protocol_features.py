# SPDX-License-Identifier: BSD-3-Clause
import pytest

import bad
import vu

MSG = bad.Message(vu.GET_PROTOCOL_FEATURES, replies=True, owner=False)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)

DISK = [vu.P_MQ, vu.P_LOG_SHMFD, vu.P_REPLY_ACK, vu.P_BACKEND_REQ, vu.P_CONFIG, vu.P_INFLIGHT,
        vu.P_RESET, vu.P_INBAND, vu.P_SLOTS, vu.P_STATUS]


def test_disk(client):
    assert client.ask_u64(vu.GET_PROTOCOL_FEATURES) == sum(map(vu.bit, DISK))


@pytest.mark.server('--device', 'net')
def test_net(client):
    assert client.ask_u64(vu.GET_PROTOCOL_FEATURES) == sum(
        map(vu.bit, DISK + [vu.P_MTU, vu.P_RARP]))


@pytest.mark.server('--no-config')
def test_without_config_space(client):
    assert not client.ask_u64(vu.GET_PROTOCOL_FEATURES) & vu.bit(vu.P_CONFIG)
