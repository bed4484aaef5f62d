# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user driver on a NIC of ours."""

import json
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

    def run(path, count, options="", look=None, second=None):
        """@look is called now and then as long as the client runs. @second is
        the socket of a second port."""
        more = []
        if second:
            more = [f"--vdev=net_virtio_user1,path={second},queue_size=256"
                    f",mac={SECOND_MAC}{options}"]
        proc = subprocess.Popen(
            cache.argv(work, program, "--no-huge", "-m", "256", "--no-pci",
                       "--lcores", "0@(0,1)", "--file-prefix=client",
                       "--log-level=lib.eal:error",
                       f"--vdev=net_virtio_user0,path={path},queue_size=256"
                       f",mac={vmlib.MAC}{options}", *more, "--", str(count)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with proc:
            try:
                while look and proc.poll() is None:
                    look()
                out, _ = proc.communicate(timeout=120)
            except BaseException:
                proc.kill()
                raise
        assert proc.returncode == 0, out.decode()

    return run


# Not the one that the daemon gives to every NIC of these tests.
SECOND_MAC = "52:54:00:12:34:57"


def test_harness(cache, work, client):
    """The client itself, tried on a back end that is not ours."""
    path = os.path.join(work, "t.sock")
    with vmlib.Testpmd(cache, work, path):
        client(path, 20000)


# The ten paths of the driver, by the names of DPDK's own test suite; and which
# features are negotiated then, out of those three.
CHOICES = {"RING_PACKED", "IN_ORDER", "MRG_RXBUF"}
PATHS = {
    "split mergeable": ("mrg_rxbuf=1,in_order=0", "MRG_RXBUF"),
    "split non-mergeable": ("mrg_rxbuf=0,in_order=0", ""),
    "split vectorized": ("mrg_rxbuf=0,in_order=0,vectorized=1", ""),
    "split in-order mergeable":
        ("mrg_rxbuf=1,in_order=1", "IN_ORDER MRG_RXBUF"),
    "split in-order non-mergeable": ("mrg_rxbuf=0,in_order=1", "IN_ORDER"),
    "packed mergeable":
        ("packed_vq=1,mrg_rxbuf=1,in_order=0", "RING_PACKED MRG_RXBUF"),
    "packed non-mergeable":
        ("packed_vq=1,mrg_rxbuf=0,in_order=0", "RING_PACKED"),
    "packed in-order mergeable":
        ("packed_vq=1,mrg_rxbuf=1,in_order=1",
         "RING_PACKED IN_ORDER MRG_RXBUF"),
    "packed in-order non-mergeable":
        ("packed_vq=1,mrg_rxbuf=0,in_order=1", "RING_PACKED IN_ORDER"),
    "packed vectorized":
        ("packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1",
         "RING_PACKED IN_ORDER"),
}


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
@pytest.mark.parametrize("name", PATHS)
def test_loop(work, daemon, client, name):
    """Twice on the same socket; and the path is the one that was meant."""
    options, wanted = PATHS[name]
    path = os.path.join(work, "n0.sock")
    seen = []

    def look():
        shown = json.loads(daemon.cli("dev show n0 -j --all"))["dev"]["n0"]
        if "DRIVER_OK" in shown["status"]:
            seen.append({f.removeprefix("NET_")
                         for f in shown["driver_features"]})

    daemon.add_nic("n0", path)
    for _ in range(2):
        seen.clear()
        client(path, 20000, "," + options, look)
        assert seen
        for features in seen:
            assert features & CHOICES == set(wanted.split())


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
def test_roles_exchanged(work, daemon, client):
    """DPDK listens and we connect, and connect again to the next one."""
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path, extra="mode client")
    for _ in range(2):
        client(path, 20000, ",server=1")


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
@pytest.mark.parametrize("name", ["split mergeable",
                                  "packed in-order non-mergeable"])
def test_switch(work, daemon, client, name):
    """From one port of the switch to the other and back, whole and in order."""
    paths = [os.path.join(work, f"n{i}.sock") for i in range(2)]
    for i, mac in enumerate((vmlib.MAC, SECOND_MAC)):
        daemon.cli(f"dev add name n{i} mgmtdev soft_net mac {mac} backend "
                   f"switch switch br0 driver vhost-user path {paths[i]}")
    client(paths[0], 10000, "," + PATHS[name][0], second=paths[1])
    shown = json.loads(daemon.cli("dev show n1 -j --all"))["dev"]["n1"]["show"]
    assert int(shown["port_tx_packets"]) >= 10000
