# SPDX-License-Identifier: BSD-3-Clause
"""Disks: libblkio drives ours and qemu-storage-daemon's, on the same socket protocol."""
import contextlib
import json
import subprocess

from .rows import Sample, Spec, make_row
from .testbed import BUSYLOOP, DRIVER_CPU, CannotRun

NULL_BYTES = 1 << 40
SPAN = 256 << 20


class BlkLoad:
    """bench/blkload.c on the driver's CPU."""

    def __init__(self, bench, seconds=None):
        self.bench = bench
        self.seconds = seconds or bench.null_seconds
        self.program = bench.compile('blkload.c', '$(pkg-config --cflags --libs blkio)')

    def run(self, device, value='iops', **options):
        """One run against @device; the sample's value is that member of what it prints."""
        options = {'ms': int(self.seconds * 1000), 'span': SPAN, **options}
        words = [f'{k}={v}' for k, v in options.items()]
        argv = self.bench.in_tree('taskset', '-c', DRIVER_CPU, self.program, device.socket,
                                  f'pid={device.pid}', *words)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=20 + self.seconds, check=False)
        if done.returncode:
            raise CannotRun(f'blkload {words} on {device.child.args}: {done.stderr.decode()}')
        got = json.loads(done.stdout)
        return Sample(got[value], got['device_cpu'] / got['seconds'],
                      got['driver_cpu'] / got['seconds'], got)

    def fill(self, device):
        """Write all of the span, so that no page of it is touched for the first time later."""
        self.run(device, mode='poll', op='write', order='sequential', depth=8, bytes=1 << 20,
                 warm_ms=0, ms=1, least=SPAN >> 20)


def alternate(number, *runs):
    """Call each of @runs, in turns from either end, so that no side is always the first."""
    order = range(len(runs)) if number % 2 == 0 else reversed(range(len(runs)))
    results = {i: runs[i]() for i in order}
    return [results[i] for i in range(len(runs))]


class BestPeer:
    """Of several variants of the peer the best one counts: all run once, the best goes on."""

    def __init__(self, lower_is_better):
        self.pick = min if lower_is_better else max
        self.best = None

    def run(self, variants):
        """@variants: name to a function that gives a sample. The name of the best, and its sample."""
        if self.best is None:
            first = {name: fn() for name, fn in variants.items()}
            self.best = self.pick(first, key=lambda name: first[name].value)
            return self.best, first[self.best]
        return self.best, variants[self.best]()


class NullGroup:
    """A disk that keeps nothing, 4 KiB random reads: what is between the driver and a disk."""

    def __init__(self, bench, mode, rows):
        self.bench, self.mode = bench, mode
        self.rows = rows    # of (spec, which of ours, options of the load, value)

    @property
    def specs(self):
        return [row[0] for row in self.rows]

    def open(self, stack, wanted):
        bench = self.bench
        peers = {'null-co': bench.storage_daemon(f'null-co,node-name=d,size={NULL_BYTES}'),
                 'null-co, iothread': bench.storage_daemon(
                     f'null-co,node-name=d,size={NULL_BYTES}', iothread=True)}
        ours = {name: bench.serve('blk', *options) for name, options in OURS.items()
                if any(row[1] == name and row[0] in wanted for row in self.rows)}
        for device in [*peers.values(), *ours.values()]:
            stack.enter_context(device)
        return ours, peers

    def run(self, wanted):
        """The rows of the specs in @wanted."""
        load = BlkLoad(self.bench)
        with contextlib.ExitStack() as stack:
            ours, peers = self.open(stack, wanted)
            rows = [row for row in self.rows if row[0] in wanted]
            pairs = {row[0].id: [] for row in rows}
            if 'ram' in ours:
                load.fill(ours['ram'])
            best = {row[0].id: BestPeer(row[0].lower_is_better) for row in rows}
            for number in range(self.bench.null_pairs):
                for spec, which, options, value in rows:
                    full = dict(options, mode=self.mode)
                    mine, (name, theirs) = alternate(
                        number,
                        lambda w=which, o=full, v=value: load.run(ours[w], v, **o),
                        lambda s=spec, o=full, v=value: best[s.id].run(
                            {n: (lambda d=d: load.run(d, v, **o))
                             for n, d in peers.items()}))
                    pairs[spec.id].append((mine, theirs))
        return [make_row(spec, pairs[spec.id],
                         {'peer_is': f'qemu-storage-daemon {best[spec.id].best}'})
                for spec, *_ in rows]


# The peer's null-co leaves the buffers of reads as they are unless told otherwise; so does ours here.
NULL = ['--backend=null', '--attr=read_zeroes=off']
OURS = {
    'null': NULL,
    'null-busyloop': [*NULL, BUSYLOOP],
    'null-zeroes': ['--backend=null', BUSYLOOP],
    'ram': ['--backend=ram', '--attr=size=1G', '--attr=huge_pages=on', BUSYLOOP],
}
PEER = 'qemu-storage-daemon null-co'


def null_groups(bench):
    poll = [
        (Spec('blk-null-poll-qd128-busyloop', 'IOPS', PEER, 2.2), 'null-busyloop',
         {'depth': 128}, 'iops'),
        (Spec('blk-null-poll-qd32-busyloop', 'IOPS', PEER, 2.2), 'null-busyloop',
         {'depth': 32}, 'iops'),
        (Spec('blk-null-poll-qd1-latency', 'us', PEER, 0.08, True), 'null-busyloop',
         {'depth': 1}, 'avg_us'),
        (Spec('blk-null-poll-qd128-zeroes', 'IOPS', PEER), 'null-zeroes', {'depth': 128}, 'iops'),
        (Spec('blk-ram-read-qd128', 'IOPS', PEER, 0.9), 'ram', {'depth': 128}, 'iops'),
        (Spec('blk-ram-write-qd128', 'IOPS', PEER, 0.7), 'ram', {'depth': 128, 'op': 'write'},
         'iops'),
    ]
    event = []
    for which, suffix, latency, iops in (('null', '', 1.0, 1.5),
                                         ('null-busyloop', '-busyloop', 0.35, None)):
        event += [
            (Spec(f'blk-null-event-qd1-latency{suffix}', 'us', PEER, latency, True), which,
             {'depth': 1}, 'avg_us'),
            (Spec(f'blk-null-event-qd32{suffix}', 'IOPS', PEER, iops), which, {'depth': 32},
             'iops'),
            (Spec(f'blk-null-event-qd128{suffix}', 'IOPS', PEER, iops), which, {'depth': 128},
             'iops'),
        ]
    return [NullGroup(bench, 'poll', poll), NullGroup(bench, 'event', event)]
