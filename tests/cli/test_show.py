"""`layertui show` on real captures: its options, exit statuses, and that its commands repeat it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from layertui.cli.main import status_of

Q = "layers.0.self_attn.q_proj-output"
FUSED = "model.layers.layers.0.self_attn.qkv_proj-output"
LOGITS = "lm_head-output"


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


class Shown:
    """What a call printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object, status: int = 0) -> str:
        found = status_of(["show", *map(str, args)])
        out, err = self._capsys.readouterr()
        assert (found, err) == (status, "")
        return out

    def refused(self, *args: object) -> str:
        """The one line of an error."""
        assert status_of(["show", *map(str, args)]) == 2
        out, err = self._capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err[:-1].isprintable()
        assert err.startswith("layertui: ")
        return err

    def repeated(self, text: str) -> str:
        """What the first printed command prints, of the words that a shell makes of it."""
        line = commands(text)[0]
        assert line.startswith("layertui show ")
        words = "a() { printf '%s\\0' \"$@\"; }; a" + line.removeprefix("layertui")
        done = subprocess.run(["bash", "-c", words], capture_output=True, check=True)
        assert status_of([os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]) in (0, 1)
        out, err = self._capsys.readouterr()
        assert err == ""
        return out


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(capsys)


def commands(text: str) -> list[str]:
    """What is printed under REPRODUCE."""
    lines = text.rstrip("\n").split("\n")
    return lines[lines.index("REPRODUCE") + 2 :]


def repeated_by_a_shell(text: str) -> bytes:
    """What the first printed command prints, run by a shell as it is."""
    program = f"{shlex.quote(sys.executable)} -m layertui.cli.main"
    line = commands(text)[0]
    assert line.startswith("layertui show ")
    done = subprocess.run(
        ["bash", "-c", program + line.removeprefix("layertui")], capture_output=True, check=False
    )
    assert done.stderr == b""
    return done.stdout


def saved(folder: Path, **arrays: object) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name.replace('__', '.')}-output.npy", np.asarray(array))
    return folder


# Real pairs


def test_a_part_of_a_fused_record(real: Path, show: Shown) -> None:
    text = show(*pair(real, "llama-f32"), Q)
    assert text.startswith(f"{Q} (row ")
    for line in (
        "recipe [:, 0:64]",
        "matched by  part of a fused tensor",
        "STATISTICS",
        "GREATEST DIFFERENCES",
    ):
        assert line in text
    assert "HISTOGRAM" not in text


@pytest.mark.parametrize("part", ["q_proj", "k_proj", "v_proj"])
def test_own_indices_are_those_of_the_fused_record(real: Path, show: Shown, part: str) -> None:
    from layertui.capture.load import load
    from layertui.capture.open import open_capture

    sides = pair(real, "llama-f32")
    text = show(*sides, f"layers.1.self_attn.{part}-output", "--view", "top", "--top", 5)
    captures = [open_capture(side) for side in sides]
    names = (f"model.model.layers.1.self_attn.{part}-output", FUSED.replace("rs.0", "rs.1"))
    values = [
        load(next(r.locator for r in capture.records if r.name == name and r.locator))
        for capture, name in zip(captures, names, strict=True)
    ]
    rows = [line for line in text.split("\n") if line.startswith("  ") and "  (" in line]
    rows = rows[-5:]
    assert len(rows) == 5
    for row in rows:
        cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
        view = cells[1]
        for own, array, value in zip(cells[2:4], values, cells[4:6], strict=True):
            index = tuple(map(int, (view if own == "same" else own)[1:-1].split(",")))
            assert f"{array[index]:.8g}" == value


def test_ragged_and_last_token(real: Path, show: Shown) -> None:
    text = show(*pair(real, "llama_batch_steps-f32"), "layers.0.mlp-output", "--view", "axes")
    assert "RMS of the difference along axis 0" in text
    text = show(*pair(real, "llama-f32"), LOGITS, "--view", "stats")
    assert "recipe" in text and "last token" in text


def test_a_diverged_pair_fails(real: Path, show: Shown) -> None:
    text = show(*pair(real, "llama_v3_badweights-f32"), "embed_tokens-output", status=1)
    assert "DIVERGED" in text.split("\n")[0].upper()
    assert "1e-02  all match" not in text and "outside" in text


def test_steps(real: Path, show: Shown) -> None:
    sides = pair(real, "llama_steps-f32")
    first = show(*sides, "layers.0.mlp-output")
    second = show(*sides, "layers.0.mlp-output", "--step", 1)
    assert "step 1" in second.split("\n")[0] and first != second
    assert "step" not in first.split("\n")[0]
    assert "in step 99" in show.refused(*sides, "layers.0.mlp-output", "--step", 99)


VIEWS = {
    "stats": "STATISTICS", "top": "GREATEST DIFFERENCES", "axes": "ALONG EVERY AXIS",
    "histogram": "HISTOGRAM", "heat": "HEAT MAP", "values": "VALUES",
}  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_each_view(real: Path, show: Shown, view: str) -> None:
    text = show(*pair(real, "llama-bf16"), Q, "--view", view)
    assert [title for title in VIEWS.values() if title in text.split("\n")] == [VIEWS[view]]


def test_options_of_the_views(real: Path, show: Shown) -> None:
    sides = pair(real, "llama-f32")
    for order, word in (("abs", "absolute"), ("rel", "relative"), ("ulp", "ULP")):
        text = show(*sides, Q, "--view", "top", "--top", 4, "--order", order)
        assert f"the 4 greatest by {word} difference" in text
    assert "4 heads of axis 1" in show(*sides, Q, "--view", "axes", "--heads", 4)
    text = show(*sides, Q, "--view", "values", "--slice", "2, 60:64", "--form", "bits")
    bits = [line.split() for line in text.split("\n") if line.split()[:1] == ["0"]]
    assert all(len(cell) == 8 and int(cell, 16) >= 0 for row in bits[:2] for cell in row[1:])
    text = show(*sides, Q, "--view", "heat", "--quantity", "ratio", "--slice", "0:5")
    assert "candidate/reference over [0:5, :]" in text
    text = show(*sides, Q, "--view", "values", "--slice", "-1,0:2", "--form", "fixed")
    assert "e-0" not in text[text.index("VALUES") : text.index("REPRODUCE")].split("difference")[0]


# Recipes and partners


def test_a_recipe_on_trial(tmp_path: Path, show: Shown) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    sides = saved(tmp_path / "a", proj=x), saved(tmp_path / "b", proj=x.T)
    assert "identical" in show(*sides, "proj-output").split("\n")[0]  # values show the layout
    other = saved(tmp_path / "c", proj=x.T + 1)
    assert "shape" in show(sides[0], other, "proj-output", status=1).split("\n")[0].lower()
    text = show(*sides, "proj-output", "--recipe", "transpose(0,1)")
    assert "identical" in text.split("\n")[0] and "all 24 elements are equal" in text
    assert "--recipe-candidate 'transpose(0,1)'" in commands(text)[0]
    text = show(*sides, "proj-output", "--recipe-reference", "transpose(0,1)")
    assert "identical" in text.split("\n")[0]
    text = show(*sides, "proj-output", "--recipe", "[0:2]", status=1)
    assert "[6, 4]" in text and "[2, 4]" in text
    for recipe in ("transpose(0", "nonsense(1)", "|", "cast(int3)"):
        assert "recipe" in show.refused(*sides, "proj-output", "--recipe", recipe)


def test_any_record_as_partner(tmp_path: Path, show: Shown) -> None:
    x, y = np.ones((3, 4)), np.ones((3, 4))
    sides = saved(tmp_path / "a", one=x, two=x + 1), saved(tmp_path / "b", one=y + 1, other=y)
    text = show(*sides, "one-output", "--with", "other")
    assert "identical" in text.split("\n")[0] and "by hand: asked for" in text
    assert "--with other-output" in commands(text)[0]
    assert "no record 'none'" in show.refused(*sides, "one-output", "--with", "none")
    assert "matches 2 records" in show.refused(*sides, "one-output", "--with", "output")


def test_a_gap_of_either_side(tmp_path: Path, show: Shown) -> None:
    x = np.ones((3, 4), np.float32)
    whole = np.ones((2, 5), np.int64)
    ref = saved(tmp_path / "a", same=x, mine=whole)
    cand = saved(tmp_path / "b", same=x, theirs=x)
    text = show(ref, cand, "mine-output", status=1)
    assert "only one side" in text
    assert "--recipe-candidate" in show.refused(ref, cand, "mine-output", "--recipe", "flip(0)")
    text = show(ref, cand, "mine-output", "--recipe-reference", "[0]", status=1)
    assert show.repeated(text) == text
    text = show(ref, cand, "theirs-output", "--with", "same-output")
    assert "identical" in text.split("\n")[0]
    assert show.repeated(text) == text


# The commands that it prints


@pytest.mark.parametrize(
    ("name", "args", "status"),
    [
        ("llama-f32", [Q], 0),
        ("llama-f32", [Q, "--top", "3", "--order", "rel", "--view", "top", "--view", "axes",
                       "--heads", "4"], 0),
        ("llama-f32", [Q, "--view", "values", "--slice", "-1,:8", "--form", "bits",
                       "--view", "heat", "--quantity", "signed"], 0),
        ("llama-f32", [Q, "--recipe", "[:, 64:128] | cast(bf16)"], 1),
        ("llama-f32", [Q, "--recipe-reference", ""], 1),
        ("llama-f32", [Q, "--with", "layers.1.self_attn.qkv_proj-output", "--recipe",
                       "[:, 0:64]"], 1),
        ("llama-f32", [Q, "--policy", "fixed", "--threshold", "mse=1.23456789e-9"], 0),
        ("llama-f32", [Q, "--rtol", "1.2345678e-7", "--atol", "0"], 1),
        ("llama-f32", [Q, "--metric", "ulp"], 0),
        ("llama_steps-f32", ["layers.1.mlp-output", "--step", "2"], 0),
        ("llama_steps-f32", ["lm_head-output", "--step", "1", "--recipe", "flip(0)"], None),
    ],
)  # fmt: skip
def test_the_printed_command_prints_the_same(
    real: Path, capsys: pytest.CaptureFixture[str], name: str, args: list[str], status: int | None
) -> None:
    found = status_of(["show", *map(str, pair(real, name)), *args])
    text, err = capsys.readouterr()
    assert err == "" and found in ((0, 1) if status is None else (status,))
    assert Shown(capsys).repeated(text) == text
    assert commands(text)[1].startswith(f"layertui {real}")


def test_sides_exchanged_lead_back_too(real: Path, show: Shown) -> None:
    """The reference is the fused one then: its name alone would be of three rows."""
    sides = tuple(reversed(pair(real, "llama-f32")))
    text = show(*sides, Q)
    assert show.repeated(text) == text


def test_with_rules(real: Path, tmp_path: Path, show: Shown) -> None:
    rules = tmp_path / "my rules.toml"
    rules.write_text(
        f'[[recipe]]\nmatch = "{Q}"\nreference = "squeeze(0) | reshape(10,4,16)"\n'
        'candidate = "[:, 0:64] | reshape(10,4,16)"\n'
    )
    text = show(*pair(real, "llama-f32"), Q, "--rules", rules)
    assert "reshape(10, 4, 16)" in text and "--recipe" not in commands(text)[0]
    assert show.repeated(text) == text


def test_names_like_options_and_with_control_characters(tmp_path: Path, show: Shown) -> None:
    x = np.ones((2, 3), np.float32)
    odd = "a\x1b[31m\nb's \\ c"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "-output.npy", x)
        for name in (odd, odd + "2"):
            np.save(tmp_path / folder / f"{name}-output.npy", x)
    sides = tmp_path / "one", tmp_path / "two"
    text = show("--", *sides, "-output")
    assert repeated_by_a_shell(text).decode() == text
    text = show(*sides, f"{odd}-output")
    assert all(line.isprintable() for line in text.split("\n"))
    assert repeated_by_a_shell(text).decode() == text
    assert "matches" in show.refused(*sides, odd)
    assert "matches" in show.refused(sides[0], odd)


# Names, bad input


def test_names_that_several_have_or_none(real: Path, show: Shown) -> None:
    sides = pair(real, "llama-f32")
    assert "matches 3 rows: layers.0.self_attn.q_proj-output" in show.refused(*sides, FUSED)
    assert "matches" in show.refused(*sides, "mlp")
    assert show(*sides, "#9").startswith(f"{Q} (row 9)")
    assert "no record 'no\\nsuch'" in show.refused(*sides, "no\nsuch")
    assert "no record 'nope'" in show.refused(sides[0], "nope")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([Q, "--slice", "99", "--view", "values"], "outside an axis of 10"),
        ([Q, "--slice", "x", "--view", "heat"], "not a slice"),
        ([Q, "--slice", "::2"], "steps of 1"),
        ([Q, "--view", "nothing"], "--view"),
        ([Q, "--top", "0"], "--top"),
        ([Q, "--heads", "0"], "--heads"),
        ([Q, "--step", "-1"], "--step"),
        ([Q, "--rtol", "1"], "--atol"),
        ([Q, "too", "many"], "5 were given"),
    ],
)
def test_bad_options_are_one_line(real: Path, show: Shown, args: list[str], message: str) -> None:
    assert message in show.refused(*pair(real, "llama-f32"), *args)


def test_places_that_are_not_there(real: Path, tmp_path: Path, show: Shown) -> None:
    ref, _ = pair(real, "llama-f32")
    (tmp_path / "empty").mkdir()
    assert "nowhere" in show.refused(tmp_path / "nowhere")
    assert "empty" in show.refused(tmp_path / "empty", "x")
    assert "nowhere" in show.refused(ref, tmp_path / "nowhere", Q)
    assert "REF CAND NAME" in show.refused(ref, Q, "--with", "x")
    assert show.refused()


# One capture


def test_a_capture_is_listed(real: Path, show: Shown) -> None:
    ref, _ = pair(real, "llama-f32")
    lines = show(ref).split("\n")
    assert lines[0] == str(ref) and "84 records" in lines[1]
    assert len([line for line in lines if line.endswith(("float32", "int64"))]) == 84
    _, cand = pair(real, "llama_steps-f32")
    assert "step 1 " in show(cand)


def test_a_record_alone(real: Path, show: Shown) -> None:
    ref, cand = pair(real, "llama-f32")
    text = show(ref, "layers.0.self_attn.q_proj-output")
    assert "[1,10,64] float32" in text.split("\n")[0]
    assert "STATISTICS" in text and "VALUES" in text
    text = show(cand, FUSED, "--recipe", "[:, 0:64]", "--view", "stats")
    assert "recipe [:, 0:64]" in text and "640" in text
    assert "not a slice" in show.refused(cand, FUSED, "--slice", "x")


def test_whole_axes_open_are_too_many(tmp_path: Path, show: Shown) -> None:
    folder = saved(tmp_path / "a", cube=np.zeros((3, 4, 5)))
    assert "3 axes are not fixed" in show.refused(folder, "cube", "--slice", ":")
    assert "VALUES" in show(folder, "cube", "--slice", "1")


def test_statistics_that_a_capture_holds_itself(tmp_path: Path, show: Shown) -> None:
    torch = pytest.importorskip("torch")
    from layertui.capture import record

    model = torch.nn.Linear(3, 2)
    for side in ("a", "b"):
        with record(model, tmp_path / side, stats_only=True):
            model(torch.full((1, 3), 1.25))
    text = show(tmp_path / "a", "input_0")
    assert "statistics only" in text and "1.25" in text
    show(tmp_path / "a", tmp_path / "b", "input_0", status=status_of_stats(tmp_path))


def status_of_stats(tmp_path: Path) -> int:
    """What `compare` says of the same pair."""
    return status_of(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", os.devnull])


def test_what_cannot_be_read_fails(real: Path, tmp_path: Path, show: Shown) -> None:
    ref, cand = pair(real, "llama-f32")
    broken = tmp_path / "broken"
    shutil.copytree(cand, broken)
    os.truncate(broken / f"{FUSED}.max", 40)
    assert "UNREADABLE" in show(broken, status=1)
    assert "no values: " in show(broken, FUSED, status=1)
    text = show(ref, broken, Q, status=1)
    assert "unreadable" in text and f"{FUSED}.max" in text


def test_nan_on_one_side_fails(tmp_path: Path, show: Shown) -> None:
    x = np.ones((3, 4), np.float32)
    y = x.copy()
    y[1, 2] = np.nan
    sides = saved(tmp_path / "a", one=x), saved(tmp_path / "b", one=y)
    text = show(*sides, "one", *(word for view in VIEWS for word in ("--view", view)), status=1)
    for words in ("NaN or Inf on one side", "not finite", "(!)"):
        assert words in text


@pytest.mark.parametrize(
    "array",
    [
        np.empty((0, 3), np.float32), np.array(2.5), np.array([True, False]),
        np.array([-(2**63), 2**63 - 1]), np.array([1 + 2j, np.nan], np.complex64),
        np.zeros((1, 2, 1, 3, 1, 2, 2), np.float16), np.full(3, np.inf),
    ],
    ids=["empty", "scalar", "bool", "int64", "complex64", "seven axes", "inf"],
)  # fmt: skip
def test_odd_tensors_in_every_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], array: np.ndarray
) -> None:
    sides = saved(tmp_path / "a", one=array), saved(tmp_path / "b", one=array)
    views = [word for view in VIEWS for word in ("--view", view)]
    for places in ([*map(str, sides), "one-output"], [str(sides[0]), "one-output"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            status = status_of(["show", *places, *views])
        out, err = capsys.readouterr()
        assert (err, status) == ("", 0)
        titles = [title for title in VIEWS.values() if title in out.split("\n")]
        assert titles == list(VIEWS.values()) and "cannot be shown" not in out


# Output


def test_output_files(real: Path, tmp_path: Path, show: Shown) -> None:
    sides = pair(real, "llama-f32")
    target = tmp_path / "out.txt"
    text = show(*sides, Q)
    assert show(*sides, Q, "-o", target) == ""
    assert target.read_text() == text
    assert "exists already" in show.refused(*sides, Q, "-o", target, "--top", 3)
    assert target.read_text() == text
    assert show(*sides, Q, "-o", target, "--overwrite", "--top", 3) == ""
    assert "the 3 greatest" in target.read_text()
    assert show(*sides, Q, "-o", "-") == text
    assert "no directory" in show.refused(*sides, Q, "-o", tmp_path / "no" / "x")
    assert sorted(tmp_path.glob("*.txt")) == [target] and not list(tmp_path.glob(".layertui-*"))


def test_one_pair_needs_no_name(real: Path, tmp_path: Path, show: Shown) -> None:
    """Two files, or two captures of one pair; what is a name of a record stays one."""
    torch, candidate = pair(real, "llama-f32")
    files = (
        torch / "0/model.model.layers.0.mlp-output.pt",
        candidate / ("model.layers.layers.0.mlp-output.max"),
    )
    text = show(*files)
    assert text.startswith("layers.0.mlp-output (row 0): ok")
    assert "(up to 1e-05 allowed)" in text and "(up to 1.3e-06 allowed)" in text
    assert show.repeated(text) == text
    for side, file in zip(("a", "b"), files, strict=True):
        (tmp_path / side).mkdir()
        shutil.copy(file, tmp_path / side)
    assert show(tmp_path / "a", tmp_path / "b").startswith("layers.0.mlp-output (row 0): ok")
    assert "there are 48 pairs" in show.refused(torch, candidate)
    assert "no record" in show.refused(torch, "nonsense")


def test_a_record_called_like_a_file_is_the_record(
    tmp_path: Path, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dump").mkdir()
    np.save(tmp_path / "dump/norm-output.npy", np.ones(3, np.float32))
    (tmp_path / "norm-output").mkdir()
    monkeypatch.chdir(tmp_path)
    assert show("dump", "norm-output").startswith("norm-output: [3] float32")
