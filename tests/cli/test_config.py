# SPDX-License-Identifier: BSD-3-Clause
"""The configuration file is the state: dump, load and dump again give the same text."""
import json
import os

import pytest

from cliutil import hold_lock, logs_say


def fill(daemon, folder):
    (folder / 'disk.img').write_bytes(b'\0' * 1048576)
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path', folder / 'disk.img',
              'serial', 'a "quoted" one', 'driver', 'vhost-user', 'path', folder / 'd0.sock', 'on_disconnect',
              'relisten')
    daemon.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'mtu', '1500', 'mac', '52:54:00:12:34:56',
              'device_features', 'VERSION_1,MAC,MTU')
    daemon.ok('dev', 'set', 'name', 'n0', 'mac', '52:54:00:12:34:57')
    daemon.ok('dev', 'add', 'name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '64K', 'driver',
              'virtio-vdpa')
    daemon.ok('dev', 'add', 'name', 'd2', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '64K')
    daemon.ok('dev', 'override', 'd2', 'virtio-vdpa')


def test_round_trip_in_one_daemon(daemon, folder):
    fill(daemon, folder)
    first = daemon.ok('config', 'dump')
    (folder / 'state.json').write_text(first)
    for name in ('d0', 'n0', 'd1', 'd2'):
        daemon.ok('dev', 'del', name)
    daemon.ok('config', 'load', 'state.json', cwd=folder)
    assert daemon.ok('config', 'dump') == first
    assert (folder / 'd0.sock').is_socket()


def test_round_trip_at_start(start, folder):
    daemon = start()
    fill(daemon, folder)
    first = daemon.ok('config', 'dump')
    assert daemon.stop() == 0
    (folder / 'state.json').write_text(first)
    again = start('--config', folder / 'state.json')
    assert again.ready == b'\n', again.log()
    assert again.ok('config', 'dump') == first


def test_devices_exist_before_ready(start, folder):
    """Who waits for readiness finds everything there."""
    (folder / 'c.json').write_text(json.dumps({'version': 1, 'devices': [
        {'name': 'd0', 'mgmtdev': 'soft_blk', 'attrs': {'backend': 'ram', 'size': 65536},
         'driver': {'name': 'vhost-user', 'attrs': {'path': str(folder / 'v.sock')}}}]}))
    daemon = start('--config', folder / 'c.json')
    assert (folder / 'v.sock').is_socket()
    assert 'd0' in daemon.ok('dev', 'show')


def test_the_predecessors_last_requests_are_waited_for(start, folder):
    """A daemon that was killed holds its disk images until the kernel is through with its requests."""
    (folder / 'disk.img').write_bytes(b'\0' * 1048576)
    (folder / 'c.json').write_text(json.dumps({'version': 1, 'devices': [
        {'name': name, 'mgmtdev': 'soft_blk', 'attrs': attrs} for name, attrs in (
            ('d0', {'backend': 'ram', 'size': 65536}),
            ('d1', {'backend': 'file', 'path': str(folder / 'disk.img')}),
            ('d2', {'backend': 'null', 'size': 65536}))]}))
    hold_lock(folder / 'disk.img', lambda: logs_say(folder, 'log', 'd1: waits: '))
    daemon = start('--config', folder / 'c.json')
    assert daemon.ready == b'\n', daemon.log()
    assert set(daemon.json('dev', 'show')['dev']) == {'d0', 'd1', 'd2'}
    for name in ('d0', 'd1', 'd2'):
        daemon.ok('dev', 'del', name)
    hold_lock(folder / 'disk.img', lambda: logs_say(folder, 'log', 'd1: waits: ', 2))
    daemon.ok('config', 'load', folder / 'c.json')
    assert set(daemon.json('dev', 'show')['dev']) == {'d0', 'd1', 'd2'}


def test_shape_of_the_dump(disk):
    assert json.loads(disk.ok('config', 'dump')) == {'version': 1, 'devices': [
        {'name': 'd0', 'mgmtdev': 'soft_blk', 'attrs': {'backend': 'ram', 'size': '8M'}}]}
    assert disk.ok('-j', 'config', 'dump').count('\n') == 1


DISK = {'name': 'd0', 'mgmtdev': 'soft_blk', 'attrs': {'backend': 'ram', 'size': '64K'}}


@pytest.mark.parametrize('doc,says', [
    ([], 'config" must be of type object'),
    ({}, '$: parameter "version" is missing'),
    ({'version': 2, 'devices': []}, '$: parameter "version" is 2: 1 to 1 is allowed'),
    ({'version': 1}, '$: parameter "devices" is missing'),
    ({'version': 1, 'devices': {}}, '$: parameter "devices" must be of type array'),
    ({'version': 1, 'devices': [], 'more': 1}, '$: parameter "more" is not known; allowed: version, devices'),
    ({'version': 1, 'devices': [1]}, '$.devices[0]: must be an object'),
    ({'version': 1, 'devices': [DISK, {'name': 'd1'}]}, '$.devices[1]: parameter "mgmtdev" is missing'),
    ({'version': 1, 'devices': [DISK | {'attrs': {'size': []}}]}, '$.devices[0].attrs.size: must be a string'),
    ({'version': 1, 'devices': [DISK | {'driver': {}}]}, '$.devices[0].driver: parameter "name" is missing'),
    ({'version': 1, 'devices': [DISK | {'driver': {'name': 'x', 'attrs': {'path': {}}}}]},
     '$.devices[0].driver.attrs.path: must be a string'),
    ({'version': 1, 'devices': [DISK | {'driver': {'name': 'nobody'}}]}, '$.devices[0]: dev/d0: '),
    ({'version': 1, 'devices': [DISK, DISK]}, '$.devices[1]: dev/d0: '),
    ({'version': 1, 'devices': [DISK | {'name': f'd{i}'} for i in range(5)] + [DISK | {'mgmtdev': 'x'}]},
     '$.devices[5]: d0: there is no management device "x"'),
    ({'version': 1, 'devices': [DISK | {'attrs': {'backend': 'file', 'path': 'rel'}}]}, 'relative path'),
])
def test_all_or_nothing(daemon, folder, doc, says):
    """Errors name the place in the document, and leave nothing behind."""
    (folder / 'c.json').write_text(json.dumps(doc))
    assert says in daemon.fails('config', 'load', folder / 'c.json')
    assert daemon.ok('dev', 'show') == ''
    assert daemon.json('debug', 'refs')['devices'] == {}


def test_what_was_there_stays(disk, folder):
    (folder / 'c.json').write_text(json.dumps({'version': 1, 'devices': [DISK | {'name': 'd1'}, DISK]}))
    assert 'exists already' in disk.fails('config', 'load', folder / 'c.json')
    assert disk.ok('dev', 'show').startswith('d0:')


@pytest.mark.parametrize('text,says', [
    ('{', 'not valid JSON: line 1'),
    ('{"version":1,"version":1,"devices":[]}', 'duplicate'),
    ('[' * 100, 'nested deeper than 16 levels'),
    ('', 'not valid JSON'),
])
def test_not_json(daemon, folder, text, says):
    (folder / 'c.json').write_text(text)
    message = daemon.fails('config', 'load', folder / 'c.json')
    assert says in message and 'c.json' in message


def test_from_standard_input(daemon, folder):
    (folder / 'c.json').write_text(json.dumps({'version': 1, 'devices': [DISK]}))
    with open(folder / 'c.json', encoding='utf-8') as stdin:
        daemon.ok('config', 'load', '-', stdin=stdin)
    assert 'd0' in daemon.ok('dev', 'show')


@pytest.mark.parametrize('text,says', [
    (None, 'cannot be read: No such file'),
    ('{', 'not valid JSON'),
    ('{"version":1,"devices":[{"name":"d0","mgmtdev":"x"}]}', '$.devices[0]: d0: there is no management device'),
])
def test_a_daemon_does_not_start_with_a_bad_file(start, folder, text, says):
    if text is not None:
        (folder / 'c.json').write_text(text)
    daemon = start('--config', folder / 'c.json')
    assert daemon.ready == b'' and daemon.proc.returncode == 1
    assert says in daemon.log()
    assert not daemon.socket.exists()


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_a_daemon_does_not_wait_for_what_is_no_file(start, folder, make):
    make(folder / 'c.json')
    daemon = start('--config', folder / 'c.json')
    assert daemon.ready == b'' and daemon.proc.returncode == 1
    assert 'c.json: cannot be read: it is not a regular file' in daemon.log()
