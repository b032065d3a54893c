"""The application: screens over one comparison, the work behind them, and the ways out."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand
from textual.command import CommandPalette
from textual.message import Message

from ..compare.weights.models import SIDES
from .jobs.compare_job import (
    Aligned,
    Checked,
    Checking,
    Diagnosed,
    Ended,
    Job,
    Judged,
    Listed,
    Measured,
    ModelsTaken,
    News,
    Reading,
    Request,
    compare_again,
    compare_directories,
    diagnose,
    is_bad_input,
    judge_again,
    measure_rest,
)
from .jobs.export_job import Exported, ExportError
from .jobs.rerun_job import Reran, Reruns, recall_job, rerun_job
from .keys import keys_of
from .list.checkpoints import find_models, models_text, use_models
from .list.screen import ListScreen
from .present.answer import checking_laws
from .state import History, save_crash
from .terminal import Terminal
from .theme import THEME, Look
from .work_screen import WorkScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from textual import events
    from textual.screen import Screen

    from ..capture.records import Capture
    from ..compare.comparison import Comparison
    from ..compare.judging.policy import Policy
    from ..compare.rules.rules import Rules
    from ..compare.weights.models import ModelPaths
    from .jobs.export_job import ExportChoice
    from .list.limits import Limits

_HEAD_START = 0.02  # seconds that the terminal gets to take the first screen
_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


class JobNews(Message):
    """News of a job, handed over from its thread."""

    def __init__(self, job: Job, news: News) -> None:
        super().__init__()
        self.job = job
        self.news = news


class LayertuiApp(App[None], inherit_bindings=False):
    """Compares two captures on the screen."""

    TITLE = "layertui"
    ALLOW_SELECT = False  # the terminal's own selection (Shift and drag) works everywhere
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    Screen { background: $background; color: $foreground; }
    CommandPalette SearchIcon, CommandPalette LoadingIndicator { display: none; }
    CommandPalette #--input, CommandPalette CommandInput, CommandPalette CommandList {
        border: none;
    }
    CommandPalette #--input { padding: 0 1; }
    CommandPalette CommandList { scrollbar-size: 0 0; }
    """

    def __init__(
        self,
        request: Request,
        *,
        terminal: Terminal | None = None,
        metric: str = "mse",
        limits: Limits | None = None,
        names: tuple[Capture, Capture] | None = None,
        rules_path: str | None = None,
        options: tuple[str, ...] = (),
        export: str | None = None,
    ) -> None:
        self.look = Look(terminal or Terminal())
        super().__init__(ansi_color=self.look.terminal.ansi)
        self.register_theme(THEME)
        self.theme = "ansi-dark" if self.look.terminal.ansi else THEME.name
        self.request = request
        self.history = History()
        self.last_words: str | None = None  # for stderr, once the terminal is itself again
        self.last_output: list[str] = []  # for stdout, then
        self.rules_path = rules_path  # where pairs and recipes are written to
        self._more_options = options  # of the command line, for the commands that exports name
        self.list_screen = ListScreen(metric, limits, names)
        self._job: Job | None = None
        self._export_job: Job | None = None
        self._rerun_job: Job | None = None
        self._recall_job: Job | None = None
        self._diagnosis: Job | None = None
        self._models_job: Job | None = None
        self._checked = False  # whether the captures themselves were looked at
        self.reruns = Reruns(export)
        self.rerun_state = ""  # what a rerun does now
        self._after_work: Callable[[], None] | None = None

    @property
    def paths(self) -> tuple[str, str]:
        return (self.request.reference, self.request.candidate)

    def get_default_screen(self) -> Screen[None]:
        return self.list_screen

    def work_screen(self) -> WorkScreen:
        """The list or pair screen that is in front, whatever lies over it."""
        screens = [screen for screen in self.screen_stack if isinstance(screen, WorkScreen)]
        return screens[-1]

    def on_mount(self) -> None:
        self._handle_signals()
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        self.call_after_refresh(self._painted)

    # The work behind the screens. One job at a time; news of an older one is ignored.

    def _painted(self) -> None:
        """The first screen is there: what was made for it is no garbage, and the work begins, a
        moment later: parsing a large header would keep the screen from being written.
        """
        gc.freeze()
        gc.enable()
        self.set_timer(_HEAD_START, self.read_again)

    def read_again(self) -> None:
        """List both directories, align, measure."""
        self._checked = False
        pairs = self.list_screen.pairs
        self._start(compare_directories(lambda: self.request, lambda: pairs.on_screen))

    def measure_again(self) -> None:
        """Measure what the comparison lacks."""
        comparison = self.list_screen.comparison
        if comparison is not None:
            pairs = self.list_screen.pairs
            self._start(measure_rest(comparison, lambda: pairs.on_screen, not self._checked))

    def judge_again(self, policy: Policy) -> None:
        """Judge by a policy that takes its time, once nothing else runs."""
        comparison, pairs = self.list_screen.comparison, self.list_screen.pairs
        if comparison is None:
            return
        check = not self._checked
        work = judge_again(comparison, policy, lambda: pairs.on_screen, check)
        self.after_work(lambda: self._start(work))

    def diagnose(self, rows: list[int]) -> None:
        """Work out what the differences on rows look like, in the background."""
        comparison = self.list_screen.comparison
        if comparison is None:
            return
        if self._diagnosis is not None:
            self.work_screen().say("still looking at other rows; Ctrl-C stops that", warn=True)
            return
        self._diagnosis = Job(diagnose(comparison, rows), self._post_news).start()

    def _diagnosis_news(self, news: News) -> None:
        from .pair.screen import PairScreen

        comparison, screen = self.list_screen.comparison, self.work_screen()
        if isinstance(news, Ended):
            self._diagnosis = None
            if news.error is not None:
                raise news.error
            if not news.complete:
                screen.say("stopped looking")
        elif isinstance(news, Diagnosed) and comparison is not None:
            self.list_screen.show_pane()
            if isinstance(self.screen, PairScreen):
                self.screen.show_pair()
            screen.say(diagnosed_text(comparison, news))

    def measure_with(self, limits: Limits, *, again: bool = False, ulp: bool = False) -> None:
        """Keep other limits for what comes; `again` and `ulp` need all values once more."""
        again = again or (ulp and not self.request.ulp)
        self.request = replace(
            self.request, policy=limits.make(), rtol=limits.rtol, atol=limits.atol,
            ulp=ulp or self.request.ulp,
        )  # fmt: skip
        comparison = self.list_screen.comparison
        if again and comparison is not None:
            pairs = self.list_screen.pairs
            self._start(compare_again(self.request, comparison, lambda: pairs.on_screen))

    def keep_rules(self, rules: Rules) -> None:
        """What was paired by hand stays so when the directories are read again."""
        self.request = replace(self.request, rules=rules)

    def say_models(self) -> None:
        """Say which checkpoints are known, once their headers are read."""
        comparison = self.list_screen.comparison
        if comparison is not None:
            self._models_job = Job(find_models(comparison), self._post_news).start()

    def use_models(self, paths: ModelPaths) -> None:
        """Take other checkpoints, once nothing reads those of before, and hold the layers against
        their laws anew.
        """
        comparison, pairs = self.list_screen.comparison, self.list_screen.pairs
        if comparison is None:
            return
        self.request = replace(self.request, models=paths)
        rest = measure_rest(comparison, lambda: pairs.on_screen, not self._checked)
        self.after_work(lambda: self._start(use_models(comparison, paths, rest)))

    def _models_taken(self, problem: str) -> None:
        comparison, screen = self.list_screen.comparison, self.work_screen()
        if comparison is None:
            return
        if problem:
            self.request = replace(self.request, models=comparison.model_paths)
            screen.say(problem, warn=True)
        else:
            screen.say(models_text(comparison))
            self.list_screen.verdicts_changed()

    def _models_news(self, news: News) -> None:
        comparison = self.list_screen.comparison
        if not isinstance(news, Ended) or comparison is None:
            return
        self._models_job = None
        if news.error is not None:
            raise news.error
        self.work_screen().say(models_text(comparison))

    def _start(self, work: Callable[[Job], bool]) -> None:
        for job in (self._job, self._diagnosis):
            if job is not None:
                job.stop()
        self._diagnosis = None  # rows may be made anew: its news would be about others
        self._after_work = None
        self._job = Job(work, self._post_news).start()

    def _post_news(self, job: Job, news: News) -> None:
        """Called in the job's thread."""
        self.post_message(JobNews(job, news))

    @property
    def working(self) -> bool:
        """Whether something is being read or measured."""
        return self._job is not None

    def rerun(self, rows: list[int], fresh: bool = False) -> None:
        """Rerun the layers of rows in the background."""
        comparison = self.list_screen.comparison
        if comparison is None:
            return
        if self._rerun_job is not None:
            self.work_screen().say("still rerunning; Ctrl-C stops that", warn=True)
            return
        session = self.reruns.session(comparison)
        self.rerun_state = "starting the runner"
        self.work_screen().say(self.rerun_state)
        self._rerun_job = Job(rerun_job(session, rows, fresh), self._post_news).start()
        self._reruns_changed()

    def _recall_reruns(self) -> None:
        """Show what earlier sessions reran, where the runner of this capture is known."""
        comparison = self.list_screen.comparison
        if comparison is None or self._recall_job is not None:
            return
        session = self.reruns.session(comparison)
        if session.spec is not None and not session.results:
            self._recall_job = Job(recall_job(session), self._post_news).start()

    def _rerun_news(self, news: News) -> None:
        if isinstance(news, Reran):
            progress = news.progress
            of = f"{progress.done} of {progress.total} " if progress.total > 1 else ""
            parts = (progress.layer, progress.text)
            self.rerun_state = f"rerun {of}" + ": ".join(part for part in parts if part)
            self.work_screen().say(self.rerun_state)
            if progress.rows:
                self._reruns_changed()
        elif isinstance(news, Ended):
            self._rerun_job, self.rerun_state = None, ""
            self._reruns_changed()
            self._say_rerun_ended(news)

    def _recalled(self, news: News) -> None:
        if isinstance(news, Ended):
            self._recall_job = None
            if news.error is not None and not is_bad_input(news.error):
                raise news.error
        else:
            self._reruns_changed()

    def _say_rerun_ended(self, news: Ended) -> None:
        from ..capture.runners.layers import RerunError

        screen, comparison = self.work_screen(), self.list_screen.comparison
        error = news.error
        if error is not None and not (isinstance(error, RerunError) or is_bad_input(error)):
            raise error
        if error is not None:
            screen.say(str(error), warn=True)
        elif not news.complete:
            screen.say("rerun stopped")
        elif comparison is not None:
            blamed = self.reruns.blamed(comparison)
            names = list(dict.fromkeys(comparison.rows[row].canonical for row in blamed))
            here = self.list_screen.row
            words = f"wrong on their own: {', '.join(names[:3])}" if names else (
                "no layer that was rerun is wrong on its own"
            )  # fmt: skip
            if here is not None and self.reruns.result(comparison, here) is not None:
                words = self.reruns.sentence(comparison, here)
            screen.say(words, warn=bool(names))

    def _reruns_changed(self) -> None:
        from .pair.screen import PairScreen

        self.list_screen.show_singles()
        if isinstance(self.screen, PairScreen):
            self.screen.rerun_changed()

    def export(self, choice: ExportChoice, path: Path | None) -> None:
        """Write rows in the background, to standard output (once the screen is left) without a
        path.
        """
        if self._export_job is not None:
            self.work_screen().say("still writing; Ctrl-C stops that", warn=True)
            return
        from .jobs.export_job import export_job

        def done(text: str) -> None:
            if path is None:
                self.last_output.append(text)
            where = path or "standard output, when the screen is left"
            self.call_from_thread(self.work_screen().say, f"wrote {choice.words} to {where}")

        comparison = choice.scenes[0].comparison
        work = export_job(choice, path, self._options(), done,
                          lambda row: self.reruns.lines(comparison, row))  # fmt: skip
        self._export_job = Job(work, self._post_news).start()

    def reproduce(self, comparison: Comparison, row: int) -> None:
        """Write a test of a row's layer in the background."""
        if self._export_job is not None:
            self.work_screen().say("still writing; Ctrl-C stops that", warn=True)
            return
        from .jobs.export_job import reproduction_job

        def done(text: str) -> None:
            self.call_from_thread(self.work_screen().say, text)

        self.work_screen().say("writing a test of this layer")
        self._export_job = Job(reproduction_job(comparison, row, done), self._post_news).start()

    def _options(self) -> list[str]:
        """The options of a command line that shows what this screen shows."""
        options = [] if self.rules_path is None else ["--rules", self.rules_path]
        options += [] if self.request.raw is None else ["--raw", self.request.raw]
        models = self.request.models
        for side in SIDES if models is not None else ():
            path = None if models is None else models.of(side)
            options += [] if path is None else [f"--{side}-model", path]
        return [*options, *self._more_options, *self.list_screen.limits.options]

    def _export_news(self, news: News) -> None:
        if isinstance(news, Exported):
            if news.total > 1:
                self.work_screen().say(f"writing row {news.done + 1} of {news.total}")
        elif isinstance(news, Ended):
            self._export_job = None
            if isinstance(news.error, ExportError):
                self.work_screen().say(str(news.error), warn=True)
            elif news.error is not None:
                raise news.error
            elif not news.complete:
                self.work_screen().say("stopped; nothing was written")

    def stop_work(self) -> bool:
        """Stop the running job; False when there is none."""
        for job in (self._rerun_job, self._export_job, self._diagnosis):
            if job is not None and not job.stopped():
                job.stop()
                return True
        if self._job is None or self._job.stopped():
            return False
        self._job.stop()
        return True

    def after_work(self, callback: Callable[[], None]) -> None:
        """Stop what runs, and call back when it has stopped."""
        if self._job is None:
            callback()
        else:
            self._after_work = callback
            self._job.stop()

    def on_job_news(self, message: JobNews) -> None:
        if not self.is_running:  # the screens are being closed: their parts may be gone
            return
        if message.job is self._recall_job:
            self._recalled(message.news)
            return
        if message.job is self._rerun_job:
            self._rerun_news(message.news)
            return
        if message.job is self._diagnosis:
            self._diagnosis_news(message.news)
            return
        if message.job is self._models_job:
            self._models_news(message.news)
            return
        if message.job is self._export_job:
            self._export_news(message.news)
            return
        if message.job is not self._job:
            return
        screen, news = self.list_screen, message.news
        if isinstance(news, Listed):
            screen.listed(news.reference, news.candidate)
        elif isinstance(news, Reading):
            screen.reading(news.done, news.total)
        elif isinstance(news, Aligned):
            screen.aligned(news.comparison, news.counts)
        elif isinstance(news, Measured):
            screen.measured(news.rows)
            self._show_pair(news.rows)
        elif isinstance(news, Checking):
            screen.checking()
        elif isinstance(news, Checked):
            self._checked = not news.early
            screen.checked(news.findings)
        elif isinstance(news, Judged):
            screen.verdicts_changed()
            self._show_pair(() if screen.row is None else (screen.row,))
        elif isinstance(news, ModelsTaken):
            self._models_taken(news.problem)
        elif isinstance(news, Ended):
            self._ended(news)

    def _show_pair(self, rows: tuple[int, ...]) -> None:
        from .pair.screen import PairScreen

        if isinstance(self.screen, PairScreen) and self.list_screen.row in rows:
            self.screen.show_pair()

    def _ended(self, news: Ended) -> None:
        self._job = None
        if news.error is not None:
            if not is_bad_input(news.error):
                raise news.error
            self._refuse(str(news.error))
            return
        self.list_screen.ended(news.complete)
        self._show_pair(() if self.list_screen.row is None else (self.list_screen.row,))
        if news.complete:
            self._recall_reruns()
        callback, self._after_work = self._after_work, None
        if callback is not None:
            callback()
        elif not news.complete:
            self._say_stopped()

    def _refuse(self, reason: str) -> None:
        """A capture that cannot be opened ends the program; read again, the old rows stay."""
        if self.list_screen.comparison is not None:
            self.list_screen.take_limits_back()
            self.work_screen().say(reason, warn=True)
            return
        self.last_words = f"layertui: {reason}"
        self.exit(return_code=2)

    def _say_stopped(self) -> None:
        comparison = self.list_screen.comparison
        done = "" if comparison is None else _progress(comparison)
        self.work_screen().say(f"stopped{done}; Ctrl-R goes on")

    # Screens and keys

    def open_pair(self) -> None:
        from .pair.screen import PairScreen

        if not isinstance(self.screen, PairScreen):  # Enter twice before it is there
            self.push_screen(PairScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key of the screen that it was called from."""
        front = self.work_screen()
        for key in keys_of(front.SCOPE):
            if key.id in ("palette", "out") or key.action.startswith(("move", "page")):
                continue
            yield SystemCommand(
                f"{key.label} ({key.shown})", key.description, _runner(front, key.action)
            )

    def on_key(self, event: events.Key) -> None:
        """Keys typed ahead: those on their way to the list when the prompt opened belong to it."""
        front = self.screen
        if isinstance(front, WorkScreen) and front.prompt.asking and event.is_printable:
            front.prompt.type(event.character or "")
            event.stop()
            event.prevent_default()

    def action_command_palette(self) -> None:
        """Ctrl-P. Textual's own prompt has characters that not every terminal has."""
        if not any(isinstance(screen, CommandPalette) for screen in self.screen_stack):
            self.push_screen(CommandPalette(placeholder="Search for a command"))

    def action_quit_all(self) -> None:
        if self._job is not None:
            self._job.stop()
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C: leaves a prompt, else stops the work, else quits."""
        front = self.work_screen()
        if front.prompt.asking:
            front.prompt.leave()
        elif not front.stop_inspection() and not self.stop_work():
            self.action_quit_all()

    def action_redraw(self) -> None:
        self.screen.refresh(layout=True)

    # The ways out

    def _handle_signals(self) -> None:
        """Leave the terminal as it was when the program is told to end."""
        import asyncio

        if self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number, status in _SIGNALS.items():
            loop.add_signal_handler(number, lambda status=status: self.exit(return_code=status))

    def _handle_exception(self, error: Exception) -> None:
        """A fault of the program: the traceback goes to a file, one line to stderr."""
        report = "".join(traceback.format_exception(error))
        path = save_crash(report)
        where = f"see {path}" if path is not None else report
        self.last_words = f"layertui: internal error ({type(error).__name__}: {error}); {where}"
        super()._handle_exception(error)
        self._exit_renderables.clear()


def diagnosed_text(comparison: Comparison, news: Diagnosed) -> str:
    """What the last row looks like, and how many there were."""
    from ..compare.reports.words import symptom_lines

    row = news.rows[-1]
    found = symptom_lines(comparison.known_symptoms(row))
    of = f"{news.done} of {news.total}: " if news.total > 1 else ""
    looks = found[0] if found else "nothing to say of it: it is equal, or cannot be read whole"
    return f"{of}{comparison.rows[row].label}: {looks}"


def _progress(comparison: Comparison) -> str:
    if checking_laws(comparison):
        done, total = comparison.laws_progress
        return f" at {done} of {total} layers" if total else " before the layers were checked"
    return f" at {comparison.measured} of {comparison.to_measure} pairs"


def _runner(screen: WorkScreen, action: str) -> Callable[[], None]:
    def run() -> None:
        screen.call_later(screen.run_action, action)

    return run


def exit_status(app: LayertuiApp) -> int:
    """Say the last words, if any, and give the exit status of an app that has ended."""
    app.reruns.close()
    if app.last_words is not None:
        print(app.last_words, file=sys.stderr)
    with contextlib.suppress(BrokenPipeError):
        for text in app.last_output:
            print(text, end="", flush=True)
    return app.return_code or 0
