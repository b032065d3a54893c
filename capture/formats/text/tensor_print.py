"""The text of one printed tensor, taken apart: MAX's COMPACT and FULL styles, and torch's `repr`.

    tensor([[0.0000, 0.1429, ..., 9.0000],            MAX COMPACT: more than 6 of an axis are
     ..., \n\n[...]], dtype=f32, shape=[40,64])         shown as the first and last 3
    tensor<2x4xf32> [-1.500000e+00, ...]              MAX FULL: every element
    tensor([[-2.0156, ...]], dtype=torch.bfloat16) torch.Size([1, 9, 5120])
    array([[-2.0156, ...]], shape=(9, 5120), dtype=float32)
    [[-2.0156 0.125 ...]]                             numpy's `str`, which says no shape

Forms as printed by MAX 26.7, torch 2.13, numpy 2 (which says the shape of an abbreviated print from
2.2 on) and JAX (`Array(`). Pure text work: no numpy, nothing is allocated by
what a print promises, and positions are worked out only for values that are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ...dtypes import DTYPES, dtype_named, split_type
from ...errors import RecordError

_MOST_AXES = 64
_MOST_ELEMENTS = 1 << 60

Tree = list["Tree | str | None"]  # nested rows; None stands for `...`


@dataclass(frozen=True, slots=True)
class Printed:
    """A print: `texts[k]` is the element at flat position `positions[k]`, all when None."""

    style: str  # "max", "torch" or "numpy"
    dtype: str
    shape: tuple[int, ...]
    texts: list[str]
    positions: list[int] | None = None

    @property
    def total(self) -> int:
        return prod(self.shape)


def parse_print(text: str, beside: tuple[int, ...] | None = None) -> Printed:
    """Take apart the print that `text` begins with (`tensor(`, `tensor<`, `array(`). `beside` is
    the shape that something else tells of it: that of an abbreviated print which does not.

    Raises `RecordError` when it is cut off, mixed with other text or contradicts itself.
    """
    if text.startswith("tensor<"):
        return _parse_full(text)
    body, at = _body(text)
    said = _OF_PRINT if text.startswith("[") else parse_suffix(text[at:])
    style = style_of(text, said)
    tree, texts = ([], [body]) if isinstance(body, str) else (body, None)
    values = texts if texts is not None else list(_leaves(tree))
    dtype = said.dtype or default_dtype(style, values)
    nested = () if texts is not None else _nested_shape(tree)
    shape = said.shape if said.shape is not None else _complete(nested, beside, style)
    _check_size(shape)
    if prod(shape) == 0:
        if values:
            raise RecordError(f"values printed for the empty shape {list(shape)}")
        return Printed(style, dtype, shape, [])
    if texts is not None:
        if shape:
            raise RecordError(f"one value printed for the shape {list(shape)}")
        return Printed(style, dtype, shape, texts)
    seen = _seen_shape(shape, len(nested), style)
    positions = list(_positions(tree, seen))
    whole = len(positions) == prod(shape)
    return Printed(style, dtype, shape, values, None if whole else positions)


def full_type(text: str) -> tuple[str, tuple[int, ...], int]:
    """`(dtype, shape, offset of the first value)` of the FULL print that `text` begins with."""
    match = _FULL.match(text)
    if match is None:
        raise RecordError("not a tensor print")
    try:
        dtype, shape = split_type(match["type"])
    except ValueError as error:
        raise RecordError(f"type {match['type'][:60]!r} is not one such as 2x4xf32") from error
    _check_size(shape)
    return dtype_named(dtype).name, shape, match.end()


_FULL = re.compile(r"tensor<(?P<type>[^<>\s]{1,400})>\s*\[")


def _parse_full(text: str) -> Printed:
    dtype, shape, start = full_type(text)
    end = text.find("]", start)
    if end < 0:
        raise RecordError("the print is cut off")
    inner = text[start:end].strip()
    texts = [part.strip() for part in inner.split(",")] if inner else []
    if len(texts) != prod(shape):
        raise RecordError(f"{len(texts)} values printed, shape {list(shape)} has {prod(shape)}")
    return Printed("max", dtype, shape, texts)


@dataclass(frozen=True, slots=True)
class Suffix:
    """What a print says behind its values; None where it does not."""

    style: str
    dtype: str | None
    shape: tuple[int, ...] | None


_OF_PRINT = Suffix("numpy", "float32", None)  # of `print(array)`, which says nothing else
_DTYPE = re.compile(r"\bdtype=(torch\.)?([\w.]+)")
_SHAPE = re.compile(r"\b(?:shape|size)=[\[(]([\d\s,]*)[\])]")
_SIZE = re.compile(r"\)\s{0,9},?\s{0,9}(?:shape[=:]?\s{0,9})?torch\.Size\(\[([\d\s,]*)\]\)")


def parse_suffix(text: str) -> Suffix:
    """Read `, dtype=f32, shape=[2,4])` or `, dtype=torch.int8) torch.Size([2, 4])`."""
    if "layout=" in text:
        raise RecordError("a sparse tensor: its print cannot be compared")
    size = _SIZE.search(text)
    inside = text[: size.start()] if size else text
    dtype, shape = _DTYPE.search(inside), _SHAPE.search(inside)
    torch = dtype is None or dtype[1] is not None
    said = _sizes(size[1]) if size else None
    own = _sizes(shape[1]) if shape else None
    if said is not None and own is not None and said != own:
        raise RecordError(f"says both shape {list(own)} and torch.Size({list(said)})")
    return Suffix(
        "torch" if torch else "max",
        dtype_named(dtype[2]).name if dtype else None,
        own if said is None else said,
    )


def _sizes(text: str) -> tuple[int, ...]:
    sizes = [part.strip() for part in text.split(",") if part.strip()]
    if len(sizes) > _MOST_AXES or not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
        raise RecordError(f"invalid shape [{text[:60]}]")
    return tuple(int(size) for size in sizes)


def _check_size(shape: tuple[int, ...]) -> None:
    if prod(shape) > _MOST_ELEMENTS:
        raise RecordError(f"shape {list(shape)} is more than any tensor can have")


def style_of(text: str, said: Suffix) -> str:
    """Which library's the print is that `text` begins with."""
    return said.style if text.startswith("tensor") else "numpy"


def default_dtype(style: str, values: list[str]) -> str:
    """The dtype that is not printed: int64, bool, and of torch float32 or complex64, of numpy
    float64 or complex128.
    """
    if any(value.endswith("j") for value in values):
        return "complex128" if style == "numpy" else "complex64"
    if values and all(value in ("True", "False") for value in values):
        return "bool"
    if values and all(re.fullmatch(r"-?\d+", value) for value in values):
        return "int64"
    return "float64" if style == "numpy" else "float32"


_OPENING = re.compile(r"(?:(?:tensor|array|Array|DeviceArray)\(|(?=\[))")
_TOKEN = re.compile(r"\[|\]|,|\.\.\.|[^\s\[\],()]+|[()]")


def _body(text: str) -> tuple[Tree | str, int]:
    """The nested rows (or the one value of a scalar) behind `tensor(`, and where they end."""
    opening = _OPENING.match(text)
    if opening is None:
        raise RecordError("not a tensor print")
    at = opening.end()
    stack: list[Tree] = []
    separated = True
    bare = not opening[0]  # `print(array)`, which has no commas
    for match in _TOKEN.finditer(text, at):
        token = match[0]
        if not stack and token != "[":
            return _scalar(token), match.end()
        if token in ",()":
            if token != ",":
                raise RecordError("the print is cut off or mixed with other text")
            separated = True
        elif token == "]":
            row = stack.pop()
            if not stack:
                return row, match.end()
            stack[-1].append(row)
            separated = bare
        else:
            if token != "..." and not separated:
                raise RecordError("the print is mixed with other text")
            separated = bare or token in ("[", "...")
            if token == "[":
                stack.append([])
                if len(stack) > _MOST_AXES:
                    raise RecordError(f"brackets are nested deeper than {_MOST_AXES}")
            else:
                stack[-1].append(None if token == "..." else token)
    raise RecordError("the print is cut off")


def _scalar(token: str) -> str:
    if token.startswith(("indices=", "crow_indices=", "ccol_indices=")):
        raise RecordError("a sparse tensor: its print cannot be compared")
    if token == "...":
        raise RecordError("printed without values (a meta tensor)")
    if token in "],()":
        raise RecordError("the print is cut off or mixed with other text")
    return token


def _leaves(tree: Tree) -> Iterator[str]:
    for item in tree:
        if isinstance(item, list):
            yield from _leaves(item)
        elif item is not None:
            yield item


def _nested_shape(tree: Tree) -> tuple[int | None, ...]:
    """Items at each depth, None where `...` hides some; checked against all rows later."""
    shape: list[int | None] = []
    level: Tree | str | None = tree
    while isinstance(level, list):
        shape.append(None if None in level else len(level))
        level = next((item for item in level if item is not None), None)
    return tuple(shape)


# What tells the shape of a print, and how all values are printed.
_ALL_VALUES = {
    "torch": ("no torch.Size", "torch.set_printoptions(profile='full')"),
    "numpy": ("nothing", "numpy.set_printoptions(threshold=sys.maxsize)"),
}


def _complete(
    nested: tuple[int | None, ...], beside: tuple[int, ...] | None, style: str
) -> tuple[int, ...]:  # fmt: skip
    sizes = tuple(size for size in nested if size is not None)
    if len(sizes) != len(nested):
        if beside is not None and len(beside) == len(nested):
            return beside
        size, option = _ALL_VALUES["numpy" if style == "numpy" else "torch"]
        raise RecordError(
            f"abbreviated, and {size} tells the shape: print t.shape, too, or all values ({option})"
        )
    return sizes


def _seen_shape(shape: tuple[int, ...], depth: int, style: str) -> tuple[int, ...]:
    """The shape as the brackets nest it; C order, so that flat positions stay the same.

    MAX prints matrices: it adds axes of 1 before a vector, and joins all axes before the last two.
    """
    rank = len(shape)
    if style == "max" and rank > 3:
        shape = (*(1,) * (rank - 3), prod(shape[:-2]), *shape[-2:])
    if style == "max" and rank < 2:
        shape = (*(1,) * (2 - rank), *shape)
    if len(shape) != depth:
        raise RecordError(f"brackets are nested {depth} deep, the shape has {rank} axes")
    return shape


def _positions(tree: Tree, shape: tuple[int, ...], base: int = 0) -> Iterator[int]:
    """Flat positions of the leaves of `tree`; raises `RecordError` where it contradicts `shape`."""
    size, inner = shape[0], prod(shape[1:])
    gaps = [index for index, item in enumerate(tree) if item is None]
    shown = len(tree) - len(gaps)
    if len(gaps) > 1 or (shown >= size if gaps else shown != size):
        more = "some of " if gaps else ""
        raise RecordError(f"{shown} items printed where the shape has {more}{size}")
    for index, item in enumerate(tree):
        if item is None:
            continue
        place = index if not gaps or index < gaps[0] else size - len(tree) + index
        if isinstance(item, list) != (len(shape) > 1):
            raise RecordError("the brackets are nested unevenly")
        if isinstance(item, list):
            yield from _positions(item, shape[1:], base + place * inner)
        else:
            yield base + place


def rounding(texts: list[str], dtype: str) -> dict[str, int]:
    """How far a print rounded: `printed_decimals` or `printed_significant` digits.

    Empty for exact prints: integers, bools, and whole numbers that torch prints as `3.`.
    """
    if DTYPES[dtype].kind not in ("float", "complex"):
        return {}
    found = [match for text in texts for match in _DIGITS.finditer(text)]
    significant = [len(m[1]) + len(m[2] or "") for m in found if m[3]]
    if significant:
        return {"printed_significant": max(significant)}
    decimals = [len(m[2]) for m in found if m[2]]
    return {"printed_decimals": max(decimals)} if decimals else {}


_DIGITS = re.compile(r"(\d+)(?:\.(\d*))?(e[+-]?\d+)?", re.IGNORECASE)


def load_dtype(dtype: str) -> str:
    """The type that printed values are loaded as: decimals have no bfloat16 or fp8 bits."""
    if DTYPES[dtype].kind == "float":
        return "float64" if dtype == "float64" else "float32"
    return dtype


def number(text: str) -> float:
    """A printed real number; MAX prints `INF` and `nan`, C libraries also `-nan(ind)`.

    Raises `RecordError` when `text` is none.
    """
    if _NAN.fullmatch(text):
        return float("nan")
    try:
        if "_" not in text and text.isascii():
            return float(text)
    except ValueError:
        pass
    raise RecordError(f"{text[:40]!r} is not a number")


_NAN = re.compile(r"[+-]?nan(\(\w*\))?", re.IGNORECASE)
