"""What a record was taken for, and all readings of one capture."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..engines.names import EngineNames


@dataclass(slots=True)
class Reading:
    """What one record was taken for. `rule` says by which rule, `unknown` why a record keeps its
    own name. `also` are modules whose output it is besides, `adds` the record whose sum with this
    one is the module's output.
    """

    module: str
    slot: str
    call: int
    plain: str
    rule: str = ""
    unknown: str | None = None
    ignored: bool = False
    also: list[str] = field(default_factory=list)
    adds: str | None = None


@dataclass(slots=True)
class Naming:
    """All readings of a capture, in its order, and the engine whose names they are."""

    engine: EngineNames | None
    readings: list[Reading]
    notes: list[str] = field(default_factory=list)
    layers: int = 0  # number of layers that names speak of; 0 where they do not


Names = tuple[Naming, Naming]  # the reference's, the candidate's
