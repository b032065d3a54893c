"""Tasks for a process that works in another directory, or on another machine."""

from __future__ import annotations

import os
from dataclasses import replace

from ...capture.records import Locator
from ...capture.storage import is_url
from ..measuring.pair_reader import PairTask, SideTask


def with_whole_paths(task: PairTask) -> PairTask:
    """The same task, for whatever directory it is done in."""
    return replace(task, reference=_side(task.reference), candidate=_side(task.candidate))


def whole_path(path: str) -> str:
    """The absolute path of a file; a URL is whole."""
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def _side(side: SideTask) -> SideTask:
    others = tuple((name, with_whole_path(locator)) for name, locator in side.others)
    return replace(side, locator=with_whole_path(side.locator), others=others)


def with_whole_path(locator: Locator) -> Locator:
    """The same place, for whatever directory it is read from."""
    if not locator.of_ranks:
        return replace(locator, path=whole_path(locator.path))
    from ...capture.ranks.join_tree import with_paths

    return with_paths(locator, whole_path)
