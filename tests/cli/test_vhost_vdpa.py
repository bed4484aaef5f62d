# SPDX-License-Identifier: BSD-3-Clause
"""A device as /dev/vhost-vdpa-N on a socket: the suite that the kernel's device passes too, and hostile peers."""
import array
import json
import os
import pathlib
import socket
import struct
import subprocess

import pytest

from cliutil import PATIENCE, UVDPA, clean_env, wait_for

SUITE = os.environ['VHOST_VDPA_SUITE']
CVQ = os.environ['VHOST_VDPA_CVQ']
OPEN, IOCTL, WRITE = 1, 2, 3
EBUSY, EINVAL, EFAULT, ENOTTY, ENOBUFS = 16, 22, 14, 25, 105
SET_OWNER = 0xaf01
SET_BACKEND_FEATURES = 0x4008af25
GET_DEVICE_ID = 0x8004af70
SET_GROUP_ASID = 0x4008af7c
SET_FEATURES, SET_STATUS, SET_VRING_ENABLE = 0x4008af00, 0x4001af72, 0x4008af75
SET_VRING_NUM, SET_VRING_ADDR = 0x4008af10, 0x4028af11
VERSION_1, ACCESS_PLATFORM = 1 << 32, 1 << 33
PAGE = 4096


class Cdev:
    """One open file, by hand."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.result, self.hello = self.reply(OPEN)

    def reply(self, kind):
        data = self.sock.recv(8192)
        assert len(data) >= 16
        got, result, size, _ = struct.unpack_from('<IiII', data)
        assert got == kind and size == len(data) - 16
        return result, data[16:]

    def send(self, data, fds=()):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        self.sock.sendmsg([data], anc)

    def ioctl(self, cmd, arg=b'', fds=()):
        self.send(struct.pack('<IIII', IOCTL, cmd, 0, len(arg)) + arg, fds)
        return self.reply(IOCTL)

    def update(self, iova, size, mems, fds, asid=0):
        """An UPDATE whose memory are @mems: (uaddr, size, offset, writable)."""
        msg = struct.pack('<IIQQQBB6x', 2, asid, iova, size, 0x10000, 3, 2).ljust(72, b'\0')
        mem = b''.join(struct.pack('<QQQII', *m, 0) for m in mems)
        self.send(struct.pack('<IIII', WRITE, 0, len(mems), 72) + mem + msg, fds)
        return self.reply(WRITE)[0]

    def ends(self):
        try:
            return self.sock.recv(8192) == b''
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()


@pytest.fixture
def disk(start, folder):
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    daemon.path = folder / 'd0.cdev'
    daemon.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', daemon.path)
    return daemon


@pytest.fixture
def memory():
    fd = os.memfd_create('memory')
    os.truncate(fd, 4 * PAGE)
    yield fd
    os.close(fd)


def run_suite(path):
    done = subprocess.run([SUITE, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=clean_env(), timeout=PATIENCE * 2, check=False)
    assert done.returncode == 0, done.stdout
    assert ' 0 failed' in done.stdout
    return done.stdout


def test_suite(disk):
    assert 'there is one address space' in run_suite(disk.path)


@pytest.mark.parametrize('attrs', [
    ('groups', 'per-vq'),
    ('groups', 'per-vq', 'desc_group', 'on', 'dma', 'set_map'),
    ('desc_group', 'on', 'nas', '3'),
])
def test_suite_of_address_spaces(start, folder, attrs):
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'num_queues', '2', *attrs)
    daemon.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', folder / 'd0.cdev')
    assert 'read in another address space' in run_suite(folder / 'd0.cdev')


@pytest.mark.parametrize('attrs', [(), ('dma', 'set_map'), ('desc_group', 'on')])
def test_control_queue(start, folder, attrs):
    """Of a client that keeps it out of the guest's address space; meanwhile the device shows what it was told."""
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'backend', 'loopback', 'intercept', 'on', *attrs)
    daemon.ok('dev', 'bind', 'n0', 'vhost-vdpa', 'path', folder / 'n0.cdev')
    with subprocess.Popen([CVQ, str(folder / 'n0.cdev')], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=clean_env()) as client:
        said = iter(client.stdout.readline, '')
        before = []
        for line in said:
            before.append(line)
            if line == 'configured\n':
                break
        assert before and before[-1] == 'configured\n', before
        shown = daemon.json('cvq', 'show', 'n0')['cvq']['n0']
        assert (shown['mac'], shown['rx_mode']) == ('02:00:00:00:00:77', '')
        commands = daemon.json('cvq', 'state', 'n0')['commands'].values()
        assert [c.split()[0] for c in commands] == ['mac', 'promisc', 'unknown', 'mac']
        spaces = daemon.json('as', 'show', 'n0')['as']['n0']
        assert '0x800000' not in json.dumps(spaces['spaces'][0]) and '0x800000' in json.dumps(spaces['spaces'][1])
        out, _ = client.communicate('\n', timeout=PATIENCE)
    assert client.returncode == 0, ''.join(before) + out
    assert ' 0 failed' in out


def test_groups_are_shown(nic, folder, memory):
    """A NIC as a hypervisor sets it up that keeps the control queue to itself."""
    path = folder / 'n0.cdev'
    nic.ok('dev', 'bind', 'n0', 'vhost-vdpa', 'path', path)
    fresh = [{'group': 0, 'asid': 0, 'vqs': [0, 1], 'desc_vqs': [0, 1]}, {'group': 1, 'asid': 0, 'vqs': [2], 'desc_vqs': [2]}]
    assert nic.json('group', 'show', 'n0') == {'group': {'n0': fresh}}
    cdev = Cdev(path)
    assert cdev.ioctl(SET_OWNER)[0] == 0
    assert cdev.ioctl(SET_BACKEND_FEATURES, struct.pack('<Q', 1 << 1 | 1 << 3))[0] == 0
    assert cdev.ioctl(SET_GROUP_ASID, struct.pack('<II', 1, 1))[0] == 0
    assert cdev.ioctl(SET_GROUP_ASID, struct.pack('<II', 2, 1))[0] == -EINVAL
    assert cdev.ioctl(SET_GROUP_ASID, struct.pack('<II', 1, 2))[0] == -EINVAL
    assert cdev.ioctl(SET_GROUP_ASID, struct.pack('<II', 3, 1))[0] == -ENOBUFS
    assert cdev.update(0x100000, 2 * PAGE, [(0x10000, 2 * PAGE, 0, 1)], [memory]) == 72
    assert cdev.update(0x100000, PAGE, [(0x10000, PAGE, 3 * PAGE, 1)], [memory], asid=1) == 72
    assert cdev.update(0x300000, PAGE, [(0x10000, PAGE, 3 * PAGE, 1)], [memory], asid=2) == -EINVAL
    assert nic.ok('group', 'show') == 'n0: group 0 asid 0 vqs 0,1\nn0: group 1 asid 1 vqs 2\n'
    shown = nic.json('dev', 'show', 'n0', '--all')['dev']['n0']
    assert (shown['ngroups'], shown['nas'], shown['group_asid']) == (2, 2, [0, 1])
    assert (shown['show']['groups'], shown['show']['desc_group']) == ('cvq', 'off')
    spaces = nic.json('as', 'show', 'n0')['as']['n0']['spaces']
    assert [(s['asid'], s['groups'], s['total'], s['bytes']) for s in spaces] == \
        [(0, [0], 1, '0x2000'), (1, [1], 1, '0x1000')]
    for asid in (0, 1):
        assert spaces[asid]['ranges'] == nic.json('iotlb', 'dump', 'n0', 'asid', asid)
    text = nic.ok('as', 'show').splitlines()
    assert text[0] == 'n0: asid 0 groups 0 total 1 bytes 0x2000' and text[1].startswith('  0x100000-0x101fff rw addr ')
    assert text[2] == 'n0: asid 1 groups 1 total 1 bytes 0x1000' and text[3].startswith('  0x100000-0x100fff rw addr ')
    # What was made with the file ends with it.
    cdev.close()
    wait_for(lambda: nic.json('group', 'show', 'n0') == {'group': {'n0': fresh}})
    wait_for(lambda: [s['total'] for s in nic.json('as', 'show', 'n0')['as']['n0']['spaces']] == [0, 0])


def test_raw(nic, folder):
    """Calls by hand: what the uAPI says of groups and address spaces."""
    path = folder / 'n0.cdev'
    nic.ok('dev', 'bind', 'n0', 'vhost-vdpa', 'path', path)

    def raw(*calls, of=path):
        return nic.ok('raw', of, *calls)
    assert raw('VHOST_VDPA_GET_AS_NUM') == 'GET_AS_NUM 2\n' == raw('GET_AS_NUM', of='n0') == raw('GET_AS_NUM', of='vhost-vdpa-0')
    assert raw('GET_GROUP_NUM', 'GET_VQS_COUNT', 'GET_DEVICE_ID') == 'GET_GROUP_NUM 2\nGET_VQS_COUNT 3\nGET_DEVICE_ID 1\n'
    lines = nic.json('raw', path, 'SET_OWNER', *[w for i in range(3) for w in ('GET_VRING_GROUP', f'index={i}')])
    assert lines[0] == {'call': 'SET_OWNER'} and [c['value'] for c in lines[1:]] == [0, 0, 1]
    features = int(nic.json('raw', path, 'GET_BACKEND_FEATURES')[0]['value'], 16)
    assert features & (1 << 3) and not features & (1 << 7)
    errors = nic.run('-j', 'raw', path, 'GET_VRING_GROUP', 'index=1', 'SET_OWNER', 'SET_GROUP_ASID', 'group=1', 'asid=99',
                     'SET_GROUP_ASID', 'group=99', 'asid=1', 'SET_BACKEND_FEATURES', 'value=0x1000000000000000',
                     'GET_VRING_DESC_GROUP', 'index=0')
    assert errors.returncode == 1
    assert [c.get('error') for c in json.loads(errors.stdout)] == ['EPERM', None, 'EINVAL', 'ENOBUFS', 'EOPNOTSUPP', 'EOPNOTSUPP']
    with_maps = subprocess.Popen((UVDPA, '-s', nic.socket, 'raw', path, 'SET_OWNER', 'SET_BACKEND_FEATURES', 'value=0xe',
                                          'IOTLB_UPDATE', 'asid=1', 'iova=0x100000', 'size=0x2000', 'IOTLB_BATCH_BEGIN', 'asid=1',
                                          'IOTLB_UPDATE', 'asid=1', 'iova=0x200000', 'size=0x1000', 'perm=1',
                                          'IOTLB_BATCH_END', 'asid=1', 'SET_GROUP_ASID', 'group=1', 'asid=1', 'HOLD'),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_env())
    wait_for(lambda: 'group 1 asid 1' in nic.ok('group', 'show', 'n0'))
    ranges = nic.json('iotlb', 'dump', 'n0', 'asid', '1')
    assert [(r['first'], r['last'], r['perm']) for r in ranges] == \
        [('0x100000', '0x101fff', 'rw'), ('0x200000', '0x200fff', 'ro')]
    assert nic.json('iotlb', 'dump', 'n0') == []
    out, _ = with_maps.communicate('', timeout=PATIENCE)
    assert with_maps.returncode == 0 and out.count(' ok\n') == 8
    for words, message in ((('NOTHING',), 'SET_GROUP_ASID'), (('GET_AS_NUM', 'x=1'), 'has no "x"'),
                           (('GET_VRING_GROUP', 'index=-1'), 'is no number'), (('SET_OWNER', 'index'), 'is no call')):
        assert message in nic.fails('raw', path, *words, code=2)
    assert 'no such device' in nic.fails('raw', 'n7', 'GET_AS_NUM')


def test_show(disk):
    shown = disk.ok('dev', 'show', 'd0', '--all')
    assert 'vhost-vdpa-0' in shown and str(disk.path) in shown


def test_number(disk, folder):
    """The smallest number that is free, and the file goes with the binding."""
    for name, number in (('d1', 1), ('d2', 2)):
        disk.ok('dev', 'add', 'name', name, 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M')
        disk.ok('dev', 'bind', name, 'vhost-vdpa', 'path', folder / name)
        cdev = Cdev(folder / name)
        assert cdev.hello[8:].rstrip(b'\0') == b'vhost-vdpa-%d' % number
        cdev.close()
    disk.ok('dev', 'unbind', 'd1')
    assert not (folder / 'd1').exists()
    disk.ok('dev', 'bind', 'd1', 'vhost-vdpa', 'path', folder / 'again')
    cdev = Cdev(folder / 'again')
    assert cdev.hello[8:].rstrip(b'\0') == b'vhost-vdpa-1'
    cdev.close()


def test_busy_then_free(disk):
    """A second open is refused while the first is there; one that comes while it closes waits."""
    first = Cdev(disk.path)
    assert first.result == 0
    assert Cdev(disk.path).result == -EBUSY
    first.close()
    for _ in range(50):
        cdev = Cdev(disk.path)
        assert cdev.result == 0
        assert cdev.ioctl(SET_OWNER) == (0, b'')
        cdev.close()


def test_unbind_while_open(disk):
    cdev = Cdev(disk.path)
    assert cdev.ioctl(SET_OWNER)[0] == 0
    disk.ok('dev', 'unbind', 'd0')
    assert cdev.ends()
    disk.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', disk.path)
    cdev = Cdev(disk.path)
    assert cdev.ioctl(GET_DEVICE_ID) == (0, struct.pack('<I', 2))


@pytest.mark.parametrize('data', [
    b'', b'\0', b'x' * 15, b'\0' * 16, struct.pack('<IIII', 9, 0, 0, 0),
    struct.pack('<IIII', IOCTL, 0, 1, 0) + b'\0' * 32, struct.pack('<IIII', IOCTL, 0, 0, 4),
    struct.pack('<IIII', WRITE, 0, 17, 0) + b'\0' * 17 * 32, struct.pack('<IIII', WRITE, 0, 0xffffffff, 0xffffffff),
    b'\xff' * 8000])
def test_no_message(disk, data):
    """What is no message ends the connection, and nothing else."""
    cdev = Cdev(disk.path)
    cdev.send(data) if data else cdev.sock.shutdown(socket.SHUT_WR)
    assert cdev.ends()
    assert Cdev(disk.path).result == 0


def test_refused_ioctls(disk):
    cdev = Cdev(disk.path)
    assert cdev.ioctl(0xaf03)[0] == -ENOTTY
    assert cdev.ioctl(0)[0] == -ENOTTY
    assert cdev.ioctl(GET_DEVICE_ID, b'x' * 4104) == (0, struct.pack('<I', 2))


def test_memory(disk, memory):
    cdev = Cdev(disk.path)
    assert cdev.ioctl(SET_OWNER)[0] == 0
    ok = (0x10000, PAGE, 0, 1)
    # In two pieces, from two offsets.
    assert cdev.update(0x100000, 2 * PAGE, [ok, (0x10000 + PAGE, PAGE, 3 * PAGE, 1)], [memory, memory]) == 72
    assert cdev.update(0x100000, PAGE, [ok], [memory]) == -17
    # Not all of what the message names.
    assert cdev.update(0x200000, 2 * PAGE, [ok], [memory]) == -EFAULT
    assert cdev.update(0x200000, PAGE, [], []) == -EFAULT
    # Beyond the file, and sums that wrap.
    assert cdev.update(0x200000, PAGE, [(0x10000, PAGE, 4 * PAGE, 1)], [memory]) == -EFAULT
    assert cdev.update(0x200000, PAGE, [(0x10000, PAGE, 2 ** 64 - PAGE, 1)], [memory]) == -EFAULT
    assert cdev.update(0x200000, PAGE, [(2 ** 64 - 1, PAGE, 0, 1)], [memory]) == -EINVAL
    assert cdev.update(0x200000, PAGE, [(0x10000, 0, 0, 1)], [memory]) == -EINVAL
    # More or fewer descriptors than pieces.
    assert cdev.update(0x200000, PAGE, [ok], []) == -EINVAL
    assert cdev.update(0x200000, PAGE, [ok], [memory, memory]) == -EINVAL
    # No file that can be mapped.
    read, write = os.pipe()
    assert cdev.update(0x200000, PAGE, [ok], [read]) < 0
    os.close(read)
    os.close(write)
    assert cdev.update(0x200000, PAGE, [ok], [memory]) == 72


def test_descriptors(disk, memory):
    """Whatever comes with whatever: no descriptor stays open."""
    cdev = Cdev(disk.path)
    assert cdev.ioctl(SET_OWNER)[0] == 0
    cdev.close()
    before = disk.settled_fds()
    cdev = Cdev(disk.path)
    for _ in range(50):
        cdev.ioctl(SET_OWNER, fds=[memory])
        cdev.ioctl(0, fds=[memory] * 16)
        cdev.update(0x100000, PAGE, [(0x10000, PAGE, 5 * PAGE, 1)], [memory])
    cdev.send(b'no message', [memory] * 16)
    assert cdev.ends()
    wait_for(lambda: disk.settled_fds() == before)


@pytest.mark.skipif(os.path.exists('/dev/cuse'), reason='this machine has CUSE')
def test_no_cuse(disk, folder):
    """The message says what to do, and nothing is left of the attempt."""
    disk.ok('dev', 'unbind', 'd0')
    message = disk.fails('dev', 'bind', 'd0', 'vhost-vdpa', 'path', folder / 'x', 'chardev', 'on')
    assert 'modprobe cuse' in message and 'uvdpa run' in message
    assert not (folder / 'x').exists()
    disk.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', disk.path)


def run_queue(cdev, memory):
    """A driver has set it up, and queue 0 runs."""
    assert cdev.ioctl(SET_OWNER)[0] == 0
    assert cdev.update(0, 4 * PAGE, [(0x10000, 4 * PAGE, 0, 1)], [memory]) == 72
    for status in (1, 3):
        assert cdev.ioctl(SET_STATUS, bytes([status]))[0] == 0
    assert cdev.ioctl(SET_FEATURES, struct.pack('<Q', VERSION_1 | ACCESS_PLATFORM))[0] == 0
    assert cdev.ioctl(SET_STATUS, b'\x0b')[0] == 0
    assert cdev.ioctl(SET_VRING_NUM, struct.pack('<II', 0, 16))[0] == 0
    assert cdev.ioctl(SET_VRING_ADDR, struct.pack('<IIQQQQ', 0, 0, 0, PAGE, 2 * PAGE, 0))[0] == 0
    assert cdev.ioctl(SET_VRING_ENABLE, struct.pack('<II', 0, 1))[0] == 0
    assert cdev.ioctl(SET_STATUS, b'\x0f')[0] == 0


@pytest.mark.parametrize('workers', [0, 2])
def test_gone_in_a_request(start, folder, memory, workers):
    """What was sent behind a request that is under way when its sender goes is not begun beside it."""
    daemon = start('--workers', workers)
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    daemon.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', folder / 'd0')
    reset = struct.pack('<IIII', IOCTL, SET_STATUS, 0, 1) + b'\0'
    for _ in range(60):
        cdev = Cdev(folder / 'd0')
        run_queue(cdev, memory)
        for _ in range(6):
            cdev.send(reset)
        cdev.close()
    assert Cdev(folder / 'd0').result == 0
    assert json.loads(daemon.ok('dev', 'show', 'd0', '-j'))


def test_many_files(disk):
    """Files that were named and are not used any more do not stay mapped without end."""
    cdev = Cdev(disk.path)
    assert cdev.ioctl(SET_OWNER)[0] == 0
    for _ in range(100):
        fds = [os.memfd_create('many-files') for _ in range(16)]
        for fd in fds:
            os.truncate(fd, PAGE)
        # The pieces do not make up what the message names: nothing is mapped for the device.
        assert cdev.update(0, 17 * PAGE, [(0x10000 + i * PAGE, PAGE, 0, 1) for i in range(16)], fds) < 0
        for fd in fds:
            os.close(fd)
    maps = pathlib.Path(f'/proc/{disk.proc.pid}/maps').read_text()
    assert maps.count('many-files') <= 64 + 16
