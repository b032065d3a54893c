"""The effect on the logits on the screen: said at the end, and in the pane of the logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.present.row_fields import pane_fields
from support.screens.judged_captures import Arrays, run, runs
from support.screens.tui_captures import measured


def with_logits(arrays: Arrays, token: int | None = None) -> Arrays:
    """A run with logits of 24 tokens; `token` has another one as its likeliest."""
    logits = np.zeros((24, 300), np.float32)
    logits[:, 7] = 3.0
    logits[:, 9] = 2.75
    if token is not None:
        logits[token, 9] = 3.25
    return {**arrays, "model.lm_head-output": logits}


async def test_the_effect_on_the_logits_is_said_at_the_end(tmp_path: Path) -> None:
    sides = runs(
        tmp_path, reference=with_logits(run()),
        candidate=with_logits(run(noise=1e-6, seed=2, swap_at=2), token=5),
    )  # fmt: skip
    effect = "top-1 23/24, token 5 differs (margin 0.25)"
    narrow = LayertuiApp(Request(sides["reference"], sides["candidate"]))
    async with narrow.run_test(size=(80, 24)) as pilot:  # the divergence is on the first line
        await measured(pilot, narrow)
        message = narrow.list_screen.prompt.message
        assert message.startswith("logits: KL ") and message.endswith(effect)
    app = LayertuiApp(Request(sides["reference"], sides["candidate"]))
    async with app.run_test(size=(300, 24)) as pilot:
        await measured(pilot, app)
        message = app.list_screen.prompt.message
        assert message.startswith("logits: KL ")
        assert f"{effect}; first divergence: " in message
        comparison = app.list_screen.comparison
        assert comparison is not None and comparison.known_effect is not None
        row = next(row.index for row in comparison.rows if row.canonical == "lm_head")
        fields = {field.label: field.value for field in pane_fields(comparison, row)}
        assert "top-1 agrees at 23 of 24 tokens" in fields["effect"]
        others = [f.label for f in pane_fields(comparison, 0)]
        assert "effect" not in others


async def test_nothing_is_said_of_logits_that_are_equal(tmp_path: Path) -> None:
    sides = runs(tmp_path, reference=with_logits(run()), candidate=with_logits(run()))
    app = LayertuiApp(Request(sides["reference"], sides["candidate"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None and comparison.known_effect is not None
        assert "logits" not in app.list_screen.prompt.message
