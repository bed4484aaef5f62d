# SPDX-License-Identifier: BSD-3-Clause
"""Where sessions come from: socket files, descriptors, client mode, and what happens to a second front end."""
import os
import socket
import stat
import subprocess
import threading
import time

import pytest

import vu


def start(tmp, *args, path=True):
    return vu.Server(tmp, *args, path=path)


def fails(tmp, *args):
    """The server does not start; what it says."""
    done = subprocess.run([os.environ['VU_SERVER'], *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    assert done.returncode == 1, done
    return done.stdout.decode()


def works(server):
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        g.disk.check()


def test_stale_file_is_replaced(tmp_path):
    s = start(tmp_path)
    s.kill()
    assert os.path.exists(s.path)
    s = start(tmp_path)
    works(s)
    assert s.settled()
    assert s.stop() == 0
    assert not os.path.exists(s.path), 'the socket file is left'


def test_somebody_listens(server, tmp_path):
    said = fails(tmp_path, f'path={server.path}')
    assert 'another process listens' in said and server.path in said and '! 98' in said
    works(server)


def test_file_that_is_no_socket(tmp_path):
    path = tmp_path / 'precious'
    path.write_text('data')
    assert 'no socket' in fails(tmp_path, f'path={path}')
    assert path.read_text() == 'data'


def test_folder_that_is_not_there(tmp_path):
    assert 'No such file' in fails(tmp_path, f'path={tmp_path}/no/x.sock')


@pytest.mark.parametrize('length', [108, 200])
def test_path_too_long(tmp_path, length):
    said = fails(tmp_path, f'path=/tmp/{"x" * (length - 5)}')
    assert '107' in said


def test_longest_path(tmp_path):
    path = '/tmp/' + 'x' * 94 + f'{os.getpid():08d}'
    assert len(path) == 107
    s = start(tmp_path, f'path={path}', path=False)
    s.path = path
    works(s)
    assert s.stop() == 0


@pytest.mark.parametrize('args,word', [
    ((), 'either path or fd'), (('path=/tmp/a', 'fd=0'), 'either path or fd'),
    (('fd=0',), 'not a UNIX socket'), (('fd=999',), ''), (('path=/tmp/a', 'mode=x'), 'mode'),
    (('mode=client', 'fd=0'), 'client'), (('path=/tmp/a', 'socket_mode=9'), 'octal'),
    (('path=/tmp/a', 'socket_mode=1777'), 'octal'),
    (('path=/tmp/a', 'socket_owner=no-such-user-here'), 'no user'),
    (('path=/tmp/a', 'socket_owner=:no-such-group'), 'no group'), (('path=/tmp/a', 'nonsense=1'), 'nonsense')])
def test_bad_attributes(tmp_path, args, word):
    assert word in fails(tmp_path, *args)
    assert not os.path.exists('/tmp/a')


def test_mode_and_owner(tmp_path):
    s = start(tmp_path, 'socket_mode=0620', 'socket_owner=root:daemon')
    st = os.stat(s.path)
    assert stat.S_IMODE(st.st_mode) == 0o620 and st.st_gid != 0
    assert s.stop() == 0


def test_file_that_was_replaced_is_not_removed(tmp_path):
    s = start(tmp_path)
    os.unlink(s.path)
    other = socket.socket(socket.AF_UNIX)
    other.bind(s.path)
    assert s.stop() == 0
    assert os.path.exists(s.path)
    other.close()


def test_unbind_and_bind(server):
    for _ in range(20):
        works(server)
        server.cmd('unbind')
        assert not os.path.exists(server.path)
        server.cmd('bind')
    works(server)


def test_unbind_under_load(server):
    """The session ends, requests in flight are cancelled, the driver's memory is not touched any more."""
    with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        server.cmd('hold')
        for n in range(10):
            g.disk.submit(False, n)
        g.ring.notify()
        assert vu.wait_for(lambda: server.cmd('out') == ['10'])
        server.cmd('unbind')
        assert g.client.closes()
        server.cmd('delay 0')
        assert g.ring.quiet()
    server.cmd('bind')
    works(server)


def test_second_front_end_waits(server):
    """It is served when the first one is gone and the device has been reset."""
    first = vu.Guest(server, off=vu.bit(vu.P_INBAND))
    first.start()
    first.disk.check()
    second = vu.Client(server.path)
    second.send(vu.GET_FEATURES)
    assert second.silent()
    assert vu.wait_for(lambda: 'another front end waits' in server.log())
    first.disk.check()
    ticks = server.cpu_ticks()
    time.sleep(0.3)
    assert server.cpu_ticks() - ticks < 15, 'the server spins'
    server.cmd('hold')
    first.disk.submit(False, 0)
    first.ring.notify()
    assert vu.wait_for(lambda: server.cmd('out') == ['1'])
    first.close()
    assert second.recv()[0] == vu.GET_FEATURES
    assert server.cmd('out') == ['0']
    server.cmd('delay 0')
    second.close()


def test_reconnects(server):
    for lap in range(100):
        with vu.Guest(server, off=vu.bit(vu.P_INBAND)) as g:
            if lap % 4:
                g.share()
            if lap % 4 > 1:
                g.ring.setup(g.client)
                g.disk.submit(False, 0)
                g.ring.notify()
            if lap % 4 > 2:
                g.disk.finish(g.ring.wait())
    works(server)
    assert server.show()['connections'] == '101'


def test_connected_descriptor(tmp_path):
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    log = open(tmp_path / 'log', 'wb')
    proc = subprocess.Popen([os.environ['VU_SERVER'], f'fd={theirs.fileno()}'], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=log, close_fds=False)
    theirs.close()
    with vu.Client(ours) as c:
        assert c.alive()
    assert vu.wait_for(lambda: 'finished' in (tmp_path / 'log').read_text())
    proc.stdin.close()
    assert proc.wait(30) == 0
    proc.stdout.close()
    log.close()


def test_listening_descriptor(tmp_path):
    path = str(tmp_path / 'given.sock')
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    os.set_inheritable(sock.fileno(), True)
    proc = subprocess.Popen([os.environ['VU_SERVER'], f'fd={sock.fileno()}'], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, close_fds=False)
    sock.close()
    for _ in range(3):
        with vu.Client(path) as c:
            assert c.alive()
    proc.stdin.close()
    assert proc.wait(30) == 0
    proc.stdout.close()
    assert os.path.exists(path), 'not ours to remove'


def test_exit_notify(tmp_path):
    s = start(tmp_path, 'on_disconnect=exit-notify')
    works(s)
    assert vu.wait_for(lambda: 'event: vhost-user: finished' in s.log())
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        vu.Client(s.path)
    assert s.stop() == 0


def test_client_mode(tmp_path):
    """The back end connects, and comes back every second."""
    path = str(tmp_path / 'front.sock')
    s = start(tmp_path, 'mode=client', f'path={path}', path=False)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    sock.settimeout(vu.TIMEOUT)
    for _ in range(3):
        conn, _ = sock.accept()
        with vu.Guest(s, connect=False) as g:
            g.client = vu.Client(conn)
            g.client.negotiate(off=vu.bit(vu.P_INBAND), features=vu.FEATURES)
            g.start()
            g.disk.check()
    sock.close()
    os.unlink(path)
    assert s.settled()
    assert s.stop() == 0


def test_no_descriptors_left_for_a_connection(tmp_path):
    """accept fails: the server does not spin, and takes the connection when it can."""
    import resource
    s = start(tmp_path)
    used = len(os.listdir(f'/proc/{s.proc.pid}/fd'))
    resource.prlimit(s.proc.pid, resource.RLIMIT_NOFILE, (used, 4096))
    c = vu.Client(s.path)
    c.send(vu.GET_FEATURES)
    ticks = s.cpu_ticks()
    assert c.silent(0.5)
    assert s.cpu_ticks() - ticks < 20, 'the server spins'
    resource.prlimit(s.proc.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    assert c.recv()[0] == vu.GET_FEATURES
    c.close()
    assert s.settled()
    assert s.stop() == 0


def test_two_servers_one_stops(tmp_path):
    """Sessions are independent: one that waits for a drain does not hold up the other."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    a, b = start(tmp_path / 'a'), start(tmp_path / 'b')
    with vu.Guest(a, off=vu.bit(vu.P_INBAND)) as g:
        g.start()
        a.cmd('hold')
        g.disk.submit(False, 0)
        g.ring.notify()
        assert vu.wait_for(lambda: a.cmd('out') == ['1'])
        thread = threading.Thread(target=g.client.ask, args=(vu.GET_VRING_BASE, vu.state(0, 0)))
        thread.start()
        works(b)
        assert a.cmd('out') == ['1'] and thread.is_alive()
        a.cmd('delay 0')
        thread.join()
    assert a.stop() == 0 and b.stop() == 0
