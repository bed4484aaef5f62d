# SPDX-License-Identifier: BSD-3-Clause
import pytest

import vu


@pytest.fixture
def server(tmp_path, request):
    """A server with a disk of two queues; @pytest.mark.server('--x', ...) gives other arguments."""
    mark = request.node.get_closest_marker('server')
    s = vu.Server(tmp_path, *(mark.args if mark else ()))
    yield s
    if s.proc.poll() is None:
        assert s.settled(), f'descriptors are left: {s.fds()}, at the start {s.baseline}'
        assert s.stop() == 0, s.log()[-3000:]
    else:
        s.kill()


@pytest.fixture
def client(server):
    with vu.Client(server.path) as c:
        yield c


@pytest.fixture
def owner(client):
    """Everything negotiated, owner set, nothing started."""
    client.negotiate(off=vu.bit(vu.P_INBAND))
    return client


@pytest.fixture
def guest(server):
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        yield g


def pytest_configure(config):
    config.addinivalue_line('markers', 'server(*args): arguments of the server')


def pytest_terminal_summary(terminalreporter):
    if vu.COUNTED:
        terminalreporter.write_line(', '.join(f'{n} {what}' for what, n in sorted(vu.COUNTED.items())))
