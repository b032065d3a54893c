"""What a law is: where it applies, what it predicts, and what could be wrong there.

A law is evaluated at a `Site`, for each side by itself, on a sample of rows: `read` gives what was
recorded there (a `Case` a side), `fit` the parameters that the *reference* has (read from its
checkpoint or fitted to its records), `predict` what each side should have given for its own inputs.
Where a candidate does not keep to the law, `hypotheses` are changes of one thing at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ...capture.values import Array
from ...capture.weights import Parameter, Weights
from ..weights.parameters import Weight
from .numerics.quantities import Key, SideQuantities, Tables
from .numerics.rounding import on_grid, unit_of

# Elements, and rows at least, that a law's form is chosen by (which function, which sum): forms
# differ by far more than rounding.
_CHOOSING, _CHOOSING_ROWS = 1 << 15, 8
_LARGEST = 64  # channels with the largest outputs, of those that are thinned out


class Parameters(Protocol):
    """The tensors of a checkpoint by canonical module name."""

    weights: Weights

    def weight(self, module: str, name: str = "weight") -> Weight | None: ...

    def find(self, module: str, name: str = "weight") -> Parameter | None: ...

    def modules(self) -> Iterator[str]: ...

    def entries(self) -> Iterator[tuple[str, str, Parameter]]: ...


@dataclass(frozen=True)
class Scene:
    """Everything that laws may look at. `parameters` and `config` are the reference's; those of the
    candidate only explain. `kept` are fits that the reference has kept to so far, by law and kind
    of place: what a layer does, its peers are likely to do.
    """

    reference: SideQuantities
    candidate: SideQuantities
    tables: Tables
    parameters: Parameters | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    candidate_parameters: Parameters | None = None
    candidate_config: Mapping[str, Any] = field(default_factory=dict)
    peaks: Mapping[int, int] = field(default_factory=dict)  # row of the comparison -> flat row
    cancelled: Callable[[], bool] | None = None
    kept: dict[tuple[str, str], list[Fit]] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[SideQuantities, SideQuantities]:
        return self.reference, self.candidate


# The quantities that an input is the sum of: usually one.
Source = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a law applies: `target` is the quantity that it predicts, `module` the module
    that is at fault when it does not hold. `inputs` say which quantities each input is the sum of,
    by the law's own words. `kind` is common to its peers in the other layers. Several sites with
    one target are alternatives: the first that the reference keeps to is taken.
    """

    law: str
    module: str
    target: Key
    kind: str
    inputs: tuple[tuple[str, Source], ...] = ()
    groups: int = 1  # equal parts of the last axis (heads) that are looked at one by one

    def source(self, name: str) -> Source:
        """The quantities of an input; `()` where the site has none of that name."""
        return dict(self.inputs).get(name, ())


@dataclass(frozen=True)
class Case:
    """What one side recorded at a site, float64. `output` is `[rows, channels]`, `rows` are the
    flat rows of the target's view that were taken; `units` are the half units in the last place
    (relative to a value) of the grid that each input, and `output`, lies on. `derived` names inputs
    that were not recorded but worked out from others.
    """

    side: str
    output: Array
    rows: Array
    inputs: Mapping[str, Array]
    units: Mapping[str, float]
    derived: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)  # whatever else the law needs

    def thinned(self) -> Case:
        """The same with some of the rows, evenly spread: enough to choose a law's form by."""
        count, width = self.output.shape
        most = max(_CHOOSING_ROWS, _CHOOSING // max(1, width))
        if count <= most:
            return self
        take = np.linspace(0, count - 1, most).astype(np.int64)
        inputs = {n: v[take] if len(v) == count else v for n, v in self.inputs.items()}
        return replace(self, output=self.output[take], rows=self.rows[take], inputs=inputs)

    def thinned_elements(self) -> Case:
        """The same with some of the rows and, of wide ones, some of the channels: for laws that
        work element by element. The channels with the largest outputs are among them, since what
        is alike near 0 may be unlike there.
        """
        some = self.thinned()
        count, width = some.output.shape
        most = max(_CHOOSING // max(1, count), 2 * _LARGEST)
        if width <= most or any(v.shape != some.output.shape for v in some.inputs.values()):
            return some
        even = np.linspace(0, width - 1, most - _LARGEST).astype(np.int64)
        size = np.nan_to_num(np.abs(some.output)).max(0)
        take = np.union1d(even, np.argpartition(size, -_LARGEST)[-_LARGEST:])
        inputs = {name: values[:, take] for name, values in some.inputs.items()}
        return replace(some, output=some.output[:, take], inputs=inputs)


@dataclass(frozen=True)
class Prediction:
    """What a side should have given: `value` `[rows, channels]`, and `spread`, broadcastable to it:
    the standard deviation of the error that rounding of one unit makes, for the unit that the
    case's output has. `terms` are those that `value` is the sum of, where each of them may have a
    factor of its own. `shared`: how far off 1 a common factor of all elements is where what they
    have in common is rounded; None where each is rounded by itself.
    """

    value: Array
    spread: Array
    terms: Mapping[str, Array] = field(default_factory=dict)
    shared: Callable[[], float] | None = None


@dataclass(frozen=True)
class Fit:
    """The reference's parameters at a site. `read` says that they come from a checkpoint, else they
    were fitted; `words` show them; `free` is how many numbers were fitted for each channel, so that
    with no more rows than that nothing is determined.
    """

    values: Mapping[str, Any]
    words: Mapping[str, str] = field(default_factory=dict)
    read: bool = False
    free: float = 0.0


@dataclass(frozen=True)
class Hypothesis:
    """One change of a law. `name` is one of `vocabulary.CAUSES`; `value` what the candidate would
    have given; `text` a sentence for a person, `{layers}` in it is replaced. `fitted` counts the
    numbers that were fitted to the candidate: of two that explain alike, the one with fewer wins.
    `by_size`: it says no more than how large the errors are, on evidence from elsewhere.
    """

    name: str
    text: str
    predict: Callable[[], Prediction | None]
    parameter: str = ""
    reference: str = ""
    candidate: str = ""
    uncertainty: str = ""
    fitted: int = 0
    by_size: bool = False


Needed = Callable[[Site, Fit], Site]
"""A place with those of its inputs alone that a fit is made of."""


class Law(Protocol):
    """An operator family. One whose values have but a few roundings, no sums of products, may say
    so with `few_roundings = True`: then less counts as usual (`limits.USUAL_CAP_FEW`). One that
    goes by where tokens stand, or by those before them, says so with `whole_sequences = True`: it
    is not tried where only some of the tokens were recorded. One that looks through many inputs of
    the reference for those that count may say with `needed(site, fit)` which these are: a site with
    these inputs alone, all that is read of the candidate at first.
    """

    @property
    def name(self) -> str: ...

    def sites(self, scene: Scene) -> Iterable[Site]:
        """Where it can be tried; both sides must have the target."""
        ...

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        """What a side recorded; None where something is missing. Raises `sample.UNREADABLE`."""
        ...

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterable[Fit]:
        """The reference's parameters, the likeliest variant first; the first that reproduces the
        reference is taken.
        """
        ...

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        """What each case should have given: several at once, so that weights are read once."""
        ...

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        """Changes that could explain the candidate, cheap ones first."""
        ...


def read_case(
    scene: Scene, site: Site, side: SideQuantities, rows: Array, wanted: Sequence[str]
) -> Case | None:
    """A case whose inputs are row by row those of the target. None where one is not recorded or has
    other rows. Raises `sample.UNREADABLE`.
    """
    target = side.known.get(site.target)
    if target is None:
        return None
    output = scene.tables.read(target, rows)
    count = scene.tables.rows(target)
    inputs: dict[str, Array] = {}
    units = {"output": unit_of(output, target.dtype)}
    derived: list[str] = []
    for name in wanted:
        found = read_source(scene, side, site.source(name), rows, count)
        if found is None:
            return None
        inputs[name], units[name], words = found
        derived += words
    return Case(side.side, output, rows, inputs, units, tuple(derived))


def read_source(
    scene: Scene, side: SideQuantities, source: Source, rows: Array, count: int
) -> tuple[Array, float, list[str]] | None:
    """Rows of the sum of quantities, its unit, and how it was derived where it is no record of its
    own. None where one of them is missing or does not have `count` rows.
    """
    quantities = [side.known.get(key) for key in source]
    if not quantities or any(q is None or not q.is_float for q in quantities):
        return None
    present = [q for q in quantities if q is not None]
    if any(scene.tables.rows(q) != count for q in present):
        return None
    values = [scene.tables.read(q, rows) for q in present]
    if len({v.shape for v in values}) != 1:
        return None
    unit = max(unit_of(v, q.dtype) for v, q in zip(values, present, strict=True))
    if len(values) == 1:
        return values[0], unit, []
    total = on_grid(np.sum(values, axis=0), unit)
    return total, unit, [" + ".join(key.label for key in source)]
