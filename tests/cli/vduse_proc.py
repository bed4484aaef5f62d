# SPDX-License-Identifier: BSD-3-Clause
"""A device process of VDUSE, byte by byte, on the daemon's socket."""
import array
import mmap
import os
import socket
import struct
import threading

from cliutil import PATIENCE

OPEN, IOCTL = 1, 2


def ioc(direction, number, size):
    return direction << 30 | size << 16 | 0x81 << 8 | number


GET_API, SET_API = ioc(2, 0, 8), ioc(1, 1, 8)
CREATE, DESTROY = ioc(1, 2, 336), ioc(1, 3, 256)
GET_FD, GET_FEATURES, SET_CONFIG, CONFIG_IRQ = ioc(3, 0x10, 32), ioc(2, 0x11, 8), ioc(1, 0x12, 8), ioc(0, 0x13, 0)
VQ_SETUP, VQ_INFO, SET_KICK, VQ_IRQ = ioc(1, 0x14, 32), ioc(3, 0x15, 48), ioc(1, 0x16, 8), ioc(1, 0x17, 4)
REG_UMEM, DEREG_UMEM, GET_INFO, GET_FD2 = ioc(1, 0x18, 48), ioc(1, 0x19, 48), ioc(3, 0x1a, 48), ioc(3, 0x1b, 80)
VQ_STATE, STATUS, IOTLB, GROUP_ASID = range(4)
F_VERSION_1, F_ACCESS_PLATFORM = 1 << 32, 1 << 33


class Refused(Exception):
    """An ioctl's errno."""

    def __init__(self, code):
        super().__init__(os.strerror(code))
        self.code = code


class File:
    """An open file: its connection, and the descriptor that stands for it."""

    def __init__(self, path, name):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.fd = None
        self.lock = threading.Lock()  # one request at a time
        _, fds = self.request(OPEN, 1, name.encode().ljust(256, b'\0'))
        self.fd = socket.socket(fileno=fds[0])
        self.fd.settimeout(PATIENCE)

    def request(self, kind, cmd, arg=b'', fds=()):
        """The answer's bytes and descriptors, or Refused."""
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        with self.lock:
            self.sock.sendmsg([struct.pack('<4I', kind, cmd, len(arg), 0) + arg], anc)
            data, anc, _, _ = self.sock.recvmsg(8192, 256)
        got = array.array('i')
        for _, _, raw in anc:
            got.frombytes(raw[:len(raw) - len(raw) % 4])
        if not data:
            raise ConnectionResetError('the endpoint has closed the connection')
        answer, result, size, _ = struct.unpack_from('<IiII', data)
        assert answer == kind and size == len(data) - 16
        if result < 0:
            assert not got and not size
            raise Refused(-result)
        return data[16:], list(got)

    def ioctl(self, cmd, arg=b'', fds=()):
        return self.request(IOCTL, cmd, arg, fds)[0]

    def refused(self, cmd, arg=b'', fds=()):
        """Its errno; 0: it was not refused."""
        try:
            self.ioctl(cmd, arg, fds)
        except Refused as e:
            return e.code
        return 0

    def close(self):
        self.sock.close()
        if self.fd:
            self.fd.close()


def config(name, device_id=2, features=F_VERSION_1 | F_ACCESS_PLATFORM, nvqs=1, **other):
    o = {'vendor': 0, 'align': 4096, 'ngroups': 0, 'nas': 0, 'reserved': 0, 'space': b'\x80' + bytes(59), 'size': None}
    o.update(other)
    size = len(o['space']) if o['size'] is None else o['size']
    raw = name.encode() if isinstance(name, str) else name
    return struct.pack('<256sIIQIIII11II', raw, o['vendor'], device_id, features, nvqs, o['align'], o['ngroups'],
                       o['nas'], *[o['reserved']] * 11, size) + o['space']


class Process:
    """A device process with one device. Answers everything well, unless told otherwise."""

    get_fd = GET_FD

    def __init__(self, path, name='v0', api=0, create=True, nvqs=1, **conf):
        self.path, self.name, self.nvqs = path, name, nvqs
        self.control = File(path, 'control')
        self.make(create, api, **conf)
        self.seen, self.status, self.kicks = [], 0, {}
        self.states = {}
        self.hook = lambda kind, body: True
        self.thread = None

    def make(self, create, api, queue_size=256, **conf):
        self.control.ioctl(SET_API, struct.pack('<Q', api))
        if create:
            if api:
                conf = {'ngroups': 1, 'nas': 1, **conf}
            self.control.ioctl(CREATE, config(self.name, nvqs=self.nvqs, **conf))
        self.dev = File(self.path, self.name)
        # Version 1 has it before DRIVER_OK only, and who follows another one need not.
        for i in range(self.nvqs if create or not api else 0):
            self.dev.ioctl(VQ_SETUP, struct.pack('<IHHI20x', i, queue_size, 0, 0))

    def start(self):
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()
        return self

    def loop(self):
        while True:
            try:
                req = self.dev.fd.recv(4096)
            except (OSError, TimeoutError):
                return
            if not req:
                return
            try:
                self.handle(req)
            except (BrokenPipeError, ConnectionResetError):
                return

    def handle(self, req):
        assert len(req) == 152
        kind, number = struct.unpack_from('<II', req)
        body = req[24:]
        self.seen.append((kind, body))
        result = self.hook(kind, body)
        if result is None:
            return
        extra = b''
        if kind == VQ_STATE:
            index = struct.unpack_from('<I', body)[0]
            extra = struct.pack('<IHHHH', index, *self.states.get(index, (0, 0, 0, 0)))
        if kind == STATUS and result is True:
            self.set_status(body[0])
        self.answer(number, result is not True, extra)

    def answer(self, number, failed=False, extra=b''):
        self.dev.fd.send(struct.pack('<II16x', number, int(failed)) + extra.ljust(128, b'\0'))

    def set_status(self, status):
        if status & 4 and not self.status & 4:
            for i in range(self.nvqs):
                if self.info(i)['ready']:
                    self.kicks[i] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                    self.dev.ioctl(SET_KICK, struct.pack('<Ii', i, 0), [self.kicks[i]])
        if not status:
            for fd in self.kicks.values():
                os.close(fd)
            self.kicks = {}
        self.status = status

    def info(self, index):
        raw = self.dev.ioctl(VQ_INFO, struct.pack('<I44x', index))
        names = ('index', 'num', 'desc', 'driver', 'device', 'state', 'ready')
        return dict(zip(names, struct.unpack('<IIQQQQB7x', raw)))

    def features(self):
        return struct.unpack('<Q', self.dev.ioctl(GET_FEATURES))[0]

    def memory(self, iova, last=None):
        """First, last, perm, and the mapping of what is at @iova."""
        raw, fds = self.dev.request(IOCTL, self.get_fd, struct.pack('<QQQB7x', 0, iova, iova if last is None else last, 0))
        offset, first, end, perm = struct.unpack('<QQQB7x', raw)
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if perm & 2 else 0)
        mem = mmap.mmap(fds[0], end - first + 1, mmap.MAP_SHARED, prot, offset=offset)
        os.close(fds[0])
        return first, end, perm, mem

    def statuses(self):
        return [body[0] for kind, body in self.seen if kind == STATUS]

    def destroy(self):
        self.control.ioctl(DESTROY, self.name.encode().ljust(256, b'\0'))

    def close(self):
        try:
            self.dev.fd.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.thread:
            self.thread.join(PATIENCE)
        self.dev.close()
        self.control.close()
