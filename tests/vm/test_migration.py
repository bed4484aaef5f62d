# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves to another QEMU while our disk writes into its memory: the dirty log tells of every page."""

import array
import lzma
import os
import re
import shutil
import subprocess
import time

import pytest
import vmlib

BLOCK, BLOCKS = 4096, 16384


@pytest.fixture(scope="module")
def dirtied(tmp_path_factory):
    """The guest's only program."""
    path = str(tmp_path_factory.mktemp("dirtied") / "init")
    source = os.path.join(vmlib.HERE, "dirtied.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
                    "-o", path, source], check=True, timeout=60)
    return path


def initramfs(cache, work, program):
    """That program and a module: a guest with a share of the host's could not move."""
    root = os.path.join(work, "root")
    os.mkdir(root)
    shutil.copy(program, os.path.join(root, "init"))
    module = os.path.join(cache.tree, "lib/modules", cache.kernel("newest"),
                          "kernel/drivers/block/virtio_blk.ko")
    if os.path.exists(module):
        shutil.copy(module, root)
    else:
        with lzma.open(module + ".xz") as packed, \
                open(os.path.join(root, "virtio_blk.ko"), "wb") as out:
            shutil.copyfileobj(packed, out)
    path = os.path.join(work, "initramfs")
    with open(path, "wb") as out:
        subprocess.run([os.path.join(cache.tree, "bin/busybox"), "cpio", "-o", "-H", "newc"],
                       input=b"init\nvirtio_blk.ko\n", stdout=out, stderr=subprocess.DEVNULL,
                       cwd=root, check=True, timeout=30)
    return path


def numbered_disk(path):
    """Block n is full of the number n."""
    with open(path, "wb") as f:
        for n in range(BLOCKS):
            f.write(array.array("I", [n]).tobytes() * (BLOCK // 4))
    return path


class Side:
    """One of the two QEMUs."""

    def __init__(self, cache, work, name, ramfs, socket, *more):
        self.serial = os.path.join(work, f"serial-{name}")
        self.qmp_path = os.path.join(work, f"qmp-{name}")
        kernel = cache.kernel("newest")
        self.process = vmlib.Process(cache.argv(
            work, "qemu-system-x86_64", "-nodefaults", "-display", "none",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "192",
            "-object", "memory-backend-memfd,id=mem,size=192M,share=on",
            "-machine", "q35,memory-backend=mem", "-serial", f"file:{self.serial}",
            "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-kernel", f"/boot/vmlinuz-{kernel}", "-initrd", ramfs,
            "-append", f"{vmlib.KERNEL_OPTIONS} rdinit=/init",
            *vmlib.disk(socket), *more), os.path.join(work, f"qemu-{name}.log"))
        self.qmp = None

    def connect(self):
        self.qmp = vmlib.Qmp(self.qmp_path)

    def said(self):
        try:
            with open(self.serial, encoding="ascii", errors="replace") as f:
                text = f.read()
        except FileNotFoundError:
            return ""
        assert "BAD" not in text and "panic" not in text, text[-2000:]
        assert self.process.alive(), vmlib.tail(self.process.log)
        return text

    def round(self):
        rounds = re.findall(r"^round (\d+)\r?$", self.said(), re.M)
        return int(rounds[-1]) if rounds else 0

    def until_round(self, n):
        vmlib.wait_until(f"round {n}", lambda: self.round() >= n, 60)


def migrate(source, target, uri, daemon):
    """Passes over the memory, slowly at first, while the disk is busy; then fast, to the end."""
    source.qmp("migrate-set-parameters", **{"max-bandwidth": 32 << 20, "downtime-limit": 1})
    source.qmp("migrate", uri=uri)
    assert vmlib.wait_until(
        "dirty log", lambda: daemon.driver_shows("d0")["dirty_log"] == "on", 20)
    before = source.round()
    vmlib.wait_until("a second pass", lambda: source.qmp("query-migrate").get(
        "ram", {}).get("dirty-sync-count", 0) >= 3, 60)
    assert source.round() > before, "the disk was not busy meanwhile"
    source.qmp("migrate-set-parameters", **{"max-bandwidth": 2 << 30, "downtime-limit": 2000})

    def ended():
        status = source.qmp("query-migrate")["status"]
        assert status not in ("failed", "cancelled"), source.qmp("query-migrate")
        return status == "completed"
    vmlib.wait_until("end of the migration", ended, 60)
    target.qmp("query-status")


@pytest.mark.skipif(bool(os.environ.get("UVDPA_STANDIN")), reason="asks our command")
def test_disk_writes_while_the_guest_moves(cache, work, daemon, dirtied):
    ramfs = initramfs(cache, work, dirtied)
    image = numbered_disk(os.path.join(work, "disk.img"))
    other = shutil.copy(image, os.path.join(work, "other.img"))
    paths = [os.path.join(work, x) for x in ("d0.sock", "d1.sock")]
    daemon.add_disk("d0", image, paths[0], queues=1)
    daemon.add_disk("d1", other, paths[1], queues=1)
    uri = f"unix:{work}/migration.sock"
    source = Side(cache, work, "source", ramfs, paths[0])
    with source.process:
        target = Side(cache, work, "target", ramfs, paths[1], "-incoming", uri)
        with target.process:
            source.connect()
            target.connect()
            source.until_round(2)
            migrate(source, target, uri, daemon)
            # Every page is looked at once a round, most are written anew only after many rounds.
            target.until_round(source.round() + 3)
            shown = daemon.driver_shows("d1")
            assert "ring0" in shown and "running" in shown["ring0"]
            time.sleep(0.2)
            source.qmp("quit")
            target.qmp("quit")
