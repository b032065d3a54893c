"""One pair on a screen of its own: views over the row that the list's cursor is on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.message import Message

from ..commands import CommandError
from ..jobs.export_job import ExportChoice
from ..jobs.inspector import Found, InspectionNews
from ..keys import bindings, footer_of, keys_of
from ..question import Question
from ..widgets.footer import Footer
from ..widgets.lines import Lines
from ..widgets.prompt import PromptBar
from ..work_screen import WorkScreen
from .halves import Halves
from .heads import Heads
from .panes import WIDE_ENOUGH, Panes, too_narrow
from .reading import Reading
from .shapes import shape_of, subject_of
from .title import tabs_line, title_line
from .trials import Trials
from .views import registry
from .views.registry import VIEWS
from .views.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from ...compare.inspection.subject import Subject
    from ...compare.reports.row_report import RowReport
    from ..jobs.inspector import Look as LookInto
    from ..jobs.inspector import Task
    from ..keys import Key
    from ..scene import Scene, Trial
    from ..work_screen import ScreenHost
    from .views.top import TopView


class Inspected(Message):
    """News of the inspector, handed over from its thread."""

    def __init__(self, news: InspectionNews) -> None:
        super().__init__()
        self.news = news


class PairScreen(WorkScreen):
    """Shows the row that the list's cursor is on and moves that cursor."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(registry.own_keys()))
    SCOPE = "pair"
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    PairScreen { layout: vertical; }
    PairScreen > #title { background: $panel; height: 1; }
    PairScreen > #tabs { background: $surface; height: 1; }
    """

    def __init__(self, host: ScreenHost, alone: bool = False) -> None:
        super().__init__(host)
        self._alone = alone  # opened unasked, over a list of one row: `q` quits
        self._heads = Heads()
        self.panes = Panes((VIEWS[0].NAME,))
        self._second = VIEWS[1].NAME  # what `|` shows beside the view in front
        self.readings = Reading(self._hand_over, lambda: self.panes.names)
        self.trials = Trials(host, host.controllers.pairing, self.readings, self.show_scene)

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield Lines(id="tabs")
        yield Halves(self, self.panes)
        yield PromptBar(self.host.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        if self.query(f"#view-{self.panes.front}"):  # else it was left before its parts were there
            self.set_focus(self.view)
            self.call_after_refresh(self.show_pair)

    def on_unmount(self) -> None:
        self.session.scene = None
        self.readings.close()

    def on_screen_resume(self) -> None:
        self.controllers.completions.views = [view.title for view in VIEWS]
        self.call_after_refresh(self.show_pair)

    def on_resize(self) -> None:
        super().on_resize()
        if self.size.width < WIDE_ENOUGH and self.panes.other is not None:
            self._show_panes(self.panes.single())
            self.say(too_narrow(self.size.width))
        self.call_after_refresh(self.show_pair)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click into the other view; not one that had the keys when this was sent."""
        view = event.widget
        if isinstance(view, View) and self.focused is view and self.panes.other == view.NAME:
            self._show_panes(self.panes.switched())

    # What is shown

    @property
    def view(self) -> View:
        """The view in front."""
        return self.view_named(self.panes.front)

    def view_named(self, name: str) -> Any:
        return self.query_one(Halves).view_named(name)

    def number_of(self, name: str) -> int:
        return registry.number_of(name)

    @property
    def body(self) -> View:
        return self.view

    @property
    def place(self) -> object:
        return (self.session.cursor(), self.panes.front)

    @property
    def scene(self) -> Scene | None:
        return self.session.scene

    @property
    def trial(self) -> Trial | None:
        return self.session.trial

    @property
    def reading(self) -> bool:
        """Whether something is read for a view."""
        return self.readings.busy

    @property
    def measuring(self) -> bool:
        return self.controllers.working

    @classmethod
    def all_keys(cls) -> Sequence[Key]:
        return [*registry.own_keys(), *keys_of("everywhere")]

    @property
    def footer_keys(self) -> Sequence[Key]:
        keys = [*registry.footer_keys(self.panes.front), *footer_of(keys_of(self.SCOPE))]
        words = {"back": "quit" if self._alone else "back"}
        if self.panes.other is not None:
            words |= {"next-view": "other view", "two-views": "one view"}
        left_out = "" if self.size.width >= WIDE_ENOUGH else "two-views"
        shown = (key for key in keys if key.id != left_out)
        return [replace(key, label=words.get(key.id, key.label)) for key in shown]

    def restyle(self) -> None:
        super().restyle()
        self.show_scene()

    def show_pair(self) -> None:
        """Draw the row under the list's cursor."""
        if self.query(f"#view-{self.panes.front}") and self.trials.follow():
            self.show_scene()  # else its parts are not there (any more)

    def show_scene(self) -> None:
        """Draw what is looked at."""
        scene = self.scene
        if scene is None:
            return
        if self.query("#title"):
            look, width = self.look, self.size.width
            self.query_one("#title", Lines).set_lines([title_line(scene, look, width)])
            tabs = tabs_line(self.panes, scene, look, width)
            self.query_one("#tabs", Lines).set_lines([tabs])
        for name in sorted(self.panes.names, key=self.panes.front.__eq__):
            self.view_named(name).show(scene)  # the one in front last: it is read first
        self.trials.measure()
        self.say_place()

    def say_place(self) -> None:
        """What the view says about its cursor, where no message stands."""
        if not self.prompt.asking:
            self.prompt.rest(self.view.context(), self.place)

    @property
    def heads(self) -> int | None:
        """Heads of the last axis, for rankings."""
        return self._heads.of(self.scene)

    @heads.setter
    def heads(self, count: int | None) -> None:
        self._heads.chosen = count

    def shape_of(self, scene: Scene) -> tuple[int, ...] | None:
        return shape_of(scene)

    def ask_user(
        self, label: str, answer: Callable[[str], None], text: str = "", *, sign: str = "",
        changed: Callable[[str], None] | None = None, left: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.prompt.ask(Question(label, answer, text, sign, changed, left))

    # What views read

    def _hand_over(self, news: InspectionNews) -> None:
        """Called in the inspector's thread."""
        self.post_message(Inspected(news))

    def read(self, name: str, key: Hashable, subject: Subject, look: LookInto) -> Found | None:
        return self.readings.read(name, key, subject, look)

    def run_task(self, name: str, key: Hashable, task: Task) -> None:
        self.readings.run(name, key, task)

    def on_inspected(self, message: Inspected) -> None:
        name, subject, news = self.readings.take(message.news)
        if self.trials.take(name, news.key, news):
            return
        if subject is None or subject == subject_of(self.scene):
            self.view_named(name).news(news)
            self.say_place()
        if not isinstance(news, Found) or news.final:
            self.trials.measure()
            self.readings.go_on()

    def stop_inspection(self) -> bool:
        """Ctrl-C: stop what is read; False when nothing is."""
        return self.readings.stop()

    # What is tried

    def try_trial(self, trial: Trial | None, *, remember: bool = True) -> None:
        self.trials.start(trial, remember=remember)

    def keep_trial(self, *, kind: bool, save: bool) -> None:
        self.trials.keep(kind=kind, save=save)

    def show_injected(self) -> bool:
        if not self.trials.inject():
            return False
        self.action_view("stats")
        return True

    def export_choice(self) -> ExportChoice | None:
        """The marked rows of the list, else what is looked at, trial included."""
        if self.session.marks or self.scene is None:
            return super().export_choice()
        top: TopView = self.view_named("top")
        return ExportChoice((self.scene,), top=top.count)

    def yank_report(self) -> RowReport | None:
        scene = self.scene
        if scene is None or scene.trial is None:
            return None
        from ...compare.reports.row_text import judged_report

        return judged_report(scene.comparison, scene.index, scene.row, scene.result)

    # Keys

    def action_row(self, direction: int) -> None:
        self.controllers.navigation.step(direction)
        self.show_pair()

    def action_view(self, name: str) -> None:
        """Bring a view to the front; one that is there goes on with what was stopped."""
        self._show_panes(self.panes.chosen(name))
        self.call_after_refresh(self.show_scene)

    def action_next_view(self, direction: int) -> None:
        """The keys to the other of two views, else the next one to the front."""
        if self.panes.other is not None:
            self._show_panes(self.panes.switched())
            return
        at = registry.number_of(self.panes.front) - 1 + direction
        self.action_view(VIEWS[at % len(VIEWS)].NAME)

    def action_two_views(self) -> None:
        """A second view beside the one in front, or that one alone again."""
        if self.panes.other is not None:
            self._show_panes(self.panes.single())
        elif self.size.width < WIDE_ENOUGH:
            self.say(too_narrow(self.size.width))
        elif self.scene is not None:
            names = [self._second, *(view.NAME for view in VIEWS)]
            second = next(name for name in names if name != self.panes.front)
            self._show_panes(self.panes.beside(second))
            self.say("a digit chooses what this half shows, Tab goes to the other, | closes it")

    def _show_panes(self, panes: Panes) -> None:
        """Show these views."""
        if panes == self.panes or not self.query("#views"):
            return
        self._second = (panes.other if panes.focus == 0 else panes.front) or self._second
        self.panes = panes
        self.query_one(Halves).show_panes(panes)
        self.set_focus(self.view)
        self.show_footer()
        self.call_after_refresh(self.show_scene)

    def action_sideways(self, columns: int) -> None:
        if not self.view.sideways(columns):
            self.say("nothing to the side here")

    def action_view_action(self, action: str) -> None:
        """A key that means something in some views."""
        view = self._view_with(action, action in self.view.actions)
        if self.scene is not None:
            self._say(registry.refusal(action) if view is None else view.actions[action]())

    def action_undo(self) -> None:
        self.say(self.trials.undo())

    def _view_with(self, name: str, in_front: bool) -> View | None:
        """The view that carries out an action or a command: the one in front where it can, else
        the one that it brings to the front, if any.
        """
        if in_front:
            return self.view
        home = next((view.NAME for view in VIEWS if name in view.BROUGHT_BY), None)
        if home is None or self.scene is None:
            return None
        self.action_view(home)
        self.view.show(self.scene)
        return self.view

    def _say(self, text: str) -> None:
        if text:
            self.say(text)

    def step_out(self) -> None:
        """Esc: the rerun's output or the trial first, then back to the list."""
        said = self.trials.step_out()
        if said:
            self.say(said)
        else:
            self.dismiss()

    def action_back(self) -> None:
        if self._alone:
            self.host.action_quit_all()
        else:
            self.dismiss()

    def rows_changed(self, rows: Sequence[int]) -> None:
        if self.row in rows:
            self.show_pair()

    def rerun_changed(self) -> None:
        for name in self.panes.names:
            self.view_named(name).rerun_changed()

    def after_command(self) -> None:
        self.show_pair()

    # Commands of this screen

    @property
    def own_commands(self) -> dict[str, Callable[[str], None]]:
        def of_view(name: str) -> Callable[[str], None]:
            return lambda text: self._command_of_view(name, text)

        return {
            **super().own_commands,
            "view": self._command_view,
            **{name: of_view(name) for view in VIEWS for name in view.COMMANDS},
        }

    def _command_of_view(self, name: str, text: str) -> None:
        view = self._view_with(name, name in self.view.commands)
        if view is None:
            raise CommandError(registry.refused_command(name))
        self._say(view.commands[name](text))

    def _command_view(self, text: str) -> None:
        for number, view in enumerate(VIEWS, 1):
            if text and (text == str(number) or view.title.lower().startswith(text.lower())):
                self.action_view(view.NAME)
                return
        names = ", ".join(f"{number} {view.title}" for number, view in enumerate(VIEWS, 1))
        raise CommandError(f"view which? {names}")

    # From one view to another

    def go_to_element(self, index: tuple[int, ...]) -> None:
        """Show an element in Values: in the other half, where there are two."""
        if self.panes.other is not None and self.panes.front != "values":
            self._show_panes(self.panes.with_other("values"))
        else:
            self.action_view("values")
        assert self.scene is not None
        values = cast("View", self.view_named("values"))
        values.show(self.scene)
        self.call_after_refresh(values.go_to, index)
