"""What the terminal is asked and told: environment, colours, ASCII, signals, ways out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from layertui.tui import terminal
from support.screens.terminal_driver import PtyApp

# SGR parameters that set a colour; 39 and 49 (the terminal's own) do not.
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")
_COLOR = re.compile(rb"^(3[0-8]|4[0-8]|9[0-7]|10[0-7])$")


def color_codes(sent: bytes) -> list[bytes]:
    found = []
    for match in _SGR.finditer(sent):
        if any(_COLOR.match(part) for part in match[1].split(b";")):
            found.append(match[0])
    return found


def test_over_ssh_animations_are_off_and_the_users_choice_stays() -> None:
    environ = {"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22", "TEXTUAL_FPS": "10"}
    terminal.prepare(environ)
    assert environ["TEXTUAL_ANIMATIONS"] == "none"
    assert environ["TEXTUAL_FPS"] == "10"
    local: dict[str, str] = {}
    terminal.prepare(local)
    assert local == {}


def test_an_empty_no_color_is_kept_from_textual() -> None:
    empty, asked = {"NO_COLOR": ""}, {"NO_COLOR": "1"}
    terminal.prepare(empty)
    terminal.prepare(asked)
    assert (empty, asked) == ({}, {"NO_COLOR": "1"})


@pytest.mark.parametrize(
    ("environ", "colors"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "screen"}, "16"),
        ({"TERM": "linux"}, "16"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "256"),
    ],
)
def test_color_depth(environ: dict[str, str], colors: str) -> None:
    assert terminal.color_depth(environ) == colors


@pytest.mark.parametrize(
    ("environ", "ascii_only"),
    [
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C.utf8"}, False),
        ({"LANG": "C"}, True),
        ({}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "UTF-8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
    ],
)
def test_ascii_by_locale(environ: dict[str, str], ascii_only: bool) -> None:
    assert terminal.wants_ascii(environ) is ascii_only
    assert terminal.detect(environ, ascii_only=True).ascii


def test_a_c_locale_that_python_coerced_is_still_ascii() -> None:
    code = (
        "from layertui.tui.terminal import wants_ascii; import os; print(wants_ascii(os.environ))"
    )
    shown = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **extra},
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for extra in ({}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"})
    ]  # fmt: skip
    assert shown == ["True", "True", "False"]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_refused_with_the_way_out(
    term: str, small_pair: tuple[Path, Path]
) -> None:
    with PtyApp(*small_pair, env={"TERM": term}) as app:
        assert app.wait_for_exit() == 2
        assert "layertui compare" in " ".join(app.text.split())
        assert b"\x1b[" not in app.sent


def test_a_missing_capture_is_one_line_and_status_2(tmp_path: Path) -> None:
    with PtyApp(tmp_path / "none", tmp_path) as app:
        assert app.wait_for_exit() == 2
        assert "no such file or directory" in " ".join(app.text.split())
        assert b"\x1b[" not in app.sent


def test_a_capture_without_tensors_ends_the_screen_with_one_line(
    tmp_path: Path, small_pair: tuple[Path, Path]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with PtyApp(small_pair[0], empty) as app:
        assert app.wait_for_exit() == 2
        last = app.sent[app.sent.rindex(b"\x1b[?1049l") :]
        assert b"no tensors" in last
        assert b"Traceback" not in app.sent


def test_no_color_sends_no_color_codes(small_pair: tuple[Path, Path]) -> None:
    with PtyApp(*small_pair, size=(120, 30), env={"NO_COLOR": "1"}) as app:
        app.wait_for("40 pairs")
        app.read(0.5)
        for keys in ("f", "d", "\r", "?", "\x1b", "\x1b", ":", "\x1b", "\x10"):
            app.press(keys)
        assert "Search" in app.text  # the palette is open
        assert color_codes(bytes(app.sent)) == []


def test_sixteen_colors_send_no_others(small_pair: tuple[Path, Path]) -> None:
    with PtyApp(*small_pair, env={"TERM": "screen", "COLORTERM": ""}) as app:
        app.wait_for("40 pairs")
        app.press("f")
        codes = color_codes(bytes(app.sent))
        assert codes
        assert not [code for code in codes if b"38;" in code or b"48;" in code]


@pytest.mark.parametrize("options", ["{'ascii': True}", "{}"])
def test_ascii_sends_only_ascii(options: str, small_pair: tuple[Path, Path]) -> None:
    env = {} if options != "{}" else {"LANG": "C"}
    with PtyApp(*small_pair, env=env, options=options) as app:
        app.wait_for("40 pairs")
        app.read(0.5)
        for keys in ("f", "\r", "?", "\x1b", "\x1b", "&mlp\r", "t", "\x1b", "\x10"):
            app.press(keys)
        app.wait_for("Search")
        assert [byte for byte in app.sent if byte > 127] == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_restore_the_terminal(
    number: int, status: int, small_pair: tuple[Path, Path]
) -> None:
    with PtyApp(*small_pair, size=(80, 24)) as app:
        before = termios.tcgetattr(app.fd)[3]
        app.wait_for("40 pairs")
        assert termios.tcgetattr(app.fd)[3] != before
        os.kill(app.pid, number)
        assert app.wait_for_exit() == status
        assert termios.tcgetattr(app.fd)[3] == before
        for restored in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[<u"):
            assert restored in app.sent


_DEAF = """
import signal, sys
from layertui.tui import run_app
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
sys.exit(run_app(sys.argv[1], sys.argv[2]))
"""


def test_it_ends_when_the_terminal_is_gone_and_no_signal_comes(
    small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.screens.terminal_driver._RUN", _DEAF)
    with PtyApp(*small_pair) as app:
        app.wait_for("40 pairs")
        app.hang_up()
        assert app.wait_for_exit() == 129


_CRASH = """
import sys
from layertui.tui import run_app
from layertui.tui.list import screen as list_screen
def fail(self):
    raise RuntimeError("planted fault")
list_screen.ListScreen.action_unmark = fail
sys.exit(run_app(sys.argv[1], sys.argv[2]))
"""


def test_a_crash_is_one_line_a_log_and_a_failing_status(
    small_pair: tuple[Path, Path], private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.screens.terminal_driver._RUN", _CRASH)
    with PtyApp(*small_pair, size=(200, 24)) as app:
        app.wait_for("40 pairs")
        os.write(app.fd, b"u")
        assert app.wait_for_exit() == 1
        last = app.sent[app.sent.rindex(b"\x1b[?1049l") :]
        assert b"planted fault" in last
        assert b"Traceback" not in last
    log = private_home / "state" / "layertui" / "crash.log"
    assert "planted fault" in log.read_text(encoding="utf-8")
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_without_a_terminal_it_is_not_interactive() -> None:
    code = "from layertui.tui import is_interactive; print(is_interactive())"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
