"""The `Comparison`: measuring, judging, findings, exit status, pairing by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.errors import CaptureError
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import DtypePolicy, FixedPolicy
from layertui.compare.matching.sides import pick_sides
from layertui.compare.model import Failure, Measurement
from layertui.compare.rules.rules import HandPair, RecipeRule, Rules, ThresholdRule
from support.synthetic import capture, gaps, pairs, saved

RUN = [
    "embed_tokens-input_0", "embed_tokens-output", "layers.0.input_layernorm-input_0",
    "layers.0.input_layernorm-output", "layers.0.self_attn.q_proj-input_0",
    "layers.0.self_attn.q_proj-output", "layers.0.self_attn.o_proj-input_0",
    "layers.0.self_attn.o_proj-output", "layers.0.self_attn-output", "layers.0-output",
    "norm-input_0", "norm-output", "lm_head-output", "model-input_input_ids",
]  # fmt: skip


def values(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((10, 8)).astype(np.float32) for name in RUN}


def compared(folder: Path, wrong: list[str], **more: Any) -> Comparison:
    """A run against a copy in which the records `wrong` are far off."""
    left = values()
    right = {name: (-x if name in wrong else x.copy()) for name, x in left.items()}
    comparison = Comparison(saved(folder / "ref", left), saved(folder / "cand", right), **more)
    assert comparison.measure(use_cache=False, threads=2)
    return comparison


def test_what_agrees(tmp_path: Path) -> None:
    found = compared(tmp_path, [])
    assert found.level_counts() == {"identical": len(RUN)}
    assert found.first_divergence() is None and found.first_is_final()
    assert found.exit_status() == 0
    assert (found.measured, found.to_measure) == (len(RUN), len(RUN))


@pytest.mark.parametrize(
    ("wrong", "module"),
    [
        (["layers.0.self_attn.q_proj-output", "norm-output"], "layers.0.self_attn.q_proj"),
        (["layers.0.self_attn.o_proj-input_0"], "layers.0.self_attn"),
        (["layers.0.self_attn.q_proj-input_0"], "layers.0.self_attn"),
        (["layers.0.input_layernorm-input_0"], "layers.0"),
        (["norm-input_0", "norm-output"], "model"),
        (["embed_tokens-input_0"], "embed_tokens"),  # nobody in this run made it
        (["model-input_input_ids"], "model"),
    ],
)
def test_who_is_to_blame(tmp_path: Path, wrong: list[str], module: str) -> None:
    found = compared(tmp_path, wrong)
    first = found.first_divergence()
    assert first is not None
    assert (first.module, first.reference, first.verdict) == (module, wrong[0], "diverged")
    assert first.slot == wrong[0].partition("-")[2]
    assert found.failing == [RUN.index(name) for name in wrong]
    assert found.exit_status() == 1
    made_inside = wrong[0].endswith("input_0") and module != "embed_tokens"
    assert first.reason.startswith(f"introduced inside {module}") == made_inside


def test_results_come_in_any_order(tmp_path: Path) -> None:
    found = compared(tmp_path, [])
    good = found.measurements[0]
    assert isinstance(good, Measurement)
    found.take(9, Failure("cut", "candidate"))
    found.take(5, Failure("shapes differ", level="shape"))
    found.take(3, Failure("shapes differ", level="shape"))
    found.take(3, Failure("shapes differ", level="shape"))
    assert found.failing == [3, 5]
    found.take(3, good)
    assert found.failing == [5]
    assert found.level_counts()["unreadable"] == 1


def test_pending_pairs_are_not_green(tmp_path: Path) -> None:
    left = values()
    found = Comparison(saved(tmp_path / "ref", left), saved(tmp_path / "cand", left))
    assert found.exit_status() == 1 and found.level_counts() == {"pending": len(RUN)}
    assert not found.first_is_final() and found.measured == 0
    assert found.measure(cancelled=lambda: True, use_cache=False) is False
    assert found.exit_status() == 1


def test_nothing_in_common_and_low_coverage() -> None:
    nothing = Comparison(capture(["a.b-output", "b-input_0"]), capture(["zz-input_5"]))
    assert not any(row.kind == "pair" for row in nothing.rows)
    assert nothing.exit_status(0.0) == 1
    gap = Comparison(
        capture(["norm-output", "a.b-output"], False),
        capture(["norm-output", "zz.q-output"], False),
    )
    gap.take(0, Measurement((1,), 1, 1, True))
    assert gap.counts.coverage == 0.5
    assert (gap.exit_status(), gap.exit_status(0.51)) == (0, 1)


def test_a_policy_can_be_replaced_and_rules_stay(tmp_path: Path) -> None:
    rules = Rules(thresholds=(ThresholdRule("norm-output", (("mse", 1e9),)),))
    found = compared(tmp_path, ["norm-output", "lm_head-output"], rules=rules)
    assert [found.rows[i].canonical for i in found.failing] == ["lm_head"]
    found.set_policy(FixedPolicy((("mse", 1e9),)))
    assert found.failing == []
    found.set_policy(FixedPolicy())
    assert [found.rows[i].canonical for i in found.failing] == ["lm_head"]


def test_what_policies_need_is_measured(tmp_path: Path) -> None:
    rules = Rules(thresholds=(ThresholdRule("*", (("ulp", 4.0),)),))
    found = compared(tmp_path, [], rules=rules)
    assert found.aligned.ulp and found.exit_status() == 0
    loose = compared(tmp_path / "loose", ["norm-output"], policy=DtypePolicy(0.0, 100.0))
    assert (loose.aligned.rtol, loose.aligned.atol) == (0.0, 100.0)
    assert loose.exit_status() == 0


def test_pairing_by_hand_and_back(tmp_path: Path) -> None:
    found = compared(tmp_path, ["norm-output"])
    before = [(row.reference, row.candidate) for row in found.rows]
    norm, head = HandPair("norm-output", "norm-output"), HandPair("norm-output", "lm_head-output")
    found.repair(apart=[norm, HandPair("lm_head-output", "lm_head-output")])
    assert gaps(found.rows) == ({"norm-output", "lm_head-output"},) * 2
    found.repair([head])
    assert pairs(found.rows)["norm-output"] == "lm_head-output"
    assert found.to_measure - found.measured == 1  # all others keep their results
    found.repair([head], [])
    assert found.rules.pairs == (head,)
    found.repair([norm], [head])
    assert pairs(found.rows)["norm-output"] == "norm-output"
    found.repair(apart=[norm])  # was paired by hand, and would pair by name as well
    assert "norm-output" not in pairs(found.rows)
    found.repair([norm, HandPair("lm_head-output", "lm_head-output")])
    assert [(row.reference, row.candidate) for row in found.rows] == before


def both(folder: Path, left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> Comparison:
    found = Comparison(saved(folder / "ref", left), saved(folder / "cand", right))
    assert found.measure(use_cache=False)
    return found


def by_label(found: Comparison) -> dict[str, str]:
    rows = zip(found.rows, found.verdicts, strict=True)
    return {row.label: verdict.level for row, verdict in rows}


def test_recipes_come_and_go_in_a_session(tmp_path: Path) -> None:
    left, right = values(), values()
    square = [f"layers.{n}.self_attn.o_proj-output" for n in (0, 11)]
    for name in square:
        left[name] = left["norm-output"][:8]
        right[name] = left[name].T
    found = both(tmp_path, left, right)
    index = [row.label for row in found.rows].index(square[0])
    assert [by_label(found)[name] for name in square] == ["diverged"] * 2
    (only,), (kind,) = found.globs(index), found.globs(index, kind=True)
    assert (only, kind) == (square[0], "layers.*.self_attn.o_proj-output")

    turned = RecipeRule(only, "", "transpose(0, 1)")
    found.repair(recipes=[turned])
    assert found.to_measure - found.measured == 1  # all others keep their results
    found.measure(use_cache=False)
    assert [by_label(found)[name] for name in square] == ["identical", "diverged"]
    found.repair(recipes=[RecipeRule(kind, "", "transpose(0, 1)")])
    assert found.to_measure - found.measured == 1
    found.measure(use_cache=False)
    assert [by_label(found)[name] for name in square] == ["identical"] * 2
    before = found.rules
    found.repair(recipes=[RecipeRule(only, "flip(0)", "")])  # behind that of the kind: it wins
    assert found.rules.recipes[-1].match == only and len(found.rules.recipes) == 2
    assert found.rows[index].recipe_reference == "flip(0)"
    found.realign(before)
    assert found.rows[index].recipe_candidate == "transpose(0, 1)"
    found.repair(forgotten=[only, kind])
    assert found.rules.recipes == () and found.rows[index].recipe_candidate == ""


def test_a_gap_s_record_is_paired_by_hand_and_given_a_recipe(tmp_path: Path) -> None:
    left, right = values(), values()
    whole = np.random.default_rng(3).standard_normal((4, 2, 10, 16)).astype(np.float32)
    left["layers.0.self_attn.probe-output"] = whole
    right["vision.tower.kernel_7-output"] = whole.transpose(2, 0, 1, 3).reshape(10, 2, 64)
    right["vision.tower.kernel_8-output"] = whole[..., :-1, :].astype(np.float64)
    found = both(tmp_path, left, right)
    assert len(gaps(found.rows)[0]) == 1 and len(gaps(found.rows)[1]) == 2
    pair = HandPair("layers.0.self_attn.probe-output", "vision.tower.kernel_7-output")
    found.repair([pair])
    (index,) = (i for i, row in enumerate(found.rows) if row.matched_by == "hand")
    assert found.verdicts[index].level == "shape" and not found.measurable(index)
    match = found.globs(index)[0]
    for rule in (
        RecipeRule(match, candidate='rearrange("t p (q d) -> (p q) t d", p=2, q=4) | '
                   "reshape(4, 2, 10, 16)"),
        RecipeRule(match, reference="permute(2, 0, 1, 3) | reshape(10, 2, 64)"),
    ):  # fmt: skip
        found.repair(recipes=[rule])
        assert found.rows[index].problem is None
        assert found.to_measure - found.measured == 1
        found.measure(use_cache=False)
        assert by_label(found)[found.rows[index].label] == "identical"
    other = HandPair(pair.reference, "vision.tower.kernel_8-output")
    shifted = RecipeRule(match, "", "[:, :, -8:] | cast(float32) | shift(-1, 2)")
    found.repair([other], [pair], recipes=[shifted])
    (index,) = (i for i, row in enumerate(found.rows) if row.matched_by == "hand")
    assert found.rows[index].problem == (
        "recipes give [4, 2, 9, 16] of the reference against [4, 2, 7, 16] of the candidate"
    )
    for text, level in (
        ("[:, :, :-1] | shift(1, 2) | cast(bfloat16)", "diverged"),
        ("[:, :, :-1] | cast(bfloat16)", "ok"),
    ):
        found.repair(recipes=[RecipeRule(match, text, "")])
        found.measure(use_cache=False)
        assert found.verdicts[index].level == level, found.verdicts[index]


def test_on_results_tells_every_row_once(tmp_path: Path) -> None:
    left = values()
    sides = saved(tmp_path / "ref", left), saved(tmp_path / "cand", left)
    found = Comparison(*sides, policy=DtypePolicy())  # which judges no row anew
    told: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        assert found.measure(executor=pool, on_results=told.extend, use_cache=False)
    assert sorted(told) == list(range(len(RUN)))


def test_one_directory_with_both_sides(tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    for side, value in (("py", "1.0"), ("cpp", "1.5")):
        for name in ("layer_0_attn_norm_output", "final_norm_output"):
            text = f"# Tensor: {name}\n# Shape: 1x1x2\n# Total elements: 2\n# Data:\n{value}\n2.0\n"
            (folder / f"{side}_{name}.txt").write_text(text)
    found = open_comparison(str(folder), str(folder))
    assert {r.side for r in found.reference.records} == {"py"}
    assert {r.side for r in found.candidate.records} == {"cpp"}
    assert len(found.rows) == 2 and {row.matched_by for row in found.rows} == {"name"}
    found.measure(use_cache=False)
    assert found.failing == [0, 1]
    alone = capture(["norm-output"])
    assert pick_sides(alone, found.candidate) == (alone, found.candidate)


def test_captures_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        open_comparison(str(tmp_path / "missing"), str(tmp_path))
