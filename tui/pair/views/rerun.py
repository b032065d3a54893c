"""This layer of the candidate on the reference's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....capture.plurals import counted
from ...present.pieces import Piece, Pieces
from ...present.text import clean, fit, metric_number, number, wrap
from .view import LABEL, View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....compare.model import Failure, Measurement
    from ....compare.rerun.outlook import Outlook
    from ..stage import Stage

_ROWS = ("mse", "relative_l2", "max_abs", "cosine")


class RerunView(View):
    """Three errors side by side: as captured, of the inputs, and of the layer alone. Enter puts
    the rerun's output in the candidate's place for all views.
    """

    NAME = "rerun"
    title = "Rerun"
    about = "this layer on the reference's inputs"
    KEYS = (
        ViewKey("enter", "enter,plus", "show its output", "the rerun's output in all views", 6),
    )
    needs_pair = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._outlook: Outlook | None = None  # what a rerun would do, once that is known

    def scene_changed(self) -> None:
        self._outlook = None

    def ask(self) -> None:
        """Look what a rerun would do, where nothing was rerun."""
        scene, session = self.scene, self.stage.session
        if scene is None or scene.aligned.kind != "pair" or self._outlook is not None:
            return
        if session.reruns.result(scene.comparison, self._shown) is not None:
            return
        from ....compare.rerun.outlook import outlook

        reruns, row = session.reruns.session(scene.comparison), self._row
        self.run_task(("outlook", scene.index), lambda _: outlook(reruns, row))

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        if self.scene is not None and key == ("outlook", self.scene.index):
            self._outlook = result

    @property
    def _row(self) -> int:
        """The row that `R` would rerun for the one that is looked at."""
        from ...list.rerunning import blamed_row

        assert self.scene is not None
        return blamed_row(self.scene.comparison, self.scene.index)

    @property
    def _shown(self) -> int:
        """The row whose rerun is shown: this one's, else the one that `R` reruns for it."""
        assert self.scene is not None
        own = self.stage.session.reruns.result(self.scene.comparison, self.scene.index)
        return self._row if own is None else self.scene.index

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        return {"enter": self.enter}

    def enter(self) -> str:
        """Put the rerun's output in the candidate's place."""
        if self.stage.show_injected():
            return "the rerun's output in the candidate's place; Esc goes back"
        return "nothing to open here"

    def rerun_changed(self) -> None:
        if self.scene is not None:
            self._outlook = None  # another runner may have been chosen
            self.ask()
            self.draw()

    def lines(self) -> list[Pieces]:
        from ....compare.measuring.metrics import METRICS

        scene = self.scene
        if scene is None:
            return []
        session = self.stage.session
        comparison, index = scene.comparison, self._shown
        found = session.reruns.result(comparison, index)
        lines: list[Pieces] = [[], self.heading("Injected rerun: this layer of the candidate, "
                                                "given the reference's inputs")]  # fmt: skip
        if session.rerun_state:
            state = clean(session.rerun_state, self.ascii)
            lines.append([(f"  {state}", self.look.palette.accent)])
        if found is None:
            if scene.aligned.kind == "pair":
                return [*lines, *self._outlook_lines()]
            words = "only one side has this record: there is nothing to rerun"
            return [*lines, [(f"  {words}", self.look.palette.muted)]]
        if found.problem is not None:
            return [*lines, *self._wrapped(f"not rerun: {found.problem}", self.look.palette.warn)]
        from ....compare.model import by_values

        entire = by_values(comparison.measurements[index])
        columns = (entire, found.inputs, found.single)
        heads = ("entire", "inputs", "single")
        lines += [[], self.labelled("", [(f"{head:<14}", self.look.palette.heading)
                                         for head in heads])]  # fmt: skip
        for metric in _ROWS:
            cells: list[Piece] = [(fit(_cell(c, metric), 12) + "  ", None) for c in columns]
            lines.append(self.labelled(METRICS[metric].heading, cells))
        lines.append([])
        lines += self._wrapped(session.reruns.sentence(comparison, index), self.look.palette.strong)
        lines += [[], *self._about(found)]
        return lines

    def _outlook_lines(self) -> list[Pieces]:
        """What R would do, what it needs, and what of that is missing."""
        found, palette = self._outlook, self.look.palette
        if found is None:
            return [*self.state_lines(), [("  not rerun yet: R runs it", palette.muted)]]
        if found.refused:
            return self._wrapped(f"cannot be rerun: {found.refused}", palette.warn)
        marked = len(self.stage.session.marks)
        lines = self._wrapped(f"Not rerun yet. R {found.does}.", None)
        if marked:
            words = f"{counted(marked, 'row')} marked: R reruns those; u on the list unmarks all."
            lines += self._wrapped(words, palette.mark)
        lines += [[], self.heading("What it needs")]
        for each in found.needed:
            text, style = each.text, None
            if each.missing:
                text, style = f"missing: {each.missing}", palette.warn
            room = max(20, self.size.width - LABEL - 4)
            for at, part in enumerate(wrap(clean(text, self.ascii), room, 6)):
                lines.append(self.labelled("" if at else each.label, [(part, style)]))
        ready = "Everything is there: R starts it."
        if not found.ready:
            ready = "R asks for what is missing."
            if not _can_be_asked(found):
                ready = "It cannot be rerun until what is missing is there."
        return [*lines, [], *self._wrapped(ready, palette.strong)]

    def _wrapped(self, text: str, style: object) -> list[Pieces]:
        width = max(20, self.size.width - 4)
        parts = wrap(clean(text, self.ascii), width, 8)
        return [[(f"  {part}", style)] for part in parts]  # type: ignore[list-item]

    def _about(self, found: object) -> list[Pieces]:
        from ....compare.rerun.results import RerunResult

        assert isinstance(found, RerunResult)
        assert self.scene is not None
        rows = self.scene.comparison.rows
        facts = [("layer", found.layer)]
        if found.input_row is not None:
            facts.append(("worst input", rows[found.input_row].label))
        if found.seconds is not None:
            compiled = (
                f", compiled in {found.compile_seconds:.1f} s" if found.compile_seconds else ""
            )
            facts.append(("took", f"{number(found.seconds)} s{compiled}"))
        facts += [("note", note) for note in found.notes]
        if found.remembered:
            facts.append(("from", "an earlier session; R runs it again"))
        looked = "Enter shows the rerun's output in all views, Esc the captured one again"
        if self._shown != self.scene.index:
            looked = f"Enter shows it from its own row, {rows[self._shown].label}"
        facts.append(("output", looked if found.output is not None else
                      "its tensor is not there: R runs it again"))  # fmt: skip
        return [self.labelled(label, [(clean(text, self.ascii), None)]) for label, text in facts]


def _can_be_asked(found: Outlook) -> bool:
    """Whether what is missing can be typed: no input is, and no package."""
    return all(not each.missing or each.label not in ("inputs", "engine") for each in found.needed)


def _cell(result: Measurement | Failure | None, metric: str) -> str:
    from ....compare.model import Measurement

    if isinstance(result, Measurement):
        bad = "  NaN" if result.nonfinite_mismatch else ""
        return metric_number(metric, result.metric(metric)) + bad
    return "--" if result is None else result.level
