"""Layers of pipeline stages that every rank counts from 0 get the numbers that they have in the
whole model, where it is known in which order they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...records import Record
from ..coordinates import Places
from ..labels import CHUNKS
from .links import chained, linked_order, may_be_stages
from .orders import Order, Stages, apply_order, label_layers, set_apart, stages_of


@dataclass(frozen=True, slots=True)
class Numbering:
    """What was done, or what to write to say it, in words; nothing where ranks are no stages. Not
    `known` where layers stay apart, because it is not known which ones they are.
    """

    words: str = ""
    known: bool = True


class StageAdvice(Protocol):
    """What is known beside the capture of the order of stages."""

    def stage_orders(self, records: Sequence[Record], stages: Stages) -> list[Order]:
        """The orders that the other capture does not rule out."""
        ...

    @property
    def has_other(self) -> bool:
        """Whether there is another capture."""
        ...

    @property
    def layers_in_all(self) -> int | None:
        """The number of layers that the other capture has; None where there is none."""
        ...

    def has_same_ranks(self, records: Sequence[Record]) -> bool:
        """Whether the other capture is one of the same ranks, so that each has its partner."""
        ...


def number_stages(
    records: Sequence[Record], places: Places, counts: Mapping[str, int], advice: StageAdvice | None
) -> Numbering:  # fmt: skip
    """Renumber records in place, where it is known how."""
    in_all = None if advice is None else advice.layers_in_all
    stages = stages_of(records, places, in_all)
    if stages is None and not (advice is not None and advice.has_same_ranks(records)):
        count = set_apart(records, places)
        why = "the stage with the first layers is not there: those of others are not numbered"
        return Numbering(why if count else "")
    if stages is None or not (stages.told or may_be_stages(records, stages)):
        return Numbering()
    chunks = counts.get(CHUNKS, 0)
    if chunks and stages.told:
        order = stages.told_order(chunks)
        if order is None:
            sizes = ", ".join(map(str, stages.sizes))
            why = f"{CHUNKS}{chunks} does not fit stages of {sizes} layers"
            label_layers(records, places)
            return Numbering(f"{why}: they are not numbered through", False)
        return _applied(records, stages, order)
    linked = linked_order(records, stages)
    if linked is not None:
        return _applied(records, stages, linked)
    if not stages.told and (chain := chained(records, stages)) is not None:
        return _applied(records, chain, Order(chain.sizes))
    return _advised(records, stages, places, advice)


def _advised(
    records: Sequence[Record], stages: Stages, places: Places, advice: StageAdvice | None
) -> Numbering:  # fmt: skip
    """By the other capture; stages that are told have one piece, unless that is ruled out."""
    every = stages.orders()
    left = every if advice is None else advice.stage_orders(records, stages)
    if len(left) == 1 and (len(every) > 1 or stages.told):
        return _applied(records, stages, left[0])
    if not stages.told:
        return Numbering()
    say = f"`{CHUNKS}2` in [ranks] of the rules file says that each has two chunks of layers"
    if every[0] not in left:
        label_layers(records, places)
        why = "layers of each stage count from 0, in an order that is not known"
        return Numbering(f"{why}: {say}", False)
    said = _applied(records, stages, every[0])
    if advice is None or len(left) == 1 or not advice.has_other:
        return said
    return Numbering(f"{said.words} as if no stage had several chunks, which nothing shows: {say}")


def _applied(records: Sequence[Record], stages: Stages, order: Order) -> Numbering:
    apply_order(records, stages, order)
    return Numbering(order.words)
