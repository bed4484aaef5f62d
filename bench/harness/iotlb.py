# SPDX-License-Identifier: BSD-3-Clause
"""bench/iotlb.c: how a lookup's cost grows with the number of ranges."""
import json
import subprocess

from .rows import Sample, Spec, make_row
from .testbed import DEVICE_CPU

# ids of the program, what becomes of them
GROWTH = {
    'iotlb-lookup': Spec('iotlb-lookup-1m', 'ns', 'itself at 1 k ranges', 4, True),
    'iotlb-xlate': Spec('iotlb-xlate-1m', 'ns', 'itself at 1 k ranges', None, True),
    'iotlb-batch': Spec('iotlb-batch-1m', 'ns', 'itself at 1 k ranges', 4, True),
    'iotlb-ring': Spec('iotlb-ring-1m', 'ns', 'itself at 1 k ranges', None, True),
    'iotlb-table': Spec('iotlb-table-1m', 'ns', 'itself at 1 k ranges', None, True),
}


class IotlbGroup:
    def __init__(self, bench):
        self.bench = bench

    specs = list(GROWTH.values())

    def once(self):
        out = self.bench.path('jsonl')
        subprocess.run(['taskset', '-c', str(DEVICE_CPU), self.bench.build / 'bench' / 'bench-iotlb',
                        '--quick', '--json', out], check=True, timeout=120,
                       stdout=subprocess.DEVNULL)
        with open(out, encoding='ascii') as f:
            found = [json.loads(line) for line in f]
        return {row['id']: row['ours'] for row in found}

    def run(self, wanted):
        pairs = {spec.id: [] for spec in wanted}
        for _ in range(self.bench.pairs):
            found = self.once()
            for name, spec in GROWTH.items():
                if spec in wanted:
                    pairs[spec.id].append((Sample(found[f'{name}-1000000']),
                                           Sample(found[f'{name}-1000'])))
        return [make_row(spec, pairs[spec.id]) for spec in wanted]
