# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the VM and interop tests."""

import os
import shutil
import subprocess
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


@pytest.fixture
def daemon(cache, work):
    """Our daemon; it has to be well, and to end well, when the test ends."""
    if os.environ.get("UVDPA_STANDIN"):
        with vmlib.StandIns(cache, work) as stand_ins:
            yield stand_ins
        return
    with vmlib.Uvdpad(work) as uvdpad:
        yield uvdpad
        uvdpad.finish()


@pytest.fixture(scope="session")
def netloop(tmp_path_factory):
    """The path of the program netloop, built without shared libraries."""
    path = str(tmp_path_factory.mktemp("netloop") / "netloop")
    source = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                          "netloop.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
                    "-o", path, source], check=True, timeout=60)
    return path
