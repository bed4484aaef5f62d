# SPDX-License-Identifier: BSD-3-Clause
"""The completion script, sourced by a real bash; and the words that it is given."""
import os
import subprocess

import pytest

from cliutil import UVDPA, clean_env, run

# Fills in the variables as readline would: words split at blanks and at the characters of COMP_WORDBREAKS.
BASH = r'''
set -u
PATH="$1:$PATH"
source <(uvdpa completion bash)
complete -p uvdpa >/dev/null || exit 9
COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
read -r -a COMP_WORDS <<<"$COMP_LINE"
case $COMP_LINE in *' ') COMP_WORDS+=('') ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_uvdpa uvdpa "" ""
printf '%s\n' "${COMPREPLY[@]}"
'''


def complete(line, sock=None):
    env = clean_env()
    if sock:
        env['UVDPA_SOCKET'] = str(sock)
    done = subprocess.run(['bash', '-c', BASH, 'bash', os.path.dirname(os.path.abspath(UVDPA)), line],
                          capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize('line,has,has_not', [
    ('uvdpa ', {'dev', 'mgmtdev', 'monitor', 'serve', 'config'}, {'complete'}),
    ('uvdpa d', {'dev', 'drv', 'driver', 'daemon', 'debug'}, {'mgmtdev'}),
    ('uvdpa dev ', {'show', 'add', 'del', 'bind', 'config'}, set()),
    ('uvdpa dev s', {'show', 'set', 'suspend'}, {'add'}),
    ('uvdpa dev config ', {'show'}, set()),
    ('uvdpa -j dev ', {'show'}, set()),
    ('uvdpa nonsense ', set(), {'dev'}),
    ('uvdpa vfu /run/x.sock ', {'info', 'region', 'migrate'}, set()),
    ('uvdpa vfu /run/x.sock region ', {'read', 'show'}, {'info'}),
    ('uvdpa vfu /run/x.sock reset , mig s', {'show', 'save'}, {'info'}),
    ('uvdpa vfu /run/x.sock info ', set(), {'read', 'info'}),
])
def test_words(line, has, has_not):
    got = complete(line)
    assert has <= got and not has_not & got


@pytest.mark.parametrize('line,has,has_not', [
    ('uvdpa dev show ', {'d0'}, set()),
    ('uvdpa dev del d', {'d0'}, set()),
    ('uvdpa dev del d0 ', set(), {'d0'}),
    ('uvdpa mgmtdev show ', {'soft_blk', 'soft_net'}, set()),
    ('uvdpa dev bind d0 ', {'virtio-vdpa', 'vhost-user'}, set()),
    ('uvdpa dev bind d0 driver ', {'virtio-vdpa', 'vhost-user'}, set()),
    ('uvdpa dev bind d0 vhost-user ', {'path', 'on_disconnect'}, {'backend'}),
    ('uvdpa dev bind d0 vhost-user on_disconnect ', {'relisten'}, {'path'}),
    ('uvdpa dev set name d0 ', {'mac', 'busyloop', 'workers', 'intercept', 'backend'}, {'max_vqp'}),
    ('uvdpa dev add ', {'name', 'mgmtdev', 'mac'}, set()),
    ('uvdpa dev add name x mgmtdev ', {'soft_blk', 'soft_net'}, {'name'}),
    ('uvdpa dev add name x mgmtdev soft_blk ', {'backend', 'num_queues'}, {'filter'}),
    ('uvdpa dev add name x mgmtdev soft_blk backend ', {'ram', 'file'}, set()),
    ('uvdpa dev add name x mgmtdev soft_blk backend ram ', {'size', 'driver'}, {'path'}),
    ('uvdpa dev add name x mgmtdev soft_blk backend file ', {'path', 'cache'}, set()),
    ('uvdpa dev add name x mgmtdev soft_blk backend file dma ', {'dma_map', 'set_map'}, {'path'}),
    ('uvdpa dev add name x mgmtdev soft_blk driver ', {'vhost-user'}, {'name'}),
    ('uvdpa dev add name x mgmtdev soft_blk driver vhost-user ', {'path'}, {'backend'}),
    ('uvdpa drv ', {'virtio0'}, set()),
    ('uvdpa drv virtio0 ', {'info', 'blk', 'net'}, set()),
    ('uvdpa drv virtio0 blk ', {'read', 'verify'}, set()),
    ('uvdpa cvq state ', {'d0', 'e0'}, set()),
    ('uvdpa migrate ', {'d0', 'e0'}, set()),
    ('uvdpa driver unload ', {'virtio-vdpa'}, set()),
])
def test_words_of_the_daemon(disk, line, has, has_not):
    disk.ok('dev', 'add', 'name', 'e0', 'mgmtdev', 'soft_blk', 'backend', 'null', 'driver', 'virtio-vdpa')
    got = complete(line, disk.socket)
    assert has <= got and not has_not & got


def test_names_with_colons(daemon):
    """readline takes what is before the last colon as done."""
    daemon.ok('dev', 'add', 'name', 'a:b:c', 'mgmtdev', 'soft_blk', 'backend', 'null')
    assert complete('uvdpa dev show a:b:', daemon.socket) == {'c'}


def test_without_a_daemon(folder):
    assert complete('uvdpa dev show ', folder / 'nobody') == set()


def test_file_and_command_agree():
    assert run('completion', 'bash').stdout.endswith('complete -o default -F _uvdpa uvdpa\n')
