"""Console examples of the manual, executed: commands after `$`, then what they print.

A line `...` stands for any lines. Only standard output is compared.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

_ANY = "..."


def blocks(page: str, mark: str) -> list[str]:
    """The ```console blocks of a page behind `<!-- mark -->`."""
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```console\n(.*?)```", page, re.DOTALL)


def run_block(block: str, folder: Path, **environment: str) -> None:
    """Run every command of a block by the shell in `folder` and compare what it prints."""
    program = folder / ".bin" / "layertui"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m layertui.cli "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    for command, expected in _commands(block):
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=folder, env={**os.environ, **environment, "PATH": path},
            capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
        printed = [line.rstrip() for line in done.stdout.splitlines()]
        assert _fits(expected, printed), "\n".join(
            [f"$ {command}", *printed, done.stderr, "--- the manual says", *expected]
        )


def _commands(block: str) -> list[tuple[str, list[str]]]:
    """Commands and their lines; `\\` at the end of a command goes on in the next line."""
    found: list[tuple[str, list[str]]] = []
    joined = re.sub(r"\\\n\s*", "", block)
    for line in joined.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line.rstrip())
    return found


def _fits(expected: list[str], printed: list[str]) -> bool:
    if not expected:
        return not printed
    if expected[0] == _ANY:
        return any(_fits(expected[1:], printed[at:]) for at in range(len(printed) + 1))
    return bool(printed) and expected[0] == printed[0] and _fits(expected[1:], printed[1:])
