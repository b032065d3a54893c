"""Asking a terminal for the colour of its ground."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator

import pytest

from layertui.tui import terminal
from layertui.tui.background import Question, ask, events_of, is_light, light_of, without_answers
from layertui.tui.terminal import Terminal

ATTRIBUTES = b"\x1b[?62;22c"


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\", True), (b"\x1b]11;rgb:ff/ff/f0\x07", True),
        (b"\x1b]11;rgb:0000/0000/0000\x1b\\", False), (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07", False),
        (b"\x1b]11;rgba:ffff/ffff/ffff/ffff\x1b\\", True), (b"\x1b]11;rgb:0/0/f\x07", False),
        (b"", None), (ATTRIBUTES, None), (b"\x1b]11;rgb:zz/0/0\x07", None),
    ],
)  # fmt: skip
def test_what_an_answer_says(answer: bytes, light: bool | None) -> None:
    assert light_of(answer) is light


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def test_the_answer_is_read_and_what_was_typed_is_kept(pty: tuple[int, int]) -> None:
    master, slave = pty
    before = termios.tcgetattr(slave)
    question = Question(slave, slave)
    asked = os.read(master, 100)
    assert asked.startswith(b"\x1b]11;?\x1b\\")
    os.write(master, b"j\x1b]11;rgb:ffff/ffff/ffff\x1b\\k" + ATTRIBUTES)
    assert question.answer(30.0) is True
    assert (question.typed, question.late) == (b"jk", False)
    assert termios.tcgetattr(slave) == before
    assert [getattr(event, "key", None) for event in events_of(question.typed)] == ["j", "k"]


def test_a_terminal_that_knows_only_the_second_question_is_not_waited_for(
    pty: tuple[int, int],
) -> None:
    master, slave = pty
    question = Question(slave, slave)
    os.write(master, ATTRIBUTES)
    assert question.answer(1000.0) is None
    assert not question.late


def test_a_terminal_that_says_nothing_is_waited_for_a_moment(pty: tuple[int, int]) -> None:
    master, slave = pty
    before = termios.tcgetattr(slave)
    question = Question(slave, slave)
    os.write(master, b"q")
    assert question.answer(0.01) is None
    assert (question.typed, question.late) == (b"q", True)
    assert termios.tcgetattr(slave) == before


def test_answers_are_taken_out_of_what_was_typed() -> None:
    assert without_answers(b"a\x1b]11;rgb:0/0/0\x07b" + ATTRIBUTES + b"\x1b[A") == b"ab\x1b[A"


def test_it_is_not_asked_where_colours_are_few() -> None:
    assert ask(Terminal("16")) is None and ask(Terminal("none")) is None


@pytest.mark.parametrize(
    ("value", "light"), [("15;0", False), ("0;15", True), ("0;default;7", True), ("", False),
                         ("0;8", False), ("nonsense", False)],
)  # fmt: skip
def test_by_the_environment(value: str, light: bool) -> None:
    environ = {"COLORFGBG": value, "TERM": "xterm-256color"}
    assert terminal.detect(environ).light_ground is light


@pytest.mark.parametrize(
    ("theme", "ground", "light"),
    [("auto", True, True), ("auto", False, False), ("dark", True, False), ("light", False, True)],
)
def test_the_setting_overrules(theme: str, ground: bool, light: bool) -> None:
    assert is_light(theme, Terminal(light_ground=ground)) is light
