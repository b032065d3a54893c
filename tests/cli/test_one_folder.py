"""One directory with the text dumps of both sides, where two captures are expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.cli.main import status_of

OF_LAYER = ("attn_o_proj", "mlp_norm_output", "layer_output")
NAMES = (
    "input_embeddings", *(f"layer_{n}_{name}" for n in range(3) for name in OF_LAYER),
    "final_norm_output",
)  # fmt: skip
WRONG = "layer_1_mlp_norm_output"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Dumps of which one differs."""
    place = tmp_path / "dumps"
    place.mkdir()
    for number, name in enumerate(NAMES):
        values = np.random.default_rng(number).standard_normal(24).astype(np.float32)
        for side, factor in (("py", 1.0), ("cpp", 1.5 if name == WRONG else 1.0)):
            lines = ["# Shape: 1x3x8", *(f"{value:.9g}" for value in values * factor)]
            (place / f"{side}_{name}.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return "dumps"


@pytest.mark.parametrize(
    ("command", "rest", "status", "said"),
    [
        ("compare", [], 1, "first divergence"),
        ("show", [WRONG], 1, "DIVERGED"),
        ("check", [], 0, "layertui check of dumps and dumps"),
        ("explain", [], 0, ""),
        ("explain", ["layers.1.post_attention_layernorm"], 0, "L1 post_attention_layernorm"),
    ],
)
def test_one_is_enough(
    command: str, rest: list[str], status: int, said: str, folder: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The same as with the directory given twice."""
    assert status_of([command, folder, *rest]) == status
    alone = capsys.readouterr()
    assert said.lower() in alone.out.lower() and not alone.err
    assert status_of([command, folder, folder, *rest]) == status
    twice = capsys.readouterr().out
    without_commands = [
        [line for line in text.splitlines() if "layertui " not in line]
        for text in (alone.out, twice)
    ]
    assert without_commands[0] == without_commands[1]


def test_metrics_of_one(folder: str, tmp_path: Path) -> None:
    assert status_of(["metrics", folder, "-o", "metrics"]) == 0
    assert (tmp_path / "metrics" / "tidy.csv").is_file()


def test_a_capture_alone_is_not_both(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path(folder).glob("cpp_*"):
        path.unlink()
    for command in ("compare", "explain", "rerun"):
        more = ["--all"] if command == "rerun" else []
        assert status_of([command, folder, *more]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "give two captures to compare, or one directory" in err
    assert status_of(["check", folder]) == 0
    assert "layertui check of dumps\n" in capsys.readouterr().out


def test_a_misspelt_capture_is_no_layer(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["compare", folder, "dunps"]) == 2
    assert "dunps: no such file or directory" in capsys.readouterr().err
    assert status_of(["explain", folder, "nosuch"]) == 2
    assert "nosuch: neither capture has such a layer" in capsys.readouterr().err


def test_a_plot_has_what_only_dumps_record(tmp_path: Path) -> None:
    """What a gate gives is a value of its own, what a layer is given repeats an earlier one."""
    from layertui.compare.comparison import open_comparison
    from layertui.compare.reports.plot import output_points

    place = tmp_path / "dumps"
    place.mkdir()
    for name in ("layer_0_input_hidden_states", "layer_0_mlp_intermediate", "layer_0_layer_output"):
        for side in ("py", "cpp"):
            (place / f"{side}_{name}.txt").write_text("# Shape: 2x2\n1\n2\n3\n4\n")
    comparison = open_comparison(str(place), str(place))
    comparison.measure(use_cache=False)
    assert len(comparison.rows) == 3
    assert [point.component for point in output_points(comparison)] == ["down_proj", "layer"]
