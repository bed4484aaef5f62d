# SPDX-License-Identifier: BSD-3-Clause
"""many.py SOCKET ROUNDS: in a guest, five devices at a time go to the kernel's
vDPA bus and come back. Prints how many devices there were."""

import json
import os
import socket
import stat
import sys

DEVICES = [f"d{i}" for i in range(5)]


class Daemon:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.file = self.sock.makefile("r", encoding="utf-8")
        self.pid = self.call("daemon.info")["pid"]

    def call(self, method, **params):
        line = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self.sock.sendall(json.dumps(line).encode() + b"\n")
        answer = json.loads(self.file.readline())
        if "error" in answer:
            sys.exit(f"{method} {params}: {answer['error']}")
        return answer["result"]

    def add(self, name):
        self.call("dev.add", name=name, mgmtdev="soft_blk",
                  attrs={"backend": "ram", "size": "1M"})

    def export(self, name):
        node = self.call("dev.bind", name=name, driver="vduse",
                         attrs={"log": f"/tmp/{name}.log"})["node"]
        assert stat.S_ISBLK(os.stat(node).st_mode), node
        with open(node, "rb") as disk:
            assert disk.read(4096) == bytes(4096)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return int(next(x for x in f if x.startswith("VmRSS")).split()[1])


def kernel_kib():
    with open("/proc/meminfo", encoding="ascii") as f:
        return int(next(x for x in f if x.startswith("SUnreclaim")).split()[1])


def once(daemon):
    for name in DEVICES:
        daemon.export(name)
    assert len([x for x in os.listdir("/sys/class/vduse")
                if x in DEVICES]) == len(DEVICES)
    # Some by the driver, the others with the device.
    for name in DEVICES[::2]:
        daemon.call("dev.unbind", name=name)
    for name in DEVICES[1::2]:
        daemon.call("dev.del", name=name)
        daemon.add(name)
    assert os.listdir("/dev/vduse") == ["control"]
    assert not [x for x in os.listdir("/dev") if x.startswith("vd") and
                x != "vduse"]


def main():
    daemon = Daemon(sys.argv[1])
    for name in DEVICES:
        daemon.add(name)
    once(daemon)
    fds, resident, kernel = \
        daemon.descriptors(), daemon.resident_kib(), kernel_kib()
    rounds = int(sys.argv[2])
    for _ in range(rounds):
        once(daemon)
    assert daemon.descriptors() == fds
    assert daemon.resident_kib() <= resident + 2048
    assert kernel_kib() <= kernel + 16384
    print(f"{rounds * len(DEVICES)} devices")


main()
