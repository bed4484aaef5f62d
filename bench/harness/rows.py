# SPDX-License-Identifier: BSD-3-Clause
"""Rows of the table: what is measured against what, and what comes of a number of runs."""
import dataclasses
import fnmatch
import statistics

# A driver that is busy for this share of the time is what bounds a row.
AT_CEILING = 0.95


@dataclasses.dataclass(frozen=True)
class Spec:
    """One row as it is meant. target None: printed, not judged."""
    id: str
    unit: str
    peer: str
    target: float = None
    lower_is_better: bool = False


@dataclasses.dataclass
class Sample:
    """What one run gave. CPU: seconds of CPU time per second, of the device and of the driver."""
    value: float
    device_cpu: float = None
    driver_cpu: float = None
    more: dict = dataclasses.field(default_factory=dict)


def ratios(pairs):
    return [ours.value / peer.value for ours, peer in pairs]


def median_of(samples, field='value'):
    values = [getattr(s, field) for s in samples]
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def is_met(spec, ratio, of_ceiling=None):
    """True, False, or None for a row that is only printed."""
    if spec.target is None or ratio is None:
        return None
    if spec.lower_is_better:
        return ratio <= spec.target
    return ratio >= spec.target or (of_ceiling is not None and of_ceiling >= AT_CEILING)


def rounded(value, digits=4):
    return None if value is None else float(f'{value:.{digits}g}')


def cpu_of(samples):
    return {'device': rounded(median_of(samples, 'device_cpu'), 3),
            'driver': rounded(median_of(samples, 'driver_cpu'), 3)}


def make_row(spec, pairs, more=None):
    """The row of @spec: medians of both sides, and the median of the ratios of neighbouring runs."""
    if not pairs:
        raise ValueError(f'{spec.id}: no runs')
    ours, peer = [p[0] for p in pairs], [p[1] for p in pairs]
    found = ratios(pairs)
    ratio = statistics.median(found)
    row = {
        'id': spec.id,
        'ours': rounded(median_of(ours)),
        'peer': rounded(median_of(peer)),
        'unit': spec.unit,
        'ratio': rounded(ratio),
        'spread': [rounded(min(found)), rounded(max(found))],
        'target': spec.target,
        'lower_is_better': spec.lower_is_better,
        'peer_is': spec.peer,
        'pairs': len(pairs),
        'runs': {'ours': [rounded(s.value) for s in ours],
                 'peer': [rounded(s.value) for s in peer]},
        'cpu': {'ours': cpu_of(ours), 'peer': cpu_of(peer)},
    }
    row.update(more or {})
    row['met'] = is_met(spec, ratio, row.get('of_ceiling'))
    return row


NUMBER = (int, float)
SCHEMA = {
    'id': (str,),
    'ours': NUMBER,
    'peer': NUMBER + (type(None),),
    'unit': (str,),
    'ratio': NUMBER + (type(None),),
    'spread': (list, type(None)),
    'target': NUMBER + (type(None),),
    'lower_is_better': (bool,),
}


def problems(rows, wanted, reasons=None):
    """
    What is wrong with @rows as an answer to @wanted (ids): a list of sentences, [] when all is well.
    @reasons: why a row is missing, by id, where that is known.
    """
    found, seen = [], set()
    for row in rows:
        name = row.get('id', '?')
        if name in seen:
            found.append(f'{name}: twice')
        seen.add(name)
        for key, types in SCHEMA.items():
            if key not in row:
                found.append(f'{name}: has no "{key}"')
            elif not isinstance(row[key], types):
                found.append(f'{name}: "{key}" is {row[key]!r}')
        if row.get('spread') and len(row['spread']) != 2:
            found.append(f'{name}: "spread" is {row["spread"]!r}')
    return found + [f'{name}: missing: {(reasons or {}).get(name) or "no reason given"}'
                    for name in wanted if name not in seen]


def matches(name, words):
    """Is the row @name one of those that @words (ids, beginnings of ids, or patterns) ask for?"""
    return not words or any(fnmatch.fnmatchcase(name, w) or name == w or name.startswith(w)
                            for w in words)


def text_of(value):
    if value is None:
        return '-'
    if value == 0:
        return '0'
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def line_of(row):
    spread = '-'
    if row['spread']:
        spread = '..'.join(f'{x:.2f}' for x in row['spread'])
    ratio = '-' if row['ratio'] is None else f'{row["ratio"]:.3f}'
    sign = '<=' if row['lower_is_better'] else '>='
    target = '' if row['target'] is None else f'{sign} {row["target"]:g}'
    verdict = {True: 'met', False: 'MISSED', None: ''}[row.get('met')]
    if row.get('ceiling'):
        verdict += f' (driver\'s ceiling {text_of(row["ceiling"])}: at {row["of_ceiling"]:.0%})'
    if row.get('peer_of_limit'):
        verdict += f' (peer at {row["peer_of_limit"]:.0%} of the limit)'
    return (f'{row["id"]:<34} {text_of(row["ours"]):>11} {text_of(row["peer"]):>11} '
            f'{row["unit"]:<7} {ratio:>7} {spread:>13} {target:>8}  {verdict}')


HEADING = (f'{"id":<34} {"ours":>11} {"peer":>11} {"unit":<7} {"ratio":>7} {"spread":>13} '
           f'{"target":>8}')
