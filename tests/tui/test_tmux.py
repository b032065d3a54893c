"""End to end in a real tmux."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.screens.tmux_driver import Tmux, server, wait_for

pytestmark = [
    pytest.mark.tmux,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


@pytest.fixture
def tmux(tmp_path: Path, private_home: Path) -> Iterator[Tmux]:
    with server(tmp_path / "tmux") as run:
        yield run


def start(tmux: Tmux, real: Path) -> str:
    pair = real / "olmo2-f32"
    code = "import sys; from layertui.tui import run_app; sys.exit(run_app(*sys.argv[1:]))"
    tmux("send-keys", "-l", "stty -a | cksum > before; clear; "
         f"{sys.executable} -c '{code}' {pair}/torch_dump {pair}/max_dump; "
         "echo status=$?; stty -a | cksum > after; cmp before after && echo restored")  # fmt: skip
    tmux("send-keys", "Enter")
    wait_for(tmux, "43 DIVERGED")
    return tmux("display-message", "-p", "#{alternate_on}").strip()


def test_from_start_to_quit(tmux: Tmux, real: Path, tmp_path: Path) -> None:
    tmux("send-keys", f"cd {tmp_path}", "Enter")
    assert start(tmux, real) == "1"
    tmux("send-keys", "f")
    wait_for(tmux, "first divergence: introduced in layers.0.self_attn.q_norm")
    tmux("send-keys", "Enter")
    wait_for(tmux, "std ")
    tmux("send-keys", "Escape")
    wait_for(tmux, "56 pairs")
    tmux("send-keys", "y")
    wait_for(tmux, "tmux buffer")
    assert "q_norm" in tmux("show-buffer")
    tmux("send-keys", "q")
    shown = wait_for(tmux, "restored")
    assert "status=0" in shown
    assert tmux("display-message", "-p", "#{alternate_on}").strip() == "0"


def test_the_map_and_each_of_its_keys(tmux: Tmux, real: Path, tmp_path: Path) -> None:
    """What each key of its own does, on a terminal of 100x30; those of moving once each."""
    tmux("send-keys", f"cd {tmp_path}", "Enter")
    start(tmux, real)
    wait_for(tmux, "43 DIVERGED ◆4")  # the map begins where the first of these is
    tmux("send-keys", "M")
    wait_for(tmux, "self_attn.q_norm, self_attn.k_norm: off in 2 of 2 layers")
    wait_for(tmux, "#9 L0 self_attn.q_norm DIVERGED introduced")
    keys = {
        "Left": "self_attn.q_norm: nothing recorded", "l": "#9 L0 self_attn.q_norm",
        "Right": "L1 self_attn.q_norm", "h": "#9 L0 self_attn.q_norm", "j": "L0 self_attn.k_proj",
        "k": "#9 L0 self_attn.q_norm", "G": "L0 model: nothing", "g": "L0 embed_tokens: nothing",
        ")": "#9 L0 self_attn.q_norm", "]": "#13 L0 self_attn.k_norm",
        "[": "#9 L0 self_attn.q_norm", "v": "local error", "?": "Keys of the map",
    }  # fmt: skip
    for key, seen in keys.items():
        tmux("send-keys", key)
        wait_for(tmux, seen)
    tmux("send-keys", "Escape")
    wait_for(tmux, "Map: local error")
    tmux("send-keys", ")")
    wait_for(tmux, "#13 L0 self_attn.k_norm")
    tmux("send-keys", "Enter")
    wait_for(tmux, "56 pairs")
    tmux("send-keys", "y")
    wait_for(tmux, "tmux buffer")
    assert "k_norm" in tmux("show-buffer")
    tmux("send-keys", "q")
    wait_for(tmux, "restored")


def test_the_trend_and_each_of_its_keys(tmux: Tmux, real: Path, tmp_path: Path) -> None:
    tmux("send-keys", f"cd {tmp_path}", "Enter")
    start(tmux, real)
    wait_for(tmux, "eps 1e-6")  # all is judged: the list is on its answer
    tmux("send-keys", "T")
    wait_for(tmux, "4 introduced, first #9 L0 self_attn.q_norm")
    keys = {
        "l": "#11 L0 self_attn.k_proj", "h": "#9 L0 self_attn.q_norm", "Right": "#11 L0",
        "Left": "#9 L0", "j": "#11 L0", "k": "#9 L0", "G": "DIVERGED inherited", "g": "#1 embed",
        ")": "#9 L0", "]": "#13 L0", "[": "#9 L0", "+": "  outputs ", "?": "Keys of the trend",
    }  # fmt: skip
    for key, seen in keys.items():
        tmux("send-keys", key)
        wait_for(tmux, seen)
    tmux("send-keys", "Escape")
    wait_for(tmux, "  outputs ")
    tmux("send-keys", "-")
    wait_for(tmux, "zoom")
    tmux("send-keys", ")", "Enter")
    wait_for(tmux, "56 pairs")
    tmux("send-keys", "q")
    wait_for(tmux, "restored")


def test_suspend_and_come_back(tmux: Tmux, real: Path, tmp_path: Path) -> None:
    tmux("send-keys", f"cd {tmp_path}", "Enter")
    start(tmux, real)
    tmux("send-keys", "f")
    wait_for(tmux, "first divergence:")
    tmux("send-keys", "C-z")
    wait_for(tmux, "Stopped")
    tmux("send-keys", "fg", "Enter")
    wait_for(tmux, "43 DIVERGED")
    assert tmux("display-message", "-p", "#{alternate_on}").strip() == "1"
    tmux("send-keys", "q")
    end = time.monotonic() + 60
    while tmux("display-message", "-p", "#{alternate_on}").strip() == "1":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_sigterm_restores_the_terminal(tmux: Tmux, real: Path, tmp_path: Path) -> None:
    tmux("send-keys", f"cd {tmp_path}", "Enter")
    start(tmux, real)
    shell = tmux("display-message", "-p", "#{pane_pid}").strip()
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), 15)
    shown = wait_for(tmux, "restored")
    assert "status=143" in shown
    assert tmux("display-message", "-p", "#{alternate_on}").strip() == "0"
