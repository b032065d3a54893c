"""Parquet tables of tensors, by the package pyarrow, which the extra `parquet` brings.

Two layouts: a row a tensor, with columns for its name, its values (a list) and maybe its shape and
step; or columns of numbers, each of which is a vector.
"""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES, dtype_named
from ...errors import RecordError
from ...extras import has_package, needs
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import open_stream, size_of, storage_of
from ..context import Context
from ..extents import checked_shape, refuse_bomb
from ..members import named_member, named_record, place_members
from ..text.json_text import plain_text
from .other_packages import guarded

if TYPE_CHECKING:
    from ...values import Array

_WHAT = "Parquet file"
_NAMES = ("name", "key", "layer", "module", "tensor")
_VALUES = ("data", "values", "value", "tensor", "array")
_MOST = 1_000_000  # rows of a table of tensors


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each tensor, in the order of the rows or columns. Raises `RecordError`."""
    table = _Table(found.path)
    leaves = table.leaves()
    if not leaves:
        raise RecordError("holds no column of numbers")
    plain = named_record(found, found.stem)
    placed = place_members([(leaf[0],) for leaf in leaves], [leaf[1] for leaf in leaves])
    records: list[Record] = []
    for (_, _, key, dtype, shape, problem), (name, step) in zip(leaves, placed, strict=True):
        single = len(leaves) == 1
        record = named_member(plain, name, None, alone=context.alone, single=single, step=step)
        record.key, record.error = key, problem
        if problem is None:
            record.locator = Locator(found.path, dtype, shape, reader="parquet", key=key)
            record.shape, record.dtype = shape, dtype
        records.append(record)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """The values of a row or a column. Raises `RecordError`, `OSError`."""
    import numpy as np

    values = np.asarray(_Table(locator.path).values(locator.key))
    if values.size != locator.count:
        raise RecordError("the file has changed since it was listed")
    return values.astype(DTYPES[locator.dtype].storage).reshape(locator.shape)


class _Table:
    """An open table."""

    def __init__(self, path: str) -> None:
        if not has_package("pyarrow"):
            raise RecordError(needs("parquet", "Parquet"))
        parquet = import_module("pyarrow.parquet")
        place = path if storage_of(path).local else open_stream(path)  # it reads ranges of it

        self.path = path
        self.file = guarded(_WHAT, lambda: parquet.ParquetFile(place))
        self.schema = self.file.schema_arrow
        self.names = {name.lower(): name for name in reversed(self.schema.names)}
        self.name = next((self.names[n] for n in _NAMES if n in self.names), None)
        self.data = next(
            (self.names[n] for n in _VALUES if n in self.names and self.names[n] != self.name), None
        )

    @property
    def by_rows(self) -> bool:
        return self.name is not None and self.data is not None

    def leaves(self) -> list[tuple[str, int | None, str, str, tuple[int, ...], str | None]]:
        """Name, step, key, dtype, shape and problem of each tensor."""
        return self._rows() if self.by_rows else self._columns()

    def values(self, key: str) -> Any:
        if self.by_rows:
            column = guarded(_WHAT, lambda: self.file.read(columns=[self.data])).column(self.data)
            return column[int(key)].values.to_numpy(zero_copy_only=False)
        return guarded(_WHAT, lambda: self.file.read(columns=[key])).column(key).to_numpy()

    def _rows(self) -> list[tuple[str, int | None, str, str, tuple[int, ...], str | None]]:
        count = self.file.metadata.num_rows
        if count > _MOST:
            raise RecordError(f"refused: {count} rows, {_MOST} are the limit")
        kind = self.schema.field(self.data).type
        dtype = _dtype(getattr(kind, "value_type", kind))
        step_name = self.names.get("step")
        others = [n for n in (self.name, self.names.get("shape"), step_name) if n is not None]
        table = guarded(_WHAT, lambda: self.file.read(columns=[*others, self.data]))
        refuse_bomb(table.nbytes, size_of(self.path))
        columns = {name: table.column(name).to_pylist() for name in others}
        lengths = [len(row.values) if row.is_valid else 0 for row in table.column(self.data)]
        found = []
        for index, length in enumerate(lengths):
            shape, problem = (length,), None
            said = columns[self.names["shape"]][index] if "shape" in self.names else None
            if isinstance(said, list):
                try:
                    shape = checked_shape(said, DTYPES[dtype].itemsize)
                    if prod(shape) != length:
                        problem = f"{length} values, the shape says {list(shape)}"
                except RecordError as error:
                    problem = str(error)
            step = columns[step_name][index] if step_name else None
            name = plain_text(columns[self.name][index])  # type: ignore[index]
            whole = step if type(step) is int and step >= 0 else None
            found.append((name, whole, str(index), dtype, shape, problem))
        return found

    def _columns(self) -> list[tuple[str, int | None, str, str, tuple[int, ...], str | None]]:
        rows = self.file.metadata.num_rows
        found = []
        for field in self.schema:
            try:
                dtype = _dtype(field.type)
            except RecordError:
                continue
            shape = checked_shape([rows], DTYPES[dtype].itemsize)
            found.append((plain_text(field.name), None, field.name, dtype, shape, None))
        return found


def _dtype(kind: Any) -> str:
    """The dtype of a column. Raises `RecordError` for texts, dates and their like."""
    name = {"halffloat": "float16", "float": "float32", "double": "float64"}.get(
        str(kind), str(kind)
    )
    found = dtype_named(name)
    if found.kind not in ("float", "int", "bool"):
        raise RecordError(f"a column of {name}")
    return found.name
