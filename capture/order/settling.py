"""What can be told of a capture's records once their headers are read: what ranks have together,
which names occur twice, and in which order they ran.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from ..formats.registry import format_named
from ..names import natural_key
from ..records import FILE_ORDER, Capture, RankRecords, Record
from .execution_order import sort_records
from .numbered_names import number_by_names

if TYPE_CHECKING:
    from ..ranks.deciding import Advice

# What a graph calls its results; runtimes list these before the values inside.
_RESULT = re.compile(
    r"(?:logits|outputs?[_.]?\d*|last_hidden_state|pooler_output|sequence_output|lm_head|scores?"
    r"|probs?|probabilities|present[\w.]*)(?:[-.]output\S*)?",
    re.IGNORECASE,
)


def settle(capture: Capture, advice: Advice | None = None) -> None:
    """Join ranks or name them apart, refuse names that occur twice, and put the records in order.
    `advice` is asked how ranks are joined.
    """
    records = capture.records
    number_by_names(capture)
    if any(record.rank is not None for record in records):
        from ..ranks.settling import keep_ranks, settle_ranks

        keep_ranks(capture)
        settle_ranks(capture, advice)
    _refuse_duplicates(records)
    if not capture.order_known and not _order_by_names(capture):
        _order_by_files(capture)
    told = capture.order_known and capture.order_source == "manifest"
    if not told and any(one.step > other.step for one, other in pairwise(records)):
        records.sort(key=lambda record: record.step)


def _refuse_duplicates(records: list[Record]) -> None:
    """Two files that claim one name cannot both be right: neither is compared."""
    seen: dict[object, Record] = {}
    for record in records:
        first = seen.setdefault(record.identity, record)
        if first is not record:
            for one, other in ((first, record), (record, first)):
                one.error = one.error or f"duplicate name: {other.path} holds it too; remove one"
                one.locator = None


# Order


def _order_by_names(capture: Capture) -> bool:
    """By the names file or log that was found when the files were listed, which may name keys."""
    hints = capture.names_order
    if hints is None or not hints.positions:
        return False
    ordered, known = sort_records(capture.records, hints, {r.path for r in capture.records})
    if not known:
        return False
    capture.records[:] = ordered
    capture.order_known, capture.order_source = True, hints.source
    said = f"{hints.source} does not name every record: order unknown"
    capture.notes[:] = [note for note in capture.notes if note != said]
    return True


def _order_by_files(capture: Capture) -> None:
    """Where one file holds all records of a step, by the order in which it lists them, unless that
    is merely the order of the alphabet.
    """
    groups: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for record in capture.records:
        groups[record.step, record.rank or ""].append(record)
    if max(map(len, groups.values()), default=0) < 2:
        return
    for group in groups.values():
        if len({record.path for record in group}) > 1:
            return
        if not format_named(group[0].format).keeps_order or _alphabetical(group):
            return
    ordered: list[Record] = []
    for key in sorted(groups, key=lambda key: (key[0], natural_key(key[1]))):
        ordered.extend(_results_last(groups[key]))
    capture.records[:] = ordered
    capture.order_known, capture.order_source = True, FILE_ORDER


_DIGITS = re.compile(r"\d+")


def _alphabetical(records: list[Record]) -> bool:
    """True for names in the order of the alphabet that differ in more than numbers: whoever wrote
    the file sorted them.
    """
    names = [record.name for record in records]
    if len(names) < 3 or len({_DIGITS.sub("#", name) for name in names}) == 1:
        return False
    return names in (sorted(names), sorted(names, key=natural_key))


def _results_last(records: list[Record]) -> list[Record]:
    """Results of a graph that stand before its other values, behind them."""
    scoped = any("/" in record.name for record in records)
    count = 0
    for record in records:
        if not (_RESULT.fullmatch(record.name) or (scoped and "/" not in record.name)):
            break
        count += 1
    if scoped and not any(_RESULT.fullmatch(record.name) for record in records[:count]):
        return records
    return records[count:] + records[:count]


def joined_anew(capture: Capture, advice: Advice, by: object) -> Capture:
    """The capture with its ranks joined by other rules. `by` is equal where they are the same:
    then it is `capture` itself, as it is where it has no ranks.
    """
    known = capture.of_ranks
    if known is None or known.settled_by == by:
        return capture
    fresh = RankRecords(known.records, known.order_known, known.order_source, known.notes)
    fresh.compared, fresh.settled_by = known.compared, by
    other = replace(
        capture, records=[replace(record) for record in known.records], notes=list(known.notes),
        order_known=known.order_known, order_source=known.order_source, unequal_ranks=(),
        rank_faults="", of_ranks=fresh,
    )  # fmt: skip
    settle(other, advice)
    return other
