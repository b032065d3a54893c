"""Where a layer's stream is recorded, and what may be a term of it there."""

from __future__ import annotations

from collections.abc import Iterator

from ...matching.names.canonical import parent_of
from ...matching.names.roles import is_residual_branch
from ..law import Scene
from ..numerics.quantities import Key, Quantity, SideQuantities
from ..vision.layer_scale import is_layer_scale
from .carried import carried_sum, carried_sums, given_residual

Place = tuple[str, Key, list[Key], list[Key]]  # module at fault, target, streams, branches
_HEAD_NORMS = ("q_norm", "k_norm", "v_norm")


def residual_sites(scene: Scene) -> Iterator[Place]:
    """Every recorded place of the stream inside and behind each layer."""
    yield from _stream_sites(scene)
    yield from _carried_sites(scene)
    yield from _branch_sites(scene)


def _carried_sites(scene: Scene) -> Iterator[Place]:
    """Sums that norms make themselves (see `carried`)."""
    side = scene.reference
    last: Key | None = None
    for target in sorted(carried_sums(scene), key=lambda key: side.known[key].row):
        own = side.main_input(target.module, target.step, target.call)
        given = None if own is None else given_residual(scene, side, own.key)
        streams = [given, last if last is not None and last.step == target.step else None]
        streams += _entries(side, parent_of(target.module), target.step, target.call)
        first = -1 if last is None or last.step != target.step else side.known[last].row
        branches = [] if own is None else [own.key]
        between = range(first + 1, side.known[target].row)
        branches += [k for k, q in side.known.items() if q.row in between and _is_branch(side, k)
                     and k.step == target.step and k.module != target.module]  # fmt: skip
        found = [key for key in dict.fromkeys(streams) if key is not None and _both(scene, key)]
        added = [key for key in dict.fromkeys(branches) if _both(scene, key)]
        last = target
        if found and added:
            yield target.module, target, found, added


def _branch_sites(scene: Scene) -> Iterator[Place]:
    """What attention or a feed-forward network returned, where its own code adds the stream that it
    was given beside its input (BLOOM).
    """
    side = scene.reference
    for module, step, call in list(side.calls):
        target = Key(module, "output", step, call)
        if not is_residual_branch(side.role(module)) or not _both(scene, target):
            continue
        own = side.main_input(module, step, call)
        streams = [q.key for q in side.inputs(module, step, call) if q is not own]
        if own is None:  # no inputs recorded: what entered the layer, or was returned before
            streams = _entries(side, parent_of(module), step, call)
            beside = (
                Key(m, "output", step, call) for m in side.children.get(parent_of(module), ())
            )
            streams += [k for k in beside if k in side.known and k != target
                        and side.known[k].row < side.known[target].row
                        and is_residual_branch(side.role(k.module))]  # fmt: skip
        inside = (Key(m, "output", step, call) for m in side.children.get(module, ()))
        branches = [k for k in inside if _is_branch(side, k) and _both(scene, k)]
        streams = [k for k in streams if _both(scene, k)]
        if streams and branches:
            yield module, target, streams, branches


def _stream_sites(scene: Scene) -> Iterator[Place]:
    side = scene.reference
    carried = list(carried_sums(scene))
    for module, step, call in list(side.calls):
        if side.role(module) != "layer":
            continue
        inside = [key for key in _inside(side, module, step, call) if _both(scene, key)]
        targets = [
            key for key in inside
            if _is_stream(side, key)
            and not all(carried_sum(scene, one, key) is not None for one in scene.sides)
        ]  # fmt: skip
        end = Key(module, "output", step, call)
        if _both(scene, end):
            targets.append(end)
        else:
            targets += [key for key in _entries_of_next(side, module, step) if _both(scene, key)][
                :1
            ]
        before = [key for key in _entries(side, module, step, call) if _both(scene, key)]
        for target in targets:
            row = side.known[target].row
            earlier = [key for key in inside if side.known[key].row < row or target not in inside]
            streams = [key for key in earlier if _is_stream(side, key) or _is_norm(side, key)]
            own = [
                key for key in carried
                if key.module.startswith(f"{module}.") and (key.step, key.call) == (step, call)
                and side.known[key].row < row
            ]  # fmt: skip
            streams = [*own[::-1], *streams[::-1], *before]
            streams = [key for key in dict.fromkeys(streams) if key != target]
            branches = [key for key in earlier if _is_branch(side, key) and key != target]
            branches.sort(key=lambda key: _rank(side, key))
            if streams and branches:
                yield _owner(side, module, target), target, streams, branches


def _both(scene: Scene, key: Key) -> bool:
    return all(key in side.known and side.known[key].is_float for side in scene.sides)


def _inside(side: SideQuantities, module: str, step: int, call: int) -> list[Key]:
    """Main inputs and outputs of the modules below a layer, in execution order."""
    found: list[Quantity] = []
    waiting = list(side.children.get(module, ()))
    while waiting:
        child = waiting.pop(0)
        waiting += side.children.get(child, ())
        if child.rpartition(".")[2] in _HEAD_NORMS:
            continue
        for quantity in (side.main_input(child, step, call), side.output(child, step, call)):
            if quantity is not None:
                found.append(quantity)
    return [quantity.key for quantity in sorted(found, key=lambda q: q.row)]


def _is_stream(side: SideQuantities, key: Key) -> bool:
    """Inputs of norms, and of what is given the stream without one."""
    role = side.role(key.module)
    return key.slot != "output" and (role == "norm" or is_residual_branch(role))


def _is_norm(side: SideQuantities, key: Key) -> bool:
    return key.slot == "output" and side.role(key.module) == "norm"


def _is_branch(side: SideQuantities, key: Key) -> bool:
    """Outputs that may be added to the stream."""
    role = side.role(key.module)
    return key.slot == "output" and (
        is_residual_branch(role)
        or is_layer_scale(side, key.module)
        or role in ("norm", "attention_output", "down", "dropout", "projection")
    )


def _rank(side: SideQuantities, key: Key) -> int:
    """Of branches that hold the same values the module that returned them all is said."""
    role = side.role(key.module)
    return 0 if is_residual_branch(role) else 2 if role == "dropout" else 1


def _entries(side: SideQuantities, module: str, step: int, call: int) -> list[Key]:
    """Where the stream that enters a layer may be recorded."""
    found: list[Key] = []
    own = side.main_input(module, step, call)
    if own is not None:
        found.append(own.key)
    for other in _before(module):
        before = side.output(other, step, call)
        if before is not None:
            found.append(before.key)
    return found


def _before(module: str) -> list[str]:
    """What returns the stream in front of a layer."""
    head, _, number = module.rpartition(".")
    if number.isdecimal() and int(number) > 0:
        return [f"{head}.{int(number) - 1}"]
    parent = parent_of(head)
    prefix = "" if parent == "model" else f"{parent}."
    return [f"{prefix}{name}" for name in ("embeddings", "embed_tokens")]


def _entries_of_next(side: SideQuantities, module: str, step: int) -> Iterator[Key]:
    """Inputs that hold what a layer returned."""
    head, _, number = module.rpartition(".")
    after = f"{head}.{int(number) + 1}" if number.isdecimal() else ""
    for name in (after, f"{after}.input_layernorm"):
        found = side.main_input(name, step) if after else None
        if found is not None:
            yield found.key
    if after and not any(m == after or m.startswith(f"{after}.") for m, _, _ in side.calls):
        last = side.main_input("norm", step)
        if last is not None:
            yield last.key


def _owner(side: SideQuantities, layer: str, target: Key) -> str:
    """The module whose own code adds: the one that calls what is given the sum."""
    if target.slot == "output" or not target.module.startswith(f"{layer}."):
        return layer
    return parent_of(target.module)
