"""One pair on a screen of its own: eight views over the row that the list's cursor is on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Container
from textual.message import Message

from ..commands import CommandError
from ..jobs.export_job import ExportChoice
from ..jobs.inspector import Failed, Fault, Found, InspectionNews, Inspector
from ..keys import bindings_of
from ..list.status_line import Footer
from ..present.text import clean, cut, dtype_text, elide, shape_text, tail, width_of
from ..scene import Scene, Trial
from ..theme import LOOKS, Look
from ..widgets.lines import Lines, Piece, Pieces
from ..widgets.prompt import PromptBar
from ..work_screen import WorkScreen
from .views.explain import ExplainView
from .views.heat import HeatView
from .views.histogram import HistogramView
from .views.layout import LayoutView
from .views.rerun import RerunView
from .views.stats import StatsView
from .views.top import TopView
from .views.values import ValuesView

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from ...capture.records import Record
    from ...compare.comparison import Comparison
    from ...compare.inspection.subject import Subject
    from ..jobs.inspector import Look as LookInto
    from ..jobs.inspector import Task
    from .views.view import View

_KEPT = 24  # results of scenes and views that are remembered

VIEWS: tuple[type[View], ...] = (
    StatsView, TopView, HistogramView, HeatView, ValuesView, LayoutView, RerunView, ExplainView,
)  # fmt: skip


class Inspected(Message):
    """News of the inspector, handed over from its thread."""

    def __init__(self, news: InspectionNews) -> None:
        super().__init__()
        self.news = news


class PairScreen(WorkScreen):
    """Shows the row that the list's cursor is on and moves that cursor."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("pair"))
    SCOPE = "pair"
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    PairScreen { layout: vertical; }
    PairScreen > #title { background: $panel; height: 1; }
    PairScreen > #tabs { background: $surface; height: 1; }
    PairScreen > #views { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.scene: Scene | None = None
        self.heads: int | None = None  # heads of the last axis, for rankings; `:heads N`
        self._number = 1
        self._inspector = Inspector(self._hand_over)
        self._kept: dict[Hashable, Any] = {}
        self._undo: list[Trial | None] = []

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield Lines(id="tabs")
        with Container(id="views"):
            for view in VIEWS:
                widget = view()
                widget.display = view.number == self._number
                yield widget
        yield PromptBar(self.layertui.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        self.set_focus(self.view)
        self.call_after_refresh(self.show_pair)

    def on_unmount(self) -> None:
        self._inspector.close()

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.show_pair)

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self.show_pair)

    # What is shown

    @property
    def view(self) -> View:
        """The view in front."""
        return self.view_numbered(self._number)

    def view_numbered(self, number: int) -> Any:
        return self.query_one(f"#view-{number}")

    @property
    def body(self) -> Any:
        return self.view

    @property
    def place(self) -> object:
        return (self.layertui.list_screen.pairs.row, self._number)

    @property
    def reading(self) -> bool:
        """Whether something is read for a view."""
        return self._inspector.busy

    @property
    def shown_view(self) -> int:
        return self._number

    @property
    def trial(self) -> Trial | None:
        return self.scene.trial if self.scene is not None else None

    def show_pair(self) -> None:
        """Draw the row under the list's cursor."""
        screen = self.layertui.list_screen
        comparison, row = screen.comparison, screen.row
        if comparison is None or row is None or not self.query("#title"):  # not there (any more)
            return
        known = self.scene
        if known is None or (known.comparison, known.index) != (comparison, row):
            self.scene = Scene(comparison, row)
            self._undo = []
            self.heads = self.heads or _guess_heads(comparison)
        self._show_scene()

    def _show_scene(self) -> None:
        scene = self.scene
        if scene is None:
            return
        self._show_title()
        self.view.show(scene)
        self._measure_trial()
        self.say_place()

    def _show_title(self) -> None:
        if self.scene is None or not self.query("#title"):
            return
        look, width = self.layertui.look, self.size.width
        self.query_one("#title", Lines).set_lines([title_line(self.scene, look, width)])
        self.query_one("#tabs", Lines).set_lines([tabs_line(self._number, self.scene, look, width)])

    def say_place(self) -> None:
        """What the view says about its cursor, where no message stands."""
        if not self.prompt.asking:
            self.prompt.rest(self.view.context(), self.place)

    def shape_of(self, scene: Scene) -> tuple[int, ...] | None:
        """The shape of a scene that is not measured; None where recipes or records do not tell."""
        return _shape_of(scene)

    # The inspector

    def _hand_over(self, news: InspectionNews) -> None:
        """Called in the inspector's thread."""
        self.post_message(Inspected(news))

    def ask(self, view: View, key: Hashable, subject: Subject, look: LookInto) -> None:
        """Answer a view's question, from what is kept or in the background."""
        whole = (subject, key)
        if whole in self._kept:
            view.news(Found(key, self._kept[whole], 1, 1))
        else:
            self._inspector.look((view.number, whole), subject, look)

    def ask_task(self, number: int, key: Hashable, task: Task) -> None:
        """Run something else for the view with this number; its result is not kept."""
        self._inspector.run((number, (None, key)), task)

    def on_inspected(self, message: Inspected) -> None:
        news = message.news
        if isinstance(news, Fault):
            raise news.error
        number, (subject, key) = news.key  # type: ignore[misc]
        if isinstance(news, Found) and news.final and subject is not None:
            self._keep((subject, key), news.result)
        if number == 0:
            self._trial_measured(key, news)
            return
        view = self.view_numbered(number)
        current = subject is None or subject == _subject(self.scene)
        if current:
            view.news(replace(news, key=key))
            self.say_place()
        if not isinstance(news, Found) or news.final:
            self._measure_trial()

    def _keep(self, key: Hashable, result: Any) -> None:
        self._kept[key] = result
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    def stop_inspection(self) -> bool:
        """Ctrl-C: stop what is read; False when nothing is."""
        return self._inspector.stop()

    # Recipes on trial

    def try_trial(self, trial: Trial | None, *, remember: bool = True) -> None:
        """Look at the row through other recipes; None: as it was aligned."""
        scene = self.scene
        if scene is None or scene.trial == trial:
            return
        if remember:
            self._undo.append(scene.trial)
        self.scene = Scene(scene.comparison, scene.index, trial)
        self._show_scene()

    def _measure_trial(self) -> None:
        """Measure what is tried, unless something else is read."""
        scene = self.scene
        if scene is None or scene.trial is None or scene.result is not None or (
            self._inspector.busy
        ):  # fmt: skip
            return
        from ...compare.inspection.subject import NothingToInspectError
        from ...compare.measuring.measure import measure
        from ...compare.model import Failure

        try:
            task = scene.task()
        except NothingToInspectError as error:
            self.scene = replace(scene, result=Failure(str(error)))
            return
        key = (scene.index, scene.trial)
        self._inspector.run((0, (None, key)), lambda work: measure(task, work.cancelled))

    def _trial_measured(self, key: Hashable, news: InspectionNews) -> None:
        scene = self.scene
        if scene is None or (scene.index, scene.trial) != key:
            return
        if isinstance(news, Found):
            self.scene = replace(scene, result=news.result)
            self._show_scene()
        elif isinstance(news, Failed):
            self.say(news.reason, warn=True)

    def keep_trial(self, *, kind: bool, save: bool) -> None:
        """Keep the recipes that are tried, for the row alone or for all of its kind."""
        scene = self.scene
        if scene is None or scene.trial is None:
            return
        from ...compare.rules.rules import HandPair, RecipeRule

        trial, row = scene.trial, scene.row
        pairs: list[HandPair] = []
        if trial.partner is not None and row.reference is not None and row.candidate is not None:
            pairs = [HandPair(row.reference.name, row.candidate.name)]
        recipes = [
            RecipeRule(glob, trial.reference, trial.candidate)
            for glob in scene.comparison.globs(scene.index, kind=kind)
        ]
        self._undo = []
        self.scene = None
        words = "all of its kind" if kind else "this pair"
        self.layertui.list_screen.keep_recipes(recipes, pairs, f"kept for {words}", save)

    def export_choice(self) -> ExportChoice | None:
        """The marked rows of the list, else what is looked at, trial included."""
        marked = self.layertui.list_screen.pairs.marks
        if marked or self.scene is None:
            return super().export_choice()
        return ExportChoice((self.scene,), top=self.view_numbered(TopView.number).count)

    def yank_text(self) -> str | None:
        scene = self.scene
        if scene is None or scene.trial is None:
            return None
        from ...compare.reports.row_text import row_text

        return row_text(scene.comparison, scene.index, scene.row, scene.result)

    # Keys

    def action_row(self, direction: int) -> None:
        self.layertui.list_screen.pairs.move(direction)
        self.show_pair()

    def action_divergence(self, direction: int) -> None:
        self.layertui.list_screen.action_divergence(direction)
        self.show_pair()

    def action_made(self, direction: int) -> None:
        self.layertui.list_screen.action_made(direction)
        self.show_pair()

    def action_symptoms(self) -> None:
        self.layertui.list_screen.symptoms_on(self)

    def action_view(self, number: int) -> None:
        """Bring a view to the front."""
        if self.scene is None:
            return
        self.view.display = False
        self._number = number
        self.view.display = True
        self.set_focus(self.view)
        self.show_footer()
        self.call_after_refresh(self._show_scene)

    def action_next_view(self, direction: int) -> None:
        self.action_view((self._number - 1 + direction) % len(VIEWS) + 1)

    def action_sideways(self, columns: int) -> None:
        if not self.view.sideways(columns):
            self.say("nothing to the side here")

    def action_enter(self) -> None:
        if not self.view.enter():
            self.say("nothing to open here")

    def action_leave(self) -> None:
        if not self.view.leave():
            self.say("not zoomed in")

    def action_order(self) -> None:
        """`s`: the order of the greatest differences, the form of values."""
        if isinstance(self.view, TopView):
            self.say(self.view.cycle_order())
        elif isinstance(self.view, ValuesView):
            self.say(self.view.cycle_form())
        else:
            self.say("s orders the greatest differences (2) and changes the form of values (5)")

    def action_axis(self) -> None:
        if isinstance(self.view, TopView):
            self.say(self.view.cycle_axis())
        else:
            self.say("a ranks the greatest differences (2) along an axis")

    def action_quantity(self) -> None:
        if isinstance(self.view, HeatView):
            self.say(self.view.cycle_quantity())
        else:
            self.say("v changes what the heat map (4) shows")

    def action_axes(self) -> None:
        if isinstance(self.view, HeatView):
            self.say(self.view.cycle_axes())
        else:
            self.say("x changes the axes of the heat map (4)")

    def action_edit(self) -> None:
        self._layout().edit()

    def action_rank(self) -> None:
        self._layout().rank()

    def action_write(self) -> None:
        self._layout().keep()

    def action_undo(self) -> None:
        if not self._undo:
            self.say("nothing to undo")
            return
        self.try_trial(self._undo.pop(), remember=False)
        self.say("undone" if self.trial is not None else "as it was aligned")

    def _layout(self) -> LayoutView:
        """The Layout view, brought to the front."""
        if not isinstance(self.view, LayoutView):
            self.action_view(LayoutView.number)
            assert self.scene is not None
            self.view.show(self.scene)
        return self.view_numbered(LayoutView.number)

    def show_injected(self) -> bool:
        """Put the rerun's output in the candidate's place; False where there is none."""
        scene = self.scene
        if scene is None:
            return False
        reruns = self.layertui.reruns
        task = reruns.pair_task(scene.comparison, scene.index)
        found = reruns.result(scene.comparison, scene.index)
        if task is None or found is None:
            return False
        self.scene = Scene(scene.comparison, scene.index, None, found.single, task)
        self.action_view(StatsView.number)
        self.say("the rerun's output in the candidate's place; Esc goes back")
        return True

    def action_rerun(self) -> None:
        self.layertui.list_screen.rerun_on(self)

    def rerun_changed(self) -> None:
        """News of a rerun."""
        if isinstance(self.view, RerunView) and self.scene is not None:
            self.view.draw()

    def step_out(self) -> None:
        """Esc: the rerun's output or the trial first, then back to the list."""
        if self.scene is not None and self.scene.injected is not None:
            self.scene = Scene(self.scene.comparison, self.scene.index)
            self._show_scene()
            self.say("as it was captured")
        elif self.trial is not None:
            self.try_trial(None)
            self.say("as it was aligned; z brings the recipes back")
        else:
            self.action_back()

    # Commands of this screen

    def run_own_command(self, name: str, text: str) -> bool:
        """Carry out a command that only makes sense here; False for all others."""
        own: dict[str, Callable[[str], str]] = {
            "top": self._command_top, "slice": self._command_slice, "axes": self._command_axes,
            "heads": self._command_heads, "view": self._command_view,
            "recipe": lambda rest: self._layout().command_recipe(rest),
            "with": lambda rest: self._layout().command_with(rest),
            "keep": lambda rest: self._layout().command_keep(rest),
        }  # fmt: skip
        run = own.get(name)
        if run is None:
            return False
        said = run(text)
        if said:
            self.say(said)
        return True

    def _command_top(self, text: str) -> str:
        if not isinstance(self.view, TopView):
            self.action_view(TopView.number)
        return self.view_numbered(TopView.number).set_count(text)

    def _command_slice(self, text: str) -> str:
        from ...compare.recipes.errors import RecipeError

        view = self.view if isinstance(self.view, HeatView | ValuesView) else None
        if view is None:
            self.action_view(ValuesView.number)
            view = self.view
            assert self.scene is not None
            view.show(self.scene)
        try:
            return view.set_slice(text)  # type: ignore[attr-defined]
        except RecipeError as error:
            raise CommandError(str(error)) from error

    def _command_axes(self, text: str) -> str:
        if not isinstance(self.view, HeatView):
            raise CommandError("axes belongs to the heat map (4)")
        return self.view.set_axes(text)

    def _command_heads(self, text: str) -> str:
        if not text.isdecimal() or int(text) < 1:
            raise CommandError("heads how many? a whole number")
        self.heads = int(text)
        self._show_scene()
        return f"rankings along an axis (2, a) have {self.heads} heads of the last axis"

    def _command_view(self, text: str) -> str:
        for view in VIEWS:
            if text and (text == str(view.number) or view.title.lower().startswith(text.lower())):
                self.action_view(view.number)
                return ""
        names = ", ".join(f"{view.number} {view.title}" for view in VIEWS)
        raise CommandError(f"view which? {names}")

    # From one view to another

    def go_to_element(self, index: tuple[int, ...]) -> None:
        """Show an element in Values."""
        self.action_view(ValuesView.number)
        assert self.scene is not None
        values: ValuesView = self.view_numbered(ValuesView.number)
        values.show(self.scene)
        self.call_after_refresh(values.go_to, index)

    def go_to_place(self, axis: int, place: int) -> None:
        """Show the greatest difference at a place of an axis in Values: its first element there,
        where none is known.
        """
        scene = self.scene
        if scene is None:
            return
        shape = scene.numbers.shape if scene.numbers is not None else self.shape_of(scene)
        if shape is not None:
            known = scene.numbers.max_abs_index if scene.numbers is not None else None
            index = list(known or (0,) * len(shape))
            index[axis] = min(place, shape[axis] - 1)
            self.go_to_element(tuple(index))

    def after_command(self) -> None:
        self.show_pair()


def _subject(scene: Scene | None) -> Subject | None:
    from ...compare.inspection.subject import NothingToInspectError

    try:
        return scene.subject() if scene is not None else None
    except NothingToInspectError:
        return None


def _shape_of(scene: Scene) -> tuple[int, ...] | None:
    from ...compare.recipes.errors import RecipeError
    from ...compare.recipes.parse import parse_recipe
    from ...compare.recipes.recipe import view_shapes

    row = scene.row
    left, right = row.reference, row.candidate
    try:
        recipes = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
        if left is not None and right is not None:
            if left.shape is None or right.shape is None:
                return None
            ours, theirs = view_shapes(*recipes, left.shape, right.shape)
            return ours if ours == theirs else None
        record, recipe = (left, recipes[0]) if left is not None else (right, recipes[1])
        if record is None or record.shape is None:
            return None
        return recipe.shape(record.shape)
    except RecipeError:
        return None


def _guess_heads(comparison: Comparison) -> int | None:
    """How many heads the model has, where a record of queries has them on an axis of their own."""
    for row in comparison.rows:
        if not row.canonical.endswith(("q_norm", "q_rope")) or row.role != "output":
            continue
        for record in (row.reference, row.candidate):
            shape = record.shape if record is not None else None
            if shape is not None and len(shape) == 4:
                heads_last = row.canonical.endswith("q_norm")
                return shape[2] if heads_last else shape[1]
    return None


# The two lines on top


def title_line(scene: Scene, look: Look, width: int) -> Pieces:
    """Verdict, then both names, shapes, dtypes and recipes, in one line."""
    row, level = scene.row, scene.verdict.level
    word = "doubtful" if scene.verdict.doubtful else LOOKS[level].word or "not measured"
    origin = scene.verdict.origin if scene.verdict.fails else None
    if origin is not None and width >= _ORIGIN_FROM:
        word += f" {origin}"
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


_ORIGIN_FROM = 100  # columns from which the title has a word for where an error comes from
_LEAST_NAME, _LEAST_STEPS = 24, 8  # cells; a recipe that gets fewer is left to the views


def tabs_line(number: int, scene: Scene, look: Look, width: int) -> Pieces:
    """The views, the one in front marked, and where the row is in the list."""
    place = f"row {scene.index} of {len(scene.comparison.rows)} "
    pieces: list[Piece] = [(" ", None)]
    full = sum(len(view.title) + 4 for view in VIEWS) + len(place) + 12
    for view in VIEWS:
        title = view.title if full <= width else _SHORT.get(view.number, view.title)
        here = view.number == number
        style = look.palette.cursor if here else look.palette.muted
        text = f"{view.number} {title}"
        pieces += [(f"[{text}]" if here else f" {text} ", style)]
    if scene.trial is not None or scene.injected is not None:
        words = " on trial" if scene.trial is not None else " the rerun's output"
        pieces.append((words, look.palette.warn))
    used = sum(width_of(text) for text, _ in pieces)
    pieces.append((place.rjust(max(0, width - used)) if used + len(place) <= width else "",
                   look.palette.muted))  # fmt: skip
    return pieces


_SHORT = {2: "Top", 3: "Hist", 4: "Heat"}
