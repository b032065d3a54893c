"""A view that is put into the one list of views arrives everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# In a process of its own: the pair screen takes its keys from the list when it is imported.
_TOY = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[3])
from layertui.tui.pair.views import registry
from layertui.tui.pair.views.view import View, ViewKey

class ToyView(View):
    NAME = "toy"
    title = "Toy"
    about = "a picture of a toy"
    KEYS = (ViewKey("spin", "T", "spin it", "turn the toy", 6),)
    COMMANDS = ("toy",)

    @property
    def actions(self):
        return {"spin": lambda: "it spins"}

    def lines(self):
        return [[("a toy", None)]]

registry.VIEWS = (*registry.VIEWS, ToyView)
from layertui.tui import keys_markdown
from support.screens.tui_captures import make_app, measured, until
from layertui.tui.widgets.footer import Footer
from layertui.tui.widgets.lines import Lines, ScrolledLines

async def main():
    found = {"table": keys_markdown()}
    app = make_app(*sys.argv[1:3])
    async with app.run_test(size=(150, 50)) as pilot:
        await measured(pilot, app)
        await pilot.press("enter")
        await until(pilot, lambda: getattr(app.screen, "scene", None))
        await pilot.press("T")
        await pilot.pause(0.1)
        found["refused"] = app.screen.prompt.message
        await pilot.press("9")
        await pilot.pause(0.1)
        found["lines"] = app.screen.view.texts
        found["tabs"] = app.screen.query_one("#tabs", Lines).texts[0]
        found["footer"] = app.screen.query_one(Footer).texts[0]
        await pilot.press("T")
        await pilot.pause(0.1)
        found["said"] = app.screen.prompt.message
        await pilot.press("shift+tab", "colon", *"view", "space", *"toy", "enter")
        await pilot.pause(0.1)
        found["named"] = app.screen.view.NAME
        await pilot.press("question_mark")
        await pilot.pause(0.1)
        found["help"] = "\\n".join(app.screen.query_one(ScrolledLines).texts)
    print(json.dumps(found))

asyncio.run(main())
"""


def test_a_toy_view_arrives_everywhere(small_pair: tuple[Path, Path]) -> None:
    folder = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _TOY, *map(str, small_pair), folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert "| `9` | a picture of a toy |" in found["table"]
    assert "| `T` | toy: turn the toy |" in found["table"]
    assert found["refused"] == "T belongs to toy (9)"
    assert found["lines"] == ["a toy"]
    assert "[9 Toy]" in found["tabs"]
    assert "T spin it" in found["footer"]
    assert found["said"] == "it spins"
    assert found["named"] == "toy"
    assert "a picture of a toy" in found["help"] and "toy: turn the toy" in found["help"]
