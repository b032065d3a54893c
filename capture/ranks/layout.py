"""Where numbered ranks stand: in the words of rules files (`dp2 tp4`, the outer kind first), and
by the mesh of devices that recordings tell.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import prod

from ..errors import CaptureError
from ..storage import open_stream
from .labels import CHUNKS, KINDS, RANK, Kinds

_KIND = re.compile(rf"({KINDS}|{CHUNKS})[=:]?([1-9]\d{{0,5}})")
_WORDS = "kinds of parallelism and their sizes, the outer one first, such as `pp2 dp2 tp4`"
_LONGEST_HEADER = 16 << 20  # bytes
_MOST_PLACES = 1 << 20

Mesh = tuple[tuple[str, int, int], ...]  # kind of parallelism, the place, the number of places


class LayoutError(ValueError):
    """Words that are no layout; one line for the user."""


@dataclass(frozen=True, slots=True)
class RankLayout:
    """The sizes by kind of parallelism, the outer one first: neighbours differ in the last.
    `chunks` is the number of chunks of layers that each stage of a pipeline has; 0 where that is
    not said.
    """

    sizes: tuple[tuple[str, int], ...]
    chunks: int = 0

    @property
    def counts(self) -> Kinds:
        """The number of places of each kind, and of chunks where that is said."""
        return (*self.sizes, (CHUNKS, self.chunks)) if self.chunks else self.sizes

    def __str__(self) -> str:
        return " ".join(f"{kind}{size}" for kind, size in self.counts)

    def kinds(self, told: Kinds) -> Kinds:
        """The place of a rank of which no more than its number is `told`. Raises `CaptureError`
        for a number that is too large.
        """
        if not self.sizes or [kind for kind, _ in told] != [RANK]:
            return told
        number = rest = told[0][1]
        found: list[tuple[str, int]] = []
        for kind, size in reversed(self.sizes):
            rest, place = divmod(rest, size)
            found.append((kind, place))
        if rest:
            count = prod(size for _, size in self.sizes)
            raise CaptureError(f"rank {number}: the layout `{self}` has {count} ranks")
        return tuple(reversed(found))


def parse_layout(text: str) -> RankLayout:
    """The layout that words mean. Raises `LayoutError`."""
    words = text.replace(",", " ").split()
    found = [_KIND.fullmatch(word.lower()) for word in words]
    told = tuple((one[1], int(one[2])) for one in found if one is not None)
    if not told or len(told) < len(words) or len(dict(told)) < len(told):
        raise LayoutError(f"{text[:60]!r} is no layout of ranks ({_WORDS})")
    sizes = tuple(one for one in told if one[0] != CHUNKS)
    return RankLayout(sizes, dict(told).get(CHUNKS, 0))


def read_mesh(path: str) -> Mesh:
    """Where the process stands whose recording has this manifest. Empty where its header does not
    say it, or is damaged.
    """
    try:
        with open_stream(path) as file:
            header = json.loads(file.readline(_LONGEST_HEADER))
    except (OSError, ValueError, RecursionError):
        return ()
    said = header.get("mesh") if isinstance(header, dict) else None
    found: dict[str, tuple[str, int, int]] = {}
    for one in said if isinstance(said, list) else ():
        kind, place, count = one if isinstance(one, list) and len(one) == 3 else ("", 0, 0)
        known = isinstance(kind, str) and kind in KINDS.split("|") and kind not in found
        if not known or type(place) is not int or type(count) is not int:
            return ()
        if not 0 <= place < count <= _MOST_PLACES:
            return ()
        found[kind] = kind, place, count
    return tuple(found.values())
