"""What enters the first layer, or the norm in front of it: the embedding of the token times a
factor, plus those of its position and type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from ....capture.values import Array
from ...weights.fused_weights import text_config
from ..config_names import EMBEDDING_FACTORS
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_source
from ..names import kind_name, number_words
from ..numerics.local_error import local_error
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import unit_of
from ..numerics.sums import summed
from ..residual.causes import exchanged, factor_text, fitted_factor

_MOST_ERROR = 6.0  # units of rounding that the reference's own sum may be off by
_SHIFTS = (1, -1, 2, -2)
_TOKENS = "tokens"


@dataclass(frozen=True)
class Entry:
    """The factor of the tokens' embedding, and the names of what else is added."""

    factor: float
    added: tuple[str, ...]


class EmbeddingSumLaw:
    """The law of what is made of embeddings."""

    name = "embedding-sum"
    whole_sequences = True
    few_roundings = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        side = scene.reference
        for key in list(side.known):
            if key.slot != "output" or side.role(key.module) != "embedding":
                continue
            added = [
                other for other in side.known
                if other.slot == "output" and side.role(other.module) == "positions"
                and (other.step, other.call) == (key.step, key.call)
            ]  # fmt: skip
            inputs = [(_TOKENS, (key,))]
            inputs += [(f"added {k.label}", (k,)) for k in added if k in scene.candidate.known]
            for target in _targets(scene, key):
                yield Site(self.name, "model", target, kind_name(target), tuple(inputs))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known[site.target]
        output, count = scene.tables.read(target, rows), scene.tables.rows(target)
        inputs: dict[str, Array] = {}
        units = {"output": unit_of(output, target.dtype)}
        for name, source in site.inputs:
            (key,) = source
            found = read_source(scene, side, source, rows, count)
            if found is None and key in side.known:
                found = _repeated(scene, side, key, rows, count)
            if found is not None and found[0].shape == output.shape:
                inputs[name], units[name], _ = found
        if _TOKENS not in inputs:
            return None
        return Case(side.side, output, rows, inputs, units)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        if np.array_equal(reference.output, reference.inputs[_TOKENS]):
            return  # passed on as it is
        names = [name for name in reference.inputs if name != _TOKENS]
        sums = [c for count in range(len(names) + 1) for c in combinations(names, count)]
        given = _factors(scene, reference.output.shape[1])
        found = _best((Entry(factor, chosen) for chosen in sums for factor in given), reference)
        yield from found or _best((_fitted(chosen, reference) for chosen in sums), reference)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        entry: Entry = fit.values["entry"]
        have = [all(name in case.inputs for name in entry.added) for case in cases]
        return [predicted(entry, c) if h else None for c, h in zip(cases, have, strict=True)]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        entry: Entry = fit.values["entry"]
        base = predicted(entry, candidate)
        yield from _factor(entry, base, candidate)
        for name in entry.added:
            yield from _positions(name, base, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


def _best(entries: Iterable[Entry | None], case: Case) -> list[Fit]:
    """The sums that the reference keeps to, the best first."""
    found: list[tuple[float, int, Entry]] = []
    for entry in entries:
        if entry is not None:
            error = local_error(case, predicted(entry, case)).total
            found.append((max(error, 1.0), len(found), entry))
    good = sorted((e for e in found if e[0] <= _MOST_ERROR), key=lambda e: e[:2])[:2]
    return [Fit({"entry": entry}, _words(entry)) for _, _, entry in good]


def _fitted(chosen: tuple[str, ...], case: Case) -> Entry | None:
    """With a factor of the tokens that is fitted to the reference."""
    found = fitted_factor(_TOKENS, predicted(Entry(1.0, chosen), case), case)
    if found is None or abs(found[0]) < 4 * found[1]:
        return None
    return Entry(found[0], chosen)


def predicted(entry: Entry, case: Case) -> Prediction:
    """The sum of a case's embeddings."""
    terms = {_TOKENS: entry.factor * case.inputs[_TOKENS]}
    terms |= {name: case.inputs[name] for name in entry.added}
    return summed(terms, case.units, case.units["output"])


def _targets(scene: Scene, key: Key) -> Iterator[Key]:
    """The first recorded place behind the embedding: the norm of BERT's, the first layer."""
    side, prefix = scene.reference, key.module.rpartition(".")[0]
    start = f"{prefix}." if prefix else ""
    names = [m for m in side.children.get(prefix, ()) if side.role(m) == "norm"]
    names += [f"{start}embeddings.norm", f"{start}embeddings.LayerNorm", f"{start}layers.0"]
    names += [f"{start}layers.0.input_layernorm"]
    behind = [side.main_input(name, key.step, key.call) for name in names]
    known = [
        q for q in behind
        if q is not None and q.row > side.known[key].row
        and q.key in scene.candidate.known and scene.candidate.known[q.key].is_float
    ]  # fmt: skip
    yield from (quantity.key for quantity in sorted(known, key=lambda q: q.row)[:1])


def _repeated(
    scene: Scene, side: SideQuantities, key: Key, rows: Array, count: int
) -> tuple[Array, float, list[str]] | None:
    """Positions that all rows of a batch share."""
    quantity = side.known[key]
    own = scene.tables.rows(quantity)
    if not quantity.is_float or own == 0 or count % own:
        return None
    values = scene.tables.read(quantity, rows % own)
    return values, unit_of(values, quantity.dtype), []


def _factors(scene: Scene, width: int) -> list[float]:
    config = text_config(scene.config)
    said = [config.get(name) for name in EMBEDDING_FACTORS]
    given = [float(v) for v in said if isinstance(v, int | float) and v]
    return list(dict.fromkeys([1.0, *given, width**0.5]))


def _words(entry: Entry) -> dict[str, str]:
    first = "tokens" if entry.factor == 1 else f"{number_words(entry.factor)} x tokens"
    return {"sum": " + ".join([first, *(name.partition(" ")[2] for name in entry.added)])}


def _factor(entry: Entry, base: Prediction, case: Case) -> Iterator[Hypothesis]:
    found = fitted_factor(_TOKENS, base, case)
    if found is None:
        return
    factor, error = found
    ours, root = number_words(entry.factor), case.output.shape[1] ** 0.5
    total, uncertain = factor * entry.factor, error * entry.factor
    for plain in (1.0, root, 0.0, total):
        if abs(plain - total) > 4 * uncertain:
            continue
        theirs = number_words(plain) if plain != total else f"{total:.6g}"
        text = f"the embedding of tokens has a factor of {theirs} where the reference has {ours}"
        value = plain * case.inputs[_TOKENS]
        yield Hypothesis(
            "embedding", text, partial(exchanged, base, _TOKENS, value), "factor", ours, theirs,
            number_words(uncertain), int(plain == total),
        )  # fmt: skip
        return


def _positions(name: str, base: Prediction, case: Case) -> Iterator[Hypothesis]:
    label, term = name.partition(" ")[2], base.terms[name]
    cause = "positions" if "type" not in label else "embedding"
    found = fitted_factor(name, base, case)
    if found is not None and abs(found[0]) <= max(4 * found[1], 1e-3):
        yield Hypothesis(
            cause, f"{label} is not added", partial(exchanged, base, name, 0.0 * term), "factor",
            "1", "0",
        )  # fmt: skip
    elif found is not None:
        theirs = f"{found[0]:.6g}"
        yield Hypothesis(
            cause, factor_text(name, theirs, "1"), partial(exchanged, base, name, found[0] * term),
            "factor", "1", theirs, number_words(found[1]), 1,
        )  # fmt: skip
    if len(case.rows) < 8 or np.any(np.diff(case.rows) != 1):
        return
    for shift in _SHIFTS:
        moved = np.roll(term, shift, axis=0)
        edge = slice(0, shift) if shift > 0 else slice(shift, None)
        moved[edge] = case.output[edge] - (base.value - term)[edge]  # rows that are not known
        text = f"positions are off by {-shift:+d}"
        yield Hypothesis(
            cause, text, partial(exchanged, base, name, moved), "shift", "0", f"{-shift:+d}"
        )
