"""One row looked at closely, as text: what `layertui show` prints and exports write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.errors import RecordError
from ...capture.records import Capture, Record
from ..measuring.pair_reader import PairReader
from ..model import Result, Row, SideStatistics
from ..recipes.common_view import CommonView
from ..recipes.errors import RecipeError
from ..recipes.one_sided import completed
from ..recipes.parse import parse_recipe
from ..reports.escaping import clean
from ..reports.forms.text_form import side_line
from ..reports.row_text import row_text
from ..reports.summary import recorded_statistics
from ..reports.words import partial_words, record_shape, value_text
from .naming import command_line, telling_name
from .subject import NothingToInspectError, Subject, subject_of_row
from .text import table
from .text_views import Inspection, values_region
from .window import parse_region

if TYPE_CHECKING:
    from ..comparison import Comparison


def check_region(subject: Subject, text: str, views: Sequence[str]) -> None:
    """Whether a slice fits the view of a subject that can be opened. Raises `RecipeError`."""
    try:
        with PairReader(subject.reference, subject.candidate) as reader:
            shape = reader.shape
    except (RecordError, RecipeError):
        return  # every view will say so
    parse_region(text, shape)
    if "values" in views:
        values_region(text, shape)


def row_report(
    comparison: Comparison, index: int, *, row: Row | None = None, result: Result = None,
    views: Sequence[str] = ("stats", "top"), options: Sequence[str] = (),
    aligned: Row | None = None, **settings: object,
) -> str:  # fmt: skip
    """Everything about one row: how it was matched, metrics, verdict, the views, the commands.

    `row` has other recipes than the comparison's and `result` what they give; `options` are those
    of the command line that opened the comparison; `settings` are those of `Inspection`. Raises
    `CancelledError`.
    """
    text = row_text(comparison, index, row, result).rstrip("\n").split("\n")
    shown = row or comparison.rows[index]
    try:
        inspection = Inspection(subject_of_row(comparison, shown), **settings)  # type: ignore[arg-type]
        text += inspection.sections(views)
    except NothingToInspectError as error:
        text += ["", f"  no values: {error}"]
    text += ["", "REPRODUCE", "---------", 
             *commands(comparison, shown, views, options, aligned, settings)]  # fmt: skip
    return "\n".join(clean(line) for line in text) + "\n"


# What `Inspection` takes, as options; those that are as by default go without saying.
_OPTIONS = (
    ("top", 20, "--top"), ("order", "abs", "--order"), ("region", "", "--slice"),
    ("quantity", "difference", "--quantity"), ("form", "scientific", "--form"),
    ("heads", None, "--heads"),
)  # fmt: skip


def commands(
    comparison: Comparison, row: Row, views: Sequence[str], options: Sequence[str] = (),
    aligned: Row | None = None, settings: Mapping[str, object] | None = None,
) -> list[str]:  # fmt: skip
    """The commands that show the same: the row alone, and the whole comparison.

    `aligned` is the row before recipes were changed (by default the comparison's).
    """
    paths = [comparison.reference.path, comparison.candidate.path]
    of_comparison = comparison.rows[row.index]
    words = [*options]
    if row.step:
        words += ["--step", str(row.step)]
    for side in ("candidate", "reference"):
        record = getattr(row, side)
        if record is not None and record is not getattr(of_comparison, side):
            words += ["--with", record.name]
    before = aligned or of_comparison
    for side in ("reference", "candidate"):
        recipe = getattr(row, f"recipe_{side}")
        if recipe != getattr(before, f"recipe_{side}"):
            words += [f"--recipe-{side}", recipe]
    words += [word for view in views for word in ("--view", view)]
    for name, default, option in _OPTIONS:
        value = (settings or {}).get(name, default)
        if value != default:
            words += [option, str(value)]
    name = telling_name(comparison, of_comparison)
    return [
        command_line(["layertui", "show"], [*paths, name], words),
        command_line(["layertui"], paths, options),
    ]


def capture_report(capture: Capture) -> str:
    """One capture alone: what it is, and its records in order."""
    lines = [capture.path, f"  {side_line(capture)}"]
    lines += [f"  note: {note}" for note in capture.notes]
    lines.append("")
    for at, record in enumerate(capture.records):
        step = f"step {record.step} " if record.step else ""
        about = f"{record_shape(record)} {record.dtype or '?'}"
        state = f"  UNREADABLE: {record.error}" if record.error else ""
        if record.partial is not None:
            state += f"  {partial_words(record.partial)}"
        lines.append(f"{at:5d} {step}{record.name}  {about}{state}")
    return "\n".join(clean(line) for line in lines) + "\n"


def record_report(
    record: Record, records: list[Record], *, recipe: str = "",
    views: Sequence[str] = ("stats", "values"), **settings: object,
) -> tuple[str, bool]:  # fmt: skip
    """One record of one capture: what it is, its statistics, its values; and whether nothing went
    wrong with them.
    """
    from .subject import subject_of_record

    lines = [f"{record.name}: {record_shape(record)} {record.dtype or '?'}"]
    lines.append(f"  {record.path}" + (f" [{record.key}]" if record.key else ""))
    about = f"call {record.call}, step {record.step}"
    if record.module_class:
        about += f", class {record.module_class}"
    lines.append(f"  {about}")
    if recipe:
        lines.append(f"  recipe {recipe}")
    try:
        inspection = Inspection(subject_of_record(record, recipe, records), **settings)  # type: ignore[arg-type]
        lines += inspection.sections(views)
        fine = not inspection.failed
    except NothingToInspectError as error:
        lines += ["", f"  no values: {error}", *_recorded(record)]
        fine = record.error is None
    return "\n".join(clean(line) for line in lines) + "\n", fine


def _recorded(record: Record) -> list[str]:
    """Statistics that the capture holds in place of values."""
    found = recorded_statistics(record)
    if found is None:
        return []
    rows = [(name, value_text(getattr(found, name))) for name in SideStatistics.__slots__]
    return ["", "STATISTICS", "----------", *table(rows)]


def with_recipes(row: Row, reference: str | None, candidate: str | None) -> Row:
    """The row with other recipes. Of a pair with a recipe for one side, the other side's is the one
    that it has, or none, whichever fits; None leaves both as they are.
    """
    if reference is None and candidate is None:
        return row
    left, right = (None if text is None else parse_recipe(text) for text in (reference, candidate))
    built_in = CommonView(parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate))
    shapes = tuple((record and record.shape) or () for record in (row.reference, row.candidate))
    view = built_in
    if row.kind == "pair":
        view = completed(left, right, built_in, (shapes[0], shapes[1]))
    changed = replace(
        row,
        recipe_reference=str(view.reference) if reference is None else reference,
        recipe_candidate=str(view.candidate) if candidate is None else candidate,
    )
    if changed.problem_level == "shape":
        changed = replace(changed, problem=None, problem_level=None)
    return changed
