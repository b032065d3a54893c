"""Dumps of msprobe (MindStudio's precision debugger): `dump.json`, and tensors beside it in
`dump_tensor_data/` where they were asked for (`task: tensor`), or statistics alone.

    {"task": "tensor", "data": {"Module.layers.0.mlp.LlamaMLP.forward.0": {
        "input_args": [{"dtype": ..., "shape": ..., "Max": ..., "data_name": "....pt"}],
        "input_kwargs": {...}, "output": [...]}}}

`data` is in the order in which calls returned. Modules are `Module.<path>.<class>.<direction>.<n>`;
functions (`Functional.linear.3.forward`) go by their own names. Parameters are no activations and
are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite, prod
from typing import Any

from ...dtypes import dtype_named
from ...errors import RecordError
from ...files import FoundFile
from ...records import Record
from ...storage import exists, first_bytes, storage_of
from ..context import Context
from ..extents import checked_shape
from ..registry import FORMATS
from ..text.json_text import parsed, plain_text

_DATA = "dump_tensor_data"
_PEEK = 1 << 16
_MODULE = re.compile(
    r"^(?:Module|Cell)\.(?P<path>.+)\.(?P<kind>\w+)\.(?P<way>forward|backward)\.(?P<call>\d{1,9})$"
)
_FUNCTION = re.compile(r"^(?P<path>\w+\.\w+)\.(?P<call>\d{1,9})\.(?P<way>forward|backward)$")
_STATISTICS = {"Max": "max", "Min": "min", "Mean": "mean", "Norm": "l2", "md5": "hash",
               "crc32": "hash", "xxhash": "hash"}  # fmt: skip
_SLOTS = {
    ("input_args", "forward"): "input", ("input_kwargs", "forward"): "input",
    ("output", "forward"): "output", ("input", "backward"): "grad_output",
    ("output", "backward"): "grad_input", ("grad_input", "backward"): "grad_input",
    ("grad_output", "backward"): "grad_output", ("input", "forward"): "input",
}  # fmt: skip
_DEEPEST = 16


def recognise(found: FoundFile, context: Context) -> bool:
    """`dump.json` of msprobe, and what lies in the folder for its tensors."""
    base = os.path.basename(found.path)
    if base != "dump.json":
        return os.path.basename(found.folder) == _DATA and exists(
            os.path.join(os.path.dirname(found.folder), "dump.json")
        )
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, _PEEK)
    except OSError:
        return False
    return b'"data"' in head and (b'"input_args"' in head or b'"task"' in head)


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """Records in the order in which calls returned; nothing for the files that `dump.json` names.

    Raises `RecordError`, `OSError`.
    """
    if os.path.basename(found.path) != "dump.json":
        return []
    root = parsed(found.path)
    data = root.get("data") if isinstance(root, dict) else None
    if not isinstance(data, dict):
        raise RecordError("not a dump of msprobe: no data in it")
    records: list[Record] = []
    for name, entry in data.items():
        if isinstance(entry, dict):
            records.extend(_of_call(found, plain_text(name), entry))
    if not records:
        raise RecordError("holds no tensor")
    context.ordered.add(found.path)
    context.ordered.update(record.path for record in records)
    context.metadata["order_source"] = "dump.json"
    framework = root.get("framework")
    if framework == "pytorch":
        context.metadata.setdefault("framework", "torch")
    return records


def read_header(record: Record) -> list[Record]:
    """Complete a record by the file of its tensor. Raises `RecordError`, `OSError`."""
    suffix = os.path.splitext(record.path)[1].lower()
    format_ = next((f for f in FORMATS if suffix in f.suffixes and not f.looks), None)
    if format_ is None:
        raise RecordError(f"a file of an unknown kind: {os.path.basename(record.path)[-60:]}")
    read = format_.read_header(replace(record, key=""))
    if len(read) != 1:
        raise RecordError(f"{len(read)} tensors in a file meant for one")
    (whole,) = read
    return [
        replace(record, locator=whole.locator, shape=whole.shape, dtype=whole.dtype,
                error=whole.error)
    ]  # fmt: skip


def _of_call(found: FoundFile, name: str, entry: dict[str, Any]) -> Iterator[Record]:
    match = _MODULE.match(name) or _FUNCTION.match(name)
    module, kind, call, way = name, None, 1, "forward"
    if match is not None:
        module, way = match["path"], match["way"]
        call = int(match["call"]) + 1
        kind = match.groupdict().get("kind")
    for part, values in entry.items():
        slot = _SLOTS.get((part, way))
        if slot is None:
            continue
        single = isinstance(values, list) and len(values) == 1 and slot in ("output", "grad_output")
        for inner, leaf in _leaves(values[0] if single else values, slot, 0):
            yield _record(found, module, inner, call, kind, leaf)


def _leaves(node: Any, slot: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Descriptions of tensors, with their slots; an output of fields goes by their names."""
    if depth > _DEEPEST:
        raise RecordError("nested too deep")
    if isinstance(node, dict) and "shape" in node and "dtype" in node:
        yield slot, node
    elif isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from _leaves(value, f"{slot}_{plain_text(key)}", depth + 1)


def _record(
    found: FoundFile, module: str, slot: str, call: int, kind: str | None, leaf: dict[str, Any]
) -> Record:
    again = f"({call})" if call > 1 else ""
    record = Record(
        f"{module}{again}-{slot}", module, slot, call, found.step, found.path, module_class=kind,
        rank=found.rank,
    )  # fmt: skip
    try:
        _describe(record, found, leaf)
    except RecordError as error:
        record.error = str(error)
    return record


def _describe(record: Record, found: FoundFile, leaf: dict[str, Any]) -> None:
    """The file with the values, or the statistics. Raises `RecordError`."""
    name = leaf.get("data_name")
    if isinstance(name, str):
        path = os.path.join(found.folder, _DATA, name)
        if "/" in name or os.sep in name or name.startswith("."):
            raise RecordError("refused: dump.json names a file outside its directory")
        if storage_of(path).is_link(path) or not exists(path):
            raise RecordError(f"{name[-80:]} is missing")
        record.path = path
        return
    dtype = dtype_named(str(leaf["dtype"]))
    record.shape, record.dtype = checked_shape(leaf["shape"], dtype.itemsize), dtype.name
    stats: dict[str, Any] = {}
    for theirs, ours in _STATISTICS.items():
        value = leaf.get(theirs)
        if type(value) is str and ours == "hash":
            stats[ours] = plain_text(value, 64)
        elif isinstance(value, (int, float)) and ours != "hash" and isfinite(value):
            stats[ours] = value
    if not stats:
        raise RecordError("neither values nor statistics were dumped")
    record.stats = {**stats, "count": prod(record.shape)}
