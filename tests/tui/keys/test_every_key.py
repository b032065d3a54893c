"""Every key that `?` lists, pressed in a real terminal (tmux): each does what its row says."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from layertui.tui.keys import KEYS, show_key
from layertui.tui.list.screen import ListScreen
from layertui.tui.overview.map_screen import MapScreen
from layertui.tui.overview.trend_screen import TrendScreen
from layertui.tui.pair.screen import PairScreen
from layertui.tui.pair.views.registry import own_keys
from support.screens.key_rows import ENDS, LIST, MAP, PAIR, TREND, Row, on
from support.screens.tmux_driver import Tmux, server, wait_for, wait_until

ALL = {key.id: key for key in (*KEYS, *own_keys())}
ON_TMUX = {
    "pagedown": "PageDown", "pageup": "PageUp", "escape": "Escape", "enter": "Enter",
    "space": "Space", "backspace": "BSpace", "shift+tab": "BTab", "tab": "Tab", "left": "Left",
    "right": "Right", "up": "Up", "down": "Down", "home": "Home", "end": "End",
    "shift+left": "S-Left", "shift+right": "S-Right",
}  # fmt: skip
_HOME = r"q (back|quit) *\n*$"  # the footer of a screen where nothing is asked
_START = "import sys; from layertui.cli.main import run; sys.argv[0] = 'layertui'; run()"


def test_every_key_that_help_lists_has_a_row() -> None:
    rows = {row.id for row in (*LIST, *PAIR, *MAP, *TREND, *ENDS)}
    for screen in (ListScreen, PairScreen, MapScreen, TrendScreen):
        listed = {key.id for key in screen.all_keys()}
        assert listed - rows == set(), "add rows to tests/support/screens/key_rows.py"
    assert rows - ALL.keys() == set()


class Driver:
    """Presses keys in a program in tmux, and looks at its screen."""

    def __init__(self, tmux: Tmux, folder: Path) -> None:
        self.tmux, self.folder = tmux, folder

    def start(self) -> None:
        """Both folders of captures, a case each, nothing folded."""
        self.tmux("send-keys", "-l", f"clear; {sys.executable} -c \"{_START}\" refs cands "
                  "--fold none; echo ended=$?\n")  # fmt: skip
        wait_for(self.tmux, "43 DIVERGED")
        self.wait(r"5/42 *\n[^$]*logits: ")

    def send(self, keys: str) -> None:
        """Keys between spaces, as tmux names them."""
        for key in keys.split():
            if key == "garbage":
                tty = self.tmux("display-message", "-p", "#{pane_tty}").strip()
                Path(tty).write_text("\x1b7\x1b[12;30HGARBAGE\x1b8")
            elif key == "remove":
                next((self.folder / "refs/one").rglob("*q_norm-output*")).unlink()
            else:
                self.tmux("send-keys", "--", key)
            if key == "Escape":
                time.sleep(0.15)  # else it begins the sequence of another key

    def wait(self, seen: str, *, gone: bool = False) -> str:
        def done(shown: str) -> bool:
            return (re.search(seen, shown) is None) == gone

        return wait_until(self.tmux, done, f"{seen!r}{' gone' * gone}", 30.0)

    def settled(self, seen: str) -> str:
        """The screen with `seen` on it, once nothing on it changes any more for a moment."""
        shown, before = self.wait(seen), ""
        while shown != before or re.search(seen, shown) is None:
            before = shown
            time.sleep(0.04)
            shown = self.tmux("capture-pane", "-p")
        return shown

    def go_to(self, row: int) -> None:
        """The list's cursor on a row, from another one: what was typed before is over then."""
        for place in (5 if row != 5 else 7, row):
            self.tmux("send-keys", "-l", f":{place}\r")
            self.settled(on(place))

    def check(self, row: Row, name: str) -> None:
        """One key of a row."""
        self.send(row.before)
        shown = self.settled(row.ready) if row.ready else self.tmux("capture-pane", "-p")
        if not row.gone:
            assert re.search(row.seen, shown) is None, f"{row.id}: seen before {name}:\n{shown}"
        if name.startswith("ctrl+"):
            self.send("C-" + name[5:])
        elif name in ON_TMUX:
            self.send(ON_TMUX[name])
        else:
            self.tmux("send-keys", "-l", "--", show_key(name))
        if row.typed:
            time.sleep(0.05)
            self.tmux("send-keys", "-l", row.typed)
        self.wait(row.seen, gone=row.gone)
        self.send(row.after)
        self.wait(_HOME)


def keys_of(row: Row) -> Sequence[str]:
    return ALL[row.id].keys.split(",")


@pytest.fixture
def driver(tmp_path: Path, real: Path, private_home: Path) -> Iterator[Driver]:
    for case in ("one", "two"):
        shutil.copytree(real / "olmo2-f32/torch_dump", tmp_path / "refs" / case)
        shutil.copytree(real / "olmo2-f32/max_dump", tmp_path / "cands" / case)
    with server(tmp_path / "tmux") as tmux:
        tmux("send-keys", f"cd {tmp_path}", "Enter")
        yield Driver(tmux, tmp_path)


needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


@pytest.mark.tmux
@needs_tmux
def test_each_key_does_what_its_row_says(driver: Driver) -> None:
    driver.start()
    for enter, rows in (("Enter", PAIR), ("M", MAP), ("T", TREND)):
        driver.go_to(9)
        driver.send(enter)
        driver.wait(r"q back *\n*$")
        for row in rows:
            for name in keys_of(row):
                driver.check(row, name)
        driver.send("q")
        driver.wait("q quit")
    for row in LIST:
        for name in keys_of(row):
            driver.go_to(row.at)
            driver.check(row, name)
    driver.send("q")
    driver.wait("refs cands --fold none")


@pytest.mark.tmux
@needs_tmux
@pytest.mark.parametrize("name", [name for row in ENDS for name in keys_of(row)])
def test_keys_that_end_the_program(driver: Driver, name: str) -> None:
    driver.start()
    driver.send("C-" + name[5:] if name.startswith("ctrl+") else name)
    driver.wait("ended=0")
