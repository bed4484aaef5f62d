# SPDX-License-Identifier: BSD-3-Clause
"""Our devices on the vDPA bus of a guest's kernel: the daemon runs inside the guest."""

import os
import shutil

import pytest
import vmlib
from kernel_vdpa import SUITE, VDPA, take_program

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our programs")

ROUNDS = int(os.environ.get("UVDPA_TEST_ROUNDS", 1))
BLKIO_VERIFY = os.path.join(vmlib.TOP, "tests", "interop", "blkio_verify.c")
TRANSFER = os.path.join(vmlib.HERE, "transfer.py")
MANY = os.path.join(vmlib.HERE, "many.py")
EXAMPLE = os.path.join(vmlib.BUILD, "examples", "vduse_device")

# Shell functions for the guest's scripts.
DAEMON = VDPA + r"""
unset LD_LIBRARY_PATH
ours() { LD_LIBRARY_PATH=$W/lib "$@"; }
daemon_up() {
	rm -f /tmp/ctl
	LD_LIBRARY_PATH=$W/lib $W/uvdpad --socket /tmp/ctl --workers 2 "$@" \
		>> $W/uvdpad.log 2>&1 &
	daemon=$!
	wait_path /tmp/ctl
}
daemon_down() {
	kill $daemon
	wait $daemon
	[ "$(ls /dev/vduse)" = control ]
}
uvdpa() { ours $W/uvdpa --socket /tmp/ctl "$@"; }
# NAME ATTRIBUTE...: put it on the kernel's bus; prints what it is there.
export_dev() {
	name=$1
	shift
	uvdpa dev bind $name driver vduse log /tmp/$name.log "$@"
}
# NAME WORD: is that word in what the driver says?
shows() { uvdpa dev show $1 --all | grep "^  driver" | grep -q -w -- "$2"; }
# WORD... -- COMMAND...: it fails, and says these words.
refuses() {
	words=$1
	shift
	! "$@" > /tmp/refused 2>&1
	cat /tmp/refused
	grep -q -- "$words" /tmp/refused
}
modprobe vduse
"""

DISK = r"""
# NAME ATTRIBUTE...: 64 MiB.
disk() {
	name=$1
	shift
	truncate -s 64M /tmp/$name.raw
	uvdpa dev add name $name mgmtdev soft_blk backend file \
		path /tmp/$name.raw "$@"
}
# NODE: a file system that keeps what it is given.
use_fs() {
	mkfs.ext4 -q -F $1
	mount -t ext4 $1 $MNT
	dd if=/dev/urandom of=$MNT/data bs=64k count=64 2>/dev/null
	(cd $MNT && sha256sum data > sum)
	umount $MNT
	mount -t ext4 $1 $MNT
	(cd $MNT && sha256sum -c sum)
	umount $MNT
	e2fsck -f -n $1
}
fio_verify() {
	fio --name=v --ioengine=libaio --direct=1 --bs=4k --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --size=4M \
		--rw=randwrite --output=/tmp/fio.out "$@"
}
"""


def daemon_guest(cache, work, script, programs=(), **options):
    guest = vmlib.Guest(cache, work, DAEMON + DISK + script, **options)
    for program in (vmlib.UVDPAD, vmlib.UVDPA, *programs):
        take_program(guest, program)
    return guest


@pytest.mark.parametrize("kernel", ["newest", "older"])
def test_disk(cache, work, kernel):
    """By the kernel's virtio driver: both ring formats, one queue and four."""
    guest = daemon_guest(cache, work, """
        modprobe -a virtio_vdpa virtio_blk ext4
        daemon_up
        disk d1
        disk d4 num_queues 4
        for packed in off on; do
            for d in d1 d4; do
                node=$(export_dev $d packed $packed)
                [ $node = /dev/vda ]
                [ $packed = off ] || shows $d RING_PACKED
                [ $packed = on ] || ! shows $d RING_PACKED
                use_fs $node
                fio_verify --filename=$node
                uvdpa dev unbind $d
                [ ! -e $node ]
                [ ! -e /tmp/$d.log ]
            done
        done
        daemon_down
        # Of all requests exactly those of the driver were answered.
        ! grep '^<[0-4]>' $W/uvdpad.log
    """, kernel=cache.kernel(kernel))
    guest.run(timeout=150)


def test_vhost_vdpa(cache, work):
    """By a program on /dev/vhost-vdpa-0: libblkio, and the suite that our own passes."""
    program = cache.compile(BLKIO_VERIFY, work, "$(pkg-config --cflags --libs blkio)")
    guest = daemon_guest(cache, work, f"""
        modprobe vhost_vdpa
        daemon_up
        disk d0 num_queues 4
        node=$(export_dev d0 kernel_driver vhost_vdpa)
        [ $node = /dev/vhost-vdpa-0 ]
        {program} $node 32 32 eventfd 4
        {program} $node 32 8 check
        {program} $node 16 16 poll 1
        shows d0 "faults 0"
        ours timeout 60 $W/vhost-vdpa-suite $node
        # Somebody has it: it stays, and goes on when it is bound again.
        exec 9<> $node
        refuses "Device or resource busy" uvdpa dev unbind d0
        [ -e $node ]
        [ $(export_dev d0 kernel_driver vhost_vdpa) = $node ]
        exec 9<&-
        {program} $node 16 16 eventfd 2
        uvdpa dev unbind d0
        [ ! -e $node ]
        daemon_down
    """, programs=[SUITE])
    guest.run(timeout=150)
    assert " 0 failed" in guest.read("out-1")


@pytest.mark.parametrize("kernel", ["newest", "older"])
def test_nics(cache, work, kernel):
    """Two NICs on a switch of ours, each in a network of its own."""
    guest = daemon_guest(cache, work, """
        modprobe -a virtio_vdpa virtio_net
        daemon_up
        for n in 1 2; do
            uvdpa dev add name n$n mgmtdev soft_net mac 52:54:00:12:34:0$n \\
                backend switch switch br0
            ip netns add net$n
            node=$(export_dev n$n packed $([ $n = 1 ] && echo on || echo off))
            [ "$(cat /sys/class/net/$node/address)" = 52:54:00:12:34:0$n ]
            ip link set $node netns net$n name eth9
            ip -n net$n addr add 10.9.0.$n/24 dev eth9
            ip -n net$n link set eth9 up
        done
        shows n1 RING_PACKED
        ip netns exec net1 busybox ping -c 5 -i 0.2 -W 5 -s 1400 10.9.0.2
        ip netns exec net2 python3 $W/transfer.py serve 10.9.0.2 5000 8 \\
            > /tmp/serve &
        server=$!
        until grep -q ready /tmp/serve; do sleep 0.1; done
        ip netns exec net1 python3 $W/transfer.py talk 10.9.0.2 5000 8
        wait $server
        for n in 1 2; do uvdpa dev unbind n$n; done
        daemon_down
        ! grep '^<[0-4]>' $W/uvdpad.log
    """, kernel=cache.kernel(kernel))
    shutil.copy(TRANSFER, guest.share)
    guest.run(timeout=150)


def test_many(cache, work):
    """Devices come and go, five at a time: nothing is left of them, here and
    in the kernel."""
    guest = daemon_guest(cache, work, f"""
        modprobe -a virtio_vdpa virtio_blk
        daemon_up
        python3 $W/many.py /tmp/ctl {10 * ROUNDS}
        daemon_down
        ! grep '^<[0-4]>' $W/uvdpad.log
    """)
    shutil.copy(MANY, guest.share)
    guest.run(timeout=160 * ROUNDS)


def test_what_is_missing(cache, work):
    """A capability, a driver, a module: each is named, and what to do about it."""
    guest = daemon_guest(cache, work, """
        daemon_up
        disk d0
        refuses '"modprobe virtio_vdpa" or "modprobe vhost_vdpa"' export_dev d0
        modprobe virtio_vdpa
        refuses '"modprobe vhost_vdpa"' export_dev d0 kernel_driver vhost_vdpa
        refuses '"modprobe virtio_blk"' export_dev d0
        refuses 'cannot be called' export_dev d0 name control
        daemon_down
        modprobe -r vduse
        daemon_up
        disk d0
        refuses '"modprobe vduse"' export_dev d0
        kill $daemon
        wait $daemon
        modprobe vduse
        LD_LIBRARY_PATH=$W/lib setpriv --bounding-set -net_admin \
            $W/uvdpad --socket /tmp/weak 2> $W/weak.log &
        daemon=$!
        wait_path /tmp/weak
        uvdpa() { ours $W/uvdpa --socket /tmp/weak "$@"; }
        disk d0
        refuses CAP_NET_ADMIN export_dev d0
        uvdpa dev add name n0 mgmtdev soft_net backend loopback
        refuses CAP_NET_ADMIN export_dev n0
        daemon_down
    """)
    guest.run(timeout=90)


@pytest.mark.parametrize("packed", ["off", "on"])
def test_daemon_is_killed(cache, work, packed):
    """The next one goes on where it was: no request is lost, none is done twice."""
    guest = daemon_guest(cache, work, f"""
        modprobe -a virtio_vdpa virtio_blk ext4
        daemon_up
        disk d0 num_queues 2
        node=$(export_dev d0 packed {packed})
        mkfs.ext4 -q -F $node
        mount -t ext4 $node $MNT
        uvdpa config dump > /tmp/config
        until [ -e /tmp/enough ]; do
            fio --directory=$MNT --ioengine=libaio --direct=1 --bs=4k \\
                --verify=crc32c --verify_fatal=1 --do_verify=1 --rw=randwrite \\
                --name=writer --numjobs=2 --size=2M --iodepth=16 \\
                --name=flusher --numjobs=2 --size=128k --fsync=1 > /tmp/fio.out
        done &
        load=$!
        done_so_far() {{ uvdpa dev vstats show d0 | tr -dc '0-9 ' | cksum; }}
        for i in $(seq {5 * ROUNDS}); do
            # Under way, and a while longer.
            before=$(done_so_far)
            while [ "$(done_so_far)" = "$before" ]; do sleep 0.05; done
            sleep 0.$((i % 3 * 2))
            kill -9 $daemon
            wait $daemon || true
            [ -e $node ]
            daemon_up --config /tmp/config
            echo "killed $i times"
        done
        touch /tmp/enough
        wait $load
        umount $MNT
        e2fsck -f -n $node
        shows d0 "faults 0"
        daemon_down
        [ ! -e $node ]
    """)
    guest.run(timeout=140 * ROUNDS)


@pytest.mark.skipif(not os.path.exists(EXAMPLE),
                    reason="built without libnl or libseccomp")
def test_device_process(cache, work):
    """The example, which locks itself in; killed under load, and started again."""
    guest = daemon_guest(cache, work, f"""
        modprobe -a virtio_vdpa virtio_blk ext4
        truncate -s 64M /tmp/p0.raw
        begin() {{
            : > /tmp/p0.out
            VDUSE_LOG_DIR=/tmp LD_LIBRARY_PATH=$W/lib \\
                $W/vduse_device p0 64M /tmp/p0.raw > /tmp/p0.out 2>> $W/p0.log &
            process=$!
            until grep -q "^serving p0" /tmp/p0.out; do
                [ -e /proc/$process/exe ]
                sleep 0.1
            done
            grep -q "^NoNewPrivs:.1" /proc/$process/status
            grep -q "^Seccomp:.2" /proc/$process/status
        }}
        killed() {{
            [ -e /proc/$process/exe ]
            kill -9 $process
            wait $process || true
        }}
        begin
        use_fs /dev/vda
        mount -t ext4 /dev/vda $MNT
        until [ -e /tmp/enough ]; do
            fio_verify --directory=$MNT
        done &
        load=$!
        writes() {{ set -- $(cat /sys/block/vda/stat); echo $5; }}
        for i in $(seq {3 * ROUNDS}); do
            before=$(writes)
            while [ $(writes) -lt $((before + 100)) ]; do sleep 0.05; done
            killed
            [ -b /dev/vda ]
            begin
            echo "killed $i times"
        done
        touch /tmp/enough
        wait $load
        umount $MNT
        # With nothing under way, too.
        killed
        begin
        mount -t ext4 /dev/vda $MNT
        (cd $MNT && sha256sum -c sum)
        umount $MNT
        e2fsck -f -n /dev/vda
        vdpa dev del p0
        wait_gone /dev/vda
        killed
        ! grep '^<[0-4]>' $W/p0.log
    """, programs=[EXAMPLE])
    guest.run(timeout=140 * ROUNDS)
