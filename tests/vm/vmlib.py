# SPDX-License-Identifier: BSD-3-Clause
"""What the VM and interop tests share: the cache, back ends, guests.

Every process started here dies with the test program (PDEATHSIG), every wait
has a limit, and every failure shows the end of the logs.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(TOP, "tools", "testbed")
BUILD = os.path.realpath(os.environ.get("UVDPA_BUILD",
                                        os.path.join(TOP, "build")))
UVDPAD = os.path.join(BUILD, "daemon", "uvdpad")
UVDPA = os.path.join(BUILD, "cli", "uvdpa")

MAC = "52:54:00:12:34:56"
QEMU_OK = 33            # isa-debug-exit after the guest wrote 0x10
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# What a guest's kernel must never have said.
DMESG_BAD = re.compile(r"WARNING:|BUG:|Oops|Kernel panic|INFO: task .* blocked")
# Nor this once its firmware is forgotten: QEMU itself looks at the ring that
# SeaBIOS left, when the kernel resets the disk with the IOMMU on.
DMESG_BAD_LATER = re.compile(r"DMAR: .*fault addr")
DMESG_LATER = "Run /init as init process"
# Counters that may move while a device is suspended.
NOT_PROGRESS = re.compile(r"kick|notif|call|time|_ns$|spin|sleep|poll|wake")
# no_timer_check: at its start the kernel measures ticks by a loop of its own,
# and panics when QEMU was not run meanwhile ("IO-APIC + timer doesn't work").
# lpj: the second processor's start measures again ("calibrate_delay_direct()
# failed"), and for that same reason one guest stood still there for good.
KERNEL_OPTIONS = "console=ttyS0 quiet nowatchdog no_timer_check lpj=4000000 panic=0"
SERIAL_DEAD = re.compile(rb"Kernel panic|UVDPA-INIT: no root")


# A test says what something takes at most on a machine that has nothing else to
# do. Guests are emulated, on few processors, beside other tests.
PATIENCE = 4


class TestbedError(AssertionError):
    """Something in a guest, or around it, went wrong."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tail(path, lines=40):
    try:
        with open(path, "rb") as f:
            text = f.read().decode(errors="replace")
    except OSError as e:
        return f"({e})"
    return "\n".join(text.splitlines()[-lines:])


def wait_until(what, probe, timeout, interval=0.05):
    """The first true value of probe(), which is called with patience."""
    timeout *= PATIENCE
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise TestbedError(f"no {what} after {timeout} s")
        time.sleep(interval)


class Cache:
    """The directory that tools/testbed/build-cache makes and finds."""

    def __init__(self):
        done = subprocess.run([os.path.join(TOOLS, "build-cache")],
                              stdout=subprocess.PIPE, timeout=1800, check=True)
        self.directory = done.stdout.decode().strip()
        self.tree = os.path.join(self.directory, "sid")

    def kernel(self, which):
        """The version of the "newest" or the "older" kernel."""
        with open(os.path.join(self.tree, "boot", which),
                  encoding="ascii") as f:
            return f.read().strip()

    def argv(self, work, *argv):
        """The command that runs argv inside the sid tree."""
        return [os.path.join(TOOLS, "in-tree"), self.tree, work, *argv]

    def compile(self, source, work, *flags):
        """Compiles one C file inside the tree; the result is cached.

        Returns the program's path inside the tree. Flags go to the shell of
        the tree, so that $(pkg-config ...) works in them.
        """
        with open(source, "rb") as f:
            text = f.read()
        key = hashlib.sha256(text + " ".join(flags).encode()).hexdigest()[:16]
        name = os.path.splitext(os.path.basename(source))[0]
        program = f"/usr/local/bin/{name}-{key}"
        if not os.path.exists(self.tree + program):
            shutil.copy(source, os.path.join(work, "source.c"))
            command = (f"cc -O2 -g -Wall -Wextra -Werror -o {program}.tmp "
                       f"{work}/source.c {' '.join(flags)} && "
                       f"mv {program}.tmp {program}")
            subprocess.run(self.argv(work, "sh", "-c", command),
                           timeout=120, check=True)
        return program


class Process:
    """A child with a log; stop() and the end of the test end it, by its pid."""

    def __init__(self, argv, log, **kwargs):
        self.log = log
        self.spawn(argv, **kwargs)

    def spawn(self, argv, **kwargs):
        with open(self.log, "ab") as out:
            # pylint: disable=consider-using-with
            self.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
                **kwargs)

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait()

    def stop(self, timeout=60):
        """SIGTERM; the exit code. One that does not end is an error."""
        if self.alive():
            self.child.terminate()
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TestbedError(f"no end {timeout} s after SIGTERM:\n" +
                               tail(self.log)) from None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()


class StorageDaemon(Process):
    """QEMU's own vhost-user-blk back end: a stand-in to test this harness."""

    def __init__(self, cache, work, image, path):
        super().__init__(
            cache.argv(work, "qemu-storage-daemon",
                       "--blockdev", "driver=file,node-name=d,"
                       f"filename={image}",
                       "--export", "type=vhost-user-blk,id=e,node-name=d,"
                       "writable=on,num-queues=2,"
                       f"addr.type=unix,addr.path={path}"),
            os.path.join(work, "qsd.log"))
        wait_until("vhost-user socket", lambda: os.path.exists(path), 10)


class Testpmd(Process):
    """DPDK's vhost-user NIC, whose frames come back: the other stand-in."""

    def __init__(self, cache, work, path):
        super().__init__(
            cache.argv(work, "dpdk-testpmd", "--lcores", "(0,1)@0",
                       "--no-huge", "-m", "256", "--in-memory", "--no-pci",
                       "--vdev", f"net_vhost0,iface={path}",
                       "--", "--auto-start", "--forward-mode=io",
                       "--total-num-mbufs=8192", "--no-lsc-interrupt",
                       "--stats-period=60"),
            os.path.join(work, "testpmd.log"))
        wait_until("vhost-user socket", lambda: os.path.exists(path), 20)


class StandIns:
    """Has the methods of Uvdpad that the guest tests use, by other programs.

    UVDPA_STANDIN=1 runs the guest tests on it, to tell a fault of a test, or
    of QEMU, from a fault of ours.
    """

    def __init__(self, cache, work):
        self.cache, self.work = cache, work
        self.devices = {}

    def add_disk(self, name, image, path):
        self.devices[name] = StorageDaemon(self.cache, self.work, image, path)

    def add_nic(self, name, path):
        self.devices[name] = Testpmd(self.cache, self.work, path)

    def cli(self, line):
        word = line.split()
        if word[1] == "del":
            self.devices[word[2]].kill()
        return ""

    def finish(self):
        for device in self.devices.values():
            device.kill()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.finish()


class Uvdpad(Process):
    """Our daemon, with the command to drive it."""

    def __init__(self, work, *args):
        self.socket = os.path.join(work, "ctl.sock")
        self.config = os.path.join(work, "config.json")
        super().__init__([UVDPAD, "--socket", self.socket, *args],
                         os.path.join(work, "uvdpad.log"))

    def spawn(self, argv, **kwargs):
        """Starts it, and returns when it is ready."""
        ready, ready_child = os.pipe()
        super().spawn([*argv, "--ready-fd", str(ready_child)],
                      pass_fds=(ready_child,), **kwargs)
        os.close(ready_child)
        os.set_blocking(ready, False)
        try:
            wait_until("readiness of uvdpad",
                       lambda: self.is_ready(ready), 10)
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(ready)

    def is_ready(self, fd):
        if not self.alive():
            raise TestbedError("uvdpad ended at once:\n" + tail(self.log))
        try:
            return os.read(fd, 64) == b"\n"
        except BlockingIOError:
            return False

    def cli(self, line, check=True):
        """Runs the command with the words of line; returns its output."""
        done = subprocess.run(
            [UVDPA, "--socket", self.socket, *line.split()],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        text = done.stdout.decode()
        if check and done.returncode != 0:
            raise TestbedError(f"uvdpa {line}: rc {done.returncode}: {text}\n"
                               + tail(self.log))
        return text

    def progress(self, name, check=True):
        """The counters of a device that move only when requests end.

        Without check: {} when the device has none for want of a driver.
        """
        found = {}

        def walk(path, node):
            if isinstance(node, dict):
                for key, value in node.items():
                    walk(f"{path}/{key}", value)
            elif isinstance(node, list):
                for i, value in enumerate(node):
                    walk(f"{path}/{i}", value)
            elif not NOT_PROGRESS.search(path):
                found[path] = node

        text = self.cli(f"dev vstats show -j {name}", check)
        if text.startswith("{"):
            walk("", json.loads(text))
        return found

    def descriptors(self):
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def driver_shows(self, name):
        """What the bus driver of a device tells about it."""
        shown = json.loads(self.cli(f"dev show {name} -j --all"))
        return shown["dev"][name]["driver"]["show"]

    def completed(self, name):
        """Per virtqueue of a device: how many requests it has answered."""
        stats = json.loads(self.cli(f"dev vstats show -j {name}"))
        return [x["completed_desc"] for x in stats["vstats"][name].values()]

    def add_disk(self, name, image, path, queues=2):
        self.cli(f"dev add name {name} mgmtdev soft_blk "
                 f"backend file path {image} num_queues {queues}")
        self.cli(f"dev bind {name} driver vhost-user path {path}")

    def add_nic(self, name, path, extra="", pairs=1):
        self.cli(f"dev add name {name} mgmtdev soft_net mac {MAC} "
                 f"mtu 1500 max_vqp {pairs} backend loopback")
        self.cli(f"dev bind {name} driver vhost-user path {path} {extra}")

    def crash(self):
        """Killed in the middle of what it does, and started again as it was."""
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(self.cli("config dump"))
        self.kill()
        self.spawn([UVDPAD, "--socket", self.socket, "--config", self.config])

    def finish(self):
        """A clean end: alive until now, and rc 0 on SIGTERM."""
        if not self.alive():
            raise TestbedError(f"uvdpad died, rc {self.child.returncode}:\n" +
                               tail(self.log))
        rc = self.stop()
        if rc != 0:
            raise TestbedError(f"uvdpad: rc {rc} on SIGTERM:\n" +
                               tail(self.log))


class Qmp:
    """Just enough of QEMU's control protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        wait_until("QMP socket", lambda: self.connect(path), 60)
        self.file = self.socket.makefile("rwb")
        self.events = []
        self.read()
        self("qmp_capabilities")

    def connect(self, path):
        try:
            self.socket.connect(path)
        except OSError:
            return False
        return True

    def read(self):
        line = self.file.readline()
        if not line:
            raise TestbedError("QEMU closed its QMP socket")
        return json.loads(line)

    def __call__(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise TestbedError(f"{command}: {answer['error']}")
            else:
                return answer["return"]

    def wait_event(self, name, timeout=30):
        timeout *= PATIENCE
        end = time.monotonic() + timeout
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(i)
            self.socket.settimeout(max(0.1, end - time.monotonic()))
            try:
                self.events.append(self.read())
            except TimeoutError:
                raise TestbedError(f"no event {name} in {timeout} s") from None
            finally:
                self.socket.settimeout(120)


GUEST_INIT = r"""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root W=/run/uvdpa MNT=/run/mnt
n=$(cat $W/boots 2>/dev/null || echo 0)
n=$((n + 1))
echo $n > $W/boots
echo 60 > /proc/sys/kernel/hung_task_timeout_secs
ip link set lo up
# For the script: tell the host, wait for the host.
cat > /tmp/lib.sh <<'END'
tell() { echo "== tell $1"; : > $W/guest-$1; }
await() {
	i=0
	echo "== await $1"
	until [ -e $W/host-$1 ]; do
		sleep 0.1
		i=$((i + 1))
		[ $i -lt 2400 ] || { echo "no $1 from the host"; exit 98; }
	done
}
wait_path() {
	i=0
	until [ -e "$1" ]; do
		sleep 0.1
		i=$((i + 1))
		[ $i -lt 800 ] || { echo "no $1"; exit 97; }
	done
}
wait_gone() {
	i=0
	while [ -e "$1" ]; do
		sleep 0.1
		i=$((i + 1))
		[ $i -lt 1200 ] || { echo "$1 does not go"; exit 96; }
	done
}
END
echo "== boot $n of $(uname -r)"
boot=$n sh -ec '. /tmp/lib.sh; . $W/guest-script' > $W/out-$n 2>&1
rc=$?
cat $W/out-$n
dmesg > $W/dmesg-$n
if [ $rc = 99 ]; then
	echo "== reboot"
	sync
	busybox reboot -f
fi
echo "== result $rc"
echo $rc > $W/result
sync
[ $rc = 0 ] && code='\020' || code='\021'
printf $code | dd of=/dev/port bs=1 seek=244 count=1 2>/dev/null
busybox poweroff -f
"""


class Guest:
    """One run of QEMU: a kernel, a shell script in the guest, devices.

    The script runs under "sh -e" with $boot (1, 2, ...), $W (a directory
    shared with the host), $MNT (a mount point); exit 99 reboots. It may use
    tell, await, wait_path and wait_gone, whose other ends are said() and
    say() here.
    """

    def __init__(self, cache, work, script, devices=(), **options):
        self.cache, self.work = cache, work
        self.kernel = options.get("kernel") or cache.kernel("newest")
        self.append = options.get("append", "")
        self.boot_disk = options.get("boot_disk", False)
        self.machine = options.get("machine", "")
        self.prefix = options.get("prefix", [])
        self.shared = options.get("shared", True)   # memory is a file
        self.devices = list(devices)
        self.share = os.path.join(work, options.get("name", "guest"))
        os.mkdir(self.share)
        self.serial = os.path.join(self.share, "serial.log")
        self.write("guest-init", GUEST_INIT)
        self.write("guest-script", script)
        self.process = None
        self.qmp = None

    def write(self, name, text):
        with open(os.path.join(self.share, name), "w", encoding="utf-8") as f:
            f.write(text)

    def argv(self):
        argv = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
            "-m", "512,slots=1,maxmem=1G", "-object",
            "memory-backend-memfd,id=mem,size=512M,share=on" if self.shared
            else "memory-backend-ram,id=mem,size=512M",
            "-machine", "q35,memory-backend=mem" + self.machine,
            "-serial", "file:" + self.serial,
            "-qmp", f"unix:{self.share}/qmp.sock,server=on,wait=off",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-fsdev", "local,id=root,path=/run/guest-root,readonly=on,"
            "security_model=none,multidevs=remap",
            "-fsdev", f"local,id=work,path={self.share},security_model=none",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-device", "virtio-9p-pci,fsdev=work,mount_tag=work",
        ]
        if not self.boot_disk:
            argv += ["-kernel", f"/boot/vmlinuz-{self.kernel}",
                     "-initrd", f"/boot/initramfs-{self.kernel}",
                     "-append", f"{KERNEL_OPTIONS} {self.append}"]
        return argv + self.devices

    def start(self):
        # Their order matters to the guest: the sockets exist before QEMU.
        self.process = Process(
            self.prefix + self.cache.argv(self.work, *self.argv()),
            os.path.join(self.share, "qemu.log"))
        return self

    def __enter__(self):
        self.start()
        try:
            self.qmp = Qmp(os.path.join(self.share, "qmp.sock"))
        except BaseException as e:
            self.process.kill()
            raise TestbedError(f"{e}\n{self.logs()}") from e
        return self

    def __exit__(self, *exc):
        if self.prefix and self.process.alive():
            self.qmp("quit")    # not a child of ours
        self.process.kill()

    def logs(self):
        return (f"--- qemu\n{tail(self.process.log)}\n"
                f"--- serial\n{tail(self.serial, 80)}")

    def read(self, name):
        with open(os.path.join(self.share, name), encoding="utf-8",
                  errors="replace") as f:
            return f.read()

    def exists(self, name):
        return os.path.exists(os.path.join(self.share, name))

    def check_alive(self):
        with open(self.serial, "rb") as f:
            if SERIAL_DEAD.search(f.read()):
                raise TestbedError("the guest is dead\n" + self.logs())

    def said(self, name, timeout=60):
        """Waits for the guest's "tell NAME"."""
        def probe():
            self.check_alive()
            if not self.process.alive():
                raise TestbedError(f"QEMU ended before {name}\n" + self.logs())
            return self.exists("guest-" + name)
        try:
            wait_until(f'"{name}" from the guest', probe, timeout)
        except TestbedError as e:
            raise TestbedError(f"{e}\n{self.logs()}") from None

    def say(self, name):
        """Ends the guest's "await NAME"."""
        self.write("host-" + name, "")

    def wait_serial(self, text, timeout=60):
        def probe():
            with open(self.serial, "rb") as f:
                return text.encode() in f.read()
        try:
            wait_until(f"{text!r} on the serial port", probe, timeout)
        except TestbedError as e:
            raise TestbedError(f"{e}\n{self.logs()}") from None

    def wait(self, timeout=60):
        """The guest's end: its script succeeded, and its kernel is well."""
        def probe():
            if not self.process.alive():
                return True
            self.check_alive()
            return False
        try:
            wait_until("end of the guest", probe, timeout)
        except TestbedError as e:
            self.process.kill()
            raise TestbedError(f"{e}\n{self.logs()}") from None
        rc = self.process.child.returncode
        if rc != QEMU_OK or not self.exists("result") or \
                self.read("result").strip() != "0":
            raise TestbedError(f"the guest failed, QEMU's rc {rc}\n" +
                               self.logs())
        self.check_dmesg()

    def check_dmesg(self):
        for name in sorted(os.listdir(self.share)):
            if not name.startswith("dmesg-"):
                continue
            text = self.read(name)
            later = text.partition(DMESG_LATER)[2]
            bad = [x for x in text.splitlines() if DMESG_BAD.search(x)]
            bad += [x for x in later.splitlines() if DMESG_BAD_LATER.search(x)]
            if bad:
                raise TestbedError("the guest's kernel complains:\n" +
                                   "\n".join(bad) + "\n" + text)

    def run(self, timeout=60):
        with self:
            self.wait(timeout)
        return self


RECONNECT = ",reconnect-ms=100"     # QEMU comes back when the back end does


def disk(path, name="d0", extra="", chardev=""):
    """QEMU's arguments for a vhost-user disk at a socket."""
    return ["-chardev", f"socket,id=c-{name},path={path}{chardev}",
            "-device", f"vhost-user-blk-pci,chardev=c-{name},id={name}{extra}"]


def nic(path, name="n0", extra="", chardev="", pairs=1):
    """QEMU's arguments for a vhost-user NIC at a socket."""
    if pairs > 1:
        extra += f",mq=on,vectors={2 * pairs + 2}"
    return ["-chardev", f"socket,id=c-{name},path={path}{chardev}",
            "-netdev",
            f"vhost-user,chardev=c-{name},id=b-{name},queues={pairs}",
            "-device", f"virtio-net-pci,netdev=b-{name},id={name},"
            f"mac={MAC}{extra}"]


def make_image(path, mib):
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path
