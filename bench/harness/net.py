# SPDX-License-Identifier: BSD-3-Clause
"""
NICs: DPDK's virtio-user drives ours and DPDK's own net_vhost. Devices and drivers of a group are up
all the time and work only while they are measured.
"""
import contextlib
import os
import re
import statistics
import time

from .blk import alternate
from .rows import Sample, Spec, make_row
from .testbed import DEVICE_CPU, DRIVER_CPU, CannotRun, cpu_seconds
from .testpmd import Testpmd

# By the specification: 15 MRG_RXBUF, 34 RING_PACKED, 35 IN_ORDER.
MRG_RXBUF, PACKED, IN_ORDER = 1 << 15, 1 << 34, 1 << 35
SHAPES = MRG_RXBUF | PACKED | IN_ORDER
# How the driver uses its rings, options of EAL for it, and what has to come of it.
RINGS = {
    'split-mrg': ('mrg_rxbuf=1,in_order=0,packed_vq=0', [], MRG_RXBUF),
    'split-nomrg': ('mrg_rxbuf=0,in_order=0,packed_vq=0,vectorized=1', [], 0),
    'packed-mrg': ('packed_vq=1,mrg_rxbuf=1,in_order=0', [], PACKED | MRG_RXBUF),
    'packed-inorder': ('packed_vq=1,in_order=1,mrg_rxbuf=0,vectorized=1',
                       ['--force-max-simd-bitwidth=512'], PACKED | IN_ORDER),
}
LOOP_TARGETS = {64: 1.25, 1518: 1.6}
SWITCH_TARGETS = {64: 1.5, 1518: 2.0}
BUSYLOOP_US = 1000


def mac_of(port):
    return f'52:54:00:00:01:{port:02x}'


class Driver(Testpmd):
    """virtio-user on one socket or more, one port each."""

    def __init__(self, bench, ring, sockets):
        words, eal, self.wanted = RINGS[ring]
        self.ports = len(sockets)
        vdevs = [f'net_virtio_user{i},path={path},queue_size=1024,mac={mac_of(i)},{words}'
                 for i, path in enumerate(sockets)]
        # What goes out of a port is for the other one, so that a switch can learn.
        options = [f'--eth-peer={i},{mac_of(1 - i)}' for i in range(self.ports) if self.ports == 2]
        # In one file its memory is one region for the device; without 2 MiB pages it is anyway.
        one_file = ['--single-file-segments'] if bench.huge else []
        super().__init__(bench, DRIVER_CPU, vdevs, eal=[*one_file, *eal], options=options)

    def wait_ready(self):
        """Up, and with rings of the shape that the row's name promises."""
        super().wait_ready()
        for port in range(self.ports):
            text = self.command(f'show port info {port}')
            found = re.search(r'guest_features: (0x[0-9a-f]+)', text)
            if not found or int(found[1], 16) & SHAPES != self.wanted:
                raise CannotRun(f'port {port}: features {found and found[1]}, '
                                f'wanted {self.wanted:#x} of {SHAPES:#x}')


class PeerDevice(Testpmd):
    """net_vhost on one socket or more."""

    def __init__(self, bench, ports=1):
        self.sockets = [bench.path('sock') for _ in range(ports)]
        super().__init__(bench, DEVICE_CPU, [f'net_vhost{i},iface={path},queues=1'
                                             for i, path in enumerate(self.sockets)])

    def start(self, how):
        self.command(f'set fwd {how}')
        self.command('start')

    def stop(self):
        self.command('stop')


class OurDevice:
    """NICs in one daemon of ours, with the interface of PeerDevice; they run by themselves."""

    def __init__(self, bench, stack, ports, attrs):
        self.process = bench.daemon(stack)
        self.pid = self.process.pid
        self.sockets = [os.path.join(bench.work, f'{self.pid}.n{i}') for i in range(ports)]
        for i, path in enumerate(self.sockets):
            self.process.add(f'n{i}', 'soft_net',
                             {'queue_size': 1024, 'busyloop': BUSYLOOP_US, **attrs}, path)

    def start(self, how):
        pass

    def stop(self):
        pass


class Side:
    """A device with its driver."""

    def __init__(self, device, driver):
        self.device, self.driver = device, driver

    @contextlib.contextmanager
    def running(self, work):
        """@work: the device's mode, the driver's mode, and how the driver is started."""
        self.device.start(work.device)
        try:
            self.driver.command(f'set fwd {work.driver}')
            self.driver.command(work.start)
            time.sleep(0.1)
            yield
        finally:
            self.driver.command('stop')
            self.device.stop()

    def measure(self, seconds, which):
        pids = (self.device.pid, self.driver.pid)
        before, began = [cpu_seconds(p) for p in pids], time.monotonic()
        rates = self.driver.rates(seconds, which)
        took, after = time.monotonic() - began, [cpu_seconds(p) for p in pids]
        cpu = [(b - a) / took for a, b in zip(before, after)]
        if sum(rates) == 0:
            raise CannotRun(f'no packets: {rates}')
        return Sample(sum(rates) / 1e6, *cpu)


class Work:
    """What device and driver do, and which of the driver's counters counts."""

    def __init__(self, device, driver, start, counter):
        self.device, self.driver, self.start, self.counter = device, driver, start, counter


LOOP = Work('io', 'io', 'start tx_first 32', 'Rx')
TO_DEVICE = Work('rxonly', 'txonly', 'start', 'Tx')
FROM_DEVICE = Work('txonly', 'rxonly', 'start', 'Rx')


class NicGroup:
    """Rows that have devices and drivers in common: one for each size of packets."""

    def __init__(self, bench, ring, specs, work=LOOP, *, attrs, ports=1, ceiling=False):
        self.bench, self.ring, self.by_size, self.work = bench, ring, specs, work
        self.attrs, self.ports, self.has_ceiling = attrs, ports, ceiling

    @property
    def specs(self):
        return list(self.by_size.values())

    def sides(self, stack):
        ours = OurDevice(self.bench, stack, self.ports, self.attrs)
        peer = stack.enter_context(PeerDevice(self.bench, self.ports))
        drivers = [stack.enter_context(Driver(self.bench, self.ring, ours.sockets))]
        peer.wait_ready()
        drivers.append(stack.enter_context(Driver(self.bench, self.ring, peer.sockets)))
        for driver in drivers:
            driver.wait_ready()
        return Side(ours, drivers[0]), Side(peer, drivers[1])

    def one(self, side, size):
        for tester in (side.driver, side.device):
            if isinstance(tester, Testpmd):
                tester.command(f'set txpkts {size}')
        with side.running(self.work):
            return side.measure(self.bench.net_seconds, self.work.counter)

    def ceiling(self, side, size):
        """
        Cycles that the driver is busy for a packet, and packets per second if it never waited, in a
        run on our device.
        """
        side.driver.command(f'set txpkts {size}')
        side.driver.command('set record-core-cycles on')
        with side.running(self.work):
            cycles, clock = side.driver.busy_cycles(self.bench.net_seconds / 2)
        side.driver.command('set record-core-cycles off')
        return cycles, clock / cycles / 1e6

    def measure(self, ours, peer, size):
        """Pairs, and with each the driver's ceiling: it moves with the machine as the rates do."""
        pairs, ceilings = [], []
        for number in range(self.bench.net_pairs):
            pairs.append(tuple(alternate(number, lambda: self.one(ours, size),
                                         lambda: self.one(peer, size))))
            if self.has_ceiling:
                ceilings.append(self.ceiling(ours, size))
        return pairs, ceilings

    def run(self, wanted):
        rows = []
        with contextlib.ExitStack() as stack:
            ours, peer = self.sides(stack)
            for size, spec in self.by_size.items():
                if spec not in wanted:
                    continue
                pairs, ceilings = self.measure(ours, peer, size)
                more = {'pages': '2 MiB' if self.bench.huge else '4 KiB'}
                if ceilings:
                    more.update(of_ceiling(pairs, ceilings))
                rows.append(make_row(spec, pairs, more))
        return rows


def of_ceiling(pairs, ceilings):
    return {'driver_cycles': round(statistics.median(c for c, _ in ceilings), 1),
            'ceiling': round(statistics.median(c for _, c in ceilings), 3),
            'of_ceiling': round(statistics.median(
                mine.value / most for (mine, _), (_, most) in zip(pairs, ceilings)), 3)}


def spec(name, peer, target):
    return Spec(name, 'Mpps', f'testpmd net_vhost, {peer}', target)


def net_groups(bench):
    loops = [NicGroup(bench, ring,
                      {size: spec(f'net-loop-{size}-{ring}', 'io forward', target)
                       for size, target in LOOP_TARGETS.items()},
                      attrs={'backend': 'loopback'}, ceiling=True) for ring in RINGS]
    switch = NicGroup(bench, 'split-mrg',
                      {size: spec(f'net-switch-{size}', 'io forward between two ports', target)
                       for size, target in SWITCH_TARGETS.items()},
                      attrs={'backend': 'switch', 'switch': 'bench'}, ports=2)
    receives = NicGroup(bench, 'split-mrg', {64: spec('net-rxonly-64', 'rxonly', 1.0)}, TO_DEVICE,
                        attrs={'backend': 'null'})
    sends = NicGroup(bench, 'split-mrg', {64: spec('net-txonly-64', 'txonly', 1.0)}, FROM_DEVICE,
                     attrs={'backend': 'null', 'generate': 64})
    return [*loops, switch, receives, sends]
