"""Captures made in memory, for tests that need no values, and small ones on disk for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from layertui.capture.names import parse_name
from layertui.capture.open import open_capture
from layertui.capture.records import Capture, Locator, Record
from layertui.compare.aligned import Aligned
from layertui.compare.matching.align import align
from layertui.compare.model import Row
from layertui.compare.rules.rules import Rules

Shape = tuple[int, ...]


def record(name: str, shape: Shape = (10, 64), dtype: str = "float32", **more: Any) -> Record:
    """A readable record called `name`; `error="..."` makes it unreadable."""
    parsed = parse_name(name)
    path = f"/dump/{name}"
    fine = more.get("error") is None
    return Record(
        name, parsed.module, parsed.slot, parsed.call, path=path,
        shape=shape if fine else None, dtype=dtype if fine else None,
        locator=Locator(path, dtype, shape) if fine else None, **more,
    )  # fmt: skip


def capture(
    records: Iterable[Record | str] | Mapping[str, Shape], order: bool = True, root: str = "model"
) -> Capture:
    """A capture of `records` in this order; a mapping gives shapes by name."""
    if isinstance(records, Mapping):
        made = [record(name, shape) for name, shape in records.items()]
    else:
        made = [record(r) if isinstance(r, str) else r for r in records]
    used = root if any(r.module == root or r.module.startswith(root + ".") for r in made) else ""
    return Capture("/dump", "test", made, "test" if order else "unknown", order, used)


def pairs(rows: Iterable[Row]) -> dict[str, str]:
    """Reference names -> candidate names of all pairs; of several, the last."""
    return {
        row.reference.name: row.candidate.name
        for row in rows
        if row.reference is not None and row.candidate is not None
    }


def gaps(rows: Iterable[Row]) -> tuple[set[str], set[str]]:
    """Names of the records without a partner, of the reference and of the candidate."""
    return (
        {r.reference.name for r in rows if r.kind == "gap_reference" and r.reference},
        {r.candidate.name for r in rows if r.kind == "gap_candidate" and r.candidate},
    )


def row_of(rows: Iterable[Row], name: str) -> Row:
    """The first row whose reference or candidate is called `name`."""
    for row in rows:
        if name in (row.reference and row.reference.name, row.candidate and row.candidate.name):
            return row
    raise AssertionError(f"no row with {name}")


def aligned(
    ref: Mapping[str, Shape] | Iterable[Record | str],
    cand: Mapping[str, Shape] | Iterable[Record | str],
    rules: Rules | None = None,
    order: tuple[bool, bool] = (True, True),
) -> Aligned:
    result = align(capture(ref, order[0]), capture(cand, order[1]), rules)
    check_rows(result)
    return result


def check_rows(alignment: Aligned) -> None:
    """What holds for every alignment: indices in a row, recipes that fit."""
    from layertui.compare.recipes.parse import parse_recipe
    from layertui.compare.recipes.recipe import view_shapes

    assert [row.index for row in alignment.rows] == list(range(len(alignment.rows)))
    for row in alignment.rows:
        if row.kind != "pair" or row.problem is not None:
            continue
        assert row.reference is not None and row.candidate is not None
        assert row.reference.shape is not None and row.candidate.shape is not None
        left, right = view_shapes(
            parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate),
            row.reference.shape, row.candidate.shape,
        )  # fmt: skip
        assert left == right, row
        assert row.matched_by is not None and row.how, row


def saved(folder: Path, arrays: Mapping[str, Any], order: bool = True) -> Capture:
    """Write arrays as `.npy` files in this order, and open the directory."""
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(array))
    if order:
        text = "".join(f"{name}\n" for name in arrays)
        (folder / "tensor_names.txt").write_text(text)
    return open_capture(folder)
