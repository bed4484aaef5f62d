# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified device processes, written for the kernel's VDUSE, on a machine that has none."""

import os
import subprocess

import pytest
import vmlib
from vduse_process import DeviceProcess, storage_daemon

HERE = os.path.dirname(os.path.realpath(__file__))
MIB = 16

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our daemon")


@pytest.fixture
def served(work):
    """A daemon with an endpoint."""
    with vmlib.Uvdpad(work, "--vduse", f"{work}/vduse") as uvdpad:
        yield uvdpad
        uvdpad.finish()


@pytest.fixture
def client(cache, work):
    """libblkio on a vhost-user socket."""
    program = cache.compile(os.path.join(HERE, "blkio_verify.c"), work,
                            "$(pkg-config --cflags --libs blkio)")

    def run(*args):
        done = subprocess.run(
            cache.argv(work, program, *(str(x) for x in args)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        assert done.returncode == 0, done.stdout.decode()

    return run


@pytest.mark.parametrize("more", ["", "isolation bounce"])
@pytest.mark.parametrize("queues", [1, 4])
def test_storage_daemon(cache, work, served, client, queues, more):
    """Its disk, driven by libblkio through vhost-user; every byte is compared, here and in the image."""
    image = vmlib.make_image(os.path.join(work, "disk.img"), MIB)
    with storage_daemon(cache, work, served, image, queues, more):
        path = f"{work}/v0.sock"
        served.cli(f"dev bind v0 driver vhost-user path {path}")
        for depth in (1, 32):
            client(path, MIB if depth > 1 else 2, depth, "eventfd", queues)
            client(path, MIB if depth > 1 else 2, 32, "check")
        served.cli("dev del v0")


def test_storage_daemon_is_killed(cache, work, served, client):
    """kill -9 between clients: the next process takes the device over, by the log that libvduse keeps."""
    image = vmlib.make_image(os.path.join(work, "disk.img"), MIB)
    path = f"{work}/v0.sock"
    with storage_daemon(cache, work, served, image) as process:
        served.cli(f"dev bind v0 driver vhost-user path {path}")
        client(path, MIB, 32, "eventfd", 1)
        process.kill()
    with storage_daemon(cache, work, served, image):
        client(path, MIB, 32, "check")


@pytest.mark.parametrize("more", ["", "isolation bounce"])
def test_dpdk(cache, work, served, more):
    """testpmd's net_vhost sends every frame of a virtio-user back, through vhost-user."""
    program = cache.compile(os.path.join(HERE, "dpdk_loop.c"), work,
                            "$(pkg-config --cflags --libs libdpdk)")
    process = DeviceProcess(
        cache, work, served, "testpmd", "dpdk-testpmd", "--lcores", "(0,1)@0",
        "--no-huge", "-m", "256", "--in-memory", "--no-pci", "--vdev",
        "net_vhost0,iface=/dev/vduse/n0,queues=1", "--", "--auto-start",
        "--forward-mode=io", "--total-num-mbufs=8192",
        "--no-lsc-interrupt", "--stats-period=60")
    path = f"{work}/n0.sock"
    with process:
        def added():
            assert process.alive(), vmlib.tail(process.log)
            served.cli("dev add name n0 mgmtdev vduse " + more, check=False)
            return "connected" in served.cli("--all dev show n0", check=False)

        vmlib.wait_until("the VDUSE device", added, 30)
        served.cli(f"dev bind n0 driver vhost-user path {path}")
        done = subprocess.run(
            cache.argv(work, program, "--no-huge", "-m", "256", "--no-pci",
                       "--in-memory", "--lcores", "0@(0,1)",
                       "--file-prefix=client", "--log-level=lib.eal:error",
                       f"--vdev=net_virtio_user0,path={path},queue_size=256"
                       f",mac={vmlib.MAC}", "--", "20000"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        assert done.returncode == 0, done.stdout.decode() + \
            vmlib.tail(process.log) + vmlib.tail(served.log)
