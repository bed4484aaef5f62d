# SPDX-License-Identifier: BSD-3-Clause
"""uvdpa vfu: devices behind sockets of vfio-user, without a daemon; and servers that lie."""
import json
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from cliutil import PATIENCE, run

U1 = '11111111-2222-3333-4444-555555555555'
U2 = '11111111-2222-3333-4444-666666666666'


@pytest.fixture
def cards(daemon, folder):
    """Two serial cards, whose sockets are .a and .b."""
    for uuid, path in ((U1, 'a'), (U2, 'b')):
        daemon.ok('mdev', 'create', 'mtty-2', uuid, 'driver', 'vfio_mdev', 'path', folder / path)
        setattr(daemon, path, folder / path)
    return daemon


@pytest.fixture
def pci(disk, folder):
    """A disk as a virtio device on PCI, its socket .a."""
    disk.ok('dev', 'bind', 'd0', 'virtio-pci', 'path', folder / 'a')
    disk.a = folder / 'a'
    return disk


def vfu(path, *words, options=()):
    """What a line of commands prints; it needs no daemon."""
    done = run(*options, 'vfu', path, *words)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    return done.stdout


def answers(path, *words):
    return {a['command']: a.get('value') for a in json.loads(vfu(path, *words, options=['-j']))}


def refused(path, *words, code=1):
    done = run('vfu', path, *words)
    assert (done.returncode, done.stdout) == (code, ''), done
    return done.stderr


def test_golden(cards):
    assert vfu(cards.a) == vfu(cards.a, 'info') == 'flags reset pci\nregions 9\nirqs 5\nmigration stop_copy\n'
    assert vfu(cards.a, 'region', 'show') == ('0 bar0: size 0x10 flags read write\n'
                                              '7 cfg: size 0x100 flags read write\n')
    assert vfu(cards.a, 'region', 'show', 'rom') == '6 rom: size 0x0 flags \n'
    assert len(vfu(cards.a, 'region', 'show', '--all').splitlines()) == 9
    assert vfu(cards.a, 'irq').splitlines()[0] == 'index 0 name intx count 1 flags eventfd maskable automasked'
    assert vfu(cards.a, 'migrate', 'show') == 'state running\nmigration stop_copy\n'
    config = vfu(cards.a, 'config').splitlines()
    assert config[0] == '00:00.0 Class 0700: Device 1b36:0003 (rev 01)'
    assert config[1] == '00: 36 1b 03 00 00 00 00 00 01 02 00 07 00 00 00 00' and len(config) == 17
    assert vfu(cards.a, 'caps') == ''
    assert vfu(cards.a, 'region', 'read', 'cfg', '0', '4') == '0x00031b36\n'
    assert vfu(cards.a, 'region', 'read', 7, 0, 3) == '00: 36 1b 03\n'


def test_golden_json(cards):
    assert vfu(cards.a, options=['-j']) == (
        '[{"command":"info","value":{"flags":["reset","pci"],"regions":9,"irqs":5,"migration":["stop_copy"]}}]\n')
    assert vfu(cards.a, 'region', 'read', 'cfg', 0, 2, ',', 'region', 'write', 'bar0', 7, 1, 9, options=['-j']) == (
        '[{"command":"region read","value":{"data":"361b","value":"0x1b36"}},{"command":"region write"}]\n')
    assert vfu(cards.a, 'region', 'show', 0, options=['-j']) == (
        '[{"command":"region show","value":[{"index":0,"name":"bar0","size":16,"flags":["read","write"]}]}]\n')
    assert json.loads(vfu(cards.a, options=['-jp'])) == json.loads(vfu(cards.a, options=['-j']))
    config = answers(cards.a, 'config')['config']
    assert (config['vendor'], config['device'], config['class'], config['revision']) == ('1b36', '0003', '070002', '01')
    assert len(config['data']) == 512


def test_capabilities_of_virtio(pci):
    caps = {c['name']: c for c in answers(pci.a, 'caps')['caps']}
    assert {'MSI-X', 'PCI Express', 'virtio common', 'virtio notify', 'virtio device', 'virtio isr'} <= set(caps)
    bells = answers(pci.a, 'region', 'show', 'bar0')['region show'][0]['doorbells']
    assert bells[0]['offset'] == caps['virtio notify']['bar_offset']
    # Device type 2 is a disk; its capacity is where the capability says.
    assert vfu(pci.a, 'region', 'read', 'cfg', 2, 2) == '0x1042\n'
    assert int(vfu(pci.a, 'region', 'read', 'bar0', caps['virtio device']['bar_offset'], 8), 16) == 16384


@pytest.mark.skipif(not shutil.which('lspci'), reason='there is no lspci')
def test_lspci_reads_the_dump(pci, folder):
    (folder / 'dump').write_text(vfu(pci.a, 'config'))
    said = subprocess.run(['lspci', '-vv', '-n', '-F', folder / 'dump'], capture_output=True, text=True, timeout=60,
                          check=True).stdout
    assert '1af4:1042' in said and 'MSI-X: Enable- Count=2' in said and 'FLReset+' in said


def test_commands_of_a_line_share_the_device(pci):
    """A new client finds a device that was reset; a line is one client."""
    status = ['bar0', 20, 1]
    assert vfu(pci.a, 'region', 'write', *status, 1, ',', 'region', 'read', *status) == '0x01\n'
    assert vfu(pci.a, 'region', 'read', *status) == '0x00\n'
    assert vfu(pci.a, 'region', 'write', *status, 3, ',', 'reset', ',', 'region', 'read', *status) == '0x00\n'


def test_state_moves_to_another_card(cards, folder):
    vfu(cards.a, 'region', 'write', 'bar0', 7, 1, 0x5a)
    said = vfu(cards.a, 'migrate', 'save', folder / 'state')
    assert said == f'bytes {(folder / "state").stat().st_size}\n'
    assert (folder / 'state').stat().st_mode & 0o777 == 0o600
    assert vfu(cards.b, 'region', 'read', 'bar0', 7, 1) == '0x00\n'
    assert vfu(cards.b, 'migrate', 'load', folder / 'state', ',', 'region', 'read', 'bar0', 7, 1) == said + '0x5a\n'
    # Half of it: refused, and it is as it was, and runs.
    (folder / 'half').write_bytes((folder / 'state').read_bytes()[:100])
    assert 'EINVAL' in refused(cards.a, 'migrate', 'load', folder / 'half')
    assert vfu(cards.a, 'migrate', ',', 'region', 'read', 'bar0', 7, 1).splitlines()[::2] == ['state running', '0x5a']
    assert 'cannot be opened: No such file' in refused(cards.a, 'migrate', 'load', folder / 'none')


def test_memory(pci):
    got = answers(pci.a, 'dma', 'map', '0x10000', 8192, ',', 'dma', 'write', '0x10008', 4, '0x11223344', ',',
                  'dma', 'read', '0x10008', 4, ',', 'dma', 'unmap', '0x10000', 8192)
    assert got == {'dma map': None, 'dma write': None, 'dma unmap': None,
                   'dma read': {'data': '44332211', 'value': '0x11223344'}}
    assert 'EEXIST' in refused(pci.a, 'dma', 'map', 0, 8192, ',', 'dma', 'map', 4096, 4096)
    assert 'ENOENT' in refused(pci.a, 'dma', 'unmap', 0, 4096)
    assert 'no "dma map" of this line' in refused(pci.a, 'dma', 'map', 0, 4096, ',', 'dma', 'read', 4095, 2)


@pytest.mark.parametrize('words,says', [
    ([], 'something is missing'), (['x', 'nope'], 'there are: info, region'),
    (['x', 'region', 'nope'], 'there are: show, read, write'), (['x', 'info', 'more'], 'too many words'),
    (['x', 'region', 'read', 'cfg', 0], 'vfu SOCKET region read REGION OFFSET SIZE'),
    (['x', 'region', 'read', 'bar9', 0, 4], 'bar0 to bar5'), (['x', 'region', 'read', 'cfg', 'y', 4], 'also as 0x'),
    (['x', 'region', 'read', 'cfg', 0, 0], '1 to 1048576'), (['x', 'region', 'write', 'cfg', 0, 3, 1], '1, 2, 4 or 8'),
    (['x', 'region', 'write', 'cfg', 0, 1, 256], 'a number of 1 bytes'), (['x', 'dma', 'map', 0, '0x50000000'], '1 to'),
    (['x', 'sleep', 10001], 'up to 10000'),
])
def test_wrong_words(uvdpa, words, says):
    done = uvdpa('vfu', *words)
    assert (done.returncode, done.stdout) == (2, '') and says in done.stderr


def test_help(uvdpa):
    for words, says in ((['help'], 'vfu SOCKET help'), (['x', 'help'], 'vfu SOCKET sleep MS'),
                        (['x', 'region', 'help'], 'write REGION OFFSET SIZE VALUE')):
        done = uvdpa('vfu', *words)
        assert done.returncode == 0 and says in done.stdout


def test_what_is_refused_says_why(cards, folder):
    assert 'has 0x100 bytes, and can be read' in refused(cards.a, 'region', 'read', 'cfg', 256, 4)
    assert 'there are 9 regions' in refused(cards.a, 'region', 'read', 9, 0, 4)
    assert 'cannot be read' in refused(cards.a, 'region', 'read', 'vga', 0, 4)
    said = refused(folder / 'none')
    assert 'No such file' in said and said.count(str(folder / 'none')) == 1
    # The first that fails ends the line.
    done = run('-j', 'vfu', cards.a, 'reset', ',', 'region', 'read', 9, 0, 4, ',', 'reset')
    assert done.returncode == 1 and done.stdout == '[{"command":"reset"}]\n'


def test_one_client_at_a_time(cards):
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(cards.a))
        body = struct.pack('<HH', 0, 1)
        other.sendall(struct.pack('<HHIII', 1, 1, 16 + len(body), 0, 0) + body)
        assert other.recv(4096)
        assert 'one client at a time' in refused(cards.a, 'info')


def test_removal_in_use(cards):
    """A card goes while a client asks it one thing after the other: the client is told, and the daemon goes on."""
    with socket.socket(socket.AF_UNIX) as vmm:
        vmm.settimeout(PATIENCE)
        vmm.connect(str(cards.a))
        vmm.sendall(struct.pack('<HHIIIHH', 1, 1, 20, 0, 0, 0, 1))
        assert vmm.recv(4096)
        removal = threading.Thread(target=cards.ok, args=('mdev', 'remove', U1))
        asked = 0
        try:
            while True:
                vmm.sendall(struct.pack('<HHIIIQII', 2, 9, 32, 0, 0, 5, 0, 1))
                if not vmm.recv(4096):
                    break
                asked += 1
                if asked == 100:
                    removal.start()
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert asked >= 100
        removal.join(PATIENCE)
        assert not removal.is_alive()
    assert not cards.a.exists() and U1 not in cards.ok('mdev', 'list')
    assert vfu(cards.b, 'region', 'read', 'bar0', 5, 1) == '0x60\n'
    cards.ok('mdev', 'create', 'mtty-2', U1, 'driver', 'vfio_mdev', 'path', cards.a)
    assert vfu(cards.a, 'region', 'read', 'bar0', 5, 1) == '0x60\n'


# ---- servers that lie ----

class Liar(threading.Thread):
    """Answers each command with what @answers has for its number; one client."""

    def __init__(self, path, answers):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.answers = {1: struct.pack('<HH', 0, 1), 4: struct.pack('<IIII', 16, 3, 9, 5), **answers}
        self.start()

    def run(self):
        with self.listener, self.listener.accept()[0] as sock:
            sock.settimeout(PATIENCE)
            while True:
                head = sock.recv(16, socket.MSG_WAITALL)
                if len(head) < 16:
                    return
                number, cmd, size, _, _ = struct.unpack('<HHIII', head)
                body = sock.recv(size - 16, socket.MSG_WAITALL) if size > 16 else b''
                reply = self.answers.get(cmd)
                reply = reply(body) if callable(reply) else reply
                flags, err = (0x21, 25) if reply is None else (1, 0)
                reply = reply or b''
                try:
                    sock.sendall(struct.pack('<HHIII', number, cmd, 16 + len(reply), flags, err) + reply)
                except BrokenPipeError:
                    return


def region_info(size):
    return lambda body: struct.pack('<IIIIQQ', 32, 3, struct.unpack_from('<III', body)[2], 0, size, 0)


def config_of(data):
    return lambda body: body[:16] + data[:struct.unpack_from('<QII', body)[2]]


def test_chains_without_an_end(folder):
    """Capabilities that point at themselves, and at each other; extended ones too."""
    config = bytearray(b'\xff' * 4096)
    config[0x34] = 0x40
    config[0x40:0x44] = bytes([1, 0x44, 0, 0])
    config[0x44:0x48] = bytes([9, 0x40, 0, 0])
    config[0x100:0x104] = struct.pack('<I', 0x000b | 0x100 << 20)
    liar = Liar(folder / 'liar', {5: region_info(4096), 9: config_of(bytes(config))})
    assert len(vfu(folder / 'liar', 'caps').splitlines()) < 1100
    liar.join(PATIENCE)


@pytest.mark.parametrize('answers_,words,says', [
    ({5: region_info(16)}, ['config'], 'has 16 bytes of configuration space'),
    ({4: struct.pack('<IIII', 16, 4, 9, 5)}, ['config'], 'is no PCI device'),
    ({9: b''}, ['region', 'read', 'cfg', 0, 4], 'the answer cannot be'),
    ({5: b'short'}, ['region'], 'the answer cannot be'),
    ({16: struct.pack('<IIII', 16, 0, 77, 0)}, ['migrate'], 'the answer cannot be'),
    ({}, ['migrate', 'save', '/dev/null'], 'no such feature'),
    ({}, ['reset'], 'no such feature'),
    ({1: struct.pack('<HH', 7, 0)}, ['info'], 'no version is agreed on'),
])
def test_answers_that_cannot_be(folder, answers_, words, says):
    liar = Liar(folder / 'liar', answers_)
    assert says in refused(folder / 'liar', *words)
    liar.join(PATIENCE)


def test_saving_is_given_up(folder):
    """More data than were asked for; the file is not taken for whole."""
    state = struct.pack('<IIII', 16, 0, 3, 0)
    liar = Liar(folder / 'liar', {16: state, 17: struct.pack('<II', 8, 1 << 20)})
    assert 'the answer cannot be' in refused(folder / 'liar', 'migrate', 'save', folder / 'state')
    liar.join(PATIENCE)
