# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified clients of /dev/vhost-vdpa-N on a kernel that has none."""

import os
import subprocess

import pytest
import vmlib

HERE = os.path.dirname(os.path.realpath(__file__))
MIB = 16

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our daemon")


@pytest.fixture
def run(cache, work, daemon):
    """Runs a program of the tree under "uvdpa run"; it has to succeed."""

    def runner(*argv):
        done = subprocess.run(
            [vmlib.UVDPA, "--socket", daemon.socket, "run", "--",
             *cache.argv(work, *(str(x) for x in argv))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        assert done.returncode == 0, done.stdout.decode() + \
            vmlib.tail(daemon.log)
        return done.stdout.decode()

    return runner


@pytest.mark.parametrize("mode", ["eventfd", "poll"])
def test_blkio(cache, work, daemon, run, mode):
    """libblkio's virtio-blk-vhost-vdpa: every byte is compared."""
    image = vmlib.make_image(os.path.join(work, "disk.img"), MIB)
    program = cache.compile(os.path.join(HERE, "blkio_verify.c"), work,
                            "$(pkg-config --cflags --libs blkio)")
    daemon.cli(f"dev add name d0 mgmtdev soft_blk backend file path {image} "
               "num_queues 4")
    daemon.cli(f"dev bind d0 driver vhost-vdpa path {work}/d0.cdev")
    for depth, queues in ((1, 1), (32, 2), (128, 4)):
        run(program, "/dev/vhost-vdpa-0", MIB if depth > 1 else 2, depth,
            mode, queues)
        run(program, "/dev/vhost-vdpa-0", MIB if depth > 1 else 2, 32,
            "check")


@pytest.mark.parametrize("options", ["", ",packed_vq=1"])
def test_dpdk(cache, work, daemon, run, options):
    """DPDK's virtio-user takes the path for a vhost-vdpa device."""
    program = cache.compile(os.path.join(HERE, "dpdk_loop.c"), work,
                            "$(pkg-config --cflags --libs libdpdk)")
    daemon.cli(f"dev add name n0 mgmtdev soft_net mac {vmlib.MAC} "
               "mtu 1500 max_vqp 1 backend loopback")
    daemon.cli(f"dev bind n0 driver vhost-vdpa path {work}/n0.cdev")
    for _ in range(2):
        run(program, "--no-huge", "-m", "256", "--no-pci", "--in-memory",
            "--lcores", "0@(0,1)", "--file-prefix=client",
            "--log-level=lib.eal:error",
            "--vdev=net_virtio_user0,path=/dev/vhost-vdpa-0,queue_size=256"
            f",mac={vmlib.MAC}{options}", "--", 20000)
