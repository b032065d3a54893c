"""Token embeddings: row t of the output is row id_t of the table, times a factor.

The table is the checkpoint's, or what the reference returned for the same ids: rows are copies, so
that they must be equal up to the dtype.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...capture.arrays import Array
from ..parameters import Weight
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .names import kind_name, number_words
from .quantities import Key, Quantity, SideQuantities
from .rounding import ROUNDED, on_grid

_NEIGHBOURS = (1, -1, 2, -2)


@dataclass(frozen=True)
class Table:
    """Rows by token id: of the checkpoint, or those that the reference returned, and a factor."""

    factor: float = 1.0
    weight: Weight | None = None
    rows: Mapping[int, Array] | None = None

    def lookup(self, ids: Array) -> Array | None:
        """The rows of these ids; None where one is not known."""
        if self.weight is not None:
            if ids.size == 0 or ids.min() < 0 or ids.max() >= self.weight.shape[0]:
                return None
            return self.factor * self.weight.take(ids.tolist()).astype(np.float64)
        assert self.rows is not None
        found = [self.rows.get(int(i)) for i in ids]
        if any(row is None for row in found):
            return None
        return self.factor * np.stack([row for row in found if row is not None])


class EmbeddingLaw:
    """The law of token embeddings."""

    name = "embedding"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if key.slot != "output" or key not in scene.candidate.known:
                continue
            if scene.reference.role(key.module) != "embedding":
                continue
            if all(_ids_of(side, key) is not None for side in scene.sides):
                yield Site(self.name, key.module, key, kind_name(key))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ())
        ids = _ids_of(side, site.target)
        if case is None or ids is None:
            return None
        values = scene.tables.whole(ids).reshape(-1)
        if len(values) != scene.tables.rows(side.known[site.target]):
            return None
        taken = values[rows].astype(np.int64)
        return Case(case.side, case.output, rows, {"ids": taken}, case.units, more={"all": values})

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        weight = scene.parameters.weight(site.module) if scene.parameters is not None else None
        if weight is not None and weight.shape[1:] == reference.output.shape[1:]:
            factor = _factor(Table(weight=weight), reference)
            factors = [1.0, reference.output.shape[1] ** 0.5]
            config = scene.config.get("text_config") or scene.config
            given = config.get("embedding_multiplier")
            factors += [float(given)] if isinstance(given, int | float) else []
            for value in [*factors, *([factor] if factor is not None else [])]:
                words = {"table": "checkpoint", "factor": number_words(value)}
                yield Fit({"table": Table(value, weight)}, words, read=True)
        rows = dict(zip(reference.inputs["ids"].tolist(), reference.output, strict=True))
        yield Fit({"table": Table(rows=rows)}, {"table": "rows that the reference returned"})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["table"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        table: Table = fit.values["table"]
        factor = _factor(table, candidate)
        width = candidate.output.shape[1] ** 0.5
        for value, what in (
            (width, "multiplied by the square root of the width"),
            (1 / width, "divided by the square root of the width"),
        ):  # fmt: skip
            scaled = Table(table.factor * value, table.weight, table.rows)
            yield Hypothesis(
                "embedding", f"the rows are {what}",
                lambda scaled=scaled: predicted(scaled, candidate), "factor",
                number_words(table.factor), number_words(scaled.factor),
            )  # fmt: skip
        if factor is not None and factor > 0:
            scaled = Table(table.factor * factor, table.weight, table.rows)
            yield Hypothesis(
                "embedding", f"the rows are {number_words(factor)} x those of the table",
                lambda: predicted(scaled, candidate), "factor", number_words(table.factor),
                number_words(scaled.factor), "", 1,
            )  # fmt: skip
        yield from _shifts(table, candidate)
        yield from _other_rows(table, candidate)
        base = predicted(table, candidate)
        if base is not None:
            yield from output_hypotheses(base, candidate, site.groups)


def predicted(table: Table, case: Case) -> Prediction | None:
    """The rows of the case's ids."""
    value = table.lookup(case.inputs["ids"])
    if value is None or value.shape != case.output.shape:
        return None
    unit = case.units["output"]
    value = on_grid(value, unit)
    # A copy is exact; a factor, or another dtype on the way, rounds once more.
    return Prediction(value, ROUNDED * unit * np.abs(value) + 1e-300)


def _factor(table: Table, case: Case) -> float | None:
    """The median factor of the rows, by least squares in each; None where rows are not known."""
    value = table.lookup(case.inputs["ids"])
    if value is None or value.shape != case.output.shape:
        return None
    xx = np.square(value).sum(1)
    usable = xx > 0
    if not usable.any():
        return None
    found = float(np.median((value * case.output).sum(1)[usable] / xx[usable]))
    return found if np.isfinite(found) else None


def _shifts(table: Table, case: Case) -> Iterator[Hypothesis]:
    """Every row is that of a token before or behind."""
    ids, rows = case.more["all"], case.rows
    for shift in _NEIGHBOURS:
        at = rows - shift
        inside = (at >= 0) & (at < len(ids))
        if inside.sum() < 2:
            continue
        moved = ids[np.clip(at, 0, len(ids) - 1)].astype(np.int64)
        value = table.lookup(moved)
        if value is None or value.shape != case.output.shape:
            continue
        value = np.where(inside[:, None], value, case.output)
        where = "before" if shift > 0 else "behind"
        spread = ROUNDED * case.units["output"] * np.abs(value) + 1e-300
        yield Hypothesis(
            "token-shift", f"every row is that of the token {abs(shift)} {where}",
            lambda value=value, spread=spread: Prediction(value, spread), "shift", "0",
            f"{shift:+d}",
        )  # fmt: skip


def _other_rows(table: Table, case: Case) -> Iterator[Hypothesis]:
    """Some tokens have the row of another id: one of this run, or the one before or behind it."""
    base = predicted(table, case)
    if base is None:
        return
    ids = case.inputs["ids"]
    left = np.square(case.output - base.value).sum(1)
    wrong = left > 1e-4 * np.square(case.output).sum(1)
    if not wrong.any():
        return
    offsets = [k for k in range(-8, 9) if k]
    options = [ids + k for k in offsets]
    options += [np.full_like(ids, i) for i in [0, *np.unique(ids)[:64].tolist()]]
    value = base.value.copy()
    said: list[str] = []
    for row in np.flatnonzero(wrong):
        for option in options:
            if option[row] == ids[row] or option[row] < 0:
                continue
            found = table.lookup(option[row : row + 1])
            if found is not None and np.square(case.output[row] - found[0]).sum() <= 1e-4 * max(
                float(np.square(found[0]).sum()), 1e-300
            ):
                value[row] = found[0]
                said.append(f"{int(ids[row])} has that of {int(option[row])}")
                break
    if said:
        shown = ", ".join(said[:3]) + (", ..." if len(said) > 3 else "")
        yield Hypothesis(
            "embedding", f"rows of other ids: {shown}",
            lambda: Prediction(value, base.spread), "row", "its own", shown,
        )  # fmt: skip


def _ids_of(side: SideQuantities, key: Key) -> Quantity | None:
    """The token ids that an embedding was given: its whole-number input, else the model's."""
    own = side.calls.get((key.module, key.step, key.call), [])
    model = [
        q for q in side.known.values()
        if q.key.step == key.step and q.key.slot in ("input_input_ids", "value", "input_0")
        and (q.key.module in ("model", "model.model") or "input_ids" in q.key.module)
    ]  # fmt: skip
    for quantity in [*own, *model]:
        if not quantity.is_float and quantity.key.slot.startswith(("input", "value")):
            if quantity.key.slot == "value" and "ids" not in quantity.key.module:
                continue
            return quantity
    return None
