# SPDX-License-Identifier: BSD-3-Clause
"""The protocol as such, and clients that do not keep to it: none of them hurts another."""
import json
import os
import socket
import time

import pytest

from cliutil import PATIENCE, Client, wait_for

PARSE, REQUEST, METHOD, PARAMS, FAILED = -32700, -32600, -32601, -32602, -32000


def test_an_answer(daemon):
    with daemon.client() as c:
        answer = c.call('api.version')
    assert answer == {'jsonrpc': '2.0', 'id': 1, 'result': {'major': 1, 'minor': 0}}


def test_every_method_is_described(daemon):
    with daemon.client() as c:
        methods = c.call('rpc.describe')['result']
        names = [m['name'] for m in methods]
        assert len(set(names)) == len(names)
        assert {'mgmtdev.show', 'dev.show', 'dev.add', 'dev.del', 'dev.set', 'dev.bind', 'dev.unbind', 'dev.suspend',
                'dev.resume', 'dev.config.show', 'dev.vstats.show', 'dev.override', 'dev.announce', 'dev.save', 'dev.load',
                'cvq.show', 'cvq.state', 'cvq.intercept', 'monitor', 'topology',
                'bus.devices', 'bus.drivers', 'driver.unload', 'group.show', 'as.show', 'iotlb.dump', 'debug.refs', 'log', 'stats',
                'mdev.types', 'mdev.show', 'mdev.create', 'mdev.remove', 'mdev.set', 'mdev.bind', 'mdev.unbind', 'mdev.defined',
                'mdev.define', 'mdev.undefine', 'mdev.start', 'mdev.buses', 'mdev.drivers', 'mdev.plugins', 'config.dump', 'config.load', 'drv.call', 'drv.show', 'daemon.info', 'daemon.stop',
                'rpc.describe', 'api.version'} <= set(names)
        for method in methods:
            assert method['help']
            # What is required is missed, and what is not known is refused: before the handler runs.
            answer = c.call(method['name'], nonsense=1)
            assert answer['error']['code'] == PARAMS, method['name']
            if any(p['required'] for p in method['params']):
                assert c.call(method['name'])['error']['code'] == PARAMS


@pytest.mark.parametrize('line,code', [
    (b'nonsense', PARSE),
    (b'{', PARSE),
    (b'{"jsonrpc":"2.0","id":1,"method":"api.version"', PARSE),
    (b'{"a":"\x00"}', PARSE),
    (b'\x00\x00\x00', PARSE),
    (b'{"a":"\xff\xfe"}', PARSE),
    (b'{"id":1,"id":2}', PARSE),
    (b'[' * 17 + b']' * 17, PARSE),
    (b'{"a":' * 1000 + b'1' + b'}' * 1000, PARSE),
    (b'"\\', PARSE),
    (b'1', PARSE),
    (b'[]', REQUEST),
    (b'[{"jsonrpc":"2.0","id":1,"method":"api.version"}]', REQUEST),
    (b'{}', REQUEST),
    (b'{"jsonrpc":"1.0","id":1,"method":"api.version"}', REQUEST),
    (b'{"jsonrpc":"2.0","id":1}', REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', REQUEST),
    (b'{"jsonrpc":"2.0","id":{},"method":"api.version"}', REQUEST),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"api.version"}', REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"api.version","params":[]}', REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"nobody"}', METHOD),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.del"}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.del","params":{"name":7}}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.show","params":{"all":"yes"}}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"log","params":{"max":0}}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"iotlb.dump","params":{"name":"d0","asid":-1}}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.add","params":{"name":"d","mgmtdev":"soft_blk","attrs":[]}}', PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.add","params":{"name":"d","mgmtdev":"soft_blk","attrs":{"a":{}}}}',
     FAILED),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.add","params":{"name":"d","mgmtdev":"soft_blk","driver":{}}}', FAILED),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.del","params":{"name":"d"}}', FAILED),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.add","params":{"name":"","mgmtdev":"soft_blk"}}', FAILED),
    (b'{"jsonrpc":"2.0","id":1,"method":"dev.add","params":{"name":"\\n\\u001b[2J","mgmtdev":"soft_blk"}}', FAILED),
    (b'{"jsonrpc":"2.0","id":1,"method":"drv.call","params":{"name":"virtio0","op":"info"}}', FAILED),
])
def test_malformed(daemon, line, code):
    """An error of the right kind, and the connection goes on."""
    with daemon.client() as c:
        c.send(line + b'\n')
        answer = c.json()
        assert answer['error']['code'] == code, answer
        assert '\x1b' not in answer['error']['message'] and answer['error']['message']
        assert c.call('api.version')['result']
    assert daemon.ok('dev', 'show') == ''


def test_empty_lines_and_carriage_returns(daemon):
    with daemon.client() as c:
        c.send(b'\n\r\n\n{"jsonrpc":"2.0","id":"x","method":"api.version"}\r\n')
        assert c.json()['id'] == 'x'


def test_no_answer_without_an_id(daemon):
    with daemon.client() as c:
        c.send(b'{"jsonrpc":"2.0","method":"api.version"}\n{"jsonrpc":"2.0","method":"nobody"}\n'
               b'{"jsonrpc":"2.0","method":"dev.del","params":{"name":"x"}}\n')
        assert c.call('api.version')['id'] == 1


def test_byte_by_byte(daemon):
    with daemon.client() as c:
        for byte in b'{"jsonrpc":"2.0","id":1,"method":"api.version"}\n':
            c.send(bytes([byte]))
        assert c.json()['result']


def test_many_in_one_piece(daemon):
    with daemon.client() as c:
        one = b'{"jsonrpc":"2.0","id":%d,"method":"api.version"}\n'
        c.send(b''.join(one % i for i in range(500)))
        assert [c.json()['id'] for _ in range(500)] == list(range(500))


def test_half_closed(daemon):
    """Whoever says all it has to say and shuts its end down still gets its answers."""
    with daemon.client() as c:
        c.send(b'{"jsonrpc":"2.0","id":1,"method":"api.version"}\n' * 40)
        c.sock.shutdown(socket.SHUT_WR)
        assert len([c.json() for _ in range(40)]) == 40
        assert c.line() is None


def test_line_of_the_largest_size(daemon):
    with daemon.client() as c:
        pad = b' ' * ((1 << 20) - 60)
        c.send(b'{"jsonrpc":"2.0","id":1,' + pad + b'"method":"api.version"}\n')
        assert c.json()['result']


def test_too_long_a_line(daemon):
    with daemon.client() as c:
        try:
            for _ in range(40):
                c.send(b'x' * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        line = c.line()
        assert line is None or b'longer than 1048576 bytes' in line
        assert c.closed()
    assert daemon.ok('dev', 'show') == ''


def test_memory_goes_back(daemon):
    """Long lines, whole or not, of many clients: what they made the daemon keep does not stay."""
    with daemon.client() as c:
        c.call('api.version')
    before = daemon.rss_kib()
    for _ in range(30):
        with daemon.client() as c:
            c.send(b'{"a":"' + b'x' * 900000)
    with daemon.client() as c:
        c.call('api.version')
        # A sanitizer holds freed memory back on purpose.
        maps = open(f'/proc/{daemon.proc.pid}/maps', encoding='utf-8').read()
        assert daemon.rss_kib() < before + (300 << 10 if 'san.so' in maps else 16 << 10)


def test_who_does_not_read_gets_no_more(disk):
    """Answers pile up in the daemon only so far; then its requests wait in its socket."""
    with disk.client() as slow, disk.client() as other:
        slow.sock.setblocking(False)
        request = b'{"jsonrpc":"2.0","id":1,"method":"rpc.describe"}\n' * 100
        sent, last = 0, time.monotonic()
        while time.monotonic() - last < 0.5 and sent < 64 << 20:
            try:
                sent += slow.sock.send(request)
                last = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 64 << 20, 'the daemon takes all of it'
        start = time.monotonic()
        assert other.call('dev.show')['result'][0]['name'] == 'd0'
        assert time.monotonic() - start < PATIENCE
        slow.sock.settimeout(30)
        assert slow.json()['result'], 'and goes on when it reads again'


def test_subscriber_who_does_not_read_is_dropped(daemon):
    with daemon.client() as slow, daemon.client() as busy:
        slow.call('monitor')
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for i in range(6000):
            attrs = {'backend': 'null', 'size': '64K'}
            busy.call('dev.add', name='d' * 60, mgmtdev='soft_blk', attrs=attrs)
            busy.call('dev.del', name='d' * 60)
            if i % 200 == 0 and busy.call('stats')['result']['daemon']['dropped']:
                break
        assert busy.call('stats')['result']['daemon']['dropped'] == 1
    assert 'does not read its events' in daemon.log()


def test_disconnect_in_the_middle_of_a_call(disk):
    disk.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    disk.settled_fds()
    before = disk.sockets()
    for i in range(20):
        c = disk.client()
        c.request('drv.call', name='virtio0', op='blk.fill', params={'offset': 0, 'len': 8 << 20, 'seed': i})
        if i % 2:
            c.send(b'{"jsonrpc":"2.0","id":')
        c.close()
    wait_for(lambda: disk.json('debug', 'refs')['calls'] == 1)
    wait_for(lambda: disk.sockets() == before)


def test_thousand_connections(daemon):
    """Silent ones give way to whoever comes: nobody is kept out."""
    silent = []
    for i in range(1000):
        c = Client(daemon.socket)
        if i % 3 == 0:
            c.send(b'{"jsonrpc"')
        silent.append(c)
    assert daemon.ok('dev', 'show') == ''
    info = daemon.json('stats')['daemon']
    assert info['clients'] <= 128 and info['evicted'] >= 800
    assert daemon.fds() < 200
    for c in silent:
        c.close()
    wait_for(lambda: daemon.json('daemon', 'info')['clients'] == 1)


def test_busy_clients_are_not_evicted(start):
    daemon = start('--max-clients', 4)
    subscribers = [daemon.client() for _ in range(4)]
    for s in subscribers:
        s.call('monitor')
    with daemon.client() as fifth:
        assert 'too many clients' in fifth.json()['error']['message']
        assert fifth.line() is None
    subscribers[0].close()
    wait_for(lambda: daemon.run('dev', 'show').returncode == 0)
    for s in subscribers[1:]:
        s.close()


def test_flood_does_not_starve(disk):
    flood = [disk.client() for _ in range(4)]
    blob = b'{"jsonrpc":"2.0","method":"stats"}\n' * 2000
    for c in flood:
        c.sock.setblocking(False)
    worst = 0
    with disk.client() as polite:
        for _ in range(30):
            for c in flood:
                try:
                    c.sock.send(blob)
                except BlockingIOError:
                    pass
            start = time.monotonic()
            polite.call('dev.show')
            worst = max(worst, time.monotonic() - start)
    assert worst < PATIENCE
    for c in flood:
        c.close()


def test_out_of_descriptors(start):
    """Accepting fails, and nothing spins or dies."""
    daemon = start('--max-clients', 4096, prefix=('prlimit', '--nofile=60:60'))
    clients = [Client(daemon.socket) for _ in range(100)]
    for c in clients[-5:]:
        c.call('api.version')  # an answer, a refusal or a hang-up
    for c in clients:
        c.close()
    wait_for(lambda: daemon.run('dev', 'show').returncode == 0)
    ticks = sum(map(int, open(f'/proc/{daemon.proc.pid}/stat', encoding='utf-8').read().split()[13:15]))
    time.sleep(0.5)
    after = sum(map(int, open(f'/proc/{daemon.proc.pid}/stat', encoding='utf-8').read().split()[13:15]))
    assert after - ticks <= 15, 'it spins'


def test_descriptors_in_messages_go_nowhere(daemon):
    """A client that sends descriptors along cannot run the daemon out of them."""
    daemon.ok('dev', 'show')
    before = daemon.settled_fds()
    with daemon.client() as c:
        read, write = os.pipe()
        for i in range(200):
            socket.send_fds(c.sock, [b'{"jsonrpc":"2.0","id":%d,"method":"api.version"}\n' % i], [read, write] * 4)
            c.json()
        os.close(read)
        os.close(write)
        assert daemon.fds() <= before + 1


def test_monitor(daemon):
    with daemon.client() as c:
        seq = c.call('monitor')['result']['seq']
        daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M', 'driver',
                  'virtio-vdpa')
        daemon.ok('dev', 'unbind', 'd0')
        daemon.ok('dev', 'del', 'd0')
        events = []
        while not events or events[-1]['event'] != 'del':
            message = c.json()
            assert message['method'] == 'event' and 'id' not in message
            events.append(message['params'])
        assert [e['seq'] for e in events] == list(range(seq + 1, seq + 1 + len(events)))
        kinds = [e['event'] for e in events if e['event'] != 'change']
        assert kinds == ['add', 'bind', 'unbind', 'del']
        assert all(e['dev'] == 'd0' for e in events)
        assert events[kinds.index('bind')]['dev'] == 'd0'


def test_monitor_command(daemon):
    import subprocess
    from cliutil import UVDPA, clean_env
    proc = subprocess.Popen([UVDPA, '-s', str(daemon.socket), '-j', 'monitor'], stdout=subprocess.PIPE, text=True,
                            env=clean_env())
    wait_for(lambda: daemon.json('daemon', 'info')['clients'] == 2)
    daemon.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'size', '1M')
    assert json.loads(proc.stdout.readline())['event'] == 'add'
    assert daemon.stop() == 0
    rest = proc.stdout.read().splitlines()
    assert json.loads(rest[-1])['event'] == 'del'
    assert proc.wait(20) == 0


def test_unknown_bytes_at_random(daemon):
    """A little fuzzing over a real socket."""
    import random
    rng = random.Random(1)
    pieces = [b'{"jsonrpc":"2.0","id":', b'1', b',"method":"', b'dev.show', b'"', b',"params":{', b'}', b'\n', b'\x00',
              b'\xff', b'[[[[', b'"name":"', b'\\u0000', b'\\', b' ' * 100, b'dev.add', b'config.load', b':']
    for _ in range(40):
        with daemon.client() as c:
            c.sock.settimeout(0.05)
            try:
                for _ in range(50):
                    c.send(rng.choice(pieces))
                c.line()
            except (OSError, TimeoutError):
                pass
    assert daemon.ok('dev', 'show') == ''
