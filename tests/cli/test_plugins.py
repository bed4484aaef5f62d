# SPDX-License-Identifier: BSD-3-Clause
"""Plugins: started by MODALIAS, trusted or left out, gone with the daemon."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from cliutil import wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'protocol'))
import vu  # noqa: E402  pylint: disable=wrong-import-position

U1 = '11111111-2222-3333-4444-555555555555'
U2 = '11111111-2222-3333-4444-666666666666'
PLUGINS = os.environ['MDEV_PLUGINS']


@pytest.fixture
def plugins(folder):
    there = folder / 'plugins'
    there.mkdir(mode=0o755)
    for name in ('mdev_plugin', 'mdev_plugin_driver'):
        shutil.copy(f'{PLUGINS}/{name}.so', there / f'{name}.so')
        (there / f'{name}.so').chmod(0o755)
    return there


def test_started_by_modalias(start, plugins):
    daemon = start('--plugin-dir', plugins)
    shown = {p['name']: p for p in daemon.json('mdev', 'plugins')}
    assert not shown['hello']['started'] and not shown['hello_driver']['started']
    assert shown['hello_driver']['aliases'] == ['hello_bus:c100']
    assert 'hello' not in daemon.ok('mdev', 'types')
    daemon.ok('mdev', 'create', 'hello-text', U1, 'text', 'good day')
    device = daemon.json('mdev', 'show', U1)[0]
    assert device['modalias'] == 'hello_bus:c100' and device['class_id'] == 0x100
    assert device['driver']['name'] == 'hello_driver' and device['show'] == {'text': 'good day'}
    assert 'says good day' in daemon.log()
    assert all(p['started'] for p in daemon.json('mdev', 'plugins'))
    assert 'hello-text' in daemon.ok('mdev', 'types', 'hello')
    assert 'at most 63 bytes' in daemon.fails('mdev', 'set', U1, 'text', 'x' * 64)
    daemon.ok('mdev', 'create', 'hello-text', U2)
    daemon.ok('mdev', 'remove', U1)
    assert 'hello: mdev_type:hello-*' in daemon.ok('mdev', 'plugins')
    assert 'there is no type "nobody-1"' in daemon.fails('mdev', 'create', 'nobody-1', U1)


def test_virtio_device_from_outside(start, folder):
    """What docs/adding-a-device.md promises: made, shown, limited and served as those that are built in."""
    there = folder / 'plugins'
    there.mkdir(mode=0o755)
    shutil.copy(f'{PLUGINS}/rng_plugin.so', there / 'rng.so')
    (there / 'rng.so').chmod(0o755)
    daemon = start('--plugin-dir', there)
    assert 'max_bytes' in daemon.ok('mgmtdev', 'show', 'example_rng', '--all')
    assert '1 to 65536 bytes' in daemon.fails('dev', 'add', 'name', 'r0', 'mgmtdev', 'example_rng', 'max_bytes', '1M')
    daemon.ok('dev', 'add', 'name', 'r0', 'mgmtdev', 'example_rng', 'max_bytes', 1000,
              'driver', 'vhost-user', 'path', folder / 'r0.sock')
    client = vu.Client(str(folder / 'r0.sock'))
    memory = vu.Memory(1 << 20, gpa=0x100000, uva=0x7f0000000000)
    ring = vu.Ring(memory)
    with client:
        client.negotiate(off=vu.bit(vu.P_INBAND), features=vu.bit(vu.F_VERSION_1) | vu.bit(vu.F_PROTOCOL))
        client.ok(vu.SET_MEM_TABLE, vu.table(memory), [memory.fd])
        ring.setup(client)
        ring.add([(0x180000, 700, True), (0x190000, 700, True)], 'both')
        ring.notify()
        assert ring.wait() == [('both', 1000)]
        assert len(set(memory.read(0x80000, 700))) > 100 and len(set(memory.read(0x90000, 300))) > 100
        assert memory.read(0x90000 + 300, 400) == bytes(400)
        assert daemon.json('dev', 'vstats', 'show', 'r0', 'qidx', 0)['vstats']['r0']['bytes'] == 1000
    ring.close()
    memory.close()
    daemon.ok('dev', 'del', 'r0')


def test_what_is_no_plugin_is_left_out(start, plugins):
    (plugins / 'broken.so').write_bytes(b'\x7fELF nonsense')
    (plugins / 'other.txt').write_text('not looked at')
    source = plugins / 'p.c'
    for name, code in (('none', 'int x;'),
                       ('old', 'const struct { unsigned version, size; void *p[3]; } uvdpa_plugin = {99, 32};'),
                       ('short', 'const struct { unsigned version, size; void *p[3]; } uvdpa_plugin = {1, 8};'),
                       ('needs', 'int there_is_no_such_function(void); int f(void) { return there_is_no_such_function(); }')):
        source.write_text(code)
        subprocess.run(['gcc', '-shared', '-fPIC', '-o', str(plugins / f'{name}.so'), str(source)], check=True, timeout=60)
    (plugins / 'mdev_plugin_driver.so').chmod(0o777)
    daemon = start('--plugin-dir', plugins)
    assert [p['name'] for p in daemon.json('mdev', 'plugins')] == ['hello']
    log = daemon.log()
    for said in ('broken.so: no plugin', 'none.so: no plugin: it exports no uvdpa_plugin', 'old.so: no plugin: it is for another version',
                 'short.so: no plugin: its description is not complete', 'needs.so: no plugin',
                 'mdev_plugin_driver.so: no plugin: others may write to it'):
        assert said in log, (said, log)
    assert 'other.txt' not in log
    daemon.ok('mdev', 'create', 'hello-text', U1)
    assert daemon.json('mdev', 'show', U1)[0]['driver'] is None


def test_a_folder_that_others_may_write_to(start, plugins):
    plugins.chmod(0o777)
    daemon = start('--plugin-dir', plugins, wait=False)
    assert daemon.proc.wait(30) == 1
    assert 'others may write to it' in daemon.log()


@pytest.mark.skipif(not os.path.exists(f'{PLUGINS}/dsa_wq_plugin.so'), reason='DSAs are not built in')
def test_driver_of_a_queue(start, plugins):
    """A queue of type kernel gets its driver from a plugin, which copies, and lets it go."""
    shutil.copy(f'{PLUGINS}/dsa_wq_plugin.so', plugins / 'dsa_wq_plugin.so')
    (plugins / 'dsa_wq_plugin.so').chmod(0o755)
    daemon = start('--plugin-dir', plugins)
    daemon.ok('dsa', 'add', 'dsa0')
    daemon.ok('dsa', 'config', 'dsa0/engine0.0', 'group_id', '0')
    for i, driver in enumerate(('copycheck', 'nobodys')):
        daemon.ok('dsa', 'config', f'dsa0/wq0.{i}', 'type', 'kernel', 'driver_name', driver, 'name', 'w', 'size', '16',
                  'group_id', '0')
    daemon.ok('dsa', 'config', 'dsa0/wq0.2', 'type', 'user', 'name', 'u', 'size', '16', 'group_id', '0')
    assert [d['name'] for d in daemon.json('dsa', 'drivers')] == ['user', 'mdev']
    daemon.ok('dsa', 'enable', 'dsa0')
    daemon.ok('dsa', 'enable', 'dsa0/wq0.0')
    daemon.ok('dsa', 'enable', 'dsa0/wq0.2')
    assert 'driver_name=nobodys: there is no such driver' in daemon.fails('dsa', 'enable', 'dsa0/wq0.1')
    drivers = {d['name']: d['queues'] for d in daemon.json('dsa', 'drivers')}
    assert drivers == {'user': ['dsa0/wq0.2'], 'mdev': [], 'copycheck': ['dsa0/wq0.0']}
    assert 'copycheck: copies buffers, and compares them - dsa0/wq0.0\n' in daemon.ok('dsa', 'drivers')
    wait_for(lambda: re.search(r'copycheck: [1-9][0-9]* copies, 0 failures', daemon.log()))
    daemon.ok('dsa', 'disable', 'dsa0/wq0.0')
    assert daemon.json('dsa', 'show')[0]['wqs'][0]['state'] == 'disabled'
    assert {d['name']: d['queues'] for d in daemon.json('dsa', 'drivers')}['copycheck'] == []
    daemon.ok('dsa', 'enable', 'dsa0/wq0.0')
    daemon.ok('dsa', 'disable', 'dsa0')
    daemon.ok('dsa', 'enable', 'dsa0')
    daemon.ok('dsa', 'enable', 'dsa0/wq0.0')     # and the daemon ends with it
    assert daemon.stop() == 0, daemon.log()
