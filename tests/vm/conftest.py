# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the VM and interop tests."""

import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import vmlib  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def cache():
    """The test bed's cache, built when it is missing."""
    return vmlib.Cache()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.has_failed = True


@pytest.fixture
def work(request):
    """A directory for sockets, images and logs; kept when the test failed."""
    path = tempfile.mkdtemp(prefix="uvdpa-vm-", dir="/tmp")
    yield path
    if getattr(request.node, "has_failed", False):
        print(f"kept for inspection: {path}")
    else:
        shutil.rmtree(path)
