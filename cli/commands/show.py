"""`layertui show`: one pair, or one capture alone, as text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import click

from ...capture.storage import is_url
from ...compare.inspection.text_views import VIEW_NAMES
from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import OVERWRITE, judging_options, model_options, output_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...compare.comparison import Comparison
    from ...compare.inspection.subject import Subject
    from ...compare.model import Measured, Result, Row

_SOON_READ = 256 << 20  # bytes of both captures


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="REF CAND [NAME] | DIR [NAME]")
@click.option(
    "--recipe",
    "--recipe-candidate",
    "candidate",
    default=None,
    metavar="RECIPE",
    help="Apply this recipe to the candidate (or to the one capture).",
)
@click.option(
    "--recipe-reference",
    "reference",
    default=None,
    metavar="RECIPE",
    help="Apply this recipe to the reference.",
)
@click.option(
    "--with",
    "partner",
    default=None,
    metavar="NAME",
    help="Compare with this record of the other side instead of the paired one.",
)
@click.option(
    "--step", type=click.IntRange(min=0), default=None, help="Take the record of this step."
)
@click.option(
    "--view",
    "views",
    type=click.Choice(VIEW_NAMES),
    multiple=True,
    help="What to show; may be repeated.  [default: stats, top]",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many of the greatest differences to list.",
)
@click.option(
    "--order",
    type=click.Choice(["abs", "rel", "ulp"]),
    default="abs",
    show_default=True,
    help="How differences are ranked.",
)
@click.option(
    "--slice",
    "region",
    default="",
    metavar="0,:,128:160",
    help="The part that values and heat show.",
)
@click.option(
    "--quantity",
    default="difference",
    show_default=True,
    type=click.Choice(["difference", "reference", "candidate", "signed", "ratio"]),
    help="What the heat map shows.",
)
@click.option(
    "--form",
    type=click.Choice(["scientific", "fixed", "bits"]),
    default="scientific",
    show_default=True,
    help="How values are written.",
)
@click.option(
    "--heads",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Also rank the last axis by N heads.",
)
@output_option("the text goes")
@OVERWRITE
@judging_options
@model_options
def show(
    places: tuple[str, ...], reference: str | None, candidate: str | None,
    partner: str | None, step: int | None, views: tuple[str, ...], output: str, overwrite: bool,
    top: int, order: str, region: str, quantity: str, form: str, heads: int | None, **judging: Any,
) -> int:  # fmt: skip
    """Show one pair of two captures, or list the records of one capture.

    `show REF CAND NAME` prints what is known of the pair: how it was matched, metrics, statistics,
    the greatest differences. NAME is a record's name, `module-slot`, a part of one that only one
    row has, or a row's number (`#12`); two files, or two captures of one pair, need none. `show
    DIR` lists the records of a capture, `show DIR NAME` shows one. A directory with text dumps
    py_*.txt and cpp_*.txt is both captures.

    Exit status of a pair: 0 it agrees up to rounding, 1 it does not, or cannot be compared. Of one
    capture: 0, 1 where a record cannot be read. 2: usage, or a capture that cannot be opened.
    """
    from ...capture.cases import holds_both_sides
    from ...compare.inspection.naming import NoSuchNameError
    from ..output import check_target, write_output

    if len(places) > 3:
        raise UserError(f"show takes REF CAND NAME, or DIR and NAME; {len(places)} were given")
    check_target(output, overwrite)
    if len(places) == 2 and not _may_be_capture(places[1]) and holds_both_sides(places[0]):
        places = (places[0], *places)
    if partner is not None and len(places) != 3:
        raise UserError("--with needs show REF CAND NAME")
    options = JudgingOptions(**judging)
    settings = {
        "top": top, "order": order, "region": region, "quantity": quantity, "form": form,
        "heads": heads,
    }  # fmt: skip
    try:
        if len(places) == 3 or _is_pair(places, options.raw):
            recipes = reference, candidate
            text, status = _pair(places, options, recipes, partner, step, views, settings)
        else:
            recipe = candidate or reference or ""
            text, status = _capture(places, options.raw, recipe, step, views, settings)
    except NoSuchNameError as error:
        raise UserError(str(error)) from error
    write_output(output, text, overwrite)
    return status


def _pair(
    places: Sequence[str], judging: JudgingOptions, recipes: tuple[str | None, str | None],
    partner: str | None, step: int | None, views: Sequence[str], settings: dict[str, Any],
) -> tuple[str, int]:  # fmt: skip
    """The text of one pair, and the exit status that its verdict means."""
    from ...compare.inspection.naming import row_named
    from ...compare.inspection.report import row_report, with_recipes
    from ...compare.inspection.subject import subject_of_row
    from ..session import open_pair

    _check_recipes(*recipes)
    comparison = open_pair(places[0], places[1], judging)
    row = row_named(comparison, places[2], step) if places[2:] else _only_pair(comparison)
    if partner is not None:
        row = _with_partner(comparison, row, partner)
    for side, record, recipe in zip(
        ("reference", "candidate"), (row.reference, row.candidate), recipes, strict=True
    ):
        if record is None and recipe is not None:
            raise UserError(f"--recipe-{side}: {row.label} has no record of the {side}")
    aligned = row
    row = with_recipes(row, *recipes)
    shown = views or ("stats", "top")
    _check_region(lambda: subject_of_row(comparison, row), settings, shown)
    result: Result = None
    if row.kind == "pair" and row.problem_level is None:
        result = _result(comparison, row)
        if row == comparison.rows[row.index]:
            comparison.take(row.index, result)
    _judge_among_others(comparison)
    text = row_report(
        comparison, row.index, row=row, result=result, views=shown,
        options=judging.to_arguments(), aligned=aligned, **settings,
    )  # fmt: skip
    verdict = comparison.verdict_of(row, result)
    bad = verdict.fails or verdict.level in ("unreadable", "missing")
    return text, 1 if bad else 0


def _may_be_capture(place: str) -> bool:
    """False for what can only be the name of a record; no record is named by a URL."""
    return is_url(place) or os.path.exists(place)


def _is_pair(places: Sequence[str], raw: str | None) -> bool:
    """Whether two places are two captures, and not a capture and the name of a record in it."""
    from ...capture.open import open_capture

    if len(places) != 2 or not _may_be_capture(places[1]):
        return False
    return all(record.name != places[1] for record in open_capture(places[0], raw=raw).records)


def _only_pair(comparison: Comparison) -> Row:
    """The pair of two captures that have no other. Raises `UserError`."""
    pairs = [row for row in comparison.rows if row.kind == "pair"]
    if len(pairs) == 1:
        return pairs[0]
    if not pairs:
        raise UserError("nothing in common: no record has a partner; name one of them, as in "
                        "layertui show REF CAND NAME --with NAME")  # fmt: skip
    some = ", ".join(f"{row.label} (#{row.index})" for row in pairs[:4])
    more = ", ..." if len(pairs) > 4 else ""
    raise UserError(
        f"there are {len(pairs)} pairs; name one, as in show REF CAND NAME: {some}{more}"
    )


def _result(comparison: Comparison, row: Row) -> Measured:
    """What a pair comes to, by its values or, where a side has none, by its statistics."""
    from ...compare.measuring.measure import measure
    from ...compare.measuring.recorded_statistics import compare_statistics

    if comparison.aligned.has_values(row):
        return measure(_task(comparison, row))
    return compare_statistics(comparison.aligned.statistics_task(row))


def _judge_among_others(comparison: Comparison) -> None:
    """The policy `noise` judges a row by the others: those that were measured before, and all of
    captures that are soon read.
    """
    if comparison.policy.name != "noise":
        return
    comparison.recall()
    size = comparison.reference.nbytes + comparison.candidate.nbytes
    if size <= _SOON_READ:
        comparison.measure()


def _task(comparison: Comparison, row: Row) -> Any:
    from ...compare.inspection.subject import subject_of_row
    from ...compare.measuring.pair_reader import PairTask

    subject = subject_of_row(comparison, row)
    assert subject.reference is not None and subject.candidate is not None
    return PairTask(
        subject.reference,
        subject.candidate,
        comparison.aligned.rtol,
        comparison.aligned.atol,
        comparison.aligned.ulp,
    )


def _check_recipes(*recipes: str | None) -> None:
    from ...compare.recipes.errors import RecipeError
    from ...compare.recipes.parse import parse_recipe

    for recipe in recipes:
        try:
            parse_recipe(recipe or "")
        except RecipeError as error:
            raise UserError(f"recipe {recipe!r}: {error}") from error


def _with_partner(comparison: Comparison, row: Row, name: str) -> Row:
    """The row's reference record against any record of the candidate; a candidate's record that
    has no partner against any of the reference.
    """
    from dataclasses import replace

    from ...compare.inspection.naming import record_named
    from ...compare.recipes.common_view import common_view

    reference, candidate = row.reference, row.candidate
    if reference is None:
        reference = record_named(comparison.reference, name, row.step)
    else:
        candidate = record_named(comparison.candidate, name, row.step)
    assert reference is not None and candidate is not None
    view = None
    if reference.shape is not None and candidate.shape is not None:
        view = common_view(reference.shape, candidate.shape)
    recipes = ("", "") if view is None else (str(view.reference), str(view.candidate))
    return replace(
        row, kind="pair", reference=reference, candidate=candidate, matched_by="hand",
        how="asked for", recipe_reference=recipes[0], recipe_candidate=recipes[1], problem=None,
        problem_level=None,
    )  # fmt: skip


def _capture(
    places: Sequence[str], raw: str | None, recipe: str, step: int | None, views: Sequence[str],
    settings: dict[str, Any],
) -> tuple[str, int]:  # fmt: skip
    """The text of a capture or of a record, and 1 where something in it cannot be read."""
    from ...capture.open import open_capture
    from ...compare.inspection.naming import record_named
    from ...compare.inspection.report import capture_report, record_report
    from ...compare.inspection.subject import subject_of_record

    _check_recipes(recipe)
    capture = open_capture(places[0], raw=raw)
    if len(places) == 1:
        bad = any(record.error is not None for record in capture.records)
        return capture_report(capture), int(bad)
    record = record_named(capture, places[1], step)
    shown = cast("Sequence[str]", views or ("stats", "values"))
    _check_region(lambda: subject_of_record(record, recipe, capture.records), settings, shown)
    text, fine = record_report(record, capture.records, recipe=recipe, views=shown, **settings)
    return text, int(not fine)


def _check_region(
    subject: Callable[[], Subject], settings: dict[str, Any], views: Sequence[str]
) -> None:
    """Raises `UserError` for a `--slice` that does not fit what is shown."""
    from ...compare.inspection.report import check_region
    from ...compare.inspection.subject import NothingToInspectError
    from ...compare.recipes.errors import RecipeError

    if not settings["region"]:
        return
    try:
        check_region(subject(), settings["region"], views)
    except NothingToInspectError:
        return  # the text says so
    except RecipeError as error:
        raise UserError(f"--slice {settings['region']}: {error}") from error
