# SPDX-License-Identifier: BSD-3-Clause
"""The character device of vhost-vdpa: the kernel's beside ours."""

import json
import os

import pytest
import vmlib
from kernel_vdpa import SUITE, VDPA, take_program, take_simulators
from test_guest import DISK, NIC, with_netloop

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our programs")


@pytest.mark.parametrize("kernel", ["newest", "older"])
def test_suite_on_vduse_disk(cache, work, kernel):
    """The suite that our device passes, on the kernel's: QEMU's disk."""
    guest = vmlib.Guest(cache, work, VDPA + """
        modprobe vhost_vdpa
        vduse_disk d0 num-queues=2,queue-size=256
        wait_path /dev/vhost-vdpa-0
        timeout 60 $W/vhost-vdpa-suite /dev/vhost-vdpa-0
    """, kernel=cache.kernel(kernel))
    take_program(guest, SUITE)
    guest.run(timeout=120)
    assert " 0 failed" in guest.read("out-1")


def test_suite_on_simulator(cache, work):
    """And on the kernel's simulated disk, which can be suspended."""
    guest = vmlib.Guest(cache, work, VDPA + """
        modprobe vhost_vdpa
        simulators
        vdpa dev add name b0 mgmtdev vdpasim_blk
        wait_path /dev/vhost-vdpa-0
        timeout 60 $W/vhost-vdpa-suite /dev/vhost-vdpa-0
    """)
    take_program(guest, SUITE)
    take_simulators(guest)
    guest.run(timeout=120)
    assert " 0 failed" in guest.read("out-1")
    assert "RESUME are not offered" not in guest.read("out-1")


def test_suite_on_chardev(cache, work):
    """And on our device as a real character device, by the guest's CUSE."""
    guest = vmlib.Guest(cache, work, VDPA + """
        $W/uvdpad --socket /run/uvdpad.sock 2> $W/uvdpad.log &
        wait_path /run/uvdpad.sock
        u="$W/uvdpa --socket /run/uvdpad.sock"
        $u dev add name d0 mgmtdev soft_blk backend ram size 1M
        $u dev add name d1 mgmtdev soft_blk backend ram size 1M
        # The module is not loaded, then it is; nothing is left behind.
        if $u dev bind d0 driver vhost-vdpa path /run/d0 chardev on; then
            modprobe -r cuse && exit 1
        else
            modprobe cuse
            $u dev bind d0 driver vhost-vdpa path /run/d0 chardev on
        fi
        $u dev bind d1 driver vhost-vdpa path /run/d1 chardev on
        [ -c /dev/vhost-vdpa-0 ] && [ -c /dev/vhost-vdpa-1 ]
        for n in 0 1; do
            timeout 60 $W/vhost-vdpa-suite /dev/vhost-vdpa-$n
        done
        # Open, and unbound; and bound again, under the same name.
        exec 5<> /dev/vhost-vdpa-1
        $u dev unbind d1
        [ ! -e /dev/vhost-vdpa-1 ]
        exec 5>&-
        for i in 1 2 3; do
            $u dev bind d1 driver vhost-vdpa path /run/d1 chardev on
            [ -c /dev/vhost-vdpa-1 ]
            $u dev unbind d1
            [ ! -e /dev/vhost-vdpa-1 ]
        done
        $u dev show d0 --all
    """)
    for program in (SUITE, vmlib.UVDPAD, vmlib.UVDPA):
        take_program(guest, program)
    guest.run(timeout=120)
    assert guest.read("out-1").count(" 0 failed") == 2


@pytest.fixture
def under_run(daemon):
    """The words before a program that is to see the daemon's devices."""
    return [vmlib.UVDPA, "--socket", daemon.socket, "run", "--"]


def test_qemu_nic(cache, work, daemon, under_run, netloop):
    """QEMU's -netdev vhost-vdpa on a NIC of ours, without the kernel's vDPA."""
    daemon.cli(f"dev add name n0 mgmtdev soft_net mac {vmlib.MAC} mtu 1500 "
               "backend loopback")
    daemon.cli(f"dev bind n0 driver vhost-vdpa path {work}/n0.cdev")
    guest = vmlib.Guest(cache, work, NIC + """
        nic_up
        $W/netloop eth0 3000
        nic_ping
        [ $boot = 2 ] || exit 99
    """, ["-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0",
          "-device", "virtio-net-pci,netdev=n"], prefix=under_run)
    with_netloop(guest, netloop).run(timeout=180)


def test_qemu_disk(cache, work, daemon, under_run):
    """QEMU's vhost-vdpa-device-pci, which knows nothing of disks, on a disk of ours."""
    image = vmlib.make_image(os.path.join(work, "disk.img"), 64)
    daemon.cli(f"dev add name d0 mgmtdev soft_blk backend file path {image} "
               "num_queues 2")
    daemon.cli(f"dev bind d0 driver vhost-vdpa path {work}/d0.cdev")
    guest = vmlib.Guest(cache, work, DISK + """
        disk_up
        if [ $boot = 1 ]; then
            disk_fill
            exit 99
        fi
        disk_check
        disk_all_queues
        tell checked
        await seen
    """, ["-device", "vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0"],
        prefix=under_run)
    with guest:
        guest.said("checked", 120)
        assert min(daemon.completed("d0")) >= 50
        guest.say("seen")
        guest.wait()


GUEST_BYTES = 512 << 20

# What QEMU can shadow: no packed rings, no indirect descriptors, no order.
SHADOWABLE = 0x328dfbbab

# Each step waits until the host has seen it. 8021q needs nothing of the device.
CONFIGURE = """
    nic_up
    modprobe 8021q
    rx_modes() { ip link set eth0 promisc $1 allmulticast $2; }
    step() { tell $1; await $1; }
    for cpu in 0 1; do
        taskset -c $cpu $W/netloop eth0 2000
    done
    step start
    ip link set eth0 address 52:54:00:ab:cd:ef
    $W/netloop eth0 500
    step mac
    rx_modes on on
    step promisc
    rx_modes off off
    step normal
    ip link add link eth0 name v5 type vlan id 5
    ip link add link eth0 name v77 type vlan id 77
    step vlans
    ip link del v5
    step vlan
    $W/netloop eth0 2000 1
    step one
    $W/netloop eth0 2000 2
    for cpu in 0 1; do
        taskset -c $cpu $W/netloop eth0 1000
    done
    step two
"""


def configured(daemon):
    """What the control queue made of the device."""
    dev = json.loads(daemon.cli("dev show n0 -j --all"))["dev"]["n0"]
    return dev["show"]


def space(daemon, asid):
    """The sizes of the memory files behind an address space's ranges."""
    dump = json.loads(daemon.cli(f"iotlb dump -j n0 asid {asid}"))
    return {int(x["region"]["size"], 16) for x in dump}


@pytest.mark.parametrize("svq", ["off", "on"])
def test_qemu_control_queue(cache, work, daemon, under_run, netloop, svq):
    """Two pairs and a control queue that QEMU keeps to itself, in an address
    space of its own; with x-svq=on it keeps all queues to itself."""
    daemon.cli(f"dev add name n0 mgmtdev soft_net mac {vmlib.MAC} mtu 1500 "
               f"max_vqp 2 groups cvq device_features {SHADOWABLE:#x} "
               "backend loopback")
    daemon.cli(f"dev bind n0 driver vhost-vdpa path {work}/n0.cdev")
    guest = vmlib.Guest(cache, work, NIC + CONFIGURE, [
        "-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0,queues=2,"
        f"x-svq={svq}",
        "-device", "virtio-net-pci,netdev=n,mq=on,ctrl_vq=on,vectors=6"],
        prefix=under_run)

    def step(name, **wanted):
        guest.said(name)
        shown = configured(daemon)
        assert {k: shown[k] for k in wanted} == wanted, name
        guest.say(name)

    with with_netloop(guest, netloop):
        guest.said("start")
        if svq == "off":
            # The guest's memory and nothing else; QEMU's four pages likewise.
            assert space(daemon, 0) == {GUEST_BYTES}
            assert space(daemon, 1) == {4096}
        else:
            assert max(space(daemon, 0)) == GUEST_BYTES
            assert space(daemon, 1) == set()
        step("start", address=vmlib.MAC, pairs="2", vlans="0")
        step("mac", address="52:54:00:ab:cd:ef")
        step("promisc", rx_modes="promisc allmulti")
        step("normal", rx_modes="none")
        step("vlans", vlans="0,5,77")
        step("vlan", vlans="0,77")
        step("one", pairs="1")
        step("two", pairs="2")
        *pairs, control = daemon.completed("n0")
        assert min(pairs) >= 1000 and control >= 10
        guest.wait()
