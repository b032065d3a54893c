"""Searching names, and choosing which rows the list shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.plurals import counted
from ..commands import CommandError
from ..session import Question
from .row_model import MODE_WORDS, MODES, matches, words_of

if TYPE_CHECKING:
    from ..session import Host
    from .face import ListFace
    from .motions.places import Places


class Search:
    """Search, filter, only diverged, and which kinds of records are rows."""

    def __init__(self, host: Host, face: ListFace, places: Places) -> None:
        self._host, self._face, self._places = host, face, places

    def ask(self) -> None:
        self._host.ask(Question("/", self.find, sign="/"))

    def find(self, text: str) -> None:
        """To the next row whose names hold all words; none ends the search."""
        session = self._host.session
        session.search_words = words_of(text)
        self._face.show_search()
        self._places.leave()
        if session.search_words:
            self._go_to_match(1, include_here=True)

    def match(self, direction: int) -> None:
        if self._host.session.search_words:
            self._places.leave()
            self._go_to_match(direction)
        else:
            self._host.say("no search yet: / searches")

    def _go_to_match(self, direction: int, include_here: bool = False) -> None:
        face, sought = self._face, self._host.session.search_words
        model, rows = face.model, face.shown
        total = len(rows)
        if model is None or not total:
            return
        start = face.cursor - (direction if include_here or face.folded else 0)
        for step in range(1, total + 1):
            at = (start + direction * step) % total
            if matches(model, rows[at], sought):
                wrapped = (at - start) * direction <= 0
                face.move_to(at)
                words = " ".join(sought)
                self._host.say(f"/{words}" + ("  (wrapped around)" if wrapped else ""))
                return
        self._host.say(f"no row with {' '.join(sought)!r}", warn=True)

    def ask_filter(self) -> None:
        self._host.ask(Question("&", self.filter, self._face.view.filter, sign="&"))

    def filter(self, text: str) -> None:
        text = text.strip()
        self._face.change_view(replace(self._face.view, filter=text))
        if text:
            self._host.say(f"{counted(len(self._face.shown), 'row')} with {text!r}; Esc shows all")

    def only(self, text: str = "") -> None:
        """`:only [diverged|cured|new|...|all]`; without a word what diverged, or all again."""
        view = self._face.view
        if text in ("", "diverged", "all"):
            only = text == "diverged" or (not text and not view.only)
            self._face.change_view(replace(view, only=only, change=None))
            if only and not self._face.shown:
                self._host.say("nothing diverges; d shows all again")
            return
        from ...compare.changes.changes import MEANINGS  # not before the first paint
        from ..before.change_words import change_named

        change, changes = change_named(text), self._host.session.changes
        if changes is None:
            raise CommandError("nothing earlier is known: --before DIR, :before DIR or :watch")
        self._face.change_view(replace(view, only=False, change=change))
        found = counted(len(changes.by_change[change]), "row")
        gone = f", {changes.vanished} without a row" if change == "gone" else ""
        self._host.say(f"{found} {change}{gone}: {MEANINGS[change]}; Esc shows all")

    def next_mode(self) -> None:
        self.show(MODES[(MODES.index(self._face.view.mode) + 1) % len(MODES)])

    def show(self, text: str) -> None:
        """`:show outputs|inputs|everything`."""
        fitting = [known for known in MODES if text and known.startswith(text)]
        if not fitting:
            raise CommandError("show what? outputs, inputs or everything")
        self._face.change_view(replace(self._face.view, mode=fitting[0]))
        self._host.say(
            f"{MODE_WORDS[self._face.view.mode]}: {counted(len(self._face.shown), 'row')}"
        )

    def step_out(self) -> bool:
        """Take back the search, else the filter, else only diverged; False when there is none."""
        session, view = self._host.session, self._face.view
        if session.search_words:
            session.search_words = []
            self._face.show_search()
            self._host.say("search cleared")
        elif view.filter:
            self._face.change_view(replace(view, filter=""))
            self._host.say("filter cleared")
        elif view.only or view.change:
            self._face.change_view(replace(view, only=False, change=None))
            self._host.say("all rows")
        else:
            return False
        return True
