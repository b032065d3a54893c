"""The residual stream: a sum of what came before it, each term with a factor that is usually 1.

Which terms it is the sum of, the reference shows: the input of the layer and its attention (or that
behind a norm), and its MLP, one after the other or side by side. Where a record of the stream does
not hold what its terms add up to, the layer's own code is at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...capture.arrays import Array
from ..canonical import parent_of
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .names import kind_name, number_words
from .quantities import Key, SideQuantities
from .rounding import ROUNDED

_SURE = 6.0  # standard errors that a factor must be off by
_PLAIN = 2e-3  # a factor this near a plain number is said as that
_BRANCH_NORMS = (
    "post_attention_layernorm", "post_feedforward_layernorm", "post_self_attn_layernorm",
    "post_mlp_layernorm",
)  # fmt: skip


class ResidualLaw:
    """The law of the residual stream."""

    name = "residual"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if key not in scene.candidate.known or key.call != 1:
                continue
            layer = _layer_of(scene, key)
            if layer is None:
                continue
            for terms in _terms(scene, key, layer):
                inputs = tuple((label, (term,)) for label, term in terms)
                yield Site(self.name, layer, key, kind_name(key), inputs)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        names = [name for name, _ in site.inputs]
        case = read_case(scene, site, side, rows, names)
        if case is None or any(case.inputs[n].shape != case.output.shape for n in names):
            return None
        return case

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        names = [name for name, _ in site.inputs]
        yield _fit(dict.fromkeys(names, 1.0), read=True)
        config = scene.config.get("text_config") or scene.config
        factor = config.get("residual_multiplier")
        if isinstance(factor, int | float):
            yield _fit({n: 1.0 if n == "input" else float(factor) for n in names}, read=True)
        found = _factors(reference, names)
        if found is not None:
            yield _fit({n: _plain(f) for n, (f, _) in found.items()}, read=False)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["factors"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own: dict[str, float] = fit.values["factors"]
        for name in own:
            text = f"the {name} is not added"
            yield _hypothesis(text, {**own, name: 0.0}, candidate, name, own[name], "0")
        for name in own:
            for factor in (0.5, 2.0, -1.0):
                text = f"the {name} is added with a factor of {number_words(factor * own[name])}"
                yield _hypothesis(
                    text, {**own, name: factor * own[name]}, candidate, name, own[name],
                    number_words(factor * own[name]),
                )  # fmt: skip
        yield from _fitted(own, candidate)
        yield from _extra(scene, site, own, candidate)
        yield from output_hypotheses(predicted(own, candidate), candidate, site.groups)


def predicted(factors: dict[str, float], case: Case) -> Prediction:
    """The sum; each term's rounding, that of the sums in between, and the output's."""
    names = list(factors)
    value = np.zeros_like(case.output)
    squares = np.zeros_like(case.output)
    unit = case.units["output"]
    for name in names:
        term = factors[name] * case.inputs[name]
        value = value + term
        squares += np.square(case.units[name] * term)
        squares += np.square(unit * value)
    # Rounding of one element says nothing of its neighbours: a row's large channel stays its own.
    return Prediction(value, ROUNDED * np.sqrt(squares) + 1e-300)


def _fit(factors: dict[str, float], read: bool) -> Fit:
    words = {"sum": " + ".join(_term_words(n, f) for n, f in factors.items())}
    return Fit({"factors": factors}, words, read=read)


def _term_words(name: str, factor: float) -> str:
    return name if factor == 1.0 else f"{number_words(factor)} x {name}"


def _hypothesis(
    text: str, factors: dict[str, float], case: Case, name: str, reference: float, candidate: str,
    uncertainty: str = "", fitted: int = 0,
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        "residual", text, lambda: predicted(factors, case), f"factor of the {name}",
        number_words(reference), candidate, uncertainty, fitted,
    )  # fmt: skip


def _fitted(own: dict[str, float], case: Case) -> Iterator[Hypothesis]:
    """Each factor alone, fitted with the others as they should be."""
    base = predicted(own, case)
    weight = 1.0 / np.maximum(np.square(base.spread), 1e-300)
    left = np.where(np.isfinite(case.output), case.output - base.value, 0.0)
    for name in own:
        term = case.inputs[name]
        xx = (weight * term * term).sum(1)
        usable = xx > 0
        if not usable.any():
            continue
        steps = (weight * term * left).sum(1)[usable] / xx[usable]
        step = float(np.median(steps))
        error = float(1.4826 * np.median(np.abs(steps - step))) / max(1, len(steps)) ** 0.5
        factor = own[name] + step
        text = f"the {name} is added with a factor of {number_words(factor)}"
        yield _hypothesis(text, {**own, name: factor}, case, name, own[name],
                          number_words(factor), number_words(error), 1)  # fmt: skip


def _extra(scene: Scene, site: Site, own: dict[str, float], case: Case) -> Iterator[Hypothesis]:
    """A term too many: something else of the layer is added besides."""
    layer = site.module
    side = scene.candidate
    known = {source[0] for _, source in site.inputs}
    for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm"):
        key = Key(f"{layer}.{name}", "output", site.target.step)
        if key in known or key not in side.known:
            continue
        wider = replace(site, inputs=(*site.inputs, (name, (key,))))
        found = read_case(scene, wider, side, case.rows, [n for n, _ in wider.inputs])
        if found is None or found.inputs[name].shape != case.output.shape:
            continue
        text = f"the output of {name} is added besides"
        yield _hypothesis(text, {**own, name: 1.0}, found, name, 0.0, "1")
        text = f"the output of {name} is added where the reference adds the input"
        if "input" in own:
            yield _hypothesis(text, {**own, "input": 0.0, name: 1.0}, found, name, 0.0, "1")


def _factors(case: Case, names: Sequence[str]) -> dict[str, tuple[float, float]] | None:
    """Least squares of the terms' factors, weighed by the predicted rounding, and their standard
    errors; None where the terms depend on each other.
    """
    base = predicted(dict.fromkeys(names, 1.0), case)
    weight = (1.0 / np.maximum(base.spread, 1e-300)).ravel()
    columns = np.stack([case.inputs[n].ravel() * weight for n in names], 1)
    y = case.output.ravel() * weight
    gram = columns.T @ columns
    if not np.isfinite(gram).all() or np.linalg.cond(gram) > 1e10:
        return None
    found = np.linalg.solve(gram, columns.T @ y)
    left = y - columns @ found
    errors = np.sqrt(
        np.diag(np.linalg.inv(gram)) * float(left @ left) / max(1, len(y) - len(names))
    )
    return {n: (float(f), float(e)) for n, f, e in zip(names, found, errors, strict=True)}


def _plain(factor: float) -> float:
    for number in (0.0, 1.0, -1.0, 0.5, 2.0, 2.0**0.5, 2.0**-0.5):
        if abs(factor - number) <= _PLAIN:
            return number
    return factor


def _layer_of(scene: Scene, key: Key) -> str | None:
    """The layer whose code makes the stream that `key` records; None where it is no such record."""
    side = scene.reference
    role = side.role(key.module)
    if role == "layer" and key.slot == "output":
        return key.module
    quantity = side.known[key]
    if not quantity.is_float or not key.slot.startswith("input"):
        return None
    if role != "norm" or side.main_input(key.module, key.step) != quantity:
        return None
    parent = parent_of(key.module)
    if side.role(parent) == "layer":
        return parent
    return None


def _terms(scene: Scene, key: Key, layer: str) -> Iterator[list[tuple[str, Key]]]:
    """What the stream may be the sum of here, the likeliest first."""
    stream = _stream(scene, layer, key.step)
    if stream is None:
        return
    own = scene.reference.known[key].row
    branches = _branches(scene, layer, key.step, own)
    attention = [b for b in branches if b[0].startswith("attention")]
    others = [b for b in branches if not b[0].startswith("attention")]
    for first in attention or [None]:
        for second in others or [None]:
            both = [part for part in (first, second) if part is not None]
            if both:
                yield [("input", stream), *both]
    middle = Key(f"{layer}.post_attention_layernorm", "input_0", key.step)
    both_have = middle in scene.reference.known and middle in scene.candidate.known
    for label, branch in branches:
        yield [("input", stream), (label, branch)]
        if both_have and middle != key and scene.reference.known[middle].row < own:
            yield [("stream behind the attention", middle), (label, branch)]


def _stream(scene: Scene, layer: str, step: int) -> Key | None:
    """What the layer was given: its input, else that of its first norm or the layer before."""
    for side_key in (
        Key(layer, "input_0", step), Key(layer, "input_hidden_states", step),
        Key(f"{layer}.input_layernorm", "input_0", step),
    ):  # fmt: skip
        if side_key in scene.reference.known and side_key in scene.candidate.known:
            return side_key
    head, _, number = layer.rpartition(".")
    before = f"{head}.{int(number) - 1}" if number.isdecimal() and int(number) else "embed_tokens"
    key = Key(before, "output", step)
    return key if key in scene.reference.known and key in scene.candidate.known else None


def _branches(scene: Scene, layer: str, step: int, before: int) -> list[tuple[str, Key]]:
    """Outputs inside the layer that may be added to the stream, each with a name: a branch's own,
    and that of a norm behind it.
    """
    found: list[tuple[str, Key]] = []
    kind = ""
    for module in scene.reference.children.get(layer, ()):
        key = Key(module, "output", step)
        if key not in scene.reference.known or key not in scene.candidate.known:
            continue
        if scene.reference.known[key].row >= before:
            continue
        role, last = scene.reference.role(module), module.rpartition(".")[2]
        if role in ("attention", "mlp", "experts"):
            kind = "attention" if role == "attention" else "MLP"
            found.append((kind, key))
        elif role == "norm" and kind and last in _BRANCH_NORMS:
            found.append((f"{kind} behind {last}", key))
    return found
