"""Tables and statistics of inspections as text: for `layertui show`, exports, and the screens."""

from __future__ import annotations

from collections.abc import Sequence

from ..reports.words import share_text, value_text
from .profile import PERCENTILES, Distribution, Profile

Row = tuple[str, ...]


# Stats


def stats_rows(profile: Profile) -> list[Row]:
    """Label and one column a distribution: reference, candidate, difference."""
    sides = [found for _, found in profile.sides]
    rows: list[Row] = [("", *(name for name, _ in profile.sides))]

    def add(label: str, *texts: str) -> None:
        rows.append((label, *texts))

    add("count", *(str(d.count) for d in sides))
    for name in ("min", "max", "mean", "std"):
        add(name, *(value_text(getattr(d, name)) for d in sides))
    add("L1", *(value_text(d.l1) for d in sides))
    add("L2", *(value_text(d.l2) for d in sides))
    for at, share in enumerate(PERCENTILES):
        about = "" if all(d.exact for d in sides) else "~"
        add(f"{about}{share:g} %", *(value_text(d.percentiles[at]) for d in sides))
    add("zeros", *(share_text(d.zeros, d.count) for d in sides))
    add("NaN", *(str(d.nan) for d in sides))
    add("Inf", *(str(d.inf) for d in sides))
    add("denormals", *("-" if d.denormals is None else str(d.denormals) for d in sides))
    add("unique", *(_unique(d) for d in sides))
    return rows


def _unique(found: Distribution) -> str:
    return f">{found.unique}" if found.unique_capped else str(found.unique)


def likeness_rows(profile: Profile) -> list[Row]:
    """What compares the sides: label and text."""
    if profile.difference is None:
        return []
    total = profile.compared
    rows: list[Row] = [("equal", share_text(profile.equal, _count(profile)))]
    if profile.odd:
        rows.append(("not finite", f"{profile.odd} elements have NaN or Inf on one side only"))
    if profile.sign_disagreements is not None:
        rows.append(("signs differ", share_text(profile.sign_disagreements, total)))
    ulp = profile.ulp
    if ulp is not None:
        rows.append(("ULP", f"max {value_text(ulp.max)}, mean {value_text(ulp.mean, 4)} steps of "
                            f"{ulp.dtype}"))  # fmt: skip
        rows.append(
            ("ULP shares", f"equal {ulp.exact:.2%}, at most 1 {ulp.one:.2%}, at most 4 "
                           f"{ulp.four:.2%}")
        )  # fmt: skip
    return rows


def ladder_rows(profile: Profile) -> list[Row]:
    """Tolerance (rtol = atol) and how many elements are outside of it."""
    total = _count(profile)
    if profile.ladder and not profile.compared and not profile.odd:
        return [("none", "nothing could be compared")]
    return [
        (f"{limit:.0e}", "all match" if count == 0 else f"{share_text(count, total)} outside")
        for limit, count in profile.ladder
    ]


def _count(profile: Profile) -> int:
    """All elements of a pair, those included that are not finite."""
    return profile.reference.count if profile.reference is not None else 0


def stats_text(profile: Profile) -> list[str]:
    """The whole view as lines."""
    lines = table(stats_rows(profile))
    likeness = likeness_rows(profile)
    if likeness:
        lines += ["", *table(likeness)]
    ladder = ladder_rows(profile)
    if ladder:
        lines += ["", "matches within rtol = atol =", *table(ladder)]
    return lines


def table(rows: Sequence[Row], right: bool = False) -> list[str]:
    """Columns as wide as they need; the first, and with `right` no other, to the left."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if right and at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
