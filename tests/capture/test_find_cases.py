"""Directories of inputs: which sub-directories are cases, and which are parts of one capture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture
from layertui.capture.cases import find_cases, holds_both_sides

STEMS = ("embed", "layer_0_mlp", "layer_1_mlp")


def write(root: Path, *folders: str, stems: tuple[str, ...] = STEMS) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for stem in stems:
            np.save(root / folder / f"{stem}.npy", np.ones(3))
    return root


@pytest.mark.parametrize(
    "names",
    [("test0", "test1"), ("hello_world", "long-text"), ("input_1", "input_2", "input_10"),
     ("b1-s8", "b2-s8"), ("dp0", "dp1"), ("The quick brown fox", "Once")],
)  # fmt: skip
def test_folders_of_any_names_are_cases(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, *names)
    (tmp_path / "README.md").write_text("inputs")
    found = find_cases(str(tmp_path))
    assert found is not None
    assert sorted(found) == sorted(names)
    assert [r.name for r in open_capture(next(iter(found.values()))).records] == list(STEMS)


@pytest.mark.parametrize(
    "names",
    [("0", "1"), ("step_0", "step_1"), ("rank0", "rank1"), ("dp0", "tp1"), ("one",),
     ("layer_0", "layer_1"), ("layers.0.mlp", "layers.1.mlp"), ("attn", "mlp"),
     ("encoder", "decoder")],
)  # fmt: skip
def test_steps_ranks_and_modules_are_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert find_cases(str(write(tmp_path, *names))) is None


def test_other_tensors_are_no_cases(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", stems=("x", "y", "z"))
    assert find_cases(str(tmp_path)) is None


def test_folders_of_slots_are_modules(tmp_path: Path) -> None:
    assert find_cases(str(write(tmp_path, "foo", "bar", stems=("input_0", "output")))) is None


def test_tensors_beside_the_folders_make_them_parts(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    np.save(tmp_path / "logits.npy", np.ones(3))
    assert find_cases(str(tmp_path)) is None


def test_captures_of_our_own_side_by_side_are_not_mixed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        lines = [{"layertui": 1}, {"end": True, "records": 0}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "manifest.jsonl").write_text(text)
    with pytest.raises(CaptureError, match="holds 2 captures; give one of them, such as"):
        open_capture(tmp_path)


def test_both_sides_of_text_dumps_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "test0").mkdir()
    for side in ("py", "cpp"):
        assert not holds_both_sides(str(tmp_path))
        (tmp_path / "test0" / f"{side}_x.txt").write_text("# Tensor: x\n# Shape: 1\n# Data:\n1.0\n")
    assert holds_both_sides(str(tmp_path))
