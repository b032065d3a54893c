"""What the list and the pair screen have in common: a body that scrolls, a prompt, a footer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from textual.screen import Screen

from .commands import CommandError, parse
from .keys import Scope, bindings_of, footer_of
from .list.status_line import Footer
from .widgets.prompt import PromptBar, Question

if TYPE_CHECKING:
    from textual.binding import BindingType

    from .app import LayertuiApp
    from .jobs.export_job import ExportChoice


class Body(Protocol):
    """What the moving keys act on."""

    def move(self, lines: int) -> None: ...
    def page(self, pages: float) -> None: ...
    def to_top(self) -> None: ...
    def to_bottom(self) -> None: ...


class WorkScreen(Screen[None], inherit_bindings=False):
    """The keys of everywhere. `BODY` is the selector of the widget that they move."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("everywhere"))
    SCOPE: ClassVar[Scope] = "list"
    AUTO_FOCUS = ".body"

    @property
    def layertui(self) -> LayertuiApp:
        return cast("LayertuiApp", self.app)

    @property
    def prompt(self) -> PromptBar:
        return self.query_one(PromptBar)

    @property
    def body(self) -> Body:
        return cast(Body, self.query_one(".body"))

    @property
    def place(self) -> object:
        """What the screen is about; a message stays until this changes."""
        return self.layertui.list_screen.pairs.row

    def say(self, text: str, *, warn: bool = False) -> None:
        """One line above the footer."""
        palette = self.layertui.look.palette
        self.prompt.say(text, palette.warn if warn else None, self.place)

    def show_footer(self) -> None:
        """The keys of now."""
        footer = self.query_one(Footer)
        if self.prompt.asking:
            arrows = self.layertui.look.signs.up_down
            footer.show_entries(
                [("Enter", "run"), (arrows, "earlier lines"), ("Esc", "leave")],
                self.layertui.look,
            )
        else:
            footer.show_keys(footer_of(self.SCOPE, self.shown_view), self.layertui.look)

    @property
    def shown_view(self) -> int:
        """The view whose keys the footer shows; 0 where a screen has none."""
        return 0

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

    # Everywhere

    def action_command(self) -> None:
        self.prompt.ask(Question(":", self.run_command, sign=":"))

    def run_command(self, text: str) -> None:
        """Carry out a line of the `:` prompt."""
        try:
            found = parse(text)
            if found is not None:
                command, rest = found
                if self.run_own_command(command.name, rest):
                    return
                run = getattr(self.layertui.list_screen, f"command_{command.name}", None)
                if run is None:
                    raise CommandError(f"{command.name} belongs to the pair screen: Enter opens it")
                run(rest)
                self.after_command()
        except CommandError as error:
            self.say(str(error), warn=True)

    def run_own_command(self, name: str, text: str) -> bool:
        """Carry out a command that only this screen has; False for all others."""
        return False

    def export_choice(self) -> ExportChoice | None:
        """What `e` writes: that of the list, unless a screen shows something of its own."""
        return self.layertui.list_screen.export_choice()

    def yank_text(self) -> str | None:
        """What `y` copies, where that is not the row as it was aligned."""
        return None

    def stop_inspection(self) -> bool:
        """Stop what this screen itself reads; False when nothing is."""
        return False

    def after_command(self) -> None:
        """Called when a command may have changed what there is to show."""

    def action_export(self) -> None:
        self.layertui.list_screen.export_on(self)

    def action_yank(self) -> None:
        self.layertui.list_screen.yank_on(self)

    def action_help(self) -> None:
        from .widgets.text_screen import help_screen

        self.app.push_screen(help_screen(self.SCOPE, self.layertui.look))

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
