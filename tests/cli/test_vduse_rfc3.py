# SPDX-License-Identifier: BSD-3-Clause
"""The parent vduse with a process of the first published design: data, configuration, interrupts, its life."""
import errno
import os
import subprocess

import pytest

import vduse_proc as vp
import vduse_rfc3 as rfc
from cliutil import UVDPA, clean_env, wait_for

ISOLATION = pytest.mark.parametrize('isolation', ['shared', 'bounce'])


@pytest.fixture
def disk(served):
    """disk(...) -> a device process; all end with the test."""
    made = []

    def maker(*args, **kwargs):
        proc = rfc.RfcDisk(served.vduse, *args, **kwargs)
        proc.start()
        made.append(proc)
        return proc

    yield maker
    for proc in made:
        proc.close()


def add(daemon, isolation, *more):
    """As soon as its process has said what it is."""
    words = ('dev', 'add', 'name', 'vduse7', 'mgmtdev', 'vduse', 'isolation', isolation, *more)

    def added():
        done = daemon.run(*words)
        assert done.returncode == 0 or 'not answered yet' in done.stderr, done.stderr
        return done.returncode == 0

    wait_for(added)


def blk(daemon, *words):
    return daemon.ok('drv', 'virtio0', 'blk', *words)


def show(daemon):
    return daemon.json('--all', 'dev', 'show', 'vduse7')['dev']['vduse7']


def kinds(proc):
    return [kind for kind, _ in proc.seen]


@ISOLATION
def test_virtio_vdpa(served, disk, isolation):
    """What is written is read again; every kind of message came, and what they say is what the driver has."""
    proc = disk()
    add(served, isolation)
    served.ok('dev', 'bind', 'vduse7', 'virtio-vdpa')
    blk(served, 'fill', '0', '1M', 'seed', '7')
    blk(served, 'verify', '0', '1M', 'seed', '7')
    shown = show(served)['show']
    assert (shown['api'], shown['isolation'], shown['process']) == ('rfc3', isolation, 'connected')
    assert proc.accepted & vp.F_VERSION_1 and proc.status == 15
    assert proc.ring['num'] <= 256 and served.ok('drv', 'virtio0', 'conform')
    served.ok('dev', 'unbind', 'vduse7')
    wait_for(lambda: proc.status == 0)
    served.ok('dev', 'bind', 'vduse7', 'virtio-vdpa')
    blk(served, 'verify', '0', '1M', 'seed', '7')
    served.ok('dev', 'del', 'vduse7')
    assert set(kinds(proc)) >= set(range(13)) - {rfc.GET_VQ_STATE, rfc.SET_CONFIG}


@ISOLATION
def test_vhost_user(served, disk, isolation):
    """The same through a socket, from a driver in another process; a second life of the driver after it."""
    proc = disk()
    add(served, isolation)
    path = served.folder / 'vduse7.sock'
    served.ok('dev', 'bind', 'vduse7', 'vhost-user', 'path', path)
    for seed in ('3', '4'):
        served.ok('drv', '--socket', path, 'blk', 'fill', '0', '1M', 'seed', seed)
        served.ok('drv', '--socket', path, 'blk', 'verify', '0', '1M', 'seed', seed)
    wait_for(lambda: proc.status == 0)
    copies = int(show(served)['show']['bounce_copies'])
    assert copies if isolation == 'bounce' else not copies
    assert rfc.GET_VQ_STATE in kinds(proc) or isolation == 'bounce'
    served.ok('dev', 'del', 'vduse7')


@ISOLATION
def test_config_write(served, disk, isolation):
    """What the driver writes into the configuration reaches the process; what it makes of it the driver reads."""
    proc = disk()
    add(served, isolation)
    served.ok('dev', 'bind', 'vduse7', 'virtio-vdpa')
    served.ok('drv', 'virtio0', 'config', 'write', rfc.WCE, 'hex', '01')
    wait_for(lambda: proc.space[rfc.WCE] == 1)
    assert served.json('drv', 'virtio0', 'config', 'read', rfc.WCE, '1') == {'data': '01'}
    # A process that does not do it: the driver reads that, too.
    proc.hook = lambda kind, body: kind != rfc.SET_CONFIG
    served.ok('drv', 'virtio0', 'config', 'write', rfc.WCE, 'hex', '00')
    wait_for(lambda: served.json('drv', 'virtio0', 'config', 'read', rfc.WCE, '1') == {'data': '01'})
    assert proc.space[rfc.WCE] == 1 and show(served)['show']['process'] == 'connected'
    assert int(show(served)['show']['refused']) == 1


@ISOLATION
def test_killed(served, disk, isolation):
    """The next process is told everything anew, and goes on."""
    proc = disk()
    add(served, isolation)
    served.ok('dev', 'bind', 'vduse7', 'virtio-vdpa')
    blk(served, 'fill', '0', '256K', 'seed', '3')
    stored = bytes(proc.store)
    proc.close()
    wait_for(lambda: show(served)['show']['process'] == 'none')
    again = disk(create=False)
    again.store[:] = stored
    blk(served, 'verify', '0', '256K', 'seed', '3')
    assert [body[0] for kind, body in again.seen if kind == rfc.SET_STATUS] == [0, 1, 3, 11, 15]
    assert show(served)['show']['process'] == 'connected'


def test_opens_that_answer_nothing(served, disk):
    """A process that opens its device and goes leaves no question behind it for each time."""
    control = vp.File(served.vduse, 'control')
    control.ioctl(rfc.CREATE, rfc.dev_config(7))
    for _ in range(40):
        wait_for(lambda: opened(served.vduse)).close()
    proc = wait_for(lambda: opened(served.vduse, lambda: disk(create=False)))
    add(served, 'shared')
    assert kinds(proc) == [rfc.GET_FEATURES, rfc.GET_CONFIG]
    control.close()


def opened(path, how=None):
    """What opens vduse7; None while another process has it."""
    try:
        return how() if how else vp.File(path, 'vduse7')
    except vp.Refused as e:
        assert e.code == errno.EBUSY
        return None


PROGRAM = """
import errno, fcntl, os, struct, sys, time
sys.path.insert(0, sys.argv[1])
import vduse_rfc3 as rfc
control = os.open('/dev/vduse', os.O_RDWR)
dev = fcntl.ioctl(control, rfc.CREATE, bytearray(rfc.dev_config(9)))
try:
    fcntl.ioctl(control, rfc.CREATE, bytearray(rfc.dev_config(9)))
    sys.exit('made twice')
except FileExistsError:
    pass
for kind in (rfc.GET_FEATURES, rfc.GET_CONFIG):
    req = os.read(dev, 512)
    assert len(req) == rfc.REQUEST
    assert struct.unpack_from('<I', req)[0] == kind
    assert os.write(dev, req[4:8] + bytes(4) + struct.pack('<Q', 1 << 32).ljust(264, b'\\0')) == rfc.RESPONSE
irq = os.eventfd(0)
fcntl.ioctl(dev, rfc.SET_IRQ, struct.pack('<Ii', 0, irq))
print('made', flush=True)
sys.stdin.readline()
os.close(dev)
while True:
    try:
        fcntl.ioctl(control, rfc.DESTROY, 9)
        break
    except OSError as e:
        assert e.errno == errno.EBUSY, e
        time.sleep(0.01)
print('gone', flush=True)
"""


@pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='/dev/fuse cannot be opened')
def test_run(served):
    """A program of that time: /dev/vduse is the control node, and making a device opens it."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with subprocess.Popen([UVDPA, '--socket', str(served.socket), 'run', '--', '/usr/bin/python3', '-c', PROGRAM, folder],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=clean_env()) as program:
        try:
            assert program.stdout.readline() == 'made\n', program.communicate()[1]
            wait_for(lambda: served.run('dev', 'add', 'name', 'vduse9', 'mgmtdev', 'vduse').returncode == 0)
            assert served.json('--all', 'dev', 'show', 'vduse9')['dev']['vduse9']['show']['api'] == 'rfc3'
            served.ok('dev', 'del', 'vduse9')
            out, err = program.communicate('\n', timeout=60)
            assert program.returncode == 0 and out == 'gone\n', out + err
        finally:
            program.kill()
