"""Graphs that hold a single layer of a MAX model, for module interfaces v2 and v3.

The graph's inputs are the layer's tensor arguments in order, then those of its cache. The rotary
table is computed in the graph by the layer's own rotary embedding, as in the whole model.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from max.experimental.nn import Module as ModuleV3
from max.graph import Graph

from .layers import RerunError
from .max_cache import cache_types, cache_value
from .max_calls import CACHE, CONSTANT, ROTARY, SIGNAL, Argument, Call, flat_outputs
from .max_compile import Compiler, RememberingSession, graph_text
from .max_roots import Model, parts


def fed(call: Call) -> list[Argument]:
    """The arguments that are inputs of the graph, in order; the cache's come behind them."""
    return [a for a in call.arguments if a.role not in (CACHE, CONSTANT, ROTARY)]


def ready(model: Model, name: str, call: Call, compiler: Compiler) -> Any:
    """The layer as a model of MAX that can be executed, compiled if none of its kind was yet."""
    prepare = _ready_v3 if model.v3 else _ready_v2
    return prepare(model, model.layers[name], call, compiler)


def _ready_v2(model: Model, layer: Any, call: Call, compiler: Compiler) -> Any:
    """Weights are numbered in order of use, so that all layers of a kind give one graph."""
    graph = _traced(model, layer, call)
    used = {name: found.weight for name, found in graph._weights.items()}
    numbered = {name: f"weight {n}" for n, name in enumerate(used)}
    key = graph_text(graph, numbered)
    compiled = compiler.find(key)
    if compiled is None:
        try:
            graph = _traced(model, layer, call, numbered, used)
        finally:
            model.forget_graph()
        compiled = compiler.compile(key, graph, type(layer).__name__)
    missing = [name for name in used if name not in model.weights]
    if missing:
        raise RerunError(f"the model has no value for its weight {missing[0]}")
    return compiler.load(compiled, {numbered[name]: model.weights[name] for name in used})


def _traced(
    model: Model, layer: Any, call: Call, names: dict[str, str] | None = None, used: Any = None
) -> Any:
    model.forget_graph()
    for name, weight in (used or {}).items():
        weight.name = (names or {})[name]

    def forward(*values: Any) -> list[Any]:
        plain = [v.tensor if a.role != SIGNAL else v.buffer
                 for a, v in zip(fed(call), values, strict=False)]  # fmt: skip
        return _called(model, layer, call, plain, values[len(plain) :])

    try:
        return Graph("layer", forward, input_types=_types(model, call))
    finally:
        if names is None:
            model.forget_graph()


def _ready_v3(model: Model, layer: Any, call: Call, compiler: Compiler) -> Any:
    alone = _Alone(layer, call, model)
    full = {id(tensor): name for name, tensor in model.root.parameters}
    weights = {}
    for name, tensor in alone.parameters:
        value = model.weights.get(full.get(id(tensor), ""))
        if value is None:
            raise RerunError(f"the model has no value for the weight {name} of this layer")
        weights[name] = value
    session: Any = RememberingSession(compiler, type(layer).__name__)
    types = _types(model, call)
    with _number_zero(alone, types):
        compiled = alone.compile(*types, weights=weights, session=session, name="layer")
    return compiled.engine_model


@contextmanager
def _number_zero(alone: Any, types: list[Any]) -> Iterator[None]:
    """Layers that hold their own number are called as layer 0, if they are the same otherwise.

    The number says where in the cache a layer's keys lie, and they are put in every place.
    """
    numbered = [part for part in parts(alone) if type(getattr(part, "layer_idx", None)) is int]
    numbers = [part.layer_idx for part in numbered]
    told = graph_text(alone.trace(*types, name="layer").graph) if any(numbers) else ""
    try:
        for part in numbered:
            object.__setattr__(part, "layer_idx", 0)
        if told and not _same_but(numbers, told, alone.trace(*types, name="layer").graph):
            _restore(numbered, numbers)
        yield
    finally:
        _restore(numbered, numbers)


def _restore(numbered: list[Any], numbers: list[int]) -> None:
    for part, number in zip(numbered, numbers, strict=True):
        object.__setattr__(part, "layer_idx", number)


def _same_but(numbers: list[int], told: str, graph: Any) -> bool:
    """True if the only difference is a 0 in place of a number."""
    ours, zeros = told.splitlines(), graph_text(graph).splitlines()
    anyone = re.compile(rf"\b({'|'.join(map(str, set(numbers)))})\b")
    return len(ours) == len(zeros) and all(
        a == b or anyone.sub("0", a) == anyone.sub("0", b) for a, b in zip(ours, zeros, strict=True)
    )


class _Alone(ModuleV3[..., Any]):
    """A module with one layer, called with the graph's inputs."""

    def __init__(self, layer: Any, call: Call, model: Model) -> None:
        super().__init__()
        self.layer = layer
        object.__setattr__(self, "_about", (call, model))

    def forward(self, *values: Any) -> tuple[Any, ...]:
        call, model = self._about  # type: ignore[attr-defined]
        count = len(fed(call))
        rest = [value._graph_value for value in values[count:]]
        return tuple(_called(model, self.layer, call, values[:count], rest))


def _types(model: Model, call: Call) -> list[Any]:
    types = [argument.type for argument in fed(call)]
    return types + (cache_types(model.cache_params) if call.has(CACHE) else [])


def _called(
    model: Model, layer: Any, call: Call, values: Sequence[Any], cache: Sequence[Any]
) -> list[Any]:
    """Call the layer as the model does; its outputs in the order of `call.outputs`."""
    left = iter(values)
    positional, keywords = [], {}
    for argument in call.arguments:
        value = _value(model, layer, argument, left, cache)
        if argument.keyword is None:
            positional.append(value)
        else:
            keywords[argument.keyword] = value
    return [tensor for _, tensor in flat_outputs(layer(*positional, **keywords))]


def _value(
    model: Model, layer: Any, argument: Argument, left: Iterator[Any], cache: Sequence[Any]
) -> Any:
    if argument.role == CACHE:
        value = cache_value(model.cache_params, cache)
    elif argument.role == ROTARY:
        value = _rotary_table(model, layer, argument)
    elif argument.role == CONSTANT:
        value = argument.value
    else:
        value = next(left)
    return [value] if argument.listed else value


def _rotary_table(model: Model, layer: Any, argument: Argument) -> Any:
    """The table of the first rotary embedding in the layer, or of the model's."""
    wanted = [str(dim) for dim in argument.type.shape]
    for place in (*parts(layer), model.root):
        table = getattr(getattr(place, "rope", None), "freqs_cis", None)
        if table is not None and [str(dim) for dim in table.shape] == wanted:
            return table
    raise RerunError("it takes a rotary table, but no rotary embedding is found that makes it")
