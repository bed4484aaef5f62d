# SPDX-License-Identifier: BSD-3-Clause
"""A device's state as an object: saved, loaded, taken to another daemon; and a control queue that is listened to."""
import base64
import json

import pytest

from cliutil import wait_for

ADD = ('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'max_vqp', 2, 'backend', 'loopback')
MAC = '52:54:00:12:34:56'


@pytest.fixture
def bound(daemon):
    daemon.ok(*ADD, 'mac', MAC)
    daemon.ok('dev', 'bind', 'n0', 'virtio-vdpa', 'queues', 2)
    wait_for(lambda: shown(daemon)['pairs'] == '2')  # the driver's own first command
    return daemon


@pytest.fixture
def other(start):
    return start(sock='other.sock')


def cvq(daemon, *words):
    return daemon.ok('drv', 'virtio0', 'cvq', *words)


def shown(daemon):
    """What the control queue has led to, without what is counted."""
    cvq_of = daemon.json('cvq', 'show', 'n0')['cvq']['n0']
    return {k: v for k, v in cvq_of.items() if k not in ('last', 'intercept')}


def configure(daemon):
    cvq(daemon, 'promisc', 'off')
    cvq(daemon, 'nobcast', 'on')
    cvq(daemon, 'mac', '02:00:00:00:00:77')
    cvq(daemon, 'mac-table', '52:54:00:00:00:01', '01:00:5e:00:00:01')
    cvq(daemon, 'vlan', 'add', 564)
    cvq(daemon, 'coal', 'rx', 4, 50)


def test_state_of_the_control_queue(bound):
    configure(bound)
    state = bound.json('cvq', 'state', 'n0')
    assert state['state']['mac'] == '1 1 020000000077'
    assert state['state']['vq_pairs'] == '4 0 0200' and state['state']['nobcast'] == '0 5 01'
    assert state['commands'] == {}, 'nobody asked for them'
    text = bound.ok('cvq', 'state', 'n0')
    assert '  state coal_rx 6 1 0400000032000000\n' in text
    # Said again to the same device, it is the same: a VMM can do so to another one.
    before = shown(bound)
    for line in text.splitlines()[1:]:
        name, number, command, data = line.split()[1:]
        if name not in ('vlan_add', 'announce_ack', 'coal_vq'):
            cvq(bound, 'raw', number, command, 'hex', data)
    assert shown(bound) == before


def test_intercept(bound):
    assert bound.json('cvq', 'show', 'n0')['cvq']['n0']['intercept'] == 'off'
    bound.ok('cvq', 'intercept', 'n0')
    cvq(bound, 'mac', '02:00:00:00:00:78')
    assert 'VIRTIO_NET_ERR' in bound.fails('drv', 'virtio0', 'cvq', 'raw', 99, 7, 'hex', '0102')
    cvq(bound, 'promisc', 'off')
    commands = bound.json('cvq', 'state', 'n0')['commands']
    assert list(commands.values()) == ['mac 1 1 OK 6 020000000078', 'unknown 99 7 ERR 0 ',
                                       'promisc 0 0 OK 1 00']
    for i in range(80):
        cvq(bound, 'vlan', 'add', i)
    commands = bound.json('cvq', 'state', 'n0')['commands']
    assert len(commands) == 64 and commands['82'] == 'vlan_add 2 0 OK 2 4f00'
    assert 'cvq_command' not in bound.ok('-j', 'dev', 'show', 'n0', '--all')
    bound.ok('cvq', 'intercept', 'n0', 'off')
    assert bound.json('cvq', 'state', 'n0')['commands'] == {}


def test_long_command_is_cut(bound):
    bound.ok('cvq', 'intercept', 'n0', 'on')
    macs = [f'02:00:00:00:00:{i:02x}' for i in range(100)]
    cvq(bound, 'mac-table', *macs)
    line = bound.json('cvq', 'state', 'n0')['commands']['0']
    assert line.startswith('mac_table 1 0 OK 608 64000000') and line.endswith('...')
    assert len(line) < 1100
    assert len(bound.json('cvq', 'state', 'n0')['state']['mac_table']) > 1200, 'all of it'


def test_intercept_is_configuration(bound, other):
    bound.ok('cvq', 'intercept', 'n0')
    dump = bound.ok('config', 'dump')
    assert json.loads(dump)['devices'][0]['attrs']['intercept'] == 'on'
    bound.ok('dev', 'del', 'n0')
    path = bound.folder / 'dump.json'
    path.write_text(dump)
    other.ok('config', 'load', path)
    assert other.json('cvq', 'show', 'n0')['cvq']['n0']['intercept'] == 'on'


def test_refusals(bound, folder):
    bound.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    assert 'it has no control queue' in bound.fails('cvq', 'intercept', 'd0')
    assert 'has no control queue' in bound.fails('cvq', 'state', 'd0')
    assert 'on and off are allowed' in bound.fails('cvq', 'intercept', 'n0', 'maybe', code=2)
    assert 'it runs; suspend it first' in bound.fails('dev', 'save', 'n0')
    path = folder / 'state'
    path.write_text('{}')
    assert 'is not what "uvdpa dev save" writes' in bound.fails('dev', 'load', 'n0', path)
    path.write_text(json.dumps({'state': '!!'}))
    assert 'is not base64' in bound.fails('dev', 'load', 'n0', path)
    path.write_text(json.dumps({'state': base64.b64encode(b'x' * 400).decode()}))
    assert 'is bound to virtio-vdpa' in bound.fails('dev', 'load', 'n0', path)
    bound.ok('dev', 'suspend', 'n0')
    assert 'is bound to virtio-vdpa' in bound.fails('dev', 'load', 'n0', path)
    assert 'cannot be written' in bound.fails('dev', 'save', 'n0', '/nonexistent/x')
    bound.ok('dev', 'resume', 'n0')
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
    bound.ok('dev', 'unbind', 'n0')
    assert 'not the state of a device' in bound.fails('dev', 'load', 'n0', path)


def test_saved_and_restored(bound, folder):
    """Into the same device, after its driver has changed more and gone."""
    configure(bound)
    before = shown(bound)
    bound.ok('dev', 'suspend', 'n0')
    bound.ok('dev', 'save', 'n0', folder / 'state')
    bound.ok('dev', 'resume', 'n0')
    cvq(bound, 'nouni', 'on')
    cvq(bound, 'mac', '02:00:00:00:00:79')
    assert shown(bound) != before
    bound.ok('dev', 'unbind', 'n0')
    assert shown(bound)['rx_mode'] == 'promisc', 'a reset'
    bound.ok('dev', 'load', 'n0', folder / 'state')
    assert shown(bound) == before
    # It is another driver's device now, which resets it.
    bound.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    assert shown(bound)['mac'] == MAC and shown(bound)['rx_mode'] == 'promisc'


@pytest.mark.parametrize('prefix', ['unix:', ''])
def test_migrate(bound, other, prefix):
    configure(bound)
    before, config = shown(bound), bound.ok('dev', 'config', 'show', 'n0')
    bound.ok('migrate', 'n0', '--to', f'{prefix}{other.socket}')
    assert bound.json('dev', 'show') == {'dev': {}}
    assert shown(other) == before
    assert before['pairs'] == '2' and before['vlans'] == '564' and '02:00:00:00:00:77' in config
    assert other.ok('dev', 'config', 'show', 'n0') == config
    assert other.json('config', 'dump')['devices'][0]['attrs']['mac'] == MAC
    # And back.
    other.ok('migrate', 'n0', '--to', bound.socket)
    assert shown(bound) == before


def test_migrate_random_mac(daemon, other):
    daemon.ok(*ADD)
    config = daemon.ok('dev', 'config', 'show', 'n0')
    daemon.ok('migrate', 'n0', '--to', f'unix:{other.socket}')
    assert other.ok('dev', 'config', 'show', 'n0') == config


def test_migrate_into_one_that_waits(bound, other):
    """The other side has made the device as it wants it, on a backend of its own."""
    other.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'max_vqp', 2, 'mac', MAC, 'backend', 'null')
    configure(bound)
    before = shown(bound)
    bound.ok('migrate', 'n0', '--to', f'unix:{other.socket}', '--keep')
    assert shown(other) == before == shown(bound)
    assert other.json('config', 'dump')['devices'][0]['attrs']['backend'] == 'null'
    bound.ok('dev', 'resume', 'n0')


def test_migrate_binding(daemon, other, folder):
    """A front end finds the device at the same socket."""
    path = folder / 'n0.sock'
    daemon.ok(*ADD, 'mac', MAC, 'driver', 'vhost-user', 'path', path)
    daemon.ok('migrate', 'n0', '--to', f'unix:{other.socket}', '--bind')
    assert other.json('drv', '--socket', path, '--type', 'net', 'net', 'ping')['received'] == 5


def test_migrate_fails_and_undoes(bound, other, folder):
    """Whatever is wrong over there, the device goes on here."""
    def goes_on():
        assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5

    assert 'n7' in bound.fails('migrate', 'n7', '--to', f'unix:{other.socket}')
    assert str(folder / 'none.sock') in bound.fails('migrate', 'n0', '--to', f'unix:{folder}/none.sock')
    goes_on()
    assert 'is missing' in bound.fails('migrate', 'n0', code=2)
    assert 'exclude each other' in bound.fails('migrate', 'n0', '--to', 'x', '--keep', '--bind', code=2)
    # One of another shape.
    other.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'backend', 'loopback')
    message = bound.fails('migrate', 'n0', '--to', f'unix:{other.socket}')
    assert 'queues' in message and 'stays where it was' in message
    goes_on()
    # One that is in use.
    other.ok('dev', 'del', 'n0')
    other.ok(*ADD, 'driver', 'virtio-vdpa')
    message = bound.fails('migrate', 'n0', '--to', f'unix:{other.socket}')
    assert 'new or unbound' in message
    goes_on()
    assert other.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
    # A disk whose data would not come along.
    bound.ok('dev', 'add', 'name', 'r0', 'mgmtdev', 'soft_blk', 'size', '1M')
    message = bound.fails('migrate', 'r0', '--to', f'unix:{other.socket}')
    assert 'would not come along' in message and 'stays where it was' in message
    # A disk image that is locked by this side.
    image = folder / 'disk'
    image.write_bytes(bytes(1 << 20))
    bound.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path', image)
    assert 'stays where it was' in bound.fails('migrate', 'd0', '--to', f'unix:{other.socket}')
    assert set(other.json('dev', 'show')['dev']) == {'n0'}
    bound.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    bound.ok('drv', 'virtio1', 'blk', 'fill', 0, '64k')


def test_migrate_fails_and_leaves_suspended(bound, other):
    """What somebody had stopped before is not set going by a migration that comes to nothing."""
    def suspended(name='n0'):
        return bound.json('dev', 'show', name, '--all')['dev'][name]['suspended']

    assert suspended() is False
    bound.ok('dev', 'suspend', 'n0')
    assert suspended() is True
    other.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'backend', 'loopback')  # of another shape
    assert 'stays where it was' in bound.fails('migrate', 'n0', '--to', f'unix:{other.socket}')
    assert suspended() is True
    bound.ok('dev', 'resume', 'n0')
    assert suspended() is False
    assert 'stays where it was' in bound.fails('migrate', 'n0', '--to', f'unix:{other.socket}')
    assert suspended() is False
    assert bound.json('drv', 'virtio0', 'net', 'ping')['received'] == 5
