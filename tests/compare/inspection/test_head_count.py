"""How many heads lie on the last axis of a row, of real captures and made ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.inspection.axes import AxisRanking
from layertui.compare.inspection.axis_words import ranking_title
from layertui.compare.inspection.head_count import head_width, heads_of_row
from layertui.compare.model import Row
from support.small_captures import two_sides
from support.synthetic import aligned


@pytest.fixture(scope="module")
def olmo(real: Path) -> Comparison:
    return open_comparison(str(real / "olmo2-f32/torch_dump"), str(real / "olmo2-f32/max_dump"))


def _row(comparison: Comparison, name: str, slot: str = "output") -> Row:
    return next(r for r in comparison.rows if (r.canonical, r.slot) == (name, slot))


def test_the_width_is_that_of_the_recorded_tables(olmo: Comparison) -> None:
    assert head_width(olmo) == 16  # 64 channels of queries, 4 heads; no checkpoint is known


@pytest.mark.parametrize(
    ("name", "slot", "size", "heads"),
    [
        ("self_attn.q_proj", "output", 64, 4), ("self_attn.k_norm", "output", 32, 2),
        ("self_attn.o_proj", "input_0", 64, 4), ("self_attn.o_proj", "output", 64, None),
        ("self_attn.q_proj", "input_0", 64, None), ("self_attn", "output", 64, None),
        ("mlp.down_proj", "output", 64, None), ("self_attn.q_proj", "output", 60, None),
        ("self_attn.q_proj", "output", 16, None),
    ],
)  # fmt: skip
def test_only_queries_keys_and_values_have_heads(
    olmo: Comparison, name: str, slot: str, size: int, heads: int | None
) -> None:
    row = _row(olmo, f"layers.0.{name}", slot)
    assert heads_of_row(row, (10, size), 16) == heads
    assert heads_of_row(row, None, 16) is None and heads_of_row(row, (10, size), None) is None


def test_a_checkpoint_says_how_many_heads_there_are(real: Path) -> None:
    pair = real / "olmo2-f32"
    from layertui.compare.weights.models import ModelPaths

    model = str(real / "checkpoints/olmo2-f32")
    comparison = open_comparison(
        str(pair / "max_dump"), str(pair / "max_dump"), models=ModelPaths(model, None)
    )
    assert comparison.models.reference is not None
    assert head_width(comparison) == 16


def test_nothing_says_so(tmp_path: Path) -> None:
    comparison = open_comparison(*map(str, two_sides(tmp_path, 2)))
    assert head_width(comparison) is None


def test_axes_have_names_inside_layers_alone() -> None:
    inside, outside = (
        aligned({f"{name}-output": (10, 64)}, {f"{name}-output": (10, 64)}).rows[0]
        for name in ("model.layers.0.mlp", "pixels")
    )
    tokens, channels, heads = (
        AxisRanking(0, 10, 1, (), (), ()), AxisRanking(1, 64, 1, (), (), ()),
        AxisRanking(1, 64, 16, (), (), (), 4),
    )  # fmt: skip
    assert ranking_title(inside, tokens, 2) == "tokens, axis 0 (10)"
    assert ranking_title(inside, channels, 2) == "channels, axis 1 (64)"
    assert ranking_title(inside, heads, 2) == "4 heads of axis 1"
    assert ranking_title(outside, tokens, 2) == "axis 0 (10)"
