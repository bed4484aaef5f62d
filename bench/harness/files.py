# SPDX-License-Identifier: BSD-3-Clause
"""
Disks on files, in memory and on a real file system, beside qemu-storage-daemon (the best of its AIO
modes per cell) and beside fio with io_uring on the same file without any device between: the limit.
"""
import contextlib
import json
import os
import statistics
import subprocess

from .blk import BestPeer, BlkLoad, alternate
from .rows import Sample, Spec, make_row, rounded
from .testbed import BUSYLOOP, DEVICE_CPU, DRIVER_CPU, CannotRun

FILE_BYTES = 1 << 30
PEER = 'qemu-storage-daemon'
LIMIT = 'fio, io_uring'
# name, operation, order, bytes, depth
CELLS = [(f'rand{op}-qd{depth}', op, 'random', 4096, depth)
         for op in ('read', 'write') for depth in (1, 32, 128)]
CELLS += [(f'seq{op}-128k', op, 'sequential', 131072, 32) for op in ('read', 'write')]


class Cell:
    """One kind of load on one file: a row against the peer, and from depth 32 one against the limit."""

    def __init__(self, group, mode, cell):
        self.name, self.op, self.order, self.bytes, self.depth = cell
        self.mode = mode
        prefix = f'blk-file-{group}-{self.name}' + ('-event' if mode == 'event' else '')
        self.spec = Spec(prefix, 'IOPS', PEER, 1.2)
        self.limit = None
        if self.depth >= 32 and mode == 'poll':
            self.limit = Spec(f'{prefix}-of-limit', 'IOPS', LIMIT, 0.9)

    def specs(self):
        return [s for s in (self.spec, self.limit) if s]

    def options(self):
        return {'mode': self.mode, 'op': self.op, 'order': self.order, 'bytes': self.bytes,
                'depth': self.depth, 'span': FILE_BYTES}


class Image:
    """A file with all of its blocks written, under a name that is valid inside the tree too."""

    def __init__(self, bench, kind):
        name = f'uvdpa-bench-{os.getpid()}.img'
        self.inside = ('/dev/shm/' if kind == 'tmpfs' else '/var/tmp/') + name
        self.outside = self.inside if kind == 'tmpfs' else bench.cache.tree + self.inside
        self.file_system = subprocess.run(
            ['stat', '-f', '-c', '%T', os.path.dirname(self.outside)], check=True,
            stdout=subprocess.PIPE, timeout=10).stdout.decode().strip()
        if self.file_system == 'tmpfs' and kind != 'tmpfs':
            raise CannotRun(f'{os.path.dirname(self.outside)} is not on a disk')

    def __enter__(self):
        block = os.urandom(1 << 20)
        with open(self.outside, 'wb', buffering=0) as f:
            for _ in range(FILE_BYTES // len(block)):
                f.write(block)
            os.fsync(f.fileno())
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(OSError):
            os.unlink(self.outside)


class FileGroup:
    """All cells on one kind of file system."""

    def __init__(self, bench, kind):
        self.bench, self.kind = bench, kind
        self.cells = [Cell(kind, 'poll', c) for c in CELLS]
        self.cells += [Cell(kind, 'event', c) for c in CELLS if c[1:3] == ('read', 'random')]
        self.best = {}

    @property
    def specs(self):
        return [spec for cell in self.cells for spec in cell.specs()]

    def aio_modes(self, image):
        """Native AIO is for files without page cache; on tmpfs it is not offered."""
        direct = 'off' if self.kind == 'tmpfs' else 'on'
        modes = ['threads', 'io_uring'] + (['native'] if direct == 'on' else [])
        return {mode: 'driver=file,node-name=d,locking=off,'
                      f'filename={image.inside},cache.direct={direct},aio={mode}'
                for mode in modes}

    def fio(self, image, cell):
        direct = 0 if self.kind == 'tmpfs' else 1
        order = {'random': 'rand', 'sequential': ''}[cell.order]
        argv = self.bench.in_tree(
            'taskset', '-c', f'{DEVICE_CPU},{DRIVER_CPU}', 'fio', '--name=limit',
            f'--filename={image.inside}', '--ioengine=io_uring', '--registerfiles=1',
            f'--direct={direct}', f'--rw={order}{cell.op}', f'--bs={cell.bytes}',
            f'--iodepth={cell.depth}', f'--iodepth_batch_submit={min(cell.depth, 16)}',
            f'--iodepth_batch_complete_max={min(cell.depth, 16)}',
            f'--size={FILE_BYTES}', '--time_based', f'--runtime={int(self.seconds * 1000)}ms',
            '--randrepeat=0', '--norandommap', '--random_generator=tausworthe64', '--thread',
            '--output-format=json')
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              check=False)
        if done.returncode:
            raise CannotRun(f'fio: {done.stderr.decode()}')
        job = json.loads(done.stdout)['jobs'][0]
        return Sample(job[cell.op]['iops'], None, (job['usr_cpu'] + job['sys_cpu']) / 100)

    @property
    def seconds(self):
        return self.bench.file_seconds

    def devices(self, stack, image, cells):
        """Ours by the driver's mode, and the peer's by AIO mode."""
        bench = self.bench
        extra = {'poll': [BUSYLOOP], 'event': []}
        ours = {mode: bench.serve('blk', f'--blk-file={image.outside}', '--attr=lock=off',
                                  *extra[mode])
                for mode in {cell.mode for cell in cells}}
        peers = {mode: bench.storage_daemon(blockdev)
                 for mode, blockdev in self.aio_modes(image).items()}
        for device in [*ours.values(), *peers.values()]:
            stack.enter_context(device)
        return ours, peers

    def run(self, wanted):
        cells = [cell for cell in self.cells if any(s in wanted for s in cell.specs())]
        load = BlkLoad(self.bench, self.seconds)
        with contextlib.ExitStack() as stack:
            image = stack.enter_context(Image(self.bench, self.kind))
            ours, peers = self.devices(stack, image, cells)
            rows = []
            for cell in cells:
                rows += self.run_cell(load, image, cell, ours[cell.mode], peers)
        return [row for row in rows if row['id'] in [s.id for s in wanted]]

    def run_cell(self, load, image, cell, ours, peers):
        best, pairs, limits = BestPeer(False), [], []
        for number in range(self.bench.pairs):
            runs = [lambda: load.run(ours, **cell.options()),
                    lambda: best.run({n: (lambda d=d: load.run(d, **cell.options()))
                                      for n, d in peers.items()})]
            if cell.limit:
                runs.append(lambda: self.fio(image, cell))
            found = alternate(number, *runs)
            pairs.append((found[0], found[1][1]))
            if cell.limit:
                limits.append((found[0], found[2]))
        where = {'file_system': image.file_system}
        more = {**where, 'peer_is': f'{PEER}, aio={best.best}'}
        if limits:
            # Nobody is 1.2 times as fast as somebody who is at the limit.
            more['peer_of_limit'] = rounded(statistics.median(
                theirs.value / limit.value for (_, theirs), (_, limit) in zip(pairs, limits)))
        rows = [make_row(cell.spec, pairs, more)]
        if limits:
            rows.append(make_row(cell.limit, limits, where))
        return rows


def file_groups(bench):
    return [FileGroup(bench, 'tmpfs'), FileGroup(bench, 'ext4')]
