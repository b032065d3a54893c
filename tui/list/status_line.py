"""The lines below the answer: both captures, and what was counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...capture.plurals import counted
from ..present.pieces import Piece, Pieces
from ..present.text import clean, dtype_text, width_of
from ..theme import LOOKS, Look

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ...compare.vocabulary import Level

Facts = Literal["all", "counts", "pairs"]
_ALL_FACTS: tuple[Facts, ...] = ("all", "counts", "pairs")  # ever less, where room is wanted
_MOST = 1000  # records whose dtypes are looked at: the line is drawn often
_COUNTED: tuple[Level, ...] = ("diverged", "nan", "shape", "unreadable", "drift")


def capture_text(capture: Capture) -> str:
    """`torch 2.13 f32 cpu`: what is known of a run."""
    parts = [
        capture.framework, capture.framework_version, dtype_text(capture.main_dtype(_MOST)),
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


def status_line(
    comparison: Comparison, counts: Counts | None, hidden: int, look: Look, room: int, wide: bool,
    alarm: str, settings: list[str], kept: str,
) -> list[Piece]:  # fmt: skip
    """What was counted, and behind it the settings, the least important last: what does not fit in
    `room` is left out, never cut. Counts make room for the setting `kept`.
    """
    room -= len(kept) + 2 if kept else 0
    found: list[Piece] = []
    for facts in _ALL_FACTS:
        found = counts_line(comparison, counts, hidden, look, wide, facts, alarm)
        if _length(found) <= room:
            break
    room += (len(kept) + 2 if kept else 0) - _length(found)
    words, separator = list(settings), f" {look.signs.dot} "
    while words and 2 + len(separator.join(words)) > room:
        words.pop()
    return [*found, ("  " + separator.join(words) if words else "", look.palette.muted)]


def _length(pieces: list[Piece]) -> int:
    return sum(len(text) for text, _ in pieces)


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
        words = f" ({glyph} {made} introduced)" if wide else f" {glyph}{made}"
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
    facts = [counted(counts.pairs, "pair"), counted(gaps, "gap")]
    if counts.coverage is None:
        facts.append("coverage unknown")
    else:
        facts.append(f"{'coverage ' if wide else ''}{counts.coverage:.0%}")
    if counts.ignored:
        facts.append(f"{counts.ignored} ignored")
    return facts
