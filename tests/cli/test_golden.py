"""Reports of the real captures stay as they are, word for word (see `golden`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.golden import FORMS, PAIRS, difference, kept, report


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pair", PAIRS)
def test_reports_of_real_captures_stay(real: Path, pair: str, form: str) -> None:
    assert difference(kept()[f"{pair}.{form}"], report(real, pair, form)) == []


def test_another_verdict_is_a_difference_and_a_last_digit_is_none() -> None:
    old = '"ratio": 1.2345,\n"verdict": "noise",\n"rows": 12'
    assert difference(old, old.replace("1.2345", "1.2346")) == []
    assert difference("inputs 0.012; 3 rows", "inputs 0.011; 3 rows") == []
    assert difference("inputs 0.012; 3 rows", "inputs 0.010; 3 rows")
    assert difference("size 0.0", "size 0.05")
    assert difference("inputs 0.012; 3 rows", "inputs 0.012; 4 rows")
    assert difference(old, old.replace("1.2345", "1.2445"))
    assert difference(old, old.replace("noise", "ok"))
    assert difference(old, old.replace("12", "13"))
    assert difference(old, old + "\nmore")
