"""Shell completion: the scripts, and what they are answered."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from layertui.cli.group import layertui
from layertui.cli.main import status_of


def answers(*words: str) -> dict[str, str]:
    """What completing the last word offers: value -> kind."""
    *args, incomplete = words
    shell = ShellComplete(layertui, {}, "layertui", "_LAYERTUI_COMPLETE")
    return {item.value: item.type for item in shell.get_completions(args, incomplete)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["completion", shell]) == 0
    assert f"_LAYERTUI_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run(
        [sys.executable, "-m", "layertui.cli.main", "completion", shell],
        capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_first_word_is_a_command_or_a_directory() -> None:
    found = answers("co")
    assert found["compare"] == "plain"
    assert found["completion"] == "plain"
    assert found["co"] == "dir"
    assert "demo" not in found


def test_first_word_may_be_an_option_of_the_default_command() -> None:
    found = answers("--p")
    assert set(found) == {"--policy"}


def test_values_of_options() -> None:
    assert set(answers("compare", "--metric", "m")) == {"mse", "max_abs", "max_rel"}
    assert set(answers("compare", "--format", "j")) == {"json", "junit"}
    assert set(answers("thresholds", "--format", "")) == {"layertui", "aiu"}
    assert set(answers("compare", "--thres")) == {"--threshold", "--thresholds"}
    assert set(answers("demo", "--fault", "n")) == {"none", "norm-eps", "nan-row"}
    assert set(answers("completion", "")) == {"bash", "zsh", "fish"}


def test_the_shell_gets_its_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'layertui'; "
         "from layertui.cli.main import run; run()"],
        env={"_LAYERTUI_COMPLETE": "bash_complete", "COMP_WORDS": "layertui dem", "COMP_CWORD": "1",
             "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "plain,demo" in done.stdout.splitlines()
