"""What keys cost on a terminal of 200x50: bytes on the wire and milliseconds to the last one.

    python benchmarks/keys.py [--records 10000]

A pair of native captures with 10,000 records a side, measured before the first key, and not folded
(`benchmarks/folding.py` has what folding 100,000 rows takes without a terminal). The figures of
a cursor step include the detail pane, which follows 60 ms after the last step. `ssh -C` is an
estimate: zlib at level 6 over what a key wrote. Beside it a Textual app that changes one word a
key, as the floor that the framework sets.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path
from statistics import median

from captures import write_native
from terminal import Terminal

FLOOR = """
from textual.app import App
from textual.widgets import Static
class Floor(App):
    def compose(self):
        self.at = 0
        yield Static("x", id="x")
    def on_key(self):
        self.at += 1
        self.query_one("#x").update(str(self.at))
Floor().run()
"""
RUN = "from layertui.cli.main import run; run()"
KEYS = {
    "down": b"\x1b[B",
    "page down": b"\x1b[6~",
    "next layer": b"}",
    "end and home": b"Gg",
    "mode": b"o",
    "fold all": b"zM",
    "unfold all": b"zR",
    "fold, unfold": b"-+",
}


def costs(terminal: Terminal, keys: bytes, repeat: int) -> tuple[int, float, int]:
    """Median bytes, seconds and deflated bytes of a key."""
    seen = [terminal.key(keys) for _ in range(repeat)]
    deflated = [len(zlib.compress(data, 6)) for data, _ in seen]
    return (
        int(median(len(data) for data, _ in seen)),
        median(took for _, took in seen),
        int(median(deflated)),
    )


def show(name: str, cost: tuple[int, float, int]) -> None:
    size, took, deflated = cost
    print(f"{name:14} {size:7} bytes {took * 1e3:7.1f} ms   ssh -C about {deflated} bytes")


def held(terminal: Terminal, presses: int = 90, rate: int = 30) -> int:
    """Bytes a key while Down is held at `rate` presses a second, the list scrolling."""
    total = 0
    for _ in range(presses):
        data, _ = terminal.key(KEYS["down"], quiet=1 / rate)
        total += len(data)
    return total // presses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        floor = Terminal.start([sys.executable, "-c", FLOOR], folder / "home")
        floor.read(1.0)
        show("floor", costs(floor, b"x", options.repeat))
        floor.stop()
        for side, noise in (("reference", 0.0), ("candidate", 1e-6)):
            write_native(folder / side, options.records, noise)
        paths = [str(folder / side) for side in ("reference", "candidate")]
        command = [sys.executable, "-c", RUN, *paths, "--fold", "none"]
        terminal = Terminal.start(command, folder / "home")
        started = time.perf_counter()
        while terminal.read(2.0):  # until nothing is drawn any more
            pass
        print(f"{options.records} pairs measured after {time.perf_counter() - started - 2:.1f} s")
        for name, keys in KEYS.items():
            show(name, costs(terminal, keys, options.repeat))
        print(f"down held      {held(terminal):7} bytes a key")
        terminal.read(1.0)
        print(f"idle           {len(terminal.read(2.0, limit=2.0)):7} bytes in 2 s")
        terminal.stop()
        terminal = Terminal.start(command, folder / "home", SSH_CONNECTION="1 2 3 4")
        while terminal.read(2.0):
            pass
        print(f"... over ssh   {held(terminal):7} bytes a key (scrolls 8 lines at a time)")
        terminal.stop()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
