"""`open_capture`: recognise what a path holds and list its records in execution order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .cases import find_captures, read_index
from .errors import CaptureError, RecordError
from .files import FoundFile
from .formats.context import Context
from .formats.format import Format
from .formats.look_alikes import look_alike
from .formats.names_beside import named_beside
from .formats.raw_binary import parse_raw
from .formats.registry import asked_in_order, format_named, known_kinds, plug_ins
from .names import NOT_TENSORS, natural_key
from .order.execution_order import NAMES_FILE, OrderHints, find_hints, sort_records
from .order.settling import settle
from .places import lone_rank
from .plurals import counted
from .ranks.data_parallel import files_of
from .ranks.empty import add_empty_ranks
from .records import Capture, Record
from .run_metadata import METADATA, read_metadata
from .storage import is_folder, is_url, storage_of

if TYPE_CHECKING:
    from .ranks.layout import RankLayout

_OURS = (NAMES_FILE, METADATA)  # files beside tensors that no format need be asked about
_AHEAD = 256  # headers that a storage may ask for together
_HOOK_ROOT = "model"  # what MAX's PrintHook and TorchPrintHook call the outermost module


def open_capture(
    path: str | os.PathLike[str], *, raw: str | None = None, headers: bool = True,
    layout: RankLayout | None = None,
) -> Capture:  # fmt: skip
    """List the records of the directory or file `path` in execution order.

    No tensor data is read. With `headers=False` single-tensor files are not even opened: their
    records have names only until `read_headers` completes them. `raw` is the dtype and shape
    (`10x64xf32`) of raw files that no log describes.

    `path` may be a URL that fsspec knows; the capture names it without a password or query. Of a
    run on data-parallel ranks, `DIR/dp1` is one, also where DIR has files of ranks alone. `layout`
    says where ranks stand that are merely numbered.

    Raises `CaptureError`, one line for the user, when there is nothing to open.
    """
    place = os.fspath(path)
    if is_url(place):
        from .remote.urls import sealed

        place = sealed(place)
    _refuse_several(place)
    capture = _listed(place, raw, layout)
    if headers:
        read_headers(capture)
    return capture


def _refuse_several(path: str) -> None:
    cases = read_index(path) or find_captures(path)
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
        if index % _AHEAD == 0:
            _expect(capture.path, capture.records[index : index + _AHEAD])
        done.extend([record] if record.ready else _completed(record))
        if progress is not None and index % 256 == 0:
            progress(index, len(capture.records))
    capture.records[:] = done
    settle(capture)
    if all(record.error for record in capture.records) and len(capture.records) == 1:
        raise CaptureError(f"{capture.records[0].path}: {capture.records[0].error}")
    return True


def _expect(path: str, records: list[Record]) -> None:
    """Headers that are read next; one that is ready has none."""
    paths = dict.fromkeys(record.path for record in records if not record.ready)
    storage_of(path).expect([*paths])


def _completed(record: Record) -> list[Record]:
    try:
        return format_named(record.format).read_header(record)
    except RecordError as error:
        return [replace(record, error=str(error))]
    except OSError as error:
        return [replace(record, error=f"cannot be read: {error.strerror or error}")]


_Claim = tuple[FoundFile, "Format | None"]


def _listed(path: str, raw: str | None, layout: RankLayout | None) -> Capture:
    files = _files(path, layout)
    context = Context(raw=raw)
    files = named_beside(files, context)
    if raw is not None:
        parse_raw(raw)
    first, last = asked_in_order(after_logs=False), asked_in_order(after_logs=True)
    claims = [(found, _claim(found, first, context)) for found in files]
    hints = _hints(path, claims)
    context.written = hints.written
    claims = [(found, format_ or _asked(found, last, context)) for found, format_ in claims]
    _note_problems(claims, context)
    claims = _logs_aside(claims, context)
    records: list[Record] = []
    alone = _one_file_each(claims)
    for found, format_ in claims:
        if format_ is not None:
            context.alone = alone or found.nameless
            records.extend(_records_of(found, format_, context))
    if not records:
        raise CaptureError(_nothing(path, files, context.notes))
    capture = _capture(path, records, hints, context)
    for found in files:
        if found.rank is not None:
            capture.rank_kinds[found.rank] = found.kinds
        capture.rank_counts.update(found.rank_counts)
    capture.lone_rank = lone_rank(files)
    add_empty_ranks(capture, files, layout)
    return capture


def _files(path: str, layout: RankLayout | None) -> list[FoundFile]:
    """The files of a capture, with the steps and ranks that their names tell."""
    files = files_of(path, layout)
    if len(files) == 1 and files[0].path == path:  # one step by itself is that of any other file
        return [replace(files[0], step=0)]
    return files


def _one_file_each(claims: list[_Claim]) -> bool:
    """True where every step of every rank is one file, so that names of files say nothing."""
    places = [(f.step, f.rank) for f, format_ in claims if format_ is not None]
    names = {found.name for found, format_ in claims if format_ is not None}
    return len(set(places)) == len(places) and len(names) == 1


def _claim(found: FoundFile, formats: tuple[Format, ...], context: Context) -> Format | None:
    if os.path.basename(found.path) == NAMES_FILE:
        return None
    return _asked(found, formats, context) or _claim_elsewhere(found, context)


def _asked(found: FoundFile, formats: tuple[Format, ...], context: Context) -> Format | None:
    """The first of `formats` that claims the file."""
    suffix = found.suffix
    for format_ in formats:
        if format_.claims(found, suffix, context):
            return format_
    return None


def _claim_elsewhere(found: FoundFile, context: Context) -> Format | None:
    """A format of another package; one that cannot be used is said once and never stops us."""
    if os.path.basename(found.path) in _OURS:
        return None
    formats, broken = plug_ins()
    _note_once(context, *broken)
    for format_ in formats:
        try:
            if format_.claims(found, found.suffix, context):
                return format_
        except (RecordError, CaptureError, OSError) as error:
            _note_once(context, str(error))
    return None


def _note_once(context: Context, *sentences: str) -> None:
    context.notes.extend(text for text in sentences if text not in context.notes)


def _note_problems(claims: list[_Claim], context: Context) -> None:
    """Say what cannot be looked into, and which files may be raw tensors that nothing describes;
    texts and the like are not.
    """
    for found, format_ in claims:
        if found.problem is not None and format_ is None:
            context.notes.append(f"{found.name}: {found.problem}")
    unknown = [
        found.name
        for found, format_ in claims
        if format_ is None and found.problem is None and found.suffix not in NOT_TENSORS
    ]
    if unknown:
        some = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        context.notes.append(f"{counted(len(unknown), 'file')} of unknown format skipped: {some}")


def _logs_aside(claims: list[_Claim], context: Context) -> list[_Claim]:
    """Without the logs that lie among tensor files, which tell the order but are not the capture.

    What is left out on purpose is said in a note.
    """
    if all(format_ is None or format_.only_alone for _, format_ in claims):
        return claims
    kept: list[_Claim] = []
    for found, format_ in claims:
        if format_ is None or not format_.only_alone:
            kept.append((found, format_))
        elif (note := format_.set_aside(found)) is not None:
            context.notes.append(note)
    return kept


def _hints(path: str, claims: list[_Claim]) -> OrderHints:
    """Order from names files and logs; not looked for where the capture itself tells everything."""
    if any(format_ is not None and format_.self_contained for _, format_ in claims):
        return OrderHints()
    folders = {
        (found.folder, found.step): None
        for found, format_ in claims
        if format_ is not None and not format_.only_alone
    }
    if not folders:
        folders = {(found.folder, found.step): None for found, _ in claims}
    names = {found.stem if format_ else found.name for found, format_ in claims}
    unclaimed = any(format_ is None for found, format_ in claims if found.suffix != ".txt")
    return find_hints(path, folders, names, unclaimed)


def _records_of(found: FoundFile, format_: Format, context: Context) -> list[Record]:
    if found.problem is not None:
        return [replace(format_.unread(found), error=found.problem)]
    try:
        return format_.list_records(found, context)
    except RecordError as error:
        return [replace(format_.unread(found), error=str(error))]
    except OSError as error:
        said = f"cannot be read: {error.strerror or error}"
        return [replace(format_.unread(found), error=said)]


def _capture(
    path: str, records: list[Record], hints: OrderHints, context: Context
) -> Capture:  # fmt: skip
    said = str(context.metadata.pop("order_source", "order in the file"))
    if context.positions and all(record.path in context.positions for record in records):
        ordered, known, source = _by_positions(records, context), True, said
    elif all(record.path in context.ordered for record in records):
        ordered, known = records, True
        source = said
    else:
        ordered, known = sort_records(records, hints, _kept(records))
        source = hints.source if known else "unknown"
    formats = [format_named(name) for name in dict.fromkeys(record.format for record in records)]
    hooked = sum(1 for r in records if r.module == _HOOK_ROOT or r.module.startswith("model."))
    self_contained = all(format_.self_contained for format_ in formats)
    capture = Capture(
        path=path,
        format=", ".join(format_.name for format_ in formats),
        records=ordered,
        order_source=source,
        order_known=known,
        root=_HOOK_ROOT if hooked and not self_contained else "",
        framework=_framework(formats),
        notes=list(context.notes),
        names_order=hints,
    )
    for key, value in context.metadata.items():
        setattr(capture, key, value)
    if not self_contained and is_folder(path):
        fields, said_beside = read_metadata(path)
        for key, value in fields.items():
            setattr(capture, key, value)
        capture.notes.extend(said_beside)
    if hints.positions and not known:
        capture.notes.append(f"{hints.source} does not name every record: order unknown")
    return capture


def _by_positions(records: list[Record], context: Context) -> list[Record]:
    """In the order that the files tell, step by step and rank by rank; what occurs again is the
    next call.
    """
    ordered = sorted(
        records,
        key=lambda r: (r.step, natural_key(r.rank or ""), context.positions[r.path]),
    )
    taken: dict[tuple[object, ...], int] = {}
    for record in ordered:
        place = (record.step, record.rank, record.module, record.slot)
        record.call = taken[place] = max(taken.get(place, 0) + 1, record.call)
    if len({record.rank for record in ordered}) == 1:
        for record in ordered:
            record.rank = None
    return ordered


def _kept(records: list[Record]) -> set[str]:
    """Files that list several tensors in an order that is worth keeping."""
    return {r.path for r in records if r.key and format_named(r.format).keeps_order}


def _framework(formats: list[Format]) -> str | None:
    """Whose files these are, by the first format that tells."""
    telling = [format_ for format_ in formats if format_.framework is not None]
    return min(telling, key=lambda format_: format_.order).framework if telling else None


def _nothing(path: str, files: list[FoundFile], notes: list[str]) -> str:
    if not files:
        return f"{path}: empty directory, no tensors in it"
    for note in notes:
        if note.startswith("incomplete: "):
            return f"{path}: {note}, and had not written any tensor yet; capture it again"
    some = ", ".join(found.name for found in files[:3]) + (", ..." if len(files) > 3 else "")
    nothing = f"{path}: no tensors found in {counted(len(files), 'file')} ({some})"
    for found in files[:100]:
        what = look_alike(found)
        if what is not None:
            return f"{nothing}; {found.name} is {what}"
    return f"{nothing}; supported are {known_kinds()}"
