"""layertui's own captures: `manifest.jsonl` and shards `data-<n>.safetensors` beside it.

The manifest has a JSON object a line: a header, records as their bytes reach the disk, calls as
they return, `meta` lines, and `end` where the writer finished. A writer that was killed leaves a
last line cut short; what came before it counts.
"""

from __future__ import annotations

import os
import re
from math import prod
from typing import Any

from ..dtypes import DTYPES
from ..errors import RecordError
from ..files import MANIFEST, FoundFile
from ..interpreter.garbage import no_full_collection
from ..names import slot_role
from ..plurals import counted
from ..ranks.labels import RANK
from ..records import Locator, Record
from ..storage import exists, storage_of
from ..token_places import TokenPlaces
from . import safetensors_file
from .context import Context
from .extents import checked_shape
from .manifest import Manifest, read_manifest

_MOST_PROCESSES = 1 << 20  # a header that says more is damaged
_TEXTS = ("framework", "framework_version", "model", "device", "prompt")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_Group = tuple[Any, ...]  # step, module, number of the call, its id


def recognise(found: FoundFile, context: Context) -> bool:
    """Claims the manifest, and the shards that lie beside one."""
    base = os.path.basename(found.name)
    if base == MANIFEST:
        return True
    shard = base.startswith("data-") and base.endswith(".safetensors")
    return shard and exists(os.path.join(found.folder, MANIFEST))


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """All records of a manifest, complete with locators, inputs directly before the first output
    of their call; nothing for a shard, whose tensors the manifest names.

    Raises `RecordError` for a file that is no manifest, `CaptureError` for a newer major version.
    """
    if os.path.basename(found.name) != MANIFEST:
        return []
    with no_full_collection():
        manifest = read_manifest(found.path)
        records = _inputs_before_outputs(_Records(found, manifest.header).read(manifest.records))
    _tell(context, manifest)
    processes = manifest.header.get("world_size")
    if found.rank is not None and type(processes) is int and 1 < processes <= _MOST_PROCESSES:
        context.metadata["rank_counts"] = {RANK: processes}
    if manifest.header.get("order") != "unknown":  # a writer that was given sorted names
        context.ordered.add(found.path)
        context.ordered.update(record.path for record in records)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def _tell(context: Context, manifest: Manifest) -> None:
    """Hand what the manifest says of the whole run to the capture."""
    for key in _TEXTS:
        value = manifest.header.get(key)
        if isinstance(value, str):
            context.metadata[key] = value
    ids = manifest.header.get("input_ids")
    if isinstance(ids, list):
        context.metadata["input_ids"] = ids
    run = manifest.header.get("run")
    if isinstance(run, dict):
        context.metadata["run"] = run
    said = manifest.header.get("notes")
    if isinstance(said, list):
        context.notes.extend(text[:500] for text in said[:20] if isinstance(text, str))
    context.metadata["order_source"] = "manifest"
    complete = manifest.end is not None and not manifest.damaged and not manifest.cut
    if manifest.damaged:
        context.notes.append(f"{MANIFEST}: {manifest.damaged} damaged lines were skipped")
    if manifest.end is None:
        context.notes.append("incomplete: the writer of this capture did not finish")
    else:
        complete &= _check_end(context, manifest, manifest.end)
    earlier = context.metadata.get("complete", True)  # of another process of the same run
    context.metadata["complete"] = complete and earlier is not False


def _check_end(context: Context, manifest: Manifest, end: dict[str, Any]) -> bool:
    """False when the run failed, or the end line counted other records than are there."""
    silent = end.get("never_fired")
    if isinstance(silent, list) and silent:
        shown = ", ".join(str(name)[:80] for name in silent[:3])
        more = ", ..." if len(silent) > 3 else ""
        context.notes.append(f"{counted(len(silent), 'module')} never ran: {shown}{more}")
    error = end.get("error")
    if isinstance(error, str):
        context.notes.append(f"incomplete: ended by {error[:300]}")
    promised = end.get("records")
    if type(promised) is int and promised != len(manifest.records):
        context.notes.append(
            f"{MANIFEST}: {promised} records were written, {len(manifest.records)} are listed"
        )
        return False
    return not isinstance(error, str)


class _Records:
    """Makes records of manifest lines; knows the shards and what earlier records were."""

    def __init__(self, found: FoundFile, header: dict[str, Any]) -> None:
        self.manifest = found.path
        said = header.get("split") if found.rank is not None else None
        self.split: dict[str, Any] = said if type(said) is dict else {}
        self.folder = found.folder
        self.rank = found.rank
        self.shards: dict[str, _Shard] = {}
        self.earlier: dict[int, Record] = {}
        self.operations: dict[_Group, int] = {}

    def read(self, entries: list[dict[str, Any]]) -> list[tuple[Record, _Group]]:
        """Records in the order of the lines, each with what identifies its call."""
        made: list[tuple[Record, _Group]] = []
        for entry in entries:
            record = self._named(entry)
            try:
                self._complete(record, entry)
            except RecordError as error:
                record.error = str(error)
            except OSError as error:
                record.error = f"cannot be read: {error.strerror or error}"
            seq = entry["seq"]
            if type(seq) is int:
                self.earlier[seq] = record
            call_id = entry.get("call_id")
            known = call_id if type(call_id) is int else None
            made.append((record, (record.step, record.module, record.call, known)))
        return made

    def _named(self, entry: dict[str, Any]) -> Record:
        module, slot, kind = entry.get("module"), entry.get("slot"), entry.get("class")
        call, step, operation = entry.get("call"), entry.get("step"), entry.get("op")
        module = module if type(module) is str else ""
        slot = slot if type(slot) is str else "value"
        call = call if type(call) is int else 1
        step = step if type(step) is int else 0
        if type(operation) is str:
            module = f"{module}/{operation}"
            call = self._operation_call((step, module, slot), call)
        return Record(
            f"{module}({call})-{slot}" if call > 1 else f"{module}-{slot}",
            module, slot, call, step, self.manifest, None, None, None,
            kind if type(kind) is str else None, rank=self.rank,
            split=self._whole_of(module, slot) if self.split else None,
            tokens=TokenPlaces.read(entry.get("tokens")),
        )  # fmt: skip

    def _whole_of(self, module: str, slot: str) -> int | None:
        """The size of the whole last axis, where the weight of the module is split along it; 0 for
        what else the module takes or gives, None where it is not split.
        """
        said = self.split.get(module)
        if said is None:
            return None
        if type(said) is not list or len(said) != 2 or type(said[1]) is not int:
            return 0
        return said[1] if (said[0], slot) in ((0, "output"), (1, "input_0")) else 0

    def _operation_call(self, group: _Group, call: int) -> int:
        """An operation may run many times in one call of its module: count them."""
        number = max(call, self.operations.get(group, 0) + 1)
        self.operations[group] = number
        return number

    def _complete(self, record: Record, entry: dict[str, Any]) -> None:
        """Set locator, shape and dtype, or `stats`. Raises `RecordError`, `OSError`."""
        file = entry.get("file")
        if entry.get("same_as") is not None:
            self._repeat(record, entry)
        elif file is not None:
            shard = self._shard(file)
            record.path = shard.path
            locator = shard.locate(entry.get("key"))
            if locator.dtype != entry.get("dtype") or list(locator.shape) != entry.get("shape"):
                raise RecordError(f"the manifest and {file} disagree about dtype or shape")
            record.locator, record.dtype, record.shape = locator, locator.dtype, locator.shape
        else:
            stats = entry.get("stats")
            if type(stats) is not dict:
                reason = entry.get("error")  # what the writer could not copy, it says so
                if isinstance(reason, str):
                    raise RecordError(f"not recorded: {reason[:300]}")
                raise RecordError("the manifest names no file and no statistics for it")
            record.dtype, record.shape = _described(entry)
            record.stats = stats

    def _repeat(self, record: Record, entry: dict[str, Any]) -> None:
        """A record with the bytes of an earlier one, which may have had another shape."""
        same = entry["same_as"]
        first = self.earlier.get(same) if type(same) is int else None
        if first is None:
            raise RecordError(f"same as record {str(same)[:40]}, which does not come before it")
        dtype, shape = _described(entry)
        if first.locator is None:
            if first.error is not None:
                raise RecordError(f"same as {first.name}: {first.error}")
            record.stats = first.stats
        else:
            record.path = first.path
            stored = first.locator.count * DTYPES[first.locator.dtype].itemsize
            if prod(shape) * DTYPES[dtype].itemsize != stored:
                raise RecordError(f"same as {first.name}, but of another size")
            record.locator = Locator(first.locator.path, dtype, shape, first.locator.offset)
        record.dtype, record.shape = dtype, shape

    def _shard(self, file: Any) -> _Shard:
        """The shard called `file`; raises `RecordError` for a name that leads elsewhere."""
        if type(file) is not str:
            raise RecordError("damaged manifest: the name of the file is not text")
        shard = self.shards.get(file)
        if shard is None:
            if not _PLAIN.fullmatch(file):
                raise RecordError("refused: the manifest names a file outside its directory")
            shard = self.shards[file] = _Shard(os.path.join(self.folder, file))
        return shard


class _Shard:
    """Tensors of a shard; one that cannot be read has `problem` instead."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None
        self.tensors: dict[str, Locator | RecordError] = {}
        name = os.path.basename(path)
        try:
            status = storage_of(path).status(path)
            if storage_of(path).is_link(path) or (status is not None and not status.is_file):
                raise RecordError("is not a plain file")
            if status is None:
                raise RecordError("is missing")
            header = safetensors_file.read_file_header(path)
            self.tensors = safetensors_file.locate_all(header)
        except RecordError as error:
            self.problem = f"{name}: {error}"
        except OSError as error:
            self.problem = f"{name} cannot be read: {error.strerror or error}"

    def locate(self, key: Any) -> Locator:
        """Where the tensor is; raises `RecordError`."""
        if self.problem is not None:
            raise RecordError(self.problem)
        place = self.tensors.get(key) if type(key) is str else None
        if place is None:
            raise RecordError(f"{os.path.basename(self.path)} has no tensor {str(key)[:40]!r}")
        if type(place) is not Locator:
            raise RecordError(str(place))
        return place


def _described(entry: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    dtype = DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise RecordError(f"unknown dtype {str(entry.get('dtype'))[:40]!r}")
    return dtype.name, checked_shape(entry.get("shape"), dtype.itemsize)


def _inputs_before_outputs(made: list[tuple[Record, _Group]]) -> list[Record]:
    """Order by when outputs are produced, a call's inputs directly before its first output.

    The manifest has inputs where they were taken: before the calls inside their module. Inputs of
    a call that gave no output stay there.
    """
    roles = {record.slot: slot_role(record.slot) for record, _ in made}
    returned = {group for record, group in made if roles[record.slot] == "output"}
    waiting: dict[_Group, list[Record]] = {}
    for record, group in made:
        if group in returned and roles[record.slot] == "input":
            waiting.setdefault(group, []).append(record)
    ordered: list[Record] = []
    for record, group in made:
        role = roles[record.slot]
        if role == "input" and group in returned:
            continue
        if role == "output":
            ordered.extend(waiting.pop(group, ()))
        ordered.append(record)
    return ordered
