"""Rows found by words of their names, and what is marked of them, without a terminal."""

from __future__ import annotations

import random

import pytest

from layertui.tui.list.finding.name_index import NameIndex
from layertui.tui.list.line_drawing import spans_of

_TEXTS = ("embed", "l0 q_proj", "l0 k_proj", "l1 q_proj", "l1 q_proj q_norm", "head")


def always(_: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["q_proj"], [1, 3, 4]), (["l1", "q"], [3, 4]), (["q", "l1", "norm"], [4]),
        (["proj l"], []),
        (["nowhere"], []), (["e"], [0, 5]), (["q_proj", "nowhere"], []),
    ],
)  # fmt: skip
def test_rows_with_all_words(words: list[str], rows: list[int]) -> None:
    assert NameIndex(_TEXTS).rows(words) == rows


def test_the_next_in_both_directions_and_around_the_end() -> None:
    index = NameIndex(_TEXTS)
    assert index.next(["q_proj"], 1, 1, always) == (1, False)
    assert index.next(["q_proj"], 2, 1, always) == (3, False)
    assert index.next(["q_proj"], 5, 1, always) == (1, True)
    assert index.next(["q_proj"], 6, 1, always) == (1, True)
    assert index.next(["q_proj"], 3, -1, always) == (3, False)
    assert index.next(["q_proj"], 0, -1, always) == (4, True)
    assert index.next(["q_proj"], -1, -1, always) == (4, True)
    assert index.next(["q_proj"], 0, 1, lambda row: row == 4) == (4, False)
    assert index.next(["nowhere"], 0, 1, always) is None
    assert index.next([], 0, 1, always) is None
    assert NameIndex([]).next(["a"], 0, 1, always) is None


def test_a_name_with_a_line_break_stays_one_row() -> None:
    index = NameIndex(["a\nb", "c"])
    assert index.rows(["c"]) == [1]
    assert index.rows(["b"]) == [0]


def test_as_a_plain_search_says() -> None:
    dice = random.Random(3)
    texts = ["".join(dice.choices("ab .", k=dice.randrange(9))) for _ in range(300)]
    index = NameIndex(texts)
    for word in ("a", "ab", "ba", "aab"):
        rows = [row for row, text in enumerate(texts) if word in text]
        assert index.rows([word]) == rows
        for start in (0, 17, 150, 299):
            after = [row for row in rows if row >= start]
            before = [row for row in rows if row <= start]
            assert index.next([word], start, 1, always) == ((after or rows)[0], not after)
            assert index.next([word], start, -1, always) == ((before or rows)[-1], not before)


@pytest.mark.parametrize(
    ("text", "words", "spans"),
    [
        ("L0 q_proj", ["q_p"], [(3, 6)]), ("L0 Q_PROJ q_proj", ["q_proj"], [(3, 9), (10, 16)]),
        ("abcd", ["ab", "bc"], [(0, 3)]), ("abab", ["ab"], [(0, 4)]), ("L0", ["x"], []),
        ("a.b", ["."], [(1, 2)]), ("İx", ["x"], []),
    ],
)  # fmt: skip
def test_what_is_marked(text: str, words: list[str], spans: list[tuple[int, int]]) -> None:
    assert spans_of(text, words) == spans
