"""Dumps of statistics alone, with and without shapes, against values and against one another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison

Arrays = dict[str, np.ndarray[Any, Any]]
FAULTY = "layers.1.mlp"


def arrays() -> Arrays:
    rng = np.random.default_rng(5)
    names = ("embed_tokens", "layers.0.mlp", FAULTY, "norm")
    return {name: rng.normal(0.1, 0.7, (1, 6, 16)).astype(np.float32) for name in names}


def scaled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values * np.float32(1.2)


def spoiled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = values.copy()
    values[0, 0, 0] = np.nan
    return values


def said(values: np.ndarray[Any, Any], form: str) -> dict[str, str]:
    """As torch has them: the deviation is that of a sample."""
    found = {"mean": values.mean(), "std": values.std(ddof=1), "min": values.min(),
             "max": values.max()}  # fmt: skip
    return {name: form % number for name, number in found.items()}


def write_values(folder: Path, tensors: Arrays) -> None:
    np.savez(folder / "acts.npz", **tensors)  # pyright: ignore[reportArgumentType]


def write_log(folder: Path, tensors: Arrays) -> None:
    lines = [
        f"{name}: " + ", ".join(f"{k}={v}" for k, v in said(values, "%.4f").items())
        for name, values in tensors.items()
    ]
    (folder / "run.log").write_text("\n".join(lines))


def write_table(folder: Path, tensors: Arrays) -> None:
    lines = ["name,shape,mean,std,min,max"] + [
        f"{name},{'x'.join(map(str, values.shape))}," + ",".join(said(values, "%.5g").values())
        for name, values in tensors.items()
    ]
    (folder / "stats.csv").write_text("\n".join(lines))


def write_norms(folder: Path, tensors: Arrays) -> None:
    norms = {
        name: {"norm": float(np.linalg.norm(values)), "numel": values.size}
        for name, values in tensors.items()
    }
    (folder / "stats.json").write_text(json.dumps(norms))


Writer = Callable[[Path, Arrays], None]
PAIRS: list[tuple[Writer, Writer]] = [
    (write_values, write_log), (write_values, write_table), (write_values, write_norms),
    (write_log, write_values), (write_log, write_log), (write_table, write_table),
    (write_log, write_table), (write_table, write_log),
]  # fmt: skip


def compared(
    folder: Path, writers: tuple[Writer, Writer], reference: Arrays, candidate: Arrays
) -> Comparison:
    sides = (folder / "reference", folder / "candidate")
    for side, write, tensors in zip(sides, writers, (reference, candidate), strict=True):
        side.mkdir()
        write(side, tensors)
    comparison = open_comparison(*sides)
    assert comparison.measure(use_cache=False)
    return comparison


def levels(comparison: Comparison) -> dict[str, str]:
    return {
        row.canonical: verdict.level
        for row, verdict in zip(comparison.rows, comparison.verdicts, strict=True)
        if verdict is not None
    }


@pytest.mark.parametrize("writers", PAIRS)
def test_the_same_run(tmp_path: Path, writers: tuple[Writer, Writer]) -> None:
    comparison = compared(tmp_path, writers, arrays(), arrays())
    assert levels(comparison) == dict.fromkeys(arrays(), "ok")
    assert all(v.reason.startswith("by statistics: ") for v in comparison.verdicts if v)


@pytest.mark.parametrize("writers", PAIRS)
@pytest.mark.parametrize(("fault", "level"), [(scaled, "diverged"), (spoiled, "nan")])
def test_a_fault(
    tmp_path: Path, writers: tuple[Writer, Writer], fault: Callable[[Any], Any], level: str
) -> None:
    faulty = arrays() | {FAULTY: fault(arrays()[FAULTY])}
    found = levels(compared(tmp_path, writers, arrays(), faulty))
    assert found == {**dict.fromkeys(arrays(), "ok"), FAULTY: level}


@pytest.mark.parametrize("writer", [write_table, write_norms])
def test_other_numbers_of_elements_are_seen(tmp_path: Path, writer: Writer) -> None:
    longer = arrays() | {FAULTY: np.concatenate([arrays()[FAULTY]] * 2)}
    found = levels(compared(tmp_path, (write_values, writer), arrays(), longer))
    assert found[FAULTY] == "shape"


def test_a_missing_shape_is_said(tmp_path: Path) -> None:
    comparison = compared(tmp_path, (write_values, write_log), arrays(), arrays())
    assert all("a shape is not recorded" in row.how for row in comparison.rows)
