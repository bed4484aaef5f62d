# SPDX-License-Identifier: BSD-3-Clause
"""The daemon as a service: how it starts, who may come in, and how it ends."""
import fcntl
import json
import os
import random
import select
import signal
import socket
import stat
import subprocess
import time

import pytest

from cliutil import PATIENCE, UVDPA, UVDPAD, Client, as_nobody, clean_env, run, wait_for

ROUNDS = int(os.environ.get('UVDPA_TEST_ROUNDS', 1))


def options(*args, **kwargs):
    return subprocess.run([UVDPAD, *args], capture_output=True, text=True, timeout=60, env=clean_env(), check=False,
                          **kwargs)


# ---- options ----

def test_help_and_version():
    done = options('--help')
    assert done.returncode == 0 and done.stdout.startswith('Usage: uvdpad') and done.stderr == ''
    for word in ('--socket', '--socket-mode', '--socket-owner', '--fd', '--ready-fd', '--config', '--workers',
                 '--log-level', '--max-clients'):
        assert word in done.stdout
    assert options('--version').stdout.startswith('uvdpad ')


@pytest.mark.parametrize('args,says', [
    (['--nonsense'], 'Try "uvdpad --help"'),
    (['extra'], '"extra": there are no arguments'),
    (['--workers', 'x'], '--workers "x": a number up to 256'),
    (['--workers', '-1'], 'a number up to 256'),
    (['--workers', '257'], 'a number up to 256'),
    (['--socket-mode', '999'], 'an octal mode'),
    (['--socket-mode', '1000'], 'an octal mode up to 777'),
    (['--socket-owner', 'no-such-user'], 'there is no such user'),
    (['--socket-owner', ':no-such-group'], 'there is no such group'),
    (['--fd', '99'], 'not the number of an open file descriptor'),
    (['--fd', 'x'], 'not the number of an open file descriptor'),
    (['--ready-fd', '99'], 'not the number of an open file descriptor'),
    (['--log-level', 'loud'], 'error, warning, info or debug'),
    (['--socket', ''], 'a path is wanted'),
    (['--max-clients', '0x'], 'a number up to 4096'),
])
def test_usage(args, says):
    done = options(*args)
    assert done.returncode == 2 and says in done.stderr and done.stdout == ''


# ---- the socket ----

def test_socket_is_the_path_given(daemon):
    assert stat.S_ISSOCK(os.stat(daemon.socket).st_mode)
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o600


@pytest.mark.parametrize('mode', ['600', '660', '666', '777'])
def test_mode(start, mode):
    daemon = start('--socket-mode', mode, umask=0o077)
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == int(mode, 8)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give a socket away')
def test_owner(start):
    daemon = start('--socket-owner', 'nobody:daemon')
    st = os.stat(daemon.socket)
    import grp
    import pwd
    assert st.st_uid == pwd.getpwnam('nobody').pw_uid and st.st_gid == grp.getgrnam('daemon').gr_gid
    assert stat.S_IMODE(st.st_mode) == 0o660
    assert run('dev', 'show', sock=daemon.socket, prefix=as_nobody()).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason='needs two users')
def test_strangers_are_refused(start):
    """Even where the mode lets them connect."""
    daemon = start('--socket-mode', '666')
    done = run('dev', 'show', sock=daemon.socket, prefix=as_nobody())
    assert done.returncode == 1 and 'belongs to another user' in done.stderr
    assert 'refused process' in daemon.log()
    assert daemon.run('dev', 'show').returncode == 0
    # And not a word of theirs is carried out.
    blind = subprocess.run([*as_nobody(), '/usr/bin/python3', '-c',
                            'import socket,sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n'
                            'try:\n s.sendall(b\'{"jsonrpc":"2.0","method":"daemon.stop"}\\n\')\n'
                            'except OSError: pass\n', str(daemon.socket)], timeout=60, check=False)
    assert blind.returncode == 0
    time.sleep(0.2)
    assert daemon.proc.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason='needs two users')
def test_group_is_let_in(start):
    daemon = start('--socket-mode', '666', '--socket-owner', ':daemon')
    member = ('setpriv', '--reuid=65534', '--regid=65534', '--groups=1', '--')
    assert run('dev', 'show', sock=daemon.socket, prefix=member).returncode == 0
    assert run('dev', 'show', sock=daemon.socket, prefix=as_nobody()).returncode == 1


def test_second_daemon(daemon, start):
    second = start()
    assert second.ready == b'' and second.proc.returncode == 1
    assert 'another daemon serves this socket' in second.log()
    assert daemon.ok('dev', 'show') == ''


def test_second_daemon_while_the_first_is_starting(folder, start):
    """Ten at once: one serves, nine say why not."""
    daemons = [start(wait=False) for _ in range(10)]
    wait_for(lambda: sum(d.proc.poll() is None for d in daemons) == 1)
    assert [d.proc.returncode for d in daemons if d.proc.poll() is not None] == [1] * 9
    wait_for(lambda: run('dev', 'show', sock=folder / 'ctl.sock').returncode == 0)


def test_stale_socket_is_replaced(start):
    first = start()
    first.proc.kill()
    first.proc.wait()
    assert first.socket.exists()
    second = start()
    assert second.ready == b'\n', second.log()
    assert second.ok('dev', 'show') == ''


def test_what_is_no_socket_stays(start, folder):
    (folder / 'ctl.sock').write_text('precious')
    daemon = start()
    assert daemon.proc.returncode == 1 and 'is not a socket' in daemon.log()
    assert (folder / 'ctl.sock').read_text() == 'precious'


def test_another_programs_socket_stays(start, folder):
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(folder / 'ctl.sock'))
    other.listen()
    daemon = start()
    assert daemon.proc.returncode == 1 and 'another program serves this socket' in daemon.log()
    assert (folder / 'ctl.sock').exists()
    other.close()


def test_default_path_of_a_user(start, folder):
    prefix = as_nobody()
    if prefix is None:
        pytest.skip('no setpriv')
    run_dir = folder / 'run'
    run_dir.mkdir()
    if os.geteuid() == 0:
        os.chown(run_dir, 65534, 65534)
    env = clean_env(XDG_RUNTIME_DIR=str(run_dir))
    daemon = start(sock=None, prefix=prefix, env=env)
    assert daemon.ready == b'\n', daemon.log()
    path = run_dir / 'uvdpa' / 'ctl.sock'
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert run('dev', 'show', env=env, prefix=prefix).returncode == 0
    assert daemon.stop() == 0 and not path.exists()


def test_long_path(start, folder):
    daemon = start(sock='x' * 120)
    assert daemon.proc.returncode == 1 and '1 to 107 bytes' in daemon.log()


def test_no_such_folder(start):
    daemon = start(sock='none/ctl.sock')
    assert daemon.proc.returncode == 1 and 'No such file' in daemon.log()


# ---- sockets that are given ----

def test_listening_fd(start, folder):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / 'given.sock'))
    listener.listen()
    daemon = start('--fd', listener.fileno(), sock=None, pass_fds=[listener.fileno()])
    assert daemon.ready == b'\n', daemon.log()
    listener.close()
    assert run('dev', 'show', sock=folder / 'given.sock').returncode == 0
    assert daemon.stop() == 0
    assert (folder / 'given.sock').exists(), 'not ours to remove'


def test_connected_fd(start):
    """Whoever holds the other end is served; when it is closed nobody can come, and the daemon ends."""
    ours, theirs = socket.socketpair()
    daemon = start('--fd', theirs.fileno(), sock=None, pass_fds=[theirs.fileno()])
    theirs.close()
    ours.settimeout(PATIENCE)
    ours.sendall(b'{"jsonrpc":"2.0","id":1,"method":"dev.show"}\n')
    assert json.loads(ours.recv(4096))['result'] == []
    ours.close()
    assert daemon.proc.wait(PATIENCE) == 0


def test_fd_that_is_no_socket(start, folder):
    with open(folder / 'file', 'w', encoding='utf-8') as file:
        daemon = start('--fd', file.fileno(), sock=None, pass_fds=[file.fileno()])
    assert daemon.proc.returncode == 1 and 'is not a UNIX stream socket' in daemon.log()


def test_socket_activation(start, folder):
    """LISTEN_FDS with LISTEN_PID, which only the process itself can set: by a shell that becomes it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / 'given.sock'))
    listener.listen()
    script = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=ctl exec "$@"'
    daemon = start(sock=None, prefix=('bash', '-c', script, 'sh'), pass_fds=[listener.fileno()])
    assert daemon.ready == b'\n', daemon.log()
    assert run('dev', 'show', sock=folder / 'given.sock').returncode == 0


def test_descriptors_of_somebody_else(start):
    """LISTEN_FDS that is meant for another process is ignored."""
    env = clean_env(LISTEN_PID='1', LISTEN_FDS='1')
    daemon = start(env=env)
    assert daemon.ready == b'\n', daemon.log()
    assert daemon.ok('dev', 'show') == ''


# ---- word of readiness ----

@pytest.mark.parametrize('abstract', [False, True])
def test_notify(start, folder, abstract):
    path = f'@uvdpa-{os.getpid()}-{time.monotonic_ns()}' if abstract else str(folder / 'notify')
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind('\0' + path[1:] if abstract else path)
    inbox.settimeout(PATIENCE)
    daemon = start(env=clean_env(NOTIFY_SOCKET=path))
    assert inbox.recv(100) == b'READY=1'
    assert daemon.stop() == 0
    assert inbox.recv(100) == b'STOPPING=1'


def test_ready_means_listening(start):
    daemon = start()
    assert daemon.ready == b'\n'
    Client(daemon.socket).close()


def test_ready_fd_is_closed_when_it_fails(start):
    daemon = start(sock='none/ctl.sock')
    assert daemon.ready == b''


# ---- the end ----

@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it(start, folder, sig):
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'driver',
              'vhost-user', 'path', folder / 'd0.sock')
    daemon.ok('dev', 'add', 'name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M', 'driver',
              'virtio-vdpa')
    assert daemon.stop(sig) == 0
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith('log')) == []
    assert 'deleted' in daemon.log()


def test_signal_under_load(start):
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '64M', 'driver',
              'virtio-vdpa')
    clients = [daemon.client() for _ in range(8)]
    for i, c in enumerate(clients):
        c.request('drv.call', name='virtio0', op='blk.fill', params={'offset': 0, 'len': 64 << 20, 'seed': i})
    time.sleep(0.02)
    assert daemon.stop() == 0, daemon.log()
    for c in clients:
        c.close()


def unlocked(path):
    with open(path, 'r+b') as image:
        fcntl.lockf(image, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


@pytest.mark.parametrize('seed', range(8 * ROUNDS))
def test_signal_at_any_moment(start, folder, seed):
    """Disks on a file and in memory are busy, by calls and behind sockets, others come and go: it ends, and leaves
    nothing."""
    rnd = random.Random(seed)
    (folder / 'disk.img').write_bytes(bytes(4 << 20))
    daemon = start('--workers', rnd.randrange(3))
    for name, backend in (('d0', ('file', 'path', folder / 'disk.img')), ('d1', ('ram', 'size', '4M'))):
        daemon.ok('dev', 'add', 'name', name, 'mgmtdev', 'soft_blk', 'backend', *backend, 'driver', 'vhost-user',
                  'path', folder / f'{name}.sock')
    daemon.ok('dev', 'add', 'name', 'd2', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '64M', 'driver',
              'virtio-vdpa')
    clients = [daemon.client() for _ in range(4)]
    for i, c in enumerate(clients[:2]):
        c.request('drv.call', name='virtio0', op='blk.fill', params={'offset': 0, 'len': 64 << 20, 'seed': i})
    users = [subprocess.Popen([UVDPA, 'drv', '--socket', str(folder / f'{name}.sock'), 'blk', 'fill', '0', '4M'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env())
             for name in ('d0', 'd1')]
    time.sleep(rnd.random() * rnd.choice([.005, .05, .2]))
    for i, c in enumerate(clients[2:]):
        for n in range(rnd.randrange(4)):
            c.request('dev.add', name=f'x{i}', mgmtdev='soft_blk', attrs={'backend': 'ram', 'size': '1M'})
            c.request('dev.bind', name='d1', driver='virtio-vdpa')
            c.request('dev.del', name=f'x{i}')
    time.sleep(rnd.random() * rnd.choice([0, .002, .02]))
    assert daemon.stop(rnd.choice([signal.SIGTERM, signal.SIGINT])) == 0, f'seed {seed}: {daemon.log()}'
    for c in clients:
        c.close()
    for user in users:
        user.wait(PATIENCE)
    left = sorted(p.name for p in folder.iterdir() if not p.name.startswith('log'))
    assert left == ['disk.img'], f'seed {seed}'
    assert unlocked(folder / 'disk.img')


def test_hangup_is_ignored(daemon):
    daemon.proc.send_signal(signal.SIGHUP)
    wait_for(lambda: 'SIGHUP ignored' in daemon.log())
    assert daemon.ok('dev', 'show') == ''


def test_stop_over_the_socket(start, folder):
    daemon = start()
    daemon.ok('daemon', 'stop')
    assert daemon.proc.wait(PATIENCE) == 0
    assert not daemon.socket.exists()


def test_restart_at_once(start):
    """The path is free as soon as the process has ended, again and again."""
    for _ in range(5):
        daemon = start()
        assert daemon.ready == b'\n', daemon.log()
        assert daemon.stop() == 0


def test_stderr_that_nobody_reads(start, folder):
    """A full pipe must not stop the daemon: lines are dropped."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b'x' * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    rready, wready = os.pipe()
    with subprocess.Popen([UVDPAD, '--socket', str(folder / 's'), '--ready-fd', str(wready)], stderr=write,
                          pass_fds=[wready], env=clean_env()) as proc:
        os.close(wready)
        assert select.select([rready], [], [], PATIENCE)[0]
        assert run('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M',
                   sock=folder / 's').returncode == 0
        proc.terminate()
        assert proc.wait(PATIENCE) == 0
    for fd in (read, write, rready):
        os.close(fd)


def test_log_prefixes(daemon):
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M')
    lines = daemon.log().splitlines()
    assert lines and all(l[0] == '<' and l[1] in '34567' and l[2] == '>' for l in lines)


def test_quiet_log(start):
    daemon = start('--log-level', 'error')
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M')
    assert daemon.stop() == 0 and daemon.log() == ''


@pytest.mark.parametrize('workers', [0, 1, 4])
def test_workers(start, workers):
    daemon = start('--workers', workers)
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '4M', 'driver',
              'virtio-vdpa')
    daemon.ok('drv', 'virtio0', 'blk', 'fill', '0', '4M')
    daemon.ok('drv', 'virtio0', 'blk', 'verify', '0', '4M')
    assert len(os.listdir(f'/proc/{daemon.proc.pid}/task')) >= 1 + workers
    assert daemon.json('daemon', 'info')['workers'] == workers


# ---- as an ordinary user ----

@pytest.mark.skipif(as_nobody() is None, reason='no setpriv')
def test_everything_as_an_ordinary_user(start, folder):
    prefix = as_nobody()
    own = folder / 'own'
    own.mkdir()
    own.chmod(0o777)
    daemon = start(prefix=prefix, sock='own/ctl.sock')
    assert daemon.ready == b'\n', daemon.log()
    (own / 'disk.img').write_bytes(b'\0' * (1 << 20))
    (own / 'disk.img').chmod(0o666)

    def ok(*args):
        done = run(*args, sock=daemon.socket, prefix=prefix)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path', own / 'disk.img')
    ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'mac', '52:54:00:12:34:56', 'backend', 'loopback',
       'driver', 'virtio-vdpa')
    ok('drv', 'virtio0', 'net', 'ping')
    ok('dev', 'bind', 'd0', 'virtio-vdpa')
    ok('drv', 'virtio1', 'blk', 'fill', '0', '1M', 'seed', '5')
    ok('drv', 'virtio1', 'blk', 'flush')
    ok('dev', 'unbind', 'd0')
    ok('dev', 'bind', 'd0', 'vhost-user', 'path', own / 'd0.sock')
    ok('drv', '--socket', own / 'd0.sock', 'blk', 'verify', '0', '1M', 'seed', '5')
    assert daemon.stop() == 0
    assert sorted(p.name for p in own.iterdir()) == ['disk.img']
