"""Several processes that record one run together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def run_together(program: str, arguments: Sequence[Sequence[object]]) -> None:
    """Run a program's text in a process for each list of arguments, all at once, to their ends."""
    workers = [
        subprocess.Popen([sys.executable, "-c", program, *map(str, own)]) for own in arguments
    ]
    try:
        assert [worker.wait(600) for worker in workers] == [0] * len(workers)
    finally:
        for worker in workers:
            worker.kill()
