# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmarks make of their figures."""
import json
import pathlib
import sys
import xml.etree.ElementTree as et

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bench'))

from harness import rows  # noqa: E402  pylint: disable=wrong-import-position

FASTER = rows.Spec('a-rate', 'IOPS', 'somebody', 1.5)
SOONER = rows.Spec('a-latency', 'us', 'somebody', 0.5, lower_is_better=True)


def pairs(*values):
    return [(rows.Sample(ours, 0.5, 0.25), rows.Sample(peer)) for ours, peer in values]


def test_ratio_is_the_median_of_the_pairs_ratios():
    """Not the ratio of the medians: the machine may be half as fast in one pair as in the next."""
    row = rows.make_row(FASTER, pairs((200, 100), (30, 10), (400, 100)))
    assert row['ratio'] == 3
    assert row['spread'] == [2, 4]
    assert (row['ours'], row['peer']) == (200, 100)


def test_of_an_even_number_the_middle():
    assert rows.make_row(FASTER, pairs((10, 10), (20, 10)))['ratio'] == 1.5


def test_cpu_of_both_sides_is_kept():
    row = rows.make_row(FASTER, pairs((2, 1)))
    assert row['cpu'] == {'ours': {'device': 0.5, 'driver': 0.25},
                          'peer': {'device': None, 'driver': None}}


def test_no_runs_is_an_error():
    with pytest.raises(ValueError):
        rows.make_row(FASTER, [])


@pytest.mark.parametrize('spec,ratio,met', [
    (FASTER, 1.5, True),
    (FASTER, 1.49, False),
    (SOONER, 0.5, True),
    (SOONER, 0.51, False),
    (rows.Spec('printed', 'us', 'somebody'), 9, None),
])
def test_target(spec, ratio, met):
    assert rows.is_met(spec, ratio) is met


def test_a_driver_at_its_ceiling_is_enough():
    assert rows.is_met(FASTER, 1.2, of_ceiling=0.94) is False
    assert rows.is_met(FASTER, 1.2, of_ceiling=0.95) is True
    assert rows.is_met(SOONER, 0.6, of_ceiling=1.0) is False


def test_rows_keep_to_the_schema():
    made = [rows.make_row(FASTER, pairs((2, 1))), rows.make_row(SOONER, pairs((1, 3)))]
    assert rows.problems(json.loads(json.dumps(made)), ['a-rate', 'a-latency']) == []


def test_a_missing_row_is_an_error():
    made = [rows.make_row(FASTER, pairs((2, 1)))]
    wanted = ['a-rate', 'a-latency']
    assert rows.problems(made, wanted) == ['a-latency: missing: no reason given']
    assert rows.problems(made, wanted, {'a-latency': 'no socket'}) == [
        'a-latency: missing: no socket']


@pytest.mark.parametrize('change', [{'ours': '1'}, {'ours': None}, {'spread': [1]},
                                    {'lower_is_better': 0}, {'target': 'x'}])
def test_a_wrong_member_is_an_error(change):
    row = dict(rows.make_row(FASTER, pairs((2, 1))), **change)
    assert rows.problems([row], ['a-rate'])


def test_a_member_that_is_not_there_is_an_error():
    for key in rows.SCHEMA:
        row = rows.make_row(FASTER, pairs((2, 1)))
        del row[key]
        assert rows.problems([row], [])


def test_the_same_row_twice_is_an_error():
    row = rows.make_row(FASTER, pairs((2, 1)))
    assert rows.problems([row, row], ['a-rate']) == ['a-rate: twice']


@pytest.mark.parametrize('words,chosen', [
    ([], True), (['net-loop-64-split-mrg'], True), (['net-loop'], True), (['*-64-*'], True),
    (['blk'], False), (['loop'], False),
])
def test_choice_of_rows(words, chosen):
    assert rows.matches('net-loop-64-split-mrg', words) is chosen


def test_a_line_says_when_a_target_is_missed():
    assert 'MISSED' in rows.line_of(rows.make_row(FASTER, pairs((1, 1))))
    assert 'MISSED' not in rows.line_of(rows.make_row(FASTER, pairs((2, 1))))


def test_report_for_the_summary():
    from harness import main    # pylint: disable=import-outside-toplevel
    text = main.junit(['a-rate', 'a-latency'], ['a-latency: missing: no socket'], 1.5)
    cases = {case.get('name'): case for case in et.fromstring(text)}
    assert list(cases) == ['a-rate', 'a-latency']
    assert [x.tag for x in cases['a-latency']] == ['failure']
    assert not list(cases['a-rate'])


class Broken:
    """A group that cannot be measured."""
    specs = [SOONER]

    @staticmethod
    def run(_):
        from harness import testbed    # pylint: disable=import-outside-toplevel
        raise testbed.CannotRun('no socket')


class Sound:
    specs = [FASTER]

    @staticmethod
    def run(wanted):
        return [rows.make_row(spec, pairs((1, 9))) for spec in wanted]


def test_what_cannot_be_measured_fails_and_a_missed_target_does_not():
    from harness import main    # pylint: disable=import-outside-toplevel
    found, ids, bad = main.run_groups([Broken, Sound], [])
    assert [row['id'] for row in found] == ['a-rate'] and found[0]['met'] is False
    assert ids == ['a-latency', 'a-rate']
    assert bad == ['a-latency: missing: no socket']


def test_a_choice_of_rows_leaves_the_others():
    from harness import main    # pylint: disable=import-outside-toplevel
    old = [{'id': 'a', 'ours': 1}, {'id': 'b', 'ours': 2}]
    assert main.merge(old, [{'id': 'b', 'ours': 3}], 'ab') == [old[0], {'id': 'b', 'ours': 3}]
    assert main.merge([], [{'id': 'b', 'ours': 3}], 'ab') == [{'id': 'b', 'ours': 3}]
    assert [row['id'] for row in main.merge(old, [{'id': 'c'}], 'cab')] == ['c', 'a', 'b']


def test_rows_are_kept_while_others_are_measured():
    from harness import main    # pylint: disable=import-outside-toplevel
    kept = []
    main.run_groups([Sound, Broken], [], lambda found: kept.append([r['id'] for r in found]))
    assert kept == [['a-rate'], ['a-rate']]


def test_a_file_of_rows_is_shown_as_it_was_printed(tmp_path, capsys):
    from harness import main    # pylint: disable=import-outside-toplevel
    made = [rows.make_row(FASTER, pairs((2, 1))), rows.make_row(SOONER, pairs((1, 1)))]
    (tmp_path / 'bench.json').write_text(json.dumps(made))
    assert main.main(['--show', str(tmp_path / 'bench.json')]) == 0
    assert capsys.readouterr().out.splitlines() == [rows.HEADING] + [rows.line_of(r) for r in made]


def test_of_the_peers_ways_the_fastest_counts():
    """Also where CPU time is compared, and in each pair."""
    from harness import vduse  # pylint: disable=import-outside-toplevel
    runs = [{'driver': 'vhost_vdpa', 'op': op, 'depth': 1, 'side': side, 'iops': iops * (1 + pair), 'cpu_us': cpu}
            for pair in range(3) for op in ('read', 'write')
            for side, iops, cpu in (('ours', 30, 1), ('peer slow', 10, 2), ('peer fast', 20, 5))]
    best, pairs_of_iops = vduse.pairs_of(runs, ('vhost_vdpa', 'read', 1, 'iops'))
    assert best == 'peer fast'
    assert [(a.value, b.value) for a, b in pairs_of_iops] == [(30, 20), (60, 40), (90, 60)]
    best, pairs_of_cpu = vduse.pairs_of(runs, ('vhost_vdpa', 'read', 1, 'cpu_us'))
    assert best == 'peer fast' and [(a.value, b.value) for a, b in pairs_of_cpu] == [(1, 5)] * 3


def test_rows_of_vduse_are_judged_by_vhost_vdpa_only():
    from harness import vduse  # pylint: disable=import-outside-toplevel
    targets = {spec.id: spec.target for spec in vduse.VduseGroup.specs}
    assert len(targets) == 16
    assert targets['vduse-vhost-vdpa-randread-qd32'] == 1.2 and targets['vduse-vhost-vdpa-randwrite-qd1'] == 1.1
    assert targets['vduse-vhost-vdpa-randread-qd1-cpu'] == 0.9
    assert not any(t for name, t in targets.items() if 'virtio' in name)


def test_doorbells_by_ioeventfd_are_judged_and_messages_are_not():
    from harness import doorbell  # pylint: disable=import-outside-toplevel

    class Group(doorbell.DoorbellGroup):
        disks = staticmethod(lambda _: [])
        once = staticmethod(lambda _: {'event': {'ours': 65, 'peer': 50}, 'post': {'ours': 90, 'peer': 50}})

    class Bench:
        pairs = 3
        daemon = staticmethod(lambda _: None)
    event, post = Group(Bench()).run(Group.specs)
    assert event['id'] == 'vfio-user-event-qd1-latency' and event['lower_is_better']
    assert (event['ratio'], event['target'], event['met']) == (1.3, 1.3, True)
    assert post['id'] == 'vfio-user-post-qd1-latency' and (post['ratio'], post['met']) == (1.8, None)
    assert [row['id'] for row in Group(Bench()).run(Group.specs[1:])] == [post['id']]
