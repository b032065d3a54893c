"""View 7: the place of the injected rerun."""

from __future__ import annotations

from ..lines import Pieces
from .view import View


class RerunView(View):
    """Says what will stand here."""

    number = 7
    title = "Rerun"
    needs_pair = False

    def lines(self) -> list[Pieces]:
        return [
            [],
            self.heading("Injected rerun"),
            [("  Runs this layer of the candidate on the reference's inputs.", None)],
            [("  This version cannot do it yet.", self.look.palette.muted)],
        ]
