# SPDX-License-Identifier: BSD-3-Clause
"""bench/doorbell.c: our own driver rings a disk's doorbell over vfio-user and over vhost-user, in one daemon."""
import contextlib
import json
import subprocess

from .rows import Sample, Spec, make_row
from .testbed import DRIVER_CPU, CannotRun

PEER = 'vhost-user, the same driver'
# ids of the program, what becomes of them
ROWS = {
    'event': Spec('vfio-user-event-qd1-latency', 'us', PEER, 1.3, True),
    'post': Spec('vfio-user-post-qd1-latency', 'us', PEER, None, True),
}
DRIVERS = ('vhost-user', 'virtio-pci', 'virtio-pci')


class DoorbellGroup:
    specs = list(ROWS.values())

    def __init__(self, bench):
        self.bench = bench

    def disks(self, daemon):
        """A null disk behind each of DRIVERS: their sockets."""
        paths = [self.bench.path('sock') for _ in DRIVERS]
        for i, (driver, path) in enumerate(zip(DRIVERS, paths)):
            daemon.call('dev.add', name=f'd{i}', mgmtdev='soft_blk',
                        attrs={'backend': 'null', 'read_zeroes': 'off'},
                        driver={'name': driver, 'attrs': {'path': path}})
        return paths

    def once(self, paths):
        program, out = self.bench.build / 'bench' / 'bench-doorbell', self.bench.path('jsonl')
        if not program.exists():
            raise CannotRun(f'{program} is missing: it was built without vhost_user, virtio_pci or virtio_vdpa')
        done = subprocess.run(['taskset', '-c', str(DRIVER_CPU), program, '--json', out,
                               *(['--quick'] if self.bench.quick else []), *paths],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise CannotRun(done.stderr.strip())
        with open(out, encoding='ascii') as f:
            return {row['id']: row for row in map(json.loads, f)}

    def run(self, wanted):
        with contextlib.ExitStack() as stack:
            paths = self.disks(self.bench.daemon(stack))
            runs = [self.once(paths) for _ in range(self.bench.pairs)]
        return [make_row(spec, [(Sample(run[name]['ours']), Sample(run[name]['peer'])) for run in runs])
                for name, spec in ROWS.items() if spec in wanted]
