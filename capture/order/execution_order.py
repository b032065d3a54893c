"""Execution order of dumps whose files do not tell it: `tensor_names.txt` and MAX's log lines.

File times and inodes are not used: MAX writes a whole run within one tick of the kernel's clock,
and copies keep neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..dtypes import split_type
from ..names import natural_key
from ..records import Record
from ..storage import is_file, is_folder, open_text, size_of, storage_of

NAMES_FILE = "tensor_names.txt"
_WRITING = re.compile(
    r"Writing debug binary tensor (?P<type>\S+) of \d+ bytes to '(?P<path>[^']*)'"
)
# `12: name`; a dot counts only with a space behind it, for `0.mlp-output` is a name.
_NUMBERED = re.compile(r"^\s*(\d{1,18})\s*(?:[:)\t]\s*|\.\s+)(\S.*)$")
_MOST_BYTES = 256 << 20  # of a log that is looked through
_BESIDE = 64  # candidates beside the directory that are looked into
_ENOUGH = 0.9  # share of the records that a file beside the directory must name to be believed


@dataclass(slots=True)
class OrderHints:
    """Positions of record names, by step, and where they were found."""

    source: str = "unknown"
    positions: dict[int, dict[str, int]] = field(default_factory=dict)
    written: dict[tuple[int, str], tuple[str, tuple[int, ...]]] = field(default_factory=dict)


def read_names(path: str) -> list[str]:
    """The lines of a `tensor_names.txt`, in execution order; leading numbers decide if present."""
    with open_text(path) as file:
        lines = [line.strip() for line in file if line.strip()]
    numbered = [_NUMBERED.match(line) for line in lines]
    if lines and all(numbered):
        pairs = [(int(m[1]), m[2].strip()) for m in numbered if m is not None]
        return [name for _, name in sorted(pairs, key=lambda pair: pair[0])]
    return lines


@dataclass(frozen=True, slots=True)
class Written:
    """One `Writing debug binary tensor` line: file `name` in `folder`, a step if it is a number."""

    step: int
    folder: str
    name: str
    dtype: str
    shape: tuple[int, ...]


def written_lines(path: str) -> Iterator[Written]:
    """The `Writing debug binary tensor` lines of a log; damaged ones are passed over."""
    with open_text(path) as file:
        for line in file:
            match = _WRITING.search(line)
            if match is None:
                continue
            folder, name = os.path.split(match["path"])
            step = os.path.basename(folder)
            try:
                dtype, shape = split_type(match["type"])
            except ValueError:
                continue
            yield Written(_step_number(step), folder, name, dtype, shape)


def _step_number(folder: str) -> int:
    return int(folder) if folder.isdecimal() and len(folder) < 19 else 0


def find_hints(
    root: str, folders: Iterable[tuple[str, int]], names: set[str], raw: bool = False
) -> OrderHints:
    """Look for the order of the records `names` in and beside the capture `root`.

    `folders` are the directories that hold records, with their step numbers. With `raw` logs are
    looked at even when the order is known: they may describe files without a header.
    """
    hints = OrderHints()
    inside = root if is_folder(root) else os.path.dirname(root) or "."
    places = list(folders)
    steps = {step for _, step in places}
    for folder, step in places:
        listed = _listed_names(folder, inside, alone=len(places) == 1)
        if listed:
            hints.positions[step] = {name: i for i, name in enumerate(listed)}
            hints.source = NAMES_FILE
    if hints.positions.keys() >= steps and not raw:
        return hints
    whole = storage_of(inside).real(inside)
    base = os.path.basename(whole)
    stepped = any(step or os.path.basename(f) == "0" for f, step in places if f != inside)
    for path in _logs(inside):
        if _take_log(path, (base, stepped), names, hints, must_cover=False):
            return hints
    for path in _logs(os.path.dirname(whole)):
        if path.endswith(NAMES_FILE):
            listed = [] if hints.positions else _try_names(path)
            if _covers(set(listed), names):
                hints.positions = {step: {n: i for i, n in enumerate(listed)} for step in steps}
                hints.source = os.path.basename(path) + " beside the directory"
        elif _take_log(path, (base, stepped), names, hints, must_cover=True):
            hints.source += " beside the directory" if hints.source != NAMES_FILE else ""
            return hints
    return hints


def sort_records(
    records: list[Record], hints: OrderHints, kept: Collection[str] = ()
) -> tuple[list[Record], bool]:
    """Records by step and hinted position; `True` when every record had one. Those of the files
    `kept` stay together as they are where nothing tells their order.
    """
    known = True

    def key(record: Record) -> tuple[object, ...]:
        nonlocal known
        position = hints.positions.get(record.step, {}).get(record.name)
        if position is None:
            known = False
            name = os.path.basename(record.path) if record.path in kept else record.name
            return (record.step, 1, 0, natural_key(name))
        return (record.step, 0, position, ())

    return sorted(records, key=key), known


def _listed_names(folder: str, root: str, alone: bool) -> list[str]:
    candidates = [os.path.join(folder, NAMES_FILE)]
    if alone:  # PrintHook(export_path=D) writes D/0/tensor_names.txt beside files in D
        candidates.append(os.path.join(root, "0", NAMES_FILE))
    return next((listed for path in candidates if (listed := _try_names(path))), [])


def _try_names(path: str) -> list[str]:
    """The names in `path`; none when it is missing, no plain file or cannot be read."""
    try:
        if is_file(path) and size_of(path) <= _MOST_BYTES:
            return read_names(path)
    except OSError:
        pass
    return []


def _covers(listed: set[str], names: set[str]) -> bool:
    return bool(names) and len(names & listed) >= _ENOUGH * len(names)


def _logs(folder: str) -> list[str]:
    """Logs and names files directly in `folder`, the first few; a missing folder has none."""
    try:
        names = sorted(storage_of(folder).names(folder))
    except OSError:
        return []
    paths = [
        os.path.join(folder, name)
        for name in names
        if name.endswith((".log", ".err", ".txt")) and name != NAMES_FILE
        and not name.startswith(("py_", "cpp_"))
    ]  # fmt: skip
    return [path for path in paths[:_BESIDE] if is_file(path)]


def _take_log(
    path: str, ours: tuple[str, bool], names: set[str], hints: OrderHints, must_cover: bool
) -> bool:
    """Use a log's lines when it has any (and, beside the directory, when they are about us)."""
    try:
        if size_of(path) > _MOST_BYTES:
            return False
        lines = _ours(list(written_lines(path)), *ours)
    except OSError:
        return False
    if not lines or (must_cover and not _covers({_stem(line.name) for line in lines}, names)):
        return False
    known = set(hints.positions)
    for index, line in enumerate(lines):
        if line.step not in known:
            hints.positions.setdefault(line.step, {})[_stem(line.name)] = index
        hints.written[line.step, line.name] = (line.dtype, line.shape)
    if not known:
        hints.source = os.path.basename(path)
    return True


def _ours(lines: list[Written], base: str, stepped: bool) -> list[Written]:
    """The lines about the capture directory called `base`; all when none names it.

    A capture without step directories (`out/1` opened by itself) has all its files in step 0.
    """
    place = (lambda path: os.path.dirname(path)) if stepped else (lambda path: path)
    same = [line for line in lines if os.path.basename(place(line.folder)) == base] or lines
    return same if stepped else [replace(line, step=0) for line in same]


def _stem(name: str) -> str:
    return name.removesuffix(".max")
