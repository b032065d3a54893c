"""The dtypes of a pair's two sides, and the digits of what was printed."""

from __future__ import annotations

from ..model import Row
from ..recipes.parse import parse_recipe


def side_dtypes(row: Row) -> tuple[str, str] | None:
    """The dtypes of both sides of a pair, casts of the recipes included."""
    reference, candidate = row.reference, row.candidate
    if reference is None or reference.dtype is None:
        return None
    if candidate is None or candidate.dtype is None:
        return None
    return (
        _after_casts(reference.dtype, row.recipe_reference),
        _after_casts(candidate.dtype, row.recipe_candidate),
    )


def _after_casts(dtype: str, recipe: str) -> str:
    casts = parse_recipe(recipe).casts if "cast" in recipe else ()
    return casts[-1] if casts else dtype


def coarser_dtype(row: Row) -> str | None:
    """The dtype with fewer mantissa bits of a pair, casts of the recipes included."""
    from .pair_reader import coarser

    names = side_dtypes(row)
    return None if names is None else coarser(*names)


def is_printed(row: Row) -> bool:
    """Whether a side may have been printed: it comes with what was written about its values."""
    reference, candidate = row.reference, row.candidate
    if reference is not None and reference.stats:
        return True
    return candidate is not None and bool(candidate.stats)


def printed_rounding(row: Row) -> float:
    """Half a unit of the last printed decimal, where a side is a log; 0 where values are whole."""
    digits = _printed_digits(row, "printed_decimals")
    return 0.0 if digits is None else 0.5 * 10.0**-digits


def printed_share(row: Row) -> float:
    """Half a unit of the last digit of numbers printed as 1.2345e-02, as a share of the number."""
    digits = _printed_digits(row, "printed_significant")
    return 0.0 if digits is None else 0.5 * 10.0 ** (1 - digits)


def _printed_digits(row: Row, name: str) -> int | None:
    """The digits of the side that was printed with fewer."""
    stats = [record.stats or {} for record in (row.reference, row.candidate) if record is not None]
    digits = [found for each in stats if isinstance(found := each.get(name), int)]
    return min(digits, default=None)
