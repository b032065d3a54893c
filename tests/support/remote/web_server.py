"""A web server on loopback that answers requests for ranges, or will not."""

from __future__ import annotations

import base64
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit


@dataclass
class Site:
    """What the server has, and what it was asked: the path, and the bytes that it sent."""

    folder: Path
    ranges: bool = True
    user: str | None = None  # `user:password`, or everybody
    signature: str | None = None  # what the query must have as `sig`
    address: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)

    def url(self, path: str, user: str = "", query: str = "") -> str:
        return f"http://{user}{'@' if user else ''}{self.address}/{path}{query}"


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve until the block ends."""
    handler = type("Handler", (_Handler,), {"site": site})
    server = _Server(("127.0.0.1", 0), handler)
    site.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has what it wanted hangs up; that is nothing to print."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        parts = urlsplit(self.path)
        place = self.site.folder / unquote(parts.path).lstrip("/")
        if not self._may(parts.query):
            self._send(403, b"no", {}, with_body)
        elif place.is_dir():
            names = [entry.name + ("/" if entry.is_dir() else "") for entry in place.iterdir()]
            page = "".join(f'<a href="{quote(name)}">x</a>' for name in names)
            self._send(200, page.encode(), {"Content-Type": "text/html"}, with_body)
        elif place.is_file():
            self._file(place.read_bytes(), place.stat().st_mtime_ns, with_body)
        else:
            self._send(404, b"none", {}, with_body)

    def _may(self, query: str) -> bool:
        site = self.site
        word = "Basic " + base64.b64encode((site.user or "").encode()).decode()
        if site.user is not None and self.headers.get("Authorization") != word:
            return False
        return site.signature is None or parse_qs(query).get("sig") == [site.signature]

    def _file(self, data: bytes, time: int, with_body: bool) -> None:
        headers = {"ETag": f'"{time}"', "Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None or not self.site.ranges:
            self._send(200, data, headers, with_body)
            return
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._send(206, data[first : last + 1], headers, with_body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.site.asked.append((self.path, len(data)))
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):  # it has what it wanted
                self.close_connection = True
