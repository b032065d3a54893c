"""The values of a region as text."""

from __future__ import annotations

from collections.abc import Iterator

from ...capture.values import Array
from .text import Row, table
from .window import Form, Window, bits_text, element_text


def values_text(window: Window, dtypes: tuple[str, str], form: Form) -> list[str]:
    """Reference, candidate and difference of a region of at most two axes longer than 1."""
    if any(low == high for low, high in window.region):
        return ["no elements"]
    lines: list[str] = []
    alone = window.difference is None
    parts = (
        ("" if alone else "reference", window.reference, window.reference_bits, dtypes[0]),
        ("candidate", window.candidate, window.candidate_bits, dtypes[1]),
        ("difference", window.difference, None, ""),
    )
    for name, values, bits, dtype in parts:
        if values is None:
            continue
        lines += [name] if name else []
        lines += table([*_grid(values, bits, dtype, form, window)], right=True)
    return lines


def _grid(
    values: Array, bits: Array | None, dtype: str, form: Form, window: Window
) -> Iterator[Row]:
    long = [axis for axis, size in enumerate(values.shape) if size > 1][-2:]
    columns = values.shape[long[-1]] if long else 1
    flat = values.reshape(-1, columns)
    raw = None if bits is None or form != "bits" else bits.reshape(-1, columns)
    shown = None if window.shown is None else window.shown.reshape(-1, columns)
    first_row = window.region[long[0]][0] if len(long) == 2 else 0
    first_column = window.region[long[-1]][0] if long else 0
    yield ("", *(str(first_column + at) for at in range(columns)))
    for at in range(flat.shape[0]):
        cells = (
            "..." if shown is not None and not shown[at, c]  # a partial dump does not have it
            else bits_text(raw[at, c], dtype) if raw is not None
            else element_text(flat[at, c], form)
            for c in range(columns)
        )  # fmt: skip
        yield (str(first_row + at), *cells)
