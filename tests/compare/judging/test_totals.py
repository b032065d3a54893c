"""Records that are dumped in part, with the sum of all their elements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.evidence.totals import apart
from layertui.compare.judging.policy import DtypePolicy, FixedPolicy
from layertui.compare.limits import TOTAL_ROUNDING, TOTAL_SPREADS, UNSEEN_SPREADS
from layertui.compare.model import Measurement, SideStatistics, Totals
from layertui.compare.running.cache import decoded, encoded
from support.llama_logs import llama_log
from support.synthetic import saved

NAMES = {  # llama.cpp's, and torch's
    "inp_embd": "model.embed_tokens", "attn_norm-{}": "model.layers.{}.input_layernorm",
    "Qcur-{}": "model.layers.{}.self_attn.q_proj", "ffn_norm-{}":
    "model.layers.{}.post_attention_layernorm", "ffn_up-{}": "model.layers.{}.mlp.up_proj",
    "l_out-{}": "model.layers.{}", "result_norm": "model.norm",
}  # fmt: skip


def runs(layers: int = 3) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One run under both engines' names, 9 tokens of 24 channels."""
    rng = np.random.default_rng(0)
    ours: dict[str, np.ndarray] = {}
    theirs: dict[str, np.ndarray] = {}
    for name, module in NAMES.items():
        for layer in range(layers if "{}" in name else 1):
            values = rng.standard_normal((9, 24)).astype(np.float32)
            ours[f"{module.format(layer)}-output"] = values
            theirs[name.format(layer)] = values
    return ours, theirs


def compared(path: Path, left: Path, right: dict[str, np.ndarray], **more: object) -> Comparison:
    found = open_comparison(str(left), str(llama_log(path / "cand", right)), **more)  # type: ignore[arg-type]
    assert found.measure(use_cache=False, threads=1)
    return found


def unseen(values: np.ndarray, change: str) -> np.ndarray:
    """Other values where a log shows none."""
    wrong = values.copy()
    part = wrong[3:-3, 3:-3]
    if change == "one":
        part[1, 7] += np.float32(8)
    elif change == "nan":
        part[0, 0] = np.nan
    elif change == "noise":
        part += np.random.default_rng(1).standard_normal(part.shape).astype(np.float32)
    else:
        part *= np.float32(1.3)
    return wrong


@pytest.mark.parametrize("policy", [None, DtypePolicy(), FixedPolicy()])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("change", ["one", "nan", "noise", "scale"])
def test_what_a_log_leaves_out_is_judged_by_the_sum(
    tmp_path: Path, change: str, log: bool, policy: DtypePolicy | None
) -> None:
    ours, theirs = runs()
    left = llama_log(tmp_path / "ref", theirs) if log else saved(tmp_path / "ref", ours).path
    more = {} if policy is None else {"policy": policy}
    assert compared(tmp_path / "a", Path(left), theirs, **more).exit_status() == 0
    wrong = {**theirs, "ffn_up-1": unseen(theirs["ffn_up-1"], change)}
    found = compared(tmp_path / "b", Path(left), wrong, **more)
    first = found.first_divergence()
    assert first is not None and first.module == "layers.1.mlp.up_proj"
    assert "the sum of all 216 elements" in first.reason
    assert found.exit_status() == 1 and found.counts.pairs == 17


def test_what_came_before_is_blamed(tmp_path: Path) -> None:
    ours, theirs = runs()
    left = saved(tmp_path / "ref", ours).path
    names = list(theirs)
    wrong = {
        name: unseen(values, "noise") if names.index(name) >= names.index("Qcur-1") else values
        for name, values in theirs.items()
    }
    found = compared(tmp_path, Path(left), wrong)
    first = found.first_divergence()
    assert first is not None and first.module == "layers.1.self_attn.q_proj"


def measurement(totals: Totals | None, shown: int = 36, count: int = 216) -> Measurement:
    return Measurement(
        (9, 24), shown, shown, False, relative_l2=1e-5, partial=(shown, count), totals=totals
    )


def test_rounding_is_no_difference() -> None:
    assert apart(measurement(None), 1e-4) is None
    assert apart(measurement(Totals(3.0, 3.001, 1.0)), 1e-4) is None
    assert apart(measurement(Totals(3.0, 3.1, 1.0)), 1e-4) is not None
    assert apart(measurement(Totals(3.0, 3.1, 1.0)), 4e-2) is None  # bfloat16 allows more
    nan = float("nan")
    assert apart(measurement(Totals(nan, nan, None)), 1e-4) is None
    assert apart(measurement(Totals(nan, 3.0, None)), 1e-4) is not None
    large = replace(measurement(Totals(1e7, 1.0002e7, 1.0)), partial=(36, 10_000_000))
    assert apart(large, 1e-4) is None  # summed up in float32, one by one


@pytest.mark.parametrize(("size", "spreads"), [(1.0, TOTAL_SPREADS), (None, UNSEEN_SPREADS)])
def test_just_below_and_just_above_what_random_signs_add_up_to(
    size: float | None, spreads: float
) -> None:
    count, share, rms = 216, 1e-3, 1.0
    shown = SideStatistics(None, None, None, None, 36**0.5 * rms, 0, 0, 0)  # of 36 elements
    limit = spreads * share * rms * count**0.5
    for factor, seen in ((0.9, False), (1.1, True)):
        found = measurement(Totals(0.0, factor * limit, size))
        assert (apart(replace(found, reference=shown), share) is not None) == seen


def test_just_below_and_just_above_the_rounding_of_a_sum() -> None:
    count, total = 1024, 1e4
    limit = TOTAL_ROUNDING * count**0.5 * 2**-24 * total
    for factor, seen in ((0.9, False), (1.1, True)):
        found = measurement(Totals(total, total + factor * limit, 1e-9), count=count)
        assert (apart(found, 1e-12) is not None) == seen


def test_totals_are_remembered() -> None:
    found = measurement(Totals(3.0, 3.1, None))
    assert decoded(encoded(found)) == found
