"""The lines below the answer, the position at their end, and the keys at the foot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..keys import Key, show_key
from ..present.text import clean, dtype_text, width_of
from ..theme import LOOKS, Look
from ..widgets.lines import Lines, Piece, Pieces

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ...compare.vocabulary import Level

Facts = Literal["all", "counts", "pairs"]
ALL_FACTS: tuple[Facts, ...] = ("all", "counts", "pairs")  # ever less, where room is wanted
_COUNTED: tuple[Level, ...] = ("diverged", "nan", "shape", "unreadable", "drift")


def capture_text(capture: Capture) -> str:
    """`torch 2.13 f32 cpu`: what is known of a run."""
    parts = [
        capture.framework, capture.framework_version, dtype_text(capture.main_dtype()),
        capture.device,
    ]  # fmt: skip
    return " ".join(part for part in parts if part) or capture.format


def path_text(path: str, width: int, dots: str) -> str:
    """The end of a path that fits `width`."""
    home = str(Path.home())
    shown = clean("~" + path[len(home) :] if path.startswith(home + os.sep) else path)
    if width_of(shown) <= width:
        return shown
    return dots + shown[-max(1, width - width_of(dots)) :]


def sides_line(
    paths: tuple[str, str], captures: tuple[Capture, Capture] | None, look: Look, width: int
) -> Pieces:
    """Both captures: what made them, where they lie."""
    half = (width - 1) // 2
    pieces: list[Piece] = []
    for side, label in enumerate((" ref ", " cand ")):
        about = clean(capture_text(captures[side])) if captures else ""
        incomplete = captures is not None and captures[side].complete is False
        warning = " INCOMPLETE" if incomplete else ""
        room = half - len(label) - len(about) - len(warning) - 3
        place = path_text(paths[side], max(8, room), look.signs.dots)
        used = len(label) + len(about) + len(warning) + width_of(place) + 2
        pieces += [
            (label, look.palette.muted),
            (about, look.palette.strong),
            (warning, look.palette.warn),
            ("  " if about else "", None),
            (place, look.palette.muted),
            (" " * max(1, half - used), None),
        ]
    return pieces


def counts_line(
    comparison: Comparison,
    counts: Counts | None,
    hidden: int,
    look: Look,
    wide: bool,
    facts: Facts = "all",
    alarm: str = "",
) -> list[Piece]:
    """How much there is, how far the measuring is, what failed; fewer `facts` make room for
    what matters more. `alarm` stands in front: what makes all of it meaningless.
    """
    separator = f" {look.signs.dot} "
    known = [] if counts is None else _facts(counts, wide)
    known = known[:1] if facts == "pairs" else known
    if facts == "all" and comparison.order.same is not True:
        state = "unknown" if comparison.order.same is None else "differs"
        known.append(f"order {state}" if wide else "order ?" if state == "unknown" else "reordered")
    pieces: list[Piece] = [(f" {alarm} ", look.style("diverged", solid=True))] if alarm else []
    pieces.append((" " + separator.join(known), None))
    levels = comparison.level_counts()
    for level in _COUNTED:
        if levels.get(level):
            pieces.append((separator, look.palette.faint))
            pieces.append((f"{levels[level]} {LOOKS[level].word}", look.style(level)))
    from ..present.origin import made_rows

    if counts is not None and counts.doubtful:
        words = f" ({counts.doubtful} doubtful)" if wide else f" ({counts.doubtful}?)"
        pieces.append((words, look.palette.warn))
    made = len(made_rows(comparison)) if comparison.failing else 0
    if made:
        glyph = look.origin_glyph("made")
        words = f" ({glyph} {made} made)" if wide else f" {glyph}{made}"
        pieces.append((words, look.palette.strong))
    if hidden:
        pieces.append((f" ({hidden} hidden)", look.palette.warn))
    if levels.get("pending"):
        total = comparison.to_measure
        progress = f"measured {total - levels['pending']} of {total}"
        pieces += [(separator, look.palette.faint), (progress, look.palette.accent)]
    return pieces


def short_finding(finding: Finding) -> str:
    """`DIFFERENT TOKEN IDS`: the beginning of what a finding says, for a place that is small."""
    known = ("different prompts", "different token ids")
    return next((words for words in known if words in finding.what), "different inputs").upper()


def _facts(counts: Counts, wide: bool) -> list[str]:
    gaps = counts.gaps_reference + counts.gaps_candidate
    facts = [f"{counts.pairs} pairs", f"{gaps} gaps"]
    if counts.coverage is None:
        facts.append("coverage unknown")
    else:
        facts.append(f"{'coverage ' if wide else ''}{counts.coverage:.0%}")
    if counts.ignored:
        facts.append(f"{counts.ignored} ignored")
    return facts


class Footer(Lines):
    """The keys of now, as many as fit."""

    DEFAULT_CSS = "Footer { height: 1; background: $panel; }"

    def show_keys(self, keys: list[Key], look: Look) -> None:
        """`f first divergence  ] next ...`; the last two (help, quit) always stay."""
        entries = [(show_key(key.keys.split(",")[0]), key.label) for key in keys]
        self.show_entries(entries, look)

    def show_entries(self, entries: list[tuple[str, str]], look: Look) -> None:
        room = self.size.width - 1
        kept: list[tuple[str, str]] = []
        if entries:
            always = entries[-2:]
            room -= sum(map(_length, always))
            for entry in entries[:-2]:
                if room - _length(entry) < 0:
                    break
                room -= _length(entry)
                kept.append(entry)
            kept += always
        pieces: list[Piece] = [(" ", None)]
        for shown, label in kept:
            pieces += [(shown, look.palette.key), (f" {label}  ", look.palette.muted)]
        self.set_lines([pieces])


def _length(entry: tuple[str, str]) -> int:
    return len(entry[0]) + len(entry[1]) + 3
