"""A module's weight as a law needs it: rows of a stored tensor, or of several, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...capture.weights import Parameter

if TYPE_CHECKING:
    from ...capture.values import Array

_BLOCK = 1 << 18  # elements: 1 MiB of float32, which a core's own cache holds


@dataclass(frozen=True, slots=True)
class Weight:
    """Rows of a stored parameter as the matrix [out, in] that a module multiplies by, or as the
    vector of a norm or a bias.

    `transposed` says that it is stored as [in, out] (GPT-2's Conv1D); `rows` are then taken after
    the transposition. `more` are further weights whose rows follow, where the module was joined
    from several parameters.
    """

    parameter: Parameter
    rows: slice | None = None
    transposed: bool = False
    more: tuple[Weight, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """[out, in] of a matrix, [out] of a vector; with `more`, out is the sum."""
        stored = self._stored_shape
        out = self._own_rows + sum(part.shape[0] for part in self.more)
        return (out, *stored[1:])

    @property
    def dtype(self) -> str:
        """The dtype that the values are stored in (of the first parameter)."""
        return self.parameter.locator.dtype

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters in their files."""
        found = (self.parameter.name, *(name for part in self.more for name in part.names))
        return tuple(dict.fromkeys(found))

    def blocks(self, most: int = _BLOCK) -> Iterator[tuple[int, Array]]:
        """`(first row, block)`: all rows in order, at most `most` elements at a time (but at least
        one row), as float32, or float64 where they are stored so. Each is read once.

        Raises `RecordError` when the file cannot be read.
        """
        for first, piece, raw in self.raw_blocks(most):
            yield first, piece.numbers(raw)

    def raw_blocks(self, most: int) -> Iterator[tuple[int, Weight, Array]]:
        """`(first row, piece, block)`: the same blocks as they are stored, which `numbers` of the
        piece makes numbers of. Raises `RecordError`.
        """
        first = 0
        for piece in self.pieces:
            raw = piece.raw()
            step = max(1, most // (raw[:1].size or 1))
            for start in range(0, len(raw), step):
                yield first + start, piece, raw[start : start + step]
            first += len(raw)

    def read(self) -> Array:
        """All values, in float32, or float64 where they are stored so: for small weights.

        Raises `RecordError`.
        """
        import numpy as np

        blocks = [block for _, block in self.blocks()]
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self._wide)

    def between(self, start: int, stop: int) -> Array:
        """The rows from `start` up to `stop`, as `blocks` gives them. Raises `RecordError`."""
        import numpy as np

        found: list[Array] = []
        first = 0
        for piece in self.pieces:
            count = piece._own_rows
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                found.append(piece.numbers(piece.raw()[low:high]))
            first += count
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty((0, *self.shape[1:]), self._wide)

    def take(self, rows: Sequence[int]) -> Array:
        """The rows of these numbers (0 or more), in their order; only they are read.

        Raises `RecordError`, and `IndexError` for a row that there is not.
        """
        import numpy as np

        pieces = self.pieces
        ends = np.cumsum([piece._own_rows for piece in pieces])
        if any(not 0 <= row < ends[-1] for row in rows):
            raise IndexError(f"a row beyond the {ends[-1]} that there are")
        wanted = np.asarray(rows, np.int64)
        owner = np.searchsorted(ends, wanted, "right")
        found = np.empty((len(wanted), *self.shape[1:]), self._wide)
        for index, piece in enumerate(pieces):
            own = owner == index
            if own.any():
                first = ends[index] - piece._own_rows
                found[own] = piece.numbers(piece.raw()[wanted[own] - first])
        return found

    @property
    def pieces(self) -> tuple[Weight, ...]:
        """This weight as those that it is joined of, each of one parameter."""
        return (replace(self, more=()), *(piece for part in self.more for piece in part.pieces))

    @property
    def _wide(self) -> str:
        stored = {piece.parameter.locator.dtype for piece in self.pieces}
        return "float64" if "float64" in stored else "float32"

    @property
    def _stored_shape(self) -> tuple[int, ...]:
        shape = self.parameter.locator.shape
        return shape[::-1] if self.transposed and len(shape) == 2 else shape

    @property
    def _own_rows(self) -> int:
        stored = self._stored_shape
        if not stored:
            return 1
        return stored[0] if self.rows is None else len(range(*self.rows.indices(stored[0])))

    def raw(self) -> Array:
        """The stored elements of this parameter's rows, mapped; those of `more` are not among them.

        Raises `RecordError`.
        """
        from ...capture.load import load

        raw = load(self.parameter.locator)
        if raw.ndim == 0:
            raw = raw.reshape(1)
        if self.transposed and raw.ndim == 2:
            raw = raw.T
        return raw if self.rows is None else raw[self.rows]

    def numbers(self, raw: Array) -> Array:
        """Stored elements of this parameter as float32 or float64, in C order."""
        import numpy as np

        from ...capture.values import upcast

        wide = upcast(np.ascontiguousarray(raw), self.dtype)
        return wide if wide.dtype.kind == "f" else wide.astype(np.float32)
