"""Pooling of images and signals: the mean or the greatest value of every window, of parts of the
image (adaptive pooling), or of all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np

from ....capture.values import Array
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..names import kind_name
from ..numerics.quantities import SideQuantities
from ..numerics.rounding import ROUNDED
from .windows import BEYOND, Adaptive, Shape, Window, fitting, gathered, read_images

_SIZES = (2, 3, 4, 5, 7)
_MOST_WINDOWS = 6  # steps and paddings of a size that are tried
_AXES = re.compile(r"([123])d$")
Of = Literal["mean", "greatest value"]
_BOTH: tuple[Of, Of] = ("mean", "greatest value")


@dataclass(frozen=True)
class Pool:
    """What is taken of every window; `padding_counts`: a mean is by the size of the window, the
    padding included.
    """

    of: Of
    window: Window | Adaptive
    padding_counts: bool = True

    def apply(self, case: Case) -> Prediction:
        """The pooled values at a case's places."""
        found, outside = gathered(
            self.window, case.more["images"], case.rows, case.more["result"]
        )  # fmt: skip
        empty = (outside < 0)[:, None]
        unit = ROUNDED * case.units["output"]
        if self.of == "greatest value":
            value = np.where(empty, -np.inf, found).max(2)
            return Prediction(value, unit * np.abs(value))
        counted = outside > BEYOND if self.padding_counts else outside == 0
        count = np.maximum(counted.sum(1, keepdims=True), 1)
        terms = np.where(empty, 0.0, found)
        value = terms.sum(2) / count
        inner = np.square(terms).sum(2) / np.square(count)
        return Prediction(value, unit * np.sqrt(np.square(value) + inner))

    @property
    def words(self) -> dict[str, str]:
        """What it is, for people."""
        return {"of a window": self.of, **self.window.words}


class PoolingLaw:
    """The law of pooling."""

    name = "pooling"

    def sites(self, scene: Scene) -> Iterator[Site]:
        side = scene.reference
        for key in list(side.known):
            if key.slot != "output" or side.role(key.module) != "pool":
                continue
            own = side.main_input(key.module, key.step, key.call)
            if own is None or _axes(side, key.module) is None:
                continue
            if all(k in s.known and s.known[k].is_float for s in scene.sides
                   for k in (key, own.key)):  # fmt: skip
                yield Site(self.name, key.module, key, kind_name(key), (("x", (own.key,)),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        axes = _axes(scene.reference, site.module)
        return None if axes is None else read_images(scene, site, side, axes, int.__eq__)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        image, result = reference.more["images"].shape[2:], reference.more["result"][1:]
        kind = scene.reference.classes.get(site.module, "").lower()
        order = _BOTH[::-1] if "max" in kind else _BOTH
        for of in order:
            for window in _windows(image, result, adaptive="adaptive" in kind):
                counts = (True, False) if of == "mean" and _is_padded(window) else (True,)
                for padding_counts in counts:
                    pool = Pool(of, window, padding_counts)
                    yield Fit({"pool": pool}, pool.words)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [fit.values["pool"].apply(case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        pool: Pool = fit.values["pool"]
        (other,) = (of for of in _BOTH if of != pool.of)
        yield Hypothesis(
            "activation", f"the {other} of every window where the reference has the {pool.of}",
            partial(replace(pool, of=other).apply, candidate), "of a window", pool.of, other,
        )  # fmt: skip
        if pool.of == "mean" and _is_padded(pool.window):
            words = ("counted", "not counted")
            ours, theirs = words if pool.padding_counts else words[::-1]
            changed = replace(pool, padding_counts=not pool.padding_counts)
            yield Hypothesis(
                "scale", f"padding is {theirs} in the mean where in the reference it is {ours}",
                partial(changed.apply, candidate), "padding", ours, theirs,
            )  # fmt: skip
        yield from output_hypotheses(pool.apply(candidate), candidate)


def _axes(side: SideQuantities, module: str) -> int | None:
    """How many lengths the images have that a module pools, by its class: `MaxPool2d`."""
    found = _AXES.search(side.classes.get(module, ""))
    return None if found is None else int(found[1])


def _windows(image: Shape, result: Shape, adaptive: bool) -> Iterator[Window | Adaptive]:
    if adaptive or set(result) == {1}:
        yield Adaptive()
    if adaptive:
        return
    for up in (False, True):
        for size in _SIZES:
            # An axis that keeps its length may have no window at all.
            sizes = [(size,) * len(image)]
            sizes.append(tuple(1 if a == b else size for a, b in zip(image, result, strict=True)))
            for own in dict.fromkeys(sizes):
                yield from islice(fitting(own, image, result, up=up), _MOST_WINDOWS)


def _is_padded(window: Window | Adaptive) -> bool:
    return isinstance(window, Window) and any(window.padding)
