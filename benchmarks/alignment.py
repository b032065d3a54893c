"""Seconds to align 10,000 records with 10,000, beside merely naming them all.

    python benchmarks/alignment.py [--records 10000]

The cases are those of `tests/support/long_captures.py`: equal names, nothing in common, half as
many records on one side, known and unknown order.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from layertui.compare.matching.align import align
from layertui.compare.matching.named_records import side_of
from layertui.compare.rules.rules import Rules
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for case, (left, right, _) in CASES.items():
        took, naming = best(left, right, options.records, options.repeat)
        print(f"{case:28} {took:5.2f} s = {took / naming:4.1f} x naming both sides")


if __name__ == "__main__":
    main()
