# SPDX-License-Identifier: BSD-3-Clause
"""The character device of vhost-vdpa: the kernel's beside ours."""

import os

import pytest
import vmlib
from kernel_vdpa import SUITE, VDPA, take_program, take_simulators

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
    assert "not offered" not in guest.read("out-1")
