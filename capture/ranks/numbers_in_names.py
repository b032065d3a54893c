"""Numbers of layers and experts in the names of records."""

from __future__ import annotations

import re

from ..records import Record


def add_to_number(pattern: re.Pattern[str], record: Record, by: int) -> None:
    """Add to the number that the pattern's first group finds, in both names of a record."""
    found = pattern.search(record.module)
    if found is None or by == 0:
        return
    module = f"{record.module[: found.start(1)]}{int(found[1]) + by}{record.module[found.end(1) :]}"
    inside = pattern.search(record.name)
    if inside is not None:
        number = int(inside[1]) + by
        record.name = f"{record.name[: inside.start(1)]}{number}{record.name[inside.end(1) :]}"
    record.module = module
