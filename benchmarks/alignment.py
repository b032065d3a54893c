"""Seconds to align 10,000 records with 10,000, beside merely naming them all.

    python benchmarks/alignment.py [--records 10000]

The cases are those of `tests/support/long_captures.py`: equal names, nothing in common, half as
many records on one side, known and unknown order. The last ones pair small records by values, from
their files: equal up to rounding in the first half, with a fault in the middle, and renamed on one
side; as they are, and with axes moved. Processor time, without the cache of what was found.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from layertui.capture.open import open_capture
from layertui.compare.matching.align import align
from layertui.compare.matching.named_records import side_of
from layertui.compare.rules.rules import Rules
from layertui.compare.running.content_matching import match_content
from support.long_captures import CASES, Maker


def best(left: Maker, right: Maker, records: int, repeat: int) -> tuple[float, float]:
    """Least seconds for aligning, and for naming and grouping alone."""
    aligning = naming = float("inf")
    rules = Rules()
    for _ in range(repeat):
        sides = left(records), right(records)
        started = time.perf_counter()
        for side in sides:
            side_of(side, rules.reference, rules)
        naming = min(naming, time.perf_counter() - started)
        started = time.perf_counter()
        align(*sides)
        aligning = min(aligning, time.perf_counter() - started)
    return aligning, naming


def by_values(folder: Path, records: int, moved: bool) -> str:
    """Processor seconds for pairs by values, and how many of them are right."""
    rng = np.random.default_rng(0)
    shapes = ((4, 8, 3), (2, 16, 5), (1, 12, 8), (3, 5, 7), (2, 10, 4), (5, 16, 2))
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for number in range(records):
        value = rng.standard_normal(shapes[number % len(shapes)], dtype=np.float32)
        other = rng.standard_normal(value.shape, dtype=np.float32)
        sides[0][f"block{number}"] = value
        other = value * (1 + 1e-4 * other) if number < records // 2 else value + other
        sides[1][f"t{number}"] = np.swapaxes(other, 0, 1).copy() if moved else other
    captures = []
    for number, arrays in enumerate(sides):
        path = folder / f"{number}-{moved}.npz"
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        captures.append(open_capture(path))
    aligned = align(*captures)
    started = time.process_time()
    rows = match_content(aligned).rows
    took = time.process_time() - started
    pairs = [(row.reference, row.candidate) for row in rows if row.kind == "pair"]
    right = sum(a is not None and b is not None and a.name[5:] == b.name[1:] for a, b in pairs)
    return f"{took:5.2f} s, {right} of {len(pairs)} pairs right"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for case, (left, right, _) in CASES.items():
        took, naming = best(left, right, options.records, options.repeat)
        print(f"{case:28} {took:5.2f} s = {took / naming:4.1f} x naming both sides")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for case, moved in (("by values", False), ("by values, axes moved", True)):
            print(f"{case:28} {by_values(Path(folder), options.records, moved)}")


if __name__ == "__main__":
    main()
