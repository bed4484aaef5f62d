# SPDX-License-Identifier: BSD-3-Clause
"""transfer.py serve|talk ADDRESS PORT MIB: data over TCP, both ways at once, each byte known."""
import random
import socket
import sys
import threading

BLOCK = 1 << 16


def block(who, number):
    """What side `who` sends as its block."""
    return bytes(f'{who} {number:10}', 'ascii').ljust(32) + NOISE[who]


NOISE = {who: random.Random(who).randbytes(BLOCK - 32) for who in ('serve', 'talk')}


def send(sock, who, blocks):
    for i in range(blocks):
        sock.sendall(block(who, i))
    sock.shutdown(socket.SHUT_WR)


def receive(sock, who, blocks):
    with sock.makefile('rb') as f:
        for i in range(blocks):
            assert f.read(BLOCK) == block(who, i), f'block {i} of {who}'
        assert f.read(1) == b''


def main(role, address, port, mib):
    blocks = int(mib) * (1 << 20) // BLOCK
    other = 'talk' if role == 'serve' else 'serve'
    if role == 'serve':
        with socket.create_server((address, int(port))) as listener:
            print('ready', flush=True)
            listener.settimeout(60)
            sock = listener.accept()[0]
    else:
        sock = socket.create_connection((address, int(port)), 30)
    sock.settimeout(60)
    sender = threading.Thread(target=send, args=(sock, role, blocks), daemon=True)
    sender.start()
    receive(sock, other, blocks)
    sender.join()
    sock.close()
    print('all there', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
