# SPDX-License-Identifier: BSD-3-Clause
"""A device process of the first published VDUSE: a disk, byte by byte, on the daemon's socket."""
import os
import struct

import vduse_proc as vp
from test_vduse_bounce import Disk

CREATE, DESTROY, GET_FD = vp.ioc(1, 1, 32), vp.ioc(0, 2, 0), vp.ioc(3, 4, 32)
SET_KICK, SET_IRQ = vp.ioc(1, 5, 8), vp.ioc(1, 6, 8)
(SET_VQ_NUM, SET_VQ_ADDR, SET_VQ_READY, GET_VQ_READY, SET_VQ_STATE, GET_VQ_STATE, SET_FEATURES, GET_FEATURES,
 SET_STATUS, GET_STATUS, SET_CONFIG, GET_CONFIG, UPDATE_IOTLB) = range(13)
REQUEST, RESPONSE = 280, 272
F_CONFIG_WCE = 1 << 11
WCE = 32  # offset of "writeback"
SECTORS = 2048


def dev_config(number, device_id=2, nvqs=1, queue_size=256, align=4096, bounce=0):
    return struct.pack('<III4xQHHI', number, 0, device_id, bounce, nvqs, queue_size, align)


class RfcDisk(Disk):
    """A disk with a switchable cache. All that it knows of the driver came by messages."""

    def __init__(self, path, number=7, create=True, features=vp.F_VERSION_1 | F_CONFIG_WCE, **conf):
        self.number, self.offers, self.accepted, self.queue = number, features, None, {}
        self.space = bytearray(struct.pack('<Q', SECTORS).ljust(60, b'\0'))
        self.ready, self.irq, self.conf = 0, None, conf
        super().__init__(path, name=f'vduse{number}', create=create)

    get_fd = GET_FD

    def make(self, create, *_, **__):
        if create:
            self.control.ioctl(CREATE, dev_config(self.number, **self.conf))
        self.dev = vp.File(self.path, self.name)

    def destroy(self):
        self.control.ioctl(DESTROY, struct.pack('<I', self.number))

    # ---- messages ----

    def handle(self, req):
        assert len(req) == REQUEST
        kind, number, flags, size = struct.unpack_from('<4I', req)
        body = req[16:]
        assert not flags and not any(body[size:]), 'what is not said is 0'
        self.seen.append((kind, body))
        result = self.hook(kind, body)
        if result is None:
            return
        payload = self.said(kind, body) if result is True else b''
        self.answer(number, result is not True, payload)

    def said(self, kind, body):
        if kind in (SET_VQ_NUM, SET_VQ_STATE, SET_VQ_ADDR):
            form = {SET_VQ_NUM: '<4xI', SET_VQ_STATE: '<4xH', SET_VQ_ADDR: '<8xQQQ'}[kind]
            self.queue[kind] = struct.unpack_from(form, body)
        elif kind == SET_VQ_READY:
            self.set_ready(body[4])
        elif kind == SET_FEATURES:
            self.accepted = struct.unpack_from('<Q', body)[0]
        elif kind == SET_STATUS:
            self.status = body[0]
            if not self.status:
                self.set_ready(0)
        elif kind == SET_CONFIG:
            offset, size = struct.unpack_from('<II', body)
            self.space[offset:offset + size] = body[8:8 + size]
        elif kind == GET_CONFIG:
            offset, size = struct.unpack_from('<II', body)
            return body[:8] + bytes(self.space[offset:offset + size])
        else:
            return {GET_VQ_READY: lambda: struct.pack('<IB', 0, self.ready),
                    GET_VQ_STATE: lambda: struct.pack('<IH', 0, self.last & 0xffff),
                    GET_FEATURES: lambda: struct.pack('<Q', self.offers),
                    GET_STATUS: lambda: bytes([self.status]),
                    UPDATE_IOTLB: self.update_iotlb}[kind]()
        return b''

    def answer(self, number, failed=False, extra=b''):
        self.dev.fd.send(struct.pack('<Ii', number, -1 if failed else 0) + extra.ljust(264, b'\0'))

    def set_ready(self, ready):
        if ready and not self.ready:
            self.ring = dict(zip(('desc', 'driver', 'device'), self.queue[SET_VQ_ADDR]), num=self.queue[SET_VQ_NUM][0])
            self.last = self.queue[SET_VQ_STATE][0]
            self.eventfds()
            self.mem = self.view()
        elif not ready:
            self.mem = None
        self.ready = ready

    def eventfds(self):
        """Once: they outlive a reset."""
        if self.irq is None:
            self.irq = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.dev.ioctl(SET_IRQ, struct.pack('<Ii', 0, 0), [self.irq])
            self.dev.ioctl(SET_KICK, struct.pack('<Ii', 0, 0), [kick])
            self.kicks[0] = kick

    def at(self, form, addr):
        return struct.unpack(form, self.mem[addr:addr + struct.calcsize(form)])

    def update_iotlb(self):
        return b''

    def view(self):
        """The driver's memory, by its addresses."""
        return Memory(self)

    def interrupt(self):
        os.eventfd_write(self.irq, 1)

    def request(self, head):
        """Of any pieces: without bounce pages they are the driver's own."""
        out, into = self.pieces(head)
        said = b''.join(self.mem[addr:addr + size] for addr, size in out)
        room = sum(size for _, size in into)
        kind, _, sector = struct.unpack_from('<IIQ', said)
        self.served.append((kind, sector))
        at = sector * 512
        if kind == 1:
            self.store[at:at + len(said) - 16] = said[16:]
        answer = bytes(self.store[at:at + room - 1]) if kind == 0 else bytes(room - 1)
        answer += b'\0'
        for addr, size in into:
            self.mem[addr:addr + size], answer = answer[:size], answer[size:]
        self.complete(head, room)

    def close(self):
        super().close()
        for fd in (self.irq, self.kicks.pop(0, None)):
            if fd is not None:
                os.close(fd)
        self.irq = None


class Memory:
    """Looks like one piece of bytes; is mapped region by region, when there is a miss."""

    def __init__(self, proc):
        self.proc, self.regions = proc, []

    def find(self, addr):
        for first, last, mem in self.regions:
            if first <= addr <= last:
                return first, last, mem
        first, last, _, mem = self.proc.memory(addr)
        self.regions.append((first, last, mem))
        return first, last, mem

    def __getitem__(self, at):
        start, stop = (at.start, at.stop) if isinstance(at, slice) else (at, at + 1)
        first, _, mem = self.find(start)
        got = mem[start - first:stop - first]
        return got if isinstance(at, slice) else got[0]

    def __setitem__(self, at, value):
        start, stop = (at.start, at.stop) if isinstance(at, slice) else (at, at + 1)
        first, _, mem = self.find(start)
        mem[start - first:stop - first] = value if isinstance(at, slice) else bytes([value])
