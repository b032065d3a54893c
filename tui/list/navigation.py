"""Going places: to divergences, layer blocks, and rows by number or name."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ...compare.reports.nothing_compared import nothing_compared
from ..commands import CommandError
from .row_model import holds, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...compare.comparison import Comparison
    from ..session import Host
    from .face import ListFace
    from .motions.places import Places


class Navigation:
    """Moves the list's cursor, and says where it is or why it stays."""

    def __init__(self, host: Host, face: ListFace, places: Places) -> None:
        self._host, self._face, self._places = host, face, places

    def step(self, rows: int) -> None:
        """To the next of the rows shown, or the one before."""
        self._face.move_to(self._face.cursor + rows)

    def first_divergence(self) -> None:
        """To the first divergence; from there to the first layer that reruns found wrong."""
        from ..present.origin import first_known, first_sentence

        session, say = self._host.session, self._host.say
        comparison = session.comparison
        first = first_known(comparison) if comparison is not None else None
        if comparison is None or first is None:
            say(_no_divergence(comparison))
            return
        self._places.leave()
        wrong = session.reruns.wrong_layers(comparison)
        if wrong and session.row == first.index != wrong[0]:
            self._face.go_to(wrong[0])
            sentence = session.reruns.sentence(comparison, wrong[0])
            say(f"first layer that is wrong on its own: {sentence}")
            return
        changed = self._face.go_to(first.index)
        inputs = session.inputs_differ
        alarm = [f"{inputs}, which explains it"] if inputs else []
        say("; ".join([*alarm, first_sentence(comparison, first), *changed]))

    def divergence(self, direction: int) -> None:
        """To the next divergence, or the one before; `direction` 3: to the third from here."""
        comparison = self._host.session.comparison
        if comparison is not None:
            self._walk(comparison.failing, direction, "no divergence")

    def made(self, direction: int) -> None:
        """To the next row whose error was made there, over those that inherited theirs."""
        from ..present.origin import made_rows

        comparison = self._host.session.comparison
        if comparison is None:
            return
        made = made_rows(comparison)
        if made or comparison.policy.name == "noise":
            self._walk(made, direction, "no introduced divergence")
        else:
            name = comparison.policy.name
            self._host.say(
                f"the policy {name} does not determine where errors come from; :policy noise does"
            )

    def _walk(self, rows: Sequence[int], direction: int, nothing: str) -> None:
        """The cursor on the next of the sorted `rows` that is shown, or one after that: as many
        as `direction` says, the last where there are fewer.
        """
        face, step = self._face, 1 if direction > 0 else -1
        next_row, target, left = face.next_of(rows, step), None, abs(direction)
        at = -1 if next_row is None else bisect_left(rows, next_row)
        while left and 0 <= at < len(rows):
            if holds(face.shown, rows[at]):
                target, left = rows[at], left - 1
            at += step
        if target is None:
            self._host.say(f"{nothing} {'below' if direction > 0 else 'above'}")
        else:
            self._places.leave()
            face.go_to_row(target)

    def block(self, direction: int) -> None:
        """To the next layer block, or the one before; 3: to the third."""
        self._places.leave()
        step, moved = 1 if direction > 0 else -1, False
        for _ in range(abs(direction)):
            if not self._face.go_to_block(step):
                break
            moved = True
        if not moved:
            self._host.say("last layer block" if direction > 0 else "first layer block")

    def row(self, number: int) -> None:
        """To the row of that number, or the last one."""
        comparison = self._host.session.comparison
        if comparison is not None and len(comparison.rows):
            self.goto(str(min(number, len(comparison.rows) - 1)))

    def goto(self, text: str) -> None:
        """`:goto N | NAME`."""
        comparison = self._host.session.comparison
        if comparison is None:
            raise CommandError("rows are not aligned yet")
        row = self._row_of(comparison, text)
        self._places.leave()
        changed = self._face.go_to(row)
        if changed:
            self._host.say("; ".join(changed))

    def _row_of(self, comparison: Comparison, text: str) -> int:
        if text.isdecimal():
            if int(text) < len(comparison.rows):
                return int(text)
            raise CommandError(f"no row {text}: rows are 0 to {len(comparison.rows) - 1}")
        words, model = words_of(text), self._face.model
        if not words:
            raise CommandError("goto where? a row's number or words of its names")
        found = None if model is None else model.names().next(words, 0, 1, lambda _: True)
        if found is not None:
            return found[0]
        raise CommandError(f"no row with {text!r}")


def _no_divergence(comparison: Comparison | None) -> str:
    """Why there is no first divergence to go to."""
    if comparison is None or comparison.measured < comparison.to_measure:
        return "no divergence so far, still measuring"
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return nothing.line
    if comparison.exit_status():
        return "nothing diverges, but not everything could be compared"
    return "nothing diverges"
