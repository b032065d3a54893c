"""The README's tables and examples are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layertui.compare.policy import FIXED, LIMITS
from layertui.compare.recipes import parse_recipe
from layertui.compare.rules import load_rules
from layertui.compare.vocabulary import LEVELS, METRICS
from layertui.tui import keys_markdown
from layertui.tui.theme import LOOKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_keys_are_those_of_the_table() -> None:
    match = re.search(r"<!-- keys -->\n(.*?)\n<!-- keys end -->", README, re.DOTALL)
    assert match and match[1] == keys_markdown().strip()


def test_rules_example_loads(tmp_path: Path) -> None:
    (example,) = blocks("toml")
    (tmp_path / "rules.toml").write_text(example)
    rules = load_rules(str(tmp_path / "rules.toml"))
    assert rules.reference.renames[0][0].pattern == r"^transformer\.h\."
    assert rules.recipes and rules.pairs and rules.thresholds and rules.ignore


def test_recipe_steps_that_are_named_exist() -> None:
    for text in ("shift(1,0)", 'rearrange("t (h d) -> h t d", h=4)', 'concat(-1,"x")', "[:, 0:64]"):
        assert parse_recipe(text).steps
    listed = README[README.index("Steps of a recipe") :].split("\n\n")[0]
    for name in re.findall(r"`([a-z_]+)\(", listed):
        with pytest.raises(Exception, match=rf"{name}|arguments|step"):
            parse_recipe(f"{name}('no', 'such', 'arguments')")


def test_limits_are_those_of_the_policy() -> None:
    rows = re.findall(r"^\| (\w+) \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.e-]+) \|$", README, re.M)
    shown = {name: (float(ok), float(worse), float(peak)) for name, ok, worse, peak in rows}
    for name in ("float64", "float32", "float16", "bfloat16"):
        limits = LIMITS[name]
        assert shown[name] == (limits.ok, limits.diverged, limits.peak)
    for metric, limit in FIXED.items():
        stated = re.search(rf"\b{metric} [<>]= ([\d.e-]*\d)", README)
        assert stated and float(stated[1]) == limit


def test_marks_and_metrics() -> None:
    assert "`--metric " + "\\|".join(METRICS) + "`" in README
    table = README[README.index("| mark | ASCII") :].split("\n\n")[0]
    for level in set(LEVELS) - {"pending", "noise"}:  # no policy gives `noise` yet
        assert f"| `{LOOKS[level].glyph}` | `{LOOKS[level].ascii}` |" in table, level


def test_pictures_exist() -> None:
    for path in re.findall(r"\]\((screenshots/[^)]+)\)", README):
        assert (ROOT / path).is_file(), path


def test_python_example_runs(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks("python")
    monkeypatch.chdir(real / "olmo2-f32")
    exec(compile(example, "README.md", "exec"), {})
