"""Records by their names: those of files, and of the tensors that lie several to a file."""

from __future__ import annotations

from collections.abc import Iterable

from ..files import FoundFile
from ..names import parse_name
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
    )


def says_where(key: str) -> bool:
    """True for a key that is a record's name itself: a module path with dots, or with a slot."""
    return "." in key or parse_name(key).slot != "value"


def named_member(
    record: Record, key: str, locator: Locator | None, *, alone: bool, single: bool
) -> Record:
    """The record of the tensor `key` in the file of `record`.

    A key that says where it belongs gives module, slot and call. Otherwise the file does:
    `model.mlp-output.pt` with a tuple holds slots `output_0`, `output_1`; the `single` tensor of
    a file goes by the file's name; else both names count, or the key where the file is `alone`.
    """
    whole = f"{record.name}/{key}" if not alone else key
    module, slot, call = record.module, record.slot, record.call
    if says_where(key):
        parsed = parse_name(key)
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
        whole, module, slot, call, record.step, record.path,
        format=record.format, key=key, side=record.side,
    )  # fmt: skip
    if locator is not None:
        member.locator, member.shape, member.dtype = locator, locator.shape, locator.dtype
    return member


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
