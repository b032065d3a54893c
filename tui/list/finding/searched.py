"""Rows that can be searched by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .name_index import NameIndex

if TYPE_CHECKING:
    from collections.abc import Sequence


class Searched:
    """Rows that are searched by their names; all of them together once the index is made."""

    _index: NameIndex | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def searched_by(self, row: int) -> str:
        """The names of a row, in lower case."""
        raise NotImplementedError

    def names(self) -> NameIndex:
        """What rows are searched by. Making it takes 0.6 s for 100,000 rows: in a thread."""
        if self._index is None:
            self._index = NameIndex(map(self.searched_by, range(len(self))))
        return self._index

    def finds(self, row: int, words: Sequence[str]) -> bool:
        """Whether a row's names have all words; does not make the index for that."""
        if self._index is not None:
            return self._index.holds(row, words)
        names = self.searched_by(row)
        return all(word in names for word in words)
