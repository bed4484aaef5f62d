# SPDX-License-Identifier: BSD-3-Clause
"""The interop tests use the fixtures of the VM tests."""

import importlib.util
import os
import sys

VM = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))),
                  "vm")
sys.path.insert(0, VM)
SPEC = importlib.util.spec_from_file_location(
    "vm_conftest", os.path.join(VM, "conftest.py"))
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)

cache = MODULE.cache
work = MODULE.work
daemon = MODULE.daemon
pytest_runtest_makereport = MODULE.pytest_runtest_makereport
