"""Nothing is left behind: a shell that waits for this process to end, whatever ends it.

The shell holds the reading end of a pipe. When the pipe closes, because `close` was called or
because this process was killed in any way, the shell kills the process group that it was told of
and removes the private directory.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

_WATCH = (
    "trap '' INT TERM HUP QUIT; group=; "
    "while IFS= read -r line; do group=$line; done; "
    '[ -n "$group" ] && kill -s KILL -- "-$group" 2>/dev/null; '
    'rm -rf -- "$1"'
)
_SECONDS = 20.0


class Guard:
    """A private directory and, told by `watch`, a process group that end with this process."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="layertui-rerun-"))
        try:
            self._shell: subprocess.Popen[bytes] | None = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "layertui-guard", str(self.directory)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", start_new_session=True,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def watch(self, group: int | None) -> None:
        """From now on this process group is to be killed at the end; None: none."""
        if self._shell is None or self._shell.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._shell.stdin.write(b"%d\n" % group if group is not None else b"\n")
            self._shell.stdin.flush()

    def close(self) -> None:
        """Kill the group and remove the directory now. May be called again."""
        shell, self._shell = self._shell, None
        if shell is not None and shell.stdin is not None:
            with contextlib.suppress(OSError):
                shell.stdin.close()
            try:
                shell.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                shell.kill()
                shell.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
