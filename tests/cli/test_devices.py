# SPDX-License-Identifier: BSD-3-Clause
"""The life of devices: add, bind, unbind, delete, and what is said when that does not go."""
import json
import os
import pathlib
import socket
import subprocess

import pytest

from cliutil import PATIENCE, UVDPAD, wait_for


def add_disk(daemon, name='d0', *more):
    daemon.ok('dev', 'add', 'name', name, 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', *more)


@pytest.mark.parametrize('words,says', [
    (['name', 'd0', 'mgmtdev', 'nobody'], 'there is no management device "nobody"; there are: soft_'),
    (['name', 'a/b', 'mgmtdev', 'soft_blk'], 'dev/a/b: "a/b" is not a name'),
    (['name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'nobody'], 'nobody'),
    (['name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '0'], 'size'),
    (['name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', 'big'], 'size "big" is not a size'),
    (['name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'colour', 'red'], '"colour"'),
    (['name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'mac', '52:54:00:00:00:01'],
     'does not support: mac'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'mac', 'nonsense'], 'mac "nonsense" is not an address'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'mtu', '10'], 'mtu 10 is too small: at least 68'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'mtu', '70000'], 'mtu "70000" is out of range'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'max_vqp', '0'], 'max_vqp "0" is out of range'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'device_features', 'VERSION_1,COLOUR'],
     '"COLOUR": no feature of a network device is called so'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'device_features', '0x8000000000000000'],
     'device_features has SPEED_DUPLEX, which'),
    (['name', 'n1', 'mgmtdev', 'soft_net', 'device_features', 'VERSION_1', 'mac', '52:54:00:00:00:01'],
     'missing features MAC for the attributes given (device_features: VERSION_1)'),
])
def test_add_errors(daemon, words, says):
    assert says in daemon.fails('dev', 'add', *words)
    assert daemon.ok('dev', 'show') == ''


def test_features_by_name_and_mask(daemon):
    for i, text in enumerate(('VERSION_1,MAC,MTU', '0x100000028', '100000028', 'VERSION_1,bit_3,bit_5')):
        daemon.ok('dev', 'add', 'name', f'n{i}', 'mgmtdev', 'soft_net', 'device_features', text)
        shown = daemon.json('dev', 'show', f'n{i}', '--all')['dev'][f'n{i}']['device_features']
        assert {'VERSION_1', 'MAC', 'MTU'} <= set(shown)
        assert 'MRG_RXBUF' not in shown


def test_pairs_with_features(daemon):
    """Several pairs and features that are listed: those that pairs need have to be among them."""
    add = ('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'max_vqp', '2', 'device_features')
    assert 'missing features MQ' in daemon.fails(*add, 'VERSION_1,MAC,CTRL_VQ')
    assert 'needs CTRL_VQ' in daemon.fails(*add, 'VERSION_1,MAC,MQ')
    daemon.ok(*add, 'VERSION_1,MAC,CTRL_VQ,MQ')
    assert daemon.json('dev', 'show', 'n0')['dev']['n0']['max_vqs'] == 5


def test_duplicate_name(disk):
    assert 'exists already' in disk.fails('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null',
                                          'size', '1M')


@pytest.mark.parametrize('words', [['del', 'x'], ['show', 'x'], ['unbind', 'x'], ['suspend', 'x'], ['resume', 'x'],
                                   ['config', 'show', 'x'], ['vstats', 'show', 'x'], ['override', 'x'],
                                   ['bind', 'x', 'virtio-vdpa'], ['set', 'name', 'x', 'mac', '52:54:00:00:00:01']])
def test_no_such_device(daemon, words):
    assert daemon.fails('dev', *words) == 'uvdpa: dev/x: there is no such device; there are: none\n'


def test_relative_paths_are_the_commands(daemon, folder):
    (folder / 'disk.img').write_bytes(b'\0' * 65536)
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path', 'disk.img', cwd=folder)
    shown = daemon.json('dev', 'show', '--all')['dev']['d0']
    assert shown['attrs']['path'] == str(folder / 'disk.img')
    with daemon.client() as client:
        answer = client.call('dev.add', name='d1', mgmtdev='soft_blk', attrs={'backend': 'file', 'path': 'disk.img'})
    assert answer['error']['data']['errno'] == 'EINVAL' and 'relative path' in answer['error']['message']


def test_descriptors_of_the_daemon_cannot_be_named(disk):
    assert 'file descriptors of the daemon' in disk.fails('dev', 'bind', 'd0', 'vhost-user', 'fd', '3')


def test_bind_and_unbind(disk):
    disk.ok('dev', 'bind', 'd0', 'driver', 'virtio-vdpa')
    assert disk.json('bus', 'devices')[0]['driver'] == 'virtio-vdpa'
    assert 'dev/d0' in disk.fails('dev', 'bind', 'd0', 'virtio-vdpa')
    disk.ok('dev', 'unbind', 'd0')
    assert disk.json('bus', 'devices')[0]['driver'] is None
    assert 'is not bound' in disk.fails('dev', 'unbind', 'd0')
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')


def test_drivers_in_turn(disk, folder):
    """One device, one driver after the other, without making it anew (data survive)."""
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    disk.ok('drv', 'virtio0', 'blk', 'fill', '0', '1M', 'seed', '7')
    disk.ok('dev', 'unbind', 'd0')
    disk.ok('dev', 'bind', 'd0', 'vhost-user', 'path', folder / 'd0.sock')
    assert (folder / 'd0.sock').is_socket()
    disk.ok('dev', 'unbind', 'd0')
    assert not (folder / 'd0.sock').exists()
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    name = disk.json('drv')[0]['name']
    disk.ok('drv', name, 'blk', 'verify', '0', '1M', 'seed', '7')


@pytest.mark.parametrize('words,says', [
    (['nobody'], 'nobody'),
    (['vhost-user'], 'dev/d0'),
    (['vhost-user', 'path', '/nonexistent/x.sock'], 'No such file or directory'),
    (['vhost-user', 'colour', 'red'], '"colour" is not known'),
    (['virtio-vdpa', 'mode', 'nonsense'], 'mode "nonsense" is not one of'),
])
def test_bind_errors(disk, words, says):
    assert says in disk.fails('dev', 'bind', 'd0', *words)
    assert disk.json('bus', 'devices')[0]['driver'] is None


def test_add_and_bind_in_one_call(daemon, folder):
    add_disk(daemon, 'd1', 'driver', 'vhost-user', 'path', folder / 'd1.sock')
    assert daemon.json('bus', 'devices')[0]['driver'] == 'vhost-user'
    assert (folder / 'd1.sock').is_socket()
    daemon.ok('dev', 'del', 'd1')
    assert not (folder / 'd1.sock').exists()


def test_add_is_undone_when_the_bind_fails(daemon):
    daemon.ok('dev', 'show')
    before = daemon.settled_fds()
    for driver in (['nobody'], ['vhost-user', 'path', '/nonexistent/x.sock'], ['vhost-user', 'colour', 'red']):
        daemon.fails('dev', 'add', 'name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'driver',
                     *driver)
        assert daemon.ok('dev', 'show') == ''
        assert daemon.json('debug', 'refs')['devices'] == {}
    wait_for(lambda: daemon.fds() == before)
    # The name is free again.
    add_disk(daemon, 'd1')


def test_override(disk, folder):
    disk.ok('dev', 'override', 'd0', 'vhost-user')
    assert disk.json('dev', 'show', '--all')['dev']['d0']['driver_override'] == 'vhost-user'
    assert 'dev/d0' in disk.fails('dev', 'bind', 'd0', 'virtio-vdpa')
    disk.ok('dev', 'override', 'd0')
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')


def test_set_mac(nic):
    nic.ok('dev', 'set', 'name', 'n0', 'mac', '52:54:00:aa:bb:cc')
    assert nic.json('dev', 'config', 'show')['config']['n0']['mac'] == '52:54:00:aa:bb:cc'
    assert json.loads(nic.ok('config', 'dump'))['devices'][0]['attrs']['mac'] == '52:54:00:aa:bb:cc'
    assert 'mac' in nic.fails('dev', 'set', 'name', 'n0', 'mac', 'nonsense')


def attrs_of(daemon, name):
    return next(d['attrs'] for d in json.loads(daemon.ok('config', 'dump'))['devices'] if d['name'] == name)


def test_change_backend(nic, folder):
    """In use by a driver; with a path relative to the command's directory; and what a dump says then."""
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    nic.ok('dev', 'set', 'name', 'n0', 'backend', 'socket', 'path', 'wire', 'listen', 'on', cwd=folder)
    attrs = attrs_of(nic, 'n0')
    assert attrs['backend'] == 'socket' and attrs['path'] == str(folder / 'wire')
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(folder / 'wire'))
        wait_for(lambda: nic.json('dev', 'config', 'show')['config']['n0']['link '] == 'up')
    assert 'needs either ifname or fd' in nic.fails('dev', 'set', 'name', 'n0', 'backend', 'tap')
    assert 'cannot be given here' in nic.fails('dev', 'set', 'name', 'n0', 'backend', 'tap', 'fd', '3')
    assert 'path cannot be set by itself' in nic.fails('dev', 'set', 'name', 'n0', 'path', '/x')
    assert attrs_of(nic, 'n0') == attrs
    nic.ok('dev', 'set', 'name', 'n0', 'backend', 'loopback')
    assert 'path' not in attrs_of(nic, 'n0')
    wait_for(lambda: not (folder / 'wire').exists())
    assert nic.json('drv', 'virtio0', 'net', 'ping')['received'] == 5


def test_attributes_that_there_are_are_named_once(daemon):
    """read_only is the disk's and its backend's."""
    message = daemon.fails('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'pth', '/x')
    names = message.strip().split('there are: ')[1].split(', ')
    assert sorted(names) == sorted(set(names)) and {'path', 'read_only', 'nas'} <= set(names)


def test_what_is_not_there_says_what_is(disk):
    assert 'there are: d0\n' in disk.fails('dev', 'del', 'd1')
    assert 'there are: d0\n' in disk.fails('dev', 'unbind', 'd1')
    assert 'there are: virtio-vdpa, vhost-user, vhost-vdpa, vduse, virtio-pci\n' in disk.fails('dev', 'bind', 'd0', 'nope')
    assert '(there are: none); bind a device' in disk.fails('drv', 'virtio0', 'info')
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    assert '(there are: virtio0)' in disk.fails('drv', 'virtio1', 'info')
    assert 'intercept and backend are allowed' in disk.fails('dev', 'set', 'name', 'd0', code=2)
    assert '1 to 999 is allowed' in disk.fails('log', 'x', code=2)


def test_driver_in_use_stays(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    assert 'unbind its devices first' in disk.fails('driver', 'unload', 'virtio-vdpa')
    disk.ok('dev', 'unbind', 'd0')
    disk.ok('driver', 'unload', 'virtio-vdpa')
    assert 'virtio-vdpa' not in [d['name'] for d in disk.json('bus', 'drivers')]
    says = 'there is no driver "virtio-vdpa"; there are: vhost-user, vhost-vdpa, vduse, virtio-pci\n'
    assert disk.fails('dev', 'bind', 'd0', 'virtio-vdpa') == 'uvdpa: dev/d0: ' + says
    assert disk.fails('driver', 'unload', 'virtio-vdpa') == 'uvdpa: ' + says


@pytest.mark.skipif(os.path.exists('/dev/vduse/control'), reason='this kernel has VDUSE')
def test_no_vduse(disk):
    """What a machine without it says: that it cannot, or how it could. And nothing is left."""
    said = disk.fails('dev', 'bind', 'd0', 'driver', 'vduse', 'log', 'vduse.log')
    assert 'VDUSE' in said or '"modprobe vduse' in said
    assert not os.path.exists('vduse.log')
    assert disk.json('bus', 'devices')[0]['driver'] is None
    assert 'packed, log' in disk.fails('dev', 'bind', 'd0', 'driver', 'vduse', 'path', 'x')
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')


def test_suspend_and_resume(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    disk.ok('dev', 'suspend', 'd0')
    disk.ok('dev', 'resume', 'd0')
    disk.ok('drv', 'virtio0', 'blk', 'flush')


def test_delete_while_bound_and_loaded(disk):
    """Requests of others are under way when the device goes: they end, and it goes."""
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    with disk.client() as client:
        for seed in range(8):
            client.request('drv.call', name='virtio0', op='blk.fill',
                           params={'offset': 0, 'len': 8 << 20, 'seed': seed})
        disk.ok('dev', 'del', 'd0')
        answers = [client.json() for _ in range(8)]
    assert all('result' in a or 'error' in a for a in answers)
    assert disk.ok('dev', 'show') == ''
    assert disk.json('debug', 'refs') == {'devices': {}, 'clients': 1, 'calls': 1}


def test_indices_are_reused(daemon):
    for _ in range(3):
        add_disk(daemon)
        assert daemon.json('dev', 'show', '--all')['dev']['d0']['index'] == 0
        daemon.ok('dev', 'del', 'd0')


def test_file_that_is_not_there(daemon, folder):
    message = daemon.fails('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path',
                           folder / 'none.img')
    assert 'd0: ' in message and 'none.img' in message and 'No such file' in message


def test_topology(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    stack = disk.json('topology')[0]
    assert (stack['driver']['name'], stack['parent'], stack['mgmtdev']) == ('virtio-vdpa', 'soft_blk', 'soft_blk')
    text = disk.ok('topology')
    order = [text.index(f'\n  {word} ') for word in ('driver', 'bus', 'parent', 'mgmtdev', 'dma')]
    assert order == sorted(order) and 'backend ram' in text


def test_iotlb_dump(disk):
    assert disk.json('iotlb', 'dump', 'd0') == []
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    ranges = disk.json('iotlb', 'dump', 'd0')
    assert ranges and all(int(r['first'], 16) <= int(r['last'], 16) for r in ranges)
    assert {r['perm'] for r in ranges} <= {'ro', 'wo', 'rw'}
    assert disk.ok('iotlb', 'dump', 'd0').count('\n') == len(ranges)
    assert 'asid 7 does not exist: 0 to 0 are there' in disk.fails('iotlb', 'dump', 'd0', 'asid', '7')


def test_groups(daemon):
    """The layouts, and what is shown of them."""
    def add(name, *attrs):
        daemon.ok('dev', 'add', 'name', name, 'mgmtdev', 'soft_blk', 'size', '1M', 'num_queues', '3', *attrs)
        shown = daemon.json('dev', 'show', name, '--all')['dev'][name]
        return shown['ngroups'], shown['nas'], [(vq['group'], vq.get('desc_group')) for vq in shown['vqs']]
    assert add('d0') == (1, 1, [(0, None)] * 3)
    assert add('d1', 'groups', 'per-vq') == (3, 3, [(0, None), (1, None), (2, None)])
    assert add('d2', 'groups', 'single', 'desc_group', 'on') == (2, 2, [(0, 1)] * 3)
    assert add('d3', 'groups', 'per-vq', 'desc_group', 'on', 'nas', '2') == (6, 2, [(0, 3), (1, 4), (2, 5)])
    assert daemon.ok('group', 'show', 'd2') == 'd2: group 0 asid 0 vqs 0,1,2\nd2: group 1 asid 0 desc_vqs 0,1,2\n'
    assert list(daemon.json('group')['group']) == ['d0', 'd1', 'd2', 'd3'] == list(daemon.json('as')['as'])
    assert daemon.ok('as', 'show', 'd3') == 'd3: asid 0 groups 0,1,2,3,4,5 total 0 bytes 0x0\nd3: asid 1 total 0 bytes 0x0\n'
    assert 'no control queue' in daemon.fails('dev', 'add', 'name', 'd4', 'mgmtdev', 'soft_blk', 'groups', 'cvq')
    assert 'd9' in daemon.fails('as', 'show', 'd9') and 'd9' in daemon.fails('group', 'show', 'd9')


def test_as_show_is_iotlb_dump(daemon):
    """Of few ranges both show all."""
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'size', '1M')
    daemon.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    space = daemon.json('as', 'show', 'd0')['as']['d0']['spaces'][0]
    assert space['ranges'] == daemon.json('iotlb', 'dump', 'd0') and space['total'] == len(space['ranges'])
    assert 'more: uvdpa' not in daemon.ok('as', 'show')


def test_iotlb_dump_in_pieces(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    ranges = disk.json('iotlb', 'dump', 'd0')
    seen, start = [], None
    with disk.client() as client:
        while True:
            params = {'name': 'd0', 'max': 1} | ({'from': start} if start else {})
            part = client.call('iotlb.dump', **params)['result']
            seen += part['ranges']
            start = part['next']
            assert part['total'] == len(ranges)
            if start is None:
                break
    assert seen == ranges


def test_log_has_it(disk):
    lines = disk.json('log')
    assert any(l['object'] == 'd0' for l in lines)
    assert [l['seq'] for l in lines] == sorted(l['seq'] for l in lines)
    assert len(disk.json('log', 1)) == 1
    assert 'd0' in disk.ok('log')


def test_many_devices(daemon):
    for i in range(40):
        add_disk(daemon, f'd{i}')
    assert list(daemon.json('dev', 'show')['dev']) == [f'd{i}' for i in range(40)]
    for i in range(40):
        daemon.ok('dev', 'del', f'd{i}')
    assert daemon.json('debug', 'refs')['devices'] == {}


def test_long_paths(disk):
    path = pathlib.Path('/tmp') / ('x' * 200)
    assert '1 to 107 bytes' in disk.fails('dev', 'bind', 'd0', 'vhost-user', 'path', path)
    assert not os.path.exists(path)
    wait_for(lambda: disk.json('bus', 'devices')[0]['driver'] is None)


def test_vstats_before_there_are_any(disk):
    """As in the kernel: not before features were negotiated."""
    why = 'no driver has negotiated features yet\n'
    def none():
        assert disk.fails('dev', 'vstats', 'show', 'd0') == 'uvdpa: dev/d0: ' + why
        assert disk.fails('dev', 'vstats', 'show', 'd0', 'qidx', 0) == 'uvdpa: dev/d0: ' + why
        assert disk.ok('dev', 'vstats', 'show') == 'd0: no statistics: ' + why
        assert disk.json('dev', 'vstats', 'show') == {'vstats': {'d0': {}}}
        with disk.client() as c:
            assert c.call('dev.vstats.show', name='d0')['error']['data']['errno'] == 'EAGAIN'
    none()
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    assert 'qidx 0 queue_type requestq' in disk.ok('dev', 'vstats', 'show')
    disk.ok('dev', 'unbind', 'd0')
    none()


@pytest.mark.parametrize('mode', ['callback', 'poll'])
def test_modes_of_the_driver(disk, mode):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa', 'mode', mode)
    disk.ok('drv', 'virtio0', 'blk', 'fill', '0', '1M', 'seed', '2')
    disk.ok('drv', 'virtio0', 'blk', 'verify', '0', '1M', 'seed', '2')
    disk.ok('drv', 'virtio0', 'blk', 'flush')
    disk.ok('drv', 'virtio0', 'blk', 'id')


@pytest.mark.parametrize('mode', ['callback', 'poll'])
def test_modes_of_the_nics_driver(nic, mode):
    nic.ok('dev', 'bind', 'n0', 'virtio-vdpa', 'mode', mode)
    assert nic.json('drv', 'virtio0', 'net', 'pktgen', 'count', '500')['received'] == 500


def shown(daemon, key):
    return daemon.json('dev', 'show', 'd0', '--all')['dev']['d0']['show'][key]


def test_workers(start):
    """Queues are served by the workers that are asked for, also after a change, a dump and a load."""
    daemon = start('--workers', '2', '--worker-cpus', '0')
    add_disk(daemon, 'd0', 'num_queues', '3', 'workers', '1', 'busyloop', '50')
    assert (shown(daemon, 'workers'), shown(daemon, 'busyloop')) == ('1,1,1', '50')
    daemon.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    daemon.ok('dev', 'set', 'name', 'd0', 'workers', '0,1', 'busyloop', '0')
    wait_for(lambda: shown(daemon, 'workers') == '0,1,0')
    assert shown(daemon, 'busyloop') == '0'
    daemon.ok('drv', 'virtio0', 'blk', 'fill', '0', '64K')
    daemon.ok('drv', 'virtio0', 'blk', 'verify', '0', '64K')
    attrs = daemon.json('config', 'dump')['devices'][0]['attrs']
    assert (attrs['workers'], attrs['busyloop']) == ('0,1', '0')
    workers = daemon.json('worker', 'show')['worker']
    assert [(w['worker'], w['cpu']) for w in workers] == [('control', None), (0, 0), (1, 0)]
    assert workers[1]['sleeps'] > 0
    assert daemon.ok('worker').startswith('worker control cpu ')


@pytest.mark.parametrize('words,says', [
    (['workers', '1'], 'workers "1": numbers below 1'),
    (['workers', '0,'], 'workers "0,": numbers below 1'),
    (['workers', ''], 'workers "": numbers below 1'),
    (['workers', 'a'], 'workers "a": numbers below 1'),
    (['busyloop', '1000001'], 'busyloop'),
    (['queue_size', '16'], 'queue_size cannot be set by itself on a device that exists; busyloop and workers can'),
    (['size', '16M'], 'size cannot be set by itself on a device that exists; busyloop and workers can'),
])
def test_set_errors(daemon, words, says):
    add_disk(daemon)
    assert says in daemon.fails('dev', 'set', 'name', 'd0', *words)
    assert shown(daemon, 'workers') == '0'


@pytest.mark.parametrize('text', ['', 'a', '1-', '3-2', '0,', '1024', '0;1'])
def test_worker_cpus_refused(text):
    done = subprocess.run([UVDPAD, '--worker-cpus', text], stderr=subprocess.PIPE, text=True,
                          timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert 'numbers below 1024' in done.stderr
