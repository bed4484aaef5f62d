# SPDX-License-Identifier: BSD-3-Clause
"""The harness itself, tried on a back end that is not ours."""

import os

import pytest
import vmlib


def test_guest_on_foreign_disk(cache, work):
    """A guest writes to QEMU's own vhost-user disk; the host finds it there."""
    image = vmlib.make_image(os.path.join(work, "disk.img"), 64)
    path = os.path.join(work, "d.sock")
    with vmlib.StorageDaemon(cache, work, image, path):
        vmlib.Guest(cache, work, """
            modprobe virtio_blk
            wait_path /dev/vda
            echo hello | dd of=/dev/vda bs=4096 seek=3 conv=sync,fsync
        """, vmlib.disk(path)).run()
    with open(image, "rb") as f:
        f.seek(3 * 4096)
        assert f.read(6) == b"hello\n"


@pytest.mark.parametrize("script, said", [
    ("false", "result 1"),
    ("echo 'WARNING: made up' > /dev/kmsg", "result 0"),
])
def test_failures_are_seen(cache, work, script, said):
    """A failing script, and a complaint of the guest's kernel, both fail."""
    guest = vmlib.Guest(cache, work, script)
    with pytest.raises(vmlib.TestbedError):
        guest.run()
    with open(guest.serial, encoding="utf-8", errors="replace") as f:
        assert said in f.read()


def test_hang_is_cut_short(cache, work):
    guest = vmlib.Guest(cache, work, "tell here; sleep 1000")
    with guest:
        guest.said("here")
        with pytest.raises(vmlib.TestbedError, match="no end of the guest"):
            guest.wait(1)
        assert not guest.process.alive()
