"""`layertui REFERENCE CANDIDATE`: the screen, or the summary where there is no terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import BEFORE, judging_options, model_options

if TYPE_CHECKING:
    from ...compare.rules.rules import Rules
    from ...tui.list.folds.list_lines import Start


@dataclass(frozen=True)
class ScreenOptions:
    """How to draw. None is what the user's settings say; `settings` is another file of these."""

    plain: bool = False
    mouse: bool | None = None
    fold: Start | None = None
    theme: str | None = None
    settings: str | None = None


@click.command("layertui", add_help_option=False)
@click.argument("reference", type=click.Path())
@click.argument("candidate", type=click.Path(), required=False)
@judging_options
@model_options
@BEFORE
@click.option("--watch", is_flag=True, help="Read the candidate again whenever it is written anew.")
@click.option("--ascii", "plain", is_flag=True, help="Draw with ASCII characters only.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
@click.option(
    "--fold",
    type=click.Choice(["auto", "layers", "none"]),
    help="Start with the layers folded; auto: where the list is longer than the screen.",
)
@click.option(
    "--theme",
    type=click.Choice(["auto", "dark", "light"]),
    help="Colours for a dark or a light ground; auto asks the terminal.",
)
@click.option("--settings", metavar="FILE", help="Another file of settings than the usual one.")
@click.option("--no-tui", is_flag=True, help="Print the summary instead of opening the screen.")
@click.help_option("-h", "--help")
@click.pass_context
def open_captures(
    ctx: click.Context,
    reference: str,
    candidate: str | None,
    before: str | None,
    watch: bool,
    plain: bool,
    no_mouse: bool,
    fold: Start | None,
    theme: str | None,
    settings: str | None,
    no_tui: bool,
    **judging: Any,
) -> int:
    """Compare two captures on the screen, or both scenarios of a verification."""
    from ...capture.cases import holds_both_sides
    from ...tui import is_interactive

    if candidate is None and holds_both_sides(reference):
        candidate = reference
    if candidate is None and (before is not None or watch):
        raise UserError("--before and --watch go with two captures")
    screen = ScreenOptions(plain, False if no_mouse else None, fold, theme, settings)
    if candidate is None:
        return open_verification(reference, JudgingOptions(**judging), no_tui, screen)
    options, arguments = JudgingOptions(**judging), list(ctx.obj or [])
    given = ctx.get_parameter_source("metric") is not ParameterSource.DEFAULT
    if watch:
        _check_watch(candidate, no_tui or not is_interactive())
    if no_tui or not is_interactive():
        _check_settings(screen.settings)
        again = arguments if "--no-tui" in arguments else ["--no-tui", *arguments]
        return print_summary(reference, candidate, options, again, before)
    return show(reference, candidate, options, screen, metric=options.metric if given else None,
                before=before, watch=watch)  # fmt: skip


def _check_settings(path: str | None) -> None:
    """A file that was named has to be right, also where no screen reads it."""
    from ...tui.settings.file import read_file

    problems = () if path is None else read_file(path, must_be_there=True).problems
    if problems:
        raise UserError(problems[0])


def _check_watch(candidate: str, no_screen: bool) -> None:
    from ...capture.storage import is_url

    if no_screen:
        raise UserError("--watch goes with the screen")
    if is_url(candidate):
        raise UserError(f"--watch: {candidate}: only captures on this machine can be watched")


def open_verification(
    export: str, options: JudgingOptions, no_tui: bool, screen: ScreenOptions
) -> int:
    """What `layertui verify` wrote: on the screen where its tensors were saved, else as text."""
    from ...compare.reports.escaping import clean
    from ...compare.rerun.scenario_report import scenario_lines
    from ...compare.rerun.verification import is_export, open_export
    from ...tui import is_interactive
    from ..output import write_output

    if not is_export(export):
        raise UserError(
            f"{export}: give two captures to compare, a directory that layertui verify wrote, or "
            "one with text dumps py_*.txt and cpp_*.txt"
        )
    found = open_export(export)
    saved = found.reference is not None and found.candidate is not None
    if saved and not no_tui and is_interactive():
        assert found.reference is not None and found.candidate is not None
        return show(found.reference, found.candidate, options, screen, export=export)
    lines = [f"layer verification: {found.model} {found.encoding}", ""]
    lines += scenario_lines(found)
    if not saved:
        lines += ["", "the tensors were not saved (--save-layers): nothing to open on the screen"]
    write_output("-", "\n".join(map(clean, lines)) + "\n", overwrite=False)
    return 1 if found.wrong_layers else 0


def print_summary(
    reference: str, candidate: str, options: JudgingOptions, arguments: list[str],
    before: str | None = None,
) -> int:  # fmt: skip
    """The text report on standard output, with what has changed since an earlier candidate;
    returns the exit status of `compare`.

    `arguments` are those of the command line that prints it again.
    """
    from ..cases import case_pairs
    from ..output import write_output
    from ..session import checks_noted, measure_all, open_pair
    from .compare import text_of_cases, text_report_of

    pairs = case_pairs(reference, candidate, options.make_rules())
    if pairs is not None and before is not None:
        raise UserError("--before: compare one case at a time")
    if pairs is not None:
        text, status = text_of_cases(pairs, options, arguments)
        write_output("-", text, overwrite=False)
        return status
    earlier = None if before is None else open_pair(reference, before, options)
    comparison = open_pair(reference, candidate, options)
    with checks_noted(comparison):
        measure_all(comparison)
    text = text_report_of(comparison, options, arguments)
    if earlier is not None:
        from ...compare.changes.since import changes_since, with_changes

        measure_all(earlier)
        text = with_changes(text, "text", changes_since(earlier, comparison))
    write_output("-", text, overwrite=False)
    return comparison.exit_status()


def show(
    reference: str, candidate: str, options: JudgingOptions, screen: ScreenOptions, *,
    export: str | None = None, metric: str | None = None, before: str | None = None,
    watch: bool = False,
) -> int:  # fmt: skip
    """Open the screen, with `metric` in its badges (None: what they showed last); returns its exit
    status, 2 where the terminal cannot draw or a capture is
    not there at all. Raises `RulesError`, `UserError`, `CaptureError` for a checkpoint that is not
    there.
    """
    from ...tui import run_app
    from ..session import policy_of

    rules = options.make_rules()
    _check_models(reference, candidate, options, rules)
    policy = policy_of(options) if options.asks_for_a_policy else None
    return run_app(
        reference, candidate, rules=rules, policy=policy, rtol=options.rtol, atol=options.atol,
        metric=metric, ascii=screen.plain, mouse=screen.mouse, raw=options.raw,
        rules_path=options.rules,
        export=export, models=options.models,
        options=tuple(not_on_the_screen(options).to_arguments()),
        min_coverage=options.min_coverage, allow_early_end=options.allow_early_end,
        fold=screen.fold, theme=screen.theme, settings_path=screen.settings,
        before=before, watch=watch,
    )  # fmt: skip


def not_on_the_screen(options: JudgingOptions) -> JudgingOptions:
    """Those of the options that the screen has no setting for."""
    return JudgingOptions(
        thresholds_file=options.thresholds_file, min_coverage=options.min_coverage,
        allow_early_end=options.allow_early_end, allow_reshape=options.allow_reshape,
    )  # fmt: skip


def _check_models(
    reference: str, candidate: str, options: JudgingOptions, rules: Rules | None
) -> None:
    """Refuse checkpoints that are not there before the screen opens; remember the others. What is
    in them is looked at behind the screen.
    """
    from ...compare.weights.models import ModelPaths, check_models, remember_models

    given = options.models.over(rules.models if rules is not None else ModelPaths())
    check_models(given)
    remember_models(reference, candidate, options.models)
