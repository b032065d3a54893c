"""The law of rotary tables against transformers' own rotary embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from support.laws.law_checks import Tried, capture, tried

WIDTH, LONGEST = 64, 4096
COS, SIN = "rotary_emb-output", "rotary_emb-output_1"
DTYPES = [torch.float32, torch.bfloat16]
SCHEMES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 2048},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 2048,
    },
    "longrope": {
        "factor": 4.0, "original_max_position_embeddings": 1024,
        "short_factor": [1.0] * 32, "long_factor": list(np.linspace(1.0, 6.0, 32)),
    },
}  # fmt: skip


class Model(nn.Module):
    """The rotary embedding of a language model alone."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.rotary_emb = LlamaRotaryEmbedding(config)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> Any:
        return self.rotary_emb(x, ids)


def configured(scheme: str = "default", base: float = 10000.0, **more: Any) -> Any:
    given = {"rope_type": scheme, "rope_theta": base, **SCHEMES[scheme], **more}
    return transformers.LlamaConfig(
        hidden_size=4 * WIDTH, num_attention_heads=4, head_dim=WIDTH, num_hidden_layers=1,
        max_position_embeddings=LONGEST, rope_parameters=given,
    )  # fmt: skip


def positions(count: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + count)[None]


def run(
    folder: Path, config: Any, dtype: torch.dtype, ids: torch.Tensor,
    change: Callable[[Any], None] | None = None,
) -> Path:  # fmt: skip
    model = Model(config).eval()
    if change is not None:
        change(model.rotary_emb)
    return capture(model, folder, torch.zeros((1, ids.shape[1], 8), dtype=dtype), ids)


def check(
    tmp_path: Path, one: Any, other: Any, dtype: torch.dtype, ids: torch.Tensor | None = None,
    change: Callable[[Any], None] | None = None, checkpoint: bool = True,
) -> Tried:  # fmt: skip
    ids = positions(200) if ids is None else ids
    weights = None
    if checkpoint:
        weights = tmp_path / "model"
        one.save_pretrained(weights)
        save_file({"lm_head.weight": torch.zeros(2, 2)}, weights / "model.safetensors")
    first = run(tmp_path / "one", one, dtype, ids)
    return tried(first, run(tmp_path / "other", other, dtype, ids, change), weights)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_tables_of_transformers_keep_to_the_law(
    tmp_path: Path, scheme: str, dtype: torch.dtype, checkpoint: bool
) -> None:
    config = configured(scheme)
    found = check(tmp_path, config, config, dtype, checkpoint=checkpoint)
    for label in (COS, SIN):
        judged = found.judged[label]
        assert judged.evaluation.site.law == "rotary tables"
        assert judged.trusted and judged.evaluation.reference.ratio < 1.5
    assert found.out() == []
    if checkpoint:
        words = found.judged[COS].evaluation.fit.words["frequencies"]
        assert words == "base 10000" + ("" if scheme == "default" else f", {scheme} scaling")
    elif scheme == "default":
        assert found.judged[COS].evaluation.fit.words["frequencies"] == "base 10000"


def inside(change: Callable[[Any, torch.Tensor], Any]) -> Callable[[Any], None]:
    """A change of what the embedding does, given what it does and its positions."""

    def changed(rotary: Any) -> None:
        inner = rotary.forward
        rotary.forward = lambda x, ids: change(lambda at: inner(x, at), ids)

    return changed


def frequencies(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    def changed(rotary: Any) -> None:
        rotary.inv_freq.copy_(of(rotary.inv_freq))

    return changed


def ramped(f: torch.Tensor, factor: float) -> torch.Tensor:
    """YaRN's ramp from the highest frequencies, which stay, to the lowest, which are divided."""
    ramp = torch.linspace(-0.5, 1.5, len(f)).clamp(0, 1)
    return f * (1 - ramp) + f / factor * ramp


def turned(run: Any, ids: torch.Tensor) -> Any:
    cos, sin = run(ids)
    return cos, -sin


def exchanged(run: Any, ids: torch.Tensor) -> Any:
    cos, sin = run(ids)
    return sin, cos


def moved_from(row: int) -> Callable[[Any, torch.Tensor], Any]:
    def changed(run: Any, ids: torch.Tensor) -> Any:
        return run(torch.where(torch.arange(ids.shape[1]) >= row, ids - 1, ids))

    return changed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("change", "cause", "candidate"), [
    (inside(turned), "rope-direction", "-"),
    (inside(exchanged), "swapped", "sin, cos"),
    (inside(lambda run, ids: run(ids + 1)), "positions", "off by +1"),
    (inside(lambda run, ids: run(ids - 3)), "positions", "off by -3"),
    (inside(moved_from(100)), "positions", "off by -1 from row 100 on"),
    (inside(lambda run, ids: run(ids % 40)), "positions", "restart at "),
    (frequencies(lambda f: ramped(f, 4)), "rope-scaling", "fitted"),
    (frequencies(lambda f: f / 4), "rope-scaling", "4"),
    (frequencies(lambda f: f.bfloat16().float()), "precision", "bfloat16"),
])  # fmt: skip
def test_what_is_wrong_with_tables_is_named(
    tmp_path: Path, change: Any, cause: str, candidate: str, dtype: torch.dtype
) -> None:
    config = configured()
    found = check(tmp_path, config, config, dtype, positions(180), change)
    out = found.out()
    assert out and set(out) <= {COS, SIN}
    for label in out:
        first, *_ = found.diagnosis(label).causes
        if cause == "positions" and "row 100" in candidate:  # rows are sampled
            assert first.candidate.startswith("off by -1 from row")
            assert 100 <= int(first.candidate.split()[-2]) <= 104
            assert first.name == cause
        elif candidate.endswith(" "):
            assert first.name == cause and first.candidate.startswith(candidate)
        else:
            assert (first.name, first.candidate) == (cause, candidate)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", ["linear", "yarn", "llama3"])
def test_a_scheme_that_is_left_out_or_added_is_named(
    tmp_path: Path, scheme: str, dtype: torch.dtype
) -> None:
    plain, scaled = configured(), configured(scheme)
    for one, other in ((scaled, plain), (plain, scaled)):
        found = check(tmp_path, one, other, dtype)
        assert found.out()
        for label in found.out():
            first, *_ = found.diagnosis(label).causes
            assert first.name == "rope-scaling"
            wanted = {"none"} if one is scaled else {scheme, "4"}
            assert first.candidate in wanted


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("base", [500000.0, 37000.0])
def test_another_base_is_named(
    tmp_path: Path, base: float, dtype: torch.dtype, checkpoint: bool
) -> None:
    found = check(tmp_path, configured(), configured(base=base), dtype, checkpoint=checkpoint)
    assert found.out() == [COS, SIN]
    for label in found.out():
        first, *_ = found.diagnosis(label).causes
        assert first.name == "rope-base"
        error = float(first.uncertainty or 0)
        assert abs(float(first.candidate) - base) <= 4 * error + 1e-5 * base
        assert bool(first.uncertainty) == (base == 37000.0)


def test_dynamic_scaling_beyond_the_longest_length(tmp_path: Path) -> None:
    """Frequencies that grow with the sequence; without scaling they do not."""
    config = configured("dynamic")
    config.max_position_embeddings = 128
    plain = configured()
    plain.max_position_embeddings = 128
    assert check(tmp_path, config, config, torch.float32, positions(400)).out() == []
    found = check(tmp_path, config, plain, torch.float32, positions(400))
    for label in (COS, SIN):
        first, *_ = found.diagnosis(label).causes
        assert (first.name, first.candidate) == ("rope-scaling", "none")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_that_is_cast_keeps_its_frequencies_coarse(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """`model.to(bfloat16)` casts the frequencies, too: no fault where both sides do."""
    coarse = frequencies(lambda f: f.bfloat16().float())
    config = configured()
    run(tmp_path / "one", config, dtype, positions(200), coarse)
    run(tmp_path / "other", config, dtype, positions(200), coarse)
    config.save_pretrained(tmp_path / "model")
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model" / "model.safetensors")
    found = tried(tmp_path / "one", tmp_path / "other", tmp_path / "model")
    assert found.out() == []
    assert all(j.trusted and j.evaluation.reference.ratio < 1.5 for j in found.judged.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_one_position_every_explanation_is_said(tmp_path: Path, dtype: torch.dtype) -> None:
    """A step at position 8 that is turned as position 4 may as well have its positions halved."""
    config = configured()
    half = inside(lambda run, ids: run(ids // 2))
    found = check(tmp_path, config, config, dtype, positions(1, 8), half)
    assert found.out()
    for label in found.out():
        causes = {c.name: c.candidate for c in found.diagnosis(label).causes}
        assert causes["rope-scaling"] == "2"
        assert causes["positions"] == "off by -4"


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_of_few_positions_a_base_is_said_with_its_uncertainty(
    tmp_path: Path, dtype: torch.dtype, count: int
) -> None:
    found = check(tmp_path, configured(), configured(base=37000.0), dtype, positions(count))
    assert found.out()
    for label in found.out():
        bases = [c for c in found.diagnosis(label).causes if c.name == "rope-base"]
        assert bases
        assert abs(float(bases[0].candidate) - 37000) <= 4 * float(bases[0].uncertainty)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("set_after", [True, False])
def test_another_base_where_frequencies_are_coarse(
    tmp_path: Path, set_after: bool, checkpoint: bool
) -> None:
    """A model cast to bfloat16, its frequencies with it; the candidate's base is another."""
    coarse = frequencies(lambda f: f.bfloat16().float())
    plain = configured()
    plain.save_pretrained(tmp_path / "model")
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model" / "model.safetensors")
    first = run(tmp_path / "one", plain, torch.bfloat16, positions(200), coarse)
    other = configured(base=500000.0)
    changed = None if set_after else coarse
    second = run(tmp_path / "other", other, torch.bfloat16, positions(200), changed)
    found = tried(first, second, tmp_path / "model" if checkpoint else None)
    assert found.out() == [COS, SIN]
    for label in found.out():
        cause, *_ = found.diagnosis(label).causes
        assert (cause.name, cause.candidate) == ("rope-base", "5e5")
        assert cause.text.endswith("float32") == set_after


@pytest.mark.parametrize("again", [True, False])
def test_coarse_frequencies_that_are_divided(tmp_path: Path, again: bool) -> None:
    """In the dtype that they were cast to, or in float32."""
    coarse = frequencies(lambda f: f.bfloat16().float())
    dtype = torch.bfloat16 if again else torch.float32
    divided = frequencies(lambda f: (f.bfloat16().to(dtype) / 1.1).float())
    plain = configured()
    first = run(tmp_path / "one", plain, torch.bfloat16, positions(200), coarse)
    plain.save_pretrained(tmp_path / "model")
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model" / "model.safetensors")
    second = run(tmp_path / "other", plain, torch.bfloat16, positions(200), divided)
    found = tried(first, second, tmp_path / "model")
    assert found.out() == [COS, SIN]
    for label in found.out():
        cause, *_ = found.diagnosis(label).causes
        assert (cause.name, cause.parameter) == ("rope-scaling", "factor")
        assert abs(float(cause.candidate) - 1.1) <= 4 * float(cause.uncertainty or 0) + 1e-6


@settings(max_examples=40, deadline=None)
@given(
    base=st.floats(500, 5e6),
    count=st.integers(2, 64),
    first=st.integers(0, 3000),
    half=st.booleans(),
)
def test_a_base_is_found_within_its_uncertainty(
    base: float, count: int, first: int, half: bool
) -> None:
    from layertui.compare.laws.numerics.rounding import on_grid
    from layertui.compare.laws.rotary.fit import base_of, turning
    from layertui.compare.laws.rotary.frequencies import Rotary, tables

    at = np.arange(first, first + count)
    unit = 2.0**-8 if half else 2.0**-24
    cos, sin = (on_grid(table, unit) for table in tables(Rotary(64, base), at))
    found = turning(cos, sin, at)
    assert found is not None
    value, error, _ = base_of(found, 64)
    assert value == 0 or abs(value - base) <= 4 * error


class Laid(nn.Module):
    """Tables of another layout or of other axes."""

    def __init__(self, inner: nn.Module, layout: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.rotary_emb = _Relaid(inner, layout)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> Any:
        return self.rotary_emb(x, ids)


class _Relaid(nn.Module):
    def __init__(self, inner: nn.Module, layout: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.layout = (inner,), layout

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> Any:
        cos, sin = self.inner[0](x, ids)
        return self.layout(cos), self.layout(sin)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "in turns": lambda t: t[..., : WIDTH // 2].repeat_interleave(2, -1),
    "single": lambda t: t[..., : WIDTH // 2],
    "without batch": lambda t: t[0],
    "single, batch and heads": lambda t: t[..., : WIDTH // 2][:, None].repeat(2, 1, 1, 1),
    "in turns, tokens first": lambda t: t[0, :, None, None, : WIDTH // 2].repeat_interleave(2, -1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_tables_of_another_layout_are_judged(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    x, ids = torch.zeros((1, 40, 8), dtype=dtype), positions(40)
    right, wrong = (LlamaRotaryEmbedding(configured(base=b)) for b in (10000.0, 20000.0))
    paths = [
        capture(model, tmp_path / label, x, ids)
        for label, model in (("one", Model(configured())), ("right", Laid(right, LAYOUTS[name])),
                             ("wrong", Laid(wrong, LAYOUTS[name])))
    ]  # fmt: skip
    found = tried(paths[0], paths[1])
    for label in (COS, SIN):
        judged = found.judged[label]
        assert judged.trusted and judged.excess is None and judged.evaluation.candidate.ratio < 2
    found = tried(paths[0], paths[2])
    assert set(found.out()) == {COS, SIN}
    assert found.causes(SIN)[0] == "rope-base"
