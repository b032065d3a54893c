"""Small captures, and apps over them, for the tests of the screens."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.display import REST
from layertui.tui.list.folds.list_lines import Start
from layertui.tui.list.screen import ListScreen
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.prompt import Entry

PARTS = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "self_attn", "post_attention_layernorm", "mlp.gate_proj",
    "mlp.down_proj", "mlp",
)  # fmt: skip


def write_safetensors(path: Path, tensors: dict[str, list[float]]) -> Path:
    """A safetensors file of one-dimensional float32 tensors, made without any library."""
    header: dict[str, object] = {}
    data = bytearray()
    for name, values in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def layer_names(count: int) -> list[str]:
    return [f"model.layers.{i // len(PARTS)}.{PARTS[i % len(PARTS)]}-output" for i in range(count)]


def write_pair(folder: Path, count: int, wrong: tuple[int, ...] = ()) -> tuple[Path, Path]:
    """Two captures of `count` outputs; those numbered in `wrong` diverge."""
    names = layer_names(count)
    good = {name: [1.0, 2.0, 3.0 + i] for i, name in enumerate(names)}
    bad = {
        name: [v * (1.5 if i in wrong else 1.0) for v in good[name]] for i, name in enumerate(names)
    }
    return (
        write_safetensors(folder / "ref" / "model.safetensors", good).parent,
        write_safetensors(folder / "cand" / "model.safetensors", bad).parent,
    )


def make_app(
    reference: Path | str,
    candidate: Path | str,
    terminal: Terminal | None = None,
    fold: Start = "none",
) -> LayertuiApp:
    """The app as `layertui REFERENCE CANDIDATE --fold none` opens it, or with other folds."""
    return LayertuiApp(Request(str(reference), str(candidate)), terminal=terminal, fold=fold)


async def measured(pilot: Pilot[None], app: LayertuiApp) -> None:
    """Until everything is measured and shown."""
    await until(pilot, lambda: app.list_screen.comparison is not None and not app.working)
    await settled(pilot)


async def measured_from_top(pilot: Pilot[None], app: LayertuiApp) -> None:
    """The same, and from there to the first row: the list opens on its answer."""
    await measured(pilot, app)
    await pilot.press("home")
    await settled(pilot)


async def settled(pilot: Pilot[None]) -> None:
    """Until the pane beside the list has followed the cursor."""
    if isinstance(pilot.app.screen, ListScreen):
        await pilot.pause(REST + 0.03)
    await pilot.pause()


async def until(pilot: Pilot[None], done: Callable[[], object], limit: float = 120.0) -> None:
    """Until `done()`, looked at whenever the keys so far are over."""
    end = time.monotonic() + limit
    await pilot.pause()
    while not done():
        assert time.monotonic() < end, f"not in {limit:g} seconds"
        await pilot.pause(0.005)


def olmo(real: Path) -> LayertuiApp:
    return make_app(real / "olmo2-f32" / "torch_dump", real / "olmo2-f32" / "max_dump")


async def type_line(pilot: Pilot[None], key: str, text: str) -> None:
    await pilot.press(key)
    entry = pilot.app.screen.query_one(Entry)
    assert entry.has_focus
    entry.value = text
    await pilot.press("enter")
    await pilot.pause()
