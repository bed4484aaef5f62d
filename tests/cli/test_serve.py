# SPDX-License-Identifier: BSD-3-Clause
"""uvdpa serve: the conventions of vhost-user back-end programs (QEMU docs/interop/vhost-user, "Backend program conventions")."""
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from cliutil import PATIENCE, UVDPA, as_nobody, clean_env, hold_lock, logs_say, run, wait_for


class Server:
    """One "uvdpa serve"."""

    def __init__(self, folder, *args, argv=None, env=None, pass_fds=(), prefix=()):
        read, write = os.pipe()
        self.log_path = folder / f'serve.{time.monotonic_ns()}'
        argv = [*prefix, *(argv or [UVDPA, 'serve']), *map(str, args), f'--ready-fd={write}']
        with open(self.log_path, 'wb') as log:
            self.proc = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL, env=env or clean_env(),
                                         pass_fds=[write, *pass_fds])
        os.close(write)
        assert select.select([read], [], [], PATIENCE)[0]
        self.ready = os.read(read, 16)
        os.close(read)

    def log(self):
        return self.log_path.read_text()

    def stop(self, sig=signal.SIGTERM):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        return self.proc.wait(PATIENCE)


@pytest.fixture
def serve(folder):
    servers = []

    def starter(*args, **kwargs):
        server = Server(folder, *args, **kwargs)
        servers.append(server)
        return server

    yield starter
    for server in servers:
        code = server.stop()
        assert code in (0, 1)
        assert 'Sanitizer' not in server.log(), server.log()


@pytest.fixture
def image(folder):
    path = folder / 'disk.img'
    path.write_bytes(b'\0' * (1 << 20))
    path.chmod(0o666)
    return path


def drv(sock, *words, code=0):
    done = run('drv', '--socket', sock, *words)
    assert done.returncode == code, done.stderr
    return done.stdout if not code else done.stderr


def test_a_disk(serve, folder, image):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    assert server.ready == b'\n', server.log()
    drv(folder / 'v.sock', 'blk', 'write', '0', 'text', 'hello')
    drv(folder / 'v.sock', 'blk', 'flush')
    assert image.read_bytes()[:5] == b'hello'
    # Front ends come and go.
    assert 'hello' in drv(folder / 'v.sock', 'blk', 'read', '0', '5')
    assert server.stop() == 0
    assert not (folder / 'v.sock').exists()


def test_options_with_a_blank(serve, folder, image):
    server = serve('blk', '--socket-path', folder / 'v.sock', '--blk-file', image)
    assert server.ready == b'\n', server.log()


def test_read_only(serve, folder, image):
    serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}', '--read-only')
    assert 'Read-only' in drv(folder / 'v.sock', 'blk', 'fill', '0', '64K', code=1)
    assert 'read_only true' in drv(folder / 'v.sock', 'blk', 'info')


def test_the_predecessors_last_requests_are_waited_for(serve, folder, image):
    hold_lock(image, lambda: logs_say(folder, 'serve', ': waits: '))
    server = serve('blk', '--socket-path', folder / 'v.sock', '--blk-file', image)
    assert server.ready == b'\n', server.log()


def test_a_nic(serve, folder):
    serve('net', f'--socket-path={folder}/v.sock', '--mac=52:54:00:12:34:56', '--mtu=1500')
    assert 'received 5' in drv(folder / 'v.sock', 'net', 'ping')


def echo(sock):
    """A peer of the backend socket that sends every frame back."""
    with sock, sock.makefile('rb') as f:
        while length := f.read(4):
            sock.sendall(length + f.read(int.from_bytes(length, 'big')))


def test_a_nic_on_an_inherited_socket(serve, folder):
    ours, theirs = socket.socketpair()
    serve('net', f'--socket-path={folder}/v.sock', '--backend=socket', f'--attr=fd={theirs.fileno()}',
          pass_fds=[theirs.fileno()])
    theirs.close()
    peer = threading.Thread(target=echo, args=(ours,), daemon=True)
    peer.start()
    assert 'received 5' in drv(folder / 'v.sock', 'net', 'ping')


def test_backend_and_attributes(serve, folder):
    serve('blk', f'--socket-path={folder}/v.sock', '--backend=ram', '--attr=size=4M', '--attr=serial=S1',
          '--num-queues=2', '--vhost-user=socket_mode=660')
    assert drv(folder / 'v.sock', 'blk', 'id') == 'id S1\n'
    assert 'capacity_sectors 8192' in drv(folder / 'v.sock', 'blk', 'info')
    assert os.stat(folder / 'v.sock').st_mode & 0o777 == 0o660


def test_listening_fd(serve, folder, image):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / 'given.sock'))
        listener.listen()
        server = serve('blk', f'--fd={listener.fileno()}', f'--blk-file={image}', pass_fds=[listener.fileno()])
    assert server.ready == b'\n', server.log()
    drv(folder / 'given.sock', 'blk', 'flush')
    drv(folder / 'given.sock', 'blk', 'flush')


def test_connected_fd_ends_with_its_peer(serve, folder, image):
    ours, theirs = socket.socketpair()
    server = serve('blk', f'--fd={theirs.fileno()}', f'--blk-file={image}', pass_fds=[theirs.fileno()])
    theirs.close()
    assert server.ready == b'\n', server.log()
    ours.close()
    assert server.proc.wait(PATIENCE) == 0


def test_exit_on_disconnect(serve, folder, image):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}', '--on-disconnect=exit')
    time.sleep(0.1)
    assert server.proc.poll() is None, 'waits for the first'
    drv(folder / 'v.sock', 'blk', 'flush')
    assert server.proc.wait(PATIENCE) == 0


def test_relisten_is_the_default(serve, folder, image):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    for _ in range(3):
        drv(folder / 'v.sock', 'blk', 'flush')
    assert server.proc.poll() is None


@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT])
def test_signals(serve, folder, image, sig):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    assert server.stop(sig) == 0


def test_signal_while_connected(serve, folder, image):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(folder / 'v.sock'))
        time.sleep(0.05)
        assert server.stop() == 0


def test_socket_activation(serve, folder, image):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / 'given.sock'))
        listener.listen()
        script = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        server = serve('blk', f'--blk-file={image}', prefix=('bash', '-c', script, 'sh'),
                       pass_fds=[listener.fileno()])
    assert server.ready == b'\n', server.log()
    drv(folder / 'given.sock', 'blk', 'flush')


def test_notify(serve, folder, image):
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(str(folder / 'notify'))
    inbox.settimeout(PATIENCE)
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}',
                   env=clean_env(NOTIFY_SOCKET=str(folder / 'notify')))
    assert inbox.recv(99) == b'READY=1'
    assert server.stop() == 0
    assert inbox.recv(99) == b'STOPPING=1'


CAPABILITIES = {'blk': {'type': 'block', 'features': ['read-only', 'blk-file']}, 'net': {'type': 'net', 'features': []}}


@pytest.mark.parametrize('cls', ['blk', 'net'])
@pytest.mark.parametrize('more', [[], ['--socket-path=/x', '--nonsense'], ['--blk-file']])
def test_capabilities(cls, more):
    """Everything else is ignored then."""
    done = run('serve', cls, '--print-capabilities', *more)
    assert done.returncode == 0 and done.stderr == ''
    assert json.loads(done.stdout) == CAPABILITIES[cls]


@pytest.mark.parametrize('name,cls', [('uvdpa-vhost-user-blk', 'blk'), ('uvdpa-vhost-user-net', 'net')])
def test_programs_by_name(folder, name, cls):
    (folder / name).symlink_to(os.path.abspath(UVDPA))
    done = subprocess.run([folder / name, '--print-capabilities'], capture_output=True, text=True, timeout=60,
                          check=False)
    assert json.loads(done.stdout) == CAPABILITIES[cls]


def test_program_serves(serve, folder, image):
    (folder / 'uvdpa-vhost-user-blk').symlink_to(os.path.abspath(UVDPA))
    serve(f'--socket-path={folder}/v.sock', f'--blk-file={image}', argv=[folder / 'uvdpa-vhost-user-blk'])
    drv(folder / 'v.sock', 'blk', 'flush')


@pytest.mark.parametrize('args,says', [
    ([], '"": blk or net is allowed'),
    (['fs'], '"fs": blk or net is allowed'),
    (['blk'], '--socket-path=PATH or --fd=N is wanted'),
    (['blk', '--socket-path=/tmp/x'], '--blk-file=FILE or --backend=NAME is wanted'),
    (['blk', '--socket-path=/tmp/x', '--fd=1'], 'one socket is enough'),
    (['blk', '--fd=99'], 'not the number of an open file descriptor'),
    (['net', '--blk-file=x'], 'a NIC has no file'),
    (['blk', '--nonsense'], 'Try "uvdpa serve --help"'),
    (['blk', 'extra'], '"extra": there are only options'),
    (['blk', '--attr=size'], 'KEY=VALUE is wanted'),
    (['blk', '--on-disconnect=never'], 'relisten or exit'),
    (['blk', '--workers=x'], 'a number up to 256'),
    (['blk', '--log-level=x'], 'error, warning, info or debug'),
])
def test_usage(args, says):
    done = run('serve', *args)
    assert done.returncode == 2 and says in done.stderr


@pytest.mark.parametrize('args,says', [
    (['blk', '--blk-file=/nonexistent'], 'No such file'),
    (['blk', '--backend=nobody'], 'nobody'),
    (['blk', '--backend=ram', '--attr=colour=red'], 'colour'),
    (['net', '--mac=nonsense'], 'is not an address'),
    (['net', '--mtu=5'], 'too small'),
    (['net', '--num-queues=129'], 'max_vqp 129: this backend takes 1 to 128'),
    (['blk', '--backend=ram', '--vhost-user=colour=red'], '"colour" is not known'),
])
def test_errors_end_with_1(folder, args, says):
    done = run('serve', args[0], f'--socket-path={folder}/v.sock', *args[1:])
    assert done.returncode == 1 and says in done.stderr
    assert not (folder / 'v.sock').exists()


def test_second_server_on_the_socket(serve, folder, image):
    serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    done = run('serve', 'blk', f'--socket-path={folder}/v.sock', '--backend=ram')
    assert done.returncode == 1 and done.stderr
    drv(folder / 'v.sock', 'blk', 'flush')


def test_help():
    for args in (['serve', '--help'], ['serve', 'help'], ['serve', 'blk', '--help']):
        done = run(*args)
        assert done.returncode == 0 and done.stdout.startswith('Usage: uvdpa serve')


@pytest.mark.skipif(as_nobody() is None, reason='no setpriv')
def test_as_an_ordinary_user(serve, folder, image):
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}', prefix=as_nobody())
    assert server.ready == b'\n', server.log()
    drv(folder / 'v.sock', 'blk', 'flush')


def test_discovery_file():
    """What management programs read; the binary's path is filled in by the build."""
    build = os.environ.get('UVDPA_BUILD')
    found = [p for p in [pathlib.Path(UVDPA).parent / '50-uvdpa-blk.json', pathlib.Path(build or '.') / 'cli' /
                         '50-uvdpa-blk.json'] if p.exists()]
    assert found
    entry = json.loads(found[0].read_text())
    assert entry['type'] == 'block' and entry['binary'].endswith('/uvdpa-vhost-user-blk')
    assert os.path.isabs(entry['binary']) and entry['description']


def test_shrinking_file(serve, folder, image):
    """The file gets shorter under us: requests fail, the process lives."""
    server = serve('blk', f'--socket-path={folder}/v.sock', f'--blk-file={image}')
    os.truncate(image, 4096)
    run('drv', '--socket', folder / 'v.sock', 'blk', 'verify', '0', '1M')
    wait_for(lambda: run('drv', '--socket', folder / 'v.sock', 'blk', 'id').returncode == 0)
    assert server.proc.poll() is None
