"""Names with a number in front that counts records: `0004_model.embed_tokens`, `12-mlp`."""

from __future__ import annotations

import re
from collections import defaultdict

from ..records import Capture, Record

ORDER = "numbers in front of the names"

# A dot joins modules: `0.conv` is a module of a `Sequential`, `007.conv` is not.
_NUMBER = re.compile(
    r"(?P<number>\d{1,9})(?:[-_ ]+|\. +|[:)] ?)(?=[A-Za-z])|(?P<padded>0\d{1,8})\.(?=[A-Za-z])"
)
_FEWEST = 3  # records that show that the numbers count
_DIFFERENT = 0.5  # of the names behind the numbers that must differ: `3_hidden` is a layer's


def number_by_names(capture: Capture) -> None:
    """Take the numbers in front of all names for the order, and the rest for the names, where they
    count the records of each step; what has a name for the second time is the next call.
    """
    found = [_NUMBER.match(record.module) for record in capture.records]
    if len(found) < _FEWEST or not all(found):
        return
    numbers = [int(match["number"] or match["padded"]) for match in found if match is not None]
    rest = [
        record.module[match.end() :]
        for record, match in zip(capture.records, found, strict=True)
        if match is not None
    ]
    if not _count(capture.records, numbers, rest):
        return
    for record, name in zip(capture.records, rest, strict=True):
        record.module = name
    if not capture.order_known:
        order = sorted(range(len(numbers)), key=lambda i: (capture.records[i].step, numbers[i]))
        capture.records[:] = [capture.records[i] for i in order]
        capture.order_known, capture.order_source = True, ORDER
    _number_calls(capture.records)


def _count(records: list[Record], numbers: list[int], rest: list[str]) -> bool:
    """Whether the numbers count: no two of a step and a rank are alike, and few are left out."""
    groups: dict[tuple[int, str | None, str | None], list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[record.step, record.rank, record.side].append(index)
    for group in groups.values():
        own = {(numbers[index], records[index].path) for index in group}
        counted = {number for number, _ in own}
        if len(counted) < len(own) or max(counted) - min(counted) > 4 * len(counted):
            return False
        if len({rest[index] for index in group}) < _DIFFERENT * len(group):
            return False
    return True


def _number_calls(records: list[Record]) -> None:
    taken: dict[tuple[object, ...], int] = {}
    for record in records:
        place = (record.side, record.step, record.rank, record.module, record.slot)
        record.call = taken[place] = max(taken.get(place, 0) + 1, record.call)
