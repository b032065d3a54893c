"""An S3-compatible server on loopback (moto's), which s3fs talks to as to any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

BUCKET = "runs"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Run the server; gives the environment by which clients find it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What it holds is the process's: of a server of an earlier test, too.
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "AKIATESTING",
            "AWS_SECRET_ACCESS_KEY": "s3cr3tword", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
    finally:
        server.stop()


def upload(folder: Path, name: str) -> str:
    """Put the files of `folder` into the bucket; their URL. The environment is set already."""
    import s3fs

    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    if not fs.exists(BUCKET):
        fs.mkdir(BUCKET)
    fs.put(f"{folder}/", f"{BUCKET}/{name}/", recursive=True)
    return f"s3://{BUCKET}/{name}"
