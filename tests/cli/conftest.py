# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a folder for sockets, and a daemon that is checked when it ends."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cliutil import Daemon, run  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def folder():
    """Short enough for a socket's path, and reachable for an ordinary user."""
    path = tempfile.mkdtemp(prefix='uvdpa-cli-', dir='/tmp')
    os.chmod(path, 0o777)
    yield pathlib.Path(path)
    shutil.rmtree(path)


@pytest.fixture
def start(folder):
    """start(*options) -> a daemon; all of them end with the test, cleanly."""
    daemons = []

    def starter(*args, **kwargs):
        daemon = Daemon(folder, *args, **kwargs)
        daemons.append(daemon)
        return daemon

    yield starter
    for daemon in reversed(daemons):
        if daemon.proc.poll() is None:
            assert daemon.stop() == 0, daemon.log()
        assert 'Sanitizer' not in daemon.log(), daemon.log()


@pytest.fixture
def daemon(start):
    started = start()
    assert started.ready == b'\n', started.log()
    return started


@pytest.fixture
def disk(daemon):
    """A daemon with a disk d0."""
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '8M')
    return daemon


@pytest.fixture
def nic(daemon):
    """A daemon with a NIC n0."""
    daemon.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'mac', '52:54:00:12:34:56', 'mtu', 1500,
              'backend', 'loopback')
    return daemon


@pytest.fixture
def served(start, folder):
    """A daemon with an endpoint for device processes."""
    daemon = start('--vduse', folder / 'vduse')
    assert daemon.ready == b'\n', daemon.log()
    daemon.vduse = folder / 'vduse'
    return daemon


@pytest.fixture
def uvdpa():
    return run


def pytest_terminal_summary(terminalreporter):
    """For the figures of the long loops."""
    passed = terminalreporter.stats.get('passed', ())
    stops = sum('at_any_moment' in report.nodeid for report in passed)
    kills = sum(number for report in passed for what, number in report.user_properties if what == 'kills')
    for number, what in ((stops, 'stops'), (kills, 'kills')):
        if number:
            terminalreporter.write_line(f'{number} {what}')
