"""What a recording says of how a tensor is cut: SGLang's `dims`, and the places of the ranks.

`t h[tp]`, `b (heads*size)[tp] d`, `t[cp:zigzag,sp] h[tp:partial]`: names of axes, behind each the
kinds of parallelism that cut it, the outer one first. A kind that is not named holds copies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .way import PARTIAL, Way

_MOST = 400  # characters
_DIM = re.compile(r"(?P<name>\w+|\([\w*]+\)|1)(?:\[(?P<cuts>[^\[\]]*)\])?")
_CUT = re.compile(r"(?P<kind>[a-z_]+)(?::(?P<how>[a-z_]+))?")
# Which entries of the recording tell the place of a rank, best first.
_KINDS: dict[str, tuple[str, ...]] = {
    "tp": ("tp", "attn_tp"), "sp": ("sp", "tp"), "cp": ("cp", "attn_cp"),
    "ep": ("ep", "moe_ep"), "etp": ("etp", "moe_tp"), "attn_tp": ("attn_tp",),
    "moe_tp": ("moe_tp",), "moe_ep": ("moe_ep",), "attn_cp": ("attn_cp",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """`axes` is the number of named axes, `cuts` are kinds of parallelism and the way each is
    joined, the outer one first; `coordinates` the place of this rank and the number of places, by
    kind.
    """

    cuts: tuple[tuple[str, Way], ...]
    coordinates: tuple[tuple[str, int, int], ...]
    axes: int

    def place(self, kind: str) -> tuple[int, int] | None:
        """Place and number of places of a kind of parallelism; None where it is not told."""
        known = {name: (place, count) for name, place, count in self.coordinates}
        return next((known[name] for name in _KINDS.get(kind, (kind,)) if name in known), None)


def parse_dims(text: str, coordinates: tuple[tuple[str, int, int], ...]) -> Placement | None:
    """The placement that a text means; None where it says what is not known here."""
    said, _, remark = text.partition("#")
    if len(text) > _MOST or ":=" in remark:
        return None
    cuts: list[tuple[str, Way]] = []
    for axis, part in enumerate(said.split()):
        found = _DIM.fullmatch(part)
        if found is None:
            return None
        for cut in (found["cuts"] or "").replace(" ", "").split(","):
            one = _CUT.fullmatch(cut) if cut else None
            if cut and one is None:
                return None
            if one is None or one["how"] == "replicated":
                continue
            way = _way(one["how"], axis)
            if way is None:
                return None
            cuts.append((one["kind"], way))
    return Placement(tuple(cuts), coordinates, len(said.split()))


def _way(how: str | None, axis: int) -> Way | None:
    if how == "partial":
        return PARTIAL
    if how == "zigzag":
        return Way("zigzag", axis)
    return Way("concat", axis) if how in (None, "sharded", "natural") else None


def coordinates_of(info: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    """`{"tp_rank": 0, "tp_size": 2}` as places by kind."""
    found: list[tuple[str, int, int]] = []
    for name, place in info.items():
        kind = name.removesuffix("_rank")
        count = info.get(f"{kind}_size")
        if kind != name and type(place) is int and type(count) is int and 0 <= place < count:
            found.append((kind, place, count))
    return tuple(found)
