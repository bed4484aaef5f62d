# SPDX-License-Identifier: BSD-3-Clause
"""The control queue of a NIC: a driver says it, the device shows it."""
import pytest

from cliutil import wait_for


@pytest.fixture
def bound(daemon):
    daemon.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'mac', '52:54:00:12:34:56', 'max_vqp', 2,
              'backend', 'loopback')
    daemon.ok('dev', 'bind', 'n0', 'virtio-vdpa', 'queues', 2)
    return daemon


def cvq(daemon, *words):
    return daemon.ok('drv', 'virtio0', 'cvq', *words)


def shown(daemon):
    return daemon.json('cvq', 'show', 'n0')['cvq']['n0']


def test_modes(bound):
    assert shown(bound)['rx_mode'] == 'promisc' and shown(bound)['queue'] == '4'
    cvq(bound, 'promisc', 'off')
    for mode in ['allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast']:
        cvq(bound, mode, 'on')
        assert mode in shown(bound)['rx_mode'].split()
        cvq(bound, mode, 'off')
    assert shown(bound)['rx_mode'] == ''


def test_filter(bound):
    """What is for others does not come any more; what is for the table does."""
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
    cvq(bound, 'promisc', 'off')
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
    cvq(bound, 'nouni', 'on')
    assert 'nothing comes back' in bound.fails('drv', 'virtio0', 'net', 'ping', 'count', 1)
    assert bound.json('dev', 'vstats', 'show', 'n0', 'qidx', 0)['vstats']['n0']['rx drops'] >= 1
    cvq(bound, 'nouni', 'off')
    cvq(bound, 'mac', '02:00:00:00:00:77')
    assert 'mac 02:00:00:00:00:77 ' in bound.ok('dev', 'config', 'show', 'n0')
    assert 'nothing comes back' in bound.fails('drv', 'virtio0', 'net', 'ping', 'count', 1)
    cvq(bound, 'mac-table', '52:54:00:12:34:56', '01:00:5e:00:00:01')
    assert shown(bound)['mac_table'] == '1 unicast 1 multicast'
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5


def test_vlans_pairs_offloads(bound):
    for vlan in [5, 7, 8, 9, 4095]:
        cvq(bound, 'vlan', 'add', vlan)
    cvq(bound, 'vlan', 'del', 8)
    assert shown(bound)['vlans'] == '5 7 9 4095'
    assert 'VIRTIO_NET_ERR' in bound.fails('drv', 'virtio0', 'cvq', 'vlan', 'add', 4096)
    assert shown(bound)['pairs'] == '2', 'the driver has told it'
    cvq(bound, 'mq', 1)
    assert shown(bound)['pairs'] == '1'
    assert 'VIRTIO_NET_ERR' in bound.fails('drv', 'virtio0', 'cvq', 'mq', 3)
    cvq(bound, 'offloads', 'none')
    assert 'GUEST_CSUM' in shown(bound)['offloads_off']
    cvq(bound, 'offloads', 'csum')
    assert shown(bound)['offloads_off'] == ''


def test_coal_and_stats(bound):
    cvq(bound, 'coal', 'rx', 4, 50)
    cvq(bound, 'coal', 'vq', 2, 5, 60)
    assert shown(bound)['coal_rx'] == '4 packets 50 us'
    assert bound.json('drv', 'virtio0', 'cvq', 'coal', 'vq', 0) == {'max_packets': 4, 'max_usecs': 50}
    assert cvq(bound, 'coal', 'vq', 2) == 'max_packets 5\nmax_usecs 60\n'
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
    assert bound.json('drv', 'virtio0', 'cvq', 'stats', 'vq', 0)['rx_packets'] == 5
    assert bound.json('drv', 'virtio0', 'cvq', 'stats', 'vq', 1)['tx_packets'] == 5
    control = bound.json('drv', 'virtio0', 'cvq', 'stats', 'vq', 4, 'control')
    assert control['command_num'] == control['ok_num'] > 5


def test_raw_and_last(bound):
    assert 'VIRTIO_NET_ERR' in bound.fails('drv', 'virtio0', 'cvq', 'raw', 99, 0)
    cvq(bound, 'raw', 0, 0, 'hex', '01')
    assert cvq(bound, 'raw', 8, 0, 'room', 8).strip() == '0500030001000000'
    last = shown(bound)['last'].split(', ')
    assert 'unknown (99 0' in ' '.join(last) and 'stats_query' in shown(bound)['last']
    assert 'rx_mode promisc' in bound.ok('cvq', 'show', 'n0')


def test_announce(bound):
    bound.ok('dev', 'announce', 'n0')
    wait_for(lambda: 'announce_ack' in shown(bound)['last'])
    assert shown(bound)['announce'] == 'no'
    assert 'link_announce false' in bound.ok('dev', 'config', 'show', 'n0')


def test_reset_forgets(bound):
    cvq(bound, 'nobcast', 'on')
    cvq(bound, 'mac', '02:00:00:00:00:77')
    bound.ok('drv', 'virtio0', 'reset')
    assert shown(bound)['rx_mode'] == 'promisc'
    assert shown(bound)['mac'] == '52:54:00:12:34:56'
    bound.ok('drv', 'virtio0', 'attach')
    cvq(bound, 'promisc', 'off')


def test_no_queue(daemon, folder):
    daemon.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'device_features',
              'VERSION_1,ACCESS_PLATFORM,MAC', 'backend', 'loopback')
    daemon.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    assert shown(daemon) == {}
    assert 'has no control queue' in daemon.fails('drv', 'virtio0', 'cvq', 'promisc', 'on')
