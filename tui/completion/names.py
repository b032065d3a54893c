"""Names of records, completed part by part, as paths of files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def next_parts(names: Iterable[str], typed: str) -> list[str]:
    """What `typed` may go on with, up to the next dot of the names that begin so, in their order.

    A part that ends with its dot has more behind it.
    """
    size = len(typed)
    found: dict[str, None] = {}
    for name in names:
        if name.startswith(typed):
            end = name.find(".", size)
            found[name if end < 0 else name[: end + 1]] = None
    return list(found)
