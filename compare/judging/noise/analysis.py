"""Noise or bug: verdicts that know where an error comes from and what is typical for its kind.

A fixed tolerance is wrong in both directions: noise grows with depth, and a bug may be smaller than
it. Here each pair is held against the pairs that it was made from (`dataflow`) and against its
peers in the other layers (`evidence`):

    made       the error is more than the sources' errors and rounding explain
    inherited  the error came with the sources, and one of those was made somewhere
    none       the error is what rounding explains

Levels: `identical`; `ok`, within what the dtype allows; `noise`, more than that, but explained;
`drift`, grown faster than in other layers, no origin identified; `diverged`,
`nan`: made or inherited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...aligned import SideName
from ...limits import DRIFT, DRIFT_LEAST, INHERITED, UNRELATED, Limits, limits_for
from ...model import Measurement, Row, Verdict
from ...vocabulary import MAY_BE_THEIRS, Level, Origin
from ..dataflow import Flow, Node
from ..evidence.form import inputs_words
from ..row_facts import Facts
from ..row_verdicts import nonfinite_words
from .origins import Origins, State, is_rounding, source_words, unseen_error
from .peers import LayerPeers, limit_of

if TYPE_CHECKING:
    from ...laws.report import LawRow

_NOT_KEPT = "its law does not fit this side; its inputs may have been modified in place"


@dataclass
class Analysis:
    """Verdicts by where errors come from. `settled` are verdicts that hold independent of the
    neighbours.
    """

    origins: Origins
    settled: Sequence[Verdict | None]
    _known: dict[int, Verdict] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._errors = self.origins.errors

    @property
    def facts(self) -> dict[int, Facts]:
        """What is known of every measured pair, by row."""
        return self._errors.facts

    @property
    def flow(self) -> Flow:
        """What every record was made from."""
        return self._errors.flow

    def parts(self) -> list[object]:
        """What it consists of, some objects for each row."""
        return [*self.facts.values(), *self.flow.nodes.values(), *self.origins.states.values()]

    def verdicts(self) -> list[Verdict]:
        """The verdicts of all rows, before further captures and dropout are taken into account."""
        return [self.verdict(index) for index in range(len(self.settled))]

    def verdict(self, index: int) -> Verdict:
        """The verdict of a row."""
        known = self._known.get(index)
        if known is None:
            known = self._known[index] = self._verdict(self._errors.rows[index])
        return known

    def origin(self, index: int) -> Origin | None:
        """Where the error of a row comes from; None where nothing is measured."""
        return self.verdict(index).origin

    def confidence(self, index: int) -> float | None:
        """How sure it is that the error was made at this row; None where it was not."""
        return self.verdict(index).confidence

    def origin_module(self, index: int) -> str:
        """The module that made the error seen at row `index`, as deep as the records allow."""
        return self.origins.origin_module(index)

    def expected(self, index: int) -> float:
        """The relative L2 that a clean run would have here, by the sources and the other layers."""
        return self.origins.expected(index)

    def hidden_symptom(self, index: int) -> tuple[str, str] | None:
        """What gave the error away where its size did not: a symptom's name, and the words."""
        return self.origins.hidden_symptom(index)

    def sources(self, index: int) -> tuple[int, ...]:
        """The rows that this row's values were made from."""
        return self.origins.sources(index)

    def notes(self) -> list[tuple[SideName, str]]:
        """Where the values of a side, or its products, are coarser than its records: side and
        sentence.
        """
        grids, arithmetic = self._errors.grids, self._errors.arithmetic
        sentences: tuple[tuple[SideName, str | None], ...] = (
            ("reference", grids.words("reference")), ("candidate", grids.words("candidate")),
            ("candidate", None if arithmetic is None else arithmetic.words),
        )  # fmt: skip
        return [(side, words) for side, words in sentences if words is not None]

    def _verdict(self, row: Row) -> Verdict:
        settled, state = self.settled[row.index], self.origins.states.get(row.index)
        result = self._errors.results[row.index]
        if state is None or not isinstance(result, Measurement):
            assert settled is not None
            routing = self._errors.routed(row.index) if settled.level == "shape" else None
            return settled if routing is None else Verdict("noise", routing.words, "none")
        if settled is not None and settled.level == "nan":
            if not result.compared or self.origins.nonfinite(row.index):
                return self._nan(row, result, state)
            settled = None
        if settled is not None:
            origin = self._origin(row, state) if settled.fails else "none"
            return replace(settled, origin=origin)
        return self.judged(row, result, state)

    def _nan(self, row: Row, result: Measurement, state: State) -> Verdict:
        words = (
            nonfinite_words(result) if result.nonfinite_mismatch else "nothing finite to compare"
        )
        structure = result.structure
        if structure is not None and structure.blocked[1]:
            apart, blocked = structure.blocked[1], structure.blocked[0]
            mask = f"the masks differ at {apart} of the {blocked} places that either side masks"
            return self._from_here("diverged", mask, row, state, 0.95)
        if state.evidence is None:
            return Verdict("nan", words, "inherited", 0.9)
        facts = self.facts[row.index]
        before = "the inputs have none" if facts.sources else inputs_words(facts)
        return self._from_here("nan", f"{words}; {before}", row, state, 0.99)

    def _from_here(
        self, level: Level, words: str, row: Row, state: State, confidence: float
    ) -> Verdict:  # fmt: skip
        origin = self._origin(row, state)
        return Verdict(level, words, origin, None if origin is None else confidence)

    def _origin(self, row: Row, state: State) -> Origin | None:
        """Where the error of a row that fails comes from; None where only statistics precede it,
        and differ: how much of theirs it has is not known, unless its law tells.
        """
        if state.evidence is None:
            return "inherited"
        law = self.origins.laws.get(row.index)
        told = law is not None and law.causes
        return "made" if told or not self.facts[row.index].before.diverged else None

    def judged(self, row: Row, result: Measurement, state: State) -> Verdict:
        """The verdict of a pair that nothing settles."""
        facts = self.facts[row.index]
        layout, doubt = self._errors.layouts.get(row.index), self.origins.doubtful.get(row.index)
        if layout is not None:
            return Verdict("ok", layout.reason, "none")
        if doubt is not None:
            return Verdict("drift", f"doubtful pair: {doubt}", "none", doubtful=doubt)
        quantised = self._errors.quantised.get(row.index)
        if quantised is not None:
            return Verdict("noise", f"{quantised} (differs by {facts.error:.2g})", "none")
        if state.evidence is not None and facts.unpaired:
            words = f"{_behind_unpaired(facts.unpaired)}: {state.evidence.words}"
            return Verdict("diverged", words)
        if state.evidence is not None:
            sure = self._confidence(row, state)
            return self._from_here("diverged", state.evidence.words, row, state, sure)
        if facts.alone is not None:
            return replace(facts.alone, origin="none")
        limits = limits_for(facts.dtype)
        if state.has_inherited and facts.inherited > 0:
            least = max(INHERITED * state.expected_error, facts.floor, facts.ok)
            if facts.passed_on > least:
                words = f"differs by {facts.passed_on:.2g}, inherited: {self._from(row)}"
                return Verdict("diverged", words, "inherited", 0.9)
        unseen = unseen_error(facts)
        if unseen is not None:
            return Verdict("diverged", unseen.words, "inherited", 0.9)
        routing = self._errors.routed(row.index) if facts.passed is not None else None
        if routing is not None:
            return Verdict("noise", routing.words, "none")
        law = self.origins.laws.get(row.index)
        if law is not None and is_rounding(law, facts):
            return Verdict("noise", f"{law.words}; within what its dtype allows", "none")
        if law is not None and law.state == "breaks" and not law.causes:
            return Verdict("noise", f"{_NOT_KEPT}; {law.words}", "none")
        if law is not None and law.state == "keeps":
            return self._kept(facts, law, limits)
        return self._explained(facts, self.flow[row.index], limits)

    def _kept(self, facts: Facts, law: LawRow, limits: Limits | None) -> Verdict:
        """A row that is what its own inputs make of it."""
        local = law.local
        rounding = f"{local.candidate:.2g} x its rounding, typically {local.usual_candidate:.2g} x"
        error = facts.greater
        words = f"differs by {error:.2g}, {source_words(facts)}; for its own inputs: {rounding}"
        level: Level = "noise" if limits is None or error > limits.ok else "ok"
        return Verdict(level, words, "none", None)

    def _explained(self, facts: Facts, node: Node, limits: Limits | None) -> Verdict:
        error = facts.greater
        if limits is None:
            words = f"{facts.result.mismatched} of {facts.result.count} whole numbers differ"
            return Verdict(
                "diverged" if error else "ok", words, "inherited" if error else "none", 0.5
            )
        peers = self.origins.peers[node.kind]
        grown = _grown(facts, peers, limits)
        if grown is not None:
            return grown
        # Tokens that rounding sends to other experts make steps without meaning.
        change = None if self._errors.routings else peers.change
        if change is not None and change.index == facts.index:
            words = (
                f"differs by {error:.2g}; from here on every layer's error is at least "
                f"{change.after:.2g}x that of its inputs, in the {change.count} layers before at "
                f"most {change.before:.2g}x"
            )
            return Verdict("drift", words, "none", None)
        if error > limits.ok:
            words = f"differs by {error:.2g}, {source_words(facts)}: rounding explains it"
            return Verdict("noise", words, "none", None)
        return Verdict("ok", f"differs by {error:.2g}, {source_words(facts)}", "none", None)

    def _from(self, row: Row) -> str:
        """The source with the greatest error, in words."""
        facts = self.facts[row.index]
        worst = max(facts.sources, key=lambda source: source.error, default=None)
        if worst is None:
            return "from before the first record"
        return f"{self._errors.rows[worst.index].label} differs by {worst.error:.2g}"

    def _confidence(self, row: Row, state: State) -> float:
        """From how far beyond its limit the strongest evidence is, less where no inputs are known
        or no peers: 0.5 at the limit, 0.99 at ten times it.
        """
        assert state.evidence is not None
        square = state.evidence.strength**2
        sure = square / (1 + square)
        node, facts = self.flow[row.index], self.facts[row.index]
        law = self.origins.laws.get(row.index)
        if law is not None and law.causes:
            return 0.99
        if facts.parameter:
            return 0.99
        if facts.alone is not None:
            return 0.5
        if facts.stand_in or (not facts.sources and node.role == "output"):
            sure *= 0.7
        if len(self.origins.peers[node.kind].members) < 3:
            sure *= 0.95
        return round(sure, 2)


def _grown(facts: Facts, peers: LayerPeers, limits: Limits) -> Verdict | None:
    """The verdict of an error that has grown more than those of other layers."""
    error, amplification = facts.greater, facts.amplification
    if amplification <= DRIFT_LEAST:
        return None  # `limit_of` is more, and what it costs is not asked of most rows
    typical = peers.typical("amplification", lambda f: f.amplification, facts)
    if amplification > limit_of(typical) and facts.inherited <= UNRELATED:
        words = (
            f"differs by {error:.2g}, {amplification:.3g}x what its inputs and rounding "
            f"explain, but within the {limits.ok:g} that {facts.dtype} allows"
        )
        return Verdict("drift", words, "none", None)
    if typical is not None and amplification > DRIFT * typical.middle * math.exp(
        2 * typical.spread
    ):
        times = amplification / typical.middle
        words = (
            f"differs by {error:.2g}, {times:.2g}x the typical growth in other layers; below "
            "the divergence threshold"
        )
        return Verdict("drift", words, "none", None)
    return None


def _behind_unpaired(count: int) -> str:
    """Why it is not known where an error was made: it may have been before this pair."""
    records = "the record before it has" if count == 1 else f"the {count} records before it have"
    return f"{records} no partner {MAY_BE_THEIRS}"
