"""What is said of attention that does something else than the reference's."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from layertui.capture import open_capture
from layertui.capture.load import load_any
from layertui.compare.comparison import open_comparison
from layertui.compare.laws.causes import diagnose
from layertui.compare.model import Cause
from support.laws.attention_stack import (
    CULPRIT,
    TARGET,
    WIDTH,
    Stack,
    attention_of,
    compared,
    rotated_back,
    rotated_in_part,
    rotated_late,
    tiled,
)

TOKENS = 24
DTYPES = (torch.float32, torch.bfloat16)
_SURE = 5.0  # standard errors

# An example takes half a second: few are tried, always the same, and none is made smaller.
several = settings(
    max_examples=8, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)
of_a_model = {
    "seed": st.integers(0, 999), "dtype": st.sampled_from(DTYPES), "fused": st.booleans()
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a new directory at each call."""
    return lambda: tmp_path_factory.mktemp("pair")


def causes(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, tokens: int = TOKENS,
    tables_given: bool = True, **change: Any,
) -> list[Cause]:  # fmt: skip
    """The causes of the changed layer, the only one that sticks out, for a candidate whose other
    layers keep their scores in float32 or do not.
    """
    one, other = (Stack(seed, dtype, tables_given) for _ in range(2))
    other.change(fused=fused).change(CULPRIT, **change)
    found = compared(folders(), one, other, tokens)
    judged = attention_of(found)
    assert all(j.trusted for j in judged.values())
    assert [label for (label, _), j in judged.items() if j.excess] == [TARGET]
    return list(diagnose(found.scene, judged[TARGET, 0]).causes)


def near(cause: Cause, value: float) -> bool:
    """Whether a parameter is what it should be, within the uncertainty that is stated."""
    return abs(float(cause.candidate) - value) <= _SURE * float(cause.uncertainty)


@several
@given(**of_a_model, tokens=st.integers(8, 40), batch=st.integers(1, 2), tables_given=st.booleans())
def test_clean_attention_gives_no_cause(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, tokens: int, batch: int,
    tables_given: bool,
) -> None:  # fmt: skip
    one, other = (Stack(seed, dtype, tables_given) for _ in range(2))
    found = attention_of(compared(folders(), one, other.change(fused=fused), tokens, batch=batch))
    assert len(found) == 5
    for judged in found.values():
        assert judged.trusted
        assert judged.excess is None


@several
@given(**of_a_model, log=st.floats(0.1, 0.7), up=st.booleans(), tables_given=st.booleans())
def test_a_scale_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, log: float, up: bool,
    tables_given: bool,
) -> None:  # fmt: skip
    scale = WIDTH**-0.5 * math.exp(log if up else -log)
    (cause, *_) = causes(folders, seed, dtype, fused, tables_given=tables_given, scale=scale)
    assert cause.name == "attention-scale"
    assert near(cause, scale)
    # Tables that no record shows may have the factor as well.
    assert ("square root" in cause.text) == (not tables_given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_plain_scale_is_named(folders: Any, dtype: torch.dtype) -> None:
    (cause, *_) = causes(folders, 0, dtype, True, scale=1 / WIDTH)
    assert cause.name == "attention-scale"
    assert f"multiplied by 1/{WIDTH} where the reference has 1/sqrt({WIDTH})" in cause.text


@several
@given(**of_a_model, log=st.floats(math.log(100), math.log(1e6)), tables_given=st.booleans())
def test_a_base_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, log: float, tables_given: bool
) -> None:
    base = math.exp(log)
    if abs(math.log(base / 1e4)) < 0.5:
        base = 500.0
    (cause, *_) = causes(folders, seed, dtype, fused, tables_given=tables_given, base=base)
    assert cause.name == "rope-base"
    assert near(cause, base)


@several
@given(**of_a_model, window=st.integers(1, TOKENS - 6))
def test_a_window_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, window: int
) -> None:
    (cause, *_) = causes(
        folders, seed, dtype, fused, mask=lambda behind: (behind >= 0) & (behind < window)
    )
    assert cause.name == "attention-mask"
    if cause.uncertainty:  # keys that hardly count
        least, _, most = cause.uncertainty.removesuffix(" fit equally well").partition(" to ")
        assert int(least) <= window <= int(most)
    else:
        assert cause.candidate == str(window)


def _first(behind: Tensor) -> Tensor:
    """The first query and its own token: it has no other."""
    first = torch.zeros_like(behind, dtype=torch.bool)
    first[0, 0] = True
    return first


def _same_chunk(behind: Tensor, size: int) -> Tensor:
    at = torch.arange(len(behind)) // size
    return at[:, None] == at


def _hole(behind: Tensor) -> Tensor:
    """Keys 9 to 12 of query 15."""
    hole = torch.zeros_like(behind, dtype=torch.bool)
    hole[15, 9:13] = True
    return hole


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"turn_queries": rotated_in_part, "turn_keys": rotated_in_part}, "rope-style",
         "by its highest frequency"),
        ({"turn_keys": rotated_back}, "rope-direction", "rotation of the keys goes the other way"),
        ({"turn_queries": rotated_back}, "rope-direction", "rotation of the queries goes the"),
        ({"turn_keys": rotated_late}, "positions", "positions of the keys alone are off by -1"),
    ],
)  # fmt: skip
def test_rotation_of_a_part_or_of_one_operand_is_named(
    folders: Any, dtype: torch.dtype, change: dict[str, Any], name: str, words: str
) -> None:
    (cause, *_) = causes(folders, 0, dtype, True, **change)
    assert cause.name == name
    assert words in cause.text


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (lambda behind: behind > -TOKENS, "including later ones"),
        (lambda behind: behind >= -1, "one token too many"),
        (lambda behind: (behind > 0) | _first(behind), "do not see their own token"),
        (lambda behind: (behind >= 0) & _same_chunk(behind, 6), "chunk of 6 tokens"),
        (lambda behind: (behind >= 0) & ~_hole(behind), "token 15 does not see .* (9|10) to 12"),
    ],
)
def test_a_mask_of_another_kind_is_named(
    folders: Any, dtype: torch.dtype, mask: Any, words: str
) -> None:
    (cause, *_) = causes(folders, 0, dtype, True, mask=mask)
    assert cause.name == "attention-mask"
    assert re.search(words, cause.text)


@several
@given(**of_a_model)
def test_heads_that_are_tiled_are_named(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool
) -> None:
    (cause, *_) = causes(folders, seed, dtype, fused, repeat=tiled)
    assert cause.name == "head-repetition"
    assert (cause.reference, cause.candidate) == ("interleaved", "tiled")


@several
@given(**of_a_model, cap=st.floats(0.8, 6))
def test_a_soft_cap_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, cap: float
) -> None:
    (cause, *_) = causes(
        folders, seed, dtype, fused, scores=lambda scores: cap * (scores / cap).tanh()
    )
    assert cause.name == "softcap"
    assert near(cause, cap)


@several
@given(**of_a_model, sink=st.floats(0.5, 5))
def test_a_sink_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, sink: float
) -> None:
    def softmax(scores: Tensor) -> Tensor:
        more = torch.full((*scores.shape[:-1], 1), sink)
        return torch.cat([scores, more], -1).softmax(-1)[..., :-1]

    (cause, *_) = causes(folders, seed, dtype, fused, softmax=softmax)
    assert cause.name == "sinks"
    assert near(cause, sink)


@several
@given(**of_a_model, factor=st.sampled_from([1.0, 0.25, 0.6, 2.0]))
def test_alibi_is_found(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, factor: float
) -> None:
    slopes = factor * 2.0 ** (-8.0 * torch.arange(1, 5) / 4)[:, None, None]

    def penalised(scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1])
        return scores - slopes.to(scores.dtype) * (places[:, None] - places).to(scores.dtype)

    (cause, *_) = causes(folders, seed, dtype, fused, scores=penalised)
    assert cause.name == "alibi"
    assert near(cause, factor)


def test_nan_in_the_values_beside_attention_under_other_names_fits_no_window(
    real: Path, tmp_path: Path
) -> None:
    names = {
        "self_attn.q_proj": "Qcur", "self_attn.k_proj": "Kcur", "self_attn.v_proj": "Vcur",
        "self_attn.o_proj": "kqv_out", "self_attn": "attn_out",
    }  # fmt: skip
    reference = real / "dumps" / "torch_reference"
    values: dict[str, Any] = {}
    for record in open_capture(reference).records:
        part = record.module.removeprefix("model.layers.0.")
        if part in names and record.slot.startswith("output") and record.locator is not None:
            values[f"{names[part]}-0"] = np.array(load_any(record.locator))
    values["Vcur-0"].reshape(-1)[64] = np.nan
    (tmp_path / "cand").mkdir()
    np.savez(tmp_path / "cand" / "a.npz", **values)
    comparison = open_comparison(str(reference), str(tmp_path / "cand"))
    assert comparison.measure(use_cache=False, threads=1)
    assert "nan" in {verdict.level for verdict in comparison.verdicts}
