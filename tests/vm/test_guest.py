# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests on a disk and a NIC of ours, over vhost-user."""

import os
import shutil
import time

import pytest
import vmlib

STAND_IN = bool(os.environ.get("UVDPA_STANDIN"))

# Shell functions for the guest's scripts.
DISK = r"""
disk_up() {
	modprobe virtio_blk
	modprobe ext4
	wait_path /dev/vda
}
# Requests to each queue of a disk that has one per CPU.
disk_all_queues() {
	[ $(ls /sys/block/vda/mq | wc -l) = 2 ]
	for cpu in 0 1; do
		taskset -c $cpu dd if=/dev/vda of=/dev/null bs=4k count=50 \
			iflag=direct 2>/dev/null
	done
}
disk_fill() {
	mkfs.ext4 -q -F /dev/vda
	mount -t ext4 /dev/vda $MNT
	dd if=/dev/urandom of=$MNT/data bs=64k count=128 2>/dev/null
	(cd $MNT && sha256sum data > sum)
	umount $MNT
}
disk_check() {
	mount -t ext4 /dev/vda $MNT
	(cd $MNT && sha256sum -c sum)
	umount $MNT
	e2fsck -f -n /dev/vda
}
fio_verify() {
	fio --name=v --filename=/dev/vda --ioengine=libaio --direct=1 --bs=4k \
		--iodepth=16 --verify=crc32c --verify_fatal=1 --size=32M "$@"
}
fio_endless() {
	exec fio --thread --name=v --filename=/dev/vda --ioengine=libaio \
		--direct=1 --rw=randwrite --bs=4k --iodepth=16 --size=32M \
		--runtime=100 --time_based > $W/fio 2>&1
}
# Waits until writes complete, and fails if they do not for 20 seconds.
disk_is_busy() {
	set -- $(cat /sys/block/vda/stat)
	before=$5
	for i in $(seq 40); do
		sleep 0.5
		set -- $(cat /sys/block/vda/stat)
		[ "$5" -lt $((before + 100)) ] || return 0
	done
	echo "no writes"
	return 1
}
"""

NIC = r"""
nic_up() {
	echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
	modprobe virtio_net
	wait_path /sys/class/net/eth0
	[ "$(cat /sys/class/net/eth0/address)" = 52:54:00:12:34:56 ]
	ip link set eth0 up
}
wait_carrier() {
	for i in $(seq 100); do
		[ "$(cat /sys/class/net/eth0/carrier)" != 1 ] || return 0
		sleep 0.1
	done
	echo "no carrier"
	return 1
}
packets() {
	cat /sys/class/net/eth0/statistics/$1_packets
}
# A guest that has both ends of a link answers itself inside. Here the "local"
# routes hold only for what comes in by eth0, so that a ping to the second
# address leaves by the NIC, comes back, and so does its answer.
nic_ping() {
	ip addr add 10.9.0.1/24 dev eth0
	ip addr add 10.9.0.2/24 dev eth0
	for d in all eth0; do
		echo 1 > /proc/sys/net/ipv4/conf/$d/accept_local
		echo 0 > /proc/sys/net/ipv4/conf/$d/rp_filter
	done
	ip rule add pref 10 iif eth0 lookup local
	ip rule add pref 20 to 10.9.0.0/24 lookup 100
	ip rule add pref 30 lookup local
	ip rule del pref 0
	ip route add 10.9.0.0/24 dev eth0 table 100
	for a in 1 2; do
		ip neigh replace 10.9.0.$a lladdr 52:54:00:12:34:56 \
			dev eth0 nud permanent
	done
	tx=$(packets tx) rx=$(packets rx)
	busybox ping -c 5 -i 0.2 -W 5 -s 1000 -I 10.9.0.1 10.9.0.2
	[ $(($(packets tx) - tx)) -ge 10 ]
	[ $(($(packets rx) - rx)) -ge 10 ]
}
"""


@pytest.fixture
def image(work):
    return vmlib.make_image(os.path.join(work, "disk.img"), 64)


@pytest.fixture
def disk_path(daemon, work, image):
    path = os.path.join(work, "d0.sock")
    daemon.add_disk("d0", image, path)
    return path


@pytest.fixture
def nic_path(daemon, work):
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path)
    return path


def wait_for_progress(daemon, name):
    """Requests end: the device's counters move."""
    def counters():
        return daemon.progress(name, check=False)
    before = vmlib.wait_until(f"front end of {name}", counters, 30)
    vmlib.wait_until(f"progress of {name}", lambda: counters() != before, 30)


def with_netloop(guest, netloop):
    shutil.copy(netloop, guest.share)
    return guest


def data_is_kept(cache, work, netloop, devices, **options):
    """Two boots: fill the disk and loop frames, then find all of it again."""
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        if [ $boot = 1 ]; then
            disk_fill
            nic_ping
            $W/netloop eth0 1000
            exit 99
        fi
        disk_check
        $W/netloop eth0 3000
    """, devices, **options)
    with_netloop(guest, netloop).run(timeout=240)


def test_disk_and_nic(cache, work, disk_path, nic_path, netloop):
    """Three boots in a row, and then another QEMU on the same sockets."""
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        case $boot in
        1) disk_fill; nic_ping ;;
        *) disk_check ;;
        esac
        $W/netloop eth0 2000
        [ $boot = 3 ] || exit 99
    """, vmlib.disk(disk_path) + vmlib.nic(nic_path, extra=",host_mtu=1500"))
    with_netloop(guest, netloop).run(timeout=300)
    again = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        disk_check
        $W/netloop eth0 2000
    """, vmlib.disk(disk_path) + vmlib.nic(nic_path), name="again")
    with_netloop(again, netloop).run()


@pytest.mark.parametrize("ring", [
    pytest.param("packed=on", id="packed"),
    pytest.param("packed=on,in_order=on", id="packed-in-order"),
    pytest.param("in_order=on", id="split-in-order"),
])
def test_ring_formats(cache, work, disk_path, nic_path, netloop, ring):
    """Two boots over each format, which both drivers really use.

    The disk does not offer IN_ORDER unless it is asked to.
    """
    packed, in_order = int("packed" in ring), int("in_order" in ring)
    guest = vmlib.Guest(cache, work, DISK + NIC + f"""
        disk_up
        nic_up
        # Bits 34 and 35, counted from the left.
        [ "$(cut -c 35 /sys/block/vda/device/features)" = {packed} ]
        [ "$(cut -c 35-36 /sys/class/net/eth0/device/features)" = \
            {packed}{in_order} ]
        if [ $boot = 1 ]; then
            disk_fill
            nic_ping
            $W/netloop eth0 1000
            exit 99
        fi
        disk_check
        $W/netloop eth0 3000
    """, vmlib.disk(disk_path, extra="," + ring) +
        vmlib.nic(nic_path, extra="," + ring))
    with_netloop(guest, netloop).run(timeout=240)


def test_nic_of_two_pairs(cache, work, daemon, netloop):
    """A pair of queues per CPU, both at work, one alone, both again."""
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path, pairs=2)
    guest = vmlib.Guest(cache, work, NIC + """
        nic_up
        [ $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l) = 2 ]
        for cpu in 0 1; do
            taskset -c $cpu $W/netloop eth0 2000
        done
        tell both
        await seen
        for pairs in 1 2; do
            taskset -c 1 $W/netloop eth0 2000 $pairs
        done
        nic_ping
    """, vmlib.nic(path, pairs=2))
    with with_netloop(guest, netloop):
        guest.said("both")
        assert min(daemon.completed("n0")[:4]) >= 2000  # the fifth is the control queue, which QEMU keeps
        guest.say("seen")
        guest.wait()


def test_older_kernel(cache, work, disk_path, nic_path, netloop):
    """The kernel of Debian 13."""
    data_is_kept(cache, work, netloop,
                 vmlib.disk(disk_path) + vmlib.nic(nic_path),
                 kernel=cache.kernel("older"))


@pytest.mark.skipif(STAND_IN, reason="the stand-in disk wants virtio 1.x")
def test_legacy_driver(cache, work, disk_path, nic_path, netloop):
    """The guest has no virtio 1.x: no VERSION_1, no FEATURES_OK."""
    legacy = ",disable-modern=on,disable-legacy=off"
    data_is_kept(cache, work, netloop,
                 vmlib.disk(disk_path, extra=legacy) +
                 vmlib.nic(nic_path, extra=legacy))


@pytest.mark.skipif(STAND_IN, reason="the stand-in disk knows no IOMMU")
def test_iommu(cache, work, disk_path, nic_path, netloop):
    """ACCESS_PLATFORM: each address goes through QEMU's virtual IOMMU."""
    platform = ",disable-legacy=on,iommu_platform=on,ats=on"
    data_is_kept(cache, work, netloop,
                 ["-device", "intel-iommu,intremap=on,device-iotlb=on"] +
                 vmlib.disk(disk_path, extra=platform) +
                 vmlib.nic(nic_path, extra=platform),
                 machine=",kernel-irqchip=split",
                 append="intel_iommu=on iommu.strict=1")


def test_grub_boots_from_disk(cache, work, daemon, netloop):
    """SeaBIOS loads GRUB from our disk, GRUB a kernel, and that runs."""
    image = os.path.join(work, "grub.raw")
    shutil.copy(os.path.join(cache.directory, "grub.raw"), image)
    path = os.path.join(work, "g0.sock")
    daemon.add_disk("g0", image, path)
    guest = vmlib.Guest(cache, work, """
        modprobe virtio_blk
        wait_path /dev/vda1
        modprobe ext4
        mount -o ro /dev/vda1 $MNT
        cmp $MNT/boot/vmlinuz /boot/vmlinuz-$(uname -r)
    """, vmlib.disk(path, extra=",bootindex=0"), boot_disk=True)
    with guest:
        guest.wait_serial("UVDPA-GRUB-STARTED")
        guest.wait_serial("UVDPA-GRUB-LOADED")
        guest.wait()


@pytest.mark.skipif(STAND_IN, reason="a stand-in cannot be suspended")
def test_suspend_under_io(cache, work, daemon, disk_path, nic_path, netloop):
    """Nothing moves while a device is suspended; afterwards all goes on."""
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        disk_all_queues
        fio_verify --rw=randwrite --do_verify=1 --loops=3 \
            --output=$W/fio &
        disk=$!
        $W/netloop eth0 20000 &
        nic=$!
        disk_is_busy
        tell busy
        wait $disk
        wait $nic
        fio_verify --rw=randrw --runtime=3 --time_based
        $W/netloop eth0 500
    """, vmlib.disk(disk_path) + vmlib.nic(nic_path))
    with with_netloop(guest, netloop):
        guest.said("busy")
        assert min(daemon.completed("d0")) >= 50
        assert min(daemon.completed("n0")[:2]) > 0
        for i in range(6):
            time.sleep(0.3)
            for name in ("d0", "n0"):
                daemon.cli(f"dev suspend {name}")
            before = [daemon.progress(x) for x in ("d0", "n0")]
            time.sleep(0.3 + 0.2 * i)
            assert [daemon.progress(x) for x in ("d0", "n0")] == before
            for name in ("d0", "n0"):
                daemon.cli(f"dev resume {name}")
        guest.wait(120)


def test_memory_comes_and_goes(cache, work, daemon, netloop):
    """Under I/O the guest gets more memory, uses it, and gives it back."""
    image = vmlib.make_image(os.path.join(work, "big.img"), 576)
    disk, nic = (os.path.join(work, x) for x in ("d0.sock", "n0.sock"))
    daemon.add_disk("d0", image, disk)
    daemon.add_nic("n0", nic)
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        memory() { awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
        at_start=$(memory)
        until [ -e $W/host-gone ]; do
            fio_verify --rw=randwrite --do_verify=1 --size=8M
        done > $W/fio &
        disk=$!
        $W/netloop eth0 1000000 > $W/netloop.out 2>&1 &
        nic=$!
        disk_is_busy
        tell busy
        await dimm
        for i in $(seq 100); do
            [ $(memory) -lt $((at_start + 120)) ] || break
            sleep 0.1
        done
        [ $(memory) -ge $((at_start + 120)) ]
        # More pages than there were: the cache has to use the new ones.
        dd if=/dev/vda of=/dev/null bs=1M
        tell used
        await gone
        [ $(memory) -lt $((at_start + 50)) ]
        wait $disk
        kill $nic   # succeeds while it runs
        fio_verify --rw=randwrite --do_verify=1 --size=8M
    """, vmlib.disk(disk) + vmlib.nic(nic),
        append="memhp_default_state=online_movable")
    with with_netloop(guest, netloop):
        guest.said("busy")
        guest.qmp("object-add", **{"qom-type": "memory-backend-memfd",
                                   "id": "more", "size": 128 << 20,
                                   "share": True})
        guest.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more")
        for name in ("d0", "n0"):
            regions = daemon.driver_shows(name)["memory_regions"]
            assert int(regions) == 2
        guest.say("dimm")
        guest.said("used", timeout=90)
        guest.qmp("device_del", id="dimm")
        guest.qmp.wait_event("DEVICE_DELETED", timeout=60)
        guest.say("gone")
        guest.wait(120)


ROOT_PORTS = ["-device", "pcie-root-port,id=p0,chassis=1,slot=1",
              "-device", "pcie-root-port,id=p1,chassis=2,slot=2"]


def test_unplug_under_io(cache, work, disk_path, nic_path, netloop):
    """QEMU takes disk and NIC out while they are busy, and puts them back."""
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        fio_endless &
        disk=$!
        $W/netloop eth0 1000000 >/dev/null 2>&1 &
        disk_is_busy
        tell busy
        wait_gone /dev/vda
        wait_gone /sys/class/net/eth0
        kill -9 $disk   # it retries for ever
        wait
        tell gone
        wait_path /dev/vda
        nic_up
        disk_fill
        disk_check
        $W/netloop eth0 500
    """, ROOT_PORTS + vmlib.disk(disk_path, extra=",bus=p0") +
        vmlib.nic(nic_path, extra=",bus=p1"))
    with with_netloop(guest, netloop):
        guest.said("busy")
        for name in ("d0", "n0"):
            guest.qmp("device_del", id=name)
        gone = set()
        while not gone >= {"d0", "n0"}:
            event = guest.qmp.wait_event("DEVICE_DELETED")
            gone.add(event["data"].get("device"))
        guest.said("gone")
        guest.qmp("netdev_del", id="b-n0")      # its chardev goes with it
        guest.qmp("chardev-remove", id="c-d0")
        for name, path in (("d0", disk_path), ("n0", nic_path)):
            guest.qmp("chardev-add", id=f"again-{name}", backend={
                "type": "socket", "data": {
                    "addr": {"type": "unix", "data": {"path": path}},
                    "server": False}})
        guest.qmp("netdev_add", type="vhost-user", id="again-b",
                  chardev="again-n0")
        guest.qmp("device_add", driver="vhost-user-blk-pci", id="d1",
                  chardev="again-d0", bus="p0")
        guest.qmp("device_add", driver="virtio-net-pci", id="n1",
                  netdev="again-b", mac=vmlib.MAC, bus="p1")
        guest.wait(120)


def test_delete_under_io(cache, work, daemon, disk_path, nic_path, netloop):
    """The host deletes a busy disk: the NIC and the guest go on."""
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        fio_endless &
        disk_is_busy
        tell busy
        await deleted
        $W/netloop eth0 2000
    """, vmlib.disk(disk_path) + vmlib.nic(nic_path))
    with with_netloop(guest, netloop):
        guest.said("busy")
        daemon.cli("dev del d0")
        assert "d0" not in daemon.cli("dev show -j")
        guest.say("deleted")
        guest.wait()


@pytest.mark.skipif(STAND_IN, reason="keeps its state by our configuration")
@pytest.mark.parametrize("extra", ["", ",packed=on"], ids=["split", "packed"])
def test_daemon_is_killed_under_io(cache, work, daemon, disk_path, nic_path,
                                   netloop, extra):
    """The guest waits for the next daemon, and no request is lost.

    Flushes take longer than writes: what is in flight is not what came last,
    and only the area that outlives the daemon tells what it is. Of a packed
    ring it also tells where the ring stands, which QEMU does not know: a NIC,
    for which QEMU has no area, does not survive that with one.
    """
    guest = vmlib.Guest(cache, work, DISK + NIC + """
        disk_up
        nic_up
        disk_is_busy_for_ever() {
            until [ -e $W/host-enough ]; do
                fio --filename=/dev/vda --ioengine=libaio --direct=1 --bs=4k \
                    --verify=crc32c --verify_fatal=1 --do_verify=1 \
                    --rw=randwrite --offset_increment=8M \
                    --name=writer --numjobs=2 --size=4M --iodepth=16 \
                    --name=flusher --numjobs=2 --size=256k --fsync=1 \
                    --offset=32M
            done > $W/fio
        }
        $W/netloop eth0 100
        disk_is_busy_for_ever &
        disk=$!
        tell busy
        wait $disk
        wait_carrier
        $W/netloop eth0 1000
    """, vmlib.disk(disk_path, extra=extra, chardev=vmlib.RECONNECT) +
        vmlib.nic(nic_path, chardev=vmlib.RECONNECT))
    with with_netloop(guest, netloop):
        guest.said("busy")
        for i in range(10):
            wait_for_progress(daemon, "d0")
            time.sleep(0.05 * i)
            daemon.crash()
        wait_for_progress(daemon, "d0")
        guest.say("enough")
        guest.wait(120)


@pytest.mark.skipif(STAND_IN, reason="runs our own command")
def test_nic_moves(cache, work, daemon, netloop):
    """From one daemon to another and back, under a guest that goes on."""
    path = os.path.join(work, "n0.sock")
    daemon.add_nic("n0", path)
    folder = os.path.join(work, "other")
    os.mkdir(folder)
    guest = vmlib.Guest(cache, work, NIC + """
        nic_up
        $W/netloop eth0 200
        for there in other back; do
            tell $there
            await $there
            wait_carrier
            $W/netloop eth0 500
        done
    """, vmlib.nic(path, chardev=vmlib.RECONNECT))
    with vmlib.Uvdpad(folder) as other, with_netloop(guest, netloop):
        for name, source, target in (("other", daemon, other),
                                     ("back", other, daemon)):
            guest.said(name)
            source.cli(f"migrate n0 --to unix:{target.socket} --bind")
            assert "n0" not in source.cli("dev show")
            assert target.driver_shows("n0")["path"] == path
            guest.say(name)
        guest.wait(60)


@pytest.mark.skipif(STAND_IN, reason="runs our own command")
def test_serve_read_only(cache, work, image):
    """One disk in one process, without the daemon."""
    with open(image, "r+b") as f:
        f.write(b"hello\n")
    path = os.path.join(work, "s.sock")
    argv = [vmlib.UVDPA, "serve", "blk", "--socket-path", path,
            "--blk-file", image, "--read-only"]
    with vmlib.Process(argv, os.path.join(work, "serve.log")) as server:
        vmlib.wait_until("socket", lambda: os.path.exists(path), 10)
        vmlib.Guest(cache, work, """
            modprobe virtio_blk
            wait_path /dev/vda
            [ "$(cat /sys/block/vda/ro)" = 1 ]
            [ "$(head -n 1 /dev/vda)" = hello ]
            if dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync; then
                echo "a read-only disk was written"
                exit 1
            fi
        """, vmlib.disk(path, extra=",num-queues=1")).run()
        assert server.alive(), vmlib.tail(server.log)
        assert server.stop() == 0
    with open(image, "rb") as f:
        assert f.read(6) == b"hello\n"
