# SPDX-License-Identifier: BSD-3-Clause
"""NICs: DPDK's virtio-user drives ours and DPDK's own net_vhost."""
import contextlib
import time

from .blk import alternate
from .rows import Sample, Spec, make_row
from .testbed import DEVICE_CPU, DRIVER_CPU, cpu_seconds, vmlib
from .testpmd import Testpmd

MAC = '52:54:00:00:00:01'
SIMD = ['--force-max-simd-bitwidth=512']
# How the driver uses its rings, and options of EAL for it.
RINGS = {
    'split-mrg': ('mrg_rxbuf=1,in_order=0,packed_vq=0', []),
    'split-nomrg': ('mrg_rxbuf=0,in_order=0,packed_vq=0,vectorized=1', []),
    'packed-mrg': ('packed_vq=1,mrg_rxbuf=1,in_order=0', []),
    'packed-inorder': ('packed_vq=1,in_order=1,mrg_rxbuf=0,vectorized=1', SIMD),
}
LOOP_TARGETS = {64: 1.25, 1518: 1.6}


class Driver(Testpmd):
    """virtio-user on one socket or more, one port each."""

    def __init__(self, bench, ring, sockets, options=()):
        words, eal = RINGS[ring]
        vdevs = [f'net_virtio_user{i},path={path},queue_size=1024,{words}'
                 for i, path in enumerate(sockets)]
        # In one file its memory is one region for the device; without 2 MiB pages it is anyway.
        one_file = ['--single-file-segments'] if bench.huge else []
        super().__init__(bench, DRIVER_CPU, vdevs, eal=[*one_file, *eal], options=options)


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
    """Ours runs by itself; the interface is that of PeerDevice."""

    def __init__(self, process, sockets):
        self.process, self.sockets, self.pid = process, sockets, process.pid

    def start(self, how):
        pass

    def stop(self):
        pass


class Side:
    """A device with its driver, both up all the time, working only while they are measured."""

    def __init__(self, device, driver):
        self.device, self.driver = device, driver

    @contextlib.contextmanager
    def running(self, forward, how):
        """@forward: the driver's mode and how it is started; @how: the device's mode."""
        self.device.start(how)
        try:
            self.driver.command(f'set fwd {forward[0]}')
            self.driver.command(forward[1])
            time.sleep(0.1)
            yield
        finally:
            self.driver.command('stop')
            self.device.stop()

    def measure(self, seconds, which):
        before = [cpu_seconds(p) for p in (self.device.pid, self.driver.pid)]
        began = time.monotonic()
        rates = self.driver.rates(seconds, which)
        took = time.monotonic() - began
        after = [cpu_seconds(p) for p in (self.device.pid, self.driver.pid)]
        cpu = [(b - a) / took for a, b in zip(before, after)]
        return Sample(sum(rates) / 1e6, cpu[0], cpu[1])


class LoopGroup:
    """The device sends back what it gets; the driver too."""

    def __init__(self, bench, ring):
        self.bench, self.ring = bench, ring
        self.by_size = {size: Spec(f'net-loop-{size}-{ring}', 'Mpps',
                                   'testpmd net_vhost, io forward', LOOP_TARGETS[size])
                        for size in LOOP_TARGETS}

    @property
    def specs(self):
        return list(self.by_size.values())

    def sides(self, stack):
        bench = self.bench
        ours = bench.serve('net', '--backend=loopback', f'--mac={MAC}', '--attr=queue_size=1024')
        stack.enter_context(ours)
        peer = stack.enter_context(PeerDevice(bench))
        drivers = [stack.enter_context(Driver(bench, self.ring, [ours.socket]))]
        peer.wait_ready()
        drivers.append(stack.enter_context(Driver(bench, self.ring, peer.sockets)))
        for driver in drivers:
            driver.wait_ready()
        return (Side(OurDevice(ours, [ours.socket]), drivers[0]), Side(peer, drivers[1]))

    def one(self, side, size):
        side.driver.command(f'set txpkts {size}')
        with side.running(('io', 'start tx_first 32'), 'io'):
            return side.measure(self.bench.net_seconds, 'Rx')

    def ceiling(self, side, size):
        """
        Packets per second if the driver never waited: its clock by the cycles that it is busy for a
        packet, in a run on our device.
        """
        side.driver.command(f'set txpkts {size}')
        side.driver.command('set record-core-cycles on')
        with side.running(('io', 'start tx_first 32'), 'io'):
            cycles, clock = side.driver.busy_cycles(self.bench.net_seconds / 2)
        side.driver.command('set record-core-cycles off')
        return {'driver_cycles': round(cycles, 1), 'ceiling': round(clock / cycles / 1e6, 3)}

    def run(self, wanted):
        rows = []
        with contextlib.ExitStack() as stack:
            ours, peer = self.sides(stack)
            for size, spec in self.by_size.items():
                if spec not in wanted:
                    continue
                pairs = [tuple(alternate(i, lambda s=size: self.one(ours, s),
                                         lambda s=size: self.one(peer, s)))
                         for i in range(self.bench.pairs)]
                more = self.ceiling(ours, size)
                mine = make_row(spec, pairs)['ours']
                more['of_ceiling'] = round(mine / more['ceiling'], 3)
                rows.append(make_row(spec, pairs, more))
        return rows


def net_groups(bench):
    return [LoopGroup(bench, ring) for ring in ('split-mrg', 'split-nomrg')]
