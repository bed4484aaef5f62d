#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""check_headers.py INCLUDE-FOLDER C-COMPILER C++-COMPILER: each public header stands alone.

Each is compiled by itself, twice in one file, and all of them together, as C11 and as C++17, with all
warnings as errors. Nothing but the public folder is on the include path.
"""
import pathlib
import subprocess
import sys
import tempfile

WARNINGS = ['-Wall', '-Wextra', '-Wcast-qual', '-Wcast-align', '-Werror', '-Wno-unused-parameter']
LANGUAGES = {
    'c': ['-x', 'c', '-std=gnu11', '-Wstrict-prototypes'],
    'c++': ['-x', 'c++', '-std=c++17'],
}


def compiles(compiler, language, folder, names):
    """None, or what the compiler said about a file that includes @names."""
    with tempfile.NamedTemporaryFile('w', suffix='.' + language) as source:
        source.write(''.join(f'#include <uvdpa/{name}>\n' for name in names))
        source.write('int main() { return 0; }\n' if language == 'c++' else
                     'int main(void) { return 0; }\n')
        source.flush()
        done = subprocess.run([*compiler, *LANGUAGES[language], *WARNINGS, '-fsyntax-only', '-I', folder,
                               source.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
    return done.stdout if done.returncode else None


def main():
    folder, c, cxx = sys.argv[1:]
    compilers = {'c': c.split(), 'c++': cxx.split()}
    names = sorted(path.name for path in (pathlib.Path(folder) / 'uvdpa').glob('*.h'))
    failures = 0
    for name in names:
        if 'Since 0.' not in (pathlib.Path(folder) / 'uvdpa' / name).read_text() and name != 'compat.h':
            print(f'{name} does not say since which version it is what it is')
            failures += 1
    for language, compiler in compilers.items():
        for group in [[name, name] for name in names] + [names, names[::-1]]:
            said = compiles(compiler, language, folder, group)
            if said is not None:
                failures += 1
                print(f'-- {language}: {" ".join(group)}\n{said}')
    print(f'{len(names)} headers, {failures} failures')
    return bool(failures) or not names


if __name__ == '__main__':
    sys.exit(main())
