# SPDX-License-Identifier: BSD-3-Clause
"""The parent vduse with bounce pages: what a device process can see, and what it can do."""
import argparse
import os
import pathlib
import select
import struct
import sys
import threading
import time

import pytest

import vduse_proc as vp
from cliutil import PATIENCE, wait_for

FEATURES = vp.F_VERSION_1 | vp.F_ACCESS_PLATFORM
SECTORS = 2048
CANARY = b'\xc7\xa4\x13\x9e'


class Disk(vp.Process):
    """A disk of one queue, in bounce memory: parses its own split ring."""

    def __init__(self, path, **kwargs):
        super().__init__(path, space=struct.pack('<Q', SECTORS).ljust(60, b'\0'), **kwargs)
        self.store = bytearray(SECTORS * 512)
        self.mem, self.last, self.served = None, 0, []
        self.stop = threading.Event()
        self.hold = False  # answer no request
        self.look = lambda out, into: None
        self.length = lambda n: n
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()

    def set_status(self, status):
        if not status:
            self.mem = None
        super().set_status(status)
        if status & 4:
            info = self.info(0)
            self.ring = info
            self.last = info['state']
            self.mem = self.memory(0, 0xffffffffffffffff)[3]

    def at(self, form, addr):
        return struct.unpack_from(form, self.mem, addr)

    def serve(self):
        while not self.stop.is_set():
            fd = self.kicks.get(0)
            if fd is None or self.mem is None:
                time.sleep(0.005)
                continue
            try:
                if not select.select([fd], [], [], 0.05)[0]:
                    continue
                os.eventfd_read(fd)
                self.drain()
            except (OSError, ValueError, TypeError, vp.Refused):
                time.sleep(0.005)

    def drain(self):
        while not self.hold and self.mem and self.at('<H', self.ring['driver'] + 2)[0] != self.last & 0xffff:
            slot = (self.last & 0xffff) % self.ring['num']
            head = self.at('<H', self.ring['driver'] + 4 + 2 * slot)[0]
            self.last += 1
            self.request(head)

    def pieces(self, head):
        out, into, index = [], [], head
        while True:
            addr, size, flags, index_next = self.at('<QIHH', self.ring['desc'] + 16 * index)
            (into if flags & 2 else out).append((addr, size))
            if not flags & 1:
                return out, into
            index = index_next

    def request(self, head):
        out, into = self.pieces(head)
        (start, size), (back, room) = out[0], into[0]
        kind, _, sector = self.at('<IIQ', start)
        self.served.append((kind, sector))
        at = sector * 512
        if kind == 1:
            self.store[at:at + size - 16] = self.mem[start + 16:start + size]
        elif kind == 0:
            self.mem[back:back + room - 1] = bytes(self.store[at:at + room - 1])
        self.mem[back + room - 1] = 0
        self.look(out, into)
        self.complete(head, self.length(room))

    def complete(self, head, size):
        used = self.at('<H', self.ring['device'] + 2)[0]
        slot = self.ring['device'] + 4 + 8 * (used % self.ring['num'])
        self.mem[slot:slot + 8] = struct.pack('<II', head, size)
        self.mem[self.ring['device'] + 2:self.ring['device'] + 4] = struct.pack('<H', (used + 1) & 0xffff)
        self.interrupt()

    def interrupt(self):
        self.dev.ioctl(vp.VQ_IRQ, struct.pack('<I', 0))

    def close(self):
        self.stop.set()
        self.server.join(PATIENCE)
        super().close()


@pytest.fixture
def disk(served):
    """disk(...) -> a device process; all end with the test."""
    made = []

    def maker(**kwargs):
        proc = Disk(served.vduse, **kwargs)
        proc.start()
        made.append(proc)
        return proc

    yield maker
    for proc in made:
        proc.close()


def add(daemon, *more):
    daemon.ok('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'isolation', 'bounce', *more)
    daemon.ok('dev', 'bind', 'v0', 'virtio-vdpa')


def blk(daemon, *words):
    return daemon.ok('drv', 'virtio0', 'blk', *words)


def show(daemon):
    return daemon.json('--all', 'dev', 'show', 'v0')['dev']['v0']


def test_data(served, disk):
    """What is written is read again; each direction is copied once."""
    proc = disk()
    add(served)
    blk(served, 'fill', '0', '1M', 'seed', '7')
    blk(served, 'verify', '0', '1M', 'seed', '7')
    shown = show(served)['show']
    assert shown['isolation'] == 'bounce' and shown['process'] == 'connected'
    assert int(shown['bounce_bytes_in']) >= 1 << 20 and int(shown['bounce_bytes_out']) >= 1 << 20
    assert served.ok('drv', 'virtio0', 'conform')
    assert proc.features() == FEATURES
    served.ok('dev', 'unbind', 'v0')
    wait_for(lambda: proc.status == 0)
    served.ok('dev', 'bind', 'v0', 'virtio-vdpa')
    blk(served, 'verify', '0', '1M', 'seed', '7')
    served.ok('dev', 'del', 'v0')


def test_canary(served, disk):
    """The process never sees a byte beside those of the transfer, nor any after it: its one mapping is searched."""
    proc = disk()
    add(served)
    seen = []

    def look(out, into):
        everything = bytes(proc.mem)
        for addr, size in out + into:
            everything = everything[:addr] + bytes(size) + everything[addr + size:]
        seen.append(CANARY in everything)

    proc.look = look
    # The driver's memory is full of it, before and behind what is written after that.
    blk(served, 'write', '0', 'hex', (CANARY * 128).hex())
    blk(served, 'write', '512', 'hex', bytes(512).hex())
    blk(served, 'read', '0', '512')
    blk(served, 'read', '512', '512')
    assert seen and not any(seen)
    assert CANARY in proc.store
    wait_for(lambda: CANARY not in bytes(proc.mem))
    # And there is no other file than that of the bounce pages.
    first, last, perm, mem = proc.memory(0, 0xffffffffffffffff)
    assert (first, perm, len(mem)) == (0, 3, 64 << 20)
    assert proc.dev.refused(vp.GET_FD, struct.pack('<QQQB7x', 0, last + 1, 0xffffffffffffffff, 0)) == 22
    _, fds = proc.dev.request(vp.IOCTL, vp.GET_FD, struct.pack('<QQQB7x', 0, 0, 0, 0))
    assert 'uvdpa-bounce' in os.readlink(f'/proc/self/fd/{fds[0]}')
    with pytest.raises(PermissionError):
        os.ftruncate(fds[0], 4096)
    os.close(fds[0])


def copied(daemon, *words):
    """How many bytes a command has copied to the process, and from it."""
    names = ('bounce_bytes_in', 'bounce_bytes_out')
    before = show(daemon)['show']
    daemon.run('drv', 'virtio0', 'blk', *words)
    after = show(daemon)['show']
    return tuple(int(after[n]) - int(before[n]) for n in names)


def test_direction(served, disk):
    """What goes to the device does not come back; what comes from it is copied as far as it says, and no further."""
    proc = disk()
    add(served)

    def scribble(out, into):
        addr, size = out[0]
        proc.mem[addr + 16:addr + size] = b'\xee' * (size - 16)

    proc.look = scribble
    # A header and 512 bytes there, a status back; a header there, 512 bytes and a status back.
    assert copied(served, 'write', '0', 'hex', (b'\x22' * 512).hex()) == (528, 1)
    assert copied(served, 'read', '0', '512') == (16, 513)
    proc.look = lambda out, into: None
    assert '22 22 22 22' in blk(served, 'read', '0', '16')
    proc.length = lambda n: 100
    assert copied(served, 'read', '0', '512') == (16, 100)


@pytest.mark.parametrize('lie', ['length', 'head', 'index'])
def test_lies(served, disk, lie):
    """A used ring that cannot be: the device is broken, and comes back with a reset."""
    proc = disk()
    add(served)
    blk(served, 'write', '0', 'text', 'x')
    if lie == 'length':
        proc.length = lambda n: n + 1
    else:
        def look(out, into):
            at = proc.ring['device']
            if lie == 'head':
                proc.complete(proc.ring['num'] - 1, 0)
            else:
                proc.mem[at + 2:at + 4] = struct.pack('<H', 0x7fff)
                proc.dev.ioctl(vp.VQ_IRQ, struct.pack('<I', 0))
        proc.look = look
    served.run('drv', 'virtio0', 'blk', 'read', '0', '512')
    wait_for(lambda: 'NEEDS_RESET' in str(show(served)['status']) or 'breaks the rules' in served.log())
    assert 'breaks the rules' in served.log()
    proc.look, proc.length = (lambda out, into: None), (lambda n: n)
    served.ok('dev', 'unbind', 'v0')
    served.ok('dev', 'bind', 'v0', 'virtio-vdpa')
    assert '|x|' in blk(served, 'read', '0', '1')


def test_killed(served, disk):
    """A process that dies with requests: the next one gets each of them, and the driver each answer once."""
    proc = disk()
    add(served)
    blk(served, 'fill', '0', '256K', 'seed', '3')
    stored = bytes(proc.store)
    proc.hold = True
    results = []
    workers = [threading.Thread(target=lambda: results.append(blk(served, 'verify', '0', '256K', 'seed', '3')))
               for _ in range(3)]
    for w in workers:
        w.start()
    wait_for(lambda: proc.at('<H', proc.ring['driver'] + 2)[0] != proc.last & 0xffff)
    proc.close()
    again = disk(create=False)
    again.store[:] = stored
    for w in workers:
        w.join(PATIENCE)
    assert len(results) == 3
    assert again.served
    assert again.statuses()[:5] == [0, 1, 3, 11, 15]


def test_given_back(served, disk):
    """A queue that stops gives back what waits to be filled; a process that answers it nevertheless is not heard."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / 'protocol'))
    import vu  # pylint: disable=import-outside-toplevel
    proc = disk()
    proc.hold = True
    served.ok('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'isolation', 'bounce')
    served.ok('dev', 'bind', 'v0', 'vhost-user', 'path', served.folder / 'v0.sock')
    guest = vu.Guest(argparse.Namespace(path=str(served.folder / 'v0.sock')), off=vu.bit(vu.P_STATUS))
    guest.start()
    ring, at = guest.ring, guest.mem.gpa + 0x200000
    ring.add([(at, 16, False), (at + 4096, 513, True)], 'a')
    ring.add([(at + 8192, 64, True)], 'b')
    ring.notify()
    wait_for(lambda: proc.mem and proc.at('<H', proc.ring['driver'] + 2)[0] == 2)
    heads = proc.at('<HH', proc.ring['driver'] + 4)
    where = proc.pieces(heads[1])[1][0][0]
    proc.mem[where] = 1
    guest.client.send(vu.GET_VRING_BASE, vu.state(0, 0))
    wait_for(lambda: not proc.mem[where])
    proc.complete(heads[1], 64)
    proc.complete(heads[0], 513)
    assert struct.unpack('=II', guest.client.recv()[2]) == (0, 1)
    assert ring.get() == [('a', 513)]
    guest.close()
    served.ok('dev', 'del', 'v0')


def test_hangs(served, disk):
    """Without answers to messages the device breaks, and nothing else."""
    proc = disk()
    proc.hook = lambda kind, body: None
    served.ok('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'isolation', 'bounce', 'msg_timeout_ms', 300)
    served.run('dev', 'bind', 'v0', 'virtio-vdpa')
    wait_for(lambda: show(served)['show']['process'] == 'broken')
    served.ok('dev', 'del', 'v0')


def test_sizes(served, disk):
    """bounce_size is settable; with little of it, requests wait for one another."""
    disk(queue_size=1024)
    assert '1048576' in served.fails('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'bounce_size', '4K')
    add(served, 'bounce_size', '1M')
    assert show(served)['show']['bounce_size'] == str(1 << 20)
    blk(served, 'fill', '0', '1M', 'seed', '5')
    blk(served, 'verify', '0', '1M', 'seed', '5')


def test_many_queues(served):
    """Queues that do not fit are refused, with nothing left behind."""
    proc = vp.Process(served.vduse, nvqs=64, queue_size=256).start()
    assert 'too small for 64 queues' in served.fails('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'isolation',
                                                     'bounce', 'bounce_size', '1M')
    served.ok('dev', 'add', 'name', 'v0', 'mgmtdev', 'vduse', 'isolation', 'bounce')
    served.ok('dev', 'del', 'v0')
    proc.close()
