"""How the difference and both sides are distributed, and error against magnitude."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from ...present.pieces import Piece, Pieces
from .stats import ask_profile
from .view import View

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ....compare.inspection.profile import Distribution, Profile
    from ..stage import Stage

_SHADES = " ░▒▓█"
_SHADES_ASCII = " .:*#"
_VALUE_BINS = 24


class HistogramView(View):
    """Three pictures one below the other, each with its numbers."""

    NAME = "histogram"
    title = "Histogram"
    short_title = "Hist"
    about = "differences, both sides, error against magnitude"
    needs_pair: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._profile: Profile | None = None

    def scene_changed(self) -> None:
        self._profile = None
        self.to_top()

    def ask(self) -> None:
        ask_profile(self)

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        self._profile = result

    def lines(self) -> list[Pieces]:
        state, profile = self.state_lines(), self._profile
        if profile is None:
            return state or [[(" looking", self.look.palette.muted)]]
        lines = [*state]
        if profile.difference is not None:
            lines += self._decades(profile.difference, profile.odd)
        lines += [[], *self._values(profile)]
        if profile.magnitudes is not None:
            lines += [[], *self._magnitudes(profile)]
        return lines

    @property
    def _bar_width(self) -> int:
        return max(8, min(100, self.size.width - 38))

    def _bar(self, share: float, width: int) -> str:
        return ("#" if self.ascii else "█") * (max(1, round(share * width)) if share > 0 else 0)

    def _decades(self, found: Distribution, odd: int) -> list[Pieces]:
        from ....compare.inspection.histogram_text import exponent_rows

        lines = [self.heading("|difference| by decade: elements below, above zero; log of the sum")]
        rows = exponent_rows(found)
        top = math.log10(max((a + b for _, a, b in rows), default=0) + 1) or 1.0
        entries = [("0", found.zeros, None), *((label, a, b) for label, a, b in rows)]
        for label, below, above in entries:
            count = below + (above or 0)
            share = math.log10(count + 1) / max(top, math.log10(found.zeros + 1))
            numbers = f"{below:>10} {'' if above is None else above:>10}"
            bar = self._bar(share, self._bar_width) if count else ""
            lines.append([(f"  {label:>6} ", self.look.palette.muted), (numbers + "  ", None),
                          (bar, self.look.palette.accent)])  # fmt: skip
        if odd:
            text = f"  NaN or Inf on one side only: {odd} elements, in no bar"
            lines.append([(text, self.look.style("nan"))])
        return lines

    def _values(self, profile: Profile) -> list[Pieces]:
        """Both sides over one range, one bar a bin: full where both reach, then who reaches on."""
        sides = [(name, d) for name, d in profile.sides if name != "difference"]
        known = [(d.min, d.max) for _, d in sides if d.min is not None and d.max is not None]
        if not known:
            return [self.heading("values"), [("  no finite element", None)]]
        low, high = min(a for a, _ in known), max(b for _, b in known)
        bins = 1 if low == high else min(_VALUE_BINS, max(4, self.size.height))
        counts = [d.sketch.between(low, high, bins).tolist() for _, d in sides]
        top = max(max(column) for column in counts)
        names = " and ".join(name for name, _ in sides)
        lines = [self.heading(f"values of {names}: elements per bin, linear")]
        if len(sides) == 2:
            both, ref, cand = ("#", "r", "c") if self.ascii else ("█", "▓", "░")
            legend = f"  {both} both  {ref} only the reference  {cand} only the candidate"
            lines.append([(legend, self.look.palette.muted)])
        width = (high - low) / bins
        for at in range(bins):
            label = f"{low + at * width:>11.4g} "
            numbers = " ".join(f"{column[at]:>9}" for column in counts) + "  "
            bars = self._overlaid([column[at] for column in counts], top)
            lines.append([(label, self.look.palette.muted), (numbers, None), *bars])
        lines.append([(f"{high:>11.4g} ", self.look.palette.muted)])
        for name, d in sides:
            if d.nan or d.inf:
                text = f"  {name}: NaN {d.nan}, Inf {d.inf}, in no bar"
                lines.append([(text, self.look.style("nan"))])
        return lines

    def _overlaid(self, counts: list[int], top: int) -> list[Piece]:
        room = self._bar_width
        lengths = [round(room * count / top) if top else 0 for count in counts]
        palette = self.look.palette
        signs = ("#", "r", "c") if self.ascii else ("█", "▓", "░")
        shared = min(lengths)
        pieces: list[Piece] = [(signs[0] * shared, palette.accent)]
        if len(lengths) == 2 and lengths[0] != lengths[1]:
            more = lengths[0] > lengths[1]
            rest = abs(lengths[0] - lengths[1])
            style = palette.muted if more else palette.warn
            pieces.append(((signs[1] if more else signs[2]) * rest, style))
        return pieces

    def _magnitudes(self, profile: Profile) -> list[Pieces]:
        """Decades of |reference| as columns, of |difference| as rows, log counts as shades."""
        from ....compare.inspection.histogram_text import decade_table, magnitude_text

        rows, columns, counts = decade_table(profile)
        lines = [self.heading("error against magnitude: |difference| down, |reference| across")]
        if not rows:
            return [*lines, [("  no finite element", None)]]
        shades = _SHADES_ASCII if self.ascii else _SHADES
        top = math.log10(float(counts.max()) + 1)
        cell = 2 if len(columns) * 6 + 12 > self.size.width else 5
        for at, label in enumerate(rows):
            cells = "".join(
                self._shade(int(counts[at, c]), top, shades) * cell + " "
                for c in range(len(columns))
            )
            lines.append([(f"  {label:>6} ", self.look.palette.muted),
                          (cells, self.look.palette.accent)])  # fmt: skip
        marks = "".join(fit_label(label, cell) + " " for label in columns)
        lines.append([(f"  {'':>6} {marks}", self.look.palette.muted)])
        lines.append([])
        lines += [[(line, None)] for line in magnitude_text(profile)[1:]]
        return lines

    def _shade(self, count: int, top: float, shades: str) -> str:
        if count == 0:
            return shades[0]
        share = math.log10(count + 1) / max(top, 1e-9)
        return shades[max(1, min(len(shades) - 1, math.ceil(share * (len(shades) - 1))))]


def fit_label(label: str, width: int) -> str:
    """A decade below a column: `1e-03`, or its exponent where there is little room."""
    text = label if width >= 5 else label.removeprefix("1e").lstrip("+")
    return text[:width].ljust(width)
