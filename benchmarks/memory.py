"""Peak resident memory of `layertui compare` on a pair of captures far larger than the bound.

    python benchmarks/memory.py [--gigabytes 4]

Writes two safetensors captures of `--gigabytes` in all (random values, a few large tensors),
compares them in a child process and prints its peak RSS against the bound of 600 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TENSORS = 8
BOUND = 600e6


def write_capture(path: Path, nbytes: int, noise: float) -> None:
    """One safetensors file of `TENSORS` float32 tensors, written in pieces."""
    rows = nbytes // TENSORS // 4 // 4096
    one = rows * 4096 * 4
    header = {
        f"model.layers.{i}.mlp-output": {
            "dtype": "F32", "shape": [rows, 4096], "data_offsets": [i * one, (i + 1) * one],
        }
        for i in range(TENSORS)
    }  # fmt: skip
    text = json.dumps(header).encode()
    random = np.random.default_rng(0)
    piece = random.standard_normal((1024, 4096), dtype=np.float32)
    piece *= 1 + noise * random.standard_normal((1024, 1), dtype=np.float32)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(TENSORS):
            for start in range(0, rows, 1024):
                file.write(piece[: min(1024, rows - start)].tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        half = int(options.gigabytes * 1e9 / 2)
        write_capture(folder / "reference.safetensors", half, 0.0)
        write_capture(folder / "candidate.safetensors", half, 1e-6)
        command = [sys.executable, "-c", "from layertui.cli.main import run; run()", "compare"]
        command += [str(folder / f"{n}.safetensors") for n in ("reference", "candidate")]
        report = folder / "report.txt"
        child = subprocess.Popen([*command, "--no-cache", "-o", str(report)])
        _, wait_status, usage = os.wait4(child.pid, 0)
        status, peak = os.waitstatus_to_exitcode(wait_status), usage.ru_maxrss * 1024
        print(next(line for line in report.read_text().splitlines() if "verdicts" in line))
        print(f"exit status {status}, {os.cpu_count()} cores")
        print(f"peak RSS {peak / 1e6:.0f} MB for {options.gigabytes:g} GB, bound {BOUND / 1e6:.0f}")
        sys.exit(0 if status == 0 and peak < BOUND else 1)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
