"""Comparing captures by URL: how much is moved, how long it takes, how much memory it needs.

    python benchmarks/remote.py [--gigabytes 1]

Writes two safetensors captures of `--gigabytes` in all and compares them in child processes: as
files, by URL from a web server on loopback, and by URL again with the blocks that were kept. Prints
times as ratios to that of the files, what the server sent, and the peak RSS of the child by URL.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from memory import write_capture

BOUND = 600e6  # bytes of RSS


class Server(ThreadingHTTPServer):
    """Answers requests for ranges of the files of a folder, without reading them itself."""

    daemon_threads = True
    folder = Path()
    sent = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        place = self.server.folder / self.path.lstrip("/")
        if not place.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = place.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(match[1]), min(int(match[2]), size - 1)) if match else (0, size - 1)
        self.send_response(206 if match else 200)
        self.send_header("ETag", f'"{place.stat().st_mtime_ns}"')
        self.send_header("Content-Length", str(last + 1 - first))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            self.server.sent += last + 1 - first
            with open(place, "rb") as file:
                self.wfile.flush()
                self.connection.sendfile(file, first, last + 1 - first)


def compared(sides: list[str], home: Path) -> tuple[float, float]:
    """Seconds, and bytes of peak RSS, of comparing in a child process."""
    command = [sys.executable, "-c", "from layertui.cli.main import run; run()", "compare", *sides]
    environment = {**os.environ, "XDG_CACHE_HOME": str(home)}
    started = time.perf_counter()
    report = home / "report.txt"
    child = subprocess.Popen(
        [*command, "--no-cache", "--overwrite", "-o", str(report)], env=environment
    )
    _, wait_status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(wait_status) != 0:
        raise SystemExit(f"compare ended with {os.waitstatus_to_exitcode(wait_status)}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    server = Server(("127.0.0.1", 0), Handler)
    server.folder = folder
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        total = options.gigabytes * 1e9
        write_capture(folder / "reference.safetensors", int(total / 2), 0.0)
        write_capture(folder / "candidate.safetensors", int(total / 2), 1e-6)
        names = [f"{name}.safetensors" for name in ("reference", "candidate")]
        files, _ = compared([str(folder / name) for name in names], folder)
        port = server.server_address[1]
        urls = [f"http://127.0.0.1:{port}/{name}" for name in names]
        first, peak = compared(urls, folder)
        sent, server.sent = server.sent, 0
        again, _ = compared(urls, folder)
        print(f"{total / 1e9:g} GB, {os.cpu_count()} cores; as files {files:.1f} s")
        print(f"by URL {first / files:.1f} x that, {sent / total:.2f} x their bytes sent")
        print(f"by URL again {again / files:.1f} x, {server.sent / total:.2f} x sent")
        print(f"peak RSS by URL {peak / 1e6:.0f} MB, bound {BOUND / 1e6:.0f}")
        sys.exit(0 if peak < BOUND else 1)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
