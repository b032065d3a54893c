"""A test that does not end is ended, together with the process that runs it. The tracebacks of all
threads are printed and, where pytest has several processes, the test is reported, the others run.

The watching thread is C's own, so a test that never gives up the interpreter's lock is ended, too.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator

import pytest

MOST_SECONDS = 900  # several times what the slowest test takes on two busy cores

_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STDERR] = os.dup(2)  # while a test runs, 2 is where pytest captures it


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    seconds = float(os.environ.get("LAYERTUI_TEST_SECONDS", MOST_SECONDS))
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
