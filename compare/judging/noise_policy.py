"""Noise or bug: verdicts that know where an error comes from and what is usual for its kind.

A fixed tolerance is wrong in both directions: noise grows with depth, and a bug may be smaller than
it. Here each pair is held against the pairs that it was made from (`dataflow`) and against its
sisters in the other layers (`evidence`):

    made       the error is more than the sources' errors and rounding explain
    inherited  the error came with the sources, and one of those was made somewhere
    none       the error is what rounding explains

Levels: `identical`; `ok`, within what the dtype allows; `noise`, more than that, but explained;
`drift`, grown faster than its kind does, with nobody guilty; `diverged`, `nan`: made or inherited.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ...capture.dtypes import DTYPES
from ...capture.records import Record
from ..limits import COPIED, DRIFT, ROUNDINGS, TAINTED, UNRELATED, Limits, limits_for
from ..matching.canonical import ROOT
from ..measuring.grids import Grids, grids_of
from ..measuring.pair_reader import coarser
from ..model import Failure, Measurement, Row, Verdict
from ..vocabulary import Level, Origin
from .dataflow import DECODER, Flow, Node, flow_of
from .doubts import doubtful_pairs
from .evidence import Evidence, evidence_for
from .expert_routing import Routing
from .layouts import Layout
from .peers import Sisters, limit_of
from .policy import by_dtype, nonfinite_words, printed_rounding, printed_share
from .reduced_precision import Arithmetic, coarse_arithmetic
from .row_facts import Facts

_ALIKE = 1.001  # times the error of its source up to which a record just passes it on
_NOT_KEPT = "its law does not fit this side; its inputs may have been changed in place"

if TYPE_CHECKING:
    from ..laws.report import LawRow

Result = Measurement | Failure | None


@dataclass(slots=True)
class _State:
    """What is found out about a record: the evidence, and the error that a clean run would have."""

    evidence: Evidence | None = None
    tainted: bool = False
    clean: float = 0.0


@dataclass
class Analysis:
    """Where errors are made. `settled` are verdicts that stand whatever the neighbours say. `laws`
    are rows whose module was held against its law: what these say comes before all statistics.
    """

    rows: Sequence[Row]
    results: Sequence[Result]
    routings: Mapping[int, Routing]
    settled: Sequence[Verdict | None]
    laws: Mapping[int, LawRow] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    facts: dict[int, Facts] = field(init=False, default_factory=dict)
    sisters: dict[tuple[str, str, bool], Sisters] = field(init=False, default_factory=dict)
    states: dict[int, _State] = field(init=False, default_factory=dict)
    arithmetic: Arithmetic | None = field(init=False, default=None)
    doubtful: dict[int, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._gather()
        self._find_made()
        self.doubtful = doubtful_pairs(self)
        if self.doubtful:
            for facts in self.facts.values():
                known = [s for s in facts.sources if s.index not in self.doubtful]
                facts.sources = known or facts.sources
            self._find_made()

    def _gather(self) -> None:
        """What is known of every record: its error, its sources, what is expected of it."""
        for index in self.flow.nodes:
            self.facts[index] = self._facts(index)
        for index, node in self.flow.nodes.items():
            self.facts[index].sources = [self.facts[source] for source in node.sources]
            self.facts[index].is_same = node.same is not None
            self.facts[index].stand_in = node.stand_in
        self.arithmetic = coarse_arithmetic([f for f in self.facts.values() if f.linear])
        for facts in self.facts.values():
            if self.arithmetic is not None and not facts.exact:
                self.arithmetic.apply(facts)
            coarser = (f.unit for f in facts.sources if f.error > 0 and f.dtype != facts.dtype)
            facts.unit = max([facts.unit, *coarser])
            facts.floor = max(facts.floor, ROUNDINGS * facts.unit)
            if self._alone(facts):
                row = self.rows[facts.index]
                facts.alone = by_dtype(row, facts.result, facts.dtype)

    def _find_made(self) -> None:
        """Where errors are made, from what comes first to what is made of it."""
        groups: dict[tuple[str, str, bool], list[Facts]] = {}
        for index, node in self.flow.nodes.items():
            groups.setdefault(node.kind, []).append(self.facts[index])
        cousins = self._cousins()
        self.sisters = {
            kind: Sisters(members, cousins.get(self._family(members[0].index)))
            for kind, members in groups.items()
        }
        for index in self._sources_first():
            self.states[index] = self._state(index)

    @cached_property
    def flow(self) -> Flow:
        return flow_of(self.rows, self.results)

    @cached_property
    def grids(self) -> Grids:
        """The precision that the values of either side really have."""
        return grids_of(self.rows, self.results)

    def _facts(self, index: int) -> Facts:
        row, result = self.rows[index], self.results[index]
        assert isinstance(result, Measurement)
        dtypes = self.grids.dtypes(row, result) or ("float32", "float32")
        name = coarser(*dtypes)
        dtype, limits = DTYPES[name], limits_for(name)
        exact = dtype.epsilon == 0
        error, passed, kept = error_of(result, exact), None, None
        plain = error if exact or _is_masked(result) else result.relative_l2 or 0.0
        if index in self.layouts:
            error = plain = self.layouts[index].error
        routing = self._routed(index) if self.routings else None
        if routing is not None and error > 0:
            kept = routing.rest.get(index)
            error, passed = 0.0 if kept is None else kept.even_error, error
            plain = 0.0 if kept is None else kept.error
        return Facts(
            index,
            error,
            plain,
            name,
            dtype.epsilon / 2,
            _printed_floor(row, result),
            0.0 if limits is None else limits.ok,
            exact,
            result,
            bits=DTYPES[dtypes[1]].mantissa_bits,
            passed=passed,
            kept=kept,
            mixed=dtypes[0] != dtypes[1],
            linear=self._family(index) == "linear",
        )

    def _alone(self, facts: Facts) -> bool:
        """Nothing is recorded that it can have been made from, and it is not where a run begins."""
        row = self.rows[facts.index]
        if facts.sources or facts.exact or facts.blocked or row.canonical in (ROOT, DECODER):
            return False
        return not row.canonical.rpartition(".")[2].startswith("embed")

    def _cousins(self) -> dict[str, Sisters]:
        """Outputs of like modules: all norms, all projections, by class where it is known."""
        families: dict[str, list[Facts]] = {}
        for index, node in self.flow.nodes.items():
            family = self._family(index)
            if family and node.same is None:
                families.setdefault(family, []).append(self.facts[index])
        return {family: Sisters(members) for family, members in families.items()}

    def _family(self, index: int) -> str:
        row = self.rows[index]
        if row.role not in ("output", "value"):
            return ""
        last = row.canonical.rpartition(".")[2]
        if last.endswith("norm"):
            return "norm"
        return "linear" if last.endswith("_proj") or last == "lm_head" else ""

    def _sources_first(self) -> Iterable[int]:
        """Rows so that sources come before what is made of them."""
        done: set[int] = set()
        for start in self.flow.nodes:
            stack = [(start, False)]
            while stack:
                index, ready = stack.pop()
                if ready:
                    yield index
                elif index not in done:
                    done.add(index)
                    stack.append((index, True))
                    stack += [(s, False) for s in self.flow[index].sources if s not in done]

    def _state(self, index: int) -> _State:
        facts, node = self.facts[index], self.flow[index]
        sources = [source.index for source in facts.sources]
        known = [self.states[s] for s in sources if s in self.states]
        tainted = facts.passed_on > 0 and any(state.tainted for state in known)
        if self._nonfinite(index):
            clean = any(self._nonfinite(source) for source in sources)
            born = None if clean else Evidence(100.0, "")
            return _State(born, True, facts.floor)
        before = max((state.clean for state in known), default=0.0)
        found = self._evidence(facts, node)
        if found is None and not tainted:
            return _State(None, False, facts.passed_on)
        usual = self.sisters[node.kind].usual("amplification", lambda f: f.amplification, facts)
        grows = min(usual.middle, 2.0) if usual is not None else 1.0
        return _State(found, True, max(before, facts.floor) * max(grows, 0.5))

    def _evidence(self, facts: Facts, node: Node) -> Evidence | None:
        """What shows that the error was made at this record: its law, where that is known."""
        if facts.greater == 0:
            return None
        law = self.law_of(facts.index)
        if law is not None and law.state == "keeps":
            return None
        found = evidence_for(facts, self.sisters[node.kind])
        if law is None or law.state == "unknown":
            return found
        if _is_rounding(law, facts):
            return None
        if law.row != facts.index and facts.greater <= _ALIKE * facts.inherited:
            return None  # what the row that has the law gave, passed on
        if law.causes and law.row == facts.index:
            words = f"{law.words}; differs by {facts.greater:.2g}, {_source_words(facts)}"
            return Evidence(max(1.0, law.excess), words)
        return found if facts.inherited <= facts.ok < facts.greater and not facts.exact else None

    def law_of(self, index: int) -> LawRow | None:
        """What the law says of a row, or of the earlier row that has the same numbers: the same on
        both sides, as far as the size of their errors tells.
        """
        seen: set[int] = set()
        while index not in self.laws and index not in seen:
            seen.add(index)
            same = self.flow.nodes[index].same if index in self.flow.nodes else None
            if same is None:
                return self._around(index)
            if not self._is_copy(index, same):
                return None
            index = same
        return self.laws.get(index)

    def _is_copy(self, index: int, earlier: int) -> bool:
        """Whether the candidate repeats the earlier record where the reference does."""
        own, other = self.facts[index], self.facts[earlier]
        return own.greater <= COPIED * max(other.greater, own.floor)

    def _around(self, index: int) -> LawRow | None:
        """For what a module returns besides its result (attention's weights): the law of what was
        made of them inside the module, where that is kept to.
        """
        row = self.rows[index]
        if not row.slot.startswith("output_"):
            return None
        found = self._inside.get((row.canonical, row.step))
        return found if found is not None and found.state == "keeps" else None

    @cached_property
    def _inside(self) -> dict[tuple[str, int], LawRow]:
        """Laws of what a module's own code made inside it, by module and step."""
        return {
            (law.module, self.rows[index].step): law
            for index, law in self.laws.items()
            if self.rows[index].canonical.startswith(law.module + ".")
        }

    def _nonfinite(self, index: int) -> bool:
        result = self.results[index]
        if not isinstance(result, Measurement) or not result.nonfinite_mismatch:
            return False
        return not self._same_mask(result)

    def _same_mask(self, result: Measurement) -> bool:
        """Both sides block the same places, whatever large negative number they do it with."""
        structure = result.structure
        return structure is not None and structure.blocked[0] > 0 and structure.blocked[1] == 0

    def _routed(self, index: int) -> Routing | None:
        """The routing within noise that this row's values come from."""
        row = self.rows[index]
        for routing in self._by_step.get(row.step, ()):
            if routing.touches(row):
                return routing
        return None

    @cached_property
    def _by_step(self) -> dict[int, list[Routing]]:
        found: dict[int, list[Routing]] = {}
        for index, routing in self.routings.items():
            if routing.within_noise:
                found.setdefault(self.rows[index].step, []).append(routing)
        return found

    # Verdicts

    def verdicts(self) -> list[Verdict]:
        return [self._verdict(row) for row in self.rows]

    def _verdict(self, row: Row) -> Verdict:
        settled, state = self.settled[row.index], self.states.get(row.index)
        result = self.results[row.index]
        if state is None or not isinstance(result, Measurement):
            assert settled is not None
            routing = self._routed(row.index) if settled.level == "shape" else None
            return settled if routing is None else Verdict("noise", routing.words, "none")
        if settled is not None and settled.level == "nan":
            if not result.compared or self._nonfinite(row.index):
                return self._nan(row, result, state)
            settled = None
        if settled is not None:
            origin: Origin = "none"
            if settled.fails:
                origin = "made" if state.evidence is not None else "inherited"
            return replace(settled, origin=origin)
        return self._judged(row, result, state)

    def _nan(self, row: Row, result: Measurement, state: _State) -> Verdict:
        words = (
            nonfinite_words(result) if result.nonfinite_mismatch else "nothing finite to compare"
        )
        structure = result.structure
        if structure is not None and structure.blocked[1]:
            apart, blocked = structure.blocked[1], structure.blocked[0]
            mask = f"the masks differ at {apart} of the {blocked} places that either blocks"
            origin: Origin = "made" if state.evidence is not None else "inherited"
            return Verdict("diverged", mask, origin, 0.95)
        if state.evidence is not None:
            return Verdict("nan", f"{words}; no input has such places", "made", 0.99)
        return Verdict("nan", words, "inherited", 0.9)

    def _judged(self, row: Row, result: Measurement, state: _State) -> Verdict:
        facts = self.facts[row.index]
        layout, doubt = self.layouts.get(row.index), self.doubtful.get(row.index)
        if layout is not None:
            return Verdict("ok", layout.reason, "none")
        if doubt is not None:
            return Verdict("drift", f"doubtful pair: {doubt}", "none", doubtful=doubt)
        if state.evidence is not None:
            return Verdict("diverged", state.evidence.words, "made", self._confidence(row, state))
        if facts.alone is not None:
            return replace(facts.alone, origin="none")
        limits = limits_for(facts.dtype)
        least = max(TAINTED * state.clean, facts.floor, facts.ok)
        if state.tainted and facts.inherited > 0 and facts.passed_on > least:
            words = f"differs by {facts.passed_on:.2g}, inherited: {self._from(row)}"
            return Verdict("diverged", words, "inherited", 0.9)
        routing = self._routed(row.index) if facts.passed is not None else None
        if routing is not None:
            return Verdict("noise", routing.words, "none")
        law = self.laws.get(row.index)
        if law is not None and _is_rounding(law, facts):
            return Verdict("noise", f"{law.words}; within what its dtype allows", "none")
        if law is not None and law.state == "breaks" and not law.causes:
            return Verdict("noise", f"{_NOT_KEPT}; {law.words}", "none")
        if law is not None and law.state == "keeps":
            return self._kept(facts, law, limits)
        return self._explained(facts, self.flow[row.index], limits)

    def _kept(self, facts: Facts, law: LawRow, limits: Limits | None) -> Verdict:
        """A row that is what its own inputs make of it."""
        local = law.local
        usual = f"{local.candidate:.2g} x its rounding, {local.usual_candidate:.2g} x is usual"
        error = facts.greater
        words = f"differs by {error:.2g}, {_source_words(facts)}; for its own inputs: {usual}"
        level: Level = "noise" if limits is None or error > limits.ok else "ok"
        return Verdict(level, words, "none", None)

    def _explained(self, facts: Facts, node: Node, limits: Limits | None) -> Verdict:
        error = facts.greater
        if limits is None:
            words = f"{facts.result.mismatched} of {facts.result.count} whole numbers differ"
            return Verdict(
                "diverged" if error else "ok", words, "inherited" if error else "none", 0.5
            )
        usual = self.sisters[node.kind].usual("amplification", lambda f: f.amplification, facts)
        if facts.amplification > limit_of(usual) and facts.inherited <= UNRELATED:
            words = (
                f"differs by {error:.2g}, {facts.amplification:.3g}x what its inputs and rounding "
                f"explain, but within the {limits.ok:g} that {facts.dtype} allows"
            )
            return Verdict("drift", words, "none", None)
        if usual is not None and facts.amplification > max(
            DRIFT * usual.middle * math.exp(2 * usual.spread), 1.5
        ):
            times = facts.amplification / usual.middle
            words = f"differs by {error:.2g}, {times:.2g}x what its sisters add, below a divergence"
            return Verdict("drift", words, "none", None)
        # Tokens that rounding sends to other experts make steps that mean nothing.
        change = None if self.routings else self.sisters[node.kind].change
        if change is not None and change.index == facts.index:
            words = (
                f"differs by {error:.2g}; from here on its kind has at least {change.after:.2g}x "
                f"the error that comes in, in the {change.count} layers before at most "
                f"{change.before:.2g}x"
            )
            return Verdict("drift", words, "none", None)
        if error > limits.ok:
            words = f"differs by {error:.2g}, {_source_words(facts)}: rounding explains it"
            return Verdict("noise", words, "none", None)
        return Verdict("ok", f"differs by {error:.2g}, {_source_words(facts)}", "none", None)

    def _from(self, row: Row) -> str:
        """The source with the greatest error, in words."""
        facts = self.facts[row.index]
        worst = max(facts.sources, key=lambda source: source.error, default=None)
        if worst is None:
            return "from before what was recorded"
        return f"{self.rows[worst.index].label} differs by {worst.error:.2g}"

    def _confidence(self, row: Row, state: _State) -> float:
        """From how far beyond its limit the strongest evidence is, less where no inputs are known
        or no sisters: 0.5 at the limit, 0.99 at ten times it.
        """
        assert state.evidence is not None
        square = state.evidence.strength**2
        sure = square / (1 + square)
        node, facts = self.flow[row.index], self.facts[row.index]
        law = self.laws.get(row.index)
        if law is not None and law.causes:
            return 0.99
        if facts.alone is not None:
            return 0.5
        if facts.stand_in or (not facts.sources and node.role == "output"):
            sure *= 0.7
        if len(self.sisters[node.kind].members) < 3:
            sure *= 0.95
        return round(sure, 2)

    def origin(self, index: int) -> Origin | None:
        """Where the error of a row comes from; None where nothing is measured."""
        return self._verdict(self.rows[index]).origin

    def confidence(self, index: int) -> float | None:
        """How sure it is that the error was made at this row; None where it was not."""
        return self._verdict(self.rows[index]).confidence

    def expected(self, index: int) -> float:
        """The relative L2 that a clean run would have here, by the sources and the sisters."""
        state = self.states.get(index)
        return 0.0 if state is None else state.clean

    def hidden_symptom(self, index: int) -> tuple[str, str] | None:
        """What gave the error away where its size did not: a symptom's name, and the words."""
        state = self.states.get(index)
        evidence = None if state is None else state.evidence
        if evidence is None or evidence.symptom is None:
            return None
        return evidence.symptom, evidence.words

    def sources(self, index: int) -> tuple[int, ...]:
        """The rows that this row's values were made from."""
        node = self.flow.nodes.get(index)
        return () if node is None else node.sources

    # Blame

    def to_blame(self, index: int) -> str:
        """The module that made the error seen at row `index`, as deep as the records allow."""
        row = self.rows[index]
        node = self.flow.nodes.get(index)
        law = self.laws.get(index)
        if law is not None and law.state == "breaks":
            return law.module
        if node is None or node.parent is None:
            return row.canonical
        if not any(self.rows[i].role != "input" for i in self.flow.nodes if i < index):
            return row.canonical  # the inputs of the whole run
        return self._maker(node)

    def _maker(self, node: Node) -> str:
        """The module whose code made a wrong input: its parent, or, where the parent was given the
        same wrong numbers, whoever is around that.
        """
        module = node.parent or ROOT
        while module != ROOT:
            given = [
                other
                for other in self.flow.nodes.values()
                if other.module == module and other.role == "input"
                and node.index in (other.same, other.index)
                and self.rows[other.index].step == self.rows[node.index].step
            ]  # fmt: skip
            if not given:
                return module
            module = given[0].parent or ROOT
        return module


def error_of(result: Measurement, exact: bool = False) -> float:
    """The relative L2 of a pair with all values counting alike, of masks the share of places that
    are blocked on one side only; of exact numbers the share that differs.
    """
    if exact:
        return result.mismatched_fraction or 0.0
    structure, whole = result.structure, result.relative_l2
    if structure is not None and _is_masked(result):
        blocked, apart = structure.blocked
        return max(structure.error, apart / blocked)
    if structure is not None and whole is not None and structure.error > 0:
        # A sample may have missed some of what differs.
        return structure.even_error * max(1.0, whole / structure.error)
    if whole is not None:
        return whole
    return 0.0 if not result.max_abs else 1.0


def _is_masked(result: Measurement) -> bool:
    return result.structure is not None and result.structure.blocked[0] > 0


def _printed_floor(row: Row, result: Measurement) -> float:
    """The relative error that the rounding of a print makes."""
    side, structure = result.reference, result.structure
    floor = printed_share(row)
    if side is not None and side.l2 and result.compared:
        plain = printed_rounding(row) * math.sqrt(result.compared) / side.l2
        even = 1.0
        if structure is not None and structure.error > 0:
            even = structure.even_error / structure.error
        floor = max(floor, plain * max(1.0, even))
    return floor


def _is_rounding(law: LawRow, facts: Facts) -> bool:
    """Whether a layer merely rounds more than its peers (its partial sums may cancel), by no more
    than the dtype allows: coarse arithmetic is no mistake there.
    """
    causes = law.causes or ()
    coarse = bool(causes) and all(cause.name == "precision" for cause in causes)
    return law.state == "breaks" and coarse and facts.greater <= facts.ok


def _source_words(facts: Facts) -> str:
    if not facts.sources:
        return "of no recorded inputs"
    if facts.stand_in:
        return f"what comes before it {facts.inherited:.2g}"
    return f"inputs {facts.inherited:.2g}" if facts.inherited else "inputs identical"


def _dtype(record: Record | None) -> str | None:
    return None if record is None else record.dtype
