# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, on its command line: the driver (virtio-user), and as the peer the device (vhost)."""
import os
import pty
import re
import select
import subprocess
import time

from .testbed import CannotRun, vmlib

PROMPT = 'testpmd> '
MBUFS = '--total-num-mbufs=16384'


class Testpmd:
    """One testpmd with its command line at our hands. The first logical core only listens to it."""

    def __init__(self, bench, cpu, vdevs, *, eal=(), options=()):
        self.log = bench.path('testpmd.log')
        memory = ['-m', '512'] if bench.huge else ['--no-huge', '-m', '1024']
        argv = bench.in_tree(
            'dpdk-testpmd', '--lcores', f'0@{cpu},1@{cpu}', '--no-pci', '--in-memory', *memory,
            *eal, *(x for vdev in vdevs for x in ('--vdev', vdev)), '--', '-i', '--nb-cores=1',
            '--txd=1024', '--rxd=1024', MBUFS, *options)
        self.terminal, child_end = pty.openpty()
        try:
            # pylint: disable=consider-using-with
            self.child = subprocess.Popen(argv, stdin=child_end, stdout=child_end,
                                          stderr=child_end, preexec_fn=vmlib.die_with_parent)
        finally:
            os.close(child_end)
        self.pid = self.child.pid

    def wait_ready(self):
        self.read_until_prompt(30)

    def read_until_prompt(self, timeout):
        text, end = '', time.monotonic() + timeout
        while not text.endswith(PROMPT):
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise CannotRun(f'testpmd says nothing more:\n{text[-2000:]}')
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                raise CannotRun(f'testpmd ended:\n{text[-2000:]}') from None
            with open(self.log, 'ab') as log:
                log.write(data)
            text += data.decode(errors='replace')
        return text

    def command(self, line, timeout=15):
        os.write(self.terminal, line.encode() + b'\n')
        return self.read_until_prompt(timeout)

    def number(self, line, pattern):
        """All numbers that @pattern finds in the answer to @line."""
        text = self.command(line)
        found = re.findall(pattern, text)
        if not found:
            raise CannotRun(f'testpmd, {line}: no {pattern} in:\n{text}')
        return [float(x) for x in found]

    def rates(self, seconds, which):
        """Packets per second of each port over @seconds; which: Rx or Tx."""
        self.command('show port stats all')
        time.sleep(seconds)
        return self.number('show port stats all', which + r'-pps: +(\d+)')

    def busy_cycles(self, seconds):
        """
        Cycles per packet in which the core did something since it was started, and its clock in Hz.
        It has to be told to record them before; clearing them while it runs is a race.
        """
        time.sleep(seconds)
        text = self.command('show fwd stats all')
        found = re.search(r'cycles/packet=([\d.]+).* at (\d+) MHz', text)
        if not found:
            raise CannotRun(f'testpmd tells no cycles:\n{text}')
        return float(found[1]), float(found[2]) * 1e6

    def end(self):
        if self.child.poll() is None:
            try:
                os.write(self.terminal, b'quit\n')
                self.child.wait(3)
            except (OSError, subprocess.TimeoutExpired):
                self.child.kill()
                self.child.wait()
        os.close(self.terminal)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()
