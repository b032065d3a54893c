"""Faults of many kinds, each in several places, sizes and dtypes, and their healthy twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.compare.comparison import Comparison
from support.small_decoder import Array, Decoder, Spoil, at, both, compare, compare_records, rounded

MLP, DOWN = "model.layers.2.mlp-output", "layers.2.mlp"
MASSIVE = [(0, 5), (7, 17), (11, 31)]


def put(value: float, where: tuple[int, ...]) -> Spoil:
    def change(values: Array) -> Array:
        values[where] = value
        return values

    return lambda name, values: change(values)


def noisy(size: float, where: Any = ..., least: float = np.inf, seed: int = 5) -> Spoil:
    """Noise of that relative size at some places; values beyond `least` stay as they are."""

    def change(_: str, values: Array) -> Array:
        noise = np.random.default_rng(seed).standard_normal(values.shape)
        other = values.copy()
        other[where] = (values * (1 + size * noise))[where]
        return np.where(np.abs(values) > least, values, other).astype(np.float32)

    return change


def on(record: str, spoil: Spoil) -> Spoil:
    return at(record, lambda values: spoil(record, values))


def blamed(found: Comparison) -> str | None:
    first = found.first_divergence()
    assert (found.exit_status() == 1) == (first is not None)
    return None if first is None else first.module


def evidence(found: Comparison) -> str:
    first = found.first_divergence()
    assert first is not None
    return "; ".join(f"{symptom.name}: {symptom.evidence}" for symptom in first.symptoms)


# Clean pairs


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("massive", [None, *MASSIVE])
def test_another_order_of_summation_is_clean(
    tmp_path: Path, dtype: str, massive: tuple[int, int] | None
) -> None:
    one = Decoder(dtype=dtype, massive=massive)
    other = Decoder(dtype=dtype, massive=massive, split=4)
    assert blamed(compare(tmp_path, one, other)) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("reference", ["the same", "float32"])
@pytest.mark.parametrize("massive", [None, (3, 17)])
def test_coarse_runs_saved_as_float32_are_clean_and_said(
    tmp_path: Path, dtype: str, reference: str, massive: tuple[int, int] | None
) -> None:
    one = Decoder(dtype=dtype if reference == "the same" else "float32", massive=massive)
    other = Decoder(dtype=dtype, massive=massive, split=4)
    found = compare(tmp_path, one, other, ("float32", "float32"))
    assert blamed(found) is None
    assert any(f"the values are {dtype}" in note for note in found.notes("candidate"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_fault_in_coarse_runs_saved_as_float32_is_found(tmp_path: Path, dtype: str) -> None:
    other = Decoder(dtype=dtype, split=4, spoil=at(MLP, lambda values: 1.1 * values))
    found = compare(tmp_path, Decoder(dtype=dtype), other, ("float32", "float32"))
    assert blamed(found) == DOWN
    assert evidence(found).startswith(("scale: x1.09", "scale: x1.10"))


# Large negative numbers that are no mask

PLACE, ELSEWHERE = (0, 3, 4), (0, 7, 9)
OUTLIERS = [
    ("model.layers.3.mlp.gate_proj-output", -1e4, "float32"),
    ("model.layers.1.self_attn.q_proj-output", -2e4, "bfloat16"),
    ("model.layers.3.mlp.gate_proj-output", -6e4, "float16"),
    ("lm_head-output", -1e30, "float32"),
    ("lm_head-output", -1e30, "bfloat16"),
    ("lm_head-output", -3.4e38, "float32"),
]


@pytest.mark.parametrize(("record", "value", "dtype"), OUTLIERS)
def test_outliers_of_both_sides_are_clean(
    tmp_path: Path, record: str, value: float, dtype: str
) -> None:
    same = on(record, put(value, PLACE))
    one, other = Decoder(dtype=dtype, spoil=same), Decoder(dtype=dtype, split=4, spoil=same)
    assert blamed(compare(tmp_path, one, other)) is None


@pytest.mark.parametrize(("record", "value", "dtype"), OUTLIERS)
@pytest.mark.parametrize(
    ("wrong", "where"), [(np.nan, ELSEWHERE), (-np.inf, PLACE), (np.inf, ELSEWHERE), (-300, PLACE)]
)
def test_what_is_wrong_beside_an_outlier_is_found(
    tmp_path: Path, record: str, value: float, dtype: str, wrong: float, where: tuple[int, ...]
) -> None:
    same = on(record, put(value, PLACE))
    one = Decoder(dtype=dtype, spoil=same)
    other = Decoder(dtype=dtype, split=4, spoil=both(same, on(record, put(wrong, where))))
    found = compare(tmp_path, one, other)
    assert blamed(found) == record.partition("-")[0].removeprefix("model.")
    first = found.first_divergence()
    assert first is not None
    assert (first.verdict == "nan") == (not np.isfinite(wrong))


@pytest.mark.parametrize(("record", "value", "dtype"), OUTLIERS)
def test_an_error_of_all_other_values_does_not_hide_behind_an_outlier(
    tmp_path: Path, record: str, value: float, dtype: str
) -> None:
    size = 0.002 if dtype == "float32" else 0.3
    same = on(record, put(value, PLACE))
    wrong = both(on(record, noisy(size)), on(record, put(value, PLACE)))
    one, other = Decoder(dtype=dtype, spoil=same), Decoder(dtype=dtype, split=4, spoil=wrong)
    found = compare(tmp_path, one, other)
    assert blamed(found) == record.partition("-")[0].removeprefix("model.")


# Coarse sources, massive activations


@pytest.mark.parametrize("kept", ["bfloat16", "float16", "float8_e4m3fn"])
@pytest.mark.parametrize("size", [0.0, 0.02, 0.002])
def test_a_coarse_record_loosens_no_later_limit(tmp_path: Path, kept: str, size: float) -> None:
    spoil = on(MLP, noisy(size)) if size else None
    one = Decoder(embedding_dtype=kept)
    other = Decoder(embedding_dtype=kept, split=4, spoil=spoil)
    assert blamed(compare(tmp_path, one, other)) == (DOWN if size else None)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 0.002), ("bfloat16", 0.12), ("float16", 0.03)]
)
@pytest.mark.parametrize("massive", MASSIVE)
@pytest.mark.parametrize("record", [MLP, "model.layers.2-output"])
def test_an_error_does_not_hide_behind_a_massive_activation(
    tmp_path: Path, dtype: str, size: float, massive: tuple[int, int], record: str
) -> None:
    spoil = on(record, noisy(size, least=100.0))
    one = Decoder(dtype=dtype, massive=massive)
    other = Decoder(dtype=dtype, massive=massive, split=4, spoil=spoil)
    found = compare(tmp_path, one, other)
    assert blamed(found) == record.removeprefix("model.").removesuffix("-output")


# Errors of a part


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (np.s_[:, 3:], "from token 3 on"),
        (np.s_[:, -1:], "in the last token"),
        (np.s_[:, :5], "up to token 4"),
        (np.s_[:, 6:7], "in token 6 of 12"),
        (np.s_[1:2], "row 1 of the batch"),
        (np.s_[2:], "row 2 of the batch"),
        (np.s_[..., 16:24], "head 2 of 4"),
        (np.s_[..., 9:10], "in 1 of 32 channels: 9"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("record", [MLP, "model.layers.1.self_attn.o_proj-output"])
def test_a_part_that_is_wrong_is_said(
    tmp_path: Path, where: object, words: str, dtype: str, record: str
) -> None:
    other = Decoder(batch=3, dtype=dtype, split=4, spoil=on(record, noisy(0.4, where)))
    found = compare(tmp_path, Decoder(batch=3, dtype=dtype), other)
    assert blamed(found) == record.partition("-")[0].removeprefix("model.")
    first = found.first_divergence()
    assert first is not None and first.symptoms[0].name == "region"
    assert words in evidence(found)


# Weights that were quantised


def by_row(bits: int, name: str, weight: Array) -> Array:
    step = np.abs(weight).max(axis=0, keepdims=True) / (2 ** (bits - 1) - 1)
    return (np.round(weight / step) * step).astype(np.float32)


def by_group(bits: int, group: int, name: str, weight: Array) -> Array:
    return (
        by_row(bits, name, weight.reshape(-1, group, weight.shape[1]).swapaxes(0, 1))
        .swapaxes(0, 1)
        .reshape(weight.shape)
    )


QUANTISERS = {
    "int8 by row": lambda name, weight: by_row(8, name, weight),
    "int4 by row": lambda name, weight: by_row(4, name, weight),
    "int4 in groups of 16": lambda name, weight: by_group(4, 16, name, weight),
    "int4 in groups of 32": lambda name, weight: by_group(4, 32, name, weight),
    "fp8": lambda name, weight: rounded(weight, "float8_e4m3fn"),
}


@pytest.mark.parametrize("how", QUANTISERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("inputs", [False, True])
def test_quantised_weights_are_no_fault_and_said(
    tmp_path: Path, how: str, dtype: str, inputs: bool
) -> None:
    other = Decoder(width=64, dtype=dtype, quantise=QUANTISERS[how], inputs=inputs)
    found = compare(tmp_path, Decoder(width=64, inputs=inputs), other)
    assert blamed(found) is None
    if dtype == "float32":
        bits = "4-bit" if "4" in how else "8-bit"
        assert any(f"as {bits} weights do" in note for note in found.notes("candidate"))


@pytest.mark.parametrize("how", QUANTISERS)
@pytest.mark.parametrize(
    ("projection", "module"),
    [
        ("self_attn.v_proj", "layers.2.self_attn.v_proj"),
        ("mlp.down_proj", "layers.2.mlp.down_proj"),
    ],
)
def test_what_sticks_out_of_quantised_projections_is_named(
    tmp_path: Path, how: str, projection: str, module: str
) -> None:
    def quantise(name: str, weight: Array) -> Array:
        wrong = name == f"model.layers.2.{projection}"
        return QUANTISERS[how](name, weight[::-1] if wrong else weight)

    found = compare(tmp_path, Decoder(width=64), Decoder(width=64, quantise=quantise))
    assert blamed(found) == module


# A mean that noise has not


@pytest.mark.parametrize(
    "record",
    [MLP, "model.layers.3.self_attn.q_proj-output", "lm_head-output",
     "model.layers.1.post_attention_layernorm-output"],
)  # fmt: skip
@pytest.mark.parametrize("split", [1, 4])
@pytest.mark.parametrize("size", [0.05, -0.05])
def test_a_twentieth_of_the_rms_added_to_all_of_a_bf16_record_is_found(
    tmp_path: Path, record: str, split: int, size: float
) -> None:
    spoil = at(record, lambda values: values + size * np.sqrt(np.mean(values**2)))
    one = Decoder(dtype="bfloat16")
    found = compare(tmp_path, one, Decoder(dtype="bfloat16", split=split, spoil=spoil))
    assert blamed(found) == record.partition("-")[0].removeprefix("model.")
    first = found.first_divergence()
    assert first is not None and first.symptoms[0].name == "offset"


# Layouts


def halves_interleaved(head: int, values: Array) -> Array:
    parts = values.reshape(*values.shape[:-1], -1, 2, head // 2)
    return np.ascontiguousarray(parts.swapaxes(-1, -2)).reshape(values.shape)


def neighbours_apart(head: int, values: Array) -> Array:
    parts = values.reshape(*values.shape[:-1], -1, head // 2, 2)
    return np.ascontiguousarray(parts.swapaxes(-1, -2)).reshape(values.shape)


def heads_moved(head: int, values: Array) -> Array:
    parts = np.roll(values.reshape(*values.shape[:-1], -1, head), 1, axis=-2)
    return np.ascontiguousarray(parts).reshape(values.shape)


@pytest.mark.parametrize("layout", [halves_interleaved, neighbours_apart, heads_moved])
@pytest.mark.parametrize(
    ("dtype", "width", "heads", "batch"),
    [("float32", 32, 4, 1), ("float32", 64, 4, 2), ("float32", 128, 2, 1), ("bfloat16", 64, 2, 1)],
)
def test_a_layout_that_is_undone_behind_is_no_fault_and_one_that_is_not_is(
    tmp_path: Path, layout: Callable[[int, Array], Array], dtype: str, width: int, heads: int,
    batch: int,
) -> None:  # fmt: skip
    reference = Decoder(dtype=dtype, width=width, heads=heads, batch=batch)
    kept = Decoder(dtype=dtype, width=width, heads=heads, batch=batch, split=4)
    for name, values in kept.run().items():
        if name.endswith(("q_proj-output", "k_proj-output")):
            kept.records[name] = layout(width // heads, values)
    found = compare_records(tmp_path / "undone", reference.run(), kept.records, dtype)
    assert blamed(found) is None and len(found.layouts) == 8
    assert all(found.verdicts[index].level == "ok" for index in found.layouts)
    assert all(each.recipe and each.recipe in each.reason for each in found.layouts.values())
    spoil = at("model.layers.1.self_attn.q_proj-output", lambda v: layout(width // heads, v))
    wrong = Decoder(dtype=dtype, width=width, heads=heads, batch=batch, split=4, spoil=spoil)
    found = compare(tmp_path / "wrong", reference, wrong)
    assert blamed(found) == "layers.1.self_attn.q_proj" and not found.layouts
    assert evidence(found).startswith("permuted: ")


def tokens_moved(head: int, values: Array) -> Array:
    return np.ascontiguousarray(np.roll(values, 1, axis=-2))


@pytest.mark.parametrize("layout", [halves_interleaved, heads_moved, tokens_moved])
def test_another_order_in_one_layer_only_is_a_fault_though_all_behind_agrees(
    tmp_path: Path, layout: Callable[[int, Array], Array]
) -> None:
    reference, one = Decoder(), Decoder()
    name = "model.layers.1.self_attn.q_proj-output"
    records = dict(one.run())
    records[name] = layout(8, records[name])
    found = compare_records(tmp_path, reference.run(), records, "float32")
    assert blamed(found) == "layers.1.self_attn.q_proj" and not found.layouts
    assert found.exit_status() == 1


@pytest.mark.parametrize("name", ["model.embed_tokens-output", "model.norm-output"])
@pytest.mark.parametrize("layout", [heads_moved, tokens_moved])
def test_another_order_of_what_there_is_one_of_is_a_fault(
    tmp_path: Path, layout: Callable[[int, Array], Array], name: str
) -> None:
    records = dict(Decoder().run())
    records[name] = layout(8, records[name])
    found = compare_records(tmp_path, Decoder().run(), records, "float32")
    assert not found.layouts and found.exit_status() == 1


# Stacks of all layers, and what belongs elsewhere


@pytest.mark.parametrize(("layers", "batch"), [(4, 1), (4, 2), (8, 1)])
@pytest.mark.parametrize("wrong", [None, 0, 1, -1])
def test_the_index_of_a_stack_that_is_wrong_is_said(
    tmp_path: Path, layers: int, batch: int, wrong: int | None
) -> None:
    layer = None if wrong is None else wrong % layers
    spoil = at(f"model.layers.{layer}.mlp-output", lambda values: 1.3 * values)
    stacks: list[dict[str, Array]] = []
    for run in (
        Decoder(layers=layers, batch=batch),
        Decoder(layers=layers, batch=batch, split=4, spoil=spoil),
    ):
        made = run.run()
        names = ["model.embed_tokens", *(f"model.layers.{n}" for n in range(layers))]
        stacks.append({"all_hidden": np.stack([made[f"{name}-output"] for name in names])})
    found = compare_records(tmp_path, *stacks, "float32")
    if layer is None:
        assert blamed(found) is None
    elif layer == layers - 1:
        assert f"in index {layers} of axis 0 of {layers + 1}" in evidence(found)
    else:
        assert f"from index {layer + 1} of axis 0 on" in evidence(found)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("record", "other", "symptom"),
    [
        ("layers.2.self_attn.k_proj", "layers.2.self_attn.q_proj", "swapped"),
        ("layers.1.mlp.up_proj", "layers.1.mlp.gate_proj", "swapped"),
        ("layers.2.mlp", "layers.1.mlp", "stale"),
        ("layers.3", "layers.2", "stale"),
    ],
)
def test_what_belongs_elsewhere_is_said(
    tmp_path: Path, dtype: str, record: str, other: str, symptom: str
) -> None:
    theirs = Decoder(dtype=dtype).run()[f"model.{other}-output"]
    spoil = at(f"model.{record}-output", lambda _: theirs)
    found = compare(tmp_path, Decoder(dtype=dtype), Decoder(dtype=dtype, split=4, spoil=spoil))
    assert blamed(found) == record
    assert evidence(found).startswith(f"{symptom}: equals the reference's {other}-output")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("share", [0.3, 0.5, 1.5])
def test_a_stream_that_is_like_the_layer_before_is_not_mixed_up(
    tmp_path: Path, dtype: str, share: float
) -> None:
    """Neighbours in the residual stream are alike; another share of a term is no mix-up."""
    before = Decoder(dtype=dtype).run()["model.layers.2-output"]
    spoil = at("model.layers.3-output", lambda values: before + share * (values - before))
    found = compare(tmp_path, Decoder(dtype=dtype), Decoder(dtype=dtype, split=4, spoil=spoil))
    assert blamed(found) == "layers.3"
    first = found.first_divergence()
    assert first is not None
    assert first.symptoms[0].name not in ("swapped", "stale")
