"""Reports: JSON as in the contract, text with all its sections, CSV that can be read back."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import record as record_capture
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.metrics import METRICS
from layertui.compare.reports.escaping import clean
from layertui.compare.reports.forms.csv_form import csv_report
from layertui.compare.reports.forms.json_form import SCHEMA, json_report
from layertui.compare.reports.forms.text_form import summary_line, text_report
from layertui.compare.reports.row_text import row_text
from layertui.compare.vocabulary import MARKS
from support.odd_comparisons import NASTY
from support.real_pairs import measured as measured_pair

COMMAND = "layertui compare ref cand --policy fixed"


@pytest.fixture(params=["llama-bf16", "olmo2-f32", "llama_steps-f32"])
def real_pair(request: pytest.FixtureRequest, real: Path) -> Comparison:
    return measured_pair(real, request.param)


SIDE = {
    "path": str, "format": str, "framework": (str, None), "framework_version": (str, None),
    "order_source": str, "records": int, "bytes": int, "complete": (bool, None),
    "prompt": (str, None), "input_ids": (list, None),
}  # fmt: skip
RECORDS = dict.fromkeys(("total", "paired", "gap", "unreadable", "ignored"), int)
COUNTS = {
    **dict.fromkeys(("pairs", "gaps_reference", "gaps_candidate", "unreadable", "ignored"), int),
    "records_reference": RECORDS, "records_candidate": RECORDS, "coverage": (float, None),
}  # fmt: skip
SPREAD = {
    **dict.fromkeys(("min", "max", "mean", "median"), (float, None)), "finite": int, "total": int,
}  # fmt: skip
RECORD = {
    "name": str, "module": str, "slot": str, "call": int, "step": int, "shape": (list, None),
    "dtype": (str, None), "path": str, "partial": (list, None),
}  # fmt: skip
ROW = {
    "index": int, "kind": str, "reference": (dict, None), "candidate": (dict, None),
    "canonical": str, "recipe": {"reference": str, "candidate": str}, "matched_by": (str, None),
    "metrics": (dict, None), "verdict": str, "reason": str, "origin": (str, None),
}  # fmt: skip
STATISTICS = {
    **dict.fromkeys(("min", "max", "mean", "std", "l2"), (float, None)),
    **dict.fromkeys(("nan", "inf", "zeros"), int),
}  # fmt: skip
REAL = (float, None)
METRIC = {
    "count": int, "mse": REAL, "rmse": REAL, "nmse": REAL, "relative_l2": REAL, "cosine": REAL,
    "pearson": REAL, "sqnr_db": REAL, "mean_abs": REAL, "max_abs": REAL,
    "max_abs_index": (list, None), "max_abs_values": (list, None), "max_rel": REAL,
    "max_rel_index": (list, None), "max_rel_values": (list, None), "mismatched": int,
    "mismatched_fraction": REAL, "scale": REAL, "scale_se": REAL, "offset": REAL,
    "fit_residual": REAL, "nonfinite_mismatch": int, "reference": STATISTICS,
    "candidate": STATISTICS,
}  # fmt: skip
FIRST = {
    "index": int, "module": str, "reference": str, "candidate": str, "slot": str, "verdict": str,
    "reason": str, "confidence": (float, None), "symptoms": list,
}  # fmt: skip
MOVED = {"reference": str, "candidate": str, "index_reference": int, "index_candidate": int}


def validate(value: Any, wanted: Any, place: str) -> None:
    """Key by key: nothing missing, every value of its type."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict), place
        assert wanted.keys() <= value.keys(), (place, wanted.keys() - value.keys())
        for key, inner in wanted.items():
            validate(value[key], inner, f"{place}.{key}")
        return
    options = wanted if isinstance(wanted, tuple) else (wanted,)
    if value is None:
        assert None in options, place
        return
    if float in options and value in ("NaN", "Infinity", "-Infinity"):
        return
    kinds = tuple(o for o in options if o is not None)
    kinds += (int,) if float in kinds else ()
    assert isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)), place


def check_json(comparison: Comparison) -> dict[str, Any]:
    report = json.loads(json.dumps(json_report(comparison, COMMAND), allow_nan=False))
    validate(
        report,
        {"schema": str, "command": str, "reference": SIDE, "candidate": SIDE, "counts": COUNTS,
         "execution_order": {"same": (bool, None), "reason": str, "reordered": list},
         "statistics": dict.fromkeys(METRICS, SPREAD), "components": dict,
         "first_divergence": (dict, None), "rows": list},
        "report",
    )  # fmt: skip
    assert (report["schema"], report["command"]) == (SCHEMA, COMMAND)
    for moved in report["execution_order"]["reordered"]:
        validate(moved, MOVED, "reordered")
    for name, part in report["components"].items():
        validate(part, {"layers": int, "pairs": int, "mse": SPREAD}, name)
    if report["first_divergence"] is not None:
        validate(report["first_divergence"], FIRST, "first_divergence")
    assert len(report["rows"]) == len(comparison.rows)
    for index, row in enumerate(report["rows"]):
        check_row(row, index)
    return report


def check_row(row: dict[str, Any], index: int) -> None:
    validate(row, ROW, f"row {index}")
    assert row["index"] == index
    present = tuple(side for side in ("reference", "candidate") if row[side] is not None)
    for side in present:
        validate(row[side], RECORD, f"row {index} {side}")
    assert present == {
        "pair": ("reference", "candidate"), "gap_reference": ("reference",),
        "gap_candidate": ("candidate",),
    }[row["kind"]]  # fmt: skip
    known = (
        (None,) if row["kind"] != "pair" else ("name", "rule", "fused", "order", "content", "hand")
    )
    assert row["matched_by"] in known
    assert row["verdict"] in MARKS
    if row["metrics"] is not None:
        validate(row["metrics"], METRIC, f"row {index} metrics")


def test_json_of_real_pairs(real_pair: Comparison) -> None:
    report = check_json(real_pair)
    assert report["statistics"]["mse"]["total"] == report["counts"]["pairs"]
    assert report["components"]["q_proj"]["layers"] == 2
    first = real_pair.first_divergence()
    assert (report["first_divergence"] or {}).get("module") == (first.module if first else None)


def test_json_of_odd_pairs(odd: Comparison) -> None:
    report = check_json(odd)
    verdicts = {row["canonical"]: row["verdict"] for row in report["rows"]}
    assert verdicts["a"] == "nan" and verdicts["b"] == "unreadable" and verdicts["s"] == "shape"
    assert verdicts["e"] == verdicts["n"] == "identical" and verdicts["z"] == "diverged"
    assert report["counts"]["ignored"] == 2
    infinite = next(row for row in report["rows"] if row["canonical"] == "i")
    assert infinite["verdict"] == "nan"


def test_json_of_nasty_names(nasty: Comparison) -> None:
    report = check_json(nasty)
    names = {row["reference"]["name"] for row in report["rows"] if row["reference"]}
    assert NASTY in names


def test_floats_that_json_has_not() -> None:
    from layertui.compare.reports.forms.json_form import plain_json

    found = plain_json({"a": [math.nan, math.inf], "b": (-math.inf, 1.5)})
    assert found == {"a": ["NaN", "Infinity"], "b": ["-Infinity", 1.5]}


SECTIONS = [
    "EXECUTION ORDER VERIFICATION", "SUMMARY", "MSE STATISTICS", "PER-COMPONENT STATISTICS",
    "FIRST DIVERGENCE", "ROWS IN EXECUTION ORDER", "ONLY IN THE REFERENCE",
    "ONLY IN THE CANDIDATE", "REPRODUCE",
]  # fmt: skip


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    current = ""
    lines = text.split("\n")
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line in SECTIONS and set(after) == {"-"}:
            current = line
            found[current] = []
        elif line and set(line) != {"-"}:
            found[current].append(line)
    return found


def test_text_has_every_section(real_pair: Comparison) -> None:
    found = sections(text_report(real_pair, COMMAND))
    assert list(found) == ["", *SECTIONS]
    counts = real_pair.counts
    assert len(found["ONLY IN THE REFERENCE"]) == counts.gaps_reference
    assert len(found["ONLY IN THE CANDIDATE"]) == counts.gaps_candidate
    assert len(found["ROWS IN EXECUTION ORDER"]) == len(real_pair.rows) + 1
    assert found["REPRODUCE"] == [COMMAND]
    assert any(real_pair.reference.path in line for line in found[""])
    records = counts.records_candidate
    line = f"candidate: {records.total} records = {records.paired} paired + {records.gap} gap"
    assert any(row.startswith(line) for row in found["SUMMARY"])


def test_text_names_order_gaps_and_failures(odd: Comparison) -> None:
    found = sections(text_report(odd, COMMAND))
    assert found["EXECUTION ORDER VERIFICATION"][0].startswith("DIFFERENT ORDER: 1 of")
    assert any("only_left-output" in line for line in found["ONLY IN THE REFERENCE"])
    assert any("broken-output" in line for line in found["ONLY IN THE CANDIDATE"])
    rows = "\n".join(found["ROWS IN EXECUTION ORDER"])
    for word in ("NAN", "UNREADABLE", "SHAPE", "DIVERGED", "identical", "gap"):
        assert word in rows
    assert "broken-output" not in "\n".join(found["FIRST DIVERGENCE"])


def test_only_diverged_keeps_what_fails(odd: Comparison) -> None:
    found = sections(text_report(odd, COMMAND, only_diverged=True))
    rows = found["ROWS IN EXECUTION ORDER"][1:]
    failing = [v for v in odd.verdicts if v.fails or v.level == "unreadable"]
    assert len(rows) == len(failing) > 0
    assert (
        found["ONLY IN THE REFERENCE"]
        == sections(text_report(odd, COMMAND))["ONLY IN THE REFERENCE"]
    )


def harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def test_names_cannot_steer_the_terminal(nasty: Comparison) -> None:
    text = text_report(nasty, COMMAND + " \x1b[0m")
    assert harmless(text)
    assert "[bold]x[/bold]" in text and "\\x1b[31m" in text and "\\u202e" in text
    assert harmless(csv_report(nasty))
    assert harmless(summary_line(nasty)) and "\n" not in summary_line(nasty)
    for row in nasty.rows:
        assert harmless(row_text(nasty, row.index))
    assert clean("a\nb\x00\x9b\udc80") == "a\\nb\\x00\\x9b\\udc80"


@pytest.mark.parametrize("which", ["odd", "nasty"])
def test_csv_reads_back(which: str, request: pytest.FixtureRequest) -> None:
    comparison: Comparison = request.getfixturevalue(which)
    read = list(csv.DictReader(io.StringIO(csv_report(comparison), newline="")))
    assert len(read) == len(comparison.rows)
    for row, line in zip(comparison.rows, read, strict=True):
        assert None not in line and None not in line.values()
        assert int(line["index"]) == row.index and line["kind"] == row.kind
        assert line["reference"] == (clean(row.reference.name) if row.reference else "")
        assert line["candidate"] == (clean(row.candidate.name) if row.candidate else "")
        assert line["verdict"] == comparison.verdicts[row.index].level
        result = comparison.measurements[row.index]
        for metric in ("mse", "cosine", "max_abs"):
            value = getattr(result, metric, None)
            assert (float(line[metric]) if line[metric] else None) == value


def test_no_name_is_a_formula_in_a_table(tmp_path: Path) -> None:
    names = ("=cmd|calc!A1", "+SUM(1)", "-2+3", "@x", "layers.0.mlp")
    for side in ("reference", "candidate"):
        values = {name: np.ones((3, 4), np.float32) for name in names}
        np.savez(tmp_path / f"{side}.npz", **values)  # pyright: ignore[reportArgumentType]
    comparison = open_comparison(*(str(tmp_path / f"{s}.npz") for s in ("reference", "candidate")))
    assert comparison.measure(use_cache=False)
    table = csv_report(comparison)
    cells = [cell for line in csv.reader(io.StringIO(table)) for cell in line]
    numbers = [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert all(float(cell) <= 0 for cell in numbers)
    assert {f"'{name}" for name in names[:4]} | {names[4]} <= set(cells)


def test_row_text_tells_everything(odd: Comparison) -> None:
    texts = {row.canonical: row_text(odd, row.index) for row in odd.rows}
    assert "matched by  same name\n" in texts["z"]
    assert "relative_l2 is absent: the reference is all zeros" in texts["z"]
    assert "NaN or Inf  at 1 place on" in texts["a"]
    assert "candidate   -" in texts["only_left"]


def test_summary_line(odd: Comparison, real: Path) -> None:
    assert "first divergence: " in summary_line(odd)
    assert summary_line(measured_pair(real, "llama-f32")).endswith("no divergence")


@pytest.mark.torch
def test_captures_without_values_show_their_statistics(tmp_path: Path) -> None:
    """What is known is compared, and shown."""
    for side, scale in (("reference", 1.0), ("candidate", 2.0)):
        with record_capture(None, tmp_path / side, stats_only=True) as recorder:
            recorder.add("layers.0.mlp", np.arange(8, dtype=np.float32) * scale, slot="output")
    comparison = open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))
    comparison.measure(use_cache=False)
    assert comparison.verdicts[0].level == "diverged"
    assert comparison.exit_status() == 1
    text = row_text(comparison, 0)
    assert "by statistics: " in text
    assert re.search(r"max +7 +14\b", text)
