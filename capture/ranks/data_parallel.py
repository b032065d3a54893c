"""Data-parallel ranks are runs of their own: `DIR/dp1` are those ranks of DIR, also where there is
no such directory.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CaptureError
from ..files import MANIFEST, FoundFile
from ..names import NOT_TENSORS
from ..places import placed_files
from ..storage import exists, is_folder, is_url, storage_of
from .labels import DATA, RANK

if TYPE_CHECKING:
    from .layout import Mesh, RankLayout

_NAME = re.compile(rf"{DATA}(\d{{1,6}})")


def _is_manifest(file: FoundFile) -> bool:
    return posixpath.basename(file.path) == MANIFEST


def _placed(files: Sequence[FoundFile], layout: RankLayout | None) -> list[FoundFile]:
    """With the steps and ranks that names of files tell, and the places of numbered ranks that
    recordings tell.
    """
    placed = placed_files(files, layout)
    recorded = [
        file for file in placed
        if file.rank is not None and _is_manifest(file) and {k for k, _ in file.kinds} == {RANK}
    ]  # fmt: skip
    if not recorded:
        return placed
    from .layout import read_mesh

    meshes: dict[str | None, Mesh] = {file.rank: read_mesh(file.path) for file in recorded}
    if not any(meshes.values()):
        return placed
    return [
        replace(
            file,
            kinds=(*((kind, place) for kind, place, _ in meshes.get(file.rank, ())), *file.kinds),
            rank_counts=(
                *((kind, count) for kind, _, count in meshes.get(file.rank, ())),
                *file.rank_counts,
            ),
        )
        for file in placed
    ]


def files_of(path: str, layout: RankLayout | None = None) -> list[FoundFile]:
    """The files of a capture, with the steps and ranks that their names tell. Raises `CaptureError`
    where there is nothing to list.
    """
    folder, name = posixpath.split(path.rstrip("/"))
    found = _NAME.fullmatch(name)
    if found is None or not folder or exists(path):
        return _placed(storage_of(path).files(path), layout)
    if not is_folder(folder):
        return storage_of(path).files(path)  # says what is not there
    wanted = (DATA, int(found[1]))
    files = _placed(storage_of(folder).files(folder), layout)
    inside = [file for file in files if wanted in file.kinds]
    if not inside:
        raise CaptureError(f"{path}: no such file or directory")
    alone = len({file.rank for file in inside}) == 1
    if alone:
        return [replace(file, rank=None, kinds=(), rank_counts=()) for file in inside]
    return [
        replace(file, rank_counts=tuple(one for one in file.rank_counts if one[0] != DATA))
        for file in inside
    ]


def data_parallel_cases(
    folder: str, files: Sequence[FoundFile], layout: RankLayout | None = None,
    of: Collection[str] = (),
) -> dict[str, str] | None:  # fmt: skip
    """The data-parallel ranks of a folder by name, and what opens them; None where not every file
    with tensors belongs to one of at least two, or to one `of` those.
    """
    tensors = (file for file in files if file.suffix not in NOT_TENSORS)
    named = layout is not None or any(_is_manifest(file) for file in files)
    if not named and not all(DATA in file.name.lower() for file in tensors):
        return None  # nearly always, and told by the first file
    placed = [file for file in _placed(files, layout) if file.suffix not in NOT_TENSORS]
    told = [dict(file.kinds).get(DATA) for file in placed]
    numbers = sorted({number for number in told if number is not None})
    one_of = len(numbers) == 1 and f"{DATA}{numbers[0]}" in of
    if None in told or not (len(numbers) > 1 or one_of):
        return None
    folder = folder if is_url(folder) and folder.endswith("/") else folder.rstrip("/") + "/"
    return {f"{DATA}{number}": f"{folder}{DATA}{number}" for number in numbers}
