"""Records of different modules that hold one quantity: what a layer returns is what the next takes.

Only for stacks whose layers begin with a norm, on both sides: in others, attention and feed-forward
network include more than their last projection.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from .call_match import Match, join, view_of
from .named_records import Item, Side

_LAYER = re.compile(r"^layers\.(\d{1,9})$")
_BRANCH = re.compile(r"^(layers\.\d{1,9}\.)(self_attn\.o_proj|mlp\.down_proj)$")
_FIRST_NORM = re.compile(r"^(layers\.\d{1,9})\.input_layernorm$")

# Mixtures of experts, what routes to them, and the experts one by one.
_MIXTURE = re.compile(
    r"^(?P<layer>layers\.\d{1,9})\.(?:(?:block_sparse_moe|moe)(?P<rest>\..*)?|"
    r"mlp(?P<inner>\.(?:gate|gate_proj|router|gate_score|experts|shared_experts?)(?:\..*)?))$"
)

Place = tuple[int, int, str]  # step, call, quantity


def match_equivalents(ref: Side, cand: Side) -> Iterator[Match]:
    """Pairs of records that nothing else has paired and that hold the same quantity."""
    if not (_pre_norm(ref) and _pre_norm(cand)):
        return
    ours, theirs = _by_quantity(ref), _by_quantity(cand)
    taken_in = _no_layer_outputs(ref), _no_layer_outputs(cand)
    for place, lefts in ours.items():
        rights = theirs.get(place, [])
        free, others = _free(lefts), _free(rights)
        if len(free) == 1 and len(others) == 1:
            yield from _pair(free[0], others[0])
        elif free and not others and taken_in[1]:
            yield from _output_as_input(_outputs(free), rights, swap=False)
        elif others and not free and taken_in[0]:
            yield from _output_as_input(_outputs(others), lefts, swap=True)


def _pair(reference: Item, candidate: Item) -> Iterator[Match]:
    view = view_of(reference, candidate, reference.last_rows)
    if view is not None:
        how = f"{reference.label} and {candidate.label} are one quantity"
        yield join(reference, candidate, view, "rule", how)


def _output_as_input(outputs: list[Item], inputs: list[Item], *, swap: bool) -> Iterator[Match]:
    """A layer's output against what the next module of the other side was given, which may have a
    partner of its own.
    """
    found = [item for item in inputs if item.role == "input" and not item.unreadable]
    if len(outputs) == 1 and found:
        yield from _pair(found[0], outputs[0]) if swap else _pair(outputs[0], found[0])


def _pre_norm(side: Side) -> bool:
    return any(module.endswith(".input_layernorm") for _, module, _ in side.groups)


def _no_layer_outputs(side: Side) -> bool:
    """True where no layer's output is recorded: a dump that keeps leaves only."""
    return not any(
        _LAYER.match(module) and any(item.role != "input" for item in items)
        for (_, module, _), items in side.groups.items()
    )


def _by_quantity(side: Side) -> dict[Place, list[Item]]:
    found: dict[Place, list[Item]] = defaultdict(list)
    for item in side.items:
        quantity = _quantity(item)
        if quantity is not None and not item.unreadable:
            found[item.step, item.call, quantity].append(item)
    return found


def _quantity(item: Item) -> str | None:
    """One name for records that hold the same; None for those that have no equal elsewhere."""
    output = item.role in ("output", "value") and item.slot in ("output", "value")
    mixture = _MIXTURE.match(item.module)
    if mixture and (output or item.slot == "input_0"):
        name = _of_mixture(mixture, item.plain)
        return name if output else f"{name} input"
    first_input = item.slot == "input_0" or item.slot == "input_hidden_states"
    if output:
        branch = _BRANCH.match(item.module)
        if branch:
            return f"{branch[1]}{branch[2].partition('.')[0]}"
        if item.module.endswith((".self_attn", ".mlp")):
            return item.module
        layer = _LAYER.match(item.module)
        return f"after layer {int(layer[1])}" if layer else None
    if not first_input:
        return None
    layer = _LAYER.match(item.module) or _LAYER.match(_without_norm(item.module))
    if layer and int(layer[1]) > 0:
        return f"after layer {int(layer[1]) - 1}"
    return None


def _of_mixture(found: re.Match[str], plain: str) -> str:
    """One name for the parts of a mixture of experts, whatever it is called and its weights are."""
    rest = found["rest"] or found["inner"] or ""
    if rest in (".gate", ".router", ".gate_score") or (
        rest == ".gate_proj" and plain.endswith(".gate")
    ):
        return f"{found['layer']}.mlp.router"
    for old, new in ((".w1", ".gate_proj"), (".w3", ".up_proj"), (".w2", ".down_proj")):
        rest = rest.removesuffix(old) + new if rest.endswith(old) else rest
    return f"{found['layer']}.mlp{rest.replace('.shared_experts', '.shared_expert')}"


def _without_norm(module: str) -> str:
    found = _FIRST_NORM.match(module)
    return found[1] if found else module


def _free(items: list[Item]) -> list[Item]:
    return [item for item in items if item.matches == 0]


def _outputs(items: list[Item]) -> list[Item]:
    return [item for item in items if item.role != "input"]
