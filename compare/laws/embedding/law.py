"""Embeddings: every row of the output is the table's row of its id, times a factor.

The table is the checkpoint's, or what the reference itself recorded: the first row of every id.
Both sides are looked up by their own ids; positions by the reference's, since those of a run of the
same shape are the same. The values are copies, exact up to the rounding of the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ....capture.values import Array
from ...weights.fused_weights import text_config
from ..config_names import EMBEDDING_FACTORS
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..linear.quantised_copy import QuantisedCopies
from ..names import kind_name, number_words
from ..numerics.local_error import row_ratios
from ..numerics.quantities import Key, Quantity, SideQuantities
from ..numerics.rounding import ROUNDED, on_grid, unit_of
from .tables import RecordedTable, StoredTable, Table

_OFFSET = 2  # of OPT's and BART's positions in their tables
_ALIKE = 6.0  # units of rounding within which a row is the table's
_LEAST_GAIN = 1e-3  # a fitted factor this near 1 is 1: rounding makes no more
_ALIKE_FACTOR = 4.0  # standard errors within which a factor is the one that was found
_SHOWN = 4  # ids that are said


class EmbeddingLaw:
    """The law of rows that are looked up in a table."""

    name = "embedding"
    few_roundings = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            role = scene.reference.role(key.module)
            if key.slot != "output" or role not in ("embedding", "positions"):
                continue
            if all(key in side.known and side.known[key].is_float for side in scene.sides):
                for ids in _ids_of(scene, key):
                    yield Site(self.name, key.module, key, kind_name(key), (("ids", (ids,)),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        (key,) = site.source("ids")
        target, ids = side.known[site.target], side.known[key]
        if scene.reference.role(site.module) == "positions":
            ids = scene.reference.known[key]
        flat = _read_ids(scene, ids)
        own = _read_ids(scene, side.known[key])
        if not len(flat) == len(own) == scene.tables.rows(target):
            return None
        output = scene.tables.read(target, rows)
        units = {"output": unit_of(output, target.dtype)}
        more = {"ids": flat[rows], "own": own[rows], "all": flat}
        return Case(side.side, output, rows, {}, units, more=more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        width = reference.output.shape[1]
        weight = scene.parameters.weight(site.module) if scene.parameters is not None else None
        if weight is not None and len(weight.shape) == 2 and weight.shape[1] == width:
            stored = StoredTable(weight)
            for factor in _factors(scene, width):
                yield _fit(stored, factor)
            if scene.reference.role(site.module) == "positions":
                yield _fit(StoredTable(weight, _OFFSET), 1.0)
            fitted, _ = fitted_factor(stored.rows(reference.more["ids"]), reference)
            if fitted:
                yield _fit(stored, fitted)
        known = scene.tables.read(scene.reference.known[site.target], None)
        table = RecordedTable(reference.more["all"], known, reference.units["output"])
        yield _fit(table, 1.0)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        table, factor = fit.values["table"], fit.values["factor"]
        return [predicted(table, factor, case, case.more["ids"]) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        table, factor = fit.values["table"], fit.values["factor"]
        base = predicted(table, factor, candidate, candidate.more["ids"])
        positions = scene.reference.role(site.module) == "positions"
        if not positions:
            yield from _other_factor(table, factor, candidate)
        yield from _other_rows(scene, table, factor, base, candidate, positions)
        yield from _quantised(scene, site, fit, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


def predicted(table: Table, factor: float, case: Case, ids: Array) -> Prediction:
    """The table's rows of `ids` times the factor; NaN where it has none."""
    value = factor * table.rows(ids)
    units = np.hypot(case.units["output"], table.unit)
    if factor != 1.0:
        units *= 2**0.5
    return Prediction(value, np.nan_to_num(ROUNDED * units * np.abs(value)))


def fitted_factor(rows: Array, case: Case) -> tuple[float, float]:
    """What the rows are to be multiplied with, and its standard error; 0 where that is not to be
    told.
    """
    squares = np.square(rows).sum(1)
    usable = np.isfinite(squares) & (squares > 0) & np.isfinite(case.output).all(1)
    if not usable.any():
        return 0.0, np.inf
    x, y = rows[usable], case.output[usable]
    factors = (x * y).sum(1) / squares[usable]
    factor = float(np.median(factors))
    scatter = 1.4826 * float(np.median(np.abs(factors - factor))) / len(factors) ** 0.5
    return factor, float(np.hypot(1.25 * scatter, 0.1 * case.units["output"] * factor))


def _fit(table: Table, factor: float) -> Fit:
    words = {"table": table.words, "factor": number_words(factor)}
    return Fit({"table": table, "factor": factor}, words, read=isinstance(table, StoredTable))


def _factors(scene: Scene, width: int) -> list[float]:
    """One, what the config says, and the root of the width (Gemma's)."""
    config = text_config(scene.config)
    said = [config.get(name) for name in EMBEDDING_FACTORS]
    given = [float(v) for v in said if isinstance(v, int | float) and v]
    return list(dict.fromkeys([1.0, *given, width**0.5]))


def _ids_of(scene: Scene, key: Key) -> Iterator[Key]:
    """The whole numbers that the rows were looked up by."""
    own = scene.reference.calls.get((key.module, key.step, key.call), ())
    inputs = [q.key for q in own if q.key.slot.startswith("input") and not q.is_float]
    if scene.reference.role(key.module) == "embedding":
        inputs += [
            found for module in ("model.model", "model") for slot in ("input_input_ids", "input_0")
            if (found := Key(module, slot, key.step)) not in inputs
        ]  # fmt: skip
    for found in inputs:
        known = [side.known.get(found) for side in scene.sides]
        if all(q is not None and not q.is_float for q in known):
            yield found


def _read_ids(scene: Scene, quantity: Quantity) -> Array:
    return scene.tables.whole(quantity).reshape(-1).astype(np.int64)


def _quantised(scene: Scene, site: Site, fit: Fit, case: Case) -> Iterator[Hypothesis]:
    """The rows of the candidate's own checkpoint, where these are the reference's in few bits."""
    weight = scene.candidate_parameters.weight(site.module) if scene.candidate_parameters else None
    ids, width = case.more["ids"], case.output.shape[1]
    if weight is None or len(weight.shape) != 2 or weight.shape[1] != width:
        return
    own = StoredTable(weight)
    exact, coarse = fit.values["table"].rows(ids), own.rows(ids)
    if not (np.isfinite(exact).all() and np.isfinite(coarse).all()):
        return
    kind = QuantisedCopies().words(exact, coarse, (0.0, 0.0), False)
    if kind is None:
        return
    text = f"the table is that of the candidate's checkpoint: {kind}"
    yield Hypothesis(
        "quantised", text, partial(predicted, own, fit.values["factor"], case, ids), "table",
        "as stored", kind,
    )  # fmt: skip


def _other_factor(table: Table, factor: float, case: Case) -> Iterator[Hypothesis]:
    ids = case.more["ids"]
    found, error = fitted_factor(table.rows(ids), case)
    root = case.output.shape[1] ** 0.5
    ours = number_words(factor)
    yield from _rounded_factor(table, factor, found, error, case)
    for plain in (1.0, root, 1 / root, 0.0):
        if plain != factor and abs(plain - found) <= max(_ALIKE_FACTOR * error, 1e-6):
            theirs = number_words(plain)
            text = f"the embedding is multiplied by {theirs} where the reference has {ours}"
            yield Hypothesis(
                "embedding", text, partial(predicted, table, plain, case, ids), "factor", ours,
                theirs, number_words(error),
            )  # fmt: skip
    if abs(found - factor) > _LEAST_GAIN * abs(factor):
        text = f"the embedding is multiplied by {found:.6g} where the reference has {ours}"
        yield Hypothesis(
            "embedding", text, partial(predicted, table, found, case, ids), "factor", ours,
            f"{found:.6g}", number_words(error), 1,
        )  # fmt: skip


def _rounded_factor(
    table: Table, factor: float, found: float, error: float, case: Case
) -> Iterator[Hypothesis]:
    """The factor on the record's own grid, as Gemma keeps the root of the width in its dtype. Rows
    that the reference recorded have theirs, on its grid, already.
    """
    ids, root = case.more["ids"], case.output.shape[1] ** 0.5
    for whole in dict.fromkeys((factor, root)):
        had = _on_its_grid(whole, table.unit) if isinstance(table, RecordedTable) else whole
        has = _on_its_grid(whole, case.units["output"])
        ratio = has / had
        if ratio != 1.0 and abs(ratio * factor - found) <= max(_ALIKE_FACTOR * error, 1e-6):
            text = f"the factor is {has:.6g} where the reference has {had:.6g}: dtypes round it"
            yield Hypothesis(
                "precision", text, partial(predicted, table, ratio * factor, case, ids), "factor",
                f"{had:.6g}", f"{has:.6g}", number_words(error),
            )  # fmt: skip
            return


def _on_its_grid(factor: float, unit: float) -> float:
    return float(on_grid(np.array([factor]), unit)[0])


def _other_rows(
    scene: Scene, table: Table, factor: float, base: Prediction, case: Case, positions: bool
) -> Iterator[Hypothesis]:
    """Rows of other ids: those that the side recorded for itself, else what the table has."""
    ids, own = case.more["ids"], case.more["own"]
    if positions and not np.array_equal(ids, own):
        yield _of_ids(table, factor, case, own, ids, positions)
    wrong = np.flatnonzero(row_ratios(case, base) > _ALIKE)
    if not len(wrong) or not factor:
        return
    found = table.find(case.output[wrong] / factor, scene.cancelled)
    known = found >= 0
    if not known.any():
        return
    other = ids.copy()
    other[wrong[known]] = found[known]
    yield _of_ids(table, factor, case, other, ids, positions)


def _of_ids(
    table: Table, factor: float, case: Case, other: Array, ids: Array, positions: bool
) -> Hypothesis:
    what = "positions" if positions else "ids"
    moved = np.flatnonzero(other != ids)
    shown = [f"row {case.rows[i]}: {other[i]} for {ids[i]}" for i in moved[:_SHOWN]]
    more = ", ..." if len(moved) > _SHOWN else ""
    text = f"{len(moved)} rows are those of other {what} ({', '.join(shown)}{more})"
    if len(moved) == 1:
        text = f"one row is that of a different {what[:-1]} ({shown[0]})"
    steps = np.unique(other[moved] - ids[moved])
    if len(steps) == 1 and len(moved) > 1:
        text = f"{len(moved)} rows are those of {what} that are off by {int(steps[0]):+d}"
    return Hypothesis(
        "positions" if positions else "embedding", text,
        partial(predicted, table, factor, case, other), what,
        ", ".join(map(str, ids[moved[:_SHOWN]])), ", ".join(map(str, other[moved[:_SHOWN]])),
        "", len(moved),
    )  # fmt: skip
