"""The reports of the real captures, kept word for word.

They pin what must not change when code is moved or cut in another way. After a change that is
meant, `python tests/support/golden.py` writes them anew and prints what changed.
"""

from __future__ import annotations

import difflib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ARCHIVE = Path(__file__).parents[1] / "cli" / "golden.tar.xz"
PAIRS = (
    "llama-f32", "llama-bf16", "llama_steps-f32", "llama_v3_badweights-f32", "olmo2-f32",
    "qwen3-f32",
)  # fmt: skip
FORMS = ("text", "json", "csv")
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
_ALIKE = 2e-3  # other machines sum in another order: the last printed digit may differ


def report(root: Path, pair: str, form: str) -> str:
    """What `layertui compare` prints of a real pair; paths are relative to `root`."""
    done = subprocess.run(
        [
            sys.executable, "-m", "layertui.cli.main", "compare", f"{pair}/torch_dump",
            f"{pair}/max_dump", "--format", form, "--no-cache",
        ],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def kept() -> dict[str, str]:
    """The reports of the archive by name, `PAIR.FORM`."""
    with tarfile.open(ARCHIVE) as tar:
        return {
            member.name: file.read().decode()
            for member in tar.getmembers()
            if (file := tar.extractfile(member)) is not None
        }


def difference(old: str, new: str) -> list[str]:
    """Lines that differ by more than the last digits of their numbers, as a unified diff."""
    left, right = old.splitlines(), new.splitlines()
    if len(left) == len(right):
        right = [a if _alike(a, b) else b for a, b in zip(left, right, strict=True)]
    return list(difflib.unified_diff(left, right, "kept", "now", lineterm="", n=1))


def _alike(left: str, right: str) -> bool:
    if left == right:
        return True
    if _NUMBER.sub("#", left) != _NUMBER.sub("#", right):
        return False
    pairs = zip(_NUMBER.findall(left), _NUMBER.findall(right), strict=True)
    return all(a == b or _close(a, b) for a, b in pairs)


def _close(left: str, right: str) -> bool:
    """Counts and indices are exact; of other numbers the last printed digit may be another, since
    what is halfway between two falls to either side.
    """
    if "." not in left + right and "e" not in left + right:
        return False
    a, b = float(left), float(right)
    digit = min(_last_digit(left), _last_digit(right)) * (1 + 1e-9)
    return abs(a - b) <= max(_ALIKE * max(abs(a), abs(b), 1e-12), digit)


def _last_digit(number: str) -> float:
    """One unit of the last digit of `1.25e-3`: 0.01e-3."""
    digits, _, power = number.partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _write() -> None:
    old = kept() if ARCHIVE.exists() else {}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(ARCHIVE, "w:xz") as tar:
        for archive in (Path(__file__).parent.parent / "data").glob("*.tar.xz"):
            with tarfile.open(archive) as data:
                data.extractall(folder, filter="data")
        for pair in PAIRS:
            for form in FORMS:
                name, text = f"{pair}.{form}", report(Path(folder), pair, form)
                print("\n".join(difference(old.get(name, ""), text)))
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))


if __name__ == "__main__":
    _write()
