#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""check_requirements.py FILE BUILD-FOLDER: what docs/requirements.md says shows a requirement, does exist.

In the last column of a table: words like "parent-net" are tests of that build; cases behind a colon ("parent-net:
test_one, test_cuts") are defined in a source of that test. Paths in any column exist. Each row of
each family is there, once or with what it is divided into behind it ("R3-64 (engine)"), and shown by something, or says
in bold why not.
"""
import json
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SUITES = 'base|mem|ims|ring|vdpa|dsa|mdev|sample|vfio-user|backend|parent|driver|ctl|protocol|cli|fuzz|example'
TEST = re.compile(rf'(?<![\w/.-])(?:{SUITES})-[a-z0-9]+(?:-[a-z0-9_]+)*(?![\w/.])')
CASES = re.compile(r':((?:\s*[a-z]\w*_\w+,?)+)')
PATH = re.compile(r'(?<![\w/])((?:src|tests|tools|include|docs|daemon|cli|examples)/[\w./*-]*[\w*/])')
# The last row of each family.
ROWS = {'R0': 58, 'R1': 43, 'R2': 32, 'R3': 67, 'R4': 38}


def sources_of(test):
    """Files that can have the cases of @test: as its name says."""
    suite, _, name = test.partition('-')
    for two in ('dsa-dev', 'vfio-user'):
        if test.startswith(two + '-'):
            suite, name = two.replace('-', '_'), test[len(two) + 1:]
    name = name.replace('-', '_')
    folders = [f'tests/unit/{suite}', f'tests/{suite}']
    found = [p for f in folders for p in (TOP / f).glob(f'test_{name}.*')]
    # Some programs are made of several files.
    return found or [p for f in folders for p in (TOP / f).glob('*.[cp]*')]


def has_case(sources, case):
    return any(re.search(rf'\b{case}\b', path.read_text()) for path in sources)


def plain(cell):
    """Without what is said besides: "(each length)"."""
    return re.sub(r'\([^()]*\)', '', cell)


def mistakes_of(cell, known):
    """In the last column of a row."""
    for part in plain(cell).split(';'):
        tests = TEST.findall(part)
        for test in tests:
            if test not in known:
                yield f'there is no test {test}'
        paths = [TOP / p for p in PATH.findall(part) if (TOP / p).exists()]
        sources = [s for t in tests for s in sources_of(t)]
        sources += [f for p in paths for f in (p.glob('*.py') if p.is_dir() else [p])]
        for group in CASES.findall(re.sub(r'\([^()]*\)', '', part)):
            for case in re.findall(r'\w+', group):
                if not has_case(sources, case):
                    yield f'{" ".join(tests) or "it"} has no case {case}'


def rows_of(cell):
    """"R1-01, R1-02" and "R2-05..08" are several."""
    for family, first, last in re.findall(r'(R\d)-(\d\d)(?:\.\.(\d\d))?', cell):
        for number in range(int(first), int(last or first) + 1):
            yield f'{family}-{number:02d}'


def main():
    known = {t['name'] for t in json.loads(subprocess.run(
        ['meson', 'introspect', '--tests', sys.argv[2]], check=True, text=True,
        stdout=subprocess.PIPE).stdout)}
    missing = {f'{family}-{i:02d}' for family, last in ROWS.items() for i in range(1, last + 1)}
    seen, bad = set(), []
    for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
        cells = [c.strip() for c in line.strip().strip('|').split('|')]
        if not line.startswith('| ') or len(cells) < 4 or cells[0] == 'id' or cells[0] == '#':
            continue
        row = cells[0] or cells[1]
        missing.difference_update(rows_of(row))
        bad += [f'{row}: is there twice'] if row in seen and cells[0].startswith('R') else []
        seen.add(row)
        bad += [f'{row}: {p} does not exist' for p in PATH.findall(line) if not list(TOP.glob(p.rstrip('/')))]
        bad += [f'{row}: {what}' for what in mistakes_of(cells[-1], known)]
        if not cells[-1]:
            bad.append(f'{row}: is shown by nothing')
    bad += [f'{row}: is not there' for row in sorted(missing)]
    print(*bad, sep='\n', end='\n' if bad else '')
    print(f'{len(bad)} mistakes')
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main())
