"""Record names as dumpers write them, taken apart: `model.layers.0.mlp(2)-output_1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# Texts, pictures and archives that lie beside tensors: no format of tensors ends in these, and
# `--raw` does not mean them.
NOT_TENSORS = (
    *(".txt", ".log", ".err", ".out", ".md", ".rst", ".html", ".pdf", ".py", ".sh"),
    *(".json", ".jsonl", ".csv", ".tsv", ".toml", ".yaml", ".yml", ".ini"),
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".zip", ".gz", ".xz", ".tar"),
)

# `<module path>(call)-<slot>`; the slot is the last `-` part that looks like one. Modules that are
# called like one (`layers-0-input_layernorm`) are none.
_NAME = re.compile(
    r"^(?P<module>.*?)(?:\((?P<call>\d{1,18})\))?"
    r"-(?!(?:in|out)put_(?:(?:layer|rms)_?norm|norm|ln|proj|projection|dense|layer)$)(?P<slot>(?:input|output|grad_output|grad_input)(?:_[^/]*)?|value)$"
)
_CALL = re.compile(r"^(?P<module>.+)\((?P<call>\d{1,18})\)$")


@dataclass(frozen=True, slots=True)
class ParsedName:
    """`slot` is `value` when the name has none, `call` counts from 1."""

    module: str
    slot: str
    call: int


def parse_name(name: str) -> ParsedName:
    """Take a record's name apart. A name without a slot is a tap: slot `value`."""
    match = _NAME.match(name)
    if match:
        return ParsedName(match["module"], match["slot"], int(match["call"] or 1))
    match = _CALL.match(name)
    if match:
        return ParsedName(match["module"], "value", int(match["call"]))
    return ParsedName(name, "value", 1)


@lru_cache(1 << 10)
def slot_role(slot: str) -> str:
    """`input`, `output`, `grad_output`, `grad_input` or `value`: what kind of quantity this is."""
    for role in ("input", "output", "grad_output", "grad_input"):
        if slot == role or slot.startswith(role + "_"):
            return role
    return "value"


_DIGITS = re.compile(r"(\d+)")


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `layers.2` before `layers.10`; digits beyond reason count as text."""
    return tuple(
        (0, int(part), "") if part.isdecimal() and len(part) < 1000 else (1, 0, part)
        for part in _DIGITS.split(text)
        if part
    )
