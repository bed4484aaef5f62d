# SPDX-License-Identifier: BSD-3-Clause
"""Runs the groups of rows that are asked for, prints the table, writes bench.json."""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as et

from . import rows as table
from .blk import null_groups
from .cpu import cpu_groups
from .doorbell import DoorbellGroup
from .dsa import DsaGroup
from .files import file_groups
from .idle import IdleGroup
from .iotlb import IotlbGroup
from .net import net_groups
from .pktgen import PktgenGroup
from .testbed import TOP, Bench, CannotRun, vmlib
from .vduse import VduseGroup


def say(text):
    print(text, flush=True)


def all_groups(bench):
    return [*net_groups(bench), *null_groups(bench), *file_groups(bench), *cpu_groups(bench),
            IdleGroup(bench), IotlbGroup(bench), DsaGroup(bench), PktgenGroup(bench),
            DoorbellGroup(bench), VduseGroup(bench)]


def run_group(group, wanted):
    """The rows of @group for the specs in @wanted, and why there are none."""
    found, why = [], None
    try:
        found = group.run(wanted)
    except (CannotRun, vmlib.TestbedError, OSError, subprocess.SubprocessError) as e:
        why = str(e)
        say(f'could not run {", ".join(s.id for s in wanted)}: {why}')
    for row in found:
        say(table.line_of(row))
    return found, why


def run_groups(groups, words, keep=lambda rows: None):
    """
    All rows that @words ask for, and sentences about what is wrong with them. @keep is called with
    the rows so far whenever there are more: what was measured survives an interruption.
    """
    rows, ids, reasons = [], [], {}
    for group in groups:
        wanted = [spec for spec in group.specs if table.matches(spec.id, words)]
        if not wanted:
            continue
        found, why = run_group(group, wanted)
        rows += found
        keep(rows)
        ids += [spec.id for spec in wanted]
        reasons.update({spec.id: why for spec in wanted})
    return rows, ids, table.problems(rows, ids, reasons)


def read(path):
    return json.loads(path.read_text()) if path.exists() else []


def merge(old, rows, order):
    """@rows, and of the @old ones those that were not measured again. In @order, of ids."""
    fresh = {row['id'] for row in rows}
    merged = [row for row in old if row['id'] not in fresh] + rows
    place = {name: i for i, name in enumerate(order)}
    return sorted(merged, key=lambda row: place.get(row['id'], len(place)))


def show(path):
    """A table of the rows in a file."""
    say(table.HEADING)
    for row in json.loads(pathlib.Path(path).read_text()):
        say(table.line_of(row))
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(prog='tools/bench')
    parser.add_argument('build', nargs='?', default='build')
    parser.add_argument('only', nargs='*', metavar='ROW', help='[T=]id, beginning of ids, or pattern')
    parser.add_argument('--junit', metavar='FILE', help='which rows were measured, for tools/summary')
    parser.add_argument('--list', action='store_true', help='print ids and targets, and end')
    parser.add_argument('--show', metavar='FILE', help='print the rows of a bench.json, and end')
    args = parser.parse_args(argv)
    args.only = [w[2:] if w.startswith('T=') else w for w in args.only]
    return args


def junit(wanted, bad, seconds):
    """A case for each row: one that was not measured, or is not as it should be, has failed."""
    suite = et.Element('testsuite', name='bench', time=f'{seconds:.1f}')
    for name in wanted:
        case = et.SubElement(suite, 'testcase', classname='bench', name=name)
        for sentence in bad:
            if sentence.startswith(f'{name}: '):
                et.SubElement(case, 'failure', message=sentence)
    return et.tostring(suite, encoding='unicode') + '\n'


def interrupted(signum, _):
    raise SystemExit(128 + signum)


def main(argv):
    args = parse(argv)
    if args.show:
        return show(args.show)
    quick = bool(os.environ.get('UVDPA_BENCH_QUICK'))
    signal.signal(signal.SIGTERM, interrupted)
    bench = Bench(TOP / args.build, quick)
    groups = all_groups(bench)
    if quick and not args.only:
        groups = [group for group in groups if not getattr(group, 'takes_long', False)]
    specs = [spec for group in groups for spec in group.specs]
    if args.list:
        for spec in specs:
            say(f'{spec.id:<34} {spec.unit:<7} {"" if spec.target is None else spec.target}')
        return 0
    out = bench.build / 'bench.json'
    old = read(out) if args.only else []

    def keep(rows):
        merged = merge(old, rows, [spec.id for spec in specs])
        out.write_text(json.dumps(merged, indent=1) + '\n')

    began = time.monotonic()
    say(table.HEADING)
    with bench.workplace():
        rows, wanted, bad = run_groups(groups, args.only, keep)
    took = time.monotonic() - began
    for sentence in bad:
        say(f'error: {sentence}')
    if args.junit:
        pathlib.Path(args.junit).write_text(junit(wanted, bad, took), encoding='utf-8')
    met = sum(row.get('met') is True for row in rows)
    missed = sum(row.get('met') is False for row in rows)
    say(f'{len(rows)} rows in {out}: {met} targets met, {missed} missed, '
        f'{len(rows) - met - missed} only printed; {took:.0f} s'
        + (', brief' if quick else ''))
    return 1 if bad or not wanted else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
