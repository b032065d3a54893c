"""What names of files and folders call the ranks of a run: `rank3`, `tp0-pp1`, `cp_rank_0_tp_1`,
`TP0_PP0_Rank0_pid42`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = "tp|pp|dp|ep|cp|sp"  # of parallelism: tensor, pipeline, data, expert, context, sequence
DATA = "dp"  # ranks that have other inputs
CHUNKS = "vpp"  # of layers on each stage of an interleaved pipeline: no place of a rank
DEVICES = "gpu|cuda|npu|xpu|device"
# Of all processes, or of no kind told.
_ANY_RANK = rf"(?:local|global|world)_?rank|rank|worker|{DEVICES}"
_KIND = rf"(?:{KINDS})(?:[-_]?rank)?"
_ONE = rf"(?:{_ANY_RANK}|{_KIND})[-_ =]?\d{{1,6}}(?:[-_]?of[-_]?\d{{1,6}})?"
_BETWEEN = r"[-_.,+]{0,3}"
SEVERAL = rf"{_ONE}(?:{_BETWEEN}{_ONE})*"
_MEGATRON = r"mp_rank_(?P<tp>\d{2})_(?P<pp>\d{3})"
WHOLE_RANK = re.compile(
    rf"{SEVERAL}(?:[-_]pid[-_]?\d+)?|(?:proc|pid)[-_]?\d+|{_MEGATRON}", re.IGNORECASE
)  # fmt: skip
_NUMBERED = re.compile(r"(?P<word>[a-z]+?)(?:[-_]?rank)?[-_ =]?(?P<number>\d+)")
_NO_KIND = ("rank", "local", "global", "world", "worker", *DEVICES.split("|"))
RANK = "rank"  # the number of a process, which says nothing of kinds of parallelism

Kinds = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class RankName:
    """`label` is short: `rank0` for `TP0_PP0_Rank0_pid4242`. `kinds` are the place in every kind of
    parallelism, and the `rank`, as far as the name tells them; `counts` how many places a kind has
    in all (`rank0of4`).
    """

    label: str
    kinds: Kinds = ()
    counts: Kinds = ()

    @property
    def in_full(self) -> str:
        """Every kind that is told; `tp0-pp0-rank0`."""
        return "-".join(f"{kind}{number}" for kind, number in self.kinds) or self.label


def rank_named(text: str) -> RankName:
    """The rank that a part of a name is, which `WHOLE_RANK` matches or `SEVERAL`."""
    megatron = re.fullmatch(_MEGATRON, text, re.IGNORECASE)
    if megatron is not None:
        return rank_named(f"tp{megatron['tp']}-pp{megatron['pp']}")
    numbers: dict[str, int] = {}
    counts: dict[str, int] = {}
    for found in _NUMBERED.finditer(text.lower()):
        word = RANK if found["word"] in _NO_KIND else found["word"]
        if word != "of":
            numbers[word] = int(found["number"])
        elif numbers:
            counts[next(reversed(numbers))] = int(found["number"])
    process = numbers.pop("pid", numbers.pop("proc", None))
    if not numbers:
        return RankName(f"process {process}")
    kinds, of = tuple(numbers.items()), tuple(counts.items())
    if RANK in numbers:
        return RankName(f"{RANK}{numbers[RANK]}", kinds, of)
    return RankName("-".join(f"{kind}{number}" for kind, number in kinds), kinds, of)


def inside_of(outer: RankName | None, inner: RankName) -> RankName:
    """The rank that a folder within a folder is: `dp0/tp1`. Nothing is told by kinds that are named
    twice.
    """
    if outer is None:
        return inner
    kinds = (*outer.kinds, *inner.kinds)
    twice = len(dict(kinds)) < len(kinds) or not (outer.kinds and inner.kinds)
    counts = (*outer.counts, *inner.counts)
    label = f"{outer.label}-{inner.label}"
    return RankName(label) if twice else RankName(label, kinds, counts)
