"""The recipes of CONTRIBUTING.md, followed with a toy of each kind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture, read_headers
from layertui.capture.formats import registry as formats
from layertui.capture.formats.format import Format
from layertui.compare import open_comparison
from layertui.compare.laws import evaluate, registry
from layertui.compare.matching.engines import registry as engines
from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.rules.rules_file import load_rules

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(name: str, language: str) -> str:
    (found,) = re.findall(
        rf"<!-- recipe: {name} -->\n```{language}\n(.*?)```", TEXT, re.DOTALL
    )  # fmt: skip
    return found


def module(name: str) -> Any:
    """The code of a recipe as a module."""
    made = types.ModuleType(f"recipe_{name.replace('-', '_')}")
    exec(compile(block(name, "python"), f"CONTRIBUTING.md: {name}", "exec"), made.__dict__)
    return made


# --- commands


def test_the_recipes_of_just_exist() -> None:
    named = set(re.findall(r"^just (\w+)", TEXT, re.M))
    there = set(re.findall(r"^(\w+)[^\n:]*:$", (ROOT / "justfile").read_text(), re.M))
    assert named and named <= there


def test_the_example_of_one_test_is_there() -> None:
    ((path, words),) = set(re.findall(r"(tests/\S+\.py) -k (\w+)", TEXT))
    command = [sys.executable, "-m", "pytest", "-q", "--co", path, "-k", words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_files_that_are_named_exist() -> None:
    for path in re.findall(r"`((?:capture|compare|tui|tests|docs)/[\w/.]+?)(?::\w+)?`", TEXT):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_a_capture_as_test_data(real: Path, tmp_path: Path) -> None:
    for side, source in (("reference", "torch_dump"), ("candidate", "max_dump")):
        shutil.copytree(real / "llama-f32" / source, tmp_path / side)
    script = block("capture", "bash")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "my-model.tar.xz").stat().st_size < 300_000
    shutil.unpack_archive(tmp_path / "my-model.tar.xz", tmp_path / "out")
    sides = [str(tmp_path / "out" / "my-model" / side) for side in ("torch_dump", "max_dump")]
    assert open_comparison(*sides).rows


# --- a format


def test_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plain_file", module("format"))
    plain = Format("plain file", "plain_file", 45, (".plain",))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, plain))
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        values = np.arange(6, dtype="<f4") + (side == "b")
        header = b'{"dtype": "float32", "shape": [2, 3]}\n'
        (tmp_path / side / "layers.0.mlp-output.plain").write_bytes(header + values.tobytes())
        (tmp_path / side / "layers.1.mlp-output.plain").write_bytes(header + b"1234")
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    assert comparison.measure(use_cache=False)
    assert comparison.reference.format == "plain file"
    good, cut = comparison.measurements
    assert good is not None and getattr(good, "max_abs", None) == 1.0
    assert comparison.verdicts[1].level == "unreadable" and cut is not good
    capture = open_capture(tmp_path / "a")
    read_headers(capture)
    assert capture.records[1].error == "truncated: the file ends before the tensor does"


# --- an engine's names


def test_names_of_an_engine_as_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(block("engine-rules", "toml"))
    rules = load_rules(str(tmp_path / "rules.toml"))
    found = canonical_name("decoder_block_3_x.ff_out", "", rules.candidate)
    assert found.module == "layers.3.x.mlp.down_proj"


def test_names_of_an_engine_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert canonical_name("block7/ff_out", "", NameRules()).module != "layers.7.mlp.down_proj"
    monkeypatch.setattr(engines, "ENGINES", (*engines.ENGINES, module("engine").BLOCKS))
    found = canonical_name("block7/ff_out", "", NameRules())
    assert (found.module, found.slot) == ("layers.7.mlp.down_proj", "output")


# --- a law


def test_a_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer that returns its input is found, and the toy's change explains it."""
    torch = pytest.importorskip("torch")
    from layertui.capture import record

    law = module("law").DoublingLaw()
    laws = (*registry.LAWS, law)
    monkeypatch.setattr(registry, "LAWS", laws)
    # A default argument holds the table as it was.
    defaults = (laws, *(evaluate.evaluations.__defaults__ or ())[1:])
    monkeypatch.setattr(evaluate.evaluations, "__defaults__", defaults)

    class Doubling(torch.nn.Module):
        factor = 2.0

        def forward(self, x: Any) -> Any:
            return self.factor * x

    class Model(torch.nn.Module):
        def __init__(self, wrong: int | None) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(Doubling() for _ in range(4))
            if wrong is not None:
                self.layers[wrong].factor = 1.0

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    torch.manual_seed(0)
    x = torch.randn(20, 32)
    for side, wrong in (("a", None), ("b", 2)):
        model = Model(wrong)
        with record(model, tmp_path / side):
            model(x)
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    assert comparison.measure(use_cache=False)
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.2"
    assert comparison.laws is not None
    found = {
        row.module: row for row in comparison.laws.rows.values() if row.kind.startswith("layer")
    }
    causes = {name: [cause.name for cause in row.causes or ()] for name, row in found.items()}
    assert causes["layers.2"][0] == "norm-missing"
    assert not any(causes[name] for name in causes if name != "layers.2")


# --- a view


async def test_a_view(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`:view sizes` brings it to the front."""
    from layertui.tui.app import LayertuiApp
    from layertui.tui.jobs.compare_job import Request
    from layertui.tui.pair import halves, title
    from layertui.tui.pair import screen as pair
    from layertui.tui.pair.views import registry as views

    toy = module("view").SizesView
    listed = (*views.VIEWS, toy)
    for place in (views, pair, halves, title):  # where the list was imported
        monkeypatch.setattr(place, "VIEWS", listed)
    sides = [str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump")]
    app = LayertuiApp(Request(*sides))
    async with app.run_test(size=(110, 34)) as pilot:
        await until(pilot, lambda: app.list_screen.comparison is not None and not app.working)
        await pilot.press("f", "enter")
        await until(pilot, lambda: isinstance(app.screen, pair.PairScreen))
        await pilot.press("colon", *"view", "space", *"sizes", "enter")
        screen = app.screen
        assert isinstance(screen, pair.PairScreen)
        await until(pilot, lambda: any("shape (" in line for line in screen.view.texts))
        assert type(screen.view) is toy


async def until(pilot: Any, done: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        await pilot.pause(0.02)
