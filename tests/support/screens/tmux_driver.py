"""A real tmux for tests: a server of its own with a plain shell in one window."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Tmux = Callable[..., str]


@contextmanager
def server(socket: Path, size: tuple[int, int] = (100, 30)) -> Iterator[Tmux]:
    """Gives what runs tmux commands on that server, which is gone at the end."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(socket), "-f", "/dev/null", *arguments],
            capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PS1": "$ "},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    columns, lines = map(str, size)
    run("new-session", "-d", "-x", columns, "-y", lines, "bash --norc --noprofile")
    yield run
    run("kill-server")


def wait_for(tmux: Tmux, text: str, limit: float = 90.0) -> str:
    """The screen, once `text` is on it."""
    return wait_until(tmux, lambda shown: text in shown, repr(text), limit)


def wait_until(
    tmux: Tmux, done: Callable[[str], object], what: str, limit: float = 90.0
) -> str:  # fmt: skip
    """The screen, once it is `done`; `what` names that."""
    end = time.monotonic() + limit
    while True:
        shown = tmux("capture-pane", "-p")
        if done(shown):
            return shown
        assert time.monotonic() < end, f"{what} is not on the screen:\n{shown}"
        time.sleep(0.05)
