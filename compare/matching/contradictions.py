"""What the names of two records say against their being a pair."""

from __future__ import annotations

from .named_records import Item
from .names.canonical import STANDARD, layer_number
from .names.roles import last_name, role_of


def contradict(first: Item, second: Item) -> bool:
    """Whether names say that two records are different things: other layers, or other roles in a
    model.
    """
    return contradict_layers(first, second) or _other_roles(first, second)


def contradict_layers(first: Item, second: Item) -> bool:
    """Whether both names hold the number of a layer, and another one."""
    layers = layer_number(first.module), layer_number(second.module)
    return None not in layers and layers[0] != layers[1]


def _other_roles(first: Item, second: Item) -> bool:
    """Whether both roles are known and not the same."""
    last = last_name(first.module), last_name(second.module)
    if last[0] in STANDARD and last[1] in STANDARD and last[0] != last[1]:
        return True
    roles = {
        role_of(item.module, item.record.module_class) for item in (first, second)
    }  # fmt: skip
    return len(roles) == 2 and not roles & {"other", "projection"}


def other_slots(first: Item, second: Item) -> bool:
    """Whether one is known to be an input and the other one an output."""
    return {first.role, second.role} == {"input", "output"}
