"""What the map shows: one cell for each component of each layer, with the worst of its rows."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ...compare.measuring.metrics import METRICS
from ...compare.model import Measurement
from ...compare.vocabulary import FAILING
from ..list.folds.fold_summary import RANK
from ..list.folds.levels import module_of
from ..list.row_model import in_mode
from ..present.laws import breaks_law

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...compare.comparison import Comparison
    from ...compare.model import Row
    from ...compare.vocabulary import Level, Origin

_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_BEFORE, _AFTER = "", " "  # places of modules outside the layers; no layer is called that
_LAYER = "layer"  # the component that a layer as a whole is

Key = tuple[int, int]  # the places of a cell's component and layer in their lists


@dataclass(frozen=True)
class Cell:
    """`level` is the worst of its `rows`, which are in execution order; `row` is the one that it
    stands for: with the greatest error of those whose error was made there, else of the worst.
    `error` is that row's, in the map's metric. `local` is the greatest of the local errors in
    multiples of what is usual, `ratio` the greatest error relative to that of what a row is made
    from; None where it is not known.
    """

    rows: tuple[int, ...]
    level: Level
    origin: Origin | None
    row: int
    error: float | None
    local: float | None
    ratio: float | None
    breaks_law: bool

    @property
    def fails(self) -> bool:
        return self.level in FAILING

    @property
    def made(self) -> bool:
        """Whether any of its rows has an error that was made there."""
        return self.origin == "made"


@dataclass(frozen=True)
class LayerMap:
    """`layers` are canonical names in execution order, `_BEFORE` and `_AFTER` among them where
    modules are outside of all; `components` are paths inside a layer, or whole names outside.
    `by_origin`: the judge says where errors come from. `measured` of `total` pairs had numbers.
    """

    metric: str
    layers: tuple[str, ...]
    components: tuple[str, ...]
    cells: Mapping[Key, Cell]
    by_origin: bool
    measured: int
    total: int

    @cached_property
    def in_order(self) -> tuple[Key, ...]:
        """Where cells are, by the rows that they stand for."""
        return tuple(sorted(self.cells, key=lambda key: self.cells[key].row))

    def is_off(self, cell: Cell) -> bool:
        """Whether the component is to blame: its error was made there. By a policy that does not
        know where errors come from: whether it fails.
        """
        return cell.made if self.by_origin else cell.fails

    @cached_property
    def counts(self) -> tuple[tuple[int, int], ...]:
        """For every component in how many layers it is off, and in how many it was compared."""
        off: Counter[int] = Counter()
        known: Counter[int] = Counter()
        for (component, _), cell in self.cells.items():
            off[component] += self.is_off(cell)
            known[component] += cell.level not in ("missing", "pending")
        return tuple((off[at], known[at]) for at in range(len(self.components)))

    def key_of(self, row: Row) -> Key | None:
        """The cell of a row's component; None where the map has none."""
        layer, component = _address(row.canonical)
        if component not in self.components:
            return None
        at = self.components.index(component)
        places = [layer] if layer else [each for each in (_BEFORE, _AFTER) if each in self.layers]
        keys = [(at, self.layers.index(each)) for each in places if each in self.layers]
        found = [key for key in keys if key in self.cells]
        return next((key for key in found if row.index in self.cells[key].rows), None) or next(
            iter(found), None
        )

    def label(self, layer: int) -> str:
        """The number of a layer; `-` outside of all."""
        return re.sub(r".*?(\d*)$", r"\1", self.layers[layer].strip()) or "-"


def layer_map(comparison: Comparison, metric: str) -> LayerMap:
    """The map of what is known now. A cell's rows are the outputs of its component, and inputs
    with an error that was made among them or with a local error. Components of which nothing is
    paired are left out. Goes through all rows: 100,000 take a second or two.
    """
    members: dict[tuple[str, str], list[int]] = {}
    layers: dict[str, int] = {}
    outside = _BEFORE
    paired: set[str] = set()
    for row in comparison.rows:
        layer, component = _address(row.canonical)
        if layer:
            outside = _AFTER
        if not is_output(row) and not _is_told(comparison, row):
            continue
        layer = layer or outside
        layers.setdefault(layer, len(layers))
        members.setdefault((component, layer), []).append(row.index)
        if row.kind == "pair":
            paired.add(component)
    kept = [component for component, _ in members if component in paired]
    names = {component: at for at, component in enumerate(dict.fromkeys(kept))}
    used = {layer for component, layer in members if component in paired}
    order = _in_order(layer for layer in layers if layer in used)
    places = {layer: at for at, layer in enumerate(order)}
    ratios = _ratios(comparison)
    cells = {
        (names[component], places[layer]): _cell(comparison, metric, tuple(rows), ratios)
        for (component, layer), rows in members.items()
        if component in paired
    }
    made = LayerMap(
        metric, order, tuple(names), cells, comparison.policy.name == "noise",
        comparison.measured, comparison.to_measure,
    )  # fmt: skip
    _ = made.in_order, made.counts  # kept from now on: a key has no time for 100,000 cells
    return made


def _address(canonical: str) -> tuple[str, str]:
    """The layer, empty outside of all, and the component: `self_attn.q_proj`, all experts as one;
    `layer` for a layer as a whole.
    """
    layer, _ = module_of(canonical)
    inner = canonical[len(layer) + 1 :] if layer else canonical
    return layer, _NUMBER.sub(".*", "." + inner)[1:] if inner else _LAYER


def is_output(row: Row) -> bool:
    """Whether a row is what a module makes, as the list has it."""
    return in_mode(row, "outputs")


def is_made(comparison: Comparison, row: Row) -> bool:
    """Whether its error was introduced there."""
    verdict = comparison.verdicts[row.index]
    return verdict.fails and verdict.origin == "made"


def _is_told(comparison: Comparison, row: Row) -> bool:
    """Whether an input says something that no output does."""
    return is_made(comparison, row) or row.index in comparison.locals


def _in_order(layers: Iterable[str]) -> tuple[str, ...]:
    """Modules before all layers first, those behind them last."""
    found = list(layers)
    inner = [layer for layer in found if layer not in (_BEFORE, _AFTER)]
    before, after = ([each] if each in found else [] for each in (_BEFORE, _AFTER))
    return (*before, *inner, *after)


def _ratios(comparison: Comparison) -> dict[int, float]:
    """What every row adds; nothing as long as the judge does not know."""
    if not comparison.analysed:
        return {}
    return {at: facts.amplification for at, facts in comparison.analysis().facts.items()}


def _cell(
    comparison: Comparison, metric: str, rows: tuple[int, ...], ratios: Mapping[int, float]
) -> Cell:
    verdicts = comparison.verdicts
    level: Level = max((verdicts[row].level for row in rows), key=lambda each: RANK[each])
    failing = [row for row in rows if verdicts[row].fails]
    made = [row for row in failing if verdicts[row].origin == "made"]
    worst = made or [row for row in rows if verdicts[row].level == level]
    sizes = {row: error_of(comparison, metric, row) for row in worst}
    row = max(worst, key=lambda each: _size(sizes[each]))
    origin: Origin | None = "made" if made else None
    if failing and not made:
        origin = verdicts[failing[0]].origin
    local = [found for each in rows if (found := _times(comparison, each)) is not None]
    return Cell(
        rows, level, origin, row, sizes[row], max(local, default=None),
        max((ratios[each] for each in rows if each in ratios), default=None),
        any(breaks_law(comparison, each) for each in rows),
    )  # fmt: skip


def _size(error: float | None) -> float:
    """For an order in which rows without a number come last."""
    return -1.0 if error is None else error


def error_of(comparison: Comparison, metric: str, row: int) -> float | None:
    """How large the error of a row is in a metric (a cosine as its distance from 1); infinite with
    NaN or Inf on one side only; None where there is no number, or one that misleads: that of a row
    which passes as the same values in another order.
    """
    result = comparison.measurements[row]
    if not isinstance(result, Measurement) or comparison.verdicts[row].permuted:
        return None
    if result.nonfinite_mismatch:
        return math.inf
    value = result.metric(metric)
    if value is None or math.isnan(value):
        return None
    return METRICS[metric].error(value)


def _times(comparison: Comparison, row: int) -> float | None:
    """The local error in multiples of the usual one; infinite where it is no number."""
    local = comparison.locals.get(row)
    if local is None:
        return None
    if math.isnan(local.candidate):
        return math.inf
    if local.candidate == 0:
        return 0.0
    return local.candidate / local.usual_candidate if local.usual_candidate > 0 else None
