"""Cases: the inputs that one call of `layertui capture` runs, and the index of their captures.

Several values of batch size, length, new tokens or prompt make a matrix: one capture directory a
case, below one directory with an `index.json`. A single case is a capture by itself, without an
index.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from .errors import CaptureError
from .files import MANIFEST, FoundFile
from .names import NOT_TENSORS, natural_key
from .places import place_of
from .ranks.data_parallel import data_parallel_cases
from .storage import is_file, is_folder, open_stream, size_of, storage_of
from .writing import write_whole

if TYPE_CHECKING:
    from .ranks.layout import RankLayout

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
        raise CaptureError("token ids must not be negative")
    if len({len(row) for row in rows}) > 1:
        raise CaptureError("rows of input ids must have the same length: they are not padded")
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


def find_cases(
    folder: str, layout: RankLayout | None = None, of: Collection[str] = ()
) -> dict[str, str] | None:
    """Sub-directories that hold the same tensors, each of another input: their names and paths.

    None where the sub-directories are steps, ranks, layers or modules, and where tensors lie in
    `folder` itself. Data-parallel ranks (`dp0`, `dp0-tp1`, or by the `layout`) are cases; a single
    one, where it is one `of` several on the other side. Raises `CaptureError` where the layout has
    not all ranks.
    """
    try:
        files = storage_of(folder).files(folder)
    except (CaptureError, OSError):
        return None
    return data_parallel_cases(folder, files, layout, of) or _folders_of_cases(folder, files)


def _folders_of_cases(folder: str, files: Sequence[FoundFile]) -> dict[str, str] | None:
    inside: dict[str, set[str]] = {}
    for found in files:
        relative = found.path[len(folder) :].lstrip("/" + os.sep).replace(os.sep, "/")
        first, _, rest = relative.partition("/")
        base = relative.rpartition("/")[2]
        readable = found.suffix not in NOT_TENSORS or base.startswith(("py_", "cpp_"))
        if not rest:
            if readable:
                return None
            continue
        names = inside.setdefault(first, set())
        if readable or _MAY_HOLD.search(base):
            names.add(rest)
    inside = {name: names for name, names in inside.items() if names}
    data_parallel = all(_DATA_PARALLEL.fullmatch(name) for name in inside)
    if len(inside) < 2 or (any(_is_part(name) for name in inside) and not data_parallel):
        return None
    if not _same_tensors(list(inside.values())):
        return None
    return {name: os.path.join(folder, name) for name in sorted(inside, key=natural_key)}


def find_captures(folder: str) -> dict[str, str] | None:
    """Captures of layertui's own that lie side by side in `folder`; None where there are not at
    least two, or where `folder` is one.
    """
    try:
        names = storage_of(folder).names(folder) if is_folder(folder) else []
    except OSError:
        return None
    if len(names) > _MOST_CAPTURES or MANIFEST in names:
        return None
    places = {name: os.path.join(folder, name) for name in sorted(names, key=natural_key)}
    found = {n: place for n, place in places.items() if is_file(os.path.join(place, MANIFEST))}
    if len(found) < 2 or any(not place_of(name).rest or name.isdecimal() for name in found):
        return None
    return found


def holds_both_sides(path: str) -> bool:
    """True for text dumps `py_...` and `cpp_...` in one directory: both sides of a comparison."""
    try:
        files = storage_of(path).files(path)
    except (CaptureError, OSError):
        return False
    bases = [found.path.rpartition("/")[2] for found in files if found.suffix == ".txt"]
    return all(any(base.startswith(side) for base in bases) for side in ("py_", "cpp_"))


_MOST_CAPTURES = 1000  # entries of a directory that is looked through for captures
# Texts that hold tensors: logs, tables of numbers, dumps as JSON.
_MAY_HOLD = re.compile(r"\.(?:log|csv|txt|json|jsonl)$")
# Folders that are parts of one model or of one run, and files that say nothing but that.
_PART = re.compile(
    r"(?<![a-z])(?:layers?|blocks?|blk|h|l)[-_. ]?\d|^\d+$"
    r"|(?:self_?)?attn|attention|mlp|ffn|embed|norm|head|proj|encoder|decoder|expert"
    r"|^(?:model|inputs?|outputs?|weights?|grads?|gradients?|activations?|tensors?|data|c)$"
    r"|\.zarr$|_data$",
    re.IGNORECASE,
)
# Ranks that have the same model and other inputs: a run of its own each.
_DATA_PARALLEL = re.compile(r"dp[-_ ]?\d{1,6}", re.IGNORECASE)
_CASE = re.compile(r"(?:test|case|prompt|input|sample|example|batch|seq|run|p|b|s)[-_ ]?\d+", re.I)
_PLAIN_SLOT = re.compile(
    r"(?:inputs?|outputs?|value|weights?|bias|tensor|data|in|out|grad\w*|zarr|array|kwargs?|args?)"
    r"(?:[-_.]?\d+)?",
    re.IGNORECASE,
)


def _is_part(name: str) -> bool:
    if _CASE.fullmatch(name):
        return False
    return not place_of(name).rest or _PART.search(name) is not None


def _same_tensors(folders: Sequence[set[str]]) -> bool:
    first, *rest = folders
    if any(MANIFEST in names for names in folders):
        return all(MANIFEST in names for names in folders)
    for other in rest:
        common = first & other
        if 2 * len(common) < max(len(first), len(other)):
            return False
        stems = {name.rpartition("/")[2].rpartition(".")[0] for name in common}
        if all(_PLAIN_SLOT.fullmatch(stem) for stem in stems):
            return False
    return True


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
