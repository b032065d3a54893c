"""A candidate that is the reference: a comparison of something with itself means nothing.

Two runs of one program may well agree bit by bit. Two frameworks, or two dtypes, do not: one of the
captures is then a copy of the other, or both are of one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...capture.records import Capture
from ...capture.storage import storage_of
from ..limits import FEWEST_EQUAL
from ..measuring.pair_dtypes import side_dtypes
from ..model import Measurement, Row

if TYPE_CHECKING:
    from ..aligned import Aligned, Results


@dataclass(frozen=True, slots=True)
class Sameness:
    """Why the candidate seems to be the reference, in a sentence and in a few words."""

    words: str
    short: str


def same_files(reference: Capture, candidate: Capture) -> Sameness | None:
    """Where every record of the one capture is of the same file as the other's, links included."""
    ours, theirs = _files(reference), _files(candidate)
    if not ours or set(ours.values()) != set(theirs.values()):
        return None  # nearly always: then nothing is put in order
    if _by_name(reference, ours) != _by_name(candidate, theirs):
        return None
    return Sameness(
        "the candidate is the reference: both are read from the same files, so their agreement "
        "means nothing",
        "the candidate is the reference itself",
    )


def equal_bits(aligned: Aligned, results: Results) -> Sameness | None:
    """Where every value is equal though framework or dtype differ. All is measured by then."""
    floats = 0
    dtypes: tuple[str, str] | None = None
    for row, result in zip(aligned.rows, results.measurements, strict=True):
        if row.kind != "pair":
            continue
        if not isinstance(result, Measurement) or not result.identical:
            return None
        found = side_dtypes(row)
        if found is None or not _tells(row, found, result):
            continue
        floats += 1
        if found[0] != found[1]:
            dtypes = dtypes or found
    left, right = aligned.reference.framework, aligned.candidate.framework
    differ = [f"one is of {left}, the other of {right}"] if left and right and left != right else []
    differ += [f"one is {dtypes[0]}, the other {dtypes[1]}"] if dtypes else []
    if floats < FEWEST_EQUAL or not differ:
        return None
    return Sameness(
        f"the candidate equals the reference bit by bit though {' and '.join(differ)}: one may be "
        "a copy of the other, or both may come from one run",
        "it equals the reference bit by bit, as a copy does",
    )


def _tells(row: Row, dtypes: tuple[str, str], result: Measurement) -> bool:
    """Whether a pair holds what a model computed: floating-point numbers that are not all one."""
    if row.role == "input" or not all(name.startswith(("float", "bfloat")) for name in dtypes):
        return False
    side = result.reference
    return side is not None and side.min is not None and side.min != side.max


def _files(capture: Capture) -> dict[str, tuple[object, ...]]:
    """Where the files lie that hold the records, by path; nothing where one is gone."""
    found: dict[str, tuple[object, ...]] = {}
    for path in {record.locator.path for record in capture.records if record.locator is not None}:
        try:
            status = storage_of(path).status(path)
        except OSError:
            return {}
        if status is None or not status.place:
            return {}
        found[path] = status.place
    return found


def _by_name(
    capture: Capture, files: Mapping[str, tuple[object, ...]]
) -> list[tuple[str, tuple[object, ...]]]:
    """Each record's name and the file that holds it, in order."""
    listed = [
        (record.name, files[record.locator.path])
        for record in capture.records
        if record.locator is not None
    ]
    return sorted(listed, key=repr)
