# SPDX-License-Identifier: BSD-3-Clause
"""The tree in the shape of Linux's sysfs: shells write to it, and mdevctl takes it for the kernel's."""
import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from cliutil import wait_for

U1 = '11111111-2222-3333-4444-555555555555'
U2 = '11111111-2222-3333-4444-666666666666'
TYPE = 'mvnet_loopback-virtio'
TYPES = 'class/mdev_bus/mvnet_loopback/mdev_supported_types'



def may_mount():
    """Root of a container may not; others have fusermount3."""
    return os.geteuid() != 0 or subprocess.run(['unshare', '-m', 'true'], stderr=subprocess.DEVNULL, timeout=60,
                                               check=False).returncode == 0


pytestmark = pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK) or not may_mount(),
                                reason='/dev/fuse cannot be opened, or nothing be mounted')


@pytest.fixture
def tree(start, folder):
    """A daemon, and its tree."""
    daemon = start('--sysfs', folder / 'sys')
    assert daemon.ready == b'\n', daemon.log()
    daemon.sys = folder / 'sys'
    yield daemon
    assert daemon.stop() == 0, daemon.log()
    assert not os.path.ismount(folder / 'sys')


def echo(text, path):
    """As a person does it."""
    return subprocess.run(['sh', '-c', 'echo "$1" > "$2"', 'sh', text, str(path)], capture_output=True,
                          text=True, timeout=60, check=False).returncode


def refused(path, text):
    """The errno of a write."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text)
    except OSError as err:
        return errno.errorcode[err.errno]
    finally:
        os.close(fd)
    return None


def test_types(tree):
    base = tree.sys / TYPES / TYPE
    assert sorted(p.name for p in base.iterdir()) == ['available_instances', 'create', 'description', 'device_api',
                                                      'devices', 'name']
    assert (base / 'device_api').read_text() == 'virtio-mdev\n'
    assert (base / 'available_instances').read_text() == '16\n'
    assert (base / 'name').read_text() == 'Loopback NIC\n'
    assert (base / 'description').read_text() == 'virtio-net, 2 queues of 256, receives what it sends\n'
    assert (base / 'create').stat().st_mode & 0o777 == 0o200


def test_echo_uuid_create_remove(tree):
    assert echo(U1, tree.sys / TYPES / TYPE / 'create') == 0
    device = tree.sys / 'bus/mdev/devices' / U1
    assert os.readlink(device) == f'../../../devices/virtual/mdev/mvnet_loopback/{U1}'
    assert (device / 'mdev_type').resolve().name == TYPE
    assert (device / 'driver').resolve().name == 'virtio_mdev'
    assert (device / 'subsystem').resolve().name == 'mdev_virtio'
    assert (device / 'modalias').read_text() == 'mdev_virtio:c01\n'
    assert (device / 'uevent').read_text() == 'DRIVER=virtio_mdev\nMODALIAS=mdev_virtio:c01\n'
    assert (tree.sys / TYPES / TYPE / 'devices' / U1).resolve() == device.resolve()
    assert (tree.sys / TYPES / TYPE / 'available_instances').read_text() == '15\n'
    assert os.listdir(tree.sys / 'bus/mdev_virtio/devices') == [U1]
    assert echo('52:54:00:00:00:09', device / 'mac') == 0
    assert (device / 'mac').read_text() == '52:54:00:00:00:09\n'
    tree.ok('dev', 'bind', U1, 'virtio-vdpa')
    assert os.listdir(tree.sys / 'bus/virtio/devices') == ['virtio0']
    assert (tree.sys / 'bus/vdpa/devices' / U1 / 'driver_name').read_text() == 'virtio-vdpa\n'
    assert echo('1', device / 'remove') == 0
    assert os.listdir(tree.sys / 'bus/mdev/devices') == [] == os.listdir(tree.sys / 'bus/virtio/devices')
    assert tree.json('dev', 'show')['dev'] == {}
    assert echo(U1, tree.sys / TYPES / TYPE / 'create') == 0


def test_errors_are_linux_errors(tree):
    create = tree.sys / TYPES / TYPE / 'create'
    assert refused(create, U1.encode()) is None
    assert refused(create, U1.encode() + b'\n') == 'EEXIST'
    device = tree.sys / 'bus/mdev/devices' / U1
    for text in (b'', b'nonsense', U1.encode() + b'\n\n', b'a\0b', b'x' * 5000, U1.encode() + b' '):
        assert refused(create, text) in ('EINVAL', None if not text else 'EINVAL')
    for i in range(15):
        assert refused(create, f'{U2[:-2]}{i:02}'.encode()) is None
    assert refused(create, U2.encode()) == 'EUSERS'
    assert refused(device / 'mac', b'01:00:00:00:00:00') == 'EINVAL'
    assert refused(device / 'remove', b'x') == 'EINVAL'
    assert refused(device / 'remove', b'0') is None and device.exists()
    driver = tree.sys / 'bus/mdev_virtio/drivers/virtio_mdev'
    assert refused(driver / 'bind', U1.encode()) == 'EBUSY'
    assert refused(driver / 'unbind', U1.encode()) is None
    assert not (device / 'driver').exists()
    assert refused(driver / 'unbind', U1.encode()) == 'ENODEV'
    assert refused(driver / 'bind', U1.encode()) is None and (device / 'driver').exists()
    for path in ('nothing', TYPES + '/nothing', 'bus/mdev/devices/' + U2, 'class/mdev_bus/nobody', 'bus/mdev/' + 'x' * 200):
        with pytest.raises(FileNotFoundError):
            (tree.sys / path).stat()
    for done in (lambda: (tree.sys / 'new').mkdir(), lambda: (tree.sys / 'new').write_text('x'),
                 lambda: os.unlink(create), lambda: os.chmod(create, 0o777)):
        with pytest.raises(OSError):
            done()
    assert tree.ok('daemon', 'info')


def test_what_is_gone_is_gone(tree):
    """A directory that was opened, and a file: their device is removed meanwhile."""
    assert echo(U1, tree.sys / TYPES / TYPE / 'create') == 0
    folder = os.open(tree.sys / 'bus/mdev/devices' / U1, os.O_RDONLY | os.O_DIRECTORY)
    mac = os.open('mac', os.O_RDWR, dir_fd=folder)
    tree.ok('mdev', 'remove', U1)
    with pytest.raises(FileNotFoundError):
        os.read(mac, 100)
    with pytest.raises(FileNotFoundError):
        os.write(mac, b'52:54:00:00:00:09')
    with pytest.raises(FileNotFoundError):
        os.listdir(folder)
    os.close(mac)
    os.close(folder)


def test_many_at_once(tree):
    """Threads make, list and remove; none sees a mistake that is not another's doing."""
    def work(n):
        for i in range(20):
            uuid = f'{U1[:-4]}{n}{i:03}'
            assert echo(uuid, tree.sys / TYPES / TYPE / 'create') == 0
            assert uuid in os.listdir(tree.sys / 'bus/mdev/devices')
            assert echo('1', tree.sys / 'bus/mdev/devices' / uuid / 'remove') == 0
            done.append(uuid)

    done = []
    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(100)
    assert len(done) == 80 and os.listdir(tree.sys / 'bus/mdev/devices') == []


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can unmount what another process mounted')
def test_a_killed_daemon_leaves_no_obstacle(start, folder):
    first = start('--sysfs', folder / 'sys')
    first.proc.kill()
    first.proc.wait()
    again = start('--sysfs', folder / 'sys', sock='again.sock')
    assert again.ready == b'\n', again.log()
    assert os.listdir(folder / 'sys/bus/mdev/devices') == []
    subprocess.run(['umount', str(folder / 'sys')], check=True, timeout=60)
    wait_for(lambda: 'was unmounted' in again.log())
    assert again.ok('mdev', 'list') == ''


def test_write_is_answered_at_the_end(start, folder):
    """Of a removal that never ends, before the daemon ends without it."""
    plugins = folder / 'plugins'
    plugins.mkdir(mode=0o755)
    for path in (f"{os.environ['MDEV_PLUGINS']}/mdev_plugin.so", os.environ['STUCK_DRIVER']):
        shutil.copy(path, plugins)
        (plugins / os.path.basename(path)).chmod(0o755)
    daemon = start('--sysfs', folder / 'sys', '--plugin-dir', plugins)
    daemon.ok('mdev', 'create', 'hello-text', U1)
    wait_for(lambda: daemon.json('mdev', 'show', U1)[0].get('driver', {}).get('name') == 'stuck_driver')
    said = []
    fd = os.open(folder / 'sys/bus/mdev/devices' / U1 / 'remove', os.O_WRONLY)

    def write():
        try:
            os.write(fd, b'1\n')
        except OSError as err:
            said.append(errno.errorcode[err.errno])

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: 'is kept' in daemon.log())
    # One signal asks it to end; two more, not to wait for devices.
    while daemon.proc.poll() is None:
        daemon.proc.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    writer.join(100)
    with contextlib.suppress(OSError):  # there is no file system any more
        os.close(fd)
    assert said == ['ESHUTDOWN'] and daemon.proc.returncode == 1, (said, daemon.log())
    assert 'do not let go' in daemon.log() and not os.path.ismount(folder / 'sys')


MDEVCTL = r'''
set -e
mount --bind "$1/sys" /sys
mount --bind "$1/etc" /etc/mdevctl.d
mdevctl types --dumpjson >"$1/types"
mdevctl start -u $2 -p mvnet_loopback -t mvnet_loopback-virtio
mdevctl list >"$1/list"
mdevctl define -u $2
mdevctl modify -u $2 --addattr mac --value 52:54:00:00:00:09
mdevctl stop -u $2
mdevctl list >"$1/none"
mdevctl start -u $2
mdevctl list -d --dumpjson >"$1/defined"
'''


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for a mount namespace')
def test_mdevctl(start, folder):
    """The distribution's, which knows /sys and /etc/mdevctl.d only: it has a mount namespace of its own."""
    for name in ('callouts', 'notifiers'):
        (folder / 'etc/scripts.d' / name).mkdir(parents=True)
    daemon = start('--sysfs', folder / 'sys', '--mdev-dir', folder / 'etc')
    types = json.loads(daemon.ok('-j', 'mdev', 'types'))
    done = subprocess.run(['unshare', '-m', 'sh', '-c', MDEVCTL, 'sh', str(folder), U1], capture_output=True,
                          text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / 'types').read_text()) == types
    assert (folder / 'list').read_text().strip() == f'{U1} mvnet_loopback {TYPE} manual'
    assert (folder / 'none').read_text().strip() == ''
    assert daemon.json('mdev', 'show', U1)[0]['show']['mac'] == '52:54:00:00:00:09'
    assert json.loads(daemon.ok('-j', 'mdev', 'list', 'defined')) == json.loads((folder / 'defined').read_text())
    assert daemon.stop() == 0
    again = start('--mdev-dir', folder / 'etc')
    assert json.loads(again.ok('-j', 'mdev', 'list', 'defined')) == json.loads((folder / 'defined').read_text())
