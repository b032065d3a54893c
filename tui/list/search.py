"""Searching names, and choosing which rows the list shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.plurals import counted
from ..commands import CommandError
from ..question import Question
from .row_model import MODE_WORDS, MODES, holds, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..completion.completer import Completions
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .face import ListFace
    from .finding.spot import Spot
    from .motions.places import Places
    from .row_model import RowModel

AT_ONCE = 2_000  # rows whose names are gathered within a key's time: some 10 ms


class Search:
    """Search, filter, only diverged, and which kinds of records are rows."""

    def __init__(
        self, host: Host, face: ListFace, places: Places, completions: Completions
    ) -> None:
        self._host, self._face, self._places = host, face, places
        self._complete = completions.words
        self._ready: RowModel | None = None  # all of whose names can be searched
        self._gathering: RowModel | None = None  # whose names are being gathered
        self._waiting: Callable[[], None] | None = None  # for that

    def ask(self) -> None:
        """Search while the words are typed; leaving the prompt goes back to where it was."""
        words, spot = self._host.session.search_words, self._face.spot

        def typed(text: str) -> None:
            self._show(words_of(text))
            self._when_ready(lambda: self._follow(spot))

        def entered(text: str) -> None:
            self._waiting = None
            self._face.back_to(spot)
            self.find(text)

        def left() -> None:
            self._waiting = None
            self._show(words)
            self._face.back_to(spot)

        complete = self._complete
        self._host.ask(
            Question("/", entered, sign="/", changed=typed, left=left, complete=complete)
        )
        self._when_ready(lambda: None)

    def find(self, text: str) -> None:
        """To the next row whose names hold all words; none ends the search."""
        self._show(words_of(text))
        if self._host.session.search_words:
            self._when_ready(lambda: self._jump(1, include_here=True))

    def match(self, direction: int) -> None:
        """To the next match, or the one before; 3: to the third."""
        if self._host.session.search_words:
            self._when_ready(lambda: self._jump(direction))
        else:
            self._host.say("no search yet: / searches")

    def _show(self, words: list[str]) -> None:
        self._host.session.search_words = words
        self._face.show_search()

    def _follow(self, spot: Spot) -> None:
        """While the words are typed: to the first match from where the search began."""
        self._face.back_to(spot)
        found = self._next(1, include_here=True)
        if found is not None:
            self._face.go_to_row(found[0])

    def _jump(self, direction: int, include_here: bool = False) -> None:
        words, step = " ".join(self._host.session.search_words), 1 if direction > 0 else -1
        found, wrapped = None, False
        self._places.leave()
        for _ in range(abs(direction)):
            found = self._next(step, include_here)
            if found is None:
                break
            self._face.go_to_row(found[0])
            wrapped = wrapped or found[1]
        if found is None:
            self._host.say(f"no row with {words!r}", warn=True)
        else:
            self._host.say(f"/{words}" + ("  (wrapped around)" if wrapped else ""))

    def _next(self, step: int, include_here: bool) -> tuple[int, bool] | None:
        """The next row shown that has the words, and whether the list began again before it."""
        face, words = self._face, self._host.session.search_words
        model, rows = face.model, face.shown
        if model is None or not rows:
            return None
        here = rows[min(face.cursor, len(rows) - 1)]
        first = here if include_here or face.folded else here + step
        return model.names().next(words, first, step, lambda row: holds(rows, row))

    def _when_ready(self, then: Callable[[], None]) -> None:
        """Do something once all names can be searched. For many rows they are gathered beside the
        screen; meanwhile only what was asked for last is waited for.
        """
        model = self._face.model
        if model is None:
            return
        if len(model) <= AT_ONCE or model is self._ready:
            self._ready = model
            then()
            return
        self._waiting = then
        if model is self._gathering:
            return

        def gather(_: Job) -> bool:
            return bool(model.names()) or True

        def done(_: News) -> None:
            self._gathering, self._ready = None, model
            waiting, self._waiting = self._waiting, None
            if waiting is not None and model is self._face.model:
                waiting()

        self._gathering = model
        self._host.start(gather, done)

    def ask_filter(self) -> None:
        now, complete = self._face.view.filter, self._complete
        self._host.ask(Question("&", self.filter, now, sign="&", complete=complete))
        self._when_ready(lambda: None)

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
        unseen = changes.vanished if change == "gone" else 0
        gone = f" ({unseen} without a line here)" if unseen else ""
        back = ":only all shows all" if view.filter else "Esc shows all"
        self._host.say(f"{found} {change}{gone}; {back}. {change}: {MEANINGS[change]}")

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
