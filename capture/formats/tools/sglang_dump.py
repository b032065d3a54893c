"""What SGLang's dumpers write.

`dumper.py`: a file a tensor, `step=0___rank=0___dump_index=7___name=...pt`, with the tensor as
`value` and what the name says, and more, as `meta`: how ranks share the tensor (`dims`) and where
this one stands among them. The index is the order. Modules stand in the
name as `non_intrusive__<path>.output[.<i>]` and `.inputs.<i>`.

`--debug-tensor-dump-output-folder`: a file a pass in a folder a rank, as
`TP0_PP0_Rank0_pid42/Pass00003.pt`. A file is written when the model has run, before what runs last
is recorded: `model` and `logits_processor` of a pass stand at the beginning of the next file, and
those of the last pass nowhere.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import RecordError
from ...files import FoundFile
from ...ranks.placement import coordinates_of, parse_dims
from ...records import Record
from ...storage import open_file
from ..context import Context
from ..members import named_record
from ..pickles import torch_archive, torch_file
from ..pickles.pickle_machine import Pairs
from ..pickles.tensor_pickle import read_tree
from ..text.json_text import plain_text

if TYPE_CHECKING:
    from ...storage import OpenFile

_PASS = re.compile(r"TP\d+_PP\d+_Rank\d+_pid\d+[/\\]Pass\d{5,}\.pt$")
_DUMPED = re.compile(r"(?:^|___)dump_index=(\d{1,12})(?:___|\.pt$)")
_PART = re.compile(r"(\w+)=(.*)")
_NAME = re.compile(
    r"^(?:non_intrusive__)?(?P<module>.*?)\.?(?P<side>output|inputs)(?:\.(?P<slot>[\w.]+))?$"
)
_PREFIX = "non_intrusive__"
_PARALLEL = ("sglang_parallel_info", "megatron_parallel_info")
_PLACES = "*places"  # no entry of a dump is called so
_ALONE = "*"  # in `Record.key` until the file of a pass is read


def recognise(found: FoundFile, context: Context) -> bool:
    """By the names of the files."""
    base = os.path.basename(found.path)
    return _PASS.search(found.path) is not None or _DUMPED.search(base) is not None


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record a file of the dumper, named by what it says of itself; a file of a pass is read
    later. Raises `RecordError`, `OSError`.
    """
    if _PASS.search(found.path):
        context.ordered.add(found.path)
        context.metadata["order_source"] = "order of the passes"
        said = "model and logits of the last pass are in no file"
        if said not in context.notes:
            context.notes.append(said)
        return [replace(named_record(found, found.stem), key=_ALONE)]
    said = _of_name(os.path.basename(found.path))
    try:
        with open_file(found.path) as file:
            said |= _of_meta(file)
    except RecordError as error:
        record = _named(found, said)
        record.error = str(error)
        return [record]
    context.positions[found.path] = _number(said.get("dump_index"))
    context.metadata["order_source"] = "dump_index"
    context.metadata.setdefault("framework", "torch")
    return [_named(found, said)]


def read_header(record: Record) -> list[Record]:
    """Complete a record, or list those of a pass. Raises `RecordError`, `OSError`."""
    if record.key == _ALONE:
        return _of_pass(record)
    members = torch_file.read_members(record.path)
    values = [member for member in members if member.keys[:1] == ("value",)]
    if not values:
        raise RecordError("holds no tensor")
    records: list[Record] = []
    for member in values:
        inner = "_".join(member.keys[1:])
        slot = f"{record.slot}_{inner}" if inner else record.slot
        named = replace(record, slot=slot, name=record.name + (f"_{inner}" if inner else ""))
        named.locator, named.error = member.locator, member.error
        if member.locator is not None:
            named.shape, named.dtype = member.locator.shape, member.locator.dtype
        records.append(named)
    return records


def _of_pass(record: Record) -> list[Record]:
    """The records of a pass; those that stand before its first module are of the pass before."""
    records = torch_file.read_header(record)
    if record.step == 0:
        return records
    for index, inner in enumerate(records):
        if "." in inner.name.partition("/")[0]:
            break
        records[index] = replace(inner, step=inner.step - 1)
    return records


def _of_name(base: str) -> dict[str, Any]:
    parts = base.removesuffix(".pt").split("___")
    return {match[1]: match[2] for part in parts if (match := _PART.fullmatch(part))}


def _of_meta(file: OpenFile) -> dict[str, Any]:
    """What the file says of its tensor: plain texts and numbers."""
    data, _ = torch_archive.pickle_in(file)
    tree = read_tree(data, lenient=True)
    meta = next((v for k, v in tree if k == "meta"), None) if type(tree) is Pairs else None
    if type(meta) is not Pairs:
        return {}
    said = {k: v for k, v in meta if type(k) is str and type(v) in (str, int) and v != ""}
    for name, info in meta:
        if name in _PARALLEL and type(info) is Pairs and info:
            said[_PLACES] = coordinates_of({k: v for k, v in info if type(k) is str})
    return said


def _number(value: Any) -> int:
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 13 else 0


def _named(found: FoundFile, said: dict[str, Any]) -> Record:
    name = plain_text(said.get("name", found.stem))
    match = _NAME.match(name) if name.startswith(_PREFIX) else None
    module, slot = name.removeprefix(_PREFIX), "value"
    if match is not None:
        module = match["module"]
        slot = match["side"].removesuffix("s")
        slot += f"_{match['slot'].replace('.', '_')}" if match["slot"] else ""
    elif "layer_id" in said:
        module = f"layers.{_number(said['layer_id'])}.{module}"
    again = said.get("recompute_status") == "recompute"
    call = 2 if again else 1
    whole = f"{module}{'(2)' if again else ''}" + ("" if slot == "value" else f"-{slot}")
    rank = f"rank{_number(said['rank'])}" if "rank" in said else found.rank
    step = _number(said["step"]) if "step" in said else found.step
    dims = said.get("dims")
    placement = parse_dims(dims, said.get(_PLACES, ())) if type(dims) is str else None
    return Record(whole, module, slot, call, step, found.path, rank=rank, placement=placement)
