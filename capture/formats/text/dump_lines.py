"""The lines of a text dump: what its header says, and its values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES, dtype_named
from ...errors import RecordError
from ...storage import open_file, open_text
from .dump_shape import MARK, SaidShape, bare_shape, keyed_shape, unkeyed_shapes
from .tensor_print import number, rounding

if TYPE_CHECKING:
    from ...values import Array

CHEAP = 1 << 20  # bytes of a file that is counted through when its header is read
_MOST_ELEMENTS = 1 << 60
_LONGEST_LINE = 4096
_FIELDS = {
    name: re.compile(MARK + pattern, re.IGNORECASE)
    for name, pattern in (
        (
            "total",
            r"(?:total elements|(?:num(?:ber)?[ _]?(?:of )?)?elements|numel|count)\s*[:=]\s*(\S+)",
        ),
        ("itemsize", r"data type size\s*[:=]\s*(\d{1,3})\s*bytes?"),
        ("special", r"special values\s*-\s*(.*)$"),
        ("dtype", r"(?:.*\b)?(?:dtype|data[ _]?type|type)\s*[:=]\s*([\w.]+)\s*(?:[,;)]|$)"),
    )
}
_TENSOR = re.compile(
    MARK + r"tensor(?: name)?\s*:.*?(?:\((FP16|BF16|FP32) format\))?\s*$", re.IGNORECASE
)
_SECTION = re.compile(
    MARK + r"(?:(?P<all>(?:data|values)\s*:\s*$)|first (?P<first>\d{1,9}) elements"
    r"|last (?P<last>\d{1,9}) elements|data \(first (?P<hex>\d{1,9}) elements)",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(r"#|//|%|;|--|[A-Za-z_][\w ()/.-]*\s*(?:[:=]|$)")
_VALUE_WORD = re.compile(r"[+-]?(?:nan|inf)", re.IGNORECASE)
_NUMBER_LETTERS = re.compile(
    r"nan(?:\(\w*\))?|inf(?:inity)?|0x[0-9a-f]+|(?<=[\d.])e[+-]?\d+", re.IGNORECASE
)
_BEGINS_AS_NUMBER = re.compile(r"[+-]?\.?\d")
_LETTERS = re.compile(r"[A-Za-z]")
# `[0] 1.5`, `x[0][7] = 1.5`, `(0, 7): 1.5`, `7: 1.5`
_INDEXED = re.compile(
    r"\w*(?P<at>(?:[\[(]\d{1,18}(?:\s*,\s*\d{1,18})*[\])])+|(?<!\w)\d{1,18}:)\s*[:=]?\s*(?P<value>\S+)$"
)
_NO_BRACKETS = str.maketrans("[],", "   ")
_HEX = re.compile(r"0x([0-9a-fA-F]{4}|[0-9a-fA-F]{8})\s*(?:\(([^()]*(?:\(ind\))?)\))?$")
_SPECIAL = re.compile(r"(NaN|Inf)\s*:\s*(\d{1,18})")
_NAMED = {"FP16": "float16", "BF16": "bfloat16", "FP32": "float32"}


@dataclass(slots=True)
class Dump:
    """A dump as its lines say, not yet checked.

    `first` are the values from the beginning, `last` those after a `# Last N elements` line.
    """

    path: str
    dtype: str = "float32"
    fields: dict[str, str] = field(default_factory=dict)
    first_promised: int | None = None
    last_promised: int | None = None
    capped: bool = False  # `first_promised` is an upper limit (`first 100 elements as hex`)
    first: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    hexadecimal: bool = False
    ended: bool = True  # the last line is a whole one
    said: SaidShape | None = None
    possible: list[tuple[int, ...]] = field(default_factory=list)  # may be shapes
    given: tuple[int, ...] | None = None  # the shape that the user says
    widths: list[int] = field(default_factory=list)  # values of each line
    indexes: list[tuple[int, ...]] = field(default_factory=list)  # printed beside the values

    def shape_and_total(self) -> tuple[tuple[int, ...], int]:
        """The shape and its product; raises `RecordError` when the two of the header differ."""
        if self.said is not None:
            shape = self.said.shape
        elif self.given is not None:
            shape = self.given
        else:
            raise RecordError("no '# Shape:' line; --raw 1x3x2048xf32 says what it would")
        total = prod(shape)
        if total > _MOST_ELEMENTS:
            raise RecordError(f"shape {list(shape)[:9]} is more than any file can hold")
        said = self.fields.get("total")
        if said is not None and said != str(total):
            raise RecordError(
                f"header says {said[:40]} elements, shape {'x'.join(map(str, shape))} has {total}"
            )
        return shape, total

    def find_shape(self, given: tuple[int, ...] | None) -> None:
        """The shape where no word announces one: what may be one and has as many elements as the
        file, else what is `given`, else that of the table which the values are.
        """
        total = self.fields.get("total", str(len(self.first)))
        fitting = {shape for shape in self.possible if str(prod(shape)) == total}
        bare = bare_shape(self.widths[0], self.first) if self.widths and not fitting else None
        if len(fitting) == 1:
            self.said = SaidShape(fitting.pop(), 0)
        elif bare is not None:
            self.said, self.first = SaidShape(bare[0], 0), self.first[bare[1] :]
        elif given is not None:
            self.given = given
        elif len(set(self.widths)) == 1 and self.widths[0] > 1 and self.first_promised is None:
            self.given = (len(self.widths), self.widths[0])

    def take_shape(self, line: str) -> None:
        """Note the shape in a line of the header, and what may be one."""
        found = keyed_shape(line)
        if found is None:
            self.possible += unkeyed_shapes(line)
        elif self.said is None or found.rank < self.said.rank:
            self.said = found
        elif found.rank == self.said.rank and found != self.said:
            raise RecordError(f"the header gives two different values for {line[:60]!r}")

    def promised(self) -> int:
        """How many values the section lines promise."""
        _, total = self.shape_and_total()
        if self.first_promised is None and self.last_promised is None:
            return total
        if not self.capped and (self.first_promised is None or self.last_promised is None):
            raise RecordError(
                "truncated: first and last elements must both be there, one is missing"
            )
        first, last = self.first_promised or 0, self.last_promised or 0
        if self.capped:
            first = min(first, total)
        if first + last > total:
            raise RecordError(f"promises {first} + {last} of only {total} elements")
        return first + last

    def check_counts(self) -> int:
        """How many values there are; raises `RecordError` unless as many as promised."""
        wanted, found = self.promised(), len(self.first) + len(self.last)
        if found < wanted:
            raise RecordError(f"truncated: {wanted} values promised, the file has {found}")
        if found > wanted:
            raise RecordError(f"{wanted} values promised, the file has {found}")
        if self.last_promised is not None and len(self.last) != self.last_promised:
            raise RecordError(
                f"{self.last_promised} last values promised, the file has {len(self.last)}"
            )
        if self.indexes:
            self._check_indexes()
        if not self.ended:
            self._check_last()
        return found

    def _check_indexes(self) -> None:
        """Indexes beside the values have to count them, flat or by axes."""
        shape, _ = self.shape_and_total()
        flat = [index[0] if len(index) == 1 else _flat(index, shape) for index in self.indexes]
        if flat != list(range(len(self.first))) or self.last:
            raise RecordError("the indexes beside the values do not count all elements in order")

    def _check_last(self) -> None:
        """A value that the end of the file cuts short is still a number, but another one."""
        texts = [*self.first[:1], *self.last[-1:]] if self.last else self.first
        forms = [re.sub(r"[0-9]", "0", text.lstrip("+-")) for text in (*texts[:1], *texts[-1:])]
        if all("0" in form for form in forms) and len(set(forms)) > 1:
            raise RecordError("truncated: the last value is cut short")

    def locator_dtype(self) -> str:
        """The type that the values are loaded as: numpy has no bfloat16 to parse decimals to."""
        if self.dtype == "bfloat16" and not self.hexadecimal:
            return "float32"
        return self.dtype

    def stats(self) -> dict[str, Any]:
        """What the header knows of values that are not shown, and how they were rounded."""
        said: dict[str, Any] = {
            kind.lower(): int(count)
            for kind, count in _SPECIAL.findall(self.fields.get("special", ""))
        }
        if not self.hexadecimal:
            said.update(rounding(self.first[:50], self.dtype))
        return said

    def values(self) -> Array:
        """The values in the type of `locator_dtype`, as stored; hex bits win over decimals."""
        import numpy as np

        texts = [*self.first, *self.last]
        if self.hexadecimal:
            return _from_hex(texts, self.dtype)
        numbers = np.array([number(text) for text in texts], np.float64)
        with np.errstate(over="ignore"):
            out = numbers.astype(DTYPES[self.locator_dtype()].storage)
        if bool((np.isinf(out) & np.isfinite(numbers)).any()):
            raise RecordError(f"a value does not fit into {self.dtype}")
        return out


def read_dump(path: str, shape: tuple[int, ...] | None, head_only: bool = False) -> Dump:
    """The dump in `path`; with `head_only` up to its first value, plus how it ends, where the
    header says the shape. `shape` holds where the dump has none of its own.
    """
    dump = Dump(path)
    target = dump.first
    for line in _lines(path):
        continued, dump.ended = not dump.ended, line.endswith("\n")
        line = line.strip()
        if not line:
            continue
        indexed = _INDEXED.match(line)
        if indexed is None and _is_header(line, begun=bool(dump.widths)):
            section = _SECTION.match(line)
            if section is None:
                _take_field(dump, line)
            elif _take_section(dump, section):
                target = dump.last
            continue
        if indexed is not None:
            dump.indexes.append(tuple(map(int, re.findall(r"\d+", indexed["at"]))))
            line = indexed["value"]
        dump.hexadecimal = dump.hexadecimal or line.startswith("0x")
        texts = [line] if dump.hexadecimal else line.translate(_NO_BRACKETS).split()
        target.extend(texts)
        if continued and dump.widths:
            dump.widths[-1] += len(texts)
        else:
            dump.widths.append(len(texts))
        if head_only and dump.said is not None:
            _find_last(dump)
            break
    if dump.said is None:
        dump.find_shape(shape)
    return dump


def _is_header(line: str, *, begun: bool) -> bool:
    """Before the first value, whatever has letters that are no number's."""
    if _HEADER_LINE.match(line) and not _VALUE_WORD.match(line):
        return True
    if begun or _LETTERS.search(_NUMBER_LETTERS.sub("", line)) is None:
        return False
    return _BEGINS_AS_NUMBER.match(line) is None or bool(unkeyed_shapes(line))


def _lines(path: str) -> Iterator[str]:
    """The lines of a file; those of values in pieces, however long they are."""
    rest = ""
    with open_text(path) as file:
        while line := file.readline(_LONGEST_LINE):
            line, rest = rest + line, ""
            if len(line) >= _LONGEST_LINE and not line.endswith("\n"):
                end = max(line.rfind(separator) for separator in " ,\t") + 1
                if not end or _is_header(line, begun=False):
                    raise RecordError(f"a line of more than {_LONGEST_LINE} characters")
                line, rest = line[:end], line[end:]
            yield line
    if rest:
        yield rest


def _flat(index: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Where the element at `index` is in C order; -1 for none."""
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        return -1
    flat = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i
    return flat


def _find_last(dump: Dump) -> None:
    """Take the promise of a `# Last N elements` line from the end of a large file."""
    if dump.first_promised is None or dump.capped:
        return
    with open_file(dump.path) as file:
        end = CHEAP // 2
        tail = file.read_at(max(0, file.size - end), end).decode("utf-8", "replace")
    for line in tail.splitlines():
        section = _SECTION.match(line)
        if section is not None and section["last"]:
            _take_section(dump, section)


def _take_section(dump: Dump, section: re.Match[str]) -> bool:
    """Note what a section line promises; `True` when the last elements follow."""
    if section["first"]:
        dump.first_promised = int(section["first"])
    elif section["hex"]:
        dump.first_promised, dump.capped = int(section["hex"]), True
    elif section["last"]:
        dump.last_promised = int(section["last"])
        return True
    return False


def _take_field(dump: Dump, line: str) -> None:
    dump.take_shape(line)
    for name, pattern in _FIELDS.items():
        match = pattern.match(line)
        if match:
            if dump.fields.setdefault(name, match[1].strip()) != match[1].strip():
                raise RecordError(f"the header gives two different values for {line[:60]!r}")
            if name == "itemsize":
                _take_itemsize(dump, int(match[1]))
            if name == "dtype":
                _take_dtype(dump, match[1])
            return
    match = _TENSOR.match(line)
    if match and match[1]:
        dump.dtype = _NAMED[match[1]]


def _take_itemsize(dump: Dump, size: int) -> None:
    if size not in (2, 4):
        raise RecordError(f"elements of {size} bytes: only 2 and 4 are known")
    if DTYPES[dump.dtype].itemsize != size:
        dump.dtype = {2: "float16", 4: "float32"}[size]


def _take_dtype(dump: Dump, name: str) -> None:
    """A dtype by name; words of other programs say nothing."""
    try:
        known = dtype_named(name)
    except RecordError:
        return
    if known.kind == "float" and known.itemsize > 1:
        dump.dtype = known.name


def _from_hex(texts: list[str], dtype: str) -> Array:
    """The bits as stored; the number in brackets must agree, or the dtype is not what we think."""
    import numpy as np

    from ...values import upcast

    known = DTYPES[dtype]
    matches = [_HEX.match(text) for text in texts]
    for text, match in zip(texts, matches, strict=True):
        if match is None or len(match[1]) != 2 * known.itemsize:
            raise RecordError(f"{text[:40]!r} is not a value of {dtype} as hex")
    bits = np.array([int(m[1], 16) for m in matches if m], f"<u{known.itemsize}")
    raw = bits.view(known.storage)
    for value, match in zip(upcast(raw, dtype).tolist(), matches, strict=True):
        said = number(match[2]) if match and match[2] else value
        if isfinite(value) and isfinite(said) and abs(value - said) > 1e-3 * abs(said) + 1e-6:
            raise RecordError(f"{match[0] if match else ''}: hex and decimal disagree")
    return raw
