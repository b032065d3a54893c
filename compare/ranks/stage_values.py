"""Which order of the layers of pipeline stages gives the values that the other capture has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...capture.ranks.join_tree import as_node
from ...capture.ranks.numbers_in_names import add_to_number
from ...capture.ranks.pipeline.chunks import LAYER
from ...capture.ranks.pipeline.orders import Order, Spot, Stages
from ...capture.records import Locator, Record
from .by_values import DIFFERS, FITS, distance

# The stream of residuals changes little from one layer to the next: its values show a layer where
# they are nearer than this, and all others so many times farther.
_NEAR, _FARTHER = 0.03, 10.0
_MOST_LOOKED = 48  # records of which values are read
_LOOKED_ANYWHERE = 12  # of which every layer of the other capture is asked

Wholes = Callable[[Sequence[Record]], Sequence[Sequence[Locator]]]


class _Placing(Protocol):
    """What says where layers stand, as an `Order` does."""

    def place(self, spot: Spot) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class _Shifted:
    """So many layers behind their place in an order, the last of `total` before the first."""

    order: Order
    by: int
    total: int

    def place(self, spot: Spot) -> tuple[int, int]:
        number, call = self.order.place(spot)
        return (number + self.by) % self.total, call


def orders_left(records: Sequence[Record], stages: Stages, wholes_of: Wholes) -> list[Order]:
    """The orders that values do not rule out. `wholes_of` gives the other capture's tensors for
    each of some records.
    """
    every = stages.orders()
    left = every
    if len(every) > 1:
        tried: Sequence[_Placing] = every
        looked = _looked(records, stages, tried, _MOST_LOOKED)
    else:  # stages of other sizes: whether their layers are where they would be in one piece
        total = sum(stages.sizes)
        tried = [every[0], *(_Shifted(every[0], by, total) for by in range(1, total))]
        looked = _looked(records, stages, tried, _LOOKED_ANYWHERE)
        there = _errors(looked, every, wholes_of)
        looked = [
            one for one, errors in zip(looked, there, strict=True) if min(errors.values()) > FITS
        ]  # fmt: skip
    errors = _errors(looked, tried, wholes_of)
    for (_, spot), by_number in zip(looked, errors, strict=True):
        number = _shown(by_number)
        if number is not None:
            left = [order for order in left if order.place(spot)[0] == number]
    return left


def _looked(
    records: Sequence[Record], stages: Stages, orders: Sequence[_Placing], most: int
) -> list[tuple[Record, Spot]]:
    """Some records of layers, spread evenly, of which the orders say something else."""
    first = stages.first
    found: list[tuple[Record, Spot]] = []
    for record in records:
        spot = stages.spot(record)
        if spot is None or record.rank not in first or record.locator is None or record.step:
            continue
        if record.slot.startswith("input") or not record.locator.shape:
            continue
        if len({order.place(spot)[0] for order in orders}) > 1:
            found.append((record, spot))
    return found[:: max(1, -(-len(found) // most))]


def _errors(
    looked: Sequence[tuple[Record, Spot]], orders: Sequence[_Placing], wholes_of: Wholes
) -> list[dict[int, float]]:
    """Of each record the relative L2 to the other capture's, by the number that the layer has."""
    found: list[dict[int, float]] = [{} for _ in looked]
    for order in orders:
        todo = [
            (at, *order.place(spot)) for at, (_, spot) in enumerate(looked)
            if order.place(spot)[0] not in found[at]
        ]  # fmt: skip
        numbered: list[Record] = []
        for at, number, call in todo:
            record, spot = looked[at]
            numbered.append(replace(record, call=call))
            add_to_number(LAYER, numbered[-1], number - spot[1])
        for (at, number, _), wholes in zip(todo, wholes_of(numbered), strict=True):
            locator = looked[at][0].locator
            if locator is not None:
                found[at][number] = distance(as_node(locator), wholes) if wholes else float("inf")
    return found


def _shown(errors: dict[int, float]) -> int | None:
    """The number whose values these are; None where none's are, or another's may be."""
    best = min(errors, key=errors.__getitem__)
    rest = [error for number, error in errors.items() if number != best]
    near = errors[best] <= _NEAR and all(error > _FARTHER * errors[best] for error in rest)
    fits = errors[best] <= FITS and all(error > DIFFERS for error in rest)
    return best if (near and min(rest) > _NEAR) or fits else None
