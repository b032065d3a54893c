"""Where a rank stands among the others, by kind of parallelism, as far as that is told."""

from __future__ import annotations

import re

from ..records import Record

_PLACE = re.compile(r"(?:^|-)(tp|pp|dp|ep|cp|sp)(\d{1,6})(?=-|$)")


def places_of_rank(record: Record) -> dict[str, int]:
    """By kind, from what the recording says or the rank's name (`tp0-pp1`)."""
    if record.placement is not None:
        return {kind: place for kind, place, _ in record.placement.coordinates}
    return {kind: int(place) for kind, place in _PLACE.findall(record.rank or "")}


def stage_of(record: Record) -> int | None:
    """The stage of the pipeline, where it is told."""
    return places_of_rank(record).get("pp")
