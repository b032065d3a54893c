"""Everything that a report or a screen says of one row, once: the same words and numbers in text,
JSON, HTML, Markdown and JUnit, in the pane, on the page of a pair and on the clipboard.

Nothing here reads a record or works out an analysis: what is not known yet is not said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...capture.plurals import counted
from ..measuring.metrics import METRICS, NUMBERS
from ..model import (
    ByStatistics,
    Effect,
    Failure,
    Measurement,
    Row,
    SideStatistics,
    Symptom,
    Verdict,
    verdict_word,
)
from ..ranks.joined_words import in_parts
from ..symptoms.thumb import rules_of_thumb
from ..vocabulary import Level
from .effect_words import effect_line
from .known_of_row import effect_of, with_origin
from .law_words import law_lines
from .summary import recorded_statistics
from .verdict_words import origin_line, origin_of, verdict_line
from .words import (
    MATCH_WORDS,
    NONE,
    index_text,
    metric_text,
    mismatch_text,
    number,
    partial_text,
    partial_words,
    place_text,
    record_shape,
    shape_text,
    symptom_lines,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from ...capture.records import Record
    from ..comparison import Comparison
    from ..judging.noise.floor import Floor
    from ..laws.report import LawRow
    from ..model import Result

_STATISTICS = frozenset({"min", "max", "mean", "std", "l2", "nan", "inf", "zeros"})
Side = Literal["reference", "candidate"]
SIDES: tuple[Side, Side] = ("reference", "candidate")
WORTH_A_LOOK: frozenset[Level] = frozenset({"noise", "drift", "diverged", "nan", "shape"})
# Metrics that stand in a line of their own, with their place, or belong to another one's line.
_SPECIAL = frozenset(
    {"max_abs", "max_rel", "ulp", "mismatched", "mismatched_fraction", "scale", "scale_se",
     "offset", "fit_residual"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled line; `title` is the label in full and `full` the text where there is room for
    more, `level` that of what is bad. A line without a label goes on with the one before.
    """

    label: str
    text: str
    level: Level | None = None
    title: str = ""
    full: str = ""


@dataclass(frozen=True, slots=True)
class RowReport:
    """What is known of a row. `symptoms` is None where they were not worked out; `so_far` says that
    the verdict waits for the other rows. Of a row on trial (with other recipes than it was aligned
    with) there is no law, floor, effect or symptom.
    """

    row: Row
    verdict: Verdict
    result: Result
    so_far: bool = False
    law: LawRow | None = None
    floor: Floor | None = None
    effect: Effect | None = None
    symptoms: tuple[Symptom, ...] | None = None
    offered: str = ""  # a pair that values offer against the names
    note: str = ""  # what a person wrote on it

    # The verdict

    @property
    def name(self) -> str:
        """`layers.0.mlp-output`, of a gap the record's own name (both sides may have an `input_0`
        that is not the same thing); with the step.
        """
        record = self.row.reference or self.row.candidate
        name = self.row.label if self.row.kind == "pair" or record is None else record.name
        return f"{name} step {self.row.step}" if self.row.step else name

    @property
    def level(self) -> Level:
        return self.verdict.level

    @property
    def word(self) -> str:
        """`DIVERGED`; a doubtful pair is called that, whatever its level."""
        return verdict_word(self.verdict)

    @property
    def origin(self) -> str:
        """`introduced here` or `inherited`, of a failing row."""
        return origin_of(self.verdict)

    @property
    def origin_line(self) -> str:
        """`introduced here (97 % sure)`, or nothing."""
        return origin_line(self.verdict)

    @property
    def reason(self) -> str:
        """Why the verdict is what it is."""
        return self.verdict.doubtful or self.verdict.reason

    @property
    def verdict_line(self) -> str:
        """All of it: `DIVERGED introduced here (97 % sure)  relative L2 ...`."""
        return verdict_line(self.verdict)

    @property
    def problem(self) -> str:
        """Why there are no numbers, where the verdict does not say it already."""
        found = self.result.reason if isinstance(self.result, Failure) else self.row.problem
        return found if found and found not in self.reason else ""

    @property
    def partial(self) -> str:
        """`partial 100 of 6144` where a dump holds only some of the elements."""
        return partial_text(self.row, self.result)

    @property
    def gap(self) -> str:
        """Which side has no partner, where the verdict does not say it already."""
        if self.row.kind == "pair" or self.reason:
            return ""
        side = "candidate" if self.row.kind == "gap_reference" else "reference"
        return f"no record of the {side} matches it"

    # What is known besides

    @property
    def findings(self) -> tuple[Fact, ...]:
        """Note, law, causes, what further captures say, effect, symptoms, rules of thumb."""
        facts = [Fact("note", self.note)] if self.note else []
        facts += [] if self.law is None else [
            Fact(label, text, "diverged" if bad else None)
            for label, text, bad in law_lines(self.law)
        ]  # fmt: skip
        facts += [] if self.floor is None else [Fact(*line) for line in self.floor.lines]
        if self.effect is not None:
            facts.append(Fact("effect", effect_line(self.effect)))
        return (*facts, *self.symptom_facts)

    @property
    def symptom_facts(self) -> tuple[Fact, ...]:
        """What the difference looks like, and what its numbers usually mean."""
        if self.level not in WORTH_A_LOOK:
            return ()
        looks = _list("looks like", symptom_lines(self.symptoms or ()))
        return (*looks, *_list("usually", rules_of_thumb(self.result)))

    # Numbers

    @property
    def measured(self) -> Measurement | None:
        return self.result if isinstance(self.result, Measurement) else None

    def metric(self, name: str) -> str:
        """One metric as tables have it."""
        found = self.measured
        return metric_text(name, None if found is None else found.metric(name))

    @property
    def metrics(self) -> tuple[Fact, ...]:
        """The metrics that are one number each, in the order of their table."""
        if self.measured is None:
            return ()
        plain = (spec for name, spec in NUMBERS.items() if name not in _SPECIAL)
        return tuple(Fact(spec.heading, self.metric(spec.name)) for spec in plain)

    @property
    def chosen_metrics(self) -> tuple[Fact, ...]:
        """Those of them that `--metric` takes."""
        headings = {spec.heading for spec in METRICS.values()}
        return tuple(fact for fact in self.metrics if fact.label in headings)

    @property
    def extremes(self) -> tuple[Fact, ...]:
        """The greatest differences with their places, mismatches, the fit, what is not finite."""
        found = self.measured
        if found is None:
            return ()
        facts = [
            self._greatest(found, "max_abs", "absolute", found.atol),
            self._greatest(found, "max_rel", "relative", found.rtol),
        ]
        if found.ulp is not None:  # measured where it was asked for only
            facts.append(Fact("ULP", f"{self.metric('ulp')} at most"))
        facts.append(
            Fact("mismatched", f"{mismatch_text(found.mismatched, found.count)} at rtol "
                 f"{found.rtol:g}, atol {found.atol:g}", title="mismatched elements")
        )  # fmt: skip
        if found.scale is not None:
            error = "" if found.scale_se is None else f" +- {found.scale_se:.1e}"
            facts.append(
                Fact("fit", f"candidate = {found.scale:.7f}{error} x reference + "
                     f"{number(found.offset)}, residual {number(found.fit_residual)}")
            )  # fmt: skip
        if found.nonfinite_mismatch:
            places = counted(found.nonfinite_mismatch, "place")
            facts.append(Fact("NaN or Inf", f"at {places} on one side only", "nan"))
        if self.partial:
            facts.append(
                Fact("partial", f"{self.partial}: compared on the elements that both dumps show")
            )
        return tuple(facts)

    def _greatest(self, found: Measurement, name: str, word: str, allowed: float) -> Fact:
        """The greatest difference of a kind with its place and what the tolerance allows of it."""
        place = getattr(found, f"{name}_index"), getattr(found, f"{name}_values")
        value = self.metric(name)
        return Fact(
            NUMBERS[name].heading, value + place_text(*place),
            title=f"greatest {word} difference", full=value + place_text(*place, allowed),
        )  # fmt: skip

    @property
    def view(self) -> tuple[Fact, ...]:
        """What was compared."""
        found = self.measured
        if found is None:
            return ()
        compared = "" if found.compared == found.count else f", {found.compared} compared"
        return (
            Fact("view", f"{shape_text(found.shape)}, {counted(found.count, 'element')}{compared}"),
        )

    @property
    def absent(self) -> tuple[Fact, ...]:
        """The numbers that could not be computed, with the reason."""
        found = self.measured
        if found is None:
            return ()
        reasons = found.reasons.items()
        # That ULPs were not asked for is no finding.
        return tuple(Fact(name, why) for name, why in reasons if name != "ulp")

    # Both sides

    def record(self, side: Side) -> Record | None:
        return self.row.reference if side == "reference" else self.row.candidate

    def record_line(self, side: Side) -> str:
        """`name  [1,10,64] float32`."""
        record = self.record(side)
        if record is None:
            return NONE
        words = f"{record.name}  {self.shape_line(side)}"
        return words if record.partial is None else f"{words}  {partial_words(record.partial)}"

    def shape_line(self, side: Side) -> str:
        """`[1,10,64] float32`; `-` where the side has no record."""
        record = self.record(side)
        return NONE if record is None else f"{record_shape(record)} {record.dtype or '?'}"

    @property
    def matched(self) -> tuple[Fact, ...]:
        """The recipes, how ranks were joined, and what the match rests on."""
        facts = [
            Fact(label, recipe)
            for label, recipe in (
                ("ref recipe", self.row.recipe_reference),
                ("cand recipe", self.row.recipe_candidate),
            )
            if recipe
        ]
        sides = (("ref ranks", self.row.reference), ("cand ranks", self.row.candidate))
        facts += [Fact(label, joined) for label, side in sides if (joined := in_parts(side))]
        if self.row.matched_by is not None:
            by, how = MATCH_WORDS[self.row.matched_by], self.row.how
            words = by if how in ("", by) else f"{by}: {how}"
            sure = "" if self.row.sure is None else f" ({self.row.sure:.0%} sure)"
            facts.append(Fact("matched by", words + sure))
        if self.offered:
            facts.append(Fact("by values", self.offered))
        return tuple(facts)

    @property
    def statistics(self) -> tuple[SideStatistics | None, SideStatistics | None]:
        """Of both sides: measured, else those that a capture holds without values."""
        if self.measured is not None:
            return self.measured.reference, self.measured.candidate
        if isinstance(self.result, ByStatistics):
            return self.result.reference, self.result.candidate
        return recorded_statistics(self.row.reference), recorded_statistics(self.row.candidate)

    @property
    def statistics_table(self) -> tuple[tuple[str, str, str], ...]:
        """Label, reference, candidate."""
        sides = self.statistics
        if not any(sides):
            return ()
        names = (*(("", name) for name in ("min", "max", "mean", "std", "l2")),
                 ("NaN", "nan"), ("Inf", "inf"), ("", "zeros"))  # fmt: skip
        known = [self._known(side) for side in SIDES]
        texts = (
            (label or name, *(
                value_text(getattr(found, name)) if found is not None and name in there else NONE
                for found, there in zip(sides, known, strict=True)
            ))
            for label, name in names if any(name in there for there in known)
        )  # fmt: skip
        return tuple((label, left, right) for label, left, right in texts)

    def _known(self, side: Side) -> Container[str]:
        """The statistics that are known of a side: a count that was not recorded is not 0."""
        if self.measured is not None:
            return _STATISTICS
        if isinstance(self.result, ByStatistics):
            numbers = {"min", "max", "mean", "std", "l2"}
            return numbers | set(self.result.compared)
        record = self.record(side)
        return () if record is None else record.stats or ()

    def statistics_line(self, side: Side) -> str:
        """`-0.5 .. 0.75  std 0.1  NaN 2  Inf 0`; nothing where a side has none."""
        found = self.statistics[SIDES.index(side)]
        if found is None:
            return ""
        low, high, std = (value_text(value) for value in (found.min, found.max, found.std))
        odd = f"  NaN {found.nan}  Inf {found.inf}" if found.nan or found.inf else ""
        return f"{low} .. {high}  std {std}{odd}"

    @property
    def summary(self) -> str:
        """One line, for screens that have no room for more."""
        found = self.measured
        parts = [self.row.label, self.verdict_line, self.gap]
        if found is not None:
            parts.append(f"max abs {self.metric('max_abs')} {index_text(found.max_abs_index)}")
        shapes = [record_shape(r) for s in SIDES if (r := self.record(s)) is not None]
        return "  ".join(part for part in (*parts, " ".join(dict.fromkeys(shapes))) if part)


def _list(label: str, lines: list[str]) -> list[Fact]:
    return [Fact("" if at else label, line) for at, line in enumerate(lines)]


def row_report(
    comparison: Comparison, index: int, row: Row | None = None, result: Result = None
) -> RowReport:
    """What is known of a row; `row` and `result` replace those of the comparison, where other
    recipes are tried.
    """
    own = comparison.rows[index]
    if row is not None and (row is not own or result is not comparison.measurements[index]):
        return RowReport(row, comparison.verdict_of(row, result), result)
    noise = comparison.policy.name == "noise"
    return RowReport(
        own,
        with_origin(comparison, index),
        comparison.measurements[index],
        noise and not comparison.complete,
        comparison.law_row(index),
        comparison.floors.get(index),
        effect_of(comparison, own),
        comparison.known_symptoms(index) if comparison.has_symptoms(index) else None,
        _offered(comparison, index),
        comparison.row_notes.text(own),
    )


def _offered(comparison: Comparison, index: int) -> str:
    offer = comparison.offer(index)
    return "" if offer is None else f"{offer.words} (p on the list pairs them)"
