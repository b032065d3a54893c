"""`layertui show`: one pair, or one capture alone, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from .errors import UserError
from .options import judging_options
from .session import Judging, forwarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..capture.records import Capture, Record
    from ..compare.comparison import Comparison
    from ..compare.model import Row

_VIEWS = ("stats", "top", "axes", "histogram", "heat", "values")


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="REF CAND NAME | DIR [NAME]")
@click.option(
    "--recipe",
    "--recipe-candidate",
    "candidate",
    default=None,
    metavar="RECIPE",
    help="Look at the candidate (or the one capture) through this recipe.",
)
@click.option(
    "--recipe-reference",
    "reference",
    default=None,
    metavar="RECIPE",
    help="Look at the reference through this recipe.",
)
@click.option(
    "--with",
    "partner",
    default=None,
    metavar="NAME",
    help="Compare with this record of the candidate, whatever it is paired with.",
)
@click.option("--step", type=click.IntRange(min=0), default=None, help="Of this step.")
@click.option(
    "--view",
    "views",
    type=click.Choice(_VIEWS),
    multiple=True,
    help="What to show; may be repeated.  [default: stats, top]",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many greatest differences.",
)
@click.option(
    "--order",
    type=click.Choice(["abs", "rel", "ulp"]),
    default="abs",
    show_default=True,
    help="What makes a difference great.",
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
    help="Rank the last axis by N heads besides.",
)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    type=click.Path(),
    help="Where the text goes; - is standard output.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@judging_options
@click.pass_context
def show(
    ctx: click.Context, places: tuple[str, ...], reference: str | None, candidate: str | None,
    partner: str | None, step: int | None, views: tuple[str, ...], output: str, overwrite: bool,
    top: int, order: str, region: str, quantity: str, form: str, heads: int | None, **judging: Any,
) -> int:  # fmt: skip
    """Show one pair of two captures, or list or show one capture.

    `show REF CAND NAME` prints what is known of the pair: how it was matched, metrics, statistics,
    the greatest differences. NAME is a record's name, `module-slot`, or a part of one that only one
    row has. `show DIR` lists the records of a capture, `show DIR NAME` shows one.

    Exit status of a pair: 0 it agrees up to rounding, 1 it does not, or cannot be compared. 2:
    usage, or a capture that cannot be opened.
    """
    from .output import check_target, write_output

    if len(places) > 3:
        raise UserError(f"show takes REF CAND NAME, or DIR and NAME; {len(places)} were given")
    check_target(output, overwrite)
    options = Judging(**judging)
    settings = {
        "top": top, "order": order, "region": region, "quantity": quantity, "form": form,
        "heads": heads,
    }  # fmt: skip
    if len(places) == 3:
        text, status = _pair(
            places, options, ctx.obj or [], (reference, candidate), partner, step, views, settings
        )
    else:
        recipe = candidate or reference or ""
        text, status = _capture(places, options.raw, recipe, step, views, settings), 0
    write_output(output, text, overwrite)
    return status


def _pair(
    places: Sequence[str], judging: Judging, arguments: list[str],
    recipes: tuple[str | None, str | None], partner: str | None, step: int | None,
    views: Sequence[str], settings: dict[str, Any],
) -> tuple[str, int]:  # fmt: skip
    """The text of one pair, and the exit status that its verdict means."""
    from ..compare.inspection.report import row_report, with_recipes
    from ..compare.measure import measure
    from ..compare.model import Failure, Measurement
    from .session import open_pair

    _check_recipes(*recipes)
    comparison = open_pair(places[0], places[1], judging)
    row = _row_named(comparison, places[2], step)
    if partner is not None:
        row = _with_partner(comparison, row, partner)
    aligned = row
    row = with_recipes(row, *recipes)
    result: Measurement | Failure | None = None
    if row.kind == "pair" and row.problem_level is None:
        result = measure(_task(comparison, row))
        if row == comparison.rows[row.index]:
            comparison.take(row.index, result)
    text = row_report(
        comparison, row.index, row=row, result=result, views=views or ("stats", "top"),
        options=forwarded(judging), aligned=aligned, **settings,
    )  # fmt: skip
    verdict = comparison.policy.judge(row, result)
    bad = verdict.fails or verdict.level in ("unreadable", "missing")
    return text, 1 if bad else 0


def _task(comparison: Comparison, row: Row) -> Any:
    from ..compare.inspection.subject import subject_of_row
    from ..compare.pair_reader import PairTask

    subject = subject_of_row(comparison, row)
    assert subject.reference is not None and subject.candidate is not None
    return PairTask(
        subject.reference, subject.candidate, comparison.rtol, comparison.atol, comparison.ulp
    )


def _check_recipes(*recipes: str | None) -> None:
    from ..compare.recipes import RecipeError, parse_recipe

    for recipe in recipes:
        try:
            parse_recipe(recipe or "")
        except RecipeError as error:
            raise UserError(f"recipe {recipe!r}: {error}") from error


def _row_named(comparison: Comparison, name: str, step: int | None) -> Row:
    """The row that is called so. Raises `UserError` when there is none, or several."""
    rows = [row for row in comparison.rows if step is None or row.step == step]

    def names(row: Row) -> tuple[str, ...]:
        records = [record.name for record in (row.reference, row.candidate) if record is not None]
        return (*records, row.label)

    for found in (
        [row for row in rows if name in names(row)],
        [row for row in rows if any(name in known for known in names(row))],
    ):
        pairs = [row for row in found if row.kind == "pair"] or found
        if len(pairs) == 1 or (pairs and step is None and len({r.label for r in pairs}) == 1):
            return pairs[0]
        if pairs:
            some = ", ".join(row.label for row in pairs[:4])
            raise UserError(f"{name!r} could be {len(pairs)} rows: {some}"
                            f"{', ...' if len(pairs) > 4 else ''}")  # fmt: skip
    of_step = "" if step is None else f" in step {step}"
    raise UserError(f"no record {name!r}{of_step} in {comparison.reference.path} or "
                    f"{comparison.candidate.path} (layertui show DIR lists them)")  # fmt: skip


def _with_partner(comparison: Comparison, row: Row, name: str) -> Row:
    """The row's reference record against any record of the candidate."""
    from dataclasses import replace

    from ..compare.shapes import common_view

    if row.reference is None:
        raise UserError(f"{row.label}: the reference has no such record to compare {name!r} with")
    found = _record_named(comparison.candidate, name, row.step)
    view = None
    if row.reference.shape is not None and found.shape is not None:
        view = common_view(row.reference.shape, found.shape)
    recipes = ("", "") if view is None else (str(view.reference), str(view.candidate))
    return replace(
        row, kind="pair", candidate=found, matched_by="hand", how="asked for",
        recipe_reference=recipes[0], recipe_candidate=recipes[1], problem=None, problem_level=None,
    )  # fmt: skip


def _record_named(capture: Capture, name: str, step: int | None) -> Record:
    """The record that is called so, or the only one whose name holds it. Raises `UserError`."""
    records = [record for record in capture.records if step is None or record.step == step]
    exact = [record for record in records if record.name == name]
    holding = [record for record in records if name in record.name]
    found = exact or holding
    if len({record.name for record in found}) == 1:
        return found[0]
    if not found:
        raise UserError(f"{capture.path}: no record {name!r} (layertui show {capture.path} lists "
                        "them)")  # fmt: skip
    some = ", ".join(record.name for record in found[:4])
    raise UserError(f"{capture.path}: {name!r} could be {len(found)} records: {some}"
                    f"{', ...' if len(found) > 4 else ''}")  # fmt: skip


def _capture(
    places: Sequence[str], raw: str | None, recipe: str, step: int | None, views: Sequence[str],
    settings: dict[str, Any],
) -> str:  # fmt: skip
    from ..capture.opening import open_capture
    from ..compare.inspection.report import capture_report, record_report

    _check_recipes(recipe)
    capture = open_capture(places[0], raw=raw)
    if len(places) == 1:
        return capture_report(capture)
    record = _record_named(capture, places[1], step)
    shown = cast("Sequence[str]", views or ("stats", "values"))
    return record_report(record, capture.records, recipe=recipe, views=shown, **settings)
