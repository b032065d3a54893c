"""The screen while it works: how long its event loop is not heard, and when it has answered.

    python benchmarks/screen_load.py [--records 10000] [--megabytes 0] [--seconds 6]
        [--again | --watch] [--before]

The real program runs in a pseudo-terminal on a pair of native captures with so many records a side,
with an empty cache. Every few milliseconds a timer of its event loop says that it is alive; the
longest times in which none does are printed, with what the loop was doing in the middle of each
(seen by a thread), how long it waited for a core, and what the program's other threads worked in
that time: little where the loop waited and they were kept from their cores, too. Meanwhile keys are
pressed: for each the time to the first byte it draws. Then list and report are left alone until
nothing is drawn any more. With `--again` and `--watch` everything is read again then, and keys are
pressed meanwhile. With `--megabytes` the pair is made of records that take long to measure, so that
all cores are busy while keys are pressed.

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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from captures import write_native, write_safetensors
from terminal import Terminal

MOST_GAP = 0.1
MOST_KEY = 0.05
QUIET = 3.0  # seconds without a byte after which all is done

# In the program: beats of the loop, and where its threads are when a beat is late. A thread looks,
# which sees what holds the interpreter's lock for long once it is let go.
CHILD = r"""
import json, os, sys, threading, time
from asyncio.base_events import BaseEventLoop
from collections import deque
BEAT, LATE = 0.005, 0.04
GAPS = open(os.environ["GAPS"], "w")
beats = {"last": None, "stack": None, "cpu": 0.0, "all": 0.0}
main = threading.get_ident()
SCHEDULED = f"/proc/self/task/{threading.get_native_id()}/schedstat"
waits = deque([(0.0, 0.0)], 500)  # when a thread looked, and what the loop had waited by then

def waited():
    try:
        with open(SCHEDULED) as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:  # not Linux
        return 0.0

def waited_since(then):
    return waited() - next((total for when, total in reversed(waits) if when <= then), 0.0)

def beat(loop):
    # Nothing here lets go of the interpreter's lock, which another thread would take.
    now, cpu, threads = time.perf_counter(), time.thread_time(), time.process_time()
    last = beats["last"]
    if last is not None and now - last - BEAT > LATE:
        gap, doing = now - last - BEAT, beats["stack"] or ""
        own = cpu - beats["cpu"]
        others = threads - beats["all"] - own
        found = time.time(), gap, own, waited_since(last), others, doing
        print(json.dumps(found), file=GAPS, flush=True)
        now, cpu, threads = time.perf_counter(), time.thread_time(), time.process_time()
    beats.update({"last": now, "stack": None, "cpu": cpu, "all": threads})
    loop.call_later(BEAT, beat, loop)

IDLE = ("(threading.py", "_hung_up", "run_input_thread")

def look():
    while True:
        time.sleep(LATE / 2)
        waits.append((time.perf_counter(), waited()))
        last = beats["last"]
        if last is None or time.perf_counter() - last < LATE or beats["stack"]:
            continue
        frames = sys._current_frames()
        said = [places(frames.pop(main), int(os.environ.get('DEPTH', '4')))]
        frames.pop(threading.get_ident())
        said += [f"beside it {places(frame, 2)}" for frame in frames.values()]
        beats["stack"] = "; ".join(one for one in said if not any(w in one for w in IDLE))

def places(frame, depth):
    '''Without a look at any source file, which would keep the loop waiting, too.'''
    found = []
    while frame is not None:
        if "<frozen" not in frame.f_code.co_filename:
            found.append(f"{frame.f_code.co_name} ({os.path.basename(frame.f_code.co_filename)}"
                         f":{frame.f_lineno})")
        frame = frame.f_back
    return " > ".join(reversed(found[:depth]))

def forever(self, run=BaseEventLoop.run_forever):
    self.call_soon(beat, self)
    threading.Thread(target=look, daemon=True).start()
    run(self)

BaseEventLoop.run_forever = forever
from layertui.cli.main import run
run()
"""


@dataclass(frozen=True)
class Gap:
    """A time in which the loop was not heard, in seconds: its `own` work, how long it waited for a
    core, and the work of `others`, threads of the program, one of which may have held the
    interpreter's lock; what its thread and others did in the middle of it. `at`: since 1970.
    """

    at: float
    length: float
    own: float
    core: float
    others: float
    doing: str


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


# Each has something to draw wherever the cursor is: two that belong together lead back.
KEYS = (b"\x1b[B", b"\x1b[A", b"\x1b[6~", b"\x1b[5~")


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return status[0] != "Z"


def drive(
    folder: Path, arguments: list[str], seconds: float, then: Callable[[Terminal], None] | None
) -> tuple[list[Gap], list[float], list[float]]:
    """Gaps, seconds to each key's first byte, and seconds until nothing is drawn any more: after
    the start, and after what is done `then`.
    """
    gaps = folder / "gaps.json"
    terminal = Terminal.start(
        [sys.executable, "-c", CHILD, *arguments], folder / "home", GAPS=str(gaps)
    )  # fmt: skip
    started = time.perf_counter()
    terminal.read(1.0, until=b"L0")
    took = press(terminal, seconds)
    done = [settled(terminal, started)]
    if then is not None:
        started = time.perf_counter()
        then(terminal)
        took += press(terminal, seconds)
        done.append(settled(terminal, started))
    end = time.time()  # what quitting takes is no gap: the driver waits for its input thread
    os.write(terminal.fd, b"Q")
    while terminal.read(2.0):
        pass
    terminal.stop()
    found = [Gap(*json.loads(line)) for line in gaps.read_text().splitlines()]
    return [gap for gap in found if gap.at < end], took, done


def press(terminal: Terminal, seconds: float) -> list[float]:
    """Press keys for so long; seconds to each one's first byte."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pressed = time.perf_counter()
        os.write(terminal.fd, KEYS[len(took) % len(KEYS)])
        terminal.read(1.0, until=b"", limit=2.0)
        took.append(time.perf_counter() - pressed)
        terminal.read(0.06, limit=0.15)
    return took


def settled(terminal: Terminal, started: float) -> float:
    """Seconds since `started` until nothing is drawn any more."""
    last = time.perf_counter()
    while True:
        if terminal.read(QUIET, limit=QUIET + 1):
            last = time.perf_counter()
        elif not _lives(terminal.pid):
            sys.exit("the program has ended")
        elif _resting(terminal.pid):
            return last - started


def read_again(terminal: Terminal) -> None:
    os.write(terminal.fd, b"\x12")


def write_again(capture: Path, _: Terminal) -> None:
    """The same values, written now: whoever watches the capture reads it again."""
    for path in sorted(capture.iterdir()):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description="The screen while it works.")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=6.0, help="for which keys are pressed")
    parser.add_argument("--again", action="store_true", help="read again (Ctrl-R) when all is done")
    parser.add_argument("--watch", action="store_true", help="write the candidate again, watched")
    parser.add_argument("--before", action="store_true", help="beside an earlier candidate")
    parser.add_argument("--work", type=Path, help="where the captures are made")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.work))
    try:
        for side, noise in (("reference", 0.0), ("candidate", 1e-6)):
            if options.megabytes:
                write_large(folder / side, options.megabytes, noise)
            else:
                write_native(folder / side, options.records, noise)
        arguments = [str(folder / side) for side in ("reference", "candidate")]
        if options.before:
            arguments += ["--before", str(folder / "reference")]
        then = read_again if options.again else None
        if options.watch:
            arguments.append("--watch")
            then = partial(write_again, folder / "candidate")
        began = time.time()
        gaps, keys, done = drive(folder, arguments, options.seconds, then)
    finally:
        shutil.rmtree(folder)
    worst = sorted(gaps, key=lambda gap: -gap.length)
    print(f"nothing more is drawn after {' and '.join(f'{one:.1f} s' for one in done)}")
    print(f"a key's first byte: median {median(keys) * 1e3:.0f} ms, worst {max(keys) * 1e3:.0f} ms")
    print(f"gaps above 40 ms: {len(gaps)}; the longest:")
    for gap in worst[:12]:
        times = (gap.length, gap.own, gap.core, gap.others)
        length, own, core, others = (round(1e3 * seconds) for seconds in times)
        print(f"{length:6} ms at {gap.at - began:.1f} s: {own} its own work, {core} without a core,"
              f" {others} the work of other threads")  # fmt: skip
        print(f"          {gap.doing}")
    most = max((gap.own + gap.others for gap in gaps), default=0.0)
    print(f"the most that the program itself worked in one of them: {most * 1e3:.0f} ms")
    met = all(gap.length <= MOST_GAP for gap in gaps) and median(keys) <= MOST_KEY
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
