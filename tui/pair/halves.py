"""The room of the views: one, or two with a line between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.containers import Container

from ..widgets.lines import Lines, look_of
from .views.registry import VIEWS

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from .panes import Panes
    from .stage import Stage


class Halves(Container):
    """All views, of which `panes` says which are seen."""

    DEFAULT_CSS = """
    Halves { height: 1fr; layout: horizontal; }
    Halves > #divider { width: 1; height: 1fr; display: none; }
    """

    def __init__(self, stage: Stage, panes: Panes) -> None:
        super().__init__(id="views")
        self._stage, self._first = stage, panes

    def compose(self) -> ComposeResult:
        yield Lines(id="divider")
        for view in VIEWS:
            widget = view(self._stage)
            widget.display = view.NAME in self._first.names
            yield widget

    def view_named(self, name: str) -> Any:
        return self.query_one(f"#view-{name}")

    def show_panes(self, panes: Panes) -> None:
        """Show these views, from left to right."""
        divider, look = self.query_one("#divider", Lines), look_of(self)
        for view in VIEWS:
            self.view_named(view.NAME).display = view.NAME in panes.names
        divider.display = panes.other is not None
        if panes.other is not None:
            divider.set_lines([[(look.signs.divider, look.palette.faint)]] * self.size.height)
            self.move_child(divider, after=self.view_named(panes.names[0]))
            self.move_child(self.view_named(panes.names[1]), after=divider)
