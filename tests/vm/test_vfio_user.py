# SPDX-License-Identifier: BSD-3-Clause
"""Our devices as whole PCI devices: a stock guest's virtio-pci behind QEMU's vfio-user-pci."""

import json
import os
import shutil
import subprocess

import pytest
import vmlib
from test_guest import DISK, NIC, ROOT_PORTS, with_netloop

ROUNDS = int(os.environ.get("UVDPA_TEST_ROUNDS", 1))
PCI = r"""
disk_pci() { basename $(readlink -f /sys/block/vda/device/..); }
nic_pci() { basename $(readlink -f /sys/class/net/eth0/device/..); }
"""


def device(path, name, extra=""):
    """QEMU's arguments for a device behind a vfio-user socket."""
    properties = {"driver": "vfio-user-pci", "id": name,
                  "socket": {"type": "unix", "path": path}}
    properties.update(x.split("=") for x in extra.split(",") if x)
    return ["-device", json.dumps(properties)]


class Rig:
    """A disk and a NIC of ours, each on its socket."""

    def __init__(self, daemon, work):
        self.daemon, self.work = daemon, work
        self.image = vmlib.make_image(os.path.join(work, "disk.img"), 64)
        self.disk = os.path.join(work, "d0.sock")
        self.nic = os.path.join(work, "n0.sock")
        daemon.cli("dev add name d0 mgmtdev soft_blk backend file "
                   f"path {self.image} num_queues 2")
        daemon.cli(f"dev add name n0 mgmtdev soft_net mac {vmlib.MAC} "
                   "mtu 1500 backend loopback")
        self.bind()

    def bind(self, attrs=""):
        self.daemon.cli(f"dev bind d0 driver virtio-pci path {self.disk} {attrs}")
        self.daemon.cli(f"dev bind n0 driver virtio-pci path {self.nic} {attrs}")

    def unbind(self):
        for name in ("d0", "n0"):
            self.daemon.cli(f"dev unbind {name}")

    def devices(self):
        return device(self.disk, "d0") + device(self.nic, "n0")


@pytest.fixture
def rig(daemon, work):
    return Rig(daemon, work)


def test_boots_resets_and_reboots(cache, work, rig, netloop):
    """Shared memory, packed rings, MSI-X: four boots; in the first of them a function level reset of each.

    Nothing of a boot stays with the daemon.
    """
    descriptors = rig.daemon.descriptors()
    guest = vmlib.Guest(cache, work, DISK + NIC + PCI + f"""
        disk_up
        nic_up
        case $boot in
        1)
            disk_fill
            disk_all_queues
            nic_ping
            grep -q MSIX.*-req /proc/interrupts
            [ "$(cut -c 35 /sys/block/vda/device/features)" = 1 ]
            for pci in $(disk_pci) $(nic_pci); do
                driver=$(readlink -f /sys/bus/pci/devices/$pci/driver)
                echo $pci > $driver/unbind
                grep -q flr /sys/bus/pci/devices/$pci/reset_method
                echo 1 > /sys/bus/pci/devices/$pci/reset
                echo $pci > $driver/bind
            done
            disk_up
            nic_up
            ;;
        esac
        disk_check
        $W/netloop eth0 50
        [ $boot = {1 + 3 * ROUNDS} ] || exit 99
    """, rig.devices())
    with_netloop(guest, netloop).run(timeout=480 * ROUNDS)
    vmlib.wait_until("descriptors that were open before",
                     lambda: rig.daemon.descriptors() == descriptors, 20)


def test_by_message_split_and_intx(cache, work, rig, netloop):
    """QEMU has no file of the guest's memory; split rings; no MSI."""
    rig.unbind()
    rig.bind("packed off")
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        disk_fill
        disk_check
        nic_ping
        $W/netloop eth0 200
        ! grep MSI /proc/interrupts
        [ "$(cut -c 35 /sys/block/vda/device/features)" = 0 ]
        fio_verify --rw=randwrite --do_verify=1 --size=1M --offset=32M > $W/fio
    """, rig.devices(), shared=False, append="pci=nomsi")
    with_netloop(guest, netloop).run(timeout=480)


def test_unplug_and_unbind_under_io(cache, work, rig, netloop):
    """QEMU takes the busy disk out and puts it back; then the host takes both from under the guest.

    Without MSI-X: QEMU 11.1 dies when a device that has it goes.
    """
    rig.unbind()
    rig.bind("msix off")
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        fio_endless &
        disk=$!
        disk_is_busy
        tell busy
        wait_gone /dev/vda
        kill -9 $disk
        wait
        tell gone
        wait_path /dev/vda
        disk_fill
        disk_check
        fio_endless &
        $W/netloop eth0 1000000 >/dev/null 2>&1 &
        disk_is_busy
        tell again
        await unbound
    """, ROOT_PORTS + device(rig.disk, "d0", "bus=p0") +
        device(rig.nic, "n0"))
    with with_netloop(guest, netloop):
        guest.said("busy", timeout=120)
        guest.qmp("device_del", id="d0")
        guest.qmp.wait_event("DEVICE_DELETED", timeout=60)
        guest.said("gone", timeout=60)
        guest.qmp("device_add", driver="vfio-user-pci", id="d1", bus="p0",
                  socket={"type": "unix", "path": rig.disk})
        guest.said("again", timeout=180)
        rig.unbind()
        assert rig.daemon.alive()
        rig.bind()
        assert rig.daemon.driver_shows("d0")["connected"] == "no"


def test_seabios_boots_from_disk(cache, work, daemon):
    """SeaBIOS loads GRUB from our disk, GRUB a kernel, and that runs."""
    image = os.path.join(work, "grub.raw")
    shutil.copy(os.path.join(cache.directory, "grub.raw"), image)
    path = os.path.join(work, "g0.sock")
    daemon.cli(f"dev add name g0 mgmtdev soft_blk backend file path {image} "
               f"driver virtio-pci path {path}")
    guest = vmlib.Guest(cache, work, """
        modprobe virtio_blk
        wait_path /dev/vda1
        modprobe ext4
        mount -o ro /dev/vda1 $MNT
        cmp $MNT/boot/vmlinuz /boot/vmlinuz-$(uname -r)
    """, device(path, "g0"), boot_disk=True)
    with guest:
        guest.wait_serial("UVDPA-GRUB-STARTED", timeout=120)
        guest.wait_serial("UVDPA-GRUB-LOADED", timeout=120)
        guest.wait(180)


OVMF = "/usr/share/OVMF/OVMF_%s_4M.fd"


def test_ovmf_boots_from_disk(cache, work, daemon):
    """OVMF's shell finds its start-up script on our disk, reads a file, and writes one."""
    image = vmlib.make_image(os.path.join(work, "esp.raw"), 64)
    subprocess.run(["mkfs.vfat", "-F", "32", image], check=True, stdout=subprocess.DEVNULL)
    script = os.path.join(work, "startup.nsh")
    with open(script, "w", encoding="ascii", newline="\r\n") as f:
        f.write("@echo -off\nfs0:\ncp startup.nsh copy.nsh\necho UVDPA-OVMF-COPIED\nreset -s\n")
    subprocess.run(["mcopy", "-i", image, script, "::startup.nsh"], check=True)
    path = os.path.join(work, "e0.sock")
    daemon.cli(f"dev add name e0 mgmtdev soft_blk backend file path {image} "
               f"driver virtio-pci path {path}")
    firmware = []
    for unit, name in enumerate(("CODE", "VARS")):
        copy = os.path.join(work, name)
        shutil.copy(OVMF % name, copy)
        firmware += ["-drive", f"if=pflash,format=raw,unit={unit},file={copy}"]
    guest = vmlib.Guest(cache, work, "", firmware + device(path, "e0"), boot_disk=True)
    with guest:
        guest.wait_serial("UVDPA-OVMF-COPIED", timeout=240)
        vmlib.wait_until("end of QEMU", lambda: not guest.process.alive(), 60)
    copy = subprocess.run(["mtype", "-i", image, "::copy.nsh"], check=True, stdout=subprocess.PIPE)
    assert b"UVDPA-OVMF-COPIED" in copy.stdout


def test_ipxe_sends_and_receives(cache, work, rig):
    """iPXE asks for an address, and hears itself: both queues of the NIC are at work."""
    guest = vmlib.Guest(cache, work, "",
                        device(rig.nic, "n0", "romfile=pxe-virtio.rom"), boot_disk=True)
    with guest:
        vmlib.wait_until("frames both ways", lambda: min(frames(rig.daemon)) > 0, 240, 1)


def frames(daemon):
    """What the NIC's queues have answered; nothing before a driver has negotiated."""
    return daemon.completed("n0")[:2] if daemon.progress("n0", check=False) else [0]
