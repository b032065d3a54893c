"""Whether a capture is being written, written anew, or complete, as far as its files tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from ...capture.errors import CaptureError
from ...capture.open import open_capture
from ...capture.storage import is_url, storage_of

State = Literal["same", "gone", "writing", "rested"]


@dataclass(frozen=True, slots=True)
class Glance:
    """The files of a capture at one time: how many, their bytes, what changes whenever the content
    of one may have, and the latest change in nanoseconds since 1970.
    """

    files: int
    nbytes: int
    stamp: int
    newest: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two glances at least, after how many without a change files count as
    written, and after how many where there are fewer than before, which may be on their way.
    """

    glances: float = 1.0
    rest: float = 2.0
    rest_with_fewer: float = 10.0


def glance(path: str) -> Glance | None:
    """The files of a local capture now; None where there are none. No file is opened. Raises
    `CaptureError` for a URL.
    """
    if is_url(path):
        raise CaptureError(f"{path}: only captures on this machine can be watched")
    try:
        found = storage_of(path).files(path)
    except (CaptureError, OSError):  # a folder may vanish while it is listed
        return None
    count = nbytes = stamp = newest = 0
    for file in found:
        try:
            status = os.stat(file.path)
        except (OSError, ValueError):
            continue
        count, nbytes = count + 1, nbytes + status.st_size
        newest = max(newest, status.st_mtime_ns)
        known = (file.path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        stamp ^= hash(known)
    return Glance(count, nbytes, stamp, newest) if count else None


def unfinished(path: str, raw: str | None = None) -> str:
    """Why a capture must not be judged yet: its writer has not finished, or it cannot be opened;
    empty where nothing says so.
    """
    try:
        capture = open_capture(path, raw=raw, headers=False)
    except CaptureError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return "the candidate is incomplete" if capture.complete is False else ""


class Writing:
    """What becomes of a capture between glances, since the one at what was read (`known`; None: it
    is not known what was).
    """

    def __init__(self, pace: Pace, known: Glance | None) -> None:
        self.known = known
        self._pace = pace
        self._last = known
        self._since = 0.0  # when `_last` was seen first

    def see(self, now: Glance | None, seconds: float) -> State:
        """What a glance at a time of a steady clock says."""
        if now is None:
            self._last = None
            return "gone"
        if self._last is None or now.stamp != self._last.stamp:
            self._last, self._since = now, seconds
        if self.known is not None and now.stamp == self.known.stamp:
            return "same"
        fewer = self.known is not None and now.files < self.known.files
        rest = self._pace.rest_with_fewer if fewer else self._pace.rest
        return "rested" if seconds - self._since >= rest else "writing"
