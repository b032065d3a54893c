"""Values that another record holds: an earlier layer's or step's, or those of a module beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layertui.capture import record
from support.laws.law_checks import Tried, tried
from support.laws.linear_faults import DOWN, GATE, UP, K, O, V
from support.laws.linear_models import Pairs, Stack, hidden, label, linear_out


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["f32", "bf16"])
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"), request.param)


def holds(other: Any, path: str, source: str, layer: int) -> None:
    """Layer 3's projection returns what another one did before."""
    kept: list[Tensor] = []
    other.part(source, layer).register_forward_hook(lambda *call: kept.append(call[2]))
    other.part(path).register_forward_hook(lambda *_: kept[-1].clone())


@pytest.mark.parametrize("layer", [0, 2])
def test_what_an_earlier_layer_returned_is_stale(pairs: Pairs, layer: int) -> None:
    other = pairs.other()
    holds(other, DOWN, DOWN, layer)
    found = pairs.tried(other)
    assert linear_out(found) == [label(DOWN)]
    cause = found.diagnosis(label(DOWN)).causes[0]
    assert cause.name == "stale" and f"layers.{layer}.mlp.down_proj-output" in cause.text


@pytest.mark.parametrize(("path", "source"), [(V, K), (UP, GATE)])
def test_what_a_module_beside_returned_is_swapped(pairs: Pairs, path: str, source: str) -> None:
    other = pairs.other()
    holds(other, path, source, 3)
    found = pairs.tried(other)
    assert linear_out(found) == [label(path)]
    causes = found.diagnosis(label(path)).causes
    assert {cause.name for cause in causes} <= {"swapped", "other-weights"}
    assert f"layers.3.{source}" in causes[0].text


def of_steps(folder: Path, model: Any, inputs: list[Tensor]) -> Path:
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        for x in inputs:
            model(x)
    return folder


def test_what_an_earlier_step_returned_is_stale(pairs: Pairs) -> None:
    inputs = [hidden(pairs.dtype, seed=seed) for seed in range(3)]
    reference = of_steps(pairs.folder / "steps", pairs.model, inputs)
    other = pairs.other()
    kept: list[Tensor] = []

    def keep(*call: Any) -> Tensor:
        kept.append(call[2])
        return kept[1].clone() if len(kept) == 3 else call[2]

    other.part(O).register_forward_hook(keep)
    candidate = of_steps(pairs.folder / "candidate", other, inputs)
    found = steps_tried(reference, candidate, pairs)
    broken = [j for j in found if j.excess is not None]
    assert [(j.evaluation.site.target.module, j.evaluation.site.target.step) for j in broken] == [
        ("layers.3.self_attn.o_proj", 2)
    ]


def steps_tried(reference: Path, candidate: Path, pairs: Pairs) -> list[Any]:
    """All places, of each step one: labels of steps are alike."""
    from layertui.compare.laws.causes import diagnose
    from layertui.compare.laws.evaluate import evaluations
    from layertui.compare.laws.peers import Peers

    found: Tried = tried(reference, candidate, pairs.folder / "model", lambda site: False)
    judged = Peers(
        evaluations(found.scene, only=lambda s: s.target.module.endswith("o_proj"))
    ).judged()
    for one in judged:
        if one.excess is not None and one.evaluation.site.law == "linear":
            cause = diagnose(found.scene, one).causes[0]
            assert cause.name == "stale" and "of step 1" in cause.text
    return [j for j in judged if j.evaluation.site.law == "linear"]


def test_records_that_are_copies_on_both_sides_are_no_mistake(tmp_path: Path) -> None:
    """k and v have one weight: that k gives the values of v is right."""
    model = Stack()
    for at in range(6):
        model.part(V, at).weight.data = model.part(K, at).weight.data.clone()
        model.part(V, at).bias.data = model.part(K, at).bias.data.clone()
    pairs = Pairs(tmp_path, torch.float32, model)
    other = pairs.other()
    other.part(K).end = lambda y: y * 1.001
    found = pairs.tried(other)
    assert linear_out(found) == [label(K)]
    assert found.causes(label(K)) == ["scale"]
