"""Cases: the inputs that one call of `layertui capture` runs, and the index of their captures.

Several values of batch size, length, new tokens or prompt make a matrix: one capture directory a
case, below one directory with an `index.json`. A single case is a capture by itself, without an
index.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from .errors import CaptureError
from .storage import is_file, open_stream, size_of, storage_of
from .writing import write_whole

INDEX = "index.json"
SCHEMA = "layertui.index/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_MOST_INDEX = 16 << 20

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One input. `name` is its directory, empty when it is the only case.

    `ids` are rows of token ids, `prompt` a text; with neither, ids are drawn at random. `batch`
    and `length` (tokens a row) are None where the ids or the prompt decide, `new_tokens` (passes of
    a generation) where the plan does.
    """

    name: str = ""
    prompt: str | None = None
    ids: Rows | None = None
    batch: int | None = None
    length: int | None = None
    new_tokens: int | None = None

    @property
    def title(self) -> str:
        return self.name or "the capture"


def expand_cases(
    prompts: Sequence[str], ids: Rows | None, batches: Sequence[int], lengths: Sequence[int],
    new_tokens: Sequence[int] = (),
) -> tuple[Case, ...]:  # fmt: skip
    """Every combination, in the order given; empty sequences stand for one open value.

    Raises `CaptureError` for prompts and ids together, and for values given twice.
    """
    if prompts and ids is not None:
        raise CaptureError("give either a prompt or input ids, not both")
    for what, values in (
        ("batch size", batches), ("sequence length", lengths), ("number of new tokens", new_tokens),
    ):  # fmt: skip
        if len(set(values)) != len(values):
            raise CaptureError(f"a {what} is given twice")
    made = []
    for (number, prompt), batch, length, new in product(
        enumerate(prompts or [None]), batches or [None], lengths or [None], new_tokens or [None]
    ):
        parts = [
            f"p{number}" if len(prompts) > 1 else "",
            f"b{batch}" if len(batches) > 1 else "",
            f"s{length}" if len(lengths) > 1 else "",
            f"n{new}" if len(new_tokens) > 1 else "",
        ]
        name = "-".join(part for part in parts if part)
        made.append(Case(name, prompt, ids, batch, length, new))
    return tuple(made)


def parse_ids(text: str) -> Rows:
    """`1,2,3` as one row of token ids; `;` between rows. Raises `CaptureError`."""
    try:
        rows = tuple(tuple(int(part) for part in row.split(",")) for row in text.split(";"))
    except ValueError:
        raise CaptureError(f"{text!r} is not a list of token ids such as 1,2,3") from None
    if any(number < 0 for row in rows for number in row):
        raise CaptureError("token ids are not negative")
    if len({len(row) for row in rows}) > 1:
        raise CaptureError("rows of input ids must have the same length: nothing is padded")
    return rows


def write_index(folder: str, framework: str, entries: Sequence[dict[str, Any]]) -> None:
    """Write `index.json`, whole or not at all; `entries` have a `name` and a `status` each."""
    text = json.dumps(
        {"schema": SCHEMA, "framework": framework, "cases": list(entries)},
        indent=1, allow_nan=False,
    )  # fmt: skip
    write_whole(os.path.join(folder, INDEX), (text + "\n").encode())


def read_index(folder: str) -> dict[str, str] | None:
    """Case names and their capture directories; None where `folder` has no index of ours.

    Raises `CaptureError` for an index that is damaged or names anything but a directory of its
    own.
    """
    path = os.path.join(folder, INDEX)
    if not is_file(path):
        return None
    try:
        if size_of(path) > _MOST_INDEX:
            return None
        with open_stream(path) as file:
            content = json.loads(file.read().decode())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return None
    entries = content.get("cases")
    if not isinstance(entries, list) or not entries:
        raise CaptureError(f"{path}: no cases in it")
    return {_checked_name(path, entry): _place(folder, path, entry) for entry in entries}


def _checked_name(path: str, entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CaptureError(f"{path}: a case without a plain name")
    return name


def _place(folder: str, path: str, entry: dict[str, Any]) -> str:
    place = os.path.join(folder, entry["name"])
    if storage_of(place).is_link(place):
        raise CaptureError(f"{path}: {entry['name']} is a link")
    return place
