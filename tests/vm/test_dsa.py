# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose DSA is ours: Linux's own driver, tool and test on it."""

import json
import os
import re
import shutil
import subprocess

import pytest
import vmlib

pytestmark = pytest.mark.skipif("UVDPA_STANDIN" in os.environ,
                                reason="needs our programs")

HERE = os.path.dirname(os.path.realpath(__file__))
UNIT = os.path.join(vmlib.TOP, "tests", "unit", "dsa")

TRAPPED = "11111111-1111-4111-8111-111111111111"
MAPPED = "22222222-2222-4222-8222-222222222222"
SHARED = "33333333-3333-4333-8333-333333333333"

# Shell functions for the guest. dsa0 has its portals trapped, dsa1 as memory.
GUEST = r"""
export LD_LIBRARY_PATH=$W/dsa/lib
accel=$W/dsa/accel-config
# DEVICE ITERATIONS: its queue becomes a channel of the kernel's DMA engine, on
# which 4 threads verify copies.
begin() {
	$accel config-wq dsa$1/wq$1.0 --type=kernel --name=dmaengine \
		--driver-name=dmaengine
	$accel enable-wq dsa$1/wq$1.0
	wait_path /sys/class/dma/dma$1chan0
	insmod $W/dsa/dmatest.ko
	cd /sys/module/dmatest/parameters
	echo $2 > iterations
	echo 4 > threads_per_chan
	echo 16384 > test_buf_size
	# Of one copy, in ms: four wait for one another, on processors that
	# are emulated beside whatever else the machine does.
	echo 120000 > timeout
	echo dma$1chan0 > channel
	echo 1 > run
	cd /
}
# DEVICE: the queue is drained, and disabled.
end() {
	cat /sys/module/dmatest/parameters/wait
	rmmod dmatest
	$accel disable-wq dsa$1/wq$1.0
}
# A reset of the function, after which the driver wants to be bound again.
rebind() {
	for dev in /sys/bus/pci/drivers/idxd/0000:*; do
		dev=${dev##*/}
		echo 1 > /sys/bus/pci/devices/$dev/reset
		echo $dev > /sys/bus/pci/drivers/idxd/unbind
		echo $dev > /sys/bus/pci/drivers/idxd/bind
	done
	wait_path /sys/bus/dsa/devices/dsa1
}
lspci_like() {
	for dev in /sys/bus/pci/devices/*; do
		echo $(cat $dev/vendor $dev/device $dev/class)
	done
}
lspci_like > $W/pci
insmod $W/dsa/movdir64b.ko
modprobe idxd
wait_path /sys/bus/dsa/devices/dsa1
$accel list -i > $W/list.json
"""


def take_dsa(guest, kernel):
    """What the guest needs that its tree has not."""
    done = subprocess.run([os.path.join(vmlib.TOOLS, "build-modules"), kernel],
                          stdout=subprocess.PIPE, timeout=900, check=True)
    shutil.copytree(os.path.join(done.stdout.decode().strip(), "dsa"),
                    os.path.join(guest.share, "dsa"))


def add_dsa(daemon):
    """dsa0 with two dedicated queues for mediated devices."""
    daemon.cli("dsa add dsa0")
    for i in range(2):
        daemon.cli(f"dsa config dsa0/engine0.{i} group_id 0")
        daemon.cli(f"dsa config dsa0/wq0.{i} type mdev name m{i} mode "
                   "dedicated size 32 group_id 0 block_on_fault off")
    daemon.cli("dsa enable dsa0")
    for i in range(2):
        daemon.cli(f"dsa enable dsa0/wq0.{i}")


def add_mdev(daemon, uuid, portals, queue="1dwq"):
    """One device, and what QEMU is told of it, word by word."""
    daemon.cli(f"mdev create idxd-{queue}-v1 {uuid} portals {portals}")
    line = daemon.cli(f"mdev show {uuid} --qemu-args")
    found = re.fullmatch(r"(-device) '(.*)'\n", line)
    assert found, line
    return list(found.groups())


def shown(daemon, uuid):
    """What a mediated device shows of itself."""
    values = json.loads(daemon.cli(f"mdev show {uuid} -j"))[0]["show"]
    return {k: int(v) if v.isdigit() else v for k, v in values.items()}


def summaries(guest, copies, counts):
    """The kernel's log: how each thread of dmatest ended."""
    log = guest.read("dmesg-1")
    found = re.findall(r"(dma\dchan0)-copy\d: summary (\d+) tests, (\d+) "
                       r"failures", log)
    bad = [x for x in log.splitlines() if "dmatest: " in x and "result #" in x]
    assert all(int(x[2]) == 0 for x in found), "\n".join(
        bad + [str(found), f"{guest.read('count')} written: {counts}"])
    for channel, runs in copies.items():
        done = [int(x[1]) for x in found if x[0] == channel]
        assert done == [n for n in runs for _ in range(4)], (channel, done)


# The older kernel does not know setcpuid=: tests/vm/movdir64b.c helps.
@pytest.mark.parametrize("shared, kernel", [(True, "newest"), (False, "older")],
                         ids=["fd", "message-older"])
def test_idxd(cache, work, shared, kernel):
    """Stock driver: probe, tool, copies, faults, drain, reset, rebind."""
    with vmlib.Uvdpad(work, "--workers", "2",
                      "--mdev-socket-dir", work) as daemon:
        add_dsa(daemon)
        devices = add_mdev(daemon, TRAPPED, "trapped") + \
            add_mdev(daemon, MAPPED, "mapped")
        runs = [500, 100] if shared else [500]
        guest = vmlib.Guest(cache, work, f"again={'yes' if shared else 'no'}"
                            + GUEST + """
            for n in 0 1; do
                begin $n 500
                tell running$n
                await faults$n
                end $n
            done
            if [ $again = yes ]; then
                rebind
                for n in 0 1; do
                    begin $n 100
                    end $n
                done
            fi
            cat /sys/module/movdir64b/parameters/count > $W/count
        """, devices, shared=shared, kernel=cache.kernel(kernel),
                            append="setcpuid=movdir64b")
        take_dsa(guest, kernel)
        with guest:
            for n, uuid in enumerate((TRAPPED, MAPPED)):
                guest.said(f"running{n}", timeout=120)
                daemon.cli(f"dsa inject {uuid} revoke")
                daemon.cli(f"dsa inject {uuid} swerr")
                guest.say(f"faults{n}")
            guest.wait(timeout=240)
        counts = [shown(daemon, uuid) for uuid in (TRAPPED, MAPPED)]
        daemon.finish()
    assert guest.read("pci").split("\n").count("0x8086 0x0b25 0x088000") == 2
    listed = json.loads(guest.read("list.json"))
    assert [x["dev"] for x in listed] == ["dsa0", "dsa1"]
    summaries(guest, {"dma0chan0": runs, "dma1chan0": runs}, counts)
    log = guest.read("dmesg-1")
    assert len(re.findall(r"idxd .* err\[0\]: 0x0000000[0-9a-f]*0d", log)) == 2
    assert "Error" not in guest.read("out-1")
    for count in counts:
        assert count["submitted"] >= 4 * sum(runs), counts
        assert count["dropped"] == count["torn"] == 0, counts
        assert count["errors"] == 1, counts
    assert int(guest.read("count")) >= sum(x["submitted"] for x in counts)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The path of the program dsa_guest, built without shared libraries."""
    path = str(tmp_path_factory.mktemp("dsa_guest") / "dsa_guest")
    sources = [os.path.join(HERE, x) for x in (
        "dsa_guest.c", "dsa_guest_io.c", "dsa_guest_random.c")]
    sources += [os.path.join(UNIT, x) for x in ("ref.c", "random_desc.c")]
    dirs = ["-I" + os.path.join(vmlib.TOP, x) for x in ("include", "src")]
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter",
                    "-Werror", "-static", "-I" + UNIT, *dirs, "-o", path,
                    *sources], check=True, timeout=60)
    return path


def add_queues(daemon):
    """Two dedicated queues, and a shared one whose descriptors may block."""
    daemon.cli("dsa add dsa0")
    for i in range(3):
        how = "mode shared threshold 24 block_on_fault on" if i == 2 else \
            "mode dedicated block_on_fault off"
        daemon.cli(f"dsa config dsa0/engine0.{i} group_id 0")
        daemon.cli(f"dsa config dsa0/wq0.{i} type mdev name m{i} size 32 "
                   "group_id 0 max_transfer_size 65536 max_batch_size 8 " +
                   how)
    daemon.cli("dsa enable dsa0")
    for i in range(3):
        daemon.cli(f"dsa enable dsa0/wq0.{i}")


def test_without_driver(cache, work, program):
    """Every operation, error and state, from the guest's user space."""
    with vmlib.Uvdpad(work, "--workers", "2",
                      "--mdev-socket-dir", work) as daemon:
        add_queues(daemon)
        devices = add_mdev(daemon, TRAPPED, "trapped") + \
            add_mdev(daemon, MAPPED, "mapped") + \
            add_mdev(daemon, SHARED, "trapped", "1swq")
        guest = vmlib.Guest(cache, work, """
            echo 3 > /proc/sys/vm/nr_hugepages
            set --
            for dev in /sys/bus/pci/devices/*; do
                [ $(cat $dev/device) = 0x0b25 ] && set -- "$@" $dev
            done
            [ $# = 3 ]
            $W/dsa_guest $3 work
            $W/dsa_guest $1 work 500
            $W/dsa_guest $2 work 100
            tell working
            await halted
            $W/dsa_guest $1 halted software
            $W/dsa_guest $2 halted flr
        """, devices)
        shutil.copy(program, guest.share)
        with guest:
            guest.said("working", timeout=480)
            daemon.cli(f"dsa inject {TRAPPED} halt")
            daemon.cli(f"dsa inject {MAPPED} flr")
            guest.say("halted")
            guest.wait(timeout=240)
        counts = [shown(daemon, x) for x in (TRAPPED, MAPPED, SHARED)]
        daemon.finish()
    assert guest.read("out-1").count(": well") == 5
    for count in counts:
        assert count["torn"] == count["retried"] == 0, counts
