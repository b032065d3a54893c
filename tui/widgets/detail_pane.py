"""The pane with the row under the cursor, beside or below the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal

from ..present.text import clean, wrap
from .lines import Lines, Pieces, look_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from ...compare.comparison import Comparison
    from ..present.field import Field

_LABELS = 12
_HIGH, _FEW, _MANY = 20, 3, 8


class FieldColumn(Horizontal):
    """Labels and values in widgets of their own, so that unchanged labels are not sent again."""

    DEFAULT_CSS = """
    FieldColumn { width: 1fr; height: 1fr; padding: 0 1; }
    FieldColumn > .labels { width: 12; height: 1fr; }
    FieldColumn > .values { width: 1fr; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        yield Lines(classes="labels")
        yield Lines(classes="values")

    def set_fields(self, fields: list[Field]) -> None:
        """Show `fields`; long values go on over several lines."""
        look = look_of(self)
        width = max(1, self.size.width - 2 - _LABELS)
        low = self.size.height < _HIGH
        most = _FEW if low else _MANY  # lines of one value
        labels: list[Pieces] = []
        values: list[Pieces] = []
        for field in _telling(fields) if low else fields:
            style = look.style(field.level) if field.level else None
            text = clean(field.value, look.terminal.ascii)
            for at, part in enumerate(wrap(text, width, most, look.signs.dots)):
                labels.append([(field.label if at == 0 else "", look.palette.muted)])
                values.append([(part, style)])
        self.query_one(".labels", Lines).set_lines(labels)
        self.query_one(".values", Lines).set_lines(values)


class Detail(Horizontal):
    """One column of fields beside the list, two below it."""

    DEFAULT_CSS = """
    Detail { background: $surface; }
    """

    def compose(self) -> ComposeResult:
        yield FieldColumn(id="left")
        yield FieldColumn(id="right")

    def show_row(
        self, comparison: Comparison | None, row: int | None, more: Sequence[Field] = ()
    ) -> None:
        """Show `row`, with `more` behind its verdict; nothing when there is none."""
        left, right = self.query_one("#left", FieldColumn), self.query_one("#right", FieldColumn)
        fields: list[Field] = []
        if comparison is not None and row is not None:
            from ..present.row_fields import pane_fields

            fields = pane_fields(comparison, row)
        fields[2:2] = more
        if not right.display:
            left.set_fields(fields)
            return
        names = ("reference", "candidate", "ref values", "cand values", "ref recipe",
                 "cand recipe", "matched by")  # fmt: skip
        about_sides = False
        halves: tuple[list[Field], list[Field]] = ([], [])
        for field in fields:
            about_sides = about_sides or field.label in names
            halves[about_sides].append(field)
        left.set_fields(halves[0])
        right.set_fields(halves[1])


# Labels that a low pane has no room for: the verdict says what matters of them.
_LEFT_OUT = ("usually", "law", "cause", "or", "local ref", "parameters", "checked", "derived")


def _telling(fields: list[Field]) -> list[Field]:
    """What there is room for in a low pane: of several symptoms the best, no rules of thumb, of
    the law only the candidate's local error.
    """
    kept: list[Field] = []
    label = ""
    for field in fields:
        label = field.label or label
        if label not in _LEFT_OUT and (field.label or label != "looks like"):
            kept.append(field)
    return kept
