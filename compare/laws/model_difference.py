"""What the candidate's own checkpoint and config have otherwise than the reference's, at a layer
that does not keep to its law. It explains and decides nothing: laws are held against the
reference's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ...capture.errors import RecordError
from ..weights.parameters import Weight
from ..weights.weight_difference import StoppedError, WeightDifference, difference_of
from .config_names import config_differences, names_of
from .law import Parameters, Scene, Site
from .names import number_words

# Laws of modules whose parts have the parameters.
_OF_PARTS = ("gated-mlp", "experts", "embedding-sum")
# Causes that rounding of the stored weights can explain.
_ROUNDED = ("quantised", "precision", "cast")
_USUAL = ("weight", "bias")  # found also where a checkpoint has them joined with others
_MOST = 3  # weights, and entries of a config, that are named
_LONGEST = 60  # characters of a config's value


class ModelDifference:
    """Both models of a scene; a weight is read once however many rows ask for it."""

    def __init__(self, scene: Scene, cancelled: Callable[[], bool] | None = None) -> None:
        self._scene = scene
        self._cancelled = cancelled
        ours, theirs = scene.parameters, scene.candidate_parameters
        self._both: tuple[Parameters, Parameters] | None = None
        if ours is not None and theirs is not None and ours.weights.path != theirs.weights.path:
            self._both = ours, theirs
        self._found: dict[tuple[str, str], WeightDifference | None] = {}

    def words(self, site: Site, causes: Sequence[str]) -> str:
        """Sentences, parted by semicolons; nothing where both models say the same, one serves both
        sides, or `cancelled` said stop.
        """
        if self._both is None:
            return ""
        try:
            return "; ".join((*self._weights(site, causes), *self._config(site, causes)))
        except StoppedError:
            return ""

    def _config(self, site: Site, causes: Sequence[str]) -> list[str]:
        ours, theirs = self._scene.config, self._scene.candidate_config
        names = names_of(site.law, causes)
        return _some(_config_words(*each) for each in config_differences(ours, theirs, names))

    def _weights(self, site: Site, causes: Sequence[str]) -> list[str]:
        assert self._both is not None
        ours, theirs = self._both
        found = []
        for module, name in self._names(site):
            left, right = ours.weight(module, name), theirs.weight(module, name)
            if left is not None and right is not None:
                different = self._difference(module, name, left, right)
                if different is not None and _tells(different, causes):
                    found.append(_weight_words(different))
                continue
            stored = ours.find(module, name), theirs.find(module, name)
            if stored[0] is not None and stored[1] is not None:
                pair = Weight(stored[0]), Weight(stored[1])
                different = self._difference(module, name, *pair)
                found += [] if different is None else [_weight_words(different)]
            elif left is None and right is not None and not ours.weights.partial:
                found.append(f"only the candidate's checkpoint has {', '.join(right.names)}")
            elif right is None and left is not None and not theirs.weights.partial:
                found.append(f"the candidate's checkpoint has no {', '.join(left.names)}")
        return _some(found)

    def _names(self, site: Site) -> Iterator[tuple[str, str]]:
        """The parameters of a place, by canonical module and name."""
        assert self._both is not None
        parts = site.law in _OF_PARTS
        found = [(site.module, name) for name in _USUAL]
        for side in self._both:
            for module, name, _ in side.entries():
                if module == site.module or (parts and module.startswith(site.module + ".")):
                    found.append((module, name))
        yield from dict.fromkeys(found)

    def _difference(
        self, module: str, name: str, ours: Weight, theirs: Weight
    ) -> WeightDifference | None:
        key = module, name
        if key not in self._found:
            label = ", ".join(theirs.names)
            try:
                self._found[key] = difference_of(label, ours, theirs, self._cancelled)
            except (RecordError, OSError) as error:
                self._found[key] = WeightDifference(label, problem=f"cannot be read: {error}")
        return self._found[key]


def _tells(different: WeightDifference, causes: Sequence[str]) -> bool:
    """Whether a difference may be why: rounding explains no error that has another cause."""
    return different.rounded is None or not causes or any(c in _ROUNDED for c in causes)


def _weight_words(different: WeightDifference) -> str:
    if different.rounded is not None:
        side, dtype = different.rounded
        return f"the {side}'s checkpoint has {different.name} rounded to {dtype}"
    return f"the candidate's checkpoint has a different {different.words}"


def _config_words(name: str, ours: Any, theirs: Any) -> str:
    if theirs is None:
        return f"the candidate's config does not say {name}, the reference's says {_value(ours)}"
    end = "does not say" if ours is None else f"says {_value(ours)}"
    return f"the candidate's config says {name} {_value(theirs)} where the reference's {end}"


def _value(value: Any) -> str:
    words = number_words(value) if isinstance(value, float) else str(value)
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def _some(sentences: Iterable[str]) -> list[str]:
    found = list(sentences)
    more = len(found) - _MOST
    return [*found[:_MOST], f"and {more} more"] if more > 0 else found
