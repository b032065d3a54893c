"""Data-parallel ranks, alone and with others within them: cases that are compared one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture
from layertui.capture.cases import find_cases
from layertui.cli.main import status_of
from support.ranks.cut_llama import Cut, Fault, Records, run
from support.ranks.reports import report_of

Label = Callable[[int, int], str]
LABELS: dict[str, Label] = {
    "tree": lambda dp, tp: f"dp{dp}/tp{tp}",
    "tree of files": lambda dp, tp: f"dp_{dp}/tp_{tp}/acts",
    "tree the other way": lambda dp, tp: f"tp{tp}/dp{dp}",
    "one word": lambda dp, tp: f"dp{dp}_tp{tp}",
    "the other way": lambda dp, tp: f"tp{tp}-dp{dp}",
    "passes": lambda dp, tp: f"DP{dp}_TP{tp}_PP0_Rank{2 * dp + tp}_pid7{dp}{tp}/Pass00000",
    "numbers within": lambda dp, tp: f"dp{dp}/rank{2 * dp + tp}",
    "numbers": lambda dp, tp: f"rank{2 * dp + tp}",
}


def inputs(ranks: int, data: int, fault: Fault | None = None) -> list[Records]:
    """The records of the tensor ranks of one data-parallel rank, which has tokens of its own."""
    cut = Cut(ranks=ranks, kv_heads=4, fault=fault)
    cut.ids = np.random.default_rng(data + 1).integers(0, 128, cut.tokens)
    return run(cut)


def put(folder: Path, label: Label, ranks: int = 2, fault: Fault | None = None) -> Path:
    """Two data-parallel ranks; the `fault` is in the second."""
    for data in range(2):
        for tp, own in enumerate(inputs(ranks, data, fault if data else None)):
            path = folder / f"{label(data, tp)}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **own)
    return folder


def rules(folder: Path, label: str) -> list[str]:
    if label != "numbers":
        return []
    path = folder / "rules.toml"
    path.write_text('[ranks]\ncandidate = "dp2 tp2"\n')
    return ["--rules", str(path)]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("single", ["dp{}", "dp{}/acts"])
def test_cases_of_tensor_ranks(tmp_path: Path, label: str, single: str) -> None:
    one = put(tmp_path / "one", lambda dp, _: single.format(dp), ranks=1)
    more = rules(tmp_path, label)
    good = put(tmp_path / "good", LABELS[label])
    status, report = report_of(tmp_path, one, good, *more)
    assert status == 0
    assert [case["case"] for case in report["cases"]] == ["dp0", "dp1"]
    for case in report["cases"]:
        counts = case["report"]["counts"]
        assert (counts["gaps_reference"], counts["gaps_candidate"]) == (0, 0)
        assert counts["pairs"] == len(run(Cut())[0])
    bad = put(tmp_path / "bad", LABELS[label], fault=Fault(1, 1, "down"))
    status, report = report_of(tmp_path, one, bad, *more)
    first = [case["report"]["first_divergence"] for case in report["cases"]]
    assert status == 1 and first[0] is None
    assert first[1]["module"] == "layers.1.mlp.down_proj"


def test_one_of_them_is_opened_like_a_folder(tmp_path: Path) -> None:
    folder = put(tmp_path / "run", LABELS["one word"])
    for data in range(2):
        capture = open_capture(folder / f"dp{data}")
        assert capture.path == str(folder / f"dp{data}")
        assert [record.name for record in capture.records] == list(run(Cut())[0])
    for name in ("dp2", "tp0", "dp", "dp0/tp0"):
        with pytest.raises(CaptureError, match="no such file or directory"):
            open_capture(folder / name)
    with pytest.raises(CaptureError, match="no such file or directory"):
        open_capture(tmp_path / "none" / "dp0")


def test_opened_together_they_are_not_joined(tmp_path: Path) -> None:
    folder = put(tmp_path / "run", LABELS["one word"])
    capture = open_capture(folder)
    assert {record.name.partition("/")[0] for record in capture.records} == {"dp0", "dp1"}
    said = f"data-parallel ranks have other inputs: compare them one by one ({folder}/dp0)"
    assert said in capture.notes
    assert capture.of_ranks is not None
    parts = {one.way for one in capture.of_ranks.joined if one.name.endswith("attn.attn")}
    assert parts == {"tp: concat -1", "apart"}


def test_what_they_have_in_common_is_one_record(tmp_path: Path) -> None:
    for data in range(2):
        np.savez(tmp_path / f"dp{data}.npz", table=np.arange(6.0), x=np.arange(3.0) + data)
    names = [record.name for record in open_capture(tmp_path).records]
    assert names == ["table", "dp0/x", "dp1/x"]


def test_files_that_belong_to_none_make_it_one_capture(tmp_path: Path) -> None:
    folder = put(tmp_path / "run", LABELS["one word"])
    assert find_cases(str(folder)) is not None
    np.save(folder / "logits.npy", np.ones(3))
    assert find_cases(str(folder)) is None


@pytest.mark.parametrize("words", ['candidate = "dp2"', 'candidate = "xp2"', "candidate = 2",
                                   'left = "dp2"'])  # fmt: skip
def test_a_layout_that_does_not_fit_is_one_line(
    tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = put(tmp_path / "one", lambda dp, _: f"dp{dp}", ranks=1)
    many = put(tmp_path / "many", LABELS["numbers"])
    (tmp_path / "r.toml").write_text(f"[ranks]\n{words}\n")
    more = ["--rules", str(tmp_path / "r.toml")]
    assert status_of(["compare", str(one), str(many), *more]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_data_parallel_rank_that_one_side_lacks(tmp_path: Path) -> None:
    one = put(tmp_path / "one", LABELS["one word"], ranks=1)
    many = put(tmp_path / "many", LABELS["tree"])
    for file in (many / "dp1").iterdir():
        file.unlink()
    status, report = report_of(tmp_path, one, many)
    assert status == 1
    assert [(case["case"], case.get("problem")) for case in report["cases"]] == [
        ("dp0", None), ("dp1", "the candidate has no such case"),
    ]  # fmt: skip
