"""Both captures of a comparison, opened as its rules say; also from one directory that holds both
sides' text dumps.
"""

from __future__ import annotations

from dataclasses import replace

from ...capture.open import open_capture
from ...capture.records import Capture
from ..rules.rules import Rules


def open_sides(
    reference: str, candidate: str, rules: Rules | None = None, raw: str | None = None,
    headers: bool = True,
) -> tuple[Capture, Capture]:  # fmt: skip
    """Both captures (`open_capture`). Raises `CaptureError`."""
    first, second = (None, None) if rules is None else rules.layouts
    return pick_sides(
        open_capture(reference, raw=raw, headers=headers, layout=first),
        open_capture(candidate, raw=raw, headers=headers, layout=second),
    )


def pick_sides(reference: Capture, candidate: Capture) -> tuple[Capture, Capture]:
    """A directory may hold both sides' text dumps: the reference is `py_`, the candidate `cpp_`."""
    return _side(reference, "py"), _side(candidate, "cpp")


def _side(capture: Capture, side: str) -> Capture:
    sides = {record.side for record in capture.records if record.side is not None}
    if len(sides) < 2:
        return capture
    kept = [record for record in capture.records if record.side in (side, None)]
    return replace(capture, records=kept)
