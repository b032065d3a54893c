"""`:repro` writes a test of the layer under the cursor, in the background."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.compare.judging.policy import NoisePolicy
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.limits import limits_of
from support.screens.tui_captures import measured, settled


async def command(pilot: Pilot[None], line: str) -> None:
    await pilot.press("colon", *("space" if c == " " else c for c in line), "enter")


async def said(pilot: Pilot[None], app: LayertuiApp, words: str) -> str:
    for _ in range(500):
        await pilot.pause(0.02)
        if words in app.work_screen().prompt.message:
            await settled(pilot)
            return app.work_screen().prompt.message
    raise AssertionError(app.work_screen().prompt.message)


async def test_a_test_of_this_layer(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump")]
    policy = NoisePolicy()
    app = LayertuiApp(Request(*paths, policy=policy), limits=limits_of(policy, None, None))
    async with app.run_test(size=(160, 40)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        first = comparison.first_divergence()
        assert first is not None
        for number in ("", "-2"):
            await command(pilot, f"goto {first.index}")
            await command(pilot, "repro")
            await said(pilot, app, f"wrote ./repro-{first.module}{number}/test_")
            folder = tmp_path / f"repro-{first.module}{number}"
            assert len(list(folder.iterdir())) == 2
        gap = next(row.index for row in comparison.rows if row.kind == "gap_candidate")
        await command(pilot, "show everything")
        await command(pilot, f"goto {gap}")
        await command(pilot, "repro")
        await said(pilot, app, "no law says")
        assert len(list(tmp_path.glob("repro-*"))) == 2
