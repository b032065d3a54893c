"""Where errors are made: held against the pairs that each was made from (`dataflow`), against the
same slot in the other layers (`evidence`), and against the law of its module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ...limits import COPIED, NEVER, PASSED_ON, UNLIKE
from ...matching.names.canonical import ROOT
from ...model import Measurement
from ..dataflow import Node
from ..errors import Errors
from ..evidence.doubts import doubtful_pairs
from ..evidence.form import Evidence
from ..evidence.gathering import evidence_for
from ..evidence.totals import apart
from ..row_facts import Facts
from .peers import LayerPeers

if TYPE_CHECKING:
    from ...laws.report import LawRow


@dataclass(slots=True)
class State:
    """What is found out about a record: the evidence, and the error that a clean run would have."""

    evidence: Evidence | None = None
    has_inherited: bool = False
    expected_error: float = 0.0


@dataclass
class Origins:
    """Where errors are made. `laws` are rows whose module was checked against its law: they take
    precedence over all statistics. `doubtful`: why the records of a pair do not belong together.
    """

    errors: Errors
    laws: Mapping[int, LawRow] = field(default_factory=dict)
    peers: dict[tuple[str, str, bool], LayerPeers] = field(init=False, default_factory=dict)
    states: dict[int, State] = field(init=False, default_factory=dict)
    doubtful: dict[int, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._find_made()
        self.doubtful = doubtful_pairs(self.errors)
        if self.doubtful:
            for facts in self.errors.facts.values():
                known = [s for s in facts.sources if s.index not in self.doubtful]
                facts.made_of(known or facts.sources)
            self._find_made()

    def _find_made(self) -> None:
        """Where errors are made, from what comes first to what is made of it."""
        groups: dict[tuple[str, str, bool], list[Facts]] = {}
        for index, node in self.errors.flow.nodes.items():
            groups.setdefault(node.kind, []).append(self.errors.facts[index])
        families = self._families()
        self.peers = {
            kind: LayerPeers(members, families.get(self.errors.family(members[0].index)))
            for kind, members in groups.items()
        }
        for index in self._sources_first():
            self.states[index] = self._state(index)

    def _families(self) -> dict[str, LayerPeers]:
        """Outputs of like modules: all norms, all projections, by class where it is known."""
        families: dict[str, list[Facts]] = {}
        for index, node in self.errors.flow.nodes.items():
            family = self.errors.family(index)
            if family and node.same is None:
                families.setdefault(family, []).append(self.errors.facts[index])
        return {family: LayerPeers(members) for family, members in families.items()}

    def _sources_first(self) -> Iterable[int]:
        """Rows so that sources come before what is made of them."""
        done: set[int] = set()
        for start, node in self.errors.flow.nodes.items():
            if start not in done and done.issuperset(node.sources):  # nearly always
                done.add(start)
                yield start
                continue
            stack = [(start, False)]
            while stack:
                index, ready = stack.pop()
                if ready:
                    yield index
                elif index not in done:
                    done.add(index)
                    stack.append((index, True))
                    stack += [(s, False) for s in self.errors.flow[index].sources if s not in done]

    def _state(self, index: int) -> State:
        facts, node = self.errors.facts[index], self.errors.flow[index]
        states = self.states
        known = [states[s.index] for s in facts.sources if s.index in states]
        given = True in [state.has_inherited for state in known]
        if facts.result.nonfinite_mismatch and self.nonfinite(index):
            clean = any(self.nonfinite(source.index) for source in facts.sources)
            born = None if clean else Evidence(100.0, "")
            return State(born, True, facts.floor)
        before = max([state.expected_error for state in known], default=0.0)
        unseen = unseen_error(facts)
        if unseen is not None:
            return State(None if given else unseen, True, max(before, facts.floor))
        found = self._evidence(facts, node)
        if found is None and not (given and facts.passed_on > 0):
            return State(None, False, facts.passed_on)
        typical = self.peers[node.kind].typical("amplification", lambda f: f.amplification, facts)
        grows = min(typical.middle, 2.0) if typical is not None else 1.0
        return State(found, True, max(before, facts.floor) * max(grows, 0.5))

    def _evidence(self, facts: Facts, node: Node) -> Evidence | None:
        """What shows that the error was made at this record: its law, where that is known."""
        if facts.greater == 0:
            return None
        law = self.law_of(facts.index)
        if law is not None and law.state == "keeps":
            return None
        found = evidence_for(facts, self.peers[node.kind])
        if law is None or law.state == "unknown" or self._of_other_layout(facts):
            return found
        if is_rounding(law, facts):
            return None
        if law.row != facts.index and is_passed_on(facts):
            return None  # what the row that has the law gave, passed on
        if law.causes and law.row == facts.index:
            words = f"{law.words}; differs by {facts.greater:.2g}, {source_words(facts)}"
            return Evidence(max(1.0, law.excess), words)
        if facts.exact or facts.greater <= facts.ok:
            return None
        clean = facts.inherited <= facts.ok
        # Behind inputs that are a little off, only an error that no arithmetic makes of theirs.
        gross = facts.greater > max(UNLIKE, NEVER * facts.inherited)
        return found if clean or gross else None

    def _of_other_layout(self, facts: Facts) -> bool:
        """Whether a record that agrees was made of some that one side keeps in another order: read
        in the reference's, they make something else by any law.
        """
        turned = any(source.index in self.errors.layouts for source in facts.sources)
        return turned and not facts.exact and facts.greater <= facts.ok

    def law_of(self, index: int) -> LawRow | None:
        """The result of the law for a row, or for the earlier row that has the same numbers: the
        same on both sides, as far as the size of their errors shows.
        """
        if not self.laws:
            return None
        seen: set[int] = set()
        while index not in self.laws and index not in seen:
            seen.add(index)
            same = self.errors.flow.nodes[index].same if index in self.errors.flow.nodes else None
            if same is None:
                return self._around(index)
            if not is_copy(self.errors.facts[index], self.errors.facts[same]):
                return None
            index = same
        return self.laws.get(index)

    def _around(self, index: int) -> LawRow | None:
        """For what a module returns besides its result (attention's weights): the law of what was
        made of them inside the module, where that is kept to.
        """
        row = self.errors.rows[index]
        if not row.slot.startswith("output_"):
            return None
        found = self._inside.get((row.canonical, row.step))
        return found if found is not None and found.state == "keeps" else None

    @cached_property
    def _inside(self) -> dict[tuple[str, int], LawRow]:
        """Laws of what a module's own code made inside it, by module and step."""
        return {
            (law.module, self.errors.rows[index].step): law
            for index, law in self.laws.items()
            if self.errors.rows[index].canonical.startswith(law.module + ".")
        }

    def nonfinite(self, index: int) -> bool:
        result = self.errors.results[index]
        if not isinstance(result, Measurement) or not result.nonfinite_mismatch:
            return False
        return not self._same_mask(result)

    def _same_mask(self, result: Measurement) -> bool:
        """Both sides block the same places, with any large negative number."""
        structure = result.structure
        return structure is not None and structure.blocked[0] > 0 and structure.blocked[1] == 0

    def expected(self, index: int) -> float:
        """The relative L2 that a clean run would have here, by the sources and the peers."""
        state = self.states.get(index)
        return 0.0 if state is None else state.expected_error

    def hidden_symptom(self, index: int) -> tuple[str, str] | None:
        """What gave the error away where its size did not: a symptom's name, and the words."""
        state = self.states.get(index)
        evidence = None if state is None else state.evidence
        if evidence is None or evidence.symptom is None:
            return None
        return evidence.symptom, evidence.words

    def sources(self, index: int) -> tuple[int, ...]:
        """The rows that this row's values were made from."""
        node = self.errors.flow.nodes.get(index)
        return () if node is None else node.sources

    def origin_module(self, index: int) -> str:
        """The module that made the error seen at row `index`, as deep as the records allow."""
        row = self.errors.rows[index]
        node = self.errors.flow.nodes.get(index)
        law = self.laws.get(index)
        if law is not None and law.state == "breaks":
            return law.module
        if node is None or node.parent is None:
            return row.canonical
        if not self.errors.returned_before(index):
            return row.canonical  # the inputs of the whole run
        return self._producer(node)

    def _producer(self, node: Node) -> str:
        """The module whose code made a wrong input: its parent, or, where the parent was given the
        same wrong numbers, whoever is around that.
        """
        module = node.parent or ROOT
        while module != ROOT:
            given = [
                other
                for other in self.errors.flow.nodes.values()
                if other.module == module and other.role == "input"
                and node.index in (other.same, other.index)
                and self.errors.rows[other.index].step == self.errors.rows[node.index].step
            ]  # fmt: skip
            if not given:
                return module
            module = given[0].parent or ROOT
        return module


def unseen_error(facts: Facts) -> Evidence | None:
    """What shows that elements of a record differ which are not compared."""
    if facts.result.totals is None:
        return None
    return apart(facts.result, max(facts.ok, facts.greater))


def is_copy(own: Facts, earlier: Facts) -> bool:
    """Whether the candidate repeats the earlier record where the reference does."""
    return own.greater <= COPIED * max(earlier.greater, own.floor)


def is_passed_on(facts: Facts) -> bool:
    """Whether the error is no more than that of what the record was made from."""
    return facts.greater <= PASSED_ON * facts.inherited


def is_rounding(law: LawRow, facts: Facts) -> bool:
    """Whether a layer merely rounds more than its peers (its partial sums may cancel), by no more
    than the dtype allows: coarse arithmetic is no mistake there.
    """
    causes = law.causes or ()
    coarse = bool(causes) and all(cause.name == "precision" for cause in causes)
    return law.state == "breaks" and coarse and facts.greater <= facts.ok


def source_words(facts: Facts) -> str:
    """The error of what a record was made from, in words."""
    if not facts.sources:
        return facts.before.words if facts.before.by_statistics else "no recorded inputs"
    if facts.stand_in:
        return f"what precedes it {facts.inherited:.2g}"
    return f"inputs {facts.inherited:.2g}" if facts.inherited else "inputs identical"
