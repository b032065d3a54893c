"""From the command to the first layer name on the screen, beside a hello-world Textual app.

    python benchmarks/first_text.py [--records 10000] [--repeat 7]

Three pairs of captures: native manifests, one safetensors file a side, one file a record. The runs
are interleaved with the hello-world app's; bars are 1.5, 1.5 and 2 times its time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from captures import write_files, write_native, write_single_safetensors
from terminal import Terminal

HELLO = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("L0 input_layernorm")
Hello().run()
"""
RUN = "from layertui.cli.main import run; run()"
NEEDLE = b"input_layernorm"
BARS = {"manifest": 1.5, "safetensors": 1.5, "files": 2.0}


def time_to_text(argv: list[str], home: Path) -> float:
    started = time.perf_counter()
    terminal = Terminal.start([sys.executable, *argv], home)
    seen = terminal.read(1.0, until=NEEDLE)
    took = time.perf_counter() - started
    terminal.stop()
    assert NEEDLE in seen, seen[-500:]
    return took


def make(folder: Path, records: int) -> dict[str, list[str]]:
    """The captures; name -> arguments of layertui."""
    writers: dict[str, Callable[[Path, int, float], None]] = {
        "manifest": write_native,
        "safetensors": write_single_safetensors,
        "files": write_files,
    }
    made: dict[str, list[str]] = {}
    for name, write in writers.items():
        suffix = ".safetensors" if name == "safetensors" else ""
        sides = [folder / name / f"{side}{suffix}" for side in ("reference", "candidate")]
        for side, noise in zip(sides, (0.0, 1e-6), strict=True):
            write(side, records, noise)
        made[name] = [str(side) for side in sides]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        pairs = make(folder, options.records)
        times: dict[str, list[float]] = {"hello": [], **{name: [] for name in pairs}}
        for paths in pairs.values():  # compiles the modules of a fresh checkout
            time_to_text(["-c", RUN, *paths], folder / "home")
        for _ in range(options.repeat):
            times["hello"].append(time_to_text(["-c", HELLO], folder / "home"))
            for name, paths in pairs.items():
                times[name].append(time_to_text(["-c", RUN, *paths], folder / "home"))
        hello = median(times["hello"])
        print(
            f"hello world        median {hello * 1e3:5.0f} ms, best {min(times['hello']) * 1e3:.0f}"
        )
        for name, bar in BARS.items():
            took = median(times[name])
            best = min(times[name]) / min(times["hello"])
            print(
                f"{name:12} {options.records} x 2  median {took * 1e3:5.0f} ms = "
                f"{took / hello:.2f} x (best against best {best:.2f} x), bar {bar}"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
