"""Paths that the system refuses to look at: too long, or of a user that there is not. A directory
that may not be searched is refused in the same way, though not to root.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.tui.jobs.export_job import target
from layertui.tui.jobs.rerun_job import RunnerAnswerError, spec_of
from support.screens.tui_captures import make_app, measured, type_line, until

LONG = "a" * 300
PATHS = {"long": f"/tmp/{LONG}/x.md", "a user that is not there": "~nobody-of-this-name/x.md"}


@pytest.mark.parametrize("command", ["export", "baseline", "before"])
async def test_commands_say_so(real: Path, command: str) -> None:
    app = make_app(*(str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")))
    async with app.run_test(size=(400, 30)) as pilot:
        await measured(pilot, app)
        for path in PATHS.values():
            await type_line(pilot, ":", f"{command} {path}")
            await until(pilot, lambda path=path: app.said.startswith(f"{path}: "), 30)
            assert any(word in app.said.lower() for word in ("no such file", "too long"))


@pytest.mark.parametrize("path", PATHS.values())
def test_answers_to_the_question_for_a_runner(path: str) -> None:
    from layertui.capture.runners.spec import RunnerSpec

    with pytest.raises(RunnerAnswerError):
        spec_of(path, RunnerSpec("torch"))


def test_a_target_is_no_directory() -> None:
    assert target(PATHS["long"], "x") == Path(PATHS["long"])
