# SPDX-License-Identifier: BSD-3-Clause
"""The parent vduse: a device in a process of its own, on the daemon's endpoint."""
import errno
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import time

import pytest

import vduse_proc as vp
from cliutil import PATIENCE, UVDPA, clean_env, wait_for

FEATURES = vp.F_VERSION_1 | vp.F_ACCESS_PLATFORM


@pytest.fixture
def process(served):
    """process(...) -> a device process that answers; all end with the test."""
    made = []

    def maker(*args, **kwargs):
        proc = vp.Process(served.vduse, *args, **kwargs).start()
        made.append(proc)
        return proc

    yield maker
    for proc in made:
        proc.close()


def show(daemon, name='v0'):
    return daemon.json('--all', 'dev', 'show', name)['dev'][name]


def add(daemon, name='v0', *more):
    daemon.ok('dev', 'add', 'name', name, 'mgmtdev', 'vduse', *more)


def bind(daemon, name='v0'):
    path = daemon.folder / f'{name}.cdev'
    daemon.ok('dev', 'bind', name, 'vhost-vdpa', 'path', path)
    return path


def raw(daemon, path, *calls, ok=True):
    """Calls of the vhost-vdpa uAPI on one open file: name -> value."""
    done = subprocess.run([UVDPA, '-j', 'raw', str(path), *calls], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=clean_env(), timeout=4 * PATIENCE, check=False)
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


# A driver that goes up to DRIVER_OK with queue 0 at 0x10000, and stays until it is ended.
UP = ('SET_OWNER', 'IOTLB_UPDATE', 'iova=0x10000', 'size=0x10000', 'SET_STATUS', 'value=1', 'SET_STATUS', 'value=3',
      'SET_FEATURES', f'value={FEATURES:#x}', 'SET_STATUS', 'value=11', 'SET_VRING_NUM', 'index=0', 'num=16',
      'SET_VRING_BASE', 'index=0', 'num=5', 'SET_VRING_ENABLE', 'index=0', 'num=1', 'SET_STATUS', 'value=15')


def test_listed(served):
    names = list(served.json('mgmtdev', 'show')['mgmtdev'])
    assert 'vduse' in names


class Driver:
    """uvdpa raw ... HOLD: a driver that stays where it is until it is ended."""

    def __init__(self, daemon, path, *calls):
        self.proc = subprocess.Popen([UVDPA, '--socket', str(daemon.socket), 'raw', str(path), *calls, 'HOLD'],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     env=clean_env())

    def go_on(self):
        """Past a HOLD among its calls."""
        self.proc.stdin.write('\n')
        self.proc.stdin.flush()

    def end(self):
        out, err = self.proc.communicate(timeout=4 * PATIENCE)
        return self.proc.returncode, out, err


def up(daemon, proc, path, calls=UP):
    driver = Driver(daemon, path, *calls)
    wait_for(lambda: proc.status == 15)
    return driver


def gone(daemon, name='v0'):
    """The process's end has been seen."""
    wait_for(lambda: show(daemon, name)['show']['process'] != 'connected')


def test_life(served, process):
    """Made by the process, put on the bus by us, driven through vhost-vdpa, and back again."""
    proc = process()
    assert 'VDUSE device called "x"' in served.fails('dev', 'add', 'name', 'x', 'mgmtdev', 'vduse')
    add(served)
    assert proc.control.refused(vp.DESTROY, b'v0'.ljust(256, b'\0')) == errno.EBUSY
    dev = show(served)
    assert dev['show']['process'] == 'connected' and dev['show']['isolation'] == 'shared'
    driver = up(served, proc, bind(served))
    assert proc.statuses() == [1, 3, 11, 15]
    assert proc.features() == FEATURES
    info = proc.info(0)
    assert (info['num'], info['state'], info['ready']) == (16, 5, 1)
    assert driver.end()[0] == 0
    wait_for(lambda: proc.status == 0)
    assert proc.info(0)['ready'] == 0 and proc.features() == 0
    served.ok('dev', 'del', 'v0')
    proc.dev.close()
    wait_for(lambda: proc.control.refused(vp.DESTROY, b'v0'.ljust(256, b'\0')) != errno.EBUSY)
    assert proc.control.refused(vp.DESTROY, b'v0'.ljust(256, b'\0')) == errno.EINVAL


def test_kick_and_call(served, process):
    """Each start looks at its ring once; calls are counted, and refused before DRIVER_OK."""
    proc = process()
    add(served)
    path = bind(served)
    assert proc.dev.refused(vp.VQ_IRQ, struct.pack('<I', 0)) == errno.EINVAL
    assert proc.dev.refused(vp.CONFIG_IRQ) == errno.EINVAL
    driver = up(served, proc, path)
    wait_for(lambda: 0 in proc.kicks)
    assert os.eventfd_read(proc.kicks[0]) == 1
    for _ in range(3):
        proc.dev.ioctl(vp.VQ_IRQ, struct.pack('<I', 0))
    assert proc.dev.refused(vp.VQ_IRQ, struct.pack('<I', 1)) == errno.EINVAL
    assert proc.dev.refused(vp.SET_KICK, struct.pack('<Ii', 1, -1)) == errno.EINVAL
    assert proc.dev.refused(vp.SET_KICK, struct.pack('<Ii', 0, 3)) == errno.EBADF
    read, write = os.pipe()
    assert proc.dev.refused(vp.SET_KICK, struct.pack('<Ii', 0, 3), [write]) == errno.EINVAL
    os.close(read)
    os.close(write)
    assert proc.dev.refused(vp.SET_KICK, struct.pack('<Ii', 0, -1)) == 0
    assert driver.end()[0] == 0


def test_memory(served, process):
    """The driver's memory comes as its own files; what was unmapped is no longer handed out."""
    proc = process()
    add(served)
    path = bind(served)
    maps = ('SET_OWNER', 'IOTLB_UPDATE', 'iova=0x10000', 'size=0x10000', 'IOTLB_UPDATE', 'iova=0x40000', 'size=0x1000',
            'perm=1')
    driver = up(served, proc, path, maps + UP[4:])
    first, last, perm, mem = proc.memory(0x12345)
    assert (first, last, perm) == (0x10000, 0x1ffff, 3)
    mem[:4] = b'abcd'
    assert proc.memory(0, 0xffffffffffffffff)[3][:4] == b'abcd'
    # What the device may only read comes as a descriptor that cannot write.
    first, last, perm, _ = proc.memory(0x40000)
    assert (first, last, perm) == (0x40000, 0x40fff, 1)
    _, fds = proc.dev.request(vp.IOCTL, vp.GET_FD, struct.pack('<QQQB7x', 0, 0x40000, 0x40000, 0))
    with pytest.raises(PermissionError):
        vp.mmap.mmap(fds[0], 4096, vp.mmap.MAP_SHARED, vp.mmap.PROT_READ | vp.mmap.PROT_WRITE)
    os.close(fds[0])
    for start, end in ((0, 0xffff), (0x20000, 0x3ffff), (0x41000, 0xffffffffffffffff), (2, 1)):
        assert proc.dev.refused(vp.GET_FD, struct.pack('<QQQB7x', 0, start, end, 0)) == errno.EINVAL
    assert proc.dev.ioctl(vp.GET_INFO, struct.pack('<QQQII16x', 0x1ffff, 0x40000, 0, 0, 0))[:24] == \
        struct.pack('<QQQ', 0x10000, 0x1ffff, 0)
    assert driver.end()[0] == 0
    wait_for(lambda: (vp.IOTLB in [kind for kind, _ in proc.seen]))
    assert proc.dev.refused(vp.GET_FD, struct.pack('<QQQB7x', 0, 0x12345, 0x12345, 0)) == errno.EINVAL


def test_update_iotlb(served, process):
    """The driver's unmap is complete when the process has let go, and not before."""
    proc = process()
    add(served)
    path = bind(served)
    answers = []

    def hook(kind, body):
        if kind == vp.IOTLB:
            answers.append(struct.unpack_from('<QQ', body))
            time.sleep(0.5)
        return True

    proc.hook = hook
    driver = up(served, proc, path)
    proc.memory(0x10000)
    driver.end()
    calls = ('SET_OWNER', 'IOTLB_UPDATE', 'iova=0x10000', 'size=0x10000', 'IOTLB_INVALIDATE', 'iova=0x10000',
             'size=0x10000')
    start = time.monotonic()
    raw(served, path, *calls)
    wait_for(lambda: answers)
    assert answers[0] == (0x10000, 0x1ffff)
    assert time.monotonic() - start >= 0.5


def test_config(served, process):
    """The configuration is the process's: it changes it, the driver is told, and cannot write."""
    proc = process()
    add(served)
    driver = up(served, proc, bind(served))
    for offset, size, error in ((0, 0, errno.EINVAL), (60, 1, errno.EINVAL), (59, 2, errno.EINVAL),
                                (0xffffffff, 2, errno.EINVAL), (0, 8, 0)):
        arg = struct.pack('<II', offset, size) + struct.pack('<Q', 4096).ljust(size, b'\0')[:size]
        assert proc.dev.refused(vp.SET_CONFIG, arg) == error, (offset, size)
    assert proc.dev.refused(vp.SET_CONFIG, struct.pack('<II', 0, 5000) + bytes(16)) == errno.EINVAL
    assert proc.dev.refused(vp.SET_CONFIG, struct.pack('<II', 0, 8)) == errno.EINVAL
    proc.dev.ioctl(vp.CONFIG_IRQ)
    dev = show(served)
    assert dev['generation'] == 1 and dev['show']['config_calls'] == '1'
    assert driver.end()[0] == 0


def test_queue_later(served, process):
    """A queue that becomes ready, or stops, after DRIVER_OK: the process is started anew, each queue where it was."""
    proc = process(nvqs=2)
    add(served)
    proc.states[0] = (77, 0, 0, 0)
    driver = up(served, proc, bind(served), UP + ('HOLD', 'SET_VRING_ENABLE', 'index=1', 'num=1'))
    assert 0 in proc.kicks and 1 not in proc.kicks
    driver.go_on()
    wait_for(lambda: proc.statuses().count(15) == 2 and 1 in proc.kicks)
    assert 0 in proc.kicks
    assert driver.end()[0] == 0
    wait_for(lambda: proc.status == 0)
    assert proc.statuses() == [1, 3, 11, 15, 0, 1, 3, 11, 15, 0]
    assert [kind for kind, _ in proc.seen].count(vp.VQ_STATE) == 1


def test_base(served, process):
    """GET_VRING_BASE of a queue that was stopped is what the process says."""
    proc = process()
    add(served)
    proc.states[0] = (1234, 0, 0, 0)
    calls = UP + ('SLEEP', 'ms=300', 'SUSPEND', 'GET_VRING_BASE', 'index=0')
    done = raw(served, bind(served), *calls)
    assert '1234' in done.stdout
    assert (vp.VQ_STATE, 0) in [(kind, body[0]) for kind, body in proc.seen]


def test_version_1(served, process):
    """Groups and address spaces: only of version 1, where they are said by a message."""
    proc = process(api=1, ngroups=2, nas=3, nvqs=2)
    assert proc.dev.refused(vp.VQ_SETUP, struct.pack('<IHHI20x', 1, 256, 0, 2)) == errno.EINVAL
    proc.dev.ioctl(vp.VQ_SETUP, struct.pack('<IHHI20x', 1, 256, 0, 1))
    add(served)
    path = bind(served)
    raw(served, path, 'SET_OWNER', 'SET_GROUP_ASID', 'group=1', 'asid=2', 'IOTLB_UPDATE', 'asid=2', 'iova=0x1000',
        'size=0x1000')
    wait_for(lambda: vp.GROUP_ASID in [kind for kind, _ in proc.seen])
    body = next(body for kind, body in proc.seen if kind == vp.GROUP_ASID)
    assert struct.unpack_from('<II', body) == (1, 2)
    for asid in (3, 0xffffffff):
        assert proc.dev.refused(vp.GET_FD2, struct.pack('<QQQB7xI44x', 0, 0, 0xfff, 0, asid)) == errno.EINVAL
    assert proc.dev.refused(vp.GET_FD2, struct.pack('<QQQB7xI40xI', 0, 0, 0xfff, 0, 0, 1)) == errno.EINVAL
    old = process('v1')
    assert old.dev.refused(vp.GET_FD2, bytes(80)) == errno.ENOTTY
    assert old.dev.refused(vp.VQ_SETUP, struct.pack('<IHHI20x', 0, 256, 0, 1)) == errno.EINVAL


@pytest.mark.parametrize('how', ['restart', 'next process'])
def test_groups_are_told_again(served, process, how):
    """Whoever was reset by us, or comes after another one, hears where the groups are before it starts."""
    proc = process(api=1, ngroups=2, nas=2, nvqs=2)
    add(served)
    up_on = ('SET_OWNER', 'SET_GROUP_ASID', 'group=1', 'asid=1') + UP[1:]
    driver = up(served, proc, bind(served), up_on + ('HOLD', 'SET_VRING_ENABLE', 'index=1', 'num=1'))
    if how == 'restart':
        driver.go_on()
        wait_for(lambda: proc.statuses().count(15) == 2)
        seen = proc.seen[[body[0] for kind, body in proc.seen].index(15):]
        seen = seen[[kind == vp.STATUS and not body[0] for kind, body in seen].index(True):]
        kinds = [(kind, body[0]) for kind, body in seen]
        assert kinds.index((vp.GROUP_ASID, 1)) < kinds.index((vp.STATUS, 15))
    else:
        proc.close()
        gone(served)
        again = process(api=1, nvqs=2, create=False)
        wait_for(lambda: [struct.unpack_from('<II', body) for kind, body in again.seen if kind == vp.GROUP_ASID] == [(1, 1)])
    assert driver.end()[0] == 0


def test_groups_while_nobody_hears(served, process):
    """However often a driver moves a group meanwhile, the next process is told once where it is."""
    proc = process(api=1, ngroups=2, nas=3, nvqs=2)
    add(served)
    proc.close()
    gone(served)
    moves = [word for i in range(60) for word in ('SET_GROUP_ASID', 'group=1', f'asid={1 + i % 2}')]
    driver = Driver(served, bind(served), 'SET_OWNER', *moves, 'SET_STATUS', 'value=1')
    wait_for(lambda: 'ACKNOWLEDGE' in json.dumps(show(served)))
    again = process(api=1, nvqs=2, create=False)
    wait_for(lambda: 1 in again.statuses())
    assert [struct.unpack_from('<II', body) for kind, body in again.seen if kind == vp.GROUP_ASID] == [(1, 2)]
    assert driver.end()[0] == 0


# ---- what is refused ----

BAD = [({'name': ''}, 22), ({'name': 'a/b'}, 22), ({'name': 'a\nb'}, 22), ({'name': b'\xff'}, 22), ({'name': b'x' * 256}, 22), ({'name': 'control'}, 17),
       ({'device_id': 0}, 22), ({'nvqs': 65536}, 22), ({'align': 0}, 22), ({'align': 3}, 22), ({'align': 8192}, 22),
       ({'ngroups': 1}, 22), ({'nas': 1}, 22), ({'reserved': 1}, 22), ({'size': 4097}, 22), ({'size': 61}, 22),
       ({'size': 0xffffffff}, 22), ({'device_id': 1, 'features': 0}, 22)]


@pytest.mark.parametrize('what, error', BAD, ids=[str(n) for n in range(len(BAD))])
def test_create_refused(served, what, error):
    control = vp.File(served.vduse, 'control')
    arg = vp.config(**{'name': 'v0', **what})
    assert control.refused(vp.CREATE, arg) == error
    assert control.refused(vp.CREATE, vp.config('v0')) == 0
    assert control.refused(vp.CREATE, vp.config('v0')) == errno.EEXIST
    control.close()


def test_queues_are_memory(served):
    """What processes make is memory of the daemon: there is an end to it."""
    control = vp.File(served.vduse, 'control')
    made = [control.refused(vp.CREATE, vp.config(f'q{i}', nvqs=65535)) for i in range(6)]
    assert made == [0, 0, 0, 0, errno.ENOSPC, errno.ENOSPC]
    control.ioctl(vp.DESTROY, b'q0'.ljust(256, b'\0'))
    assert control.refused(vp.CREATE, vp.config('q5', nvqs=65535)) == 0
    control.close()


def test_descriptors_of_others(served, process):
    """Eventfds and connections of processes leave descriptors for everybody else."""
    proc = process(nvqs=200)
    resource.prlimit(served.proc.pid, resource.RLIMIT_NOFILE, (100, 100))
    kick = os.eventfd(0)
    refused = [proc.dev.refused(vp.SET_KICK, struct.pack('<Ii', i, 0), [kick]) for i in range(200)]
    os.close(kick)
    assert 10 < refused.count(0) < 50 and refused[-1] == errno.EMFILE
    assert served.json('mgmtdev', 'show')
    early = vp.socket.socket(vp.socket.AF_UNIX, vp.socket.SOCK_SEQPACKET)
    early.connect(str(served.vduse))
    assert early.recv(64) == b''
    early.close()
    proc.dev.close()
    wait_for(lambda: proc.control.refused(vp.DESTROY, b'v0'.ljust(256, b'\0')) == 0)
    vp.File(served.vduse, 'control').close()


def test_connections_of_one_process(served):
    """One process has at most half of the connections that there may be; there is room for others."""
    resource.prlimit(served.proc.pid, resource.RLIMIT_NOFILE, (400, 400))
    socks = []
    for _ in range(60):
        sock = vp.socket.socket(vp.socket.AF_UNIX, vp.socket.SOCK_SEQPACKET)
        sock.connect(str(served.vduse))
        socks.append(sock)
    wait_for(lambda: len(select.select(socks, [], [], 0)[0]) == 10)
    assert 'is sent away' in served.log()
    other = [sys.executable, '-c', f'import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\n'
             f'import vduse_proc as vp; vp.File({str(served.vduse)!r}, "control")']
    assert subprocess.run(other, env=clean_env(), timeout=60, check=False).returncode == 0
    for sock in socks:
        sock.close()
    wait_for(lambda: own_file(served))


def own_file(served):
    """Is there room for us again?"""
    try:
        vp.File(served.vduse, 'control').close()
    except (ConnectionError, TimeoutError, BlockingIOError):
        return False
    return True


def test_versions(served):
    """As the kernel: who asks has the newest, who sets has that, who does neither has 0."""
    control = vp.File(served.vduse, 'control')
    groups = {'ngroups': 1, 'nas': 1}
    assert control.refused(vp.CREATE, vp.config('a', **groups)) == errno.EINVAL
    assert control.refused(vp.SET_API, struct.pack('<Q', 2)) == errno.EINVAL
    assert control.ioctl(vp.GET_API) == struct.pack('<Q', 1)
    assert control.refused(vp.CREATE, vp.config('a')) == errno.EINVAL
    assert control.refused(vp.CREATE, vp.config('a', ngroups=65, nas=1)) == errno.EINVAL
    assert control.refused(vp.CREATE, vp.config('a', **groups)) == 0
    control.ioctl(vp.SET_API, struct.pack('<Q', 0))
    assert control.ioctl(vp.GET_API) == bytes(8)
    # A NIC's control queue, which the kernel refuses; CONFIG_WCE of a disk is refused here, too.
    assert control.refused(vp.CREATE, vp.config('n', 1, FEATURES | 1 << 17)) == 0
    assert control.refused(vp.CREATE, vp.config('d', 2, FEATURES | 1 << 11)) == errno.EINVAL
    control.close()


def test_nodes(served):
    """Ioctls of the other node, numbers of nobody, wrong sizes; a second open; a name that is not there."""
    proc = vp.Process(served.vduse)
    device = [vp.GET_FEATURES, vp.SET_CONFIG, vp.CONFIG_IRQ, vp.VQ_SETUP, vp.VQ_INFO, vp.SET_KICK, vp.VQ_IRQ, vp.GET_FD]
    for cmd in device:
        assert proc.control.refused(cmd, bytes(cmd >> 16 & 0x3fff)) == errno.ENOTTY
    for cmd in (vp.GET_API, vp.SET_API, vp.CREATE, vp.DESTROY, 0, 0x8100, 0xffffffff):
        assert proc.dev.refused(cmd, bytes(cmd >> 16 & 0xfff)) == errno.ENOTTY
    for cmd in device + [vp.GET_INFO]:
        size = 0 if cmd == vp.GET_FEATURES else cmd >> 16 & 0x3fff
        assert proc.dev.refused(cmd, bytes(size + 1)) == errno.EINVAL
        if size:
            assert proc.dev.refused(cmd, bytes(size - 1)) == errno.EINVAL
    for cmd in (vp.REG_UMEM, vp.DEREG_UMEM):
        assert proc.dev.refused(cmd, bytes(48)) == errno.EOPNOTSUPP
    for arg in ((1, 256, 0, 0), (0, 256, 1, 0), (0, 0, 0, 0), (0, 32769, 0, 0)):
        assert proc.dev.refused(vp.VQ_SETUP, struct.pack('<IHHI20x', *arg)) == errno.EINVAL
    assert proc.dev.refused(vp.VQ_SETUP, struct.pack('<IHHI18xH', 0, 256, 0, 0, 1)) == errno.EINVAL
    assert proc.dev.refused(vp.VQ_INFO, struct.pack('<I44x', 1)) == errno.EINVAL
    assert proc.dev.refused(vp.GET_INFO, struct.pack('<QQQIIQQ', 0, 1, 0, 0, 0, 1, 0)) == errno.EINVAL
    for name, error in (('v0', errno.EBUSY), ('v1', errno.ENOENT), ('', errno.ENOENT)):
        with pytest.raises(vp.Refused) as refused:
            vp.File(served.vduse, name)
        assert refused.value.code == error
    proc.close()


def test_no_message(served):
    """What is no message ends its connection, and nothing else."""
    proc = vp.Process(served.vduse)
    head = struct.Struct('<4I')
    for data in (b'', b'x', head.pack(3, 0, 0, 0), head.pack(2, vp.GET_API, 1, 0), head.pack(2, vp.GET_API, 0, 1),
                 head.pack(1, 1, 256, 0) + bytes(255), head.pack(1, 1, 256, 0) + b'x' * 256, bytes(60000)):
        control = vp.File(served.vduse, 'control')
        control.sock.send(data)
        if data:
            assert control.sock.recv(64) == b''
        control.close()
    # An ioctl before it says what it opens; opening twice.
    early = vp.socket.socket(vp.socket.AF_UNIX, vp.socket.SOCK_SEQPACKET)
    early.connect(str(served.vduse))
    early.send(head.pack(2, vp.GET_API, 0, 0))
    assert early.recv(64) == b''
    early.close()
    control = vp.File(served.vduse, 'control')
    control.sock.send(head.pack(1, 1, 256, 0) + b'v0'.ljust(256, b'\0'))
    assert control.sock.recv(64) == b''
    control.close()
    # More descriptors than an ioctl can have.
    control = vp.File(served.vduse, 'control')
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        control.ioctl(vp.GET_API, b'', [0, 1, 2])
    control.close()
    assert proc.features() == 0
    proc.close()


def test_not_ready(served):
    """The device has to be complete; the endpoint has to be there."""
    control = vp.File(served.vduse, 'control')
    control.ioctl(vp.CREATE, vp.config('v0', nvqs=2))
    assert 'queue 0 of 2' in served.fails('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse')
    control.close()


def test_no_endpoint(daemon):
    assert '--vduse' in daemon.fails('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse')


# ---- processes that fail ----

def test_hangs(served, process):
    """No answer in time: the operation fails, the device is broken, others go on, the next process continues."""
    proc, other = process(), process('v1')
    add(served, 'v0', 'msg_timeout_ms', 300)
    add(served, 'v1')
    path = bind(served)
    bind(served, 'v1')
    proc.hook = lambda kind, body: None
    done = raw(served, path, *UP, 'SUSPEND', ok=False)
    assert done.returncode != 0 and 'SUSPEND' in done.stdout
    dev = show(served)
    assert dev['show']['process'] == 'broken'
    assert 'did not answer in time' in served.log()
    assert up(served, other, served.folder / 'v1.cdev').end()[0] == 0
    # Its late answer has nobody to go to.
    wait_for(lambda: not proc.thread.is_alive())
    proc.close()
    again = process(create=False)
    wait_for(lambda: show(served)['show']['process'] == 'connected')
    assert up(served, again, path).end()[0] == 0
    assert again.statuses()[:5] == [0, 1, 3, 11, 15]


def test_stopped_process(served, process):
    """Without a process a device can be stopped at once, but not started."""
    proc = process()
    add(served, 'v0', 'msg_timeout_ms', 3000)
    path = bind(served)
    driver = up(served, proc, path)
    proc.close()
    gone(served)
    assert driver.end()[0] == 0
    assert raw(served, path, 'GET_STATUS').stdout
    driver = Driver(served, path, *UP)
    wait_for(lambda: show(served)['show']['process'] == 'broken')
    driver.end()
    assert 'none came in time' in served.log()
    assert raw(served, path, 'GET_STATUS', ok=False).returncode != 0
    again = process(create=False)
    wait_for(lambda: show(served)['show']['process'] == 'connected')
    assert up(served, again, path).end()[0] == 0


def test_crash(served, process):
    """A process that dies leaves its device as it is; the next one finds its queues, and is kicked."""
    proc = process()
    add(served)
    driver = up(served, proc, bind(served))
    proc.close()
    gone(served)
    again = process(create=False)
    info = again.info(0)
    assert (info['num'], info['state'], info['ready']) == (16, 5, 1)
    assert again.features() == FEATURES
    again.set_status(15)
    assert os.eventfd_read(again.kicks[0]) >= 1
    assert driver.end()[0] == 0
    wait_for(lambda: again.statuses() == [0])


def test_crash_in_a_message(served, process):
    """What it read and did not answer is read by the next one."""
    proc = process()
    add(served)
    path = bind(served)
    proc.hook = lambda kind, body: None if kind == vp.STATUS and body[0] == 11 else True
    driver = Driver(served, path, *UP)
    wait_for(lambda: proc.statuses() == [1, 3, 11])
    proc.close()
    again = process(create=False)
    wait_for(lambda: again.statuses() == [11, 15])
    assert driver.end()[0] == 0


def test_lies(served, process):
    """Answers of a wrong size, of nobody's question, twice: counted, and nothing else."""
    proc = process()
    add(served)
    path = bind(served)

    def hook(kind, body):
        proc.dev.fd.send(b'x')
        proc.dev.fd.send(bytes(153))
        proc.answer(0xffffffff)
        return True

    proc.hook = hook
    driver = up(served, proc, path)
    number = show(served)['show']
    assert int(number['answers_bad']) >= 8 and int(number['answers_late']) >= 4
    proc.states[0] = (0xffff, 0xffff, 0xffff, 0xffff)
    assert driver.end()[0] == 0
    assert show(served)['show']['process'] == 'connected'


@pytest.mark.parametrize('status', [1, 3, 11, 15])
def test_refuses(served, process, status):
    """A step that the process refuses: the driver finds a device that needs a reset."""
    proc = process()
    add(served)
    path = bind(served)
    proc.hook = lambda kind, body: not (kind == vp.STATUS and body[0] == status)
    driver = Driver(served, path, *UP)
    wait_for(lambda: show(served)['show']['process'] == 'broken')
    assert 'refuses the status' in served.log()
    driver.end()
    proc.close()
    again = process(create=False)
    # The driver is gone, though its reset had nobody to be told to: there is nobody to call.
    assert again.dev.refused(vp.VQ_IRQ, struct.pack('<I', 0)) == errno.EINVAL
    wait_for(lambda: show(served)['show']['process'] == 'connected')
    assert up(served, again, path).end()[0] == 0


@pytest.mark.parametrize('how', ['fail', 'hang', 'die'])
def test_nth_message(served, process, how):
    """For every n: the n-th message fails, and the device comes back."""
    proc = process()
    # Who hangs, or does not come back, is to be given up; what comes too late by itself is tried again.
    add(served, 'v0', 'msg_timeout_ms', 1000 * PATIENCE if how == 'fail' else 600)
    path = bind(served)
    calls = UP + ('SLEEP', 'SUSPEND', 'GET_VRING_BASE', 'index=0', 'RESUME', 'SLEEP')
    failed, n = True, 0
    while failed:
        failed = False
        left = [n]

        def hook(kind, body, left=left, proc=proc):
            left[0] -= 1
            if left[0] != -1:
                return True
            if how == 'die':
                proc.dev.fd.shutdown(vp.socket.SHUT_RDWR)
            return False if how == 'fail' else None

        proc.hook = hook
        done = raw(served, path, *calls, ok=False)
        failed = left[0] < 0 or done.returncode != 0
        wait_for(lambda: not show(served)['status'] or show(served)['show']['process'] != 'connected')
        proc.close()
        proc = process(create=False)
        wait_for(lambda: show(served)['show']['process'] == 'connected')
        n += left[0] < 0
    assert n > 7


def test_unbind_while_hung(served, process):
    """An unbind, a dev del and the daemon's end do not wait for ever."""
    proc = process()
    add(served, 'v0', 'msg_timeout_ms', 3000)
    driver = up(served, proc, bind(served))
    proc.hook = lambda kind, body: None
    served.ok('dev', 'del', 'v0')
    assert not served.json('dev', 'show')['dev']
    driver.end()


def test_many(served):
    """1,000 devices: made, put on the bus, deleted; nothing is left."""
    before = served.settled_fds()
    control = vp.File(served.vduse, 'control')
    rounds = int(os.environ.get('UVDPA_TEST_ROUNDS', '1')) * 100
    with served.client() as client:
        for i in range(rounds):
            proc = [vp.Process(served.vduse, f'm{i}-{k}') for k in range(10)]
            for p in proc:
                assert 'error' not in client.call('dev.add', name=p.name, mgmtdev='vduse')
            for p in proc:
                assert 'error' not in client.call('dev.del', name=p.name)
                p.dev.close()
                wait_for(lambda p=p: p.control.refused(vp.DESTROY, p.name.encode().ljust(256, b'\0')) == 0)
                p.close()
    control.close()
    assert served.settled_fds() <= before + 1


def test_daemon_ends_first(served, process):
    """The process sees the end of the file."""
    proc = process()
    add(served)
    up(served, proc, bind(served))
    assert served.stop(signal.SIGTERM) == 0, served.log()
    wait_for(lambda: not proc.thread.is_alive())


@pytest.mark.parametrize('what', ['reset', 'suspend'])
def test_dies_while_it_stops(served, process, what):
    """A process that ends instead of answering a reset, or saying where its queues stand: it has stopped."""
    proc = process()
    add(served, 'v0', 'msg_timeout_ms', 10000 * PATIENCE)
    path = bind(served)

    def hook(kind, body):
        if kind == vp.VQ_STATE or (kind == vp.STATUS and not body[0]):
            proc.dev.fd.shutdown(vp.socket.SHUT_RDWR)
            return None
        return True

    proc.hook = hook
    start = time.monotonic()
    raw(served, path, *UP, 'SLEEP', 'ms=300', *(['SUSPEND'] if what == 'suspend' else []))
    raw(served, path, 'GET_STATUS')
    assert time.monotonic() - start < 5 * PATIENCE
    assert show(served)['show']['process'] == 'none'


# ---- uvdpa run ----

PROGRAM = '''
import errno, fcntl, mmap, os, select, stat, struct, sys
sys.path.insert(0, {folder!r})
import vduse_proc as vp
def error(what, *args):
    try:
        what(*args)
    except OSError as e:
        return e.errno
    return 0
assert stat.S_ISCHR(os.stat('/dev/vduse/control').st_mode)
assert os.listdir('/dev/vduse') == ['control']
control = os.open('/dev/vduse/control', os.O_RDWR | os.O_CLOEXEC)
assert not os.get_inheritable(control)
assert struct.unpack('<Q', fcntl.ioctl(control, vp.GET_API, bytes(8))) == (1,)
fcntl.ioctl(control, vp.SET_API, bytes(8))
assert error(fcntl.ioctl, control, vp.SET_API, struct.pack('<Q', 2)) == errno.EINVAL
assert error(fcntl.ioctl, control, 0x8150, 0) == errno.ENOTTY
assert error(os.open, '/dev/vduse/r0', os.O_RDWR) == errno.ENOENT
config = bytearray(vp.config('r0'))
fcntl.ioctl(control, vp.CREATE, config)
assert error(fcntl.ioctl, control, vp.CREATE, config) == errno.EEXIST
assert sorted(os.listdir('/dev/vduse')) == ['control', 'r0']
dev = os.open('/dev/vduse/r0', os.O_RDWR | os.O_NONBLOCK)
assert error(os.open, '/dev/vduse/r0', os.O_RDWR) == errno.EBUSY
assert error(os.read, dev, 152) == errno.EAGAIN
fcntl.ioctl(dev, vp.VQ_SETUP, struct.pack('<IHHI20x', 0, 64, 0, 0))
assert error(fcntl.ioctl, dev, vp.VQ_SETUP, struct.pack('<IHHI20x', 1, 64, 0, 0)) == errno.EINVAL
# Another descriptor, with a number like ours: the kernel's matter.
assert error(fcntl.ioctl, 0, vp.VQ_SETUP, bytes(32)) in (errno.ENOTTY, errno.EINVAL)
print('made', flush=True)
poll = select.poll()
poll.register(dev, select.POLLIN)
status = None
while status != 15:
    assert poll.poll(30000)
    number, body = struct.unpack_from('<I', os.read(dev, 152), 4)[0], None
    status = (status or 0) | next(b for b in (1, 2, 8, 4) if not (status or 0) & b)
    if status == 15:
        info = fcntl.ioctl(dev, vp.VQ_INFO, struct.pack('<I44x', 0))
        assert struct.unpack('<IIQQQQB7x', info)[1::4] == (16, 5)
        kick = os.eventfd(0)
        fcntl.ioctl(dev, vp.SET_KICK, struct.pack('<Ii', 0, kick))
        entry = bytearray(struct.pack('<QQQB7x', 0, 0x10000, 0x10000, 0))
        fd = fcntl.ioctl(dev, vp.GET_FD, entry)
        offset, first, last, perm = struct.unpack('<QQQB7x', entry)
        assert (first, last, perm) == (0x10000, 0x1ffff, 3)
        mem = mmap.mmap(fd, last - first + 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        mem[0] = 1
        assert os.eventfd_read(kick) == 1
    assert os.write(dev, struct.pack('<II16x128x', number, 0)) == 152
fcntl.ioctl(dev, vp.VQ_IRQ, struct.pack('<I', 0))
assert error(fcntl.ioctl, dev, vp.VQ_IRQ, struct.pack('<I', 1)) == errno.EINVAL
print('up', flush=True)
copy = os.dup(dev)
os.close(dev)
assert select.select([copy], [], [], 30)[0]
number = struct.unpack_from('<I', os.read(copy, 152), 4)[0]
os.write(copy, struct.pack('<II16x128x', number, 0))
while os.read(copy, 152) if select.select([copy], [], [], 0.3)[0] else False:
    pass
os.close(copy)
print('down', flush=True)
sys.stdin.readline()
fcntl.ioctl(control, vp.DESTROY, b'r0'.ljust(256, b'\\\\0'))
assert os.listdir('/dev/vduse') == ['control']
'''


@pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='/dev/fuse cannot be opened')
def test_run(served):
    """A program sees /dev/vduse: opens, ioctls with their errors, poll, read, write, memory, descriptors, its end."""
    text = PROGRAM.replace('{folder!r}', repr(os.path.dirname(os.path.abspath(__file__)))).replace('\\\\0', '\\0')
    with subprocess.Popen([UVDPA, '--socket', str(served.socket), 'run', '--', '/usr/bin/python3', '-c', text],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=clean_env()) as program:
        try:
            assert program.stdout.readline() == 'made\n', program.communicate()[1]
            add(served, 'r0')
            driver = Driver(served, bind(served, 'r0'), *UP)
            assert program.stdout.readline() == 'up\n', program.communicate()[1]
            assert driver.end()[0] == 0
            assert program.stdout.readline() == 'down\n', program.communicate()[1]
            served.ok('dev', 'del', 'r0')
            out, err = program.communicate('\n', timeout=60)
            assert program.returncode == 0, out + err
        finally:
            program.kill()


SIGNALS = '''
import errno, fcntl, os, signal, sys
sys.path.insert(0, {folder!r})
import vduse_proc as vp
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
control = os.open('/dev/vduse/control', os.O_RDWR)
for i in range(150):
    fcntl.ioctl(control, vp.CREATE, bytearray(vp.config('r%d' % i)))
    fcntl.ioctl(control, vp.DESTROY, (b'r%d' % i).ljust(256, bytes(1)))
signal.setitimer(signal.ITIMER_REAL, 0)
'''


@pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='/dev/fuse cannot be opened')
@pytest.mark.skipif(tuple(map(int, os.uname().release.split('.')[:2])) < (6, 18), reason='the kernel may take a call back')
def test_run_signals(served):
    """A call that was carried out is not begun again for a signal: the device would be there already."""
    text = SIGNALS.replace('{folder!r}', repr(os.path.dirname(os.path.abspath(__file__))))
    done = served.run('run', '--', '/usr/bin/python3', '-c', text)
    assert done.returncode == 0, done.stderr


KILLED = '''
import ctypes, mmap, os, sys, time
sys.path.insert(0, {folder!r})
import vduse_proc as vp
libc = ctypes.CDLL(None)
control = os.open('/dev/vduse/control', os.O_RDWR)
area = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
place = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area)))
def ask():
    return libc.ioctl(control, ctypes.c_ulong(vp.GET_API), place)
def say(word):
    print(word, flush=True)
    sys.stdin.readline()
def forked(fn):
    pid = os.fork()
    if not pid:
        os._exit(fn())
    return pid
def bystander():
    area[:8] = b'its own.'
    os.write(is_up, b'x')
    os.read(wait, 1)
    return area[:8] != b'its own.'
say('open')
child = forked(ask)
while open('/proc/%d/stat' % child).read().rsplit(')', 1)[1].split()[0] not in 'DS':
    time.sleep(0.01)
time.sleep(0.5)
os.kill(child, 9)
os.waitpid(child, 0)
(up, is_up), (wait, go) = os.pipe(), os.pipe()
with open('/proc/sys/kernel/ns_last_pid', 'w') as last:
    last.write(str(child - 1))
other = forked(bystander)
os.read(up, 1)
say('taken' if other == child else 'lost')
area[:8] = b'its own.'
assert ask() == 0 and area[:8] != b'its own.'
os.write(go, b'x')
assert os.waitpid(other, 0)[1] == 0, 'written into the memory of another process'
'''


@pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='/dev/fuse cannot be opened')
@pytest.mark.skipif(os.geteuid() != 0, reason='only root chooses the number of a process')
def test_run_killed(served):
    """Who is killed in a call is not written to any more, and nor is who has its number by then."""
    text = KILLED.replace('{folder!r}', repr(os.path.dirname(os.path.abspath(__file__))))
    # Somebody else may take the number first.
    for _ in range(5):
        with subprocess.Popen([UVDPA, '--socket', str(served.socket), 'run', '--', '/usr/bin/python3', '-c', text],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=clean_env()) as program:
            try:
                assert program.stdout.readline() == 'open\n', program.communicate()[1]
                served.proc.send_signal(signal.SIGSTOP)
                program.stdin.write('\n')
                program.stdin.flush()
                word = program.stdout.readline()
                served.proc.send_signal(signal.SIGCONT)
                out, err = program.communicate('\n', timeout=60)
                assert program.returncode == 0 and word in ('taken\n', 'lost\n'), out + err
            finally:
                served.proc.send_signal(signal.SIGCONT)
                program.kill()
        if word == 'taken\n':
            return
    raise AssertionError('the number was always taken by somebody else')


def test_run_options(served, folder):
    """--vduse names another endpoint; without one /dev/vduse is not there."""
    bare = ['run', '--vduse', str(folder / 'nobody'), '--', 'sh', '-c', 'exec 3<>/dev/vduse/control']
    done = served.run(*bare)
    assert done.returncode != 0 and 'No such device or address' in done.stderr
