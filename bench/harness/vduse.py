# SPDX-License-Identifier: BSD-3-Clause
"""Disks on a kernel's vDPA bus, by VDUSE: ours and qemu-storage-daemon's in one guest (bench/guest_vduse.py)."""
import json
import os
import shutil
import statistics

from .rows import Sample, Spec, make_row
from .testbed import TOP, CannotRun, vmlib

import kernel_vdpa  # of tests/vm, which testbed has made known

PEER = 'qemu-storage-daemon vduse-blk, the better of aio=threads and io_uring'
TARGET = {1: 1.1, 32: 1.2}
CPU_TARGET = 0.9
CASES = [(op, depth) for op in ('read', 'write') for depth in (1, 32)]


def specs_of(driver):
    """By virtio_vdpa most of the time is the emulated guest's: printed only."""
    judged = driver == 'vhost_vdpa'
    for op, depth in CASES:
        name = f'vduse-{driver}-rand{op}-qd{depth}'.replace('_', '-')
        yield (driver, op, depth, 'iops'), Spec(name, 'IOPS', PEER, TARGET[depth] if judged else None)
        yield (driver, op, depth, 'cpu_us'), Spec(f'{name}-cpu', 'us', PEER, CPU_TARGET if judged else None, True)


SPECS = dict(spec for driver in ('vhost_vdpa', 'virtio_vdpa') for spec in specs_of(driver))
SCRIPT = """
export W
unset LD_LIBRARY_PATH
mount -o remount,size=300M /tmp 2>/dev/null || mount -t tmpfs -o size=300M none /tmp
python3 $W/guest_vduse.py $W/config.json > $W/runs 2> $W/errors
"""


def pairs_of(runs, key):
    """(ours, best peer) of each pair of runs; the peer's way is the one whose median is best."""
    driver, op, depth, value = key
    sides = {}
    for run in runs:
        if (run['driver'], run['op'], run['depth']) == (driver, op, depth):
            sides.setdefault(run['side'], []).append(run)
    ours = sides.pop('ours')
    # What is fastest, also where CPU time is compared: nobody chooses otherwise.
    best = max(sides, key=lambda side: statistics.median(r['iops'] for r in sides[side]))
    return best, [(Sample(a[value]), Sample(b[value])) for a, b in zip(ours, sides[best])]


class VduseGroup:
    specs = list(SPECS.values())
    takes_long = True   # a guest, under emulation: in a brief run only when it is asked for

    def __init__(self, bench):
        self.bench = bench
        self.config = {'pairs': bench.pairs, 'ms': 300 if bench.quick else 1000, 'span': 32 << 20}

    def guest(self):
        bench = self.bench
        guest = vmlib.Guest(bench.cache, bench.work, SCRIPT)
        for program in ('daemon/uvdpad',):
            kernel_vdpa.take_program(guest, str(bench.build / program))
        shutil.copy(TOP / 'bench' / 'guest_vduse.py', guest.share)
        config = dict(self.config, blkload=bench.compile('blkload.c', '$(pkg-config --cflags --libs blkio)'))
        guest.write('config.json', json.dumps(config))
        return guest

    def run(self, wanted):
        guest = self.guest()
        try:
            guest.run(timeout=60 + len(CASES) * 6 * self.config['pairs'] * (2 + self.config['ms'] / 500))
        except vmlib.TestbedError as e:
            errors = guest.read('errors') if os.path.exists(os.path.join(guest.share, 'errors')) else ''
            raise CannotRun(f'{e}\n{errors}') from e
        runs = [json.loads(line) for line in guest.read('runs').splitlines()]
        rows = []
        for key, spec in SPECS.items():
            if spec not in wanted:
                continue
            best, pairs = pairs_of(runs, key)
            rows.append(make_row(spec, pairs, {'best_peer': best}))
        return rows
