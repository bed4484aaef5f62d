# SPDX-License-Identifier: BSD-3-Clause
import bad
import vu

MSG = bad.Message(vu.SET_VRING_NUM, vu.state(0, 16))
test_sizes, test_fds, test_moment, _ = bad.tests(MSG)


def test_numbers(owner):
    for num in (0, 3, 5, 255, 257, 512, 32768, 65535, 65536, 65536 + 16, 0x80000000, 0xffffffff):
        owner.refused(vu.SET_VRING_NUM, vu.state(0, num))
    for num in (1, 2, 64, 256):
        owner.ok(vu.SET_VRING_NUM, vu.state(0, num))
    for index in (2, 3, 255, 256, 65536, 0xffffffff):
        owner.refused(vu.SET_VRING_NUM, vu.state(index, 16))


def test_running(guest):
    guest.start()
    for num in (1, 2, 128, 256):
        guest.client.refused(vu.SET_VRING_NUM, vu.state(0, num))
    guest.disk.check()


def test_size_must_fit_the_memory(server):
    """Areas are checked for the size that the ring has when it starts, whenever that was set."""
    mem = vu.Memory(2048, gpa=0, uva=0x10000)
    with vu.Guest(server, off=vu.bit(vu.P_INBAND), num=16, mem=mem) as g:
        g.share()
        g.client.ok(vu.SET_VRING_NUM, vu.state(0, 16))
        g.client.ok(vu.SET_VRING_ADDR, g.ring.addr())
        g.client.ok(vu.SET_VRING_NUM, vu.state(0, 256))     # 4096 bytes of descriptors
        g.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
        g.client.refused(vu.SET_VRING_KICK, vu.u64(0), [g.ring.kick])
        assert g.client.alive()


def test_before_and_after_every_step(server):
    """The size changes between any two steps of the set up: what runs is what was set last."""
    steps = ['base', 'addr', 'enable', 'kick']
    for at in range(len(steps) + 1):
        for wrong in (2, 256):
            with vu.Guest(server, off=vu.bit(vu.P_INBAND), num=64) as g:
                g.share()
                g.client.ok(vu.SET_VRING_NUM, vu.state(0, wrong))
                for i, step in enumerate(steps):
                    if i == at:
                        g.client.ok(vu.SET_VRING_NUM, vu.state(0, 64))
                    if step == 'base':
                        g.client.ok(vu.SET_VRING_BASE, vu.state(0, 0))
                    elif step == 'addr':
                        g.client.ok(vu.SET_VRING_ADDR, g.ring.addr())
                    elif step == 'enable':
                        g.client.ok(vu.SET_VRING_ENABLE, vu.state(0, 1))
                    else:
                        g.client.ok(vu.SET_VRING_CALL, vu.u64(0), [g.ring.call])
                        g.client.ok(vu.SET_VRING_KICK, vu.u64(0), [g.ring.kick])
                if at == len(steps):
                    g.client.refused(vu.SET_VRING_NUM, vu.state(0, 64))
                else:
                    g.disk.check()
                assert g.client.alive()
