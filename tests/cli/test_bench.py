# SPDX-License-Identifier: BSD-3-Clause
"""uvdpa bench: our own load, on a device of its own process and over a socket."""
import json
import subprocess

import pytest

from cliutil import UVDPA, clean_env

BRIEF = ('--seconds=0.2',)
# Where a busy machine let nothing be done in that time.
LONGER = (*BRIEF, '--seconds=2', '--seconds=15')


def bench(*words, code=0):
    done = subprocess.run([UVDPA, 'bench', *(str(w) for w in words)], env=clean_env(), timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def measured(*words):
    for seconds in LONGER:
        got = json.loads(bench(*words, seconds, '--json'))
        if got['done'] > 16:
            break
    # What is not back after 100 ms counts as lost: of a NIC on a busy machine that says nothing.
    assert got['failed'] == 0 and (got['class'] == 'net' or got['lost'] == 0)
    assert got['driver_cpu'] > 0
    return got


def check_latency(got):
    us = got['latency_us']
    assert 0 < us['p50'] <= us['p99'] <= us['p99.9']
    assert us['average'] <= us['max'] and us['p50'] <= us['max'] * 1.02


@pytest.mark.parametrize('wait', ['sleep', 'poll'])
@pytest.mark.parametrize('op', ['read', 'write'])
def test_disk_in_process(wait, op):
    got = measured('blk', '--backend=null', f'--wait={wait}', f'--op={op}', '--depth=16')
    assert got['done'] > 16
    assert got['per_second'] == pytest.approx(got['done'] / got['seconds'])
    assert got['device_cpu'] > 0
    check_latency(got)


@pytest.mark.parametrize('wait', ['sleep', 'poll'])
def test_nic_in_process(wait):
    got = measured('net', '--backend=loopback', f'--wait={wait}', '--depth=16', '--size=1000')
    assert got['done'] > 16
    check_latency(got)


def test_packets_one_way():
    got = measured('net', '--backend=loopback', '--wait=poll', '--op=send', '--depth=16')
    assert got['done'] > 16
    assert 'latency_us' not in got


@pytest.fixture(params=['sleep', 'poll'])
def socket_of(request, disk, folder):
    disk.ok('dev', 'bind', 'd0', 'vhost-user', 'path', folder / 'd0.sock')
    return folder / 'd0.sock', request.param


def test_disk_over_a_socket(socket_of):
    path, wait = socket_of
    got = measured('blk', f'--socket={path}', '--order=sequential', '--size=16K', '--depth=8',
                   f'--wait={wait}')
    assert got['done'] > 8
    assert got['device_cpu'] > 0    # of the daemon, which the kernel names


def test_paced():
    """Never more than was asked for, with what was due before the measurement and comes late."""
    warm = 0.2
    got = measured('blk', '--backend=null', '--rate=1000')
    assert 0 < got['done'] <= 1000 * (got['seconds'] + warm) + 2


def test_text():
    text = bench('blk', '--backend=null', *BRIEF)
    for word in ('requests: ', ' per second', 'latency us: average', 'device CPU: ', 'driver CPU: '):
        assert word in text
    assert 'packets: ' in bench('net', '--backend=loopback', *BRIEF)


def test_help():
    assert 'uvdpa bench { blk | net }' in bench('--help')
    assert 'uvdpa bench { blk | net }' in bench('blk', '--help')


@pytest.mark.parametrize('words,says', [
    ((), 'blk or net is allowed'),
    (('scsi',), 'blk or net is allowed'),
    (('blk',), '--socket=PATH or --backend=NAME is wanted'),
    (('blk', '--socket=x', '--backend=null'), '--socket=PATH or --backend=NAME is wanted'),
    (('blk', '--socket=x', '--attr=a=b'), 'has its attributes already'),
    (('blk', '--socket=x', '--device-cpu=0'), 'in another process'),
    (('blk', '--backend=null', '--op=loop'), 'read or write is allowed'),
    (('net', '--backend=loopback', '--op=read'), 'loop, send or receive is allowed'),
    (('blk', '--backend=null', '--order=some'), 'random or sequential is allowed'),
    (('blk', '--backend=null', '--wait=long'), 'sleep or poll is allowed'),
    (('blk', '--backend=null', '--depth=0'), 'from 1 to 32768'),
    (('blk', '--backend=null', '--depth=x'), 'from 1 to 32768'),
    (('blk', '--backend=null', '--depth=32768', '--size=1M'), 'more than 1G'),
    (('blk', '--backend=null', '--seconds=-1'), '0.01 to 86400'),
    (('blk', '--backend=null', '--cpu=x'), 'number of a CPU'),
    (('blk', '--backend=null', '--attr=x'), 'KEY=VALUE'),
    (('blk', '--backend=null', 'word'), 'there are only options'),
])
def test_wrong_usage(words, says):
    assert says in bench(*words, code=2)


@pytest.mark.parametrize('words,says', [
    (('blk', '--backend=nonsense'), 'nonsense'),
    (('blk', '--backend=null', '--attr=colour=red'), 'colour'),
    (('blk', '--backend=null', '--size=1000'), 'whole blocks'),
    (('blk', '--backend=null', '--attr=size=4K', '--size=8K'), 'smaller than one request'),
    (('blk', '--backend=null', '--attr=read_only=on', '--op=write'), 'read-only'),
    (('net', '--backend=loopback', '--size=10'), 'are allowed'),
    (('blk', '--socket=/nonexistent/s'), 'No such file'),
    (('blk', '--backend=null', '--queue-size=4096'), '4096'),
    (('blk', '--backend=null', '--cpu=1000'), 'CPU 1000'),
])
def test_failure(words, says):
    assert says in bench(*words, *BRIEF, code=1)
