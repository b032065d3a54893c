"""Checkpoints that were given for a capture once, kept in the state directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..running.remembered import Remembered

if TYPE_CHECKING:
    from ...capture.records import Capture


MODELS = Remembered("models.json", "layertui.models/1")


def directory_of(path: str) -> str | None:
    """The directory that a model can be loaded from: `path`, or where the file `path` lies beside
    a config. None where there is no such.
    """
    if os.path.isdir(path):
        return path
    folder = os.path.dirname(path) or os.curdir
    return folder if os.path.isfile(os.path.join(folder, "config.json")) else None


def loadable(kind: str, path: str) -> str | None:
    """What the engine of `kind` loads of `path`: a file or folder of its own format, else the
    directory of a checkpoint. None where it can load neither.
    """
    from ...capture.engines.registry import ENGINES

    engine = ENGINES.get(kind)
    if engine is None or not engine.files:
        return directory_of(path)
    if os.path.isdir(path):
        return path if any(map(engine.runs, os.listdir(path))) else None
    return path if engine.runs(path) and os.path.isfile(path) else None


def remembered_model(capture: Capture) -> str | None:
    """The checkpoint that was given for this capture before."""
    known = MODELS.of(capture.path)
    return known if isinstance(known, str) and known else None
