"""Memory that is freed is kept for the next table, where the C library is glibc."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_PAGES = """
import resource
import numpy as np
from layertui.capture.interpreter.memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [np.ones(1 << 18) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages()
first = pages()
keep_freed_memory()
pages()
print(first, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries do as they like")
def test_tables_are_not_mapped_anew() -> None:
    """In a process of its own, where nothing freed a large block before, and nothing in the
    environment (Dask's workers set it) tells glibc what to do.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", _PAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    before, after = (int(number) for number in done.stdout.split())
    assert before > 1000
    assert after < 100
