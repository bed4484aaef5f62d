# SPDX-License-Identifier: BSD-3-Clause
"""A guest on a disk that another process serves by VDUSE: QEMU on both sides of our bus."""

import hashlib
import os

import pytest
import vmlib
from test_guest import DISK
from vduse_process import storage_daemon

MIB = 32

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our daemon")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def test_storage_daemon(cache, work):
    """Every byte, both ways; the process is killed in between, and another takes the disk over."""
    image, path = f"{work}/disk.img", f"{work}/v0.sock"
    with open(image, "wb") as f:
        f.write(os.urandom(MIB << 20))
    before = sha256(image)
    guest = vmlib.Guest(cache, work, DISK + """
        disk_up
        [ $(ls /sys/block/vda/mq | wc -l) = 2 ]
        sha256sum < /dev/vda > $W/before
        disk_fill
        tell filled
        await another
        disk_all_queues
        disk_check
        dd if=/dev/urandom of=/dev/vda bs=64k count=64 oflag=direct 2>/dev/null
        echo 3 > /proc/sys/vm/drop_caches
        sha256sum < /dev/vda > $W/after
    """, vmlib.disk(path))
    with vmlib.Uvdpad(work, "--vduse", f"{work}/vduse") as daemon:
        with storage_daemon(cache, work, daemon, image, queues=2) as process:
            daemon.cli(f"dev bind v0 driver vhost-user path {path}")
            with guest:
                guest.said("filled")
                process.kill()
                with storage_daemon(cache, work, daemon, image, queues=2):
                    guest.say("another")
                    guest.wait()
        daemon.finish()
    assert guest.read("before").split()[0] == before
    assert guest.read("after").split()[0] == sha256(image) != before
