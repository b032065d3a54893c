"""Building and running the application; the first module that imports textual."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ..capture.first_names import first_names
from ..capture.names import parse_name
from ..capture.records import Capture, Record
from ..capture.storage import is_url
from .app import LayertuiApp
from .background import drop_late_answers, events_of, is_light
from .jobs.request import Request
from .list.limits import limits_of
from .settings.user_keys import user_keymap
from .state import remembered_metric

if TYPE_CHECKING:
    from ..compare.judging.policy import Policy
    from ..compare.rules.rules import Rules
    from ..compare.weights.models import ModelPaths
    from .background import Question
    from .list.folds.list_lines import Start
    from .settings.settings import Settings
    from .terminal import Terminal

# Seconds after which a thread that computes in Python hands the interpreter's lock to the screen's,
# which asks for it several times a key; 0.005 is usual.
_TURN = 0.001


def start(
    reference: str, candidate: str, terminal: Terminal, settings: Settings,
    question: Question | None, *, rules: Rules | None,
    policy: Policy | None, rtol: float | None, atol: float | None, raw: str | None,
    rules_path: str | None = None,
    options: tuple[str, ...] = (), export: str | None = None, models: ModelPaths | None = None,
    min_coverage: float = 0.5, allow_early_end: bool = False, strict: bool = False,
    before: str | None = None, watch: bool = False,
) -> int:  # fmt: skip
    """Run the application and give its exit status. `question` was asked of the terminal; with
    `strict`, keys that do not exist end the program.
    """
    metric = remembered_metric() if settings["metric"] == "last" else settings["metric"]
    keymap, wrong, conflicts = user_keymap(settings.keys)
    wrong = [f"{settings.path}: {line}" for line in wrong]
    if wrong and strict:
        answer(question, terminal)
        print(f"layertui: {wrong[0]}", file=sys.stderr)
        return 2
    settings = replace(settings, problems=(*settings.problems, *wrong, *conflicts))
    request = Request(
        reference, candidate, rules, policy, raw, rtol, atol, metric == "ulp", models,
        min_coverage, allow_early_end, rules_path=rules_path,
    )  # fmt: skip
    limits = limits_of(policy, rtol, atol)
    names = (peeked(reference), peeked(candidate))
    terminal, typed = answer(question, terminal)
    terminal = replace(terminal, light=is_light(settings["theme"], terminal))
    fold = cast("Start", settings["fold"])
    app = LayertuiApp(request, terminal=terminal, metric=metric, limits=limits, names=names,
                      rules_path=rules_path, options=options, export=export, fold=fold,
                      settings=settings, keymap=keymap, before=before, watch=watch)  # fmt: skip
    app.typed_ahead = events_of(typed)
    sys.setswitchinterval(_TURN)
    app.run(mouse=settings["mouse"] == "on")
    return exit_status(app)


def answer(question: Question | None, terminal: Terminal) -> tuple[Terminal, bytes]:
    """The terminal with what it answered, and what was typed meanwhile."""
    if question is None:
        return terminal, b""
    light = question.answer()
    if question.late:
        drop_late_answers()
    return terminal if light is None else replace(terminal, light_ground=light), question.typed


def peeked(path: str) -> Capture:
    """The first names of a capture, to be looked at while it is opened."""
    records: list[Record] = []
    for name in [] if is_url(path) else first_names(path):  # a server may take its time
        parsed = parse_name(name)
        records.append(Record(name, parsed.module, parsed.slot, parsed.call))
    root = "model" if any(record.module == "model" for record in records) else ""
    return Capture(path, "", records, "unknown", False, root)


def exit_status(app: LayertuiApp) -> int:
    """Say the last words, if any, and give the exit status of an app that has ended."""
    app.session.reruns.close()
    if app.last_words is not None:
        print(app.last_words, file=sys.stderr)
    with contextlib.suppress(BrokenPipeError):
        for text in app.last_output:
            print(text, end="", flush=True)
    return app.return_code or 0
