"""The main screen: which controller each of its keys calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on

from ..keys import bindings_of, chord
from ..present.text import clean
from .following import FollowingList
from .pair_list import PairList

if TYPE_CHECKING:
    from textual import events
    from textual.binding import BindingType


class ListScreen(FollowingList):
    """The keys of the list."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("list"))
    _typed = ""  # the beginning of a key of several characters

    # Going places

    def action_first_divergence(self) -> None:
        self.controllers.navigation.first_divergence()

    def action_block(self, direction: int) -> None:
        self.controllers.navigation.block(direction)

    def action_open_pair(self) -> None:
        """The pair under the cursor; a folded line is unfolded instead."""
        if self.row is not None and not self.controllers.folding.open():
            self.host.open_pair()

    def on_key(self, event: events.Key) -> None:
        """Keys of several characters: what follows the first belongs to it."""
        typed, self._typed = self._typed + (event.character or ""), ""
        begun = len(typed) > len(event.character or "")
        key = None if self.prompt.asking or not typed else chord(typed)
        if key is None and not begun:
            return
        event.stop()
        event.prevent_default()
        if key is None:
            self.say(f"{clean(typed)} means nothing")
        elif key.keys == typed:
            self.say("")
            self.call_later(self.run_action, key.action)
        else:
            self._typed = typed
            self.say("zM folds all, zR unfolds all")

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
