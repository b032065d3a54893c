"""`--reference-model` and `--candidate-model` on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.cli.main import status_of
from layertui.compare.weights.remembered_models import remembered_model


def arguments(real: Path, command: str) -> list[str]:
    sides = [str(real / "olmo2-f32" / name) for name in ("torch_dump", "max_dump")]
    if command == "open":
        return [*sides, "--no-tui"]
    more = {"show": ["layers.0.mlp.down_proj-output"], "rerun": ["layers.0.mlp.down_proj"]}
    return [command, *sides, *more.get(command, [])]


def remembered(real: Path) -> list[str | None]:
    sides = [real / "olmo2-f32" / name for name in ("torch_dump", "max_dump")]
    return [remembered_model(open_capture(side, headers=False)) for side in sides]


@pytest.mark.parametrize("command", ["compare", "open", "show"])
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_bad_path_is_one_line(
    real: Path, command: str, side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)
    for path, words in ((tmp_path / "none", "no such file"), (tmp_path, "safetensors")):
        assert status_of([*arguments(real, command), f"--{side}-model", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("layertui: ")
        assert err.count("\n") == 1
        assert words in err
    assert remembered(real) == [None, None]


@pytest.mark.parametrize("command", ["compare", "open", "show"])
def test_what_is_given_is_remembered_for_the_capture(
    real: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = real / "checkpoints" / "olmo2-f32"
    assert status_of([*arguments(real, command), "--reference-model", str(model)]) == 1
    again = capsys.readouterr().out.splitlines()[-1]
    assert again.startswith("layertui ")
    assert f"--reference-model {model}" in again
    assert remembered(real) == [str(model), None]


def test_the_screen_does_not_open_on_a_bad_path(real: Path, tmp_path: Path) -> None:
    """As on a terminal: refused before it is drawn on."""
    code = (
        "import sys; from layertui.cli.commands import open as command\n"
        "from layertui.compare.judging.options import JudgingOptions as Judging\n"
        "from layertui.capture.errors import CaptureError\n"
        "judging = Judging(candidate_model=sys.argv[3])\n"
        "try: command.show(*sys.argv[1:3], judging, command.ScreenOptions())\n"
        "except CaptureError as error: print(error); sys.exit(2)\n"
    )
    sides = [str(real / "olmo2-f32" / name) for name in ("torch_dump", "max_dump")]
    done = subprocess.run(
        [sys.executable, "-c", code, *sides, str(tmp_path / "none")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == f"{tmp_path / 'none'}: no such file or directory\n"


def test_models_of_the_rules_file(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[models]\ncandidate = "nowhere"\n')
    assert status_of([*arguments(real, "compare"), "--rules", str(rules)]) == 2
    assert capsys.readouterr().err == "layertui: nowhere: no such file or directory\n"
    rules.write_text(f'[models]\ncandidate = "{real / "checkpoints" / "olmo2-f32"}"\n')
    assert status_of([*arguments(real, "compare"), "--rules", str(rules)]) == 1
    assert remembered(real) == [None, None]  # the file says it again next time


def test_rerun_takes_a_runners_model_in_any_words(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a runner is told of its model need not be a checkpoint."""
    more = ["--candidate-model", "any words", "--runner", "/bin/false"]
    assert status_of([*arguments(real, "rerun"), *more]) == 2
    assert "any words" not in capsys.readouterr().err
