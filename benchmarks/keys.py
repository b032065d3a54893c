"""What keys cost on a terminal of 200x50: bytes on the wire and milliseconds to the last one.

    python benchmarks/keys.py [--records 10000]

A pair of native captures with 10,000 records a side, measured before the first key, and not folded
(`benchmarks/folding.py` and `benchmarks/searching.py` have what folding and searching 100,000 rows
take without a terminal). The figures of a cursor step include the detail pane, which follows 60 ms
after the last step. `ssh -C` is an estimate: zlib at level 6 over what a key wrote. Beside it a
Textual app that changes one word a key, as the floor that the framework sets. `--large` folds and
searches a list of that many rows, each key until its last byte.
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
    "10j": b"10j",
    "H and L": b"HL",
    "zt and zb": b"ztzb",
    "there, back": b"G\x0f",
}
# Keys of a screen, the one that opens it, and what leaves it.
SCREENS = {
    "map": (b"M", {"cell below": b"j", "next layer": b"l", "quantity": b"v"}),
    "trend": (b"T", {"next row": b"j", "zoom in, out": b"+-", "next divergence": b"]"}),
}
BUDGET = 0.1  # seconds a key, also with 100,000 rows


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


def overviews(terminal: Terminal, repeat: int) -> None:
    """The map and the trend: what opening them costs, and each of their keys."""
    for screen, (opens, keys) in SCREENS.items():
        opening = []
        for _ in range(3):
            opening.append(terminal.key(opens, quiet=1.0))
            terminal.key(b"q", quiet=0.5)
        size, took = len(opening[-1][0]), median(took for _, took in opening)
        show(screen, (size, took, len(zlib.compress(opening[-1][0], 6))))
        terminal.key(opens, quiet=1.0)
        for name, pressed in keys.items():
            show(f"  {name}", costs(terminal, pressed, repeat))
        terminal.key(b"q", quiet=0.5)


def large(command: list[str], home: Path, repeat: int) -> None:
    """Folding and searching a long list, against the budget of a key."""
    terminal = Terminal.start(command, home)
    terminal.read(1.0, until=b" pairs ", limit=300.0)  # headers take their time, in silence
    while terminal.read(8.0, limit=600.0):
        pass
    terminal.key(b"zM", quiet=1.0)
    terminal.key(b"/zzz", quiet=3.0)  # names are gathered when something is first searched
    terminal.key(b"\x1b", quiet=0.5)
    for name, pressed in (
        ("fold, open all", b"zMzR"), ("unfold, fold", b"+-"),
    ):  # fmt: skip
        size, took, deflated = costs(terminal, pressed, repeat)
        show(name, (size, took, deflated))
        print(f"{'':14} {took / BUDGET:.2f} of the budget")
    for text in (b"q_pro", b"layers.9", b"nowhere"):
        terminal.key(b"/", quiet=0.5)
        seen = [terminal.key(bytes([letter])) for letter in text]
        terminal.key(b"\x1b", quiet=0.5)
        took = max(took for _, took in seen)
        size = max(len(data) for data, _ in seen)
        print(f"/{text.decode():13} {size:7} bytes {took * 1e3:7.1f} ms at most a letter, "
              f"{took / BUDGET:.2f} of the budget")  # fmt: skip
    terminal.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="What keys cost on a terminal.")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--large", type=int, metavar="RECORDS", help="folding and searching alone")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        if options.large:
            for side, noise in (("reference", 0.0), ("candidate", 1e-6)):
                write_native(folder / side, options.large, noise)
            paths = [str(folder / side) for side in ("reference", "candidate")]
            large([sys.executable, "-c", RUN, *paths], folder / "home", options.repeat)
            return
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
        overviews(terminal, options.repeat)
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
