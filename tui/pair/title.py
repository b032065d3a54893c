"""The two lines on top of the pair screen: what is compared, and the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..present.text import clean, cut, dtype_text, elide, shape_text, tail, width_of
from ..theme import LOOKS, ORIGIN_WORDS, Look
from .views.registry import VIEWS

if TYPE_CHECKING:
    from ...capture.records import Record
    from ..present.pieces import Piece, Pieces
    from ..scene import Scene
    from .panes import Panes

_ORIGIN_FROM = 100  # columns from which the title has a word for where an error comes from
_LEAST_NAME, _LEAST_STEPS = 24, 8  # cells; a recipe that gets fewer is left to the views


def title_line(scene: Scene, look: Look, width: int) -> Pieces:
    """Verdict, then both names, shapes, dtypes and recipes, in one line."""
    row, level = scene.row, scene.verdict.level
    word = "doubtful" if scene.verdict.doubtful else LOOKS[level].word or "not measured"
    origin = scene.verdict.origin if scene.verdict.fails else None
    if origin is not None and width >= _ORIGIN_FROM:
        word += f" {ORIGIN_WORDS[origin]}"
    badge = f" {look.glyph(level)}{look.origin_glyph(origin).strip()} {word} "
    divider = f" {look.signs.divider} "
    room = width - width_of(badge) - len(divider) - 2
    left, right = max(8, room // 2), max(8, room - room // 2)
    return [
        (badge, look.style(level)),
        (" ", None),
        (_side_text(row.reference, row.recipe_reference, left, look), look.palette.strong),
        (divider, look.palette.faint),
        (_side_text(row.candidate, row.recipe_candidate, right, look), look.palette.strong),
    ]


def _side_text(record: Record | None, recipe: str, width: int, look: Look) -> str:
    """`model.layers.0.mlp [1,10,64] f32 squeeze(0)`: the name gives way where there is no room."""
    dots = look.signs.dots
    if record is None:
        return elide("no such record", width, dots)
    about = clean(f" {shape_text(record.shape)} {dtype_text(record.dtype)}", look.terminal.ascii)
    steps = clean(f" {recipe}" if recipe else "", look.terminal.ascii)
    name = clean(record.name, look.terminal.ascii)
    least = min(width_of(name), _LEAST_NAME)
    steps = cut(steps, width - width_of(about) - least, dots)
    if width_of(steps) < _LEAST_STEPS:
        steps = ""
    return (tail(name, width - width_of(about + steps), dots) + about + steps).ljust(width)


def tabs_line(panes: Panes, scene: Scene, look: Look, width: int) -> Pieces:
    """The views, the one in front and the one beside it marked, and where the row is in the
    list.
    """
    place = f"row {scene.index} of {len(scene.comparison.rows)} "
    pieces: list[Piece] = [(" ", None)]
    full = sum(len(view.title) + 4 for view in VIEWS) + len(place) + 12
    for number, view in enumerate(VIEWS, 1):
        title = view.title if full <= width else view.short_title or view.title
        text, style = f" {number} {title} ", look.palette.muted
        if panes.front == view.NAME:
            text, style = f"[{number} {title}]", look.palette.cursor
        elif panes.other == view.NAME:
            text, style = f"({number} {title})", look.palette.strong
        pieces.append((text, style))
    if scene.trial is not None or scene.injected is not None:
        words = " on trial" if scene.trial is not None else " the rerun's output"
        pieces.append((words, look.palette.warn))
    used = sum(width_of(text) for text, _ in pieces)
    pieces.append((place.rjust(max(0, width - used)) if used + len(place) <= width else "",
                   look.palette.muted))  # fmt: skip
    return pieces
