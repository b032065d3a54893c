"""Loaders of records that are not plain elements in a file, by `Locator.reader`."""

from __future__ import annotations

from collections.abc import Callable

from .formats import console_log, numpy_file, text_dump, torch_file
from .records import Locator
from .values import Array, PartialValues

LOADERS: dict[str, Callable[[Locator], Array | PartialValues]] = {
    "npz": numpy_file.load_member,
    "torch": torch_file.load_member,
    "text": text_dump.load_values,
    "console": console_log.load_values,
}
