"""What is folded, and the lines that this makes of the rows shown.

Folding makes arrays anew and nothing else: no object belongs to a row. Of the folds that a row lies
in the outermost folded one is its line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .list_lines import KINDS, ListLines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .levels import Levels

_GAPS, _MODULE, _LAYER = (KINDS.index(kind) for kind in KINDS[1:])


@dataclass(frozen=True)
class Folded:
    """What is folded: layers, modules, and rows whose run of gaps is open."""

    layers: NDArray[np.bool_]
    modules: NDArray[np.bool_]
    open: NDArray[np.bool_]
    gaps: bool


class Folds:
    """Which layers, modules and runs of gaps are folded; nothing is at first.

    A run of gaps are neighbours of one side and one layer without a partner. It is open where any
    of its rows is in `_open`.
    """

    def __init__(self, levels: Levels) -> None:
        import numpy as np

        self.levels = levels
        self._layers = np.zeros(len(levels.layers) + 1, bool)  # the last is that of rows with none
        self._modules = np.zeros(len(levels.modules), bool)
        self._gaps = False
        self._open = np.zeros(len(levels.layer), bool)

    # What is folded

    def start(self) -> None:
        """Layers and runs of gaps are folded; a layer that is unfolded shows its rows at once."""
        self.unfold_all()
        self._layers[:-1] = True
        self._gaps = True

    def fold_all(self) -> None:
        """Layers, and in them modules and runs of gaps."""
        self._layers[:-1] = True
        self._modules[:] = True
        self._gaps = True
        self._open[:] = False

    def unfold_all(self) -> None:
        self._layers[:] = False
        self._modules[:] = False
        self._gaps = False
        self._open[:] = False

    def reveal(self, row: int) -> None:
        """Unfold all that `row` lies in."""
        self._layers[self.levels.layer[row]] = False
        self._modules[self.levels.module[row]] = False
        self._open[row] = True

    def like(self, other: Folds) -> None:
        """Fold what `other`, of other rows, has folded, as far as it is there, too."""
        for mine, ours, theirs, their in (
            (self._layers, self.levels.layers, other._layers, other.levels.layers),
            (self._modules, self.levels.modules, other._modules, other.levels.modules),
        ):
            folded = {group for group, is_folded in zip(their, theirs, strict=False) if is_folded}
            for at, group in enumerate(ours):
                mine[at] = group in folded
        self._gaps = other._gaps

    def kept(self) -> Folded:
        """What is folded now."""
        return Folded(self._layers.copy(), self._modules.copy(), self._open.copy(), self._gaps)

    def fold_as(self, kept: Folded) -> bool:
        """Fold what was folded then; False where it is folded already."""
        now = (self._layers, self._modules, self._open)
        then = (kept.layers, kept.modules, kept.open)
        if self._gaps == kept.gaps and all(map(_same, now, then)):
            return False
        self._layers, self._modules, self._open = (each.copy() for each in then)
        self._gaps = kept.gaps
        return True

    # Lines

    def lines(self, rows: Sequence[int]) -> ListLines:
        """The lines of the rows shown."""
        import numpy as np

        if not len(rows) or not (self._gaps or self._layers.any() or self._modules.any()):
            return ListLines(rows)
        at = _array(rows)
        layer, module, gap = (
            each[at] for each in (self.levels.layer, self.levels.module, self.levels.gap)
        )
        in_layer, in_module = self._layers[layer], self._modules[module]
        same_layer = layer[1:] == layer[:-1]
        joined = same_layer & in_layer[1:]
        joined |= (module[1:] == module[:-1]) & in_module[1:] & ~in_layer[1:]
        if self._gaps:
            loose = (gap != 0) & ~in_layer & ~in_module
            run = same_layer & (gap[1:] == gap[:-1]) & loose[1:] & loose[:-1]
            joined |= run & ~self._open_runs(at, run)[1:]
        starts = np.flatnonzero(np.concatenate(([True], ~joined)))
        kinds = np.where(
            in_layer[starts], _LAYER, np.where(in_module[starts], _MODULE, _GAPS)
        ).astype(np.int8)
        kinds[np.diff(starts, append=len(at)) == 1] = 0
        return ListLines(rows, starts, kinds)

    def _open_runs(self, at: NDArray[np.intp], run: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For every row shown whether the run of gaps that it is in was opened; `run` says of each
        but the first whether it goes on with the one before.
        """
        import numpy as np

        number = np.concatenate(([0], np.cumsum(~run)))
        opened = np.zeros(int(number[-1]) + 1, bool)
        opened[number[self._open[at]]] = True
        return opened[number]

    # The line under the cursor

    def fold(self, lines: ListLines, line: int) -> bool:
        """Fold the innermost group with more rows than the line has; False where there is none."""
        places, kind = lines.places(line), lines.kind(line)
        first, levels = lines.rows[places.start], self.levels
        if kind == "row" and levels.gap[first]:
            run = self._run_of_gaps(lines.rows, places.start)
            if len(run) > 1:
                self._gaps = True
                self._open[_array(lines.rows[run.start : run.stop])] = False
                return True
        for groups, folded, inner in (
            (levels.module, self._modules, ("row", "gaps")),
            (levels.layer, self._layers, ("row", "gaps", "module")),
        ):
            group = int(groups[first])
            if kind not in inner or group < 0:
                continue
            if len(_run(groups, lines.rows, places.start)) > len(places):
                folded[group] = True
                return True
        return False

    def unfold(self, lines: ListLines, line: int) -> bool:
        """Unfold the line by one level, or by more where that shows no more; False where it is a
        row.
        """
        places = lines.places(line)
        if len(places) == 1:
            return False
        first, before = lines.rows[places.start], len(lines)
        kind = lines.kind(line)
        while kind != "row":
            if kind == "layer":
                self._layers[self.levels.layer[first]] = False
            elif kind == "module":
                self._modules[self.levels.module[first]] = False
            else:
                self._open[first] = True
            found = self.lines(lines.rows)
            if len(found) > before:
                return True
            kind = found.kind(found.line_at(places.start))
        return True

    def _run_of_gaps(self, rows: Sequence[int], place: int) -> range:
        """The places around one of a gap that are gaps of its side, in its layer and in no folded
        module.
        """
        levels = self.levels
        side, layer = levels.gap[rows[place]], levels.layer[rows[place]]

        def belongs(row: int) -> bool:
            if self._modules[levels.module[row]]:
                return False
            return bool(levels.gap[row] == side and levels.layer[row] == layer)

        alone = range(place, place + 1)
        return _spread(rows, place, belongs) if belongs(rows[place]) else alone


def _same(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    return bool((one == other).all())


def _run(groups: NDArray[np.int32], rows: Sequence[int], place: int) -> range:
    """The places around one whose rows are in the same group."""
    group = groups[rows[place]]
    return _spread(rows, place, lambda row: groups[row] == group)


def _spread(rows: Sequence[int], place: int, belongs: Callable[[int], object]) -> range:
    start, end = place, place + 1
    while start > 0 and belongs(rows[start - 1]):
        start -= 1
    while end < len(rows) and belongs(rows[end]):
        end += 1
    return range(start, end)


def _array(rows: Sequence[int]) -> NDArray[np.intp]:
    import numpy as np

    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step)
    return np.fromiter(rows, np.intp, len(rows))
