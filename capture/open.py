"""`open_capture`: recognise what a path holds and list its records in execution order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

from .cases import read_index
from .errors import CaptureError, RecordError
from .execution_order import NAMES_FILE, OrderHints, find_hints, sort_records
from .files import FoundFile, list_files
from .formats import (
    Context,
    console_log,
    max_checkpoint,
    native,
    numpy_file,
    raw_binary,
    safetensors_file,
    text_dump,
    torch_file,
)
from .formats.members import named_record
from .records import Capture, Record
from .run_metadata import read_metadata

# The first that claims a file reads it: the native manifest claims its shards before the general
# safetensors reader sees them. Raw files have no mark of their own: a log or `raw` names them.
FORMATS: tuple[ModuleType, ...] = (
    native,
    max_checkpoint,
    torch_file,
    numpy_file,
    safetensors_file,
    text_dump,
    console_log,
)
_BY_NAME = {module.NAME: module for module in (*FORMATS, raw_binary)}
_HOOK_ROOT = "model"  # what MAX's PrintHook and TorchPrintHook call the outermost module


def open_capture(
    path: str | os.PathLike[str], *, raw: str | None = None, headers: bool = True
) -> Capture:
    """List the records of the directory or file `path` in execution order.

    No tensor data is read. With `headers=False` single-tensor files are not even opened: their
    records have names only until `read_headers` completes them. `raw` is the dtype and shape
    (`10x64xf32`) of raw files that no log describes.

    Raises `CaptureError`, one line for the user, when there is nothing to open.
    """
    _refuse_several(os.fspath(path))
    capture = _listed(os.fspath(path), raw)
    if headers:
        read_headers(capture)
    return capture


def _refuse_several(path: str) -> None:
    cases = read_index(path)
    if cases is not None:
        raise CaptureError(
            f"{path}: holds {len(cases)} captures; give one of them, such as "
            f"{next(iter(cases.values()))}, or compare two such directories by layertui compare"
        )


def read_headers(
    capture: Capture,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bool:
    """Complete every record with shape, dtype and locator; False when `cancelled` said stop.

    A record whose header cannot be read keeps its place and says why in `error`.
    """
    done: list[Record] = []
    for index, record in enumerate(capture.records):
        if cancelled is not None and index % 64 == 0 and cancelled():
            return False
        done.extend([record] if record.ready else _completed(record))
        if progress is not None and index % 256 == 0:
            progress(index, len(capture.records))
    capture.records[:] = done
    _refuse_duplicates(capture.records)
    if all(record.error for record in capture.records) and len(capture.records) == 1:
        raise CaptureError(f"{capture.records[0].path}: {capture.records[0].error}")
    return True


def _completed(record: Record) -> list[Record]:
    try:
        return _BY_NAME[record.format].read_header(record)
    except RecordError as error:
        return [replace(record, error=str(error))]
    except OSError as error:
        return [replace(record, error=f"cannot be read: {error.strerror or error}")]


def _listed(path: str, raw: str | None) -> Capture:
    files = list_files(path)
    context = Context(raw=raw)
    if raw is not None:
        raw_binary.parse_raw(raw)
    claims = [(found, _claim(found, context)) for found in files]
    hints = _hints(path, claims)
    context.written = hints.written
    context.alone = sum(1 for _, module in claims if module is not None) == 1
    claims = [(found, module or _claim_raw(found, context)) for found, module in claims]
    claims = _logs_aside(claims, context)
    records: list[Record] = []
    for found, module in claims:
        if module is not None:
            records.extend(_records_of(found, module, context))
    if not records:
        raise CaptureError(_nothing(path, files))
    return _capture(path, records, hints, context)


def _claim(found: FoundFile, context: Context) -> ModuleType | None:
    if os.path.basename(found.path) == NAMES_FILE:
        return None
    return next((module for module in FORMATS if module.recognise(found, context)), None)


def _logs_aside(
    claims: list[tuple[FoundFile, ModuleType | None]], context: Context
) -> list[tuple[FoundFile, ModuleType | None]]:
    """Without the logs that lie among tensor files, which tell the order but are not the capture.

    What is left out on purpose or cannot be looked into is said in a note.
    """
    for found, module in claims:
        if found.problem is not None and module is None:
            context.notes.append(f"{found.name}: {found.problem}")
    _note_unknown(claims, context)
    if all(module in (None, console_log) for _, module in claims):
        return claims
    for found, module in claims:
        if module is console_log and console_log.prints_tensors(found.path):
            context.notes.append(f"{found.name}: its prints are passed over, tensor files are here")
    return [(found, module) for found, module in claims if module is not console_log]


def _note_unknown(claims: list[tuple[FoundFile, ModuleType | None]], context: Context) -> None:
    """Say which files may be raw tensors that nothing describes; texts and the like are not."""
    unknown = [
        found.name
        for found, module in claims
        if module is None and found.problem is None and found.suffix not in raw_binary.NOT_RAW
    ]
    if unknown:
        some = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        context.notes.append(f"{len(unknown)} files of no known format passed over: {some}")


def _claim_raw(found: FoundFile, context: Context) -> ModuleType | None:
    return raw_binary if raw_binary.recognise(found, context) else None


def _hints(path: str, claims: list[tuple[FoundFile, ModuleType | None]]) -> OrderHints:
    """Order from names files and logs; not looked for where a manifest tells everything."""
    if any(module is native for _, module in claims):
        return OrderHints()
    folders = {
        (found.folder, found.step): None
        for found, module in claims
        if module is not None and module is not console_log
    }
    if not folders:
        folders = {(found.folder, found.step): None for found, _ in claims}
    names = {found.stem if module else found.name for found, module in claims}
    unclaimed = any(module is None for found, module in claims if found.suffix != ".txt")
    return find_hints(path, folders, names, unclaimed)


def _records_of(found: FoundFile, module: ModuleType, context: Context) -> list[Record]:
    unread = _unread(found, module, context)
    if found.problem is not None:
        return [replace(unread, error=found.problem)]
    try:
        return module.list_records(found, context)
    except RecordError as error:
        return [replace(unread, error=str(error))]
    except OSError as error:
        return [replace(unread, error=f"cannot be read: {error.strerror or error}")]


def _unread(found: FoundFile, module: ModuleType, context: Context) -> Record:
    """The record that stands for a file which cannot be listed, by the file's name alone."""
    if module is text_dump:
        return text_dump.list_records(found, context)[0]
    name = found.name if module is raw_binary else found.stem
    return named_record(found, name, module.NAME)


def _capture(path: str, records: list[Record], hints: OrderHints, context: Context) -> Capture:
    said = str(context.metadata.pop("order_source", "order in the file"))
    if all(record.path in context.ordered for record in records):
        ordered, known = records, True
        source = said
    else:
        ordered, known = sort_records(records, hints)
        source = hints.source if known else "unknown"
    formats = list(dict.fromkeys(record.format for record in records))
    hooked = sum(1 for r in records if r.module == _HOOK_ROOT or r.module.startswith("model."))
    native_only = formats == [native.NAME]
    capture = Capture(
        path=path,
        format=", ".join(formats),
        records=ordered,
        order_source=source,
        order_known=known,
        root=_HOOK_ROOT if hooked and not native_only else "",
        notes=list(context.notes),
    )
    if max_checkpoint.NAME in formats:
        capture.framework = "max"
    elif torch_file.NAME in formats:
        capture.framework = "torch"
    for key, value in context.metadata.items():
        setattr(capture, key, value)
    if max_checkpoint.NAME in formats and os.path.isdir(path):
        fields, said_beside = read_metadata(path)
        for key, value in fields.items():
            setattr(capture, key, value)
        capture.notes.extend(said_beside)
    if hints.positions and not known:
        capture.notes.append(f"{hints.source} does not name every record: order unknown")
    return capture


def _nothing(path: str, files: list[FoundFile]) -> str:
    if not files:
        return f"{path}: empty directory, no tensors in it"
    some = ", ".join(found.name for found in files[:3]) + (", ..." if len(files) > 3 else "")
    return (
        f"{path}: no tensors found in {len(files)} files ({some}); "
        "known are .max, .pt, .npy, .npz, .safetensors, text dumps, logs and manifest.jsonl"
    )


def _refuse_duplicates(records: list[Record]) -> None:
    """Two files that claim one name cannot both be right: neither is compared."""
    seen: dict[tuple[str | None, int, str, str, int], Record] = {}
    for record in records:
        key = (record.side, record.step, record.module, record.slot, record.call)
        first = seen.setdefault(key, record)
        if first is not record:
            for one, other in ((first, record), (record, first)):
                one.error = one.error or f"duplicate name: {other.path} holds it too; remove one"
                one.locator = None
