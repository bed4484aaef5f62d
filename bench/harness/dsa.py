# SPDX-License-Identifier: BSD-3-Clause
"""bench/dsa.c: the software DSA in process beside the same work done directly."""
import json
import subprocess

from .rows import Sample, Spec, make_row
from .testbed import DEVICE_CPU, DRIVER_CPU, CannotRun

# ids of the program, what becomes of them
ROWS = {
    'move-64k': Spec('dsa-move-64k', 'GB/s', 'memcpy', 0.9),
    'move-1m': Spec('dsa-move-1m', 'GB/s', 'memcpy', 0.9),
    'move-4k': Spec('dsa-move-4k', 'Mop/s', 'memcpy'),
    'crc-64k': Spec('dsa-crc-64k', 'GB/s', 'isa-l', 0.9),
    'noop': Spec('dsa-noop', 'ns', 'memcpy of 4 KiB', None, True),
}


class DsaGroup:
    specs = list(ROWS.values())

    def __init__(self, bench):
        self.bench = bench

    def once(self):
        program, out = self.bench.build / 'bench' / 'bench-dsa', self.bench.path('jsonl')
        if not program.exists():
            raise CannotRun(f'{program} is missing: libisal-dev was not there when it was built')
        subprocess.run(['taskset', '-c', f'{DEVICE_CPU},{DRIVER_CPU}', program, '--json', out,
                        *(['--quick'] if self.bench.quick else [])],
                       check=True, timeout=120, stdout=subprocess.DEVNULL)
        with open(out, encoding='ascii') as f:
            return {row['id']: row for row in map(json.loads, f)}

    def run(self, wanted):
        pairs = {spec.id: [] for spec in wanted}
        for _ in range(self.bench.pairs):
            found = self.once()
            for name, spec in ROWS.items():
                if spec in wanted:
                    pairs[spec.id].append((Sample(found[name]['ours']), Sample(found[name]['peer'])))
        return [make_row(spec, pairs[spec.id]) for spec in wanted]
