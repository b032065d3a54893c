"""How many bytes keys cost on the line, at 200x50 with 16 million colours and 10,000 rows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from support.screens.terminal_driver import PtyApp
from support.screens.tui_captures import write_pair

STEP, PAGE = 1_500, 25_000
FIRST, QUIET = 5.0, 0.4  # seconds: a busy machine answers late


@pytest.fixture(scope="module")
def app(big_pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PtyApp]:
    home = str(tmp_path_factory.mktemp("home"))
    env = {f"XDG_{name}_HOME": home for name in ("CONFIG", "CACHE", "STATE")}
    with PtyApp(*big_pair, env=env) as running:
        running.wait_for("10000 pairs")
        while running.read(3.0, 60.0) or "checking" in running.text or "measured" in running.text:
            pass  # until all is measured, and its workers, which give way to others, are done
        yield running


def test_a_step_is_cheap(app: PtyApp) -> None:
    for key in ("j", b"\x1b[H"):  # the message at the end of the measuring goes with the first step
        app.press(key, QUIET, FIRST)
    steps = [len(app.press(key, QUIET, FIRST)) for key in "jjjkj"]
    assert 0 < max(steps) <= STEP


def test_a_page_is_one_repaint_of_the_list(app: PtyApp) -> None:
    app.press(b"\x1b[H", QUIET)
    keys = (b"\x1b[6~", b"\x1b[6~", b"\x06", b"\x1b[5~", "G", b"\x1b[H")
    pages = [len(app.press(key, QUIET, FIRST)) for key in keys]
    assert 0 < max(pages) <= PAGE


def test_rest_is_silence(app: PtyApp) -> None:
    app.press("j", 1.0, FIRST)
    assert app.read(1.0, 1.0) == b""
    assert app.press(b"\x1b[<35;40;20M") == b""  # the mouse moves over the list


def test_a_held_key_at_the_edge_of_the_screen_keeps_up(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, 300)
    with PtyApp(*pair, env={"SSH_CONNECTION": "1.1.1.1 1 2.2.2.2 22"}) as app:
        app.wait_for("300 pairs")
        app.read(0.8)
        app.press(b"\x1b[6~")
        sent = 0
        for _ in range(64):
            os.write(app.fd, b"j")
            sent += len(app.read(0.033, 0.033))
        sent += len(app.read(0.3))
        assert sent / 64 <= 4_000  # a page of 8 lines at a time; 18,000 a key without


def test_results_repaint_only_what_they_change(tmp_path: Path) -> None:
    with PtyApp(*write_pair(tmp_path, 4_000)) as app:
        app.wait_for("measured ")
        app.read(0.2, 0.4)
        bursts = []
        end = time.monotonic() + 300
        while "measured" in app.text:
            assert time.monotonic() < end
            bursts.append(len(app.read(0.2, 1.0)))
        # A full repaint is 30,000 bytes; ten a second would be 300,000.
        assert median(bursts or [0]) < 12_000


def test_a_heat_map_of_noise_fits_the_budget(tmp_path: Path) -> None:
    """Noise changes colour at nearly every cell: the map is drawn smaller and in fewer steps."""
    import numpy as np

    from support.screens.layout_captures import write_arrays

    rng = np.random.default_rng(3)
    value = rng.standard_normal((300, 700)).astype(np.float32)
    noise = value * (1 + 10.0 ** rng.uniform(-8, -1, value.shape)).astype(np.float32)
    pair = (
        write_arrays(tmp_path / "ref", {"noise-output": value}),
        write_arrays(tmp_path / "cand", {"noise-output": noise}),
    )
    with PtyApp(*pair, size=(200, 50)) as app:
        app.wait_for("Likeness")  # one pair: it opens on that
        app.read(0.8)
        sent = len(app.press("4"))
        app.wait_for("log scale")
        # Two redraws: the view of before goes, the map comes when it is read.
        assert sent + len(app.read(0.8)) <= 2 * 25_000
        for key in ("v", "\r", "\x7f", b"\x1b[B", b"\x1b[C"):
            assert len(app.press(key) + app.read(0.6)) <= 25_000
