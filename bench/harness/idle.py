# SPDX-License-Identifier: BSD-3-Clause
"""A thousand devices in one process, bound and waiting for front ends that do not come."""
import contextlib
import os
import re
import time

from .rows import Sample, Spec, make_row
from .testbed import Device, vmlib

MEMORY = Spec('idle-anon-memory', 'bytes', 'qemu-storage-daemon, per export', 0.5, True)
# There is no other daemon for many NICs: beside the same export. Of several pairs it is printed only.
NIC_MEMORY = Spec('idle-anon-memory-nic', 'bytes', 'qemu-storage-daemon, per export', 0.5, True)
PAIRS_MEMORY = Spec('idle-anon-memory-nic-8-pairs', 'bytes', 'qemu-storage-daemon, per export', None, True)
SWITCHES = Spec('idle-switches', 'switches', 'none', 0, True)
ADD = Spec('add-1001st', 'ms', 'itself, the second device', 1.5, True)
DISK = 1 << 30


def anonymous_bytes(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        return int(re.search(r'^Anonymous: +(\d+) kB', f.read(), re.M)[1]) * 1024


def switches(pid):
    """Voluntary context switches of all threads so far."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status', encoding='ascii') as f:
            total += int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', f.read(), re.M)[1])
    return total


class Exports:
    """qemu-storage-daemon with a growing number of exports of null disks."""

    def __init__(self, bench, stack):
        self.bench = bench
        control = bench.path('qmp')
        self.process = stack.enter_context(Device(
            bench.in_tree('qemu-storage-daemon', '--chardev',
                          f'socket,id=c,path={control},server=on,wait=off',
                          '--monitor', 'chardev=c'), bench.path('log'), control))
        self.qmp = vmlib.Qmp(control)

    def add(self, number):
        self.qmp('blockdev-add', driver='null-co', **{'node-name': f'd{number}', 'size': DISK})
        self.qmp('block-export-add', type='vhost-user-blk', id=f'e{number}', writable=True,
                 addr={'type': 'unix', 'path': os.path.join(self.bench.work, f'q{number}.sock')},
                 **{'node-name': f'd{number}'})


class Disks:
    """Our daemon with a growing number of null disks on vhost-user sockets."""

    def __init__(self, bench, stack):
        self.bench = bench
        self.process = bench.daemon(stack)

    def add(self, number):
        self.process.add(f'd{number}', 'soft_blk', {'backend': 'null', 'size': DISK},
                         os.path.join(self.bench.work, f'o{number}.sock'))

    def time_to_add(self, number):
        """Milliseconds of the call; the device is gone again afterwards."""
        began = time.monotonic()
        self.add(number)
        took = time.monotonic() - began
        self.process.call('dev.del', name=f'd{number}')
        return took * 1e3


class Nics:
    """Our daemon with a growing number of looped NICs of so many pairs on vhost-user sockets."""

    def __init__(self, bench, stack, pairs):
        self.bench = bench
        self.pairs = pairs
        self.process = bench.daemon(stack)

    def add(self, number):
        self.process.add(f'n{number}', 'soft_net', {'backend': 'loopback', 'max_vqp': self.pairs},
                         os.path.join(self.bench.work, f'n{number}.sock'))


class IdleGroup:
    specs = [MEMORY, NIC_MEMORY, PAIRS_MEMORY, SWITCHES, ADD]
    nics = {NIC_MEMORY: 1, PAIRS_MEMORY: 8}

    def __init__(self, bench):
        self.bench = bench
        self.many = 200 if bench.quick else 1000
        self.watch_seconds = 1 if bench.quick else 10
        self.tries = 5 if bench.quick else 15

    def grow(self, side):
        """Bytes for each device beyond the first."""
        side.add(1)
        before = anonymous_bytes(side.process.pid)
        for number in range(2, self.many + 1):
            side.add(number)
        return (anonymous_bytes(side.process.pid) - before) / (self.many - 1)

    def grow_nics(self, pairs):
        with contextlib.ExitStack() as stack:
            return self.grow(Nics(self.bench, stack, pairs))

    def run(self, wanted):
        with contextlib.ExitStack() as stack:
            ours = Disks(self.bench, stack)
            ours.add(1)
            second = [ours.time_to_add(2) for _ in range(self.tries)]
            ours.process.call('dev.del', name='d1')
            memory = self.grow(ours)
            last = [ours.time_to_add(self.many + 1) for _ in range(self.tries)]
            rows = [make_row(ADD, [(Sample(a), Sample(b)) for a, b in zip(last, second)])]
            if SWITCHES in wanted:
                rows.append(self.count_switches(ours.process.pid))
        found = {spec: self.grow_nics(pairs) for spec, pairs in self.nics.items() if spec in wanted}
        if MEMORY in wanted:
            found[MEMORY] = memory
        if found:
            with contextlib.ExitStack() as stack:
                peer = self.grow(Exports(self.bench, stack))
            rows += [make_row(spec, [(Sample(ours), Sample(peer))], {'devices': self.many})
                     for spec, ours in found.items()]
        return [row for row in rows if row['id'] in [spec.id for spec in wanted]]

    def count_switches(self, pid):
        """Nothing to compare with: none is the target."""
        time.sleep(0.5)
        before = switches(pid)
        time.sleep(self.watch_seconds)
        count = switches(pid) - before
        return {'id': SWITCHES.id, 'ours': count, 'peer': None, 'unit': SWITCHES.unit,
                'ratio': None, 'spread': None, 'target': 0, 'lower_is_better': True,
                'devices': self.many, 'seconds': self.watch_seconds, 'met': count == 0}
