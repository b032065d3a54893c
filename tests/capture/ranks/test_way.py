"""Words for how parts of ranks are joined."""

from __future__ import annotations

import pytest

from layertui.capture.ranks.placement import coordinates_of, parse_dims
from layertui.capture.ranks.way import PARTIAL, Way, WayError, parse_way


@pytest.mark.parametrize("text", [
    "replicated", "partial", "apart", "concat -1", "concat 0", "concat -1 copies 2", "split:qkv",
    "split:gate_up", "split 16:8:8", "split 4:1:1 0", "split 8:8:8 copies 2",
    "split:qkv 1", "zigzag 0",
])  # fmt: skip
def test_what_is_printed_is_read_again(text: str) -> None:
    assert str(parse_way(text)) == text
    assert parse_way(f"  {text.replace(' ', '   ')} ") == parse_way(text)


def test_sum_is_another_word_for_partial() -> None:
    assert parse_way("sum") == PARTIAL


@pytest.mark.parametrize("text", [
    "", "concat", "concat x", "concat -1 copies 0", "split", "split 3", "split 3:0", "split:kv",
    "zigzag", "mean", "concat 100", "partial 1",
])  # fmt: skip
def test_other_words_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(WayError, match="is no way to join ranks") as found:
        parse_way(text)
    assert "\n" not in str(found.value)


def test_dims_of_sglang() -> None:
    places = coordinates_of({"tp_rank": 1, "tp_size": 4, "pp_rank": 0, "pp_size": 1, "x": True})
    assert places == (("tp", 1, 4), ("pp", 0, 1))

    def cuts(text: str) -> object:
        found = parse_dims(text, places)
        return None if found is None else found.cuts

    assert cuts("t h") == () and cuts("t h # dp:=moe_dp") is None
    assert cuts("t h[tp]") == (("tp", Way("concat", 1)),)
    assert cuts("t (num_heads*head_dim)[tp]") == (("tp", Way("concat", 1)),)
    assert cuts("b s[cp:zigzag,sp] h[tp:partial]") == (
        ("cp", Way("zigzag", 1)), ("sp", Way("concat", 1)), ("tp", PARTIAL)
    )  # fmt: skip
    assert cuts("t 1 h[ep:replicated]") == ()
    assert cuts("t h[tp:unheard]") is None and cuts("t h[") is None and cuts("h" * 500) is None
    found = parse_dims("t h[sp]", places)
    assert found is not None and found.place("sp") == (1, 4) and found.place("cp") is None
