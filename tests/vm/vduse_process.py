# SPDX-License-Identifier: BSD-3-Clause
"""Programs that serve a VDUSE device, under "uvdpa run", for the VM and the interop tests."""

import os

import vmlib


class DeviceProcess(vmlib.Process):
    """A program of the tree under "uvdpa run", which ends with the test."""

    def __init__(self, cache, work, daemon, name, *argv):
        super().__init__(
            [vmlib.UVDPA, "--socket", daemon.socket, "run", "--",
             *cache.argv(work, *argv)], os.path.join(work, f"{name}.log"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def storage_daemon(cache, work, daemon, image, queues=1, more="", name="v0"):
    """QEMU's, with its disk by VDUSE, on the bus as @name."""
    process = DeviceProcess(
        cache, work, daemon, f"qsd-{name}", "qemu-storage-daemon",
        "--blockdev", f"driver=file,node-name=d,filename={image},"
        "discard=unmap",
        "--export",
        f"type=vduse-blk,id=e,name={name},node-name=d,writable=on,"
        f"num-queues={queues},queue-size=256")

    def added():
        assert process.alive(), vmlib.tail(process.log)
        daemon.cli(f"dev add name {name} mgmtdev vduse {more}", check=False)
        return "connected" in daemon.cli(f"--all dev show {name}", check=False)

    try:
        vmlib.wait_until("the VDUSE device", added, 30)
    except BaseException:
        process.stop()
        raise
    return process
