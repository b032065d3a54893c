"""Buffers that were read too late: records with the bits of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from ...capture.plurals import HAS, counted
from ...capture.records import Record
from ..comparison import Comparison
from ..matching.named_records import Item, kind_of
from ..matching.names.operators import is_view
from .finding import Finding, Severity, SideName
from .samples import Looks

LAYER = re.compile(r"^(?P<stack>.*?\blayers)\.(?P<number>\d+)(?P<rest>\..*|$)")
LEAST = 16  # elements; smaller records are equal or constant by chance
_NUMBER = re.compile(r"\d+")
_HANDS_ON = re.compile(r"dropout|identity", re.IGNORECASE)  # names and classes
# Kinds of modules, none inside another, whose outputs are the same bits: two may hand on a value to
# each other (a layer's output, the next one's norm left out), three do not.
_KINDS = 3
_REPEATED = 0.9  # share of a step's outputs that must be those of the step before
_LEAST_REPEATED = 8
_ONE_BUFFER = (
    "all of them share one buffer (a replayed graph, or copies made too late): copy tensors when "
    "hooks fire"
)

Given = Literal["differ", "equal", "unknown"]


def stale_outputs(outputs: Sequence[Item], items: Iterable[Item], looks: Looks) -> list[Finding]:
    """Findings about `outputs`, which are no constants; `items` are all of the capture."""
    inputs: dict[tuple[str, str, int, int], Item] = {}
    for item in items:
        if item.role == "input":
            inputs[item.module, item.slot, item.step, item.record.call] = item
    found, shared = _one_buffer(outputs, looks)
    rest = [item for item in outputs if id(item) not in shared]
    return [*found, *_layers(rest, _Inputs(inputs, looks), looks), *_steps(rest, looks)]


def stale_beside(
    comparison: Comparison, looks: tuple[Looks, Looks], reported: Iterable[Finding]
) -> Iterator[Finding]:
    """Outputs of one side that are equal bit by bit where those of the other have as many values
    as there are modules; `reported` findings are not repeated.
    """
    known = {(f.side, name) for f in reported if f.code == "stale" for name in f.records}
    sides: tuple[tuple[SideName, SideName], ...] = (
        ("reference", "candidate"), ("candidate", "reference"),
    )  # fmt: skip
    for at, (mine, other) in enumerate(sides):
        alike: dict[bytes, dict[str, tuple[Record, Record]]] = {}
        for row in comparison.rows:
            own, theirs = getattr(row, mine), getattr(row, other)
            if row.role not in ("output", "value") or not _has_values(own, theirs):
                continue
            seen = looks[at].of(own)
            if seen is not None and seen.value is None and (mine, own.name) not in known:
                alike.setdefault(seen.digest, {})[own.name] = own, theirs
        names: list[str] = []
        for group in alike.values():
            if not _of_some_kinds(group.values()):
                continue  # and need not be read in full
            first = next(iter(group.values()))[0]
            same = [pair for pair in group.values() if looks[at].same(first, pair[0])]
            if not _of_some_kinds(same):
                continue
            values = {v.digest for _, theirs in same if (v := looks[1 - at].of(theirs))}
            names += [own.name for own, _ in same] if len(values) >= _KINDS else []
        if names:
            outputs = counted(len(names), "output", HAS)
            words = f"{outputs} the same bits, those of the {other} do not"
            yield Finding("error", "stale", words, _ONE_BUFFER, mine, tuple(names))


def _of_some_kinds(pairs: Iterable[tuple[Record, Record]]) -> bool:
    return len(innermost(own.module for own, _ in pairs)) >= _KINDS


def _has_values(*records: Record | None) -> bool:
    return all(
        r is not None and r.locator is not None and r.locator.count >= LEAST
        and kind_of(r.dtype or "") in ("float", "complex")
        for r in records
    )  # fmt: skip


class _Inputs:
    """What modules were given, as far as it is recorded."""

    def __init__(
        self, inputs: dict[tuple[str, str, int, int], Item], looks: Looks
    ) -> None:  # fmt: skip
        self._looks = looks
        self._known: dict[tuple[str, int, int], dict[str, Record]] = {}
        for (module, slot, step, call), item in inputs.items():
            if item.record.locator is not None:
                self._known.setdefault((module, step, call), {})[slot] = item.record

    def of(self, item: Item) -> dict[str, Record]:
        return self._known.get((item.module, item.step, item.record.call), {})

    def given(self, items: Sequence[Item]) -> Given:
        """Whether all of them were given the same bits."""
        first, *others = (self.of(item) for item in items)
        if not first or not all(others):
            return "unknown"
        slots = set(first).intersection(*others)
        alike = slots and all(
            looks_equal(self._looks, first[slot], other[slot]) for slot in slots for other in others
        )
        return "equal" if alike else "differ"

    def hands_on(self, item: Item) -> bool:
        """Whether its output is one of its inputs; by its name where these are not recorded."""
        known = self.of(item).values()
        if known:
            return any(looks_equal(self._looks, item.record, record) for record in known)
        names = item.module.rpartition(".")[2], item.record.module_class or ""
        return any(_HANDS_ON.search(name) for name in names)


def _one_buffer(
    outputs: Sequence[Item], looks: Looks
) -> tuple[list[Finding], set[int]]:  # fmt: skip
    """Outputs of several kinds of modules that are equal bit by bit, each in several layers of one
    step; and their ids.
    """
    steps: dict[int, list[Item]] = {}
    for item in outputs:
        steps.setdefault(item.step, []).append(item)
    groups = [group for items in steps.values() for group in equal_groups(items, looks, _is_buffer)]
    shared = [group for group in groups if _is_buffer(group)]
    names = tuple(item.record.name for group in shared for item in group)
    if not names:
        return [], set()
    what = f"{len(names)} outputs of different modules have the same bits"
    if len(shared) > 1:
        what = (
            f"{len(names)} outputs of different modules hold only {len(shared)} different tensors"
        )
    found = Finding("error", "stale", what, _ONE_BUFFER, records=names)
    return [found], {id(item) for group in shared for item in group}


def _is_buffer(group: Sequence[Item]) -> bool:
    kinds: dict[str, set[str]] = {}
    for item in group:
        kinds.setdefault(_NUMBER.sub("#", item.module), set()).add(item.module)
    return len(innermost(kind for kind, modules in kinds.items() if len(modules) > 1)) >= _KINDS


def innermost(modules: Iterable[str]) -> list[str]:
    """Those that have no other one inside: a module may hand on what the last of its parts gave."""
    known = sorted(set(modules))
    return [name for name in known if not any(o.startswith(f"{name}.") for o in known)]


def _layers(outputs: Sequence[Item], inputs: _Inputs, looks: Looks) -> list[Finding]:
    """Outputs of one kind of module that are equal bit by bit in several layers."""
    kinds: dict[tuple[str, ...], list[Item]] = {}
    for item in outputs:
        match = LAYER.match(item.module)
        if match and not is_view(item.module):
            kind = (match["stack"], match["rest"], item.slot, str(item.step), str(item.record.call))
            kinds.setdefault(kind, []).append(item)
    names: dict[tuple[str, Severity], list[str]] = {}
    for (_, rest, *_), items in kinds.items():
        equal = equal_groups(items, looks)
        everywhere = len(equal) == 1 and len(equal[0]) == len(items)
        for group in equal:
            where = "everywhere" if everywhere else "here" if rest else "skipped"
            severity = "warning" if where == "skipped" else _severity(group, inputs)
            if severity is not None:
                names.setdefault((where, severity), []).extend(i.record.name for i in group)
    stale = "the same bits in several layers"
    shared = (
        "their inputs are the same: shared by design, or a buffer was read too late before them"
    )
    table: tuple[tuple[str, Severity, str, str], ...] = (
        ("everywhere", "error", "the same bits in every layer", _ONE_BUFFER),
        ("here", "error", stale, "a buffer was read after it had been reused"),
        ("everywhere", "warning", "the same bits in every layer", shared),
        ("here", "warning", stale, shared),
        ("skipped", "warning", f"{stale} of whole layers",
         "these layers changed nothing: they were skipped, or a buffer was reused"),
    )  # fmt: skip
    return [
        Finding(severity, "stale", f"{counted(len(listed), 'output', HAS)} {words}", advice,
                records=tuple(listed))
        for where, severity, words, advice in table
        if (listed := names.get((where, severity)))
    ]  # fmt: skip


def _severity(group: Sequence[Item], inputs: _Inputs) -> Severity | None:
    """Equal outputs are a fault where what was given differs. Where it is equal, a module that
    hands it on is right (DeBERTa's dropout of the embeddings of positions that all layers share).
    """
    given = inputs.given(group)
    if given == "differ":
        return "error"
    hand_on = all(inputs.hands_on(item) for item in group)
    if given == "equal":
        return None if hand_on else "warning"
    return "warning" if hand_on else "error"


def equal_groups(
    items: Sequence[Item], looks: Looks, worth: Callable[[Sequence[Item]], bool] | None = None
) -> list[list[Item]]:
    """Items that are equal bit by bit, in groups of at least two. Of those that look equal only
    what is `worth` it is read in full.
    """
    alike: dict[bytes, list[Item]] = {}
    for item in items:
        seen = looks.of(item.record)
        if seen is not None:
            alike.setdefault(seen.digest, []).append(item)
    groups: list[list[Item]] = []
    for group in alike.values():
        if worth is not None and not worth(group):
            continue
        first = group[0]
        equal = [first, *(i for i in group[1:] if looks.same(first.record, i.record))]
        if len(equal) > 1:
            groups.append(equal)
    return groups


def _steps(outputs: Sequence[Item], looks: Looks) -> list[Finding]:
    """Steps whose outputs are those of the step before."""
    steps: dict[int, dict[tuple[str, str, int], Item]] = {}
    for item in outputs:
        steps.setdefault(item.step, {})[(item.module, item.slot, item.record.call)] = item
    found: list[Finding] = []
    for before, after in zip(sorted(steps), sorted(steps)[1:], strict=False):
        shared = [key for key in steps[after] if key in steps[before]]
        equal = [
            steps[after][key]
            for key in shared
            if looks_equal(looks, steps[before][key].record, steps[after][key].record)
        ]
        enough = len(shared) >= _LEAST_REPEATED and len(equal) >= _REPEATED * len(shared)
        if enough:
            found.append(
                Finding("warning", "stale", f"step {after} repeats step {before} bit by bit in "
                        f"{len(equal)} of {len(shared)} outputs",
                        "the same input was run twice, or the buffers of a replayed graph were "
                        "not read again", records=tuple(item.record.name for item in equal))
            )  # fmt: skip
    return found


def looks_equal(looks: Looks, one: Record, other: Record) -> bool:
    left, right = looks.of(one), looks.of(other)
    if left is None or right is None or left.digest != right.digest:
        return False
    return looks.same(one, other)
