"""The values of a print as an array, or as those elements that it shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...dtypes import DTYPES
from ...errors import RecordError
from ...records import Locator
from .tensor_print import Printed, load_dtype, number

if TYPE_CHECKING:
    from ...values import Array, PartialValues


def printed_values(printed: Printed, locator: Locator) -> Array | PartialValues:
    """The printed values, rounded as printed; with positions where the print is abbreviated.

    Raises `RecordError` when the print is not what the locator says, or a value is no number.
    """
    import numpy as np

    from ...values import PartialValues

    if printed.shape != locator.shape or load_dtype(printed.dtype) != locator.dtype:
        raise RecordError("the file changed after it was listed")
    values = _array(printed, locator.dtype)
    if printed.positions is None:
        return values.reshape(locator.shape)
    return PartialValues(values, np.array(printed.positions, np.int64), locator.shape)


def _array(printed: Printed, dtype: str) -> Array:
    import numpy as np

    kind, storage = DTYPES[dtype].kind, DTYPES[dtype].storage
    if kind == "bool":
        return np.array([_boolean(text) for text in printed.texts], storage)
    try:
        if kind == "int":
            return np.array([_integer(text) for text in printed.texts], storage)
        if kind == "complex":
            return np.array([complex(text) for text in printed.texts], storage)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"a value is not a number of {dtype}: {error}") from error
    numbers = np.array([number(text) for text in printed.texts], np.float64)
    with np.errstate(over="ignore"):
        out = numbers.astype(storage)
    if bool((np.isinf(out) & np.isfinite(numbers)).any()):
        raise RecordError(f"a value does not fit into {dtype}")
    return out


def _boolean(text: str) -> bool:
    if text not in ("True", "False"):
        raise RecordError(f"{text[:40]!r} is neither True nor False")
    return text == "True"


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise RecordError(f"{text[:40]!r} is not an integer")
    return int(text)
