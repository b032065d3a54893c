"""What a judgement rests on besides the measurements: gathered once, by an explicit call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...model import Cause, Layout, Symptom

if TYPE_CHECKING:
    from ...laws.report import LawReport, LawRow
    from ..noise.dropout import ByStatistics
    from ..noise.expert_routing import Routing
    from ..noise.floor import Floor
    from ..sameness import Sameness


@dataclass(frozen=True, slots=True)
class FurtherEvidence:
    """By row: `routings`, tokens that a router sent elsewhere; `layouts`, values in another order;
    `quantised`, parameters that are the other side's, rounded to few bits: how, in words;
    `floors`, what captures of further runs show; `instead`, what a record of a doubtful pair is;
    `symptoms`, what a difference looks like, where that was worked out; `output_causes`, what
    explains an output without a law; `ranks`, the rank that an error comes from. `dropout` and
    `same` (the candidate is the reference) are of the whole, and so
    is `early_end`, how the candidate ends before the reference (empty: it does not). `laws` are
    None before they were tried; `floor_notes`: how the further captures could be used.
    `from_records`: routings, dropout and sameness are gathered already, by these very measurements.
    """

    early_end: str = ""
    routings: Mapping[int, Routing] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    quantised: Mapping[int, str] = field(default_factory=dict)
    floors: Mapping[int, Floor] = field(default_factory=dict)
    floor_notes: tuple[str, ...] = ()
    instead: Mapping[int, str] = field(default_factory=dict)
    dropout: ByStatistics | None = None
    same: Sameness | None = None
    laws: LawReport | None = None
    symptoms: Mapping[int, tuple[Symptom, ...]] = field(default_factory=dict)
    output_causes: Mapping[int, tuple[Cause, ...]] = field(default_factory=dict)
    ranks: Mapping[int, str] = field(default_factory=dict)
    from_records: bool = False

    @property
    def law_rows(self) -> dict[int, LawRow]:
        """Rows against their law; none before the laws were tried."""
        return {} if self.laws is None else self.laws.rows
