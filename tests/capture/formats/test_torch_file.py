"""torch files: read without torch, equal to what torch reads, bit for bit; nothing executed."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import open_capture
from layertui.capture.errors import CaptureError, RecordError
from layertui.capture.files import FoundFile
from layertui.capture.formats.context import Context
from layertui.capture.formats.pickles import tensor_pickle, torch_client, torch_file
from layertui.capture.formats.registry import format_named
from layertui.capture.load import load
from layertui.capture.records import Record

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16,
    torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool,
    torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]  # fmt: skip


def bits(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def saved(path: Path, value: Any, **options: Any) -> Record:
    """Save `value` and give the record that the listing makes of the file."""
    torch.save(value, path, **options)
    return listed(path)


def listed(path: Path) -> Record:
    found = FoundFile(str(path), str(path.parent), path.name, 0)
    assert format_named("torch file").claims(found, found.suffix, Context())
    (record,) = torch_file.list_records(found, Context())
    return record


def check(record: Record, tensor: torch.Tensor, reader: str = "raw") -> None:
    assert record.error is None
    assert record.locator is not None
    assert record.locator.reader == reader
    assert record.shape == record.locator.shape == tuple(tensor.shape)
    assert record.dtype == str(tensor.dtype).removeprefix("torch.")
    values = load(record.locator)
    assert values.shape == tuple(tensor.shape)
    assert np.ascontiguousarray(values).tobytes() == bits(tensor)


def some(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Random bits of any element type, NaN and infinities among them."""
    generator = torch.Generator().manual_seed(7)
    size = torch.empty((), dtype=dtype).element_size()
    count = size * int(np.prod(shape))
    data = torch.randint(0, 256, (count,), dtype=torch.uint8, generator=generator)
    return data.bool().reshape(shape) if dtype == torch.bool else data.view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = some(dtype, 2, 3, 5)
    (record,) = torch_file.read_header(saved(tmp_path / "x.pt", tensor))
    check(record, tensor)


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(4 * 6 * 5, dtype=torch.bfloat16).reshape(4, 6, 5)
    return {
        "transposed": base.transpose(0, 2),
        "offset": base[2, 1:],
        "stepped": base[::2, :, ::3],
        "expanded": base[:, :1, :].expand(4, 7, 5),
        "expanded scalar": torch.tensor(2.5).expand(3, 4),
        "scalar": torch.tensor(-1.25),
        "scalar of a view": base[3, 5, 4],
        "empty": torch.empty(3, 0, 2),
        "empty view at the end": base[4:],
        "one element, odd stride": base[1:2, 2:3].as_strided((1, 1, 2), (77, 990, 3), 4),
        "diagonal": base[:, :4, 0].diagonal(),
        "parameter": torch.nn.Parameter(torch.ones(2, 3) / 3),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }


@pytest.mark.parametrize("name", views())
def test_views_keep_offset_and_strides(tmp_path: Path, name: str) -> None:
    tensor = views()[name]
    (record,) = torch_file.read_header(saved(tmp_path / "x.pt", tensor))
    check(record, tensor)


def test_listing_opens_no_file(tmp_path: Path) -> None:
    path = tmp_path / "model.layers.0.mlp(2)-output_1.pt"
    path.write_bytes(b"not opened")
    record = listed(path)
    assert (record.module, record.slot, record.call) == ("model.layers.0.mlp", "output_1", 2)
    assert record.name == path.stem
    assert not record.ready


def test_real_dumps_need_no_torch(real: Path) -> None:
    paths = sorted(real.glob("*/torch_dump/**/*.pt"))
    assert len(paths) > 100
    for path in paths:
        (record,) = torch_file.read_header(listed(path))
        check(record, torch.load(path, weights_only=True))


def test_dict_of_tensors_gives_a_record_each(tmp_path: Path) -> None:
    value = OrderedDict(
        {
            "model.layers.0.mlp(2)-output": torch.ones(2, 3),
            "plain": torch.zeros(4, dtype=torch.float16),
            "count": 3,
            "nothing": None,
            "nested": {"list": [torch.tensor(1), ("text", torch.tensor(2.0))]},
            7: torch.tensor([True]),
            "device": torch.device("cpu"),
            "size": torch.Size([1, 2]),
            "dtype": torch.float32,
        }
    )
    records = torch_file.read_header(saved(tmp_path / "dump.pt", value))
    found = {record.key: record for record in records}
    assert list(found) == [
        "model.layers.0.mlp(2)-output", "plain", "nested/list/0", "nested/list/1/1", "7",
    ]  # fmt: skip
    named = found["model.layers.0.mlp(2)-output"]
    assert (named.module, named.slot, named.call) == ("model.layers.0.mlp", "output", 2)
    assert named.name == "dump/model.layers.0.mlp(2)-output"
    assert (found["plain"].name, found["plain"].module) == ("dump/plain", "dump/plain")
    check(found["plain"], value["plain"])
    check(found["nested/list/1/1"], torch.tensor(2.0))
    check(found["7"], torch.tensor([True]))


def test_tuple_output_in_one_file_becomes_slots(tmp_path: Path) -> None:
    pair = (torch.ones(2), torch.zeros(3))
    records = torch_file.read_header(saved(tmp_path / "model.attn-output.pt", pair))
    assert [(r.module, r.slot) for r in records] == [
        ("model.attn", "output_0"), ("model.attn", "output_1"),
    ]  # fmt: skip


def test_keys_that_read_the_same_stay_apart(tmp_path: Path) -> None:
    value = {1: torch.ones(1), "1": torch.zeros(1), "1#2": torch.ones(2)}
    records = torch_file.read_header(saved(tmp_path / "d.pt", value))
    assert [record.name for record in records] == ["d/1", "d/1#2", "d/1#2#2"]


def test_shared_storage_is_read_by_both(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    value = {"all": base, "tail": base[6:], "again": base}
    records = torch_file.read_header(saved(tmp_path / "d.pt", value))
    for record, tensor in zip(records, value.values(), strict=True):
        check(record, tensor)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    value = {"a": torch.arange(6).reshape(2, 3).t(), "b": [torch.tensor(0.5), b"x", {1, 2}]}
    records = torch_file.read_header(saved(tmp_path / "d.pt", value, pickle_protocol=protocol))
    check(records[0], value["a"])
    check(records[1], torch.tensor(0.5))


def test_a_single_file_is_a_capture(tmp_path: Path) -> None:
    torch.save({"q": torch.ones(2), "k": torch.zeros(2)}, tmp_path / "one.pt")
    capture = open_capture(tmp_path / "one.pt")
    assert [record.name for record in capture.records] == ["q", "k"]
    assert [record.module for record in capture.records] == ["q", "k"]


def test_two_files_with_the_same_keys_do_not_collide(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.save({"q": torch.ones(2), "k": torch.zeros(2)}, tmp_path / f"{name}.pt")
    capture = open_capture(tmp_path)
    assert [record.name for record in capture.records] == ["a/q", "a/k", "b/q", "b/k"]
    assert capture.unreadable == 0


# -- what only torch reads


def test_older_format_goes_through_torch(tmp_path: Path) -> None:
    value = {"w": some(torch.bfloat16, 3, 4).t(), "n": 1, "b": torch.tensor(3)}
    record = saved(tmp_path / "old.pt", value, _use_new_zipfile_serialization=False)
    records = torch_file.read_header(record)
    assert [r.name for r in records] == ["old/w", "old/b"]
    check(records[0], value["w"], reader="torch")
    check(records[1], value["b"], reader="torch")


def test_conjugate_and_negative_views(tmp_path: Path) -> None:
    tensor = torch.view_as_complex(torch.arange(8.0).reshape(2, 2, 2))
    (record,) = torch_file.read_header(saved(tmp_path / "c.pt", tensor.conj()))
    check(record, tensor.conj(), reader="torch")
    (record,) = torch_file.read_header(saved(tmp_path / "n.pt", tensor.conj().imag))
    check(record, tensor.conj().imag, reader="torch")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_sparse_and_quantized_become_plain(tmp_path: Path) -> None:
    sparse = torch.eye(4).to_sparse()
    (record,) = torch_file.read_header(saved(tmp_path / "s.pt", sparse))
    check(record, torch.eye(4), reader="torch")
    quantized = torch.quantize_per_tensor(torch.arange(4.0), 0.5, 1, torch.qint8)
    (record,) = torch_file.read_header(saved(tmp_path / "q.pt", quantized))
    check(record, quantized.dequantize(), reader="torch")


def test_sparse_bomb_is_refused(tmp_path: Path) -> None:
    size = (1 << 20, 1 << 20)
    huge = torch.sparse_coo_tensor(
        torch.zeros(2, 1, dtype=torch.long), [1.0], size, check_invariants=True
    )
    (record,) = torch_file.read_header(saved(tmp_path / "s.pt", huge))
    assert record.locator is None
    assert "refused" in str(record.error)


def test_old_file_that_promises_too_much_memory(tmp_path: Path) -> None:
    """The old format names the size of a storage before its bytes."""
    path = tmp_path / "old.pt"
    torch.save(torch.zeros(1000), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    small, huge = b"M\xe8\x03", b"\x8a\x06" + (1 << 42).to_bytes(6, "little")
    assert small in data
    path.write_bytes(data.replace(small, huge, 1))
    with pytest.raises(RecordError, match="torch"):
        torch_file.read_header(listed(path))


def test_crash_of_the_child_costs_one_record(tmp_path: Path, monkeypatch: Any) -> None:
    record = saved(tmp_path / "old.pt", torch.ones(2), _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch_client, "START", "import os; os.kill(os.getpid(), 11)")
    torch_client.end_child()
    with pytest.raises(RecordError, match=r"crashed|failed"):
        torch_file.read_header(record)
    monkeypatch.undo()
    (record,) = torch_file.read_header(record)
    check(record, torch.ones(2), reader="torch")


def test_child_that_hangs_is_given_up(tmp_path: Path, monkeypatch: Any) -> None:
    record = saved(tmp_path / "old.pt", torch.ones(2), _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch_client, "START", "import time; time.sleep(60)")
    monkeypatch.setattr(torch_client, "SECONDS", 0.2)
    torch_client.end_child()
    with pytest.raises(RecordError, match="too long"):
        torch_file.read_header(record)


def test_file_changed_after_listing(tmp_path: Path) -> None:
    old = {"_use_new_zipfile_serialization": False}
    (record,) = torch_file.read_header(saved(tmp_path / "old.pt", torch.ones(2), **old))
    torch.save(torch.ones(3), tmp_path / "old.pt", **old)
    assert record.locator is not None
    with pytest.raises(RecordError, match="changed"):
        load(record.locator)


def test_a_torch_py_beside_the_capture_is_not_imported(tmp_path: Path) -> None:
    saved(tmp_path / "old.pt", torch.ones(2), _use_new_zipfile_serialization=False)
    trap = "import pathlib; pathlib.Path(__file__).with_name('ran').touch(); raise SystemExit"
    (tmp_path / "torch.py").write_text(trap)
    program = (
        "from layertui.capture import open_capture; "
        "print(open_capture('old.pt').records[0].locator.reader)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "torch", done.stderr
    assert not (tmp_path / "ran").exists()


def test_reading_headers_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt", {"x": torch.ones(2), "y": torch.ones(3).bfloat16()})
    program = (
        "import sys; from layertui.capture import open_capture; "
        f"assert len(open_capture({str(tmp_path)!r}).records) == 2; "
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# -- hostile and damaged files


class Evil:
    """Unpickled by anything that unpickles, it leaves a file behind."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.what = (call, args)

    def __reduce__(self) -> Any:
        return self.what


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["system", "eval"])
def test_a_pickle_runs_nothing(tmp_path: Path, zipped: bool, kind: str) -> None:
    trap = tmp_path / "ran"
    evil = (
        Evil(os.system, f"touch {trap}")
        if kind == "system"
        else Evil(eval, f"open({str(trap)!r}, 'w')")
    )
    name = {"system": "posix.system", "eval": "__builtin__.eval"}[kind]  # as in protocol 2
    value = {"a": torch.ones(2), "evil": evil}
    record = saved(
        tmp_path / "e.pt", value, _use_new_zipfile_serialization=zipped, pickle_protocol=2
    )
    wanted = name if zipped or kind == "system" else "eval"  # torch leaves out `builtins`
    if zipped:
        read, refused = torch_file.read_header(record)
        assert read.locator is not None and read.error is None
        said = str(refused.error)
    else:  # torch itself reads all of such a file, or nothing
        with pytest.raises(RecordError, match="refused") as raised:
            torch_file.read_header(record)
        said = str(raised.value)
    assert f"pickle wants {wanted}, only tensors" in said
    assert "\n" not in said
    assert not trap.exists()
    pickle.loads(pickle.dumps(evil))  # the trap does work
    assert trap.exists()


def test_the_child_says_what_a_pickle_wanted(tmp_path: Path) -> None:
    value = {"q": torch.eye(2).to_sparse(), "evil": Evil(os.system, f"touch {tmp_path / 'ran'}")}
    with pytest.raises(RecordError, match=r"refused: pickle wants posix\.system, only tensors"):
        torch_file.read_header(saved(tmp_path / "e.pt", value))
    assert not (tmp_path / "ran").exists()


def test_file_without_tensors(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no tensor"):
        torch_file.read_header(saved(tmp_path / "x.pt", {"a": 1, "b": [None, "text"]}))


def rewritten(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Record:
    """The file again with members changed by `change(name, data)`."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in members.items():
            changed = change(name, data)
            if changed is not None:
                new.writestr(name, changed)
    return listed(path)


def test_compressed_storage_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "x.pt", torch.zeros(100))
    record = rewritten(tmp_path / "x.pt", lambda name, data: data, zipfile.ZIP_DEFLATED)
    (record,) = torch_file.read_header(record)
    assert "compressed" in str(record.error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, d: d[:-4] if n.endswith("data/0") else d, "bytes promised"),
        (lambda n, d: None if n.endswith("data/0") else d, "storage is missing"),
        (lambda n, d: b"big" if n.endswith("byteorder") else d, "big-endian"),
        (lambda n, d: None if n.endswith("data.pkl") else d, "without data.pkl"),
        (lambda n, d: d[:-20] if n.endswith("data.pkl") else d, "damaged|truncated"),
        (lambda n, d: d.replace(b"K\x05\x85", b"K\x06\x85") if n.endswith(".pkl") else d, "beyond"),
    ],
)
def test_files_that_contradict_themselves(tmp_path: Path, change: Any, message: str) -> None:
    saved(tmp_path / "x.pt", torch.zeros(5))
    record = rewritten(tmp_path / "x.pt", change)
    try:
        (record,) = torch_file.read_header(record)
        said = record.error or ""
    except RecordError as error:
        said = str(error)
    assert re.search(message, said), said


def test_expansion_bomb_is_refused(tmp_path: Path) -> None:
    tensor = torch.zeros(1).expand(1 << 20, 1 << 20)
    (record,) = torch_file.read_header(saved(tmp_path / "x.pt", tensor))
    assert record.locator is None
    assert "refused" in str(record.error)


def test_truncated_file_says_so(tmp_path: Path) -> None:
    record = saved(tmp_path / "x.pt", torch.zeros(1000))
    data = Path(record.path).read_bytes()
    Path(record.path).write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match="truncated"):
        torch_file.read_header(record)
    with pytest.raises(CaptureError, match="truncated"):
        open_capture(record.path)


def test_truncated_after_listing(tmp_path: Path) -> None:
    (record,) = torch_file.read_header(saved(tmp_path / "x.pt", torch.zeros(1000)))
    Path(record.path).write_bytes(Path(record.path).read_bytes()[:2000])
    assert record.locator is not None
    with pytest.raises(RecordError, match="truncated"):
        load(record.locator)


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def doubled(times: int) -> bytes:
    """A list of twice the list before, and so on: 2 ** times leaves."""
    return b"\x80\x02]q\x00" + b"]h\x00ah\x00aq\x00" * times + b"."


BOMBS = {
    "a memo of 4 billion entries": b"\x80\x02]r\xff\xff\xff\xff.",
    "lists in lists": nested(100_000),
    "doubled lists": doubled(40),
    "tuples in tuples": b"\x80\x02" + b")" + b"\x85" * 200_000 + b".",
    "tuples in tuples as a key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.",
    "a number of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "text of 1 TiB": b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b"x.",
    "nothing, at length": b"\x80\x02" + b"N0" * 3_000_000 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "marks": b"(" * 1000 + b"t" * 999 + b".",
    "end of nothing": b".",
    "nothing": b"",
    "a name from copyreg's table": b"\x82\x01.",
    "a function that is not called": b"\x80\x02cbuiltins\nexec\n.",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_pickle_bombs(bomb: bytes) -> None:
    try:
        assert tensor_pickle.read_tensors(bomb) == []
    except RecordError as error:
        assert "\n" not in str(error)


def test_too_large_pickle_is_not_unpacked(tmp_path: Path) -> None:
    saved(tmp_path / "x.pt", torch.zeros(3))

    def inflate(name: str, data: bytes) -> bytes:
        return b"N0" * (40 << 20) if name.endswith("data.pkl") else data

    record = rewritten(tmp_path / "x.pt", inflate, zipfile.ZIP_DEFLATED)
    assert Path(record.path).stat().st_size < 1 << 20
    with pytest.raises(RecordError, match="refused"):
        torch_file.read_header(record)
