"""Parameters that differ from the other side's by how they are stored: quantised, or their rows in
the other layout of rotary embeddings.

Weights of queries and keys have the halves of a head one behind the other in Hugging Face's
checkpoints, and element by element in Meta's and GGUF's (`permute` of llama.cpp's converter), where
the rotation takes neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..matching.names.canonical import parent_of
from ..matching.names.roles import is_parameter, role_of
from ..model import Layout, Measurement, Row

if TYPE_CHECKING:
    from ...capture.values import Array
    from ..aligned import Aligned, Results
    from ..laws.linear.quantised_copy import QuantisedCopies

_MOST = 1 << 16  # elements of a sample
_COLUMNS = 128  # that are looked at where rows are in another order: whole groups of quantisation
_MOST_ROWS = 1 << 17
_HEADS = (128, 64, 32, 16, 8, 96, 80, 112, 256, 192, 48, 24)  # elements of a head
_LEFT = 0.3  # of the error: what another order of rows leaves, quantised or not
_TOLERANCE = 1e-2  # relative L2 up to which the other order explains everything


class Stored(NamedTuple):
    """By row of the comparison: parameters in another order, and quantised ones, in words."""

    layouts: dict[int, Layout]
    quantised: dict[int, str]


def differently_stored(
    aligned: Aligned, results: Results, rows: Iterable[int],
    cancelled: Callable[[], bool] | None = None,
) -> Stored:  # fmt: skip
    """How those pairs of parameters differ that differ by storage alone. Reads a bounded part of
    each, with the greatest difference.
    """
    from ..laws.linear.quantised_copy import QuantisedCopies
    from ..measuring.bounded_sample import UNREADABLE

    copies, found = QuantisedCopies(), Stored({}, {})
    turned: set[int] = set()  # rows whose own rows are in the other order
    for index in rows:
        if cancelled is not None and cancelled():
            break
        result = results.measurements[index]
        if not isinstance(result, Measurement) or result.nonfinite_mismatch or result.partial:
            continue
        try:
            words = _quantised(aligned, index, result, copies)
            if words is not None:
                found.quantised[index] = words
            elif _is_turned_by_engines(aligned.rows[index]):
                _other_rows(aligned, index, copies, found)
                turned |= {index} & (found.layouts.keys() | found.quantised.keys())
        except UNREADABLE:
            continue
    return _of_all_layers(aligned, found, turned)


def _is_turned_by_engines(row: Row) -> bool:
    return role_of(parent_of(row.canonical)) in ("query", "key")


def _of_all_layers(aligned: Aligned, found: Stored, turned: set[int]) -> Stored:
    """An engine stores all its queries and keys so: a few that are turned are wrong."""
    alike = {
        row.index for row in aligned.rows
        if row.kind == "pair" and is_parameter(row.canonical) and _is_turned_by_engines(row)
    }  # fmt: skip
    if turned == alike:
        return found
    layouts = {index: layout for index, layout in found.layouts.items() if index not in turned}
    quantised = {index: words for index, words in found.quantised.items() if index not in turned}
    return Stored(layouts, quantised)


def _quantised(
    aligned: Aligned, index: int, result: Measurement, copies: QuantisedCopies
) -> str | None:  # fmt: skip
    from ..measuring.bounded_sample import read_sample

    sample = read_sample(aligned.task(index), result.max_abs_index, _MOST)
    if len(sample.shape) < 2 or len(sample.channels) != sample.shape[-1]:
        return None
    return copies.words(sample.x, sample.y, _units(aligned, index), sample.whole)


def _units(aligned: Aligned, index: int) -> tuple[float, float]:
    from ...capture.dtypes import DTYPES

    task = aligned.task(index)
    sides = (task.reference, task.candidate)
    left, right = (DTYPES[side.effective_dtype].epsilon / 2 for side in sides)
    return left, right


def _other_rows(aligned: Aligned, index: int, copies: QuantisedCopies, found: Stored) -> None:
    import numpy as np

    from ..measuring.pair_reader import PairReader

    task = aligned.task(index)
    with PairReader(task.reference, task.candidate) as reader:
        shape = reader.shape
        if len(shape) > 2 or not shape or shape[0] > _MOST_ROWS:
            return
        key = (slice(None), slice(0, _COLUMNS)) if len(shape) == 2 else (slice(None),)
        x, y, _ = reader.window(key)
    assert x is not None and y is not None
    x, y = (values.reshape(len(values), -1).astype(np.float64) for values in (x, y))
    apart, size = np.linalg.norm(x - y), np.linalg.norm(x)
    for order in _orders(x, y, "a" if len(shape) == 2 else ""):
        error = float(np.linalg.norm(order.x - y))
        if not error <= _LEFT * apart:
            continue
        if error <= _TOLERANCE * size:
            steps = [step for step in (aligned.rows[index].recipe_candidate, order.recipe) if step]
            found.layouts[index] = Layout(order.words, " | ".join(steps), error / float(size))
            return
        words = copies.words(order.x, y, _units(aligned, index), x.shape[1] == shape[-1])
        if words is not None:
            found.quantised[index] = f"{words}, {order.words} (recipe: {order.recipe})"
            return


class _Order(NamedTuple):
    """The reference's rows in the candidate's order, in words, and the recipe that undoes it."""

    x: Array
    words: str
    recipe: str


def _orders(x: Array, y: Array, rest: str) -> Iterator[_Order]:
    """The reference's rows as the other layout has them, most plausible heads first."""
    for head in _HEADS:
        if len(x) % head:
            continue
        for inner, words, there, here in (
            ((2, head // 2), "element by element", "d two", "two d"),
            ((head // 2, 2), "half by half", "two d", "d two"),
        ):
            parts = x.reshape(-1, *inner, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            pattern = f"(h {there}) {rest} -> (h {here}) {rest}".replace("  ", " ").strip()
            yield _Order(
                parts, f"rows of heads of {head} {words} (the other layout of rotary embeddings)",
                f'rearrange("{pattern}", two=2, d={head // 2})',
            )  # fmt: skip
