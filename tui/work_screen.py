"""What the list and the pair screen have in common: a body that scrolls, a prompt, a footer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from textual.screen import Screen

from .commands import CommandError, parse
from .keys import Key, Scope, bindings_of, footer_of, keys_of
from .session import Host
from .settings.table import SettingError, setting_named
from .widgets.footer import Footer
from .widgets.prompt import PromptBar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events
    from textual.binding import BindingType

    from ..compare.comparison import Comparison
    from ..compare.reports.row_report import RowReport
    from .controllers import Controllers
    from .jobs.export_job import ExportChoice
    from .session import Session
    from .settings.changes import SettingChanges
    from .settings.keymap import Keymap
    from .state import History
    from .theme import Look


_TITLES: dict[Scope, str] = {"list": "list", "pair": "pair screen", "map": "map", "trend": "trend"}


class ScreenHost(Host, Protocol):
    """What screens ask of the program around them."""

    look: Look
    history: History
    controllers: Controllers
    keymap: Keymap
    changes: SettingChanges

    def open_pair(self, *, alone: bool = False) -> None:
        """Bring the pair screen to the front; `alone`: the list has no other row."""
        ...

    def open_map(self) -> None:
        """Bring the map of all layers to the front."""
        ...

    def open_trend(self) -> None:
        """Bring the error along the run to the front."""
        ...

    def action_quit_all(self) -> None: ...


class Body(Protocol):
    """What the moving keys act on."""

    def move(self, lines: int) -> None: ...
    def page(self, pages: float) -> None: ...
    def to_top(self) -> None: ...
    def to_bottom(self) -> None: ...


class WorkScreen(Screen[None], inherit_bindings=False):
    """The keys of everywhere. The moving ones act on the widget with the class `body`."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("everywhere"))
    SCOPE: ClassVar[Scope] = "list"
    AUTO_FOCUS = ".body"

    def __init__(self, host: ScreenHost) -> None:
        super().__init__()
        self.host = host

    @property
    def session(self) -> Session:
        return self.host.session

    @property
    def controllers(self) -> Controllers:
        return self.host.controllers

    @property
    def comparison(self) -> Comparison | None:
        return self.session.comparison

    @property
    def row(self) -> int | None:
        """The row under the list's cursor once rows are aligned."""
        return self.session.row

    @property
    def look(self) -> Look:
        return self.host.look

    @property
    def prompt(self) -> PromptBar:
        return self.query_one(PromptBar)

    @property
    def body(self) -> Body:
        return cast(Body, self.query_one(".body"))

    @property
    def place(self) -> object:
        """What the screen is about; a message stays until this changes."""
        return self.session.cursor()

    def say(self, text: str, *, warn: bool = False) -> None:
        """One line above the footer."""
        self.prompt.say(text, self.look.palette.warn if warn else None, self.place)

    # Keys

    @classmethod
    def all_keys(cls) -> Sequence[Key]:
        """Everything that works on this screen: its own keys, then those of everywhere."""
        return keys_of(cls.SCOPE)

    def keys_now(self) -> list[Key]:
        """All keys of this screen as the user has them."""
        return self.host.keymap.shown(self.all_keys())

    def restyle(self) -> None:
        """Colours are others: draw what has them in its lines."""
        self.show_footer()
        self.prompt.restyle()

    @property
    def footer_keys(self) -> Sequence[Key]:
        """The keys that the footer shows now, in its order."""
        return footer_of(self.all_keys())

    def show_footer(self) -> None:
        """The keys of now."""
        footer, prompt = self.query_one(Footer), self.prompt
        if prompt.asking and prompt.completing is not None:
            footer.show_candidates(prompt.completing.candidates, prompt.completing.at, self.look)
        elif prompt.asking:
            arrows = self.look.signs.up_down
            tab = [("Tab", "looking" if prompt.looking else "complete")] * prompt.can_complete
            entries = [("Enter", "run"), *tab, (arrows, "earlier lines"), ("Esc", "leave")]
            if prompt.example:
                entries = [("e.g.", prompt.example), *tab, ("Esc", "leave")]
            footer.show_entries(entries, self.look)
        else:
            keys = self.host.keymap.shown(self.footer_keys, self.all_keys())
            footer.show_keys(keys, self.look)

    def on_prompt_bar_changed(self) -> None:
        self.show_footer()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show_footer)

    # Moving

    def action_move(self, lines: int) -> None:
        self.body.move(lines)

    def action_page(self, pages: float) -> None:
        self.body.page(pages)

    def action_to_top(self) -> None:
        self.body.to_top()

    def action_to_bottom(self) -> None:
        self.body.to_bottom()

    async def take_any_key(self, event: events.Key) -> bool:
        """Whether a key is for the prompt, or part of something longer."""
        if self.prompt.asking:
            return self.prompt.take(event)
        return await self.take_key(event)

    async def take_key(self, event: events.Key) -> bool:
        """Whether a key is part of something longer (`10j`), and is for nobody else."""
        return False

    # Commands

    def action_command(self) -> None:
        from .question import Question

        complete = self.controllers.completions.line
        self.prompt.ask(Question(":", self.run_command, sign=":", complete=complete))

    def run_command(self, text: str) -> None:
        """Carry out a line of the `:` prompt."""
        try:
            found = parse(text)
            if found is not None:
                self._run(found[0].name, found[1])
        except CommandError as error:
            self.say(str(error), warn=True)

    def _run(self, name: str, rest: str) -> None:
        own = self.own_commands.get(name)
        if own is not None:
            own(rest)
            return
        run = self.controllers.commands.get(name)
        if run is None:
            raise CommandError(f"{name} belongs to the pair screen: Enter opens it")
        run(rest)
        self.after_command()

    @property
    def own_commands(self) -> dict[str, Callable[[str], None]]:
        """Commands that are about this screen."""
        return {
            "notes": lambda _: self.show_notes(),
            "why": lambda _: self.show_why(),
            "by": self.show_by,
            "map": lambda _: self._overview(self.host.open_map),
            "trend": lambda _: self._overview(self.host.open_trend),
            "help": lambda _: self.action_help(),
            "set": self.command_set,
            "quit": lambda _: self.host.action_quit_all(),
        }

    def command_set(self, text: str) -> None:
        """`:set [NAME[=VALUE] | save]`: without anything list all settings."""
        name, equals, value = (part.strip() for part in text.partition("="))
        settings = self.session.settings
        try:
            if not text:
                from .widgets.text_screen import settings_screen

                self.app.push_screen(settings_screen(settings, self.host.keymap, self.look))
            elif text == "save":
                self.say(f"settings are in {self.host.changes.save()}")
            elif equals:
                self.host.changes.change(name, value)
                self.say(f"{name} is {self.session.settings[name]}; :set save keeps it")
            else:
                setting = setting_named(name)
                choices = ", ".join(setting.choices)
                self.say(f"{name}={settings[name]} ({settings.source(name)}): {choices}")
        except SettingError as error:
            raise CommandError(str(error)) from error

    def show_by(self, text: str) -> None:
        """`:by component`."""
        if text not in ("component", "components"):
            raise CommandError("by what? :by component")
        comparison = self.comparison
        if comparison is None or not comparison.complete:
            raise CommandError("what components add is known when all rows are measured")
        from .widgets.text_screen import component_screen

        self.app.push_screen(component_screen(comparison, self.look))

    def _overview(self, bring: Callable[[], None]) -> None:
        """`:map` and `:trend`."""
        if self.comparison is None:
            raise CommandError("rows are not aligned yet")
        bring()

    def show_notes(self) -> None:
        """What is known of both captures."""
        if self.comparison is None:
            raise CommandError("rows are not aligned yet")
        from .widgets.text_screen import notes_screen

        self.app.push_screen(notes_screen(self.comparison, self.look))

    def show_why(self) -> None:
        """How the record on this row was identified."""
        row = self.host.session.row
        if self.comparison is None or row is None:
            raise CommandError("rows are not aligned yet")
        from .widgets.text_screen import why_screen

        self.app.push_screen(why_screen(self.comparison, row, self.look))

    def after_command(self) -> None:
        """Called when a command may have changed what there is to show."""

    # What others ask of the screen in front

    def export_choice(self) -> ExportChoice | None:
        """What `e` writes: the rows chosen, unless a screen shows something of its own."""
        return self.controllers.export.rows_chosen()

    def yank_report(self) -> RowReport | None:
        """What `y` and `Y` copy, where that is not the row as it was aligned."""
        return None

    def stop_inspection(self) -> bool:
        """Stop what this screen itself reads; False when nothing is."""
        return False

    def rows_changed(self, rows: Sequence[int]) -> None:
        """Rows have other numbers or verdicts."""

    def rerun_changed(self) -> None:
        """A rerun has news."""

    # Everywhere

    def action_divergence(self, direction: int) -> None:
        self.controllers.navigation.divergence(direction)
        self.after_command()

    def action_made(self, direction: int) -> None:
        self.controllers.navigation.made(direction)
        self.after_command()

    def action_symptoms(self) -> None:
        self.controllers.symptoms.look()

    def action_rerun(self) -> None:
        self.controllers.rerunning.rerun()

    def action_export(self) -> None:
        self.controllers.export.ask()

    def action_report(self) -> None:
        self.run_command("report")

    def action_yank(self) -> None:
        self.controllers.export.yank()

    def action_yank_long(self) -> None:
        self.controllers.export.yank("long")

    def action_help(self) -> None:
        from .widgets.text_screen import help_screen

        on_list = self.SCOPE == "list"
        title = f"{'Marks and keys' if on_list else 'Keys'} of the {_TITLES[self.SCOPE]}"
        self.app.push_screen(help_screen(title, self.keys_now(), self.look, on_list))

    def action_step_out(self) -> None:
        if self.prompt.asking:
            self.prompt.leave()
        else:
            self.step_out()

    def step_out(self) -> None:
        """Esc when no prompt is open."""
        self.action_back()

    def action_back(self) -> None:
        self.dismiss()
