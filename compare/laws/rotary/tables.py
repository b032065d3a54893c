"""Tables of rotary positions: cos and sin of position x frequency (see `rotary`).

The frequencies are the config's, or those that the reference's own tables show. Positions are the
recorded ones, else 0, 1, 2, ... Both tables of a side are looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from ..names import kind_name, number_words
from ..numerics.local_error import local_error
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import ROUNDED, on_grid
from .fit import Turning, base_of, plain_rotary, rotary_from, turning
from .frequencies import USUAL_BASES, Rotary, rotary_of
from .layouts import in_halves, layout_on

_ANGLES = 2.0**-24  # unit roundoff that angles are computed in
_MOST_SHIFT = 16  # positions beyond either end that a row may have
_MOST_PLACES = 1 << 13  # positions that a row is looked for at
# Grids that frequencies are kept on; 0: as computed. `model.to(bfloat16)` casts them, too.
_GRIDS = {0.0: "float32", 2.0**-8: "bfloat16", 2.0**-11: "float16"}
_ALIKE = 1.5  # times the least local error that a base with cast frequencies may leave
_FACTORS = (2.0, 4.0, 8.0, 0.5, 0.25)


@dataclass(frozen=True)
class Turn:
    """How a side turns: its frequencies, the direction, and the grid that frequencies are kept on
    (0: as computed).
    """

    rotary: Rotary
    sign: float = 1.0
    grid: float = 0.0
    exchanged: bool = False  # cos for sin


class RotaryTablesLaw:
    """The law of the tables of cos and sin."""

    name = "rotary tables"
    whole_sequences = True
    few_roundings = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for cos in list(scene.reference.known):
            if scene.reference.role(cos.module) != "rotary" or cos.slot != "output":
                continue
            sin = Key(cos.module, "output_1", cos.step, cos.call)
            if all(key in side.known for key in (cos, sin) for side in scene.sides):
                for key in (cos, sin):
                    yield Site(self.name, cos.module, key, kind_name(key),
                               (("cos", (cos,)), ("sin", (sin,))))  # fmt: skip

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ("cos", "sin"))
        layout = layout_on(scene, site, side)
        if case is None or (layout != "single" and case.output.shape[1] % 2):
            return None
        positions = _positions(scene, site, side)
        if positions is None:
            return None
        inputs = {name: in_halves(case.inputs[name], layout) for name in ("cos", "sin")}
        return replace(
            case, output=in_halves(case.output, layout),
            inputs={**inputs, "positions": positions[rows]},
            more={"length": int(positions.max(initial=0)) + 1},
        )  # fmt: skip

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        width = reference.output.shape[1]
        turns = [
            Turn(rotary, grid=grid) for rotary in rotary_of(scene.config, width) for grid in _GRIDS
        ]
        errors = [local_error(reference, predicted(site, t, reference)).total for t in turns]
        for at in sorted(range(len(turns)), key=lambda i: max(errors[i], 1.0)):
            yield _fit(turns[at], read=True)
        inputs = reference.inputs
        found = rotary_from(
            inputs["cos"], inputs["sin"], inputs["positions"], reference.units["output"]
        )
        if found is not None:
            yield from (_fit(turn, read=False) for turn in _coarse(site, found, reference))
            yield _fit(Turn(found), read=False)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(site, fit.values["turn"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterator[Hypothesis]:
        own: Turn = fit.values["turn"]
        yield from _simple(site, own, candidate)
        yield from _bases(site, own, candidate)
        yield from _scalings(site, own, candidate)
        for turn, words in _uncast(own, candidate):
            for changes in (_bases, _scalings):
                for found in changes(site, turn, candidate):
                    yield replace(found, text=f"{found.text}; {words}")
        yield from _positions_off(site, own, candidate)
        base = predicted(site, own, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


def predicted(site: Site, turn: Turn, case: Case, positions: Array | None = None) -> Prediction:
    """The site's own table for the case's positions, and how far rounding of the angles moves
    it.
    """
    at = case.inputs["positions"] if positions is None else positions
    frequency = turn.rotary.frequencies(case.more["length"])
    if turn.grid:
        frequency = on_grid(frequency, turn.grid)
    angles = at[:, None].astype(np.float64) * frequency[None, :]
    angles = np.concatenate([angles, angles], axis=1)
    factor = turn.rotary.factor()
    cos, sin = np.cos(angles) * factor, turn.sign * np.sin(angles) * factor
    if turn.exchanged:
        cos, sin = sin, cos
    first = site.target.slot == "output"
    value, slope = (cos, sin) if first else (sin, cos)
    unit = case.units["output"]
    value = on_grid(value, unit)  # many angles are so small that all cosines round alike
    squares = np.square(ROUNDED * unit * value) + np.square(2 * _ANGLES * angles * slope)
    return Prediction(value, np.sqrt(squares + np.square(0.1 * unit * factor)))


def _fit(turn: Turn, read: bool) -> Fit:
    kept = f", kept in {_GRIDS[turn.grid]}" if turn.grid else ""
    return Fit({"turn": turn}, {"frequencies": turn.rotary.words() + kept}, read=read)


def _coarse(site: Site, found: Rotary, case: Case) -> Iterator[Turn]:
    """A base whose frequencies were cast, where it gives the tables as well as the frequencies that
    were found in them.
    """
    inputs = case.inputs
    shown = turning(inputs["cos"], inputs["sin"], inputs["positions"], case.units["output"])
    if found.fitted is None or shown is None:
        return
    prediction = predicted(site, Turn(found), case)
    if prediction.value.shape != case.output.shape:  # what was returned is no table
        return
    least = local_error(case, prediction).total
    for grid in _GRIDS:
        plain = plain_rotary(shown, found.width, grid) if grid else None
        if plain is not None:
            turn = Turn(plain, grid=grid)
            if local_error(case, predicted(site, turn, case)).total <= max(1.0, _ALIKE * least):
                yield turn


def _positions(scene: Scene, site: Site, side: SideQuantities) -> Array | None:
    """The position of every row of the tables."""
    key = site.target
    count = scene.tables.rows(side.known[key])
    for quantity in side.calls.get((key.module, key.step, key.call), []):
        if quantity.key.slot.startswith("input") and not quantity.is_float:
            found = scene.tables.whole(quantity).reshape(-1)
            if len(found) == count:
                return found
    if key.step:
        return None  # where a later step begins is not known
    length = _length(scene.tables.shape(scene.reference.known[key]))
    shape = scene.tables.shape(side.known[key])[:-1]
    axes = [axis for axis, size in enumerate(shape) if size == length]
    if not axes:
        return None
    return np.indices(shape)[axes[-1]].reshape(-1).astype(np.float64)


def _length(shape: tuple[int, ...]) -> int:
    """How many tokens tables `[..., tokens, width]`, or `[tokens, 1, 1, width]`, are of."""
    sizes = [1, *shape[:-1]]
    return sizes[-1] if sizes[-1] > 1 else next((size for size in sizes if size > 1), 1)


def _hypothesis(
    name: str, text: str, site: Site, turn: Turn, case: Case, parameter: str, reference: str,
    candidate: str, uncertainty: str = "", fitted: int = 0,
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        name, text, lambda: predicted(site, turn, case), parameter, reference, candidate,
        uncertainty, fitted,
    )  # fmt: skip


def _simple(site: Site, own: Turn, case: Case) -> Iterator[Hypothesis]:
    turned = replace(own, sign=-own.sign)
    yield _hypothesis("rope-direction", "sin has the opposite sign: it rotates in the opposite "
                                        "direction", site,
                      turned, case, "sign of sin", "+", "-")  # fmt: skip
    text, exchanged = "cos and sin are swapped", replace(own, exchanged=True)
    yield _hypothesis("swapped", text, site, exchanged, case, "tables", "cos, sin", "sin, cos")
    for grid, name in _GRIDS.items():
        if grid != own.grid:
            text, other = f"the frequencies are kept in {name}", replace(own, grid=grid)
            yield _hypothesis("precision", text, site, other, case, "frequencies",
                              _GRIDS[own.grid], name)  # fmt: skip


def _bases(site: Site, own: Turn, case: Case) -> Iterator[Hypothesis]:
    if own.rotary.fitted is not None:
        return
    ours = number_words(own.rotary.base)
    for base in USUAL_BASES:
        if base != own.rotary.base:
            text = f"base {number_words(base)} where the reference has {ours}"
            changed = replace(own, rotary=replace(own.rotary, base=base))
            yield _hypothesis("rope-base", text, site, changed, case, "base", ours,
                              number_words(base))  # fmt: skip
    found = _turning(own, case)
    if found is None:
        return
    base, error, _ = base_of(found, own.rotary.width)
    if base > 1:
        text = f"base {base:.6g} where the reference has {ours}"
        changed = replace(own, rotary=replace(own.rotary, base=base))
        yield _hypothesis("rope-base", text, site, changed, case, "base", ours, f"{base:.6g}",
                          number_words(error), 1)  # fmt: skip


def _scalings(site: Site, own: Turn, case: Case) -> Iterator[Hypothesis]:
    rotary = own.rotary
    if rotary.scheme != "default":
        plain = Rotary(rotary.width, rotary.base)
        text = f"no scaling where the reference has {rotary.scheme} scaling"
        yield _hypothesis("rope-scaling", text, site, replace(own, rotary=plain), case, "scaling",
                          rotary.scheme, "none")  # fmt: skip
    frequency = rotary.frequencies(case.more["length"])
    factors = list(_FACTORS)
    found = _turning(own, case)
    fitted, error = None, 0.0
    if found is not None and found.frequency.shape == frequency.shape:
        weight = np.square(frequency / np.maximum(found.error, 1e-300))
        ratio = found.frequency / frequency
        fitted = float((weight * ratio).sum() / weight.sum())
        error = float(weight.sum()) ** -0.5
        if fitted > 0:  # a number that was chosen, where rounding of frequencies blurs it
            factors += [f for f in (round(1 / fitted, 1), round(1 / fitted, 2)) if f not in (0, 1)]
        for scheme, scaling in _SCHEMES:
            other = replace(rotary, scheme=scheme, scaling=scaling, fitted=None)
            if rotary.fitted is None and scheme != rotary.scheme:
                text = f"{scheme} scaling by {scaling['factor']:g} where the reference has none"
                yield _hypothesis("rope-scaling", text, site, replace(own, rotary=other), case,
                                  "scaling", rotary.scheme, scheme)  # fmt: skip
    for factor in dict.fromkeys(factors):
        text = f"positions are divided by {factor:g} (linear scaling)"
        changed = replace(own, rotary=_divided(rotary, frequency, factor))
        yield _hypothesis("rope-scaling", text, site, changed, case, "factor", "1", f"{factor:g}")
    if fitted is not None and fitted > 0:
        text = f"all frequencies are {fitted:.6g} x those of the reference"
        changed = replace(own, rotary=_divided(rotary, frequency, 1 / fitted))
        yield _hypothesis("rope-scaling", text, site, changed, case, "factor", "1",
                          f"{1 / fitted:.6g}", number_words(error), 1)  # fmt: skip
        assert found is not None
        ratio, factor = found.frequency / frequency, found.factor
        if 0 < ratio[-1] < 1:  # YaRN's own factor, where the tables' rounding blurs it
            usual = rotary.factor() * (0.1 * np.log(1 / ratio[-1]) + 1)
            factor = usual if abs(factor / usual - 1) < case.units["output"] else factor
        changed = replace(rotary, fitted=found.frequency, factor_fitted=factor)
        words = _by_frequency(ratio, factor / rotary.factor())
        yield _hypothesis("rope-scaling", words, site, replace(own, rotary=changed), case,
                          "frequencies", rotary.words(), "fitted", "",
                          len(frequency))  # fmt: skip


def _by_frequency(ratio: Array, factor: float) -> str:
    """Frequencies that no tried scheme gives, in words; YaRN and Llama 3 leave the highest ones as
    they are and divide the lowest ones.
    """
    text = "different frequencies, of no known scheme"
    falling = bool((np.diff(ratio) <= 0.01).all())
    if falling and abs(ratio[0] - 1) < 0.01 and 0 < ratio[-1] < 0.9:
        by = f"{1 / ratio[-1]:.3g}"
        text = (
            f"the lowest frequencies are divided by {by}, the highest are not (as in YaRN's and "
            "Llama 3's scaling)"
        )
    if abs(factor - 1) > 1e-3:
        text += f", cos and sin are multiplied by {factor:.4g}"
    return text


_SCHEMES: tuple[tuple[str, dict[str, float]], ...] = tuple(
    (scheme, {"factor": factor, "original_max_position_embeddings": original, **more})
    for factor in (2.0, 4.0, 8.0, 32.0)
    for original in (2048.0, 4096.0, 8192.0)
    for scheme, more in (
        ("yarn", {}), ("llama3", {"low_freq_factor": 1.0, "high_freq_factor": 4.0}),
    )
)  # fmt: skip


def _uncast(own: Turn, case: Case) -> Iterator[tuple[Turn, str]]:
    """Of a model that was cast: its frequencies before that, and those that were cast, for changes
    afterwards.
    """
    if own.grid:
        kept = on_grid(own.rotary.frequencies(case.more["length"]), own.grid)
        cast = _divided(own.rotary, kept, 1.0)
        yield replace(own, grid=0.0), "frequencies are kept in float32"
        yield replace(own, grid=0.0, rotary=cast), "after the cast, in float32"
        yield replace(own, rotary=cast), "after the cast"


def _turning(own: Turn, case: Case) -> Turning | None:
    """What the candidate's tables show, with the error that the grid of frequencies makes."""
    inputs = case.inputs
    found = turning(inputs["cos"], inputs["sin"], inputs["positions"], case.units["output"])
    if found is None or not own.grid:
        return found
    return replace(found, error=np.hypot(found.error, ROUNDED * own.grid * found.frequency))


def _divided(rotary: Rotary, frequency: Array, factor: float) -> Rotary:
    return replace(rotary, fitted=frequency / factor, factor_fitted=rotary.factor())


def _positions_off(site: Site, own: Turn, case: Case) -> Iterator[Hypothesis]:
    """Every row at the position that it fits best, the next one to its own where several do. A
    single row may as well have its frequencies divided.
    """
    at = case.inputs["positions"]
    moved = _fitting_positions(own, case, at)
    off = np.rint(moved - at).astype(np.int64)
    if not off.any():
        ids = np.arange(len(at))
        if (at != ids).any():  # recorded positions that were not used
            yield Hypothesis("positions", "the recorded positions are not used, but 0, 1, 2, ...",
                             lambda: predicted(site, own, case, ids), "positions", "as recorded",
                             "0, 1, 2, ...")  # fmt: skip
        return
    text = _off_words(off, moved, case.rows)
    said = text.removeprefix("all ").removeprefix("positions ").removeprefix("are ")
    yield Hypothesis("positions", text, lambda: predicted(site, own, case, moved), "positions",
                     "as recorded", said)  # fmt: skip
    order = at[::-1]
    yield Hypothesis("positions", "positions run backwards",
                     lambda: predicted(site, own, case, order), "positions", "as recorded",
                     "backwards")  # fmt: skip


def _off_words(off: Array, moved: Array, rows: Array) -> str:
    """In words how positions are off, `off` by row of the sample."""
    if len(np.unique(off)) == 1:
        return f"all positions are off by {off[0]:+d}"
    changes = np.flatnonzero(np.diff(off))
    if len(changes) == 1:
        first = int(changes[0]) + 1
        if not off[0]:
            return f"positions are off by {off[first]:+d} from row {int(rows[first])} on"
        if not off[-1]:
            return f"positions are off by {off[0]:+d} before row {int(rows[first])}"
    again = np.flatnonzero(moved[1:] < moved[:-1]) + 1
    if len(again) and not off[: again[0]].any():
        return f"positions restart at {int(moved[again[0]])} in row {int(rows[again[0]])}"
    first = int(np.flatnonzero(off)[0])
    return (
        f"positions are off by {off.min():+d} to {off.max():+d}, by {off[first]:+d} first in row "
        f"{int(rows[first])}"
    )


def _fitting_positions(own: Turn, case: Case, at: Array) -> Array:
    """For every row the whole position whose angles are nearest to the recorded ones: of all from 0
    up to twice the greatest, and some beyond either end.
    """
    frequency = own.rotary.frequencies(case.more["length"])
    if own.grid:
        frequency = on_grid(frequency, own.grid)
    half, factor = len(frequency), own.rotary.factor()
    cos, sin = case.inputs["cos"][:, :half], own.sign * case.inputs["sin"][:, :half]
    if own.exchanged:
        cos, sin = own.sign * sin, own.sign * cos
    last = min(int(at.max(initial=0)) * 2, _MOST_PLACES) + _MOST_SHIFT
    places = np.arange(min(0, int(at.min(initial=0))) - _MOST_SHIFT, last + 1)
    angles = places[:, None] * frequency[None, :]
    like = factor * (cos @ np.cos(angles).T + sin @ np.sin(angles).T)  # [rows, places]
    size = float(np.square(cos).sum(1).mean() + np.square(sin).sum(1).mean())
    unit = case.units["output"]
    alike = 4 * half * np.square(unit * factor) + 2 * _ANGLES * size
    near = like >= like.max(1, keepdims=True) - alike
    apart = np.where(near, np.abs(places[None, :] - at[:, None]), np.inf)
    return places[apart.argmin(1)].astype(np.float64)
