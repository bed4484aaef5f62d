# SPDX-License-Identifier: BSD-3-Clause
"""uvdpa run: an unmodified program and /dev/vhost-vdpa-N."""
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from cliutil import PATIENCE, UVDPA, clean_env, wait_for

SUITE = os.environ['VHOST_VDPA_SUITE']
NAME = '/dev/vhost-vdpa-0'

pytestmark = pytest.mark.skipif(not os.access('/dev/fuse', os.R_OK | os.W_OK), reason='/dev/fuse cannot be opened')

# What the scripts below share.
PRELUDE = textwrap.dedent('''
    import ctypes, errno, fcntl, mmap, os, struct, sys
    NAME = '/dev/vhost-vdpa-0'
    SET_OWNER, GET_DEVICE_ID, GET_CONFIG, SET_KICK = 0xaf01, 0x8004af70, 0x8008af73, 0x4008af20
    GET_STATUS, GET_BACKEND, SET_BACKEND = 0x8001af71, 0x8008af26, 0x4008af25
    def error(what, *args):
        try:
            what(*args)
        except OSError as e:
            return e.errno
        return 0
    def address(buf):
        return ctypes.addressof(ctypes.c_char.from_buffer(buf))
    def update(fd, uaddr, size, iova=0x100000, perm=3):
        return os.write(fd, struct.pack('<IIQQQBB6x', 2, 0, iova, size, uaddr, perm, 2).ljust(72, b'\\0'))
''')


@pytest.fixture
def disk(start, folder):
    daemon = start()
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    daemon.path = folder / 'd0.cdev'
    daemon.ok('dev', 'bind', 'd0', 'vhost-vdpa', 'path', daemon.path, 'socket_mode', '666')
    return daemon


def run(daemon, *argv, prefix=(), before=(), **kwargs):
    return subprocess.run([*prefix, UVDPA, '--socket', str(daemon.socket), 'run', *before, '--', *map(str, argv)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env(),
                          timeout=PATIENCE * 2, check=False, **kwargs)


def script(daemon, text, **kwargs):
    done = run(daemon, sys.executable, '-c', PRELUDE + textwrap.dedent(text), **kwargs)
    assert done.returncode == 0, done.stderr
    return done


def test_suite(disk):
    done = run(disk, SUITE, NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' 0 failed' in done.stdout


def test_ordinary_user(disk, folder):
    """Without any right, in a namespace where /dev/fuse is everybody's, as it is on most systems."""
    node = folder / 'fuse'
    os.mknod(node, 0o20666, os.stat('/dev/fuse').st_rdev)
    os.chmod(node, 0o666)
    prefix = ['unshare', '-m', 'sh', '-c', f'mount --bind {node} /dev/fuse && cd / && '
              'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"', 'sh']
    readable = subprocess.run(['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', 'test', '-x', UVDPA],
                              check=False).returncode == 0
    if not readable:
        pytest.skip('an ordinary user cannot reach the program where it was built')
    done = run(disk, SUITE, NAME, prefix=prefix, before=['--chardev', f'vhost-vdpa-0={disk.path}'])
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' 0 failed' in done.stdout


def test_what_the_program_sees(disk):
    """A character device whose major number is vhost-vdpa's; the rest of /dev as it is; nothing outside."""
    script(disk, '''
        import stat
        st = os.stat(NAME)
        assert stat.S_ISCHR(st.st_mode)
        names = dict(line.split()[::-1] for line in open('/proc/devices') if len(line.split()) == 2)
        assert int(names['vhost-vdpa']) == os.major(st.st_rdev)
        open('/dev/null', 'r+b', buffering=0).write(b'x')
        assert len(open('/dev/urandom', 'rb').read(8)) == 8
        assert os.path.isdir('/dev/pts') and os.path.exists('/dev/stdin')
    ''')
    assert not os.path.exists(NAME)
    assert 'vhost-vdpa' not in pathlib.Path('/proc/devices').read_text()


def test_exit_status(disk):
    assert run(disk, 'sh', '-c', 'exit 7').returncode == 7
    assert run(disk, 'sh', '-c', 'kill -9 $$').returncode == 128 + 9
    done = run(disk, '/nonexistent')
    assert done.returncode == 127 and '/nonexistent' in done.stderr


def test_no_device(start):
    done = run(start(), 'true')
    assert done.returncode == 1 and 'uvdpa dev bind' in done.stderr


@pytest.mark.parametrize('option, text', [('vhost-vdpa-0', 'NAME=SOCKET'), ('a/b=/x', 'the name of a file'),
                                          ('=/x', 'the name of a file'), ('x' * 40 + '=/x', 'the name of a file')])
def test_bad_options(disk, option, text):
    done = run(disk, 'true', before=['--chardev', option])
    assert done.returncode == 2 and text in done.stderr


def test_signal(disk, folder):
    """What is sent to us ends the program."""
    flag = folder / 'flag'
    proc = subprocess.Popen([UVDPA, '--socket', str(disk.socket), 'run', 'sh', '-c',
                             f'trap "exit 5" TERM; touch {flag}; while :; do sleep 0.05; done'], env=clean_env())
    wait_for(flag.exists)
    proc.send_signal(signal.SIGTERM)
    assert proc.wait(PATIENCE) == 5


def test_busy(disk):
    """Exclusive, also over fork: the file is open as long as anybody has it."""
    script(disk, '''
        import time
        fd = os.open(NAME, os.O_RDWR)
        assert error(os.open, NAME, os.O_RDWR) == errno.EBUSY
        stay, go = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(go)
            os.read(stay, 1)
            os._exit(0)
        os.close(fd)
        assert error(os.open, NAME, os.O_RDWR) == errno.EBUSY
        os.close(go)
        os.waitpid(pid, 0)
        for _ in range(3000):
            if not error(os.open, NAME, os.O_RDWR):
                sys.exit(0)
            time.sleep(0.01)
        sys.exit(1)
    ''')


def test_after_exec(disk):
    """An inherited descriptor works in another program; close-on-exec is honoured."""
    script(disk, '''
        import subprocess
        fd = os.open(NAME, os.O_RDWR)
        assert not os.get_inheritable(fd)
        os.set_inheritable(fd, True)
        child = 'import fcntl; b = bytearray(4); fcntl.ioctl(%d, 0x8004af70, b); assert b[0] == 2' % fd
        assert subprocess.call([sys.executable, '-c', child], pass_fds=[fd]) == 0
    ''')


def test_ways_to_name_it(disk):
    script(disk, '''
        import time
        def works(opener):
            for _ in range(3000):
                try:
                    fd = opener()
                    break
                except OSError as e:
                    assert e.errno == errno.EBUSY
                    time.sleep(0.01)
            buf = bytearray(4)
            fcntl.ioctl(fd, GET_DEVICE_ID, buf)
            assert buf == b'\\2\\0\\0\\0'
            os.close(fd)
        os.chdir('/dev')
        works(lambda: os.open('vhost-vdpa-0', os.O_RDWR))
        works(lambda: os.open('../dev/./vhost-vdpa-0', os.O_WRONLY))
        at = os.open('/dev', os.O_RDONLY | os.O_DIRECTORY)
        works(lambda: os.open('vhost-vdpa-0', os.O_RDWR | os.O_NONBLOCK, dir_fd=at))
        os.symlink(NAME, '/dev/shm/uvdpa-link-%d' % os.getpid())
        works(lambda: os.open('/dev/shm/uvdpa-link-%d' % os.getpid(), os.O_RDWR))
        os.unlink('/dev/shm/uvdpa-link-%d' % os.getpid())
    ''')


def test_private_memory(disk):
    """Refused, and the message says what to change."""
    done = script(disk, '''
        fd = os.open(NAME, os.O_RDWR)
        fcntl.ioctl(fd, SET_OWNER)
        private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        private[0] = 1
        assert error(update, fd, address(private), 4096) == errno.EOPNOTSUPP
        # A VMM's ROM: known, and never read.
        assert update(fd, address(private), 4096, perm=1) == 72
        assert error(update, fd, address(private), 4096, 0x100000, 2) == errno.EOPNOTSUPP
    ''')
    assert 'memory-backend-memfd' in done.stderr and 'share=on' in done.stderr


def test_memory(disk):
    script(disk, '''
        fd = os.open(NAME, os.O_RDWR)
        fcntl.ioctl(fd, SET_OWNER)
        file = os.memfd_create('x')
        os.truncate(file, 65536)
        mem = mmap.mmap(file, 65536)
        at = address(mem)
        assert update(fd, at + 4096, 8192) == 72
        assert error(update, fd, at, 4096) == errno.EEXIST
        # Beyond it, nowhere, wild.
        assert error(update, fd, 4096, 4096, 0x800000) in (errno.EFAULT, errno.EOPNOTSUPP)
        assert error(update, fd, 2 ** 64 - 4096, 4096, 0x800000) != 0
        assert error(update, fd, at, 2 ** 63, 0x800000) != 0
        def close_all(name):
            """Also what mmap keeps for itself."""
            for number in os.listdir('/proc/self/fd'):
                link = '/proc/self/fd/' + number
                if os.path.islink(link) and name in os.readlink(link):
                    os.close(int(number))
        def may_open(at):
            for line in open('/proc/self/maps'):
                name = line.split()[0]
                first, last = (int(x, 16) for x in name.split('-'))
                if first <= at < last:
                    return not error(lambda: os.close(os.open('/proc/self/map_files/' + name, os.O_RDWR)))
        # The file is closed, and has no name: for those who may open mappings only.
        close_all('memfd:x')
        assert error(update, fd, at, 4096, 0x800000) == (0 if may_open(at) else errno.EOPNOTSUPP)
        anonymous = mmap.mmap(-1, 4096)
        at = address(anonymous)
        assert error(update, fd, at, 4096, 0x700000) == (0 if may_open(at) else errno.EOPNOTSUPP)
        # A file with a name is found by it.
        path = '/dev/shm/uvdpa-named-%d' % os.getpid()
        named = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.truncate(named, 4096)
        other = mmap.mmap(named, 4096)
        close_all(path)
        assert update(fd, address(other), 4096, 0x900000) == 72
        os.unlink(path)
        at = address(other)
        assert error(update, fd, at, 4096, 0xa00000) == (0 if may_open(at) else errno.EOPNOTSUPP)
    ''')


def test_no_doorbells(disk):
    """A mapping is refused as on a kernel's device without such pages; nothing else is the worse for it."""
    script(disk, '''
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        fd = os.open(NAME, os.O_RDWR)
        for prot in (mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
            ctypes.set_errno(0)
            at = libc.mmap(None, ctypes.c_size_t(4096), prot, mmap.MAP_SHARED, fd, ctypes.c_long(0))
            assert at == 2 ** 64 - 1 and ctypes.get_errno() == errno.ENODEV
        fcntl.ioctl(fd, SET_OWNER)
        fcntl.ioctl(fd, GET_DEVICE_ID, bytearray(4))
    ''')


def test_wild_arguments(disk):
    """Pointers to nothing, descriptors that are none, threads that change what is read: the program's own harm."""
    script(disk, '''
        import threading
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(NAME, os.O_RDWR)
        fcntl.ioctl(fd, SET_OWNER)
        def raw(cmd, arg):
            ctypes.set_errno(0)
            return ctypes.get_errno() if libc.ioctl(fd, ctypes.c_ulong(cmd), ctypes.c_void_p(arg)) < 0 else 0
        for cmd in (GET_DEVICE_ID, GET_CONFIG, SET_KICK, SET_BACKEND):
            for arg in (0, 1, 4095, 2 ** 47 - 1, 2 ** 63, 2 ** 64 - 1):
                assert raw(cmd, arg) == errno.EFAULT, (hex(cmd), arg)
        assert raw(0xaf03, 0) == errno.ENOTTY and raw(0x5401, 0) != 0
        for number in (-2, 999999, 2 ** 31 - 1):
            buf = bytearray(struct.pack('<Ii', 0, number))
            assert error(fcntl.ioctl, fd, SET_KICK, buf) in (errno.EBADF, 0 if number < 0 else errno.EBADF)
        head = bytearray(8 + 4096)
        stop = False
        def change():
            while not stop:
                struct.pack_into('<I', head, 4, 8)
                struct.pack_into('<I', head, 4, 0xffffffff)
        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(300):
            assert raw(GET_CONFIG, address(head)) in (0, errno.EINVAL)
        stop = True
        thread.join()
        for size in (0, 1, 71, 73, 5000):
            assert error(os.write, fd, b'x' * size) == (errno.EINVAL if size else 0)
        buf = bytearray(4)
        fcntl.ioctl(fd, GET_DEVICE_ID, buf)
        assert buf == b'\\2\\0\\0\\0'
    ''')
    assert disk.ok('dev', 'show', 'd0')


def test_daemon_is_gone(disk):
    """The program gets an error and lives."""
    text = '''
        fd = os.open(NAME, os.O_RDWR)
        print('open', flush=True)
        sys.stdin.readline()
        assert error(fcntl.ioctl, fd, GET_DEVICE_ID, bytearray(4)) == errno.ENODEV
        os.close(fd)
        assert error(os.open, NAME, os.O_RDWR) == errno.ENXIO
    '''
    with subprocess.Popen([UVDPA, '--socket', str(disk.socket), 'run', sys.executable, '-c',
                           PRELUDE + textwrap.dedent(text)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=clean_env()) as proc:
        assert proc.stdout.readline() == b'open\n'
        assert disk.stop() == 0
        proc.stdin.write(b'\n')
        proc.stdin.close()
        assert proc.wait(PATIENCE) == 0


def test_children_go_on(disk, folder):
    """What the program leaves behind keeps its device, and we stay for it."""
    flag = folder / 'flag'
    text = f'''
        if os.fork():
            os._exit(3)
        import time
        time.sleep(0.3)
        fd = os.open(NAME, os.O_RDWR)
        fcntl.ioctl(fd, SET_OWNER)
        open({str(flag)!r}, 'w').close()
    '''
    begin = time.monotonic()
    done = run(disk, sys.executable, '-c', PRELUDE + textwrap.dedent(text))
    assert done.returncode == 3 and flag.exists() and time.monotonic() - begin >= 0.3


def test_ended_after_the_program(disk):
    """While only what the program left behind goes on, a signal ends us."""
    with subprocess.Popen([UVDPA, '--socket', str(disk.socket), 'run', 'sh', '-c', 'sleep 300 >/dev/null & echo $!; exit 3'],
                          stdout=subprocess.PIPE, env=clean_env()) as proc:
        left = int(proc.stdout.readline())
        children = pathlib.Path(f'/proc/{proc.pid}/task/{proc.pid}/children')
        try:
            wait_for(lambda: not children.read_text())
            assert proc.poll() is None
            proc.send_signal(signal.SIGTERM)
            assert proc.wait(PATIENCE) == -signal.SIGTERM
        finally:
            os.kill(left, signal.SIGKILL)
            proc.kill()


def test_threads_that_race(disk):
    """Paths, messages, mappings and descriptors that change while they are looked at, and forks meanwhile."""
    script(disk, '''
        import random, threading, time
        stop = False
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(NAME, os.O_RDWR)
        fcntl.ioctl(fd, SET_OWNER)
        file = os.memfd_create('x')
        os.truncate(file, 65536)
        mem = mmap.mmap(file, 65536)
        at = address(mem)
        names = [NAME.encode(), b'/dev/null\\0\\0\\0\\0\\0\\0\\0\\0', b'/dev/vhost-vdpa-9', b'/' * 17]
        path = ctypes.create_string_buffer(32)
        message = ctypes.create_string_buffer(72)
        def forever(what):
            def run():
                while not stop:
                    try:
                        what()
                    except OSError:
                        pass
            return threading.Thread(target=run)
        def rename():
            path.raw = random.choice(names).ljust(32, b'\\0')
        def open_it():
            got = libc.open(path, os.O_RDWR)
            assert got < 0 or os.path.basename(os.readlink('/proc/self/fd/%d' % got)) in ('null', 'vhost-vdpa-0')
            if got >= 0:
                os.close(got)
        def rewrite():
            message.raw = struct.pack('<IIQQQBB6x', 2, 0, random.choice((0x100000, 2 ** 64 - 1)),
                                      random.choice((4096, 0, 2 ** 63)), random.choice((at, 4096, 2 ** 64 - 1)),
                                      random.randrange(5), random.randrange(8)).ljust(72, b'\\0')
        def send():
            libc.write(fd, message, 72)
        def remap():
            other = os.memfd_create('y')
            os.truncate(other, 4096)
            area = mmap.mmap(other, 4096)
            os.close(other)
            try:
                update(fd, address(area), 4096, 0x800000)
            finally:
                os.write(fd, struct.pack('<IIQQQBB6x', 2, 0, 0x800000, 4096, 0, 0, 3).ljust(72, b'\\0'))
        def kick():
            event = os.eventfd(0)
            closer = threading.Thread(target=os.close, args=(event,))
            closer.start()
            try:
                fcntl.ioctl(fd, SET_KICK, bytearray(struct.pack('<Ii', 0, event)))
            finally:
                closer.join()
        def fork():
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        threads = [forever(x) for x in (rename, open_it, open_it, rewrite, send, send, remap, kick, fork)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        stop = True
        for thread in threads:
            thread.join()
        buf = bytearray(4)
        fcntl.ioctl(fd, GET_DEVICE_ID, buf)
        assert buf == b'\\2\\0\\0\\0'
    ''')
    # Nobody else has noticed, and the device is as good as new.
    done = run(disk, SUITE, NAME)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_in_a_call(disk):
    """A program that is killed at any moment, ours as well as the supervisor's: the device is free again."""
    text = PRELUDE + textwrap.dedent('''
        fd = os.open(NAME, os.O_RDWR)
        print('open', flush=True)
        while True:
            fcntl.ioctl(fd, GET_DEVICE_ID, bytearray(4))
            error(fcntl.ioctl, fd, SET_OWNER)
    ''')
    before = disk.settled_fds()
    for i in range(6):
        with subprocess.Popen([UVDPA, '--socket', str(disk.socket), 'run', sys.executable, '-c', text],
                              stdout=subprocess.PIPE, env=clean_env()) as proc:
            assert proc.stdout.readline() == b'open\n'
            time.sleep(0.02 * i)
            proc.send_signal(signal.SIGKILL if i % 2 else signal.SIGTERM)
    wait_for(lambda: disk.settled_fds() == before)
    assert run(disk, SUITE, NAME).returncode == 0
