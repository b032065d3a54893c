"""Directories that hold both sides' text dumps."""

from __future__ import annotations

from dataclasses import replace

from ...capture.records import Capture


def pick_sides(reference: Capture, candidate: Capture) -> tuple[Capture, Capture]:
    """A directory may hold both sides' text dumps: the reference is `py_`, the candidate `cpp_`."""
    return _side(reference, "py"), _side(candidate, "cpp")


def _side(capture: Capture, side: str) -> Capture:
    sides = {record.side for record in capture.records if record.side is not None}
    if len(sides) < 2:
        return capture
    kept = [record for record in capture.records if record.side in (side, None)]
    return replace(capture, records=kept)
