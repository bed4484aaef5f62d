# SPDX-License-Identifier: BSD-3-Clause
"""The table of messages in the documentation is the server's."""
import os
import pathlib
import subprocess


def test_table_of_messages():
    want = subprocess.run([os.environ['VU_SERVER'], '--messages'], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=30).stdout.splitlines()
    doc = (pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'vhost-user.md').read_text()
    rows = [line for line in doc.splitlines() if line.count('|') == 9 and line[2].isdigit()]
    assert rows == want
