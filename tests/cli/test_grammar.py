# SPDX-License-Identifier: BSD-3-Clause
"""Words, prefixes, options, help, exit codes."""
import pathlib
import re
import shutil
import subprocess

import pytest

from cliutil import UVDPAD


@pytest.mark.parametrize('words', [
    ['dev', 'show'], ['dev', 'list'], ['dev'], ['d', 's'], ['de', 'sh'], ['d', 'l'], ['dev', 's'],
    ['d', 'show', 'd0'],
])
def test_prefixes_of_iproute2_win(disk, words):
    """"d" also begins debug, daemon, drv and driver; "s" set and suspend: scripts of iproute2 come first."""
    assert disk.ok(*words).startswith('d0: type block')


@pytest.mark.parametrize('words', [['m', 's'], ['mgmt'], ['mgmtdev', 'l']])
def test_mgmtdev_prefixes(daemon, words):
    assert 'soft_blk' in daemon.ok(*words)


def test_dev_add_key_prefixes(daemon):
    daemon.ok('dev', 'a', 'n', 'd0', 'm', 'soft_blk', 'backend', 'null', 'size', '1M')
    daemon.ok('d', 'd', 'd0')
    assert daemon.ok('dev') == ''


def test_exact_keys_are_not_prefixes(daemon):
    """"mac" and "mtu" begin no longer word, and are never taken for one."""
    assert 'max_vqp' in daemon.fails('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_blk', 'ma', '1')


@pytest.mark.parametrize('words,names', [
    (['co', 'dump'], ['config', 'completion']),
    (['dr'], ['drv', 'driver']),
    (['dev', 'su'], None),
    (['bus', 'd'], ['devices', 'drivers']),
])
def test_ambiguous(daemon, words, names):
    if names is None:
        assert 'missing' in daemon.fails(*words, code=2)
        return
    message = daemon.fails(*words, code=2)
    assert 'ambiguous' in message
    for name in names:
        assert name in message


@pytest.mark.parametrize('words,says', [
    (['nonsense'], 'object "nonsense" is not known; there are: mgmtdev, dev'),
    (['dev', 'nonsense'], 'command "nonsense" is not known; there are: show, list, add'),
    (['dev', 'del'], 'something is missing'),
    (['dev', 'del', 'a', 'b'], 'too many words'),
    (['dev', 'add', 'name', 'd0'], 'mgmtdev is missing'),
    (['dev', 'add', 'mgmtdev', 'soft_blk'], 'name is missing'),
    (['dev', 'add', 'name'], '"name" has no value'),
    (['dev', 'add', 'name', 'd0', 'name', 'd1'], '"name" is given twice'),
    (['dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'driver'], '"driver" has no value'),
    (['dev', 'bind', 'd0'], 'something is missing'),
    (['dev', 'bind', 'd0', 'driver'], '"driver" has no value'),
    (['dev', 'set', 'name', 'd0'], 'mac, busyloop, workers, intercept and backend are allowed'),
    (['dev', 'set', 'mac', '52:54:00:00:00:01'], 'name is missing'),
    (['dev', 'vstats', 'show', 'd0', 'qidx'], 'qidx wants the number'),
    (['dev', 'vstats', 'show', 'd0', 'qidx', 'x'], 'qidx wants the number'),
    (['dev', 'vstats', 'show', 'd0', 'foo', '1'], 'qidx is allowed'),
    (['iotlb', 'dump', 'd0', 'asid', '70000000'], 'asid N'),
    (['iotlb', 'dump', 'd0', 'asid'], 'asid N'),
    (['log', 'x'], 'not a number of lines'),
    (['completion', 'tcsh'], 'bash is the one shell'),
    (['daemon', 'call', 'x', '{'], 'not valid JSON'),
    (['raw', 'd0', 'GET_VRING_GROUP', 'idx=2'], 'GET_VRING_GROUP has: index'),
    (['raw', 'd0', 'SET_OWNER', 'idx=2'], 'SET_OWNER has: no keys'),
    (['drv', 'virtio0'], 'a command is missing'),
    (['drv', 'virtio0', 'nonsense'], 'there are: info'),
    (['drv', 'virtio0', 'blk'], 'blk: a command is missing; there are: info'),
    (['drv', 'virtio0', 'blk', 'read', '0'], 'blk read OFFSET LEN'),
    (['drv', 'virtio0', 'blk', 'read', 'x', '1'], 'is not a size'),
    (['drv', 'virtio0', 'blk', 'write', '0', 'hex', 'abc'], 'blk write OFFSET'),
    (['drv', 'virtio0', 'net', 'ping', 'count'], '"count" has no value'),
    (['drv', '--type', 'fs', 'info'], 'blk or net is allowed'),
    (['drv', '--nonsense'], 'is not known'),
    (['--nonsense'], 'option "--nonsense" is not known'),
    (['dev', 'show', '--nonsense'], 'option "--nonsense" is not known'),
    (['--socket'], 'wants a path'),
])
def test_usage_errors_end_with_2(uvdpa, words, says):
    done = uvdpa(*words)
    assert done.returncode == 2
    assert says in done.stderr and done.stdout == ''


@pytest.mark.parametrize('words', [[], ['help'], ['-h'], ['--help'], ['-help'], ['h']])
def test_help(uvdpa, words):
    done = uvdpa(*words)
    assert done.returncode == 0 and done.stderr == ''
    assert done.stdout.startswith('Usage: uvdpa [ OPTIONS ] OBJECT { COMMAND | help }')
    for name in ('mgmtdev', 'dev', 'monitor', 'topology', 'serve', 'config', 'drv'):
        assert name in done.stdout


def objects(uvdpa):
    text = uvdpa('help').stdout
    return text.split('OBJECT := {')[1].split('}')[0].replace('|', ' ').split()


@pytest.mark.parametrize('word', ['help', '--help', '-h'])
def test_help_of_every_command(uvdpa, word):
    for name in objects(uvdpa):
        done = uvdpa(name, word)
        assert done.returncode == 0, name
        assert done.stdout.startswith('Usage: uvdpa ' + name), name


def manual(name):
    """A man page's words, without its marks."""
    text = (pathlib.Path(__file__).resolve().parents[2] / name).read_text()
    text = re.sub(r'\\f[BIR]', '', text).replace('\\-', '-').replace('"', '')
    return ' '.join(re.sub(r'^\.(TP|SS|BR?|nf|fi)\b', '', text, flags=re.M).split())


def test_manual_has_every_command(uvdpa):
    page = manual('cli/uvdpa.8')
    for name in objects(uvdpa):
        lines = uvdpa(name, 'help').stdout.splitlines()
        subs = [l.split()[2] for l in lines[1:] if l.startswith(f'       uvdpa {name} ')]
        for sub in subs or ['']:
            if name != 'drv' and sub != 'list':
                assert f'uvdpa {name} {sub}'.strip() in page, (name, sub)
    for line in uvdpa('drv', 'help').stdout.splitlines():
        words = line.replace('Usage:', '').split()
        if words[:3] == ['uvdpa', 'drv', 'VIRTIO']:
            assert ' '.join(words[3:5] if words[3] in ('blk', 'net') else words[3:4]) in page, words


def test_manual_has_every_option(uvdpa):
    for page, text in (('cli/uvdpa.8', uvdpa('serve', 'blk', '--help').stdout),
                       ('daemon/uvdpad.8', subprocess.run([UVDPAD, '--help'], capture_output=True, text=True,
                                                          check=True, timeout=30).stdout)):
        for option in set(re.findall(r'--[a-z][a-z-]+', text)):
            assert option in manual(page), (page, option)


def test_examples_of_the_manual(daemon, folder):
    (folder / 'disk.img').write_bytes(bytes(1 << 20))
    lines = (pathlib.Path(__file__).resolve().parents[2] / 'cli/uvdpa.8').read_text().split('.SH EXAMPLES')[1]
    lines = [l.split()[1:] for l in lines.splitlines() if l.startswith('uvdpa ')]
    assert len(lines) >= 5
    for words in lines:
        if words[0] != 'serve':
            daemon.ok(*[w.replace('\\-', '-').replace('/run/uvdpa', str(folder)) for w in words], cwd=folder)


@pytest.mark.parametrize('words,says', [
    (['help'], 'pktgen'), (['virtio0', 'help'], 'conform'), (['virtio0', 'blk', 'help'], 'OFFSET LEN [ seed N ]'),
    (['virtio0', 'net', 'help'], 'pktgen [ count N ]'), (['virtio0', 'blk', 'read', 'help'], '[ file FILE ]'),
    (['virtio0', 'vq-setup', 'help'], '[ index N ] size N'), (['--socket', '/nonexistent', 'help'], 'conform'),
    (['--socket', '/nonexistent', 'net', 'ping', 'help'], 'fails when one is lost'),
])
def test_help_of_drv(uvdpa, words, says):
    """Without a daemon, and without a back end."""
    done = uvdpa('drv', *words)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('Usage: uvdpa drv VIRTIO ') and says in done.stdout


@pytest.mark.parametrize('words,says', [
    (['virtio0', 'nope'], 'conform, reset, attach, vq-setup, blk, config, cvq, net, help'),
    (['virtio0', 'config', 'nope'], 'read, write, help'), (['virtio0', 'config', 'write', '0', '00'], 'OFFSET hex DIGITS'),
    (['virtio0', 'blk', 'nope'], 'discard, zero, help'), (['virtio0', 'blk'], 'a command is missing'),
    (['virtio0', 'cvq'], 'a command is missing; there are: promisc'), (['virtio0', 'cvq', 'promisc'], 'something is missing'),
    (['virtio0', 'cvq', 'promisc', 'yes'], 'on or off is allowed'), (['virtio0', 'cvq', 'mac', 'x'], '"x" is no address'),
    (['virtio0', 'cvq', 'vlan', 'add', '65536'], 'a number up to 65535'), (['virtio0', 'cvq', 'coal', 'rx', '1'], 'is wanted'),
    (['virtio0', 'cvq', 'offloads', 'all'], 'csum, tso4, tso6, ecn and none'), (['virtio0', 'cvq', 'mq', '1', '2'], 'too much'),
    (['virtio0', 'net', 'nope'], 'info, ping, pktgen, help'), (['virtio0', 'nope', 'help'], '"nope" is not known'),
    (['virtio0', 'net', 'ping', 'colour', '1'], 'count and size are allowed'), (['--nope'], '--socket PATH, --type'),
])
def test_drv_says_what_there_is(uvdpa, words, says):
    done = uvdpa('drv', *words)
    assert (done.returncode, done.stdout) == (2, '')
    assert says in done.stderr


@pytest.mark.parametrize('words', [['dev', 'add', 'help'], ['dev', 'config', 'help'], ['dev', 'vstats', 'help'],
                                   ['mgmtdev', 'show', 'help'], ['dev', 'set', 'help']])
def test_help_of_leaves(uvdpa, words):
    done = uvdpa(*words)
    assert done.returncode == 0
    assert done.stdout.startswith('Usage: uvdpa ' + ' '.join(words[:-1]))


@pytest.mark.parametrize('words', [['dev', 'add'], ['dev', 'vstats'], ['dev'], ['daemon', 'stop'], ['dsa', 'add']])
def test_help_as_an_option(uvdpa, words):
    """Says the same as the word does, and nothing is done."""
    assert uvdpa(*words, '--help').stdout == uvdpa(*words, 'help').stdout != uvdpa('help').stdout
    assert uvdpa(*words, '--help').returncode == 0
    assert uvdpa('-h', *words).stdout == uvdpa('help').stdout


@pytest.mark.parametrize('option', ['-V', '-Version', '--version'])
def test_version(uvdpa, option):
    done = uvdpa(option)
    assert done.returncode == 0 and done.stdout.startswith('uvdpa utility, uvdpa-')


def test_no_daemon(uvdpa, folder):
    done = uvdpa('dev', 'show', sock=folder / 'nobody')
    assert done.returncode == 1
    assert str(folder / 'nobody') in done.stderr and 'is uvdpad running?' in done.stderr


def test_no_default_socket(uvdpa):
    done = uvdpa('dev', 'show', prefix=('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')) \
        if shutil.which('setpriv') and subprocess.getoutput('id -u') == '0' else uvdpa('dev', 'show')
    assert done.returncode == 1
    assert 'XDG_RUNTIME_DIR' in done.stderr


def test_socket_from_environment(disk, uvdpa):
    from cliutil import clean_env
    done = uvdpa('dev', 'show', env=clean_env(UVDPA_SOCKET=str(disk.socket)))
    assert done.stdout.startswith('d0:')


def test_broken_pipe_is_no_success(disk):
    done = subprocess.run(['sh', '-c', f'"{__import__("cliutil").UVDPA}" -s {disk.socket} dev show >/dev/full'],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and 'standard output' in done.stderr


@pytest.mark.skipif(not shutil.which('vdpa'), reason='iproute2 has no vdpa command here')
def test_grammar_of_iproute2_is_ours(uvdpa):
    """Every command that iproute2's help names is one of ours."""
    text = subprocess.run(['strings', shutil.which('vdpa')], capture_output=True, text=True, check=False).stdout
    lines = [l.split('vdpa ', 1)[1] for l in text.splitlines()
             if l.startswith(('Usage: vdpa ', '       vdpa ')) and 'OPTIONS' not in l.split('vdpa ', 1)[1]]
    if not lines:
        pytest.skip('its help cannot be read')
    for line in lines:
        words = [w for w in line.split() if w.islower() and w.isalpha()]
        cut = words[:3] if words[:2] in (['dev', 'config'], ['dev', 'vstats']) else words[:2]
        done = uvdpa(*cut, 'help')
        assert done.returncode == 0, line
