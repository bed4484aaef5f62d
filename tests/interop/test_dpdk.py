# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user driver on a NIC of ours."""

import os
import subprocess

import pytest
import vmlib

SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                      "dpdk_loop.c")


@pytest.fixture
def client(cache, work):
    """Runs the client on a socket, with options of the virtio-user device."""
    program = cache.compile(SOURCE, work,
                            "$(pkg-config --cflags --libs libdpdk)")

    def run(path, count, options=""):
        done = subprocess.run(
            cache.argv(work, program, "--no-huge", "-m", "256", "--no-pci",
                       "--lcores", "0@(0,1)", "--file-prefix=client",
                       "--log-level=lib.eal:error",
                       f"--vdev=net_virtio_user0,path={path},queue_size=256"
                       f",mac={vmlib.MAC}{options}", "--", str(count)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        assert done.returncode == 0, done.stdout.decode()

    return run


def test_harness(cache, work, client):
    """The client itself, tried on a back end that is not ours."""
    path = os.path.join(work, "t.sock")
    with vmlib.Testpmd(cache, work, path):
        client(path, 20000)


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
@pytest.mark.parametrize("options", [
    "",
    ",mrg_rxbuf=0",
    ",in_order=0",
    ",mrg_rxbuf=0,in_order=0,vectorized=1",
    ",packed_vq=1",
    ",packed_vq=1,mrg_rxbuf=0",
    ",packed_vq=1,in_order=0",
    ",packed_vq=1,mrg_rxbuf=0,in_order=0",
    ",packed_vq=1,mrg_rxbuf=0,vectorized=1",
])
def test_loop(work, daemon, client, options):
    """Each path of the driver, twice on the same socket."""
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path)
    for _ in range(2):
        client(path, 20000, options)


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
def test_roles_exchanged(work, daemon, client):
    """DPDK listens and we connect, and connect again to the next one."""
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path, extra="mode client")
    for _ in range(2):
        client(path, 20000, ",server=1")
