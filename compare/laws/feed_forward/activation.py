"""Activation functions: y = f(x), element by element. There are no weights: the reference itself
shows which function it has; its class and the config only decide between functions that fit alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case, read_source
from ..names import kind_name
from ..numerics.local_error import total_ratio
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import STILL, Jitter, spread_of, worked_on
from .functions import FUNCTIONS, Function, function_named, likely_function

_DRAWS = 2
_NEAR = 4  # functions that are looked at closely
_UNLIKELY = 1.5  # times better that a function must fit than the one that class or config name
_ALIKE = 0.5  # units of predicted rounding within which two functions cannot be told apart


class ActivationLaw:
    """The law of activation functions."""

    name = "activation"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if key not in scene.candidate.known:
                continue
            for module, source in _places(scene, key):
                yield Site(self.name, module, key, kind_name(key), (("x", source),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ("x",))
        if case is None or case.inputs["x"].shape != case.output.shape:
            return None
        return case

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        some = reference.thinned_elements()
        tries = Tries(some, partial(drawn, some))
        for function in tries.in_order(likely_of(scene, site)):
            yield Fit({"function": function.words}, {"function": tries.words(function)})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        function = function_named(fit.values["function"])
        return [Tries(case, partial(drawn, case)).prediction(function) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        tries = Tries(candidate, partial(drawn, candidate))
        own = function_named(fit.values["function"])
        yield from tries.hypotheses(own, fit.words["function"])
        yield from _of_other_inputs(scene, site, own, candidate)
        yield from output_hypotheses(tries.prediction(own), candidate, site.groups)


def drawn(case: Case, function: Function, jitter: Jitter) -> Array:
    """A function of a case's input, with the roundings that `jitter` draws."""
    x, units = case.inputs["x"], case.units
    if not jitter.still:
        x = worked_on(x, units["x"], units["output"])
    return function.of(jitter(x, units["x"]), lambda v: jitter(v, units["output"]))


@dataclass
class Tries:
    """What each function gives for a case; `draw` evaluates one with jittered intermediates."""

    case: Case
    draw: Callable[[Function, Jitter], Array]
    _values: dict[str, Array] = field(default_factory=dict)
    _predictions: dict[str, Prediction] = field(default_factory=dict)

    def value(self, function: Function) -> Array:
        if function.words not in self._values:
            self._values[function.words] = self.draw(function, STILL)
        return self._values[function.words]

    def prediction(self, function: Function) -> Prediction:
        if function.words not in self._predictions:
            value = self.value(function)
            moved = [self.draw(function, Jitter(seed)) for seed in range(_DRAWS)]
            spread = spread_of(value, moved, self.case.units["output"])
            self._predictions[function.words] = Prediction(value, spread)
        return self._predictions[function.words]

    def in_order(self, likely: Function | None) -> Iterator[Function]:
        """The few functions that fit best, the best first; `likely` before all that fit no
        better.
        """
        if likely is not None and self._misses(likely) < _ALIKE * _UNLIKELY:
            yield likely  # no other can come before it: they are worked out when they are needed
            yield from (function for function in self._sorted(likely) if function is not likely)
        else:
            yield from self._sorted(likely)

    def _sorted(self, likely: Function | None) -> list[Function]:
        y = self.case.output
        size = spread_of(y, [], self.case.units["output"])  # roughly, for all of them alike
        near = sorted(FUNCTIONS, key=lambda f: _misfit(y - self.value(f), size))[:_NEAR]
        if likely is not None and likely not in near:
            near.append(likely)
        found = {f.words: self._misses(f) for f in near}
        return sorted(near, key=lambda f: found[f.words] * (1.0 if f is likely else _UNLIKELY))

    def _misses(self, function: Function) -> float:
        """By how much a function misses the record, in units of rounding."""
        return max(total_ratio(self.case, self.prediction(function)), _ALIKE)

    def words(self, function: Function) -> str:
        """The function's words, with all those that give the same for these inputs."""
        own = self.prediction(function)
        alike = [f.words for f in FUNCTIONS if f is not function and same(own, self.value(f))]
        return " or ".join([function.words, *alike])

    def hypotheses(self, own: Function, ours: str) -> Iterator[Hypothesis]:
        """Every other function; of those that cannot be told apart here, one that names them
        all.
        """
        said = [self.prediction(own)]
        for function in FUNCTIONS:
            if any(same(other, self.value(function)) for other in said):
                continue
            said.append(self.prediction(function))
            theirs = self.words(function)
            unsure = "" if theirs == function.words else "these cannot be distinguished here"
            yield Hypothesis(
                "activation", f"{theirs} where the reference has {ours}",
                partial(self.prediction, function), "function", ours, theirs, unsure,
            )  # fmt: skip


def likely_of(scene: Scene, site: Site) -> Function | None:
    """What the class, or the config, says that the function at a site is."""
    module = site.module
    if scene.reference.role(module) != "activation":
        module = f"{module}.act_fn"
    return likely_function(scene.reference.classes.get(module), scene.config)


def _misfit(error: Array, size: Array) -> float:
    """The error in units of `size`; infinite where it is not finite."""
    squares = float(np.square(error).sum()) / max(float(np.square(size).sum()), 1e-300)
    return squares if np.isfinite(squares) else np.inf


def same(one: Prediction, value: Array) -> bool:
    """Whether a value differs from a prediction by less than rounding, in no channel by more."""
    squares = np.square(one.value - value)
    spread = np.square(np.broadcast_to(one.spread, value.shape))
    by_channel = squares.sum(0) <= 4 * _ALIKE**2 * spread.sum(0)
    return bool(squares.sum() <= _ALIKE**2 * spread.sum() and by_channel.all())


def _places(scene: Scene, key: Key) -> Iterator[tuple[str, Source]]:
    """The module at fault and the input, where `key` is what a function returned."""
    if key.slot == "output" and scene.reference.role(key.module) == "activation":
        own = scene.reference.main_input(key.module, key.step, key.call)
        if own is not None and own.key in scene.candidate.known:
            yield key.module, (own.key,)
        else:
            yield from ((key.module, (before,)) for before in _before(scene, key))
    elif key.slot == "input_0" and scene.reference.role(key.module) == "down":
        # A function that no module shows; where there is a gate, that is another law.
        parent = parent_of(key.module)
        below = {scene.reference.role(child) for child in scene.reference.children.get(parent, ())}
        shown = _shows_function(scene, parent_of(parent))
        if not shown and not below & {"gate", "gate_up", "experts"}:
            yield from ((parent, (before,)) for before in _before(scene, key))


def _shows_function(scene: Scene, layer: str) -> bool:
    """Whether both sides have the output of an activation function inside a layer."""
    return any(
        key.slot == "output" and key.module.startswith(f"{layer}.")
        and scene.reference.role(key.module) == "activation" and key in scene.candidate.known
        for key in scene.reference.known
    )  # fmt: skip


def _of_other_inputs(scene: Scene, site: Site, own: Function, case: Case) -> Iterator[Hypothesis]:
    """Where the input is not recorded, it may have been that of the other projection."""
    ((key,),) = (source for _, source in site.inputs)
    if key.slot != "output":
        return
    count = scene.tables.rows(scene.candidate.known[site.target])
    parent = parent_of(key.module)
    for name in ("up_proj", "gate_proj"):
        other = Key(f"{parent}.{name}", "output", key.step, key.call)
        found = None if other == key else read_source(
            scene, scene.candidate, (other,), case.rows, count
        )  # fmt: skip
        if found is None or found[0].shape != case.output.shape:
            continue
        changed = replace(case, inputs={"x": found[0]}, units={**case.units, "x": found[1]})
        tries = Tries(changed, partial(drawn, changed))
        yield Hypothesis(
            "swapped", f"the function is applied to the output of {name}, not of "
            f"{key.module.rpartition('.')[2]}", partial(tries.prediction, own), "input",
            key.label, other.label,
        )  # fmt: skip


def _before(scene: Scene, key: Key) -> Iterator[Key]:
    """Outputs of the projection that a function may have been given."""
    parent = parent_of(key.module)
    for name in ("gate_proj", "up_proj"):
        before = Key(f"{parent}.{name}", "output", key.step, key.call)
        if before in scene.reference.known and before in scene.candidate.known:
            yield before
            return
