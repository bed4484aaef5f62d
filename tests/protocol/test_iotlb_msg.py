# SPDX-License-Identifier: BSD-3-Clause
import socket
import struct
import threading
import time

import pytest

import bad
import vu

IOMMU = vu.FEATURES | vu.bit(vu.F_PLATFORM)
IOVA = 0xffff00000000       # where the driver's memory begins in its own address space


def prepare(client):
    fd = bad.memory_fd()
    client.ok(vu.SET_FEATURES, vu.u64(IOMMU))
    client.ok(vu.SET_MEM_TABLE, struct.pack('=II', 1, 0) + vu.region(0, 1 << 20, 0x10000), [fd])
    bad.close_all([fd])


MSG = bad.Message(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 0x1000, 0x1000, 0x10000), setup=prepare)
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


class VIommu(vu.Guest):
    """A guest behind a vIOMMU: ring and buffers have IOVAs; the client answers misses."""

    def __init__(self, server, **kw):
        super().__init__(server, features=IOMMU, off=vu.bit(vu.P_INBAND), **kw)
        self.disk.base = IOVA
        self.channel = self.client.open_channel()
        self.misses, self.lock = [], threading.Lock()
        self.grain, self.answering, self.refusing = vu.PAGE, True, False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            while True:
                self.serve_one(*self.channel.recv())
        except (vu.Closed, OSError):
            pass

    def serve_one(self, request, _, data):
        if request == vu.BACKEND_CONFIG_CHANGE:
            self.channel.answer(request)
            return
        iova, size, uaddr, perm, kind = struct.unpack('=QQQBB6x', data)
        assert request == vu.BACKEND_IOTLB and kind == vu.IOTLB_MISS and perm in (1, 2, 3)
        self.misses.append(iova)
        if not self.answering:
            return
        if IOVA <= iova < IOVA + self.mem.size and not self.refusing:
            self.map((iova - IOVA) // self.grain * self.grain, self.grain)
            self.channel.answer(request)
        else:
            self.channel.answer(request, 1)

    def call(self, payload):
        with self.lock:
            return self.client.ack(vu.IOTLB_MSG, payload)

    def map(self, off, size, perm=3):
        assert self.call(vu.iotlb(vu.IOTLB_UPDATE, IOVA + off, size, self.mem.uva + off, perm)) == 0

    def unmap(self, off, size):
        assert self.call(vu.iotlb(vu.IOTLB_INVALIDATE, IOVA + off, size)) == 0

    def start(self, **kw):
        with self.lock:
            self.share()
            self.ring.setup(self.client, addr_base=IOVA, **kw)


@pytest.fixture(params=[(), ('--set-map',), ('--workers', '0')])
def viommu(tmp_path, request):
    server = vu.Server(tmp_path, *request.param)
    with VIommu(server) as g:
        yield g
    assert server.settled()
    assert server.stop() == 0, server.log()[-3000:]


def test_misses(viommu):
    """Nothing is mapped at first: ring and buffers come page by page."""
    viommu.start()
    viommu.disk.check()
    assert viommu.misses
    seen = len(viommu.misses)
    for _ in range(5):
        viommu.disk.check()
    assert len(viommu.misses) < seen + 8, 'what is known is missed again'


def test_nothing_is_missed_when_all_is_mapped(viommu):
    viommu.share()
    viommu.map(0, viommu.mem.size)
    viommu.start()
    viommu.disk.check()
    assert not viommu.misses


def test_invalidate(viommu):
    viommu.start()
    for lap in range(30):
        viommu.disk.check()
        before = len(viommu.misses)
        viommu.unmap(0, viommu.mem.size)
        viommu.disk.check()
        assert len(viommu.misses) > before


def test_invalidate_everything(viommu):
    """Address 0, size 0 is how 2^64 bytes look."""
    viommu.start()
    viommu.disk.check()
    before = len(viommu.misses)
    assert viommu.call(vu.iotlb(vu.IOTLB_INVALIDATE, 0, 0)) == 0
    viommu.disk.check()
    assert len(viommu.misses) > before


def test_invalidate_waits_for_requests(viommu):
    viommu.share()
    viommu.map(0, viommu.mem.size)
    viommu.start()
    viommu.server.cmd('hold')
    viommu.disk.submit(False, 0)
    viommu.ring.notify()
    assert vu.wait_for(lambda: viommu.server.cmd('out') == ['1'])
    released = vu.release_later(viommu.server)
    viommu.unmap(0, viommu.mem.size)
    assert released.is_set(), 'unmapped under a request'
    viommu.disk.finish(viommu.ring.wait())


def test_an_idle_ring_is_left_alone(viommu):
    """A device that nobody kicks reads nothing: an IOMMU would report it to the guest."""
    viommu.start()
    viommu.disk.check()
    # A worker looks by itself for a little while after work.
    assert vu.wait_for(viommu.server.asleep)
    before = len(viommu.misses)
    viommu.unmap(0, viommu.mem.size)
    assert viommu.ring.quiet()
    assert len(viommu.misses) == before
    viommu.disk.check()
    assert len(viommu.misses) > before


def stop_by_reset(viommu):
    viommu.client.ok(vu.RESET_DEVICE)


def stop_by_status(viommu):
    viommu.client.ok(vu.SET_STATUS, vu.u64(0))


def stop_by_base(viommu):
    viommu.client.ask(vu.GET_VRING_BASE, vu.state(0, 0))


STOPS = (stop_by_reset, stop_by_status, stop_by_base)


def next_driver(viommu, stop):
    """The device stops, and another driver sets it up at the same addresses."""
    with viommu.lock:
        stop(viommu)
    viommu.ring.close()
    viommu.ring = vu.Ring(viommu.mem, 0, 64)
    viommu.disk = vu.Disk(viommu.ring, viommu.mem, 1 << 20, base=IOVA)
    with viommu.lock:
        viommu.client.ok(vu.SET_FEATURES, vu.u64(IOMMU))
        viommu.ring.setup(viommu.client, addr_base=IOVA)


@pytest.mark.parametrize('stop', STOPS)
def test_what_is_stopped_forgets(viommu, stop):
    """Nobody invalidates what a stopped device knows, and the next driver maps anew."""
    viommu.share()
    viommu.map(0, viommu.mem.size)
    viommu.start()
    viommu.disk.check()
    assert not viommu.misses
    next_driver(viommu, stop)
    viommu.disk.check()
    assert viommu.misses


@pytest.mark.parametrize('stop', STOPS)
def test_what_was_refused_is_asked_again(viommu, stop):
    viommu.refusing = True
    viommu.start()
    assert vu.wait_for(lambda: viommu.misses)
    assert viommu.ring.quiet(0.05)
    viommu.refusing = False
    next_driver(viommu, stop)
    viommu.disk.check()


def test_one_ring_of_two_stops(viommu):
    """The other one goes on with what is known."""
    viommu.share()
    viommu.map(0, viommu.mem.size)
    viommu.start()
    other = vu.Ring(viommu.mem, 1, 64, off=2 << 20)
    with viommu.lock:
        other.setup(viommu.client, addr_base=IOVA)
        viommu.client.ask(vu.GET_VRING_BASE, vu.state(1, 0))
    viommu.disk.check()
    assert not viommu.misses
    other.close()


def test_what_came_meanwhile_is_not_asked_for(viommu):
    """Two rings miss the same page, and it comes before the second one's question is out. Asked then, after the
    driver has taken the page back, it would be a fault in the guest."""
    page, at = (2 << 20) + 0x10000, (2 << 20)
    viommu.share()
    viommu.map(0, viommu.disk.off)
    viommu.map(at, 0x10000)
    viommu.start()
    other = vu.Ring(viommu.mem, 1, 64, off=at)
    with viommu.lock:
        other.setup(viommu.client, addr_base=IOVA)
    viommu.answering = False
    for n, ring in enumerate((viommu.ring, other)):
        head = page + n * 0x100
        viommu.mem.write(head, struct.pack('<IIQ', 4, 0, 0))    # a flush
        ring.add([(IOVA + head, 16, False), (IOVA + head + 16, 1, True)], 0)
        ring.notify()
        assert vu.wait_for(lambda: viommu.misses == [IOVA + page])
    assert other.quiet(0.05)
    viommu.map(page, vu.PAGE)
    viommu.ring.wait()
    other.wait()
    viommu.unmap(page, vu.PAGE)
    viommu.answering = True
    viommu.channel.answer(vu.BACKEND_IOTLB)
    assert viommu.ring.quiet(0.1)
    assert viommu.misses == [IOVA + page]
    other.close()


def test_update_again(viommu):
    """The same entry twice, a part of it, and another one in its place."""
    viommu.share()
    viommu.map(0, 1 << 20)
    viommu.map(0, 1 << 20)
    viommu.map(vu.PAGE, vu.PAGE, perm=1)
    viommu.start()
    viommu.disk.check()
    # Another page at the address of the buffers: requests go there from now on.
    off = viommu.disk.off
    assert viommu.call(vu.iotlb(vu.IOTLB_UPDATE, IOVA + off, 1 << 20, viommu.mem.uva + off)) == 0
    viommu.disk.check()


def test_no_translation(viommu):
    """The front end says no: the ring stays where it is, all else goes on."""
    viommu.start()
    viommu.disk.check()
    viommu.ring.add([(0x1234000, 16, False), (IOVA, 1, True)], 0)
    viommu.ring.notify()
    assert viommu.ring.quiet()
    with viommu.lock:
        assert viommu.client.alive()


class Refused(VIommu):
    """A ring that waits for a translation which the front end does not have."""

    def park(self):
        self.share()
        self.map(0, self.disk.off)      # the ring, not the buffers
        self.refusing = True
        self.start()
        self.disk.submit(False, 0)
        self.ring.notify()
        assert vu.wait_for(lambda: self.misses)
        # The start of the ring counts as a kick, too.
        assert self.ring.quiet(0.05) and vu.wait_for(self.server.asleep) and self.ring.quiet(0.2)
        seen = len(self.misses)
        assert self.ring.quiet(0.1)
        assert len(self.misses) == seen, 'asked again, and nobody kicked'
        self.misses.clear()


@pytest.fixture
def parked(server):
    with Refused(server) as g:
        g.park()
        yield g


def test_refused_and_kicked(parked):
    """A kick asks again; when the answer is yes, the request goes on."""
    for n in range(1, 4):
        parked.ring.notify()
        assert vu.wait_for(lambda: len(parked.misses) == n), 'a kick does not ask again'
        time.sleep(0.03)
    assert len(parked.misses) == 3
    parked.refusing = False
    parked.ring.notify()
    parked.disk.finish(parked.ring.wait())


def test_kicked_before_the_refusal(parked):
    """A kick while the question is under way counts, too: it is asked once more, not for ever."""
    parked.answering = False
    parked.ring.notify()
    assert vu.wait_for(lambda: len(parked.misses) == 1)
    for _ in range(3):
        parked.ring.notify()
        time.sleep(0.01)
    assert vu.wait_for(parked.server.asleep)
    parked.answering = True
    parked.channel.answer(vu.BACKEND_IOTLB, 1)
    assert vu.wait_for(lambda: len(parked.misses) == 2), 'the kick was forgotten'
    assert parked.ring.quiet(0.1)
    assert len(parked.misses) == 2
    parked.refusing = False
    parked.ring.notify()
    parked.disk.finish(parked.ring.wait())


def test_kicks_make_no_storm_of_misses(parked):
    start = time.monotonic()
    for _ in range(20000):
        parked.ring.notify()
    time.sleep(0.05)
    assert len(parked.misses) <= 2 + (time.monotonic() - start) / 0.01
    parked.refusing = False
    time.sleep(0.02)
    parked.ring.notify()
    parked.disk.finish(parked.ring.wait())


def test_permission(viommu):
    """Mapped for reading only: a write into it is not made, and the ring stops."""
    viommu.share()
    viommu.map(0, viommu.mem.size - vu.PAGE)
    viommu.map(viommu.mem.size - vu.PAGE, vu.PAGE, perm=1)
    viommu.start()
    viommu.answering = False
    last = viommu.mem.size - vu.PAGE
    viommu.mem.write(1 << 20, struct.pack('<IIQ', 0, 0, 0))
    viommu.mem.write(last, b'\xaa' * 512)
    viommu.ring.add([(IOVA + (1 << 20), 16, False), (IOVA + last, 512, True),
                     (IOVA + (1 << 20) + 16, 1, True)], 0)
    viommu.ring.notify()
    with viommu.lock:
        assert vu.wait_for(lambda: viommu.client.ask_u64(vu.GET_STATUS) & 0x40)
    assert viommu.ring.quiet(0.05)
    assert viommu.mem.read(last, 512) == b'\xaa' * 512


def test_without_reply_ack(server):
    """Misses without need_reply, updates without an answer."""
    with vu.Guest(server, connect=False) as g:
        g.client = c = vu.Client(server.path)
        c.send(vu.SET_PROTOCOL_FEATURES, vu.u64(vu.bit(vu.P_BACKEND_REQ)))
        c.send(vu.SET_OWNER)
        c.send(vu.SET_FEATURES, vu.u64(IOMMU))
        ours, theirs = socket.socketpair()
        c.send(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        c.send(vu.SET_MEM_TABLE, vu.table(g.mem), [g.mem.fd])
        g.disk.base = IOVA
        g.ring.setup(c, ack=False, addr_base=IOVA)
        g.disk.submit(False, 0)
        with vu.Client(ours) as channel:
            request, flags, data = channel.recv()
            assert (request, flags) == (vu.BACKEND_IOTLB, vu.VERSION)
            c.send(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, IOVA, g.mem.size, g.mem.uva))
            g.ring.notify()
            g.disk.finish(g.ring.wait())


def test_form(owner):
    prepare(owner)
    top = 1 << 64
    for kind, iova, size, uva, perm in (
            (0, 0, 0x1000, 0x10000, 3), (1, 0, 0x1000, 0x10000, 3), (4, 0, 0x1000, 0x10000, 3),
            (5, 0, 0x1000, 0x10000, 3), (6, 0, 0x1000, 0x10000, 3), (255, 0, 0x1000, 0x10000, 3),
            (2, 0, 0x1000, 0x10000, 0), (2, 0, 0x1000, 0x10000, 4), (2, 0, 0x1000, 0x10000, 255),
            (2, 0, 0, 0x10000, 3), (2, top - 1, 2, 0x10000, 3), (2, 0, 2, top - 1, 3),
            (2, 0, 0x1000, 0x10000 - 1, 3), (2, 0, (1 << 20) + 1, 0x10000, 3),
            (2, 0, 1, 0x10000 + (1 << 20), 3), (2, 0, 0x1000, 0, 3), (2, 0, top - 1, 0, 3),
            (3, 1, 0, 0, 0), (3, top - 1, 2, 0, 0)):
        owner.refused(vu.IOTLB_MSG, vu.iotlb(kind, iova, size, uva, perm))
    owner.ok(vu.IOTLB_MSG, vu.iotlb(2, top - 0x1000, 0x1000, 0x10000))
    owner.ok(vu.IOTLB_MSG, vu.iotlb(3, top - 0x1000, 0x1000))


def test_over_two_regions(owner):
    """One entry may span regions that are adjacent in user addresses."""
    owner.ok(vu.SET_FEATURES, vu.u64(IOMMU))
    fds = [bad.memory_fd(), bad.memory_fd()]
    owner.ok(vu.SET_MEM_TABLE, struct.pack('=II', 2, 0) + vu.region(0, 1 << 20, 0x100000) +
             vu.region(0x40000000, 1 << 20, 0x200000), fds)
    owner.ok(vu.IOTLB_MSG, vu.iotlb(2, 0x5000, 0x2000, 0x1ff000))
    owner.refused(vu.IOTLB_MSG, vu.iotlb(2, 0x100000, 0x2000, 0x2ff000))
    bad.close_all(fds)


def test_without_access_platform(guest):
    guest.start()
    guest.client.refused(vu.IOTLB_MSG, MSG.payload)
    guest.disk.check()


def test_region_goes_with_its_entries(viommu):
    """REM_MEM_REG takes the entries of the region out too: they are missed again."""
    more = vu.Memory(1 << 20, gpa=0x40000000, uva=0x10000)
    viommu.share()
    viommu.map(0, viommu.mem.size)
    viommu.start()
    with viommu.lock:
        viommu.client.ok(vu.ADD_MEM_REG, more.reg(), [more.fd])
    assert viommu.call(vu.iotlb(vu.IOTLB_UPDATE, 0x1000, more.size, more.uva)) == 0
    vu.Disk(viommu.ring, more, 0, base=0x1000).check()
    with viommu.lock:
        viommu.client.ok(vu.REM_MEM_REG, more.reg())
    viommu.disk.check()
    disk = vu.Disk(viommu.ring, more, 0, base=0x1000)
    disk.submit(False, 0)
    viommu.ring.notify()
    assert vu.wait_for(lambda: 0x1000 <= (viommu.misses or [0])[-1] < 0x1000 + more.size)
    more.close()


@pytest.mark.server('iommu=off')
def test_not_offered(owner):
    """The device could: it is the binding that does not want it."""
    assert not owner.ask_u64(vu.GET_FEATURES) & vu.bit(vu.F_PLATFORM)
    owner.refused(vu.SET_FEATURES, vu.u64(IOMMU))


LIMIT = 65536


def fill(client, first, count, uaddr=0x10000):
    """Entries of one byte each, that lie apart."""
    for at in range(first, first + count, 1024):
        client.sock.sendall(b''.join(
            struct.pack('=III', vu.IOTLB_MSG, 1, 32) +
            vu.iotlb(vu.IOTLB_UPDATE, (1 << 40) + i * 2, 1, uaddr)
            for i in range(at, min(at + 1024, first + count))))


def test_entries_are_limited(server, owner):
    """A front end cannot make the device remember without end."""
    prepare(owner)
    fill(owner, 0, LIMIT)
    owner.refused(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 0x1000, 1, 0x10000))
    assert 'the limit is 65536 entries' in server.log()
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 1 << 40, 1, 0x10000))  # known already
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 1 << 40, 1, 0x10001))  # in its place
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_INVALIDATE, 1 << 40, 1))
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 0x1000, 1, 0x10000))
    owner.refused(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 0x3000, 1, 0x10000))
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_INVALIDATE, 0, 0))
    owner.ok(vu.IOTLB_MSG, vu.iotlb(vu.IOTLB_UPDATE, 0x3000, 1, 0x10000))


def test_a_full_table_is_not_asked_again(server):
    """A miss whose answer finds no room waits for the front end; nobody spins."""
    with VIommu(server) as g:
        g.share()
        g.map(0, g.mem.size)
        g.start()
        g.disk.check()
        with g.lock:
            fill(g.client, 0, LIMIT - 1, g.mem.uva)
            assert g.client.alive()
        g.answering = False
        g.ring.add([(0x1234000, 16, False), (IOVA, 1, True)], 0)
        g.ring.notify()
        assert vu.wait_for(lambda: 0x1234000 in g.misses)
        for _ in range(3):
            assert g.call(vu.iotlb(vu.IOTLB_UPDATE, 0x1234000, 1, g.mem.uva)) != 0
        assert g.ring.quiet(0.2)
        assert len(g.misses) <= 4
        with g.lock:
            assert g.client.alive()
