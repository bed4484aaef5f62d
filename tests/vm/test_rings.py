# SPDX-License-Identifier: BSD-3-Clause
"""Rings in every shape that QEMU has a word for, in one guest."""

import os
import shutil

import pytest
import vmlib

STAND_IN = bool(os.environ.get("UVDPA_STANDIN"))

PACKED = 34
EVENT_IDX = 29
INDIRECT = 28
MERGEABLE = 15

# Options of the device, and the bits that must be off in the guest then.
SHAPES = {
    ",packed=on": [],
    ",packed=on,event_idx=off": [EVENT_IDX],
    ",packed=on,indirect_desc=off": [INDIRECT],
    ",packed=on,event_idx=off,indirect_desc=off": [EVENT_IDX, INDIRECT],
    ",event_idx=off,indirect_desc=off": [PACKED, EVENT_IDX, INDIRECT],
}

SCRIPT = r"""
bit() { # of the device at $1, bit $2
	cut -c$(($2 + 1)) "$1/device/features"
}
# What is on and what is off at the device $1: bits, "!" before those that are off.
features() {
	dev=$1
	shift
	for b; do
		case $b in
		!*) [ $(bit $dev ${b#!}) = 0 ] || { echo "$dev has $b"; exit 1; } ;;
		*) [ $(bit $dev $b) = 1 ] || { echo "$dev lacks $b"; exit 1; } ;;
		esac
	done
}
disk() {
	disk=$1
	shift
	wait_path /dev/$disk
	features /sys/block/$disk "$@"
	fio --name=v --filename=/dev/$disk --ioengine=libaio --direct=1 \
		--rw=randrw --bsrange=512-64k --blockalign=512 --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --size=4M --io_size=4M
}
nic() {
	nic=$1
	shift
	wait_path /sys/class/net/$nic
	features /sys/class/net/$nic "$@"
	ip link set $nic up
	for i in $(seq 100); do
		[ "$(cat /sys/class/net/$nic/carrier)" != 1 ] || break
		sleep 0.1
	done
	$W/netloop $nic 1000
}
modprobe virtio_blk
modprobe virtio_net
"""


def words(off, possible):
    return " ".join(("'!" + str(b) + "'") if b in off else str(b)
                    for b in possible)


@pytest.mark.skipif(STAND_IN, reason="the stand-ins have no packed rings")
def test_shapes(cache, work, daemon, netloop):
    """A disk and a NIC, or two, of each shape; the data are checked."""
    devices, script = [], SCRIPT
    for i, (options, off) in enumerate(SHAPES.items()):
        path = os.path.join(work, f"d{i}.sock")
        image = vmlib.make_image(os.path.join(work, f"d{i}.img"), 8)
        daemon.add_disk(f"d{i}", image, path)
        devices += vmlib.disk(path, name=f"d{i}", extra=options)
        script += f"disk vd{chr(ord('a') + i)} " \
            f"{words(off, [PACKED, EVENT_IDX, INDIRECT])}\n"
    nics = 0
    for options, off in SHAPES.items():
        # Every second one cannot merge buffers.
        if nics % 2:
            options, off = options + ",mrg_rxbuf=off", off + [MERGEABLE]
        path = os.path.join(work, f"n{nics}.sock")
        daemon.add_nic(f"n{nics}", path)
        devices += vmlib.nic(path, name=f"n{nics}", extra=options)
        script += f"nic eth{nics} " \
            f"{words(off, [PACKED, EVENT_IDX, INDIRECT, MERGEABLE])}\n"
        nics += 1
    guest = vmlib.Guest(cache, work, script, devices)
    shutil.copy(netloop, guest.share)
    guest.run(timeout=240)
