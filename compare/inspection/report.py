"""One row looked at closely, as text: what `layertui show` prints and exports write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ...capture.errors import RecordError
from ...capture.records import Capture, Record
from ..measuring.pair_reader import PairReader
from ..model import Row, SideStatistics
from ..recipes.errors import RecipeError, Shape
from ..reports.escaping import clean
from ..reports.row_text import row_text
from ..reports.summary import recorded_statistics
from ..reports.text_form import side_line
from ..reports.words import partial_words, record_shape, value_text
from .axes import AxesAnalysis
from .heat import HeatAnalysis, HeatPlan, Quantity, Region, default_axes
from .heat_text import heat_text
from .histogram_text import histogram_text, magnitude_text
from .naming import command_line, telling_name
from .profile import Profile, ProfileAnalysis
from .running import Pass
from .subject import NothingToInspectError, Subject, subject_of_row
from .text import stats_text, table
from .top import Order, TopAnalysis
from .top_text import axes_text, top_text
from .values_text import values_text
from .window import Form, parse_region, read_window

if TYPE_CHECKING:
    from ..comparison import Comparison, Result

VIEWS = ("stats", "top", "axes", "histogram", "heat", "values")
_WHOLE_REGION = 16  # values of a region are shown for so many rows and columns where none is named
_MOST_VALUES = 1 << 20
_TITLES = {
    "stats": "STATISTICS", "top": "GREATEST DIFFERENCES", "axes": "ALONG EVERY AXIS",
    "histogram": "HISTOGRAM", "heat": "HEAT MAP", "values": "VALUES",
}  # fmt: skip


class Inspection:
    """Views of one subject as text. `failed` is set by a view that could not be made.

    `region` is a slice in text form for heat map and values, `cancelled` is asked between blocks.
    """

    def __init__(
        self, subject: Subject, *, top: int = 20, order: Order = "abs", region: str = "",
        form: Form = "scientific", heads: int | None = None, quantity: Quantity = "difference",
        cancelled: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self._subject = subject
        self._top, self._region = top, region
        self._order: Order = order
        self._form: Form = form
        self._heads, self._cancelled = heads, cancelled
        alone: Quantity = "reference" if subject.candidate is None else "candidate"
        self._quantity: Quantity = quantity if subject.paired else alone
        self._found: Profile | None = None  # statistics and histogram share a pass
        self.failed = False

    def sections(self, views: Sequence[str]) -> list[str]:
        """The views, each under its heading. What cannot be read or brought together says so.

        Raises `CancelledError`.
        """
        try:
            with PairReader(self._subject.reference, self._subject.candidate) as reader:
                _ = reader.shape
                return [line for view in views for line in self._section(view, reader)]
        except (RecordError, RecipeError) as error:
            return ["", self._failure(error)]

    def _section(self, view: str, reader: PairReader) -> list[str]:
        title = _TITLES[view]
        try:
            lines = self._lines(view, reader)
        except (RecordError, RecipeError) as error:
            lines = [self._failure(error)]
        return ["", title, "-" * len(title), *lines]

    def _failure(self, error: Exception) -> str:
        self.failed = True
        return f"  cannot be shown: {error}"

    def _lines(self, view: str, reader: PairReader) -> list[str]:
        if view in ("top", "axes") and not self._subject.paired:
            return ["  only one side has this record"]
        lines: dict[str, Callable[[PairReader], list[str]]] = {
            "stats": self._stats, "top": self._top_lines, "axes": self._axes,
            "histogram": self._histogram, "heat": self._heat, "values": self._values,
        }  # fmt: skip
        return lines[view](reader)

    def _profile(self, reader: PairReader) -> Profile:
        if self._found is None:
            make = Pass(lambda s: ProfileAnalysis(self._subject, s), cancelled=self._cancelled)
            self._found = make.read(reader)
        return self._found

    def _stats(self, reader: PairReader) -> list[str]:
        return stats_text(self._profile(reader))

    def _histogram(self, reader: PairReader) -> list[str]:
        profile = self._profile(reader)
        magnitudes = magnitude_text(profile)
        return histogram_text(profile) + (["", *magnitudes] if magnitudes else [])

    def _top_lines(self, reader: PairReader) -> list[str]:
        make = Pass(
            lambda s: TopAnalysis(self._subject, s, self._order, self._top),
            cancelled=self._cancelled,
        )
        return top_text(make.read(reader))

    def _axes(self, reader: PairReader) -> list[str]:
        make = Pass(lambda s: AxesAnalysis(s, self._heads), cancelled=self._cancelled)
        return axes_text(make.read(reader)) or ["  no axis: a single element"]

    def _heat(self, reader: PairReader) -> list[str]:
        region, _ = parse_region(self._region, reader.shape)
        plan = HeatPlan(self._quantity, region, *default_axes(reader.shape), 24, 64)
        make = Pass(lambda _: HeatAnalysis(plan), region=plan.key(), cancelled=self._cancelled)
        return heat_text(make.read(reader), reader.shape)

    def _values(self, reader: PairReader) -> list[str]:
        region = values_region(self._region, reader.shape)
        dtypes = tuple(side.dtype if side is not None else ""
                       for side in (reader.reference, reader.candidate))  # fmt: skip
        return values_text(read_window(reader, region), (dtypes[0], dtypes[1]), self._form)


def values_region(text: str, shape: Shape) -> Region:
    """The part of a view that values are printed of; without a text its beginning. Raises
    `RecipeError` where it has too many axes or elements.
    """
    region, _ = parse_region(text, shape)
    if not text:
        region = tuple((0, min(size, _WHOLE_REGION)) for size in shape)
        region = (*((low, min(high, 1)) for low, high in region[:-2]), *region[-2:])
    long = [axis for axis, (low, high) in enumerate(region) if high - low > 1]
    if len(long) > 2:
        raise RecipeError(f"values: {len(long)} axes are open, at most two can be shown; "
                          "fix the others, as in --slice 0,:,128:160")  # fmt: skip
    count = prod(high - low for low, high in region)
    if count > _MOST_VALUES:
        raise RecipeError(f"values: {count} elements are too many to print; take fewer, as in "
                          "--slice 0,:,128:160")  # fmt: skip
    return region


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
    for name, usual, option in _OPTIONS:
        value = (settings or {}).get(name, usual)
        if value != usual:
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
    """The row with other recipes; None leaves a side's as it is."""
    if reference is None and candidate is None:
        return row
    changed = replace(
        row,
        recipe_reference=row.recipe_reference if reference is None else reference,
        recipe_candidate=row.recipe_candidate if candidate is None else candidate,
    )
    if changed.problem_level == "shape":
        changed = replace(changed, problem=None, problem_level=None)
    return changed
