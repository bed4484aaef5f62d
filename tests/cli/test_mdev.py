# SPDX-License-Identifier: BSD-3-Clause
"""Mediated devices: mdevctl's words and its JSON, definitions, configurations, removal under traffic."""
import json
import threading
import uuid

import pytest

from cliutil import wait_for
from test_completion import complete

TYPE = 'mvnet_loopback-virtio'
U1 = '11111111-2222-3333-4444-555555555555'
U2 = '11111111-2222-3333-4444-666666666666'


@pytest.fixture
def net(daemon):
    """A daemon with a mediated NIC, driven from inside."""
    daemon.ok('mdev', 'create', TYPE, U1, 'mac', '52:54:00:00:00:07')
    daemon.ok('dev', 'bind', U1, 'virtio-vdpa')
    return daemon


def test_types(daemon):
    types = json.loads(daemon.ok('-j', 'mdev', 'types', 'mvnet_loopback'))
    assert types == [{'mvnet_loopback': [{TYPE: {
        'available_instances': 16, 'device_api': 'virtio-mdev', 'name': 'Loopback NIC',
        'description': 'virtio-net, 2 queues of 256, receives what it sends'}}]}]
    assert daemon.ok('mdev', 'types', 'mvnet_loopback') == (
        'mvnet_loopback\n  mvnet_loopback-virtio\n    Available instances: 16\n    Device API: virtio-mdev\n'
        '    Name: Loopback NIC\n    Description: virtio-net, 2 queues of 256, receives what it sends\n')
    assert 'mac' in daemon.ok('mdev', 'types', '--all')
    assert 'there is no parent "nobody"; there are: mvnet_loopback, mtty' in daemon.fails('mdev', 'types', 'nobody')


def test_buses_classes_and_drivers(daemon):
    buses = {b['name']: [(c['id'], c['name']) for c in b['classes']] for b in daemon.json('mdev', 'buses')}
    assert buses == {'mdev': [(3, 'vfio')], 'mdev_virtio': [(1, 'virtio'), (2, 'vhost')]}
    drivers = {d['name']: d['bus'] for d in daemon.json('mdev', 'drivers')}
    assert drivers['virtio_mdev'] == 'mdev_virtio' and drivers.get('vfio_mdev', 'mdev') == 'mdev'
    assert '2 vhost    reserved' in daemon.ok('mdev', 'buses')


def test_create_show_remove(daemon):
    daemon.ok('mdev', 'create', TYPE, U1.upper(), 'mac', '52:54:00:00:00:07')
    shown = daemon.json('mdev', 'show', U1)[0]
    assert shown['class_id'] == 1 and shown['modalias'] == 'mdev_virtio:c01'
    assert shown['parent'] == shown['dma_device'] == 'mvnet_loopback'
    assert shown['driver']['name'] == 'virtio_mdev' and shown['driver']['show'] == {'vdpa': U1}
    assert daemon.json('dev', 'show', U1)['dev'][U1]['type'] == 'network'
    assert daemon.json('dev', 'config', 'show')['config'][U1]['mtu'] == 1500
    assert daemon.json('dev', 'config', 'show')['config'][U1]['mac'] == '52:54:00:00:00:07'
    daemon.ok('mdev', 'set', U1, 'mac', '52:54:00:00:00:08')
    assert daemon.json('dev', 'config', 'show')['config'][U1]['mac'] == '52:54:00:00:00:08'
    assert 'only user created' in daemon.fails('dev', 'del', U1)
    daemon.ok('mdev', 'unbind', U1)
    assert daemon.json('dev', 'show')['dev'] == {}
    daemon.ok('mdev', 'bind', U1, 'virtio_mdev')
    daemon.ok('mdev', 'remove', U1)
    assert daemon.ok('mdev', 'list') == '' and daemon.json('dev', 'show')['dev'] == {}


def test_refusals(daemon):
    daemon.ok('mdev', 'create', TYPE, U1)
    macs = daemon.json('mdev', 'show', U1)[0]['show']['mac']
    assert macs[1] in '26ae'
    with daemon.client() as c:
        def code(method, **params):
            return c.call(method, **params)['error']['data']['errno']

        assert code('mdev.create', uuid=U1, mdev_type=TYPE) == 'EEXIST'
        assert code('mdev.create', uuid='nonsense', mdev_type=TYPE) == 'EINVAL'
        assert code('mdev.create', uuid=U2, mdev_type='nonsense') == 'ENOENT'
        assert code('mdev.create', uuid=U2, mdev_type=TYPE, parent='nobody') == 'ENODEV'
        assert code('mdev.create', uuid=U2, mdev_type=TYPE, attrs={'colour': 'red'}) == 'EINVAL'
        assert code('mdev.create', uuid=U2, mdev_type=TYPE, attrs={'mac': '01:00:00:00:00:00'}) == 'EINVAL'
        assert code('mdev.bind', uuid=U1, driver='virtio_mdev') == 'EBUSY'
        assert code('mdev.remove', uuid=U2) == 'ENODEV'
        for i in range(15):
            assert 'result' in c.call('mdev.create', uuid=f'{U2[:-2]}{i:02}', mdev_type=TYPE)
        assert code('mdev.create', uuid=U2, mdev_type=TYPE) == 'EUSERS'
    assert json.loads(daemon.ok('-j', 'mdev', 'types', 'mvnet_loopback'))[0]['mvnet_loopback'][0][TYPE][
        'available_instances'] == 0


def test_driver_must_take_the_platforms_dma(net):
    """VERSION_1 and ACCESS_PLATFORM are mandatory; the rest is as the sample says."""
    offered = next(l for l in net.ok('drv', 'virtio0', 'features').splitlines() if l.startswith('offered')).split()
    assert {'VERSION_1', 'ANY_LAYOUT', 'ACCESS_PLATFORM', 'MAC', 'MTU'} <= set(offered)
    net.ok('dev', 'unbind', U1)
    said = net.fails('dev', 'bind', U1, 'virtio-vdpa', 'features', 'VERSION_1')
    assert 'features' in said.lower()


@pytest.mark.parametrize('size', [60, 1514])
def test_nothing_is_lost(net, size):
    out = dict(l.split() for l in net.ok('drv', 'virtio0', 'net', 'pktgen', 'count', 20000, 'size', size).splitlines())
    assert out['sent'] == out['received'] == '20000' and out['bad'] == '0'
    stats = net.json('dev', 'vstats', 'show', U1, 'qidx', 1)['vstats'][U1]
    assert stats['packets'] == 20000 and stats['bytes'] == 20000 * size and stats['drops'] == 0


def test_pktgen(daemon):
    """Of a device made for it, of one that is there, and of any NIC that sends back what it gets."""
    lines = daemon.ok('pktgen', '--count', '2e4').splitlines()
    assert [l.split()[1] for l in lines] == ['64', '1518'] and all(l.endswith(' 0 lost') for l in lines)
    assert daemon.ok('mdev', 'list') == ''
    daemon.ok('mdev', 'create', TYPE, U1)
    row, = json.loads(daemon.ok('-j', 'pktgen', '--mdev', U1, '--count', 1000, '--size', 64))
    assert row['dev'] == U1 and row['sent'] == row['received'] == 1000 and row['lost'] == 0 and row['packets_per_s'] > 0
    assert daemon.json('dev', 'show', '--all')['dev'][U1]['driver'] is None
    daemon.ok('dev', 'bind', U1, 'virtio-vdpa')
    daemon.ok('pktgen', '--dev', U1, '--count', 1000)
    assert daemon.json('dev', 'show', '--all')['dev'][U1]['driver']['name'] == 'virtio-vdpa'
    for words, says in ((['--count', 'x'], '1 to 1e9'), (['--size', 63], '64 to 1518'), (['--nope'], 'not known'),
                        (['word'], 'is no option'), (['--mdev'], 'has no value')):
        assert says in daemon.fails('pktgen', *words, code=2)
    assert U2 in daemon.fails('pktgen', '--dev', U2)


def test_removal_while_in_use(net):
    """Under traffic: the driver lets go, the device goes, and another takes its UUID."""
    done = []
    thread = threading.Thread(target=lambda: done.append(net.run(
        'drv', 'virtio0', 'net', 'pktgen', 'count', 50000000, 'size', 60)))
    thread.start()
    wait_for(lambda: net.json('dev', 'vstats', 'show', U1, 'qidx', 1)['vstats'][U1].get('packets', 0) > 0)
    net.ok('mdev', 'remove', U1)
    thread.join(60)
    assert done[0].returncode == 1
    assert net.ok('mdev', 'list') == ''
    net.ok('mdev', 'create', TYPE, U1)


def test_two_devices_are_served_in_turn(start):
    """A flood on one of them: the other, on the same loop, goes on (the sample yields after a batch)."""
    daemon = start('--workers', 1)
    for i, uuid in enumerate((U1, U2)):
        daemon.ok('mdev', 'create', TYPE, uuid)
        daemon.ok('dev', 'bind', uuid, 'virtio-vdpa')
    flood = threading.Thread(target=lambda: daemon.run('drv', 'virtio0', 'net', 'pktgen', 'count', 300000, 'size', 60))
    flood.start()
    out = dict(l.split() for l in daemon.ok('drv', 'virtio1', 'net', 'pktgen', 'count', 2000, 'size', 60).splitlines())
    assert out['received'] == '2000'
    flood.join(60)


def test_definitions(start, folder):
    """As mdevctl keeps them; those that start by themselves come back with the daemon."""
    daemon = start('--mdev-dir', folder / 'defs')
    daemon.ok('mdev', 'define', U1, 'auto', TYPE, 'parent', 'mvnet_loopback', 'mac', '52:54:00:00:00:07')
    path = folder / 'defs' / 'mvnet_loopback' / U1
    assert json.loads(path.read_text()) == {'mdev_type': TYPE, 'start': 'auto',
                                            'attrs': [{'mac': '52:54:00:00:00:07'}]}
    assert 'EEXIST' in str(daemon.client().call('mdev.define', uuid=U1, mdev_type=TYPE, parent='mvnet_loopback'))
    assert 'start "never"' in str(daemon.client().call('mdev.define', uuid=U2, mdev_type=TYPE, parent='p', start='never'))
    assert 'no name of a parent' in str(daemon.client().call('mdev.define', uuid=U2, mdev_type=TYPE, parent='../x'))
    assert daemon.ok('mdev', 'list', 'defined') == f'{U1} mvnet_loopback {TYPE} auto\n'
    assert daemon.ok('mdev', 'list') == ''
    daemon.ok('mdev', 'start', U1)
    assert daemon.ok('mdev', 'list', 'defined') == f'{U1} mvnet_loopback {TYPE} auto (active)\n'
    assert daemon.ok('mdev', 'list') == f'{U1} mvnet_loopback {TYPE} auto (defined)\n'
    assert json.loads(daemon.ok('-j', 'mdev', 'list', 'defined')) == [{'mvnet_loopback': [
        {U1: {'mdev_type': TYPE, 'start': 'auto', 'attrs': [{'mac': '52:54:00:00:00:07'}]}}]}]
    daemon.ok('mdev', 'create', TYPE, U2)
    daemon.ok('mdev', 'define', U2)
    assert daemon.ok('mdev', 'list', 'defined').endswith(f'{U2} mvnet_loopback {TYPE} manual (active)\n')
    assert daemon.stop() == 0
    (folder / 'defs' / 'mvnet_loopback' / U1.replace('1', '9')).write_text('{')
    again = start('--mdev-dir', folder / 'defs')
    assert again.ok('mdev', 'list') == f'{U1} mvnet_loopback {TYPE} auto (defined)\n'
    assert 'no definition' in again.log()
    again.ok('mdev', 'stop', U1)
    again.ok('mdev', 'undefine', U1)
    assert not path.exists() and 'not defined' in again.fails('mdev', 'start', U1)


def test_definitions_of_others(start, folder):
    """mdevctl, or somebody's editor, works on the same folder while the daemon runs."""
    daemon = start('--mdev-dir', folder / 'defs')
    parent = folder / 'defs' / 'mvnet_loopback'
    parent.mkdir()
    definition = {'mdev_type': TYPE, 'start': 'manual', 'attrs': [{'mac': '52:54:00:00:00:07'}]}
    for uuid in (U2, U1):
        (parent / uuid).write_text(json.dumps(definition))
    other = parent / '0000000A-0000-0000-0000-00000000000A'
    other.write_text(json.dumps(definition))
    assert daemon.ok('mdev', 'list', 'defined') == (f'{U1} mvnet_loopback {TYPE} manual\n'
                                                    f'{U2} mvnet_loopback {TYPE} manual\n')
    assert 'EEXIST' in str(daemon.client().call('mdev.define', uuid=U1, mdev_type=TYPE, parent='mvnet_loopback'))
    definition['attrs'][0]['mac'] = '52:54:00:00:00:08'
    (parent / U1).write_text(json.dumps(definition))
    daemon.ok('mdev', 'start', U1)
    assert daemon.json('mdev', 'show', U1)[0]['show']['mac'] == '52:54:00:00:00:08'
    (parent / U1).unlink()
    assert [m['uuid'] for m in daemon.json('config', 'dump')['mdevs']] == [U1, U2]
    assert 'start' not in daemon.json('config', 'dump')['mdevs'][0]
    assert 'not defined' in daemon.fails('mdev', 'undefine', U1)
    daemon.ok('mdev', 'undefine', U2)
    assert list(parent.iterdir()) == [other] and daemon.ok('mdev', 'list', 'defined') == ''


def test_configuration(net, start, folder):
    """What is dumped is what is made again: attributes, drivers, definitions; all or none."""
    net.ok('mdev', 'define', U1, 'manual')
    net.ok('mdev', 'define', U2, 'auto', TYPE, 'parent', 'mvnet_loopback')
    dump = net.json('config', 'dump')
    assert dump['mdevs'][0] == {
        'uuid': U1, 'parent': 'mvnet_loopback', 'mdev_type': TYPE, 'attrs': {'mac': '52:54:00:00:00:07'},
        'start': 'manual', 'vdpa_driver': {'name': 'virtio-vdpa', 'attrs': {}}}
    assert dump['mdevs'][1]['active'] is False
    (folder / 'c.json').write_text(json.dumps(dump))
    other = start('--config', folder / 'c.json', sock='other.sock')
    assert other.json('config', 'dump') == dump
    other.ok('mdev', 'remove', U1)
    dump['mdevs'][1]['active'] = True
    dump['mdevs'][1]['mdev_type'] = 'nonsense'
    dump['mdevs'][0].pop('start')
    dump['mdevs'][1].pop('start')
    dump['devices'] = [{'name': 'd0', 'mgmtdev': 'soft_blk', 'attrs': {'backend': 'null', 'size': '1M'}}]
    answer = other.client().call('config.load', config=dump)
    assert answer['error']['data']['object'] == '$.mdevs[1]'
    wait_for(lambda: other.ok('mdev', 'list') == '' and other.json('dev', 'show') == {'dev': {}})


def test_events_have_the_modalias(daemon):
    with daemon.client() as c:
        c.call('monitor')
        daemon.ok('mdev', 'create', TYPE, U1)
        events = []
        while not any(e['params'].get('event') == 'bind' for e in events):
            events.append(c.json())
    mine = [e['params'] for e in events if e['params'].get('subsystem') == 'mdev']
    assert [e['event'] for e in mine] == ['add', 'bind']
    assert mine[0]['modalias'] == 'mdev_virtio:c01' and mine[0]['parent'] == 'mvnet_loopback'


@pytest.mark.parametrize('words', [[], ['mac', '52:54:00:00:00:07'], ['parent', 'mvnet_loopback']])
def test_a_uuid_of_its_own(daemon, words):
    made = [daemon.ok('mdev', 'create', TYPE, *words), daemon.json('mdev', 'create', TYPE, *words)['uuid'] + '\n']
    assert len(set(made)) == 2 and all(uuid.UUID(u.strip()).version == 4 for u in made)
    assert sorted(daemon.json('dev', 'show')['dev']) == sorted(u.strip() for u in made)


def test_completion(daemon):
    daemon.ok('mdev', 'create', TYPE, U1)
    sock = daemon.socket
    assert {'create', 'types', 'define', 'undefine'} <= complete('uvdpa mdev ')
    assert TYPE in complete('uvdpa mdev create ', sock)
    assert {'mac', 'parent', 'driver'} <= complete(f'uvdpa mdev create {TYPE} {U2} ', sock)
    assert {'mac', 'parent'} <= complete(f'uvdpa mdev create {TYPE} ', sock)
    assert not complete(f'uvdpa mdev create {TYPE} {U2} mac ', sock)
    assert U1 in complete('uvdpa mdev remove ', sock)
    assert {'virtio_mdev'} <= complete(f'uvdpa mdev bind {U1} ', sock)
    assert {'mvnet_loopback'} <= complete('uvdpa mdev types ', sock)


@pytest.mark.parametrize('words,says', [
    (['create'], 'a type is missing'), (['create', TYPE, U1, 'mac'], '"mac" has no value'),
    (['create', TYPE, U1, 'driver'], '"driver" has no value'), (['remove'], 'something is missing'),
    (['set', U1, 'mac'], 'something is missing'), (['bind', U1], 'something is missing'),
    (['define', U1, 'auto', TYPE], 'a parent is wanted'), (['list', 'all'], 'only "defined" is allowed'),
])
def test_usage(daemon, words, says):
    assert says in daemon.fails('mdev', *words, code=2)



def test_folder_of_sockets(start, folder):
    """A device of class vfio is served as soon as it is made; without the folder, when it is told where."""
    (folder / 'sockets').mkdir()
    daemon = start('--mdev-socket-dir', folder / 'sockets')
    daemon.ok('mdev', 'create', 'mtty-1', U1)
    shown = daemon.json('mdev', 'show', U1)[0]
    assert shown['driver']['show']['path'] == str(folder / 'sockets' / f'{U1}.sock')
    assert shown['modalias'] == 'mdev:c03' and (folder / 'sockets' / f'{U1}.sock').is_socket()
    daemon.ok('mdev', 'remove', U1)
    assert not (folder / 'sockets' / f'{U1}.sock').exists()
    other = start(sock='other.sock')
    other.ok('mdev', 'create', 'mtty-1', U1)
    assert other.json('mdev', 'show', U1)[0]['driver'] is None
    assert 'bind with path' in other.fails('mdev', 'bind', U1, 'vfio_mdev')
    other.ok('mdev', 'bind', U1, 'vfio_mdev', 'path', 'here.sock', cwd=folder)
    assert (folder / 'here.sock').is_socket()
    dump = other.json('config', 'dump')
    assert dump['mdevs'][0]['driver'] == {'name': 'vfio_mdev', 'attrs': {'path': str(folder / 'here.sock')}}
    other.ok('mdev', 'remove', U1)
    other.client().call('config.load', config=dump)
    assert (folder / 'here.sock').is_socket()
