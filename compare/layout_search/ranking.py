"""Trying likely recipes on the values of a pair, and ranking them by the error that is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ...capture.records import Record
from ...capture.values import Array
from ..aligned import side_task
from ..matching.names.canonical import layer_number
from ..measuring.pair_reader import PairTask, SideTask, shapes_differ
from ..model import Row
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.recipe import view_shapes
from ..recipes.steps import Concat
from .candidates import Proposal, propose
from .hints import Hints
from .permutations import orders
from .sampled_pair import SampledPair, Stop, constant, reals

if TYPE_CHECKING:
    from ..comparison import Comparison

__all__ = ["Hints", "Proposal", "Tried", "prepare", "propose", "rank"]


_ALIKE = 1.1  # errors that differ by less are shown as one, and ranked by simplicity


@dataclass(frozen=True, slots=True)
class Tried:
    """A proposal and what it gives on `compared` of the `count` elements of its view.

    `relative_l2` is None where it cannot be computed, and `note` says why. `nonfinite` of the
    elements looked at are NaN or Inf on one side only. Where `tells` is False the reference has one
    value everywhere that was looked at: any order of it would fit. `shown` is the error that a
    ranking shows and is sorted by, to a tenth; None where it says nothing.
    """

    proposal: Proposal
    relative_l2: float | None
    compared: int = 0
    count: int = 0
    nonfinite: int = 0
    tells: bool = True
    note: str = ""
    shown: float | None = None

    @property
    def whole(self) -> bool:
        """True when every element was looked at."""
        return self.compared == self.count

    @property
    def error(self) -> float | None:
        """What is ranked by: an element that is finite on one side only counts as an error as
        large as the reference. None where the number says nothing.
        """
        if self.relative_l2 is None or not self.tells:
            return None
        share = self.nonfinite / self.compared if self.compared else 0.0
        return (self.relative_l2**2 + share) ** 0.5


def rank(
    task: PairTask, proposals: Sequence[Proposal], cancelled: Stop = None,
    progress: Callable[[int, int], None] | None = None, hints: Hints | None = None,
) -> list[Tried]:  # fmt: skip
    """Try proposals, the best first; of equally good ones the simpler.

    The recipes of `task` are not looked at; its sides must bring the records that a `concat` names.
    To `proposals` are added the orders of heads (and of other axes) that the values show.
    `progress` is told how many are done of how many. What is wrong with a proposal is said in its
    `note`. Raises `SideError` for a record that cannot be read, and `CancelledError`.
    """
    with np.errstate(all="ignore"), SampledPair(task, cancelled) as pair:
        found = list(proposals)
        for proposal in [each for each in proposals if each.ground][:3]:
            found += orders(pair, proposal, hints or Hints())
        tried: list[Tried] = []
        for number, proposal in enumerate(found):
            tried.append(_try(pair, proposal))
            if progress is not None:
                progress(number + 1, len(found))
    return _sorted(tried)


def _sorted(tried: list[Tried]) -> list[Tried]:
    """The best first; those whose errors differ by no more than noise would make them differ show
    one number, and of them the simpler one comes first. Behind them those whose number says
    nothing, and last those that could not be computed.
    """
    known = sorted((each.error, at) for at, each in enumerate(tried) if each.error is not None)
    found: list[Tried] = []
    while known:
        least = known[0][0]
        alike = [at for error, at in known if error <= least * _ALIKE]
        alike.sort(key=lambda at: (tried[at].proposal.effort, at))
        shown = float(f"{least:.1e}")
        found += [replace(tried[at], shown=shown) for at in alike]
        known = known[len(alike) :]
    rest = [each for each in tried if each.error is None]
    rest.sort(key=lambda each: (each.relative_l2 is None, each.proposal.effort))
    return found + rest


def _try(pair: SampledPair, proposal: Proposal) -> Tried:
    try:
        return _measured(pair, proposal)
    except RecipeError as error:
        return Tried(proposal, None, note=str(error))
    except MemoryError:
        return Tried(proposal, None, note="not enough memory to try this")
    except (ValueError, IndexError, OverflowError) as error:
        return Tried(proposal, None, note=f"cannot be tried: {error}")


def _measured(pair: SampledPair, proposal: Proposal) -> Tried:
    recipes = parse_recipe(proposal.reference), parse_recipe(proposal.candidate)
    pair.check_kinds(recipes)
    if any(isinstance(step, Concat) for recipe in recipes for step in recipe.steps):
        x, y, count = pair.joined(proposal.reference, proposal.candidate)
    else:
        shapes = view_shapes(*recipes, pair.left.shape, pair.right.shape)
        if shapes[0] != shapes[1]:
            raise RecipeError(shapes_differ(*shapes))
        sample, count = pair.sample(recipes, shapes[0]), prod(shapes[0])
        x, y = sample.reference, pair.candidate(recipes, sample)
    if not x.size:
        return Tried(proposal, None, note="no element that both dumps show" if count else "empty")
    finite = np.isfinite(x) & np.isfinite(y)
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    odd = int(np.count_nonzero(~finite & ~alike))
    value = _relative_l2(x[finite], y[finite]) if finite.any() else None
    tells = not constant(x)
    note = "" if tells else "the reference has the same value everywhere: any order fits"
    if value is None:
        note = "the reference is all zeros" if finite.any() else "no element finite on both sides"
    return Tried(proposal, value, x.size, count, odd, tells, note)


def _relative_l2(x: Array, y: Array) -> float | None:
    """|y - x| / |x|; None where only x is all zeros."""
    left, right = reals(x), reals(y)
    size = max(float(np.abs(left).max()), float(np.abs(right).max()))
    if size == 0:
        return 0.0
    left, right = left / size, right / size  # so that no square leaves float64's range
    whole, rest = float(np.square(left).sum()), float(np.square(right - left).sum())
    return (rest / whole) ** 0.5 if whole > 0 else None


def prepare(comparison: Comparison, row: Row) -> tuple[PairTask, Hints]:
    """The task and the hints of a row with two readable records; it need not be one of the
    comparison's.
    """
    assert row.reference is not None and row.candidate is not None
    sides: list[SideTask] = []
    siblings: list[tuple[tuple[str, Shape], ...]] = []
    for record, recipe, records in (
        (row.reference, row.recipe_reference, comparison.reference.records),
        (row.candidate, row.recipe_candidate, comparison.candidate.records),
    ):
        side = side_task(record, recipe, records)
        beside = list(_siblings(record, records))
        others = dict([*side.others, *((r.name, r.locator) for r in beside if r.locator)])
        sides.append(replace(side, others=tuple(others.items())))
        siblings.append(tuple((r.name, r.shape or ()) for r in beside))
    hints = Hints(
        _heads_in_layer(comparison, row), None, row.reference.dtype, row.candidate.dtype, *siblings
    )
    return PairTask(sides[0], sides[1], comparison.aligned.rtol, comparison.aligned.atol), hints


def _siblings(record: Record, records: list[Record]) -> Iterator[Record]:
    """Records that one could be joined with: of the same slot, call and step, by modules with the
    same parent.
    """
    parent = record.module.rpartition(".")[0]
    for other in records:
        alike = (other.slot, other.call, other.step, other.dtype) == (
            record.slot, record.call, record.step, record.dtype
        )  # fmt: skip
        beside = other.module != record.module and other.module.rpartition(".")[0] == parent
        if alike and beside and other.locator is not None and not other.partial:
            yield other


def _heads_in_layer(comparison: Comparison, row: Row) -> tuple[int, ...]:
    """Head counts that records inside the same module show by an axis of their own."""
    assert row.reference is not None and row.candidate is not None
    if layer_number(row.canonical) is None:
        return ()
    parent = row.canonical.rpartition(".")[0]
    shapes = (row.reference.shape or (), row.candidate.shape or ())
    widths = {size for shape in shapes for size in shape[-1:]}
    seen: dict[int, int] = {}
    for other in comparison.rows:
        if not other.canonical.startswith(parent):
            continue
        for record in (other.reference, other.candidate):
            shape = record.shape if record is not None and record.shape else ()
            for heads in shape[-3:-1] if len(shape) > 2 else ():
                if heads > 1 and heads * prod(shape[-1:]) in widths:
                    seen[heads] = seen.get(heads, 0) + 1
    return tuple(sorted(seen, key=lambda heads: -seen[heads])[:4])
