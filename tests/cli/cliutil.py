# SPDX-License-Identifier: BSD-3-Clause
"""Starts real daemons on sockets in a temporary directory, and talks to them: as the command does, and worse."""
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

BUILD = pathlib.Path(os.environ.get('UVDPA_BUILD', 'build'))
UVDPA = os.environ.get('UVDPA', str(BUILD / 'cli' / 'uvdpa'))
UVDPAD = os.environ.get('UVDPAD', str(BUILD / 'daemon' / 'uvdpad'))
# Sanitizers and a busy machine are slow.
PATIENCE = 30
F_OFD_SETLK = 37


def clean_env(**extra):
    """Our environment without what would lead a daemon or command elsewhere."""
    env = {k: v for k, v in os.environ.items()
           if k not in ('UVDPA_SOCKET', 'NOTIFY_SOCKET', 'LISTEN_FDS', 'LISTEN_PID', 'XDG_RUNTIME_DIR')}
    env.update(extra)
    return env


def wait_for(what, seconds=PATIENCE):
    """Poll until what() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError('it never became true')
        time.sleep(0.01)


def hold_lock(path, until):
    """Something else uses a disk image, until until() is true."""
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))

    def hold():
        try:
            wait_for(until)
        finally:
            os.close(fd)

    threading.Thread(target=hold).start()


def logs_say(folder, name, text, times=1):
    """Is @text as often in the logs of @folder, whose names begin with @name?"""
    logs = [path.read_text(errors='replace') for path in pathlib.Path(folder).glob(f'{name}.*')]
    return sum(log.count(text) for log in logs) >= times


class Client:
    """A raw connection: any bytes."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Waits while the backlog is full; with a timeout it would fail at once.
        self.sock.connect(str(path))
        self.sock.settimeout(PATIENCE)
        self.buf = b''
        self.last = 0

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        """The next line, or None at the end of the stream."""
        while b'\n' not in self.buf:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b''
            if not data:
                return None
            self.buf += data
        line, self.buf = self.buf.split(b'\n', 1)
        return line

    def json(self):
        line = self.line()
        return None if line is None else json.loads(line)

    def request(self, method, **params):
        self.last += 1
        self.send(json.dumps({'jsonrpc': '2.0', 'id': self.last, 'method': method,
                              'params': params}).encode() + b'\n')
        return self.last

    def call(self, method, **params):
        """The whole answer to one call; notifications in between are dropped."""
        number = self.request(method, **params)
        while True:
            answer = self.json()
            if answer is None or answer.get('id') == number:
                return answer

    def closed(self):
        """Has the daemon hung up?"""
        while True:
            if self.line() is None:
                return True

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Daemon:
    """One uvdpad. Ends with the test; what it wrote to stderr is in .log()."""

    def __init__(self, folder, *args, prefix=(), env=None, sock='ctl.sock', wait=True, **popen):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / sock if sock else None
        self.log_path = self.folder / f'log.{time.monotonic_ns()}'
        argv = [*prefix, UVDPAD]
        if self.socket:
            argv += ['--socket', str(self.socket)]
        read, write = os.pipe()
        os.set_inheritable(write, True)
        argv += ['--ready-fd', str(write), *map(str, args)]
        fds = tuple(popen.pop('pass_fds', ())) + (write,)
        with open(self.log_path, 'wb') as log:
            self.proc = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL,
                                         env=env or clean_env(), pass_fds=fds, **popen)
        os.close(write)
        self.ready = b''
        if wait:
            if select.select([read], [], [], PATIENCE)[0]:
                self.ready = os.read(read, 16)
            if self.ready != b'\n':
                self.proc.wait(PATIENCE)
        os.close(read)

    def log(self):
        return self.log_path.read_text(errors='replace')

    def client(self):
        return Client(self.socket)

    def run(self, *args, **kwargs):
        return run(*args, sock=self.socket, **kwargs)

    def ok(self, *args, **kwargs):
        """Run a command that must succeed; its output."""
        done = self.run(*args, **kwargs)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ''
        return done.stdout

    def json(self, *args):
        return json.loads(self.ok('-j', *args))

    def fails(self, *args, code=1, **kwargs):
        """Run a command that must fail with @code; the message."""
        done = self.run(*args, **kwargs)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ''
        return done.stderr

    def stop(self, sig=signal.SIGTERM):
        """End it; its exit status."""
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            return self.proc.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise

    def fds(self):
        return len(os.listdir(f'/proc/{self.proc.pid}/fd'))

    def sockets(self):
        folder = f'/proc/{self.proc.pid}/fd'
        found = 0
        for fd in os.listdir(folder):
            try:
                found += os.readlink(f'{folder}/{fd}').startswith('socket:')
            except FileNotFoundError:
                pass
        return found

    def settled_fds(self):
        """Once those of connections that are being closed are gone."""
        seen = [self.fds()]
        while len(seen) < 3 or len(set(seen[-3:])) > 1:
            time.sleep(0.02)
            seen.append(self.fds())
        return seen[-1]

    def rss_kib(self):
        for line in pathlib.Path(f'/proc/{self.proc.pid}/status').read_text().splitlines():
            if line.startswith('VmRSS:'):
                return int(line.split()[1])
        return 0


def run(*args, sock=None, env=None, prefix=(), **kwargs):
    argv = [*prefix, UVDPA]
    if sock:
        argv += ['--socket', str(sock)]
    return subprocess.run([*argv, *map(str, args)], capture_output=True, text=True, timeout=120,
                          env=env or clean_env(), stdin=kwargs.pop('stdin', subprocess.DEVNULL),
                          check=False, **kwargs)


def as_nobody():
    """How to run something as an ordinary user; () when we are one, None when there is no way."""
    if os.geteuid():
        return ()
    if not shutil.which('setpriv'):
        return None
    return ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs')
