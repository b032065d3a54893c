"""Lines of the view of recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....compare.reports.verdict_words import verdict_line
from ...present.text import clean, cut, number, shape_text

if TYPE_CHECKING:
    from ...present.pieces import Piece, Pieces
    from ...scene import Scene
    from ...theme import Look


def numbers_line(look: Look, label: str, scene: Scene) -> Pieces:
    """What a scene measures, and its verdict."""
    found, level = scene.numbers, scene.verdict.level
    pieces: list[Piece] = [(f"  {label:<10} ", look.palette.muted)]
    pieces.append((f"{look.glyph(level)} ", look.style(level)))
    if found is None:
        words = scene.problem or verdict_line(scene.verdict)
        return [*pieces, (clean(words, look.terminal.ascii), look.style(level))]
    numbers = (
        f"relative L2 {number(found.relative_l2)}  MSE {number(found.mse)}  "
        f"max abs {number(found.max_abs)}  "
    )
    word = verdict_line(scene.verdict).split("  ")[0]
    word += ", in another order" if scene.verdict.permuted else ""
    return [*pieces, (numbers, None), (word, look.style(level))]


def choice_line(look: Look, width: int, choice: Any, here: bool) -> Pieces:
    """A partner, a proposal, or one that was tried, with its error; `here`: under the cursor."""
    palette = look.palette
    style = palette.cursor if here else None
    if hasattr(choice, "record"):
        text = f"{choice.record.name}  {shape_text(choice.record.shape)}  {choice.why}"
        return [(f"  {clean(text, look.terminal.ascii)}", style)]
    proposal = getattr(choice, "proposal", choice)
    measured = ""
    if choice is not proposal:
        error = choice.shown
        shown = "--" if error is None else f"{error:.1e}" if error else "0"
        measured = f"{shown:>8}  "
    recipes = " ".join(
        f"{word} {recipe}"
        for word, recipe in (("ref:", proposal.reference), ("cand:", proposal.candidate))
        if recipe
    )
    title = clean(f"  {measured}{proposal.title}", look.terminal.ascii)
    note = getattr(choice, "note", "")
    rest = clean(f"  {note or recipes}", look.terminal.ascii)
    room = max(0, width - len(title) - 1)
    return [(title, style), (cut(rest, room, look.signs.dots), palette.muted)]
