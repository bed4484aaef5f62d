# SPDX-License-Identifier: BSD-3-Clause
"""guest_vduse.py CONFIG: in a guest, a disk of ours and one of qemu-storage-daemon's on the kernel's vDPA bus, in turns.

CONFIG is JSON: {blkload, pairs, ms, span}. Prints one line of JSON for each run: bus driver, operation, depth, side,
operations per second, microseconds of the device process's CPU for each. Both disks are files in memory, each side has
one processor, its clients the other.
"""
import json
import os
import socket
import subprocess
import sys
import time

DEVICE_CPU, CLIENT_CPU = '0', '1'
SHARE = os.environ['W']
TICKS = os.sysconf('SC_CLK_TCK')
MIB = 1 << 20


def wait(what, path):
    end = time.monotonic() + 20
    while not os.path.exists(path):
        if time.monotonic() > end:
            sys.exit(f'{what}: {path} does not appear')
        time.sleep(0.05)


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def image(name, span):
    path = f'/tmp/{name}.raw'
    with open(path, 'wb') as f:
        for _ in range(span // MIB):
            f.write(b'\x5a' * MIB)
    return path


class Ours:
    """uvdpad, with its disk bound to the kernel's bus."""

    def __init__(self, span):
        env = dict(os.environ, LD_LIBRARY_PATH=f'{SHARE}/lib')
        # pylint: disable=consider-using-with
        self.child = subprocess.Popen(['taskset', '-c', DEVICE_CPU, f'{SHARE}/uvdpad', '--socket', '/tmp/ctl'],
                                      env=env, stderr=subprocess.DEVNULL)
        self.pid = self.child.pid
        wait('uvdpad', '/tmp/ctl')
        time.sleep(0.5)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect('/tmp/ctl')
        self.file = self.sock.makefile('r')
        self.call('dev.add', name='ours', mgmtdev='soft_blk',
                  attrs={'backend': 'file', 'path': image('ours', span), 'cache': 'writeback'})

    def call(self, method, **params):
        self.sock.sendall(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': method, 'params': params}).encode() + b'\n')
        answer = json.loads(self.file.readline())
        if 'error' in answer:
            sys.exit(f'{method}: {answer["error"]}')
        return answer['result']

    def attach(self, driver):
        return self.call('dev.bind', name='ours', driver='vduse',
                         attrs={'kernel_driver': driver, 'log': '/tmp/ours.log'})['node']

    def detach(self):
        self.call('dev.unbind', name='ours')


class Peer:
    """qemu-storage-daemon's export vduse-blk, by one way of doing I/O."""

    def __init__(self, span, aio):
        self.name = f'peer-{aio}'
        blockdev = f'driver=file,filename={image(self.name, span)},node-name=d,cache.direct=off,aio={aio}'
        export = f'type=vduse-blk,id=e0,name={self.name},node-name=d,writable=on'
        env = dict(os.environ, LD_LIBRARY_PATH='')
        # pylint: disable=consider-using-with
        self.child = subprocess.Popen(['taskset', '-c', DEVICE_CPU, 'qemu-storage-daemon', '--blockdev', blockdev,
                                       '--export', export], env=env)
        self.pid = self.child.pid
        wait('qemu-storage-daemon', f'/dev/vduse/{self.name}')

    def attach(self, driver):
        subprocess.run(['vdpa', 'dev', 'add', 'name', self.name, 'mgmtdev', 'vduse'], check=True)
        folder = f'/sys/bus/vdpa/devices/{self.name}'
        bound = os.path.basename(os.path.realpath(f'{folder}/driver'))
        if bound != driver:
            sys.exit(f'{self.name} is with {bound}')
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for entry in os.listdir(folder):
                if entry.startswith('vhost-vdpa'):
                    return f'/dev/{entry}'
                if entry.startswith('virtio') and os.path.isdir(f'{folder}/{entry}/block'):
                    return f'/dev/{os.listdir(f"{folder}/{entry}/block")[0]}'
            time.sleep(0.05)
        sys.exit(f'{self.name}: no node')

    def detach(self):
        subprocess.run(['vdpa', 'dev', 'del', self.name], check=True)


def by_blkio(config, node, side, op, depth):
    argv = ['taskset', '-c', CLIENT_CPU, config['blkload'], node, 'mode=event', f'op={op}', f'depth={depth}',
            f'ms={config["ms"]}', f'span={config["span"]}', f'pid={side.pid}']
    got = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
    return got['iops'], got['device_cpu'] * 1e6 / got['ops']


def by_fio(config, node, side, op, depth):
    argv = ['taskset', '-c', CLIENT_CPU, 'fio', '--name=l', f'--filename={node}', '--ioengine=libaio', '--direct=1',
            f'--rw=rand{op}', '--bs=4k', f'--iodepth={depth}', '--time_based', f'--runtime={config["ms"]}ms',
            '--output-format=json']
    before = cpu_seconds(side.pid)
    text = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    cpu = cpu_seconds(side.pid) - before
    got = json.loads(text[text.index('{'):])['jobs'][0][op]
    return got['iops'], cpu * 1e6 / max(1, got['total_ios'])


def run_phase(config, driver, sides):
    measure = by_blkio if driver == 'vhost_vdpa' else by_fio
    modules = [driver] + (['virtio_blk'] if driver == 'virtio_vdpa' else [])
    subprocess.run(['modprobe', '-a', *modules], check=True)
    nodes = {name: side.attach(driver) for name, side in sides.items()}
    for pair in range(config['pairs']):
        order = list(sides) if pair % 2 == 0 else list(reversed(sides))
        for op in ('read', 'write'):
            for depth in (1, 32):
                for name in order:
                    iops, cpu_us = measure(config, nodes[name], sides[name], op, depth)
                    print(json.dumps({'driver': driver, 'op': op, 'depth': depth, 'side': name, 'pair': pair,
                                      'iops': iops, 'cpu_us': cpu_us}), flush=True)
    for side in sides.values():
        side.detach()
    subprocess.run(['modprobe', '-r', *modules], check=True)


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        config = json.load(f)
    subprocess.run(['modprobe', 'vduse'], check=True)
    sides = {'ours': Ours(config['span'])}
    for aio in ('threads', 'io_uring'):
        sides[f'peer {aio}'] = Peer(config['span'], aio)
    for driver in ('vhost_vdpa', 'virtio_vdpa'):
        run_phase(config, driver, sides)
    for side in sides.values():
        side.child.terminate()


main()
