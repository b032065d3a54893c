"""`layertui compare` on real captures and on damaged ones: status, reports, files."""

from __future__ import annotations

import csv
import io
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.extras import needs
from layertui.cli.main import status_of
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets


def compare(*args: object) -> int:
    return status_of(["compare", *map(str, args)])


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-f32", 0),
        ("llama-bf16", 0),
        ("llama_v3-f32", 0),
        ("llama_steps-f32", 0),
        ("llama_v3_badweights-f32", 1),
        ("olmo2-f32", 1),
    ],
)
def test_exit_status_of_real_pairs(
    real: Path, name: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*pair(real, name)) == expected
    out, err = capsys.readouterr()
    assert "layertui " in out
    assert err == ""


def test_the_first_divergence_is_named(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*pair(real, "llama_v3_badweights-f32"), "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["first_divergence"]["module"] == "embed_tokens"


def test_json_has_no_bare_nan(real: Path, tmp_path: Path) -> None:
    ref, cand = spoiled(real, tmp_path, "nan")
    target = tmp_path / "report.json"
    assert compare(ref, cand, "--format", "json", "-o", target) == 1

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    report = json.loads(target.read_text(), parse_constant=refuse)
    assert report["schema"] == "layertui.compare/1"
    assert report["counts"]["pairs"] > 20
    assert any(row["verdict"] == "nan" for row in report["rows"])


def test_csv_has_a_line_for_every_row(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(*pair(real, "llama-f32"), "--format", "json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    compare(*pair(real, "llama-f32"), "--format", "csv")
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(table) == len(rows)


def test_only_diverged_leaves_the_rest_out(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama_v3_badweights-f32")
    compare(ref, cand)
    everything = capsys.readouterr().out
    assert compare(ref, cand, "--only-diverged") == 1
    diverged = capsys.readouterr().out
    assert len(diverged.splitlines()) < len(everything.splitlines())
    assert "embed_tokens" in diverged


def test_fixed_limits_decide(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama-f32")
    assert compare(ref, cand, "--policy", "fixed") == 0
    assert compare(ref, cand, "--policy", "fixed", "--threshold", "mse=1e-20") == 1
    assert compare(ref, cand, "--threshold", "mse=1e-3") == 0
    assert compare(ref, cand, "--rtol", "0", "--atol", "0") == 1
    assert compare(ref, cand, "--rtol", "1e-3", "--atol", "1e-3") == 0
    capsys.readouterr()


def test_one_tolerance_alone_is_refused(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*pair(real, "llama-f32"), "--rtol", "1e-3") == 2
    assert one_line(capsys).startswith("layertui: --rtol and --atol")


def test_threshold_without_its_policy_is_refused(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("--policy", "default", "--threshold", "mse=1")
    assert compare(*pair(real, "llama-f32"), *args) == 2
    assert "--policy fixed" in one_line(capsys)


def test_coverage_floor(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama-f32")
    assert compare(ref, cand, "--min-coverage", "0") == 0
    assert compare(ref, cand, "--min-coverage", "1") == 1
    assert compare(ref, cand, "--min-coverage", "nan") == 2
    capsys.readouterr()


def test_threads_and_no_cache_change_nothing(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for args in ((), ("--threads", "1"), ("--threads", "3", "--no-cache")):
        assert compare(*pair(real, "llama-f32"), "--format", "json", *args) == 0
        reports.append(json.loads(capsys.readouterr().out)["rows"])
    assert reports[0] == reports[1] == reports[2]


def test_processes_are_threads_where_sums_are_compiled_and_it_says_so(
    real: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*pair(real, "llama-f32"), "--processes", "2", "--no-cache", "--layers", "0:1")
    if instruction_sets():
        assert compare(*args) == 0
        assert capsys.readouterr().err == (
            "layertui: --processes is no longer needed: measuring in 2 threads\n"
        )
    monkeypatch.setenv(NO_KERNEL, "1")
    assert compare(*args) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place / "missing", "no such file"),
        (lambda place: made(place / "empty"), "empty directory"),
        (lambda place: made(place / "other", "notes.md"), "no tensors found"),
    ],
)
def test_captures_that_cannot_be_opened(
    real: Path, tmp_path: Path, make: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    ref, _ = pair(real, "llama-f32")
    for args in ((make(tmp_path), ref), (ref, make(tmp_path))):
        assert compare(*args) == 2
        assert said in one_line(capsys)


def test_a_bad_rules_file_is_one_line(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[nonsense]\n")
    assert compare(*pair(real, "llama-f32"), "--rules", rules) == 2
    assert "nonsense" in one_line(capsys)


def test_a_truncated_file_is_an_unreadable_row(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, cand = spoiled(real, tmp_path, "truncated")
    assert compare(ref, cand, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    bad = [row for row in report["rows"] if row["verdict"] == "unreadable"]
    assert len(bad) >= 1
    assert all("o_proj" in row["canonical"] and row["reason"] for row in bad)
    assert report["counts"]["unreadable"] >= 1


def test_nothing_in_common(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    for side, name, shape in (("a", "alpha.conv", (3, 5)), ("b", "beta.gru", (7,))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / f"{name}-output.npy", np.ones(shape, np.float32))
    assert compare(tmp_path / "a", tmp_path / "b") == 1
    assert "alpha.conv" in capsys.readouterr().out


def test_output_file_is_never_replaced_unasked(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.txt"
    target.write_text("precious")
    args = (*pair(real, "llama-f32"), "-o", target)
    assert compare(*args) == 2
    assert "exists already" in one_line(capsys)
    assert target.read_text() == "precious"
    assert compare(*args, "--overwrite") == 0
    assert "q_proj" in target.read_text()
    assert sorted(path.name for path in tmp_path.glob("*report*")) == ["report.txt"]


def test_output_file_has_the_usual_mode(real: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "report.txt", tmp_path / "other.txt"
    other.write_text("")
    assert compare(*pair(real, "llama-f32"), "-o", target) == 0
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_output_may_be_a_device_or_dash(real: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama-f32")
    assert compare(ref, cand, "-o", "/dev/null") == 0
    assert capfd.readouterr().out == ""
    assert Path("/dev/null").is_char_device()
    assert compare(ref, cand, "-o", "-") == 0
    assert "q_proj" in capfd.readouterr().out


@pytest.mark.parametrize("target", ["no/such/place.txt", "."])
def test_an_impossible_target_is_refused_before_the_work(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare("missing", "missing", "-o", target) == 2
    assert target in one_line(capsys)


def test_plot(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "mse.png"
    assert compare(*pair(real, "llama_v3_badweights-f32"), "--plot", target) == 1
    assert target.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert compare(*pair(real, "llama-f32"), "--plot", target) == 2
    assert "exists already" in one_line(capsys)
    assert compare(*pair(real, "llama-f32"), "--plot", tmp_path / "mse.bmp") == 2
    assert ".png" in one_line(capsys)


def test_a_plot_has_a_point_for_every_row(real: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from layertui.cli.session import measure_all, open_pair
    from layertui.compare.judging.options import JudgingOptions
    from layertui.compare.reports.plot import draw_plot, plot_points

    ref, cand = spoiled(real, tmp_path, "nan")
    comparison = open_pair(str(ref), str(cand), JudgingOptions())
    measure_all(comparison)
    points = plot_points(comparison)
    assert [point.index for point in points] == [row.index for row in comparison.rows]
    assert all((point.mse is None) != (point.edge is None) for point in points)
    assert {"identical", "gap", "nan"} <= {point.edge for point in points}
    picture = draw_plot(comparison, "svg").decode()
    for label in ("identical", "gap (one side only)", "NaN or Inf", "o_proj"):
        assert f"<!-- {label}" in picture


def test_a_plot_shows_outputs_in_the_order_of_their_modules(real: Path) -> None:
    """An input is no layer: it repeats what an earlier one gave."""
    pytest.importorskip("matplotlib")
    from layertui.compare.comparison import open_comparison
    from layertui.compare.reports.plot import draw_plot, output_points
    from layertui.compare.reports.summary import component_of

    comparison = open_comparison(*map(str, pair(real, "llama-f32")))
    comparison.measure(use_cache=False)
    outputs = [row for row in comparison.rows if row.role != "input"]
    points = output_points(comparison)
    assert 0 < len(outputs) < len(comparison.rows)
    assert [point.component for point in points] == list(map(component_of, outputs))
    assert [point.index for point in points] == list(range(len(outputs)))
    assert "output, in execution order" in draw_plot(comparison, "svg").decode()


def test_a_plot_of_strange_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names are data: no formula is typeset, none hides from the legend, many find room."""
    pytest.importorskip("matplotlib")
    import numpy as np

    values = np.ones((2, 3), np.float32)
    for side in ("a$x_{", "b"):
        (tmp_path / side).mkdir()
        for name in (
            "$\\frac$",
            "_hidden",
            "tab\there",
            *(f"kind{chr(97 + i)}" for i in range(26)),
        ):
            np.save(tmp_path / side / f"{name}-output.npy", values * (1 + 1e-6 * (side == "b")))
    target = tmp_path / "plot.svg"
    assert compare(tmp_path / "a$x_{", tmp_path / "b", "--plot", target) == 0
    picture = target.read_text()
    for label in ("<!-- $\\frac$ -->", "<!--  _hidden -->", "other components"):
        assert label in picture.replace("\\$", "$")


def test_without_matplotlib_the_plot_is_refused_before_the_work(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"  # as if it were not installed
        "from layertui.cli.main import run; run()\n"
    )
    args = ["compare", "missing", "missing", "--plot", str(tmp_path / "x.png")]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"layertui: {needs('plot', 'plotting')}\n"


def test_the_report_s_command_makes_it_again(real: Path, tmp_path: Path) -> None:
    import shlex

    ref, cand = pair(real, "llama-f32")
    (tmp_path / "a b").symlink_to(ref)
    (tmp_path / "c").symlink_to(cand)
    first = subprocess.run(
        [sys.executable, "-m", "layertui.cli.main", "compare", "a b", "c", "--format", "json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=True,
    )  # fmt: skip
    program, *args = shlex.split(json.loads(first.stdout)["command"])
    assert program == "layertui"
    again = subprocess.run(
        [sys.executable, "-m", "layertui.cli.main", *args],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=True,
    )  # fmt: skip
    assert again.stdout == first.stdout


@pytest.mark.parametrize("form", ["junit", "html", "markdown", "qwen3-json", "aiu"])
def test_forms_for_other_readers(form: str, real: Path, tmp_path: Path) -> None:
    target = tmp_path / "report"
    args = (*pair(real, "llama_v3_badweights-f32"), "--format", form, "-o", target)
    assert compare(*args) == 1
    name = "embedding" if form == "qwen3-json" else "embed_tokens"
    assert name in target.read_text()


def test_qwen3_json_is_passed_by_the_policy_fixed(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The olmo pair's q_norm is off by 0.2 %: too much for float32, within the rules of thumb."""
    args = (*pair(real, "olmo2-f32"), "--format", "qwen3-json")
    assert compare(*args) == 0
    assert json.loads(capsys.readouterr().out)["overall_success"] is True
    assert compare(*args, "--threshold", "relative_l2=1e-3") == 1
    assert json.loads(capsys.readouterr().out)["overall_success"] is False
    assert compare(*args, "--policy", "default") == 2
    assert "--policy fixed" in one_line(capsys)


def matrix(real: Path, folder: Path, *sources: str) -> tuple[Path, Path]:
    """Two directories that hold a case a source."""
    from layertui.capture.cases import write_index

    sides = folder / "torch_dump", folder / "max_dump"
    for side in sides:
        for number, source in enumerate(sources):
            shutil.copytree(real / source / side.name, side / f"p{number}")
        names = [{"name": f"p{number}", "status": "done"} for number in range(len(sources))]
        write_index(str(side), "x", names)
    return sides


def test_matrices_in_the_forms_that_hold_them(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = matrix(real, tmp_path, "llama-f32", "llama_v3_badweights-f32")
    assert compare(*sides, "--format", "csv") == 1
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {line["case"] for line in table} == {"p0", "p1"}
    assert {line["verdict"] for line in table if line["case"] == "p1"} >= {"diverged", "missing"}
    for form, said in (("junit", 'testsuite name="p1"'), ("markdown", "(case `p1`)"),
                       ("html", "<h2>case p1</h2>"), ("text", "case p1: differs")):  # fmt: skip
        assert compare(*sides, "--format", form) == 1
        assert said in capsys.readouterr().out
    for form in ("qwen3-json", "aiu"):
        assert compare(*sides, "--format", form) == 2
        assert "one case at a time" in one_line(capsys)
    shutil.rmtree(sides[1] / "p1")
    assert compare(*sides, "--format", "csv") == 1
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (lost,) = [line for line in table if line["case"] == "p1"]
    assert lost["kind"] == "not compared" and "no such file" in lost["reason"]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def made(folder: Path, *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in files:
        (folder / name).write_text("nothing to see")
    return folder


def spoiled(real: Path, tmp_path: Path, how: str) -> tuple[Path, Path]:
    """The llama pair with the candidate's last o_proj output truncated, or with a NaN in it."""
    ref, cand = pair(real, "llama-f32")
    copy = tmp_path / "spoiled"
    shutil.copytree(cand, copy)
    victim = copy / "model.layers.layers.1.self_attn.o_proj-output.max"
    data = bytearray(victim.read_bytes())
    data = data[:-100] if how == "truncated" else data[:-4] + b"\x00\x00\xc0\x7f"
    victim.write_bytes(data)
    return ref, copy


def test_reshaping_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.arange(120, dtype=np.float32)
    for side, shape in (("a", (4, 30)), ("b", (8, 15))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "norm-output.npy", values.reshape(shape))
    sides = tmp_path / "a", tmp_path / "b"
    assert compare(*sides) == 1
    assert "do not fit together" in capsys.readouterr().out
    assert compare(*sides, "--allow-reshape", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["recipe"] == {"reference": "reshape(8, 15)", "candidate": ""}


def test_a_recipe_for_one_side_says_which_side_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, shape in (("a", (1, 4, 30)), ("b", (4, 30))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "norm-output.npy", np.ones(shape, np.float32))
    rules = tmp_path / "rules.toml"
    for recipe, status in (("reshape(1, 4, 30)", 0), ("reshape(2, 60)", 1)):
        rules.write_text(f'[[recipe]]\nmatch = "norm-output"\ncandidate = "{recipe}"\n')
        assert compare(tmp_path / "a", tmp_path / "b", "--rules", rules) == status
    out = capsys.readouterr().out
    assert "[4, 30] of the reference against [2, 60] of the candidate" in out


def test_some_of_the_layers(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "qwen3-f32")
    words = (ref, cand, "--no-cache", "--format", "qwen3-json")
    assert compare(*words, "--layers", "0:1") == 0
    report = json.loads(capsys.readouterr().out)
    assert [layer["layer_name"] for layer in report["layer_results"]] == [
        "embedding", "layer_0_attention", "layer_0_mlp",
    ]  # fmt: skip
    assert report["overall_success"] is True
    assert compare(*words, "--layers", "7:") == 2
    assert "they have layers 0 to 1" in capsys.readouterr().err
    assert compare(*words, "--layers", "5:2") == 2
    assert "contains no layer" in capsys.readouterr().err
