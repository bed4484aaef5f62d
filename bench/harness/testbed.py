# SPDX-License-Identifier: BSD-3-Clause
"""Where the programs come from and how they are run: pinned, with logs, ended by their pid."""
import contextlib
import os
import pathlib
import re
import shutil
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
for folder in ('vm', 'cli'):
    sys.path.insert(0, str(TOP / 'tests' / folder))

import cliutil  # noqa: E402  pylint: disable=wrong-import-position
import vmlib  # noqa: E402  pylint: disable=wrong-import-position

DEVICE_CPU, DRIVER_CPU = 0, 1
# How a device of ours is told to poll: microseconds after its last work.
BUSYLOOP = '--attr=busyloop=1000'
HUGE = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'
HUGE_PAGES = 1200
TICKS = os.sysconf('SC_CLK_TCK')


class CannotRun(Exception):
    """A benchmark that gave no figure, and why."""


def cpu_seconds(pid):
    """CPU time of a process until now, all threads."""
    with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Device(vmlib.Process):
    """A device's process on the device's CPU, with a socket (or more) to wait for."""

    def __init__(self, argv, log, *sockets):
        super().__init__(['taskset', '-c', str(DEVICE_CPU), *argv], log)
        self.pid = self.child.pid
        self.socket = sockets[0] if sockets else None
        for path in sockets:
            vmlib.wait_until(f'socket {path}', lambda p=path: self.listens(p), 20)

    def listens(self, path):
        if not self.alive():
            raise CannotRun(f'{self.child.args[3:]} ended:\n{vmlib.tail(self.log)}')
        return os.path.exists(path)


class Daemon(Device):
    """Our daemon on the device's CPU."""

    def __init__(self, program, log, control):
        super().__init__([program, '--socket', control], log, control)
        self.rpc = vmlib.wait_until('answering daemon', lambda: self.connect(control), 10)

    @staticmethod
    def connect(control):
        try:
            return cliutil.Client(control)
        except OSError:     # bound, and not listening yet
            return None

    def call(self, method, **params):
        answer = self.rpc.call(method, **params)
        if answer is None or 'error' in answer:
            raise CannotRun(f'{method} {params}: {answer}')
        return answer['result']

    def add(self, name, mgmtdev, attrs, path):
        """A device behind a vhost-user socket."""
        self.call('dev.add', name=name, mgmtdev=mgmtdev, attrs=attrs,
                  driver={'name': 'vhost-user', 'attrs': {'path': path}})


class Bench:
    """One call of tools/bench: how long, how often, with what."""

    def __init__(self, build, quick):
        self.build = pathlib.Path(build).resolve()
        self.quick = quick
        self.pairs = 1 if quick else 5
        # Short loads, more often: what moves a machine's processors about moves them between pairs.
        self.null_pairs = self.net_pairs = 1 if quick else 9
        self.null_seconds = 0.5
        self.file_seconds = 0.3
        self.cpu_seconds = 0.5 if quick else 1.5
        self.net_seconds = 0.7 if quick else 0.8
        self.cache = vmlib.Cache()
        self.work = None
        self.huge = False
        self.counter = 0

    @contextlib.contextmanager
    def workplace(self):
        """A directory for sockets and logs, and pages for DPDK; both are given back."""
        self.work = tempfile.mkdtemp(prefix='uvdpa-bench-', dir='/tmp')
        before = self.take_huge_pages()
        try:
            yield
        finally:
            self.give_huge_pages(before)
            shutil.rmtree(self.work, ignore_errors=True)

    def take_huge_pages(self):
        """2 MiB pages make DPDK faster on both ends, so it gets them where that is possible."""
        try:
            with open(HUGE, 'r+', encoding='ascii') as f:
                before = int(f.read())
                if before < HUGE_PAGES:
                    f.seek(0)
                    f.write(str(HUGE_PAGES))
            with open(HUGE, encoding='ascii') as f:
                self.huge = int(f.read()) >= HUGE_PAGES
            return before
        except OSError:
            return None

    @staticmethod
    def give_huge_pages(before):
        if before is not None:
            with contextlib.suppress(OSError), open(HUGE, 'w', encoding='ascii') as f:
                f.write(str(before))

    def path(self, suffix):
        """A new path in the workplace."""
        self.counter += 1
        return os.path.join(self.work, f'{self.counter}.{suffix}')

    def in_tree(self, *argv):
        return self.cache.argv(self.work, *(str(a) for a in argv))

    def uvdpa(self):
        return str(self.build / 'cli' / 'uvdpa')

    def serve(self, kind, *options):
        """One device of ours behind a vhost-user socket."""
        path = self.path('sock')
        return Device([self.uvdpa(), 'serve', kind, f'--socket-path={path}', *options],
                      self.path('log'), path)

    def compile(self, name, flags):
        """A program of bench/ for the tree. Its headers are put into it: it is compiled alone there."""
        folder = TOP / 'bench'
        text = re.sub(r'^#include "(.*)"$', lambda m: (folder / m[1]).read_text(),
                      (folder / name).read_text(), flags=re.M)
        os.makedirs(os.path.join(self.work, 'source'), exist_ok=True)
        source = os.path.join(self.work, 'source', name)
        with open(source, 'w', encoding='ascii') as f:
            f.write(text)
        return self.cache.compile(source, self.work, flags)

    def daemon(self, stack):
        program = str(self.build / 'daemon' / 'uvdpad')
        return stack.enter_context(Daemon(program, self.path('log'), self.path('ctl')))

    def storage_daemon(self, blockdev, *, iothread=False, binary='qemu-storage-daemon'):
        """qemu-storage-daemon with one disk behind a vhost-user socket."""
        path = self.path('sock')
        export = ('type=vhost-user-blk,id=e,node-name=d,writable=on,'
                  f'addr.type=unix,addr.path={path}')
        argv = [binary, '--blockdev', blockdev]
        if iothread:
            argv += ['--object', 'iothread,id=t']
            export += ',iothread=t'
        return Device(self.in_tree(*argv, '--export', export), self.path('log'), path)
