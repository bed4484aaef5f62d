#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""run.py UVDPA UVDPAD FILE: pytest on one file, with a JUnit report when UVDPA_JUNIT_DIR says where."""
import os
import pathlib
import sys

os.environ['UVDPA'], os.environ['UVDPAD'], name = sys.argv[1:4]
os.environ.setdefault('PYTHONDONTWRITEBYTECODE', '1')
args = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', name]
if os.environ.get('UVDPA_JUNIT_DIR'):
    args.append(f'--junitxml={os.environ["UVDPA_JUNIT_DIR"]}/cli-{pathlib.Path(name).stem}.xml')
os.chdir(pathlib.Path(__file__).resolve().parent)
os.execv(args[0], args)
