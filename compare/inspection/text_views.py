"""A subject as text, view by view. `TEXT_VIEWS` is the one place where such a view is registered:
`layertui show --view`, reports and exports offer what stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..measuring.pair_reader import PairReader
    from ..recipes.errors import Shape
    from .heat import Quantity, Region
    from .profile import Profile
    from .running import Analysis, Pass
    from .subject import Subject
    from .top import Order
    from .window import Form


_WHOLE_REGION = 16  # values of a region are shown for so many rows and columns where none is named
_MOST_VALUES = 1 << 20
_HEAT_SIZE = (24, 64)  # lines and columns of a heat map


class Inspection:
    """Views of one subject as text. `failed` is set by a view that could not be made.

    `region` is a slice in text form for heat map and values, `cancelled` is asked between blocks.
    """

    def __init__(
        self, subject: Subject, *, top: int = 20, order: Order = "abs", region: str = "",
        form: Form = "scientific", heads: int | None = None, quantity: Quantity = "difference",
        cancelled: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.subject = subject
        self.top, self.region, self.heads = top, region, heads
        self.order: Order = order
        self.form: Form = form
        alone: Quantity = "reference" if subject.candidate is None else "candidate"
        self.quantity: Quantity = quantity if subject.paired else alone
        self._cancelled = cancelled
        self._profile: Profile | None = None  # statistics and histogram share a pass
        self.failed = False

    def sections(self, views: Sequence[str]) -> list[str]:
        """The views, each under its heading. What cannot be read or brought together says so.

        Raises `CancelledError`.
        """
        from ...capture.errors import RecordError
        from ..measuring.pair_reader import PairReader
        from ..recipes.errors import RecipeError

        try:
            with PairReader(self.subject.reference, self.subject.candidate) as reader:
                _ = reader.shape
                shown = [view for name in views for view in TEXT_VIEWS if view.name == name]
                return [line for view in shown for line in self._section(view, reader)]
        except (RecordError, RecipeError) as error:
            return ["", self._failure(error)]

    def _section(self, view: TextView, reader: PairReader) -> list[str]:
        from ...capture.errors import RecordError
        from ..recipes.errors import RecipeError

        try:
            lines = ["  only one side has this record"]
            if self.subject.paired or not view.pairs_only:
                lines = view.lines(self, reader)
        except (RecordError, RecipeError) as error:
            lines = [self._failure(error)]
        return ["", view.title, "-" * len(view.title), *lines]

    def _failure(self, error: Exception) -> str:
        self.failed = True
        return f"  cannot be shown: {error}"

    def passed(self, make: Callable[[Shape], Analysis[Any]], region: Any = ()) -> Pass:
        """An analysis over the subject, or over a part of it; it stops when it is told to."""
        from .running import Pass

        return Pass(make, region=region, cancelled=self._cancelled)

    def profile(self, reader: PairReader) -> Profile:
        """The distributions."""
        from .profile import ProfileAnalysis

        known = self._profile
        if known is None:
            make = self.passed(lambda shape: ProfileAnalysis(self.subject, shape))
            known = self._profile = make.read(reader)
        return known


@dataclass(frozen=True)
class TextView:
    """One view: `lines` makes it. `pairs_only`: it says nothing of a record alone."""

    name: str
    title: str
    lines: Callable[[Inspection, PairReader], list[str]]
    pairs_only: bool = False


def _stats(inspection: Inspection, reader: PairReader) -> list[str]:
    from .text import stats_text

    return stats_text(inspection.profile(reader))


def _histogram(inspection: Inspection, reader: PairReader) -> list[str]:
    from .histogram_text import histogram_text, magnitude_text

    profile = inspection.profile(reader)
    magnitudes = magnitude_text(profile)
    return histogram_text(profile) + (["", *magnitudes] if magnitudes else [])


def _top(inspection: Inspection, reader: PairReader) -> list[str]:
    from .top import TopAnalysis
    from .top_text import top_text

    subject, order, count = inspection.subject, inspection.order, inspection.top
    make = inspection.passed(lambda shape: TopAnalysis(subject, shape, order, count))
    return top_text(make.read(reader))


def _axes(inspection: Inspection, reader: PairReader) -> list[str]:
    from .axes import AxesAnalysis
    from .top_text import axes_text

    make = inspection.passed(lambda shape: AxesAnalysis(shape, inspection.heads))
    return axes_text(make.read(reader)) or ["  no axes: a single element"]


def _heat(inspection: Inspection, reader: PairReader) -> list[str]:
    from .heat import HeatAnalysis, HeatPlan, default_axes
    from .heat_text import heat_text
    from .window import parse_region

    region, _ = parse_region(inspection.region, reader.shape)
    plan = HeatPlan(inspection.quantity, region, *default_axes(reader.shape), *_HEAT_SIZE)
    make = inspection.passed(lambda _: HeatAnalysis(plan), plan.key())
    return heat_text(make.read(reader), reader.shape)


def _values(inspection: Inspection, reader: PairReader) -> list[str]:
    from .values_text import values_text
    from .window import read_window

    region = values_region(inspection.region, reader.shape)
    dtypes = [side.dtype if side is not None else ""
              for side in (reader.reference, reader.candidate)]  # fmt: skip
    return values_text(read_window(reader, region), (dtypes[0], dtypes[1]), inspection.form)


TEXT_VIEWS: tuple[TextView, ...] = (
    TextView("stats", "STATISTICS", _stats),
    TextView("top", "GREATEST DIFFERENCES", _top, pairs_only=True),
    TextView("axes", "ALONG EVERY AXIS", _axes, pairs_only=True),
    TextView("histogram", "HISTOGRAM", _histogram),
    TextView("heat", "HEAT MAP", _heat),
    TextView("values", "VALUES", _values),
)
VIEW_NAMES = tuple(view.name for view in TEXT_VIEWS)


def values_region(text: str, shape: Shape) -> Region:
    """The part of a view that values are printed of; without a text its beginning. Raises
    `RecipeError` where it has too many axes or elements.
    """
    from ..recipes.errors import RecipeError
    from .window import parse_region

    region, _ = parse_region(text, shape)
    if not text:
        region = tuple((0, min(size, _WHOLE_REGION)) for size in shape)
        region = (*((low, min(high, 1)) for low, high in region[:-2]), *region[-2:])
    long = [axis for axis, (low, high) in enumerate(region) if high - low > 1]
    if len(long) > 2:
        raise RecipeError(f"values: {len(long)} axes are not fixed, and at most two can "
                          "be shown; fix the others, as in --slice 0,:,128:160")  # fmt: skip
    count = prod(high - low for low, high in region)
    if count > _MOST_VALUES:
        raise RecipeError(f"values: {count} elements are too many to print; choose fewer, as "
                          "in --slice 0,:,128:160")  # fmt: skip
    return region
