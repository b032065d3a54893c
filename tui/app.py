"""The application: the screens over one session, their keys, and the ways out."""

from __future__ import annotations

import gc
import traceback
from typing import TYPE_CHECKING

from textual import events
from textual.app import SystemCommand
from textual.command import CommandPalette
from textual.message import Message

from .controllers import Controllers
from .hangup import STATUS, leave_on_signals, watch
from .jobs.rerun_job import Reruns
from .list.limits import Limits
from .list.screen import ListScreen
from .session import Session
from .settings.changes import SettingChanges
from .settings.keymap import Keymap
from .settings.settings import Settings
from .state import History, save_crash
from .strips import keep_no_circles
from .terminal import Terminal
from .textual_theme import STYLES, ThemedApp
from .theme import Look
from .work_screen import WorkScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.screen import Screen

    from ..capture.records import Capture
    from .jobs.job import Job
    from .jobs.news import News
    from .jobs.request import Request
    from .list.folds.list_lines import Start
    from .question import Question

_HEAD_START = 0.02  # seconds that the terminal gets to take the first screen
_NOT_YET = 0.02  # seconds until a key is tried again that a screen is not there for
_USED = (events.Key, events.MouseDown, events.MouseScrollDown, events.MouseScrollUp, events.Paste)


class JobNews(Message):
    """News of a job, handed over from its thread."""

    def __init__(self, job: Job, news: News) -> None:
        super().__init__()
        self.job = job
        self.news = news


class LayertuiApp(ThemedApp, inherit_bindings=False):
    """Compares two captures on the screen."""

    TITLE = "layertui"
    ALLOW_SELECT = False  # the terminal's own selection (Shift and drag) works everywhere
    ENABLE_COMMAND_PALETTE = True
    CSS = STYLES

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
        fold: Start = "auto",
        before: str | None = None,
        watch: bool = False,
        settings: Settings | None = None,
        keymap: Keymap | None = None,
    ) -> None:
        keep_no_circles()
        self.look = Look(terminal or Terminal())
        self.keymap = keymap or Keymap()
        super().__init__(self.look.terminal)
        self.typed_ahead: list[Message] = []  # before the screen was there
        self.history = History()
        self.last_words: str | None = None  # for stderr, once the terminal is itself again
        self.last_output: list[str] = []  # for stdout, then
        self.session = Session(
            request, limits or Limits(), metric, rules_path, options, Reruns(export), fold=fold,
            before=before, settings=settings or Settings(""),
        )  # fmt: skip
        self._watch = watch
        self.list_screen = ListScreen(self, names)
        self.controllers = Controllers(self, self.list_screen)
        self.changes = SettingChanges(self)

    def get_default_screen(self) -> Screen[None]:
        return self.list_screen

    def work_screen(self) -> WorkScreen:
        """The list or pair screen that is in front, whatever lies over it."""
        screens = [screen for screen in self.screen_stack if isinstance(screen, WorkScreen)]
        return screens[-1]

    def on_mount(self) -> None:
        if not self.is_headless:
            leave_on_signals(lambda status: self.exit(return_code=status))
        self.set_keymap(self.keymap.textual())
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        """The first screen is there: what was made for it is no garbage, and the work begins, a
        moment later: parsing a large header would keep the screen from being written.
        """
        gc.freeze()
        gc.enable()
        self.set_timer(_HEAD_START, self.begin)

    def begin(self) -> None:
        """Start the work behind the first screen."""
        self.say(self.session.settings.complaint, warn=True)
        for event in self.typed_ahead:
            self.post_message(event)
        self.controllers.comparing.read_again()
        if self._watch:
            self.controllers.watch.begin()
        if not self.is_headless:
            self._leave_with_terminal()

    # What screens and controllers ask (see `Host`)

    @property
    def front(self) -> WorkScreen:
        return self.work_screen()

    @property
    def said(self) -> str:
        return self.front.prompt.said

    def say(self, text: str, *, warn: bool = False) -> None:
        self.front.say(text, warn=warn)

    def ask(self, question: Question) -> None:
        self.front.prompt.ask(question)

    def copy(self, text: str) -> None:
        self.copy_to_clipboard(text)

    def print_at_end(self, text: str) -> None:
        self.last_output.append(text)

    def take_picture(self, take: Callable[[str], None]) -> None:
        def taken() -> None:
            from .pictures.svg import svg_of_lines

            strips = self.screen._compositor.render_strips()  # as textual's own screenshots do
            take(svg_of_lines([[(part.text, part.style) for part in strip] for strip in strips]))

        self.call_after_refresh(taken)

    def start(self, work: Callable[[Job], bool], take: Callable[[News], None]) -> Job:
        from .jobs.job import Job  # not needed before the first paint

        return Job(work, self._post_news, take).start()

    def _post_news(self, job: Job, news: News) -> None:
        """Called in the job's thread."""
        self.post_message(JobNews(job, news))

    def on_job_news(self, message: JobNews) -> None:
        if self.is_running:  # else the screens are being closed: their parts may be gone
            message.job.deliver(message.news)

    def say_from_thread(self, text: str) -> None:
        self.call_from_thread(self.say, text)

    def rows_changed(self, rows: Sequence[int]) -> None:
        if isinstance(self.screen, WorkScreen):
            self.screen.rows_changed(rows)

    def rerun_changed(self) -> None:
        if isinstance(self.screen, WorkScreen):
            self.screen.rerun_changed()

    def give_up(self, reason: str) -> None:
        self.last_words = f"layertui: {reason}"
        self.exit(return_code=2)

    @property
    def working(self) -> bool:
        """Whether something is being read or measured."""
        return self.controllers.working

    # Screens and keys

    def open_pair(self, *, alone: bool = False) -> None:
        from .pair.screen import PairScreen

        if not isinstance(self.screen, PairScreen):  # Enter twice before it is there
            self.push_screen(PairScreen(self, alone))

    def open_map(self) -> None:
        """Bring the map to the front."""
        from .overview.map_screen import MapScreen

        if not isinstance(self.screen, MapScreen):
            self.push_screen(MapScreen(self))

    def open_trend(self) -> None:
        """Bring the trend to the front."""
        from .overview.trend_screen import TrendScreen

        if not isinstance(self.screen, TrendScreen):
            self.push_screen(TrendScreen(self))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key of the screen that it was called from."""
        front = self.work_screen()
        for key in front.keys_now():
            if key.id in ("palette", "out") or key.action.startswith(("move", "page")):
                continue
            yield SystemCommand(
                f"{key.label} ({key.shown})", key.description, _runner(front, key.action)
            )

    async def on_event(self, event: events.Event) -> None:
        """From the first key or click on, the cursor is the user's."""
        if isinstance(event, _USED):
            self.session.touched = True
        await super().on_event(event)

    async def on_key(self, event: events.Key) -> None:
        """All keys come through here in the order in which they were pressed. Those that were typed
        ahead belong to the screen, or the prompt, that an earlier one opens.
        """
        front = self.screen
        if not isinstance(front, WorkScreen):
            return
        if not front.is_mounted:
            self.set_timer(_NOT_YET, lambda: self.post_message(event))
            taken = True
        else:
            taken = await front.take_any_key(event)
        if taken:
            event.stop()
            event.prevent_default()

    def action_command_palette(self) -> None:
        """Ctrl-P. Textual's own prompt has characters that not every terminal has."""
        if not any(isinstance(screen, CommandPalette) for screen in self.screen_stack):
            self.push_screen(CommandPalette(placeholder="Search for a command"))

    def action_quit_all(self) -> None:
        self.controllers.comparing.stop()
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C: leaves a prompt, else stops the work, else quits."""
        front = self.work_screen()
        if front.prompt.asking:
            front.prompt.leave()
        elif not front.stop_inspection() and not self.controllers.stop():
            self.action_quit_all()

    def action_redraw(self) -> None:
        self.screen.refresh(layout=True)

    # The ways out

    def _leave_with_terminal(self) -> None:
        """Where no signal says that the terminal is gone."""
        import asyncio

        loop = asyncio.get_running_loop()
        watch(lambda: loop.call_soon_threadsafe(lambda: self.exit(return_code=STATUS)))

    def _handle_exception(self, error: Exception) -> None:
        """A fault of the program: the traceback goes to a file, one line to stderr."""
        report = "".join(traceback.format_exception(error))
        path = save_crash(report)
        where = f"see {path}" if path is not None else report
        self.last_words = f"layertui: internal error ({type(error).__name__}: {error}); {where}"
        super()._handle_exception(error)
        self._exit_renderables.clear()


def _runner(screen: WorkScreen, action: str) -> Callable[[], None]:
    def run() -> None:
        screen.call_later(screen.run_action, action)

    return run
