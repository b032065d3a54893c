"""Other masks: of another kind, another window, or with one key, or one element, that differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from .edited_masks import ALONE, edited_mask, mask_as_bias, token_words
from .fit import mask_words
from .form import Form
from .scores import HeadPart, head_parts
from .single_masks import single_masks
from .trial import Trials

_WINDOW_ROWS = 16  # queries that a window is looked for on, those with most keys behind them
_FEW_ROWS, _MOST_KEYS = 4, 256  # up to which runs of keys are looked for
_ALIKE = 9.0  # and by which windows may differ and count as alike


def plain_masks(trials: Trials) -> Iterator[Hypothesis]:
    """The mask that the candidate recorded, and masks of other kinds."""
    yield from _own_mask(trials)
    yield from _kinds(trials)


def fitted_masks(trials: Trials) -> Iterator[Hypothesis]:
    """Masks that are found from the candidate: another window, one key, one element."""
    if not trials.explained:
        yield from _windows(trials)
    if not trials.explained:
        yield from _chunks(trials)
    if not trials.explained:
        yield from single_masks(trials)
    if not trials.explained:
        yield from _holes(trials)


def _own_mask(trials: Trials) -> Iterator[Hypothesis]:
    own, material = trials.case.more.get("own_bias"), trials.material
    if own is None or material is None or material.bias is None:
        return
    closed, opened = _differences(material.bias, own)
    parts = [f"{n} {words}" for n, words in ((closed, "more hidden"), (opened, "more seen")) if n]
    text = "it was given a different mask"
    if parts:
        text += f": of {own.size} elements {' and '.join(parts)}"
    yield trials.made(
        "attention-mask", text, trials.form, replace(material, bias=own),
        "mask", "as recorded by the reference", "as recorded by the candidate",
    )  # fmt: skip


def _differences(first: Array, second: Array) -> tuple[int, int]:
    """How many elements are hidden, and seen, in the second mask only."""
    a, b = np.isfinite(first), np.isfinite(second)
    return int((a & ~b).sum()), int((~a & b).sum())


def _kinds(trials: Trials) -> Iterator[Hypothesis]:
    form, own = trials.form, mask_words(trials.form)
    yield from _first_sees_itself(trials)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("queries see all tokens, including later ones", {"mask": "none", "window": None}),
        ("queries see one token too many: the next one", {"mask": "causal", "shift": 1}),
        ("queries do not see their own token", {"mask": "causal", "shift": -1}),
        ("queries see all tokens before them and nothing else is hidden",
         {"mask": "causal", "window": None}),
    ]  # fmt: skip
    if form.window is not None:
        changes.append((f"the window of {form.window} tokens is not applied", {"window": None}))
    before = trials.open()
    for text, change in changes:
        other = replace(form, **change)
        changed = replace(
            trials, fit=replace(trials.fit, values={**trials.fit.values, "form": other})
        )
        if np.array_equal(changed.open(), before):
            continue
        if change == {"mask": "causal", "window": None}:
            text = _causal_words(before, changed.open())
        elif change == {"mask": "none", "window": None} and _is_padding(before, changed.open()):
            text = "padding is not hidden"
        yield trials.made(
            "attention-mask", text, other, None, "mask", own, mask_words(other)
            + (f", {form.shift + change['shift']:+d}" if change.get("shift") else ""),
        )  # fmt: skip


def _first_sees_itself(trials: Trials) -> Iterator[Hypothesis]:
    """Queries that do not see their own token, but for those that have no other."""
    material = trials.material
    if material is None or (material.bias is not None and material.bias.ndim == 3):
        return
    bias = mask_as_bias(trials)
    same = np.equal(material.sequence_q[:, None], material.sequence_k)
    itself = np.logical_and(same, np.equal(material.place_q[:, None], material.place_k))
    others = (np.isfinite(bias) & ~itself).any(1, keepdims=True)
    changed = np.where(itself & others, -np.inf, bias)
    yield edited_mask(trials, changed, "queries do not see their own token, but for the first")


def _is_padding(before: Array, after: Array) -> bool:
    """Whether keys that no query saw are seen, and nothing else changes."""
    opened = after & ~before
    columns = opened.any(0)
    return bool(columns.any() and not (before & ~after).any() and not before[:, columns].any())


def _causal_words(before: Array, after: Array) -> str:
    if _is_padding(before, after):
        return "padding is not hidden"
    if (after & ~before).any() and not (before & ~after).any():
        return "the sliding window is not applied: queries see all tokens before them"
    return "queries see the tokens before them and no others"


# windows


def _windows(trials: Trials) -> Iterator[Hypothesis]:
    forms = [trials.form]
    if trials.form.mask != "causal" or trials.form.window is not None:
        forms.append(replace(trials.form, mask="causal", window=None))
    for form in forms:
        found = _window(trials, form)
        if found is None:
            continue
        window, least, most = found
        other = replace(form, window=window)
        alike = str(window) if least == most else f"{least} to {most}"
        yield trials.made(
            "attention-mask", f"queries see {alike} tokens only, including themselves", other, None,
            "window", str(trials.form.window or "none"), str(window),
            "" if least == most else f"{least} to {most} fit equally well", 1,
        )  # fmt: skip


def _window(trials: Trials, form: Form) -> tuple[int, int, int] | None:
    """The window that fits best under a form, and the least and greatest that fit alike; None where
    the longest is no worse.
    """
    material, base = trials.material, trials.base
    assert material is not None and base is not None
    most = int(material.place_q.max()) + 1
    if most < 3 or form.mask == "none":
        return None
    rows = np.argsort(-material.place_q, kind="stable")[:_WINDOW_ROWS]
    left = np.zeros(most + 1)
    count = 0
    for part in head_parts(form, material):
        for at in np.flatnonzero(np.isin(part.rows, rows)):
            for head in range(len(part.heads)):
                left += _left_by_window(trials, part, int(at), head, most)
                count += part.v.shape[1]
    left = left[1:]
    if not np.isfinite(left).all():  # NaN among the records fits no window
        return None
    best = int(left.argmin())
    allowance = _ALIKE * max(1.0, float(left[best]) / max(1, count))
    if left[-1] <= left[best] + allowance:
        return None
    alike = np.flatnonzero(left <= left[best] + allowance) + 1
    return best + 1, int(alike.min()), int(alike.max())


def _left_by_window(trials: Trials, part: HeadPart, at: int, head: int, most: int) -> Array:
    """The weighted squares that are left of one row of one head with each window `[most + 1]`."""
    material, base = trials.material, trials.base
    assert material is not None and base is not None
    row, width = int(part.rows[at]), part.v.shape[1]
    columns = slice(int(part.heads[head]) * width, (int(part.heads[head]) + 1) * width)
    y, spread = trials.y[row, columns], np.broadcast_to(base.spread, trials.y.shape)[row, columns]
    behind = material.place_q[row] - material.place_k[part.keys]
    open_ = part.open[head if len(part.open) > 1 else 0, at] & (behind >= 0)
    keys = np.flatnonzero(open_)
    keys = keys[np.argsort(behind[keys], kind="stable")]
    scores = part.scores[head, at, keys]
    e = np.exp(scores - scores.max(initial=-np.inf)) if len(keys) else scores
    total = np.cumsum(e)
    value = np.cumsum(e[:, None] * part.v[keys], axis=0) / np.maximum(total, 1e-300)[:, None]
    weight = 1.0 / max(float(np.square(spread).mean()), 1e-300)
    left = weight * np.square(np.nan_to_num(y) - value).sum(1)
    # A window of w sees the keys less than w behind.
    seen = np.searchsorted(behind[keys], np.arange(most + 1), side="left")
    nothing = weight * float(np.square(np.nan_to_num(y)).sum())
    return np.where(seen > 0, left[np.maximum(seen - 1, 0)] if len(left) else nothing, nothing)


# chunks, and runs of keys


def _chunks(trials: Trials) -> Iterator[Hypothesis]:
    """Queries that see no further back than the start of their own chunk (as in Llama 4): the first
    that does not fit is the first of the second chunk, as far as rows were sampled.
    """
    material = trials.material
    assert material is not None
    bad = material.place_q[trials.misfits]
    if not len(bad) or (material.bias is not None and material.bias.ndim == 3):
        return
    first, bias = int(bad.min()), mask_as_bias(trials)
    for size in dict.fromkeys((first, *(2**n for n in range(1, first.bit_length())))):
        if size < 2:
            continue
        same = np.equal(material.place_q[:, None] // size, material.place_k[None, :] // size)
        words = f"queries see no further back than the start of their own chunk of {size} tokens"
        yield edited_mask(trials, np.where(same, bias, -np.inf), words)


def _holes(trials: Trials) -> Iterator[Hypothesis]:
    """A few queries that do not see a run of keys."""
    material = trials.material
    rows = np.flatnonzero(trials.misfits)
    if material is None or not 0 < len(rows) <= _FEW_ROWS or len(material.k) > _MOST_KEYS:
        return
    if material.bias is not None and material.bias.ndim == 3:
        return
    changed, said = mask_as_bias(trials).copy(), []
    for row in rows:
        start, stop = _hole(trials, int(row))
        changed[row, start:stop] = -np.inf
        keys = f"{token_words(material, start)} to {token_words(material, stop - 1)}"
        said.append(f"the query of token {int(material.place_q[row])} does not see tokens {keys}")
    yield edited_mask(trials, changed, "; ".join(said), len(rows))


def _hole(trials: Trials, row: int) -> tuple[int, int]:
    """The run of keys without which a query's output fits best, the shortest of those that fit
    alike: more keys may be hidden that hardly count.
    """
    material, base = trials.material, trials.base
    assert material is not None and base is not None
    count = len(material.k)
    left = np.zeros((count, count + 1))  # by first key and the one behind the last
    spread = np.broadcast_to(base.spread, trials.y.shape)[row]
    for part in head_parts(trials.form, material):
        width = part.v.shape[1]
        for at in np.flatnonzero(part.rows == row):
            scores = part.masked()[:, at]
            for head, own in zip(part.heads, scores, strict=True):
                columns = slice(int(head) * width, (int(head) + 1) * width)
                e, v = np.zeros(count), np.zeros((count, width))
                e[part.keys], v[part.keys] = np.exp(own - own.max()), part.v
                y, size = np.nan_to_num(trials.y[row, columns]), spread[columns]
                left += _left_by_run(e, v, y) / max(float(np.square(size).mean()), 1e-300)
    least = float(left.min())
    alike = left <= least + _ALIKE * max(1.0, least / trials.y.shape[1])
    length = np.arange(count + 1)[None, :] - np.arange(count)[:, None]
    start, stop = np.unravel_index(int(np.where(alike, length, 2 * count).argmin()), left.shape)
    return int(start), int(stop)


def _left_by_run(e: Array, v: Array, y: Array) -> Array:
    """The squares that are left of one row of one head without keys `[first, behind the last]`;
    infinite where nothing, or everything, is left out.
    """
    count = len(e)
    total = np.concatenate([[0.0], np.cumsum(e)])
    values = np.concatenate([np.zeros((1, v.shape[1])), np.cumsum(e[:, None] * v, axis=0)])
    left = np.full((count, count + 1), np.inf)
    for first in range(count):
        stops = np.arange(first + 1, count + 1)
        kept = total[-1] - (total[stops] - total[first])
        value = (values[-1] - (values[stops] - values[first])) / np.maximum(kept, 1e-300)[:, None]
        fine = kept > ALONE * total[-1]
        left[first, stops] = np.where(fine, np.square(value - y).sum(1), np.inf)
    return left


# one key, or one element
