"""What a prompt asks; not needed before the first paint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .completion.candidates import Completer


@dataclass(frozen=True)
class Question:
    """What the prompt asks. `sign` tells histories apart (`:`, `/`, `&`; empty: none). `changed` is
    called with every change of the text, `left` when the prompt is left without an answer;
    `complete` finds what Tab offers, `example` stands in the footer.
    """

    label: str
    answer: Callable[[str], None]
    text: str = ""
    sign: str = ""
    changed: Callable[[str], None] | None = None
    left: Callable[[], None] | None = None
    complete: Completer | None = None
    example: str = ""
