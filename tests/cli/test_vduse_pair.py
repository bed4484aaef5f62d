# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of VDUSE: a device of one daemon, bound to the driver vduse, is on the bus of another one."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from cliutil import BUILD, PATIENCE, clean_env, wait_for

ROUNDS = int(os.environ.get('UVDPA_TEST_ROUNDS', 1))
MAC = '52:54:00:12:34:56'


@pytest.fixture
def bus(start, folder):
    """The daemon with the bus and the endpoint."""
    daemon = start('--vduse', folder / 'vduse')
    assert daemon.ready == b'\n', daemon.log()
    return daemon


@pytest.fixture
def maker(start, folder, bus):
    """The daemon that has the devices."""
    daemon = start(sock='maker.sock')
    assert daemon.ready == b'\n', daemon.log()
    return daemon


def offer(maker, folder, name, *attrs):
    maker.ok('dev', 'bind', name, 'driver', 'vduse', 'endpoint', folder / 'vduse', 'log', folder / f'{name}.log', *attrs)


def show(daemon, name):
    return daemon.json('--all', 'dev', 'show', name)['dev'][name]


def test_endpoint_hangs(maker, folder):
    """An endpoint that takes connections and says nothing: the bind fails, and the daemon goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
        mute.bind(str(folder / 'mute'))
        mute.listen(8)
        maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '8M')
        assert 'timed out' in maker.fails('dev', 'bind', 'd0', 'driver', 'vduse', 'endpoint', folder / 'mute', 'log',
                                          folder / 'd0.log', 'endpoint_timeout_ms', 100)
        assert maker.ok('dev', 'show', 'd0')


@pytest.mark.parametrize('more', [(), ('isolation', 'bounce')], ids=['shared', 'bounce'])
@pytest.mark.parametrize('packed', ['on', 'off'])
def test_disk(bus, maker, folder, more, packed):
    """Data through both, stopped and started again, and taken apart from either end."""
    maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '8M', 'num_queues', 4)
    offer(maker, folder, 'd0', 'packed', packed)
    bus.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'vduse', *more)
    for queues in (1, 4):
        bus.ok('dev', 'bind', 'd0', 'virtio-vdpa', 'queues', queues)
        bus.ok('drv', 'virtio0', 'blk', 'fill', '0', '8M', 'seed', queues)
        bus.ok('drv', 'virtio0', 'blk', 'verify', '0', '8M', 'seed', queues)
        features = bus.ok('drv', 'virtio0', 'features').split('negotiated ')[1]
        assert ('RING_PACKED' in features) == (packed == 'on' or bool(more))
        bus.ok('drv', 'virtio0', 'conform')
        bus.ok('dev', 'unbind', 'd0')
    assert show(maker, 'd0')['driver']['show']['node'] == 'd0'
    maker.ok('dev', 'unbind', 'd0')
    wait_for(lambda: show(bus, 'd0')['show']['process'] == 'none')
    offer(maker, folder, 'd0', 'packed', packed)
    bus.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    bus.ok('drv', 'virtio0', 'blk', 'verify', '0', '8M', 'seed', 4)
    bus.ok('dev', 'del', 'd0')
    maker.ok('dev', 'unbind', 'd0')
    offer(maker, folder, 'd0')
    maker.ok('dev', 'del', 'd0')


@pytest.mark.parametrize('more', [(), ('isolation', 'bounce')], ids=['shared', 'bounce'])
def test_nic(bus, maker, folder, more):
    """A NIC with a control queue, which the kernel's VDUSE refuses."""
    maker.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'soft_net', 'mac', MAC, 'mtu', 1500, 'backend', 'loopback')
    offer(maker, folder, 'n0')
    bus.ok('dev', 'add', 'name', 'n0', 'mgmtdev', 'vduse', *more)
    bus.ok('dev', 'bind', 'n0', 'virtio-vdpa')
    assert 'CTRL_VQ' in bus.ok('drv', 'virtio0', 'features').split('negotiated ')[1]
    bus.ok('drv', 'virtio0', 'net', 'ping', 'count', 20)
    bus.ok('drv', 'virtio0', 'cvq', 'promisc', 'on')
    # Buffers to be filled are out all the time: a queue that stops gets them back.
    bus.ok('dev', 'unbind', 'n0')
    bus.ok('dev', 'bind', 'n0', 'vhost-user', 'path', folder / 'n0.sock')
    bus.ok('drv', '--socket', folder / 'n0.sock', 'net', 'ping', 'count', 20)
    bus.ok('dev', 'unbind', 'n0')


@pytest.mark.parametrize('more', [(), ('isolation', 'bounce')], ids=['shared', 'bounce'])
def test_killed(bus, maker, start, folder, more, record_property):
    """kill -9 of the maker under load, five times: a new one goes on by its log, and nothing is lost."""
    image = folder / 'disk.img'
    image.write_bytes(bytes(8 << 20))
    maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'file', 'path', image)
    offer(maker, folder, 'd0')
    config = folder / 'maker.json'
    config.write_text(maker.ok('config', 'dump'))
    assert 'endpoint' in json.dumps(json.loads(config.read_text()))
    bus.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'vduse', *more)
    bus.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    done = threading.Event()
    failed = []

    def load():
        seed = 0
        while not done.is_set() and not failed:
            seed += 1
            for what in ('fill', 'verify'):
                run = bus.run('drv', 'virtio0', 'blk', what, '0', '4M', 'seed', seed)
                if run.returncode:
                    failed.append(run.stderr)
                    return

    worker = threading.Thread(target=load)
    worker.start()
    for _ in range(5 * ROUNDS):
        wait_for(lambda: failed or show(bus, 'd0')['show']['process'] == 'connected')
        time.sleep(0.3)
        maker.proc.send_signal(signal.SIGKILL)
        maker.proc.wait(PATIENCE)
        wait_for(lambda: failed or show(bus, 'd0')['show']['process'] == 'none')
        maker = start('--config', config, sock='maker.sock')
        assert maker.ready == b'\n', maker.log()
    wait_for(lambda: failed or show(bus, 'd0')['show']['process'] == 'connected')
    done.set()
    worker.join(PATIENCE * 2)
    assert not worker.is_alive() and not failed, failed
    bus.ok('dev', 'del', 'd0')
    record_property('kills', 5 * ROUNDS)


def test_refused(maker, folder):
    """Nobody there, or another process already; and the endpoint's end."""
    maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    maker.ok('dev', 'add', 'name', 'd1', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    assert 'nobody serves VDUSE' in maker.fails('dev', 'bind', 'd0', 'driver', 'vduse', 'endpoint', folder / 'x')
    offer(maker, folder, 'd0')
    assert 'another process serves it' in maker.fails('dev', 'bind', 'd1', 'driver', 'vduse', 'endpoint',
                                                      folder / 'vduse', 'name', 'd0')


def test_endpoint_ends(bus, maker, folder):
    maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    offer(maker, folder, 'd0')
    assert bus.stop() == 0
    wait_for(lambda: 'cut us off' in maker.log())
    maker.ok('dev', 'unbind', 'd0')


def test_maker_ends_first(bus, maker, folder):
    """A daemon ends well while its devices have no process."""
    maker.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '1M')
    offer(maker, folder, 'd0')
    bus.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'vduse')
    bus.ok('dev', 'bind', 'd0', 'virtio-vdpa')
    assert maker.stop() == 0, maker.log()
    assert bus.stop() == 0, bus.log()


def test_own_endpoint(bus, folder):
    """A daemon does not wait for itself."""
    bus.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'soft_blk', 'backend', 'ram', 'size', '8M')
    assert "this daemon's own" in bus.fails('dev', 'bind', 'd0', 'driver', 'vduse', 'endpoint', folder / 'vduse')
    assert show(bus, 'd0')['driver'] is None


EXAMPLE = BUILD / 'examples' / 'vduse_device'


@pytest.mark.skipif(not EXAMPLE.exists(), reason='built without libnl or libseccomp')
@pytest.mark.parametrize('more', [(), ('isolation', 'bounce')], ids=['shared', 'bounce'])
def test_example(bus, folder, more):
    """The example's device process, which locks itself in; killed under way, and started again."""
    image = folder / 'disk.img'
    image.write_bytes(bytes(8 << 20))
    argv = [str(EXAMPLE), '--endpoint', str(folder / 'vduse'), 'd0', '8M', str(image)]
    procs = []

    def begin():
        with open(folder / 'example.log', 'ab') as log:
            procs.append(subprocess.Popen(argv, env=clean_env(VDUSE_LOG_DIR=str(folder)), stdout=subprocess.PIPE,
                                          stderr=log, text=True))
        assert procs[-1].stdout.readline() == 'serving d0\n', (folder / 'example.log').read_text()

    try:
        begin()
        status = open(f'/proc/{procs[0].pid}/status', encoding='ascii').read()
        assert re.search(r'^NoNewPrivs:\s1$', status, re.M) and re.search(r'^Seccomp:\s2$', status, re.M)
        bus.ok('dev', 'add', 'name', 'd0', 'mgmtdev', 'vduse', *more)
        for _ in range(2):
            bus.ok('dev', 'bind', 'd0', 'virtio-vdpa')
            bus.ok('drv', 'virtio0', 'blk', 'fill', '0', '8M', 'seed', 9)
            bus.ok('drv', 'virtio0', 'blk', 'verify', '0', '8M', 'seed', 9)
            bus.ok('drv', 'virtio0', 'blk', 'discard', '0', '64K')
            bus.ok('drv', 'virtio0', 'blk', 'flush')
            bus.ok('dev', 'unbind', 'd0')
        bus.ok('dev', 'bind', 'd0', 'virtio-vdpa')
        assert procs[0].poll() is None
        procs[0].kill()
        procs[0].wait()
        wait_for(lambda: show(bus, 'd0')['show']['process'] == 'none')
        begin()
        bus.ok('drv', 'virtio0', 'blk', 'fill', '0', '8M', 'seed', 10)
        bus.ok('drv', 'virtio0', 'blk', 'verify', '0', '8M', 'seed', 10)
        bus.ok('dev', 'del', 'd0')
        assert procs[1].poll() is None
    finally:
        for proc in procs:
            proc.kill()
            proc.wait()
            proc.stdout.close()
