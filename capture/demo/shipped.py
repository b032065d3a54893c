"""The demo's captures that come with the package: no torch is needed to open them.

All of them lie in one compressed archive, `captures.tar.xz`, in which tensors that several
captures share cost nothing. `python -m layertui.capture.demo.shipped` makes it anew with torch.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import CaptureError

ARCHIVE = Path(__file__).with_name("captures.tar.xz")
SEED, DTYPE = 0, "float32"
# No fault, the one that the demo shows first, and one of each kind that comes late in the model:
# everything before a fault is stored once for all.
SHIPPED = ("none", "attention-scale", "weight-scale", "transposed-o-proj", "nan-row")


def is_shipped(fault: str, seed: int, dtype: str) -> bool:
    """Whether the captures of a fault come with the package."""
    return fault in SHIPPED and (seed, dtype) == (SEED, DTYPE)


def unpack(folder: str, fault: str) -> tuple[str, str]:
    """Write `reference` and `candidate` below `folder`; returns their paths.

    Raises `CaptureError` where the archive cannot be read, `OSError` where it cannot write.
    """
    for name, content in _files(fault).items():
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return os.path.join(folder, "reference"), os.path.join(folder, "candidate")


def _files(fault: str) -> dict[str, bytes]:
    """What the archive has of a pair: `reference/...` and `candidate/...`."""
    found: dict[str, bytes] = {}
    try:
        import lzma  # some builds of Python lack it
    except ImportError as error:
        raise CaptureError(f"the demo's own captures cannot be read: {error}") from error
    try:
        with tarfile.open(ARCHIVE, "r:xz") as archive:
            for member in archive:
                name = member.name.replace(f"candidates/{fault}/", "candidate/", 1)
                content = archive.extractfile(member)
                if name.startswith(("reference/", "candidate/")) and content is not None:
                    found[name] = content.read()
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise CaptureError(f"the demo's own captures cannot be read: {error}") from error
    return found


def pack(path: Path, faults: Iterable[str] = SHIPPED) -> None:
    """Run the models and write the archive to `path`. Needs torch."""
    from .demo import capture_pair
    from .faults import fault_named

    with tempfile.TemporaryDirectory() as work, tarfile.open(path, "w:xz", preset=9) as archive:
        for number, fault in enumerate(faults):
            folder = os.path.join(work, fault)
            reference, candidate = capture_pair(folder, fault_named(fault), seed=SEED, dtype=DTYPE)
            if number == 0:
                _add(archive, reference, "reference")
            _add(archive, candidate, f"candidates/{fault}")


def _add(archive: tarfile.TarFile, folder: str, name: str) -> None:
    """Without times and owners, so that the same captures give the same archive."""
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            member = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    pack(Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE)
