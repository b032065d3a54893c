"""The tables and examples of README and docs/ are those of the program."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from layertui.capture import open_capture
from layertui.capture.cpp import include_directory
from layertui.cli.commands.show import show
from layertui.cli.group import COMMANDS
from layertui.cli.main import status_of
from layertui.cli.options import judging_options, model_options
from layertui.compare.checks.finding import SEVERITIES
from layertui.compare.comparison import open_comparison
from layertui.compare.judging.policy import FIXED
from layertui.compare.limits import LIMITS
from layertui.compare.measuring.metrics import METRICS
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.reports import FORMATS, SEVERAL
from layertui.compare.rules.learned_limits import limited
from layertui.compare.rules.rules_file import load_rules
from layertui.compare.vocabulary import LEVELS
from layertui.tui import keys_markdown
from layertui.tui.theme import LOOKS
from support.pages.reference_tables import page

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
# Those of CONTRIBUTING.md and of clusters have tests of their own.
ELSEWHERE = ("CONTRIBUTING.md", "docs/manual/remote.md")
ALL = "\n".join(text for name, text in TEXTS.items() if name not in ELSEWHERE)
VERDICTS, SCREEN = TEXTS["docs/manual/verdicts.md"], TEXTS["docs/manual/screen.md"]
COMPARE, RERUN = TEXTS["docs/manual/compare.md"], TEXTS["docs/manual/rerun.md"]
CHECK, REPORTS = TEXTS["docs/manual/check.md"], TEXTS["docs/manual/reports.md"]
RULES = TEXTS["docs/reference/rules-file.md"]
MOST_README = 8_000  # bytes: what it is, a picture, two commands, a tour, and links


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", ALL, re.DOTALL)


def table_after(page: str, words: str) -> str:
    """The rest of `page` from `words` up to the next empty line."""
    return page[page.index(words) :].split("\n\n")[0]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= MOST_README


def test_keys_are_those_of_the_table() -> None:
    match = re.search(r"<!-- keys -->\n(.*?)\n<!-- keys end -->", SCREEN, re.DOTALL)
    assert match and match[1] == keys_markdown().strip()


def test_rules_example_loads(tmp_path: Path) -> None:
    (example,) = blocks("toml")
    (tmp_path / "rules.toml").write_text(example)
    rules = load_rules(str(tmp_path / "rules.toml"))
    assert rules.reference.renames[0][0].pattern == r"^transformer\.h\."
    assert rules.recipes and rules.pairs and rules.thresholds and rules.ignore


def test_rules_example_does_no_harm(real: Path, tmp_path: Path) -> None:
    """Its recipes fit the real fused pair; its made-up pair is named as matching nothing."""
    (example,) = blocks("toml")
    (tmp_path / "rules.toml").write_text(example)
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*sides, rules=load_rules(str(tmp_path / "rules.toml")))
    comparison.measure(use_cache=False)
    assert comparison.failing == []
    reshaped = [row for row in comparison.rows if "reshape(10, 4, 16)" in row.recipe_candidate]
    assert len(reshaped) == 2
    assert any("no such two records" in note for note in comparison.notes("reference"))


def test_recipe_steps_that_are_named_exist() -> None:
    for text in ("shift(1,0)", 'rearrange("t (h d) -> h t d", h=4)', 'concat(-1,"x")', "[:, 0:64]"):
        assert parse_recipe(text).steps
    listed = table_after(RULES, "Steps of a recipe")
    for name in re.findall(r"`([a-z_]+)\(", listed):
        with pytest.raises(Exception, match=rf"{name}|arguments|step"):
            parse_recipe(f"{name}('no', 'such', 'arguments')")


def test_limits_are_those_of_the_policy() -> None:
    rows = re.findall(r"^\| (\w+) \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.e-]+) \|$", VERDICTS, re.M)
    shown = {name: (float(ok), float(worse), float(peak)) for name, ok, worse, peak in rows}
    for name in ("float64", "float32", "float16", "bfloat16"):
        limits = LIMITS[name]
        assert shown[name] == (limits.ok, limits.diverged, limits.peak)
    for metric, limit in FIXED.items():
        stated = re.search(rf"\b{metric} [<>]= ([\d.e-]*\d)", COMPARE)
        assert stated and float(stated[1]) == limit


def test_marks_and_metrics() -> None:
    assert "`--metric " + "\\|".join(METRICS) + "`" in COMPARE
    table = table_after(SCREEN, "| mark | ASCII")
    for level in set(LEVELS) - {"pending", "noise"}:  # no policy gives `noise` yet
        assert f"| `{LOOKS[level].glyph}` | `{LOOKS[level].ascii}` |" in table, level


def test_commands_and_forms() -> None:
    for command in COMMANDS:
        assert f"layertui {command}" in TEXTS["README.md"], command
    table = table_after(REPORTS, "| form | for |")
    forms = re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M)))
    assert tuple(forms) == FORMATS
    assert set(FORMATS) - set(SEVERAL) == set(forms[-2:])  # "except for the last two"


def test_tables_of_the_registries_are_current() -> None:
    """`python tests/support/pages/reference_tables.py` writes them anew."""
    assert TEXTS["docs/reference/registries.md"] == page()


def test_what_thresholds_and_checks_say() -> None:
    learned = VERDICTS[VERDICTS.index("## Limits learned from good runs") :]
    for metric in limited():
        assert f"`{metric}`" in learned[:2000]
    table = table_after(CHECK, "| severity | what")
    assert set(re.findall(r"^\| (error|warning|note) \|", table, re.M)) == set(SEVERITIES)


def test_example_of_a_test_runs(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes on runs that agree and fails on others."""
    limits = {"schema": "layertui.thresholds/1", "layers": {"norm-output": {"relative_l2": 1e-4}}}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thresholds.json").write_text(json.dumps(limits))
    for pair, agrees in (("llama-f32", True), ("olmo2-f32", False)):
        for side in ("torch_dump", "max_dump"):
            (tmp_path / side).unlink(missing_ok=True)
            (tmp_path / side).symlink_to(real / pair / side)
        names: dict[str, Any] = {}
        exec(compile(example_with("assert_captures_match"), "docs", "exec"), names)
        if agrees:
            names["test_port"]()
        else:
            with pytest.raises(AssertionError, match=r"first divergence: layers\.0"):
                names["test_port"]()


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    """Files exist, and so do the headings that a link names."""
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
            assert anchor in {anchor_of(heading) for heading in headings}, target


def anchor_of(heading: str) -> str:
    """As GitHub makes one of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_linked() -> None:
    for name in TEXTS:
        if name.startswith("docs/"):
            assert f"]({name})" in TEXTS["README.md"], name


def example_with(word: str) -> str:
    (found,) = [block for block in blocks("python") if word in block]
    return found


def test_example_of_comparing_runs(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real / "olmo2-f32")
    exec(compile(example_with("open_comparison"), "docs", "exec"), {})


def test_example_of_recording_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(example_with("record"), "docs", "exec"), {})
    names = [record.name for record in open_capture("torch_dump").records]
    assert names == ["up-input_0", "up-output", "hidden-value", "down-input_0", "down-output",
                     "-input_0", "-output"]  # fmt: skip


def test_example_in_cpp_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    include, body = blocks("cpp")[0].split("\n", 1)
    source = f"{include}\nint main() {{ float data[640] = {{}};\n{body}\n}}\n"
    (tmp_path / "x.cpp").write_text(source)
    command = [compiler, "-std=c++17", "-I", str(include_directory()), "x.cpp", "-o", "x"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./x"], cwd=tmp_path, check=True)
    (record,) = open_capture(tmp_path / "cpp_dump").records
    assert (record.name, record.shape) == ("model.layers.0.mlp-output", (1, 10, 64))


def test_example_of_checkpoints_is_what_it_prints(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    match = re.search(
        r"<!-- weights-example -->\n```console\n\$ layertui (.*)\n\.\.\.\n(.*?)\.\.\.\n```",
        CHECK,
        re.S,
    )
    assert match
    for side in ("torch_dump", "max_dump"):
        (tmp_path / side).symlink_to(real / "olmo2-f32" / side)
    (tmp_path / "checkpoint").symlink_to(real / "checkpoints" / "olmo2-f32")
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "other")
    tensors = load_file(tmp_path / "other" / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"] *= 1.2
    save_file(tensors, tmp_path / "other" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert status_of(shlex.split(match[1])) == 1
    assert match[2] in capsys.readouterr().out


def test_example_of_a_reproduction_is_what_it_prints(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    match = re.search(r"<!-- repro-example -->\n```console\n\$ layertui (.*)\n", RERUN)
    assert match
    wanted = RERUN[match.end() : RERUN.index("```", match.end())]
    for side in ("torch_dump", "max_dump"):
        (tmp_path / side).symlink_to(real / "olmo2-f32" / side)
    (tmp_path / "checkpoint").symlink_to(real / "checkpoints" / "olmo2-f32")
    monkeypatch.chdir(tmp_path)
    assert status_of(shlex.split(match[1])) == 0
    assert capsys.readouterr().out == wanted


def test_example_of_parameters_runs(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint").symlink_to(real / "checkpoints" / "olmo2-f32")
    monkeypatch.chdir(tmp_path)
    exec(compile(example_with("SideParameters"), "docs", "exec"), {})
    assert capsys.readouterr().out == "0 (64, 64)\n64 (32, 64)\n96 (32, 64)\n"


def test_example_of_show_is_what_it_prints(
    real: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    match = re.search(r"<!-- show-example -->\n```console\n\$ layertui (.*)\n\.\.\.\n", COMPARE)
    assert match
    wanted = COMPARE[match.end() : COMPARE.index("```", match.end())]
    monkeypatch.chdir(real / "llama-f32")
    assert status_of(shlex.split(match[1])) == 0
    assert capsys.readouterr().out.endswith("\n" + wanted)


def test_options_of_show_are_those_of_the_command() -> None:
    """All but those of every command that compares, which have a table of their own."""
    section = COMPARE[COMPARE.index("## One pair as text") : COMPARE.index("## Directories")]
    listed = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section[section.index("| option") :]))

    @judging_options
    @model_options
    def common() -> None: ...

    shared = {option.name for option in common.__click_params__}  # type: ignore[attr-defined]
    own = [p for p in show.params if isinstance(p, click.Option) and p.name not in shared]
    assert len(own) >= 13
    for option in own:
        assert listed & set(option.opts), option.opts
    assert listed <= {name for option in own for name in option.opts}


@pytest.mark.torch
def test_example_of_running_the_demo_s_layers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = TEXTS["docs/manual/demo.md"]
    (write,) = re.findall(r"^layertui (demo .*-o captures)", page, re.M)
    match = re.search(r"<!-- demo-rerun -->\n```bash\nlayertui (.*)\n```", page)
    assert match
    monkeypatch.chdir(tmp_path)
    assert status_of(shlex.split(write)) == 0
    assert status_of(shlex.split(match[1])) == 1
    assert "wrong on its own: layers.3.mlp.down_proj" in capsys.readouterr().out


def test_readme_s_table_of_extras_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = table_after(TEXTS["README.md"], "| `pip install -e`")
    named = set(re.findall(r"^\| `'\.\[(\w+)\]'`", table, re.M))
    for_us = {"test", "test-remote", "test-torch", "dev"}
    assert named == set(project["optional-dependencies"]) - for_us
