# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest's NIC on the backends that lead out: the host's kernel and QEMU are the peers."""

import os
import shutil
import subprocess
import sys

import pytest
import vmlib

STAND_IN = bool(os.environ.get("UVDPA_STANDIN"))
pytestmark = pytest.mark.skipif(STAND_IN, reason="stand-ins have no backends")

HERE = os.path.dirname(os.path.realpath(__file__))
MIB = "8"

NICS = r"""
# The interface that has this address.
nic_with() {
	for i in $(seq 100); do
		for p in /sys/class/net/*/address; do
			[ "$(cat $p)" = $1 ] || continue
			basename $(dirname $p)
			return 0
		done
		sleep 0.1
	done
	return 1
}
nics_up() {
	echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
	modprobe virtio_net
	eth=$(nic_with 52:54:00:12:34:56)
	ip addr add 10.9.0.2/24 dev $eth
	ip link set $eth up
}
"""


class NsUvdpad(vmlib.Uvdpad):
    """Our daemon in a network namespace of its own."""

    def spawn(self, argv, **kwargs):
        super().spawn(["unshare", "-n", *argv], **kwargs)

    def in_ns(self, *argv):
        return ["nsenter", "-t", str(self.child.pid), "-n", *argv]

    def ip(self, args):
        subprocess.run(self.in_ns("ip", *args.split()), check=True, timeout=60)

    def address(self, ifname):
        """The host is the same neighbour on each interface."""
        self.ip(f"link set {ifname} address 52:54:00:12:34:01")
        self.ip(f"addr add 10.9.0.1/24 dev {ifname}")

    def add(self, path, backend):
        self.cli(f"dev add name n0 mgmtdev soft_net mac {vmlib.MAC} {backend}")
        self.cli(f"dev bind n0 driver vhost-user path {path}")

    def serve(self, port):
        """The host's end of transfer.py, when it listens."""
        # pylint: disable=consider-using-with
        child = subprocess.Popen(
            self.in_ns(sys.executable, os.path.join(HERE, "transfer.py"),
                       "serve", "10.9.0.1", port, MIB),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert child.stdout.readline() == b"ready\n"
        return child


@pytest.fixture
def ns_daemon(work):
    with NsUvdpad(work) as uvdpad:
        yield uvdpad
        uvdpad.finish()


def ended_well(child):
    out = child.communicate(timeout=60)[0].decode()
    assert child.returncode == 0 and "all there" in out, out


def bytes_per_packet(daemon, queue, way):
    text = daemon.cli(f"dev vstats show n0 qidx {queue} -j")
    found = {}

    def walk(node):
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value)
            else:
                found[key] = value

    walk(vmlib.json.loads(text))
    return found[f"{way} bytes"] / found[f"{way} packets"]


def with_transfer(guest):
    shutil.copy(os.path.join(HERE, "transfer.py"), guest.share)
    return guest


def test_tap(cache, work, ns_daemon):
    """Ping and TCP, with TSO both ways, to the host; then on another interface, while it runs."""
    path = os.path.join(work, "n0.sock")
    ns_daemon.add(path, "backend tap ifname t0")
    ns_daemon.address("t0")
    guest = vmlib.Guest(cache, work, NICS + f"""
        nics_up
        busybox ping -c 3 -i 0.2 -W 5 10.9.0.1
        python3 $W/transfer.py talk 10.9.0.1 5001 {MIB}
        tell first
        await second
        busybox ping -c 3 -i 0.2 -W 5 10.9.0.1
        python3 $W/transfer.py talk 10.9.0.1 5002 {MIB}
    """, vmlib.nic(path))
    first = ns_daemon.serve("5001")
    with with_transfer(guest):
        guest.said("first")
        ended_well(first)
        # Larger than the MTU: they went through in one piece.
        assert bytes_per_packet(ns_daemon, 0, "rx") > 2000
        assert bytes_per_packet(ns_daemon, 1, "tx") > 2000
        ns_daemon.cli("dev set name n0 backend tap ifname t1")
        vmlib.wait_until(
            "end of t0",
            lambda: subprocess.run(
                ns_daemon.in_ns("ip", "link", "show", "t0"), check=False,
                capture_output=True, timeout=60).returncode, 10)
        ns_daemon.address("t1")
        second = ns_daemon.serve("5002")
        guest.say("second")
        guest.wait(120)
        ended_well(second)


def test_qemu_stream(cache, work, ns_daemon):
    """The other end is QEMU's "-netdev stream", for a second NIC of the same guest."""
    path, wire = (os.path.join(work, x) for x in ("n0.sock", "wire.sock"))
    ns_daemon.add(path, f"backend socket path {wire} listen on")
    guest = vmlib.Guest(cache, work, NICS + f"""
        nics_up
        peer=$(nic_with 52:54:00:12:34:99)
        ip netns add peer
        ip link set $peer netns peer
        ip -n peer link set lo up
        ip -n peer addr add 10.9.0.1/24 dev $peer
        ip -n peer link set $peer up
        busybox ping -c 3 -i 0.2 -W 5 10.9.0.1
        ip netns exec peer python3 $W/transfer.py serve 10.9.0.1 5001 2 \
            > $W/serve 2>&1 &
        for i in $(seq 100); do
            grep -q ready $W/serve && break
            sleep 0.1
        done
        python3 $W/transfer.py talk 10.9.0.1 5001 2
        wait $!
        grep "all there" $W/serve
    """, vmlib.nic(path) + [
        "-netdev", f"stream,id=s0,server=off,addr.type=unix,addr.path={wire},"
        "reconnect-ms=100",
        "-device", "virtio-net-pci,netdev=s0,mac=52:54:00:12:34:99"])
    with with_transfer(guest):
        guest.wait(120)
