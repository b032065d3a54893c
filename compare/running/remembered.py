"""What the user said of a capture once, kept in the state directory by the capture's path."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...capture.storage import is_url
from ...capture.user.paths import state_dir

_MOST = 500  # captures; the oldest are forgotten first


@dataclass(frozen=True, slots=True)
class Remembered:
    """One file of the state directory: `{"schema", "captures": {real path: value}}`."""

    file: str
    schema: str

    def of(self, path: str) -> Any:
        """What is known of the capture at `path`; None where nothing is."""
        return self._content().get(_real(path))

    def put(self, path: str, value: Any) -> None:
        """Keep a value that JSON has; a directory that cannot be written is no error."""
        known = self._content()
        known.pop(_real(path), None)
        known[_real(path)] = value
        kept = dict(list(known.items())[-_MOST:])
        place = state_dir() / self.file
        partial = place.with_name(f".{place.stem}-{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(
                json.dumps({"schema": self.schema, "captures": kept}, indent=1) + "\n"
            )
            partial.replace(place)
        except OSError:
            partial.unlink(missing_ok=True)

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(Path(state_dir() / self.file).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, RuntimeError):
            return {}
        captures = content.get("captures") if isinstance(content, dict) else None
        return captures if isinstance(captures, dict) else {}


def _real(path: str) -> str:
    """What a path and a URL are known by, from whichever directory."""
    return path if is_url(path) else os.path.realpath(path)
