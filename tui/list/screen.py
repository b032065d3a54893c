"""The main screen: what its keys and commands do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on

from ...compare.measuring.metrics import METRICS
from ..commands import CommandError
from ..keys import bindings_of
from ..unsaved import Unsaved
from ..widgets.prompt import Question
from ..yank import yank
from .display import ListDisplay
from .limits import Limits, parse_limits, with_thresholds
from .pair_list import PairList
from .row_model import MODE_WORDS, MODES, holds, matches, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.binding import BindingType

    from ...capture.records import Capture
    from ...compare.comparison import Comparison
    from ...compare.rules.rules import HandPair, RecipeRule
    from ..jobs.export_job import ExportChoice
    from ..work_screen import WorkScreen


class ListScreen(ListDisplay):
    """Keys (`action_*`) and commands (`command_*`) of the list."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("list"))

    def __init__(
        self,
        metric: str = "mse",
        limits: Limits | None = None,
        names: tuple[Capture, Capture] | None = None,
    ) -> None:
        super().__init__(metric, limits, names)
        self._half: tuple[str, str] | None = None  # kind of gap and name: waits for its partner
        self._limits_before = self.limits
        self.unsaved = Unsaved()

    # Going places

    def action_first_divergence(self) -> None:
        from ..present.origin import first_known, first_sentence

        comparison = self.comparison
        first = first_known(comparison) if comparison is not None else None
        if comparison is None or first is None:
            self.say(_no_divergence(comparison))
            return
        blamed = self.layertui.reruns.blamed(comparison)
        if blamed and self.row == first.index != blamed[0]:  # f again: what reruns convict
            self.go_to(blamed[0])
            sentence = self.layertui.reruns.sentence(comparison, blamed[0])
            self.say(f"first layer that is wrong on its own: {sentence}")
            return
        changed = self.go_to(first.index)
        alarm = [f"{self.inputs_differ}, which explains it"] if self.inputs_differ else []
        self.say("; ".join([*alarm, first_sentence(comparison, first), *changed]))

    def action_divergence(self, direction: int) -> None:
        if self.comparison is not None:
            self._walk(self.comparison.failing, direction, "no divergence")

    def action_made(self, direction: int) -> None:
        """To the next row whose error was made there, over those that inherited theirs."""
        from ..present.origin import made_rows

        if self.comparison is None:
            return
        made = made_rows(self.comparison)
        if made or self.comparison.policy.name == "noise":
            self._walk(made, direction, "no divergence that was made there")
        else:
            name = self.comparison.policy.name
            screen = self.layertui.work_screen()
            screen.say(f"the policy {name} does not ask where errors come from; :policy noise does")

    def _walk(self, shown: Sequence[int], direction: int, nothing: str) -> None:
        """The cursor on the next of the sorted rows `shown` that is in view."""
        target_row = self.pairs.next_of(shown, direction)
        while target_row is not None and not holds(self.pairs.view, target_row):
            at = shown.index(target_row) + direction
            target_row = shown[at] if 0 <= at < len(shown) else None
        if target_row is None:
            where = "below" if direction > 0 else "above"
            self.layertui.work_screen().say(f"{nothing} {where}")
        else:
            self.pairs.go_to_row(target_row)

    def action_block(self, direction: int) -> None:
        if not self.pairs.go_to_block(direction):
            self.say("last layer block" if direction > 0 else "first layer block")

    # Searching and filtering

    def action_search(self) -> None:
        self.prompt.ask(Question("/", self.command_search, sign="/"))

    def command_search(self, text: str) -> None:
        self.search_words = words_of(text)
        self.pairs.words = self.search_words
        self.pairs.refresh()
        if self.search_words:
            self._go_to_match(1, include_here=True)

    def action_match(self, direction: int) -> None:
        if self.search_words:
            self._go_to_match(direction)
        else:
            self.say("nothing searched yet: / searches")

    def _go_to_match(self, direction: int, include_here: bool = False) -> None:
        model, view = self.pairs.model, self.pairs.view
        total = len(view)
        if model is None or not total:
            return
        start = self.pairs.cursor - (direction if include_here else 0)
        for step in range(1, total + 1):
            at = (start + direction * step) % total
            if matches(model, view[at], self.search_words):
                wrapped = (at - start) * direction <= 0
                self.pairs.cursor = at
                words = " ".join(self.search_words)
                self.say(f"/{words}" + ("  (from the other end)" if wrapped else ""))
                return
        self.say(f"no row with {' '.join(self.search_words)!r}", warn=True)

    def action_filter(self) -> None:
        self.prompt.ask(Question("&", self.command_filter, self.view.filter, sign="&"))

    def command_filter(self, text: str) -> None:
        self.change_view(replace(self.view, filter=text.strip()))
        if text.strip():
            self.say(f"{len(self.pairs.view)} rows with {text.strip()!r}; Esc shows all")

    def action_only(self) -> None:
        self.change_view(replace(self.view, only=not self.view.only))
        if not self.pairs.view and self.view.only:
            self.say("nothing diverges; d shows all again")

    def command_only(self, _: str) -> None:
        self.action_only()

    def action_mode(self) -> None:
        mode = MODES[(MODES.index(self.view.mode) + 1) % len(MODES)]
        self.command_show(mode)

    def command_show(self, text: str) -> None:
        fitting = [known for known in MODES if text and known.startswith(text)]
        if not fitting:
            raise CommandError("show what? outputs, inputs or everything")
        mode = fitting[0]
        self.change_view(replace(self.view, mode=mode))
        self.say(f"{MODE_WORDS[self.view.mode]}: {len(self.pairs.view)} rows")

    def step_out(self) -> None:
        """Esc: half of a pair, search, filter, only diverged, the running work; in this order."""
        if self._half is not None:
            self._half = None
            self.say("pairing by hand given up")
        elif self.search_words:
            self.search_words = self.pairs.words = []
            self.pairs.refresh()
            self.say("search cleared")
        elif self.view.filter:
            self.change_view(replace(self.view, filter=""))
            self.say("filter cleared")
        elif self.view.only:
            self.change_view(replace(self.view, only=False))
            self.say("all rows")
        elif not self.layertui.stop_work():
            self.say("q quits")

    # Metric, policy, thresholds

    def action_metric(self) -> None:
        names = list(METRICS)
        self.command_metric(names[(names.index(self.metric) + 1) % len(names)])

    def command_metric(self, text: str) -> None:
        if not text:
            self.action_metric()
            return
        if text not in METRICS:
            raise CommandError(f"no metric {text!r}: {', '.join(METRICS)}")
        self.metric = text
        self.verdicts_changed()
        self.say(f"metric {METRICS[text].heading}")
        if text == "ulp":  # takes another pass over the values, so only when asked for
            self.layertui.measure_with(self.limits, ulp=True)

    def action_thresholds(self) -> None:
        self.prompt.ask(Question("limits ", self._set_limits_text, self.limits.text, sign="t"))

    def _set_limits_text(self, text: str) -> None:
        try:
            self._set_limits(replace(parse_limits(text), given=self.limits.given))
        except CommandError as error:
            self.say(str(error), warn=True)

    def command_threshold(self, text: str) -> None:
        if not text:
            self.action_thresholds()
        else:
            self._set_limits(with_thresholds(self.limits, text))

    def command_policy(self, text: str) -> None:
        if not text:
            raise CommandError(f"policy which? noise, dtype or fixed; now {self._policy_words()}")
        given = self.limits.given
        if text == "dtype":  # which has no thresholds of its own
            self._set_limits(
                Limits("dtype", rtol=self.limits.rtol, atol=self.limits.atol, given=given)
            )
        elif text in ("noise", "default"):  # which has no limits at all
            self._set_limits(Limits("noise", given=given))
        else:
            self._set_limits(replace(self.limits, policy=text))

    def _policy_words(self) -> str:
        return self.limits.policy if self.comparison is None else self.comparison.policy.describe()

    def _set_limits(self, limits: Limits) -> None:
        """Judge by other limits at once; another tolerance also counts mismatches anew."""
        policy = limits.make()
        tolerance = (self.limits.rtol, self.limits.atol) != (limits.rtol, limits.atol)
        self._limits_before, self.limits = self.limits, limits
        slow = policy.name == "noise"  # which looks at all rows, and at further captures
        if self.comparison is not None and not slow:
            self.comparison.set_policy(policy)
            self.judge_again = self.layertui.working
            self.verdicts_changed()
        self.layertui.measure_with(limits, again=tolerance)
        if slow and not tolerance:
            self.layertui.judge_again(policy)
        self.say(policy.describe())

    def take_limits_back(self) -> None:
        """The comparison refused the last policy: say what it is still judged by."""
        comparison = self.comparison
        if comparison is not None and comparison.policy.name != self.limits.policy:
            self.limits = self._limits_before
            self.layertui.measure_with(self.limits)
            self.verdicts_changed()

    # Marks, export, yank

    def action_mark(self) -> None:
        row = self.row
        if row is not None:
            self.pairs.marks ^= {row}
            self.pairs.refresh_line(self.pairs.cursor)
            self.pairs.move(1)

    def action_unmark(self) -> None:
        self.command_unmark("")

    def command_unmark(self, _: str) -> None:
        self.say(f"{len(self.pairs.marks)} unmarked")
        self.pairs.marks = set()
        self.pairs.refresh()

    def chosen(self) -> list[int]:
        """The marked rows, else the one under the cursor."""
        if self.pairs.marks:
            return sorted(self.pairs.marks)
        return [] if self.row is None else [self.row]

    def export_on(self, screen: WorkScreen) -> None:
        """Ask on `screen` where to write what it shows."""
        chosen = screen.export_choice()
        if chosen is None:
            screen.say("no row to export")
            return
        from ..jobs.export_job import default_name

        label = f"export {chosen.words} to "
        screen.prompt.ask(
            Question(label, lambda text: self._export(screen, chosen, text),
                     default_name(chosen.labels))
        )  # fmt: skip

    def command_export(self, text: str) -> None:
        screen = self.layertui.work_screen()
        chosen = screen.export_choice()
        if not text:
            self.export_on(screen)
        elif chosen is None:
            raise CommandError("no row to export")
        else:
            self._export(screen, chosen, text)

    def _export(self, screen: WorkScreen, chosen: ExportChoice, text: str) -> None:
        from ..jobs.export_job import default_name, target

        path = target(text, default_name(chosen.labels))

        def write() -> None:
            self.layertui.export(chosen, path)

        def confirmed(answer: str) -> None:
            if answer.strip().lower() in ("y", "yes"):
                write()
            else:
                screen.say("not written")

        if path is not None and path.exists():
            screen.prompt.ask(Question(f"{path} exists, replace it? (y/n) ", confirmed))
        else:
            write()

    def export_choice(self) -> ExportChoice | None:
        """The marked rows, else the one under the cursor."""
        rows = self.chosen()
        if self.comparison is None or not rows:
            return None
        from ..jobs.export_job import ExportChoice
        from ..scene import Scene

        return ExportChoice(tuple(Scene(self.comparison, row) for row in rows))

    def command_repro(self, _: str) -> None:
        """Write a test of the layer under the cursor."""
        if self.comparison is None or self.row is None:
            raise CommandError("no row to write a test of")
        if not self.comparison.complete:
            raise CommandError("a layer is judged by all rows: still measuring")
        self.layertui.reproduce(self.comparison, self.row)

    def yank_on(self, screen: WorkScreen) -> None:
        """Copy the row under the cursor."""
        if self.comparison is None or self.row is None:
            screen.say("no row to yank")
        else:
            text = screen.yank_text() or _row_text(self.comparison, self.row)
            screen.say(yank(text, self.app.copy_to_clipboard))

    def command_yank(self, _: str) -> None:
        self.yank_on(self.layertui.work_screen())

    # What differences look like

    def action_symptoms(self) -> None:
        self.symptoms_on(self)

    def command_symptoms(self, _: str) -> None:
        self.symptoms_on(self.layertui.work_screen())

    def symptoms_on(self, screen: WorkScreen) -> None:
        """Work out what the difference of the marked rows, or of this one, looks like."""
        rows, comparison = self.chosen(), self.comparison
        if comparison is None or not rows:
            screen.say("no row to look at")
        elif not comparison.complete:
            screen.say("what a difference looks like is told by all rows: still measuring")
        else:
            self.layertui.diagnose(rows)

    # Injected reruns

    def action_rerun(self) -> None:
        self.rerun_on(self)

    def command_rerun(self, text: str) -> None:
        if text not in ("", "fresh"):
            raise CommandError("rerun, or rerun fresh to run again what was run before")
        self.rerun_on(self.layertui.work_screen(), fresh=bool(text))

    def command_runner(self, text: str) -> None:
        """Say what runs the candidate's layers."""
        if self.comparison is None:
            raise CommandError("rows are not aligned yet")
        from ..jobs.rerun_job import RunnerAnswerError, spec_of

        session = self.layertui.reruns.session(self.comparison)
        question = session.needs()
        proposal = question.proposal if question is not None else session.spec
        assert proposal is not None
        try:
            session.choose(spec_of(text, proposal))
        except RunnerAnswerError as error:
            raise CommandError(str(error)) from error
        self.layertui.work_screen().say(f"layers are run by {session.spec.describe()}"
                                        if session.spec else "no runner")  # fmt: skip

    # Checkpoints

    def command_model(self, text: str) -> None:
        """Name the checkpoint of a side; without one, say which are known."""
        if self.comparison is None:
            raise CommandError("rows are not aligned yet")
        from .checkpoints import with_model

        if text:
            self.layertui.use_models(with_model(text, self.comparison.model_paths))
        else:
            self.layertui.say_models()

    def rerun_on(self, screen: WorkScreen, fresh: bool = False) -> None:
        """Rerun the marked rows or this one; asks for the model, and before MAX compiles."""
        rows, comparison = self.chosen(), self.comparison
        if comparison is None or not rows:
            screen.say("no row to rerun")
            return
        session = self.layertui.reruns.session(comparison)
        known = self.layertui.reruns.result(comparison, rows[0])
        fresh = fresh or (len(rows) == 1 and known is not None and known.output is None)
        question = session.needs()
        if question is not None:
            proposal = question.proposal

            def chosen(text: str) -> None:
                try:
                    self.command_runner(text)
                except CommandError as error:
                    screen.say(str(error), warn=True)
                else:
                    self.rerun_on(screen, fresh)

            label = f"{question.text}? DIR, MODULE:FUNCTION or ! COMMAND: "
            start = proposal.model or proposal.factory or ""
            screen.prompt.ask(Question(label, chosen, start, sign="R"))
            return

        def confirmed(answer: str) -> None:
            if answer.strip().lower() in ("y", "yes"):
                self.layertui.rerun(rows, fresh)
            else:
                screen.say("not rerun")

        if session.may_take_minutes(rows) and session.hello is None:
            text = "MAX compiles a layer for seconds to minutes the first time: go on? (y/n) "
            screen.prompt.ask(Question(text, confirmed, "y"))
        else:
            self.layertui.rerun(rows, fresh)

    # Pairing by hand

    def action_pair(self) -> None:
        comparison, row = self.comparison, self.row
        if comparison is None or row is None:
            return
        found = comparison.rows[row]
        record = found.reference or found.candidate
        if found.kind == "pair" or record is None:
            self.say("this record is paired already; P takes the pair apart", warn=True)
        elif self._half is None or self._half[0] == found.kind:
            self._half = (found.kind, record.name)
            other = "candidate" if found.kind == "gap_reference" else "reference"
            self.say(f"{found.label}: now p on its partner, an unpaired record of the {other}")
        else:
            names = (self._half[1], record.name)
            from ...compare.rules.rules import HandPair

            pair = HandPair(*(names if found.kind == "gap_candidate" else names[::-1]))
            self._half = None
            self._rebuild([pair], [], "paired by hand; w writes it to the rules file")

    def action_unpair(self) -> None:
        comparison, row = self.comparison, self.row
        if comparison is None or row is None:
            return
        found = comparison.rows[row]
        if found.reference is None or found.candidate is None:
            before = comparison.taken_apart(row)
            if before:
                self._rebuild([], [], "put together again", restored=before)
            else:
                self.say("not a pair, and never taken out of one", warn=True)
            return
        from ...compare.rules.rules import HandPair

        self._rebuild([], [HandPair(found.reference.name, found.candidate.name)], "taken apart")

    def _rebuild(
        self, pairs: list[HandPair], apart: list[HandPair], done: str,
        restored: list[HandPair] | None = None, recipes: list[RecipeRule] | None = None,
    ) -> None:  # fmt: skip
        """Change the rows once nothing measures them; cursor and marks stay on their records."""

        def rebuild() -> None:
            if self.comparison is not None:
                self.remember_place()
                self.comparison.repair(pairs, apart, restored or [], recipes or [])
                self.unsaved.add(pairs, apart, restored or [], recipes or [])
                self.layertui.keep_rules(self.comparison.rules)
                self.show_rows()
                self.layertui.work_screen().after_command()
                self.layertui.work_screen().say(done)
                self.layertui.measure_again()

        self.layertui.after_work(rebuild)

    # Keeping what was found in the rules file

    def keep_recipes(
        self, recipes: list[RecipeRule], pairs: list[HandPair], done: str, save: bool
    ) -> None:
        """Recipes (and the pairs that they are for) for this session, and in the rules file."""
        if save:
            self._save(recipes, pairs, [], lambda path: self._rebuild(
                pairs, [], f"{done}; written to {path}", recipes=recipes))  # fmt: skip
        else:
            self._rebuild(pairs, [], f"{done}; :save writes it to the rules file", recipes=recipes)

    def action_save_rules(self) -> None:
        self.command_save("")

    def command_save(self, text: str) -> None:
        """Write what was paired by hand and kept in this session to the rules file."""
        unsaved = self.unsaved
        screen = self.layertui.work_screen()
        if unsaved.empty:
            screen.say("nothing to save: no pair was made by hand and no recipe kept")
            return
        if text:
            self.layertui.rules_path = text.strip()

        def saved(path: str) -> None:
            count = len(unsaved.recipes) + len(unsaved.pairs) + len(unsaved.apart)
            unsaved.clear()
            screen.say(f"{count} rules written to {path}")

        self._save(unsaved.recipes, unsaved.pairs, unsaved.apart, saved)

    def _save(
        self, recipes: list[RecipeRule], pairs: list[HandPair], apart: list[HandPair],
        then: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Write to the rules file; asks for one where the session has none."""
        app, screen = self.layertui, self.layertui.work_screen()

        def write(path: str) -> None:
            from ...compare.rules.edit import save_to_rules
            from ...compare.rules.rules import RulesError

            try:
                save_to_rules(path, recipes, pairs, apart)
            except RulesError as error:
                screen.say(str(error), warn=True)
                return
            app.rules_path = path
            then(path)

        def answered(text: str) -> None:
            if text.strip():
                write(str(Path(text.strip()).expanduser()))
            else:
                screen.say("not saved")

        if app.rules_path is not None:
            write(app.rules_path)
        else:
            screen.prompt.ask(Question("rules file: ", answered, "layertui-rules.toml"))

    # The rest

    def action_open_pair(self) -> None:
        if self.row is not None:
            self.layertui.open_pair()

    @on(PairList.Opened)
    def _clicked_twice(self) -> None:
        self.action_open_pair()

    def action_reload(self) -> None:
        self.command_reload("")

    def command_reload(self, _: str) -> None:
        self._half = None
        self.say("reading both directories again")
        self.layertui.read_again()

    def command_goto(self, text: str) -> None:
        comparison = self.comparison
        if comparison is None:
            raise CommandError("rows are not aligned yet")
        row = self._row_of(text)
        changed = self.go_to(row)
        if changed:
            self.say("; ".join(changed))

    def _row_of(self, text: str) -> int:
        comparison, model = self.comparison, self.pairs.model
        assert comparison is not None
        assert model is not None
        if text.isdecimal():
            if int(text) < len(comparison.rows):
                return int(text)
            raise CommandError(f"no row {text}: rows are 0 to {len(comparison.rows) - 1}")
        words = words_of(text)
        if not words:
            raise CommandError("goto where? a row's number or words of its names")
        for row in range(len(model)):
            if matches(model, row, words):
                return row
        raise CommandError(f"no row with {text!r}")

    def command_notes(self, _: str) -> None:
        if self.comparison is None:
            raise CommandError("rows are not aligned yet")
        from ..widgets.text_screen import notes_screen

        self.app.push_screen(notes_screen(self.comparison, self.layertui.look))

    def command_help(self, _: str) -> None:
        self.layertui.work_screen().action_help()

    def command_quit(self, _: str) -> None:
        self.layertui.action_quit_all()

    def action_back(self) -> None:
        self.layertui.action_quit_all()


def _row_text(comparison: Comparison, row: int) -> str:
    from ...compare.reports.row_text import row_text  # not needed before something is written

    return row_text(comparison, row)


def _no_divergence(comparison: Comparison | None) -> str:
    """Why there is no first divergence to go to."""
    if comparison is None or comparison.measured < comparison.to_measure:
        return "no divergence so far, still measuring"
    if not comparison.counts.pairs:
        return "the two have nothing in common: no record has a partner"
    if comparison.exit_status():
        return "nothing diverges, but not everything could be compared"
    return "nothing diverges"
