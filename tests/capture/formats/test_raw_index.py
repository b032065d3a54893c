"""Raw files that a JSON file beside them describes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import Capture, CaptureError, open_capture
from layertui.capture.load import load

NAMES = ("model.embed", "layers.0.self_attn.q_proj", "layers.1 mlp", "lm_head")
SHAPE = (1, 2, 3)


def values(index: int) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, index, np.float32)


def write(folder: Path, index: object, name: str = "meta.json") -> None:
    """Raw files by number, by name and by name with underscores, and what describes them."""
    for number, record in enumerate(NAMES):
        values(number).tofile(folder / f"{number:04}.bin")
        values(number).tofile(folder / f"{record}.raw")
    (folder / name).write_text(index if isinstance(index, str) else json.dumps(index))


def loaded(capture: Capture) -> dict[str, float]:
    return {r.name: float(load(r.locator).flat[0]) for r in capture.records if r.locator}


def errors(capture: Capture) -> dict[str, str | None]:
    return {record.name: record.error for record in capture.records}


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {"file": f"{number:04}.bin", "shape": list(SHAPE), "dtype": "float32", **more}


FORMS: dict[str, Callable[[], object]] = {
    "by name": lambda: {name: entry(n) for n, name in enumerate(NAMES)},
    "a list": lambda: [entry(n, name=name) for n, name in enumerate(NAMES)],
    "layers": lambda: {
        "dtype": "torch.float32",
        "layers": [
            {"layer": name, "filename": f"out/{n:04}.bin", "dims": [1, 2, 3]}
            for n, name in enumerate(NAMES)
        ],
    },
    "texts": lambda: {
        name: {"path": f"/tmp/run/{n:04}.bin", "shape": "torch.Size([1, 2, 3])", "dtype": "<f4"}
        for n, name in enumerate(NAMES)
    },
    "shapes by name": lambda: {name: list(SHAPE) for name in NAMES},
    "shapes by file": lambda: {f"{name}.raw": list(SHAPE) for name in NAMES},
    "without files": lambda: {name: {"shape": list(SHAPE), "dtype": "fp32"} for name in NAMES},
    "no dtype": lambda: {name: {"file": f"{n:04}.bin", "size": SHAPE}
                         for n, name in enumerate(NAMES)},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["meta.json", "index.json", "shapes.json"])
def test_forms(tmp_path: Path, form: str, name: str) -> None:
    write(tmp_path, FORMS[form](), name)
    capture = open_capture(tmp_path)
    assert errors(capture) == dict.fromkeys(NAMES)
    assert loaded(capture) == {name: n for n, name in enumerate(NAMES)}
    assert {(r.shape, r.dtype) for r in capture.records} == {(SHAPE, "float32")}
    assert [r.name for r in capture.records] == list(NAMES)


def test_json_lines(tmp_path: Path) -> None:
    lines = [json.dumps(entry(n, name=name)) for n, name in enumerate(NAMES)]
    write(tmp_path, "\n".join(lines), "index.jsonl")
    assert loaded(open_capture(tmp_path)) == {name: n for n, name in enumerate(NAMES)}


def test_one_file_with_offsets(tmp_path: Path) -> None:
    np.stack([values(n) for n in range(4)]).tofile(tmp_path / "all.dat")
    index = {
        name: {"file": "all.dat", "offset": 24 * n, "shape": SHAPE, "dtype": "f32"}
        for n, name in enumerate(NAMES)
    }
    (tmp_path / "meta.json").write_text(json.dumps(index))
    assert loaded(open_capture(tmp_path)) == {name: n for n, name in enumerate(NAMES)}


@pytest.mark.parametrize("unit", [1, 6, 12])
def test_offsets_in_other_units_are_refused(tmp_path: Path, unit: int) -> None:
    np.stack([values(n) for n in range(4)]).tofile(tmp_path / "all.dat")
    index = {
        name: {"file": "all.dat", "offset": unit * n, "shape": SHAPE, "dtype": "f32"}
        for n, name in enumerate(NAMES)
    }
    (tmp_path / "meta.json").write_text(json.dumps(index))
    said = errors(open_capture(tmp_path))
    assert all(error and "are its offsets in bytes" in error for error in said.values())


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"shape": [1, 2, 4]}, "truncated: 1x2x4xfloat32 needs 32 bytes, the file has 24"),
        ({"shape": [1, 2, 2]}, "holds 24 bytes, 1x2x2xfloat32 needs 16"),
        ({"dtype": "float16"}, "holds 24 bytes"),
        ({"dtype": None, "shape": [1, 2, 6]}, "does not say its dtype"),
        ({"dtype": ">f4"}, "big-endian"),
        ({"dtype": "quaternion"}, "unknown dtype"),
        ({"file": "../0000.bin"}, "outside its directory"),
        ({"file": "a/../../0000.bin"}, "outside its directory"),
        ({"file": "..\\0000.bin"}, "outside its directory"),
        ({"file": "/etc/passwd"}, "passwd is missing"),
        ({"file": "link.bin"}, "link.bin is missing"),
        ({"file": ".hidden"}, "outside its directory"),
        ({"file": "gone.bin"}, "gone.bin is missing"),
        ({"shape": [1, -2, 3]}, "not a whole number"),
        ({"shape": [1.5, 2]}, "not a whole number"),
        ({"shape": [10**12, 10**12]}, "larger than any memory"),
        ({"shape": [0, 10**30]}, "larger than any memory"),
        ({"shape": [1] * 99}, "99 dimensions"),
        ({"offset": 8}, "truncated"),
        ({"numel": 7}, "7 elements"),
        ({"nbytes": 7}, "7 bytes said"),
    ],
)
def test_what_does_not_agree_is_refused(
    tmp_path: Path, described: dict[str, Any], words: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 24)
    folder = tmp_path / "dump"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    write(folder, {"a.bad": {**entry(0), **described}, "a.good": entry(1)})
    said = errors(open_capture(folder))
    assert said["a.good"] is None
    assert words in (said["a.bad"] or "")


def test_one_name_in_several_directories(tmp_path: Path) -> None:
    write(tmp_path, {"a.0": entry(0, file="x/0000.bin"), "a.1": entry(0, file="y/0000.bin")})
    assert all("several directories" in (e or "") for e in errors(open_capture(tmp_path)).values())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a": {"file": "0000.bin", "shape": [1',
        '{"shape": ' + "9" * 5000 + "}",
        '{"a": ' * 900 + '{"file": "0000.bin", "shape": [1]}' + "}" * 900,
        '{"shape": [1, 2, 3]}',
        "{}",
    ],
)
def test_json_that_describes_nothing(tmp_path: Path, text: str) -> None:
    """Raw files stay what they are: files of which nothing is known."""
    write(tmp_path, text)
    try:
        capture = open_capture(tmp_path)
    except CaptureError as error:
        assert "\n" not in str(error)
    else:
        assert not loaded(capture)


def test_very_many_entries(tmp_path: Path) -> None:
    write(tmp_path, {f"a.{n}": entry(0) for n in range(250_000)})
    with pytest.raises(CaptureError, match=r"meta\.json: holds no list of numbers"):
        open_capture(tmp_path)


def test_settings_beside_raw_files_are_no_index(tmp_path: Path) -> None:
    values(1).tofile(tmp_path / "a_1x2x3_f32.bin")
    (tmp_path / "config.json").write_text('{"input_shape": [1, 8], "hidden": {"size": [3]}}')
    assert [r.name for r in open_capture(tmp_path).records] == ["a"]
