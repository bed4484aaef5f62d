# SPDX-License-Identifier: BSD-3-Clause
"""Software DSAs: accel-config's words and files, states, mediated devices, interrupt message storage."""
import json
import os
import re

import pytest

from cliutil import wait_for
from test_completion import complete
from test_sysfs import echo, refused

U1 = '11111111-2222-3333-4444-555555555555'
U2 = '11111111-2222-3333-4444-666666666666'
DWQ = 'idxd-1dwq-v1'
ALL_OPS = '00000000,' * 6 + '00000001,00bf03ff'


def configure(daemon, queues=1, **more):
    """dsa0 with an engine, and so many dedicated queues that are enabled."""
    daemon.ok('dsa', 'add', 'dsa0', *[w for k, v in more.items() for w in (k, v)])
    daemon.ok('dsa', 'config', 'dsa0/engine0.0', 'group_id', '0')
    for i in range(queues):
        daemon.ok('dsa', 'config', f'dsa0/wq0.{i}', 'type', 'mdev', 'name', f'm{i}', 'mode', 'dedicated',
                  'size', '16', 'group_id', '0')
    daemon.ok('dsa', 'enable', 'dsa0')
    for i in range(queues):
        daemon.ok('dsa', 'enable', f'dsa0/wq0.{i}')


@pytest.fixture
def dsa(daemon):
    configure(daemon)
    return daemon


def queue(daemon, i=0):
    return daemon.json('dsa', 'show')[0]['wqs'][i]


def test_show(dsa):
    text = dsa.ok('dsa', 'show').splitlines()
    assert text[0].startswith('dsa0 read_buffer_limit 0 max_work_queues_size 128 ims_size 2048 ims_used 0 ir on ')
    assert text[1] == '  dsa0/engine0.0 group_id 0'
    assert text[2].startswith('  dsa0/wq0.0 mode dedicated size 16 group_id 0 ') and text[2].endswith('state enabled')
    assert len(text) == 3
    assert 'dsa0/wq0.7' in dsa.ok('dsa', 'show', '--all')
    shown = dsa.json('dsa', 'show')[0]
    assert shown['state'] == 'enabled' and shown['ims_size'] == 2048 and shown['siov'] == 'on'
    assert shown['wqs'][1]['portals'] == {'unlimited': 0x4000, 'limited': 0x5000, 'ims_unlimited': 0x6000,
                                          'ims_limited': 0x7000}


def test_what_is_refused(dsa):
    assert 'a DSA is called "dsa" and a number' in dsa.fails('dsa', 'add', 'one')
    assert 'exists already' in dsa.fails('dsa', 'add', 'dsa0')
    assert 'there is no such thing' in dsa.fails('dsa', 'config', 'dsa0/wq0.9', 'name', 'x')
    assert 'dsa0 has groups 0 to 3' in dsa.fails('dsa', 'config', 'dsa0/wq0.1', 'group_id', '4')
    assert 'changed while it is disabled' in dsa.fails('dsa', 'config', 'dsa0/wq0.0', 'name', 'x')
    assert 'it is enabled' in dsa.fails('dsa', 'del', 'dsa0')
    assert 'it has no type' in dsa.fails('dsa', 'enable', 'dsa0/wq0.1')


def test_accel_config_file(daemon, tmp_path):
    """A file as accel-config writes it on a machine with a real one; and ours, there and back."""
    saved = [{
        'dev': 'dsa0', 'read_buffer_limit': 0, 'groups': [{
            'dev': 'group0.0', 'read_buffers_reserved': 0, 'use_read_buffer_limit': 0, 'read_buffers_allowed': 8,
            'traffic_class_a': 1, 'traffic_class_b': 1,
            'grouped_workqueues': [{
                'dev': 'wq0.0', 'mode': 'shared', 'size': 16, 'group_id': 0, 'priority': 10, 'block_on_fault': 1,
                'max_batch_size': 32, 'max_transfer_size': 16384, 'type': 'mdev', 'driver_name': 'mdev',
                'name': '7', 'threshold': 15, 'ats_disable': 0, 'prs_disable': 0}],
            'grouped_engines': [{'dev': 'engine0.0', 'group_id': 0}, {'dev': 'engine0.3', 'group_id': 0}]}]}]
    path = tmp_path / 'accel.conf'
    path.write_text(json.dumps(saved))
    assert 'there is no such thing' in daemon.fails('dsa', 'load', str(path))
    daemon.ok('dsa', 'add', 'dsa0')
    daemon.ok('dsa', 'load', str(path))
    again = daemon.json('dsa', 'save')
    wq = saved[0]['groups'][0]['grouped_workqueues'][0]
    assert again[0]['groups'][0]['grouped_workqueues'] == [
        {**{k: v for k, v in wq.items() if not k.endswith('_disable')}, 'op_config': ALL_OPS}]
    assert len(again[0]['groups']) == 4
    assert again[0]['groups'][0]['grouped_engines'] == saved[0]['groups'][0]['grouped_engines']
    path.write_text(json.dumps(again))
    daemon.ok('dsa', 'load', str(path))
    assert daemon.json('dsa', 'save') == again
    saved[0]['groups'][0]['grouped_workqueues'][0]['colour'] = 'blue'
    path.write_text(json.dumps(saved))
    assert 'colour' in daemon.fails('dsa', 'load', str(path))
    daemon.ok('dsa', 'enable', 'dsa0')
    daemon.ok('dsa', 'enable', 'dsa0/wq0.0')
    assert daemon.ok('mdev', 'types', 'dsa0').count('Available instances: 1') == 1
    daemon.ok('mdev', 'create', 'idxd-1swq-v1', U1)


def group(i, queues, engines, **more):
    return {'dev': f'group0.{i}', **more,
            **({'grouped_workqueues': queues} if queues else {}),
            **({'grouped_engines': [{'dev': f'engine0.{e}', 'group_id': i} for e in engines]} if engines else {})}


def wq_in(i, size, **more):
    return {'dev': f'wq0.{i}', 'mode': 'dedicated', 'size': size, 'group_id': i, 'priority': 10, 'block_on_fault': 0,
            'max_batch_size': 32, 'max_transfer_size': 16384, 'type': 'user', 'name': f'app{i}', 'threshold': 0, **more}


def load(daemon, tmp_path, *devices):
    path = tmp_path / 'accel.conf'
    path.write_text(json.dumps(devices))
    return daemon.run('dsa', 'load', str(path))


def test_accel_config_profiles(daemon, tmp_path):
    """Files as accel-config's examples are: read buffers called tokens, no limit, groups without anything."""
    daemon.ok('dsa', 'add', 'dsa0')
    tokens = {'tokens_reserved': 0, 'use_token_limit': 0, 'tokens_allowed': 8}
    none = {'tokens_reserved': 0, 'use_token_limit': 0, 'tokens_allowed': 0, 'traffic_class_a': 0, 'traffic_class_b': 1}
    two_shared = [group(0, [wq_in(0, 8, mode='shared', threshold=6)], [0], **tokens),
                  group(1, [wq_in(1, 32, mode='shared', threshold=28)], [1], **tokens)]
    assert load(daemon, tmp_path, {'dev': 'dsa0', 'token_limit': 0, 'groups': two_shared}).returncode == 0
    assert [(w['size'], w['threshold']) for w in daemon.json('dsa', 'show')[0]['wqs'][:2]] == [(8, 6), (32, 28)]
    for path in ('dsa0', 'dsa0/wq0.0', 'dsa0/wq0.1'):
        daemon.ok('dsa', 'enable', path)
    daemon.ok('dsa', 'disable', 'dsa0')
    four = [group(0, [wq_in(0, 16, mode='shared', threshold=15)], [0, 1], **none), group(1, [wq_in(1, 16)], [2, 3], **none),
            group(2, [], [], **none), group(3, [], [], **none)]
    for g in four[:2]:  # an old one: the defaults are the device's
        del g['grouped_workqueues'][0]['max_batch_size'], g['grouped_workqueues'][0]['max_transfer_size']
    assert load(daemon, tmp_path, {'dev': 'dsa0', 'token_limit': 0, 'groups': four}).returncode == 0
    for path in ('dsa0', 'dsa0/wq0.0', 'dsa0/wq0.1'):
        daemon.ok('dsa', 'enable', path)
    assert daemon.json('dsa', 'show')[0]['groups'][1]['read_buffers_allowed'] == 0


def test_accel_config_today(daemon, tmp_path):
    """What today's save-config adds: masks of operations, of which some are hardware's only; an event log."""
    daemon.ok('dsa', 'add', 'dsa0')
    hardware = '00000000,' * 6 + '00000003,07ff07ff'
    file = {'dev': 'dsa0', 'read_buffer_limit': 0, 'event_log_size': 64,
            'groups': [group(0, [wq_in(0, 16, op_config=hardware, ats_disable=0, prs_disable=1)], [0],
                             read_buffers_reserved=0, use_read_buffer_limit=0, read_buffers_allowed=8,
                             traffic_class_a=1, traffic_class_b=1, desc_progress_limit=0, batch_progress_limit=0)]}
    assert load(daemon, tmp_path, file).returncode == 0
    assert daemon.json('dsa', 'show')[0]['wqs'][0]['op_config'] == ALL_OPS
    saved = daemon.json('dsa', 'save')
    assert load(daemon, tmp_path, *saved).returncode == 0
    assert daemon.json('dsa', 'save') == saved
    daemon.ok('dsa', 'config', 'dsa0/wq0.0', 'op_config', '00000000,00000008', 'max_transfer_size', '3000',
              'max_batch_size', '5')
    shown = daemon.json('dsa', 'show')[0]['wqs'][0]
    assert shown['op_config'].endswith(',00000008') and shown['max_transfer_size'] == 4096 and shown['max_batch_size'] == 8
    assert 'none of the operations here' in daemon.fails('dsa', 'config', 'dsa0/wq0.0', 'op_config', '80000000')


def test_batch_order(daemon, tmp_path):
    """No word of accel-config's: in its files only where it is not the usual one."""
    daemon.ok('dsa', 'add', 'dsa0')
    assert load(daemon, tmp_path, {'dev': 'dsa0', 'groups': [group(0, [wq_in(0, 16)], [0])]}).returncode == 0
    assert daemon.json('dsa', 'show')[0]['wqs'][0]['batch_order'] == 'in-order'
    assert 'batch_order' not in daemon.ok('dsa', 'save')
    daemon.ok('dsa', 'config', 'dsa0/wq0.0', 'batch_order', 'reversed')
    saved = daemon.json('dsa', 'save')
    assert saved[0]['groups'][0]['grouped_workqueues'][0]['batch_order'] == 'reversed'
    daemon.ok('dsa', 'config', 'dsa0/wq0.0', 'batch_order', 'in-order')
    assert load(daemon, tmp_path, *saved).returncode == 0 and daemon.json('dsa', 'save') == saved


def test_load_is_one_change(daemon, tmp_path):
    """All of a file or nothing; and what fits in the end need not fit on the way."""
    daemon.ok('dsa', 'add', 'dsa0')
    daemon.ok('dsa', 'add', 'dsa1')

    def device(name, *sizes):
        groups = [group(i, [wq_in(i, size)], [i]) for i, size in enumerate(sizes)]
        return json.loads(json.dumps({'dev': name, 'groups': groups}).replace('0.', name[3:] + '.'))
    assert load(daemon, tmp_path, device('dsa0', 16, 112), device('dsa1', 8)).returncode == 0
    assert load(daemon, tmp_path, device('dsa0', 112, 16)).returncode == 0
    before = daemon.json('dsa', 'save')
    too_much = load(daemon, tmp_path, device('dsa0', 112, 17))
    assert too_much.returncode == 1 and 'at most 128 are allowed' in too_much.stderr
    bad = device('dsa1', 32)
    for where, value, why in ((('groups',), {}, 'must be a list'), (('groups', 0, 'grouped_engines'), 7, 'must be a list'),
                              (('groups', 0, 'grouped_workqueues', 0, 'mode'), 'both', 'mode'),
                              (('groups', 0, 'dev'), 'group1.9', 'no such thing'), (('groups', 0), 3, 'no "dev"'), (('dev',), 7, 'no "dev"')):
        wrong = json.loads(json.dumps(bad))
        at = wrong
        for step in where[:-1]:
            at = at[step]
        at[where[-1]] = value
        ran = load(daemon, tmp_path, device('dsa0', 8, 8), wrong)
        assert ran.returncode == 1 and why in ran.stderr, (where, ran.stderr)
        assert daemon.json('dsa', 'save') == before
    assert load(daemon, tmp_path, device('dsa0', 8), {'dev': 'iax1'}).returncode == 1
    assert daemon.json('dsa', 'save') == before
    # Of a queue in use nothing changes.
    daemon.ok('dsa', 'config', 'dsa0/wq0.1', 'type', 'mdev')
    daemon.ok('dsa', 'enable', 'dsa0')
    daemon.ok('dsa', 'enable', 'dsa0/wq0.1')
    busy = daemon.json('dsa', 'save')
    assert 'changed while' in load(daemon, tmp_path, device('dsa0', 8, 8)).stderr
    assert daemon.json('dsa', 'save') == busy and daemon.json('dsa', 'show')[0]['wqs'][1]['state'] == 'enabled'


def test_save_is_for_accel_config(daemon, tmp_path):
    """It does not take lists that are empty, the kernel takes no empty name; and nothing is forgotten."""
    daemon.ok('dsa', 'add', 'dsa0')
    daemon.ok('dsa', 'config', 'dsa0/engine0.1', 'group_id', '1')
    daemon.ok('dsa', 'config', 'dsa0/wq0.2', 'group_id', '2', 'size', '8')
    daemon.ok('dsa', 'config', 'dsa0/group0.3', 'read_buffers_allowed', '2')
    daemon.ok('dsa', 'config', 'dsa0/wq0.4', 'type', 'mdev', 'name', 'later', 'mode', 'shared', 'size', '4')
    saved, = daemon.json('dsa', 'save')
    assert [[k for k in g if k.startswith('grouped')] for g in saved['groups']] == [
        [], ['grouped_engines'], ['grouped_workqueues'], []]
    assert [wq['dev'] for wq in saved['ungrouped_workqueues']] == ['wq0.4']
    assert not {'name', 'driver_name'} & set(saved['groups'][2]['grouped_workqueues'][0])
    for thing in (saved, *saved['groups'], *saved['ungrouped_workqueues']):
        assert next(iter(thing)) == 'dev'
    before = daemon.json('dsa', 'show')
    doc = json.loads(daemon.ok('config', 'dump'))
    daemon.ok('dsa', 'del', 'dsa0')
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(doc))
    daemon.ok('config', 'load', str(path))
    assert daemon.json('dsa', 'show') == before
    assert load(daemon, tmp_path, saved).returncode == 0 and daemon.json('dsa', 'show') == before


def test_no_group(daemon):
    """-1 is a value, and no option."""
    daemon.ok('dsa', 'add', 'dsa0')
    for path in ('dsa0/wq0.0', 'dsa0/engine0.0'):
        daemon.ok('dsa', 'config', path, 'group_id', '2')
        daemon.ok('dsa', 'config', path, 'group_id', '-1')
    assert daemon.ok('dsa', 'show').count('\n') == 1
    assert 'is not a number' in daemon.fails('dsa', 'config', 'dsa0/wq0.0', 'size', '-1')
    assert 'option "-x" is not known' in daemon.fails('dsa', 'config', 'dsa0/wq0.0', 'size', '-x', code=2)


def test_mdev(dsa):
    types = dsa.json('mdev', 'types', 'dsa0')[0]['dsa0']
    assert [next(iter(t)) for t in types] == [DWQ, 'idxd-2dwq-v1', 'idxd-1swq-v1']
    assert types[0][DWQ]['available_instances'] == 1 and types[0][DWQ]['device_api'] == 'vfio-pci'
    dsa.ok('mdev', 'create', DWQ, U1)
    assert queue(dsa)['state'] == 'locked'
    assert 'has no instance of idxd-1dwq-v1 left' in dsa.fails('mdev', 'create', DWQ, U2)
    assert 'a mediated device has it' in dsa.fails('dsa', 'disable', 'dsa0/wq0.0')
    assert 'a mediated device has wq0.0' in dsa.fails('dsa', 'disable', 'dsa0')
    assert 'no VMM can have it' in dsa.fails('mdev', 'show', U1, '--qemu-args')
    shown = dsa.json('mdev', 'show', U1)[0]
    assert shown['class'] == 'vfio' and shown['show']['wq'] == 'dsa0/wq0.0' and shown['show']['pasid'] == '1'
    dsa.ok('mdev', 'remove', U1)
    assert queue(dsa)['state'] == 'enabled'
    dsa.ok('mdev', 'create', DWQ, U2)
    assert dsa.json('mdev', 'show', U2)[0]['show']['pasid'] == '2'


def test_qemu_args(dsa, tmp_path):
    """What is printed is what QEMU takes: one argument of JSON."""
    dsa.ok('mdev', 'create', DWQ, U1, 'driver', 'vfio_mdev', 'path', str(tmp_path / 's'))
    line = dsa.ok('mdev', 'show', U1, '--qemu-args')
    device = json.loads(re.fullmatch(r"-device '(.*)'\n", line).group(1))
    assert device == {'driver': 'vfio-user-pci', 'socket': {'type': 'unix', 'path': str(tmp_path / 's')}}


def test_registers_and_faults(dsa):
    dsa.ok('mdev', 'create', DWQ, U1)
    regs = {r['offset']: r for r in dsa.json('dsa', 'regs', U1)}
    assert regs['0x0'] == {'name': 'VERSION', 'offset': '0x0', 'value': '0x100'}
    assert regs['0x500']['value'] == '0x10' and regs['0xc0']['value'] == '0x0'
    assert 'GENCAP' in dsa.ok('dsa', 'regs', U1)
    dsa.ok('dsa', 'inject', U1, 'swerr')
    dsa.ok('dsa', 'inject', U1, 'swerr')
    regs = {r['offset']: r for r in dsa.json('dsa', 'regs', U1)}
    assert regs['0xc0']['value'] == '0x100f'
    dsa.ok('dsa', 'inject', U1, 'halt')
    regs = {r['offset']: r for r in dsa.json('dsa', 'regs', U1)}
    assert regs['0x90']['value'] == '0x3'
    for fault in ('revoke', 'flr', 'err', 'request'):
        dsa.ok('dsa', 'inject', U1, fault)
    assert 'can be injected' in dsa.fails('dsa', 'inject', U1, 'rain')
    assert 'there is no such mediated device' in dsa.fails('dsa', 'inject', U2, 'swerr')
    dsa.ok('mdev', 'create', 'mvnet_loopback-virtio', U2)
    assert 'no DSA' in dsa.fails('dsa', 'inject', U2, 'swerr')
    assert 'no DSA' in dsa.fails('dsa', 'regs', U2)


def test_ims(dsa):
    dsa.ok('mdev', 'create', DWQ, U1)
    slot, = dsa.json('ims', 'show', 'dsa0')['list']
    assert slot['owner'] == U1 and slot['pasid'] == 1 and slot['pasid_enabled'] and not slot['masked']
    dump = dsa.ok('ims', 'dump', 'dsa0').splitlines()
    assert dump[0].startswith('dsa0 slots 2048 used 1 remapping on ')
    assert re.fullmatch(r'  \d+ addr 0xfee[0-9a-f]{5} data 0x0 ctrl 0x1008', dump[1])
    dsa.ok('ims', 'mask', 'dsa0', str(slot['slot']))
    assert 'masked' in dsa.ok('ims', 'show', 'dsa0')
    dsa.ok('ims', 'unmask', 'dsa0', str(slot['slot']))
    assert 'masked' not in dsa.ok('ims', 'show', 'dsa0')
    assert 'is not in use' in dsa.fails('ims', 'mask', 'dsa0', '77')
    assert 'there is no DSA of this name' in dsa.fails('ims', 'show', 'dsa1')
    dsa.ok('mdev', 'remove', U1)
    assert dsa.json('ims', 'show', 'dsa0')['list'] == []
    # A slot that was given back is as one that was never used.
    everything = dsa.json('ims', 'show', 'dsa0', '--all')['list']
    assert len(everything) == 2048 and {(s['addr'], s['data'], s['ctrl']) for s in everything} == {('0x0', '0x0', '0x1')}


def test_without_remapping(daemon):
    configure(daemon, ir='off', ims_slots='1', queues=2)
    daemon.ok('mdev', 'create', DWQ, U1)
    slot, = daemon.json('ims', 'show', 'dsa0')['list']
    assert slot['addr'] == '0xfee00000' and slot['data'] == '0x30'
    assert 'no slot of interrupt message storage is free' in daemon.fails('mdev', 'create', DWQ, U2)
    assert queue(daemon, 1)['state'] == 'enabled'


def test_configuration(dsa, tmp_path):
    """What is dumped is what comes back, in a daemon that has nothing."""
    dsa.ok('mdev', 'create', DWQ, U1, 'portals', 'mapped')
    doc = json.loads(dsa.ok('config', 'dump'))
    assert [d['name'] for d in doc['dsas']] == ['dsa0'] and doc['dsas'][0]['enabled'] == ['dsa0', 'dsa0/wq0.0']
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(doc))
    assert 'exists already' in dsa.fails('config', 'load', str(path))
    assert queue(dsa)['state'] == 'locked'
    dsa.ok('mdev', 'remove', U1)
    dsa.ok('dsa', 'disable', 'dsa0')
    dsa.ok('dsa', 'del', 'dsa0')
    dsa.ok('config', 'load', str(path))
    assert json.loads(dsa.ok('config', 'dump')) == doc
    # All or nothing: a mediated device that cannot be takes the DSA with it.
    dsa.ok('mdev', 'remove', U1)
    dsa.ok('dsa', 'disable', 'dsa0')
    dsa.ok('dsa', 'del', 'dsa0')
    doc['mdevs'].append(dict(doc['mdevs'][0], uuid=U2))
    path.write_text(json.dumps(doc))
    assert 'has no instance' in dsa.fails('config', 'load', str(path))
    wait_for(lambda: not dsa.json('dsa', 'show'))
    assert dsa.json('mdev', 'show') == []


def test_completion(dsa):
    dsa.ok('mdev', 'create', DWQ, U1)
    sock = dsa.socket
    assert {'config', 'enable', 'inject'} <= complete('uvdpa dsa ')
    assert 'dsa0/wq0.0' in complete('uvdpa dsa enable ', sock)
    assert 'dsa0' in complete('uvdpa ims show ', sock)
    assert U1 in complete('uvdpa dsa regs ', sock)
    assert 'revoke' in complete(f'uvdpa dsa inject {U1} ', sock)


@pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='the kernel has no FUSE')
def test_tree(start, folder):
    """As on a host with a real one: accel-config's way, and then a mediated device."""
    daemon = start('--sysfs', folder / 'sys')
    assert daemon.ready == b'\n', daemon.log()
    tree = folder / 'sys'
    devices, drivers = tree / 'bus/dsa/devices', tree / 'bus/dsa/drivers'
    assert list(devices.iterdir()) == []
    daemon.ok('dsa', 'add', 'dsa0', 'wqs', '2', 'engines', '1', 'groups', '1')
    assert sorted(p.name for p in devices.iterdir()) == ['dsa0', 'engine0.0', 'group0.0', 'wq0.0', 'wq0.1']
    assert sorted(p.name for p in drivers.iterdir()) == ['idxd', 'mdev', 'user']
    wq = devices / 'wq0.0'
    assert echo('0', devices / 'engine0.0/group_id') == 0
    for key, value in (('group_id', '0'), ('size', '16'), ('mode', 'dedicated'), ('type', 'mdev'), ('name', 'm0')):
        assert echo(value, wq / key) == 0
        assert (wq / key).read_text() == value + '\n'
    assert refused(wq / 'size', b'5000') == 'ERANGE' and refused(wq / 'state', b'enabled') == 'EINVAL'
    assert refused(drivers / 'mdev/bind', b'wq0.0') == 'EBUSY' and refused(drivers / 'user/bind', b'wq0.0') == 'ENODEV'
    assert echo('dsa0', drivers / 'idxd/bind') == 0 and echo('wq0.0', drivers / 'mdev/bind') == 0
    assert (wq / 'state').read_text() == 'enabled\n' and (devices / 'dsa0/state').read_text() == 'enabled\n'
    types = tree / 'class/mdev_bus/dsa0/mdev_supported_types' / DWQ
    assert (types / 'available_instances').read_text() == '1\n'
    assert echo(U1, types / 'create') == 0
    assert (wq / 'state').read_text() == 'locked\n' and (types / 'available_instances').read_text() == '0\n'
    assert refused(types / 'create', U2.encode()) == 'EUSERS'
    assert refused(drivers / 'mdev/unbind', b'wq0.0') == 'EBUSY' and refused(drivers / 'idxd/unbind', b'dsa0') == 'EBUSY'
    assert echo('1', tree / 'bus/mdev/devices' / U1 / 'remove') == 0
    assert refused(drivers / 'mdev/unbind', b'dsa0') == 'ENODEV' and refused(drivers / 'idxd/bind', b'wq0.1') == 'ENODEV'
    assert refused(drivers / 'mdev/bind', b'wq7.0/x') == 'ENODEV'
    assert echo('wq0.0', drivers / 'mdev/unbind') == 0 and echo('dsa0', drivers / 'idxd/unbind') == 0
    assert (devices / 'dsa0/state').read_text() == 'disabled\n'
    assert daemon.stop() == 0, daemon.log()
