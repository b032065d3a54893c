"""What folding costs: milliseconds from a key to the lines of a list of 100,000 rows.

    python benchmarks/folding.py [--rows 100000]

Layers of 30 rows, every tenth row a gap, shown whole and as outputs alone (a list of numbers, not a
range). The levels are made once for a comparison, when something is folded for the first time. The
budget of a key is 100 ms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

from layertui.compare.model import Row
from layertui.tui.list.folds.folding import Folds
from layertui.tui.list.folds.levels import Levels, levels_of

BUDGET = 0.1  # seconds a key
PARTS = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn", "mlp.up", "mlp")


def rows_of(count: int) -> list[Row]:
    """A model's rows, 30 a layer."""
    return [
        Row(i, "pair" if i % 10 else "gap_reference", None, None,
            f"layers.{i // 30}.{PARTS[i % 30 // 5]}.{i % 5}", "output")
        for i in range(count)
    ]  # fmt: skip


def took(action: Callable[[], object], repeat: int = 9) -> float:
    seen = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        seen.append(time.perf_counter() - started)
    return median(seen)


def keys_of(levels: Levels, rows: Sequence[int]) -> dict[str, Callable[[], object]]:
    """What the keys do, the lines included; `-` and `+` in the middle of the list."""
    folds = Folds(levels)

    def then(change: Callable[[], object]) -> Callable[[], object]:
        return lambda: (change(), folds.lines(rows))

    def middle(change: Callable[..., object]) -> Callable[[], object]:
        def press() -> None:
            lines = folds.lines(rows)
            change(lines, len(lines) // 2)
            folds.lines(rows)

        return press

    return {
        "zM": then(folds.fold_all), "zR": then(folds.unfold_all),
        "-": middle(folds.fold), "+": middle(folds.unfold),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What folding costs.")
    parser.add_argument("--rows", type=int, default=100_000)
    rows = rows_of(parser.parse_args().rows)
    print(f"levels, once    {1e3 * took(lambda: levels_of(rows), 3):7.1f} ms")
    levels = levels_of(rows)
    for name, shown in (("whole", range(len(rows))), ("outputs", list(range(0, len(rows), 2)))):
        for key, press in keys_of(levels, shown).items():
            took(press, 1)
            cost = took(press)
            print(f"{name:10} {key:4} {1e3 * cost:7.1f} ms  {cost / BUDGET:5.2f} of the budget")


if __name__ == "__main__":
    main()
