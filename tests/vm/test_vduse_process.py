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


def random_image(path, mib):
    with open(path, "wb") as f:
        f.write(os.urandom(mib << 20))
    return path


def test_storage_daemon(cache, work):
    """Every byte, both ways; the processes are killed in between, and others take the disks over.

    The first process shares the guest's memory, the second one sees bounce pages.
    """
    image = random_image(f"{work}/disk.img", MIB)
    other = random_image(f"{work}/other.img", 8)
    before, other_before = sha256(image), sha256(other)
    guest = vmlib.Guest(cache, work, DISK + """
        disk_up
        wait_path /dev/vdb
        [ $(ls /sys/block/vda/mq | wc -l) = 2 ]
        sha256sum < /dev/vda > $W/before
        sha256sum < /dev/vdb > $W/other-before
        disk_fill
        tell filled
        await another
        disk_all_queues
        disk_check
        for dev in vda vdb; do
            dd if=/dev/urandom of=/dev/$dev bs=64k count=64 oflag=direct 2>/dev/null
        done
        echo 3 > /proc/sys/vm/drop_caches
        sha256sum < /dev/vda > $W/after
        sha256sum < /dev/vdb > $W/other-after
    """, vmlib.disk(f"{work}/v0.sock") + vmlib.disk(f"{work}/v1.sock", "d1"))
    with vmlib.Uvdpad(work, "--vduse", f"{work}/vduse") as daemon:
        def disks():
            return (storage_daemon(cache, work, daemon, image, queues=2),
                    storage_daemon(cache, work, daemon, other, 2, name="v1",
                                   more="isolation bounce"))

        shared, isolated = disks()
        with shared, isolated:
            for name in ("v0", "v1"):
                daemon.cli(f"dev bind {name} driver vhost-user "
                           f"path {work}/{name}.sock")
            with guest:
                guest.said("filled")
                shared.kill()
                isolated.kill()
                shared_next, isolated_next = disks()
                with shared_next, isolated_next:
                    guest.say("another")
                    guest.wait()
                    shown = daemon.cli("--all dev show v1")
                    assert "isolation bounce" in shown
        daemon.finish()
    assert guest.read("before").split()[0] == before
    assert guest.read("after").split()[0] == sha256(image) != before
    assert guest.read("other-before").split()[0] == other_before
    assert guest.read("other-after").split()[0] == sha256(other) != other_before
