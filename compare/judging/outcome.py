"""What a comparison comes to: exit status 0 or 1, and every reason for a 1 in words.

The text, JSON and other reports and the exit status all take it from here, so that none of them
is less complete than another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...capture.models.run_details import run_details
from ..aligned import Aligned, Results
from ..coverage import OUTPUT_ROLES, count
from ..limits import LAST_SHARE
from ..matching.names.hidden_states import state_number
from ..model import Measurement, Row, SideStatistics, Verdict
from ..vocabulary import Level
from .evidence.further import FurtherEvidence

_LAYER = re.compile(r"^(?P<stack>(?:.*\.)?(?:layers|h|blocks?))\.(?P<number>\d{1,6})(?=\.|$)")
_MADE_OF = re.compile(r"(?:^|\.)(?:num_hidden_layers|layers)$")
_MAIN = frozenset({"output", "output_0", "value"})
_WORDS: tuple[tuple[Level, str, str], ...] = (
    ("diverged", "pair diverged", "pairs diverged"),
    ("nan", "pair has NaN or Inf on one side only", "pairs have NaN or Inf on one side only"),
    ("shape", "pair has shapes that do not fit", "pairs have shapes that do not fit"),
    ("unreadable", "row cannot be read", "rows cannot be read"),
    ("pending", "pair is not measured yet", "pairs are not measured yet"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the exit status; `reasons` are the words for a 1, empty for a 0. `of_the_whole`
    are those of them that no single row shows as a failure. `doubts` are no reason for a 1, but
    what agrees is then weaker evidence.
    """

    status: int
    reasons: tuple[str, ...] = ()
    of_the_whole: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For reports: the status, then one line per reason and doubt."""
        doubts = [f"- {doubt}" for doubt in self.doubts]
        if self.status:
            return ["exit status 1:", *(f"- {reason}" for reason in self.reasons), *doubts]
        but = ", but for:" if doubts else ""
        return [f"exit status 0: everything comparable agrees up to rounding{but}", *doubts]


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of the whole: the least share of the outputs that must be paired, and whether
    the candidate may end before the reference.
    """

    min_coverage: float = 0.5
    allow_early_end: bool = False


def outcome_of(
    aligned: Aligned, results: Results, verdicts: Sequence[Verdict], evidence: FurtherEvidence,
    demands: Demands,
) -> Outcome:  # fmt: skip
    """The outcome as it stands; pairs that are not measured yet count as failing."""
    of_the_whole = list(_coverage(aligned, results, verdicts, demands.min_coverage))
    if evidence.early_end and not demands.allow_early_end:
        of_the_whole.append(
            f"the candidate ends early: {evidence.early_end} (--allow-early-end if that is "
            "intended)"
        )
    of_the_whole += _nothing_in_it(aligned, results)
    of_the_whole += _rank_faults(aligned)
    of_the_whole += _unequal_ranks(aligned)
    doubtful = [r for r, v in zip(aligned.rows, verdicts, strict=True) if v.doubtful]
    explained = [row for row in doubtful if row.index in evidence.instead]
    of_the_whole += _unexplained([row for row in doubtful if row.index not in evidence.instead])
    reasons = (*_levels(aligned, verdicts), *of_the_whole)
    doubts = tuple(_doubts(aligned, explained, evidence))
    return Outcome(1 if reasons else 0, reasons, tuple(of_the_whole), doubts)


def _doubts(aligned: Aligned, explained: Sequence[Row], evidence: FurtherEvidence) -> Iterator[str]:
    """What makes agreement weaker evidence: a candidate that is the reference, and names that are
    seen to mean something else on the other side.
    """
    if evidence.same is not None:
        yield evidence.same.words
    unlike = aligned.content.unlike
    if unlike:
        records = "1 record" if unlike == 1 else f"{unlike} records"
        yield (
            f"{records} on each side could not be paired by name, have equal sizes and no equal "
            "values: a difference may be hidden there"
        )
    if explained:
        yield (
            f"{_pairs_are(len(explained))} doubtful, the first {explained[0].label}: "
            f"{evidence.instead[explained[0].index]}; a rules file can pair them otherwise"
        )


def _rank_faults(aligned: Aligned) -> Iterator[str]:
    for name, capture in (("reference", aligned.reference), ("candidate", aligned.candidate)):
        if capture.rank_faults:
            yield f"{name}: {capture.rank_faults}"


def _unequal_ranks(aligned: Aligned) -> Iterator[str]:
    """Records that should be the same on all ranks of a side: no row shows them, since each rank's
    is a gap.
    """
    for name, capture in (("reference", aligned.reference), ("candidate", aligned.candidate)):
        if capture.unequal_ranks:
            first = capture.unequal_ranks[0]
            count = len({one.name for one in capture.unequal_ranks})
            records = "a record that should be" if count == 1 else f"{count} records that should be"
            yield (
                f"ranks of the {name} differ in {records} the same on all of them; the first is "
                f"{first.name}: {first.where}"
            )


def _unexplained(doubtful: Sequence[Row]) -> Iterator[str]:
    """Pairs that are not judged, since their records do not seem to belong together, where nothing
    shows what they are instead: what is wrong may be the names or the values.
    """
    if doubtful:
        yield (
            f"{_pairs_are(len(doubtful))} doubtful, the first {doubtful[0].label}: the two records "
            "do not seem to be the same quantity; pair them otherwise in a rules file, or ignore "
            "them there"
        )


def _pairs_are(count: int) -> str:
    return "1 pair is" if count == 1 else f"{count} pairs are"


def _levels(aligned: Aligned, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Verdicts that fail, and what could not be read or was not measured."""
    counts: Counter[Level] = Counter()
    first: dict[Level, Row] = {}
    for row, verdict in zip(aligned.rows, verdicts, strict=True):
        counts[verdict.level] += 1
        first.setdefault(verdict.level, row)
    for level, one, many in _WORDS:
        if counts[level] == 1:
            yield f"1 {one}: {first[level].label}"
        elif counts[level]:
            yield f"{counts[level]} {many}, the first {first[level].label}"


def _coverage(
    aligned: Aligned, results: Results, verdicts: Sequence[Verdict], least: float
) -> Iterator[str]:
    if not any(row.kind == "pair" for row in aligned.rows):
        yield "the captures have nothing in common: no record has a partner"
        return
    coverage = count(aligned, results, verdicts).coverage
    if coverage is not None and coverage < least:
        yield f"{coverage:.1%} of the outputs are paired, {least:.1%} required"


# The candidate ends early


def early_end(aligned: Aligned) -> str:
    """What is missing where the end of the reference has no partner though its beginning has; empty
    where that is not so. May read what the candidate's capture records of its run.
    """
    words = _by_layers(aligned)
    if words is None and aligned.reference.order_known:
        words = _by_outputs(aligned)
    return words or ""


def _by_layers(aligned: Aligned) -> str | None:
    """By layer numbers: what is missing, nothing, or None where no layer is paired."""
    stacks: dict[str, dict[int, bool]] = {}
    for row in _reference_outputs(aligned):
        match = _LAYER.match(row.canonical)
        if match:
            layers = stacks.setdefault(match["stack"], {})
            number = int(match["number"])
            layers[number] = layers.get(number, False) or row.kind == "pair"
    known = False
    for stack, layers in stacks.items():
        numbers = sorted(layers)
        if not layers[numbers[0]]:
            continue
        known = True
        end = unpaired_end([layers[number] for number in numbers])
        if (
            end
            and not _made_of(aligned, numbers[-end])
            and not (end == 1 and _states_go_on(aligned))
        ):
            span = f"{stack}.{numbers[-end]}" + (f" to {numbers[-1]}" if end > 1 else "")
            return f"{span} of the reference, the last {end} of {len(numbers)} layers, are missing"
    return "" if known else None


def _states_go_on(aligned: Aligned) -> bool:
    """Whether a side has the hidden states that transformers returns: the last one is taken after
    the final norm, and the last layer's output is none of them.
    """
    return any(
        row.kind == "pair" and row.canonical == "norm" and row.reference and row.candidate
        and any(state_number(each.module) is not None for each in (row.reference, row.candidate))
        for row in aligned.rows
    )  # fmt: skip


def _by_outputs(aligned: Aligned) -> str:
    """By the order of the reference's outputs."""
    rows = _reference_outputs(aligned)
    end = unpaired_end([row.kind == "pair" for row in rows])
    if not end or rows[0].kind != "pair":
        return ""
    return (
        f"the last {end} of the reference's {len(rows)} outputs have no partner, from "
        f"{rows[-end].label} on"
    )


def _reference_outputs(aligned: Aligned) -> list[Row]:
    """Outputs of the first step that the reference has, in order."""
    found = [
        row for row in aligned.rows
        if row.reference is not None and row.role in OUTPUT_ROLES
    ]  # fmt: skip
    first = min((row.step for row in found), default=0)
    return [row for row in found if row.step == first]


def unpaired_end(paired: list[bool]) -> int:
    """How many at the end have no partner; 0 where that is less than a tenth of all, or nothing
    has one.
    """
    if True not in paired:
        return 0
    end = len(paired) - 1 - max(at for at, each in enumerate(paired) if each)
    return end if end and end >= LAST_SHARE * len(paired) else 0


def _made_of(aligned: Aligned, first_missing: int) -> bool:
    """Whether the candidate's details record a model of so few layers."""
    details = run_details(aligned.candidate.path)
    counts = [int(text) for key, text in details.items()
              if _MADE_OF.search(key) and text.isdecimal()]  # fmt: skip
    return any(0 < count <= first_missing for count in counts)


# Both sides hold nothing


def _nothing_in_it(aligned: Aligned, results: Results) -> Iterator[str]:
    """Both sides all NaN, or all zeros, from some layer to the end: they agree on nothing."""
    tail: dict[str, list[Row]] = {"NaN": [], "zeros": []}
    for row in reversed(aligned.rows):
        result = results.measurements[row.index]
        if row.slot not in _MAIN or not isinstance(result, Measurement) or not result.count:
            continue
        if not _is_float(row):
            continue
        empty = next((word for word in tail if _all(result, word)), None)
        if empty is None:
            break
        tail[empty].append(row)
    for word, rows in tail.items():
        if rows:
            what = "NaN" if word == "NaN" else "zeros"
            yield (
                f"both sides hold nothing but {what} from {rows[-1].label} on: their agreement "
                "means nothing"
            )


def _is_float(row: Row) -> bool:
    dtype = row.reference.dtype if row.reference is not None else None
    return bool(dtype) and not str(dtype).startswith(("int", "uint", "bool"))


def _all(result: Measurement, word: str) -> bool:
    def side(found: SideStatistics | None) -> bool:
        if found is None:
            return False
        return (found.nan if word == "NaN" else found.zeros) == result.count

    return side(result.reference) and side(result.candidate)
