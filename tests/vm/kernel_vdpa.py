# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose kernel has vDPA: its devices, and programs of ours beside them."""

import os
import shutil
import subprocess

import vmlib

SUITE = os.path.join(vmlib.BUILD, "tests", "uapi", "vhost-vdpa-suite")

# Shell functions for the guest's scripts. A device is bound to the driver that
# was loaded first, so vdpa_disk and its like come after modprobe of the driver.
VDPA = r"""
export LD_LIBRARY_PATH=$W/lib
# NAME: a disk of QEMU's, by VDUSE, with a file of 64 MiB behind it.
vduse_disk() {
	modprobe vduse
	truncate -s 64M /tmp/$1.raw
	qemu-storage-daemon --blockdev \
		driver=file,filename=/tmp/$1.raw,node-name=d,cache.direct=off \
		--export type=vduse-blk,id=e0,name=$1,node-name=d,writable=on,$2 \
		> $W/qsd-$1.log 2>&1 &
	wait_path /dev/vduse/$1
	vdpa dev add name $1 mgmtdev vduse
}
# The kernel's simulators; take_simulators() brings them.
simulators() {
	modprobe -a vdpa vhost_iotlb
	for module in vringh vdpa_sim vdpa_sim_net vdpa_sim_blk; do
		insmod $W/$module.ko
	done
}
"""


def take_program(guest, program):
    """A program of the host's for the guest, with the libraries it needs."""
    libs = os.path.join(guest.share, "lib")
    os.makedirs(libs, exist_ok=True)
    shutil.copy(program, guest.share)
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True,
                          timeout=30)
    for line in done.stdout.decode().splitlines():
        words = line.split()
        # The tree's own C library is newer than ours, and has to be one.
        if len(words) > 2 and words[1] == "=>" and \
                not words[0].startswith(("libc.", "libm.", "libpthread.")):
            shutil.copy(words[2], os.path.join(libs, words[0]))


def take_simulators(guest):
    """The modules of simulators(), for the newest kernel."""
    done = subprocess.run([os.path.join(vmlib.TOOLS, "build-modules")],
                          stdout=subprocess.PIPE, timeout=900, check=True)
    shutil.copytree(done.stdout.decode().strip(), guest.share,
                    dirs_exist_ok=True)
