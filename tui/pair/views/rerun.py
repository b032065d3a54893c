"""This layer of the candidate on the reference's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...present.pieces import Piece, Pieces
from ...present.text import clean, fit, metric_number, number, wrap
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....compare.model import Failure, Measurement

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
            self.draw()

    def lines(self) -> list[Pieces]:
        from ....compare.measuring.metrics import METRICS

        scene = self.scene
        if scene is None:
            return []
        session = self.stage.session
        comparison, index = scene.comparison, scene.index
        found = session.reruns.result(comparison, index)
        lines: list[Pieces] = [[], self.heading("Injected rerun: this layer of the candidate, "
                                                "given the reference's inputs")]  # fmt: skip
        if session.rerun_state:
            state = clean(session.rerun_state, self.ascii)
            lines.append([(f"  {state}", self.look.palette.accent)])
        if found is None:
            words = "not rerun yet: R runs it" if scene.aligned.kind == "pair" else (
                "only one side has this record: there is nothing to rerun"
            )  # fmt: skip
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
        facts.append(("output", looked if found.output is not None else
                      "its tensor is not there: R runs it again"))  # fmt: skip
        return [self.labelled(label, [(clean(text, self.ascii), None)]) for label, text in facts]


def _cell(result: Measurement | Failure | None, metric: str) -> str:
    from ....compare.model import Measurement

    if isinstance(result, Measurement):
        bad = "  NaN" if result.nonfinite_mismatch else ""
        return metric_number(metric, result.metric(metric)) + bad
    return "--" if result is None else result.level
