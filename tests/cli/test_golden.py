# SPDX-License-Identifier: BSD-3-Clause
"""What scripts written for iproute2's vdpa rely on: keys, their order, blanks, and the shape of nothing."""
import json

BLK_FEATURES = ['SEG_MAX', 'BLK_SIZE', 'FLUSH', 'TOPOLOGY']


def test_empty_lists(daemon):
    assert daemon.ok('-j', 'dev', 'show') == '{"dev":{}}\n'
    assert daemon.ok('-j', 'dev', 'config', 'show') == '{"config":{}}\n'
    assert daemon.ok('-j', 'bus', 'devices') == '[]\n'
    assert daemon.ok('-j', 'topology') == '[]\n'
    assert daemon.ok('dev', 'show') == ''
    assert daemon.ok('dev', 'config', 'show') == ''


def test_dev_show(disk):
    text = ('{"dev":{"d0":{"type":"block","mgmtdev":"soft_blk","vendor_id":0,"max_vqs":1,'
            '"max_vq_size":256}}}\n')
    assert disk.ok('-j', 'dev', 'show') == text
    assert disk.ok('-j', 'dev', 'show', 'd0') == text
    assert disk.ok('dev', 'show') == ('d0: type block mgmtdev soft_blk vendor_id 0 max_vqs 1 '
                                      'max_vq_size 256\n')


def test_dev_show_all(disk):
    plain = disk.json('dev', 'show')['dev']['d0']
    everything = disk.json('dev', 'show', '--all')['dev']['d0']
    assert list(everything)[:5] == list(plain)
    assert everything['driver'] is None and everything['status'] == []
    assert everything['attrs'] == {'backend': 'ram', 'size': '8M'}
    assert set(BLK_FEATURES) <= set(everything['device_features'])
    assert everything['refs'] == 1 and everything['index'] == 0
    assert [vq['index'] for vq in everything['vqs']] == [0]
    assert everything['dma_device'] and everything['parent'] == 'soft_blk'


def test_mgmtdev_show(daemon):
    shown = daemon.json('mgmtdev', 'show')['mgmtdev']
    assert set(shown) == {'soft_blk', 'soft_net', 'vduse'}
    for name, cls in (('soft_blk', 'block'), ('soft_net', 'net')):
        assert list(shown[name]) == ['supported_classes', 'max_supported_vqs', 'dev_features']
        assert shown[name]['supported_classes'] == [cls]
        assert shown[name]['max_supported_vqs'] >= 1
        assert 'VERSION_1' in shown[name]['dev_features']
    assert daemon.json('mgmtdev', 'show', 'soft_net') == {'mgmtdev': {'soft_net': shown['soft_net']}}
    text = daemon.ok('mgmtdev', 'show', 'soft_net').splitlines()
    assert text[0] == 'soft_net: '
    assert text[1] == '  supported_classes net'
    assert text[2].startswith('  max_supported_vqs ') and text[3].startswith('  dev_features ')


def test_mgmtdev_show_all(daemon):
    """What an operator may write after the words that he knows: attributes, backends and theirs, and within what."""
    text = daemon.ok('mgmtdev', 'show', 'soft_blk', '--all').splitlines()
    start = text.index('  backend file: ' + next(b['help'] for b in daemon.json(
        'mgmtdev', 'show', 'soft_blk', '--all')['mgmtdev']['soft_blk']['backends'] if b['name'] == 'file'))
    keys = [line.split()[0] for line in text[start + 1:] if line.startswith('    ')]
    assert {'path', 'cache', 'lock', 'fixed_buffers'} <= set(keys)
    assert any(line.split()[0] == 'num_queues' and line.endswith(': 1 to 64') for line in text)
    assert any(line.startswith('    size ') and line.endswith(': 512 to 70368744177664 bytes') for line in text)
    assert 'backend tap' in daemon.ok('mgmtdev', 'show', 'soft_net', '--all')
    assert 'backend' not in daemon.ok('mgmtdev', 'show', 'soft_net')


def test_drivers_say_what_they_take(daemon):
    lines = {line.split()[0]: line for line in daemon.ok('bus', 'drivers').splitlines()}
    assert lines['on_disconnect'].endswith(': relisten exit-notify')
    assert lines['kernel_driver'].endswith('virtio_vdpa vhost_vdpa')


def test_numbers_are_bits_among_features_only(daemon):
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'groups', 'per-vq', 'num_queues', 2)
    lines = daemon.ok('dev', 'show', 'd0', '--all').splitlines()
    assert '  group_asid 0 0' in lines
    assert 'bit_25' in daemon.ok('mgmtdev', 'show', 'vduse')


def test_net_config(nic):
    """Two keys end with a blank in iproute2, and so they do here."""
    text = nic.ok('-j', 'dev', 'config', 'show', 'n0')
    assert text == ('{"config":{"n0":{"mac":"52:54:00:12:34:56","link ":"up","link_announce ":false,'
                    '"mtu":1500}}}\n')
    assert nic.ok('dev', 'config', 'show') == ('n0: mac 52:54:00:12:34:56 link up link_announce false '
                                               'mtu 1500 \n')


def test_net_config_negotiated(nic):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    config = nic.json('dev', 'config', 'show')['config']['n0']
    assert list(config) == ['mac', 'link ', 'link_announce ', 'mtu', 'negotiated_features']
    assert 'VERSION_1' in config['negotiated_features']
    text = nic.ok('dev', 'config', 'show', 'n0').splitlines()
    assert text[1].startswith('  negotiated_features ')


def test_blk_config_is_ours(disk):
    assert disk.json('dev', 'config', 'show') == {'config': {'d0': {}}}
    config = disk.json('dev', 'config', 'show', '--all')['config']['d0']
    assert config['capacity_sectors'] == 16384 and config['block_size'] == 512


def test_showing_config_is_no_drivers_read(disk):
    """A driver's read before it sets features makes it a legacy one: looking must not."""
    disk.ok('dev', 'config', 'show', '--all')
    assert disk.json('dev', 'show', '--all')['dev']['d0']['features_valid'] is False


def test_vstats(nic):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    one = nic.json('dev', 'vstats', 'show', 'n0', 'qidx', 0)['vstats']['n0']
    assert list(one)[0] == 'queue_type' and one['queue_type'] == 'rx'
    assert nic.json('dev', 'vstats', 'show', 'n0', 'qidx', 1)['vstats']['n0']['queue_type'] == 'tx'
    assert all(isinstance(v, int) for k, v in one.items() if k != 'queue_type')
    both = nic.json('dev', 'vstats', 'show', 'n0')['vstats']['n0']
    assert list(both) == ['0', '1', '2'] and both['1']['queue_type'] == 'tx'
    assert list(both['2'])[:4] == ['queue_type', 'cvq requests', 'cvq successes', 'cvq errors']
    assert both['2']['queue_type'] == 'control_vq'
    lines = nic.ok('dev', 'vstats', 'show', 'n0', 'qidx', 0).splitlines()
    assert lines[0] == 'n0: ' and lines[1].startswith('queue_type rx ')


def test_pretty(disk):
    pretty = disk.ok('-jp', 'dev', 'show')
    assert pretty.startswith('{\n    "dev": {\n        "d0": {\n')
    assert json.loads(pretty) == disk.json('dev', 'show')
    assert disk.ok('-j', '-p', 'dev', 'show') == pretty
    assert disk.ok('dev', 'show', '-p', '-j') == pretty


def test_bus_handle_of_mgmtdev_must_match(daemon):
    assert 'there are: soft_' in daemon.fails('mgmtdev', 'show', 'pci/soft_net')
