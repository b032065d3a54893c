"""Names of tensor files that a JSON beside them says:

    {"model.layers.0.mlp": "tensor_12.npy", ...}          or the other way round
    [{"name": "model.layers.0.mlp", "kind": "output", "file": "00012.pt"}, ...]

Files are those of the same directory. Such a JSON counts where it names nearly all of them, each
once; the order in which it names them is that of execution.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import RecordError
from ..files import FoundFile
from ..names import parse_name
from ..storage import size_of, storage_of
from .context import Context
from .labelled import NAMES
from .members import call_numbered
from .registry import named_by_file
from .text.json_text import parsed, plain_text

_JSON = (".json", ".jsonl", ".ndjson")
_MOST_INDEXES = 16  # JSON files of a directory that are looked into
_MOST_BYTES = 64 << 20  # of each
_MOST_DEEP = 8
_FEWEST = 2  # files that are named
_SHARE = 0.9  # of a directory's tensor files that must be named
_FILES = ("file", "filename", "file_name", "path", "filepath", "file_path", "data_file",
          "tensor_file", "data", "saved_as", "uri")  # fmt: skip
_SLOTS = ("slot", "kind", "io", "direction", "role", "type", "which")
_PLAIN_SLOTS = {"in": "input", "out": "output", "inputs": "input", "outputs": "output"}


@dataclass(frozen=True, slots=True)
class _Said:
    """What an index says of a file: its tensor's name, and the step where it tells one."""

    file: str
    name: str
    step: int | None = None


def named_beside(files: Sequence[FoundFile], context: Context) -> list[FoundFile]:
    """`files` under the names that a JSON in their directory gives them, where there is one."""
    folders: dict[str, list[FoundFile]] = {}
    for found in files:
        folders.setdefault(os.path.dirname(found.path), []).append(found)
    renamed: dict[str, FoundFile] = {}
    for folder, inside in folders.items():
        indexes = [found for found in inside if found.suffix in _JSON and found.problem is None]
        tensors = [found for found in inside if found.suffix in _single_tensors()]
        if not indexes or len(tensors) < _FEWEST:
            continue
        for index in indexes[:_MOST_INDEXES]:
            said = _index(index.path, {os.path.basename(found.path): found for found in tensors})
            if said:
                _rename(folder, said, tensors, renamed, context)
                context.metadata["order_source"] = f"order of {os.path.basename(index.path)}"
                break
    return [renamed.get(found.path, found) for found in files]


def _single_tensors() -> frozenset[str]:
    return frozenset({".npy", ".pt", ".pth", ".bin"}) & frozenset(named_by_file())


def _rename(
    folder: str, said: list[_Said], tensors: list[FoundFile], renamed: dict[str, FoundFile],
    context: Context,
) -> None:  # fmt: skip
    here = {os.path.basename(found.path): found for found in tensors}
    first = len(context.positions)
    for place, each in enumerate(said):
        found = here[each.file]
        step = found.step if each.step is None else each.step
        parent = found.name.rpartition("/")[0]
        name = "/".join(part for part in (parent, each.name + found.suffix) if part)
        renamed[found.path] = replace(found, name=name, step=step, nameless=False)
        context.positions[found.path] = first + place


def _index(path: str, here: dict[str, FoundFile]) -> list[_Said] | None:
    """What a JSON file says of nearly all of the files `here`; None for any other JSON."""
    try:
        if storage_of(path).is_link(path) or size_of(path) > _MOST_BYTES:
            return None
        root = parsed(path, not path.lower().endswith(".json"))
    except (RecordError, OSError):
        return None
    said = list(_entries(root, _by_spelling(here)))
    times = Counter((each.name, each.step) for each in said)
    files = {each.file for each in said}
    if len(files) != len(said) or len(said) < max(_FEWEST, _SHARE * len(here)):
        return None
    return _next_calls(said) if 2 * len(times) > len(said) else None


def _next_calls(said: list[_Said]) -> list[_Said]:
    """A name that comes again is the next call of its module."""
    seen: Counter[tuple[str, int | None]] = Counter()
    found: list[_Said] = []
    for each in said:
        seen[each.name, each.step] += 1
        number = seen[each.name, each.step]
        found.append(replace(each, name=call_numbered(each.name, number)) if number > 1 else each)
    return found


def _by_spelling(here: dict[str, FoundFile]) -> dict[str, str]:
    """Files by their names, with and without the suffix."""
    stems = {os.path.splitext(base)[0]: base for base in here}
    return {**stems, **{base: base for base in here}}


def _entries(node: Any, files: dict[str, str], depth: int = 0) -> Iterator[_Said]:
    if depth > _MOST_DEEP:
        return
    if isinstance(node, dict):
        entry = _entry(node, files)
        if entry is not None:
            yield entry
            return
        for key, value in node.items():
            if isinstance(value, str):
                yield from _pair(plain_text(key), value, files)
            elif isinstance(value, dict):
                inner = _entry({"name": key, **value}, files) or _entry(
                    {**value, "file": key}, files
                )
                if inner is not None:
                    yield inner
                else:
                    yield from _entries(value, files, depth + 1)
            elif isinstance(value, list):
                yield from _entries(value, files, depth + 1)
    elif isinstance(node, list):
        for value in node:
            if isinstance(value, (dict, list)):
                yield from _entries(value, files, depth + 1)


def _pair(key: str, value: str, files: dict[str, str]) -> Iterator[_Said]:
    """`"name": "file"` or `"file": "name"`."""
    by_value = files.get(_base(value))
    by_key = files.get(_base(key))
    if by_value is not None and by_key is None:
        yield _Said(by_value, key)
    elif by_key is not None and by_value is None and value.strip():
        yield _Said(by_key, plain_text(value))


def _base(text: str) -> str:
    return text.replace("\\", "/").rpartition("/")[2]


def _entry(node: dict[str, Any], files: dict[str, str]) -> _Said | None:
    """What a dictionary with a name and a file says."""
    file = next((files[_base(v)] for k in _FILES if isinstance(v := node.get(k), str)
                 and _base(v) in files), None)  # fmt: skip
    name = next((node[key] for key in NAMES if key not in _FILES
                 and isinstance(node.get(key), str) and node[key].strip()), None)  # fmt: skip
    if file is None or name is None or _base(name) == file:
        return None
    step = node.get("step")
    return _Said(
        file, _with_slot(plain_text(name), node),
        step if type(step) is int and 0 <= step < 1 << 31 else None,
    )  # fmt: skip


def _with_slot(name: str, node: dict[str, Any]) -> str:
    """`name-output` where the entry says that it is one."""
    if parse_name(name).slot != "value":
        return name
    for key in _SLOTS:
        value = node.get(key)
        slot = _PLAIN_SLOTS.get(value, value) if isinstance(value, str) else None
        if slot and parse_name(f"{name}-{slot}").slot == slot:
            return f"{name}-{slot}"
    return name
