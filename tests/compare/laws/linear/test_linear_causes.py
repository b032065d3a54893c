"""Every single fault of a projection is found, alone, and called by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layertui.compare.laws import report, suspects
from layertui.compare.laws.causes import diagnose
from layertui.compare.model import Cause
from support.laws.law_checks import Tried, capture, tried
from support.laws.linear_faults import (
    DOWN,
    FAULTS,
    FINE,
    GATE,
    UP,
    Fault,
    K,
    O,
    Q,
    V,
    bias,
    end,
    int_groups,
    random,
)
from support.laws.linear_models import (
    HEAD,
    LAYERS,
    Pairs,
    Product,
    Stack,
    joined,
    label,
    linear_out,
    new_weight,
    products,
)

Changed = Callable[[Any], None]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["f32", "bf16"])
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"), request.param)


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("fine"), torch.float32)


def cause_of(found: Tried, target: str) -> Cause:
    """The first cause of the only target that does not keep to its law."""
    assert found.out() == [target]
    causes = found.diagnosis(target).causes
    assert causes, "no cause"
    return causes[0]


def check(found: Tried, fault: Fault) -> None:
    cause = cause_of(found, label(fault.path))
    assert cause.name == fault.name and fault.words in cause.text, cause
    assert cause.after < min(cause.before, 1.5 * max(cause.usual, 1.0))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_has_its_cause(pairs: Pairs, fault: Fault) -> None:
    check(pairs.changed(fault.path, fault.change), fault)


@pytest.mark.parametrize("fault", FINE, ids=lambda fault: fault.id)
def test_a_coarser_arithmetic_of_one_layer_has_its_cause(fine: Pairs, fault: Fault) -> None:
    check(fine.changed(fault.path, fault.change), fault)


# Weights of something else


def other_weight(path: str, source: str, layer: int = 3) -> Changed:
    """Layer 3's weight and bias are those of another projection."""

    def change(stack: Stack) -> None:
        one, other = stack.part(path), stack.part(source, layer)
        one.weight, one.bias = other.weight, other.bias

    return change


def swapped(left: str, right: str) -> Changed:
    def change(stack: Stack) -> None:
        one, two = stack.part(left), stack.part(right)
        one.weight, two.weight = two.weight, one.weight
        one.bias, two.bias = two.bias, one.bias

    return change


def foreign_bias(stack: Stack) -> None:
    stack.part(K).bias = stack.part(V).bias


def only_weight(path: str, source: str, layer: int = 3) -> Changed:
    """Layer 3's weight is that of another projection, its bias is its own."""

    def change(stack: Stack) -> None:
        stack.part(path).weight = stack.part(source, layer).weight

    return change


def shuffled_rows(stack: Stack) -> None:
    """The rows of the weight are in another order, the bias is not."""
    one = stack.part(Q)
    order = torch.randperm(len(one.weight), generator=torch.Generator().manual_seed(2))
    one.weight = nn.Parameter(one.weight.detach()[order])


@pytest.mark.parametrize(
    ("path", "change", "name", "words"),
    [
        (K, only_weight(K, V), "other-weights", "layers.3.self_attn.v_proj"),
        (V, only_weight(V, V, 4), "other-layer", "layers.4.self_attn.v_proj"),
        (Q, shuffled_rows, "row-order", "the bias is not"),
        (UP, other_weight(UP, GATE), "other-weights", "layers.3.mlp.gate_proj"),
        (O, other_weight(O, O, 4), "other-layer", "layers.4.self_attn.o_proj"),
        (DOWN, other_weight(DOWN, DOWN, 0), "other-layer", "layers.0.mlp.down_proj"),
        (K, foreign_bias, "bias", "the bias of layers.3.self_attn.v_proj"),
    ],
)
def test_parameters_of_something_else_are_named(
    pairs: Pairs, path: str, change: Changed, name: str, words: str
) -> None:
    other = pairs.other()
    change(other)
    found = pairs.tried(other)
    assert linear_out(found) == [label(path)]
    cause = found.diagnosis(label(path)).causes[0]
    assert cause.name == name and words in cause.text


def test_a_projection_that_gives_what_another_one_does_is_named(pairs: Pairs) -> None:
    """With the weight and bias of v, k gives the very values of v: both names say the same."""
    other = pairs.other()
    other_weight(K, V)(other)
    found = pairs.tried(other)
    assert linear_out(found) == [label(K)]
    cause = found.diagnosis(label(K)).causes[0]
    assert cause.name in ("other-weights", "swapped") and "layers.3.self_attn.v_proj" in cause.text


@pytest.mark.parametrize("two", [(GATE, UP), (K, V)])
def test_two_exchanged_projections_are_swapped(pairs: Pairs, two: tuple[str, str]) -> None:
    other = pairs.other()
    swapped(*two)(other)
    found = pairs.tried(other)
    assert linear_out(found) == [label(path) for path in two]
    for path, with_path in (two, two[::-1]):
        cause = found.diagnosis(label(path)).causes[0]
        assert cause.name == "swapped" and f"layers.3.{with_path}" in cause.text


def test_weights_that_are_off_by_one_in_all_layers_are_those_of_other_layers(pairs: Pairs) -> None:
    other = pairs.other()
    weights = [other.part(UP, at).weight for at in range(LAYERS)]
    for at in range(LAYERS):
        other.part(UP, at).weight = weights[(at + 1) % LAYERS]
    found = pairs.tried(other)
    assert linear_out(found) == [label(UP, at) for at in range(LAYERS)]
    for at in range(LAYERS):
        cause = found.diagnosis(label(UP, at)).causes[0]
        assert cause.name == "other-layer" and f"layers.{(at + 1) % LAYERS}.mlp" in cause.text


# Joined projections


def scaled_part(one: Product) -> None:
    one.weight.data[96:] *= 1.1  # v, behind 64 of q and 32 of k
    one.bias.data[96:] *= 1.1


def exchanged_parts(one: Product) -> None:
    order = torch.cat([torch.arange(64), torch.arange(96, 128), torch.arange(64, 96)])
    one.weight.data, one.bias.data = one.weight.data[order], one.bias.data[order]


def quantised_part(one: Product) -> None:
    weight = one.weight.data[:64].float()
    one.weight.data[:64] = int_groups(weight, 4, 32).to(one.weight.dtype)


def by_group(one: Product) -> None:
    """q, k and v of each of two groups of heads behind one another."""
    q, k, v = (torch.arange(a, b) for a, b in ((0, 64), (64, 96), (96, 128)))
    order = torch.cat([q[:32], k[:16], v[:16], q[32:], k[16:], v[16:]])
    one.weight.data, one.bias.data = one.weight.data[order], one.bias.data[order]


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        (scaled_part, "scale", "1.1 x"),
        (exchanged_parts, "swapped", "k and v are swapped"),
        (quantised_part, "quantised", "int4 in groups of 32 of q_proj"),
        (by_group, "row-order", "q, k and v are interleaved in 2 groups"),
    ],
)
def test_a_wrong_part_of_a_joined_projection_is_named(
    pairs: Pairs, change: Callable[[Product], None], name: str, words: str
) -> None:
    reference = capture(joined(pairs.other()), pairs.folder / "joined", pairs.x)
    other = joined(pairs.other())
    with torch.no_grad():
        change(other.layers[3].get_submodule("self_attn.qkv_proj"))  # type: ignore[arg-type]
    candidate = capture(other, pairs.folder / "candidate", pairs.x)
    found = tried(
        reference, candidate, pairs.folder / "model",
        lambda site: site.target.module.endswith("qkv_proj"),
    )  # fmt: skip
    cause = cause_of(found, "layers.3.self_attn.qkv_proj-output")
    assert cause.name == name and words in cause.text


# What has no name


def noise(share: float, seed: int = 9) -> Callable[[Tensor], Tensor]:
    def change(y: Tensor) -> Tensor:
        size = y.square().mean(-1, keepdim=True).sqrt()
        return y + share * size * random(*y.shape, seed=seed)

    return change


def bent(y: Tensor) -> Tensor:
    size = y.square().mean().sqrt()
    return y + 0.2 * size * (y / size).sin().square()


def two_tokens_mixed(y: Tensor) -> Tensor:
    y = y.clone()
    y[:, 20] = 0.6 * y[:, 20] + 0.5 * y[:, 31]
    return y


def noise_of_weight(share: float) -> Callable[[Tensor], Tensor]:
    return lambda w: w + share * w.square().mean().sqrt() * random(*w.shape, seed=4)


def noise_of_elements(y: Tensor) -> Tensor:
    return y * (1 + 0.05 * random(*y.shape, seed=6))


NAMELESS = {
    "bent": end(bent),
    "two-tokens-mixed": end(two_tokens_mixed),
    "noise-2-percent": end(noise(0.02)),
    "noise-10-percent": end(noise(0.1)),
    "noise-of-elements": end(noise_of_elements),
    "weight-noise-1-percent": new_weight(noise_of_weight(0.01)),
    "weight-noise-5-percent": new_weight(noise_of_weight(0.05)),
    "weight-noise-20-percent": new_weight(noise_of_weight(0.2)),
}


@pytest.mark.parametrize("change", NAMELESS)
@pytest.mark.parametrize("path", [DOWN, O])
def test_what_no_name_fits_has_no_cause(pairs: Pairs, path: str, change: str) -> None:
    """Errors that are of the size of some rounding are none for that."""
    found = pairs.changed(path, NAMELESS[change])
    assert found.out() == [label(path)]
    assert found.causes(label(path)) == []


def test_noise_on_weights_that_are_said_to_be_quantised_is_that(pairs: Pairs) -> None:
    found = pairs.changed(DOWN, new_weight(noise_of_weight(0.05)))
    config = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    scene = replace(found.scene, candidate_config=config)
    causes = diagnose(scene, found.judged[label(DOWN)]).causes
    assert [cause.name for cause in causes] == ["quantised"]
    assert "about 5 bits" in causes[0].text


# What is said of a number holds


@settings(max_examples=5, deadline=None)
@given(factor=st.floats(0.3125, 3, width=32).filter(lambda f: abs(f - 1) > 0.02))
def test_a_factor_is_found_within_its_uncertainty(pairs: Pairs, factor: float) -> None:
    cause = cause_of(pairs.changed(DOWN, end(lambda y: y * factor)), label(DOWN))
    assert cause.name == "scale"
    error = float(cause.uncertainty)
    assert abs(float(cause.candidate) - factor) <= 6 * error
    assert error <= 0.2 * torch.finfo(pairs.dtype).eps * factor


@settings(max_examples=5, deadline=None)
@given(added=st.floats(0.25, 3, width=32))
def test_a_constant_is_found_within_its_uncertainty(pairs: Pairs, added: float) -> None:
    cause = cause_of(pairs.changed(DOWN, end(lambda y: y + added)), label(DOWN))
    assert cause.name == "bias" and "every element" in cause.text
    error = float(cause.uncertainty)
    assert abs(float(cause.candidate) - added) <= 6 * error
    assert error <= 2 * torch.finfo(pairs.dtype).eps


@settings(max_examples=5, deadline=None)
@given(times=st.floats(-3, 4).filter(lambda t: abs(t - 1) > 0.05))
def test_how_many_times_a_bias_counts_is_found(pairs: Pairs, times: float) -> None:
    cause = cause_of(pairs.changed(Q, bias(lambda b: b * times)), label(Q))
    assert cause.name == "bias"
    found = 0.0 if "not added" in cause.candidate else float(cause.candidate.split(" ")[1])
    error = float(cause.uncertainty)
    assert abs(found - times) <= 8 * error
    assert error <= 2 * torch.finfo(pairs.dtype).eps


@settings(max_examples=5, deadline=None)
@given(
    bits=st.sampled_from((3, 4, 8)), size=st.sampled_from((16, 32, 64, 128)), zero=st.booleans(),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_bits_and_group_size_are_found(
    pairs: Pairs, bits: int, size: int, zero: bool, seed: int
) -> None:
    if pairs.dtype == torch.bfloat16:
        bits = min(bits, 4)  # its own rounding hides that to eight bits in small groups
    change = partial(int_groups, bits=bits, size=size, zero=zero)
    found = pairs.changed(DOWN, new_weight(change), layer=seed + 1)
    cause = cause_of(found, label(DOWN, seed + 1))
    assert cause.name == "quantised"
    wanted = f"int{bits} in groups of {size}" + (" with zero points" if zero else "")
    assert cause.candidate.removeprefix("weights in ").startswith(wanted)


def levels(w: Tensor, count: int, size: int, symmetric: bool) -> Tensor:
    """So many levels in groups along the inner axis (0: a row, -1: the tensor)."""
    groups = w.reshape(1, -1) if size < 0 else w.unflatten(-1, (-1, size or w.shape[-1]))
    if symmetric:
        step = groups.abs().amax(-1, keepdim=True) / ((count - 1) / 2)
        return ((groups / step).round() * step).reshape(w.shape)
    low = groups.amin(-1, keepdim=True)
    step = (groups.amax(-1, keepdim=True) - low) / (count - 1)
    return (((groups - low) / step).round() * step + low).reshape(w.shape)


@pytest.mark.parametrize(
    ("count", "size", "symmetric", "words"),
    [
        (11, 64, True, "11 symmetric levels in groups of 64"),
        (25, 16, True, "25 symmetric levels in groups of 16"),
        (21, 0, True, "21 symmetric levels by row"),
        (41, -1, True, "41 symmetric levels by tensor"),
        (10, 32, False, "10 levels in groups of 32 with offsets"),
        (13, 128, False, "13 levels in groups of 128 with offsets"),
    ],
)
def test_levels_and_groups_of_a_scheme_without_a_name_are_found(
    pairs: Pairs, count: int, size: int, symmetric: bool, words: str
) -> None:
    change = partial(levels, count=count, size=size, symmetric=symmetric)
    cause = cause_of(pairs.changed(DOWN, new_weight(change)), label(DOWN))
    assert (cause.name, cause.candidate) == ("quantised", f"weights in {words}")


@settings(max_examples=5, deadline=None)
@given(rank=st.integers(1, 10), seed=st.integers(0, 50))
def test_the_rank_of_an_adapter_is_found(fine: Pairs, rank: int, seed: int) -> None:
    def change(w: Tensor) -> Tensor:
        added = random(len(w), rank, seed=seed) @ random(rank, w.shape[1], seed=seed + 1)
        return w + added * (0.1 * w.norm() / added.norm())

    cause = cause_of(fine.changed(GATE, new_weight(change)), label(GATE))
    assert (cause.name, cause.candidate) == ("low-rank", str(rank))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), few=st.integers(2, 6))
def test_any_order_of_input_channels_is_found(fine: Pairs, seed: int, few: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(64, generator=generator)[:few]
    order = torch.arange(64)
    order[some] = some.roll(1)
    cause = cause_of(fine.changed(UP, new_weight(lambda w: w[:, order])), label(UP))
    assert cause.name == "column-order" and f"{few} of 64 input channels" in cause.text


def test_a_fault_of_all_layers_is_found_in_all(pairs: Pairs) -> None:
    other = pairs.other()
    for at in range(LAYERS):
        other.part(DOWN, at).weight.data *= 1.05
    found = pairs.tried(other, paths=(DOWN,))
    assert linear_out(found) == [label(DOWN, at) for at in range(LAYERS)]
    assert {found.causes(target)[0] for target in linear_out(found)} == {"scale"}


def test_quantised_weights_of_all_layers_are_an_arithmetic(pairs: Pairs) -> None:
    """As precise as they can be: said, and no fault of any layer."""
    other = pairs.other()
    for one in products(other):
        one.weight.data = int_groups(one.weight.data.float(), 4, 32).to(one.weight.dtype)
    found = pairs.tried(other, paths=(GATE, DOWN))
    assert linear_out(found) == []
    names = {found.judged[label(path)].arithmetic_candidate.name for path in (GATE, DOWN)}
    assert all("int4 in groups of 32" in name for name in names), names


def test_a_head_that_alone_is_wrong_is_said(pairs: Pairs) -> None:
    def change(y: Tensor) -> Tensor:
        y = y.clone()
        y[..., HEAD : 2 * HEAD] = random(*y[..., :HEAD].shape)
        return y

    found = pairs.changed(Q, end(change))
    assert found.out() == [label(Q)]
    assert found.judged[label(Q)].evaluation.candidate.group.at == 1


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_report_that_is_cancelled_while_it_looks_for_causes_is_none(
    fine: Pairs, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Causes that nobody had the time for are not kept as if there were none."""
    found = fine.changed(DOWN, new_weight(lambda w: w * 1.05))
    asked = 0
    diagnosing = False

    def cancelled() -> bool:
        nonlocal asked
        asked += diagnosing
        return asked > after

    def watched(*given: Any) -> Any:
        nonlocal diagnosing
        diagnosing = True
        return diagnose(*given)

    monkeypatch.setattr(suspects, "diagnose", watched)
    assert report.examine(found.scene, cancelled=cancelled) is None
    assert asked > after
    asked = -1000
    whole = report.examine(found.scene, cancelled=cancelled)
    assert whole is not None and [row.causes[0].name for row in whole.broken if row.causes] == [
        "scale"
    ]
