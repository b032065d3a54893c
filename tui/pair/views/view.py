"""What all views of the pair screen are: lines over one scene, drawn again when there is news."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...present.pieces import Piece, Pieces
from ...present.text import clean, wrap
from ...theme import Look
from ...widgets.lines import ScrolledLines, look_of

if TYPE_CHECKING:
    from ....compare.inspection.running import Analysis
    from ....compare.inspection.subject import Subject
    from ....compare.measuring.pair_reader import PairReader
    from ....compare.recipes.errors import Shape
    from ...jobs.inspector import InspectionNews, Task, Work
    from ...jobs.inspector import Look as LookInto
    from ...scene import Scene
    from ..stage import Stage

LABEL = 14
WIDE = 150  # columns from which a view has room for something else beside its own lines


@dataclass(frozen=True)
class ViewKey:
    """A key that means something in a view: `action` is one of the view's `actions`, `keys` are as
    textual names them, `footer` is its place in the view's footer (0: not there). `any_view`: the
    screen carries it out, whichever view is in front.
    """

    action: str
    keys: str
    label: str
    description: str
    footer: int = 0
    any_view: bool = False


class View(ScrolledLines):
    """One view. `scene` is what it shows; `title` (or `short_title`, where there is little room)
    stands in the line of tabs, `about` in the help.

    A view asks for what it needs when it is `shown`, and draws what there is. Results of scenes
    that were looked at before are kept by the screen. `KEYS` and `COMMANDS` are what a view adds to
    the pair screen; those in `BROUGHT_BY` bring it to the front from views that have no such thing.
    """

    NAME: ClassVar[str]
    title: ClassVar[str]
    short_title: ClassVar[str] = ""
    about: ClassVar[str]
    needs_pair: ClassVar[bool] = True  # draws nothing for a record alone
    KEYS: ClassVar[tuple[ViewKey, ...]] = ()
    COMMANDS: ClassVar[tuple[str, ...]] = ()
    BROUGHT_BY: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, stage: Stage) -> None:
        super().__init__(id=f"view-{self.NAME}", classes="body")
        self.stage = stage
        self.scene: Scene | None = None
        self.progress: tuple[int, int] | None = None
        self.failure: str | None = None

    # What the view's keys and commands do

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        """What its keys do; each gives what is to be said, or nothing."""
        return {}

    @property
    def commands(self) -> dict[str, Callable[[str], str]]:
        """What its commands do, the same way. They raise `CommandError`."""
        return {}

    def sideways(self, columns: int) -> bool:
        """Left or right; False where there is nothing to the side."""
        return False

    def go_to(self, index: tuple[int, ...]) -> None:
        """Show an element, where the view shows elements."""

    def context(self) -> str:
        """One line about the cursor's place, for the message line; empty: nothing to say."""
        return ""

    # What there is to know

    @property
    def look(self) -> Look:
        return look_of(self)

    @property
    def ascii(self) -> bool:
        return self.look.terminal.ascii

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the pair's view; None until it is known."""
        scene = self.scene
        if scene is None:
            return None
        if scene.numbers is not None:
            return scene.numbers.shape
        return self.stage.shape_of(scene)

    @property
    def is_wide(self) -> bool:
        """Whether there is room for something else beside its own lines."""
        return self.size.width >= WIDE

    # What the screen calls

    def show(self, scene: Scene) -> None:
        """Show another scene, or the same one after it changed."""
        changed = self.scene is None or _identity(self.scene) != _identity(scene)
        self.scene = scene
        if changed:
            self.failure, self.progress = None, None
            self.scene_changed()
        self.ask()
        self.draw()

    def scene_changed(self) -> None:
        """Forget what was about the scene of before."""

    def ask(self) -> None:
        """Ask for what is missing."""

    def draw(self) -> None:
        """Set the lines from what is known."""
        self.set_lines(self.lines())

    def lines(self) -> list[Pieces]:
        raise NotImplementedError

    def news(self, news: InspectionNews) -> None:
        """What was asked for came, or could not."""
        from ...jobs.inspector import Failed, Found

        if isinstance(news, Found):
            self.progress = None if news.final else (news.done, news.total)
            self.found(news.key, news.result, news.final)
        elif isinstance(news, Failed):
            self.progress = None
            self.failure = f"{news.reason}; Ctrl-R goes on" if news.stopped else news.reason
        self.draw()

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        """Take in a result."""

    def rerun_changed(self) -> None:
        """A rerun has news."""

    # Helpers

    def inspect(
        self, key: Hashable, make: Callable[[Subject, Shape], Analysis[Any]], region: Any = ()
    ) -> None:
        """Run an analysis over the scene, in the background, unless its result is known."""
        from ....compare.inspection.running import Pass

        subject = self.subject()
        if subject is None:
            return
        known: Subject = subject

        def look(reader: PairReader, work: Work) -> Any:
            found = Pass(
                lambda shape: make(known, shape), region=region, on_progress=work.tell,
                cancelled=work.cancelled,
            )  # fmt: skip
            return found.read(reader)

        self.read(key, known, look)

    def read(self, key: Hashable, subject: Subject, look: LookInto) -> None:
        """Read something of a subject in the background, unless its result is known."""
        known = self.stage.read(self.NAME, key, subject, look)
        if known is not None:
            self.news(known)

    def run_task(self, key: Hashable, task: Task) -> None:
        """Run something else in the background; its result is not kept."""
        self.stage.run_task(self.NAME, key, task)

    def subject(self) -> Subject | None:
        """What to read; None, and `failure` set, where there is nothing (or only one side)."""
        from ....compare.inspection.subject import NothingToInspectError

        assert self.scene is not None
        if self.scene.only_statistics:
            stats = self.stage.number_of("stats")
            self.failure = f"captured as statistics only, without values: view {stats} has these"
            return None
        if self.scene.problem is not None and self.scene.row.kind == "pair":
            self.failure = self.scene.problem
            return None
        try:
            subject = self.scene.subject()
        except NothingToInspectError as error:
            self.failure = str(error)
            return None
        if self.needs_pair and not subject.paired:
            layout = self.stage.number_of("layout")
            self.failure = (
                f"only one side has this record: nothing to compare it with (view {layout} can)"
            )
            return None
        return subject

    def state_lines(self) -> list[Pieces]:
        """Progress, or why there is nothing."""
        palette = self.look.palette
        if self.failure is not None:
            width = max(20, self.size.width - 3)
            parts = wrap(clean(self.failure, self.ascii), width, 6)
            return [[(f" {part}", palette.warn)] for part in parts]
        if self.progress is not None:
            done, total = self.progress
            text = f" read {100 * done // max(total, 1)} % of {total} elements"
            return [[(text, palette.accent)]]
        return []

    def heading(self, text: str) -> Pieces:
        return [(f" {text}", self.look.palette.heading)]

    def labelled(self, label: str, pieces: list[Piece]) -> Pieces:
        return [(f"  {label:<{LABEL}}", self.look.palette.muted), *pieces]

    def plain(self, text: str) -> Piece:
        return (clean(text, self.ascii), None)


def _identity(scene: Scene) -> tuple[object, ...]:
    return (id(scene.comparison), scene.index, scene.trial, scene.injected)
