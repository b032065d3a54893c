"""The table `[shards]` of a rules file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layertui.capture.ranks.way import Way
from layertui.compare.rules.rules import RulesError
from layertui.compare.rules.rules_file import read_rules
from layertui.compare.rules.shard_rules import ShardRule


def test_the_table_is_read_in_order() -> None:
    text = b'[shards]\n"*.o_proj" = "partial"\n"*.q_proj" = "concat -1"\n'
    assert read_rules(text, "r.toml").shards == (
        ShardRule("*.o_proj", (("", Way("partial")),)),
        ShardRule("*.q_proj", (("", Way("concat", -1)),)),
    )  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [
    ('[names]\n[shards]\n"*.a" = "concat -1"\n"*.b" = "mean"\n',
     "r.toml: line 4: [shards] '*.b': 'mean' is no way to join ranks (known: replicated, "),
    ('[shards]\n"*.b" = 1\n', "r.toml: line 2: [shards] '*.b': must be a text in quotes"),
    ('[shards]\nb = [["concat -1"]]\n', "r.toml: line 2: [shards] 'b': must be a text"),
    ("[shards]\nb = []\n", "r.toml: line 2: [shards] 'b': one way for each kind of parallelism"),
    ('[shards]\nb = ["tp: partial", "tp: sum"]\n', "r.toml: line 2: [shards] 'b': one way for"),
    ('[shards]\nb = "xp: partial"\n', "r.toml: line 2: [shards] 'b': 'xp: partial' is no way"),
    ("shards = 3\n", "r.toml: [shards]: must be a table"),
    ('shards = {"*.b" = "split"}\n', "r.toml: [shards] '*.b': 'split' is no way"),
    ("[shard]\n", "r.toml: top level: unknown key 'shard'"),
])  # fmt: skip
def test_a_wrong_table_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RulesError) as found:
        read_rules(text.encode(), "r.toml")
    assert str(found.value).startswith(said) and "\n" not in str(found.value)


def test_an_axis_may_be_written_as_a_table() -> None:
    (rule,) = read_rules(b'[shards]\n"*.q_proj" = { dim = -1 }\n', "r.toml").shards
    assert rule.ways == (("", Way("concat", -1)),)
    for wrong in ('{ dim = "x" }', "{ axis = 1 }", "{ dim = 200 }", "{ dim = true }"):
        with pytest.raises(RulesError, match="line 2"):
            read_rules(f'[shards]\n"*.q" = {wrong}\n'.encode(), "r.toml")


def test_ways_of_several_kinds() -> None:
    text = b'[shards]\n"*.a" = ["tp: partial", "cp: zigzag 0"]\n"*.b" = "concat 1"\n'
    several, one = read_rules(text, "r.toml").shards
    zigzag, concat = Way("zigzag", 0), Way("concat", 1)
    ways = {kind: several.way(kind, False) for kind in ("tp", "cp", "ep", "")}
    assert ways == {"tp": Way("partial"), "cp": zigzag, "ep": None, "": None}
    assert [one.way(kind, False) for kind in ("", "tp", "cp", "dp")] == [concat] * 3 + [None]
    assert one.way("cp", True) is None
    (order,) = read_rules(b'[shards]\n"*" = "zigzag 0"\n', "r.toml").shards
    assert [order.way(kind, False) for kind in ("", "tp", "cp")] == [zigzag, None, zigzag]


def test_a_module_means_its_output() -> None:
    rule = ShardRule("layers.*.o_proj", (("", Way("partial")),))
    assert rule.fits(("layers.0.o_proj",), "output", ())
    assert rule.fits(("layers.0.o_proj",), "value", ())
    assert not rule.fits(("layers.0.o_proj",), "input_0", ())
    other = ShardRule("*.o_proj-input_0", (("", Way("concat")),))
    assert other.fits(("layers.0.o_proj",), "input_0", ())
    named = ShardRule("model/0/x", (("", Way("concat")),))
    assert named.fits(("layers.0.x",), "output_1", ("model/0/x",))


def test_the_example_of_the_manual_is_read() -> None:
    page = (Path(__file__).parents[3] / "docs/manual/shards.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```\n(\[shards\].*?)```", page, re.DOTALL)
    rules = read_rules(example.encode(), "r.toml").shards
    assert [str(rule.way("tp", False)) for rule in rules] == [
        "partial", "split 16:8:8", "concat -1", "replicated", "apart", "concat -1",
    ]  # fmt: skip
