"""What can be wrong with the keys and values of earlier steps: their cache.

A cache holds keys that have been rotated, so that what happens to it happens to rotated keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from ..linear.quantisers import float8
from ..numerics.rounding import on_grid
from .cache_search import Entry, Interval, lost_entries, wrong_entries
from .form import Material
from .math import attend, roundings
from .scores import by_head, rotated_keys
from .trial import Trials

_PARTS: dict[str, tuple[str, ...]] = {
    "keys and values": ("k", "v"), "keys": ("k",), "values": ("v",)
}  # fmt: skip
_SHIFTS = (1, -1)
_MOST_HEADS = 16  # by which heads are rolled
_FLOATS = (
    ("float8_e4m3", 2.0**-4, partial(float8, kind="e4m3")),
    ("float8_e5m2", 2.0**-3, partial(float8, kind="e5m2")),
    ("bfloat16", 2.0**-8, partial(on_grid, unit=2.0**-8)),
    ("float16", 2.0**-11, partial(on_grid, unit=2.0**-11)),
)  # fmt: skip

Change = Callable[[Array], Array]  # of [keys, heads x width]


def plain_caches(trials: Trials) -> Iterator[Hypothesis]:
    """Caches that are wrong throughout, and one whose last entry was not written."""
    material = _cached(trials)
    if material is None:
        return
    yield from _not_written(trials, material)
    yield from _rolled(trials, material)
    yield from _heads(trials, material)
    yield from _sequences(trials, material)
    yield from _rounded(trials, material)


def fitted_caches(trials: Trials) -> Iterator[Hypothesis]:
    """Single entries that were written over, and runs of entries that were lost."""
    material = _cached(trials)
    if material is None or trials.explained:
        return
    for words, parts in _PARTS.items():
        found = wrong_entries(trials, material, parts)
        if found is not None:
            yield _overwritten(trials, material, words, found)
    if trials.explained:
        return
    for zeroed in (True, False):
        run = lost_entries(trials, material, zeroed)
        if run is not None:
            yield _lost(trials, material, run, zeroed)


def _cached(trials: Trials) -> Material | None:
    """The candidate's material with keys as a cache holds them; None at the first step."""
    material = trials.material
    if material is None or not material.past:
        return None
    return rotated_keys(trials.form, material, max(roundings(trials.case.units)[0].work, 0.0))


def _changed(
    trials: Trials, material: Material, parts: tuple[str, ...], change: Change
) -> Material:
    """The material with another past: of keys, of values, or of both."""
    past = material.past
    made = {}
    for part in parts:
        values = getattr(material, part).copy()
        values[:past] = change(values[:past])
        made[part] = values
    return replace(material, **made)


def _made(
    trials: Trials, material: Material, text: str, candidate: str, uncertainty: str = "",
    fitted: int = 0,
) -> Hypothesis:  # fmt: skip
    return trials.made(
        "kv-cache", text, trials.form, material, "cache", "as written", candidate, uncertainty,
        fitted,
    )  # fmt: skip


def _not_written(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    """The entry of the last token before this step holds what the one before it does."""
    last, before = _at_place(material, -1), _at_place(material, -2)
    if last is None or before is None:
        return

    def change(values: Array) -> Array:
        values = values.copy()
        values[last] = values[before]
        return values

    for words, parts in _PARTS.items():
        text = f"cached {words} of the last token before this step are those of the token before it"
        yield _made(trials, _changed(trials, material, parts, change), text, "last one stale")


def _at_place(material: Material, back: int) -> Array | None:
    """The rows of every sequence's last, or last but one, cached token."""
    found = []
    for number in np.unique(material.sequence_k[: material.past]):
        rows = np.flatnonzero(material.sequence_k[: material.past] == number)
        if len(rows) < -back:
            return None
        found.append(rows[np.argsort(material.place_k[rows], kind="stable")[back]])
    return np.array(found)


def _rolled(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    """Values that stand beside the keys of other tokens: which of the two moved cannot be told."""
    for shift in _SHIFTS:
        moved = _changed(trials, material, ("v",), lambda v, s=shift: _by_place(material, v, s))
        where, other = ("later", "earlier") if shift > 0 else ("earlier", "later")
        yield _made(
            trials, moved, f"cached values are one entry {where} than their keys (or the keys "
            f"one {other} than their values)", f"values {shift:+d} relative to keys",
        )  # fmt: skip


def _by_place(material: Material, values: Array, shift: int) -> Array:
    """Entries of every sequence rolled along its tokens."""
    moved = values.copy()
    for number in np.unique(material.sequence_k[: material.past]):
        rows = np.flatnonzero(material.sequence_k[: material.past] == number)
        rows = rows[np.argsort(material.place_k[rows], kind="stable")]
        moved[rows] = np.roll(values[rows], shift, axis=0)
    return moved


def _heads(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    count = trials.form.kv_heads
    for shift in range(1, min(count, _MOST_HEADS)):
        for words, parts in _PARTS.items():
            moved = _changed(
                trials, material, parts,
                lambda x, s=shift: np.roll(by_head(x, count), s, axis=1).reshape(len(x), -1),
            )  # fmt: skip
            text = f"cached {words} of key head h are those of head h - {shift} (cyclic)"
            yield _made(trials, moved, text, f"heads rolled by {shift}")


def _sequences(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    """The cache of each sequence of a batch is the one that fits it best."""
    numbers = [int(n) for n in np.unique(material.sequence_k)]
    rows = {n: np.flatnonzero(material.sequence_k[: material.past] == n) for n in numbers}
    if len(numbers) < 2 or len({len(r) for r in rows.values()}) != 1:
        return
    lefts: list[Array] = []
    for source in numbers:
        given = dict.fromkeys(numbers, source)
        value = attend(trials.form, _exchanged(trials, material, rows, given)).value
        lefts.append(np.square(np.nan_to_num(trials.y) - value).sum(1))
    left = np.array(lefts)
    best = {
        n: numbers[int(left[:, material.sequence_q == n].sum(1).argmin())]
        for n in numbers
        if (material.sequence_q == n).any()
    }
    best = {n: best.get(n, n) for n in numbers}
    if all(n == source for n, source in best.items()):
        return
    shown = ", ".join(f"{n}: {source}" for n, source in best.items() if n != source)
    yield _made(
        trials, _exchanged(trials, material, rows, best),
        f"sequences of the batch use the caches of other sequences ({shown})", shown,
    )  # fmt: skip


def _exchanged(
    trials: Trials, material: Material, rows: dict[int, Array], given: dict[int, int]
) -> Material:
    def change(values: Array) -> Array:
        moved = values.copy()
        for number, source in given.items():
            moved[rows[number]] = values[rows[source]]
        return moved

    return _changed(trials, material, ("k", "v"), change)


def _rounded(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    heads, unit = trials.form.kv_heads, trials.case.units["output"]
    roundings_: list[tuple[str, Change]] = [
        (f"rounded to {name}", change) for name, grid, change in _FLOATS if grid >= 2 * unit
    ]
    roundings_.append(("rounded to int8 by token and head", lambda x: _int8(x, heads)))
    roundings_.append(("rounded to int8 by token", lambda x: _int8(x, 1)))
    for how, change in roundings_:
        for words, parts in _PARTS.items():
            yield _made(
                trials, _changed(trials, material, parts, change), f"cached {words} are {how}", how
            )


def _int8(values: Array, heads: int) -> Array:
    parts = by_head(values, heads)
    step = np.abs(parts).max(-1, keepdims=True) / 127.0
    return (np.rint(parts / np.where(step > 0, step, 1.0)) * step).reshape(values.shape)


def _overwritten(trials: Trials, material: Material, words: str, entry: Entry) -> Hypothesis:
    parts = _PARTS[words]
    made = {}
    for part in parts:
        values = getattr(material, part).copy()
        values[entry.rows] = values[entry.sources]
        made[part] = values
    text = f"cached {words} of token {entry.place} are those of token {entry.source}"
    return _made(
        trials, replace(material, **made), text, f"{entry.place} holds {entry.source}", "", 2
    )


def _lost(trials: Trials, material: Material, run: Interval, zeroed: bool) -> Hypothesis:
    first, last = run.first, run.last
    which = f"token {first}" if first == last else f"tokens {first} to {last}"
    others = ", ".join(f"{one} .. {other}" for one, other in run.others)
    others = f"alike: {others}" if others else ""
    inside = (material.place_k >= first) & (material.place_k <= last)
    if zeroed:
        k, v = (np.where(inside[:, None], 0.0, part) for part in (material.k, material.v))
        text = f"cached keys and values of {which} are zeros"
        candidate = f"{first} .. {last} zero"
        return _made(trials, replace(material, k=k, v=v), text, candidate, others, 2)
    bias = np.where(trials.open() & ~inside, 0.0, -np.inf)
    if material.bias is not None:
        bias = np.where(np.isfinite(bias), np.where(np.isfinite(material.bias), material.bias, 0.0),
                        -np.inf)  # fmt: skip
    form = replace(trials.form, mask="recorded", window=None)
    text = f"{which} are not seen by later steps: masked, or lost from the cache"
    return trials.made(
        "kv-cache", text, form, replace(material, bias=bias), "cache", "as written",
        f"without {first} .. {last}", others, 2,
    )  # fmt: skip
