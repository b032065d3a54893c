"""Printed tensors: real output of MAX 26.7, torch's own prints, and logs that are cut short."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.capture import Capture, CaptureError, Record, open_capture
from layertui.capture.load import load, load_any
from layertui.capture.values import Array, PartialValues

DATA = Path(__file__).parents[2] / "data"


def opened(folder: Path, text: str) -> Capture:
    path = folder / "run.log"
    path.write_text(text)
    return open_capture(path)


def values_of(record: Record) -> Array | PartialValues:
    assert record.error is None, record.error
    assert record.locator is not None
    return load_any(record.locator)


def flat_of(record: Record) -> tuple[Array, list[int]]:
    """The shown values and their flat positions, for complete and partial records alike."""
    shown = values_of(record)
    if isinstance(shown, PartialValues):
        assert record.partial == (shown.values.size, int(np.prod(shown.shape)))
        assert shown.shape == record.shape
        return shown.values, shown.positions.tolist()
    assert record.partial is None
    assert shown.shape == record.shape
    return shown.ravel(), list(range(shown.size))


def test_real_console_of_max(real: Path) -> None:
    path = real / "console" / "print_styles_console.txt"
    capture = open_capture(path)
    text = path.read_text()
    printed = re.compile(r" = tensor|^x_\w+ tensor\(")
    assert len(capture.records) == sum(1 for line in text.splitlines() if printed.search(line))
    assert capture.unreadable == 0
    assert (capture.format, capture.framework) == ("console log", None)  # torch's prints are there
    assert (capture.order_known, capture.order_source) == (True, "order of the log")
    compact = {r.name: r for r in capture.records}
    assert compact["x_f32"].stats == {"printed_decimals": 4}
    assert compact["x_f32(2)"].stats == {"printed_significant": 7}
    assert compact["x_f32(3)"].stats == {"printed_significant": 3}
    assert compact["x_i8"].stats is None
    expected = [[-1.5, 0, 2.25, 3.1235], [100.5, 0, 1e7, -2]]
    np.testing.assert_array_equal(values_of(compact["x_f32"]), np.array(expected, np.float32))
    half = compact["x_f16"]
    assert (half.dtype, half.shape) == ("float16", (2, 4))
    assert np.asarray(values_of(half))[1, 2] == np.inf
    assert np.isnan(np.asarray(values_of(compact["nan"]))).all()
    assert np.asarray(values_of(compact["x_bool"])).tolist()[0] == [False, False, True, True]
    assert np.asarray(values_of(compact["x_i8"])).dtype == np.int8
    assert np.asarray(values_of(compact["x_f64(2)"])).dtype == np.float64
    assert (compact["scalar"].shape, compact["empty"].shape) == ((), (0, 4))
    assert values_of(compact["scalar"]) == 1.5


def test_repeated_names_are_further_calls(real: Path) -> None:
    records = open_capture(real / "console" / "print_styles_console.txt").records
    dup = [(r.name, r.module, r.call) for r in records if r.module == "dup"]
    assert dup[:3] == [("dup", "dup", 1), ("dup(2)", "dup", 2), ("dup(3)", "dup", 3)]
    named = [(r.name, r.slot, r.call) for r in records if r.module == "name"]
    assert named == [(f"name({n})-output", "output", n) for n in (2, 3, 4)]
    assert [r.name for r in records if r.module == "a.b"][1] == "a.b(2)-output_0"
    assert len({r.name for r in records}) == len(records)


def test_abbreviated_and_full_print_of_the_same_tensor_agree(real: Path) -> None:
    records = open_capture(real / "console" / "print_styles_console.txt").records
    short, whole = [r for r in records if r.module == "big_f32"][:2]
    assert short.partial == (36, 2560)
    shown, positions = flat_of(short)
    rows = [0, 1, 2, 37, 38, 39]
    columns = [0, 1, 2, 61, 62, 63]
    assert positions == [64 * row + column for row in rows for column in columns]
    np.testing.assert_allclose(shown, np.asarray(values_of(whole)).ravel()[positions], atol=6e-5)


@pytest.mark.parametrize("name", ["max_compact_ranks.txt", "max_full_ranks.txt"])
def test_max_prints_of_every_rank(name: str) -> None:
    """The tensors held 0, 1, 2, ...: so every value tells the position that it belongs to."""
    capture = open_capture(DATA / name)
    assert len(capture.records) == 17
    for record in capture.records:
        values, positions = flat_of(record)
        assert values.tolist() == positions, record.name
        if record.name.startswith("t_"):
            assert record.shape == tuple(int(size) for size in record.name[2:].split("x"))
    assert capture.records[-1].name == "weird name (x)"
    assert capture.records[-1].dtype == "bfloat16"


SHAPES = [(), (0,), (0, 4), (2, 0, 3), (1,), (7,), (2000,), (3, 4), (3, 2000), (40, 64),
          (2000, 1), (1, 9, 5120), (8, 9, 40), (7, 3, 70), (2, 8, 9, 40), (1200, 1, 1, 1),
          (9, 9, 9, 9)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "float64"])
def test_torch_prints_of_every_rank(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Whole numbers that tell their position, where the dtype can hold them."""
    count = int(np.prod(shape))
    tensor = torch.arange(count).reshape(shape).to(getattr(torch, dtype))
    capture = opened(tmp_path, f"model.x-output = {tensor!s} {tensor.shape}\nend\n")
    (record,) = capture.records
    assert (record.name, record.slot, record.dtype) == ("model.x-output", "output", dtype)
    assert record.shape == shape
    assert capture.framework == "torch"
    values, positions = flat_of(record)
    assert len(positions) == count or count > 1000
    exact = tensor.double().ravel()[positions].numpy()
    np.testing.assert_allclose(values.astype(np.float64), exact, rtol=5e-5 if count > 5000 else 0)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_torch_rounding_is_told(tmp_path: Path, scale: float) -> None:
    torch.manual_seed(0)
    tensor = torch.randn(3, 5) * scale
    (record,) = opened(tmp_path, f"h: {tensor}\n").records
    values = np.asarray(values_of(record))
    assert record.stats is not None
    if "printed_decimals" in record.stats:
        bound = 0.51 * 10.0 ** -record.stats["printed_decimals"]
        assert np.abs(values - tensor.numpy()).max() <= bound
    else:
        bound = 5.1 * 10.0 ** -record.stats["printed_significant"]
        assert (np.abs(values / tensor.numpy() - 1)).max() <= bound


def test_kinds_of_torch_prints(tmp_path: Path) -> None:
    torch.manual_seed(1)
    prints = {
        "flags": torch.tensor([[True, False]]),
        "special": torch.tensor([1.5, float("nan"), float("inf"), -float("inf")]),
        "allnan": torch.full((2,), float("nan")),
        "ints": torch.tensor([[-3, 4]], dtype=torch.int8),
        "wide": torch.tensor([1e-8, 1e8]),
        "grad": (torch.randn(2, 2).requires_grad_() * 2),
        "weight": torch.nn.Parameter(torch.randn(2)),
        "complex": torch.tensor([1 + 2j, -0.5 - 1j]),
        "eight": torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn),
        "one": torch.tensor(3),
    }
    text = "".join(f"{name} = {value!s}\n" for name, value in prints.items())
    text = text.replace("grad_fn", "device='cuda:0', grad_fn")
    records = opened(tmp_path, text).records
    assert [r.name for r in records] == list(prints)
    for record, tensor in zip(records, prints.values(), strict=True):
        assert record.dtype == str(tensor.dtype).removeprefix("torch.")
        assert record.shape == tuple(tensor.shape)
        wide = tensor.detach().to(torch.complex64 if tensor.is_complex() else torch.float32)
        shown = np.asarray(values_of(record)).astype(wide.numpy().dtype)
        np.testing.assert_allclose(shown, wide.numpy(), atol=6e-5, rtol=1e-4)


def test_several_prints_on_a_line_and_in_a_dict(tmp_path: Path) -> None:
    prints = {"q": torch.tensor([1, 2]), "k": torch.tensor([3.5])}
    records = opened(
        tmp_path, f"{prints}\na = {prints['q']}, b = tensor<2xf32> [1.0, 2.0]\n"
    ).records
    assert [r.name for r in records] == ["q", "k", "a", "b"]
    assert np.asarray(values_of(records[1])).tolist() == [3.5]
    assert np.asarray(values_of(records[3])).tolist() == [1.0, 2.0]


def test_garbage_between_prints_is_passed_over(tmp_path: Path) -> None:
    text = (
        "loading tensor( weights\nno tensor([1, 2]) here\n= tensor([1])\n"
        "2026-01-01 10:00:00 INFO model.a-output = tensor([1., 2.])\n"
        "\x1b[31mred\x1b[0m \ufffd\n"
        "Writing debug binary tensor 2xf32 of 8 bytes to 'o/x'\n"
        "b: tensor<2xsi32> [1, 2]\ntotal time = 3 s\n"
    )
    assert [r.name for r in opened(tmp_path, text).records] == ["model.a-output", "b"]


GOOD = "good = tensor([1., 2.])\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = tensor([[1., 2.],\n        [3.,", "cut off"),
        ("x = tensor([[1., 2.],\n", "cut off"),
        ("x = tensor(", "cut off"),
        ("x = tensor<3xf32> [1.0, 2.0", "cut off"),
        ("x = tensor<3xf32> [1.0, 2.0]\n", "2 values printed, shape [3] has 3"),
        ("x = tensor<3xf99> [1.0, 2.0, 3.0]\n", "unknown dtype 'f99'"),
        ("x = tensor<axf32> [1.0]\n", "not one such as"),
        (f"x = tensor<{'9' * 15}x{'9' * 15}xf32> []\n", "more than any tensor"),
        (
            "x = tensor([[1.0, 2.0],\nWARNING: hello\n[3.0, 4.0]], dtype=f32, shape=[2,2])\n",
            "cut off",
        ),
        ("x = tensor([[1.0, 2.0],\nin between\n[3.0, 4.0]], dtype=f32, shape=[2,2])\n", "cut off"),
        ("x = tensor([1., 2. 3.])\n", "mixed"),
        ("x = tensor([[1., 2.], [3.]])\n", "1 items printed where the shape has 2"),
        ("x = tensor([[1., 2.], 3.])\n", "nested unevenly"),
        ("x = tensor([1., 2.]) torch.Size([3])\n", "2 items printed where the shape has 3"),
        (
            "x = tensor([1., 2.]) torch.Size([1, 2])\n",
            "brackets are nested 1 deep, the shape has 2 axes",
        ),
        ("x = tensor([1., ..., 2.])\n", "no torch.Size"),
        ("x = tensor([1., ..., 2.]) torch.Size([2])\n", "some of 2"),
        ("x = tensor([1., ..., 2., ..., 3.]) torch.Size([9])\n", "some of 9"),
        ("x = tensor([[1.0]], dtype=f32, shape=[2,4])\n", "1 items printed where the shape has 2"),
        ("x = tensor([[1.0]], dtype=f32, shape=[0])\n", "values printed for the empty shape"),
        ("x = tensor(1.5) torch.Size([2])\n", "one value printed"),
        ("x = tensor(..., device='meta', size=(2, 2))\n", "without values"),
        ("x = tensor([], size=(2, 2)) torch.Size([0])\n", "says both shape"),
        ("x = " + "tensor(" + "[" * 5000 + "]" * 5000 + ")\n", "nested deeper than 64"),
    ],
)
def test_damage_is_an_unreadable_record(tmp_path: Path, text: str, words: str) -> None:
    """What follows is still read, and what is damaged keeps its place and says why."""
    if text.endswith("\n"):
        records = opened(tmp_path, GOOD + text + GOOD).records
        assert [r.name for r in records] == ["good", "x", "good(2)"]
        assert records[2].error is None
    else:
        records = opened(tmp_path, GOOD + text).records
        assert [r.name for r in records] == ["good", "x"]
    assert records[1].locator is None
    assert records[1].error is not None
    assert words in records[1].error
    assert "\n" not in records[1].error


def test_sparse_tensors_are_refused_in_words(tmp_path: Path) -> None:
    text = f"s = {torch.eye(2).to_sparse()}\n"
    records = opened(tmp_path, text + GOOD).records
    assert [r.name for r in records] == ["s", "good"]
    assert "sparse" in (records[0].error or "")


@pytest.mark.parametrize(
    "text",
    [
        "x = tensor<2xf32> [1.0, one]\n",
        "x = tensor<2xsi8> [1, 300]\n",
        "x = tensor<2xsi8> [1, 1.5]\n",
        "x = tensor<2xbool> [True, 1]\n",
        "x = tensor<2xf32> [1.0, 1_0]\n",
        "x = tensor<2xf32> [1.0, 1e99]\n",
        "x = tensor<1xf32> []\n",
    ],
)
def test_values_that_are_none_are_told_when_loaded(tmp_path: Path, text: str) -> None:
    from layertui.capture import RecordError

    records = opened(tmp_path, text + GOOD).records
    if records[0].error is None:
        assert records[0].locator is not None
        with pytest.raises(RecordError):
            load(records[0].locator)
    assert records[1].error is None


def test_a_print_that_another_one_interrupts(tmp_path: Path) -> None:
    text = "x = tensor([[1.0, 2.0],\ny = tensor([[5.0]], dtype=f32, shape=[1,1])\n"
    cut, whole = opened(tmp_path, text).records
    assert (cut.name, cut.locator) == ("x", None)
    assert values_of(whole) == 5.0


def test_line_of_megabytes_is_read_in_pieces(tmp_path: Path) -> None:
    size = 200_000
    numbers = ", ".join(f"{n:.6e}" for n in range(size))
    text = f"big-output = tensor<{size // 10}x10xf32> [{numbers}]\n{GOOD}"
    text += (
        f"short = tensor<{size}xf32> [{numbers[:-14]}]\n" + f"open = tensor<{size}xf32> [{numbers}"
    )
    big, good, short, cut = opened(tmp_path, text).records
    assert big.stats == {"printed_significant": 7}
    np.testing.assert_array_equal(np.asarray(values_of(big)).ravel(), np.arange(size))
    assert good.error is None
    assert short.error == "199999 values printed, the shape has 200000"
    assert "cut off" in (cut.error or "")


def test_torch_print_of_megabytes(tmp_path: Path) -> None:
    torch.set_printoptions(threshold=10**9)
    try:
        tensor = torch.arange(150_000, dtype=torch.float32).reshape(300, 500) / 8
        text = f"h = {tensor} {tensor.shape}\nnosize = {tensor}\n{GOOD}"
    finally:
        torch.set_printoptions(profile="default")
    big, nosize, good = opened(tmp_path, text).records
    assert (big.shape, big.dtype, big.partial) == ((300, 500), "float32", None)
    assert np.abs(np.asarray(values_of(big)) / np.maximum(tensor.numpy(), 1) - 1)[1:].max() < 1e-4
    assert "no torch.Size" in (nosize.error or "")
    assert good.error is None


def test_a_log_without_prints_is_no_capture(real: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no tensors found"):
        open_capture(real / "console" / "writing_lines_stderr.txt")
    (tmp_path / "notes.txt").write_text("nothing = here\n")
    with pytest.raises(CaptureError, match="no tensors found"):
        open_capture(tmp_path)


def test_log_that_changed_after_it_was_listed(tmp_path: Path) -> None:
    from layertui.capture import RecordError

    (record,) = opened(tmp_path, "x = tensor([1., 2., 3.])\n").records
    (tmp_path / "run.log").write_text("x = tensor([1., 2.])\nand something else\n")
    assert record.locator is not None
    with pytest.raises(RecordError):
        load(record.locator)


def test_windows_line_ends_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(
        b"\xff\xfe\0 junk\r\nx = tensor([[1.0, 2.0],\r\n[3.0, 4.0]], dtype=f32, shape=[2,2])\r\n"
    )
    (record,) = open_capture(path).records
    assert np.asarray(values_of(record)).tolist() == [[1, 2], [3, 4]]


def test_a_hostile_line_costs_no_time(tmp_path: Path) -> None:
    """Runs of blanks and half-begun prints, each of which a careless pattern would try again."""
    blanks, starts = " " * 60_000, "a = tensor< " * 5_000
    text = f"x = tensor([1.]){blanks}\n{starts}\n{'= tensor<2xf32>' + blanks}\n{GOOD}"
    assert [r.name for r in opened(tmp_path, text).records] == ["x", "good"]


ROWS = "tensor([[1., 2.],\n        [3., 4.]])\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"q\n{ROWS}k\n{ROWS}", ["q", "k"]),
        (f"layer 0\nattn\n{ROWS}mlp output:\n{ROWS}\nlayer 1\n\nattn\n{ROWS}norm\n{ROWS}",
         ["layer 0 attn", "layer 0 mlp output", "layer 1 attn", "layer 1 norm"]),
        (f"=== Layer 3 ===\nq\n{ROWS}final norm\n{ROWS}", ["Layer 3 q", "final norm"]),
        (f"layer 0 attn\n{ROWS}layer 0 mlp\n{ROWS}", ["layer 0 attn", "layer 0 mlp"]),
        (f"block 7\n{ROWS}", ["block 7"]),
        (f"[DEBUG] layer 0 attn_out: {ROWS}", ["layer 0 attn_out"]),
        (f"2026-11-20 09:00:00,123 - engine - INFO - layers.0.mlp = {ROWS}", ["layers.0.mlp"]),
        (f"INFO 11-20 09:00:00 [model.py:33] layer 1 q: {ROWS}", ["layer 1 q"]),
        (f"DEBUG:root:layer 1 q = {ROWS}", ["layer 1 q"]),
        (f"(Worker pid=31) [rank0] layer.2.mlp: {ROWS}", ["layer.2.mlp"]),
        (f"layer_0.q {ROWS}", ["layer_0.q"]),
        (f"a sentence about {ROWS}", []),
    ],
)  # fmt: skip
def test_what_prints_are_called(tmp_path: Path, text: str, names: list[str]) -> None:
    path = tmp_path / "run.log"
    path.write_text(f"x = tensor([1.])\n\n{text}")
    capture = open_capture(path)
    assert [record.name for record in capture.records] == ["x", *names]
    assert capture.unreadable == 0


def test_steps_in_headings(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("".join(f"--- step {step} ---\nq\n{ROWS}" for step in range(3)))
    capture = open_capture(path)
    assert [(r.step, r.name) for r in capture.records] == [(0, "q"), (1, "q"), (2, "q")]


@pytest.mark.parametrize("opening", ["array", "Array", "DeviceArray"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool"])
def test_arrays_of_numpy_and_jax(tmp_path: Path, opening: str, dtype: str) -> None:
    values = (np.arange(12.0).reshape(1, 4, 3) / 7 - 0.5).astype(dtype)
    path = tmp_path / "run.log"
    text = repr(values).replace("array(", f"{opening}(", 1)
    path.write_text(f"layers.0.mlp {text}\nlayers.1.mlp: {text}\nx = np.array([1.0, 2.0])\n")
    capture = open_capture(path)
    assert [record.name for record in capture.records] == ["layers.0.mlp", "layers.1.mlp"]
    for record in capture.records:
        assert (record.shape, record.dtype, record.error) == ((1, 4, 3), dtype, None)
        shown = values_of(record)
        assert isinstance(shown, np.ndarray)
        np.testing.assert_allclose(shown, values, rtol=2e-3 if dtype == "float16" else 1e-6)


def test_an_abbreviated_array_tells_its_shape(tmp_path: Path) -> None:
    values = np.arange(4000, dtype=np.float32).reshape(2, 40, 50) / 7
    path = tmp_path / "run.log"
    path.write_text(f"layers.0.mlp\n{values!r}\n")
    (record,) = open_capture(path).records
    assert (record.name, record.shape, record.error) == ("layers.0.mlp", (2, 40, 50), None)
    assert record.partial == (2 * 6 * 6, 4000)


def test_an_abbreviated_array_of_an_old_numpy_says_what_to_print(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    rows = "array([[0.5, 0.25, ..., 1.5],\n [1., 2., ..., 3.]], dtype=float32)"
    path.write_text(f"layers.0.mlp {rows}\n")
    with pytest.raises(CaptureError, match=r"print t.shape, too, or all values \(numpy\.set_print"):
        open_capture(path)
