"""What `layertui compare` says of two captures, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layertui.cli.main import status_of


def report_of(folder: Path, one: Path, other: Path, *more: str) -> tuple[int, Any]:
    """The exit status, and the report, which is written into the folder."""
    target = folder / "report.json"
    status = status_of(["compare", str(one), str(other), "--format", "json", "-o", str(target),
                        "--overwrite", *more])  # fmt: skip
    return status, json.loads(target.read_text())
