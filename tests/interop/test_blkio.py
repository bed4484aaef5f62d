# SPDX-License-Identifier: BSD-3-Clause
"""libblkio's virtio-blk-vhost-user driver on a disk of ours."""

import concurrent.futures
import os
import subprocess

import pytest
import vmlib

SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                      "blkio_verify.c")
MIB = 32


@pytest.fixture
def client(cache, work):
    """Runs the client; its argument is the command line after the socket."""
    program = cache.compile(SOURCE, work,
                            "$(pkg-config --cflags --libs blkio)")

    def run(path, *args):
        done = subprocess.run(
            cache.argv(work, program, path, *(str(x) for x in args)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False)
        assert done.returncode == 0, done.stdout.decode()

    return run


@pytest.fixture
def image(work):
    return vmlib.make_image(os.path.join(work, "disk.img"), MIB)


@pytest.mark.parametrize("mode", ["eventfd", "poll"])
def test_harness(cache, work, image, client, mode):
    """The client itself, tried on a back end that is not ours."""
    path = os.path.join(work, "q.sock")
    with vmlib.StorageDaemon(cache, work, image, path):
        client(path, MIB, 32, mode)
        client(path, MIB, 32, mode, 2)
        client(path, MIB, 8, "check")


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
@pytest.mark.parametrize("mode", ["eventfd", "poll"])
def test_verify(work, daemon, image, client, mode):
    """Depths from 1 to 128, one queue to all, and a look from outside."""
    path = os.path.join(work, "d0.sock")
    daemon.add_disk("d0", image, path, queues=4)
    for depth, queues in ((1, 1), (16, 2), (64, 3), (128, 1), (128, 4)):
        client(path, MIB if depth > 1 else 4, depth, mode, queues)
        client(path, MIB if depth > 1 else 4, 32, "check")


@pytest.mark.skipif("UVDPA_STANDIN" in os.environ, reason="needs our daemon")
def test_two_clients_take_turns(work, daemon, image, client):
    """The second one's connection waits until the first one is gone."""
    path = os.path.join(work, "d0.sock")
    daemon.add_disk("d0", image, path)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for turn in [pool.submit(client, path, MIB, 32, mode, 2)
                     for mode in ("eventfd", "poll", "eventfd")]:
            turn.result()
