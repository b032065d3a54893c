"""Statistics in place of values, in JSON, tables and lines of logs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import Capture, CaptureError, open_capture

NAMES = ("model.embed", "model.layers.0.mlp", "model.layers.1.mlp", "lm_head")
Arrays = dict[str, np.ndarray[Any, Any]]


def arrays() -> Arrays:
    rng = np.random.default_rng(3)
    return {
        name: rng.normal(1, 2 + n, (1, 2 + n, 8)).astype(np.float32) for n, name in enumerate(NAMES)
    }


def numbers(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": float(values.std()),
            "min": float(values.min()), "max": float(values.max())}  # fmt: skip


def line(values: np.ndarray[Any, Any], form: str = "{}={:.4f}", between: str = ", ") -> str:
    return between.join(form.format(key, value) for key, value in numbers(values).items())


def table(heading: str, row: Callable[[str, Any], str], name: str = "stats.csv") -> Any:
    return name, lambda: "\n".join([heading, *(row(k, v) for k, v in arrays().items()), ""])


def log(row: Callable[[str, Any], str], name: str = "run.log") -> Any:
    return name, lambda: "".join(row(k, v) + "\n" for k, v in arrays().items())


def as_json(make: Callable[[Arrays], Any], name: str = "stats.json") -> Any:
    return name, lambda: json.dumps(make(arrays()))


SHAPED = {
    "json by name": as_json(
        lambda a: {k: {"shape": list(v.shape), **numbers(v)} for k, v in a.items()}
    ),
    "json list": as_json(
        lambda a: [{"name": k, "shape": str(v.shape), **numbers(v)} for k, v in a.items()]
    ),
    "json under a key": as_json(
        lambda a: {"run": 3, "layers": {k: {"stats": numbers(v), "shape": v.shape}
                                        for k, v in a.items()}}
    ),
    "json with a sample": as_json(
        lambda a: {k: {"shape": v.shape, **numbers(v), "values": v.reshape(-1)[:5].tolist()}
                   for k, v in a.items()}
    ),
    "csv": table("name,shape,mean,std,min,max", lambda k, v:
                 f"{k},{'x'.join(map(str, v.shape))},{line(v, '{1:.8g}', ',')}"),
    "csv in quotes": table("layer,shape,mean,std,min,max", lambda k, v:
                           f'"{k}","{list(v.shape)}",{line(v, "{1}", ",")}'),
    "csv in brackets": table(",name,shape,mean,std,min,max", lambda k, v:
                             f"0,{k},{v.shape},{line(v, '{1}', ',')}"),
    "tsv": table("Module\tShape\tMean\tStd Dev\tMin\tMax", lambda k, v:
                 f"{k}\ttorch.Size({list(v.shape)})\t" + line(v, "{1:.3e}", "\t"), "stats.tsv"),
    "log": log(lambda k, v: f"{k} shape={list(v.shape)} {line(v)}"),
    "log of a logger": log(lambda k, v: f"2026-01-01 10:00:00,123 - hook - DEBUG - layer={k} "
                           f"{line(v, '{}: {:.6f}', ' ')} torch.Size({list(v.shape)})"),
    "log in brackets": log(lambda k, v: f"[INFO] [{k}] {v.shape} | {line(v, '{}={:.3e}', ' | ')}"
                           f" | shape={v.shape} nan=0 inf=0", "run.txt"),
}  # fmt: skip
UNSHAPED = {
    "json lines": ("stats.jsonl", lambda: "\n".join(
        json.dumps({"layer": k, **numbers(v)}) for k, v in arrays().items())),
    "json columns": as_json(lambda a: {"name": dict(enumerate(a)), **{
        key: {n: numbers(v)[key] for n, v in enumerate(a.values())} for key in ("mean", "std")}}),
    "json lists": as_json(lambda a: {"name": list(a), **{
        key: [numbers(v)[key] for v in a.values()] for key in ("mean", "std")}}),
    "log": log(lambda k, v: f"{k}: {line(v)}"),
    "log without signs": log(lambda k, v: f"{k} {line(v, '{} {:.4f}', ' ')}"),
    "log below": log(lambda k, v: f"{k}:\n    {line(v)}"),
    "log with a range": log(lambda k, v: f"{k}: mean={v.mean():.4f} range=[{v.min()}, {v.max()}]"),
    "csv": table("tensor,mean,std", lambda k, v: f"{k},{v.mean():.5f},{v.std():.5f}"),
}  # fmt: skip


def opened(folder: Path, form: tuple[str, Callable[[], str]]) -> Capture:
    name, text = form
    (folder / name).write_text(text())
    return open_capture(folder)


@pytest.mark.parametrize("form", [*SHAPED.values(), *UNSHAPED.values()],
                         ids=[*SHAPED, *(f"{name}, no shape" for name in UNSHAPED)])  # fmt: skip
def test_forms(tmp_path: Path, form: tuple[str, Callable[[], str]]) -> None:
    capture = opened(tmp_path, form)
    assert [record.module for record in capture.records] == list(NAMES)
    for record, values in zip(capture.records, arrays().values(), strict=True):
        assert record.error is None
        assert record.by_statistics
        assert record.shape in (values.shape, None)
        assert (record.shape is None) == (form in UNSHAPED.values())
        for name, number in numbers(values).items():
            assert record.stats is not None
            assert record.stats.get(name, number) == pytest.approx(number, rel=1e-3, abs=1e-4)


def one(folder: Path, **said: Any) -> Any:
    (folder / "stats.json").write_text(json.dumps({"a.b": said, "a.c": {"mean": 0.5, "std": 1.5}}))
    record = open_capture(folder).records[0]
    return record.error or record.stats


def test_what_is_worked_out(tmp_path: Path) -> None:
    full = 0.1234567890123456
    stats = one(tmp_path, var=full**2, sum=8 * full, rms=2.0**0.5, numel=8, nan_count=2)
    assert stats["std"] == pytest.approx(full)
    assert stats["mean"] == pytest.approx(full)
    assert stats["l2"] == pytest.approx(4.0)
    assert (stats["nan"], stats["count"]) == (2, 8)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("a: mean=0.1234 std=1.0000\n", {"printed_decimals": 4}),
        ("a: mean=1.234e-02 std=1.000e+00\n", {"printed_significant": 4}),
        ("a: mean=0.01234 std=123.4\n", {"printed_decimals": 5, "printed_significant": 4}),
        ("a: mean=0.1234567890123456 std=1.25\n", {}),
        ("a: mean=3 std=1\n", {}),
    ],
)
def test_printed_digits(tmp_path: Path, text: str, digits: dict[str, int]) -> None:
    (tmp_path / "run.log").write_text(text)
    stats = open_capture(tmp_path).records[0].stats or {}
    assert {key: value for key, value in stats.items() if key.startswith("printed")} == digits


@pytest.mark.parametrize("said", [{"mean": None}, {"mean": math.nan}, {"mean": "nan"},
                                  {"mean": 0.5, "has_nan": True}])  # fmt: skip
def test_what_is_not_finite_is_kept(tmp_path: Path, said: dict[str, Any]) -> None:
    assert math.isnan(one(tmp_path, std=1.5, **said)["mean"])


def test_the_deviation_of_one_element_is_none(tmp_path: Path) -> None:
    assert "std" not in one(tmp_path, mean=0.5, std=math.nan, shape=[])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"absmax": 3.5}, "none of mean"),
        ({"mean": 0.5, "shape": [1, -2]}, "not a whole number"),
        ({"mean": 0.5, "shape": [10**12] * 9}, "larger than any memory"),
        ({"mean": 0.5, "shape": "9" * 300}, "larger than any memory"),
        ({"mean": 0.5, "shape": [2, 3], "numel": 7}, "7 elements"),
        ({"mean": 0.5, "dtype": "quaternion"}, "unknown dtype"),
        ({"mean": "much", "std": 1.5}, "is not a number"),
        ({"mean": 10**400}, "inf"),
        ({"mean": 0.5, "nan": -1}, "number of nan"),
    ],
)
def test_what_makes_no_sense_is_an_error(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    assert words in str(one(tmp_path, **said))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.json", '{"a": {"mean": 0.5, "std": ', "truncated or damaged"),
        ("s.json", '{"a": {"mean": 0.5, "b": ' + "[" * 100_000, "nested too deep|damaged"),
        ("s.json", '{"a": {"mean": ' + "9" * 9999 + "}}", "damaged"),
        ("s.csv", "name,mean,std\n", "holds no statistics"),
        ("s.json", json.dumps({f"a.{n}": {"mean": 0.5, "std": 1} for n in range(200_001)}),
         "more than 200000 tensors"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CaptureError, match=words) as raised:
        open_capture(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_row_that_is_cut_short_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("name,mean,std\na.0,0.5,1.5\na.1,0.5\na.2,x,1.5\n")
    records = open_capture(tmp_path).records
    assert [record.module for record in records] == ["a.0", "a.1", "a.2"]
    assert [record.error for record in records] == [
        None, "line 3 has 2 columns, the heading 3", "'x' is not a number"
    ]  # fmt: skip


def test_one_tensor_goes_by_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "layers.0.mlp.json").write_text('{"mean": 0.5, "std": 1.5, "shape": [1, 4]}')
    (tmp_path / "layers.1.mlp.json").write_text('{"mean": 0.5, "std": 1.5, "shape": [1, 4]}')
    records = open_capture(tmp_path).records
    assert [(r.module, r.shape, r.error) for r in records] == [
        (f"layers.{layer}.mlp", (1, 4), None) for layer in range(2)
    ]


def test_a_name_that_comes_again_is_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("".join(f"a.mlp: mean=0.{n} std=1.5\n" for n in range(1, 4)))
    assert [record.call for record in open_capture(tmp_path).records] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"layers.0": {"shape": [1, 2], "data": [0.5, 1.5], "mean": 1.0, "std": 0.5}}'),
        ("a.csv", "mean,std\n0.5,1.5\n2.5,3.5\n"),
        ("a.log", "loss: mean=0.5 std=1.5\nq = tensor([1.5, 2.5])\n"),
    ],
)
def test_values_win(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (record,) = open_capture(tmp_path).records
    assert record.locator is not None


def test_beside_tensors_they_are_passed_over(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "stats.json").write_text('{"a": {"mean": 1.0, "std": 0.0}}')
    capture = open_capture(tmp_path)
    assert [record.name for record in capture.records] == ["a"]
    assert capture.notes == ["stats.json: its statistics are passed over, tensor files are here"]


@pytest.mark.parametrize(
    "text",
    ["step 10 loss: 0.5 grad norm: 1.2 max mem: 3\n", "max=3\n", "mean of means: 0.5\n", ""],
)
def test_logs_of_other_things(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.log").write_text(text)
    np.save(tmp_path / "a.npy", np.ones(3))
    assert open_capture(tmp_path).notes == []


@pytest.mark.parametrize(
    "said",
    [
        {"latency": {"mean": 1.2}, "memory": {"mean": 3.4}, "tokens": {"mean": 5.6}},
        {"scores": [{"name": f"question {n}", "mean": n / 7} for n in range(5)]},
        {"rouge": {"avg": 0.1}, "bleu": {"avg": 0.3}, "meteor": {"avg": 0.2}},
        {"matmul_1024": {"mean": 1.2, "std": 0.1}, "softmax_512": {"mean": 0.4, "std": 0.01}},
        {"attention": {"mean": 1.2, "std": 0.1}, "mlp": {"mean": 0.4, "std": 0.01}},
        {"layer_0": {"mean": 1.2, "std": 0.1, "unit": "ms"}, "mlp": {"mean": 0.4, "std": 0.5}},
        {"benchmarks": [{"name": "attention.forward", "stats": {
            "min": 0.1, "max": 0.3, "mean": 0.2, "stddev": 0.01, "rounds": 5}}]},
        {"mmlu": {"mean": 0.61, "std": 0.04, "n": 57}, "gsm8k": {"mean": 0.4, "std": 0.1}},
    ],
)  # fmt: skip
def test_means_of_other_things_are_no_statistics_of_tensors(tmp_path: Path, said: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(said))
    with pytest.raises(CaptureError, match="no tensors found"):
        open_capture(tmp_path / "x.json")


@pytest.mark.parametrize(
    "said",
    [
        {"a": {"mean": 1.2, "std": 0.5, "shape": [2, 3]}},
        {"layer_0": {"mean": 1.2, "std": 0.5}},
        {"mine": {"mean": 0.2, "std": 1.5}, "yours": {"mean": -0.1, "std": 0.5}},
        {"mine": {"min": -0.2, "max": 1.5}},
        {"time": {"mean": 0.2, "std": 0.1, "nan": 0, "latency_ms": 4}},
        {"model.layers.0.mlp": {"mean": 1.2}, "lm_head": {"mean": 1.0}, "norm": {"mean": 2.0}},
        [{"module": "decoder.final_norm", "stats": {"min": 1.0, "max": 2.0}}],
    ],
)  # fmt: skip
def test_a_shape_or_the_name_of_a_module_shows_that_they_are(tmp_path: Path, said: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(said))
    assert len(open_capture(tmp_path / "x.json").records) == len(said)
