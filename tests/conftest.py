"""What holds for every test."""

import os
import re
from collections.abc import Generator

import pytest
from hypothesis import settings

# A machine that is busy with something else must not turn a test red: hypothesis times no example here.
settings.register_profile("storage-proxy", deadline=None)
settings.load_profile("storage-proxy")

# Where all programs and packages are at hand (.ci/run sees to it), a test that misses one must not pass unnoticed.
STRICT = os.environ.get("STORAGE_PROXY_STRICT") == "1"
MISSES = re.compile(r"\binstall|\bon the path\b|\(Debian: |\bis not built\b")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        *_, reason = report.longrepr
        if MISSES.search(reason):
            report.outcome = "failed"
            report.longrepr = f"STORAGE_PROXY_STRICT: {reason}"
    return report
