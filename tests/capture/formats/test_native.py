"""layertui's own captures: manifest, shards, order, and everything a killed writer leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from layertui.capture import open_capture
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.names import parse_name

HEADER = {
    "layertui": 1, "framework": "torch", "framework_version": "2.13.0", "model": "llama",
    "device": "cpu", "unknown": {"ignored": True},
}  # fmt: skip
SHARD = "data-00001.safetensors"


def entry(seq: int, module: str, slot: str, tensor: torch.Tensor, **more: Any) -> dict[str, Any]:
    return {
        "seq": seq, "module": module, "slot": slot, "call": 1, "step": 0, "class": "Linear",
        "call_id": None, "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."), "device": "cpu", "file": SHARD,
        "key": str(seq), "same_as": None, "op": None, "source": None, **more,
    }  # fmt: skip


def write(folder: Path, lines: list[Any], tensors: dict[str, torch.Tensor] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    if tensors:
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, folder / SHARD)
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (folder / "manifest.jsonl").write_text(text)
    return folder


def simple(folder: Path, *extra: Any, header: Any = HEADER, **more: Any) -> Path:
    """One record, complete."""
    tensor = torch.ones(2, 3)
    lines = [header, entry(0, "a", "output", tensor, **more), *extra]
    return write(folder, lines, {"0": tensor})


def end(records: int, **more: Any) -> dict[str, Any]:
    return {"end": True, "records": records, "bytes": 1, **more}


def test_values_and_metadata(tmp_path: Path) -> None:
    tensors = {
        "0": torch.randn(2, 3).bfloat16(),
        "1": torch.randn(4, 2).to(torch.float8_e4m3fn),
        "2": torch.tensor(3, dtype=torch.int64),
        "3": torch.empty(0, 5),
    }
    entries = [
        entry(0, "model.layers.0.mlp", "input_hidden_states", tensors["0"]),
        entry(1, "model.layers.0.mlp", "output", tensors["1"], call=2, step=3),
        entry(2, "", "output", tensors["2"]),
        entry(3, "model.x", "value", tensors["3"]),
    ]
    meta = {"meta": {"prompt": "hello", "input_ids": [[1, 2]], "model": "olmo"}}
    call = {"call": {"id": 1, "module": "model", "args": [{"seq": 0}]}}
    write(tmp_path / "c", [HEADER, *entries, call, meta, end(4)], tensors)
    capture = open_capture(tmp_path / "c")
    assert capture.format == "layertui capture"
    assert capture.order_known
    assert capture.order_source == "manifest"
    assert (capture.framework, capture.framework_version) == ("torch", "2.13.0")
    assert (capture.model, capture.device, capture.prompt) == ("olmo", "cpu", "hello")
    assert capture.input_ids == [[1, 2]]
    assert capture.complete is True
    assert capture.notes == []
    assert [record.name for record in capture.records] == [
        "model.layers.0.mlp-input_hidden_states", "model.layers.0.mlp(2)-output", "-output",
        "model.x-value",
    ]  # fmt: skip
    for record, tensor in zip(capture.records, tensors.values(), strict=True):
        parsed = parse_name(record.name)
        assert (parsed.module, parsed.slot, parsed.call) == (
            record.module, record.slot, record.call,
        )  # fmt: skip
        assert record.error is None
        assert record.module_class == "Linear"
        assert record.locator is not None
        assert record.shape == tuple(tensor.shape)
        assert load(record.locator).tobytes() == bytes(tensor.reshape(-1).view(torch.uint8))
    assert capture.records[1].step == 3


def test_inputs_stand_before_the_first_output_of_their_call(tmp_path: Path) -> None:
    t = torch.ones(1)
    order = [
        ("m", "input_0", 1), ("m.a", "input_0", 2), ("m.a", "input_mask", 2),
        ("m.a", "output", 2), ("m.silent", "input_0", 3), ("m.b", "input_0", 4),
        ("m.b", "output_0", 4), ("m.b", "output_1", 4), ("m.tap", "value", 1), ("m", "output", 1),
    ]  # fmt: skip
    entries = [
        entry(i, module, slot, t, call_id=call) for i, (module, slot, call) in enumerate(order)
    ]
    write(tmp_path / "c", [HEADER, *entries], {str(i): t for i in range(len(order))})
    names = [record.name for record in open_capture(tmp_path / "c").records]
    assert names == [
        "m.a-input_0", "m.a-input_mask", "m.a-output", "m.silent-input_0", "m.b-input_0",
        "m.b-output_0", "m.b-output_1", "m.tap-value", "m-input_0", "m-output",
    ]  # fmt: skip


def test_recursive_calls_are_kept_apart(tmp_path: Path) -> None:
    """A module that calls itself: the inner call returns first."""
    t = torch.ones(1)
    entries = [
        entry(0, "m", "input_0", t, call=1, call_id=1),
        entry(1, "m", "input_0", t, call=2, call_id=2),
        entry(2, "m", "output", t, call=2, call_id=2),
        entry(3, "m", "output", t, call=1, call_id=1),
    ]
    write(tmp_path / "c", [HEADER, *entries], {str(i): t for i in range(4)})
    records = open_capture(tmp_path / "c").records
    assert [(r.call, r.slot) for r in records] == [
        (2, "input_0"), (2, "output"), (1, "input_0"), (1, "output"),
    ]  # fmt: skip


def test_same_bytes_are_stored_once(tmp_path: Path) -> None:
    t = torch.arange(6.0).reshape(2, 3)
    stored = {"file": None, "key": None}
    entries = [
        entry(5, "a", "output", t),
        entry(6, "b", "input_0", t, same_as=5, **stored),
        entry(7, "c", "input_0", t.reshape(6), same_as=6, **stored),
        entry(8, "d", "input_0", torch.ones(7), same_as=5, **stored),
        entry(9, "e", "input_0", t, same_as=77, **stored),
        entry(10, "f", "input_0", t, same_as=9, **stored),
        entry(11, "g", "input_0", t, same_as=11, **stored),
    ]
    write(tmp_path / "c", [HEADER, *entries], {"5": t})
    records = open_capture(tmp_path / "c").records
    for record, shape in zip(records[:3], [(2, 3), (2, 3), (6,)], strict=True):
        assert record.locator is not None
        assert np.array_equal(load(record.locator), t.numpy().reshape(shape))
    assert "another size" in str(records[3].error)
    assert "does not come before" in str(records[4].error)
    assert "same as e-input_0" in str(records[5].error)
    assert "does not come before" in str(records[6].error)


def test_statistics_only(tmp_path: Path) -> None:
    stats = {"mean": 0.5, "std": 1.0}
    line = entry(0, "a", "output", torch.ones(2, 3), file=None, key=None, stats=stats)
    again = entry(1, "b", "input_0", torch.ones(2, 3), file=None, key=None, same_as=0)
    write(tmp_path / "c", [HEADER, line, again, end(2)])
    capture = open_capture(tmp_path / "c")
    for record in capture.records:
        assert (record.stats, record.shape, record.dtype) == (stats, (2, 3), "float32")
        assert record.locator is None
        assert record.error is None
    assert capture.order_known


def test_operations_of_one_module_get_names_of_their_own(tmp_path: Path) -> None:
    t = torch.ones(1)
    entries = [
        entry(0, "m", "output", t, op="aten.add.Tensor", source="m.py:3"),
        entry(1, "m", "output", t, op="aten.add.Tensor", source="m.py:4"),
        entry(2, "m", "output", t, op="aten.mm.default"),
        entry(3, "m", "output", t),
    ]
    write(tmp_path / "c", [HEADER, *entries], {str(i): t for i in range(4)})
    capture = open_capture(tmp_path / "c")
    assert capture.unreadable == 0
    assert [record.name for record in capture.records] == [
        "m/aten.add.Tensor-output", "m/aten.add.Tensor(2)-output", "m/aten.mm.default-output",
        "m-output",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "file",
    [
        "../data-00001.safetensors", "/etc/passwd", "..", ".", "", "a/b.safetensors",
        "data\x00.safetensors", 7, ["data"], "link.safetensors", "fifo.safetensors", ".hidden",
    ],
)  # fmt: skip
def test_no_path_out_of_the_capture(tmp_path: Path, file: Any) -> None:
    save_file({"0": torch.ones(2, 3)}, tmp_path / SHARD)
    folder = simple(tmp_path / "c", file=file, key="0")
    (folder / "link.safetensors").symlink_to(tmp_path / SHARD)
    os.mkfifo(folder / "fifo.safetensors")
    context_records = manifest_records(folder)
    assert len(context_records) == 1
    assert context_records[0].error
    assert context_records[0].locator is None


def manifest_records(folder: Path) -> list[Any]:
    from layertui.capture.files import FoundFile
    from layertui.capture.formats import native
    from layertui.capture.formats.context import Context

    found = FoundFile(str(folder / "manifest.jsonl"), str(folder), "manifest.jsonl", 0)
    return native.list_records(found, Context())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shape": [3, 2]}, "disagree"),
        ({"dtype": "int32"}, "disagree"),
        ({"key": "9"}, "has no tensor '9'"),
        ({"key": 0}, "has no tensor"),
        ({"key": None}, "has no tensor"),
        ({"file": "data-00009.safetensors"}, "data-00009.safetensors: is missing"),
        ({"file": None}, "names no file and no statistics"),
        ({"file": None, "stats": 3}, "names no file and no statistics"),
        ({"file": None, "stats": {}, "dtype": "float7"}, "unknown dtype"),
        ({"file": None, "stats": {}, "shape": [-1]}, "whole number"),
        ({"same_as": "0"}, "does not come before"),
    ],
)
def test_a_bad_record_says_why(tmp_path: Path, more: Any, message: str) -> None:
    folder = simple(tmp_path / "c", entry(1, "b", "output", torch.ones(2, 3), key="0"), **more)
    bad, good = open_capture(folder).records
    assert message in str(bad.error)
    assert bad.locator is None
    assert good.error is None


def test_truncated_shard(tmp_path: Path) -> None:
    tensors = {"0": torch.ones(100), "1": torch.zeros(100)}
    entries = [entry(0, "a", "output", tensors["0"]), entry(1, "b", "output", tensors["1"])]
    write(tmp_path / "c", [HEADER, *entries, end(2)], tensors)
    shard = tmp_path / "c" / SHARD
    shard.write_bytes(shard.read_bytes()[:-100])
    first, second = open_capture(tmp_path / "c").records
    assert first.error is None
    assert "truncated" in str(second.error)
    shard.write_bytes(b"")
    assert all("truncated" in str(r.error) for r in open_capture(tmp_path / "c").records)


def test_every_cut_of_a_killed_writer_is_read(tmp_path: Path) -> None:
    folder = simple(tmp_path / "c", entry(1, "b", "output", torch.ones(2, 3), key="0"), end(2))
    data = (folder / "manifest.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    first_record = len(lines[0]) + len(lines[1])
    for cut in range(first_record, len(data) - 1):
        (folder / "manifest.jsonl").write_bytes(data[:cut])
        capture = open_capture(folder)
        whole = cut >= first_record + len(lines[2]) - 1
        assert len(capture.records) == (2 if whole else 1)
        assert capture.unreadable == 0
        assert capture.complete is False
        assert any("did not finish" in note for note in capture.notes)
    (folder / "manifest.jsonl").write_bytes(data[:-1])
    assert open_capture(folder).complete is True


def test_damage_in_the_middle_is_counted(tmp_path: Path) -> None:
    junk = ['{"seq": 3, "module"\n', "\x00\x00\n", "[]\n", '{"seq": 5, "module": "\\ud800"}\n']
    folder = simple(tmp_path / "c", *junk, entry(1, "b", "output", torch.ones(2, 3), key="0"),
                    end(2))  # fmt: skip
    capture = open_capture(folder)
    assert [record.name for record in capture.records] == ["a-output", "b-output"]
    assert capture.complete is False
    assert any("4 damaged lines" in note for note in capture.notes)


def test_end_that_counts_other_records(tmp_path: Path) -> None:
    capture = open_capture(simple(tmp_path / "c", end(3, never_fired=["model.vision"])))
    assert capture.complete is False
    assert any("3 records were written, 1" in note for note in capture.notes)
    assert any("never ran: model.vision" in note for note in capture.notes)


@pytest.mark.parametrize("major", [2, 99, 0])
def test_other_major_version_is_refused(tmp_path: Path, major: int) -> None:
    folder = simple(tmp_path / "c", header={**HEADER, "layertui": major})
    with pytest.raises(CaptureError, match=f"version {major}"):
        open_capture(folder)


@pytest.mark.parametrize("first", ["", "{}\n", "[]\n", "\x00" * 50, '{"layertui": true}\n', "{"])
def test_no_header(tmp_path: Path, first: str) -> None:
    write(tmp_path / "c", [first])
    with pytest.raises(CaptureError, match="no manifest"):
        open_capture(tmp_path / "c")


def test_metadata_of_the_wrong_kind_is_ignored(tmp_path: Path) -> None:
    strange = {**HEADER, "framework": 7, "device": None, "input_ids": "x", "records": [], "path": 1}
    capture = open_capture(simple(tmp_path / "c", end(1), header=strange))
    assert (capture.framework, capture.device, capture.input_ids) == (None, None, None)
    assert len(capture.records) == 1
    assert capture.path == str(tmp_path / "c")


def test_fields_of_the_wrong_kind(tmp_path: Path) -> None:
    strange = entry(1, "b", "output", torch.ones(2, 3), key="0")
    strange |= {"module": 5, "slot": None, "call": "x", "step": [], "class": {}, "op": 3, "seq": {}}
    strange |= {"call_id": [1]}
    _, record = open_capture(simple(tmp_path / "c", strange)).records
    assert (record.module, record.slot, record.call, record.step) == ("", "value", 1, 0)
    assert record.error is None


def test_safetensors_without_a_manifest_are_not_ours(tmp_path: Path) -> None:
    save_file({"a.b": torch.ones(1)}, tmp_path / SHARD)
    assert open_capture(tmp_path).format == "safetensors"


def test_listing_needs_neither_numpy_nor_torch_and_is_quick(tmp_path: Path) -> None:
    count = 10_000
    tensors = {str(i): torch.ones(1) for i in range(count)}
    entries = [
        entry(i, f"model.layers.{i // 2}.q_proj", ("input_0", "output")[i % 2], tensors[str(i)],
              call_id=i // 2)
        for i in range(count)
    ]  # fmt: skip
    write(tmp_path / "c", [HEADER, *entries, end(count)], tensors)
    program = (
        "import sys, time; from layertui.capture import open_capture; t = time.process_time(); "
        f"assert len(open_capture({str(tmp_path / 'c')!r}).records) == {count}; "
        "print(time.process_time() - t, {'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    seconds, _, modules = done.stdout.strip().partition(" ")
    assert modules == "set()", done.stderr
    assert float(seconds) < 1.0  # 0.1 s on an idle core
