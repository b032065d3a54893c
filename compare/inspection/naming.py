"""Rows and records by the names that a user types, and words as a shell reads them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...capture.records import Capture, Record
from ..model import Row

if TYPE_CHECKING:
    from ..comparison import Comparison


class NoSuchNameError(Exception):
    """A name that nothing has, or that several have; one line for the user."""


def row_named(comparison: Comparison, name: str, step: int | None) -> Row:
    """The row that is called so: by a record's name, by `module-slot`, by `#12`, its number, or by
    a part of a name that no other row has; pairs before gaps, the first step unless one is given.

    Raises `NoSuchNameError`.
    """
    rows = [row for row in comparison.rows if step is None or row.step == step]
    for found in (
        [row for row in rows if name in names(row)],
        [row for row in rows if any(name in known for known in names(row))],
    ):
        pairs = [row for row in found if row.kind == "pair"] or found
        if len(pairs) == 1 or (pairs and step is None and len({r.label for r in pairs}) == 1):
            return pairs[0]
        if pairs:
            some = ", ".join(f"{row.label} (#{row.index})" for row in pairs[:4])
            more = ", ..." if len(pairs) > 4 else ""
            raise NoSuchNameError(f"{name!r} matches {len(pairs)} rows: {some}{more}")
    numbered = [row for row in rows if name == f"#{row.index}"]
    if numbered:
        return numbered[0]
    of_step = "" if step is None else f" in step {step}"
    raise NoSuchNameError(
        f"no record {name!r}{of_step} in {comparison.reference.path} or "
        f"{comparison.candidate.path} (layertui show DIR lists them)"
    )


def rows_called(comparison: Comparison, name: str) -> list[Row]:
    """All rows that a name means: one by its number as `#12` or by `module-slot`; those of a module
    by its canonical name or as either side calls it, or of a record; else those whose `module-slot`
    holds it.
    """
    rows = comparison.rows
    for found in (
        [row for row in rows if name in (row.label, f"#{row.index}")],
        [row for row in rows if name in (*names(row), *module_names(row))],
        [row for row in rows if name in row.label],
    ):
        if found:
            return found
    return []


def record_named(capture: Capture, name: str, step: int | None) -> Record:
    """The record that is called so, or the only one whose name holds it. Raises
    `NoSuchNameError`.
    """
    records = [record for record in capture.records if step is None or record.step == step]
    exact = [record for record in records if record.name == name]
    found = exact or [record for record in records if name in record.name]
    if len({record.name for record in found}) == 1:
        return found[0]
    if not found:
        raise NoSuchNameError(
            f"{capture.path}: no record {name!r} (layertui show {capture.path} lists them)"
        )
    some = ", ".join(record.name for record in found[:4])
    more = ", ..." if len(found) > 4 else ""
    raise NoSuchNameError(f"{capture.path}: {name!r} matches {len(found)} records: {some}{more}")


def names(row: Row) -> tuple[str, ...]:
    """What a row is called: by its records, and by its place in the model."""
    records = [record.name for record in (row.reference, row.candidate) if record is not None]
    return (*records, row.label)


def module_names(row: Row) -> tuple[str, ...]:
    """What the module of a row is called: in the comparison, and by either side."""
    records = (row.reference, row.candidate)
    return (row.canonical, *(record.module for record in records if record is not None))


def telling_name(comparison: Comparison, row: Row) -> str:
    """The name that leads back to this row, together with its step; a fused record has several
    rows, so that the part's name is needed.
    """
    for name in names(row):
        try:
            if row_named(comparison, name, row.step or None).index == row.index:
                return name
        except NoSuchNameError:
            continue
    return f"#{row.index}"


def command_line(program: Sequence[str], places: Sequence[str], options: Sequence[str]) -> str:
    """A command as a shell reads it, in one line of printable characters."""
    if any(place.startswith("-") for place in places):
        words = [*program, *options, "--", *places]
    else:
        words = [*program, *places, *options]
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(_escaped(c) for c in word)}'"  # bash, zsh, ksh and POSIX of 2024


def _escaped(c: str) -> str:
    if c in "\\'":
        return f"\\{c}"
    return c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c))
