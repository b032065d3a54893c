"""Heads in another order, other projections' values, and heads that are repeated otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from .form import Form, Material
from .inputs import rows_kept
from .math import attend
from .scores import by_head
from .trial import Trials

_ROWS = 12  # queries that heads are matched on
_MOST_HEADS = 64
_BETTER = 0.25  # of the squares that must be left for a head to be another one


def order_hypotheses(trials: Trials) -> Iterator[Hypothesis]:
    """Changes of which head, or which projection, is used for which."""
    yield from _repetition(trials)
    yield from _swapped(trials)
    yield from _key_heads(trials)
    yield from _query_heads(trials)


def _repetition(trials: Trials) -> Iterator[Hypothesis]:
    form = trials.form
    if form.kv_heads in (1, form.heads):
        return
    other = "tiled" if form.repetition == "interleaved" else "interleaved"
    text = f"key heads are repeated {other} where the reference repeats them {form.repetition}"
    yield trials.made(
        "head-repetition", text, replace(form, repetition=other), None, "repetition",
        form.repetition, other,
    )  # fmt: skip


def _swapped(trials: Trials) -> Iterator[Hypothesis]:
    material, form = trials.material, trials.form
    assert material is not None
    if material.k.shape == material.v.shape:
        yield trials.made(
            "swapped", "keys and values are swapped", form,
            replace(material, k=material.v, v=material.k), "inputs", "k, v", "v, k",
        )  # fmt: skip
        for name, change in (("keys", {"v": material.k}), ("values", {"k": material.v})):
            where = "values" if name == "keys" else "keys"
            yield trials.made(
                "swapped", f"{name} are used in place of the {where}", form,
                replace(material, **change), "inputs", "k, v", f"{name} twice",
            )  # fmt: skip
    whole = trials.case.more.get("all_q")
    if whole is not None and form.heads == form.kv_heads and whole.shape == material.k.shape:
        rows = trials.case.more["sampled"]
        yield trials.made(
            "swapped", "queries and keys are swapped", form,
            replace(material, q=material.k[rows], k=whole), "inputs", "q, k", "k, q",
        )  # fmt: skip


def _key_heads(trials: Trials) -> Iterator[Hypothesis]:
    """Every query head looks at the key head that fits it best."""
    form, material = trials.form, trials.material
    if form.kv_heads < 2 or form.heads > _MOST_HEADS or material is None:
        return
    some, y = _some(trials)
    left = np.stack([_left(_one_key_head(form, some, kv), y, form.heads)
                     for kv in range(form.kv_heads)])  # fmt: skip
    own = form.looks_at
    best = _chosen(left, own)
    other = replace(form, repetition="tiled" if form.repetition == "interleaved" else "interleaved")
    if any(np.array_equal(best, f.looks_at) for f in (form, other)):
        return
    groups = form.heads // form.kv_heads
    by_group = best.reshape(form.kv_heads, groups) if form.repetition == "interleaved" else None
    whole = by_group is not None and (by_group == by_group[:, :1]).all()
    shown = ", ".join(map(str, best[:16]))
    text = f"query heads use the key heads {shown}"
    if whole and by_group is not None:
        order = by_group[:, 0]
        text = f"key heads are in a different order ({', '.join(map(str, order[:16]))})"
        moved = replace(
            material, k=_reordered(material.k, order), v=_reordered(material.v, order)
        )  # fmt: skip
        yield trials.made(
            "head-order", text, form, moved, "key heads", "0, 1, 2, ...", shown
        )  # fmt: skip
        return
    spread = replace(
        material, k=_reordered(material.k, best, form.kv_heads),
        v=_reordered(material.v, best, form.kv_heads),
    )  # fmt: skip
    yield trials.made(
        "head-order", text, replace(form, kv_heads=form.heads, repetition="interleaved"), spread,
        "key heads", "0, 1, 2, ...", shown,
    )  # fmt: skip


def _query_heads(trials: Trials) -> Iterator[Hypothesis]:
    """Every head uses the query head that fits it best."""
    form, material = trials.form, trials.material
    if not 2 <= form.heads <= _MOST_HEADS or material is None:
        return
    some, y = _some(trials)
    left = np.stack([_left(replace(some, q=np.roll(_heads(some.q, form.heads), -shift, axis=1)
                                   .reshape(len(some.q), -1)), y, form.heads, form)
                     for shift in range(form.heads)])  # fmt: skip
    # left[shift, h]: head h with query head h + shift
    by_query = np.empty_like(left)
    for head in range(form.heads):
        for shift in range(form.heads):
            by_query[(head + shift) % form.heads, head] = left[shift, head]
    own = np.arange(form.heads)
    best = _chosen(by_query, own)
    if np.array_equal(best, own):
        return
    moved = replace(material, q=_reordered(material.q, best, form.heads))
    shown = ", ".join(map(str, best[:16]))
    yield trials.made(
        "head-order", f"query heads are in a different order ({shown})", form, moved, "query heads",
        "0, 1, 2, ...", shown,
    )  # fmt: skip


def _some(trials: Trials) -> tuple[Material, Array]:
    """A few sampled rows, evenly spread."""
    material = trials.material
    assert material is not None
    rows = np.unique(np.linspace(0, len(material.q) - 1, _ROWS).astype(int))
    return rows_kept(material, rows), np.nan_to_num(trials.y[rows])


def _one_key_head(form: Form, material: Material, kv: int) -> tuple[Form, Material]:
    k, v = (by_head(m, form.kv_heads)[:, kv] for m in (material.k, material.v))
    return replace(form, kv_heads=1), replace(material, k=k, v=v)


def _left(
    of: Material | tuple[Form, Material], y: Array, heads: int, form: Form | None = None
) -> Array:
    """What is left of each head `[heads]`: every row counts alike."""
    if isinstance(of, tuple):
        form, material = of
    else:
        material = of
    assert form is not None
    value = attend(form, material).value
    left = np.square(y - value).reshape(len(y), heads, -1).sum(-1)
    size = np.square(y).reshape(len(y), heads, -1).sum(-1)
    return np.median(left / np.maximum(size, 1e-300), axis=0)


def _chosen(left: Array, own: Array) -> Array:
    """For each head the best of the first axis, its own unless another is better by far."""
    heads = np.arange(left.shape[1])
    best = left.argmin(0)
    better = left[best, heads] < _BETTER * left[own, heads]
    return np.where(better, best, own)


def _heads(values: Array, heads: int) -> Array:
    return by_head(values, heads)


def _reordered(values: Array, order: Array, heads: int | None = None) -> Array:
    """Whole heads in another order; `order` may take one several times."""
    count = len(order) if heads is None else heads
    return by_head(values, count)[:, order].reshape(len(values), -1)
