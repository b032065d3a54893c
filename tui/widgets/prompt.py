"""The line above the footer: a message, or a prompt with history when something is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events, on
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from ..present.text import clean, cut
from .lines import Lines, look_of

if TYPE_CHECKING:
    from rich.style import Style
    from textual.app import ComposeResult
    from textual.widget import Widget

    from ..completion.candidates import Candidates, Cycle
    from ..question import Question
    from ..state import History


class Entry(Input):
    """One line of input; Up and Down bring back earlier ones, Tab completes."""

    BINDINGS = [  # noqa: RUF012  textual reads a plain list
        Binding("up", "earlier", "earlier line", show=False, id="prompt.earlier"),
        Binding("down", "later", "later line", show=False, id="prompt.later"),
        Binding("tab", "complete(1)", "complete", show=False, id="prompt.complete"),
        Binding("shift+tab", "complete(-1)", "complete back", show=False, id="prompt.back"),
    ]

    class Completed(Message):
        """Tab (1) or Shift-Tab (-1)."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False, id="entry")
        self.cursor_blink = False  # a blinking cursor is traffic on a line at rest
        self.lines: list[str] = []
        self._at = 0
        self._typed = ""

    async def _on_key(self, event: events.Key) -> None:
        """Enter, and what was typed behind it before that was seen, which is not for the prompt."""
        bar = self.parent
        if not isinstance(bar, PromptBar) or (bar.asking and event.key != "enter"):
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        if bar.asking:
            bar.submit()
        else:
            self.app.post_message(events.Key(event.key, event.character))

    def begin(self, text: str, lines: list[str]) -> None:
        self.lines, self._at, self._typed = lines, len(lines), text
        self.value = text
        self.cursor_position = len(text)

    def action_earlier(self) -> None:
        if self._at == len(self.lines):
            self._typed = self.value
        self._recall(self._at - 1)

    def action_later(self) -> None:
        self._recall(self._at + 1)

    def action_complete(self, direction: int) -> None:
        self.post_message(self.Completed(direction))

    def _recall(self, at: int) -> None:
        if 0 <= at <= len(self.lines):
            self._at = at
            self.value = self._typed if at == len(self.lines) else self.lines[at]
            self.cursor_position = len(self.value)


class PromptBar(Horizontal):
    """A message line that turns into a prompt."""

    DEFAULT_CSS = """
    PromptBar { height: 1; background: $background; }
    PromptBar > #message { width: 1fr; }
    PromptBar > #label { width: auto; display: none; }
    PromptBar > Entry { width: 1fr; display: none; background: $background; }
    PromptBar > Entry:focus { background: $background; }
    """

    class Changed(Message):
        """The prompt opened or closed."""

    def __init__(self, history: History) -> None:
        super().__init__(id="prompt")
        self._history = history
        self._question: Question | None = None
        self._rest = ""
        self._said = ""
        self._place: object = None  # where the message was said
        self._style: Style | None = None  # of the message
        self._hint = ""  # in place of the message for a moment
        self._cycle: Cycle | None = None  # what Tab goes through
        self._shown = ""  # the line with the candidate in it
        self.looking = False  # whether Tab waits for candidates

    def compose(self) -> ComposeResult:
        yield Lines(id="message")
        yield Lines(id="label")
        yield Entry()

    @property
    def asking(self) -> bool:
        return self._question is not None

    @property
    def completing(self) -> Cycle | None:
        """The candidates that Tab goes through."""
        return self._cycle

    @property
    def can_complete(self) -> bool:
        """Whether Tab offers anything for what is asked."""
        return self._question is not None and self._question.complete is not None

    @property
    def example(self) -> str:
        """What an answer may look like."""
        return self._question.example if self._question is not None else ""

    @property
    def said(self) -> str:
        """The message that was said and still stands."""
        return self._said

    @property
    def message(self) -> str:
        """What the line says now."""
        return self._hint or self._said or self._rest

    def say(self, text: str, style: Style | None = None, place: object = None) -> None:
        """A message; it stays until `rest` is told of another place."""
        self._place = place
        self._said = clean(text, look_of(self).terminal.ascii)
        self._style = style or look_of(self).palette.accent
        self._show()

    def restyle(self) -> None:
        """Colours are others."""
        if self._said:
            self._style = look_of(self).palette.accent
        self._show()

    def hint(self, text: str) -> None:
        """Show a text in place of the message; empty: the message again."""
        if text != self._hint:
            self._hint = text
            self._show()

    def stay(self, place: object) -> None:
        """The program itself moves to `place`: what is said is as true there."""
        self._place = place

    def rest(self, text: str, place: object = None) -> None:
        """What the line shows when there is no message from `place`."""
        self._rest = clean(text, look_of(self).terminal.ascii)
        if not self._said or place != self._place:
            self._said = ""
            self._show()

    def _show(self) -> None:
        look = look_of(self)
        style = look.palette.key if self._hint else self._style if self._said else None
        text = cut(self.message, max(0, self.size.width - 2), look.signs.dots)
        self.query_one("#message", Lines).set_lines([[(" " + text, style)]])

    def ask(self, question: Question) -> None:
        """Open the prompt."""
        self._question = question
        self._cycle, self.looking = None, False
        label = self.query_one("#label", Lines)
        label.styles.width = len(question.label) + 1
        label.set_lines([[(" " + question.label, look_of(self).palette.key)]])
        entry = self.query_one(Entry)
        entry.begin(question.text, self._history.of(question.sign) if question.sign else [])
        self._switch(True)
        self.screen.set_focus(entry)  # now, not after a refresh: what is typed next belongs here

    def leave(self) -> None:
        """Leave the prompt without an answer."""
        question = self._question
        self.close()
        if question is not None and question.left is not None:
            question.left()

    def close(self) -> None:
        """Turn the prompt into a message line again."""
        self._question = None
        self.screen.set_focus(self._body())
        self._switch(False)

    def _body(self) -> Widget | None:
        """The widget that the keys belong to when nothing is asked: the body that is shown."""
        return next((body for body in self.screen.query(".body") if body.display), None)

    def take(self, event: events.Key) -> bool:
        """A key that was on its way elsewhere when the prompt opened; whether it means anything."""
        entry = self.query_one(Entry)
        if event.is_printable:
            entry.insert_text_at_cursor(event.character or "")
        elif event.key == "enter":
            self.submit()
        elif event.key == "backspace":
            entry.action_delete_left()
        else:
            return False
        return True

    def _switch(self, asking: bool) -> None:
        self.query_one("#message").display = not asking
        self.query_one("#label").display = asking
        self.query_one(Entry).display = asking
        self.post_message(self.Changed())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        question = self._question
        if question is not None and question.changed is not None:
            question.changed(event.value)
        if self.looking or (self._cycle is not None and event.value != self._shown):
            self._cycle, self.looking = None, False
            self.post_message(self.Changed())

    @on(Entry.Completed)
    def _complete(self, event: Entry.Completed) -> None:
        """Tab: to the next candidate, or look for some; what stands behind the cursor stays."""
        event.stop()
        question, entry = self._question, self.query_one(Entry)
        if question is None or question.complete is None:
            return
        at = entry.cursor_position
        line, rest = entry.value[:at], entry.value[at:]
        if self._cycle is not None and line == self._cycle.line and entry.value == self._shown:
            self._step(self._cycle, event.direction, rest)
            return
        from ..completion.candidates import Cycle  # not before the first paint

        self.looking = True

        def found(candidates: Candidates) -> None:
            typed = (entry.value, entry.cursor_position) == (line + rest, at)
            if self._question is question and self.looking and typed:
                self.looking = False
                self._step(Cycle(line, candidates), event.direction, rest)

        question.complete(line, found)
        self.post_message(self.Changed())

    def _step(self, cycle: Cycle, direction: int, rest: str) -> None:
        self._cycle, line = cycle, cycle.step(direction)
        self._shown = line + rest
        if len(cycle.candidates.words) == 1:  # the next Tab goes on behind it
            self._cycle = None
        entry = self.query_one(Entry)
        entry.value = self._shown
        entry.cursor_position = len(line)
        self.post_message(self.Changed())

    def submit(self) -> None:
        """Answer with what was typed so far, at once: the next key is for others."""
        question, text = self._question, self.query_one(Entry).value
        if question is None:
            return
        self.close()
        if question.sign:
            self._history.add(question.sign, text)
        question.answer(text)
