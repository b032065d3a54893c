"""`hidden_states_4`: members of the tuple that transformers returns with `output_hidden_states`.

The first is the embedding, number i what layer i - 1 returns, and the last, of a model with n
layers number n, is taken after the final norm. (transformers' `check_model_inputs` and the models'
`forward`.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_STATE = re.compile(
    r"^(?:[A-Za-z_]+[./:])*(?:(?:all|output)_)?"
    r"(?:hidden_?states?[._/:-]?\[?|hiddens?\[)(-?\d{1,4})\]?$"
)


def state_number(name: str) -> int | None:
    """4 for `hidden_states_4`, -1 for the last one, None for other names."""
    found = _STATE.match(name)
    return int(found[1]) if found else None


def states(names: Iterable[str]) -> set[int]:
    """All numbers of hidden states among `names`."""
    return {number for name in names if (number := state_number(name)) is not None}


def module_of(number: int, layers: int) -> str:
    """The module whose output hidden state `number` of a model with `layers` layers is."""
    if number < 0:
        number += layers + 1
    if number == 0:
        return "embed_tokens"
    return "norm" if number >= layers else f"layers.{number - 1}"
