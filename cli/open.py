"""`layertui REFERENCE CANDIDATE`: the screen, or the summary where there is no terminal."""

from __future__ import annotations

from typing import Any

import click

from .options import judging_options, two_captures
from .session import Judging


@click.command("layertui", add_help_option=False)
@two_captures
@judging_options
@click.option("--ascii", "plain", is_flag=True, help="Draw with ASCII characters only.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
@click.option("--no-tui", is_flag=True, help="Print the summary instead of opening the screen.")
@click.help_option("-h", "--help")
@click.pass_context
def open_captures(
    ctx: click.Context,
    reference: str,
    candidate: str,
    plain: bool,
    no_mouse: bool,
    no_tui: bool,
    **judging: Any,
) -> int:
    """Compare two captures on the screen."""
    from ..tui import is_interactive

    options, arguments = Judging(**judging), list(ctx.obj or [])
    if no_tui or not is_interactive():
        again = arguments if "--no-tui" in arguments else ["--no-tui", *arguments]
        return print_summary(reference, candidate, options, again)
    return show(reference, candidate, options, plain=plain, mouse=not no_mouse)


def print_summary(reference: str, candidate: str, options: Judging, arguments: list[str]) -> int:
    """The text report on standard output; returns the exit status of `compare`.

    `arguments` are those of the command line that prints it again.
    """
    from .compare import text_report_of
    from .output import write_output
    from .session import measure_all, note_checks, open_pair

    comparison = open_pair(reference, candidate, options)
    measure_all(comparison)
    note_checks(comparison)
    write_output("-", text_report_of(comparison, options, arguments), overwrite=False)
    return comparison.exit_status(options.min_coverage)


def show(
    reference: str, candidate: str, options: Judging, *, plain: bool = False, mouse: bool = True
) -> int:
    """Open the screen; returns its exit status, 2 where the terminal cannot draw or a capture is
    not there at all. Raises `RulesError`, `UserError`.
    """
    from ..tui import run_app

    rules = options.make_rules()
    policy = None if options.plain else options.make_policy()
    return run_app(
        reference, candidate, rules=rules, policy=policy, rtol=options.rtol, atol=options.atol,
        metric=options.metric, ascii=plain, mouse=mouse, raw=options.raw,
        rules_path=options.rules,
        options=tuple(["--thresholds", options.thresholds_file] if options.thresholds_file else []),
    )  # fmt: skip
