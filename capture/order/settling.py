"""What can be told of a capture's records once their headers are read: which ranks agree, which
names occur twice, and in which order they ran.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

from ..errors import RecordError
from ..formats.rank_parts import Joining
from ..formats.registry import format_named
from ..names import natural_key
from ..records import FILE_ORDER, Capture, Locator, Record
from ..storage import open_file
from .execution_order import sort_records
from .numbered_names import number_by_names

_SAMPLE = 1 << 16  # bytes at the beginning and end of two records that are compared
_SMALL = 1 << 20  # elements of a record that is loaded for that, where it has to be
# What a graph calls its results; runtimes list these before the values inside.
_RESULT = re.compile(
    r"(?:logits|outputs?[_.]?\d*|last_hidden_state|pooler_output|sequence_output|lm_head|scores?"
    r"|probs?|probabilities|present[\w.]*)(?:[-.]output\S*)?",
    re.IGNORECASE,
)


def settle(capture: Capture) -> None:
    """Name ranks apart, refuse names that occur twice, and put the records in order."""
    records = capture.records
    number_by_names(capture)
    _tell_ranks_apart(capture)
    _refuse_duplicates(records)
    if not capture.order_known and not _order_by_names(capture):
        _order_by_files(capture)
    told = capture.order_known and capture.order_source == "manifest"
    if not told and any(one.step > other.step for one, other in pairwise(records)):
        records.sort(key=lambda record: record.step)


# Ranks

_Key = tuple[str | None, int, str, str, int]


def _key(record: Record) -> _Key:
    return (record.side, record.step, record.module, record.slot, record.call)


def _tell_ranks_apart(capture: Capture) -> None:
    """Records of the same name on several ranks: where all agree, or have parts of one tensor, the
    first stands for them under its own name; all others get their rank in front of the name.
    """
    if len({record.rank for record in capture.records if record.rank is not None}) < 2:
        return
    groups: dict[_Key, list[Record]] = defaultdict(list)
    for record in capture.records:
        if record.rank is not None:
            groups[_key(record)].append(record)
    several = [group for group in groups.values() if len({r.rank for r in group}) > 1]
    same, whole, joining = 0, 0, Joining()
    for group in several:
        group.sort(key=lambda record: natural_key(record.rank or ""))
        agree = all(_look_alike(group[0], other) for other in group[1:])
        same += agree
        joined = None if agree else joining.join(group)
        joining.note(group, agree, joined is not None)
        if joined is not None:
            whole += 1
            group[0].locator, group[0].shape = joined, joined.shape
        for record in group[1:] if agree or joined is not None else group:
            record.name = f"{record.rank}/{record.name}"
            record.module = f"{record.rank}/{record.module}"
    if several:
        count = len({record.rank for record in capture.records if record.rank is not None})
        capture.notes += _words_of_ranks(count, len(several), same, whole)
        capture.unequal_ranks = joining.unequal()


def _words_of_ranks(ranks: int, tensors: int, same: int, whole: int) -> list[str]:
    parts = f", {whole} are joined from their parts" if whole else ""
    left = tensors - same - whole
    more = f"; {left} are shown rank by rank, not joined" if left else ""
    return [f"{ranks} ranks: of {tensors} tensors {same} look the same on all of them, and the "
            f"first rank's are shown{parts}{more}"]  # fmt: skip


def _look_alike(one: Record, other: Record) -> bool:
    """Whether two records have the same shape and the same bits, as far as is looked."""
    if one.locator is None or other.locator is None:
        return False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    try:
        return _sample(one.locator) == _sample(other.locator)
    except (RecordError, OSError, TypeError):
        return False


def _sample(locator: Locator) -> bytes | None:
    from ..dtypes import DTYPES

    size = locator.count * DTYPES[locator.dtype].itemsize
    if locator.in_place and locator.strides is None:
        with open_file(locator.path) as file:
            head = file.read_at(locator.offset, min(size, _SAMPLE))
            return head + file.read_at(locator.offset + max(0, size - _SAMPLE), min(size, _SAMPLE))
    if locator.count > _SMALL:
        raise RecordError("too large to be examined")
    from ..load import load

    return load(locator).tobytes()


def _refuse_duplicates(records: list[Record]) -> None:
    """Two files that claim one name cannot both be right: neither is compared."""
    seen: dict[_Key, Record] = {}
    for record in records:
        first = seen.setdefault(_key(record), record)
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
