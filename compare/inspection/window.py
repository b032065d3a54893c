"""A small part of both sides, element by element: view 5 (Values)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array
from ..measuring.blocks import Key
from ..measuring.pair_reader import PairReader, SideReader
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.steps import Slice
from .elements import difference
from .heat import Region

Form = Literal["scientific", "fixed", "bits"]
FORMS: tuple[Form, ...] = ("scientific", "fixed", "bits")


@dataclass(frozen=True, slots=True)
class Window:
    """The numbers of a region, shaped like it: both sides, their raw bits, y - x, and which
    elements a partial dump shows. None for what is not there.

    `worst` is the place inside the region of the greatest difference (an element that is not
    finite alike first), None where nothing differs.
    """

    region: Region
    reference: Array | None
    candidate: Array | None
    reference_bits: Array | None
    candidate_bits: Array | None
    difference: Array | None
    odd: Array | None
    shown: Array | None
    worst: tuple[int, ...] | None


def read_window(reader: PairReader, region: Region) -> Window:
    """Read a region of the view. Raises `SideError`, `RecipeError`."""
    key: Key = tuple(slice(low, high) for low, high in region) or (Ellipsis,)
    _ = reader.shape  # both sides must have one
    x, y, shown = reader.window(key)
    shape = tuple(high - low for low, high in region)
    # A reader's memory is used again for the next window.
    x, y = (None if part is None else part.reshape(shape).copy() for part in (x, y))
    bits = [_bits(side, key, shape) for side in (reader.reference, reader.candidate)]
    d = odd = worst = None
    if x is not None and y is not None:
        d = difference(x, y)
        odd = np.zeros(d.shape, np.bool_)
        if not np.isfinite(d).all():
            fine = np.isfinite(x) & np.isfinite(y)
            odd = ~fine & ~((x == y) | (np.isnan(x) & np.isnan(y)))
        if shown is not None:
            odd &= shown
        worst = _worst(d, odd, shown)
    return Window(region, x, y, bits[0], bits[1], d, odd, shown, worst)


def _bits(side: SideReader | None, key: Key, shape: Shape) -> Array | None:
    """The raw elements as whole numbers; None where a cast makes others of them."""
    if side is None or side.task.casts:
        return None
    piece = side.view[key]
    raw = side.read(piece).reshape(piece.shape)
    size = raw.dtype.itemsize
    if size not in (1, 2, 4, 8):
        return None
    return raw.reshape(shape).copy().view(np.dtype(f"u{size}"))


def _worst(d: Array, odd: Array, shown: Array | None) -> tuple[int, ...] | None:
    size = np.where(odd, np.inf, np.nan_to_num(np.abs(d), nan=0.0, posinf=0.0))
    if shown is not None:
        size = np.where(shown, size, 0.0)
    if size.size == 0 or not size.max() > 0:
        return None
    return tuple(int(at) for at in np.unravel_index(int(np.argmax(size)), size.shape))


def parse_region(text: str, shape: Shape) -> tuple[Region, tuple[bool, ...]]:
    """`0,:,128:160` as a range an axis, and which axes are fixed to one index.

    Raises `RecipeError` in words.
    """
    plain = text.strip().removeprefix("[").removesuffix("]")
    if not plain:
        return tuple((0, size) for size in shape), (False,) * len(shape)
    try:
        steps = parse_recipe(f"[{plain}]").steps
    except RecipeError:
        steps = ()
    if len(steps) != 1 or not isinstance(steps[0], Slice):
        raise RecipeError(f"{text!r} is not a slice such as 0,:,128:160")
    steps[0].shape(shape)
    entries = steps[0].key()
    region: list[tuple[int, int]] = []
    fixed: list[bool] = []
    for size, entry in zip(shape, entries, strict=False):
        if isinstance(entry, slice):
            low, high, step = entry.indices(size)
            if step != 1:
                raise RecipeError(f"{text!r}: only steps of 1 can be shown")
            region.append((low, max(low, high)))
        else:
            region.append((entry % size, entry % size + 1))
        fixed.append(not isinstance(entry, slice))
    for size in shape[len(entries) :]:
        region.append((0, size))
        fixed.append(False)
    return tuple(region), tuple(fixed)


def region_text(region: Region, shape: Shape) -> str:
    """`0, :, 128:160`: what `parse_region` reads."""

    def one(part: tuple[int, int], size: int) -> str:
        if part == (0, size):
            return ":"
        return str(part[0]) if part[1] == part[0] + 1 else f"{part[0]}:{part[1]}"

    return ", ".join(one(part, size) for part, size in zip(region, shape, strict=True))


def element_text(value: float | complex | int | bool, form: Form) -> str:
    """One number: `1.2346e-05`, `0.00001`, whole numbers and bools as they are."""
    if isinstance(value, bool | np.bool_):
        return "True" if value else "False"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, complex | np.complexfloating):
        parts = element_text(float(value.real), form), element_text(float(value.imag), form)
        return f"{parts[0]}{'' if parts[1].startswith('-') else '+'}{parts[1]}j"
    number = float(value)
    if np.isnan(number) or np.isinf(number):
        return "NaN" if np.isnan(number) else ("Inf" if number > 0 else "-Inf")
    return f"{number:.6f}" if form == "fixed" else f"{number:.4e}"


def bits_text(value: int, dtype: str) -> str:
    """The raw bits in hexadecimal, as many digits as the type has."""
    return f"{int(value):0{2 * DTYPES[dtype].itemsize}x}"
