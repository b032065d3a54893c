"""Text dumps of C++ engines, written here as such an engine writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import Capture, CaptureError, Record, open_capture
from layertui.capture.load import load, load_any
from layertui.capture.values import Array, PartialValues


def dump_text(name: str, values: Array, *, itemsize: bool = True, special: str = "") -> str:
    """The text of a float32 dump: everything up to 1000 elements, else the first and last 50."""
    flat = values.ravel()
    lines = [f"# Tensor: {name}", f"# Shape: {'x'.join(map(str, values.shape))}"]
    lines.append(f"# Total elements: {flat.size}")
    if itemsize:
        lines.append("# Data type size: 4 bytes")
    lines += ["# Mean: 0.1", "# L1 norm (avg abs): 2.0", "# WARNING: something odd"]
    lines.append(f"# Special values - {special or 'NaN: 0, Inf: 0, Zero: 3'}")
    if flat.size <= 1000:
        return "\n".join([*lines, "# Data:", *(f"{value:.6e}" for value in flat), ""])
    lines += ["# First 50 elements:", *(f"{value:.6e}" for value in flat[:50])]
    lines += ["# Last 50 elements:", *(f"{value:.6e}" for value in flat[-50:]), ""]
    return "\n".join(lines)


def half_text(name: str, values: Array, kind: str = "FP16", bits: Array | None = None) -> str:
    flat = values.ravel()
    codes = (flat.view(np.uint16) if bits is None else bits)[:100]
    lines = [f"# Tensor: {name} ({kind} format)", f"# Shape: {'x'.join(map(str, values.shape))}"]
    lines += [f"# Total elements: {flat.size}"]
    lines.append("# Data (first 100 elements as hex and converted):")
    shown = zip(codes, flat[:100], strict=True)
    return "\n".join([*lines, *(f"0x{code:04x} ({value:.6e})" for code, value in shown), ""])


def opened(folder: Path, text: str, name: str = "py_x.txt") -> Record:
    """The one record of a directory with one dump, whether it can be read or not."""
    (folder / name).write_text(text)
    (folder / "py_other.txt").write_text(dump_text("other", np.zeros(1, np.float32)))
    by_path = {Path(r.path).name: r for r in open_capture(folder).records}
    return by_path[name]


def problem(folder: Path, text: str) -> str:
    record = opened(folder, text)
    assert record.locator is None
    assert record.error is not None
    assert "\n" not in record.error
    return record.error


RANDOM = np.random.default_rng(0).standard_normal


def test_one_directory_with_both_sides(tmp_path: Path) -> None:
    values = RANDOM((1, 3, 8)).astype(np.float32)
    for side in ("py", "cpp"):
        for name in ("layer_0_attn_q_proj_raw", "input_embeddings"):
            (tmp_path / f"{side}_{name}.txt").write_text(dump_text(name, values))
    (tmp_path / "README.txt").write_text("How the dumps were made: Shape 1x2\n")
    (tmp_path / "plain.txt").write_text(dump_text("plain", values))
    capture = open_capture(tmp_path)
    assert {(r.side, r.name) for r in capture.records} == {
        ("py", "layer_0_attn_q_proj_raw"), ("cpp", "layer_0_attn_q_proj_raw"),
        ("py", "input_embeddings"), ("cpp", "input_embeddings"), (None, "plain"),
    }  # fmt: skip
    assert capture.unreadable == 0
    assert (capture.format, capture.order_known) == ("text dump", False)
    for record in capture.records:
        assert (record.shape, record.dtype, record.partial) == ((1, 3, 8), "float32", None)
        assert record.locator is not None
        np.testing.assert_allclose(load(record.locator), values, rtol=6e-7)


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_up_to_1000_elements_are_complete(tmp_path: Path, size: int) -> None:
    values = RANDOM(size).astype(np.float32)
    record = opened(tmp_path, dump_text("x", values))
    assert record.partial is None
    assert record.locator is not None
    assert record.stats == {"nan": 0, "inf": 0, "printed_significant": 7}
    np.testing.assert_allclose(load(record.locator), values, rtol=6e-7)


def test_larger_ones_show_both_ends(tmp_path: Path) -> None:
    values = RANDOM((1, 3, 2048)).astype(np.float32)
    record = opened(tmp_path, dump_text("x", values, special="NaN: 3, Inf: 0, Zero: 0"))
    assert record.partial == (100, 6144)
    assert record.stats is not None
    assert record.stats["nan"] == 3
    assert record.locator is not None
    shown = load_any(record.locator)
    assert isinstance(shown, PartialValues)
    assert shown.shape == (1, 3, 2048)
    assert shown.positions.dtype == np.int64
    assert shown.positions.tolist() == [*range(50), *range(6094, 6144)]
    np.testing.assert_allclose(shown.values, values.ravel()[shown.positions], rtol=6e-7)


def test_half_precision_takes_the_bits(tmp_path: Path) -> None:
    values = RANDOM((4, 50)).astype(np.float16)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    record = opened(tmp_path, half_text("x", values))
    assert (record.dtype, record.partial) == ("float16", (100, 200))
    assert record.locator is not None
    shown = load_any(record.locator)
    assert isinstance(shown, PartialValues)
    assert shown.values.dtype == np.float16
    assert shown.values.view(np.uint16).tolist() == values.ravel().view(np.uint16)[:100].tolist()
    assert shown.positions.tolist() == list(range(100))
    small = opened(tmp_path, half_text("x", values[:1, :7]), "py_small.txt")
    assert small.partial is None
    assert small.locator is not None
    assert load(small.locator).shape == (1, 7)


def test_bits_that_contradict_the_number_are_refused(tmp_path: Path) -> None:
    values = np.array([1.0, 2.0], np.float16)
    bfloat_bits = np.array([0x3F80, 0x4000], np.uint16)
    assert "disagree" in load_problem(tmp_path, half_text("x", values, bits=bfloat_bits))
    record = opened(tmp_path, half_text("x", values, "BF16", bfloat_bits))
    assert record.dtype == "bfloat16"
    assert record.locator is not None
    assert load(record.locator).tolist() == bfloat_bits.tolist()


def load_problem(folder: Path, text: str) -> str:
    """What loading says; or the header, where that was already enough."""
    from layertui.capture import RecordError

    record = opened(folder, text)
    if record.error is not None:
        return record.error
    assert record.locator is not None
    with pytest.raises(RecordError) as caught:
        load_any(record.locator)
    return str(caught.value)


def test_spellings_of_nan_and_infinity(tmp_path: Path) -> None:
    texts = ["nan", "-nan", "NaN", "nan(ind)", "-nan(ind)", "inf", "-inf", "INF", "-Infinity", "1"]
    text = "# Tensor: x\n# Shape: 10\n# Total elements: 10\n# Data:\n" + "\n".join(texts)
    record = opened(tmp_path, text)
    assert record.locator is not None
    values = load(record.locator)
    assert np.isnan(values[:5]).all()
    assert values[5:].tolist() == [np.inf, -np.inf, np.inf, -np.inf, 1.0]


GOOD = dump_text("x", np.arange(6, dtype=np.float32).reshape(2, 3))
LONG = dump_text("x", np.arange(3000, dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no '# Shape:' line"),
        ("# Tensor: x\n# Data:\n1.0\n", "no '# Shape:' line"),
        (GOOD.replace("2x3", "2x4"), "header says 6 elements, shape 2x4 has 8"),
        (GOOD.replace("elements: 6", "elements: 7"), "header says 7 elements"),
        (GOOD.replace("2x3", "two by three"), "not one such as 1x3x2048"),
        (GOOD.replace("2x3", "-2x-3"), "not one such as 1x3x2048"),
        (GOOD.replace("2x3", "9" * 5000), "more than 4096 characters"),
        (GOOD[: GOOD.rindex("4.0")], "truncated: 6 values promised, the file has 4"),
        (GOOD + "7.0\n", "6 values promised, the file has 7"),
        (GOOD.replace("size: 4", "size: 8"), "elements of 8 bytes"),
        (GOOD + "# Shape: 3x2\n", "two different values"),
        (LONG[: LONG.index("# Last")], "one is missing"),
        (GOOD[:-5], "the last value is cut short"),
        (LONG[:-2], "the last value is cut short"),
        (LONG[:-30], "truncated: 100 values promised"),
        (LONG.replace("3000", "80"), "promises 50 + 50 of only 80"),
        (LONG.replace("3000", "99999999999x99999999999"), "more than any file can hold"),
    ],
)
def test_contradictions_are_told_when_listed(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem(tmp_path, text)


def test_values_that_moved_from_one_end_to_the_other_are_noticed(tmp_path: Path) -> None:
    lines = LONG.splitlines()
    at = lines.index("# Last 50 elements:")
    lines[at - 1], lines[at] = lines[at], lines[at - 1]
    assert problem(tmp_path, "\n".join(lines)) == "50 last values promised, the file has 51"


@pytest.mark.parametrize("bad", ["1.0f", "0x3c00", "1_0", "one", "1.0 2.0", "1e99", "--1"])
def test_what_is_no_number_is_told_when_loaded(tmp_path: Path, bad: str) -> None:
    assert load_problem(tmp_path, GOOD.replace("4.000000e+00", bad))


def test_a_promise_of_an_exabyte_costs_nothing(tmp_path: Path) -> None:
    record = opened(tmp_path, LONG.replace("3000", str(10**17)))
    assert record.partial == (100, 10**17)
    assert record.locator is not None
    shown = load_any(record.locator)
    assert isinstance(shown, PartialValues)
    assert shown.values.size == 100
    assert shown.positions[-1] == 10**17 - 1


def test_large_complete_file_is_counted_when_loaded(tmp_path: Path) -> None:
    size = 100_000
    body = "1.500000e+00\n" * size
    text = f"# Tensor: x\n# Shape: {size}\n# Total elements: {size}\n# Data:\n{body}"
    record = opened(tmp_path, text)
    assert (record.partial, record.error) == (None, None)
    assert record.locator is not None
    assert load(record.locator).sum() == 1.5 * size
    assert "truncated" in load_problem(tmp_path, text[:-13])
    assert "too short" in load_problem(tmp_path, text.replace(str(size), str(10**6)))


def test_large_file_with_two_ends(tmp_path: Path) -> None:
    first, last = "1.000000e+00\n" * 60_000, "2.000000e+00\n" * 40_000
    text = (
        "# Tensor: x\n# Shape: 1000x1000\n# Total elements: 1000000\n"
        f"# First 60000 elements:\n{first}# Last 40000 elements:\n{last}"
    )
    record = opened(tmp_path, text)
    assert record.partial is not None
    assert record.partial[1] == 10**6
    assert record.locator is not None
    shown = load_any(record.locator)
    assert isinstance(shown, PartialValues)
    assert shown.values[[0, 59999, 60000, -1]].tolist() == [1, 1, 2, 2]
    assert shown.positions[[59999, 60000]].tolist() == [59999, 960000]
    assert record.partial == (shown.values.size, 10**6)


def test_a_single_file_is_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "cpp_layer_3_layer_output.txt"
    path.write_text(GOOD)
    capture: Capture = open_capture(path)
    assert [(r.name, r.side, r.shape) for r in capture.records] == [
        ("layer_3_layer_output", "cpp", (2, 3))
    ]
    path.write_text(GOOD[:60])
    with pytest.raises(CaptureError, match=r"cpp_layer_3_layer_output\.txt: "):
        open_capture(path)


def test_scalar_and_empty(tmp_path: Path) -> None:
    scalar = opened(tmp_path, "# Tensor: x\n# Shape: \n# Total elements: 1\n# Data:\n2.5\n")
    assert (scalar.shape, scalar.error) == ((), None)
    assert scalar.locator is not None
    assert load(scalar.locator)[()] == 2.5
    empty = opened(tmp_path, "# Tensor: x\n# Shape: 0x4\n# Total elements: 0\n# Data:\n")
    assert empty.locator is not None
    assert load(empty.locator).shape == (0, 4)


SPELLINGS = [
    "# Shape: 1x3x4", "# shape: (1, 3, 4)", "Shape: 1 3 4", "shape=[1,3,4]", "# SHAPE 1,3,4",
    "# Tensor: x, shape: [1, 3, 4], dtype: float32", "# x\n# 1x3x4", "# x float32 [1, 3, 4]",
    "# Name: x\n# Shape: 1 x 3 x 4\n# Dtype: float32", "torch.Size([1, 3, 4])", "[1, 3, 4]",
    "x: torch.Size([1, 3, 4])", "# x.shape = (1, 3, 4)", "dims: 1 3 4", "1 3 4", "3\n1 3 4",
    "3\n1\n3\n4", "ndim 3\n1 3 4", "Tensor shape: (1,3,4)", "# shape: 1×3×4", "// Shape: 1x3x4",
    "% Shape: 1x3x4", "Shape: {1, 3, 4}", "size: 1*3*4", "# Shape: 1x3x4, mean=0.1, std=0.2",
    "# Shape: 1x3x4 (total 12)", "# sizes = [1, 3, 4], strides = [12, 4, 1]", "x 1x3x4",
    "--- shape 1x3x4 ---", "=== x: shape 1x3x4 ===", '"shape": [1, 3, 4],', "# shape: '1x3x4'",
    "# shape: (1, 3, 4,)", "Shape [B, S, H]: 1 3 4", "# Shape: B=1, S=3, H=4", "[x] shape: 1x3x4",
    "# Dims: 3\n# Shape: 1x3x4", "# Size: 48 bytes\n# Shape: 1x3x4", "\ufeff# Shape: 1x3x4",
]  # fmt: skip


@pytest.mark.parametrize("header", SPELLINGS)
def test_spellings_of_the_shape(tmp_path: Path, header: str) -> None:
    values = RANDOM((1, 3, 4)).astype(np.float32)
    body = "".join(f"{value:.9g}\n" for value in values.flat)
    record = opened(tmp_path, f"{header}\n{body}")
    assert (record.error, record.shape, record.dtype) == (None, (1, 3, 4), "float32")
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), values)
    assert problem(tmp_path, f"{header}\n{body.partition(chr(10))[2]}")  # a value is missing


@pytest.mark.parametrize(
    "line",
    [
        "[{flat}] {value}", "[{flat}] = {value}", "{flat}: {value}", "x[{flat}] = {value}",
        "[0,{row},{column}] {value}", "(0, {row}, {column}): {value}",
        "x[0][{row}][{column}] = {value}",
    ],
)  # fmt: skip
def test_indexes_beside_the_values(tmp_path: Path, line: str) -> None:
    values = RANDOM((1, 3, 4)).astype(np.float32)
    lines = [line.format(flat=at, row=at // 4, column=at % 4, value=f"{value:.9g}")
             for at, value in enumerate(values.flat)]  # fmt: skip
    record = opened(tmp_path, "\n".join(["# Shape: 1x3x4", *lines, ""]))
    assert record.error is None and record.locator is not None
    np.testing.assert_array_equal(load(record.locator), values)
    lines[4], lines[5] = lines[5], lines[4]
    assert "do not count" in problem(tmp_path, "\n".join(["# Shape: 1x3x4", *lines, ""]))


def test_values_in_rows_and_long_lines(tmp_path: Path) -> None:
    values = RANDOM((2, 3, 400)).astype(np.float32)
    rows = values.reshape(6, 400)
    text = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in rows) + "\n"
    for body, shape in (
        (f"# Shape: 2x3x400\n{text}", values.shape),
        (f"# Shape: 2x3x400\n{text.replace(chr(10), ' ')}\n", values.shape),
        (f"# Shape: 2x3x400\n{values.tolist()}\n", values.shape),
        (text, rows.shape),
    ):
        record = opened(tmp_path, body)
        assert (record.error, record.shape) == (None, shape)
        assert record.locator is not None
        np.testing.assert_array_equal(load(record.locator).reshape(rows.shape), rows)


def test_a_shape_without_a_word_has_to_be_that_of_the_values(tmp_path: Path) -> None:
    body = "".join(f"{value:.9g}\n" for value in RANDOM(11))
    for header in ("# x [1, 3, 4]", "1 3 4", "[1, 3, 4]", "3\n1 3 4", "# x 1x3x4"):
        assert problem(tmp_path, f"{header}\n{body}")


def test_a_first_value_that_is_no_number_is_told(tmp_path: Path) -> None:
    for bad in ("1.0f", "0x1.8p+1", "1_0"):
        assert f"{bad!r} is not a" in load_problem(tmp_path, f"# Shape: 2\n{bad}\n2.0\n")


def test_utf_16_as_power_shell_writes_it(tmp_path: Path) -> None:
    (tmp_path / "py_x.txt").write_bytes(GOOD.encode("utf-16"))
    record = open_capture(tmp_path).records[0]
    assert (record.error, record.shape) == (None, (2, 3))


@pytest.mark.parametrize("shape", ["1x2x3", "1x2x3xf32", "(1, 2, 3)", "1,2,3", "1 2 3", "[1,2,3]"])
def test_a_shape_that_the_user_says(
    tmp_path: Path, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from layertui.cli.main import status_of

    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "py_layer_0_attn_o_proj.txt").write_text("1\n2\n3\n4\n5\n6\n")
    places = [str(tmp_path / side) for side in ("a", "b")]
    assert status_of(["compare", *places, "--shape", shape, "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["candidate"]["shape"] == [1, 2, 3]
