"""The rules file: what it may hold, what it changes, and every mistake in words."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.compare.rules.rules import (
    BUILT_IN_FUSED,
    FusedRule,
    HandPair,
    RecipeRule,
    Rules,
    RulesError,
    ThresholdRule,
    glob_of,
    globs_of_kind,
)
from layertui.compare.rules.rules_file import load_rules
from support.synthetic import aligned, pairs

WHOLE = r"""
# a comment
[names]
reference = [["^blocks\\.", "layers."], ["^layers\\.(\\d+)\\.a$", "layers.\\1.mlp"]]
candidate = [["_part\\.0", ""]]
synonyms = [["foo", "nothing"], ["foo", "o_proj"]]
ignore = ["TopKSampler*", "rotary_emb-output*"]

[fused]
"self_attn.vk_proj" = { parts = ["self_attn.v_proj", "self_attn.k_proj"] }
"self_attn.qkv_proj" = { parts = ["self_attn.k_proj", "self_attn.q_proj"], axis = 0 }

[[recipe]]
match = "layers.*.mlp-output"
candidate = "squeeze(0)"

[[recipe]]
match = "layers.1.mlp-output"
reference = "flip(0)"

[[pair]]
reference = "model.a-output"
candidate = "model.b-output"

[[unpaired]]
reference = "model.a-output"
candidate = "model.c-output"

[thresholds]
"layers.*.mlp.*" = { relative_l2 = 1e-2, cosine = 1 }
"layers.1.*" = { mse = inf }
"""


def load(folder: Path, text: str) -> Rules:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return load_rules(str(path))


def test_everything_a_file_may_hold(tmp_path: Path) -> None:
    rules = load(tmp_path, WHOLE)
    assert [(p.pattern, r) for p, r in rules.reference.renames] == [
        (r"^blocks\.", "layers."), (r"^layers\.(\d+)\.a$", r"layers.\1.mlp"),
    ]  # fmt: skip
    assert [p.pattern for p, _ in rules.candidate.renames] == [r"_part\.0"]
    assert rules.reference.synonyms == rules.candidate.synonyms
    assert rules.ignore == ("TopKSampler*", "rotary_emb-output*")
    assert rules.fused[0] == FusedRule(
        "self_attn.qkv_proj", ("self_attn.k_proj", "self_attn.q_proj"), 0
    )
    assert rules.fused[2:] == BUILT_IN_FUSED
    assert rules.pairs == (HandPair("model.a-output", "model.b-output"),)
    assert rules.unpaired == (HandPair("model.a-output", "model.c-output"),)
    assert rules.thresholds == (
        ThresholdRule("layers.*.mlp.*", (("relative_l2", 0.01), ("cosine", 1.0))),
        ThresholdRule("layers.1.*", (("mse", float("inf")),)),
    )


def test_later_recipes_win(tmp_path: Path) -> None:
    rules = load(tmp_path, WHOLE)
    assert rules.recipe_for("layers.0.mlp-output") == RecipeRule(
        "layers.*.mlp-output", None, "squeeze(0)"
    )
    assert rules.recipe_for("layers.1.mlp-output") == RecipeRule("layers.1.mlp-output", "flip(0)")
    assert rules.recipe_for("norm-output") is None


def test_ignored_by_module_or_by_module_and_slot(tmp_path: Path) -> None:
    rules = load(tmp_path, WHOLE)
    assert rules.ignores("TopKSampler-input_1", "TopKSampler")
    assert rules.ignores("rotary_emb-output_1", "rotary_emb")
    assert not rules.ignores("rotary_emb-input_0", "rotary_emb")


def test_names_change_what_is_paired(tmp_path: Path) -> None:
    rules = load(tmp_path, WHOLE)
    left = ["norm-output", "blocks.3.a-output", "layers.0.self_attn.foo-output"]
    right = ["norm-output", "layers.3.mlp_part.0-output", "layers.0.self_attn.o_proj-output"]
    assert pairs(aligned(left, right, rules).rows) == dict(zip(left, right, strict=True))


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Rules()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nmaes = 1", "top level: unknown key 'nmaes' (known: names, fused"),
        ("names = 3", "[names]: must be a table"),
        ("[names]\nrefrence = []", "[names]: unknown key 'refrence'"),
        ('[names]\nreference = "x"', "[names] reference: must be a list of"),
        ('[names]\nreference = [["a"]]', 'is not a ["from", "to"] pair'),
        ('[names]\nreference = [["(", "a"]]', "bad regular expression '('"),
        ('[names]\ncandidate = [["a", "\\\\2"]]', "bad regular expression 'a'"),
        ('[names]\ncandidate = [["a", "\\\\g<x>"]]', "bad regular expression 'a'"),
        ('[names]\ncandidate = [["a{9999999999999}", ""]]', "bad regular expression"),
        ("[names]\nignore = [1]", "[names] ignore: must be a list of strings"),
        ("fused = 1", "[fused]: must be a table"),
        ('[fused]\na = { parts = ["b"] }', "[fused] 'a': needs at least two parts"),
        ('[fused]\na = { parts = ["b", "c"], axis = true }', "whole number as axis"),
        ('[fused]\na = { parts = ["b", "c"], dim = 1 }', "[fused] 'a': unknown key 'dim'"),
        ("recipe = 1", "[[recipe]]: must be written as [[recipe]]"),
        ('[[recipe]]\nreference = "flip(0)"', "[[recipe]] number 1: needs a glob as match"),
        ('[[recipe]]\nmatch = "a"', "[[recipe]] number 1: needs a recipe as reference or"),
        ('[[recipe]]\nmatch = "a"\ncandidate = [0]', "candidate: must be a recipe in quotes"),
        ('[[recipe]]\nmatch = "a"\ncandidate = "fold(1)"', "candidate: unknown step 'fold'"),
        ('[[pair]]\nreference = "a"', "[[pair]] number 1: needs a record name as reference"),
        ('[[pair]]\nreference = "a"\nfrom = "b"', "[[pair]] number 1: unknown key 'from'"),
        ("thresholds = 1", "[thresholds]: must be a table"),
        ('[thresholds]\n"a" = { msse = 1 }', "[thresholds] 'a': unknown key 'msse'"),
        ('[thresholds]\n"a" = { mse = "1" }', "mse must be a number"),
        ('[thresholds]\n"a" = { mse = true }', "mse must be a number"),
        ('[thresholds]\n"a" = { mse = nan }', "mse must be a number"),
        ('[thresholds]\n"a" = { mse = 1' + "0" * 400 + " }", "mse must be a number"),
        ('[thresholds]\n"a" = {}', "needs at least one metric"),
        ("[names", "not valid TOML"),
        ("a = " + "[" * 20_000, "not valid TOML"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RulesError) as error:
        load(tmp_path, text)
    message = str(error.value)
    assert words in message and message.startswith(str(tmp_path / "rules.toml"))
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="cannot be read: No such file"):
        load_rules(str(tmp_path / "missing.toml"))
    with pytest.raises(RulesError, match="cannot be read: Is a directory"):
        load_rules(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b'[names]\nignore = ["\xe9"]')
    with pytest.raises(RulesError, match="not valid TOML"):
        load_rules(str(tmp_path / "latin.toml"))


NAMES = st.lists(st.text("layers.0123[]*?!-q", max_size=9), max_size=5)


@given(NAMES, st.text("ab-[*?]", max_size=5), NAMES)
def test_the_glob_of_a_pair_matches_it_alone(
    names: list[str], slot: str, others: list[str]
) -> None:
    module = ".".join(names)
    glob = glob_of(module, slot)
    assert fnmatchcase(f"{module}-{slot}", glob)
    for other in others:
        assert fnmatchcase(other, glob) == (other == f"{module}-{slot}")


KINDS = ["layers.3-output", "layers.3.mlp-output", "layers.12.mlp-output",
         "layers.3.moe.mlp-output", "layers.x.mlp-output", "layers.3.mlp-output_1",
         "layers.3.self_attn.q[0]-output", "layers.12.self_attn.q[0]-output",
         "layers.7.self_attn.q0-output",
         "vision.layers.3.mlp-output", "layers.3.experts.5.up-output",
         "layers.3.experts.6.up-output", "layers.12.experts.5.up-output", "norm-output",
         "layers.1234.mlp-output", "layers.3.layers.4.mlp-output"]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "globs", "caught"),
    [
        ("layers.3-output", ["layers.[0-9]-output"], ["layers.3-output"]),
        ("layers.12.mlp-output",
         ["layers.[0-9].mlp-output", "layers.[0-9][0-9].mlp-output",
          "layers.[0-9][0-9][0-9][0-9].mlp-output"],
         ["layers.3.mlp-output", "layers.12.mlp-output", "layers.1234.mlp-output"]),
        ("layers.3.self_attn.q[0]-output", ["layers.*.self_attn.q[[]0]-output"],
         ["layers.3.self_attn.q[0]-output", "layers.12.self_attn.q[0]-output"]),
        ("vision.layers.3.mlp-output", ["vision.layers.*.mlp-output"],
         ["vision.layers.3.mlp-output"]),
        ("layers.12.experts.5.up-output", ["layers.*.experts.5.up-output"],
         ["layers.3.experts.5.up-output", "layers.12.experts.5.up-output"]),
        ("norm-output", ["norm-output"], ["norm-output"]),
    ],
)  # fmt: skip
def test_the_globs_of_a_kind_catch_every_layer_and_nothing_else(
    label: str, globs: list[str], caught: list[str]
) -> None:
    module, _, slot = label.rpartition("-")
    found = globs_of_kind(module, slot, KINDS)
    assert list(found) == globs
    assert [each for each in KINDS if any(fnmatchcase(each, glob) for glob in found)] == caught
