"""What each limit of `compare.limits` holds up: every one is halved and doubled, and rows of a set
of captures whose verdict is then another one are counted.

    python benchmarks/limits_sweep.py REFERENCE CANDIDATE [REFERENCE CANDIDATE ...] [--only NAME]

A limit that changes nothing in either direction is not needed for these captures; one that changes
much is near their noise or their faults. Captures are measured anew for each value: small ones will
do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

from layertui.compare import limits
from layertui.compare.comparison import open_comparison

Pair = tuple[str, str]
Levels = list[tuple[str, ...]]


def levels(pairs: list[Pair]) -> Levels:
    """The verdicts of every pair of captures, row by row, and the module that is named."""
    found: Levels = []
    for reference, candidate in pairs:
        comparison = open_comparison(reference, candidate)
        comparison.measure(use_cache=False, threads=1)
        first = comparison.first_divergence()
        named = "" if first is None else first.module
        found.append((named, *(verdict.level for verdict in comparison.verdicts)))
    return found


def scaled(value: Any, factor: float) -> Any:
    """A limit, or all numbers of a group of limits, times `factor`; whole numbers stay whole."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return max(1, round(value * factor))
    if isinstance(value, float):
        return value * factor
    if isinstance(value, dict):
        return {key: scaled(each, factor) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(scaled(each, factor) for each in value)
    assert is_dataclass(value) and not isinstance(value, type)
    return replace(value, **{f.name: scaled(getattr(value, f.name), factor) for f in fields(value)})


@contextmanager
def moved(name: str, value: Any) -> Iterator[None]:
    """The limit `name` has another value, also where modules have taken it by name."""
    usual = getattr(limits, name)
    if isinstance(usual, dict):  # default arguments hold the same one
        kept = dict(usual)
        usual.update(value)
        try:
            yield
        finally:
            usual.update(kept)
        return
    holders = [
        module for key, module in list(sys.modules.items())
        if key.startswith("layertui.compare") and getattr(module, name, None) is usual
    ]  # fmt: skip
    for module in holders:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module in holders:
            setattr(module, name, usual)


def changes(before: Levels, after: Levels) -> tuple[int, int, int]:
    """Rows with another verdict, pairs of captures that have such rows, and pairs of captures whose
    first divergence is in another module.
    """
    rows = [sum(a != b for a, b in zip(x[1:], y[1:], strict=True))
            for x, y in zip(before, after, strict=True)]  # fmt: skip
    named = sum(x[0] != y[0] for x, y in zip(before, after, strict=True))
    return sum(rows), sum(1 for count in rows if count), named


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("captures", nargs="+", metavar="REFERENCE CANDIDATE")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this limit; may be repeated"
    )
    given = parser.parse_args()
    if len(given.captures) % 2:
        parser.error("captures come in pairs: REFERENCE CANDIDATE")
    pairs = list(zip(given.captures[::2], given.captures[1::2], strict=True))
    names = given.only or [name for name in vars(limits) if name.isupper()]
    before = levels(pairs)
    print(f"{len(before)} pairs of captures, {sum(len(x) - 1 for x in before)} rows")
    print(f"{'limit':20} {'times':>5} {'rows':>6} {'captures':>8} {'first divergences':>17}")
    for name in names:
        for factor in (0.5, 2.0):
            with moved(name, scaled(getattr(limits, name), factor)):
                rows, captures, named = changes(before, levels(pairs))
            print(f"{name:20} {factor:5g} {rows:6d} {captures:8d} {named:17d}", flush=True)


if __name__ == "__main__":
    main()
