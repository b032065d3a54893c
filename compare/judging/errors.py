"""The errors of all pairs: how large, made of what, and what rounding explains of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from ...capture.dtypes import DTYPES
from ..limits import ROUNDINGS, limits_for
from ..matching.names.canonical import ROOT
from ..matching.names.roles import begins_a_run, family_of, is_parameter
from ..measuring.grids import Grids, grids_of
from ..measuring.pair_dtypes import is_printed, printed_rounding, printed_share
from ..measuring.pair_reader import coarser
from ..model import ByStatistics, Layout, Measurement, Result, Row
from .dataflow import DECODER, Flow, flow_of, unpaired_before
from .dtype_verdicts import by_dtype
from .gradient_flow import ROLES as GRADIENT_ROLES
from .noise.expert_routing import Routing
from .noise.reduced_precision import Arithmetic, coarse_arithmetic
from .row_facts import Facts
from .rows_before import inputs_without_values, rows_before


@dataclass
class Errors:
    """What is known of every measured pair, by row. Values in a different order are held to the
    error that their layout leaves, tokens that a router sent elsewhere are left out.
    """

    rows: Sequence[Row]
    results: Sequence[Result]
    routings: Mapping[int, Routing] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    quantised: Mapping[int, str] = field(default_factory=dict)
    facts: dict[int, Facts] = field(init=False, default_factory=dict)
    arithmetic: Arithmetic | None = field(init=False, default=None)
    _families: dict[int, str] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for index in self.flow.nodes:
            self.facts[index] = self._facts(index)
        for index, node in self.flow.nodes.items():
            facts = self.facts[index]
            facts.made_of([self.facts[source] for source in node.sources])
            facts.is_same, facts.stand_in = node.same is not None, node.stand_in
            if node.stand_in or not node.sources:
                facts.unpaired = unpaired_before(self.rows, index)
            facts.is_gradient = node.role in GRADIENT_ROLES
        self._without_sources()
        self.arithmetic = coarse_arithmetic([f for f in self.facts.values() if f.linear])
        for facts in self.facts.values():
            if self.arithmetic is not None and not facts.exact:
                self.arithmetic.apply(facts)
            for source in facts.sources:
                if source.dtype != facts.dtype and source.error > 0:
                    facts.unit = max(facts.unit, source.unit)
            facts.floor = max(facts.floor, ROUNDINGS * facts.unit)
            if self._alone(facts):
                row = self.rows[facts.index]
                facts.alone = by_dtype(row, facts.result, facts.dtype)

    def _without_sources(self) -> None:
        """What is known of records whose sources, or inputs, were not compared by values."""
        wanted = {
            index
            for index, facts in self.facts.items()
            if not facts.sources and not facts.parameter
        }
        for index, before in rows_before(self.rows, self.results, wanted).items():
            self.facts[index].before = before
        inputs = inputs_without_values(self.rows, self.results)
        for index, facts in self.facts.items():
            if inputs and facts.stand_in:
                row = self.rows[index]
                facts.inputs_are = inputs.get((row.step, row.canonical), facts.inputs_are)

    @cached_property
    def flow(self) -> Flow:
        """What every record was made from."""
        return flow_of(self.rows, self.results)

    @cached_property
    def grids(self) -> Grids:
        """The precision that the values of either side really have."""
        return grids_of(self.rows, self.results)

    def _facts(self, index: int) -> Facts:
        row, result = self.rows[index], self.results[index]
        assert isinstance(result, Measurement)
        dtypes = self.grids.dtypes(row, result) or ("float32", "float32")
        precision = _precision_of(*dtypes)
        exact = precision.exact
        error, passed, kept = error_of(result, exact), None, None
        plain = error if exact or is_masked(result) else result.relative_l2 or 0.0
        if index in self.layouts:
            error = plain = self.layouts[index].error
        routing = self.routed(index) if self.routings else None
        if routing is not None and error > 0:
            kept = routing.rest.get(index)
            error, passed = 0.0 if kept is None else kept.even_error, error
            plain = 0.0 if kept is None else kept.error
        return Facts(
            index,
            error,
            plain,
            precision.dtype,
            precision.unit,
            _printed_floor(row, result),
            precision.ok,
            exact,
            result,
            bits=precision.bits,
            passed=passed,
            kept=kept,
            mixed=dtypes[0] != dtypes[1],
            linear=self.family(index) == "linear",
            parameter=row.role == "value" and is_parameter(row.canonical),
        )

    def _alone(self, facts: Facts) -> bool:
        """Nothing is recorded that it can have been made from, and it is not where a run begins."""
        if facts.sources or facts.exact or facts.blocked:
            return False
        module = self.rows[facts.index].canonical
        return module not in (ROOT, DECODER) and not begins_a_run(module)

    def family(self, index: int) -> str:
        """`norm` or `linear` for what such a module returns, else empty."""
        known = self._families.get(index)
        if known is None:
            known = self._families[index] = _family(self.rows[index])
        return known

    def returned_before(self, index: int) -> bool:
        """Whether something that a module returned was compared before this row."""
        return any(
            row.role != "input" and (
                row.index in self.flow.nodes or isinstance(self.results[row.index], ByStatistics)
            )
            for row in self.rows[:index]
        )  # fmt: skip

    def routed(self, index: int) -> Routing | None:
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


@dataclass(frozen=True, slots=True)
class _Precision:
    """What a pair is judged by, see `Facts`."""

    dtype: str
    unit: float
    ok: float
    exact: bool
    bits: int


@lru_cache(maxsize=1 << 10)  # there are few pairs of dtypes
def _precision_of(reference: str, candidate: str) -> _Precision:
    name = coarser(reference, candidate)
    dtype, limits = DTYPES[name], limits_for(name)
    ok = 0.0 if limits is None else limits.ok
    bits = DTYPES[candidate].mantissa_bits
    return _Precision(name, dtype.epsilon / 2, ok, dtype.epsilon == 0, bits)


def _family(row: Row) -> str:
    if row.role not in ("output", "value"):
        return ""
    record = row.reference or row.candidate
    return family_of(row.canonical, record.module_class if record is not None else None)


def error_of(result: Measurement, exact: bool = False) -> float:
    """The relative L2 of a pair with all values counting alike, of masks the share of places that
    are blocked on one side only; of exact numbers the share that differs.
    """
    if exact:
        return result.mismatched_fraction or 0.0
    structure, whole = result.structure, result.relative_l2
    if structure is not None and is_masked(result):
        blocked, apart = structure.blocked
        return max(structure.error, apart / blocked)
    if structure is not None and whole is not None and structure.error > 0:
        # A sample may have missed some of what differs.
        return structure.even_error * max(1.0, whole / structure.error)
    if whole is not None:
        return whole
    return 0.0 if not result.max_abs else 1.0


def is_masked(result: Measurement) -> bool:
    """Whether the values are a mask, which blocks places by large negative numbers."""
    return result.structure is not None and result.structure.blocked[0] > 0


def _printed_floor(row: Row, result: Measurement) -> float:
    """The relative error that the rounding of a print makes."""
    if not is_printed(row):
        return 0.0
    side, structure = result.reference, result.structure
    floor = printed_share(row)
    if side is not None and side.l2 and result.compared:
        plain = printed_rounding(row) * math.sqrt(result.compared) / side.l2
        even = 1.0
        if structure is not None and structure.error > 0:
            even = structure.even_error / structure.error
        floor = max(floor, plain * max(1.0, even))
    return floor
