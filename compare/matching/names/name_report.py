"""How records were identified, in words: for `layertui names`, and for a gap on the screen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....capture.records import Capture, Record
from ...aligned import Aligned
from ...model import Row
from ...recipes.common_view import common_view
from ...recipes.steps import quoted
from .canonical import NameRules, layer_number
from .naming import read_both, read_names
from .reading import Naming, Reading
from .roles import role_of

if TYPE_CHECKING:
    from ....capture.ranks.rank_records import Joined

_SOME = 3


@dataclass(frozen=True, slots=True)
class NameLine:
    """One record: what it was taken for, by which rule, and what it is paired with."""

    name: str
    module: str
    slot: str
    call: int
    step: int
    layer: int | None
    role: str
    rule: str
    unknown: str | None
    partners: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The line for `--format json`."""
        return {
            "name": self.name, "module": self.module, "slot": self.slot, "call": self.call,
            "step": self.step, "layer": self.layer, "role": self.role, "rule": self.rule,
            "unknown": self.unknown, "partners": list(self.partners),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class NameReport:
    """All lines of one capture; `engine` is whose names were recognised."""

    path: str
    engine: str | None
    lines: tuple[NameLine, ...]
    notes: tuple[str, ...] = ()
    joined: tuple[Joined, ...] = ()  # how records of several ranks were put together

    @property
    def unknown(self) -> list[NameLine]:
        return [line for line in self.lines if line.unknown is not None]


def report_of(capture: Capture, rules: NameRules) -> NameReport:
    """What the records of a capture are taken for when it is looked at alone."""
    return _report(capture, read_names(capture, rules), {}, {})


def reports_of(aligned: Aligned) -> tuple[NameReport, NameReport]:
    """What the records of both sides are taken for, and what they are paired with."""
    found: list[NameReport] = []
    ref, cand = _readings(aligned)
    for capture, naming, own, other in (
        (aligned.reference, ref, "reference", "candidate"),
        (aligned.candidate, cand, "candidate", "reference"),
    ):
        placed: dict[int, tuple[str, str]] = {}
        partners: dict[int, list[str]] = defaultdict(list)
        for row in aligned.rows:
            record, beside = getattr(row, own), getattr(row, other)
            if record is not None:
                placed.setdefault(id(record), (row.canonical, row.slot))
                if beside is not None:
                    partners[id(record)].append(beside.name)
        found.append(_report(capture, naming, placed, partners))
    return found[0], found[1]


def _readings(aligned: Aligned) -> tuple[Naming, Naming]:
    rules = aligned.rules
    return read_both(aligned.reference, aligned.candidate, rules.reference, rules.candidate)


def _report(
    capture: Capture, naming: Naming, placed: Mapping[int, tuple[str, str]],
    partners: Mapping[int, list[str]],
) -> NameReport:  # fmt: skip
    lines = [
        _line(record, reading, placed.get(id(record)), partners.get(id(record), ()))
        for record, reading in zip(capture.records, naming.readings, strict=True)
    ]
    engine = None if naming.engine is None else naming.engine.name
    joined = () if capture.of_ranks is None else tuple(capture.of_ranks.joined)
    return NameReport(capture.path, engine, tuple(lines), tuple(naming.notes), joined)


def _line(
    record: Record, reading: Reading, placed: tuple[str, str] | None, partners: Iterable[str]
) -> NameLine:
    partners = tuple(partners)
    module, slot = placed or (reading.module, reading.slot)
    rule = reading.rule or ("the name as it is" if module == reading.plain else "tables of names")
    if reading.ignored:
        rule = f"left out: {reading.rule}"
    return NameLine(
        record.name, module, slot, reading.call, record.step, layer_number(module),
        role_of(module, record.module_class), rule, reading.unknown, partners,
    )  # fmt: skip


def why_gap(aligned: Aligned, index: int) -> list[str]:
    """Why the record on a row has no partner: what it was taken for, and what the other side has
    instead. A pair says what it rests on.
    """
    row = aligned.rows[index]
    if row.kind == "pair":
        return [f"{row.label}: paired by {row.matched_by}", row.how]
    on_reference = row.kind == "gap_reference"
    record = row.reference if on_reference else row.candidate
    assert record is not None
    capture = aligned.reference if on_reference else aligned.candidate
    naming = _readings(aligned)[0 if on_reference else 1]
    at = next(i for i, one in enumerate(capture.records) if one is record)
    line = _line(record, naming.readings[at], (row.canonical, row.slot), ())
    said = [f"{record.name} is identified as {row.label} ({line.role}): {line.rule}"]
    if naming.engine is not None:
        said.append(f"names of its capture are read as those of {naming.engine.name}")
    if line.unknown is not None:
        said.append(f"unknown: {line.unknown}")
    return [*said, *_on_the_other_side(aligned, row, record, on_reference)]


def _on_the_other_side(aligned: Aligned, row: Row, record: Record, on_reference: bool) -> list[str]:
    own, other = ("reference", "candidate") if on_reference else ("candidate", "reference")
    alike = [
        r for r in aligned.rows
        if r.canonical == row.canonical and r.step == row.step and getattr(r, other) is not None
    ]  # fmt: skip
    said: list[str] = []
    if not alike:
        said.append(f"the {other} has nothing identified as {row.canonical}")
    for r in alike[:_SOME]:
        found = getattr(r, other)
        beside = getattr(r, own)
        held = f"is paired with {beside.name}" if beside is not None else "has no partner either"
        said.append(f"the {other}'s {found.name} is {r.label}, which {held}")
    near = _near(aligned, row, record, on_reference)
    if near:
        said.append(
            f"unpaired and of a shape that fits, in the same layer: {', '.join(near)}; "
            f"p pairs two records by hand, [[pair]] in a rules file does"
        )
    return said


def _near(aligned: Aligned, row: Row, record: Record, on_reference: bool) -> list[str]:
    """Gaps of the other side that might be the partner, by layer and shape."""
    wanted = "gap_candidate" if on_reference else "gap_reference"
    layer = layer_number(row.canonical)
    names: list[str] = []
    for r in aligned.rows:
        found = r.candidate if on_reference else r.reference
        if r.kind != wanted or found is None or r.step != row.step or r.role != row.role:
            continue
        if layer_number(r.canonical) != layer or None in (found.shape, record.shape):
            continue
        if common_view(record.shape or (), found.shape or ()) is not None:
            names.append(found.name)
    return names[:_SOME]


def starting_rules(reports: list[NameReport]) -> str:
    """A rules file to start from: the components that no table knows, to be given a meaning, and
    records without a partner. All of it is comments, so that the file changes nothing yet.
    """
    lines = ["# Names that layertui does not know. Give them a meaning and remove the #.", ""]
    lines += ["[names]", "# whole components of a path, and the standard names for them:"]
    known: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        for line in report.unknown:
            known[line.module.rpartition(".")[2]].append(line.name)
    lines.append("synonyms = [")
    for component, names in known.items():
        more = ", ..." if len(names) > 1 else ""
        lines.append(f'    # [{quoted(component)}, "q_proj"],  # {_comment(names[0])}{more}')
    lines.append("]")
    if len(reports) == 2:
        lines += ["", "# records without a partner, in pairs:"]
        gaps = [[line.name for line in r.lines if not line.partners] for r in reports]
        lines += ["# [[pair]]"]
        lines += [f"# reference = {quoted(name)}" for name in gaps[0]]
        lines += [f"# candidate = {quoted(name)}" for name in gaps[1]]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """A name on a line of its own, whatever is in it."""
    return "".join(c if c.isprintable() else "?" for c in text)
