#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""check_exports.py LIBRARY MAP INCLUDE-FOLDER: the library exports what the headers declare, and nothing else.

Every exported symbol matches a pattern of the version script and is declared with VDPA_API in a public
header; every VDPA_API declaration is exported.
"""
import fnmatch
import pathlib
import re
import subprocess
import sys


def patterns_of(text):
    """The patterns of all "global:" sections of a version script."""
    text = re.sub(r'/\*.*?\*/', '', text, flags=re.S)
    found = []
    for section in re.findall(r'global:(.*?)(?:local:|\})', text, flags=re.S):
        found += [word.strip() for word in section.split(';') if word.strip()]
    return found


def declared_in(text):
    """Names that are declared with VDPA_API."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)
    text = re.sub(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', ' ', text, flags=re.M)
    for declaration in re.findall(r'\bVDPA_API\b([^;{]*)[;{]', text):
        function = re.search(r'(\w+)\s*\(', declaration)
        variable = re.search(r'(\w+)\s*(?:\[[^\]]*\]\s*)*$', declaration)
        yield (function or variable).group(1)


def exported_by(library):
    """Names of the dynamic symbols that the library defines."""
    out = subprocess.run(['nm', '-D', '--defined-only', library], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind != 'A':  # the version nodes themselves
            yield name.split('@')[0]


def main():
    library, version_script, folder = sys.argv[1:]
    patterns = patterns_of(pathlib.Path(version_script).read_text())
    exported = set(exported_by(library))
    declared = {}
    for header in sorted(pathlib.Path(folder).rglob('*.h')):
        for name in declared_in(header.read_text()):
            declared.setdefault(name, header)
    bad = [f'{name}: exported, but matches no pattern of {version_script}' for name in sorted(exported)
           if not any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    bad += [f'{name}: exported, but no public header declares it'
            for name in sorted(exported - set(declared))]
    bad += [f'{declared[name]}: {name} is declared, but not exported'
            for name in sorted(set(declared) - exported)]
    print(*bad, sep='\n', end='\n' if bad else '')
    print(f'{len(exported)} symbols exported, {len(declared)} declared, {len(bad)} mistakes')
    return bool(bad) or not exported


if __name__ == '__main__':
    sys.exit(main())
