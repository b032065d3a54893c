"""One table of roles: a new line arrives everywhere, and no other module has a list of names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import layertui.compare
from layertui.capture.records import Capture
from layertui.compare.comparison import Comparison
from layertui.compare.matching.engines import registry
from layertui.compare.matching.engines.names import EngineNames
from layertui.compare.matching.named_records import behind_layers, side_of
from layertui.compare.matching.names import roles
from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.matching.token_steps import mark_last_rows
from layertui.compare.rules.rules import Rules
from support.synthetic import saved

ROOT = Path(layertui.compare.__file__).parents[1]
# Names of modules that stand for a role; the rooms that may have lists of them.
NAMES = (
    "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "embed_tokens", "wte", "word_embeddings",
    "q_norm", "k_norm", "q_rope", "self_attn", "lm_head", "gate_score",
)  # fmt: skip
ROOMS = ("matching", "laws", "weights", "rules", "repro")


def _strings(path: Path) -> set[str]:
    """Strings of the code that are no docstrings."""
    tree = ast.parse(path.read_text())
    notes = {
        id(node.value) for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    return {
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes
    }  # fmt: skip


def test_no_other_module_has_names_of_modules() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for folder in ("compare", "tui")
        for path in (ROOT / folder).rglob("*.py")
        if path.relative_to(ROOT).parts[1] not in ROOMS and path.parent.name != "present"
        for text in _strings(path)
        if any(name in text.split(".") for name in NAMES)
    }
    assert found == set()


TOY: dict[str, roles.Role] = {
    "toylookup": "embedding", "toyplaces": "positions", "toyscale": "norm",
    "toymatrix": "projection", "toychoice": "router", "toyfocus": "attention",
}  # fmt: skip


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A line of the table each, for names that no engine has."""
    for name, role in TOY.items():
        monkeypatch.setitem(roles.BY_NAME, name, role)
    roles.role_of.cache_clear()
    yield
    monkeypatch.undo()
    roles.role_of.cache_clear()


def run(tmp_path: Path, name: str, tokens: int = 6) -> Capture:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "toylookup-input_0": np.arange(tokens)[None],
        "toylookup-output": rng.standard_normal((1, tokens, 8)).astype(np.float32),
    }
    for number in range(3):
        for part in ("toyscale", "toymatrix", "toychoice"):
            for slot in ("input_0", "output"):
                values = rng.standard_normal((1, tokens, 8)).astype(np.float32)
                arrays[f"layers.{number}.{part}-{slot}"] = values
    noise = 1e-6 * rng.standard_normal((1, tokens, 8)).astype(np.float32)
    changed = {k: v + noise if v.dtype == np.float32 and name == "b" else v
               for k, v in arrays.items()}  # fmt: skip
    return saved(tmp_path / name, changed)


def judged(tmp_path: Path) -> Comparison:
    comparison = Comparison(run(tmp_path, "a"), run(tmp_path, "b"))
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


def linear_of(comparison: Comparison) -> dict[str, bool]:
    analysis = comparison.analysis()
    return {
        row.label.rpartition(".")[2]: analysis.facts[row.index].linear
        for row in comparison.rows if row.role == "output"
    }  # fmt: skip


def test_unknown_names_have_no_role(tmp_path: Path) -> None:
    comparison = judged(tmp_path)
    assert not any(linear_of(comparison).values())
    embedded = comparison.reference.records[0]
    assert not roles.is_embedded(comparison.reference, embedded)
    assert behind_layers("toylookup")


def test_a_new_role_arrives_everywhere(toy: None, tmp_path: Path) -> None:
    comparison = judged(tmp_path)
    assert linear_of(comparison) == {
        "toylookup-output": False, "toyscale-output": False, "toymatrix-output": True,
        "toychoice-output": False,
    }  # fmt: skip
    capture = comparison.reference
    ids = next(r for r in capture.records if r.name.startswith("toylookup-input"))
    assert roles.is_embedded(capture, ids)
    assert roles.family_of("layers.0.toyscale") == "norm"
    assert roles.begins_a_run("toylookup") and roles.begins_a_run("toyplaces")
    assert not behind_layers("toylookup") and not behind_layers("toyplaces")
    assert roles.may_be_router("layers.0.mlp.toychoice")
    assert roles.is_in_attention("layers.0.toyfocus.inner")
    assert roles.is_shared("layers.0.toyplaces")


def test_tokens_are_counted_at_the_embedding(toy: None, tmp_path: Path) -> None:
    def behind(tokens: int) -> bool:
        """Whether the last-token view is allowed behind the layers."""
        sides = [side_of(run(tmp_path / f"{tokens}", name, count), NameRules(), Rules())
                 for name, count in (("a", 6), ("b", tokens))]  # fmt: skip
        for side in sides:
            side.items[0].module = "model"
        mark_last_rows(*sides)
        return any(item.last_rows for side in sides for item in side.items)

    assert behind(6) and not behind(4)


def test_names_of_a_new_engine_have_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineNames("toy", anywhere={"toylookup": "embed_tokens", "toyfocus": "self_attn"},
                         in_attention={"toyq": "q_proj"})  # fmt: skip
    monkeypatch.setattr(registry, "ENGINES", (*registry.ENGINES, engine))
    names = {name: canonical_name(name, "", NameRules()).module
             for name in ("toylookup", "layers.3.toyfocus", "layers.3.toyfocus.toyq")}  # fmt: skip
    assert [roles.role_of(name) for name in names.values()] == ["embedding", "attention", "query"]
    assert roles.beside(names["layers.3.toyfocus.toyq"])
