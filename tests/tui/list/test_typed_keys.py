"""Counts, keys of two characters and the places of jumps, without a terminal."""

from __future__ import annotations

import pytest

from layertui.tui.keys import keys_of
from layertui.tui.list.motions.jumps import Jumps
from layertui.tui.list.motions.typed_keys import Step, TypedKeys

_NAMES = {
    "]": "right_square_bracket", "[": "left_square_bracket", "'": "apostrophe",
    "}": "right_curly_bracket", "(": "left_parenthesis",
}  # fmt: skip


def press(typed: TypedKeys, keys: str) -> list[Step]:
    return [typed.press(_NAMES.get(key, key), key) for key in keys]


@pytest.mark.parametrize(
    ("keys", "action"),
    [
        ("10j", "move(10)"), ("5k", "move(-5)"), ("3]", "divergence(3)"), ("2[", "divergence(-2)"),
        ("2n", "match(2)"), ("4N", "match(-4)"), ("2}", "block(2)"), ("3(", "made(-3)"),
        ("42G", "to_row(42)"), ("42gg", "to_row(42)"), ("gg", "to_top"), ("3H", "to_screen(0, 3)"),
        ("2L", "to_screen(1, 2)"), ("zz", "scroll_line(0.5)"), ("zM", "fold_all(True)"),
        ("''", "last_place"), ("100j", "move(100)"), ("3f", "first_divergence"),
    ],
)  # fmt: skip
def test_what_is_typed_does(keys: str, action: str) -> None:
    steps = press(TypedKeys(keys_of("list")), keys)
    assert steps[-1].actions == (action,)
    assert all(step.taken and not step.actions for step in steps[:-1])


def test_a_count_before_a_named_key() -> None:
    typed = TypedKeys(keys_of("list"))
    press(typed, "2")
    assert typed.press("ctrl+d", None).actions == ("page(1.0)",)
    press(typed, "2")
    assert typed.press("pageup", None).actions == ("page(-2.0)",)


def test_keys_alone_are_for_others() -> None:
    typed = TypedKeys(keys_of("list"))
    for key in ("j", "G", "H", "0", "f"):
        assert typed.press(key, key) == Step(taken=False)


def test_what_was_typed_is_said_while_more_may_come() -> None:
    typed = TypedKeys(keys_of("list"))
    assert [step.waiting for step in press(typed, "10g")] == ["1", "10", "10g"]
    assert {key.keys for key in typed.hints()} == {"gg"}
    press(typed, "q")
    assert {key.keys for key in (press(typed, "z"), typed.hints())[1]} == {
        "zz", "zt", "zb", "zM", "zR",
    }  # fmt: skip


def test_escape_forgets_what_was_typed_and_only_then_goes_on() -> None:
    typed = TypedKeys(keys_of("list"))
    press(typed, "10")
    assert typed.press("escape", "\x1b") == Step()
    assert typed.press("j", "j") == Step(taken=False)
    assert typed.press("escape", "\x1b") == Step(taken=False)


def test_a_lone_g_acts_after_a_moment_and_z_does_not() -> None:
    typed = TypedKeys(keys_of("list"))
    press(typed, "7g")
    assert typed.may_act_alone
    assert typed.alone().actions == ("to_row(7)",)
    assert not typed.waiting
    press(typed, "z")
    assert not typed.may_act_alone


def test_a_g_before_another_key_acts_and_that_key_is_as_ever() -> None:
    typed = TypedKeys(keys_of("list"))
    assert press(typed, "gj")[-1] == Step(("to_top",), taken=False)
    assert press(typed, "gzz")[-1].actions == ("scroll_line(0.5)",)
    assert press(typed, "g3j")[1] == Step(("to_top",), waiting="3")


def test_two_characters_that_mean_nothing() -> None:
    typed = TypedKeys(keys_of("list"))
    assert press(typed, "zq")[-1] == Step(problem="zq means nothing")
    assert not typed.waiting


def test_a_count_is_never_longer_than_a_number_of_rows() -> None:
    assert press(TypedKeys(keys_of("list")), "9" * 30 + "j")[-1].actions == ("move(999999999)",)


def test_places_back_and_forward() -> None:
    jumps: Jumps[int] = Jumps()
    assert jumps.walk(0, -1) is None
    for place in (0, 10, 20):
        jumps.leave(place)
    assert [jumps.walk(30, -1), jumps.walk(20, -1)] == [20, 10]
    assert [jumps.walk(10, 1), jumps.walk(20, 1), jumps.walk(30, 1)] == [20, 30, None]
    assert [jumps.walk(30, -9), jumps.walk(0, -1), jumps.walk(0, 9)] == [0, None, 30]


def test_a_place_is_kept_once() -> None:
    jumps: Jumps[int] = Jumps()
    for place in (5, 6, 5):
        jumps.leave(place)
    assert [jumps.walk(9, -1), jumps.walk(5, -1), jumps.walk(6, -1)] == [5, 6, None]


def test_the_last_place_and_back() -> None:
    jumps: Jumps[int] = Jumps()
    assert jumps.swap(3) is None
    jumps.leave(1)
    assert [jumps.swap(9), jumps.swap(1), jumps.swap(9)] == [1, 9, 1]


def test_only_so_many_places_are_kept() -> None:
    jumps: Jumps[int] = Jumps()
    for place in range(1000):
        jumps.leave(place)
    assert jumps.walk(1000, -1000) == 901
