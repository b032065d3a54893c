"""`:model` on the screen: checkpoints named, refused, remembered, and kept over a reload."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from layertui.compare.weights.models import ModelPaths
from layertui.compare.weights.remembered_models import remembered_model
from layertui.tui.app import LayertuiApp
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.tui_captures import measured, olmo, settled, type_line, until


async def model(pilot: Pilot[None], app: LayertuiApp, text: str, words: str) -> None:
    await type_line(pilot, ":", f"model {text}")
    await until(pilot, lambda: words in app.list_screen.prompt.message)


async def test_checkpoints_are_named_on_the_screen(real: Path, tmp_path: Path) -> None:
    app, checkpoint = olmo(real), real / "checkpoints" / "olmo2-f32"
    async with app.run_test(size=(200, 30)) as pilot:
        await measured(pilot, app)
        await model(pilot, app, "", "no checkpoint is known")
        await model(pilot, app, f"reference {checkpoint}", f"{checkpoint} (used for both sides)")
        comparison = app.list_screen.comparison
        assert comparison is not None
        known = comparison.models
        assert known.reference is not None
        await model(pilot, app, f"candidate {tmp_path / 'none'}", "none: no such file")
        assert comparison.models is known
        assert app.session.request.models == ModelPaths(str(checkpoint))
        await model(pilot, app, "elsewhere x", "model reference PATH, or model candidate PATH")
        await model(pilot, app, f"cand {checkpoint}", "weights of the candidate:")
        assert comparison.models.candidate is not None
        assert remembered_model(comparison.candidate) == str(checkpoint)
        await type_line(pilot, ":", "notes")
        await settled(pilot)
        assert isinstance(app.screen, TextScreen)
        await pilot.press("q")
        await type_line(pilot, ":", "reload")
        await until(pilot, lambda: app.list_screen.comparison is not comparison)
        again = app.list_screen.comparison
        assert again is not None
        assert again.model_paths == ModelPaths(str(checkpoint), str(checkpoint))
        assert app.session.command_options()[:4] == [
            "--reference-model", str(checkpoint), "--candidate-model", str(checkpoint),
        ]  # fmt: skip
