"""The terminal screens. `run_app` shows two captures side by side.

Nothing here imports textual until `run_app` is called, so that the command line stays quick and
textual sees an environment that is prepared for it.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from .terminal import is_interactive

if TYPE_CHECKING:
    from ..compare.judging.policy import Policy
    from ..compare.rules.rules import Rules
    from ..compare.weights.models import ModelPaths
    from .list.folds.list_lines import Start

__all__ = ["is_interactive", "keys_markdown", "run_app"]


def run_app(
    ref_path: str,
    cand_path: str,
    *,
    rules: Rules | None = None,
    policy: Policy | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    metric: str | None = None,
    ascii: bool = False,  # noqa: A002
    mouse: bool | None = None,
    raw: str | None = None,
    rules_path: str | None = None,
    options: tuple[str, ...] = (),
    export: str | None = None,
    models: ModelPaths | None = None,
    min_coverage: float = 0.5,
    allow_early_end: bool = False,
    fold: Start | None = None,
    theme: str | None = None,
    settings_path: str | None = None,
    before: str | None = None,
    watch: bool = False,
) -> int:
    """Show both captures until the user leaves; gives the exit status.

    0 after leaving, 2 with one line on stderr for a terminal or capture that cannot be used, 1
    after a fault of the program, 128 plus its number after a signal. Whether there is a terminal
    at all (`is_interactive`) is for the caller to ask. `rtol` and `atol` are the tolerance that
    mismatched elements are counted with (None: by dtype). `rules_path` is the file that `rules`
    came from, to which pairs and recipes found on the screen are written; `options` are further
    ones that a command line needs to show the same; `export` is what `layertui verify` wrote, whose
    single errors are shown; `models` are the checkpoints that the user named. `metric`, `fold`,
    `theme` and `mouse` win over the user's settings (None: as these say); `settings_path` is
    another file of settings, which must be there and have no fault: else 2. `before` is an earlier
    candidate, since which the list says what has changed; with `watch` the candidate is read again
    when it is written anew.
    """
    from . import terminal

    refused = terminal.refusal()
    if refused is None:
        paths = (ref_path, cand_path, *([] if before is None else [before]))
        refused = next((m for m in map(_missing, paths) if m), None)
    if refused is not None:
        print(refused, file=sys.stderr)
        return 2
    from .settings.settings import read_settings

    given = {"metric": metric, "fold": fold, "theme": theme}
    given["mouse"] = None if mouse is None else "on" if mouse else "off"
    settings = read_settings(settings_path, os.environ, given)
    if settings_path is not None and settings.problems:
        print(f"layertui: {settings.problems[0]}", file=sys.stderr)
        return 2
    found = terminal.detect(ascii_only=ascii)
    terminal.prepare()
    from .background import ask

    question = ask(found) if settings["theme"] == "auto" else None
    gc.disable()  # nothing is garbage before the first paint; the app turns it on again
    from .start import start

    return start(
        ref_path, cand_path, found, settings, question, rules=rules, policy=policy, rtol=rtol,
        atol=atol, raw=raw, rules_path=rules_path, options=options, export=export, models=models,
        min_coverage=min_coverage, allow_early_end=allow_early_end,
        strict=settings_path is not None, before=before, watch=watch,
    )  # fmt: skip


def _missing(path: str) -> str | None:
    from ..capture.storage import is_url

    if is_url(path) or os.path.exists(path):  # what a URL names is looked for behind the screen
        return None
    return f"layertui: {path}: no such file or directory"


def keys_markdown() -> str:
    """The table of keys for the README."""
    from .key_table import keys_markdown

    return keys_markdown()
