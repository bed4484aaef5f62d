# SPDX-License-Identifier: BSD-3-Clause
"""A small vhost-user front end for tests: it can say everything, also what is wrong."""
import array
import collections
import mmap
import os
import select
import socket
import struct
import subprocess
import threading
import time

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER = 1, 2, 3, 4
SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = 5, 6, 7
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM = 15, 16, 17
SET_VRING_ENABLE, SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD = 18, 19, 20, 21
IOTLB_MSG, SET_VRING_ENDIAN, GET_CONFIG, SET_CONFIG = 22, 23, 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD, RESET_DEVICE, VRING_KICK = 31, 32, 34, 35
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40

BACKEND_IOTLB, BACKEND_CONFIG_CHANGE, BACKEND_VRING_CALL, BACKEND_VRING_ERR = 1, 2, 4, 5

P_MQ, P_LOG_SHMFD, P_RARP, P_REPLY_ACK, P_MTU, P_BACKEND_REQ = 0, 1, 2, 3, 4, 5
P_CONFIG, P_INFLIGHT, P_RESET, P_INBAND, P_SLOTS, P_STATUS = 9, 12, 13, 14, 15, 16

F_LOG_ALL, F_EVENT_IDX, F_PROTOCOL, F_VERSION_1, F_PLATFORM = 26, 29, 30, 32, 33

VERSION, REPLY, NEED_REPLY = 1, 4, 8
IOTLB_MISS, IOTLB_UPDATE, IOTLB_INVALIDATE = 1, 2, 3
PAGE = 4096
TIMEOUT = 60
ROUNDS = int(os.environ.get('UVDPA_TEST_ROUNDS', 1))        # of what grows in the long loops
SLACK_KIB = int(os.environ.get('UVDPA_SLACK_KIB', 1024))    # sanitizers keep what was freed


COUNTED = collections.Counter()


def count(what, n=1):
    """For the figures of the long loops: printed at the end."""
    COUNTED[what] += n


def bit(n):
    return 1 << n


def u64(n):
    return struct.pack('=Q', n)


def state(index, num):
    return struct.pack('=II', index, num)


def region(gpa, size, uva, offset=0):
    return struct.pack('=QQQQ', gpa, size, uva, offset)


def iotlb(kind, iova, size, uva=0, perm=3):
    return struct.pack('=QQQBB6x', iova, size, uva, perm, kind)


class Closed(Exception):
    """The server ended the session."""


class Server:
    """tests/protocol/vu_server, its commands, and what the kernel knows of it."""

    def __init__(self, tmp, *args, path=True):
        self.path = str(tmp / 'vu.sock')
        self.log_path = tmp / f'server-{time.monotonic_ns()}.log'
        argv = [os.environ['VU_SERVER'], *args]
        if path:
            argv.append(f'path={self.path}')
        with open(self.log_path, 'wb') as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=log, bufsize=0)
        self.buf = b''
        first = self.line()
        assert first.startswith('ready'), (first, self.log())
        self.baseline = self.fds()

    def line(self):
        end = time.monotonic() + TIMEOUT
        while b'\n' not in self.buf:
            ready, _, _ = select.select([self.proc.stdout], [], [], max(0, end - time.monotonic()))
            assert ready, f'the server says nothing; log: {self.log()[-3000:]}'
            data = os.read(self.proc.stdout.fileno(), 65536)
            assert data, f'the server is gone ({self.proc.wait()}): {self.log()[-3000:]}'
            self.buf += data
        out, self.buf = self.buf.split(b'\n', 1)
        return out.decode()

    def cmd(self, text):
        self.proc.stdin.write(text.encode() + b'\n')
        out = []
        while True:
            line = self.line()
            if line == '.':
                return out
            out.append(line)

    def show(self):
        return dict(line.split('=', 1) for line in self.cmd('show'))

    def log(self):
        return self.log_path.read_text(errors='replace')

    def fds(self):
        """What is open: how many of each kind."""
        out = {}
        base = f'/proc/{self.proc.pid}/fd'
        for name in os.listdir(base):
            try:
                kind = os.readlink(f'{base}/{name}').split(':')[0]
            except OSError:
                continue
            out[kind] = out.get(kind, 0) + 1
        return out

    def settled(self, want=None):
        """The open descriptors are as @want (or as at the start), soon."""
        want = want or self.baseline
        return wait_for(lambda: self.fds() == want)

    def fds_at_rest(self):
        """The same, once what is being opened or closed has been."""
        same, now = 0, self.fds()
        while same < 20:
            time.sleep(0.01)
            before, now = now, self.fds()
            same = same + 1 if now == before else 0
        return now

    def rss_kib(self):
        with open(f'/proc/{self.proc.pid}/status', encoding='ascii') as f:
            return int(next(l for l in f if l.startswith('VmRSS')).split()[1])

    def cpu_ticks(self):
        with open(f'/proc/{self.proc.pid}/stat', encoding='ascii') as f:
            parts = f.read().rsplit(')', 1)[1].split()
        return int(parts[11]) + int(parts[12])

    def asleep(self):
        """Does each of its threads wait for something to happen?"""
        base = f'/proc/{self.proc.pid}/task'
        for task in os.listdir(base):
            with open(f'{base}/{task}/stat', encoding='ascii') as f:
                if f.read().rsplit(')', 1)[1].split()[0] != 'S':
                    return False
        return True

    def alive(self):
        return self.proc.poll() is None

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def stop(self):
        """Ends cleanly: exit 0, nothing left."""
        if not self.alive():
            return self.proc.returncode
        self.proc.stdin.write(b'quit\n')
        try:
            code = self.proc.wait(timeout=TIMEOUT + 20)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'the server does not end: {self.log()[-3000:]}') from None
        self.proc.stdin.close()
        self.proc.stdout.close()
        return code


def wait_for(question, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def release_later(server):
    """In a moment the server completes what it holds. The event is set just before."""
    released = threading.Event()

    def release():
        released.set()
        server.cmd('delay 0')
    threading.Timer(0.3, release).start()
    return released


class Client:
    """A connection. Messages are bytes: nothing is checked here."""

    def __init__(self, where):
        if isinstance(where, socket.socket):
            self.sock = where
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(where)
        self.sock.settimeout(TIMEOUT)
        self.proto = 0
        self.channel = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()
        if self.channel:
            self.channel.close()

    def send(self, request, payload=b'', fds=(), flags=VERSION, size=None):
        hdr = struct.pack('=III', request, flags, len(payload) if size is None else size)
        anc = []
        if fds:
            anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))]
        try:
            self.sock.sendmsg([hdr + payload], anc)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def recv_exact(self, n, fds=None):
        out = b''
        while len(out) < n:
            try:
                data, got, _, _ = socket.recv_fds(self.sock, n - len(out), 8)
            except ConnectionResetError:
                raise Closed from None
            if not data:
                raise Closed
            if fds is None:
                for fd in got:
                    os.close(fd)
            else:
                fds.extend(got)
            out += data
        return out

    def recv(self, fds=None):
        request, flags, size = struct.unpack('=III', self.recv_exact(12, fds))
        return request, flags, self.recv_exact(size, fds)

    def ask(self, request, payload=b'', fds=(), got=None, flags=VERSION):
        """A message with an answer of its own."""
        self.send(request, payload, fds, flags)
        answer, aflags, data = self.recv(got)
        assert answer == request and aflags == VERSION | REPLY, (answer, aflags)
        return data

    def ask_u64(self, request):
        return struct.unpack('=Q', self.ask(request))[0]

    def ack(self, request, payload=b'', fds=(), size=None):
        """A message with need_reply: the number that comes back."""
        self.send(request, payload, fds, VERSION | NEED_REPLY, size)
        answer, aflags, data = self.recv()
        assert answer == request and aflags == VERSION | REPLY and len(data) == 8
        return struct.unpack('=Q', data)[0]

    def ok(self, request, payload=b'', fds=()):
        assert self.ack(request, payload, fds) == 0, f'request {request} was refused'

    def refused(self, request, payload=b'', fds=(), size=None):
        assert self.ack(request, payload, fds, size) != 0, f'request {request} was accepted'

    def closes(self):
        """The server ends the session, without another word."""
        try:
            data = self.sock.recv(1)
        except ConnectionResetError:
            return True
        return data == b''

    def alive(self):
        return self.ask_u64(GET_FEATURES) != 0

    def silent(self, seconds=0.15):
        """Nothing comes."""
        return not select.select([self.sock], [], [], seconds)[0]

    def negotiate(self, off=0, features=None, on=None):
        offered = self.ask_u64(GET_PROTOCOL_FEATURES)
        self.proto = (offered if on is None else on) & ~off
        self.send(SET_PROTOCOL_FEATURES, u64(self.proto))
        self.ok(SET_OWNER)
        if features is not None:
            self.ok(SET_FEATURES, u64(features))
        return self.proto

    def open_channel(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.ok(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        self.channel = Client(ours)
        return self.channel

    def answer(self, request, value=0):
        """To a request of the back end, on its channel."""
        self.sock.sendall(struct.pack('=III', request, VERSION | REPLY, 8) + u64(value))


class Memory:
    """One region: a memfd, where the guest and where the front end see it."""

    def __init__(self, size, gpa, uva, offset=0):
        self.size, self.gpa, self.uva, self.offset = size, gpa, uva, offset
        self.fd = os.memfd_create('guest')
        os.ftruncate(self.fd, offset + size)
        self.map = mmap.mmap(self.fd, offset + size)

    def wire(self):
        return region(self.gpa, self.size, self.uva, self.offset)

    def reg(self):
        return u64(0) + self.wire()

    def write(self, off, data):
        self.map[self.offset + off:self.offset + off + len(data)] = data

    def read(self, off, size):
        return bytes(self.map[self.offset + off:self.offset + off + size])

    def close(self):
        self.map.close()
        os.close(self.fd)


def table(*mems):
    return struct.pack('=II', len(mems), 0) + b''.join(m.wire() for m in mems)


class Ring:
    """The driver's end of a split ring, in a Memory at offset @off."""

    def __init__(self, mem, index=0, num=16, off=0, event_idx=False):
        self.mem, self.index, self.num, self.event_idx = mem, index, num, event_idx
        self.desc = off
        self.avail = off + 16 * num
        self.used = (self.avail + 6 + 2 * num + 3) & ~3
        self.end = self.used + 6 + 8 * num
        self.avail_idx = self.used_idx = 0
        self.free = list(range(num))
        self.chains = {}
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.err = os.eventfd(0, os.EFD_NONBLOCK)
        mem.write(off, bytes(self.end - off))

    def close(self):
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def addr(self, flags=0, log=0, base=None):
        base = self.mem.uva if base is None else base
        return struct.pack('=IIQQQQ', self.index, flags, base + self.desc, base + self.used,
                           base + self.avail, log)

    def setup(self, client, base=0, enable=True, kick=True, ack=True, addr_base=None):
        do = client.ok if ack else client.send
        do(SET_VRING_NUM, state(self.index, self.num))
        do(SET_VRING_BASE, state(self.index, base))
        do(SET_VRING_ADDR, self.addr(base=addr_base))
        do(SET_VRING_ERR, u64(self.index), [self.err])
        do(SET_VRING_CALL, u64(self.index), [self.call])
        if kick:
            do(SET_VRING_KICK, u64(self.index), [self.kick])
        if enable:
            do(SET_VRING_ENABLE, state(self.index, 1))

    def add(self, pieces, token):
        """@pieces: (address, length, writable). Returns the head."""
        slots = [self.free.pop() for _ in pieces]
        for i, (addr, length, writable) in enumerate(pieces):
            flags = (2 if writable else 0) | (1 if i + 1 < len(pieces) else 0)
            nxt = slots[i + 1] if i + 1 < len(pieces) else 0
            self.mem.write(self.desc + 16 * slots[i], struct.pack('<QIHH', addr, length, flags, nxt))
        self.mem.write(self.avail + 4 + 2 * (self.avail_idx % self.num), struct.pack('<H', slots[0]))
        self.avail_idx = (self.avail_idx + 1) & 0xffff
        self.mem.write(self.avail + 2, struct.pack('<H', self.avail_idx))
        self.chains[slots[0]] = (slots, token)
        return slots[0]

    def notify(self):
        os.eventfd_write(self.kick, 1)

    def device_idx(self):
        return struct.unpack('<H', self.mem.read(self.used + 2, 2))[0]

    def get(self):
        """Completions: [(token, length)]."""
        out = []
        while self.used_idx != self.device_idx():
            head, length = struct.unpack(
                '<II', self.mem.read(self.used + 4 + 8 * (self.used_idx % self.num), 8))
            slots, token = self.chains.pop(head)
            self.free.extend(slots)
            self.used_idx = (self.used_idx + 1) & 0xffff
            out.append((token, length))
        return out

    def wait(self, n=1, seconds=TIMEOUT):
        out, end = [], time.monotonic() + seconds
        while len(out) < n:
            left = end - time.monotonic()
            assert left > 0, f'{len(out)} of {n} requests completed'
            select.select([self.call], [], [], min(left, 0.05))
            try:
                os.eventfd_read(self.call)
            except BlockingIOError:
                pass
            out += self.get()
        return out

    def quiet(self, seconds=0.2):
        """Nothing completes."""
        time.sleep(seconds)
        return self.used_idx == self.device_idx()


class Disk:
    """virtio-blk requests on a Ring. Buffers at @off of @mem; addresses are guest addresses unless @base says."""

    SLOT = 2 * PAGE

    def __init__(self, ring, mem, off, base=None):
        self.ring, self.mem, self.off = ring, mem, off
        self.base = mem.gpa if base is None else base
        self.slots = list(range(ring.num // 3))

    def submit(self, write, sector, data=b'', length=512):
        slot = self.slots.pop()
        at = self.off + slot * self.SLOT
        length = len(data) if write else length
        self.mem.write(at, struct.pack('<IIQ', 1 if write else 0, 0, sector))
        self.mem.write(at + 16, b'\xff')
        if write:
            self.mem.write(at + PAGE, data)
        pieces = [(self.base + at, 16, False), (self.base + at + PAGE, length, not write),
                  (self.base + at + 16, 1, True)]
        self.ring.add(pieces, (slot, write, sector, length))

    def finish(self, done):
        """The status of each completion, and the data of reads: {sector: data}."""
        out = {}
        for (slot, write, sector, length), _ in done:
            at = self.off + slot * self.SLOT
            self.slots.append(slot)
            assert self.mem.read(at + 16, 1) == b'\0', 'status'
            out[sector] = None if write else self.mem.read(at + PAGE, length)
        return out

    def write(self, sector, data):
        self.submit(True, sector, data)
        self.ring.notify()
        self.finish(self.ring.wait())

    def read(self, sector, length=512):
        self.submit(False, sector, length=length)
        self.ring.notify()
        return self.finish(self.ring.wait())[sector]

    def check(self, sector=7):
        """Data goes there and back."""
        data = os.urandom(1024)
        self.write(sector, data)
        assert self.read(sector, 1024) == data


FEATURES = bit(F_VERSION_1) | bit(F_PROTOCOL)


class Guest:
    """Everything at once: a connection, 4 MiB of memory, a ring with a disk on it."""

    def __init__(self, server, off=0, features=FEATURES, num=64, index=0, mem=None, connect=True):
        self.server = server
        self.mem = mem or Memory(4 << 20, gpa=0x100000, uva=0x7f0000000000)
        self.ring = Ring(self.mem, index, num)
        self.disk = Disk(self.ring, self.mem, 1 << 20)
        self.client = None
        if connect:
            self.client = Client(server.path)
            self.client.negotiate(off=off, features=features)

    def share(self):
        self.client.ok(SET_MEM_TABLE, table(self.mem), [self.mem.fd])

    def start(self, **kw):
        self.share()
        self.ring.setup(self.client, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.client:
            self.client.close()
        self.ring.close()
        self.mem.close()
