"""View 7 before anything was rerun."""

from __future__ import annotations

from pathlib import Path

from layertui.tui.pair.screen import PairScreen
from support.screens.tui_captures import make_app, measured, settled, until


async def test_what_it_would_do_and_what_is_missing(real: Path) -> None:
    app = make_app(real / "olmo2-f32/torch_dump", real / "olmo2-f32/max_dump")
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter", "7")
        screen = app.screen
        assert isinstance(screen, PairScreen)
        await until(pilot, lambda: not screen.reading)
        text = " ".join(" ".join(screen.view.texts).split())
        for words in ("R runs layers.0.self_attn.q_norm of the candidate alone",
                      "inputs of the reference: input_0 [1,10,64]",
                      "checkpoint missing: which model made this capture", "engine"):  # fmt: skip
            assert words in text, words
        assert len(screen.view.texts) <= screen.view.size.height  # nothing to scroll to
        await pilot.press("escape", "space", "f", "enter", "7")
        again = app.screen
        assert isinstance(again, PairScreen)
        await until(pilot, lambda: not again.reading)
        assert "1 row marked: R reruns those" in " ".join(again.view.texts)


async def test_where_the_first_divergence_is_inside_a_module(tmp_path: Path) -> None:
    """What R reruns is the module that is to blame, and that is what is said."""
    from layertui.capture.demo.shipped import unpack

    app = make_app(*unpack(str(tmp_path), "attention-scale"))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter", "7")
        screen = app.screen
        assert isinstance(screen, PairScreen)
        await until(pilot, lambda: not screen.reading)
        await settled(pilot)
        text = " ".join(" ".join(screen.view.texts).split())
        assert "R runs layers.3.self_attn of the candidate alone" in text
        assert "code layertui.capture.demo.factories:candidate" in text
