"""Steps and ranks in the names of files, folders and keys: `step_0/`, `Pass00001.pt`, `rank1/`,
`acts_step03.npy`, `TP0_PP0_Rank0_pid42/`.

A part of a name that is nothing but a step or a rank always counts. One that is joined to other
words (`layer_3_step07`) counts where most names have one, since a module may be called like that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .files import FoundFile
from .names import NOT_TENSORS, natural_key
from .ranks.labels import DEVICES, KINDS, RANK, SEVERAL, WHOLE_RANK, RankName, inside_of, rank_named

if TYPE_CHECKING:
    from .ranks.layout import RankLayout

_STEP = r"(?:decode[-_ ]?step|decode|step|pass|iteration|iter)[-_ :=]?(?P<{0}>\d{{1,9}})"
_WHOLE_STEP = re.compile(
    rf"(?:{_STEP.format('step')}|(?:token|tok)[-_ ]?(?P<token>\d{{1,9}}))", re.IGNORECASE
)
_PREFILL = re.compile(r"prefill(?:[-_ ]?0+)?", re.IGNORECASE)
_STEP_BEFORE = re.compile(rf"{_STEP.format('step')}[-_.](?=.)", re.IGNORECASE)
_STEP_BEHIND = re.compile(rf"(?<=.)[-_.]{_STEP.format('step')}", re.IGNORECASE)
_RANK_BEFORE = re.compile(rf"(?P<rank>{SEVERAL})[-_.](?=.)", re.IGNORECASE)
_RANK_BEHIND = re.compile(rf"(?<=.)[-_.](?P<rank>{SEVERAL})\Z", re.IGNORECASE)
_MOST = 0.5  # share of names with a step or rank joined to other words, for it to be one


@dataclass(frozen=True, slots=True)
class Place:
    """`rest` is the name without its step and rank; empty where it has nothing else.

    `prefill` is set for the step before those of `decode`; `decode` where the number counts
    steps of decoding.
    """

    rest: str
    step: int | None = None
    rank_name: RankName | None = None
    prefill: bool = False
    decode: bool = False
    joined: bool = False  # step or rank stand in one word with something else

    @property
    def rank(self) -> str | None:
        """The rank's label."""
        return None if self.rank_name is None else self.rank_name.label


_ANY = re.compile(
    rf"(?:step|decode|pass|iter|iteration|tok|token|rank|{KINDS}|worker|{DEVICES}|proc|pid)"
    r"[-_ :=]?\d|prefill",
    re.IGNORECASE,
)


def place_of(name: str) -> Place:
    """Take step and rank out of a path with `/` between its parts."""
    if _ANY.search(name) is None:  # nearly all names
        return Place(name)
    found = Place("")
    kept: list[str] = []
    first, bar, rest = name.partition("|")  # `step:0|layers.0.mlp`
    if bar and _WHOLE_STEP.fullmatch(first.strip()):
        name = f"{first.strip()}/{rest.strip()}"
    for part in name.split("/"):
        rest, found = _take_out(part, found)
        if rest:
            kept.append(rest)
    return replace(found, rest="/".join(kept))


def _take_out(part: str, found: Place) -> tuple[str, Place]:
    if found.step is None:
        whole = _WHOLE_STEP.fullmatch(part)
        if whole:
            number = int(whole["step"] or whole["token"])
            decode = part.lower().startswith("decode")
            return "", replace(found, step=number, decode=decode)
        if _PREFILL.fullmatch(part):
            return "", replace(found, step=0, prefill=True)
    if WHOLE_RANK.fullmatch(part):
        return "", replace(found, rank_name=inside_of(found.rank_name, rank_named(part)))
    if found.step is None:
        for pattern in (_STEP_BEFORE, _STEP_BEHIND):
            match = pattern.match(part) if pattern is _STEP_BEFORE else _at_end(pattern, part)
            if match:
                decode = match[0].lstrip("-_.").lower().startswith("decode")
                rest = part[: match.start()] + part[match.end() :]
                found = replace(found, step=int(match["step"]), decode=decode, joined=True)
                return _take_out(rest, found)
    if found.rank_name is None:
        for match in (_RANK_BEFORE.match(part), _RANK_BEHIND.search(part)):
            if match:
                rest = part[: match.start()] + part[match.end() :]
                found = replace(found, rank_name=rank_named(match["rank"]), joined=True)
                return _take_out(rest, found)
    return part, found


def _at_end(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last if last is not None and last.end() == len(text) else None


def placed_files(
    files: Sequence[FoundFile], layout: RankLayout | None = None
) -> list[FoundFile]:  # fmt: skip
    """The files of a capture with the steps and ranks that their names and folders tell; the
    `layout` says where numbered ranks stand. Raises `CaptureError` for ranks that it has not.
    """
    found = [place_of(file.stem) for file in files]
    kinds = [file.suffix in NOT_TENSORS for file in files]
    if all(kinds):  # texts alone are dumps as texts
        kinds = [False] * len(files)
    marks = [place.joined for place, text in zip(found, kinds, strict=True) if not text]
    if sum(marks) < max(_MOST * len(marks), 1):
        found = [Place(f.stem) if p.joined else p for f, p in zip(files, found, strict=True)]
    found = _decoding_behind_prefill(found)
    labels = _labels({place.rank_name for place in found if place.rank_name is not None})
    placed = [_placed(file, place, labels) for file, place in zip(files, found, strict=True)]
    if layout is None:
        return placed
    return [_laid_out(file, layout) for file in placed]


def lone_rank(files: Sequence[FoundFile]) -> tuple[str, int] | None:
    """Kind of parallelism and place of the one rank whose files these are; None where they are not
    called so, or are those of several. It may have parts of what others had.
    """
    tensors = [file for file in files if file.suffix not in NOT_TENSORS]
    if any(file.rank is not None for file in tensors):
        return None
    names = {place_of(file.stem).rank_name for file in tensors}
    name = names.pop() if len(names) == 1 else None
    kinds = dict(name.kinds) if name is not None else {}
    return next(((kind, kinds[kind]) for kind in ("tp", RANK, "ep", "sp") if kind in kinds), None)


def _laid_out(file: FoundFile, layout: RankLayout) -> FoundFile:
    kinds = layout.kinds(file.kinds)
    return replace(file, kinds=kinds, rank_counts=(*file.rank_counts, *layout.counts))


def _placed(file: FoundFile, place: Place, labels: dict[RankName, str]) -> FoundFile:
    if place.step is None and place.rank_name is None:
        return file
    if place.step is not None:
        file = replace(file, step=place.step)
    if place.rank_name is not None and len(labels) > 1:
        name = place.rank_name
        file = replace(file, rank=labels[name], kinds=name.kinds, rank_counts=name.counts)
    if not place.rest:
        base = file.name[file.name.rfind("/") + 1 :]
        return replace(file, name=base, nameless=True)
    dot = file.suffix and file.name[len(file.name) - len(file.suffix) :]
    return replace(file, name=place.rest + dot)


def _decoding_behind_prefill(places: list[Place]) -> list[Place]:
    """Steps of decoding that count from 0 come behind the prefill."""
    prefill = any(place.prefill for place in places)
    if not prefill or not any(place.decode and place.step == 0 for place in places):
        return places
    return [
        replace(place, step=(place.step or 0) + 1) if place.decode else place for place in places
    ]


def _labels(names: set[RankName]) -> dict[RankName, str]:
    """What to call the ranks: in full where short names are not enough to tell them apart. Numbers
    of processes differ from run to run: they are counted instead.
    """
    short = len({name.label for name in names}) == len({name.kinds or name.label for name in names})
    labels = {name: name.label if short else name.in_full for name in names}
    processes = {label for label in labels.values() if label.startswith("process ")}
    counted = {
        label: f"process{number}"
        for number, label in enumerate(sorted(processes, key=natural_key))
    }  # fmt: skip
    return {name: counted.get(label, label) for name, label in labels.items()}


def place_keys(keys: Sequence[str]) -> list[tuple[str, int | None]]:
    """Keys of one file without their steps, and the steps; as they are where few have one."""
    found = _decoding_behind_prefill([place_of(key) for key in keys])
    stepped = [place.step is not None and bool(place.rest) for place in found]
    joined = any(p.joined and s for p, s in zip(found, stepped, strict=True))
    if not any(stepped) or (joined and sum(stepped) < _MOST * len(keys)):
        return [(key, None) for key in keys]
    return [
        (place.rest, place.step) if marked and place.rank is None else (key, None)
        for key, place, marked in zip(keys, found, stepped, strict=True)
    ]
