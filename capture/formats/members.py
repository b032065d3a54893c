"""Records by their names: those of files, and of the tensors that lie several to a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..files import FoundFile
from ..names import parse_name
from ..places import place_keys
from ..records import Locator, Record


def named_record(found: FoundFile, name: str) -> Record:
    """A record not yet read, with module, slot and call from `name`."""
    parsed = parse_name(name)
    return Record(
        name=name,
        module=parsed.module,
        slot=parsed.slot,
        call=parsed.call,
        step=found.step,
        path=found.path,
        rank=found.rank,
    )


def says_where(key: str) -> bool:
    """True for a key that is a record's name itself: a module path with dots, or with a slot."""
    return "." in key or parse_name(key).slot != "value"


def belongs_to_layer(file: str, key: str) -> bool:
    """Whether the name of a file tells a layer that the key does not tell."""
    return _LAYER.search(file) is not None and _NUMBERED.search(key) is None


def named_member(
    record: Record, key: str, locator: Locator | None, *, alone: bool, single: bool,
    step: int | None = None,
) -> Record:  # fmt: skip
    """The record of the tensor `key` in the file of `record`.

    A key that says where it belongs gives module, slot and call; one without a layer's number
    together with a file that tells it (`self_attn.q_proj` in `layer_3.pt`). Otherwise the file
    does: `model.mlp-output.pt` with a tuple holds slots `output_0`, `output_1`; the `single` tensor
    of a file goes by the file's name; else both names count, or the key where the file is `alone`.
    `step` is the one that the key told, if it did.
    """
    whole = f"{record.name}/{key}" if not alone else key
    module, slot, call = record.module, record.slot, record.call
    if says_where(key):
        of_layer = not alone and belongs_to_layer(record.name, key)
        parsed = parse_name(whole if of_layer else key)
        module, slot, call = parsed.module, parsed.slot, parsed.call
    elif single and (slot != "value" or not alone):
        whole = record.name
    elif slot != "value":
        slot = f"{slot}_{key.replace('/', '_')}"
        whole = f"{record.name}/{key}"
    else:
        parsed = parse_name(whole)
        module, slot, call = parsed.module, parsed.slot, parsed.call
    member = Record(
        whole, module, slot, call, record.step if step is None else step, record.path,
        format=record.format, key=key, side=record.side, rank=record.rank,
    )  # fmt: skip
    if locator is not None:
        member.locator, member.shape, member.dtype = locator, locator.shape, locator.dtype
    return member


def place_members(
    paths: Sequence[tuple[str, ...]], known: Sequence[int | None] = ()
) -> list[tuple[str, int | None]]:
    """Names of the tensors that these keys lead to, and the steps that the keys tell, where the
    file itself says no step (`known`).

    A list whose items have the same keys holds steps; so do keys such as `step_3`, and lists of one
    length under all names, of which an embedding or logits are some.
    """
    if len(paths) == 1 and not paths[0]:  # most files hold one tensor, by itself
        return [("", None)]
    items = _items(paths)
    steps: list[int | None]
    if items is not None:
        steps = [int(path[0]) for path in paths]
        names = ["/".join(path[1:]) for path in paths]
    elif _lists_of_passes(paths):
        names = ["/".join(path[:-1] or path) for path in paths]
        steps = [int(path[-1]) if len(path) > 1 else None for path in paths]
    else:
        placed = place_keys(["/".join(path) for path in paths])
        names, steps = [key for key, _ in placed], [step for _, step in placed]
    if known:
        steps = [s if said is None else said for s, said in zip(steps, known, strict=True)]
    found: dict[int | None, list[int]] = {}
    for index, step in enumerate(steps):
        found.setdefault(step, []).append(index)
    for indices in found.values():
        unique = unique_keys(names[index] for index in indices)
        for index, name in zip(indices, unique, strict=True):
            names[index] = name
    return list(zip(names, steps, strict=True))


def _items(paths: Sequence[tuple[str, ...]]) -> int | None:
    """How many steps a list holds: its items are dictionaries with about the same keys, which tell
    a whole model (layers by number, an embedding, logits). None for anything else.
    """
    if not paths or not all(len(path) > 1 and _INDEX.fullmatch(path[0]) for path in paths):
        return None
    keys: dict[int, set[str]] = {}
    for path in paths:
        keys.setdefault(int(path[0]), set()).add("/".join(path[1:]))
    if len(keys) < 2 or sorted(keys) != list(range(len(keys))):
        return None
    first, *rest = keys.values()
    alike = all(2 * len(first & other) >= max(len(first), len(other)) for other in rest)
    return len(keys) if alike and any(_MODEL_KEY.search(key) for key in first) else None


def _lists_of_passes(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether names lead to lists to which each pass has added its tensor. What a module returns is
    a list under some names only: an embedding and a head return one tensor.
    """
    lists: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        if len(path) > 1:
            lists.setdefault(path[:-1], []).append(path[-1])
    length = len(next(iter(lists.values()), ()))
    if length < 2 or len(lists) < _FEWEST_LISTS:
        return False
    wanted = [str(number) for number in range(length)]
    if any(found != wanted for found in lists.values()):
        return False
    return any(_ENDS.search(prefix[-1]) for prefix in lists) and any(
        re.search(r"\d", prefix[-1]) for prefix in lists
    )


_FEWEST_LISTS = 4  # names with lists of one length, from which on they are passes
_ENDS = re.compile(r"embed|logits|lm_?head|wte|\bhead$", re.IGNORECASE)
_INDEX = re.compile(r"\d{1,6}")
_LAYER = re.compile(r"(?:^|[/._-])(?:layers?|blocks?|blk|h)[._-]?\d{1,4}$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|[./_])\d")  # a layer's number in a path, unlike that of `ln1`
# Items of a list whose keys have no layers in them are layers themselves.
_MODEL_KEY = re.compile(r"[A-Za-z._/:-]\d|embed|logits|lm_head|wte", re.IGNORECASE)


def call_numbered(name: str, call: int) -> str:
    """A name as that of a later call of its module: `mlp-output` as `mlp(2)-output`."""
    parsed = parse_name(name)
    ending = f"-{parsed.slot}"
    slotted = parsed.slot != "value" and name.endswith(ending)
    return f"{parsed.module}({call}){ending if slotted else ''}"


def unique_keys(keys: Iterable[str]) -> list[str]:
    """`keys`, the second of a kind with `#2` and so on: keys 1 and "1" read the same."""
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    unique: list[str] = []
    for key in keys:
        chosen = key
        while chosen in seen:
            numbers[key] = numbers.get(key, 1) + 1
            chosen = f"{key}#{numbers[key]}"
        seen.add(chosen)
        unique.append(chosen)
    return unique
