"""Ranks that have a directory or files, and no tensor in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..files import FoundFile
from ..records import Capture, Record
from ..storage import is_folder, is_url, storage_of
from .labels import WHOLE_RANK, Kinds, rank_named

if TYPE_CHECKING:
    from .layout import RankLayout


def add_empty_ranks(
    capture: Capture, files: Sequence[FoundFile], layout: RankLayout | None
) -> None:  # fmt: skip
    """A record that cannot be read for each rank of which there is no tensor, where others have
    some: a directory that is empty or cannot be listed, files that no format reads.
    """
    known = {record.rank for record in capture.records if record.rank is not None}
    if len(known) < 2:
        return
    empty: dict[str, tuple[str, Kinds, str]] = {}
    for found in files:
        if found.rank is not None and found.rank not in known:
            why = found.problem or "no tensors are in its files"
            empty.setdefault(found.rank, (found.folder, found.kinds, why))
    for place in _folders(capture.path):
        name = rank_named(os.path.basename(place))
        inside = f"{place}{os.sep}"
        if name.label not in known and not any(file.path.startswith(inside) for file in files):
            kinds = name.kinds if layout is None else layout.kinds(name.kinds)
            empty.setdefault(name.label, (place, kinds, "its directory is empty"))
    for label, (place, kinds, why) in empty.items():
        capture.rank_kinds[label] = kinds
        record = Record(label, label, error=why, path=place, rank=label)
        record.format = capture.records[0].format
        capture.records.append(record)


def _folders(path: str) -> list[str]:
    """Directories of this machine that are named as ranks."""
    if is_url(path) or not is_folder(path):
        return []
    found = sorted(name for name in storage_of(path).names(path) if WHOLE_RANK.fullmatch(name))
    places = (os.path.join(path, name) for name in found)
    return [place for place in places if is_folder(place)]
