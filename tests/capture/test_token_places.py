"""Which tokens are recorded: what users write, and what a manifest says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.capture.errors import CaptureError
from layertui.capture.token_places import TokenPart, TokenPlaces


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("last:4", [6, 7, 8, 9]), ("last:99", list(range(10))), ("0:3", [0, 1, 2]),
        (":3", [0, 1, 2]), ("8:", [8, 9]), ("8:99", [8, 9]), ("50:60", []),
        ("every:4", [0, 4, 8]), ("every:1", list(range(10))),
    ],
)  # fmt: skip
def test_the_places_of_ten_tokens(text: str, places: list[int]) -> None:
    assert list(TokenPart.parse(text).of(10)) == places


@pytest.mark.parametrize("text", ["", ":", "3", "last", "last:0", "every:0", "5:5", "-3:", "a:b"])
def test_what_is_no_part_is_refused_with_examples(text: str) -> None:
    with pytest.raises(CaptureError, match='such as "last:64", "0:128" or "every:16"'):
        TokenPart.parse(text)


@given(
    count=st.integers(1, 500), number=st.integers(1, 600), kind=st.sampled_from(["last", "every"])
)
def test_a_line_of_the_manifest_says_the_same_places(count: int, number: int, kind: str) -> None:
    places = TokenPart.parse(f"{kind}:{number}").of(count)
    said = TokenPlaces(1, places.start, places.stop, places.step, count)
    assert TokenPlaces.read(said.line()) == said
    assert said.places == places


@pytest.mark.parametrize(
    "line",
    [None, 3, [], [0, 1, 2, 1], [0, 1, 2, 1, "9"], [True, 0, 4, 1, 9], [-1, 0, 4, 1, 9],
     [40, 0, 4, 1, 9], [0, 5, 4, 1, 9], [0, 0, 10, 1, 9], [0, 0, 4, 0, 9], [0, 0, 4, 1, 1 << 50]],
)  # fmt: skip
def test_a_line_that_cannot_be_is_ignored(line: object) -> None:
    assert TokenPlaces.read(line) is None
