"""What is loaded before the first paint decides how soon it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HEAVY = (
    "numpy", "torch", "transformers", "einops", "pydantic", "click", "matplotlib", "fsspec", "dask",
    "distributed", "layertui.capture.remote",
)  # fmt: skip
# Only a comparison, or a job, needs these; their classes alone take some 25 ms to make.
_LATER = (
    "layertui.compare.model", "layertui.compare.weights.models", "statistics",
    "layertui.compare.reports.form", "layertui.compare.judging.options", "layertui.tui.jobs.news",
    "layertui.tui.jobs.compare_job", "layertui.tui.list.comparing", "tomllib",
    "layertui.capture.token_places", "layertui.capture.ranks.rank_records",
    "layertui.tui.question", "layertui.tui.completion.candidates",
    "layertui.tui.list.motions.typed_keys", "layertui.tui.list.finding.spot",
)  # fmt: skip

# `begin` runs after the first refresh of the screen and starts the first work.
_PROBE = """
import asyncio, sys
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.request import Request
from textual.css.stylesheet import Stylesheet
reparse, reparsed = Stylesheet.reparse, []
Stylesheet.reparse = lambda self: [reparsed.append(0), reparse(self)]
class Probe(LayertuiApp):
    def begin(self):
        painted = [w.region.area for w in self.screen.query("Lines")]
        print("painted", sum(painted) > 0, file=sys.__stdout__)
        print("modules", *sorted(sys.modules), file=sys.__stdout__)
        print("style sheets read again", len(reparsed), file=sys.__stdout__)
        self.exit()
async def main():
    async with Probe(Request(sys.argv[1], sys.argv[2])).run_test(size=(120, 30)) as pilot:
        await pilot.pause(0.5)
asyncio.run(main())
"""


def _loaded(code: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")


def test_nothing_heavy_before_the_first_paint(small_pair: tuple[Path, Path]) -> None:
    lines = _loaded(_PROBE, *map(str, small_pair))
    assert lines[0] == "painted True"
    modules = set(lines[1].split())
    assert "textual.app" in modules
    assert modules.isdisjoint(_HEAVY)
    assert modules.isdisjoint(_LATER)
    assert lines[2] == "style sheets read again 0"


def test_the_package_itself_does_not_load_textual() -> None:
    code = "import sys, layertui.tui; print(*[m for m in sys.modules if m in ('textual', 'rich')])"
    assert _loaded(code)[0] == ""


def test_listing_and_aligning_need_no_numpy(small_pair: tuple[Path, Path]) -> None:
    code = (
        "import sys\n"
        "from layertui.tui.list.row_model import ComparedRows\n"
        "from layertui.compare.comparison import open_comparison\n"
        "rows = ComparedRows(open_comparison(sys.argv[1], sys.argv[2]))\n"
        "print(len(rows), rows.line(3).left.name, 'numpy' in sys.modules)\n"
    )
    assert _loaded(code, *map(str, small_pair))[0] == "40 L0 self_attn.v_proj False"
