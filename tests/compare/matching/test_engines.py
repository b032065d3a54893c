"""Tables of engines' names: a new engine is one table, and two tables never contradict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.matching.engines import registry
from layertui.compare.matching.engines.names import EngineNames
from layertui.compare.matching.engines.tables import joined
from layertui.compare.matching.names.canonical import NameRules, canonical_name

TOY = EngineNames(
    "toy",
    quantities=((r"^toy(\d+)_hidden$", r"layers.\1", "output"),),
    paths=((r"^toy_stack\.(?=\d)", "layers."),),
    anywhere={"toy_attention": "self_attn"},
    in_attention={"toy_q": "q_proj"},
)
NAMES = {"toy_stack.0.toy_attention.toy_q": "layers.0.self_attn.q_proj", "toy3_hidden": "layers.3"}


@pytest.mark.parametrize("name, standard", NAMES.items())
def test_an_engine_is_known_by_its_line_in_the_registry(
    monkeypatch: pytest.MonkeyPatch, name: str, standard: str
) -> None:
    assert canonical_name(name, "", NameRules()).module != standard
    monkeypatch.setattr(registry, "ENGINES", (*registry.ENGINES, TOY))
    assert canonical_name(name, "", NameRules()).module == standard


def test_captures_with_its_names_are_paired(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sides = {"a": "model.layers.0.self_attn.q_proj", "b": "toy_stack.0.toy_attention.toy_q"}
    for folder, name in sides.items():
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / f"{name}-output.npy", np.ones((2, 3), np.float32))
    monkeypatch.setattr(registry, "ENGINES", (*registry.ENGINES, TOY))
    rows = open_comparison(str(tmp_path / "a"), str(tmp_path / "b")).rows
    assert [row.kind for row in rows] == ["pair"]
    assert rows[0].canonical == "layers.0.self_attn.q_proj"


def test_one_component_has_one_standard_name() -> None:
    joined(registry.ENGINES)
    other = EngineNames("other", in_mlp={"w1": "up_proj"})
    with pytest.raises(ValueError, match="other: w1 is up_proj, and gate_proj elsewhere"):
        joined((*registry.ENGINES, other))
