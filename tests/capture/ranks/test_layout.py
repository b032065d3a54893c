"""Where numbered ranks stand: the words of rules files."""

from __future__ import annotations

import pytest

from layertui.capture import CaptureError
from layertui.capture.ranks.layout import LayoutError, RankLayout, parse_layout


@pytest.mark.parametrize("text", ["dp2 tp4", "dp=2, tp=4", "DP:2 TP:4", " dp2,tp4 "])
def test_the_outer_kind_stands_first(text: str) -> None:
    layout = parse_layout(text)
    assert layout == RankLayout((("dp", 2), ("tp", 4)))
    assert str(layout) == "dp2 tp4"
    places = [layout.kinds((("rank", number),)) for number in range(8)]
    assert places == [(("dp", n // 4), ("tp", n % 4)) for n in range(8)]


def test_ranks_that_say_more_are_left_as_they_are() -> None:
    told = (("tp", 1), ("rank", 7))
    assert parse_layout("dp2 tp2").kinds(told) == told
    assert parse_layout("dp2 tp2").kinds(()) == ()


def test_a_rank_beyond_the_layout() -> None:
    with pytest.raises(CaptureError, match="rank 4: the layout `dp2 tp2` has 4 ranks"):
        parse_layout("dp2 tp2").kinds((("rank", 4),))


@pytest.mark.parametrize("text", ["", "dp", "dp0", "xp2", "dp2 dp2", "2", "dp2;tp2", "dp2 tp"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(LayoutError, match="is no layout of ranks"):
        parse_layout(text)


@pytest.mark.parametrize(("text", "place"), [("pp2 vpp4", "pp"), ("vpp4", "rank")])
def test_chunks_of_stages_are_no_places_of_ranks(text: str, place: str) -> None:
    layout = parse_layout(text)
    assert str(layout) == text and layout.chunks == 4
    assert layout.kinds((("rank", 1),)) == ((place, 1),)
