"""The laws of convolutions, pooling and layer scale against torch's own modules."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
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

from layertui.compare.laws.law import Case
from layertui.compare.laws.vision.pooling import Pool
from layertui.compare.laws.vision.windows import Adaptive, Window, fitting, gathered
from support.laws.law_checks import Tried, capture, tried
from support.laws.vision_models import LayerScale

DTYPES = [torch.float32, torch.bfloat16]
LABEL = "op-output"


class Model(nn.Module):
    """One operator behind a change of the images, so that both are recorded."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x)


def pair(
    tmp_path: Path, op: nn.Module, shape: tuple[int, ...], dtype: torch.dtype,
    change: Callable[[Any], nn.Module | None] | None = None, checkpoint: bool = True,
) -> Tried:  # fmt: skip
    """An operator and a changed copy of it, on the same images."""
    torch.manual_seed(0)
    one = Model(op).to(dtype).eval()
    other = deepcopy(one)
    if change is not None:
        other.op = change(other.op) or other.op
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    weights = None
    if checkpoint:
        weights = tmp_path / "model"
        weights.mkdir(exist_ok=True)
        save_file(dict(one.state_dict()), weights / "model.safetensors")
    return tried(
        capture(one, tmp_path / "one", x), capture(other, tmp_path / "other", x), weights
    )  # fmt: skip


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1d": (lambda: nn.Conv1d(8, 12, 3, padding=1), (2, 8, 40)),
    "1d step": (lambda: nn.Conv1d(8, 12, 3, stride=2, padding=1), (2, 8, 41)),
    "1d causal, by channel": (lambda: nn.Conv1d(16, 16, 4, padding=3, groups=16), (2, 16, 40)),
    "1d dilated": (lambda: nn.Conv1d(8, 12, 3, padding=4, dilation=4), (2, 8, 40)),
    "1d without batch": (lambda: nn.Conv1d(8, 12, 5), (8, 40)),
    "patches": (lambda: nn.Conv2d(3, 48, 8, stride=8), (2, 3, 64, 64)),
    "2d": (lambda: nn.Conv2d(6, 10, 3, padding=1), (2, 6, 12, 12)),
    "2d no bias": (lambda: nn.Conv2d(6, 10, 3, padding=1, bias=False), (2, 6, 12, 12)),
    "2d step": (lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1), (2, 6, 15, 15)),
    "2d groups": (lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4), (2, 8, 12, 12)),
    "2d dilated": (lambda: nn.Conv2d(6, 10, 3, padding=2, dilation=2), (2, 6, 12, 12)),
    "2d uneven": (
        lambda: nn.Conv2d(6, 10, (3, 5), stride=(1, 2), padding=(1, 2)), (2, 6, 12, 16)
    ),
    "3d patches": (lambda: nn.Conv3d(3, 32, (2, 4, 4), stride=(2, 4, 4)), (20, 3, 2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(CONVOLUTIONS))
def test_convolutions_of_torch_keep_to_the_law(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    build, shape = CONVOLUTIONS[name]
    op = build()
    found = pair(tmp_path, op, shape, dtype)
    judged = found.judged[LABEL]
    assert judged.evaluation.site.law == "convolution"
    assert judged.trusted and 0.2 < judged.evaluation.reference.ratio < 3
    assert found.out() == []
    window: Window = judged.evaluation.fit.values["kernel"].window
    assert window.size == op.kernel_size
    # Where there is one place of the result, its step is nothing.
    many = [axis for axis, count in enumerate(_results(found)) if count > 1]
    for axis in many:
        assert window.stride[axis] == op.stride[axis]  # type: ignore[index]
        assert window.padding[axis] == op.padding[axis]  # type: ignore[index]
        assert window.dilation[axis] == op.dilation[axis]  # type: ignore[index]


def _results(found: Tried) -> tuple[int, ...]:
    quantity = found.scene.reference.known[found.judged[LABEL].evaluation.site.target]
    kernel = found.judged[LABEL].evaluation.fit.values["kernel"]
    return found.scene.tables.shape(quantity)[-len(kernel.window.size) :]


class ChannelsLast(nn.Module):
    """The same operator on images whose channels come last."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.op = Turned(inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x.movedim(1, -1).contiguous()).movedim(-1, 1)


class Turned(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = (inner,)  # no module of its own: only this one is recorded
        for name, parameter in inner.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach()))
        kind = type(inner).__name__
        self.__class__ = type(kind, (Turned,), {})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner[0](x.movedim(-1, 1)).movedim(1, -1).contiguous()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("name", ["1d step", "2d groups", "patches", "2d", "pool"])
def test_channels_may_be_recorded_last(
    tmp_path: Path, name: str, both: bool, dtype: torch.dtype
) -> None:
    build, shape = CONVOLUTIONS.get(name, (lambda: nn.MaxPool2d(3, 2, 1), (2, 6, 15, 15)))
    torch.manual_seed(0)
    inner: Any = build().to(dtype).eval()
    wrong = deepcopy(inner)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    (tmp_path / "model").mkdir()
    if name != "pool":
        weights = {f"op.{n}": p.data.clone() for n, p in inner.named_parameters()}
        save_file(weights, tmp_path / "model" / "model.safetensors")
        wrong.bias.data.zero_()
    reference = ChannelsLast(inner) if both else Model(inner)
    paths = {
        label: capture(model, tmp_path / label, x)
        for label, model in (("one", reference), ("right", ChannelsLast(inner)),
                             ("wrong", ChannelsLast(wrong)))
    }  # fmt: skip
    model = tmp_path / "model" if name != "pool" else None
    found = tried(paths["one"], paths["right"], model)
    assert found.out() == []
    if name == "2d groups" and (not both or LABEL not in found.judged):
        return  # 12 channels and 12 columns: which is which cannot be told
    judged = found.judged[LABEL]
    if name == "2d groups":
        assert not judged.trusted
        return
    assert judged.evaluation.site.law == ("convolution" if name != "pool" else "pooling")
    assert judged.trusted and judged.excess is None and judged.evaluation.candidate.ratio < 3
    if name != "pool":
        found = tried(paths["one"], paths["wrong"], model)
        assert LABEL in found.out() and found.causes(LABEL)[0] == "bias"


def without_bias(op: Any) -> None:
    op.bias.data.zero_()


def reversed_channels(op: Any) -> None:
    op.weight.data = op.weight.data.flip(1)


def swapped_axes(op: Any) -> None:
    op.weight.data = op.weight.data.swapaxes(2, 3).contiguous()


def mirrored(op: Any) -> None:
    op.weight.data = op.weight.data.flip(tuple(range(2, op.weight.ndim)))


def padded_in_front(op: Any) -> nn.Module:
    length = 2 * op.padding[0]
    inner = deepcopy(op)
    inner.padding = (0,)
    return Changed(inner, lambda x: nn.functional.pad(x, (length, 0)), lambda y: y)


def scaled(op: Any) -> nn.Module:
    return Changed(op, lambda x: x, lambda y: y * 1.03)


def rounded(op: Any) -> None:
    op.weight.data = op.weight.data.bfloat16().to(op.weight.dtype)


class Changed(nn.Module):
    """An operator with something in front of it and behind it that is its own."""

    def __init__(self, op: nn.Module, before: Any, after: Any) -> None:
        super().__init__()
        self.__dict__["own"] = (op, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        op, before, after = self.own  # type: ignore[attr-defined]
        return after(op(before(x)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "change", "cause", "said"), [
    ("patches", without_bias, "bias", "not added"),
    ("patches", reversed_channels, "column-order", "BGR"),
    ("patches", swapped_axes, "transposed", "height and width"),
    ("1d", mirrored, "column-order", "mirrored"),
    ("2d groups", without_bias, "bias", "not added"),
    ("2d", scaled, "scale", "1.03"),
    ("1d", padded_in_front, "token-shift", "padding"),
])  # fmt: skip
def test_what_is_wrong_with_a_convolution_is_named(
    tmp_path: Path, name: str, change: Any, cause: str, said: str, dtype: torch.dtype
) -> None:
    build, shape = CONVOLUTIONS[name]
    found = pair(tmp_path, build(), shape, dtype, change)
    assert found.out() == [LABEL]
    first, *_ = found.diagnosis(LABEL).causes
    assert first.name == cause
    if cause != "scale":
        assert said in first.text
    elif first.uncertainty:
        assert abs(float(first.candidate) - float(said)) < 0.005


def test_a_weight_in_bfloat16_is_named(tmp_path: Path) -> None:
    build, shape = CONVOLUTIONS["patches"]
    found = pair(tmp_path, build(), shape, torch.float32, rounded)
    assert found.out() == [LABEL]
    first, *_ = found.diagnosis(LABEL).causes
    assert (first.name, first.text) == ("quantised", "the weight is rounded to bfloat16")


def test_a_convolution_without_a_checkpoint_is_not_judged(tmp_path: Path) -> None:
    build, shape = CONVOLUTIONS["patches"]
    assert LABEL not in pair(tmp_path, build(), shape, torch.float32, checkpoint=False).judged


def test_a_transposed_convolution_is_no_convolution(tmp_path: Path) -> None:
    op = nn.ConvTranspose2d(6, 6, 3, padding=1)
    assert LABEL not in pair(tmp_path, op, (2, 6, 12, 12), torch.float32).judged


POOLS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mean": (lambda: nn.AvgPool2d(2), (2, 6, 16, 16)),
    "mean, padded": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 6, 16, 16)),
    "mean, padding not counted": (
        lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), (2, 6, 16, 16)
    ),
    "mean, rounded up": (lambda: nn.AvgPool2d(3, stride=2, ceil_mode=True), (2, 6, 16, 16)),
    "mean 1d": (lambda: nn.AvgPool1d(4), (2, 6, 40)),
    "greatest": (lambda: nn.MaxPool2d(3, stride=2, padding=1), (2, 6, 16, 16)),
    "greatest 1d": (lambda: nn.MaxPool1d(2), (2, 6, 40)),
    "all": (lambda: nn.AdaptiveAvgPool2d(1), (8, 6, 9, 9)),
    "all, greatest": (lambda: nn.AdaptiveMaxPool2d(1), (8, 6, 9, 9)),
    "parts": (lambda: nn.AdaptiveAvgPool2d((3, 4)), (2, 6, 10, 10)),
    "parts 1d": (lambda: nn.AdaptiveAvgPool1d(7), (2, 6, 40)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(POOLS))
def test_pooling_of_torch_keeps_to_the_law(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    build, shape = POOLS[name]
    found = pair(tmp_path, build(), shape, dtype, checkpoint=False)
    judged = found.judged[LABEL]
    assert judged.evaluation.site.law == "pooling"
    assert judged.trusted and judged.evaluation.reference.ratio < 2
    assert found.out() == []
    pool: Pool = judged.evaluation.fit.values["pool"]
    assert pool.of == ("greatest value" if name.startswith(("greatest", "all, g")) else "mean")
    if name == "mean, padding not counted":
        assert not pool.padding_counts


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "other", "cause"), [
    ("mean", nn.MaxPool2d(2), "activation"),
    ("greatest", nn.AvgPool2d(3, stride=2, padding=1), "activation"),
    ("all", nn.AdaptiveMaxPool2d(1), "activation"),
    ("mean, padded", nn.AvgPool2d(3, 2, 1, count_include_pad=False), "scale"),
])  # fmt: skip
def test_what_is_wrong_with_pooling_is_named(
    tmp_path: Path, name: str, other: nn.Module, cause: str, dtype: torch.dtype
) -> None:
    build, shape = POOLS[name]
    found = pair(
        tmp_path, build(), shape, dtype, lambda _: Changed(other, lambda x: x, lambda y: y), False
    )
    assert found.out() == [LABEL]
    first, *_ = found.diagnosis(LABEL).causes
    assert first.name == cause
    assert "window" in first.text or "padding" in first.text


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_scale_keeps_to_the_law(tmp_path: Path, dtype: torch.dtype, checkpoint: bool) -> None:
    found = pair(tmp_path, LayerScale(48), (2, 20, 48), dtype, checkpoint=checkpoint)
    judged = found.judged[LABEL]
    assert judged.trusted and judged.evaluation.site.law == "layer-scale"
    assert judged.evaluation.reference.ratio < 2
    assert found.out() == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("change", "cause"), [
    (lambda op: op.lambda1.data.fill_(1), "weight-ignored"),
    (lambda op: op.lambda1.data.add_(1), "weight-offset"),
    (lambda op: op.lambda1.data.mul_(0.5), "scale"),
])  # fmt: skip
def test_what_is_wrong_with_a_layer_scale_is_named(
    tmp_path: Path, change: Any, cause: str, dtype: torch.dtype
) -> None:
    def changed(op: Any) -> None:
        change(op)

    found = pair(tmp_path, LayerScale(48), (2, 20, 48), dtype, changed)
    assert found.out() == [LABEL]
    assert found.causes(LABEL)[0] == cause


def vision_model(kind: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 64, "image_size": 32, "patch_size": 8, "attn_implementation": "eager",
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes)
    model = getattr(transformers, f"{kind}Model")(config)
    for name, parameter in model.named_parameters():
        parameter.data *= 4 if parameter.dim() > 1 else 1
        if "lambda" in name:
            parameter.data = 0.1 + torch.rand_like(parameter)
        if name.endswith("projection.bias"):
            parameter.data = torch.randn_like(parameter)
    return model.to(dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["ViT", "Dinov2"])
def test_vision_models_of_transformers(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    """Patch embedding, layer scale and the sums with it; a bias of the patches left out."""
    one, other = vision_model(kind, dtype), vision_model(kind, dtype)
    one.save_pretrained(tmp_path / "model")  # type: ignore[operator]
    x = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(1)).to(dtype)
    first = capture(one, tmp_path / "one", x)
    clean = tried(first, capture(other, tmp_path / "other", x), tmp_path / "model")
    laws = {label: j.evaluation.site.law for label, j in clean.judged.items()}
    (patches,) = (label for label, law in laws.items() if law == "convolution")
    scales = [label for label, law in laws.items() if law == "layer-scale"]
    assert len(scales) == (6 if kind == "Dinov2" else 0)
    assert sum(law == "residual" for law in laws.values()) == 6
    assert all(clean.judged[label].trusted for label in (patches, *scales))
    assert clean.out() == []
    for name, parameter in other.named_parameters():
        if name.endswith("patch_embeddings.projection.bias"):
            parameter.data.zero_()
    changed = tried(first, capture(other, tmp_path / "other", x), tmp_path / "model")
    assert changed.out() == [patches]
    assert changed.causes(patches)[0] == "bias"


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(4, 30),
    size=st.integers(1, 5),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_windows_are_those_of_torch(
    length: int, size: int, stride: int, padding: int, dilation: int, seed: int
) -> None:
    """A convolution of any step, padding and dilation is what its windows give; and they are among
    those that are tried for its shapes.
    """
    reach = dilation * (size - 1)
    if length + 2 * padding <= reach:
        return
    torch.manual_seed(seed)
    x = torch.randn(2, 3, length, dtype=torch.float64)
    op = nn.Conv1d(3, 4, size, stride, padding, dilation, dtype=torch.float64)
    y = op(x).detach().numpy()
    window = Window((size,), (stride,), (padding,), (dilation,))
    shape = (2, y.shape[2])
    values, outside = gathered(window, x.numpy(), np.arange(shape[0] * shape[1]), shape)
    assert np.isin(outside, (0, -1)).all()
    values = np.where(outside[:, None] < 0, 0.0, values)
    weight = op.weight.detach().numpy()
    made = np.einsum("pck,ock->po", values, weight) + op.bias.detach().numpy()  # type: ignore
    np.testing.assert_allclose(made, np.moveaxis(y, 1, 2).reshape(-1, 4), atol=1e-12)
    fits = list(fitting((size,), (length,), (y.shape[2],), dilated=True))
    assert all(_made(own, length) == y.shape[2] for own in fits)
    if padding <= reach and shape[1] > 1 and dilation == 1:
        assert window in fits


def _made(window: Window, length: int) -> int:
    reach = window.dilation[0] * (window.size[0] - 1)
    return (length + 2 * window.padding[0] - reach - 1) // window.stride[0] + 1


@settings(max_examples=60, deadline=None)
@given(
    high=st.integers(1, 12),
    wide=st.integers(1, 12),
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    seed=st.integers(0, 9),
)
def test_adaptive_windows_are_those_of_torch(
    high: int, wide: int, rows: int, columns: int, seed: int
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(2, 3, high, wide, dtype=torch.float64)
    y = nn.AdaptiveAvgPool2d((rows, columns))(x).numpy()
    shape = (2, rows, columns)
    places = np.arange(2 * rows * columns)
    more = {"images": x.numpy(), "result": shape}
    case = Case("reference", np.zeros((len(places), 3)), places, {}, {"output": 2.0**-53},
                more=more)  # fmt: skip
    made = Pool("mean", Adaptive()).apply(case).value
    np.testing.assert_allclose(made, np.moveaxis(y, 1, 3).reshape(-1, 3), atol=1e-12)
