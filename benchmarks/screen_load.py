"""The screen while it works: how long its event loop is not heard, and when it has answered.

    python benchmarks/screen_load.py [--records 10000] [--megabytes 0]

The real program runs in a pseudo-terminal on a pair of native captures with so many records a side,
with an empty cache. Every few milliseconds a timer of its event loop says that it is alive; the
longest times in which none does are printed, with what the loop was doing in the middle of each
(seen by a thread). Meanwhile keys are pressed: for each the time to the first byte it draws. Then
list and report are left alone until nothing is drawn any more. With `--megabytes` the pair is made
of records that take long to measure, so that all cores are busy while keys are pressed.

Bars: no gap above 100 ms; a key answered within 50 ms (median) while all cores measure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from captures import write_native, write_safetensors
from terminal import Terminal

MOST_GAP = 0.1
MOST_KEY = 0.05
QUIET = 3.0  # seconds without a byte after which all is done

# In the program: beats of the loop, and the stack of its thread where a beat is late.
CHILD = r"""
import asyncio, json, os, sys, threading, time, traceback
from asyncio.base_events import BaseEventLoop
BEAT, LATE = 0.005, 0.04
GAPS = open(os.environ["GAPS"], "w")
beats = {"last": None, "stack": None, "cpu": 0.0}
main = threading.get_ident()

def beat(loop):
    now = time.perf_counter()
    cpu = time.thread_time()
    last = beats["last"]
    if last is not None and now - last - BEAT > LATE:
        gap = now - last - BEAT
        found = time.time(), gap, cpu - beats["cpu"], beats["stack"] or ""
        print(json.dumps(found), file=GAPS, flush=True)
    beats["last"], beats["stack"], beats["cpu"] = now, None, cpu
    loop.call_later(BEAT, beat, loop)

IDLE = ("(threading.py", "_hung_up", "run_input_thread")

def look():
    while True:
        time.sleep(LATE / 2)
        last = beats["last"]
        if last is None or time.perf_counter() - last < LATE or beats["stack"]:
            continue
        frames = sys._current_frames()
        said = [places(frames.pop(main), int(os.environ.get('DEPTH', '4')))]
        frames.pop(threading.get_ident())
        said += [f"beside it {places(frame, 2)}" for frame in frames.values()]
        beats["stack"] = "; ".join(one for one in said if not any(w in one for w in IDLE))

def places(frame, depth):
    found = [f for f in traceback.extract_stack(frame) if "<frozen" not in f.filename]
    return " > ".join(f"{f.name} ({os.path.basename(f.filename)}:{f.lineno})"
                      for f in found[-depth:])

def forever(self, run=BaseEventLoop.run_forever):
    self.call_soon(beat, self)
    threading.Thread(target=look, daemon=True).start()
    run(self)

BaseEventLoop.run_forever = forever
from layertui.cli.main import run
run()
"""


def write_large(folder: Path, megabytes: int, noise: float) -> None:
    """Records of 4 MB in float32: a native capture that takes time to measure."""
    folder.mkdir(parents=True)
    shape = (1, 256, 4096)
    count = max(1, megabytes // 4)
    random = np.random.default_rng(0)
    block = random.standard_normal(shape, dtype=np.float32)
    block *= 1 + noise * random.standard_normal(shape, dtype=np.float32)
    lines = [json.dumps({"layertui": 1, "framework": "torch", "framework_version": "2.13.0"})]
    for seq in range(count):
        file = f"data-{seq:05}.safetensors"
        if seq:
            os.link(folder / "data-00000.safetensors", folder / file)
        else:
            write_safetensors(folder / file, ["0"], block[None])
        lines.append(
            json.dumps(
                {"seq": seq, "module": f"model.layers.{seq // 8}.part{seq % 8}", "slot": "output",
                 "call": 1, "step": 0, "class": "Linear", "call_id": seq, "shape": list(shape),
                 "dtype": "float32", "device": "cpu", "file": file, "key": "0", "same_as": None,
                 "op": None, "source": None}
            )
        )  # fmt: skip
    lines.append(json.dumps({"end": True, "records": count, "bytes": 0, "never_fired": []}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def _resting(pid: int) -> bool:
    """Whether a process takes no time: reading and aligning draw nothing for seconds."""

    def used() -> int:
        return sum(
            map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        )

    before = used()
    time.sleep(1.0)
    return used() - before < os.sysconf("SC_CLK_TCK") // 10


def drive(folder: Path, paths: list[str], keys: int) -> tuple[list[list], list[float], float]:
    """Gaps, seconds to each key's first byte, and seconds until nothing is drawn any more."""
    gaps = folder / "gaps.json"
    terminal = Terminal.start(
        [sys.executable, "-c", CHILD, *paths], folder / "home", GAPS=str(gaps)
    )  # fmt: skip
    started = last = time.perf_counter()
    terminal.read(1.0, until=b"L0")
    took: list[float] = []
    for number in range(keys):
        key = (b"\x1b[B", b"\x1b[A", b"\x1b[6~")[number % 3]
        pressed = time.perf_counter()
        os.write(terminal.fd, key)
        if terminal.read(1.0, until=b"", limit=2.0):
            took.append(time.perf_counter() - pressed)
        terminal.read(0.06, limit=0.15)
        last = time.perf_counter()
    while True:
        if terminal.read(QUIET, limit=QUIET + 1):
            last = time.perf_counter()
        elif _resting(terminal.pid):
            break
    done = last - started
    end = time.time()  # what quitting takes is no gap: the driver waits for its input thread
    os.write(terminal.fd, b"Q")
    while terminal.read(2.0):
        pass
    terminal.stop()
    found = [gap for gap in map(json.loads, gaps.read_text().splitlines()) if gap[0] < end]
    return found, took, done


def main() -> None:
    parser = argparse.ArgumentParser(description="The screen while it works.")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=0)
    parser.add_argument("--keys", type=int, default=40)
    parser.add_argument("--work", type=Path, help="where the captures are made")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.work))
    try:
        for side, noise in (("reference", 0.0), ("candidate", 1e-6)):
            if options.megabytes:
                write_large(folder / side, options.megabytes, noise)
            else:
                write_native(folder / side, options.records, noise)
        paths = [str(folder / side) for side in ("reference", "candidate")]
        gaps, keys, done = drive(folder, paths, options.keys)
    finally:
        shutil.rmtree(folder)
    worst = sorted(gaps, key=lambda gap: -gap[1])
    print(f"nothing more is drawn after {done:.1f} s")
    print(f"a key's first byte: median {median(keys) * 1e3:.0f} ms, worst {max(keys) * 1e3:.0f} ms")
    print(f"gaps above 40 ms: {len(gaps)}; the longest:")
    for _, gap, own, doing in worst[:12]:
        print(f"  {gap * 1e3:6.0f} ms, {own * 1e3:.0f} ms of it the loop's own work  {doing}")
    met = all(gap[1] <= MOST_GAP for gap in gaps) and median(keys) <= MOST_KEY
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
