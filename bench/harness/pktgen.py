# SPDX-License-Identifier: BSD-3-Clause
"""uvdpa pktgen: the sample mvnet_loopback beside soft_net on its loopback, in one daemon. No packet may be lost."""
import contextlib
import json
import subprocess

from .rows import Sample, Spec, make_row
from .testbed import CannotRun

PEER = 'soft_net on loopback'
SPECS = {size: Spec(f'mvnet-pktgen-{size}', 'Mpps', PEER) for size in (64, 1518)}
UUID = '6d766e65-7470-4b74-8765-6e0000000001'


class PktgenGroup:
    specs = list(SPECS.values())

    def __init__(self, bench):
        self.bench = bench

    def command(self, daemon, *words):
        done = subprocess.run([str(self.bench.build / 'cli' / 'uvdpa'), '--socket', daemon.socket, '-j', *words],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise CannotRun(f'{" ".join(words)}: {done.stderr.strip()} {done.stdout.strip()}')
        return json.loads(done.stdout) if done.stdout else None

    def once(self, daemon, dev, size):
        count = 100000 if self.bench.quick else 2000000
        row, = self.command(daemon, 'pktgen', '--dev', dev, '--count', str(count), '--size', str(size))
        if row['lost']:
            raise CannotRun(f'{dev}: {row["lost"]} packets of {size} bytes were lost')
        return Sample(row['packets_per_s'] / 1e6)

    def run(self, wanted):
        rows = []
        with contextlib.ExitStack() as stack:
            daemon = self.bench.daemon(stack)
            self.command(daemon, 'mdev', 'create', 'mvnet_loopback-virtio', UUID)
            self.command(daemon, 'dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'backend', 'loopback')
            for size, spec in SPECS.items():
                if spec in wanted:
                    rows.append(make_row(spec, [(self.once(daemon, UUID, size), self.once(daemon, 'n0', size))
                                                for _ in range(self.bench.pairs)]))
        return rows
