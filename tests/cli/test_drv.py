# SPDX-License-Identifier: BSD-3-Clause
"""Driving devices: in the daemon, and over a vhost-user socket from the command's own process."""
import base64
import hashlib
import subprocess

import pytest

from cliutil import UVDPA, clean_env, wait_for


@pytest.fixture
def virtio(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    return disk


@pytest.fixture(params=['daemon', 'socket'])
def target(request, disk, folder):
    """Words that name the disk d0, at either end."""
    if request.param == 'daemon':
        disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
        words = ('drv', 'virtio0')
    else:
        disk.ok('dev', 'bind', 'd0', 'vhost-user', 'path', folder / 'd0.sock')
        words = ('drv', '--socket', folder / 'd0.sock')
    return disk, words


def test_list(virtio):
    assert virtio.json('drv') == [{'name': 'virtio0', 'bus': 'vdpa/d0', 'driver': 'virtio-blk'}]
    assert virtio.ok('drv') == 'virtio0: bus vdpa/d0 driver virtio-blk\n'


def test_name_of_the_vdpa_device(virtio):
    assert virtio.ok('drv', 'd0', 'blk', 'info') == virtio.ok('drv', 'virtio0', 'blk', 'info')
    assert 'there is no such virtio device' in virtio.fails('drv', 'd', 'blk', 'info')


def test_info_features(target):
    daemon, words = target
    assert 'capacity_sectors 16384' in daemon.ok(*words, 'blk', 'info')
    features = daemon.ok(*words, 'features')
    assert 'offered ' in features and 'VERSION_1' in features.split('negotiated ')[1]
    assert 'DRIVER_OK' in daemon.ok(*words, 'status')
    assert 'block' in daemon.ok(*words, 'info')


def test_features_have_names(disk, folder):
    disk.ok('dev', 'bind', 'd0', 'vhost-user', 'path', folder / 'd0.sock')
    words = ('drv', '--socket', str(folder / 'd0.sock'))
    info = disk.ok(*words, 'info').split('protocol_features ')[1].splitlines()[0]
    assert {'MQ', 'CONFIG', 'INFLIGHT_SHMFD'} <= set(info.split())


def test_write_and_read(target):
    daemon, words = target
    daemon.ok(*words, 'blk', 'write', '1000', 'text', 'hello')
    daemon.ok(*words, 'blk', 'write', '1021', 'hex', '00ff10')
    assert '|hello|' in daemon.ok(*words, 'blk', 'read', '1000', '5')
    dump = daemon.ok(*words, 'blk', 'read', '996', '32').splitlines()
    assert dump[0] == ('000003e4  00 00 00 00 68 65 6c 6c 6f 00 00 00 00 00 00 00  |....hello.......|')
    assert dump[1].split('  ')[1].startswith('00 00 00 00 00 00 00 00 00 00 ff 10') or '00 ff 10' in dump[1]


def test_fill_flush_verify(target):
    daemon, words = target
    daemon.ok(*words, 'blk', 'fill', '0', '8M', 'seed', '42')
    daemon.ok(*words, 'blk', 'flush')
    assert 'bytes 8388608' in daemon.ok(*words, 'blk', 'verify', '0', '8M', 'seed', '42')
    daemon.ok(*words, 'blk', 'write', '4M', 'hex', '00')
    message = daemon.fails(*words, 'blk', 'verify', '0', '8M', 'seed', '42')
    assert 'differ from the pattern at byte 4194304' in message
    daemon.ok(*words, 'blk', 'zero', '0', '64K')
    assert 'at byte 0' in daemon.fails(*words, 'blk', 'verify', '0', '64K', 'seed', '42')
    daemon.ok(*words, 'blk', 'discard', '64K', '64K')


def test_files(target, folder):
    daemon, words = target
    data = hashlib.shake_128(b'uvdpa').digest(300000)
    (folder / 'in').write_bytes(data)
    daemon.ok(*words, 'blk', 'write', '700', 'file', folder / 'in')
    daemon.ok(*words, 'blk', 'read', '700', '300000', 'file', folder / 'out')
    assert (folder / 'out').read_bytes() == data
    daemon.ok(*words, 'blk', 'read', '0', '3M', 'file', folder / 'out')
    assert (folder / 'out').read_bytes()[700:300700] == data and (folder / 'out').stat().st_size == 3 << 20


def test_id(target):
    daemon, words = target
    assert daemon.ok(*words, 'blk', 'id') == 'id d0\n'


def test_json(virtio):
    virtio.ok('drv', 'virtio0', 'blk', 'write', '0', 'text', 'abc')
    got = virtio.json('drv', 'virtio0', 'blk', 'read', '0', '3')
    assert got == {'offset': 0, 'len': 3, 'data': base64.b64encode(b'abc').decode()}


@pytest.mark.parametrize('words,says', [
    (['blk', 'read', '8M', '512'], 'beyond the end of the disk'),
    (['blk', 'fill', '1', '512'], 'whole sectors'),
    (['blk', 'fill', '0', '0'], 'whole sectors'),
    (['blk', 'fill', '0', '8193K'], 'beyond the end'),
    (['blk', 'zero', '100', '512'], 'not on the disk'),
    (['net', 'ping'], 'is not a NIC'),
    (['net', 'info'], 'is not a NIC'),
])
def test_refusals(virtio, words, says):
    assert says in virtio.fails('drv', 'virtio0', *words)


def test_bad_base64(virtio):
    with virtio.client() as c:
        for data in ('a', 'abc', '====', 'ab=c', 'ab==abcd', '\u00e4bcd', 'ab c'):
            answer = c.call('drv.call', name='virtio0', op='blk.write', params={'offset': 0, 'data': data})
            assert 'base64' in answer['error']['message'], data
        answer = c.call('drv.call', name='virtio0', op='blk.write', params={'offset': 0, 'data': 'AAAA'})
        assert 'whole sectors' in answer['error']['message']
        answer = c.call('drv.call', name='virtio0', op='blk.read', params={'offset': 0, 'len': 1 << 30})
        assert '0 to 524288 is allowed' in answer['error']['message']


def test_no_such_device_or_operation(virtio):
    assert 'there is no such virtio device' in virtio.fails('drv', 'virtio7', 'info')
    with virtio.client() as c:
        assert 'drv.ops lists them' in c.call('drv.call', name='virtio0', op='x')['error']['message']
        assert len(c.call('drv.ops')['result']) >= 19


def test_read_only(daemon):
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '64K', 'read_only', 'on',
              'driver', 'virtio-vdpa')
    assert 'Read-only' in daemon.fails('drv', 'virtio0', 'blk', 'fill', '0', '64K')
    assert '"read_only":true' in daemon.ok('-j', 'drv', 'virtio0', 'blk', 'info')


def test_config(virtio):
    """Bytes of the configuration space; a write, which the device may ignore; what is not in it."""
    capacity = virtio.ok('drv', 'virtio0', 'config', 'read', '0', '8').split()[1]
    assert int.from_bytes(bytes.fromhex(capacity), 'little') * 512 == 8 << 20
    virtio.ok('drv', 'virtio0', 'config', 'write', '32', 'hex', '00')
    assert len(virtio.json('drv', 'virtio0', 'config', 'read', '32', '1')['data']) == 2
    for words in (('read', '1K', '1'), ('read', '0', '1K'), ('read', '0', '0'), ('write', '1K', 'hex', '00')):
        assert 'not in the configuration space' in virtio.fails('drv', 'virtio0', 'config', *words)
    assert 'small hexadecimal' in virtio.fails('drv', 'virtio0', 'config', 'write', '0', 'hex', '0')


def test_reset_and_attach(virtio):
    virtio.ok('drv', 'virtio0', 'reset')
    assert virtio.json('dev', 'show', '--all')['dev']['d0']['status'] == []
    assert 'not attached' in virtio.fails('drv', 'virtio0', 'blk', 'flush')
    message = virtio.fails('drv', 'virtio0', 'vq-setup', 'size', '300')
    assert '300' in message
    assert any('300' in l['text'] and l['level'] == 4 for l in virtio.json('log')), 'and a warning'
    virtio.ok('drv', 'virtio0', 'vq-setup', 'size', '64')
    virtio.ok('drv', 'virtio0', 'attach')
    virtio.fails('drv', 'virtio0', 'attach')
    virtio.fails('drv', 'virtio0', 'vq-setup', 'size', '64')
    virtio.ok('drv', 'virtio0', 'blk', 'flush')


def test_disk_with_a_bad_piece(daemon):
    """A device that misbehaves on request: the driver is told, and everything beside it works."""
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '8M', 'bad_first', '1M',
              'bad_bytes', '4K', 'driver', 'virtio-vdpa')
    daemon.ok('drv', 'd0', 'blk', 'fill', 0, '1M')
    daemon.ok('drv', 'd0', 'blk', 'verify', 0, '1M')
    assert 'Input/output error' in daemon.fails('drv', 'd0', 'blk', 'read', '1M', 512)
    assert 'Input/output error' in daemon.fails('drv', 'd0', 'blk', 'fill', 0, '2M')
    daemon.ok('drv', 'd0', 'blk', 'fill', 1052672, '1M')
    assert daemon.json('dev', 'vstats', 'show', 'd0', 'qidx', 0)['vstats']['d0']['errors'] >= 2
    assert daemon.json('dev', 'show', 'd0', '--all')['dev']['d0']['show']['bad'] == '1048576+4096'


def test_conform(target):
    daemon, words = target
    done = daemon.run(*words, 'conform')
    text = done.stdout
    assert done.returncode == 0
    assert text.count('pass ') >= 20 and 'FAIL' not in text


def test_ping(nic):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    got = nic.json('drv', 'virtio0', 'net', 'ping', 'count', '20')
    assert (got['sent'], got['received'], got['bad']) == (20, 20, 0)
    assert 0 < got['min_ns'] <= got['avg_ns'] <= got['max_ns']
    assert 'mac 52:54:00:12:34:56' in nic.ok('drv', 'virtio0', 'net', 'info')


@pytest.mark.parametrize('size', [60, 61, 590, 1514])
def test_pktgen(nic, size):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    got = nic.json('drv', 'virtio0', 'net', 'pktgen', 'count', '1000', 'size', size)
    assert (got['sent'], got['received'], got['bad'], got['size']) == (1000, 1000, 0, size)


def test_nic_over_the_socket(nic, folder):
    nic.ok('dev', 'bind', 'n0', 'vhost-user', 'path', folder / 'n0.sock')
    got = nic.json('drv', '--socket', folder / 'n0.sock', 'net', 'ping')
    assert got['received'] == 5


def test_nic_goes_away_under_traffic(nic):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    with nic.client() as c:
        c.request('drv.call', name='virtio0', op='net.pktgen', params={'count': 1000000000})
        nic.ok('dev', 'del', 'n0')
        assert c.json()['error']['message']


def moving(daemon):
    """Wait until packets go through n0."""
    def sent():
        return daemon.json('stats')['devices']['n0'][1].get('completed_desc', 0)
    wait_for(sent)


def test_nic_goes_away_over_the_socket(nic, folder):
    nic.ok('dev', 'bind', 'n0', 'vhost-user', 'path', folder / 'n0.sock')
    argv = [UVDPA, 'drv', '--socket', str(folder / 'n0.sock'), 'net', 'pktgen', 'count', '1000000000']
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env()) as drv:
        moving(nic)
        nic.ok('dev', 'del', 'n0')
        out, err = drv.communicate(timeout=60)
    assert drv.returncode == 1 and out == '', out
    assert 'its back end is gone: ' in err and ' of 1000000000 packets sent' in err


def test_lost_packets_are_a_failure(nic):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    with nic.client() as c:
        c.request('drv.call', name='virtio0', op='net.pktgen', params={'count': 1000000000})
        moving(nic)
        nic.ok('dev', 'suspend', 'n0')
        assert 'packets were lost: ' in c.json()['error']['message']
    nic.ok('dev', 'resume', 'n0')


@pytest.mark.parametrize('op', ['ping', 'pktgen'])
def test_nothing_comes_back(nic, op):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    nic.ok('dev', 'suspend', 'n0')
    assert 'is its backend a loopback' in nic.fails('drv', 'virtio0', 'net', op)
    nic.ok('dev', 'resume', 'n0')


def test_nobody_at_the_socket(daemon, folder):
    assert str(folder / 'x') in daemon.fails('drv', '--socket', folder / 'x', 'info')
