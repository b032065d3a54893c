"""Metrics of every layer as CSV files, for notebooks and for tools that read the aiu layout.

`tidy.csv` has everything: one line a row of the pair's view (a token: all axes but the last,
counted in C order), for every pair; a gap, or a pair that cannot be read, has one line without
numbers but with its reason. Columns: `COLUMNS`.

Beside it, for every pair of outputs, the two files of aiu-fms-testing-utils
(`generate_layers_metrics.py`):

    <model>_max-new-tokens-<n>_batch-size-<b>_seq-length-<s>_dtype-<d>--<layer>.abs_diff.csv
    abs_diff
    Reference shape [1, 10, 64] Candidate shape [10, 64]
    Metric shape [10, 64]
    0.0013
    ...

`abs_diff` has |candidate - reference| of every element, `cos_sim` the cosine of every row; `nan` is
where a side alone has NaN or Inf. What a capture does not say is `unknown` in the name.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ...capture.records import Capture, Record
from ...capture.values import Array
from ..comparison import Comparison
from ..matching.names.canonical import layer_number
from ..matching.names.roles import is_embedded
from ..measuring.metrics import NUMBERS
from ..measuring.per_token import TokenRows, token_rows
from ..model import Failure, Row, Verdict
from .escaping import cell
from .forms.aiu_fms import aiu_layer, model_id
from .summary import component_of

TIDY = "tidy.csv"
_OF_ROWS = {name: spec.of_rows for name, spec in NUMBERS.items() if spec.of_rows is not None}
COLUMNS = (
    "index", "kind", "layer", "component", "module", "slot", "role", "step", "call", "token",
    "count", *_OF_ROWS, "verdict", "reason", "reference", "candidate", "matched_by",
)  # fmt: skip
_BYTES = 24  # of a number as text
_UNSAFE = re.compile(r"[^A-Za-z0-9._()-]")
_MOST_NAME = 180


@dataclass(slots=True)
class Written:
    """The files, and the pairs that are only in `tidy.csv`, with the reason."""

    files: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def bytes_needed(comparison: Comparison) -> int:
    """About how large the files will be."""
    total = 0
    for index, row in enumerate(comparison.rows):
        record = row.candidate
        if comparison.measurable(index) and record is not None and record.shape is not None:
            elements = prod(record.shape)
            lines = elements // max(1, record.shape[-1] if record.shape else 1)
            total += (elements * _BYTES if _is_layer(row) else 0) + lines * (10 * _BYTES)
    return total


def write_metrics(
    comparison: Comparison, folder: str, cancelled: Callable[[], bool] | None = None
) -> Written:
    """Write the files into the directory `folder`, which exists; one pair in memory at a time, of
    that its rows' sums only. Raises `OSError`, `CancelledError`.
    """
    written = Written([TIDY])
    prefix = file_prefix(comparison)
    names: set[str] = set()
    with open(os.path.join(folder, TIDY), "w", encoding="utf-8", newline="") as file:
        tidy = csv.writer(file, lineterminator="\n")
        tidy.writerow(COLUMNS)
        for index, row in enumerate(comparison.rows):
            found: TokenRows | Failure | None = None
            if comparison.measurable(index):
                name = _free_name(f"{prefix}--{_layer_name(row)}", names) if _is_layer(row) else ""
                found = _pair_files(comparison, index, folder, name, written, cancelled)
            reason = found.reason if isinstance(found, Failure) else (row.problem or "")
            if row.kind == "pair" and not isinstance(found, TokenRows):
                written.failed[row.label] = reason
            numbers = found if isinstance(found, TokenRows) else None
            tidy.writerows(_lines(row, comparison.verdicts[index], numbers, reason))
    return written


def _is_layer(row: Row) -> bool:
    return row.kind == "pair" and row.role in ("output", "value")


def _lines(row: Row, verdict: Verdict, found: TokenRows | None, reason: str) -> Any:
    layer = layer_number(row.canonical)
    head = [
        row.index, row.kind, "" if layer is None else layer, component_of(row), row.canonical,
        row.slot, row.role, row.step, row.call,
    ]  # fmt: skip
    tail = [
        verdict.level, reason or verdict.reason, row.reference.name if row.reference else "",
        row.candidate.name if row.candidate else "", row.matched_by or "",
    ]  # fmt: skip
    head, tail = ([*map(cell, part)] for part in (head, tail))
    if found is None or not found.rows:
        yield [*head, "", "", *[""] * len(_OF_ROWS), *tail]
        return
    numbers = (found.count, *(of(found) for of in _OF_ROWS.values()))
    for token, values in enumerate(zip(*(n.tolist() for n in numbers), strict=True)):
        yield [*head, token, *values, *tail]


# The layout of aiu-fms-testing-utils


def _pair_files(
    comparison: Comparison, index: int, folder: str, name: str, written: Written,
    cancelled: Callable[[], bool] | None,
) -> TokenRows | Failure:  # fmt: skip
    """Measure a pair row by row and, with a `name`, write its two files on the way."""
    task, row = comparison.task(index), comparison.rows[index]
    if not name:
        return token_rows(task, cancelled=cancelled)
    shapes = f"Reference shape {_shape(row.reference)} Candidate shape {_shape(row.candidate)}\n"
    place = os.path.join(folder, f"{name}.abs_diff.csv")
    with ExitStack() as stack:
        file: list[TextIO] = []

        def visit(shape: tuple[int, ...], start: int, sizes: Array) -> None:
            if not file:
                file.append(stack.enter_context(open(place, "w", encoding="utf-8")))
                file[0].write(f"abs_diff\n{shapes}Metric shape {list(shape)}\n")
            _write_numbers(file[0], sizes)

        found = token_rows(task, visit, cancelled)
    if isinstance(found, Failure) or not file:
        if file:
            Path(place).unlink()
        return found
    with open(os.path.join(folder, f"{name}.cos_sim.csv"), "w", encoding="utf-8") as cosines:
        cosines.write(f"cos_sim\n{shapes}Metric shape {list(found.shape[:-1])}\n")
        _write_numbers(cosines, found.cosine)
    written.files += [f"{name}.abs_diff.csv", f"{name}.cos_sim.csv"]
    return found


def _write_numbers(file: TextIO, values: Array) -> None:
    file.write("\n".join(map(repr, values.astype(np.float64).tolist())) + "\n")


def _shape(record: Record | None) -> str:
    return "unknown" if record is None or record.shape is None else str(list(record.shape))


def _layer_name(row: Row) -> str:
    call = f"({row.call})" if row.call > 1 else ""
    step = f"_step-{row.step}" if row.step else ""
    return f"{aiu_layer(row)}{call}{step}"


def _free_name(wanted: str, taken: set[str]) -> str:
    """A plain file name that no other layer has; names come from captures."""
    plain = _UNSAFE.sub("_", wanted).lstrip(".") or "layer"
    name = plain = plain[:_MOST_NAME]
    number = 1
    while name.lower() in taken:  # some file systems do not tell capitals apart
        number += 1
        name = f"{plain}_{number}"
    taken.add(name.lower())
    return name


def file_prefix(comparison: Comparison) -> str:
    """`<model>_max-new-tokens-<n>_batch-size-<b>_seq-length-<s>_dtype-<d>`."""
    model = _UNSAFE.sub("_", model_id([comparison]).strip("/").replace("/", "--"))[-80:]
    steps = {record.step for record in comparison.reference.records}
    batch, length = _input_shape(comparison)
    dtype = comparison.candidate.main_dtype() or "unknown"
    return (
        f"{model}_max-new-tokens-{len(steps)}_batch-size-{batch}_seq-length-{length}_dtype-{dtype}"
    )


def _input_shape(comparison: Comparison) -> tuple[str, str]:
    """Rows and columns of the token ids, as the captures tell or the embedding got them."""
    for side in (comparison.reference, comparison.candidate):
        ids = side.input_ids
        if ids and all(isinstance(row, list) for row in ids):
            return str(len(ids)), str(max(len(row) for row in ids))
        shape = _embedded_shape(side)
        if shape is not None:
            return str(shape[0]), str(shape[1])
    return "unknown", "unknown"


def _embedded_shape(side: Capture) -> tuple[int, ...] | None:
    for record in side.records:
        whole = (record.dtype or "").startswith(("int", "uint")) and record.step == 0
        if not whole or record.shape is None or len(record.shape) != 2:
            continue
        if is_embedded(side, record):
            return record.shape
    return None
