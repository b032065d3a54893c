"""What all views of the pair screen are: lines over one scene, drawn again when there is news."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ...present.text import clean, wrap
from ...theme import Look
from ...widgets.lines import Piece, Pieces, ScrolledLines, look_of

if TYPE_CHECKING:
    from ....compare.inspection.running import Analysis
    from ....compare.inspection.subject import Subject
    from ....compare.measuring.pair_reader import PairReader
    from ....compare.recipes.errors import Shape
    from ...jobs.inspector import InspectionNews, Work
    from ...scene import Scene
    from ..screen import PairScreen

LABEL = 14


class View(ScrolledLines):
    """One view. `scene` is what it shows; `number` and `title` stand in the line of tabs.

    A view asks for what it needs when it is `shown`, and draws what there is. Results of scenes
    that were looked at before are kept by the screen.
    """

    number: ClassVar[int]
    title: ClassVar[str]
    needs_pair: ClassVar[bool] = True  # draws nothing for a record alone

    def __init__(self) -> None:
        super().__init__(id=f"view-{self.number}", classes="body")
        self.scene: Scene | None = None
        self.progress: tuple[int, int] | None = None
        self.failure: str | None = None

    @property
    def pair_screen(self) -> PairScreen:
        return cast("PairScreen", self.screen)

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
        return self.pair_screen.shape_of(scene)

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

    # Keys that several views have; those without a meaning here say so

    def sideways(self, columns: int) -> bool:
        return False

    def enter(self) -> bool:
        return False

    def leave(self) -> bool:
        """Backspace: one step back inside the view."""
        return False

    def context(self) -> str:
        """One line about the cursor's place, for the message line; empty: nothing to say."""
        return ""

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

        self.pair_screen.ask(self, key, known, look)

    def subject(self) -> Subject | None:
        """What to read; None, and `failure` set, where there is nothing (or only one side)."""
        from ....compare.inspection.subject import NothingToInspectError

        assert self.scene is not None
        if self.scene.problem is not None and self.scene.row.kind == "pair":
            self.failure = self.scene.problem
            return None
        try:
            subject = self.scene.subject()
        except NothingToInspectError as error:
            self.failure = str(error)
            return None
        if self.needs_pair and not subject.paired:
            self.failure = "only one side has this record: nothing to compare it with (view 6 can)"
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
