"""Writing to a rules file: what is added, what is replaced, and that nothing else changes."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.comparison import open_comparison
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.rules.edit import save_to_rules
from layertui.compare.rules.rules import HandPair, RecipeRule, RulesError
from layertui.compare.rules.rules_file import load_rules, read_rules
from support.small_captures import two_sides

MIXED = """\
# what we know of this model
[names]
ignore = ["a",   "b"] # sampler
reference = [
    ["^blocks\\\\.", "layers."],
]

# the first one
[[recipe]] # head
match = "a"  # about a
# inner
candidate = "squeeze(0)" # why
# behind a

# by hand
[[pair]]
reference = "x"
candidate = "y"   # sure

# wins
[[recipe]]
match    = '*'
reference = "flip(0)"

[thresholds]
"a" = {mse=1}
# end"""
QUOTED = 'rearrange("t (g h) -> t (h g)", g=2)'


def written(folder: Path, text: str = MIXED, name: str = "rules.toml") -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def read(path: str) -> str:
    return Path(path).read_bytes().decode()


def test_a_file_is_made(tmp_path: Path) -> None:
    path = str(tmp_path / "new.toml")
    rule, pair = RecipeRule("a-output", "", QUOTED), HandPair("x", 'it\'s "y"')
    rules = save_to_rules(path, [rule], [pair])
    assert (rules.recipes, rules.pairs) == ((rule,), (pair,))
    assert load_rules(path) == rules
    assert read(path) == (
        '[[recipe]]\nmatch = "a-output"\nreference = ""\n'
        "candidate = 'rearrange(\"t (g h) -> t (h g)\", g=2)'\n"
        '\n[[pair]]\nreference = "x"\ncandidate = "it\'s \\"y\\""\n'
    )
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o600 == 0o600
    assert os.listdir(tmp_path) == ["new.toml"]


def test_what_is_added_stands_at_the_end(tmp_path: Path) -> None:
    path = written(tmp_path)
    save_to_rules(path, [RecipeRule("b", None, "flip(1)")], [HandPair("p", "q")])
    assert read(path) == MIXED + (
        '\n\n[[recipe]]\nmatch = "b"\ncandidate = "flip(1)"\n'
        '\n[[pair]]\nreference = "p"\ncandidate = "q"\n'
    )


def test_the_last_recipe_is_replaced_where_it_stands(tmp_path: Path) -> None:
    path = written(tmp_path)
    save_to_rules(path, [RecipeRule("*", "flip(1)", "")])
    assert read(path) == MIXED.replace('"flip(0)"\n', '"flip(1)"\ncandidate = ""\n')


def test_a_recipe_that_a_later_one_would_hide_is_moved_with_its_comments(tmp_path: Path) -> None:
    path = written(tmp_path)
    rule = RecipeRule("a", None, "flip(0)")
    rules = save_to_rules(path, [rule])
    assert rules.recipe_for("a") == rule
    own = MIXED[MIXED.index("# the first") : MIXED.index("# behind a")]
    assert read(path) == MIXED.replace(own, "") + "\n\n" + own.replace('"squeeze(0)"', '"flip(0)"')


def test_a_side_without_a_recipe_loses_its_line_and_keeps_the_comment(tmp_path: Path) -> None:
    path = written(tmp_path, '[[recipe]]\nmatch = "a"\nreference = "flip(0)" # why\n')
    save_to_rules(path, [RecipeRule("a", None, "flip(0)")])
    assert read(path) == '[[recipe]]\nmatch = "a"\n# why\ncandidate = "flip(0)"\n'


def test_pairs_are_written_once_and_taken_apart_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    pair = HandPair("x", "y")
    save_to_rules(path, pairs=[pair, pair])
    assert read(path) == MIXED
    rules = save_to_rules(path, unpaired=[pair])
    assert (rules.pairs, rules.unpaired) == ((), (pair,))
    kept = MIXED.replace('[[pair]]\nreference = "x"\ncandidate = "y"   # sure\n', "# sure\n")
    assert read(path) == kept + '\n\n[[unpaired]]\nreference = "x"\ncandidate = "y"\n'
    assert save_to_rules(path, unpaired=[pair]) == rules
    rules = save_to_rules(path, pairs=[pair])
    assert (rules.pairs, rules.unpaired) == ((pair,), ())
    assert "unpaired" not in read(path)


def test_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = os.stat(path)
    save_to_rules(path, [RecipeRule("*", "flip(0)")], [HandPair("x", "y")])
    after = os.stat(path)
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert read(path) == MIXED


def test_ends_of_lines_stay(tmp_path: Path) -> None:
    path = written(tmp_path, MIXED.replace("\n", "\r\n"))
    save_to_rules(path, [RecipeRule("a", "flip(0)", "flip(1)")], [HandPair("p", "q")])
    text = read(path)
    assert text.count("\n") == text.count("\r\n") and "\r\r" not in text


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = written(tmp_path / "there")
    Path(target).chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(target)
    save_to_rules(str(link), [RecipeRule("b", "flip(0)")])
    assert link.is_symlink() and load_rules(target).recipe_for("b") is not None
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o640
    dangling = tmp_path / "dangling.toml"
    dangling.symlink_to(tmp_path / "there" / "made.toml")
    save_to_rules(str(dangling), [RecipeRule("b", "flip(0)")])
    assert dangling.is_symlink() and (tmp_path / "there" / "made.toml").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[names", "not valid TOML"),
        ("\ufeff[names]\n", "not valid TOML"),
        ('[[recipe]]\nmatch = "a"\ncandidate = "nope(1)"\n', "unknown step"),
        ("[other]\n", "unknown key"),
        ('recipe = [{match = "a", candidate = "flip(0)"}]\n', r"write it as \[\[recipe\]\] tables"),
        ("pair = []\n", r"write it as \[\[pair\]\] tables"),
    ],
)
def test_a_file_that_cannot_be_added_to_is_left_alone(
    tmp_path: Path, text: str, words: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RulesError, match=words) as caught:
        save_to_rules(path, [RecipeRule("b", "flip(0)")], [HandPair("p", "q")])
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)
    assert read(path) == text
    assert os.listdir(tmp_path) == ["rules.toml"]


def test_what_no_rules_file_can_hold_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    for rules, pairs, words in (
        ([RecipeRule("b", "nope(1)")], [], "unknown step"),
        ([RecipeRule("b")], [], "needs a recipe"),
        ([], [HandPair("\udcff", "q")], "not UTF-8"),
    ):
        with pytest.raises(RulesError, match=words):
            save_to_rules(path, rules, pairs)
    assert read(path) == MIXED
    for bad in (str(tmp_path), str(tmp_path / "no" / "such.toml"), "nul\0byte"):
        with pytest.raises(RulesError):
            save_to_rules(bad, [RecipeRule("b", "flip(0)")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_file_stays(tmp_path: Path) -> None:
    path = written(tmp_path)
    Path(path).chmod(0o400)
    with pytest.raises(RulesError, match="read-only"):
        save_to_rules(path, [RecipeRule("b", "flip(0)")])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
RECIPE = st.sampled_from(
    ["", "flip(0)", QUOTED, "[:, 0:4]", 'concat(0, "it\'s")', "cast(bfloat16)"]
)
RULES = st.builds(
    RecipeRule, st.sampled_from(["*", "a", "b", "layers.*.q-output"]) | TEXT, RECIPE, RECIPE
)
PAIRS = st.builds(HandPair, st.sampled_from("xy") | TEXT, st.sampled_from("xy") | TEXT)
TABLES = st.lists(
    st.sampled_from(
        [
            '[[recipe]]\nmatch = "a" # 1\ncandidate = "flip(0)"\n',
            "[[ recipe ]]#2\nmatch = 'b'\nreference = '''\nflip(0)'''\n# 3\n\n",
            '[["recipe"]]\n\n# 4\nmatch = """*"""\n\ncandidate = "[0:1]"\n\n# 5\n',
            '  [[pair]]\n  reference = "x"\n  candidate = "y" # 6\n\n',
            '[[pair]]\nreference = """\n[[pair]]\n# 7\n"""\ncandidate = "[[recipe]]"\n',
            '[[unpaired]]\ncandidate = "x" # 8\nreference = "y"\n#9\n',
            '\n# 10\n',
        ]
    ),
    max_size=6,
).map("".join)  # fmt: skip


@given(
    TABLES, st.lists(RULES, max_size=3), st.lists(PAIRS, max_size=3), st.lists(PAIRS, max_size=2)
)
@settings(max_examples=150, deadline=None)
def test_every_file_has_the_wanted_rules_and_all_comments(
    tmp_path_factory: pytest.TempPathFactory, text: str, recipes: list[RecipeRule],
    pairs: list[HandPair], unpaired: list[HandPair],
) -> None:  # fmt: skip
    path = written(tmp_path_factory.mktemp("rules"), text)
    known = read_rules(text.encode(), path)
    found = save_to_rules(path, recipes, pairs, unpaired)
    assert load_rules(path) == found == known.with_changes(recipes, pairs, unpaired)
    for rule in recipes:
        last = [each for each in recipes if each.match == rule.match][-1]
        assert last in found.recipes
    assert [pair for pair in pairs if pair not in unpaired and pair not in found.pairs] == []
    marks = Counter(mark for mark in ("# 1", "#2", "# 3", "# 4", "# 5", "# 6", "# 8", "#9", "# 10"))
    after = read(path)
    for mark in marks:
        assert after.count(mark) >= text.count(mark)


def test_a_saved_recipe_gives_the_same_result_from_the_file(tmp_path: Path) -> None:
    import numpy as np

    sides = two_sides(tmp_path, 2, 4)
    for layer in range(2):
        file = sides[1] / f"model.layers.{layer}.mlp-output.npy"
        np.save(file, np.load(file).T)
    path = str(tmp_path / "rules.toml")
    save_to_rules(path, [RecipeRule("layers.*.mlp-output", "", "transpose(0, 1)")])
    found = open_comparison(*map(str, sides), rules=load_rules(path))
    found.measure(use_cache=False)
    assert found.failing == [] and found.measured == 2
    assert {row.recipe_candidate for row in found.rows} == {str(parse_recipe("transpose(0, 1)"))}
