# SPDX-License-Identifier: BSD-3-Clause
"""
The samples: a stock kernel's 8250_pci drives mtty's serial cards behind QEMU's vfio-user-pci, and its pktgen
sends packets through a virtio-pci NIC of mvnet_loopback.
"""
import json
import os

import vmlib

SCRIPT = r"""
# The ttys of a card, by its PCI device id.
ttys() {
    for d in /sys/bus/pci/devices/*; do
        [ $(cat $d/device) != $1 ] || find $d/ -maxdepth 4 -name 'ttyS*' -path '*/tty/*' | sed 's,.*/,/dev/,' | sort -u
    done
}
count() { awk '/ttyS/ {n = 0; for (i = 2; i <= 3; i++) n += $i; s += n} END {print s + 0}' /proc/interrupts; }
# move FROM TO BYTES: what is written to one comes out of the other.
move() {
    stty -F $1 raw -echo -crtscts 115200
    stty -F $2 raw -echo -crtscts 115200
    head -c $3 /dev/urandom > /tmp/sent
    head -c $3 < $2 > /tmp/got &
    sleep 0.3
    cat /tmp/sent > $1
    wait $!
    cmp /tmp/sent /tmp/got
    echo moved $3 from $1 to $2
}
one=$(ttys 0x0002)
two=$(ttys 0x0003)
echo "one port: $one; two ports: $two"
set -- $two
[ $# = 2 ]
# The interrupt is there while somebody has a port open.
exec 3<>$one 4<>$1 5<>$2
before=$(count)
move $one $one 3000
move $1 $2 8000
move $2 $1 8000
after=$(count)
echo "interrupts $before $after"
# One at least each time: a handler goes on for as long as there are bytes.
[ $after -ge $((before + 3)) ]
dmesg | grep -c 'ttyS[1-3].*16550A' > $W/serial
"""


PKTGEN = r"""
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
modprobe virtio_net
wait_path /sys/class/net/eth0
ip link set eth0 up
modprobe pktgen
P=/proc/net/pktgen
echo "add_device eth0" > $P/kpktgend_0
# pktgen BYTES: of a frame, without its checksum.
pktgen() {
    for word in "pkt_size $1" "count 5000" "dst_mac $(cat /sys/class/net/eth0/address)" "delay 0"; do
        echo "$word" > $P/eth0
    done
    before=$(cat /sys/class/net/eth0/statistics/rx_packets)
    echo start > $P/pgctrl
    for i in $(seq 50); do
        got=$(($(cat /sys/class/net/eth0/statistics/rx_packets) - before))
        [ $got -lt 5000 ] || break
        sleep 0.1
    done
    echo "pktgen $1: sent 5000 received $got $(grep -o '[0-9]*pps' $P/eth0)"
    [ $got = 5000 ]
}
pktgen 60
pktgen 1514
"""

# The card with one port is taken away while that is open: its registers answer nothing any more, and all else goes on.
TAKEN = r"""
tell open
await taken
stty -F $one 9600 raw -echo -crtscts
move $1 $2 1000
move $2 $1 1000
echo went on
"""


def card(daemon, work, kind, uuid):
    path = os.path.join(work, f"{kind}.sock")
    daemon.cli(f"mdev create {kind} {uuid} driver vfio_mdev path {path}")
    return vfio_user(path, kind)


def vfio_user(path, name):
    return ["-device", json.dumps({"driver": "vfio-user-pci", "id": name,
                                   "socket": {"type": "unix", "path": path}})]


def nic(daemon, work, uuid):
    path = os.path.join(work, "mvnet.sock")
    daemon.cli(f"mdev create mvnet_loopback-virtio {uuid}")
    daemon.cli(f"dev bind {uuid} virtio-pci path {path}")
    return vfio_user(path, "mvnet")


def test_stock_drivers(cache, work, daemon):
    """
    Loopback of one port, both ways between two, by interrupts; packets come back, none is lost. Then a card is removed
    under its driver: the guest lives on, and so does the daemon, which makes another one in its place.
    """
    one = "11111111-0000-0000-0000-000000000001"
    two = "11111111-0000-0000-0000-000000000002"
    net = "11111111-0000-0000-0000-000000000003"
    devices = card(daemon, work, "mtty-1", one) + card(daemon, work, "mtty-2", two) + nic(daemon, work, net)
    guest = vmlib.Guest(cache, work, SCRIPT + PKTGEN + TAKEN, devices)
    with guest:
        guest.said("open", timeout=150)
        daemon.cli(f"mdev remove {one}")
        assert one not in daemon.cli("mdev list")
        card(daemon, work, "mtty-1", one)
        guest.say("taken")
        guest.wait(timeout=60)
    assert guest.read("out-1").count("moved") == 5 and "went on" in guest.read("out-1"), guest.read("out-1")
    assert int(guest.read("serial")) >= 3
    shown = json.loads(daemon.cli(f"-j mdev show {two}"))[0]["show"]
    assert shown["port0"].startswith("sent 9000 received 9000 lost"), shown
    daemon.cli(f"mdev remove {one}")
    daemon.cli(f"mdev remove {two}")
    print([line for line in guest.read("out-1").splitlines() if line.startswith("pktgen")])
    daemon.cli(f"mdev remove {net}")
