#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_layers.py CHECK-LAYERS: what the layer check refuses, on small trees with one mistake each."""
import pathlib
import subprocess
import sys
import tempfile

TABLE = '''# a comment
low:
mid: low
top: low mid
daemon: low
[headers]
low.h: low
top.h: top
'''

# file, text, what is said (None: accepted)
CASES = [
    ('src/mid/a.c', '#include "low/a.h"\n', None),
    ('src/mid/a.c', '#include "mid/a.h"\n', None),
    ('src/mid/a.c', '#include <uvdpa/low.h>\n#include <stdio.h>\n', None),
    ('src/mid/a.c', '#include "uvdpa-config.h"\n', None),
    ('src/mid/deep/er/a.c', '#include "low/a.h"\n', None),
    ('daemon/a.c', '#include "low/a.h"\n', None),
    ('daemon/a.c', '#include "mid/a.h"\n', 'daemon/a.c:1: daemon must not include mid'),
    ('src/mid/a.c', '\n#include "top/a.h"\n', 'src/mid/a.c:2: mid must not include top'),
    ('src/mid/a.c', '# include  "top/a.h"\n', 'src/mid/a.c:1: mid must not include top'),
    ('src/mid/a.c', '#include <uvdpa/top.h>\n', 'src/mid/a.c:1: mid must not include top'),
    ('src/low/a.h', '#include "mid/a.h"\n', 'src/low/a.h:1: low must not include mid'),
    ('src/mid/deep/a.c', '#include "top/a.h"\n', 'src/mid/deep/a.c:1: mid must not include top'),
    ('src/mid/a.c', '#include "../top/a.h"\n', 'goes through ".."'),
    ('src/mid/a.c', '#include "nowhere/a.h"\n', 'nowhere is no floor'),
    ('src/mid/a.c', '#include "missing.h"\n', 'is not beside the file'),
    ('src/mid/a.c', '#include <uvdpa/new.h>\n', 'is not in the table of headers'),
    ('src/new/a.c', '\n', 'src/new/a.c:1: is on no floor'),
    ('include/uvdpa/low.h', '#include <uvdpa/top.h>\n', 'low must not include top'),
    ('include/uvdpa/new.h', '\n', 'is on no floor'),
]
BAD_TABLES = [('low: mid\nmid: low\n', 'include each other'), ('low: gone\n', 'is no floor')]


def run(check, top):
    done = subprocess.run([sys.executable, check, top], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main():
    failures = 0
    cases = [(TABLE, *case) for case in CASES]
    cases += [(table, 'src/low/a.c', '\n', said) for table, said in BAD_TABLES]
    cases += [(TABLE, 'README', '', '0 files')]
    for table, name, text, said in cases:
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            write(top / 'tools' / 'layers.txt', table)
            write(top / name, text)
            code, out = run(sys.argv[1], folder)
        if (code == 0) != (said is None) or (said and said not in out):
            failures += 1
            print(f'-- {name}: {text!r}: exit status {code}\n{out}')
    print(f'{len(cases)} cases, {failures} failures')
    return bool(failures)


if __name__ == '__main__':
    sys.exit(main())
