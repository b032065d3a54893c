"""A model of two linear layers, its captures, and programs that run its layers as runners do."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from layertui.capture import record

# A runner in plain Python, whose `mode` says how it goes wrong. Weights are those of `Small`.
ENGINE = r"""
import json, os, struct, subprocess, sys, time

def load(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    found = {}
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        found[key] = entry["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return found

def save(path, key, shape, values):
    header = json.dumps({key: {"dtype": "F32", "shape": shape,
                               "data_offsets": [0, 4 * len(values)]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.write(struct.pack(f"<{len(values)}f", *values))

def say(**message):
    print(json.dumps(message), flush=True)

mode, weights = sys.argv[1], json.load(open(sys.argv[2]))
open(sys.argv[2] + ".pid", "w").write(str(os.getpid()))
if mode == "crash at start":
    sys.stderr.write("no engine today\n")
    sys.exit(3)
if mode == "no hello":
    time.sleep(60)
asked = json.loads(sys.stdin.readline())
assert asked["type"] == "hello" and asked["protocol"] == 1
if mode == "grandchild":
    child = subprocess.Popen(["sleep", "60"])
    open(sys.argv[2] + ".grandchild", "w").write(str(child.pid))
layers = [{"name": name, "class": "Linear", "inputs": ["input_0"]} for name in weights]
layers.append({"name": "", "reruns": False, "why": "the whole model is not run"})
say(type="hello", protocol=2 if mode == "version" else 1, framework="toy", layers=layers)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "cancel":
        say(type="error", id=request["id"], text="cancelled")
        continue
    number, name = request["id"], request["layer"]
    if mode == "crash":
        sys.stderr.write("cannot go on\n")
        sys.stderr.flush()
        os.kill(os.getpid(), 11)
    if mode == "hang":
        time.sleep(60)
    if mode == "waits":
        say(type="progress", id=number, text="compiling 1 s")
        continue
    if mode == "rubbish":
        print("Segmentation fault? \x1b[31mno\x1b[0m", flush=True)
    if mode == "endless":
        while True:
            sys.stdout.write("x" * 1000000)
    if mode == "error":
        say(type="error", id=number, text="out of\n cheese")
        continue
    if mode == "other id":
        number += 1
    shape, x = load(request["tensors"])["input_0"]
    rows = weights[name]
    width = len(rows[0])
    y = [sum(a * b for a, b in zip(row, x[at:at + width]))
         for at in range(0, len(x), width) for row in rows]
    shape = shape[:-1] + [len(rows)]
    if mode == "nan":
        y[3] = float("nan")
    if mode == "shape":
        shape, y = [1, 2], y[:2]
    if mode != "no file":
        save(request["into"], "output", shape, y)
    if mode == "truncated":
        os.truncate(request["into"], os.path.getsize(request["into"]) - 8)
    say(type="outputs", id=number, seconds=0.001, compile_seconds=0)
"""


class Small(torch.nn.Module):
    """`down(up(x))`, `[1, 3, 8]` to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(8, 16, bias=False), torch.nn.Linear(16, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x))


def captures(folder: Path, wrong: str = "up") -> tuple[Path, Path]:
    """A reference, and a candidate in which the layer `wrong` has one wrong weight. Beside them
    lies `weights.json` with the candidate's weights.
    """
    torch.manual_seed(0)
    model = Small()
    inputs = torch.randn(1, 3, 8)
    with torch.no_grad():
        with record(model, folder / "reference"):
            model(inputs)
        if wrong:
            part: Any = model.get_submodule(wrong)
            part.weight[2, 3] += 1.0
        with record(model, folder / "candidate"):
            model(inputs)
    weights: dict[str, Any] = {
        name: model.get_submodule(name).weight.tolist() for name in ("up", "down")
    }
    (folder / "weights.json").write_text(json.dumps(weights))
    (folder / "engine.py").write_text(ENGINE)
    return folder / "reference", folder / "candidate"


def runner(folder: Path, mode: str = "good") -> str:
    """The command of a runner that goes wrong in the way of `mode`."""
    words = [sys.executable, "-S", str(folder / "engine.py"), mode, str(folder / "weights.json")]
    return shlex.join(words)
