# SPDX-License-Identifier: BSD-3-Clause
"""
CPU time at a steady load: our own driver (uvdpa bench) submits at a fixed rate and sleeps in between
until the device calls, as a guest does. The device's time counts; the driver's is beside it.
"""
import contextlib
import json
import subprocess

from .blk import NULL, NULL_BYTES, alternate
from .net import PeerDevice
from .rows import Sample, Spec, make_row
from .testbed import DRIVER_CPU, CannotRun

DISK_PEER = 'qemu-storage-daemon null-co'
NIC_PEER = 'testpmd net_vhost, io forward, which polls'


def paced(bench, pid_of, kind, socket, rate):
    """One run; the sample's value is microseconds of the device's CPU for each request."""
    done = subprocess.run(
        ['taskset', '-c', str(DRIVER_CPU), bench.uvdpa(), 'bench', kind, f'--socket={socket}',
         f'--rate={rate}', f'--seconds={bench.cpu_seconds}', '--json'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False)
    if done.returncode:
        raise CannotRun(f'uvdpa bench {kind} on {pid_of}: {done.stderr.decode()}')
    got = json.loads(done.stdout)
    # A brief run shows that it works, on a slow machine too; a figure of a full one is of this rate.
    if not got['done'] or (not bench.quick and got['done'] < 0.9 * rate * got['seconds']):
        raise CannotRun(f'uvdpa bench {kind}: {got["done"]} in {got["seconds"]} s at {rate} per s')
    return Sample(1e6 * got['device_cpu'] / got['done'], got['device_cpu'] / got['seconds'],
                  got['driver_cpu'] / got['seconds'], got)


class DiskCpuGroup:
    def __init__(self, bench):
        self.bench = bench
        self.rates = {20000: Spec('cpu-blk-20k', 'us', DISK_PEER, 0.8, True),
                      200000: Spec('cpu-blk-200k', 'us', DISK_PEER, 0.8, True)}

    @property
    def specs(self):
        return list(self.rates.values())

    def run(self, wanted):
        bench, rows = self.bench, []
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(bench.serve('blk', *NULL))
            peer = stack.enter_context(
                bench.storage_daemon(f'null-co,node-name=d,size={NULL_BYTES}'))
            for rate, spec in self.rates.items():
                if spec not in wanted:
                    continue
                pairs = [tuple(alternate(
                    i, *(lambda d=d, r=rate: paced(bench, d.child.args, 'blk', d.socket, r)
                         for d in (ours, peer)))) for i in range(bench.pairs)]
                rows.append(make_row(spec, pairs, cpu_each(pairs)))
        return rows


def cpu_each(pairs):
    """The driver's microseconds for each request, which the device decides by how it calls."""
    def driver(samples):
        found = sorted(1e6 * s.more['driver_cpu'] / s.more['done'] for s in samples)
        return round(found[len(found) // 2], 3)
    return {'driver_us': {'ours': driver([p[0] for p in pairs]),
                          'peer': driver([p[1] for p in pairs])}}


class NicCpuGroup:
    """Printed only: the peer never sleeps."""

    def __init__(self, bench):
        self.bench = bench
        self.rates = {100000: Spec('cpu-net-100k', 'us', NIC_PEER, None, True),
                      1000000: Spec('cpu-net-1m', 'us', NIC_PEER, None, True)}

    @property
    def specs(self):
        return list(self.rates.values())

    def run_peer(self, peer, rate):
        peer.start('io')
        try:
            return paced(self.bench, 'testpmd', 'net', peer.sockets[0], rate)
        finally:
            peer.stop()

    def run(self, wanted):
        bench, rows = self.bench, []
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(bench.serve('net', '--backend=loopback'))
            peer = stack.enter_context(PeerDevice(bench))
            peer.wait_ready()
            for rate, spec in self.rates.items():
                if spec not in wanted:
                    continue
                pairs = [tuple(alternate(
                    i, lambda r=rate: paced(bench, 'ours', 'net', ours.socket, r),
                    lambda r=rate: self.run_peer(peer, r))) for i in range(bench.pairs)]
                rows.append(make_row(spec, pairs, cpu_each(pairs)))
        return rows


def cpu_groups(bench):
    return [DiskCpuGroup(bench), NicCpuGroup(bench)]
