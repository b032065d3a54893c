"""The main screen: which controller each of its keys calls."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from textual import on

from ..keys import bindings_of
from ..present.text import clean
from .following import FollowingList
from .pair_list import PairList

if TYPE_CHECKING:
    from textual import events
    from textual.binding import BindingType
    from textual.timer import Timer

    from .motions.typed_keys import Step, TypedKeys

ALONE = 0.5  # seconds after which the first character of a key of two acts by itself, as in vim


class ListScreen(FollowingList):
    """The keys of the list."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("list"))
    _alone: Timer | None = None  # until what was typed acts without anything after it

    @cached_property
    def typed(self) -> TypedKeys:
        """What was typed and is not carried out yet."""
        from .motions.typed_keys import TypedKeys  # not before the first paint

        return TypedKeys(self.keys_now())

    # Going places

    def action_first_divergence(self) -> None:
        self.controllers.navigation.first_divergence()

    def action_block(self, direction: int) -> None:
        self.controllers.navigation.block(direction)

    def action_open_pair(self) -> None:
        """The pair under the cursor; a folded line is unfolded instead."""
        if self.row is not None and not self.controllers.folding.open():
            self.host.open_pair()

    def action_to_screen(self, end: int, line: int) -> None:
        """A line on the screen, counted from its top (`end` 0) or bottom, from 1."""
        self.controllers.places.leave()
        self.pairs.to_screen_line(end, max(line, 1) - 1)

    def action_scroll_line(self, part: float) -> None:
        self.pairs.scroll_line(part)

    def action_to_row(self, row: int) -> None:
        self.controllers.navigation.row(row)

    def action_to_top(self) -> None:
        self.controllers.places.leave()
        super().action_to_top()

    def action_to_bottom(self) -> None:
        self.controllers.places.leave()
        super().action_to_bottom()

    def action_place(self, steps: int) -> None:
        self.controllers.places.walk(steps)

    def action_last_place(self) -> None:
        self.controllers.places.last()

    # Counts, and keys of several characters

    async def take_key(self, event: events.Key) -> bool:
        """What follows a count, or the first character of a key of two, belongs to it."""
        if self._alone is not None:
            self._alone.stop()
            self._alone = None
        step = self.typed.press(event.key, event.character)
        await self._carry_out(step)
        return step.taken

    async def _carry_out(self, step: Step) -> None:
        self.prompt.hint(self._hint() if step.waiting else "")
        if self.typed.may_act_alone:
            self._alone = self.set_timer(ALONE, self._act_alone)
        if step.problem or step.actions:
            self.say(clean(step.problem))
        for action in step.actions:
            await self.run_action(action)

    async def _act_alone(self) -> None:
        self._alone = None
        await self._carry_out(self.typed.alone())

    def _hint(self) -> str:
        """What was typed, and what it may become."""
        hints = [f"{key.keys} {key.label}" for key in self.typed.hints()]
        return "  ".join([self.typed.waiting, *hints])

    def action_fold(self) -> None:
        self.controllers.folding.fold()

    def action_unfold(self) -> None:
        self.controllers.folding.unfold()

    def action_fold_all(self, folded: bool) -> None:
        self.controllers.folding.all(folded)

    @on(PairList.Opened)
    def _clicked_twice(self) -> None:
        self.action_open_pair()

    def action_case(self, direction: int) -> None:
        self.controllers.cases.step(direction)

    # Searching and filtering

    def action_search(self) -> None:
        self.controllers.search.ask()

    def action_match(self, direction: int) -> None:
        self.controllers.search.match(direction)

    def action_filter(self) -> None:
        self.controllers.search.ask_filter()

    def action_only(self) -> None:
        self.controllers.search.only()

    def action_mode(self) -> None:
        self.controllers.search.next_mode()

    # Judging

    def action_metric(self) -> None:
        self.controllers.judging.metric()

    def action_thresholds(self) -> None:
        self.controllers.judging.ask()

    # Marks, pairs, rules

    def action_mark(self) -> None:
        self.controllers.export.mark()

    def action_unmark(self) -> None:
        self.controllers.export.unmark()

    def action_pair(self) -> None:
        self.controllers.pairing.pair()

    def action_unpair(self) -> None:
        self.controllers.pairing.unpair()

    def action_save_rules(self) -> None:
        self.controllers.saving.save()

    def action_map(self) -> None:
        self.run_command("map")

    def action_trend(self) -> None:
        self.run_command("trend")

    # The ways out

    def action_reload(self) -> None:
        self.controllers.reload()

    def step_out(self) -> None:
        self.controllers.step_out()

    def action_back(self) -> None:
        self.host.action_quit_all()
