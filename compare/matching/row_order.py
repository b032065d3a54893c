"""Rows in execution order, and whether both sides ran their modules in the same order."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ...capture.names import natural_key
from ...capture.plurals import IS, counted, which
from ..model import ExecutionOrder, Reordered, Row
from ..vocabulary import RowKind
from .call_match import Match
from .named_records import Item, Key, Side
from .names.canonical import ROOT, has_usual_place, parent_of, usual_order
from .token_facts import kind_of_record

_FIRST = (-1, "")  # before what runs inside a module
_ROLES = {"input": 0, "grad_input": 0, "value": 1, "output": 2, "grad_output": 2}


def lay_out(ref: Side, cand: Side, matches: list[Match]) -> list[Row]:
    """Every record on a row, in the order of the side that tells its order.

    The other side's gaps go behind the row of the record they followed; where that side's order
    is not known, to the rows of their own module or its nearest relatives.
    """
    lead_is_ref = ref.capture.order_strength >= cand.capture.order_strength
    lead, other = (ref, cand) if lead_is_ref else (cand, ref)
    by_item: dict[int, list[Match]] = defaultdict(list)
    for match in matches:
        by_item[id(match.reference if lead_is_ref else match.candidate)].append(match)
    slots: list[Item | Match] = []
    for item in _in_order(lead):
        slots.extend(by_item.get(id(item)) or [item])
    gaps = [item for item in other.items if item.matches == 0]
    if other.capture.order_known:
        behind = _behind_previous(slots, other, lead_is_ref)
    else:
        behind = _beside_relatives(slots, gaps, lead_is_ref)
    return _tokens_first(_rows(slots, behind, lead_is_ref))


def _tokens_first(rows: list[Row]) -> list[Row]:
    """What a run was given stands before all that it computed, wherever its dump has it."""
    given = [_is_given(row) for row in rows]
    if not any(given):
        return rows
    order = sorted(range(len(rows)), key=lambda i: (rows[i].step, not given[i]))
    return [replace(rows[i], index=index) for index, i in enumerate(order)]


def _is_given(row: Row) -> bool:
    record = row.reference or row.candidate
    return row.role == "value" and record is not None and kind_of_record(record) is not None


def _in_order(side: Side) -> list[Item]:
    if side.capture.order_known:
        return side.items
    return sorted(side.items, key=_usual_key)


def _usual_key(item: Item) -> tuple[object, ...]:
    place = usual_order(item.module)
    if item.role == "input" and item.record.slot == "value":
        place = (*place[:-1], _FIRST)  # a quantity, not an argument: stands where it is made
    return (
        item.step, place, item.call, _ROLES.get(item.role, 1),
        natural_key(item.slot),
    )  # fmt: skip


def _other_item(slot: Item | Match, lead_is_ref: bool) -> Item | None:
    if isinstance(slot, Match):
        return slot.candidate if lead_is_ref else slot.reference
    return None


def _behind_previous(
    slots: list[Item | Match], other: Side, lead_is_ref: bool
) -> dict[int, list[Item]]:
    """Gaps by the index of the row they follow (-1: before the first).

    An input of a call that has rows stands with them, directly before its output.
    """
    last_row: dict[int, int] = {}
    first_of_call: dict[Key, int] = {}
    for index, slot in enumerate(slots):
        item = _other_item(slot, lead_is_ref)
        if item is not None:
            last_row[id(item)] = index
        named = item or slot
        if isinstance(named, Item):
            first_of_call.setdefault(named.key, index)
    behind: dict[int, list[Item]] = defaultdict(list)
    at, call = -1, None
    for item in other.items:
        if item.matches:
            at, call = last_row.get(id(item), at), item.key
        elif item.role == "input" and call != item.key and item.key in first_of_call:
            behind[first_of_call[item.key] - 1].append(item)
        else:
            at = at if call == item.key else _past_earlier_gaps(slots, at, item)
            behind[at].append(item)
    return behind


def _past_earlier_gaps(slots: list[Item | Match], at: int, gap: Item) -> int:
    """Between two pairs both sides may have gaps: those that usually run first stand first."""
    if not has_usual_place(gap.module):
        return at
    key = (gap.step, usual_order(gap.module))
    while at + 1 < len(slots):
        slot = slots[at + 1]
        if isinstance(slot, Match) or not has_usual_place(slot.module):
            break
        if (slot.step, usual_order(slot.module)) > key:
            break
        at += 1
    return at


@dataclass(slots=True)
class _Places:
    """Where the leading side's modules stand, to find a place for the other side's gaps."""

    output: dict[Key, int] = field(default_factory=dict)  # a call's first output
    first: dict[tuple[int, str], int] = field(default_factory=dict)
    last: dict[tuple[int, str], int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)  # last row of a step
    # modules inside another, in their usual order, with their last rows
    inside: dict[tuple[int, str], list[tuple[Usual, int]]] = field(default_factory=dict)

    def note(self, index: int, item: Item) -> None:
        place = (item.step, item.module)
        if item.role != "input":
            self.output.setdefault(item.key, index)
        self.first.setdefault(place, index)
        self.last[place] = index
        self.ends[item.step] = index

    def finish(self) -> None:
        """To be called when all rows are noted."""
        for (step, module), row in self.last.items():
            for ancestor in _ancestors(module):
                entry = (usual_order(module), row)
                self.inside.setdefault((step, ancestor), []).append(entry)
        for entries in self.inside.values():
            entries.sort()

    def behind(self, gap: Item) -> int:
        """The row that a gap follows."""
        step, module = place = (gap.step, gap.module)
        if gap.role == "input" and gap.key in self.output:
            return self.output[gap.key] - 1
        if place in self.last:
            return self.last[place]
        if place in self.inside and module != ROOT:
            return max(row for _, row in self.inside[place])  # behind its children
        if step not in self.ends:
            return max((row for number, row in self.ends.items() if number < step), default=-1)
        if not has_usual_place(module):
            return self.ends[step]
        for ancestor in _ancestors(module):
            if (step, ancestor) in self.inside:
                return self._among(self.inside[step, ancestor], step, module)
            if (step, ancestor) in self.first:
                return self.first[step, ancestor] - 1  # children return before their parent
        return self.ends[step]

    def _among(self, entries: list[tuple[Usual, int]], step: int, module: str) -> int:
        """Behind what usually runs before it, of the modules inside the same one."""
        at = bisect_right(entries, (usual_order(module), -1))
        if at:
            return entries[at - 1][1]
        return min(row for (s, name), row in self.first.items() if s == step and (
            usual_order(name) == entries[0][0])) - 1  # fmt: skip


Usual = tuple[tuple[int, str], ...]


def _ancestors(module: str) -> Iterator[str]:
    """The modules around one, from the nearest to the root."""
    while module != ROOT:
        module = parent_of(module)
        yield module


def _beside_relatives(
    slots: list[Item | Match], gaps: list[Item], lead_is_ref: bool
) -> dict[int, list[Item]]:
    """Gaps of a side without order, by the row they follow."""
    places = _Places()
    for index, slot in enumerate(slots):
        if isinstance(slot, Item):
            places.note(index, slot)
        else:
            places.note(index, slot.reference if lead_is_ref else slot.candidate)
    places.finish()
    behind: dict[int, list[Item]] = defaultdict(list)
    for gap in sorted(gaps, key=_usual_key):
        behind[places.behind(gap)].append(gap)
    return behind


def _rows(slots: list[Item | Match], behind: dict[int, list[Item]], lead_is_ref: bool) -> list[Row]:
    rows: list[Row] = []

    def add_gaps(index: int) -> None:
        for item in behind.get(index, ()):
            rows.append(_gap(len(rows), item, not lead_is_ref))

    add_gaps(-1)
    for index, slot in enumerate(slots):
        if isinstance(slot, Match):
            rows.append(_pair(len(rows), slot))
        else:
            rows.append(_gap(len(rows), slot, lead_is_ref))
        add_gaps(index)
    return rows


def _gap(index: int, item: Item, of_reference: bool) -> Row:
    record = item.record
    kind: RowKind = "gap_reference" if of_reference else "gap_candidate"
    broken = f"{record.path}: {record.error}" if record.error else None
    return Row(
        index, kind, record if of_reference else None, None if of_reference else record,
        item.module, item.slot, item.step, item.call,
        problem=broken, problem_level="unreadable" if broken else None,
    )  # fmt: skip


def _pair(index: int, match: Match) -> Row:
    named = match.named
    return Row(
        index, "pair", match.reference.record, match.candidate.record, named.module, named.slot,
        named.step, named.call, str(match.view.reference), str(match.view.candidate),
        match.matched_by, match.how, match.problem, match.problem_level, match.sure,
    )  # fmt: skip


def check_order(ref: Side, cand: Side, matches: list[Match]) -> ExecutionOrder:
    """Compare the orders in which both sides returned the outputs of their pairs.

    Reordered are the pairs outside a longest run that is in order on both sides. Records that take
    part in several pairs say nothing about order: a fused module runs once for all its parts.
    """
    unknown = [
        f"the {word} does not record its order ({side.capture.path})"
        for word, side in (("reference", ref), ("candidate", cand))
        if not side.capture.order_known
    ]
    if unknown:
        return ExecutionOrder(None, " and ".join(unknown))
    outputs = sorted(
        (
            m
            for m in matches
            if m.reference.role != "input" and m.reference.matches == m.candidate.matches == 1
        ),
        key=lambda m: (m.reference.position, m.candidate.position),
    )
    if not outputs:
        return ExecutionOrder(None, "no pair of outputs to compare orders by")
    kept = longest_run([m.candidate.position for m in outputs])
    moved = tuple(
        Reordered(
            m.reference.record.name, m.candidate.record.name,
            m.reference.position, m.candidate.position,
        )
        for index, m in enumerate(outputs)
        if index not in kept
    )  # fmt: skip
    weak = min(ref.capture.order_strength, cand.capture.order_strength) < 2
    if moved and weak:
        return ExecutionOrder(None, "only the order in which a file lists its tensors is known")
    if not moved:
        made = f"of outputs {which(len(outputs), *IS)} produced in the same order"
        return ExecutionOrder(True, f"{counted(len(outputs), 'pair')} {made}")
    return ExecutionOrder(
        False,
        f"{len(moved)} of {len(outputs)} pairs of outputs are produced in a different order",
        moved,
    )


def longest_run(values: Iterable[int]) -> set[int]:
    """Indices of a longest non-decreasing subsequence (patience sorting, O(n log n))."""
    tails: list[int] = []
    tail_index: list[int] = []
    previous: dict[int, int] = {}
    for index, value in enumerate(values):
        at = bisect_right(tails, value)
        previous[index] = tail_index[at - 1] if at else -1
        if at == len(tails):
            tails.append(value)
            tail_index.append(index)
        else:
            tails[at], tail_index[at] = value, index
    kept: set[int] = set()
    index = tail_index[-1] if tail_index else -1
    while index >= 0:
        kept.add(index)
        index = previous[index]
    return kept
