"""Console logs with printed tensors: `name = tensor([[...]], dtype=f32, shape=[2,4])` and kin.

One log holds many records, in execution order. It is scanned once, in pieces, so that neither a
large log nor a line of a hundred megabytes is ever in memory; a record keeps where its print
stands, and loading reads just that. What a print may look like is told in `tensor_print`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from ...errors import RecordError
from ...files import FoundFile
from ...names import parse_name
from ...records import Locator, Record
from ...storage import first_bytes, open_file, open_stream
from ..context import Context
from ..members import named_record
from .print_labels import LONGEST_NAME, Labels, message_of, name_before, shape_in, without_details
from .printed_values import printed_values
from .tensor_print import (
    Printed,
    default_dtype,
    full_type,
    load_dtype,
    parse_print,
    parse_suffix,
    rounding,
    style_of,
)

if TYPE_CHECKING:
    from ...values import Array, PartialValues

_PEEK = 1 << 16
_PIECE = 1 << 16  # bytes of a line that are looked at together
_NOTHING = bytes(_PIECE)
_WHOLE = 1 << 20  # prints up to this size are taken apart when they are listed
_ENDS = 4096  # of a larger one, this much at its beginning and end
_LONGEST_LABEL_LINE = 1000
_MOST_WORDS = 4  # of a label above brackets alone
_START = re.compile(
    rb"tensor\(|(?<![\w.])(?:array|Array|DeviceArray)\(|tensor<[^<>\s]{1,400}>\s*\["
    rb"|Parameter containing:\s*$"
    rb"|(?<![\w\[(])\[\[{1,8}\s{0,40}"
    rb"(?:[-+]?\d{0,30}\.\d{0,30}(?:e[-+]\d{1,4})?|nan|[-+]?inf)[\s\]]"  # `print(array)` of numpy
)
# What a further line of a print can begin with; any other line means that the print was cut off.
_GOES_ON = re.compile(
    rb"\s*(?:$|[\[\](),.\d+-]|nan|inf|True|False"
    rb"|(?:dtype|device|size|shape|grad_fn|requires_grad|layout|names|values|nnz|weak_type)=)",
    re.IGNORECASE,
)


def recognise(found: FoundFile, context: Context) -> bool:
    """`.log` files, and `.txt` files that print a tensor within their first 64 KiB."""
    if found.problem is not None:
        return False
    return found.suffix == ".log" or prints_tensors(found.path)


def set_aside(found: FoundFile) -> str | None:
    """Logs that lie among tensor files tell their order; that their prints are not read is said."""
    if not prints_tensors(found.path):
        return None
    return f"{found.name}: its prints are skipped, since there are tensor files"


def prints_tensors(path: str) -> bool:
    """True when a tensor print begins within the first 64 KiB of the file."""
    try:
        head = first_bytes(path, _PEEK)
    except OSError:
        return False
    labels = Labels("the file")
    for line in head.splitlines():
        if _find_start(line, 0, labels) is not None:
            return True
        labels.see(_text(line[:_LONGEST_LABEL_LINE]))
    return False


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record a print, in the order of the log; cut-off prints are records with an `error`."""
    records: list[Record] = []
    styles: set[str] = set()
    calls = CallNumbers()
    with open_stream(found.path) as file:
        for span in list(_scan(file, found.stem)):
            record = named_record(found, span.name)
            if span.step is not None:
                record.step = span.step
            record = numbered(record, calls)
            try:
                record, style = _described(record, span, file)
                styles.add(style)
            except RecordError as error:
                record = replace(record, error=str(error))
            records.append(record)
    context.ordered.add(found.path)
    context.metadata["order_source"] = "order of the log"
    if len(styles) == 1 and "numpy" not in styles:  # which prints the arrays of any framework
        context.metadata.setdefault("framework", styles.pop())
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to read: the scan of the log told everything."""
    if record.locator is None:
        raise RecordError("the print was not found in the log")
    return [record]


def load_values(locator: Locator) -> Array | PartialValues:
    """The printed values, rounded as printed; with positions where the print is abbreviated.

    Raises `RecordError` when the print is not what it was when it was listed, or a value is no
    number.
    """
    length = int(locator.key)
    with open_file(locator.path) as file:
        printed = parse_print(_text(file.read_at(locator.offset, length)), locator.shape)
    return printed_values(printed, locator)


@dataclass(slots=True)
class _Span:
    """Where one print stands; `length` is from `tensor` to behind its last bracket.

    `commas` counts those of the span, which for FULL prints tells the number of values.
    """

    name: str
    offset: int
    full: bool
    length: int = 0
    depth: int = 0
    commas: int = 0
    abbreviated: bool = False
    bare: bool = False  # `print(array)`: nothing but brackets
    problem: str | None = None
    waiting: bool = False  # `Parameter containing:` was seen, its tensor not yet
    step: int | None = None
    shape: tuple[int, ...] | None = None  # as the label says it


def _scan(file: BinaryIO, name: str) -> Iterator[_Span]:
    """The prints of a log, in order, by one pass over pieces of its lines. One at the beginning
    without any label is called `name`.
    """
    span: _Span | None = None
    labels = Labels(name)
    offset, fresh = 0, True
    while piece := file.readline(_PIECE):
        if piece == _NOTHING:
            break  # a hole in the file, or a file that is no log
        at = 0
        if span is not None and fresh and _interrupts(span, piece):
            yield _cut_off(span)
            span = None
        while True:
            if span is None:
                span, at = _begin(piece, at, offset, labels)
                if span is None:
                    if fresh and at == 0 and len(piece) < _LONGEST_LABEL_LINE:
                        labels.see(_text(piece))
                    break
                labels.forget()
            at = _continue(span, piece, at, offset)
            if at < 0:
                break
            tail = _SIZE_BEHIND.match(piece, at)
            span.length += len(tail[0]) if tail else 0
            at = tail.end() if tail else at
            yield span
            span = None
        offset += len(piece)
        fresh = piece.endswith(b"\n")
    if span is not None:
        yield _cut_off(span)


_SIZE_BEHIND = re.compile(
    rb"\s{0,9},?\s{0,9}(?:shape[=:]?\s{0,9})?torch\.Size\(\[[\d\s,]{0,400}\]\)"
)


def _begin(piece: bytes, at: int, offset: int, labels: Labels) -> tuple[_Span | None, int]:
    found = _find_start(piece, at, labels)
    if found is None:
        return None, at
    name, start, waiting = found
    full = piece.startswith(b"tensor<", start)
    left = _text(piece[max(at, start - 2 * LONGEST_NAME) : start])
    shape = shape_in(left.rstrip().rstrip(":=")) or labels.shape
    bare = piece.startswith(b"[", start)
    span = _Span(
        name, offset + start, full, waiting=waiting, step=labels.step, shape=shape, bare=bare
    )
    return span, start


def _find_start(line: bytes, at: int, labels: Labels | None = None) -> tuple[str, int, bool] | None:
    """`(name, offset, parameter)` of the next `name = tensor(` or `name: tensor<` of a line, or of
    one that begins the line, below its label.
    """
    for match in _START.finditer(line, at):
        left = _text(line[max(at, match.start() - 2 * LONGEST_NAME) : match.start()])
        if match[0].startswith(b"[") and left and not left.strip():
            continue  # a row of a print that has no name
        name = name_before(left)
        if not name and labels is not None and not without_details(message_of(left)):
            name = labels.name()
            if match[0].startswith(b"[") and len(name.split()) > _MOST_WORDS:
                continue  # a sentence above brackets
        if name:
            return name, match.start(), match[0].startswith(b"Parameter")
    return None


def _interrupts(span: _Span, line: bytes) -> bool:
    """True when this line cannot belong to the print that is still open."""
    if span.waiting:
        return not line.startswith(b"tensor(")
    if span.full or not _GOES_ON.match(line):
        return True
    return line[:1] not in b" \t[" and _find_start(line, 0) is not None


def _continue(span: _Span, piece: bytes, at: int, offset: int) -> int:
    """Take in `piece` from `at`; where the print ends in it, or -1 when it goes on."""
    if span.waiting:
        if not piece.startswith(b"tensor(", at):
            return -1
        span.waiting, span.offset = False, offset + at
    if span.full:
        end = piece.find(b"]", at) + 1 or -1
    else:
        end = _closing(span, piece, at)
    stop = len(piece) if end < 0 else end
    span.commas += piece.count(b",", at, stop)
    span.abbreviated = span.abbreviated or piece.find(b"...", at, stop) >= 0
    span.length = offset + stop - span.offset
    return end


def _closing(span: _Span, piece: bytes, at: int) -> int:
    brackets, opening = (_SQUARE, b"[") if span.bare else (_BRACKET, b"(")
    for match in brackets.finditer(piece, at):
        span.depth += 1 if match[0] == opening else -1
        if span.depth == 0:
            return match.end()
    return -1


_BRACKET, _SQUARE = re.compile(rb"[()]"), re.compile(rb"[\[\]]")


def _cut_off(span: _Span) -> _Span:
    span.problem = "the print is cut off or mixed with other text"
    return span


class CallNumbers:
    """Which calls of which names a log has had."""

    def __init__(self) -> None:
        self._taken: set[tuple[int, str, str, int]] = set()
        self._next: dict[tuple[int, str, str], int] = {}

    def free(self, record: Record) -> int:
        """The number of the call that a record is: its own, or the next one that is free."""
        place = (record.step, record.module, record.slot)
        call = record.call
        if (*place, call) in self._taken:
            call = max(call, self._next.get(place, 0))
            while (*place, call) in self._taken:
                call += 1
            self._next[place] = call + 1
        self._taken.add((*place, call))
        return call


def numbered(record: Record, calls: CallNumbers) -> Record:
    """A name that was printed before is the next call of its module, `name(2)`."""
    call = calls.free(record)
    if call == record.call:
        return record
    ending = record.name[len(record.name) - len(record.slot) - 1 :]
    slotted = ending == f"-{record.slot}" and parse_name(record.name).slot == record.slot
    name = f"{record.module}({call}){ending if slotted else ''}"
    return replace(record, name=name, call=call)


def _described(record: Record, span: _Span, file: BinaryIO) -> tuple[Record, str]:
    """The record with shape, dtype and locator, and the style of its print."""
    if span.problem is not None:
        raise RecordError(span.problem)
    file.seek(span.offset)
    if span.length <= _WHOLE:
        printed = parse_print(_text(file.read(span.length)), span.shape)
        sample, shown = printed.texts[:1000], len(printed.texts)
    else:
        head = _text(file.read(_ENDS))
        file.seek(span.offset + span.length - _ENDS)
        printed = _from_ends(head, _text(file.read(_ENDS)), span)
        sample, shown = printed.texts, printed.total
    locator = Locator(
        record.path, load_dtype(printed.dtype), printed.shape, span.offset,
        reader="console", key=str(span.length),
    )  # fmt: skip
    record = replace(
        record, shape=printed.shape, dtype=printed.dtype, locator=locator,
        partial=None if shown == printed.total else (shown, printed.total),
        stats=rounding(sample, printed.dtype) or None,
    )  # fmt: skip
    return record, printed.style


def _from_ends(head: str, tail: str, span: _Span) -> Printed:
    """A large print by its beginning and end; all of its values are looked at when loaded."""
    sample = re.findall(r"[^\s\[\],()<>]+", head)[1:-1]
    if span.full:
        dtype, shape, start = full_type(head)
        sample = re.findall(r"[^\s\[\],]+", head[start:])[:-1]
        printed = Printed("max", dtype, shape, sample)
        values = span.commas + 1
    elif span.bare:
        raise RecordError("a print of more than 1 MiB that says no shape: use numpy.save")
    else:
        last = _BODY_END.search(tail)
        if last is None:
            raise RecordError("the print is cut off or mixed with other text")
        said = parse_suffix(tail[last.start() + 1 :])
        if said.shape is None or span.abbreviated:
            raise RecordError("a print of more than 1 MiB that is abbreviated or has no torch.Size")
        style = style_of(head, said)
        printed = Printed(style, said.dtype or default_dtype(style, sample), said.shape, sample)
        values = printed.total
    if values != printed.total:
        raise RecordError(f"{values} values printed, the shape has {printed.total}")
    return printed


_BODY_END = re.compile(r"\]\s*(?:\)|,\s*[a-z_]+=)")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
