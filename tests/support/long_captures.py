"""Pairs of long captures, named in many ways."""

from __future__ import annotations

import random
from collections.abc import Callable

from layertui.capture.records import Capture
from support.synthetic import capture, record


def named(pattern: str, order: bool = True, sizes: int = 1, share: int = 1) -> Maker:
    """`{0}` is the layer, `{1}` the module in it; `share` 2 makes half as many."""

    def make(count: int) -> Capture:
        names = (pattern.format(i // 10, i % 10) for i in range(count // share))
        return capture(
            [record(f"{n}-output", (1, 10, 64 + i % sizes)) for i, n in enumerate(names)], order
        )

    return make


def random_names(seed: int, order: bool = True, share: int = 1) -> Maker:
    def make(count: int) -> Capture:
        rng = random.Random(seed)
        names = [f"{rng.getrandbits(64):x}-output" for _ in range(count // share)]
        return capture(names, order)

    return make


Maker = Callable[[int], Capture]

# Both sides, and the share of the greater side's records that must be paired (None: any).
CASES: dict[str, tuple[Maker, Maker, float | None]] = {
    "same names": (named("layers.{0}.m{1}"), named("model.layers.{0}.m{1}"), 1),
    "alien names": (named("a.{0}.m{1}", sizes=7), named("b{0}.zz{1}", sizes=7), 0),
    "alien names, no order": (named("a.{0}.mm{1}", False), named("b{0}.yy{1}"), None),
    "random names": (random_names(1), random_names(2), 0),
    "random names, no order": (random_names(1, False), random_names(2, False), 0),
    "half as many": (named("layers.{0}.m{1}", share=2), named("h.{0}.m{1}"), 0.5),
    "half as many random": (random_names(1, share=2), random_names(2), 0),
    "half as many the other way": (random_names(1), random_names(2, share=2), 0),
    "gaps in every layer": (named("layers.{0}.m{1}"), named("layers.{0}.q{1}", False), None),
}
