"""Text for one line of a terminal: names made harmless, cut to a width, numbers, shapes."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

from ...compare.reports import escaping, words

_DIGITS = 2
_STEP = re.compile(r"s\d+ ")
_SHORT_DTYPES = {"bfloat16": "bf16", "bool": "bool"}


def clean(text: str, ascii_only: bool = False) -> str:
    """`text` without anything that a terminal would act on, and in its signs: the screens have all
    of their text from here.
    """
    return escaping.clean(text.replace("±", "+-") if ascii_only else text, ascii_only)


def width_of(text: str) -> int:
    """Cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int) -> str:
    """Exactly `width` cells: cut on the right or padded with spaces."""
    if text.isascii():
        return text[:width].ljust(width)
    return set_cell_size(text, width)


def elide(text: str, width: int, dots: str = "…") -> str:
    """Exactly `width` cells. What is too long loses its middle-left: the tail of a layer's name
    tells it from its neighbours, and the first words (`L12`, `s0 L12`) say where it is.
    """
    if width <= 0:
        return ""
    if width_of(text) <= width:
        return fit(text, width)
    room = width - width_of(dots)
    if room <= 0:
        return fit(dots, width)
    head = next((end for end in _heads(text) if 0 < end <= room // 3), room // 4)
    return fit(text[:head] + dots + text[len(text) - (room - head) :], width)


def _heads(text: str) -> tuple[int, int]:
    """Where the first words end: a step and a layer (`s0 L12 `), else the first word alone."""
    first = text.find(" ") + 1
    step = _STEP.match(text)
    return (text.find(" ", first) + 1 if step else first, first)


def cut(text: str, width: int, dots: str = "…") -> str:
    """At most `width` cells; what is too long ends in dots."""
    if width_of(text) <= width:
        return text
    return fit(text, max(0, width - width_of(dots))) + dots if width > 0 else ""


def tail(text: str, width: int, dots: str = "…") -> str:
    """At most `width` cells; what is too long loses its beginning."""
    if width_of(text) <= width:
        return text
    room = max(0, width - width_of(dots))
    return dots + (text[-room:] if room else "") if width > 0 else ""


def wrap(text: str, width: int, limit: int = 1000, dots: str = "…") -> list[str]:
    """Lines of at most `width` cells, broken at spaces where there are any; at least one line."""
    lines: list[str] = []
    rest = text
    while width > 0 and width_of(rest) > width and len(lines) < limit - 1:
        end = _break(fit(rest, width), width)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    lines.append(cut(rest, width, dots) if width > 0 else rest)
    return lines


def _break(piece: str, width: int) -> int:
    """Where to break: at a space, else after a sign inside a name, else anywhere."""
    space = piece.rfind(" ")
    if space > width // 2:
        return space
    sign = max(piece.rfind(char) for char in "./-_,")
    return sign + 1 if sign > width // 2 else len(piece.rstrip()) or 1


def number(value: float | None) -> str:
    """`3.1e-14`: a number with the digits that a column has room for."""
    return words.number(value, _DIGITS)


def metric_number(metric: str, value: float | None) -> str:
    """The same of a metric: `1-2.1e-09` of a cosine."""
    return words.metric_text(metric, value, _DIGITS)


def shape_text(shape: tuple[int, ...] | None) -> str:
    """`[1,10,64]`, `[]` for a scalar, nothing where it is not known."""
    return words.shape_text(shape, "")


def dtype_text(dtype: str | None) -> str:
    """`f32`, `bf16`, `i64`: what fits beside a shape."""
    if dtype is None:
        return ""
    if dtype in _SHORT_DTYPES:
        return _SHORT_DTYPES[dtype]
    return dtype.replace("float", "f").replace("uint", "u").replace("int", "i")
