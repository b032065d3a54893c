"""Nested dictionaries of arrays become captures; so does a Flax module in one call."""

# pyright: reportMissingImports=false
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture import CaptureError, add_tree, open_capture, record, record_flax
from layertui.capture.load import load
from layertui.capture.recorder.tree_of_arrays import leaves_of
from layertui.cli.main import status_of


def arrays(path: Path) -> dict[tuple[int, str, str, int], np.ndarray]:
    found = {}
    for one in open_capture(path).records:
        assert one.error is None and one.locator is not None, one
        found[one.step, one.module, one.slot, one.call] = load(one.locator)
    return found


def test_names_are_paths(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree = {
        "layers": [{"mlp": x, "attn": {"scores": x * 2}}, {"mlp": x * 3}],
        "final": {"norm-input_0": x, "norm": x + 1},
        "twice": [x, x * 5],
        "loss": 0.5, "nothing": None, "ids": [1, 2, 3],
    }  # fmt: skip
    add_tree(tree, path=tmp_path / "c", prefix="model", prompt="hello")
    found = arrays(tmp_path / "c")
    assert set(found) == {
        (0, "model.layers.0.mlp", "output", 1), (0, "model.layers.0.attn.scores", "output", 1),
        (0, "model.layers.1.mlp", "output", 1), (0, "model.final.norm", "input_0", 1),
        (0, "model.final.norm", "output", 1), (0, "model.twice", "output", 1),
        (0, "model.twice", "output", 2), (0, "model.loss", "output", 1),
        (0, "model.ids", "output", 1),
    }  # fmt: skip
    assert np.array_equal(found[0, "model.twice", "output", 2], x * 5)
    assert found[0, "model.ids", "output", 1].tolist() == [1, 2, 3]
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True and capture.prompt == "hello"
    assert capture.order_known and capture.order_source == "manifest"


def test_each_tree_is_a_step(tmp_path: Path) -> None:
    add_tree({"a": np.ones(3)}, {"a": np.zeros(3)}, path=tmp_path / "c")
    assert {key[0]: value.sum() for key, value in arrays(tmp_path / "c").items()} == {0: 3, 1: 0}


def test_what_flax_keeps_of_a_call(tmp_path: Path) -> None:
    x = np.ones((1, 2), np.float32)
    tree = {"layers_0": {"__call__": ((x, {"cache": x * 2}),), "dense": {"__call__": (x, x * 3)}}}
    add_tree(tree, path=tmp_path / "c")
    listed = [(leaf.module, leaf.slot, leaf.call) for leaf in leaves_of(tree)]
    assert listed == [
        ("layers_0.dense", "output", 1), ("layers_0.dense", "output", 2),
        ("layers_0", "output_0", 1), ("layers_0", "output_1_cache", 1),
    ]  # fmt: skip
    assert {key[1:] for key in arrays(tmp_path / "c")} == set(listed)


def test_an_order_that_was_sorted_away_is_not_claimed(tmp_path: Path) -> None:
    x = np.ones(2)
    add_tree({"layers_1": {"b": x}, "layers_10": {"a": x}}, path=tmp_path / "sorted")
    assert not open_capture(tmp_path / "sorted").order_known
    add_tree({"norm": x, "attention": x}, path=tmp_path / "own")
    assert open_capture(tmp_path / "own").order_known


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "int8", "bool", "uint32",
                                   "float64", "complex64"])  # fmt: skip
def test_every_dtype_keeps_its_bits(dtype: str, tmp_path: Path) -> None:
    if dtype in ("bfloat16", "float8_e4m3fn"):
        kind = getattr(pytest.importorskip("ml_dtypes"), dtype)
    else:
        kind = np.dtype(dtype)
    values = np.random.default_rng(0).integers(0, 2, (3, 5)).astype(kind)
    add_tree({"x": values.T}, path=tmp_path / "c")
    (record,) = open_capture(tmp_path / "c").records
    assert record.dtype == dtype and record.shape == (5, 3) and record.locator is not None
    assert load(record.locator).tobytes() == np.ascontiguousarray(values.T).tobytes()


def test_torch_tensors_are_arrays_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    given = torch.randn(4, 6).to(torch.bfloat16).T
    add_tree({"x": given, "y": torch.tensor(3)}, path=tmp_path / "c")
    x, y = open_capture(tmp_path / "c").records
    assert (x.dtype, x.shape, y.shape) == ("bfloat16", (6, 4), ())
    assert x.locator is not None
    assert load(x.locator).tobytes() == given.contiguous().view(torch.int16).numpy().tobytes()


def test_recordings_that_run_take_them(tmp_path: Path) -> None:
    with record(None, tmp_path / "c"):
        add_tree({"layers": [{"mlp": np.ones(2)}, {"mlp": np.zeros(2)}]})
    assert set(arrays(tmp_path / "c")) == {(0, f"layers.{n}.mlp", "output", 1) for n in (0, 1)}


@pytest.mark.parametrize(
    ("tree", "words"),
    [({"a": "text"}, "a-output: elements of the type str"), ({"a": object()}, "a-output"),
     ({"a": {"b": [np.ones(1), "x"]}}, "a.b-output")],
)  # fmt: skip
def test_what_is_no_array_is_one_line(tree: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=words) as caught:
        add_tree(tree, path=tmp_path / "c")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no recording runs"):
        add_tree({"a": np.ones(1)})
    add_tree({"a": np.ones(1)}, path=tmp_path / "c")
    with pytest.raises(CaptureError, match="not empty"):
        add_tree({"a": np.ones(1)}, path=tmp_path / "c")
    add_tree({"a": np.zeros(1)}, path=tmp_path / "c", overwrite=True)
    assert arrays(tmp_path / "c")[0, "a", "output", 1] == 0
    deep: dict[str, Any] = {}
    deep["x"] = deep
    with pytest.raises(CaptureError, match="nested too deeply"):
        add_tree(deep, path=tmp_path / "d")
    with pytest.raises(CaptureError, match="JSON compliant"):
        add_tree({"a": np.ones(1)}, path=tmp_path / "e", loss=float("nan"))


def test_no_torch_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys, numpy; from layertui.capture import add_tree;"
        f"add_tree({{'a': numpy.ones(3)}}, path={str(tmp_path / 'c')!r});"
        "assert 'torch' not in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert open_capture(tmp_path / "c").framework == "numpy"


TREES = st.recursive(
    st.sampled_from([np.ones(2), np.zeros((1, 2), np.int64), 3.5, None]),
    lambda inner: (
        st.dictionaries(st.text(max_size=4), inner, max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.text(max_size=4), TREES, max_size=4))
def test_every_array_of_a_tree_is_listed(tree: dict[str, Any]) -> None:
    def count(value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(count, value.values()))
        if isinstance(value, list):
            numbers = value and all(isinstance(part, float) for part in value)
            return 1 if numbers else sum(map(count, value))
        return int(value is not None)

    assert len(list(leaves_of(tree))) == count(tree)


# -- Flax


@pytest.fixture
def model() -> Iterator[tuple[Any, Any, Any]]:
    """A small decoder of `flax.linen`, its variables, and token ids."""
    pytest.importorskip("flax")
    import flax.linen as nn
    import jax

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            normed = nn.RMSNorm(name="input_layernorm")(x)
            hidden = nn.Dense(24, use_bias=False, name="up_proj")(normed)
            return x + nn.Dense(8, use_bias=False, name="down_proj")(nn.silu(hidden))

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, ids: Any) -> Any:
            x = nn.Embed(32, 8, name="embed_tokens")(ids)
            for number in range(12):
                x = Block(name=f"layers_{number}")(x)
            return nn.Dense(32, use_bias=False, name="lm_head")(nn.RMSNorm(name="norm")(x))

    decoder = Decoder()
    ids = np.array([[1, 2, 3, 4]])
    yield decoder, decoder.init(jax.random.key(0), ids), ids


def test_a_flax_module_in_one_call(
    model: tuple[Any, Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import jax

    decoder, variables, ids = model
    output = record_flax(decoder, variables, ids, path=tmp_path / "good")
    assert np.array_equal(output, decoder.apply(variables, ids))
    found = arrays(tmp_path / "good")
    assert {(0, f"layers_{n}.down_proj", "output", 1) for n in range(12)} < set(found)
    assert np.array_equal(found[0, "", "output", 1], output)
    capture = open_capture(tmp_path / "good")
    assert capture.framework == "jax" and capture.input_ids == ids.tolist()
    wrong = jax.tree_util.tree_map(lambda x: x, variables)
    kernel = wrong["params"]["layers_7"]["up_proj"]["kernel"]
    wrong["params"]["layers_7"]["up_proj"]["kernel"] = kernel * 1.2
    record_flax(decoder, wrong, ids, path=tmp_path / "wrong")
    sides = [str(tmp_path / "good"), str(tmp_path / "wrong")]
    assert status_of(["compare", sides[0], sides[0]]) == 0
    assert status_of(["compare", *sides]) == 1
    assert "the first layers.7.mlp.up_proj-output" in capsys.readouterr().out


def test_flax_refusals(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no Flax module"):
        record_flax(object(), {}, path=tmp_path / "c")
